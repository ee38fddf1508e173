"""Ask a host about its services only where it has not told, when the run began, that nothing is left to do with them."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers


class ActionModule(ActionBase):
    """See the module of the same name (library/service_units.py)."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        result = super().run(tmp, task_vars)
        if all(answers.unit_rests(unit, task_vars) for unit in self._task.args["units"]):
            return {**result, "changed": False, "actions": []}
        return {**result, **answers.noted(self._execute_module(task_vars=task_vars))}
