"""The catalogue's file: every option of every release, merged by interval.

One line per option and interval keeps the file small (twenty releases of about 1,100 options each differ little)
and its diffs readable:

    "vnc": {
    "server_listen": [[17,24,{"aliases":[["DEFAULT","vncserver_listen"]],"type":"HostAddress"}]],

says what the option is from Nova 17 to Nova 24, both included.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "data" / "nova.json"
"""Written by tools/catalogue/recreate.py, never by hand."""
SERVICES = FILE.with_name("services.json")
"""The same for the other services, in parts (one list for each service or library), which several files may share."""

Spec = dict[str, Any]
Options = dict[str, dict[str, Spec]]
"""Section -> option -> definition, of one release."""
History = dict[str, dict[str, list[tuple[int, int, Spec]]]]
"""Section -> option -> [(first Nova, last Nova, definition)], of all releases."""


def merge(releases: Mapping[int, Options]) -> History:
    """Merge the options of `releases` (by Nova's major version, without gaps) into intervals."""
    history: History = {}
    for nova in sorted(releases):
        for section, options in releases[nova].items():
            for name, spec in options.items():
                spans = history.setdefault(section, {}).setdefault(name, [])
                if spans and spans[-1][1] == nova - 1 and spans[-1][2] == spec:
                    spans[-1] = (spans[-1][0], nova, spec)
                else:
                    spans.append((nova, nova, spec))
    return history


def at(history: History, nova: int) -> Options:
    """Return the options of the release `nova`; the inverse of `merge`."""
    out: Options = {}
    for section, options in history.items():
        for name, spans in options.items():
            for first, last, spec in spans:
                if first <= nova <= last:
                    out.setdefault(section, {})[name] = spec
    return out


def parts_at(parts: Mapping[str, History], nova: int) -> dict[str, Options]:
    """Return part -> its options of the release `nova`, without parts that it does not have."""
    found = {part: at(history, nova) for part, history in parts.items()}
    return {part: options for part, options in found.items() if options}


def dump(value: Any) -> str:
    """Return `value` as JSON in the one form that is compared and stored."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def write(history: History, packages: Mapping[int, str], file: Path = FILE) -> None:
    """Write the catalogue; `packages` names the Nova package that each release was read from."""
    file.write_text(f'{{"packages": {_packages(packages)},\n"options": {_printed(history)}}}\n', encoding="utf-8")


def read(file: Path = FILE) -> tuple[History, dict[int, str]]:
    """Return the stored history and the packages that it was read from."""
    data = json.loads(file.read_text(encoding="utf-8"))
    return data["options"], {int(k): v for k, v in data["packages"].items()}


def write_services(parts: Mapping[str, History], packages: Mapping[int, Mapping[str, str]], file: Path = SERVICES) -> None:
    """Write the other services' catalogue; `packages` has the package of each service of each release."""
    printed = ",\n".join(f"{dump(part)}: {_printed(history)}" for part, history in sorted(parts.items()))
    file.write_text(f'{{"packages": {_packages(packages)},\n"parts": {{\n{printed}\n}}}}\n', encoding="utf-8")


def read_services(file: Path = SERVICES) -> tuple[dict[str, History], dict[int, dict[str, str]]]:
    """Return part -> its stored history, and the packages that they were read from."""
    data = json.loads(file.read_text(encoding="utf-8"))
    return data["parts"], {int(k): v for k, v in data["packages"].items()}


def _packages(packages: Mapping[int, Any]) -> str:
    return dump({str(nova): package for nova, package in packages.items()})


def _printed(history: History) -> str:
    """One line per option."""
    sections = []
    for section, options in sorted(history.items()):
        lines = [f"{dump(name)}: {dump(spans)}" for name, spans in sorted(options.items())]
        sections.append(dump(section) + ": {\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(sections) + "\n}"
