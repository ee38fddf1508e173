"""Ask a host about its keys for migrations only where it has not told, when the run began, that they are right."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova import hosts


class ActionModule(ActionBase):
    """See the module of the same name (library/migration_keys.py)."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        result, arguments = super().run(tmp, task_vars), self._task.args
        unchanged = {**result, "changed": False, "actions": []}
        if arguments.get("peers") is None:
            peer = hosts.migration_peer(arguments["address"], task_vars)
            if peer:
                return {**unchanged, "peer": peer}
        elif hosts.lets_in(arguments["peers"], arguments["addresses"], task_vars):
            return unchanged
        return {**result, **hosts.noted(self._execute_module(task_vars=task_vars))}
