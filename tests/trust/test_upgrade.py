"""A cloud that the version before has deployed: the first run of this one does what CHANGELOG says, and restarts no service."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from deployment import INVENTORY, PROJECT, SITE, Deployment, differences
from test_noop import restarted

# The state before the redesign of roles, instruments and the unit engine (2026-11-25).
BEFORE = "6a5d7b2b11"
PLACE = "group_vars/all/secrets.yml"
# What the first run of this version changes (CHANGELOG.md): bridges keep the address of their port, and libvirtd, which reads
# qemu.conf, is restarted for it.
SCRIPT = "/usr/local/sbin/openstack-bridges"
LIBVIRTD = ("compute1", "restart libvirtd")


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """A sandbox that the version before has deployed, with its own inventory and this one's secrets."""
    tree = tmp_path_factory.mktemp("earlier") / "kilonova"
    if subprocess.run(
        ["git", "cat-file", "-e", f"{BEFORE}^{{commit}}"], cwd=PROJECT, capture_output=True, check=False
    ).returncode:
        pytest.skip(f"this clone does not have the commit {BEFORE}")
    subprocess.run(["git", "worktree", "add", "--detach", str(tree), BEFORE], cwd=PROJECT, check=True, capture_output=True)
    found = Deployment("upgrade", "10.27")
    try:
        found.create()
        inventory = tree / "inventories" / "sandbox"
        shutil.copy(INVENTORY / PLACE, inventory / PLACE)
        # The inventory of then for both: it had overrides in other places, and files say where an option comes from.
        found.environment["ANSIBLE_INVENTORY"] = str(inventory)
        found.playbook(str(tree / SITE), ANSIBLE_CONFIG=str(tree / "ansible.cfg"))
        # The version before did not know TLS, and refuses the variable; test_tls.py has the run that brings it.
        (inventory / PLACE).with_name("tls.yml").write_text("openstack_tls: false\n")
        yield found
    finally:
        found.destroy()
        subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=PROJECT, check=True)


def test_the_first_run_after_an_upgrade_restarts_nothing(earlier, tmp_path):
    before = earlier.look("pulse")
    planned, _text = earlier.recorded(tmp_path / "plan", SITE, "--check")
    assert {(host, item.partition(" (")[0]) for host, _task, item in planned} == {
        (host, action) for host in earlier.hosts for action in (f"write {SCRIPT}", "restart openstack-bridges")
    } | {LIBVIRTD}
    done, _text = earlier.recorded(tmp_path / "run", SITE)
    assert done == planned
    after = earlier.look("pulse")
    assert restarted(before, after) == {
        *((host, "openstack-bridges.service") for host in earlier.hosts),
        ("compute1", "libvirtd.service"),
    }
    # The version before did not note where services answer; a directory's time tells that a file is new in it.
    known = (
        "/files//var/lib/kilonova",
        f"/files/{SCRIPT}",
        "/files//usr/local/sbin: ",
        "/units/openstack-bridges.service",
        "/units/libvirtd.service",
    )
    assert [line for line in differences(before, after) if not any(word in line for word in known)] == []
    again, _text = earlier.recorded(tmp_path / "again", SITE)
    assert again == set()
