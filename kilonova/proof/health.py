"""The health of a cloud: what its hosts and its services said of themselves, in one table and as JSON (`make health`)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

STATES = ("ok", "warning", "problem")
# Seconds by which a clock may differ: tokens and certificates are good from their first second on.
CLOCK = 60
CLOUD = "(cloud)"


def whole(hosts: Mapping[str, Mapping[str, Any]], cloud: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything: state (the worst of all rows), when, counts of the states, and rows of where, about, state and what.

    `hosts` has what the module host_health returned, or Ansible's own result where a host was not reached; `cloud`, what
    cloud_health returned.
    """
    rows = [{"where": name, **row} for name, answer in hosts.items() for row in _of_host(answer)]
    rows += [{"where": CLOUD, **row} for row in [*_of_cloud(cloud), *_of_controllers(hosts)]]
    counts = {state: sum(row["state"] == state for row in rows) for state in STATES}
    worst = next((state for state in reversed(STATES) if counts[state]), "ok")
    return {"state": worst, "asked": round(time.time()), "counts": counts, "rows": rows}


def _of_host(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "host" not in answer:
        return [_row("host", "problem", f"is out of reach: {_words(answer)}" if answer.get("unreachable") else _words(answer))]
    ahead = answer["host"]["clock_ahead"]
    clock = _row("clock", "problem" if abs(ahead) > CLOCK else "ok", f"{abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}")
    if abs(ahead) < 1:
        clock["what"] = "right"
    return [*answer["host"]["found"], clock]


def _of_cloud(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "found" in answer:
        return list(answer["found"])
    return [_row("controller", "problem", _words(answer))]


def _of_controllers(hosts: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Which of several controllers has their common address, and whose database everybody is led to."""
    told = {name: common for name, answer in hosts.items() if (common := answer.get("host", {}).get("common"))}
    here = [name for name, common in told.items() if common["here"]]
    if not told:
        return []
    if len(here) != 1:
        what = f"{' and '.join(here)} have it" if here else f"none of {', '.join(told)} has it"
        return [_row("common address", "problem", what)]
    writer = told[here[0]]["writer"]
    led = f", and leads to the database of {writer}" if writer else ""
    return [_row("common address", "ok", f"{here[0]} has it{led}")]


def _row(about: str, state: str, what: str) -> dict[str, Any]:
    return {"about": about, "state": state, "what": what}


def _words(answer: Mapping[str, Any]) -> str:
    return next(iter(str(answer.get("msg") or "").strip().splitlines()), "was not asked")


def table(found: Mapping[str, Any]) -> list[str]:
    """Return the lines for people: every row, and the sum."""
    cells = [(row["state"], row["where"], row["about"], row["what"]) for row in found["rows"]]
    widths = [max((len(cell[column]) for cell in cells), default=0) for column in range(3)]
    lines = ["  ".join((*(text.ljust(width) for text, width in zip(cell, widths, strict=False)), cell[3])) for cell in cells]
    counts = found["counts"]
    return [*lines, f"ok: {counts['ok']}, warnings: {counts['warning']}, problems: {counts['problem']}"]
