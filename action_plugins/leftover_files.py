"""Ask a host about files that packages leave only where one may be there."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/leftover_files.py)."""

    def must_ask(self, arguments):
        """Whether one of the files may be there."""
        return any(answers.is_left_over(path, self.variables) for path in arguments["paths"])
