"""A cloud whose secrets are hostile, each with a word in it that occurs nowhere else, and what is seen of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hostile
from deployment import RELEASE

from kilonova.run import authorities, secrets

TREE = Path(__file__).resolve().parent.parent.parent
HOSTS = ("controller", "compute1")
# What a run writes and no service writes by itself.
PRINT = r"""
find /etc /root /usr/local /usr/sbin/policy-rc.d /var/lib/kilonova /var/lib/nova /var/lib/dpkg -xdev \
  \( -path /var/lib/nova/instances -o -path /etc/mtab -o -path /root/.cache \) -prune -o \
  -type f -printf '%p %s %T@ %m %u %g\n' 2>/dev/null | sort
systemctl list-unit-files --no-legend --plain | awk '{print $1, $2}'
"""


@dataclass
class Cloud:
    """A sandbox, its inventory, and what was written on the way to it."""

    name: str
    network: str
    inventory: Path
    log: Path | None = None
    """Output of the whole deployment, with -vvv --diff."""
    processes: list[tuple[str, str]] = field(default_factory=list)
    """Secrets that were seen in argv or environment of a process meanwhile: (kind, command)."""

    @property
    def prefix(self) -> str:
        """What its containers' names begin with."""
        return "" if self.name == "kilonova" else f"{self.name}-"

    @property
    def environment(self) -> dict[str, str]:
        """Environment of Ansible."""
        return {
            **os.environ,
            "KILONOVA_SANDBOX": self.name,
            "KILONOVA_NETWORK": self.network,
            "KILONOVA_RELEASE": RELEASE,
            "KILONOVA_INVENTORY": str(self.inventory),
            "ANSIBLE_CONFIG": str(TREE / "ansible.cfg"),
        }

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets that the inventory has now."""
        return secrets.values(self.inventory)

    @property
    def certificates(self) -> dict[str, Any]:
        """The inventory's authority and certificates, as its file has them."""
        path = authorities.file_of(self.inventory, f"sandbox_{self.name.replace('-', '_')}")
        return json.loads(path.read_text(encoding="utf-8"))

    @property
    def words(self) -> set[str]:
        """What must be found nowhere: every form of every secret, and the line of each key that is its own."""
        held = authorities.Held.of_variables(self.certificates)
        keys = [held.key, *(pair.key for uses in held.hosts.values() for pair in uses.values())]
        return hostile.words_of(self.secrets) | {key.splitlines()[2] for key in keys}

    def run(self, playbook: str, *arguments: str, inventory: Path | None = None, log: Path | None = None, timeout: int = 1500):
        """Run a playbook; returns the process with its output (standard output and errors together)."""
        command = [
            sys.executable,
            "-m",
            "ansible",
            "playbook",
            "-i",
            str(inventory or self.inventory),
            f"playbooks/{playbook}",
            *arguments,
        ]
        done = subprocess.run(
            command,
            cwd=TREE,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if log:
            log.write_text(done.stdout, encoding="utf-8")
        return done

    def shell(self, host: str, script: str, check: bool = True) -> str:
        """Run a script on a host, as root."""
        done = subprocess.run(
            ["podman", "exec", "--interactive", f"{self.prefix}{host}", "bash", "-s"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{host}: {done.stdout}{done.stderr}"
        return done.stdout

    def python(self, host: str, program: str, given: str = "") -> str:
        """Run a Python program on a host, with `given` as its input, so that no secret is in a command line."""
        done = subprocess.run(
            ["podman", "exec", "--interactive", f"{self.prefix}{host}", "python3", "-c", program],
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{host}: {done.stdout}{done.stderr}"
        return done.stdout

    def fingerprint(self) -> dict[str, str]:
        """Host -> every file of the installation with size, times, mode and owner, and every unit with its state."""
        return {host: self.shell(host, PRINT) for host in HOSTS}

    def containers_run(self) -> bool:
        """Whether both are up."""
        done = subprocess.run(["podman", "ps", "--format", "{{.Names}}"], capture_output=True, text=True, check=True)
        return all(f"{self.prefix}{host}" in done.stdout.split() for host in HOSTS)


def watched(cloud: Cloud, playbook: str, *arguments: str, log: Path, words: set[str]):
    """Run a playbook while every process of this machine, containers included, is looked at for the words."""
    script = Path(__file__).with_name("watch_processes.py")
    with subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as watcher:
        watcher.stdin.write("\n".join(words) + "\n\n")
        watcher.stdin.flush()
        done = cloud.run(playbook, *arguments, log=log)
        said, _errors = watcher.communicate("stop\n", timeout=30)
    cloud.processes += [tuple(line.split(" ", 1)) for line in said.splitlines()]
    return done
