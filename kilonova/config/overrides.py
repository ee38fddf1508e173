"""An operator's overrides of the files that are written by layers: one rule for every file of every role.

`openstack_overrides`, `<role>_overrides` and `<role>_host_overrides` map a file's name to sections, options and values. What the
role's data says is weaker than all of them, and each is weaker than the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from kilonova.config import config_files
from kilonova.config.once import once_for_objects

# For the files of all roles.
OF_ALL = "openstack_overrides"


def variables_of(role: str) -> list[str]:
    """Return the variables whose overrides a role's files get, the strongest last."""
    return [OF_ALL, *([f"{role}_overrides", f"{role}_host_overrides"] if role else [])]


def with_overrides(role: str, entry: Mapping[str, Any], find: Callable[[str], Any]) -> Mapping[str, Any]:
    """Return the entry of a file with a layer for each variable that overrides it; `find` returns a variable's value.

    `role` is the one whose task has the file; a file that tasks of another role read says in its data whose it is (`role`).
    `overrides` in it names the files whose overrides it takes, in this order, where that is not just its own.
    """
    if entry.get("layers") is None:
        return entry
    role = str(entry.get("role") or role)
    return _overridden(role, entry, *map(find, variables_of(role)))


@once_for_objects
def _overridden(role: str, entry: Mapping[str, Any], *given: Any) -> dict[str, Any]:
    """The same; `given` are the values of the variables whose overrides it may have."""
    own = _name_of(entry)
    layers = dict(entry["layers"])
    for file in entry.get("overrides") or [own]:
        for variable, files in zip(variables_of(role), given, strict=True):
            if not files:
                continue
            if not isinstance(files, Mapping):
                raise ValueError(f"{variable} is not a mapping; write e.g. {{{own}: {{DEFAULT: {{debug: true}}}}}}")
            said = files.get(file)
            # What is empty and not a mapping is refused where layers are merged, as any other shape is.
            if said or not (said is None or isinstance(said, Mapping)):
                layers[f"overrides of {variable}" + (f" ({file})" if "overrides" in entry and file == own else "")] = said
    return {**entry, "role": role, "layers": layers}


def is_override(layer: str) -> bool:
    """Whether a layer of a file is an operator's."""
    return layer.startswith("overrides of ")


def variable_of(layer: str) -> str:
    """Return the variable that a layer of overrides comes from."""
    return layer.removeprefix("overrides of ").split(" ")[0]


def _name_of(entry: Mapping[str, Any]) -> str:
    return str(entry["path"]).rpartition("/")[2]


@cache
def files_of() -> dict[str, list[str]]:
    """Return variable -> names of the files that it may have overrides of: nova_compute_overrides -> nova.conf, ..."""
    found: dict[str, dict[str, None]] = {OF_ALL: {}}
    for role in sorted(path.name for path in config_files.ROLES.iterdir()):
        for entry in config_files.declared([role]):
            if "layers" in entry:
                for variable in variables_of(role):
                    found.setdefault(variable, {})[_name_of(entry)] = None
    return {variable: list(files) for variable, files in found.items()}


@cache
def written_whole() -> dict[tuple[str, str], str]:
    """Return (variable, name of a file) -> role, for the files that take no overrides, because variables make them whole."""
    found = {}
    for role in sorted(path.name for path in config_files.ROLES.iterdir()):
        for entry in config_files.declared([role]):
            if "layers" not in entry:
                found |= {(variable, _name_of(entry)): role for variable in variables_of(role)}
    return found
