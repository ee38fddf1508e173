"""Ask a host about the daemons of Ceph only where it has not reported, when the run began, that they are made."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/ceph_daemons.py)."""

    def must_ask(self, arguments):
        """Whether one of the daemons may be missing."""
        name, there = arguments["cluster"]["name"], answers.reported(self.variables, "ceph", [])
        if arguments["kind"] == "monitor":
            return f"mon/ceph-{name}" not in there
        return not {f"mgr/ceph-{name}", *(f"osd/ceph-{osd['id']}" for osd in arguments["osds"])} <= set(there)
