"""Ask a host about libvirt's secrets only where it has not reported, when the run began, that they are right."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.onhost import digests
from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/libvirt_secrets.py)."""

    def must_ask(self, arguments):
        """Whether a secret is missing, has another value, or is left of what was."""
        wanted = {one["uuid"].lower(): digests.keyed(one["key"].encode(), answers.KEY) for one in arguments["keys"]}
        return wanted != answers.reported(self.variables, "secrets", {})
