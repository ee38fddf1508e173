"""Render a host's configuration files where Ansible runs, in one process, and hand them to the host in one call.

The module of the same name (library/config_files.py) compares, keeps `.orig` and writes.
"""

import base64
import sys
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import checking, config_files
from kilonova.run import answers


class ActionModule(ActionBase):
    """`config_files: {files: [...], corrected: [...]}`; see roles@config_files/meta/argument_specs.yml for a file's keys."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Return the module's result, with the diff of what changed (secrets masked)."""
        result = super().run(tmp, task_vars)
        entries = self._task.args.get("files") or []
        try:
            texts = {str(entry["path"]): config_files.render(entry) for entry in entries}
        except ValueError as error:
            raise AnsibleActionFail(str(error)) from error
        # What is there was checked when it was written, and by preflight in this run. Here it would cost each host a catalogue.
        if all(answers.file_is_there(entry, texts[str(entry["path"])], task_vars) for entry in entries):
            return {**result, "changed": False, "actions": [], "changed_files": []}
        host = task_vars["inventory_hostname"]
        # preflight said the warnings, and had no facts of the host.
        found = [wrong for entry in entries for wrong in checking.check(host, entry, texts[str(entry["path"])])]
        errors = checking.lines(found, "error")
        if errors:
            raise AnsibleActionFail("Nothing was written. " + " | ".join(errors))
        files = [
            {
                "path": str(entry["path"]),
                "owner": str(entry.get("owner", "root")),
                "group": str(entry.get("group", "root")),
                "mode": str(entry.get("mode", "0644")),
                # Encoded, so that hiding the argument from logs does not blank the diff as well.
                "content": base64.b64encode(texts[str(entry["path"])].encode()).decode(),
                **({"merge": str(entry["merge"])} if entry.get("merge") else {}),
            }
            for entry in entries
        ]
        arguments = {"files": files, "corrected": self._task.args.get("corrected") or []}
        result.update(answers.noted(self._execute_module("config_files", module_args=arguments, task_vars=task_vars)))
        after = result.pop("after", None) or {}
        result["diff"] = [
            {
                "before_header": path,
                "after_header": path,
                "before": config_files.mask(before),
                "after": after.get(path, config_files.mask(texts[path])) + _note(path, before, texts[path], result),
            }
            for path, before in (result.pop("before", None) or {}).items()
        ]
        return result


def _note(path, before, after, result):
    """Say what a masked diff cannot show: that secrets, or only owner and mode, differ."""
    notes = [f"# {note}\n" for note in result.get("notes", {}).get(path, [])]
    if before and path in result.get("secrets_changed", []):
        notes.append("# (the value of a hidden secret changes)\n")
    return "".join(notes)
