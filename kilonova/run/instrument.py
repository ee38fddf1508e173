"""The base of the action plugins: it decides whether a host must be asked at all, asks it, and keeps what was learned."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from kilonova.config import config_files, overrides
from kilonova.run import answers


class Instrument(ActionBase):
    """An action that runs the module of its own name where something may be left to do, and nothing otherwise."""

    TRANSFERS_FILES = False
    _requires_connection = True
    # Options that every task would repeat, and the shared variable that each is taken from where a task does not set it.
    SHARED: tuple[tuple[str, str], ...] = ()

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        """Return the module's result; that nothing changed, where the host need not be asked."""
        result = super().run(tmp, task_vars)
        self.variables = task_vars
        try:
            arguments = self.prepared(dict(self._task.args))
            if not self.must_ask(arguments):
                return {**result, "changed": False, "actions": []}
            answer = self.ask(arguments)
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from error
        return {**result, **answers.noted(answer, task_vars, **self.learned(arguments, answer))}

    def ask(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return what the module says; raises ValueError for what must not be done."""
        # Only now: they are not needed if no host is asked.
        sent = {**{option: self.shared(name) for option, name in self.SHARED}, **self.sent(arguments)}
        return self._execute_module(module_args=sent, task_vars=self.variables)

    def shared(self, name: str) -> Any:
        """Return the value of a variable that the role openstack brings to every play."""
        return self._templar.template(self.variables[name])

    def prepared(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments in the form that the decision needs. Raises ValueError for data that cannot be used."""
        return arguments

    def needed(self, files: Iterable[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], set[str]]:
        """Return the entries of files that the host needs, with the operator's overrides, and the paths of the others."""
        files = list(files)
        needed = [entry for entry in files if answers.is_needed(entry, self.variables)]
        return self.with_overrides(needed), {str(entry["path"]) for entry in files if entry not in needed}

    def with_overrides(self, files: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Return the entries of files with the operator's overrides, of the role whose task this is."""
        role = self._task._role.get_name() if self._task._role else ""

        @functools.cache  # the same three for all files of a task
        def find(variable: str) -> Any:
            return self._templar.template(self.variables.get(variable))

        return [config_files.built_in(overrides.with_overrides(role, entry, find)) for entry in files]

    def must_ask(self, arguments: dict[str, Any]) -> bool:
        """Whether something may be left to do."""
        return True

    def sent(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments in the form that the module takes. Raises ValueError for what must not be done."""
        return arguments

    def learned(self, arguments: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """Return what is known of the host after the module has run (answers.RUN)."""
        return {}


class OfTheCloud(Instrument):
    """An instrument for what the cloud has once, and any controller can see to: databases, schemas, objects of Keystone.

    Of several controllers, the first that is up does it, and the others have nothing to do.
    """

    def must_ask(self, arguments: dict[str, Any]) -> bool:
        """Whether this host is the one that does it."""
        host = self.variables["inventory_hostname"]
        controllers = (self.variables.get("groups") or {}).get("controllers", ())
        # A single controller needs no template resolved.
        return len(controllers) < 2 or host not in controllers or host == self.shared("openstack_first_controller")


class OnceARun(OfTheCloud):
    """An instrument for things of a list, of which a run completes each once.

    A playbook does it for all pages at once; each page's own task finds its thing there, and does it where the page runs alone.
    """

    # Where the run keeps the names of what is complete (answers.RUN), the option that has the list, and the key of a name in it.
    KEPT, OPTION, NAME = "", "", ""

    def must_ask(self, arguments: dict[str, Any]) -> bool:
        """Whether one of the things may be incomplete."""
        wanted = {one[self.NAME] for one in arguments[self.OPTION]}
        return not wanted <= set(self._complete()) and super().must_ask(arguments)

    def learned(self, arguments: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """What is complete now."""
        return {self.KEPT: sorted({*self._complete(), *answer.get("complete", ())})}

    def _complete(self) -> Iterable[str]:
        return answers.done(self.variables).get(self.KEPT, ())


class TellsTheTime(Instrument):
    """An instrument whose module returns, as `host`, what a host says of itself, and the clock among it."""

    def ask(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Compare the host's clock with ours: read after we asked, and before we had the answer, however long that took."""
        asked = time.time()
        answer = super().ask(arguments)
        if "host" in answer:
            clock, answered = answer["host"].pop("clock"), time.time()
            answer["host"]["clock_ahead"] = max(clock - answered, 0) + min(clock - asked, 0)
        return answer
