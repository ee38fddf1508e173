"""Relative imports of what runs on hosts, for mitogen, which sends along only what absolute imports name.

The package is imported here by another name (kilonova.onhost), so that its modules import each other relatively.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterable, Iterator
from types import CodeType

from ansible import constants


def install() -> None:
    """Let mitogen, where it runs this playbook, follow them, too."""
    if not str(constants.DEFAULT_STRATEGY).startswith("mitogen"):
        return
    from ansible_mitogen import module_finder
    from mitogen.imports import codeobj_imports

    absolute_ones = module_finder.walk_imports
    if hasattr(absolute_ones, "__wrapped__"):
        return

    @functools.wraps(absolute_ones)
    def walk_imports(code: CodeType, prefix: str | None = None) -> Iterator[str]:
        yield from absolute_ones(code, prefix)
        # It compiles a module under the module's own name.
        yield from relative(code.co_filename, codeobj_imports(code), prefix or "")

    module_finder.walk_imports = walk_imports


def relative(module: str, imports: Iterable[tuple[int, str, tuple[str, ...]]], prefix: str) -> Iterator[str]:
    """Yield the modules below `prefix` that a module's relative imports may name; `imports` has level, name and names of each.

    Whether the module is a package is not known: what it would name in both cases is yielded.
    """
    for level, name, names in imports:
        for package in (module.rpartition(".")[0], module) if level > 0 else ():
            if not package.startswith(prefix):
                continue
            try:
                found = importlib.util.resolve_name("." * level + name, package)
            except ImportError:  # beyond the top
                continue
            if found.startswith(prefix):
                # Packages before what is in them.
                parts = found.split(".")
                yield from (".".join(parts[:end]) for end in range(len(prefix.split(".")) + 1, len(parts) + 1))
                yield from (f"{found}.{leaf}" for leaf in names)
