"""The seed guide and the installation side by side: one row per step and option, with the task that does it and what it becomes.

    python -m kilonova.config.guide --release zed

The rows are data (guide.yml); what a row becomes in a release is looked up in what config.generate makes of the roles' data for
the guide's two hosts, and in what kilonova.config.translate says of the guide's own two files.
"""

from __future__ import annotations

import argparse
import functools
import json
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from kilonova.config import conf, config_files, generate, inventories, releases, translate
from kilonova.config.catalogue import catalogue

TREE = config_files.ROLES.parent
DATA = Path(__file__).with_name("guide.yml")
# The guide's own two files; the guide is of Ocata's time.
FILES = {"controller": TREE / "tests/data/guide/controller.conf", "compute": TREE / "tests/data/guide/compute.conf"}
GUIDE_RELEASE = "ocata"
PAGE = TREE / "docs" / "guide.md"
REPORT = TREE / "build" / "report" / "guide.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the guide."""

    step: str
    guide: str
    task: str
    """File below roles/ and name of the task, `nova_controller/tasks/main.yml: Install the packages`."""
    becomes: str
    why: str


@functools.cache
def data() -> dict[str, Any]:
    """Return guide.yml."""
    return yaml.safe_load(DATA.read_text(encoding="utf-8"))


@functools.cache
def guide_conf(node: str) -> conf.Conf:
    """Return the guide's nova.conf of a node."""
    return conf.read(FILES[node].read_bytes())


def default_release() -> str:
    """Return the release that is installed unless the inventory says otherwise."""
    return inventories.variables_of("openstack", "defaults")["openstack_release"]


class Guide:
    """The guide's cloud, one controller and one compute node, in a release."""

    def __init__(self, release: Any) -> None:
        self.release = releases.find(release)
        shared = {
            **generate.placeholders(),
            "openstack_tls": False,  # the guide's cloud has none
            "openstack_controller_address": "controller",
            "openstack_host": {"hostname": "controller"},
        }
        hosts = {
            "controller": {**shared, "openstack_management_address": "10.0.0.11"},
            "compute1": {**shared, "openstack_management_address": "10.0.0.31"},
        }
        groups = {"controllers": ["controller"], "computes": ["compute1"], "all": ["controller", "compute1"]}
        inventory = inventories.Inventory(hosts, groups, release=self.release)
        self.hosts = {"controller": inventory.host("controller"), "compute": inventory.host("compute1")}
        self.files = {node: {str(entry["path"]): entry for entry in host.files()} for node, host in self.hosts.items()}
        self.conf = {node: conf.read(config_files.render(files["/etc/nova/nova.conf"])) for node, files in self.files.items()}

    @functools.cached_property
    def translated(self) -> dict[str, dict[tuple[str, str], translate.Record]]:
        """Node -> (section, option) of the guide's file -> what became of it."""
        result = {}
        for node, path in FILES.items():
            records = translate.translate(path.read_bytes(), GUIDE_RELEASE, self.release).records
            result[node] = {(record.section, record.option): record for record in records}
        return result

    def rows(self) -> list[Row]:
        """Return all rows in the guide's order."""
        return [row for step in data()["steps"] for row in self._step(step)]

    def _step(self, step: dict[str, Any]) -> Iterator[Row]:
        node = step["node"]
        title = f"{node.capitalize()}: {step['step']}"
        for row in step["rows"]:
            task, why = row.get("task", step.get("task")), row.get("why", "")
            if "options" in row:
                for name in row["options"]:
                    yield self._option(title, node, row["section"], name, task)
            elif "unit" in row:
                name = row["unit"]
                there = name in [unit["name"] for unit in self.hosts[node].find(f"__nova_{node}_units")]
                becomes = f"systemctl restart {name}, when something that it reads changed" if there else "not there"
                yield Row(title, f"service {name} restart", task, becomes, "" if there else why)
            elif "environment" in row:
                environment = self.files[node]["/root/admin-openrc"]["variables"]["environment"]
                becomes = f"export {row['environment']}={environment[row['environment']]}"
                yield Row(title, row["guide"], task, becomes, why if becomes != row["guide"] else "")
            else:
                yield Row(title, row["guide"], task, " ".join(str(self.hosts[node].resolve(row["becomes"])).split()), why)

    def _option(self, title: str, node: str, section: str, name: str, task: str) -> Row:
        """Say what became of one option of the guide's nova.conf."""
        value = guide_conf(node).values(section, name)[-1]
        record = self.translated[node][section, name]
        data_why, instead = _why(section, name, value)
        target = (record.new_section or section, record.new_option or name)
        options = [target] if self._value(node, *target) is not None else [(section, other) for other in instead]
        ours = {option: self._value(node, *option) for option in options}
        becomes = "; ".join(f"[{s}] {o} = {v}" for (s, o), v in ours.items() if v is not None) or "not set"
        reasons = []
        if not _same(ours, (section, name), value):
            said = record.reason if record.action != translate.KEPT or becomes == "not set" else ""
            reasons = [text for text in (data_why, said) if text and not text.startswith("valid in ")]
        return Row(title, f"[{section}] {name} = {value}", task, becomes, "; ".join(dict.fromkeys(reasons)))

    def _value(self, node: str, section: str, name: str) -> str | None:
        found = self.conf[node].values(section, name)
        return found[-1] if found else None

    def unknown(self) -> list[str]:
        """Return options of the rows' `becomes` that the release does not have; must be empty."""
        known = catalogue(self.release)
        return [
            f"[{item.section}] {item.name}"
            for node in self.conf
            for item in self.conf[node].items
            if known.get(item.section, item.name) is None
        ]


