"""Make the authority and the certificates that an inventory lacks, on this machine; no host is contacted."""

import sys
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import inventories
from kilonova.run import authorities, variables


class ActionModule(ActionBase):
    """`certificates:` completes group_vars/all/certificates.json of the first inventory.

    With `renew` it begins a renewal of what ends soon (soon), of hosts' certificates (hosts) or of the authority and with it all
    (authority), where none has begun. With `next` it leads the one that has begun to its next step, which is right only after
    playbooks/site.yml has brought this one to all hosts.
    """

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return, as `actions`, what was made, and why."""
        result = super().run(tmp, task_vars)
        renew = self._task.args.get("renew") or ""
        inventory = inventories.Inventory.of_ansible(task_vars)
        if not inventory.directories:
            raise AnsibleActionFail("the inventory is not a file or directory; name one, e.g. -i inventories/mine")
        try:
            known = {name: inventory.host(name) for name in inventory.hosts()}
            before, hosts = variables.certificates_of(known)
            if boolean(self._task.args.get("next", False)):
                after, lines = authorities.advance(before, hosts)
            elif renew:
                days = max((variables.warn_days(host) for host in known.values()), default=0)
                after, lines = authorities.renew(before, hosts, renew, days)
                if not lines:
                    self._display.display(authorities.why_not(after, days))
            else:
                after, lines = authorities.complete(before, hosts)
            if lines:
                path = inventory.directories[0] / authorities.FILE
                if self._task.check_mode:
                    authorities.see_that_it_is_ours(path, before)
                else:
                    authorities.write(path, before, after)
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from error
        return {**result, "changed": bool(lines), "actions": lines}
