"""Render a host's configuration files where Ansible runs, in one process, and hand those that differ to the host in one call.

The module of the same name (library/config_files.py) compares, keeps `.orig` and writes.
"""

import base64
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import checking, config_files
from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """`config_files: {files: [...]}`; kilonova/config/config_files.py has the keys of a file."""

    def run(self, tmp=None, task_vars=None):
        """Return the module's result, with the diff of what changed (secrets masked)."""
        result = super().run(tmp, task_vars)
        after = result.pop("after", None) or {}
        before = result.pop("before", None) or {}
        if before:
            result["diff"] = [
                {
                    "before_header": path,
                    "after_header": path,
                    "before": config_files.mask(old),
                    "after": after.get(path, config_files.mask(self.texts[path])) + _note(path, old, result),
                }
                for path, old in before.items()
            ]
        return result

    def prepared(self, arguments):
        """Render the files, with the operator's overrides."""
        arguments = {**arguments, "files": self.needed(arguments["files"])[0]}
        self.texts = {str(entry["path"]): config_files.render(entry) for entry in arguments["files"]}
        return arguments

    def must_ask(self, arguments):
        """Whether one of the files may be another than it must be."""
        return not all(
            answers.file_is_there(entry, self.texts[str(entry["path"])], self.variables) for entry in arguments["files"]
        )

    def learned(self, arguments, answer):
        """Which files are right now."""
        if answer.get("failed"):
            return {}
        right = {str(entry["path"]): answers.identity(entry, self.texts[str(entry["path"])]) for entry in arguments["files"]}
        return {"files": {**answers.done(self.variables).get("files", {}), **right}}

    def sent(self, arguments):
        """Check the files against the options of their release, and return them as the module takes them.

        What is there was checked when it was written, and by preflight in this run: here it would cost each host a catalogue.
        """
        host = self.variables["inventory_hostname"]
        # preflight said the warnings, and had no facts of the host.
        found = [wrong for entry in arguments["files"] for wrong in checking.check(host, entry, self.texts[str(entry["path"])])]
        errors = checking.lines(found, "error")
        if errors:
            raise ValueError("Nothing was written. " + " | ".join(errors))
        files = [
            {
                "path": str(entry["path"]),
                "owner": str(entry.get("owner", "root")),
                "group": str(entry.get("group", "root")),
                "mode": str(entry.get("mode", "0644")),
                # Encoded, so that hiding the argument from logs does not blank the diff as well.
                "content": base64.b64encode(self.texts[str(entry["path"])].encode()).decode(),
                **({"merge": str(entry["merge"])} if entry.get("merge") else {}),
            }
            for entry in arguments["files"]
        ]
        return {"files": files, "corrected": answers.done(self.variables).get("corrected", [])}


def _note(path, before, result):
    """Say what a masked diff cannot show: that secrets, or only owner and mode, differ."""
    notes = [f"# {note}\n" for note in result.get("notes", {}).get(path, [])]
    if before and path in result.get("secrets_changed", []):
        notes.append("# (the value of a hidden secret changes)\n")
    return "".join(notes)
