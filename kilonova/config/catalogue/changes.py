"""What became of an option from one release to another."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kilonova.config.catalogue.options import NOVA, Option, by_hand, catalogue, covers, histories, package
from kilonova.config.conf import section_key
from kilonova.config.releases import NEWEST, OLDEST, RELEASES, Release, releases_between

Name = tuple[str, str]
"""(section, option) as in a file."""
Holds = Callable[[Sequence[str]], bool]
"""Tells for (section, option, pattern) whether that option's value in a file matches."""


# An option of these sections is a library's, and is renamed or dropped for all services alike.
LIBRARIES = ("keystone_authtoken", "oslo_messaging_notifications", "oslo_messaging_rabbit", "oslo_middleware", "oslo_policy")


def is_about(row: Mapping[str, Any], file: str) -> bool:
    """Whether a row of by_hand.yml, which are about nova.conf, holds for another file as well."""
    return file == NOVA or row["section"] in ("*", *LIBRARIES)


@functools.cache
def _lives(file: str = NOVA) -> dict[Name, set[int]]:
    """Return in which releases a file could set each name, current or deprecated."""
    lives: dict[Name, set[int]] = {}
    for part in histories(file):
        for section, options in part.items():
            for name, spans in options.items():
                for first, last, spec in spans:
                    option = Option(section, name, spec)
                    for key in [(section, option.dest), *option.aliases]:
                        lives.setdefault(key, set()).update(range(first, last + 1))
    for row in by_hand()["sections"] if file == NOVA else ():
        for name in row["options"]:
            lives.setdefault((row["section"], name), set()).update(range(row["from"], row.get("to", NEWEST.nova) + 1))
    return lives


@functools.cache
def _patterns(file: str) -> dict[str, list[tuple[str, set[int]]]]:
    """Return by name in which releases it could stand in sections that begin so, of those whose names a value makes."""
    patterns: dict[str, list[tuple[str, set[int]]]] = {}
    for (section, name), novas in _lives(file).items():
        if section[-1] == "*":
            patterns.setdefault(name, []).append((section[:-1], novas))
    return patterns


def lives(section: str, name: str, file: str = NOVA) -> list[Release]:
    """Return the releases in which a file could set this option, by its present or a deprecated name, oldest first."""
    section = section_key(section)
    novas = _lives(file).get((section, name))
    if novas is None:  # [mdev_nvidia-35] is one of [mdev_*]
        novas = next((n for prefix, n in _patterns(file).get(name, ()) if section.startswith(prefix)), ())
    return [RELEASES[n - RELEASES[0].nova] for n in sorted(novas)]


def last_release(section: str, name: str, before: Release, file: str = NOVA) -> Release | None:
    """Return the last release before `before` in which a file could set this option, or None."""
    return max((r for r in lives(section, name, file) if r < before), default=None)


def first_release(section: str, name: str, after: Release, file: str = NOVA) -> Release | None:
    """Return the first release after `after` in which a file can set this option, or None."""
    return min((r for r in lives(section, name, file) if r > after), default=None)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of an option."""

    target: Name | None
    """Its name now; None when it was removed."""
    reason: str = ""
    source: str = ""
    row: Mapping[str, Any] | None = field(default=None, compare=False)
    """by_hand.yml's row that decided it, if one did."""


def fate(
    section: str,
    name: str,
    first: Release,
    last: Release,
    plugin: str | None = "password",
    holds: Holds | None = None,
    file: str = NOVA,
) -> Fate:
    """Follow an option that is valid in `first` through Nova's own renames, and those by hand, to `last`.

    `plugin` is the auth_type of its section, where it has one; `holds` says whether another option's value matches, for what
    became of an option only then.
    Where Nova only dropped it, the reason is by_hand.yml's or the one that Nova gave when deprecating the option.
    """
    here: Name = (section_key(section), name)
    reasons: list[str] = []
    source = ""
    why = ""
    decided: Mapping[str, Any] | None = None
    for release in releases_between(first, last):
        cat = catalogue(release, file)
        option = cat.get(*here, plugin)
        renamed = renamed_to(here, release, plugin, file)
        row = by_hand_row(here, release, holds, file)
        if renamed and row and row.get("new") and not cat.own(renamed.section, renamed.dest):
            renamed = None  # Nova's own option went elsewhere; that an auth plugin calls one so too is by chance
        if renamed:
            since = _renamed_since(here, renamed, release, plugin, file)
            here, option = (renamed.section, renamed.dest), renamed
            reasons.append(f"renamed to [{here[0]}] {here[1]} in {since.title}")
            source = f"{package(release, file)}: deprecated names of [{here[0]}] {here[1]}"
        elif option is None and row and row.get("new"):
            here = (row["new"][0], row["new"][1])
            option = cat.get(*here)
            reasons.append(row["reason"])
            source, decided = row["source"], row
        elif row and row.get("unread"):
            return Fate(None, "; ".join([*reasons, row["reason"]]), row["source"], row)
        if option is None:
            reasons.append(f"gone in {release.title}" + (f": {row['reason']}" if row else f": {why}" if why else ""))
            source = row["source"] if row else f"{package(release, file)} does not register it"
            return Fate(None, "; ".join(reasons), source, row)
        why = option.deprecated or ""
    return Fate(here, "; ".join(reasons), source, decided)


