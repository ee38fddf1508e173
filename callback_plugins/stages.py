"""Show how long each stage of a run took, what it changed or would change, who failed and how to go on."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

from ansible import context
from ansible.plugins.callback import CallbackBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

import kilonova
from kilonova.onhost import history
from kilonova.run import answers, changes, stages

DOCUMENTATION = """
name: stages
type: aggregate
short_description: Seconds per play at the end of a run, what it changed or would change, and how to go on after a failure
description:
  - A play is a page of the install guide, so its time tells where an installation spends its own.
  - Lists everything that the run changed and why, also when it failed, or says in one line that it changed nothing; with
    C(--check) everything that it would change.
  - Gives every module the run's id, version and playbook in its environment (KILONOVA_RUN), for the history that each host keeps.
  - Prints what the module host_history has read.
  - Names every host that failed or was down, with its task, and the command that runs those again.
  - Writes the seconds of every task to the file that KILONOVA_TIMES names, for `make bench`.
  - Writes where the time of an installation went to run.json in build/report, or in the directory that KILONOVA_REPORT names,
    for `make report`.
  - Writes every change (host, task, what was done) to the file that KILONOVA_RECORD names, as one JSON object per line and at
    once, so that the record of a run that was killed is there too.
requirements:
  - found beside the playbooks, or by ansible.cfg
"""

# Playbooks whose time the report shows.
INSTALLS = ("site.yml", "cloud.yml")


class CallbackModule(CallbackBase):
    """Plays in their order, with their seconds; changes; failures."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stages"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self):
        """Begin with no stage."""
        super().__init__()
        # Made here, in the process that Ansible's workers are forked from: so all of them have the same.
        self._key = answers.KEY
        self._stages: list[tuple[str, float]] = []
        self._tasks: list[tuple[str, float]] = []
        self._changes: list[changes.Change] = []
        self._failures: list[changes.Failure] = []
        self._histories: dict[str, list[dict]] = {}
        self._playbook = ""
        self._record = os.environ.get("KILONOVA_RECORD")

    def v2_playbook_on_start(self, playbook):
        """Remember what is run."""
        self._playbook = os.path.relpath(playbook._file_name)
        told = {history.RUN: f"{changes.RUN} {kilonova.__version__} {os.path.basename(self._playbook)}"}
        for play in playbook.get_plays():
            play.environment = [*(play.environment or []), told]
        if self._record:
            Path(self._record).write_text("")
        if os.path.basename(self._playbook) in changes.CHANGING and not context.CLIARGS.get("check"):
            # Open as long as this process and its workers live.
            self._inventories = changes.hold(context.CLIARGS.get("inventory") or (), self._display.warning)

    def v2_playbook_on_play_start(self, play):
        """A play begins; the one before it has ended."""
        self._stages.append((play.get_name().strip(), time.monotonic()))

    def v2_playbook_on_task_start(self, task, is_conditional):
        """A task begins; the one before it has ended."""
        self._tasks.append((task.get_name().strip(), time.monotonic()))
        if self._record:
            self._write({"begun": task.get_name().strip()})

    def v2_runner_on_ok(self, result):
        """Remember what was changed, or what a host remembers."""
        self._changed(result)
        if result._task.action == "host_history":
            self._histories[result._host.get_name()] = result._result["history"]

    def _changed(self, result):
        host, task = result._host.get_name(), result._task.get_name().strip()
        for item in changes.items(result._result):
            self._changes.append(changes.Change(host, task, item))
            if self._record:
                self._write({"host": host, "task": task, "item": item})

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Remember where a host stopped, and what it had changed in this task."""
        self._changed(result)
        if not ignore_errors:
            self._failed(result, "failed")

    def v2_runner_on_unreachable(self, result):
        """Remember where a host was lost."""
        if not result._task.ignore_unreachable:
            self._failed(result, "unreachable")

    def _failed(self, result, how):
        host = result._host
        needed = host.get_name() == "localhost" or "controllers" in (group.name for group in host.get_groups())
        self._failures.append(changes.Failure(host.get_name(), result._task.get_name().strip(), how, needed))

    def _write(self, line):
        with open(self._record, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def v2_playbook_on_stats(self, stats):
        """Print the table, the changes and the failures."""
        if not self._stages:
            return
        now = time.monotonic()
        spent = stages.spent(self._stages, self._tasks, now)
        seconds = now - self._stages[0][1]
        if os.environ.get("KILONOVA_TIMES"):
            times = [[task["name"], task["seconds"]] for stage in spent for task in stage["tasks"]]
            Path(os.environ["KILONOVA_TIMES"]).write_text(json.dumps(times))
        playbook = os.path.basename(self._playbook)
        # A run that was refused installed nothing.
        if playbook in INSTALLS and (self._changes or not self._failures):
            about = {"playbook": playbook, "id": changes.RUN, "version": kilonova.__version__}
            begun = round(time.time() - seconds, 3)
            counts = {"changes": len(self._changes), "failed": len(self._failures)}
            check = bool(context.CLIARGS.get("check"))
            stages.write({**about, "check": check, "started": begun, "seconds": round(seconds, 2), **counts, "stages": spent})
        width = max(len(stage["name"]) for stage in spent)
        self._display.display("\nSTAGES", color="bright blue")
        for stage in spent:
            self._display.display(f"{stage['name']:<{width}} {stage['seconds']:7.1f} s")
        self._display.display(f"{'total':<{width}} {seconds:7.1f} s")
        if self._histories:
            self._display.display("\nHISTORY (UTC)", color="bright blue")
            for line in changes.history(self._histories):
                self._display.display(line)
        elif context.CLIARGS.get("check") and not self._failures:
            self._display.display("\nPLAN", color="bright blue")
            for line in changes.plan(self._changes):
                self._display.display(line, color="yellow" if self._changes else "green")
        elif self._changes and not context.CLIARGS.get("check"):
            self._display.display(f"\nCHANGES (run {changes.RUN})", color="bright blue")
            for line in changes.plan(self._changes):
                self._display.display(line, color="yellow")
        elif stats.processed and not self._failures and not any(stats.changed.get(host) for host in stats.processed):
            self._display.display("Nothing had to be changed on any host.", color="green")
        if self._failures:
            command = ["ansible-playbook", *(part for path in context.CLIARGS.get("inventory") or () for part in ("-i", path))]
            self._display.display("\nNOT FINISHED", color="bright red")
            for line in changes.unfinished(self._failures, shlex.join([*command, self._playbook])):
                self._display.display(line, color="red")
