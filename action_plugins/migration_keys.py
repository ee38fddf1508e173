"""Ask a host about its keys for migrations only where it has not told, when the run began, that they are right."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers


class ActionModule(ActionBase):
    """See the module of the same name (library/migration_keys.py).

    `digests` are those of its `lists`; `addresses` and `port`, by which others know the host, are returned with its key.
    """

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        result, arguments = super().run(tmp, task_vars), dict(self._task.args)
        digests, more = arguments.pop("digests", None), {name: arguments.pop(name, None) for name in ("addresses", "port")}
        unchanged = {**result, "changed": False, "actions": []}
        if arguments.get("state") == "absent":
            if not answers.takes_part_in_migrations(task_vars):
                return unchanged
        elif arguments.get("lists") is None:
            peer = answers.migration_peer(task_vars)
            if peer:
                return {**unchanged, "peer": {**more, **peer}}
        elif answers.lets_in(digests, task_vars):
            return unchanged
        result.update(answers.noted(self._execute_module(module_args=arguments, task_vars=task_vars)))
        if "peer" in result:
            result["peer"] = {**more, **result["peer"]}
        return result
