"""nova.conf read as oslo.config reads it, without losing a line; and values written so that it reads them back.

What oslo.config does (oslo_config/iniparser.py and cfg.py, 3.22 to 10.7):

* a section may come up again, an option may be set again; everything is kept, for most options the last counts;
* a line that begins with a blank continues the value before it, even if it looks like a comment;
* one pair of equal quotes around a value is taken away, blanks around it too;
* section names match without regard to case, except DEFAULT; option names match exactly;
* whatever it cannot read stops the service: so does it here, with the number of the line.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


class ConfError(ValueError):
    """The file cannot be read, by oslo.config neither; `line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Item:
    """One assignment."""

    section: str
    """As oslo.config matches it: lower case, except DEFAULT."""
    name: str
    value: str
    """Without outer blanks and quotes; a multi-line value has its lines joined by newlines. Not interpolated."""
    line: int = 0
    """Number of its first line in the file, from 1; 0 when it comes from a mapping."""
    last: int = 0
    """Number of its last line."""


@dataclass(slots=True)
class Conf:
    """A file: its lines, and what oslo.config makes of them."""

    lines: list[str] = field(default_factory=list)
    """Every line as it was, without its end; line N is `lines[N - 1]`."""
    items: list[Item] = field(default_factory=list)
    headers: list[tuple[str, int]] = field(default_factory=list)
    """(section, line) of each section header, in order."""
    newline: str = "\n"

    def text(self) -> str:
        """Return the file's text; a file with mixed line ends gets the most frequent kind."""
        return self.newline.join(self.lines)

    def values(self, section: str, name: str) -> list[str]:
        """Return all values of an option in their order, empty when it is not set."""
        section = section_key(section)
        return [i.value for i in self.items if i.section == section and i.name == name]


def section_key(name: str) -> str:
    """Return the name by which oslo.config finds a section."""
    return name if name == "DEFAULT" else name.lower()


def read(data: str | bytes) -> Conf:
    """Read a configuration file's content.

    Raises ConfError, with the line's number, for everything that makes oslo.config refuse the file: a byte order mark,
    bytes that are not UTF-8, an option before the first section, a continuation of nothing, a line that is neither.
    """
    text = decode(data) if isinstance(data, bytes) else data
    if text.startswith("\ufeff"):
        raise ConfError("the file begins with a byte order mark, which oslo.config reads as text; save the file without it", 1)
    newline = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    conf = Conf(lines, newline=newline)
    section: str | None = None
    key: str | None = None
    value: list[str] = []
    start = 0

    def flush(last: int) -> None:
        nonlocal key
        if key is None:
            return
        if section is None:
            raise ConfError(f"option {key!r} comes before the first section; put a [DEFAULT] line above it", start)
        conf.items.append(Item(section, key, "\n".join(value), start, last))
        key = None

    for number, raw in enumerate(lines, start=1):
        line = raw.rstrip()
        if not line:
            flush(number - 1)
        elif line[0] in " \t":
            if key is None:
                raise ConfError("a line that begins with a blank continues a value, and there is no value before it", number)
            value.append(line.lstrip())
        else:
            flush(number - 1)
            if line[0] == "[":
                if not line.endswith("]"):
                    raise ConfError(f"the section header {line!r} must end with ]", number)
                if len(line) == 2:
                    raise ConfError("the section has no name", number)
                section = section_key(line[1:-1])
                conf.headers.append((section, number))
            elif line[0] not in "#;":
                key, text = _assignment(line, number)
                value, start = [text], number
    flush(len(lines))
    return conf


def decode(data: bytes) -> str:
    """Return the text of UTF-8 `data`; ConfError names the line that is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfError(f"byte {data[error.start]:#04x} is not UTF-8", line) from None


def _assignment(line: str, number: int) -> tuple[str, str]:
    """Split `line` at the first = or :, whichever comes first."""
    at = min((i for i in (line.find("="), line.find(":")) if i >= 0), default=-1)
    if at < 0:
        raise ConfError("not a section, a comment or an assignment: it has no = sign", number)
    key, value = line[:at].strip(), line[at + 1 :].strip()
    if not key:
        raise ConfError("the name of the option before the = sign is missing", number)
    if value and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return key, value


# ------------------------------------------------------------------------------------------------------------ writing

_UNWRITABLE = re.compile("[\n\r\0\ud800-\udfff]")


def text(value: Any) -> str:
    """Return a scalar of YAML as oslo.config's text: booleans in lower case, numbers in decimal.

    Raises TypeError for anything else (None too: an option without a value is left out, not written).
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    # never the value itself: it may be a secret
    raise TypeError(f"{kind(value)} is not a value of an option; write a text, a number or a boolean")


def kind(value: Any) -> str:
    """Return a word for the type that YAML gave a value."""
    names = (
        (bool, "a truth value"),
        ((int, float), "a number"),
        (str, "a text"),
        (Mapping, "a mapping"),
        ((list, tuple), "a list"),
        (datetime.date, "a date"),
        (bytes, "binary data"),
        (type(None), "empty"),
    )
    return next((name for types, name in names if isinstance(value, types)), f"a {_plain_type(value)}")


def _plain_type(value: Any) -> str:
    """The name of the type of Python's own that a value has: Ansible has others for what came out of a file."""
    return next(one.__name__ for one in type(value).__mro__ if one.__module__ == "builtins")


def quote(value: Any) -> str:
    """Return `value` as it must be written after the = sign, so that oslo.config reads exactly it.

    Interpolations are meant: `$my_ip` stays. Blanks at the ends and a pair of quotes around the value, which
    oslo.config would take away, are protected by quotes. Other values come back unchanged.

    Raises ValueError for a newline (it would inject another option), NUL, and what UTF-8 cannot encode.
    """
    value = text(value)
    bad = _UNWRITABLE.search(value)
    if bad:
        # never the value itself: it may be a secret
        raise ValueError(f"an option's value cannot contain {bad[0]!r} (at character {bad.start() + 1})")
    if value and (value != value.strip() or (value[0] == value[-1] and value[0] in "\"'")):
        return f'"{value}"'
    return value


def literal(value: Any) -> str:
    """Return `value`, a secret or other text that is not a template, so that oslo.config reads exactly it.

    As `quote`, and every `$` is doubled. Raises ValueError also for a backslash before a dollar sign: oslo.config
    takes that pair for an escaped dollar, and offers no way to write it.
    """
    value = text(value)
    if r"\$" in value:
        raise ValueError(r"oslo.config cannot read a value with the two characters \$ in it; choose another secret")
    return quote(value.replace("$", "$$"))


def items(mapping: Mapping[str, Mapping[str, Any] | None]) -> Iterator[Item]:
    """Yield what oslo.config would read from the rendered `mapping`, without rendering it."""
    for section, options in mapping.items():
        for name, value in (options or {}).items():
            values = value if isinstance(value, (list, tuple)) else [value]
            for one in values:
                if one is not None:
                    yield Item(section_key(section), name, text(one))
