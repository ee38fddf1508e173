"""Carry a nova.conf from one release to a later one, with a reason for every line that changes.

    python -m kilonova.translate --conf old.conf --from ocata --to zed --out new.conf

What Nova says itself (its deprecated names, release by release) comes from the catalogue; what it does not say, from
catalogue/data/by_hand.yml. Comments, order and untouched lines stay as they are. What cannot stay becomes a comment
that says why, without its value. The result has no error by the later release's own options.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import sys
import textwrap
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kilonova import conf
from kilonova.catalogue import Finding, catalogue, errors, fate, first_release, last_release, lives, mask, validate
from kilonova.catalogue.changes import by_hand_row
from kilonova.catalogue.check import REFERENCE, Unresolved, Values, named_sections
from kilonova.catalogue.options import Option, by_hand, package
from kilonova.releases import Release, find

KEPT, RENAMED, DROPPED, ATTENTION = "kept", "renamed", "dropped", "attention"


@dataclass(slots=True)
class Record:
    """What became of one assignment of the old file. Values are fit to be shown: secrets are masked."""

    section: str
    option: str
    value: str
    action: str
    """kept, renamed (or moved), dropped, or attention: a person has to look, whether it stayed or not."""
    new_section: str | None
    new_option: str | None
    new_value: str | None
    """None when the option is not in the new file."""
    reason: str
    source: str
    line: int = 0
    """Where it was in the old file; not part of the JSON report."""

    def as_dict(self) -> dict[str, str | None]:
        """Return the record as the JSON report has it."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "line"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something that the later release needs and the old file does not have."""

    release: str
    need: str
    source: str


@dataclass(slots=True)
class Result:
    """A translation."""

    text: str
    """The new file. Contains the secrets of the old one."""
    records: list[Record]
    """One per assignment of the old file, in its order."""
    required: list[Requirement]
    findings: list[Finding] = field(default_factory=list)
    """What is left to say about the new file; warnings only."""

    def report(self) -> str:
        """Return the records as JSON."""
        return json.dumps([r.as_dict() for r in self.records], indent=2, ensure_ascii=False) + "\n"


@dataclass(slots=True)
class _Plan:
    """What to do with one assignment."""

    item: conf.Item
    section: str
    """Where it goes."""
    name: str
    value: str
    home: str = ""
    """The section in which the old release looked up what the value refers to."""
    out: bool = False
    """Left out of the new file."""
    composed: bool = False
    """Part of the line that another assignment stands for."""
    attention: bool = False
    reasons: list[str] = field(default_factory=list)
    source: str = ""

    def leave_out(self, reason: str, source: str = "", attention: bool = False) -> None:
        self.out, self.attention = True, self.attention or attention
        self.reasons.append(reason)
        self.source = source or self.source

    @property
    def moved(self) -> bool:
        return self.section != self.item.section

    @property
    def changed(self) -> bool:
        return (self.section, self.name, self.value) != (self.item.section, self.item.name, self.item.value)


def translate(text: str | bytes, from_release: str | Release, to_release: str | Release) -> Result:
    """Translate the content of a nova.conf.

    Raises ValueError for unknown releases and for a `to_release` older than `from_release`, and conf.ConfError,
    with the line's number, for a file that oslo.config refuses too.
    """
    old, new = find(from_release), find(to_release)
    if new < old:
        raise ValueError(f"{new.title} is older than {old.title}: a configuration is translated forwards only")
    return _Translation(conf.read(text), old, new).result()


