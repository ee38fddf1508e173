"""The releases of OpenStack that Kilonova knows, oldest first.

A release has a series name (``epoxy``), since 2023 also a number (``2025.1``), and the major version of
Nova that belongs to it (31). Source: the series pages of releases.openstack.org and Nova's own tags.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field


@dataclass(frozen=True, order=True)
class Release:
    """One release. Releases compare by age: ``find("zed") < find("2025.1")``."""

    nova: int
    """Major version of Nova, 15 for Ocata."""
    name: str = field(compare=False)
    """Series name in lower case."""
    number: str = field(default="", compare=False)
    """``2025.1``; empty before 2023, when releases had a name only."""

    @property
    def title(self) -> str:
        """The name that people read: ``Zed``, ``2025.1 Epoxy``."""
        return f"{self.number} {self.name.capitalize()}".strip()

    def __str__(self) -> str:
        return self.name


_SERIES = (
    "ocata pike queens rocky stein train ussuri victoria wallaby xena yoga zed "
    "antelope=2023.1 bobcat=2023.2 caracal=2024.1 dalmatian=2024.2 "
    "epoxy=2025.1 flamingo=2025.2 gazpacho=2026.1 hibiscus=2026.2"
)

RELEASES: tuple[Release, ...] = tuple(Release(nova, *series.split("=")) for nova, series in enumerate(_SERIES.split(), start=15))
OLDEST, NEWEST = RELEASES[0], RELEASES[-1]

_BY_WORD = {word: r for r in RELEASES for word in (r.name, r.number, str(r.nova)) if word}


def find(value: str | int | float | Release) -> Release:
    """Return the release that `value` means: a series name, a number or Nova's major version.

    ``epoxy``, ``Epoxy``, ``2025.1``, the float 2025.1 (YAML reads an unquoted number so), ``31``, 31 and
    ``2025.1 Epoxy`` are the same release.

    Raises ValueError, naming the nearest valid words, when there is no such release.
    """
    if isinstance(value, Release):
        return value
    text = str(value).strip().lower()
    release = _BY_WORD.get(text)
    if release is None and text:
        # "2025.1 Epoxy", the title that the documentation uses
        words = {_BY_WORD.get(word) for word in text.replace("/", " ").split()}
        release = words.pop() if len(words) == 1 else None
    if release is not None:
        return release
    names = [r.name for r in RELEASES] + [r.number for r in RELEASES if r.number]
    near = difflib.get_close_matches(text, names, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(near)}; " if near else ""
    raise ValueError(
        f"unknown release {str(value)!r} ({hint}valid: {OLDEST.name} to {NEWEST.name}, "
        f"by name, number or Nova's major version: {', '.join(r.title for r in RELEASES)})"
    )


def releases_between(first: str | Release, last: str | Release) -> tuple[Release, ...]:
    """Return the releases from `first` to `last`, both included, oldest first; empty when `last` is older."""
    low, high = find(first), find(last)
    return tuple(r for r in RELEASES if low <= r <= high)
