"""Faults planted one after another in one cloud: verify finds and names each, and finds nothing when it is mended."""

import json
import os
import subprocess
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import testinfra
import yaml

PROJECT = Path(__file__).resolve().parents[3]
# Long enough for a boot on a busy machine, and short for what never comes.
TIMEOUT = 120


def host(name):
    return testinfra.get_host(f"podman://{os.environ['KILONOVA_SANDBOX']}-{name}")


def sh(name, command):
    """Run a command on a host; fails with what it said."""
    done = host(name).run(command)
    assert done.rc == 0, f"{name}: {command}: {done.stdout}{done.stderr}"
    return done.stdout


def verify(directory, rows, **variables):
    """Run the playbook for some rows; returns its exit status and what it found."""
    values = {"verify_rows": rows, "verify_timeout": TIMEOUT, "verify_report_directory": str(directory), **variables}
    done = subprocess.run(
        [
            str(PROJECT / ".venv/bin/ansible-playbook"),
            "--inventory=inventories/sandbox",
            f"--extra-vars={json.dumps(values)}",
            "playbooks/verify.yml",
        ],
        cwd=PROJECT,
        env={**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")},
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    path = directory / "verify.json"
    assert path.exists(), done.stdout[-3000:] + done.stderr[-3000:]
    return done.returncode, json.loads(path.read_text())


def words(row):
    """Everything that a reader is told of a failed row."""
    return json.dumps([row["reason"], row.get("fault"), row.get("look_at"), row.get("logs"), row.get("console")])


# -- the faults: each breaks something, and mends it


@contextmanager
def stopped(name, unit):
    sh(name, f"systemctl stop {unit}")
    try:
        yield {}
    finally:
        sh(name, f"systemctl start {unit}")


@contextmanager
def replaced(name, path, pattern, replacement, unit):
    """Another value in a file, of which only the first match within `pattern` (sed's address and expression) changes."""
    sh(
        name,
        f"cp --preserve=all {path} {path}.planted && sed --in-place '{pattern}s/{replacement}/' {path}"
        f" && ! cmp --silent {path} {path}.planted",
    )
    try:
        sh(name, f"systemctl restart {unit}")
        yield {}
    finally:
        sh(name, f"mv {path}.planted {path} && systemctl restart {unit}")


@contextmanager
def without_permissions():
    sh("controller", "rabbitmqctl --quiet clear_permissions openstack")
    try:
        yield {}
    finally:
        sh("controller", "rabbitmqctl --quiet set_permissions openstack '.*' '.*' '.*'")
        # Services that were refused a queue do not all ask again by themselves.
        sh(
            "controller",
            "systemctl restart nova-conductor nova-scheduler nova-api neutron-rpc-server neutron-api neutron-dhcp-agent "
            "neutron-l3-agent neutron-openvswitch-agent",
        )
        sh("compute1", "systemctl restart nova-compute neutron-openvswitch-agent")


@contextmanager
def bad_image():
    """An image whose stored data is not what was uploaded."""
    openstack = "openstack --os-cloud admin"
    sh("controller", "head --bytes=1048576 /dev/urandom > /tmp/bad.img")
    image = sh(
        "controller", f"{openstack} image create --public --disk-format raw --file /tmp/bad.img bad --format value --column id"
    ).strip()
    sh("controller", f"printf broken | dd of=/var/lib/glance/images/{image} conv=notrunc status=none")
    try:
        yield {"verify_image": "bad"}
    finally:
        sh("controller", f"{openstack} image delete {image} && rm /tmp/bad.img")


@contextmanager
def too_large():
    """A flavor that no host has the memory for."""
    yield {"verify_flavor": {"ram": 128, "disk": 1, "vcpus": 1, "extra_specs": {"resources:MEMORY_MB": "99999999"}}}


FAULTS = {
    "nova-compute stopped": (
        stopped("compute1", "nova-compute"),
        ["active"],
        "active",
        ["compute1: nova-compute.service is inactive"],
    ),
    "wrong Neutron password in nova.conf": (
        replaced("compute1", "/etc/nova/nova.conf", "/^\\[neutron\\]/,/^\\[/", "^password = .*/password = wrong", "nova-compute"),
        ["active"],
        "active",
        ["nova.conf [neutron] username and password"],
    ),
    "metadata secrets differ": (
        replaced(
            "controller",
            "/etc/neutron/metadata_agent.ini",
            "",
            "^metadata_proxy_shared_secret = .*/metadata_proxy_shared_secret = other",
            "neutron-metadata-agent",
        ),
        ["metadata"],
        "metadata",
        ["metadata_proxy_shared_secret"],
    ),
    "novncproxy stopped": (
        stopped("controller", "nova-novncproxy"),
        ["novnc_page"],
        "novnc_page",
        ["controller: nova-novncproxy.service is inactive"],
    ),
    "image with a bad checksum": (bad_image(), ["image"], "image", ["checksum mismatch"]),
    "no host with enough memory": (too_large(), ["active"], "active", ["No valid host", "compute1 has no room: MEMORY_MB"]),
    "DHCP agent stopped": (
        stopped("controller", "neutron-dhcp-agent"),
        ["lease"],
        None,
        ["controller: neutron-dhcp-agent.service is inactive"],
    ),
    # Last, because it takes the longest to mend.
    "RabbitMQ user without permissions": (without_permissions(), ["active"], None, ["permissions"]),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found_and_named(name, tmp_path):
    fault, rows, failing, told = FAULTS[name]
    with ExitStack() as stack:
        variables = stack.enter_context(fault)
        status, found = verify(tmp_path, rows, **variables)
    failed = [row for row in found["rows"] if row["status"] == "failed"]
    assert status != 0
    assert failed, "no row failed"
    if failing:
        assert failing in [row["name"] for row in failed]
    text = " ".join(words(row) for row in failed)
    assert [item for item in told if item not in text] == [], text
    page = (tmp_path / "index.html").read_text()
    assert "did not work" in page


def test_the_mended_cloud_works(tmp_path):
    """All is as before, and nothing of the broken runs is left."""
    deadline = time.monotonic() + 300
    while True:
        status, found = verify(tmp_path, ["services", "metadata", "novnc_rfb"])
        if status == 0 or time.monotonic() > deadline:
            break
        time.sleep(10)
    assert status == 0, [row for row in found["rows"] if row["status"] == "failed"]
    left = sh("controller", "openstack --os-cloud admin project list --format value --column Name")
    assert "kilonova-verify" not in left


def test_no_secret_is_in_the_reports(tmp_path):
    """What was shown of logs and faults holds no password of the inventory."""
    secrets = yaml.safe_load((PROJECT / "inventories/sandbox/group_vars/all/secrets.yml").read_text())
    texts = [path.read_text() for path in tmp_path.parent.rglob("*.json")] + [
        path.read_text() for path in tmp_path.parent.rglob("*.html")
    ]
    assert texts
    assert [name for name, value in secrets.items() if any(value in text for text in texts)] == []
