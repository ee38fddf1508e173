"""Start a guest only where the host has not reported, when the run began, what an earlier one showed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/kvm_probe.py)."""

    def run(self, tmp=None, task_vars=None):
        """Return whether KVM works."""
        result = super().run(tmp, task_vars)
        return result if "works" in result or result.get("failed") else {**result, **answers.kvm(task_vars)}

    def must_ask(self, arguments):
        """Whether a guest has to show it."""
        return answers.kvm(self.variables) is None
