"""A sandbox that tests deploy, look at, break and kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
LOOK = (Path(__file__).parent / "look.py").read_bytes()
SITE = "playbooks/site.yml"
INVENTORY = Path(os.environ.get("KILONOVA_INVENTORY") or PROJECT / "inventories" / "sandbox").resolve()
# Of sandboxes that are deployed here: not the usual one, so that both are tested.
RELEASE = os.environ.get("KILONOVA_RELEASE") or ("" if os.environ.get("KILONOVA_SANDBOX") else "zed")
# Everything in a container that systemd did not start: what a run has left there.
STRAYS = r"""
for p in /proc/[0-9]*; do
  n=${p#/proc/}; [ "$n" = 1 ] || [ "$n" = $$ ] && continue
  grep -qE 'system\.slice|init\.scope|user\.slice|machine\.slice' $p/cgroup 2>/dev/null && continue
  [ "$(readlink $p/exe)" ] && kill -9 $n
done 2>/dev/null; true
"""


class Deployment:
    """The containers of one sandbox, and runs of the playbooks on them."""

    def __init__(self, name: str, network: str, hosts: tuple[str, ...] = ("controller", "compute1"), images: str = ""):
        """`images="on"`: from images that have the packages in them, as `make cloud` does; otherwise they are installed."""
        self.name, self.network, self.hosts = name, network, hosts
        self.environment = {
            **os.environ,
            "KILONOVA_SANDBOX": name,
            "KILONOVA_NETWORK": network,
            "KILONOVA_RELEASE": RELEASE,
            "KILONOVA_IMAGES": images,
            "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"),
            "ANSIBLE_INVENTORY": str(INVENTORY),
            "PATH": f"{PROJECT / '.venv/bin'}:{os.environ['PATH']}",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
        }

    def container(self, host: str) -> str:
        """Name of a host's container."""
        return host if self.name == "kilonova" else f"{self.name}-{host}"

    def runs(self) -> bool:
        """Whether the containers run."""
        names = subprocess.run(["podman", "ps", "--format", "{{.Names}}"], capture_output=True, text=True, check=True).stdout
        return {self.container(host) for host in self.hosts} <= set(names.split())

    def playbook(self, *arguments: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess:
        """Run ansible-playbook; with `check`, it must succeed."""
        done = subprocess.run(
            ["ansible-playbook", *arguments],
            cwd=PROJECT,
            env={**self.environment, **environment},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-6000:]
        return done

    def recorded(self, record: Path, *arguments: str, check: bool = True) -> tuple[set[tuple[str, str, str]], str]:
        """Run and return what it says that it changed, and its output."""
        done = self.playbook(*arguments, check=check, KILONOVA_RECORD=str(record))
        return {(line["host"], line["task"], line["item"]) for line in read(record) if "item" in line}, done.stdout

    def create(self) -> None:
        """Fresh containers."""
        subprocess.run(["python", "-m", "kilonova.run.secrets", str(INVENTORY)], cwd=PROJECT, env=self.environment, check=True)
        self.playbook("playbooks/sandbox.yml")

    def destroy(self) -> None:
        """Remove them."""
        self.playbook("playbooks/destroy.yml")

    def sh(self, host: str, command: str, check: bool = True) -> str:
        """Run a shell command on a host; returns its output."""
        done = subprocess.run(
            ["podman", "exec", self.container(host), "bash", "-c", command],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done.stdout.strip()

    def sql(self, statement: str) -> str:
        """Run SQL on the controller as root."""
        return self.sh("controller", f"mariadb --batch --skip-column-names -e {json.dumps(statement)}")

    def openstack(self, arguments: str, check: bool = True) -> str:
        """Run the openstack client as the administrator."""
        return self.sh("controller", f". /root/admin-openrc; timeout 300 openstack {arguments}", check)

    def look(self, what: str) -> dict[str, dict]:
        """What look.py finds on every host."""
        found = {}
        for host in self.hosts:
            command = ["podman", "exec", "-i", self.container(host), "python3", "-", what, f"{self.network}."]
            found[host] = json.loads(subprocess.run(command, input=LOOK, capture_output=True, check=True).stdout)
        return found

    def kill_when(self, record: Path, moment: Callable[[list[dict]], bool], *arguments: str, delay: float = 0) -> str:
        """Start a run and kill it, with everything that it left in the containers, `delay` seconds after `moment(record)`.

        Returns the task that it died in; empty when the run ended before.
        """
        record.write_text("")
        process = subprocess.Popen(
            ["ansible-playbook", *arguments],
            cwd=PROJECT,
            env={**self.environment, "KILONOVA_RECORD": str(record)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            while process.poll() is None and not moment(read(record)):
                time.sleep(0.1)
            time.sleep(delay)
            ended = process.poll()
            assert ended in (None, 0), f"the run failed by itself ({ended}) in {read(record)[-1:]}"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for host in self.hosts:
                # Twice: a shell may have been about to start another.
                self.sh(host, STRAYS + STRAYS, check=False)
        tasks = [line["begun"] for line in read(record) if "begun" in line]
        return "" if ended == 0 else tasks[-1]


def read(record: Path) -> list[dict]:
    """The lines of a record; the last may have been cut off."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            break
    return found


def without_certificates(state: Any) -> Any:
    """A state as far as it is the same in two sandboxes, of which each has certificates and keys of its own."""
    if isinstance(state, dict):
        return {key: without_certificates(value) for key, value in state.items()}
    return re.sub("(?<= [0-9a-f]{16}) with [0-9a-f]{16}$", "", state) if isinstance(state, str) else state


def differences(before: dict, after: dict, path: str = "") -> list[str]:
    """Where two looks differ, one line each."""
    found = []
    for key in sorted(set(before) | set(after)):
        old, new, where = before.get(key), after.get(key), f"{path}/{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            found += differences(old, new, where)
        elif isinstance(old, list) and isinstance(new, list):
            gone, come = [item for item in old if item not in new], [item for item in new if item not in old]
            if gone or come:
                found.append(f"{where}: without {gone}, with {come}")
        elif old != new:
            found.append(f"{where}: {old!r} became {new!r}")
    return found