def _same(ours: dict[tuple[str, str], str | None], option: tuple[str, str], value: str) -> bool:
    """Whether the option is there as in the guide; booleans in any spelling."""

    def spelled(text: str | None) -> str | None:
        return text.lower() if text and text.lower() in ("true", "false") else text

    return list(ours) == [option] and spelled(ours[option]) == spelled(value)


def _why(section: str, name: str, value: str) -> tuple[str, list[str]]:
    for row in data()["whys"]:
        if row.get("section", section) == section and name in row["names"] and re.search(row.get("when", ""), value):
            return " ".join(row["why"].split()), row.get("instead", [])
    return "", []


# ------------------------------------------------------------------------------------------------------------ showing

_CODE = re.compile(r"(\[|export |apt-get |rm -f |(endpoint|service|openstack user) )[^`]*$")


def page(rows: list[Row], release: releases.Release) -> str:
    """Return the rows as docs/guide.md."""
    lines = [
        "# The guide, line by line",
        "",
        f"What each line of the seed guide's section 4 becomes in {release.title}, which task does it, and why where it differs.",
        "Written by `make guide` from `kilonova/config/guide.yml`, the roles' data and the option catalogue;",
        "`make guide RELEASE=…` prints it for any release. Host names and passwords are the guide's.",
        "A line in parentheses is one that it leaves out.",
    ]
    step = ""
    for row in rows:
        if row.step != step:
            step = row.step
            lines += ["", f"## {step}", "", "| guide | becomes | task | why |", "|---|---|---|---|"]
        becomes = f"`{row.becomes}`" if _CODE.match(row.becomes) else row.becomes
        cells = (f"`{row.guide}`", "the same" if row.becomes == row.guide else becomes, row.task, row.why)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def table(rows: list[Row], width: int = 130) -> str:
    """Return the rows for a terminal."""
    lines, step = [], ""
    for row in rows:
        if row.step != step:
            step = row.step
            lines += ["", step.upper()]
        lines.append(f"  {row.guide}")
        if row.becomes != row.guide:
            lines += textwrap.wrap(f"-> {row.becomes}", width, initial_indent="      ", subsequent_indent="         ")
        if row.why:
            lines += textwrap.wrap(f"why: {row.why}", width, initial_indent="      ", subsequent_indent="         ")
        lines.append(f"      task: {row.task}")
    return "\n".join([*lines[1:], "", f"{len(rows)} rows"])


def main(arguments: list[str] | None = None) -> int:
    """Command line: print the table and write page and report."""
    parser = argparse.ArgumentParser(prog="python -m kilonova.config.guide", description=__doc__.splitlines()[0])
    parser.add_argument("--release", default="", help="name or number; without it the one that is installed by default")
    try:
        release = releases.find(parser.parse_args(arguments).release or default_release())
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    rows = Guide(release).rows()
    print(table(rows))
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_text(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if release.name == default_release():  # the page is about what is installed
        PAGE.write_text(page(rows, release), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