@functools.lru_cache(maxsize=100_000)
def renamed_to(name: Name, release: Release, plugin: str | None = "password", file: str = NOVA) -> Option | None:
    """Return the option that `release` reads `name` as, when that is a deprecated name of it, else None.

    A name that is still registered together with its successor in the same section ([keystone_authtoken] auth_uri) counts
    as renamed: the successor is read first.
    """
    cat = catalogue(release, file)
    current = cat.get(*name, plugin)
    if plugin == "v2password" and current and name[1].startswith("tenant_"):
        return None  # an alias of project_ for every other plugin
    if cat.own(*name) and cat.plugin_option(*name, plugin):
        return None  # [neutron] url is Nova's own, whatever an auth plugin calls so
    for option in cat.aliased(*name, plugin):
        if (option.section, option.dest) != name and (option.section == name[0] or not current):
            return option
    return None


def _renamed_since(name: Name, now: Option, release: Release, plugin: str | None, file: str) -> Release:
    """Return the first release that reads `name` as the option `now`, known to be so in `release`."""
    for earlier in reversed([r for r in RELEASES if r < release and covers(r, file)]):
        option = renamed_to(name, earlier, plugin, file)
        if option is None or (option.section, option.dest) != (now.section, now.dest):
            break
        release = earlier
    return release


@functools.cache
def _rows() -> dict[Name, list[dict[str, Any]]]:
    """Return by_hand.yml's rows about options by (section, name), in the file's order; the name "*" is any of the section."""
    rows: dict[Name, list[dict[str, Any]]] = {}
    knowledge = by_hand()
    unread = [{**row, "unread": True} for row in knowledge["unread"]]
    for row in [*knowledge["options"], *unread, *({**row, "names": ["*"]} for row in knowledge["gone_sections"])]:
        for name in row["names"]:
            rows.setdefault((row["section"], name), []).append(row)
    return rows


def by_hand_row(name: Name, release: Release, holds: Holds | None = None, file: str = NOVA) -> dict[str, Any] | None:
    """Return by_hand.yml's row about the option `name` that holds in `release`, or None."""
    rows = _rows()
    family = catalogue(OLDEST).family(name[0])  # [cors.www] is one of [cors.*]
    keys = [name, (family, name[1]), (name[0], "*"), (family, "*")]
    for row in (row for key in keys for row in rows.get(key, ()) if is_about(row, file)):
        if row["from"] <= release.nova and ("only" not in row or (holds is not None and holds(row["only"]))):
            return row
    return None


@functools.cache
def _older() -> dict[Name, dict[str, Any]]:
    return {(row["section"], name): row for row in by_hand()["older"] for name in row["names"]}


def older(section: str, name: str, file: str = NOVA) -> dict[str, Any] | None:
    """Return by_hand.yml's row about an option that was gone before the first release, or never was, or None."""
    row = _older().get((section, name)) or _older().get((section, "*"))
    return row if row and is_about(row, file) else None


@functools.cache
def _precedence() -> dict[Name, dict[str, Any]]:
    return {(row["section"], name): row for row in by_hand()["precedence"] for name in row["names"]}


def precedence(section: str, name: str) -> dict[str, Any] | None:
    """Return by_hand.yml's row about an option that the old release's code read before or after one that it became one with."""
    return _precedence().get((section, name))
