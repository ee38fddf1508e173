"""Which file of an inventory sets a variable, and what Ansible drops silently.

Ansible replaces a mapping that two places set by the one of higher precedence, and takes the last of two equal keys in one file.
Both lose configuration, so both are refused: the merging itself is not ours to change, because Ansible resolves the
variables of the deployment.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kilonova.config import inventories
from kilonova.problems import Problem, some

Found = list[tuple[str, Mapping[str, Any]]]
"""(where, variables), the weakest first."""


class Sources:
    """Where the variables of an inventory come from, in Ansible's order of precedence."""

    def __init__(self, hostvars: Any) -> None:
        self.inventory, self.loader = hostvars._inventory, hostvars._loader
        self.extra = hostvars._variable_manager.extra_vars
        self.play = self.loader.get_basedir()
        self.paths = [str(source) for source in self.inventory._sources if os.path.exists(str(source))]
        self._files: dict[tuple[str, str, str], Found] = {}
        self._groups: dict[tuple[str, ...], Found] = {}

    @functools.cached_property
    def directories(self) -> list[str]:
        """Directories that may have group_vars and host_vars: next to the inventory's sources."""
        found = [path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path)) for path in self.paths]
        return list(dict.fromkeys(map(os.path.realpath, found)))

    def of(self, host: str) -> Found:
        """Return what sets variables of a host, the weakest first."""
        from ansible.inventory.helpers import sort_groups

        known = self.inventory.get_host(host)
        groups = sort_groups([group for group in known.get_groups() if group.name != "all"])
        names = tuple(group.name for group in groups)
        if names not in self._groups:
            every = self.inventory.groups["all"]
            found = [(self._text("all", of_group=True), every.vars)]
            found += [(self._text(group.name, of_group=True), group.vars) for group in groups]
            found += self._of_files("group_vars", ["all"]) + self._of_files("group_vars", names)
            self._groups[names] = found
        found = [*self._groups[names], (self._text(host), known.vars), *self._of_files("host_vars", [host])]
        return [*found, ("an extra variable", self.extra)]

    def where(self, host: str, name: str) -> str:
        """Return which place sets a variable of a host; empty when none of them does."""
        return next((where for where, variables in reversed(self.of(host)) if name in variables), "")

    def _text(self, name: str, of_group: bool = False) -> str:
        files = [path for path in self.paths if not os.path.isdir(path)] or self.paths
        file = self._short(files[0]) if len(files) == 1 else "the inventory"
        return f"{file} (variables of the {'group' if of_group else 'host'} {name})"

    def _of_files(self, kind: str, names: Iterable[str]) -> Found:
        found: Found = []
        for directories in (self.directories, [self.play]):
            for directory in directories:
                for name in names:
                    found += self._of_one(directory, kind, name)
        return found

    def _of_one(self, directory: str, kind: str, name: str) -> Found:
        key = directory, kind, name
        if key not in self._files:
            parent = os.path.join(directory, kind)
            files = self.loader.find_vars_files(parent, name) if os.path.isdir(parent) and not name.startswith("/") else []
            self._files[key] = [(self._short(os.fsdecode(file)), self._load(os.fsdecode(file))) for file in files]
        return self._files[key]

    def _load(self, file: str) -> Mapping[str, Any]:
        # As Ansible's plugin host_group_vars does: the loader keeps what it has read, and others get it too.
        options = {"cache": "all", "unsafe": True, "trusted_as_template": True}
        known = inspect.signature(self.loader.load_from_file).parameters
        data = self.loader.load_from_file(file, **{name: value for name, value in options.items() if name in known})
        return data if isinstance(data, Mapping) else {}

    def _short(self, file: str) -> str:
        """The file as people know it: from the inventory's directory on."""
        real = os.path.realpath(file)
        for directory in self.directories:
            if real.startswith(directory + os.sep):
                return os.path.relpath(real, directory)
        return file

    def files(self) -> dict[str, str]:
        """Every file that variables may come from, as people know it -> its path."""
        from ansible import context

        given = [str(text)[1:] for text in (context.CLIARGS or {}).get("extra_vars") or () if str(text).startswith("@")]
        found = [path for source in self.paths for path in _within(Path(source), ("group_vars", "host_vars"))]
        for directory in [*self.directories, self.play]:
            for kind in ("group_vars", "host_vars"):
                found += _within(Path(directory) / kind)
        return {self._short(str(path)): str(path) for path in [*found, *map(Path, given)] if path.is_file()}

    def text(self, file: str) -> str:
        """A file's content; of an encrypted one, if its password is known."""
        return self.loader._get_file_contents(file)[0].decode("utf-8", "replace")


def _within(path: Path, without: Iterable[str] = ()) -> list[Path]:
    if not path.is_dir():
        return [path]
    inner = (one for one in sorted(path.rglob("*")) if one.is_file() and not one.name.startswith(".") and one.suffix != ".orig")
    return [one for one in inner if one.relative_to(path).parts[0] not in without]