class _Translation:
    def __init__(self, source: conf.Conf, old: Release, new: Release) -> None:
        self.conf, self.old, self.new = source, old, new
        self.before = Values(catalogue(old), source.items)
        self.after = Values(catalogue(new), source.items)
        self.named = named_sections(source.items)
        self.plans = [self.plan(item) for item in source.items]

    # ------------------------------------------------------------------------------------------- what to do, and why

    def plan(self, item: conf.Item) -> _Plan:
        """Decide by the option's name alone."""
        plan = _Plan(item, item.section, item.name, item.value, home=item.section)
        plugin = self.before.plugin(item.section)
        found = catalogue(self.old).resolve(item.section, item.name, plugin)
        if found:
            plan.home = found[0].section
            became = fate(item.section, item.name, self.old, self.new, plugin)
            if became.target:
                plan.section, plan.name = became.target
                plan.source = became.source
                plan.reasons += [became.reason] * bool(became.reason)
            else:
                plan.leave_out(became.reason, became.source)
        elif item.section not in self.named:
            self.unknown(plan, plugin)
        return plan

    def unknown(self, plan: _Plan, plugin: str) -> None:
        """Decide about an option that the old release ignored."""
        item, ignored = plan.item, f"Nova {self.old.title} ignores it"
        now = catalogue(self.new).resolve(item.section, item.name, plugin)
        if now:
            since = first_release(item.section, item.name, self.old) or self.new
            became = fate(item.section, item.name, self.new, self.new, plugin)
            plan.section, plan.name = became.target or (now[0].section, now[0].dest)
            plan.attention = True
            plan.reasons.append(f"{ignored}; from {since.title} on it takes effect")
            plan.reasons += [became.reason] * bool(became.reason)
            plan.source = package(since)
            return
        last = last_release(item.section, item.name, self.old)
        if last:
            became = fate(item.section, item.name, lives(item.section, item.name)[0], self.new)
            use = f"; set [{became.target[0]}] {became.target[1]} if it is wanted" if became.target else ""
            detail = f" ({became.reason})" if became.reason else ""
            reason = f"{ignored} already: the last release to read it was {last.title}{detail}{use}"
            plan.leave_out(reason, became.source or package(last), attention=bool(use))
            return
        near = catalogue(self.old).nearest(item.section, item.name)
        hint = f"; was {near} meant?" if near else ""
        plan.leave_out(f"{ignored}: no release from there on has such an option{hint}", package(self.new), bool(near))

    def option(self, plan: _Plan) -> Option | None:
        """Return the new release's option that `plan` sets."""
        return catalogue(self.new).get(plan.section, plan.name, self.after.plugin(plan.section))

    def compose_transport_url(self) -> None:
        """Put what rabbit_host and its like said into [DEFAULT] transport_url, if that is not set."""
        parts = [p for p in self.plans if p.out and "compose" in self.row(p) and p.source == self.row(p)["source"]]
        if not parts or any((p.section, p.name) == ("DEFAULT", "transport_url") and not p.out for p in self.plans):
            return
        try:
            url = self.transport_url()
        except Unresolved as error:
            parts[0].leave_out(f"[DEFAULT] transport_url cannot be composed: {error}", attention=True)
            return
        for number, plan in enumerate(parts):
            plan.section, plan.name, plan.value = "DEFAULT", "transport_url", url
            plan.out = plan.composed = number > 0  # one line for all of them
            plan.reasons = ["put together in [DEFAULT] transport_url: " + self.row(plan)["reason"]]

    def row(self, plan: _Plan) -> dict[str, Any]:
        """Return by_hand.yml's row about the plan's old name, empty when there is none."""
        return by_hand_row((plan.item.section, plan.item.name), self.new) or {}

    def transport_url(self) -> str:
        """Return the URL that the old release built from its rabbit_ options."""

        def value(name: str) -> str:
            option = catalogue(self.old).get("oslo_messaging_rabbit", name)
            return self.before.substituted(self.before.effective(option), option.section) if option else ""

        login = ":".join(urllib.parse.quote(value(n), safe="") for n in ("rabbit_userid", "rabbit_password"))
        hosts = [h.strip() for h in value("rabbit_hosts").split(",") if h.strip()]
        host = urllib.parse.quote(value("rabbit_virtual_host").lstrip("/"), safe="")
        return "rabbit://" + ",".join(f"{login}@{h}".replace("$", "%24") for h in hosts) + f"/{host}"

    def settle_names(self) -> None:
        """Where several old names became one option, keep the one that oslo.config reads."""
        groups: dict[tuple[str, str], list[_Plan]] = {}
        for plan in self.plans:
            if not plan.out:
                groups.setdefault((plan.section, plan.name), []).append(plan)
        for target, plans in groups.items():
            option = self.option(plans[0])
            if option is None or option.multi:
                continue
            order = [target, *option.aliases]
            names = {(p.item.section, p.item.name) for p in plans}
            # the option's own name first, then the other names in Nova's order, then names by hand
            winner = min(names, key=lambda n: (order.index(n) if n in order else len(order), n))
            for plan in plans:
                if (plan.item.section, plan.item.name) != winner:
                    plan.leave_out(f"[{winner[0]}] {winner[1]} in the same file is read before it")

    def change_values(self) -> None:
        """Apply by_hand.yml's knowledge about values to those that cross a release."""
        for row in by_hand()["values"]:
            if not self.old.nova < row["from"] <= self.new.nova:
                continue
            for plan in self.plans:
                if row["section"] not in ("*", plan.section, plan.item.section) or plan.name not in row["names"]:
                    continue
                if "match" in row:
                    if re.search(row["match"], plan.value):
                        plan.attention = True
                        plan.reasons.append(f"{row['reason']} (since {find(row['from']).title})")
                        plan.source = row["source"]
                elif not plan.out:
                    items = [i.strip() for i in plan.value.split(",") if i.strip()]
                    gone = [i for i in items if i.rpartition(".")[2] in row["drop_items"]]
                    if gone:
                        plan.value = ",".join(i for i in items if i not in gone)
                        plan.attention = True
                        plan.reasons.append(f"{', '.join(gone)} gone in {find(row['from']).title}: {row['reason']}")
                        plan.source = row["source"]
                        if not plan.value:
                            plan.leave_out("nothing is left of the list, so the default holds")

    def follow_references(self) -> None:
        """Make $name and ${section.name} in values mean in the new file what they meant in the old one."""
        for plan in self.plans:
            if not plan.out and "$" in plan.value:
                text = plan.value.replace(r"\$", "$$")
                plan.value = REFERENCE.sub(functools.partial(self.reference, plan), text)
                if plan.value == plan.item.value.replace(r"\$", "$$"):
                    plan.value = plan.item.value  # nothing but the spelling of a dollar sign would change

    def reference(self, plan: _Plan, match: re.Match[str]) -> str:
        """Return what stands for one reference in the new file."""
        if match["escaped"]:
            return match[0]
        key = match["bare"] or match["braced"]
        was = self.before.referred(key, plan.home)
        now = self.after.referred(key, plan.section)
        if was is None:
            if now is None:
                plan.attention = True
                plan.reasons.append("a reference in it has no target, which Nova cannot read; written as text, with $$")
                return "$" + match[0]
            return match[0]
        became = fate(was.section, was.dest, self.old, self.new, self.before.plugin(was.section)).target
        if became is None:
            plan.attention = True
            plan.reasons.append(f"it refers to {was!r}, which is gone; its value stands here now")
            try:
                value = self.before.substituted(self.before.effective(was), was.section)
            except Unresolved:
                value = ""
            return value.replace("$", "$$")
        if now and (now.section, now.dest) == became:
            return match[0] if "." in key or key == now.dest else f"${{{now.dest}}}"
        plan.reasons.append(f"it referred to {was!r}, which is [{became[0]}] {became[1]} now")
        if became[0] in (plan.section, "DEFAULT"):
            return f"${{{became[1]}}}"
        return f"${{{became[0]}.{became[1]}}}"

    def drop_errors(self) -> None:
        """Leave out what the new release would not accept, until it accepts the rest."""
        for _ in range(len(self.plans) + 1):  # each round leaves out at least one
            items = [self.new_item(p) for p in self.ordered()]
            new = conf.Conf(items=items, headers=[(i.section, i.line) for i in items])
            wrong = {(f.section, f.option): f.message for f in errors(validate(new, self.new))}
            if not wrong:
                self.named = named_sections(items)
                return
            for plan in self.plans:
                message = wrong.get((plan.section, plan.name)) or wrong.get((plan.section, None))
                if message and not plan.out:
                    plan.leave_out(message, package(self.new), attention=True)

    def new_item(self, plan: _Plan) -> conf.Item:
        return conf.Item(plan.section, plan.name, plan.value, plan.item.line, plan.item.last)

    def ordered(self) -> Iterable[_Plan]:
        """Yield what is in the new file in its order: what moved comes last in its section."""
        stay = [p for p in self.plans if not p.out]
        return [p for p in stay if not p.moved] + [p for p in stay if p.moved]

    # ------------------------------------------------------------------------------------------------------- the file

    def result(self) -> Result:
        self.compose_transport_url()
        self.settle_names()
        self.change_values()
        self.follow_references()
        self.drop_errors()
        records = [self.record(p) for p in self.plans]
        required = list(self.requirements())
        text = self.text(required)
        return Result(text, records, required, validate(text, self.new))

    def record(self, plan: _Plan) -> Record:
        item = plan.item
        was = catalogue(self.old).resolve(item.section, item.name, self.before.plugin(item.section))
        option = self.option(plan)
        in_file = not plan.out or plan.composed
        renamed = (plan.section, plan.name) != (item.section, item.name)
        if plan.attention:
            action = ATTENTION
        elif not in_file:
            action = DROPPED
        else:
            action = RENAMED if renamed else KEPT
        reasons, source = list(plan.reasons), plan.source
        if in_file and option and option.deprecated is not None:
            reasons.append(f"deprecated, still read by {self.new.title}: {option.deprecated or 'Nova gives no reason'}")
            source = source or package(self.new)
        if not reasons:
            reasons.append(f"valid in {self.new.title}" if option else "in a section that a value names")
            source = source or package(self.new)
        return Record(
            section=item.section,
            option=item.name,
            value=mask(item.section, item.name, item.value, was[0] if was else None) or "",
            action=action,
            new_section=plan.section if in_file else None,
            new_option=plan.name if in_file else None,
            new_value=mask(plan.section, plan.name, plan.value, option) if in_file else None,
            reason="; ".join(reasons),
            source=source or package(self.new),
            line=item.line,
        )

    def requirements(self) -> Iterable[Requirement]:
        """Yield what releases after the old one need and the new file does not have."""
        for row in by_hand()["required"]:
            if self.old.nova < row["from"] <= self.new.nova:
                section, name, pattern = row.get("set", ("", "", ""))
                values = [p.value for p in self.ordered() if (p.section, p.name) == (section, name)]
                if not (values and re.search(pattern, values[-1])):
                    yield Requirement(find(row["from"]).title, row["need"], row["source"])

    def text(self, required: list[Requirement]) -> str:
        """Return the new file."""
        lines = self.conf.lines
        new: dict[int, list[str]] = {n: [line] for n, line in enumerate(lines, start=1)}
        added: dict[str, list[str]] = {}
        for plan in self.plans:
            item = plan.item
            if not (plan.out or plan.changed):
                continue
            for number in range(item.line, item.last + 1):
                new[number] = []
            if plan.out:
                new[item.line] = [self.farewell(plan)]
            elif not plan.moved:
                new[item.line] = self.assignment(plan)
            else:
                block = added.setdefault(plan.section, [])
                number = item.line - 1
                comments: list[str] = []
                while number > 0 and lines[number - 1][:1] in ("#", ";") and new[number]:
                    comments[:0] = new[number]
                    new[number] = []
                    number -= 1
                block += comments + self.assignment(plan)
        self.retire_headers(new)
        end = self.insert(new, added)
        body = [line for number in sorted(new) for line in new[number]]
        for section, block in end.items():
            while body and not body[-1].strip():
                body.pop()
            body += ["", f"[{section}]", *block, ""]
        head = [f"# Kilonova: Nova {r.release} needs: {r.need}" for r in required]
        return self.conf.newline.join(head + body)

    def farewell(self, plan: _Plan) -> str:
        """Return the comment that stands where an option was; never its value."""
        reason = " ".join("; ".join(plan.reasons).split())
        return f"# Kilonova: {plan.item.name} is not in {self.new.title}'s file: {reason}"

    def assignment(self, plan: _Plan) -> list[str]:
        """Return the lines that set the option; as they were, but for what changed."""
        item = plan.item
        raw = self.conf.lines[item.line - 1 : item.last]
        if plan.value == item.value:
            # the name only; whatever follows it stays
            first = raw[0]
            return [plan.name + first[len(item.name) :], *raw[1:]]
        values = plan.value.split("\n")
        return [f"{plan.name} = {conf.quote(values[0])}".rstrip()] + [f"  {v}" for v in values[1:]]

    def retire_headers(self, new: dict[int, list[str]]) -> None:
        """Turn the headers of sections that the new release does not have into comments."""
        used = {p.section for p in self.plans if not p.out and not p.moved}
        for section, number in self.conf.headers:
            if section not in used and section not in self.named and not catalogue(self.new).has_section(section):
                new[number] = [f"# Kilonova: Nova {self.new.title} has no section {section}"]

    def insert(self, new: dict[int, list[str]], added: dict[str, list[str]]) -> dict[str, list[str]]:
        """Put what moved at the end of its section's assignments; return what has no section yet."""
        end = dict(added)
        for section, block in added.items():
            numbers = [n for s, n in self.conf.headers if s == section and new[n]]
            numbers += [p.item.last for p in self.plans if p.item.section == section and not p.moved]
            live = {n for n in numbers if not (new[n] and new[n][0].startswith("# Kilonova: Nova"))}
            if live:
                new[max(live)] = new[max(live)] + block
                del end[section]
        return end


