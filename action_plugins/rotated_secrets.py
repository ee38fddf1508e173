"""See that the secrets from before a rotation are refused and the new ones work, and then complete the rotation.

The old ones are read here, where the inventory is, and are in no variable of Ansible's.
"""

import copy
import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import config_files
from kilonova.run import secrets


class ActionModule(ActionBase):
    """`rotated_secrets: {database, queue, identity}`: the logins, as the module backend_logins takes them."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Log in twice; `changed` when there was a rotation to complete."""
        result = super().run(tmp, task_vars)
        inventory = Path(task_vars["inventory_dir"])
        old = secrets.old_values(inventory)
        rotated = secrets.changed_names(inventory) if old else []
        asks = {name: self._task.args[name] for name in ("database", "queue", "identity")}
        problems = self._log_in(asks, task_vars, result)
        if problems:
            return dict(result, failed=True, msg="A new secret does not work yet. " + " | ".join(map(_line, problems)))
        before = _with_old(asks, old, rotated)
        # Only what was rotated is asked: that many refusals are right.
        refused = {problem["variable"] for problem in self._log_in(before, task_vars, result)} if rotated else set()
        accepted = sorted(_variables(before) - refused)
        if accepted:
            return dict(result, failed=True, msg=f"Still accepted with its old value: {', '.join(accepted)}. Run site.yml again.")
        result.update(changed=bool(old), rotated=rotated, refused=sorted(refused))
        if old and not self._task.check_mode:
            secrets.finish_rotation(inventory)
        return result

    def _log_in(self, asks, task_vars, result):
        """What the host's logins say."""
        given = {name: ask for name, ask in asks.items() if ask}
        if not given:
            return []
        said = self._execute_module("backend_logins", module_args=given, task_vars=task_vars)
        if said.get("failed"):
            return [{"variable": "backend_logins", "value": "", "what": said.get("msg", "failed"), "remedy": "look at the host"}]
        return said["problems"]


def _line(problem):
    """A problem as people read it."""
    return f"{problem['variable']}: {problem['what']}; {problem['remedy']}"


def _with_old(asks, old, rotated):
    """The logins of the rotated secrets with their old values."""
    before = copy.deepcopy(asks)
    for name, part in (("database", "accounts"), ("identity", "users")):
        before[name][part] = [
            {**login, "password": old[login["variable"]]} for login in before[name][part] if login["variable"] in rotated
        ]
        if not before[name][part]:
            before[name] = None
    if "openstack_rabbit_pass" in rotated:
        before["queue"]["password"] = config_files.rabbit_password(old["openstack_rabbit_pass"])
    else:
        before["queue"] = None
    return before


def _variables(asks):
    """The secrets that logins name."""
    found = {login["variable"] for login in (asks["database"] or {}).get("accounts", [])}
    found |= {login["variable"] for login in (asks["identity"] or {}).get("users", [])}
    return found | ({"openstack_rabbit_pass"} if asks["queue"] else set())
