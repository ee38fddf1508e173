"""Write every host's configuration files below a directory of this machine, or only check them; no host is contacted."""

import re
import shlex
import sys
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import checking, generate, inventories, sources, tree
from kilonova.problems import merged
from kilonova.run import authorities, variables
from kilonova.run.secrets import names as secret_names


class ActionModule(ActionBase):
    """`generate_config: {out: directory, release: name, secrets: show|hide}`; without `out` the files are only checked."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Print what is written and what differs from the last time; fail with everything that a service would not accept."""
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        out, secrets = arguments.get("out"), arguments.get("secrets", "show")
        result["changed"] = False
        hide = str
        try:
            if secrets not in ("show", "hide"):
                raise ValueError(f"config_secrets (SECRETS=...) = {secrets}: must be one of show, hide")
            inventory = inventories.Inventory.of_ansible(task_vars, release=arguments.get("release") or None)
            if not inventory.hosts():
                raise ValueError("the inventory has no hosts in the groups controllers and computes")
            hide = variables.hider(inventory)
            if wrong := next((name for name in inventory.hosts() if "/" in name or name in (".", "..")), ""):
                raise ValueError(f"{wrong} is not a valid name of a host; correct it in the inventory")
            shown = secrets == "show" and generate.has_certificates(inventory)
            problems = sources.check_keys(inventory) or [
                *(variables.unreadable(inventory) if secrets == "show" else []),
                *variables.check_overrides(inventory, inventory.hosts()),
                *sources.check_overrides(inventory),
                *(variables.check_certificates({name: inventory.host(name) for name in inventory.hosts()})[0] if shown else []),
            ]
            if problems:
                raise ValueError(" | ".join(map(str, merged(problems))))
            checked = checking.Checked(generate.files(inventory, hide=secrets == "hide"), hide=secrets == "hide")
            if out:
                done = tree.write(checked, Path(str(out)), check_mode=self._task.check_mode)
                result["changed"] = bool(done.new or done.changed or done.removed)
                text = tree.report(done, Path(str(out)))
            else:
                count = sum(1 for _file in checked)
                text = [f"{count} files are checked; the services accept what is in them."]
        except ValueError as error:
            return {**result, "failed": True, "msg": hide(f"{error}{_remedy(str(error), task_vars)}")}
        except OSError as error:
            return {**result, "failed": True, "msg": f"{error.filename or out}: {error.strerror}"}
        for line in checking.lines(checked.complaints, "warning"):
            Display().warning(hide(line))
        errors = [hide(line) for line in checking.lines(checked.complaints, "error")]
        if out or not errors:
            Display().display("\n".join(text))
        if errors:
            result.update(failed=True, problems=errors, msg=" | ".join(errors))
        return result


def _remedy(message, task_vars):
    """How a secret comes to be that a file lacks."""
    lacking = re.search(r"'(openstack_\w+)' is undefined", message)
    if not lacking or lacking[1] not in (*secret_names(), authorities.AUTHORITY):
        return ""
    sources = shlex.join(map(str, task_vars.get("ansible_inventory_sources") or ["INVENTORY"]))
    command = f"cd {shlex.quote(str(inventories.TREE))} && {shlex.quote(sys.executable)} -m kilonova.run.secrets {sources}"
    return f"; make the secrets of this inventory: {command}"
