"""Kilonova: configuration of OpenStack Nova as data, for every release from Ocata to 2026.2."""

import sys

__version__ = "0.1.0"

# In Ansible's process, one line in the place of whatever would fail later. The first plugin that comes here is the callback
# `stages`, before any play; Ansible would make a warning of an exception, and go on.
if "ansible.release" in sys.modules:
    from kilonova.run import requirements

    if requirements.missing():
        sys.exit(f"ERROR! {requirements.missing()}")
