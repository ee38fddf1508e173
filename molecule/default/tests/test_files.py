"""Files that hold secrets: owner, mode, and no other place."""

import base64

import backend
import pytest

OWN = [
    ("controller", "/etc/keystone/keystone.conf", "keystone", "keystone", 0o640),
    ("controller", "/etc/glance/glance-api.conf", "root", "glance", 0o640),
    ("controller", "/etc/placement/placement.conf", "root", "placement", 0o640),
    ("controller", "/etc/nova/nova.conf", "root", "nova", 0o640),
    ("controller", "/etc/neutron/neutron.conf", "root", "neutron", 0o640),
    ("controller", "/root/admin-openrc", "root", "root", 0o600),
    ("controller", "/etc/openstack/clouds.yaml", "root", "root", 0o600),
    ("compute1", "/etc/nova/nova.conf", "root", "nova", 0o640),
    ("compute1", "/etc/neutron/neutron.conf", "root", "neutron", 0o640),
    *backend.SECRET_FILES,
]
DIRECTORIES = "/etc /root /var/lib /var/log /tmp /run /usr/local"


@pytest.mark.parametrize(("host", "path", "owner", "group", "mode"), OWN)
def test_owner_and_mode(host, path, owner, group, mode, request):
    """A secret is read by its service and by root."""
    file = request.getfixturevalue(host).file(path)
    assert (file.user, file.group, file.mode) == (owner, group, mode)


@pytest.mark.parametrize("host", ["controller", "compute1"])
def test_secrets_are_in_the_declared_files_only(host, request, secrets):
    """No log, state or temporary file repeats one. Databases keep some (MariaDB, RabbitMQ and Keystone: hashed)."""
    declared = {path for name, path, *_rest in OWN if name == host}
    machine = request.getfixturevalue(host)
    # What a service runs well with is kept for a rollback, for root alone.
    assert machine.file("/var/lib/kilonova/good").mode == 0o700
    declared |= {f"/var/lib/kilonova/good{path}" for path in declared}
    patterns = base64.b64encode("\n".join(set().union(*secrets.values())).encode()).decode()
    search = f"grep --recursive --files-with-matches --text --fixed-strings --file=- {DIRECTORIES}"
    found = set(machine.run(f"echo {patterns} | base64 --decode | {search} 2>/dev/null").stdout.split())
    assert found <= declared
    assert f"/var/lib/kilonova/good{OWN[3][1]}" in found


@pytest.mark.parametrize("host", ["controller", "compute1"])
def test_no_secret_in_the_journal_or_in_a_command_line(host, request, secrets):
    """Neither modules nor services say one aloud."""
    machine = request.getfixturevalue(host)
    text = machine.check_output("journalctl --no-pager") + machine.check_output("ps axww -o args")
    assert [name for name, words in secrets.items() if any(word in text for word in words)] == []


def test_the_original_is_kept(controller, compute1):
    """The guide: cp /etc/nova/nova.conf /etc/nova/nova.conf.orig."""
    for host in (controller, compute1):
        assert "# From nova.conf" in host.file("/etc/nova/nova.conf.orig").content_string


def test_a_compute_node_knows_no_database(compute1):
    """Only the conductor reaches the database."""
    assert compute1.run("grep -rE '^connection|mysql' /etc/nova/nova.conf /etc/nova/nova-compute.conf").stdout == ""


def test_no_sqlite_is_left(controller, compute1):
    """The guide: rm -f /var/lib/nova/nova.sqlite."""
    for host in (controller, compute1):
        assert not host.file("/var/lib/nova/nova.sqlite").exists


def test_services_are_not_held_back(controller, compute1):
    """The policy of the apt call is gone with it."""
    for host in (controller, compute1):
        assert not host.file("/usr/sbin/policy-rc.d").exists
