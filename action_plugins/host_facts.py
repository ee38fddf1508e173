"""Give the host the key of the digests that it reports."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/host_facts.py)."""

    def sent(self, arguments):
        """Add the key, which no task knows."""
        return {**arguments, "key": answers.KEY.hex()}

    def ask(self, arguments):
        """Compare the host's clock with ours: read after we asked, and before we had the answer, however long that took."""
        asked = time.time()
        answer = super().ask(arguments)
        if "host" in answer:
            clock, answered = answer["host"].pop("clock"), time.time()
            answer["host"]["clock_ahead"] = max(clock - answered, 0) + min(clock - asked, 0)
        return answer
