"""Spare Ansible what it does again and again: compiling templates (kilonova/run/templates.py), making workers (workers.py).

And let mitogen send all that modules import (imports.py).
"""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.plugins.callback import CallbackBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import imports, templates, workers

DOCUMENTATION = """
name: speed
type: aggregate
short_description: Compiles a template once, and makes no worker process for a task that needs no host
description:
  - A callback plugin, because Ansible loads those before it runs the first task. It receives no event.
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
        templates.install()
        workers.install()
        imports.install()
