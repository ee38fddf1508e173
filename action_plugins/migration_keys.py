"""Ask a host about its keys for migrations only where it has not reported, when the run began, that they are right."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/migration_keys.py).

    `digests` are of its `lists`; `addresses` and `port`, at which others reach the host, are returned with its key.
    """

    def run(self, tmp=None, task_vars=None):
        """Return the module's result, and with the host's key by which addresses and port others reach it."""
        result = super().run(tmp, task_vars)
        peer = answers.migration_peer(task_vars) if self._makes_the_key() and not result.get("peer") else result.get("peer")
        if peer and not result.get("failed"):
            result["peer"] = {**{name: self._task.args.get(name) for name in ("addresses", "port")}, **peer}
        return result

    def _makes_the_key(self):
        return self._task.args.get("state") != "absent" and self._task.args.get("lists") is None

    def must_ask(self, arguments):
        """Whether the key may be missing, another key accepted, or anything left where migration is off."""
        if arguments.get("state") == "absent":
            return answers.takes_part_in_migrations(self.variables)
        if self._makes_the_key():
            return answers.migration_peer(self.variables) is None
        return not answers.lets_in(arguments["digests"], self.variables)

    def sent(self, arguments):
        """Leave out what is only for others."""
        return {name: value for name, value in arguments.items() if name not in ("digests", "addresses", "port")}
