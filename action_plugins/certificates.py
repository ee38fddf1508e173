"""Make the authority and the certificates that an inventory lacks, on this machine; no host is contacted."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import inventories
from kilonova.run import authorities


class ActionModule(ActionBase):
    """`certificates:` completes group_vars/all/certificates.json of the first inventory."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return, as `actions`, what was made, and why."""
        result = super().run(tmp, task_vars)
        result["changed"] = False
        inventory = inventories.Inventory.of_ansible(task_vars)
        if not inventory.directories:
            return {
                **result,
                "failed": True,
                "msg": "the inventory is not a file or directory; name one, e.g. -i inventories/mine",
            }
        try:
            hosts = {name: inventory.host(name) for name in inventory.hosts()}
            wanted = {
                name: {use: authorities.Wanted(**row) for use, row in host.find("openstack_certificates").items()}
                for name, host in hosts.items()
            }
            names = (authorities.AUTHORITY, authorities.KEY, authorities.HOSTS)
            held = authorities.Held.of_variables({name: task_vars.get(name) for name in names})
            complete, lines = authorities.complete(held, wanted)
            if lines and not self._task.check_mode:
                authorities.write(inventory.directories[0] / authorities.FILE, complete)
        except ValueError as error:
            return {**result, "failed": True, "msg": str(error)}
        return {**result, "changed": bool(lines), "actions": lines}
