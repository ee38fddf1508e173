"""A run that has nothing to change touches nothing, and one changed option restarts what reads it, once."""

from __future__ import annotations

import json

import pytest
from deployment import SITE, differences
from drift import PIECES, pieces

# The sandbox's own overrides, and one option of one service each.
OPTIONS = {
    "nova_controller_overrides": {
        "nova.conf": {"DEFAULT": {"allow_resize_to_same_host": True}, "scheduler": {"max_attempts": 4}}
    },
    "neutron_agents_overrides": {"l3_agent.ini": {"DEFAULT": {"handle_internal_only_routers": True}}},
}
# nova-conductor reads how often a launch is tried: nova.scheduler.utils, populate_retry.
READERS = {
    ("controller", "nova-scheduler.service"),
    ("controller", "nova-conductor.service"),
    ("controller", "neutron-l3-agent.service"),
}


def restarted(before, after):
    """(host, unit) of the units that run as another invocation."""
    return {
        (host, name)
        for host in before
        for name, unit in after[host]["units"].items()
        if before[host]["units"].get(name, {}).get("InvocationID") != unit["InvocationID"]
    }


def starts(sandbox, host, unit):
    """How often systemd started the unit since the host's boot."""
    return int(sandbox.sh(host, f"journalctl --boot --unit {unit} --output cat | grep -c '^Started {unit}' || true"))


def test_a_second_run_touches_nothing(sandbox, tmp_path):
    before = sandbox.look("pulse")
    done, text = sandbox.recorded(tmp_path / "run", SITE)
    assert done == set()
    assert differences(before, sandbox.look("pulse")) == []
    assert "Nothing had to be changed on any host." in text


def test_an_option_restarts_exactly_what_reads_it_once(sandbox):
    for arguments in (["--extra-vars", json.dumps(OPTIONS)], []):
        before = sandbox.look("pulse")
        counted = {reader: starts(sandbox, *reader) for reader in READERS}
        sandbox.playbook(SITE, *arguments)
        assert restarted(before, sandbox.look("pulse")) == READERS
        assert {reader: starts(sandbox, *reader) for reader in READERS} == {reader: n + 1 for reader, n in counted.items()}


@pytest.mark.parametrize("number", range(len(PIECES)), ids=[f"{host}: {command[:40]}" for host, command, _items in PIECES])
def test_a_change_by_hand_is_found_where_it_is_the_only_one(sandbox, tmp_path, number):
    """So it is not found by luck, because another one kept the run from leaving out its play."""
    right = sandbox.look("state")
    host, command, _items = pieces(sandbox)[number]
    sandbox.sh(host, command)
    planned, _text = sandbox.recorded(tmp_path / "plan", SITE, "--check")
    done, _text = sandbox.recorded(tmp_path / "run", SITE)
    assert planned == done != set()
    assert differences(right, sandbox.look("state")) == []