def sources(inventory: inventories.Inventory) -> Sources | None:
    """Return the sources of an inventory of Ansible's; None for one that is only data."""
    if inventory.sources is None:
        return None
    if not isinstance(inventory.sources, Sources):
        inventory.sources = Sources(inventory.sources)
    return inventory.sources


def where(inventory: inventories.Inventory, host: str, name: str) -> str:
    """Return "in FILE", the place that sets a variable of a host; empty when it is not known."""
    known = sources(inventory)
    place = known.where(host, name) if known else ""
    return f"in {place}" if place else ""


# ------------------------------------------------------------------------------------------------------------ keys twice


def check_keys(inventory: inventories.Inventory) -> list[Problem]:
    """No mapping in a file of the inventory has a key twice, of which Ansible would drop the first, or is a part of itself."""
    known = sources(inventory)
    problems = []
    for name, path in known.files().items() if known else ():
        if Path(path).suffix not in ("", ".yml", ".yaml", ".json") or os.access(path, os.X_OK):
            continue
        try:
            node = yaml.compose(known.text(path), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except Exception:  # no YAML, or encrypted and without its password: Ansible says that
            continue
        problems += [Problem(name, key, "", what, remedy) for key, what, remedy in _wrong_keys(node, name)]
    return problems


def _wrong_keys(root: Any, file: str) -> Iterator[tuple[str, str, str]]:
    seen: set[int] = set()
    above: list[int] = []

    def walk(node: Any) -> Iterator[tuple[str, str, str]]:
        if id(node) in above:
            yield f"line {node.start_mark.line + 1}", "a mapping or list is a part of itself", "remove the alias (*name)"
            return
        if id(node) in seen or not isinstance(node, yaml.CollectionNode):
            return
        seen.add(id(node))
        above.append(id(node))
        first: dict[str, int] = {}
        for item in node.value:
            if isinstance(item, tuple):
                key, value = item
                line = key.start_mark.line + 1
                if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                    if key.value in first:
                        what = f"is set twice, in line {first[key.value]} and in line {line}, and Ansible drops the first one"
                        yield key.value, what, "write everything under one key"
                    first[key.value] = line
                yield from walk(value)
            else:
                yield from walk(item)
        above.pop()

    yield from walk(root)


# ----------------------------------------------------------------------------------------------------- overrides replaced


def _names() -> frozenset[str]:
    """Variables whose mappings are written into a file: overrides, policies, and what is in files that are made whole."""
    from kilonova.run import variables

    names = [name for options in variables.specs().values() for name, spec in options.items() if spec.get("type") == "dict"]
    return frozenset(name for name in names if name.endswith(("_overrides", "_policy", "_conf", "_vendordata")))


def check_overrides(inventory: inventories.Inventory, hosts: Iterable[str] | None = None) -> list[Problem]:
    """No overrides replace others of a place of lower precedence: what those alone have would be lost."""
    known = sources(inventory)
    if known is None:
        return []
    names, found = _names(), {}
    for host in inventory.hosts() if hosts is None else hosts:
        setting: dict[str, list[tuple[str, Any]]] = {}
        for place, variables in known.of(host):
            for name in names.intersection(variables):
                setting.setdefault(name, []).append((place, variables[name]))
        for name in sorted(name for name, places in setting.items() if len(places) > 1):
            for problem in _replaced(inventory.host(host), name, setting[name]):
                found.setdefault(problem, []).append(host)
    return [Problem(some(where), *problem) for problem, where in found.items()]


def _replaced(host: inventories.Host, name: str, setting: list[tuple[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    try:
        counts = host.find(name)
    except Exception:  # check_values says it
        return
    for place, value in setting[:-1]:
        lost = _missing(host.inventory.plain(value), counts)
        if lost:
            what = f"is set {_in(place)} and {_in(setting[-1][0])}, which replaces it whole: {', '.join(lost[:3])}"
            what += f" and {len(lost) - 3} more are lost" if len(lost) > 3 else f" {'is' if len(lost) == 1 else 'are'} lost"
            remedy = "write it in the second place too, or set the parts as variables of your own and combine them there: "
            remedy += '"{{ one | combine(other, recursive=true) }}"'
            yield name, "", what, remedy


def _in(place: str) -> str:
    return f"as {place}" if place.startswith("an ") else f"in {place}"


def _missing(value: Any, counts: Any, path: tuple[str, ...] = ()) -> list[str]:
    """What `value` sets, as "nova.conf [section] option", and `counts` does not."""
    if not isinstance(value, Mapping):
        return []
    found = []
    for key, inner in value.items():
        here = (*path, str(key))
        if isinstance(counts, Mapping) and key in counts:
            if isinstance(inner, Mapping) and len(here) < 3:
                found += _missing(inner, counts[key], here)
        elif isinstance(inner, Mapping) and inner and len(here) < 3:
            found += _missing(inner, {}, here)
        elif not (isinstance(inner, Mapping) and len(here) < 3):
            words = [f"[{part}]" if number == 1 and len(here) == 3 else part for number, part in enumerate(here)]
            found.append(" ".join(words))
    return found
