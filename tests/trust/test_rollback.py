"""A configuration that is wrong never reaches a service; one that it does not survive is put back."""

from __future__ import annotations

import json

import pytest
from deployment import SITE, differences
from test_noop import restarted


def overridden(sandbox, role, path, section, options):
    """Run with these options on top of the sandbox's own; returns the failed run."""
    kept = {"nova.conf": {"DEFAULT": {"allow_resize_to_same_host": True}}} if role == "nova_controller" else {}
    kept.setdefault(path, {}).setdefault(section, {}).update(options)
    variables = {f"{role}_overrides": kept, "openstack_services_timeout": 60}
    done = sandbox.playbook(SITE, "--extra-vars", json.dumps(variables), check=False)
    assert done.returncode != 0
    return done.stdout


def test_an_invalid_configuration_reaches_no_service(sandbox):
    before = sandbox.look("pulse")
    text = overridden(sandbox, "nova_controller", "nova.conf", "scheduler", {"max_attempts": "many"})
    assert "max_attempts" in text
    assert "Nothing was changed" in text
    assert differences(before, sandbox.look("pulse")) == []


@pytest.mark.parametrize(
    ("role", "path", "section", "options", "unit"),
    [
        # Drivers of the operator's own, which may be there, and are not.
        ("nova_controller", "nova.conf", "filter_scheduler", {"weight_classes": "own.weights.all"}, "nova-scheduler"),
        ("neutron_agents", "l3_agent.ini", "DEFAULT", {"interface_driver": "no_such_driver"}, "neutron-l3-agent"),
    ],
)
def test_a_configuration_that_a_service_does_not_survive_is_put_back(sandbox, role, path, section, options, unit):
    directory = {"nova_controller": "/etc/nova", "neutron_agents": "/etc/neutron"}[role]
    right, before = sandbox.look("state"), sandbox.look("pulse")
    text = overridden(sandbox, role, path, section, options)
    assert f"service {unit} does not run with its new configuration" in text
    assert f"{directory}/{path} was put back as it was before" in text
    assert ("controller", f"{unit}.service") in restarted(before, sandbox.look("pulse"))
    assert differences(right, sandbox.look("state")) == []
    # It is as if nobody had asked for it.
    before = sandbox.look("pulse")
    sandbox.playbook(SITE)
    assert differences(before, sandbox.look("pulse")) == []
