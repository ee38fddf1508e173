"""Hosts that are down, compute nodes that come and go."""

from __future__ import annotations

import shutil
import subprocess

import pytest
import yaml
from deployment import INVENTORY, SITE, Deployment, differences
from test_noop import restarted

REMOVE = "playbooks/remove_compute.yml"


# With one compute node the sandbox has it; here its number must change nothing on hosts that are not named.
RESIZE = {"nova.conf": {"DEFAULT": {"allow_resize_to_same_host": True}}}


def inventory(sandbox, directory, **computes):
    """A copy of the sandbox's inventory with more compute nodes and their certificates: name -> last byte of their addresses."""
    hosts = yaml.safe_load((INVENTORY / "hosts.yml").read_text())
    children = hosts["all"]["children"]["sandbox"]["children"]
    children["controllers"]["hosts"]["controller"]["nova_controller_overrides"] = RESIZE
    children["nodes"]["hosts"]["compute[1:9]"]["nova_compute_overrides"] = RESIZE
    children["computes"] = {
        "hosts": {name: {"sandbox_address": byte, "nova_compute_overrides": RESIZE} for name, byte in computes.items()}
    }
    (directory / "hosts.yml").write_text(yaml.safe_dump(hosts))
    (directory / "sandbox_size.yml").symlink_to(INVENTORY / "sandbox_size.yml")
    shutil.copytree(INVENTORY / "group_vars", directory / "group_vars")
    sandbox.playbook("-i", str(directory), "playbooks/certificates.yml")
    return str(directory)


def traces(sandbox, host):
    """What the cloud has of a host, by its databases."""
    found = {
        "service": f"SELECT COUNT(*) FROM nova.services WHERE deleted = 0 AND host = '{host}'",
        "mapping": f"SELECT COUNT(*) FROM nova_api.host_mappings WHERE host = '{host}'",
        "node": f"SELECT COUNT(*) FROM nova.compute_nodes WHERE deleted = 0 AND host = '{host}'",
        "provider": f"SELECT COUNT(*) FROM placement.resource_providers WHERE name = '{host}'",
        "agent": f"SELECT COUNT(*) FROM neutron.agents WHERE host = '{host}'",
        "allocation": (
            "SELECT COUNT(*) FROM placement.allocations JOIN placement.resource_providers p ON p.id = resource_provider_id"
            f" WHERE p.name = '{host}'"
        ),
    }
    return {what: int(sandbox.sql(statement)) for what, statement in found.items()}


PRESENT = {"service": 1, "mapping": 1, "node": 1, "provider": 1, "agent": 1, "allocation": 0}
ABSENT = dict.fromkeys(PRESENT, 0)


def test_a_host_that_is_down_lets_the_others_finish(sandbox, tmp_path):
    sandbox.sh("compute1", "chmod 644 /etc/nova/nova-compute.conf")
    done = sandbox.playbook("-i", inventory(sandbox, tmp_path, compute9=29), SITE, check=False)
    assert done.returncode == 4
    assert "compute9 could not be reached at: openstack : Read what must be known of the host" in done.stdout
    again = f"ansible-playbook -i {tmp_path} playbooks/site.yml --limit localhost,controllers,compute9"
    assert f"Run again, with the options of this run: {again}" in done.stdout
    assert done.stdout.count("failed=0") == 4  # with localhost
    assert sandbox.sh("compute1", "stat -c %a /etc/nova/nova-compute.conf") == "640"


def test_calls_to_a_compute_node_of_an_older_release_are_pinned_until_it_is_upgraded(sandbox):
    """As while a cloud is upgraded: the controller first, then each compute node. Nova's table stands for the older packages."""
    number = "SELECT version FROM nova.services WHERE deleted = 0 AND topic = 'compute'"
    conf = "grep -h -A1 '^.upgrade_levels' /etc/nova/nova.conf || true"
    current = sandbox.sql(number)
    sandbox.sql("UPDATE nova.services SET version = version - 1 WHERE topic = 'compute'")
    said = sandbox.playbook(SITE, "--limit", "localhost,controllers").stdout
    assert "A compute node runs " in said and "[workarounds] of /etc/nova/nova.conf" in said
    assert sandbox.sh("controller", conf).endswith("compute = auto")
    # The first call of a service to compute nodes says which version it has chosen.
    for state in ("--disable", "--enable"):
        sandbox.openstack(f"compute service set {state} compute1 nova-compute")
    chosen = sandbox.sh("controller", "grep -h 'Automatically selected compute RPC version' /var/log/nova/nova-api.log | tail -1")
    assert f"from minimum service version {int(current) - 1}" in chosen
    # The compute node, which starts and says what it is; then nothing is pinned any more, and nothing is left to do.
    sandbox.playbook(SITE)
    assert sandbox.sh("compute1", conf).endswith("compute = auto")
    assert sandbox.sql(number) == current
    sandbox.playbook(SITE)
    assert sandbox.sh("controller", conf) == sandbox.sh("compute1", conf) == ""
    assert "Nothing had to be changed on any host." in sandbox.playbook(SITE).stdout


