"""Read variables of all hosts as the inventory has them, not resolved; no host is contacted."""

import json
import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import inventories


class ActionModule(ActionBase):
    """`inventory_values: {names: [variable, ...]}` returns `values`, host -> variable -> value, and the inventory's `groups`.

    What is encrypted by itself becomes a mapping. Only these variables are returned: all of them, of all hosts, would have the
    certificates of all hosts once for each.
    """

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return the values of those variables that a host has."""
        result = super().run(tmp, task_vars)
        hostvars, names = task_vars["hostvars"], self._task.args["names"]
        groups = {name: list(hosts) for name, hosts in task_vars["groups"].items()}
        values = {}
        for host in groups["all"]:
            found = hostvars.raw_get(host)
            values[host] = {name: self._shown(found[name]) for name in names if name in found}
        return {**result, "changed": False, "values": values, "groups": groups}

    @staticmethod
    def _shown(value):
        if type(value).__name__ in inventories.VAULTED:
            return {"__ansible_vault": ""}
        return json.loads(json.dumps(value, default=str))
