"""Where releases differ, as a table: read from the roles' data, so that it is what an installation does.

    python -m kilonova.config.differences        # rewrites the table of docs/releases.md

Two forms of data say so: a mapping whose keys are all releases (each holds from that one on), and a list of rows with `since`,
`until` and `options`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kilonova.config import releases
from kilonova.config.config_files import ROLES

PAGE = ROLES.parent / "docs" / "releases.md"
LONGEST = 150
BEGIN, END = "<!-- made by python -m kilonova.config.differences -->", "<!-- end of the table -->"


class _Loader(yaml.SafeLoader):
    """YAML of the roles; a tag counts as the value that it marks."""


_Loader.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_scalar(node))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(_is_release(key) for key in value)


def _is_release(name: Any) -> bool:
    return isinstance(name, str) and any(release.name == name for release in releases.RELEASES)


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) and "options" in row for row in value)


def _words(value: Any) -> str:
    """A value in few words."""
    if isinstance(value, Mapping):
        if "name" in value:  # a unit of systemd
            return str(value["name"])
        return ", ".join(f"{key}: {_words(item)}" for key, item in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    if value is None:
        return "left out"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _short(value: Any) -> str:
    words = _words(value)
    return f"{words[:LONGEST]}…" if len(words) > LONGEST else words


def _span(since: str | None, until: str | None) -> str:
    low, high = (releases.find(name).title if name else "" for name in (since, until))
    if low == high:
        return low
    return f"{low} to {high}" if low and high else f"from {low} on" if low else f"until {high}"


def of_variable(name: str, value: Any) -> Iterator[tuple[str, str, str]]:
    """Yield (what, releases, value) for a variable that differs by release."""
    if _is_table(value) and len(value) > 1:
        names = sorted(value, key=releases.find)
        names = [key for at, key in enumerate(names) if not at or value[key] != value[names[at - 1]]]
        if len(names) == 1:
            return
        for release, following in zip(names, [*names[1:], None], strict=True):
            until = releases.RELEASES[releases.RELEASES.index(releases.find(following)) - 1].name if following else None
            since = None if release == releases.OLDEST.name and until else release
            yield name, _span(since, until), _short(value[release])
    elif _is_rows(value):
        for row in value:
            for section, options in row["options"].items():
                for option, setting in options.items():
                    yield f"{name} [{section}] {option}", _span(row.get("since"), row.get("until")), _short(setting)


def differences(roles: Path = ROLES) -> list[tuple[str, str, str, str]]:
    """Return (role, what, releases, value) of all roles, in their order of names."""
    found = []
    for path in sorted([*roles.glob("*/vars/**/*.yml"), *roles.glob("*/defaults/*.yml")]):
        role = path.relative_to(roles).parts[0]
        for variable, value in (yaml.load(path.read_text(encoding="utf-8"), _Loader) or {}).items():
            if variable == "openstack_distributions":
                continue  # the page has it above
            name = variable.removeprefix(f"__{role}_").removeprefix("openstack_").removesuffix("_releases").replace("_", " ")
            found += [(role, *row) for row in of_variable(name, value)]
    return found


def table() -> str:
    """Return the Markdown table."""
    rows = [(role, what, span, f"`{value}`".replace("|", "\\|")) for role, what, span, value in differences()]
    return "\n".join(["| role | what | releases | value |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)])


def page(text: str) -> str:
    """Return the page with its table replaced by today's."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Rewrite the page."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
