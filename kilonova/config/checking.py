"""Check declared files against the options of the release before anything is written."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kilonova.config import catalogue, conf, config_files, declared, generate, inventories, listening, overrides, plain
from kilonova.config.catalogue import grammar
from kilonova.config.catalogue.check import Unresolved, Values
from kilonova.config.once import once, once_for_objects
from kilonova.problems import some
from kilonova.run import preflight

# ---------------------------------------------------------------------------------------------------------- validating


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a host's file."""

    host: str
    what: str
    """File, option, value (secrets masked), what is wrong and what to do."""
    level: str = "error"
    """As a finding's: `error` or `warning`."""

    def __str__(self) -> str:
        return f"{self.host}: {self.what}"


def check(host: str, entry: Mapping[str, Any], text: str | None = None) -> list[Complaint]:
    """Check a file whose entry has `catalogue: {release, node}` against that release's options of it; others by their form.

    Without `text`, what would be written is checked before it is. `accepted` in it names options, as ``[section] option``, whose
    warnings we know and cannot avoid.
    """
    return [Complaint(host, what, level) for level, what in _wrong(entry, text)]


@once_for_objects
def _wrong(entry: Mapping[str, Any], text: str | None) -> list[tuple[str, str]]:
    """(level, what) of what is wrong with a file on any host."""
    found = list(_check_types(entry))
    wanted = entry.get("catalogue")
    if not wanted:
        return [*found, *(("error", f"{entry['path']} {what}") for what in _check_plain(entry))]
    source: Any = _plain(entry) if text is None else text
    for finding in _findings(entry["path"], source, wanted):
        name = f"[{finding.section}]" + (f" {finding.option}" if finding.option else "")
        if finding.level == "warning" and name in wanted.get("accepted", ()):
            continue
        value = f" = {finding.value}" if finding.value else ""
        found.append((finding.level, f"{entry['path']} {name}{value}: {finding.message}"))
    return found


