"""The result of a run of Tempest: numbers, and a reason for each test that did not pass."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

# subunit's word -> ours; every other word is a failure.
_STATUS = {"success": "passed", "xfail": "passed", "skip": "skipped", "exists": "skipped"}
# tempest.lib.exceptions.BadRequest: Bad request
_EXCEPTION = re.compile(r"^\s*((?:[A-Za-z_]\w*\.)*[A-Z]\w*)(?:: (.*))?$")
_FRAME = re.compile(r'^\s*(File "|Traceback |\^|~|[\w.]+\()')
# Details: Fault: {'code': 500, ..., 'message': 'No valid host was found. ', ...}
_FAULT = re.compile(r"""["']message["']: (["'])(.*?)(?<!\\)\1""", re.DOTALL)
_ATTRIBUTES = re.compile(r"\[(.*)\]$")


def name_of(test_id: str) -> str:
    """A test's name without its attributes: `tempest...test_x[id-...,smoke]` -> `tempest...test_x`."""
    return _ATTRIBUTES.sub("", test_id)


def reason(text: str, status: str = "failed") -> str:
    """Why, in one line: the skip's reason, or the last exception with what it says, and Nova's or another service's fault."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    if status == "skipped":
        return " ".join(line.strip() for line in lines if line.strip())[:500]
    start = next((number for number in range(len(lines) - 1, -1, -1) if _is_exception(lines, number)), None)
    if start is None:
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:500]
    # What follows the exception's own line belongs to it: "Details: ...", "reference = ...".
    said = " ".join(line.strip() for line in lines[start:] if line.strip())
    fault = _FAULT.search(" ".join(lines[start + 1 :]))
    if fault and len(said) > 400:
        said = f"{lines[start].strip()}: {fault[2].strip()}"
    return re.sub(r"\s+", " ", said)[:700]


def _is_exception(lines: list[str], number: int) -> bool:
    match = _EXCEPTION.match(lines[number])
    if not match or _FRAME.match(lines[number]):
        return False
    name = match[1]
    # A dotted name, or one that ends as exceptions do; what precedes it is a traceback.
    return ("." in name or name.endswith(("Error", "Exception", "Timeout", "Exit"))) and any(
        "Traceback" in line or 'File "' in line for line in lines[:number]
    )


def report(tests: Iterable[dict[str, Any]], regex: str, seconds: float, release: str = "", version: str = "") -> dict[str, Any]:
    """Everything that build/report/tempest.json holds."""
    rows = []
    for test in tests:
        status = _STATUS.get(test["status"], "failed")
        why = "" if status == "passed" else reason(test["text"], status)
        if test["status"] == "inprogress":
            why = why or "the run ended before this test did"
        if test["status"] == "uxsuccess":
            why = why or "passed although it was expected to fail"
        if status == "skipped" and not why:
            why = "no reason given"
        rows.append({"name": name_of(test["id"]), "status": status, "reason": why, "seconds": test["seconds"]})
    order = {"failed": 0, "skipped": 1, "passed": 2}
    rows.sort(key=lambda row: (order[row["status"]], row["name"]))
    count = {status: sum(row["status"] == status for row in rows) for status in order}
    return {"regex": regex, "release": release, "tempest": version, **count, "seconds": round(float(seconds), 1), "tests": rows}


def seconds(run: dict[str, Any]) -> float:
    """How long a command took, by the `start` and `end` that Ansible returns."""
    begin, end = (datetime.fromisoformat(str(run[key])) for key in ("start", "end"))
    return (end - begin).total_seconds()


def summary(found: dict[str, Any]) -> list[str]:
    """Lines for a terminal: each failure with its reason, the skips by reason, the numbers."""
    lines = []
    for row in found["tests"]:
        if row["status"] == "failed":
            lines += [f"FAILED   {row['name']}", f"         {row['reason']}"]
    skips: dict[str, int] = {}
    for row in found["tests"]:
        if row["status"] == "skipped":
            skips[row["reason"]] = skips.get(row["reason"], 0) + 1
    lines += [f"skipped  {count:>3}  {why}" for why, count in sorted(skips.items(), key=lambda item: (-item[1], item[0]))]
    numbers = ", ".join(f"{found[status]} {status}" for status in ("passed", "failed", "skipped"))
    return [*lines, f"{numbers} in {found['seconds']:.0f} s ({found['regex']})"]
