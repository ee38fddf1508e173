"""Whom the compute nodes let in for migrations, once for all of them: every node's list is the same."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import migration


class ActionModule(ActionBase):
    """`migration_nodes: {key: NAME}`, the variable in which each node registered what migration_keys returned there.

    Returns `lists`, as that module takes them, and their `digests`, by which a host that has them is known without reading them.
    A list of N nodes is made once for N nodes and passed on as one text, because handling it as data costs Ansible N times N.
    """

    TRANSFERS_FILES = False
    _requires_connection = False
    # Nor changes anything anywhere (kilonova/run/workers.py).
    ASKS_NO_HOST = True

    def run(self, tmp=None, task_vars=None):
        """Return the lists."""
        hostvars, key = task_vars["hostvars"], self._task.args["key"]
        nodes = []
        for name in task_vars["groups"]["computes"]:
            node = migration.node(name, hostvars, key)
            if node:
                nodes.append(node)
        return {**super().run(tmp, task_vars), "changed": False, **migration.lists(nodes)}
