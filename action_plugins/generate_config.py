"""Write every host's configuration files below a directory of this machine, or only check them; no host is contacted."""

from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from kilonova import generate


class ActionModule(ActionBase):
    """`generate_config: {out: directory, release: name, hide_secrets: false}`; without `out` the files are only checked."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Print what is written and what differs from the last time; fail with everything that Nova would not accept."""
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        out, hide = arguments.get("out"), bool(arguments.get("hide_secrets"))
        result["changed"] = False
        try:
            inventory = generate.Inventory.of_ansible(task_vars, release=arguments.get("release") or None)
            if not inventory.hosts():
                raise ValueError("the inventory has no hosts in the groups controllers and computes")
            checked = generate.Checked(generate.files(inventory, hide=hide))
            if out:
                done = generate.write(checked, Path(str(out)), check_mode=self._task.check_mode)
                result["changed"] = bool(done.new or done.changed or done.removed)
                text = generate.report(done, Path(str(out)))
            else:
                for _file in checked:
                    pass
                text = [f"{checked.count} files are checked; Nova accepts what is in them."]
        except ValueError as error:
            return {**result, "failed": True, "msg": str(error)}
        for line in generate.lines(checked.complaints, "warning"):
            Display().warning(line)
        errors = generate.lines(checked.complaints, "error")
        if out or not errors:
            Display().display("\n".join(text))
        if errors:
            result.update(failed=True, problems=errors, msg=" | ".join(errors))
        return result
