"""Show the rows of a verification as they end, and do with a browser what it asks for.

The run (library/verify_cloud.py) goes on by itself on the controller and keeps its state in a directory there.
"""

import base64
import json
import shlex
import sys
import time
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.proof import console, dashboard

COLORS = {"passed": "green", "failed": "red", "skipped": "cyan"}
# Seconds until the state's first sight, and between two looks.
FIRST, PAUSE = 60, 2


class ActionModule(ActionBase):
    """`verify_watch: {directory: …, results_file: the job's, limit: …, picture: FILE.png}`."""

    TRANSFERS_FILES = False
    _requires_connection = True

    def run(self, tmp=None, task_vars=None):
        """Look until the run has ended; what it found is its own result."""
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        directory, deadline = str(arguments["directory"]), time.monotonic() + int(arguments["limit"])
        first, shown, done = time.monotonic() + FIRST, set(), set()
        result.update(changed=False, picture="")
        while time.monotonic() < deadline:
            state = self._state(directory)
            if not state and (shown or time.monotonic() > first or self._over(str(arguments["results_file"]))):
                break
            for row in (state or {}).get("rows", []):
                if row["name"] not in shown:
                    shown.add(row["name"])
                    self._show(row)
            wanted = (state or {}).get("picture")
            if wanted and wanted["what"] not in done:
                done.add(wanted["what"])
                answer = self._browse(wanted["what"], wanted["asked"], Path(str(arguments["picture"])))
                self._answer(directory, wanted["what"], answer)
                result["picture"] = answer["text"]
            if state and state["ended"]:
                break
            time.sleep(PAUSE)
        return result

    def _state(self, directory):
        """The state of the run, or nothing if there is none (not yet, or no longer)."""
        path = shlex.quote(f"{directory}/state.json")
        # A process that ended leaves its state behind.
        command = f"cat {path} && kill -0 $(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' {path})"
        answer = self._low_level_execute_command(command, sudoable=True)
        try:
            return json.loads(answer["stdout"]) if answer["rc"] == 0 else None
        except ValueError:
            return None

    def _over(self, results_file):
        """Whether the run ended before it had a state: its result is more than that it has begun."""
        answer = self._low_level_execute_command(
            f'grep -q \'"invocation"\\|"failed"\' {shlex.quote(results_file)}', sudoable=True
        )
        return answer["rc"] == 0

    @staticmethod
    def _browse(what, asked, picture):
        """Take the picture of a console, or visit the dashboard."""
        if what == "console":
            return console.picture(path=picture, **asked)
        return dashboard.Visit(directory=picture.parent, **asked).run()

    def _answer(self, directory, what, answer):
        path = shlex.quote(f"{directory}/{what}.json")
        text = base64.b64encode(json.dumps(answer).encode()).decode()
        self._low_level_execute_command(f"echo {text} | base64 -d > {path}.new && mv {path}.new {path}", sudoable=True)

    def _show(self, row):
        words = row["detail"] if row["status"] == "passed" else row["reason"]
        Display().display(
            f"  {row['status']:<8}{row['name']:<15}{row['seconds']:6.1f} s  {words}", color=COLORS.get(row["status"])
        )
