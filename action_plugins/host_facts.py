"""Give the host the key of the digests that it tells."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers


class ActionModule(ActionBase):
    """See the module of the same name (library/host_facts.py)."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result."""
        result = super().run(tmp, task_vars)
        arguments = {**self._task.args, "key": answers.KEY.hex()}
        return {**result, **self._execute_module(module_args=arguments, task_vars=task_vars)}
