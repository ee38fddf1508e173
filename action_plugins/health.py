"""Put together what hosts and the cloud said of their health."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.proof import health


class ActionModule(ActionBase):
    """`health: {hosts: {host: what host_health returned}, cloud: what cloud_health returned}`; returns `whole` and `table`."""

    TRANSFERS_FILES = False
    _requires_connection = False
    ASKS_NO_HOST = True

    def run(self, tmp=None, task_vars=None):
        """Return all rows."""
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        whole = health.whole(arguments["hosts"], arguments["cloud"])
        return {**result, "changed": False, "whole": whole, "table": health.table(whole)}