def test_without_its_controller_nothing_is_changed(sandbox, tmp_path):
    path = inventory(sandbox, tmp_path)
    hosts = yaml.safe_load((tmp_path / "hosts.yml").read_text())
    hosts["all"]["children"]["sandbox"]["children"]["controllers"]["hosts"]["controller"]["ansible_host"] = "no-such-container"
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(hosts))
    sandbox.sh("compute1", "chmod 644 /etc/nova/nova-compute.conf")
    done = sandbox.playbook("-i", path, SITE, check=False)
    assert done.returncode != 0
    assert "Nothing was changed. controller: the controller is out of reach" in done.stdout
    assert sandbox.sh("compute1", "stat -c %a /etc/nova/nova-compute.conf") == "644"
    sandbox.playbook(SITE)


@pytest.fixture(scope="module")
def compute10(sandbox, tmp_path_factory):
    """A second compute node whose name begins with the first one's; returns the inventory that has it."""
    path = inventory(sandbox, tmp_path_factory.mktemp("inventory"), compute10=30)
    sandbox.playbook("-i", path, "playbooks/sandbox.yml")
    before = sandbox.look("pulse")
    sandbox.playbook("-i", path, SITE, "--limit", "localhost,controllers,compute10")
    yield type("Second", (), {"inventory": path, "restarted": restarted(before, sandbox.look("pulse"))})
    subprocess.run(["podman", "rm", "--force", "--time", "0", sandbox.container("compute10")], check=True, capture_output=True)
    # It is down for good now.
    assert "NOT FINISHED" not in sandbox.playbook("-i", path, REMOVE, "-e", "remove_compute_name=compute10").stdout
    assert traces(sandbox, "compute10") == ABSENT
    # The one that remains lets nobody in any more, and the plan has said so.
    record = tmp_path_factory.mktemp("record")
    planned, _text = sandbox.recorded(record / "plan", SITE, "--check")
    done, _text = sandbox.recorded(record / "run", SITE)
    assert done == planned
    assert ("compute1", "remove /etc/ssh/nova-migration/authorized_keys") in {(host, item) for host, _task, item in done}
    left = sandbox.sh("compute1", "ls -d /etc/ssh/nova-migration /etc/ssh/ssh*_config.d/*nova-migration* 2>/dev/null; true")
    assert left == ""
    assert "nova-migration" not in sandbox.sh("compute1", "sshd -T -C user=nova,host=x,addr=10.0.0.1")
    assert sandbox.recorded(record / "again", SITE)[0] == set()


def test_a_compute_node_is_added_with_limit(sandbox, compute10, tmp_path):
    assert traces(sandbox, "compute10") == PRESENT
    # The cables of the sandbox's provider network; nothing of OpenStack.
    assert compute10.restarted == {("controller", "openstack-bridges.service")}
    # The next run without a limit lets both in for migrations where they were not let in yet, and then nothing is left to do.
    both = Deployment(sandbox.name, sandbox.network, ("controller", "compute1", "compute10"))
    before = both.look("pulse")
    done, _text = both.recorded(tmp_path / "run", "-i", compute10.inventory, SITE)
    assert {host for host, _task, _item in done} == {"compute1", "compute10"}
    assert restarted(before, both.look("pulse")) == {("compute1", "nova-compute.service")}
    before = both.look("pulse")
    both.playbook("-i", compute10.inventory, SITE)
    assert differences(before, both.look("pulse")) == []


UUID = "0f3b2c64-8d0e-4f0c-9d5c-2b1f6a7e9c11"
THERE = f"/var/lib/nova/instances/{UUID}"
PROBE = f"{THERE}/0123456789abcdef0123456789abcdef.tmp"
SSH = "-o BatchMode=yes"


def as_nova(sandbox, program, arguments):
    """Status and output of what nova on compute10 does with its key."""
    command = f"cd /tmp; runuser -u nova -- {program} {SSH} {arguments} 2>&1; echo status $?"
    output, _word, status = sandbox.sh("compute10", command).rpartition("status ")
    return int(status), output


def test_a_compute_node_copies_disks_to_another_one(sandbox, compute10):
    """As Nova does it; who is not known by name and address is not connected to."""
    for place in (f"{sandbox.network}.0.21", "compute1"):
        assert as_nova(sandbox, "ssh", f"{place} touch {PROBE}")[0] == 1
        assert as_nova(sandbox, "ssh", f"{place} mkdir -p {THERE}") == (0, "")
        assert as_nova(sandbox, "ssh", f"{place} touch {PROBE}") == (0, "")
        assert as_nova(sandbox, "ssh", f"{place} rm {PROBE}") == (0, "")
        assert as_nova(sandbox, "scp", f"-C -r /etc/services {place}:{THERE}/disk")[0] == 0
        assert sandbox.sh("compute1", f"cat {THERE}/disk") == sandbox.sh("compute10", "cat /etc/services")
        assert as_nova(sandbox, "ssh", f"{place} rm -rf {THERE}") == (0, "")
        assert sandbox.sh("compute1", f"test -e {THERE}; echo $?") == "1"
    uri = f"'qemu+ssh://nova@{sandbox.network}.0.21/system?keyfile=/var/lib/nova/.ssh/id_ed25519&proxy=native'"
    assert "Id" in sandbox.sh("compute10", f"virsh -c {uri} list --all")


