"""A plan changes nothing and lists exactly what the run then does: on fresh hosts, on converged ones, on ones changed by hand."""

from __future__ import annotations

import re

import hostile
import pytest
from deployment import INVENTORY, SITE, differences
from drift import drift

from kilonova.run import secrets


@pytest.fixture(scope="session")
def words() -> set[str]:
    """Every form of every secret of the inventory."""
    return hostile.words_of(secrets.values(INVENTORY))


def test_a_plan_on_fresh_hosts_is_what_the_run_does(sandbox):
    if not sandbox.fresh:
        pytest.skip("the sandbox was there before")
    assert sandbox.fresh["planned"] == sandbox.fresh["done"]
    assert len(sandbox.fresh["done"]) > 300


def test_a_plan_on_fresh_hosts_changes_nothing(sandbox):
    if not sandbox.fresh:
        pytest.skip("the sandbox was there before")
    assert differences(sandbox.fresh["before"], sandbox.fresh["after"]) == []


def test_a_plan_on_converged_hosts_is_empty(sandbox, tmp_path):
    before = sandbox.look("pulse")
    planned, text = sandbox.recorded(tmp_path / "plan", SITE, "--check", "--diff")
    assert differences(before, sandbox.look("pulse")) == []
    assert planned == set()
    assert "Nothing would be changed on any host." in text


def test_a_plan_after_changes_by_hand_is_what_the_run_does(sandbox, tmp_path, words):
    right = sandbox.look("state")
    named = drift(sandbox)
    before = sandbox.look("pulse")
    planned, text = sandbox.recorded(tmp_path / "plan", SITE, "--check", "--diff")
    assert differences(before, sandbox.look("pulse")) == []
    assert {item for _host, _task, item in planned} >= named
    done, _text = sandbox.recorded(tmp_path / "run", SITE)
    assert planned == done
    assert differences(right, sandbox.look("state")) == []
    # For people: the diff of the file, the list at the end, and no secret in either.
    assert re.search(r"^-max_attempts = 7$", text, re.MULTILINE)
    assert "compute1: write /etc/nova/nova-compute.conf" in text.split("\nPLAN\n")[1]
    assert not [word for word in words if word in text]
