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
    """`certificates:` completes certificates.json of the first inventory; nothing is made for hosts without openstack_tls.

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
            known = {name: host for name in inventory.hosts() if variables.has_tls(host := inventory.host(name))}
            before, hosts = variables.certificates_of(known)
            if not any(hosts.values()):  # nobody has TLS, or of no host there is what it is reached by
                return {**result, "changed": False, "actions": []}
            if boolean(self._task.args.get("next", False)):
                after, lines = authorities.advance(before, hosts)
            elif renew:
                days = max(map(variables.warn_days, known.values()))
                after, lines = authorities.renew(before, hosts, renew, days)
                if not lines:
                    self._display.display(authorities.why_not(after, days))
            else:
                after, lines = authorities.complete(before, hosts)
            if lines:
                group = variables.certificates_group(next(iter(known.values())))
                if not known.keys() <= set(inventory.groups.get(group, ())):
                    raise ValueError(f"openstack_certificates_group ({group}) must be a group that has all hosts, such as all")
                path = authorities.file_of(inventory.directories[0], group)
                if self._task.check_mode:
                    authorities.see_that_it_is_ours(path, before)
                else:
                    authorities.write(path, before, after)
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from error
        return {**result, "changed": bool(lines), "actions": lines}
