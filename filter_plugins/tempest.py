"""Filters over kilonova.tempest, where the logic is and is tested."""

from kilonova import tempest


class FilterModule:
    """Names as the role tempest uses them."""

    def filters(self):
        """Return name -> function."""
        return {"tempest_report": tempest.report, "tempest_seconds": tempest.seconds, "tempest_summary": tempest.summary}