@pytest.mark.parametrize(
    "command",
    [
        "",
        "id",
        f"scp -t -f /etc/nova/nova.conf {THERE}",
        f"scp -oProxyCommand=sh${{IFS}}-c${{IFS}}id h:x -t {THERE}",
        f"scp -S {THERE}/e h:x -t {THERE}",
        f"scp /etc/nova/nova.conf -t {THERE}",
        "rm -rf /var/lib/nova/instances//",
        "rm -rf /var/lib/nova/instances",
        f"rm -rf {THERE}/",
        "sudo privsep-helper",
        "cat /etc/nova/nova.conf",
    ],
)
def test_a_compute_node_runs_nothing_else_on_another_one(sandbox, compute10, command):
    before = sandbox.sh("compute1", "ls -lR /var/lib/nova/instances")
    # -T: without a command, the client would say that it asks for no terminal.
    status, output = as_nova(sandbox, "ssh", f"-T {sandbox.network}.0.21 {command!r}")
    assert (status, output) == (126, "refused: this key is for migrations of Nova\n")
    assert sandbox.sh("compute1", "ls -lR /var/lib/nova/instances") == before
    assert sandbox.sh("compute1", "journalctl --identifier nova-migration --lines 1 --output cat") == f"refused: {command!r}"


@pytest.mark.parametrize("path", ["/etc/nova/nova.conf", "/var/lib/nova/.ssh/id_ed25519", f"{THERE}/../../.ssh/id_ed25519"])
def test_a_compute_node_reads_nothing_of_another_one(sandbox, compute10, path):
    status, output = as_nova(sandbox, "scp", f"{sandbox.network}.0.21:{path} /dev/stdout")
    assert status != 0
    assert "password" not in output
    assert "PRIVATE" not in output


def test_a_compute_node_with_an_instance_is_not_removed(sandbox, compute10):
    sandbox.sh("controller", "truncate -s 1M /tmp/blank")
    sandbox.openstack("image create --disk-format raw --container-format bare --file /tmp/blank blank")
    sandbox.openstack("flavor create --ram 64 --disk 0 --vcpus 1 blank")
    make = "server create --image blank --flavor blank --nic none --host compute1 --wait -f value -c id stays"
    instance = sandbox.openstack(f"--os-compute-api-version 2.74 {make}")
    try:
        right = sandbox.look("state")
        done = sandbox.playbook("-i", compute10.inventory, REMOVE, "-e", "remove_compute_name=compute1", check=False)
        assert done.returncode == 2
        assert f"compute1 has 1 instances: stays ({instance}); migrate or delete them, then run this again." in done.stdout
        assert differences(right, sandbox.look("state")) == []
    finally:
        sandbox.openstack("server delete --wait stays")
        sandbox.openstack("flavor delete blank")
        sandbox.openstack("image delete blank")


@pytest.mark.parametrize("name", ["controller", "computes", "compute*", "compute7:compute8"])
def test_what_is_not_one_compute_node_is_not_removed(sandbox, compute10, name):
    done = sandbox.playbook("-i", compute10.inventory, REMOVE, "-e", f"remove_compute_name={name}", check=False)
    assert done.returncode == 2
    assert f"Nothing was changed. remove_compute_name = {name}: is not one compute node" in done.stdout
    assert traces(sandbox, "compute10") == traces(sandbox, "compute1") == PRESENT


def test_a_removed_compute_node_leaves_nothing_and_comes_back(sandbox, compute10):
    right = sandbox.look("state")
    sandbox.playbook("-i", compute10.inventory, REMOVE, "-e", "remove_compute_name=compute1")
    assert traces(sandbox, "compute1") == ABSENT
    assert traces(sandbox, "compute10") == PRESENT
    assert sandbox.sh("compute1", "systemctl is-active nova-compute; systemctl is-enabled nova-compute", check=False).split() == [
        "inactive",
        "disabled",
    ]
    again = sandbox.playbook("-i", compute10.inventory, REMOVE, "-e", "remove_compute_name=compute1").stdout
    assert "Nothing had to be changed on any host." in again
    sandbox.playbook("-i", compute10.inventory, SITE, "--limit", "localhost,controllers,compute1")
    assert traces(sandbox, "compute1") == PRESENT
    assert differences(right, sandbox.look("state")) == []
