"""Filters over kilonova.trace, where the logic is and is tested."""

from kilonova import trace


class FilterModule:
    """Names as the role trace uses them."""

    def filters(self):
        """Return name -> function."""
        return {"trace_report": trace.report, "trace_table": trace.table, "trace_verdict": trace.verdict}
