"""New values for secrets, with one command: every hostile value in every secret, the old ones refused, and an instance boots."""

import json
import os
import signal
import subprocess
import time

import hostile
import pytest
from canary import TREE

from kilonova.run import secrets

# Logs in as the services do; gets {secret: value} and answers {secret: whether it works}.
LOGIN = r"""
import json, ssl, sys, urllib.error, urllib.request
import amqp, pymysql
authority = "/etc/ssl/certs/openstack-authority.pem"
given = json.load(sys.stdin)
address, values, works = given["address"], given["values"], {}
for name, value in values.items():
    user = name.removeprefix("openstack_").rpartition("_")[0]
    if name.endswith("_dbpass"):
        try:
            pymysql.connect(host=address, user=user, password=value.encode(), ssl={"ca": authority}).close()
            works[name] = True
        except pymysql.MySQLError:
            works[name] = False
    elif name == "openstack_rabbit_pass":
        # docs/security.md: what oslo.messaging makes of a slash.
        value = value.replace("/", "%2F")
        tls = {"ca_certs": authority, "cert_reqs": ssl.CERT_REQUIRED}
        connection = amqp.Connection(host=address + ":5671", userid="openstack", password=value, login_method="PLAIN", ssl=tls)
        try:
            connection.connect()
            works[name] = True
        except amqp.exceptions.AMQPError:
            works[name] = False
    elif name.endswith("_pass"):
        who = {"name": user, "domain": {"name": "Default"}, "password": value}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}}}
        url = "https://" + address + ":5000/v3/auth/tokens"
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            urllib.request.urlopen(request, context=ssl.create_default_context(cafile=authority)).close()
            works[name] = True
        except urllib.error.HTTPError as error:
            works[name] = False if error.code == 401 else error.code
print(json.dumps(works))
"""


def works(cloud, values):
    """Secret -> whether it opens what it is for, of those that are a login's password."""
    given = json.dumps({"address": f"{cloud.network}.0.11", "values": values})
    return json.loads(cloud.python("controller", LOGIN, given))


def rotate(cloud, only="all", values=None):
    """`make rotate-secrets`; returns its output."""
    command = ["make", "rotate-secrets", f"INVENTORY={cloud.inventory}", f"ONLY={only}"]
    command += [f"VALUES={values}"] if values else []
    done = subprocess.run(
        command, cwd=TREE, env=cloud.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def given_file(path, values):
    """A file for VALUES=."""
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}: {secrets.yaml_text(value)}\n" for name, value in values.items()), encoding="utf-8")
    return path


@pytest.mark.parametrize("turn", range(1, len(hostile.HOSTILE)))
def test_every_hostile_value_in_every_secret(turn, cloud, tmp_path):
    """The deployment had the first; each turn moves every value to the next secret."""
    before = cloud.secrets
    values = hostile.values(time.time_ns(), turn)
    rotate(cloud, values=given_file(tmp_path / "values.yml", values))
    assert cloud.secrets == values
    assert set(works(cloud, values).values()) == {True}
    assert set(works(cloud, before).values()) == {False}
    assert not secrets.rotating_file(cloud.inventory).exists()
    assert (secrets.secrets_file(cloud.inventory).parent / "secrets.yml.old").stat().st_mode & 0o777 == 0o600


def test_a_killed_rotation_goes_on_with_its_values(cloud):
    """The run dies in the middle: some services have the new secrets, some the old ones."""
    before = cloud.secrets
    begun = secrets.begin_rotation(cloud.inventory, "nova_pass nova_dbpass rabbit_pass admin_pass fernet_keys")
    values = cloud.secrets
    process = subprocess.Popen(
        ["ansible-playbook", "-i", str(cloud.inventory), "playbooks/rotate_secrets.yml"],
        cwd=TREE,
        env={**cloud.environment, "PATH": f"{TREE / '.venv/bin'}:{os.environ['PATH']}"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        if "TASK [nova_controller : " in line:  # the administrator, RabbitMQ and two databases have theirs
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(5)  # what it left on the hosts ends
    rotate(cloud, ",".join(begun))
    assert cloud.secrets == values
    changed = {name: before[name] for name in begun}
    assert set(works(cloud, changed).values()) == {False}
    assert set(works(cloud, values).values()) == {True}


def test_keys_of_the_identity_service(cloud):
    """A new key signs; a token of the old one is still good."""
    listing = "ls /etc/keystone/fernet-keys | sort -n | tail -1; ls /etc/keystone/credential-keys | sort -n | tail -1"
    token = cloud.shell("controller", ". /root/admin-openrc; openstack token issue -f value -c id").strip()
    before = [int(line) for line in cloud.shell("controller", listing).split()]
    # They were rotated a moment ago, and again would purge what signed tokens that are still accepted.
    assert "The fernet keys were rotated lately" in rotate(cloud, "fernet_keys")
    assert before[0] == int(cloud.shell("controller", listing).split()[0])
    cloud.shell("controller", "touch --date='4 days ago' /etc/keystone/fernet-keys/*")
    values = cloud.secrets
    rotate(cloud, "fernet_keys,credential_keys")
    assert [int(line) for line in cloud.shell("controller", listing).split()] == [number + 1 for number in before]
    assert cloud.secrets == values
    program = (
        "import ssl, sys, urllib.request\n"
        "known = ssl.create_default_context(cafile='/etc/ssl/certs/openstack-authority.pem')\n"
        "token = sys.stdin.read()\n"
        "request = urllib.request.Request(sys.argv[1], headers={'X-Auth-Token': token, 'X-Subject-Token': token})\n"
        "print(urllib.request.urlopen(request, context=known).status)\n"
    )
    url = f"https://{cloud.network}.0.11:5000/v3/auth/tokens"
    assert cloud.python("controller", f"import sys; sys.argv.append({url!r})\n{program}", token).strip() == "200"


def test_afterwards_a_run_changes_nothing_and_an_instance_boots(cloud):
    """With the last values of all."""
    done = cloud.run("site.yml")
    assert done.returncode == 0, done.stdout[-3000:]
    assert not [line for line in done.stdout.splitlines() if "changed=" in line and "changed=0" not in line], done.stdout[-3000:]
    booted = cloud.run("verify.yml", "--extra-vars", '{"verify_rows": ["boot"]}')
    assert booted.returncode == 0, booted.stdout[-3000:]
