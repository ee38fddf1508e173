"""Answer what needs no host in the process that Ansible runs in (kilonova/run/workers.py)."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.plugins.callback import CallbackBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import workers

DOCUMENTATION = """
name: in_process
type: aggregate
short_description: Makes no worker process for a task that needs no host
description:
  - A callback plugin, because Ansible loads those before a strategy makes its workers. It receives no event.
requirements:
  - found beside the playbooks, or by ansible.cfg
"""


class CallbackModule(CallbackBase):
    """Sets up the workers when it is loaded."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "in_process"
    CALLBACK_NEEDS_ENABLED = False

    def __init__(self):
        """Set up the workers of this process."""
        super().__init__()
        workers.install()
