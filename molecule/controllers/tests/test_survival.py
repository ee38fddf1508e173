"""Three controllers under load: each of them dies, or one of its services; nothing that was confirmed is lost."""

from __future__ import annotations

import time

import pytest
from conftest import CONTROLLERS, SANDBOX, host, play, podman
from load import Load

from kilonova.onhost import clusters

# The longest time without an answer that a test takes: seconds. docs/controllers.md has what was measured.
GAP, GAP_OF_INSTANCES = 45, 150
# How long users work before and after something dies.
BEFORE, AFTER = 5, 45
DATABASE = "echo '@1 show table 3306-virtual' | socat -t 5 - UNIX-CONNECT:/run/haproxy-master.sock"


def holder() -> str:
    """The controller that has the common address."""
    address = host(CONTROLLERS[0]).file("/etc/keepalived/keepalived.conf").content_string
    address = address.partition("virtual_ipaddress {")[2].split()[0].partition("/")[0]
    return next(name for name in CONTROLLERS if f" {address}/" in host(name).check_output("ip -oneline address show"))


def writer() -> str:
    """The controller whose MariaDB everybody is led to."""
    return clusters.LED_TO.search(host(holder()).check_output(DATABASE)).group(1)


def leader() -> str:
    """The controller that leads OVN's southbound database."""
    ask = "ovs-appctl -t /run/ovn/ovnsb_db.ctl cluster/status OVN_Southbound"
    return next(name for name in CONTROLLERS if "Role: leader" in host(name).check_output(ask))


def lived_through(load: Load, capsys) -> None:
    """See that users had no longer pause than they may, and have all that was confirmed."""
    wrong = load.wrong()
    with capsys.disabled():
        print(f"\n    {load.said()}; instances in a wrong state: {wrong}")
    gaps = {user: load.gap(user)[0] for user in {one.user for one in load.requests}}
    # From one that lived to the next.
    assert gaps.pop("instance") <= GAP_OF_INSTANCES and max(gaps.values()) <= GAP, (load.said(), load.failed()[:5])
    assert load.ports and load.lost() == [] and wrong == []


def instances(cloud) -> dict[str, str]:
    """Each instance and its state."""
    return {one.name: one.status for one in cloud.compute.servers(all_projects=True)}


def test_all_is_well(rows):
    assert rows() == []


@pytest.mark.parametrize("chosen", [holder, writer, leader], ids=["has the address", "is written to", "leads OVN's databases"])
def test_a_controller_dies(connect, whole, capsys, chosen):
    """Without a word, as by a power cut; and it comes back by itself."""
    victim, before = chosen(), instances(connect())
    with Load(connect) as load:
        time.sleep(BEFORE)
        podman("kill", "--signal", "KILL", f"{SANDBOX}-{victim}")
        try:
            time.sleep(AFTER)
        finally:
            podman("start", f"{SANDBOX}-{victim}")
        whole()
    lived_through(load, capsys)
    assert instances(connect()) == before


@pytest.mark.parametrize(
    "unit", ["mariadb", "rabbitmq-server", "haproxy", "keepalived", "memcached", "keystone", "ovn-ovsdb-server-sb"]
)
def test_a_service_stops(connect, whole, capsys, unit):
    """On the controller where it is needed most."""
    victim = host(writer() if unit == "mariadb" else leader() if unit.startswith("ovn") else holder())
    with Load(connect) as load:
        time.sleep(BEFORE)
        victim.run_expect([0], "systemctl stop %s", unit)
        try:
            time.sleep(AFTER)
        finally:
            victim.run_expect([0], "systemctl start %s", unit)
        whole()
    lived_through(load, capsys)


def test_a_database_that_hangs(connect, whole, capsys):
    """A process that is stopped keeps its connections, and answers nothing."""
    victim = host(writer())
    with Load(connect) as load:
        time.sleep(BEFORE)
        victim.run_expect([0], "systemctl kill --signal STOP mariadb")
        try:
            time.sleep(AFTER)
        finally:
            victim.run_expect([0], "systemctl kill --signal CONT mariadb")
        whole()
    lived_through(load, capsys)


def test_all_controllers_lose_power(connect, whole):
    """Each of them knows who was there last, and waits for these; then all goes on by itself."""
    before = instances(connect())
    for name in CONTROLLERS:
        podman("kill", "--signal", "KILL", f"{SANDBOX}-{name}")
    for name in CONTROLLERS:
        podman("start", f"{SANDBOX}-{name}")
    whole()
    assert instances(connect()) == before


def test_a_run_with_one_controller_down(connect, whole):
    """It does its work on the others, says which one it left out, and the next run makes up for it."""
    victim, changed = CONTROLLERS[0], '{"nova_controller_overrides": {"nova.conf": {"api": {"max_limit": 999}}}}'
    podman("kill", "--signal", "KILL", f"{SANDBOX}-{victim}")
    try:
        status, said = play("site", "--extra-vars", changed)
        assert "controller2: restart nova-api" in said and "controller3: restart nova-api" in said, (status, said[-3000:])
        assert status and f"{victim}" in said.partition("PLAY RECAP")[2]
    finally:
        podman("start", f"{SANDBOX}-{victim}")
    whole()
    status, said = play("site", "--extra-vars", changed)
    assert status == 0 and "controller: restart nova-api" in said and "controller2: restart" not in said, said[-3000:]
    status, said = play("site")
    assert status == 0, said[-3000:]
    whole()
