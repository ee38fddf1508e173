"""Ask a host about the owners of its configuration directories only where one may be wrong."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/config_rights.py)."""

    def prepared(self, arguments):
        """Pass on which packages this run installed: they may have brought other owners."""
        return {**arguments, "installed": answers.done(self.variables).get("new", [])}

    def must_ask(self, arguments):
        """Whether an owner or a mode may be wrong."""
        return not answers.rights_are_right(self.variables)

    def learned(self, arguments, answer):
        """Where owners and modes were put right, or in check mode would have been, for the tasks that write files there."""
        return {"corrected": answer["corrected"]} if "corrected" in answer else {}
