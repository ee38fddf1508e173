"""Kill a run anywhere, with everything that it left on the hosts; the next one ends where one that was not killed ends."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess

import pytest
from deployment import SITE, Deployment, differences, read, without_certificates
from drift import drift
from test_noop import OPTIONS, READERS, restarted

SEED = int(os.environ.get("KILONOVA_SEED") or random.randrange(10**6))
KILLS = int(os.environ.get("KILONOVA_KILLS") or 10)


@pytest.fixture(scope="module")
def chance():
    """The dice. KILONOVA_SEED repeats what it printed; moments within a task still differ."""
    print(f"\nKILONOVA_SEED={SEED}")
    return random.Random(SEED)


def begun(number):
    """When the record shows that the task with this number has begun."""
    return lambda lines: sum("begun" in line for line in lines) >= number


def did(item):
    """When the record shows that something was done; why is in parentheses after it."""
    return lambda lines: any(line.get("item", "").partition(" (")[0] == item for line in lines)


def test_repairs_that_were_killed_are_completed(sandbox, tmp_path, chance):
    right = sandbox.look("state")
    drift(sandbox)
    # Later runs leave out what earlier ones have repaired, so that they get further with as many tasks.
    for number in chance.sample(range(12, 50), 3):
        task = sandbox.kill_when(tmp_path / "record", begun(number), SITE, delay=chance.random())
        print(f"killed in task {number}: {task}")
    sandbox.playbook(SITE)
    assert differences(right, sandbox.look("state")) == []
    assert sandbox.recorded(tmp_path / "again", SITE)[0] == set()


def test_a_restart_that_was_pending_happens(sandbox, tmp_path):
    option = ["--extra-vars", json.dumps(OPTIONS)]
    before = sandbox.look("pulse")
    assert sandbox.kill_when(tmp_path / "record", did("write /etc/nova/nova.conf"), SITE, *option)
    assert restarted(before, sandbox.look("pulse")) == set()
    sandbox.playbook(SITE, *option)
    assert restarted(before, sandbox.look("pulse")) == READERS
    sandbox.playbook(SITE)


def test_containers_that_were_killed_with_their_monitors_start_again(sandbox, tmp_path):
    for host in sandbox.hosts:
        for key in ("ConmonPid", "Pid"):
            found = ["podman", "inspect", "--format", f"{{{{.State.{key}}}}}", sandbox.container(host)]
            os.kill(int(subprocess.run(found, capture_output=True, text=True, check=True).stdout), signal.SIGKILL)
    done = sandbox.recorded(tmp_path / "record", "playbooks/sandbox.yml")[0]
    assert {(host, task) for host, task, _item in done} == {
        ("localhost", "sandbox : Provide the networks and the containers, present")
    }
    assert sandbox.recorded(tmp_path / "again", SITE)[0] == set()


@pytest.fixture(scope="module")
def fresh():
    """A sandbox of its own that nothing was installed in."""
    found = Deployment("crash", "10.25")
    found.create()
    yield found
    found.destroy()


def test_an_installation_that_was_killed_is_completed(sandbox, fresh, tmp_path, chance):
    record = tmp_path / "record"

    def counted(command, pattern, count):
        """When so many lines of a command's output have the pattern."""
        return lambda _lines: int(fresh.sh("controller", f"{command} 2>/dev/null | grep -c {pattern} || true")) >= count

    def configured(count):
        """When so many packages were configured."""
        return counted("cat /var/log/dpkg.log", "' status half-configured '", count)

    def tables(database, count):
        """When a migration has made so many tables."""
        return counted(f"ls /var/lib/mysql/{database}", "frm", count)

    moments = [
        # Inside of apt: while it unpacks, and while it configures, twice.
        ("apt unpacks", lambda _lines: "dpkg" in fresh.sh("controller", "pgrep -x dpkg >/dev/null && echo dpkg || true")),
        ("apt configures", configured(chance.randrange(30, 200))),
        ("apt configures more", configured(chance.randrange(300, 500))),
        ("a schema sync of keystone", tables("keystone", chance.randrange(2, 30))),
        ("nova.conf was written", did("write /etc/nova/nova.conf")),
        ("a schema sync of nova_api", tables("nova_api", chance.randrange(2, 25))),
        ("cell1 was created", counted("mariadb -N -e 'SELECT name FROM nova_api.cell_mappings'", "cell1", 1)),
        ("a schema sync of nova", tables("nova", chance.randrange(5, 60))),
        ("a schema sync of neutron", tables("neutron", chance.randrange(10, 100))),
    ]
    for name, moment in moments:
        task = fresh.kill_when(record, moment, SITE, delay=chance.random())
        print(f"killed when {name}, in: {task}")
        assert task, f"the run ended before {name}"
    # Anywhere, as far as it gets: each run does some of what is left.
    total = sum("begun" in line for line in read(record)) + 20
    for number in sorted(chance.sample(range(8, total), KILLS)):
        task = fresh.kill_when(record, begun(number), SITE, delay=3 * chance.random())
        print(f"killed in task {number}: {task or '(not: it had ended)'}")
    fresh.playbook(SITE)
    assert differences(without_certificates(sandbox.clean), without_certificates(fresh.look("state"))) == []
    assert fresh.recorded(tmp_path / "again", SITE)[0] == set()
