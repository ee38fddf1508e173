"""Filters of the role verify: names over kilonova.verification, where the logic is and is tested."""

from kilonova import verification


class FilterModule:
    """Names as the role uses them."""

    def filters(self):
        """Return name -> function."""
        return {"verification": verification.assemble, "verification_lines": verification.lines}
