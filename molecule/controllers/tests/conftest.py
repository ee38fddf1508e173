"""The scenario's hosts, its cloud by the common address, and its health."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import openstack
import pytest
import testinfra
import yaml

PROJECT = Path(__file__).resolve().parents[3]
INVENTORY = Path(os.environ["KILONOVA_INVENTORY"])
SANDBOX = os.environ["KILONOVA_SANDBOX"]
CONTROLLERS = ("controller", "controller2", "controller3")
# Until a cluster is whole again, whose node was away: seconds. Galera may copy all databases, on a machine with other work.
WHOLE_AGAIN = 420


def podman(*arguments: str) -> str:
    """Run podman; what it printed."""
    done = subprocess.run(["podman", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def host(name: str):
    """A host, by testinfra."""
    return testinfra.get_host(f"podman://{SANDBOX}-{name}")


def play(name: str, *arguments: str) -> tuple[int, str]:
    """Run a playbook on the scenario's cloud; (status, output)."""
    argv = [Path(sys.executable).with_name("ansible-playbook"), "-i", INVENTORY, f"playbooks/{name}.yml", *arguments]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg")}
    done = subprocess.run(
        argv, cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def health(path: Path) -> list[dict]:
    """The rows of `make health`."""
    path.unlink(missing_ok=True)
    _status, said = play("health", "--extra-vars", json.dumps({"health_file": str(path)}))
    assert path.exists(), said[-2000:]
    return json.loads(path.read_text())["rows"]


@pytest.fixture
def rows(tmp_path):
    """A function: the rows of `make health` that are not well.

    What the machine that tests has little of does not count, nor do instances of users who work meanwhile.
    """

    def ask():
        found = health(tmp_path / "health.json")
        ours = [row for row in found if row["about"] not in ("disk", "memory", "other units", "clock", "instances")]
        return [row for row in ours if row["state"] != "ok"]

    return ask


@pytest.fixture
def whole(rows):
    """A function: wait until nothing is wrong with the cloud any more."""

    def wait():
        deadline = time.monotonic() + WHOLE_AGAIN
        while left := rows():
            assert time.monotonic() < deadline, left
            time.sleep(5)

    return wait


@pytest.fixture(scope="session")
def connect(tmp_path_factory):
    """A function: a new connection of an administrator, by the clouds.yaml that the installation wrote, with all defaults."""
    entry = yaml.safe_load(host(CONTROLLERS[0]).file("/etc/openstack/clouds.yaml").content_string)["clouds"]["admin"]
    authority = tmp_path_factory.mktemp("authority") / "authority.pem"
    authority.write_text(host(CONTROLLERS[0]).file(entry["cacert"]).content_string)

    def open_():
        return openstack.connect(
            load_yaml_config=False,
            load_envvars=False,
            auth=entry["auth"],
            region_name=entry["region_name"],
            cacert=str(authority),
        )

    return open_