def _plain(entry: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Section -> option -> value of a file."""
    return {
        section: {option: value for option, (value, _layer) in options.items()}
        for section, options in config_files.sections_of(entry).items()
    }


def _check_plain(entry: Mapping[str, Any]) -> Iterable[str]:
    """What is wrong with a file of a program that is not OpenStack's."""
    if isinstance(settings := (entry.get("variables") or {}).get("settings"), Mapping):
        return plain.check_settings(str(entry["path"]), settings)
    if entry.get("layers") is None or not plain.section_of(str(entry["path"])):
        return ()
    return _wrong_options(entry)


@once
def _wrong_options(entry: Mapping[str, Any]) -> list[str]:
    return list(plain.check(str(entry["path"]), config_files.sections_of(entry)))


def _findings(path: str, source: Any, wanted: Mapping[str, Any]) -> list[catalogue.Finding]:
    """What is wrong with a file, looked for once in files that are the same but for their hosts' addresses."""
    asked = os.path.basename(path), wanted["release"], wanted.get("node") or None
    text = source if isinstance(source, str) else repr(source)
    of_any_host, of_this = ((*map(str, asked), one) for one in (_ADDRESS.sub(_any_host, text), text))
    for key in (of_any_host, of_this):
        if key in _FOUND:
            return _FOUND[key]
    if len(_FOUND) > 1000:  # files that differ on every host
        _FOUND.clear()
    file, release, node = asked
    found = catalogue.validate(source, release, node, str(file))
    said = " ".join(f"{finding.value} {finding.message}" for finding in found)
    names_an_address = any(address in said for _name, address in _ADDRESS.findall(text))
    _FOUND[of_this if names_an_address else of_any_host] = found
    return found


_FOUND: dict[tuple[Any, ...], list[catalogue.Finding]] = {}
_ADDRESS = re.compile(r"^(\w+ = )([0-9]+(?:\.[0-9]+){3})$", re.MULTILINE | re.ASCII)


def _any_host(line: re.Match[str]) -> str:
    """Return an option's line with a host's address replaced by the same one for all hosts; other values stay."""
    try:
        address = ipaddress.IPv4Address(line[2])
    except ValueError:
        return line[0]
    special = (
        address.is_loopback or address.is_unspecified or address.is_multicast or address.is_link_local or address.is_reserved
    )
    return line[0] if special else f"{line[1]}192.0.2.1"


def _check_types(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(level, what) of what YAML may have made something else of than was meant, in an operator's overrides."""
    return _doubtful(_with_overrides_alone(entry)) if _is_read_by_oslo(entry) and _overrides(entry) else []


@once
def _doubtful(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The same, of a file that has nothing but overrides."""
    found: list[tuple[str, str]] = []
    known = config_files.catalogue_of(entry)
    for section, options in config_files.layers_of(entry).items():
        for name, (value, _layer) in options.items():
            if value is None or isinstance(value, str):
                continue
            resolved = known.resolve(section, name) if known is not None else None
            said = grammar.doubtful(resolved[0], value) if resolved else None
            if known is None and isinstance(value, list) and len(value) > 1:
                what = "is a list, which becomes one line per element, and for most options only the last line counts"
                said = "warning", f"{what}; for a comma-separated list, write one text"
            if said:
                found.append((said[0], f"{entry['path']} [{section}] {name}: {said[1]}"))
    return found


def _is_read_by_oslo(entry: Mapping[str, Any]) -> bool:
    """Whether the file is one of sections and options that oslo.config reads."""
    return entry.get("layers") is not None and entry.get("template") in (None, "oslo.conf.j2")


def _overrides(entry: Mapping[str, Any]) -> list[str]:
    """Names of the layers of an operator that say something."""
    return [name for name, sections in entry["layers"].items() if overrides.is_override(name) and sections]


def _with_overrides_alone(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry of a file as if it had no other layers; it is the same on many hosts."""
    return {**entry, "layers": {layer: entry["layers"][layer] for layer in _overrides(entry)}}


# What an override may not change by itself, because something else knows it too: one row for each fact.
def _kept_twice() -> list[dict[str, Any]]:
    return inventories.variables_of("preflight", "vars")["__preflight_kept_twice"]


@functools.cache
def service_directories() -> str:
    """A pattern for what is in the configuration directory of a service that a role declares."""
    declarations = (found["service"] for found in declared.services().values())
    directories = [found["directory"]["path"] for found in declarations if "directory" in found]
    return "|".join(f"^{re.escape(path)}/" for path in directories)


def check_host(host: inventories.Host, entries: Iterable[Mapping[str, Any]]) -> list[Complaint]:
    """What an operator's overrides come to on a host, all of its files taken together.

    Of the files that a unit reads one after the other, the last that sets an option counts: an override that loses is an error.
    So is one of a fact that something else knows too, and options that exclude each other.
    """
    files = {str(entry["path"]): entry for entry in entries if _is_read_by_oslo(entry)}
    if not any(_overrides(entry) for entry in files.values()):
        return []
    names = set().union(grammar.related(), *(_overridden(_with_overrides_alone(entry)) for entry in files.values()))
    spoken_of = {path: _with_names(entry, names) for path, entry in files.items()}
    meant = {path: _meant(entry) for path, entry in files.items()}
    return [Complaint(host.name, what) for what in _effects(spoken_of, meant, _reading_orders(host, files))]


@once
def _effects(
    files: Mapping[str, Mapping[str, Any]], meant: Mapping[str, Mapping[str, str]], orders: Mapping[str, list[str]]
) -> list[str]:
    """What is wrong with all of a host's files together; they have only the options that overrides or relations speak of.

    `meant` has what texts of overrides mean (_meant), by file, and `orders` the files that each unit reads.
    """
    merged = {path: _resolved_layers(entry) for path, entry in files.items()}
    usual = _usual(files.values())
    found = [what for path, options in merged.items() for what in _check_kept_twice(path, options, usual, meant[path])]
    for unit, paths in orders.items():
        read = {path: merged[path] for path in paths}
        found += _lost(unit, read, files)
        if unit == "nova-compute":
            values = {
                f"[{section}] {name}": conf.text(value)
                for (section, name), (value, _l, _m) in _in_the_end(read).items()
                if isinstance(value, (str, int, float))
            }
            found += [f"{paths[-1]} {what}" for what in grammar.conflicts(values)]
    return list(dict.fromkeys(found))


@once
def _overridden(entry: Mapping[str, Any]) -> set[str]:
    """Names of all options that a file's overrides set, with the other names of those options."""
    found: set[str] = set()
    known = config_files.catalogue_of(entry)
    for layer in _overrides(entry):
        for section, options in entry["layers"][layer].items():
            for name in options or ():
                resolved = known.resolve(section, name) if known is not None else None
                found |= {name, *((resolved[0].dest, *(alias for _s, alias in resolved[0].aliases)) if resolved else ())}
    return found


def _with_names(entry: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    """The entry of a file with only those options that have one of the names."""
    layers = {
        layer: {
            section: {name: value for name, value in options.items() if name in names} for section, options in sections.items()
        }
        for layer, sections in entry["layers"].items()
        if sections is not None
    }
    return {**entry, "layers": layers}


def _resolved_layers(entry: Mapping[str, Any]) -> dict[tuple[str, str], list[tuple[Any, str, bool]]]:
    """(section, option) -> what sets it in the file: (text or list or None, layer, whether repetitions count), first what counts.

    By the option's present name, which oslo.config tries before the deprecated ones.
    """
    known = config_files.catalogue_of(entry)
    present = config_files.sections_of(entry)
    found: dict[tuple[str, str], list[tuple[int, tuple[Any, str, bool]]]] = {}
    for section, options in config_files.layers_of(entry).items():
        for name, (_value, layer) in options.items():
            resolved = known.resolve(section, name) if known is not None else None
            option = resolved[0] if resolved else None
            key = (option.section, option.dest) if option else (conf.section_key(section), name)
            tried = [key, *option.aliases] if option else [key]
            here = (conf.section_key(section), name)
            rank = tried.index(here) if here in tried else len(tried)
            value = present.get(section, {}).get(name, (None, layer))[0]
            found.setdefault(key, []).append((rank, (value, layer, bool(option and option.multi))))
    # What is left out of the file sets nothing, but says what the operator wants.
    return {
        key: [one for _rank, one in sorted(sets, key=lambda pair: (pair[1][0] is None, pair[0]))] for key, sets in found.items()
    }


def _usual(entries: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Any]:
    """(section, option) -> what our own layers set; of several files, the first."""
    found: dict[tuple[str, str], Any] = {}
    for entry in entries:
        ours = {name: sections for name, sections in entry["layers"].items() if not overrides.is_override(name)}
        for section, options in config_files.combine_layers(ours).items():
            for name, (value, _layer) in options.items():
                found.setdefault((conf.section_key(section), name), value)
    return found


def _reading_orders(host: inventories.Host, files: Mapping[str, Any]) -> dict[str, list[str]]:
    """Unit -> the `files` that it reads, in its order."""
    found = {}
    for role in host.roles():
        for variable in inventories.unit_variables(role):
            for unit in host.find(variable):
                if unit.get("runs", True) and "reads" in unit:
                    found[unit["name"]] = [path for path in unit["reads"] if path in files]
    return {unit: paths for unit, paths in found.items() if paths}


Sets = Mapping[tuple[str, str], list[tuple[Any, str, bool]]]


def _in_the_end(read: Mapping[str, Sets]) -> dict[tuple[str, str], tuple[Any, str, bool]]:
    """What counts for each option after the files of `read`, in this order."""
    found: dict[tuple[str, str], tuple[Any, str, bool]] = {}
    for sets in read.values():
        for key, values in sets.items():
            if values[0][0] is not None:
                found[key] = values[0]
    return found


def _lost(unit: str, read: Mapping[str, Sets], files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the overrides that do not take effect, each with the remedy."""
    end = {key: (values[0], path) for path, sets in read.items() for key, values in sets.items() if values[0][0] is not None}
    for path, sets in read.items():
        for (section, name), values in sets.items():
            for value, layer, multi in values:
                if not overrides.is_override(layer) or (section, name) not in end:
                    continue
                (counts, by, _multi), last = end[section, name]
                same = counts == value or (
                    None not in (counts, value)
                    and not isinstance(counts, list)
                    and not isinstance(value, list)
                    and conf.text(counts) == conf.text(value)
                )
                if same or (multi and value is not None):  # of a repeated option, every file's lines count
                    continue
                variable, stronger = overrides.variable_of(layer), overrides.variable_of(by)
                if overrides.is_override(by) and files[path]["role"] != files[last]["role"]:
                    continue  # one for another service, which reads more
                if overrides.is_override(by) and variable == overrides.OF_ALL != stronger:
                    continue  # as the role's own are meant to
                file = last.rpartition("/")[2]
                if last == path:
                    what = f"is also set there by its current name ({by}), which wins"
                    remedy = f"write [{section}] {name}"
                elif overrides.is_override(by):
                    what, remedy = f"is lost: {unit} reads {last} afterwards, where {by} sets it again", "remove one of them"
                else:
                    what = f"is lost: {unit} reads {last} afterwards, and that file sets it too ({by})"
                    own = variable.replace(str(files[path]["role"]), str(files[last]["role"]), 1)
                    remedy = f"write it under {file} in {own}"
                yield f"{path} [{section}] {name}, of {variable}: {what}; {remedy}"


def _meant(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return what the texts of overrides mean whose references their service replaces, where it can; in their section."""
    found: dict[str, str] = {}
    for layer in _overrides(entry):
        for section, options in entry["layers"][layer].items():
            for value in (options or {}).values():
                known = config_files.catalogue_of(entry) if isinstance(value, str) and "$" in value else None
                if known is not None:
                    with contextlib.suppress(Unresolved):
                        found[f"{section} {value}"] = Values(known, conf.items(_plain(entry))).substituted(value, section)
    return found


def _check_kept_twice(path: str, sets: Sets, usual: Mapping[tuple[str, str], Any], meant: Mapping[str, str]) -> Iterator[str]:
    """Yield overrides of what something else knows too, and so would know otherwise; `usual` is what our own layers set."""
    for row in _kept_twice():
        if not re.search(row.get("files") or service_directories(), path):
            continue
        for section in row["sections"]:
            for name in row["names"]:
                if (section, name) not in usual and "default" not in row:
                    continue  # no other service has it on this host
                for value, layer, _multi in sets.get((section, name), ()):
                    if not overrides.is_override(layer):
                        continue
                    before = usual.get((section, name), row.get("default"))
                    said = meant.get(f"{section} {value}", value)
                    same = [conf.text(one) for one in (said, before) if isinstance(one, (str, int, float))]
                    if value == before or (len(same) == 2 and same[0] == same[1]):
                        continue
                    secret = value is None or catalogue.is_secret(name)
                    shown = "" if secret else f" = {catalogue.mask(section, name, str(value))}"
                    what = f"only this file would have it, not {row['also']}; {row['remedy']}"
                    yield f"{path} [{section}] {name}{shown}: {what}"


def complaints(inventory: inventories.Inventory, hosts: Iterable[str] | None = None) -> list[Complaint]:
    """Check every host's files that the catalogue knows, and whether the others can be made.

    What keeps a file from being made is one more complaint; only a warning if the host's own facts may be all that is missing.
    """
    found = []
    for name in inventory.hosts() if hosts is None else hosts:
        host, whole = inventory.host(name), True
        try:
            entries = host.files()
        except inventories.GenerateError as error:
            found.append(_complaint(error))
            continue
        for entry in entries:
            try:
                found += _open_caches(name, entry)
                if not entry.get("catalogue"):
                    config_files.render(entry)
                found += check(name, entry)
            except ValueError as error:
                found.append(_complaint(inventories.GenerateError(with_path(entry, error), name)))
                whole = False
        if whole:
            found += check_host(host, entries)
    return found


def _open_caches(host: str, entry: Mapping[str, Any]) -> list[Complaint]:
    """What a file's services would unpickle although other hosts can write it; an override may say so."""
    if entry.get("layers") is None or entry.get("template"):
        return []
    return [
        Complaint(host, f"{entry['path']} [{section}] {option} = {value}: {preflight.OPEN_CACHE}")
        for section, option, value in listening.open_caches(_plain(entry))
    ]


def _complaint(error: inventories.GenerateError) -> Complaint:
    if error.needs_host:
        return Complaint(error.host, f"not checked before the host is asked: {error.message}", "warning")
    return Complaint(error.host, error.message)


def with_path(entry: Mapping[str, Any], error: Exception) -> str:
    """The problems of a file, each beginning with its path, once."""
    said = str(error).removeprefix(f"{entry['path']}: ")
    return f"{entry['path']}{' ' if said.startswith('[') else ': '}{said}"


# As generate.HOSTS_AT_ONCE, which have about as many.
FILES_AT_ONCE = 1000


class Checked:
    """Checks files one by one, and all files of a host together."""

    def __init__(self, generated: Iterable[generate.File], hide: bool = False) -> None:
        self._generated, self._hide = generated, hide
        self.complaints: list[Complaint] = []

    def __iter__(self) -> Iterator[generate.File]:
        host: inventories.Host | None = None
        entries: list[Mapping[str, Any]] = []
        for files in generate.batches(self._generated, FILES_AT_ONCE):
            for file in files:
                if file.owner is not host:
                    self._together(host, entries)
                    host, entries = file.owner, []
                entries.append(file.entry)
                # a text in which secrets are hidden is not what a service would read
                self.complaints += check(file.host, file.entry, None if self._hide else file.text)
            yield from files
        self._together(host, entries)

    def _together(self, host: inventories.Host | None, entries: list[Mapping[str, Any]]) -> None:
        if host:
            self.complaints += check_host(host, entries)


def lines(found: Iterable[Complaint], level: str) -> list[str]:
    """Complaints of a level as text, the same one about many hosts once."""
    hosts: dict[str, list[str]] = {}
    for complaint in found:
        if complaint.level == level:
            hosts.setdefault(complaint.what, []).append(complaint.host)
    return [f"{some(names)}: {what}" for what, names in hosts.items()]
