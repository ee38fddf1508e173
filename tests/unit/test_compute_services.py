"""The table of compute services, and which of them are waited for."""

import pytest
from harness import load

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


def test_a_compute_service_that_somebody_disabled_is_not_waited_for():
    code, wanted = load("compute_services"), {("nova-compute", f"compute{n}") for n in range(1, 6)}
    rows = [
        ("enabled", "up", None),
        ("disabled", "up", "new disk"),
        ("disabled", "down", None),
        ("enabled", "down", None),
        ("disabled", "up", "AUTO: Connection to libvirt lost: 1"),
    ]
    services = [
        {"binary": "nova-compute", "host": f"compute{n}", "status": status, "state": state, "disabled_reason": reason}
        for n, (status, state, reason) in enumerate(rows, 1)
    ]
    assert code.missing(services, wanted) == [("nova-compute", f"compute{n}") for n in (3, 4, 5)]
    assert code.missing(services, {("nova-compute", "compute6")}) == [("nova-compute", "compute6")]
    assert code.disabled(services[:2] + services[4:]) == {("nova-compute", "compute2")}


def test_the_table_of_compute_services():
    rows = [
        {"binary": "nova-scheduler", "host": "controller", "zone": "internal", "status": "enabled", "state": "up", "id": 2},
        {"binary": "nova-compute", "host": "compute1", "zone": "nova", "status": "disabled", "state": "down", "id": 1},
    ]
    assert load("compute_services").table(rows) == [
        "Binary          Host        Zone      Status    State",
        "nova-compute    compute1    nova      disabled  down",
        "nova-scheduler  controller  internal  enabled   up",
    ]


def test_agents_of_networking_stand_in_the_same_table():
    code = load("compute_services")
    name, hosts = "neutron-openvswitch-agent", [f"compute{n}" for n in range(1, 5)]
    agents = [
        {"binary": name, "host": "compute1", "alive": True, "admin_state_up": True, "availability_zone": None},
        {"binary": name, "host": "compute2", "alive": False, "admin_state_up": True},
        {"binary": name, "host": "compute3", "alive": True, "admin_state_up": False},
        {
            "binary": "neutron-dhcp-agent",
            "host": "controller",
            "alive": True,
            "admin_state_up": True,
            "availability_zone": "nova",
        },
    ]
    rows = code.as_services(agents)
    assert code.missing(rows, code.pairs({name: hosts})) == [(name, "compute2"), (name, "compute4")]
    assert code.disabled(rows) == {(name, "compute3")}
    assert code.table(rows)[1] == "neutron-dhcp-agent         controller  nova  enabled   up"
