"""What must be set up before Ansible reads playbooks: of all kinds of plugins, it loads these first. It has no variables."""

from __future__ import annotations

import sys
from pathlib import Path

from ansible.plugins.vars import BaseVarsPlugin

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import copies

DOCUMENTATION = """
name: early
short_description: Read roles faster
description:
  - Lets Ansible copy what it has read of a role without copying its texts (kilonova/run/copies.py).
options:
  stage:
    type: str
    default: inventory
    choices: [inventory]
    description: It is asked while the inventory is read, and not for each task.
"""

copies.install()


class VarsModule(BaseVarsPlugin):
    """No variables."""

    def get_vars(self, loader, path, entities, cache=True):
        """None."""
        return {}
