"""What is wrong with an inventory or a host, in one form: where, which variable, which value, what, and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# Two characters that oslo.config cannot read back in any notation, and what would begin a new line of a file.
IMPOSSIBLE = {
    "\n": "a line break",
    "\r": "a carriage return",
    "\0": "a NUL character",
    "\\$": "a backslash followed by a dollar sign",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, which variable, which value, what is wrong with it and what to do."""

    where: str
    variable: str
    value: str
    what: str
    remedy: str

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        return f"{self.where}: {self.variable}{value}: {self.what}; {self.remedy}"


def merged(problems: Sequence[Problem]) -> list[Problem]:
    """The same problem of several hosts once, with all of them."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for one in problems:
        found.setdefault((one.variable, one.value, one.what, one.remedy), []).append(one.where)
    return [Problem(some(list(dict.fromkeys(where))), *rest) for rest, where in found.items()]


def some(names: Sequence[str], most: int = 3) -> str:
    """Return the first of many names and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