# -------------------------------------------------------------------------------------------------------------- people


def table(result: Result, width: int = 120) -> str:
    """Return the translation as a table for people, secrets masked."""
    lines = []
    for record in result.records:
        target = ""
        if record.new_option and (record.new_section, record.new_option) != (record.section, record.option):
            target = f" -> [{record.new_section}] {record.new_option}"
        value = f" = {record.new_value}" if record.new_value is not None and record.new_value != record.value else ""
        row = f"{record.line:>5}  {record.action:<9}  [{record.section}] {record.option}{target}{value}"
        lines.append(row.replace("\n", " "))
        if record.action != KEPT or "deprecated" in record.reason:
            lines += textwrap.wrap(record.reason, width, initial_indent=" " * 18, subsequent_indent=" " * 18)
    for requirement in result.required:
        text = f"Nova {requirement.release} needs: {requirement.need}"
        lines += textwrap.wrap(text, width, initial_indent="    !  ", subsequent_indent=" " * 7)
    counts = ", ".join(
        f"{sum(r.action == action for r in result.records)} {action}" for action in (KEPT, RENAMED, DROPPED, ATTENTION)
    )
    return "\n".join([*lines, counts]) + "\n"


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner may read: it holds secrets. All of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
        file.write(text)
    part.replace(path)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 0, or 2 with one line on stderr when there is no translation."""
    parser = argparse.ArgumentParser(prog="python -m kilonova.translate", description=__doc__.splitlines()[0])
    parser.add_argument("--conf", type=Path, required=True, help="the nova.conf to translate")
    parser.add_argument("--from", dest="old", required=True, help="its release: name or number")
    parser.add_argument("--to", dest="new", required=True, help="the release to translate to")
    parser.add_argument("--out", type=Path, required=True, help="file to write; OUT.report.json is written beside it")
    args = parser.parse_args(arguments)
    try:
        result = translate(args.conf.read_bytes(), args.old, args.new)
        _write(args.out, result.text)
        _write(args.out.with_name(args.out.name + ".report.json"), result.report())
    except conf.ConfError as error:
        print(f"{args.conf}: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(result), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
