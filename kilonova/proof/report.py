"""The report: one self-contained page, from the files that verify, trace, tempest, the guide's check and the last run wrote.

python -m kilonova.proof.report --template roles/report/templates/index.html.j2 build/report
"""

from __future__ import annotations

import argparse
import base64
import json
import struct
import sys
import textwrap
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2

from kilonova.proof import dashboard

SCHEMA = 1
PARTS = ("verify", "trace", "tempest", "guide", "run")


def collect(directory: Path, now: datetime | None = None) -> dict[str, Any]:
    """Read the parts that are there; returns the report as data (docs/report.schema.json)."""
    report: dict[str, Any] = {"schema": SCHEMA, "generated": (now or datetime.now(UTC)).isoformat(timespec="seconds")}
    for part in PARTS:
        path = directory / f"{part}.json"
        report[part] = json.loads(path.read_text()) if path.exists() else None
    report["guide"] = guide(report["guide"])
    report["console"] = console_picture(directory, report["verify"])
    report["dashboard"] = dashboard_pictures(directory, report["verify"])
    return report


def guide(lines: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """The guide's lines and what they become, with the number of unchanged ones."""
    if lines is None:
        return None
    return {"same": sum(line["becomes"] == line["guide"] for line in lines), "rows": lines}


def console_picture(directory: Path, verify: dict[str, Any] | None) -> dict[str, Any] | None:
    """The picture that this very verification took; an older one would show another guest."""
    row = next((row for row in (verify or {}).get("rows", []) if row["name"] == "novnc_picture"), None)
    path = directory / "console.png"
    if not row or row["status"] != "passed" or not path.exists():
        return None
    width, height = png_size(path.read_bytes())
    return {"file": path.name, "text": row["detail"], "width": width, "height": height}


def dashboard_pictures(directory: Path, verify: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The pictures of the dashboard that this very verification took."""
    row = next((row for row in (verify or {}).get("rows", []) if row["name"] == "dashboard_visit"), None)
    found = []
    for name, text in dashboard.PICTURES.items() if row and row["status"] == "passed" else ():
        path = directory / f"dashboard-{name}.png"
        if path.exists():
            width, height = png_size(path.read_bytes())
            found.append({"file": path.name, "text": text, "width": width, "height": height})
    return found


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of a PNG file."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("not a PNG file")
    return struct.unpack(">II", data[16:24])


def verdict(report: dict[str, Any]) -> dict[str, str]:
    """The first thing that a reader wants to know."""
    verify, tempest = report["verify"], report["tempest"]
    if verify is None:
        return {"status": "unknown", "text": "Not verified yet", "more": "make verify asks the cloud as a tenant would."}
    counts = verify["counts"]
    bad = counts["failed"]
    if bad:
        return {
            "status": "failed",
            "text": f"{bad} thing{'s' if bad > 1 else ''} did not work",
            "more": "Each failed row below says what Nova and the logs say of it, and what to look at.",
        }
    if verify.get("stopped"):
        return {"status": "failed", "text": "The run was stopped", "more": "What had not run yet counts as skipped."}
    if tempest and tempest["failed"]:
        return {"status": "failed", "text": f"Verified, but {tempest['failed']} of Tempest's tests failed", "more": ""}
    return {
        "status": "passed",
        "text": "The cloud works",
        "more": f"{counts['passed']} rows passed in {duration(verify['seconds'])}.",
    }


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def day(seconds: float) -> str:
    """A moment (seconds since 1970) as its day in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def minute(seconds: float) -> str:
    """A moment (seconds since 1970) as people write it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%-d %B %Y, %H:%M UTC")


def moment(value: Any) -> float | None:
    """Seconds since 1970, or since the beginning, of a number or of an ISO 8601 text; None where there is none."""
    if value is None or value == "":
        return None
    if isinstance(value, (int, float)):
        return float(value)
    parsed = datetime.fromisoformat(str(value).replace("Z", "+00:00").replace(" ", "T", 1))
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def forwards(values: list[Any]) -> list[float | None]:
    """Return the moments of a flow's steps. A time that is known only to the second never precedes that of the step before."""
    moments: list[float | None] = []
    for value in values:
        found, before = moment(value), max((time for time in moments if time is not None), default=None)
        coarse = isinstance(value, str) and "." not in value
        moments.append(before if coarse and found is not None and before is not None and found < before else found)
    return moments


# -- the sequence diagram --------------------------------------------------------------------------------------------

LEFT, TOP, LINE = 76, 76, 15
# Width of the page on an ordinary screen, and of a column.
PAGE, NARROW, WIDE = 1080, 74, 150
# Shown for a step without a time: there was nothing to do, or there is no evidence.
UNTIMED = {"replaced": "replaced", "absent": "no need"}
FLOWS = {"today": "Today's flow", "guide": "The workflow that students learn"}


@dataclass(frozen=True)
class Arrow:
    """One step of a launch as the diagram draws it."""

    number: str
    y: float
    x1: float
    x2: float
    label: list[str]
    label_x: float
    anchor: str
    time: str
    seen: bool

    @property
    def own(self) -> bool:
        """Whether it stays within one service."""
        return self.x1 == self.x2


def launch(trace: dict[str, Any]) -> dict[str, Any] | None:
    """A launch as the page shows it: one diagram and one list for each flow that its steps belong to."""
    steps = trace.get("steps") or []
    if not steps:
        return None
    instance = trace.get("instance") or {}
    if not isinstance(instance, dict):
        instance = {"name": str(instance)}
    names = dict.fromkeys(
        [*(flow for flow in FLOWS if any(step.get("flow") == flow for step in steps)), *(step.get("flow", "") for step in steps)]
    )
    flows = [
        {
            "name": name,
            "title": FLOWS.get(name, name),
            **sequence([step for step in steps if step.get("flow", "") == name], trace.get("started")),
        }
        for name in names
    ]
    return {"instance": instance, "problem": trace.get("problem") or "", "missing": trace.get("first_missing"), "flows": flows}


def sequence(steps: list[dict[str, Any]], started: Any = None) -> dict[str, Any]:
    """Lay out a flow: a column for each participant, a line for each step; plain numbers for the template's SVG."""
    names = list(dict.fromkeys(name for step in steps for name in ends(step)))
    column = min(WIDE, max(NARROW, (PAGE - LEFT) / max(1, len(names))))
    width = LEFT + column * len(names)
    x_of = {name: round(LEFT + column * (index + 0.5), 1) for index, name in enumerate(names)}
    times = forwards([step.get("time") for step in steps])
    known = [time for time in times if time is not None]
    zero = moment(started)
    # A start on another clock (an ISO date among offsets) says nothing about the steps.
    if known and (zero is None or abs(min(known) - zero) > 86400):
        zero = min(known)
    shown = [
        UNTIMED.get(step.get("state", ""), "not seen") if time is None else offset(time - (zero or 0))
        for step, time in zip(steps, times, strict=True)
    ]
    arrows, y = [], float(TOP)
    for step, time, when in zip(steps, times, shown, strict=True):
        begin, end = ends(step)
        x1, x2 = x_of[begin], x_of[end]
        number = str(step.get("step", ""))
        room = max(abs(x2 - x1) - 12, 190)
        label = textwrap.wrap(f"{number}. {step.get('title') or ''}", int(room / 5.9)) or [""]
        if x1 == x2:
            label_x, anchor = (x1 + 28, "start") if x1 + 28 + room < width else (x1 - 10, "end")
        else:
            # In the middle of its arrow, but not over the edge of the drawing.
            label_x = min(max((x1 + x2) / 2, LEFT + room / 2), width - room / 2)
            anchor = "middle"
        y += LINE * len(label) + 13
        arrows.append(Arrow(number, y, x1, x2, label, round(label_x, 1), anchor, when, time is not None))
        y += 8
    return {
        "participants": [{"name": name, "x": x_of[name], "lines": split_name(name, int((column - 8) / 6.4))} for name in names],
        "arrows": arrows,
        "width": round(width),
        "height": round(y + 24),
        "column": column,
        "top": TOP,
        "line": LINE,
        "span": duration(max(known) - min(known)) if known else "",
        "seen": len(known),
        "total": len(steps),
        "steps": [{**step, "offset": when} for step, when in zip(steps, shown, strict=True)],
    }


def split_name(name: str, width: int) -> list[str]:
    """A participant's name on few lines: broken after hyphens."""
    lines = textwrap.wrap(name.replace("-", "- "), max(width, 1), break_long_words=False, break_on_hyphens=False)
    return [line.replace("- ", "-") for line in lines] or [name]


def ends(step: dict[str, Any]) -> tuple[str, str]:
    """Who speaks to whom; a step within a service has the same twice."""
    begin = step.get("from") or step.get("service") or step.get("to") or "?"
    return str(begin), str(step.get("to") or begin)


def offset(seconds: float) -> str:
    """Time since the launch began."""
    return f"{seconds:+.2f} s" if abs(seconds) < 100 else f"{seconds:+.0f} s"


# -- where a run's time went -----------------------------------------------------------------------------------------

# Of the picture: room for names and seconds, width of the bars, height of a line, room for the axis.
NAMES, BARS, ROW, AXIS = 300, 700, 24, 26
# Apart from each other, the axis has its lines (s).
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600)
# So many tasks of a stage are told in words, the longest.
TOLD = 5


def timeline(run: dict[str, Any]) -> dict[str, Any] | None:
    """Lay out a run: a line for each stage, a bar for each of its tasks; plain numbers for the template's SVG."""
    stages = run.get("stages") or []
    if not stages:
        return None
    total = max(run["seconds"], 0.01)
    step = next((step for step in STEPS if total / step <= 12), STEPS[-1])
    return {
        "rows": [
            {
                **stage,
                "y": AXIS + ROW * number,
                **_bar(stage, total),
                "bars": [{**task, **_bar(task, total)} for task in stage["tasks"]],
                "longest": sorted(stage["tasks"], key=lambda task: -task["seconds"])[:TOLD],
            }
            for number, stage in enumerate(stages)
        ],
        "ticks": [
            {"x": round(NAMES + BARS * step * number / total, 1), "text": duration_of_tick(step * number)}
            for number in range(int(total / step) + 1)
        ],
        "names": NAMES,
        "width": NAMES + BARS + 80,
        "height": AXIS + ROW * len(stages) + 6,
        "row": ROW,
        "axis": AXIS,
    }


def _bar(span: dict[str, Any], total: float) -> dict[str, float]:
    return {"x": round(NAMES + BARS * span["started"] / total, 1), "long": round(BARS * span["seconds"] / total, 1)}


def duration_of_tick(seconds: float) -> str:
    """Seconds at a line of the axis: 0, 0.5, 20 s, 5 min."""
    return f"{seconds / 60:g} min" if seconds >= 120 else f"{seconds:g} s" if seconds else "0"


# -- the page --------------------------------------------------------------------------------------------------------


def render(report: dict[str, Any], template: Path, directory: Path) -> str:
    """Return the page."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(duration=duration, bytes=size, day=day)
    picture = _data(directory / report["console"]["file"]) if report["console"] else None
    started, ran = ((report[part] or {}).get("started") for part in ("verify", "run"))
    return environment.get_template(template.name).render(
        report=report,
        verdict=verdict(report),
        picture=picture,
        dashboard=[{**one, "data": _data(directory / one["file"])} for one in report["dashboard"]],
        started=minute(started) if started else "",
        ran=minute(ran) if ran else "",
        launch=launch(report["trace"]) if report["trace"] else None,
        timeline=timeline(report["run"]) if report["run"] else None,
    )


def _data(picture: Path) -> str:
    """A picture as a URL that has it."""
    return "data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode()


def size(number: float | None) -> str:
    """Bytes as a person says them."""
    value, units = float(number or 0), ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "bytes" or value >= 100 else f"{value:.1f} {units[0]}"


def write(directory: Path, template: Path) -> Path:
    """Write report.json and index.html; returns the page's path."""
    report = collect(directory)
    page = directory / "index.html"
    text = render(report, template, directory)
    (directory / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    page.write_text(text)
    return page


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        prog="python -m kilonova.proof.report", description="Write the report of what was found out about a cloud."
    )
    parser.add_argument("--template", type=Path, required=True, help="Jinja2 template of the page")
    parser.add_argument("directory", type=Path, help="where the parts are, and where the report goes")
    options = parser.parse_args(arguments)
    print(write(options.directory, options.template))
    return 0


if __name__ == "__main__":
    sys.exit(main())
