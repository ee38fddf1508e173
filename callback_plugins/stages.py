"""Show how long each stage of a run took, and say when nothing had to be changed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: stages
type: aggregate
short_description: Seconds per play at the end of a run
description:
  - A play is a page of the install guide, so its time tells where an installation spends its own.
  - Says in one line when the run changed nothing.
  - Writes the seconds of every task to the file that KILONOVA_TIMES names, for `make bench`.
requirements:
  - enabled in ansible.cfg (callbacks_enabled)
"""


class CallbackModule(CallbackBase):
    """Plays in their order, with their seconds."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "stages"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self):
        """Begin with no stage."""
        super().__init__()
        self._stages: list[tuple[str, float]] = []
        self._tasks: list[tuple[str, float]] = []

    def v2_playbook_on_play_start(self, play):
        """A play begins; the one before it has ended."""
        self._stages.append((play.get_name().strip(), time.monotonic()))

    def v2_playbook_on_task_start(self, task, is_conditional):
        """A task begins; the one before it has ended."""
        self._tasks.append((task.get_name().strip(), time.monotonic()))

    def v2_playbook_on_stats(self, stats):
        """Print the table."""
        if not self._stages:
            return
        now = time.monotonic()
        ends = [start for _name, start in self._stages[1:]] + [now]
        if os.environ.get("KILONOVA_TIMES"):
            task_ends = [start for _name, start in self._tasks[1:]] + [now]
            times = [[name, round(end - start, 3)] for (name, start), end in zip(self._tasks, task_ends, strict=True)]
            Path(os.environ["KILONOVA_TIMES"]).write_text(json.dumps(times))
        width = max(len(name) for name, _start in self._stages)
        self._display.display("\nSTAGES", color="bright blue")
        for (name, start), end in zip(self._stages, ends, strict=True):
            self._display.display(f"{name:<{width}} {end - start:7.1f} s")
        self._display.display(f"{'total':<{width}} {ends[-1] - self._stages[0][1]:7.1f} s")
        hosts = stats.processed
        if hosts and not any(stats.changed.get(host) or stats.failures.get(host) or stats.dark.get(host) for host in hosts):
            self._display.display("Nothing had to be changed on any host.", color="green")
