"""What later tasks would ask a host is asked at once, when the run begins: in one connection, and on all of its processors.

The controller alone can say whether databases, accounts, schemas and Keystone's objects are right. A task for each takes a
second or more, most of it the start of a process there and of what it imports. So the task `ask_ahead` goes through the tasks of
the coming plays (settled.py), as far as they would run a module of ASKED, and takes its arguments; the host runs all of these
modules, in check mode. A later task that runs such a module with the same arguments has its answer, as long as nothing was
changed on any host. What is not as it should be, cannot be asked yet, or was said with a warning, is asked again in its own
time.

Only where workers.py fits ansible-core. Otherwise each task asks by itself.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from kilonova.onhost import digests
from kilonova.run import answers

# The fact in which a host's answers are, by the digests of the questions.
FACT = "openstack_ahead"
# Modules whose check mode compares all that a run does; {}. One that never changes anything is run as it is, with other arguments
# where it would wait.
ASKED: dict[str, dict[str, Any]] = {
    "ceph_pools": {},
    "compute_services": {"timeout": 0},
    "keystone_bootstrap": {},
    "keystone_endpoints": {},
    "nova_databases": {},
    "nova_hosts": {},
    "rabbitmq_account": {},
    "schema_sync": {},
    "service_database": {},
    "service_units": {},
    "volume_types": {},
}


class Run:
    """What this process, and the workers that it forks, know of the run (callback_plugins/speed.py)."""

    plays: tuple[Any, ...] = ()
    play: Any = None
    # On any host, or in check mode would have been: what was answered before may no longer be true.
    changed = False
    # What was seen of the coming tasks (settled.Seen), by the process that workers are forked from.
    seen: Any = None
    # Plays (their unique IDs) that have nothing to do.
    left_out: Collection[str] = ()


@dataclass(frozen=True)
class Question:
    """A module, and the arguments that a task would run it with."""

    module: str
    arguments: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """What its answer is found by; it says nothing of passwords to who does not have the key of this run."""
        return digests.keyed(json.dumps([self.module, _plain(self.arguments)], sort_keys=True, default=str).encode(), answers.KEY)

    def request(self, source: str) -> dict[str, Any]:
        """Return it for the module ask_ahead; `source` is the module's text."""
        instead = ASKED[self.module]
        return {
            "digest": self.digest,
            "name": self.module,
            "source": source,
            "arguments": {**_plain(self.arguments), **instead},
            "compares": not instead,
        }


def _plain(value: Any) -> Any:
    """A value of Ansible's as JSON has it: its own lists and mappings resolve what is in them when it is read."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def knows(module: str, variables: Mapping[str, Any]) -> bool:
    """Whether the host has answered questions, of which a task of this module may use one."""
    return module in ASKED and not Run.changed and bool((variables.get("ansible_facts") or {}).get(FACT))


def answer(question: Question, variables: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what the host has answered; None where it must be asked."""
    if not knows(question.module, variables):
        return None
    found = variables["ansible_facts"][FACT].get(question.digest)
    return None if found is None else copy.deepcopy(dict(found))


def noted(result: dict[str, Any], known: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the result of the task that has asked, with the fact of the answers that are of use (settled())."""
    return {**result, "ansible_facts": {FACT: known}}


def settled(said: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return those answers that may stand for later ones."""
    return {digest: one for digest, one in said.items() if is_settled(one)}


def is_settled(said: Mapping[str, Any]) -> bool:
    """Whether a module's result may stand for a later one: it found all as it should be, and was sure of it."""
    return not any(said.get(key) for key in ("changed", "failed", "warnings", "deprecations", "unsettled"))


def coming_plays() -> tuple[Any, ...]:
    """Return the plays that this run has still to do."""
    known = [play._uuid for play in Run.plays]
    return Run.plays[known.index(Run.play._uuid) + 1 :]
