"""One sandbox for all tests here: the one that KILONOVA_SANDBOX names if it runs, else one that is deployed and removed again."""

from __future__ import annotations

import os

import pytest
from deployment import SITE, Deployment


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """A deployed cloud. `fresh` is what its first plan said and what the run then did, when it was deployed here."""
    named = os.environ.get("KILONOVA_SANDBOX")
    found = Deployment(named or "trust", os.environ.get("KILONOVA_NETWORK") or "10.24")
    found.fresh = None
    if named and found.runs():
        found.playbook(SITE)
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
        yield found
    finally:
        found.destroy()
