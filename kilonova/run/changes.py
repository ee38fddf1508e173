"""What a run changed, or would change, and where it stopped: for the callback that prints it and for the tests."""

from __future__ import annotations

import datetime
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from kilonova.onhost import lock

# Of this run, in its output and in the histories of its hosts.
RUN = secrets.token_hex(4)
# What an age may be given in, as timedelta calls it.
AGES = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
# More packages of one host than this are counted instead of printed. What is removed is always printed.
SHOWN = 30
COUNTED = {
    "install ": "packages: what the release needs, and what that depends on",
    "upgrade ": "packages to newer versions, which the above depends on",
}
# Playbooks of which one at a time may work on an inventory; others only read it, or use the cloud as its tenants do.
CHANGING = ("site.yml", "cloud.yml", "sandbox.yml", "destroy.yml", "remove_compute.yml", "rotate_secrets.yml")
# With these, one inventory describes several independent sandboxes.
SANDBOX = ("KILONOVA_SANDBOX", "KILONOVA_RELEASE", "KILONOVA_NETWORK")


class Change(NamedTuple):
    """One thing that a task did, or with --check would do, on a host."""

    host: str
    task: str
    item: str


class Failure(NamedTuple):
    """Where a host left the run: `failed` or `unreachable`; and whether others need it."""

    host: str
    task: str
    how: str
    needed: bool = False


def items(result: Mapping[str, Any]) -> list[str]:
    """What a changed result says that it changed: the `actions` of our modules; any other module is one item."""
    if not result.get("changed"):
        return []
    return [str(item) for item in result.get("actions") or ["change"]]


def plan(changes: Iterable[Change]) -> list[str]:
    """Every change in the run's order, planned or done. Hundreds of packages are one line per host and verb."""
    changes = list(changes)
    packages: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        verb = next((verb for verb in COUNTED if change.item.startswith(verb)), "")
        packages.setdefault((change.host, verb), []).append(change.item)
    lines = []
    for change in changes:
        verb = next((verb for verb in COUNTED if change.item.startswith(verb)), "")
        found = packages[change.host, verb]
        if verb and len(found) > SHOWN:
            if change.item == found[0]:
                lines.append(f"{change.host}: {verb}{len(found)} {COUNTED[verb]}")
            continue
        lines.append(f"{change.host}: {change.item if change.item != 'change' else change.task}")
    return lines or ["Nothing would be changed on any host."]


def history(found: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[str]:
    """What hosts keep of their changes (module host_history), oldest first, one line per action."""
    rows = sorted(((entry["when"], host, entry) for host, entries in found.items() for entry in entries), key=lambda row: row[:2])
    width = max((len(host) for _when, host, _entry in rows), default=0)
    lines = []
    for when, host, entry in rows:
        run = [
            f"run {entry['run']}" if entry["run"] else "",
            entry["playbook"],
            entry["version"],
            "failed" if entry.get("failed") else "",
        ]
        line = f"{when.replace('T', ' ').rstrip('Z')} {host:<{width}}  {entry['action']}  {', '.join(filter(None, run))}"
        # A line stays one line, whatever the file contains.
        lines.append("".join(letter if letter.isprintable() else "?" for letter in line).rstrip())
    return lines or ["No change is known."]


def moment(text: Any, now: datetime.datetime | None = None) -> str | None:
    """A time as the history has it, of a date, a date with a time (UTC), or an age (`7d`, `3h`); None for anything else."""
    text, now = str(text).strip(), now or datetime.datetime.now(datetime.UTC)
    if not text:
        return ""
    age = re.fullmatch(r"(\d{1,6})([mhdw])", text, re.ASCII)
    try:
        found = now - datetime.timedelta(**{AGES[age[2]]: int(age[1])}) if age else datetime.datetime.fromisoformat(text)
        found = found.astimezone(datetime.UTC) if found.tzinfo else found
    except (ValueError, OverflowError):
        return None
    return found.strftime("%Y-%m-%dT%H:%M:%SZ")


def unfinished(failures: Iterable[Failure], command: str) -> list[str]:
    """Who did not finish, where, and the command that runs them again. `command` is without its --limit."""
    failures = list(failures)
    words = {"failed": "failed at", "unreachable": "could not be reached at"}
    lines = [f"{failure.host} {words[failure.how]}: {failure.task}" for failure in failures]
    # The inventory is checked on localhost, and the controller maps new computes. Where one of those failed, so did the rest.
    hosts = dict.fromkeys(failure.host for failure in failures)
    limit = "" if any(failure.needed for failure in failures) else f" --limit {','.join(['localhost', 'controllers', *hosts])}"
    return [*lines, f"Run again, with the options of this run: {command}{limit}"]


def hold(inventories: Iterable[str], say: Callable[[str], None]) -> list[int]:
    """Lock inventories for as long as this process and its children live; wait where another run has one, and say who.

    The lock is on the directory or file itself, so nothing is written, and nothing is left by a run that was killed. Hosts have
    a lock of their own (module_utils/kilonova/lock.py), for runs that begin elsewhere or with another inventory.
    """
    held = []
    for path in sorted({os.path.realpath(path) for path in inventories if os.path.exists(path)}):
        try:
            descriptor = os.open(path, os.O_RDONLY)
            held.append(descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = lock.holder(descriptor)
                if pid and _sandbox(lock.environment(pid, SANDBOX)) != _sandbox(os.environ):
                    continue
                who = lock.describe(pid) if pid else "a process that does not show itself"
                say(f"Another run is working on {path}: {who}. This run waits until it has ended.")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks, or a file that only Ansible's own plugin can read
            continue
    return held


def _sandbox(environment: Mapping[str, str]) -> list[str]:
    """Which of an inventory's sandboxes a process works on."""
    return [environment.get(name, "") for name in SANDBOX]
