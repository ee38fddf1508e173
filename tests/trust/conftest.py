"""One sandbox for all tests here: the one that KILONOVA_SANDBOX names if it runs, else one that is deployed and removed again."""

from __future__ import annotations

import os
import time
from pathlib import Path

import hostile
import pytest
from canary import TREE, Cloud, watched
from deployment import SITE, Deployment


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """A deployed cloud. `fresh` is what its first plan said and what the run then did, when it was deployed here; `clean` is its
    state before the tests: a second compute node, for one, leaves the first with an SSH server.
    """
    named = os.environ.get("KILONOVA_SANDBOX")
    found = Deployment(named or "trust", os.environ.get("KILONOVA_NETWORK") or "10.24")
    found.fresh = None
    if named and found.runs():
        found.playbook(SITE)
        found.clean = found.look("state")
        yield found
        return
    found.create()
    try:
        directory = tmp_path_factory.mktemp("fresh")
        before = found.look("pulse")
        planned, text = found.recorded(directory / "plan", SITE, "--check", "--diff")
        after = found.look("pulse")
        done, _text = found.recorded(directory / "run", SITE)
        found.fresh = {"planned": planned, "done": done, "text": text, "before": before, "after": after}
        found.clean = found.look("state")
        yield found
    finally:
        found.destroy()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory):
    """A cloud whose secrets are hostile, with a canary in each, and everything that its deployment said.

    One of its own, called `canary`; or the one that KILONOVA_SANDBOX names if it runs, with the inventory KILONOVA_INVENTORY.
    """
    directory = tmp_path_factory.mktemp("canary")
    named, log = os.environ.get("KILONOVA_SANDBOX"), directory / "deployment.log"
    if named:
        inventory = Path(os.environ.get("KILONOVA_INVENTORY") or TREE / "inventories" / "sandbox").resolve()
        found = Cloud(named, os.environ.get("KILONOVA_NETWORK") or "10.24", inventory, log)
        if found.containers_run():
            done = watched(found, "site.yml", "-vvv", "--diff", log=log, words=found.words)
            assert done.returncode == 0, done.stdout[-3000:]
            yield found
            return
    inventory = hostile.copy(TREE / "inventories" / "sandbox", directory / "inventory", int(time.time()))
    made = Cloud("canary", "10.25", inventory, log)
    try:
        done = made.run("certificates.yml")
        assert done.returncode == 0, done.stdout[-3000:]
        done = watched(made, "cloud.yml", "-vvv", "--diff", log=log, words=made.words)
        assert done.returncode == 0, done.stdout[-3000:]
        yield made
    finally:
        made.run("destroy.yml")
