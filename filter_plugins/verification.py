"""Filters of the role verify: names over kilonova.proof.verification, where the logic is and is tested."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.proof import verification


class FilterModule:
    """Names as the role uses them."""

    def filters(self):
        """Return name -> function."""
        return {"verification": verification.assemble, "verification_lines": verification.lines}
