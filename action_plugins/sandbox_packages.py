"""The packages of every host, for images that have them: nothing is asked of a host, and nothing is changed."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import inventories
from kilonova.run import variables


class ActionModule(ActionBase):
    """`sandbox_packages: {hosts: [controller]}`."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return `packages`: host -> names."""
        result = super().run(tmp, task_vars)
        inventory = inventories.Inventory.of_ansible(task_vars)
        result["packages"] = {host: variables.packages(inventory.host(host)) for host in self._task.args["hosts"]}
        result["changed"] = False
        return result
