"""A plain cloud gets its APIs by TLS in one run: its instance stays, and nothing speaks to them in the clear."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from deployment import INVENTORY, SITE, Deployment

PORTS = (5000, 9292, 8778, 8774, 8775, 6080, 9696)
# What a client on another host learns at each port: the protocol that it gets, what becomes of older ones and of plain HTTP.
CLIENT = """
import json, socket, ssl, sys
host, ports, authority = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]

def told(port, context, name=host):
    try:
        plain = socket.create_connection((host, port), timeout=10)
        with plain, context.wrap_socket(plain, server_hostname=name) as link:
            return link.version()
    except ssl.SSLError as error:
        return error.reason
    except OSError as error:
        return type(error).__name__

def plain(port):
    with socket.create_connection((host, port), timeout=10) as link:
        link.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        try:
            return link.recv(12).decode("latin-1")
        except OSError as error:
            return type(error).__name__

right = ssl.create_default_context(cafile=authority)
others = ssl.create_default_context()
old = ssl.create_default_context(cafile=authority)
old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
old.set_ciphers("ALL:@SECLEVEL=0")
found = {
    port: {
        "right": told(port, right), "other authority": told(port, others), "other name": told(port, right, "other.example.org"),
        "old": told(port, old), "plain": plain(port),
    }
    for port in ports
}
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """One that was deployed plain, with an instance, and then got TLS; it has an inventory of its own."""
    found = Deployment(os.environ.get("KILONOVA_SANDBOX") or "tls", os.environ.get("KILONOVA_NETWORK") or "10.28")
    try:
        found.create()
        inventory = tmp_path_factory.mktemp("tls") / "inventory"
        shutil.copytree(INVENTORY, inventory, symlinks=True)
        found.environment["ANSIBLE_INVENTORY"] = str(inventory)
        found.playbook("playbooks/cloud.yml")
        found.guest = guest(found)
        found.environment["KILONOVA_TLS"] = "1"
        found.without = found.playbook(SITE, check=False)
        found.made = found.playbook("playbooks/certificates.yml").stdout
        found.run = found.playbook(SITE).stdout
        yield found
    finally:
        found.destroy()


def guest(cloud):
    """Process and start of the instance."""
    return cloud.sh("compute1", "ps -C qemu-system-x86_64,qemu-system-aarch64 -o pid=,lstart=")


def test_without_certificates_nothing_is_changed(cloud):
    assert cloud.without.returncode != 0
    assert "Nothing was changed." in cloud.without.stdout
    assert "run `make certificates INVENTORY=...`, which makes what is missing" in " ".join(cloud.without.stdout.split())


def test_certificates_are_made_once(cloud):
    assert "localhost: controller: server: made, because there was none" in cloud.made
    assert "Nothing had to be changed on any host." in cloud.playbook("playbooks/certificates.yml").stdout


def test_the_instance_was_not_touched(cloud):
    assert guest(cloud) == cloud.guest
    assert "ACTIVE" in cloud.openstack("server show first -f value -c status")


def test_all_endpoints_are_corrected_in_place(cloud):
    urls = cloud.openstack("endpoint list -f value -c URL").split()
    assert len(urls) == 15
    assert {url.partition(":")[0] for url in urls} == {"https"}
    assert cloud.run.count("correct url of endpoint") == 15


def test_a_client_elsewhere_gets_tls_and_nothing_else(cloud):
    program = f"cat > /tmp/client.py <<'END'\n{CLIENT}\nEND\n"
    authority = "/etc/ssl/certs/openstack-authority.pem"
    command = f"python3 -W ignore /tmp/client.py {cloud.network}.0.11 '{json.dumps(PORTS)}' {authority}; rm /tmp/client.py"
    found = json.loads(cloud.sh("compute1", program + command))
    assert len(found) == len(PORTS)
    for port, told in found.items():
        assert told["right"] in ("TLSv1.2", "TLSv1.3"), port
        assert told["other authority"] == told["other name"] == "CERTIFICATE_VERIFY_FAILED", port
        assert told["old"] not in ("TLSv1", "TLSv1.1"), port
        # HAProxy says in plain words that it wants TLS, or nothing.
        assert not told["plain"].startswith("HTTP/1.1 2"), port


def test_services_listen_on_loopback_behind_it(cloud):
    for port in PORTS:
        rows = cloud.sh("controller", f"ss -Htlnp 'sport = :{port}'").splitlines()
        by = {row.split()[3].rpartition(":")[0]: "haproxy" in row for row in rows}
        assert by == {f"{cloud.network}.0.11": True, "127.0.0.1": False}, port


def test_a_client_that_trusts_another_authority_refuses(cloud):
    said = cloud.sh(
        "controller",
        ". /root/admin-openrc; OS_CACERT=/etc/ssl/certs/ca-certificates.crt timeout 60 openstack token issue",
        check=False,
    )
    assert "CERTIFICATE_VERIFY_FAILED" in said or "certificate verify failed" in said
    assert "gAAAA" not in said


def test_the_keys_are_roots(cloud):
    assert cloud.sh("controller", "stat -c '%a %U' /etc/haproxy/openstack.pem") == "600 root"
    assert cloud.sh("controller", "grep -rl 'PRIVATE KEY' /etc/ssl/certs/openstack-authority.pem || true") == ""
    authority_key = "openstack_tls_authority_key"
    assert authority_key not in cloud.sh("controller", f"grep -rl {authority_key} /etc /var/lib/kilonova 2>/dev/null || true")


def test_a_plan_and_a_second_run_change_nothing(cloud):
    assert "Nothing would be changed on any host." in cloud.playbook(SITE, "--check").stdout
    assert "Nothing had to be changed on any host." in cloud.playbook(SITE).stdout


def test_an_instance_boots_and_its_console_opens(cloud):
    rows = "lease,metadata,novnc_page,novnc_rfb"
    said = cloud.playbook("playbooks/verify.yml", "-e", json.dumps({"verify_rows": rows})).stdout
    assert " 0 failed" in said
    assert f"https://{cloud.network}.0.11:6080/vnc_lite.html" in said
