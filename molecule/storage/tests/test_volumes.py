"""A cloud with Ceph and volumes: a plan finds nothing, a tenant's day passes, and no key is where it does not belong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import testinfra
from conftest import INVENTORY, PROJECT, SANDBOX

from kilonova.config import storage

ROWS = ("volume", "volume_extend", "volume_token", "volume_backup", "volume_delete", "boot_volume", "snapshot", "boot_snapshot")


def play(name, *arguments):
    """Run a playbook on the scenario's cloud; returns (status, output)."""
    argv = [Path(sys.executable).with_name("ansible-playbook"), "-i", INVENTORY, f"playbooks/{name}.yml", *arguments]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
    done = subprocess.run(
        argv, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def storage1():
    """The host of Ceph."""
    return testinfra.get_host(f"podman://{SANDBOX}-storage1")


def test_a_plan_finds_nothing_to_do():
    status, said = play("site", "--check", "--diff")
    assert status == 0 and "PLAN" not in said and "changed=1" not in said, said[-2000:]


def test_a_tenant_uses_volumes():
    status, said = play("verify", "-e", json.dumps({"verify_rows": ",".join(ROWS)}))
    report = json.loads((PROJECT / "build" / "report" / "verify.json").read_text())
    found = {row["name"]: row["status"] for row in report["rows"] if row["name"] in ROWS}
    assert status == 0 and found == dict.fromkeys(ROWS, "passed"), said[-2000:]


def test_a_launch_from_a_volume_is_followed():
    status, said = play("trace")
    steps = json.loads((PROJECT / "build" / "report" / "trace.json").read_text())["steps"]
    states = {step["step"]: step["state"] for step in steps if step["flow"] == "guide"}
    assert status == 0 and {states[25], states[27]} == {"seen"} and states[26] in ("seen", "absent"), said[-2000:]


def test_the_cluster_is_healthy_and_encrypted(storage1):
    status = json.loads(storage1.check_output("ceph --format json status"))
    assert status["health"]["status"] == "HEALTH_OK", status["health"]
    assert status["osdmap"]["num_up_osds"] == status["osdmap"]["num_osds"] == 1
    # Version 1 of the protocol, which has no encryption, is not spoken.
    listening = storage1.check_output("ss --tcp --listening --numeric --no-header")
    assert ":3300 " in listening and ":6789 " not in listening
    assert storage1.check_output("ceph config show mon.storage1 ms_service_mode").strip() == "secure"


def test_keys_are_where_they_belong(controller, compute1, storage1):
    found = {}
    for name, host in (("controller", controller), ("compute1", compute1), ("storage1", storage1)):
        listed = host.check_output("find /etc/ceph -name '*.keyring' -printf '%f %u:%g %m\n'").splitlines()
        found[name] = sorted(listed)
    assert found == {
        "controller": [
            "openstack.client.cinder-backup.keyring root:cinder 640",
            "openstack.client.cinder.keyring root:cinder 640",
            "openstack.client.glance.keyring root:glance 640",
        ],
        "compute1": ["openstack.client.nova.keyring root:nova 640"],
        "storage1": ["ceph.client.admin.keyring root:root 600"],
    }


def test_libvirt_has_the_keys_and_ceph_knows_them(compute1, secrets, storage1):
    listed = compute1.check_output("virsh secret-list")
    assert "kilonova client.cinder" in listed and "kilonova client.nova" in listed
    for user in ("glance", "cinder", "nova"):
        (value,) = [
            word for word in secrets[f"openstack_ceph_{user}_pass"] if storage1_key(storage1, user) == storage.ceph_key(word)
        ]
        assert value


def storage1_key(host, user):
    """A user's key, as the cluster has it."""
    return host.check_output(f"ceph auth get-key client.{user}").strip()
