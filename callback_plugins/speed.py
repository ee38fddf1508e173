"""Spare Ansible what it does again and again, and let mitogen send all that modules import (kilonova/run/imports.py).

That is: compiling templates (templates.py), computing what they give (rendered.py), making workers (workers.py), connecting to a
host for each question (ahead.py), tasks that have nothing to do (settled.py), and looking for garbage.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path

from ansible.plugins.callback import CallbackBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import ahead, imports, rendered, settled, templates, workers

DOCUMENTATION = """
name: speed
type: aggregate
short_description: Compiles a template once, and makes no worker process for a task that needs no host
description:
  - A callback plugin, because Ansible loads those before it runs the first task, and tells them of plays and results.
requirements:
  - found beside the playbooks, or by ansible.cfg
"""


class CallbackModule(CallbackBase):
    """Sets them up when it is loaded."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "speed"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self):
        """Set up this process, from which workers are forked."""
        super().__init__()
        # Nearly all that Ansible makes stays. As often as Python looks for what does not, that was a tenth of `make config`.
        gc.set_threshold(20_000, 20, 20)
        templates.install()
        rendered.install()
        workers.install()
        imports.install()

    def v2_playbook_on_start(self, playbook):
        """Keep what will be done."""
        ahead.Run.plays = tuple(playbook.get_plays())

    def v2_playbook_on_play_start(self, play):
        """Keep how far it is done."""
        ahead.Run.play = play
        if play._uuid in ahead.Run.left_out:
            play.pre_tasks = play.roles = play.tasks = play.post_tasks = []

    def v2_runner_on_ok(self, result):
        """What hosts have answered ahead is of no use once anything was changed."""
        if result._task.action == "ask_ahead" and ahead.Run.seen:
            ahead.Run.left_out = settled.leave_out(ahead.Run.seen, result._result["quiet"])
            ahead.Run.seen = None
        ahead.Run.changed = ahead.Run.changed or bool(result._result.get("changed"))

    def v2_runner_on_failed(self, result, ignore_errors=False):
        """Nor once something has failed, which may have changed something before."""
        ahead.Run.changed = True
