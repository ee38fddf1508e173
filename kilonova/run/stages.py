"""Where the time of a run went: its plays, which are pages of the install guide, and their tasks."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Where the report is (roles/report), and the variable of the environment that names another directory.
DIRECTORY, ELSEWHERE = Path(__file__).resolve().parents[2] / "build" / "report", "KILONOVA_REPORT"


def spent(plays: Iterable[tuple[str, float]], tasks: Iterable[tuple[str, float]], end: float) -> list[dict[str, Any]]:
    """Return the stages of a run, of names and the moments (s, of one clock) in which they began; `end` is the end of the last.

    Each has name, started (s since the run began), seconds, and tasks, which have the same.
    """
    plays, tasks = _ended(plays, end), _ended(tasks, end)
    zero = plays[0][1] if plays else end
    return [
        {
            **_span(name, begun, ended, zero),
            "tasks": [_span(task, since, min(until, ended), zero) for task, since, until in tasks if begun <= since < ended],
        }
        for name, begun, ended in plays
    ]


def _ended(begun: Iterable[tuple[str, float]], end: float) -> list[tuple[str, float, float]]:
    """Names, and when each began and ended: when the next one began."""
    begun = list(begun)
    ends = [since for _name, since in begun[1:]] + [end] * bool(begun)
    return [(name, since, until) for (name, since), until in zip(begun, ends, strict=True)]


def _span(name: str, begun: float, ended: float, zero: float) -> dict[str, Any]:
    return {"name": name, "started": round(begun - zero, 2), "seconds": round(ended - begun, 2)}


def write(run: dict[str, Any]) -> None:
    """Write a run for the report, where its directory may be written to."""
    directory = Path(os.environ.get(ELSEWHERE) or DIRECTORY)
    with contextlib.suppress(OSError):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "run.json").write_text(json.dumps(run, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
