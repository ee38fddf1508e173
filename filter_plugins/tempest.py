"""Filters over kilonova.proof.tempest, where the logic is and is tested."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.proof import tempest


class FilterModule:
    """Names as the role tempest uses them."""

    def filters(self):
        """Return name -> function."""
        return {"tempest_report": tempest.report, "tempest_seconds": tempest.seconds, "tempest_summary": tempest.summary}
