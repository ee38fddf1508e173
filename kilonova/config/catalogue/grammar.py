"""Values with their own grammar, which Nova parses after oslo.config has read the text (data/grammar.yml has them).

`written` makes the text of a list or mapping of YAML, by the option's type; `wrong` says what Nova would not parse; `conflicts`
which options exclude each other. No message contains a value: it may be a secret.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kilonova.config.catalogue.options import Option
from kilonova.config.conf import kind
from kilonova.config.releases import Release

DATA = Path(__file__).parent / "data" / "grammar.yml"
# Forms whose text is JSON.
JSON = ("pci_alias", "pci_device_spec")
# Options whose text is a word or more, so that a number or a truth value of YAML's may be another text than what was meant.
TEXTS = ("String", "MultiString", "URI", "HostAddress", "HostDomain", "Hostname", "IPAddress")


@functools.cache
def _data() -> dict[str, Any]:
    return yaml.load(DATA.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@functools.cache
def _forms() -> dict[tuple[str, str], str]:
    return {(row["section"], name): row["form"] for row in _data()["values"] for name in row["names"]}


def form(option: Option) -> str | None:
    """Return the name of the grammar that the option's values have, or None."""
    family = re.sub(r"^(mdev|vgpu)_.*", "mdev_*", option.section)  # the same under its older name
    return _forms().get((family, option.dest))


# ------------------------------------------------------------------------------------------------------------- writing


def written(option: Option, value: Any) -> Any:
    """Return the text of a list or mapping as the option's type wants it; a list of texts for an option that may be repeated.

    Raises ValueError with what is wrong and the remedy, for whatever the type cannot hold.
    """
    if option.multi:
        elements = value if isinstance(value, (list, tuple)) else [value]
        return [_element(option, one) for one in elements if one is not None]
    if isinstance(value, Mapping):
        return _mapping(option, value)
    if option.spec["type"] == "List":
        return _joined(option, [one for one in value if one is not None])
    raise ValueError("is a list, and this option takes one value; write one value")


def _element(option: Option, value: Any) -> Any:
    """One repetition of an option."""
    if isinstance(value, Mapping):
        return _mapping(option, value)
    if isinstance(value, (list, tuple)):
        if form(option) == "pci_device_spec" and all(isinstance(one, Mapping) for one in value):
            return _json([_strings(one) for one in value])
        raise ValueError("is a list in a list; write one value for each repetition")
    return value


def _mapping(option: Option, value: Mapping[Any, Any]) -> str:
    if form(option) in JSON:
        return _json(_strings(value))
    if option.spec["type"] != "Dict":
        raise ValueError("is a mapping, and this option takes a text; write the text in quotes")
    separator = option.spec.get("key_value_separator", ":")
    pairs = []
    for name, one in value.items():
        if isinstance(one, (Mapping, list, tuple)) or one is None:
            raise ValueError("has an entry that is not a text or a number; write name: value")
        pair = [_plain(name), _plain(one)]
        if "," in "".join(pair) or separator in pair[0]:
            raise ValueError("has an entry with a comma or colon, which Nova would read as the end of the entry")
        pairs.append(separator.join(pair))
    return ",".join(pairs)


def _joined(option: Option, value: Sequence[Any]) -> str:
    """A comma-separated list."""
    texts = []
    for number, one in enumerate(value, start=1):
        if isinstance(one, (Mapping, list, tuple)):
            raise ValueError(f"has {kind(one)} as element {number}; write a list of texts")
        text = _plain(one)
        if "," in text:
            raise ValueError(f"has a comma in element {number}, which would be read as two; write two elements")
        if not text.strip() or text != text.strip():
            raise ValueError(f"has an empty element {number}, or a blank at its start or end, which would be lost; correct it")
        texts.append(text)
    text = ",".join(texts)
    return f"[{text}]" if option.spec.get("bounds") else text


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError(f"has an entry that is {kind(value)}; write it in quotes")


def _strings(value: Mapping[Any, Any]) -> dict[str, Any]:
    """The mapping as Nova's JSON has it: truth values are texts there."""
    return {
        str(name): _strings(one) if isinstance(one, Mapping) else _plain(one) if isinstance(one, bool) else one
        for name, one in value.items()
    }


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except TypeError:
        raise ValueError("has an entry that is not a text, a number or a mapping; write it in quotes") from None


# ------------------------------------------------------------------------------------------------------------- reading


# A list that Python or YAML wrote: an address of IPv6 has no quotes.
_LITERAL = re.compile(r"""\s*\[\s*(["'].*)?\]\s*$""", re.DOTALL)


def wrong(option: Option, text: str, release: Release) -> str | None:
    """Return what is wrong with the text of one value by Nova's own grammar, and the remedy; None when nothing is.

    `text` is what oslo.config's type has accepted.
    """
    if option.spec["type"] == "List" and not option.spec.get("bounds") and _LITERAL.match(text):
        return "is the text of a list, of which brackets and quotes would be a part of the elements; write a list in YAML, or A,B"
    name = form(option)
    if not name or not text.strip():
        return None
    try:
        _FORMS[name](text, release)
    except ValueError as error:
        return str(error)
    return None


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        what = "is not JSON, and Nova reads it as JSON; write a mapping in YAML"
        raise ValueError(f'{what}, or text such as {{"vendor_id": "8086", "product_id": "154d"}}') from None


def _texts(data: Mapping[str, Any], names: Sequence[str]) -> None:
    for name in names:
        if not isinstance(data.get(name), (str, type(None))):
            raise ValueError(f'{name} is {kind(data[name])}, not a text; put it in quotes, e.g. "0443"')


_HEX = re.compile(r"[0-9a-fA-F]{4}")


def _alias(text: str, release: Release) -> None:
    data = _decoded(text)
    if not isinstance(data, dict):
        raise ValueError(f"is {kind(data)} in JSON, not a mapping; repeat the option for each alias")
    since = {"numa_policy": 17, "resource_class": 27, "traits": 27, "live_migratable": 31}
    known = ["name", "capability_type", "product_id", "vendor_id", "device_type"]
    known += [name for name, first in since.items() if release.nova >= first]
    unknown = [name for name in data if name not in known]
    if unknown:
        raise ValueError(f"Nova knows no key {unknown[0]!r} in an alias; use {', '.join(known)}")
    _texts(data, known)
    if not data.get("name"):
        raise ValueError("has no name; add one")
    for name in ("vendor_id", "product_id"):
        if not _HEX.fullmatch(data.get(name, "0000") or ""):
            raise ValueError(f'{name} is not a number of four hexadecimal digits; write one, e.g. "154d"')
    for name, allowed in (
        ("device_type", ("type-PCI", "type-PF", "type-VF")),
        ("numa_policy", ("required", "preferred", "legacy", *["socket"] * (release.nova >= 23))),
        ("capability_type", ("pci",)),
    ):
        if name in data and data[name] not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}; write one of them")


def _device_spec(text: str, _release: Release) -> None:
    data = _decoded(text)
    if not isinstance(data, (dict, list)):
        raise ValueError(f"is {kind(data)} in JSON, not a mapping or a list of mappings; write one")
    for spec in data if isinstance(data, list) else [data]:
        if not isinstance(spec, dict):
            raise ValueError(f"has {kind(spec)} where a mapping belongs; write a list of mappings")
        _texts(spec, ("vendor_id", "product_id", "devname", "physical_network"))
        if not isinstance(spec.get("address", ""), (str, dict)):
            raise ValueError('address is neither a text nor a mapping; write one, e.g. "0000:0a:00.*"')
        if spec.get("address") and spec.get("devname"):
            raise ValueError("has address and devname; leave one out")
        _pci_address(spec.get("address") or "*")
        for name in ("vendor_id", "product_id"):
            if not re.fullmatch(r"\*|(0[xX])?0*[0-9a-fA-F]{1,4}", (spec.get(name) or "*").strip()):
                raise ValueError(f'{name} is not a hexadecimal number up to ffff; write one, e.g. "154d", or *')


def _pci_address(address: str | Mapping[str, Any]) -> None:
    """Raise ValueError for the address of a device_spec that Nova cannot read: each part a number, or any."""
    wrong = "is not an address of PCI devices; write domain:bus:slot.function, each a hexadecimal number or *, e.g. 0000:0a:00.*"
    if isinstance(address, Mapping):
        for name in ("domain", "bus", "slot", "function"):
            try:
                re.compile(address.get(name, ".*"))
            except (re.error, TypeError):
                raise ValueError(f"address: its {name} is not a regular expression; write one, e.g. .*") from None
        return
    place, _, function = address.partition(".")
    parts = place.split(":") if place else []
    most = {"domain": 0xFFFF, "bus": 0xFF, "slot": 0x1F}
    if len(parts) > len(most):
        raise ValueError(f"address {wrong}")
    limits = [*list(most.values())[len(most) - len(parts) :], 0x7]
    for text, limit in zip([*parts, function], limits, strict=True):
        try:
            if text.strip() not in ("", "*") and not 0 <= int(text, 16) <= limit:
                raise ValueError
        except ValueError:
            raise ValueError(f"address {wrong}") from None


def _cpu_set(text: str, _release: Release) -> None:
    _cpus(text)


def _cpus(text: str) -> set[int]:
    """The CPUs of a set."""
    chosen: set[int] = set()
    refused: set[int] = set()
    for rule in filter(None, map(str.strip, text.split(","))):
        match = re.fullmatch(r"(\^?)\s*(\d{1,6})(?:\s*-\s*(\d{1,6}))?", rule, re.ASCII)
        if not match or (match[3] and int(match[2]) > int(match[3])):
            raise ValueError(
                "is not a set of CPUs; write numbers, ranges and exceptions with commas between them, e.g. 4-12,^8,15"
            )
        (refused if match[1] else chosen).update(range(int(match[2]), int(match[3] or match[2]) + 1))
    if not chosen - refused:
        raise ValueError("leaves no CPU; write e.g. 4-12,^8,15")
    return chosen - refused


_PAGES = "is not a reservation of huge pages; write node, size and count, e.g. node:0,size:2048,count:64"


def _huge_pages(text: str, _release: Release) -> None:
    parts = dict(part.strip().partition(":")[::2] for part in text.split(","))
    size = r"\d+|(?i:\d+(?:\.\d+)?\s*(?:[kmgtpezyrq]i?)?b?(?:it)?)"
    for name, pattern in (("node", r"\d+"), ("size", size), ("count", r"\d+")):
        if not re.fullmatch(pattern, parts.get(name, "").strip(), re.ASCII):
            raise ValueError(_PAGES)


def _catalog_info(text: str, _release: Release) -> None:
    parts = text.split(":")
    if len(parts) != 3 or not parts[0]:
        raise ValueError("does not have three parts; write type:name:interface, e.g. volumev3::internalURL")
    allowed = ("publicURL", "internalURL", "adminURL", "public", "internal", "admin")
    if parts[2] not in allowed:
        raise ValueError(f"has no interface as its third part; write one of {', '.join(allowed)}")


def _each(text: str, pattern: str, what: str) -> None:
    for number, element in enumerate(map(str.strip, text.split(",")), start=1):
        if element and not re.fullmatch(pattern, element, re.ASCII):
            raise ValueError(f"element {number} {what}")


def _pci_addresses(text: str, _release: Release) -> None:
    pattern = r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]"
    _each(text, pattern, "is not an address of a PCI device; write one, e.g. 0000:84:00.0")


def _cache_modes(text: str, _release: Release) -> None:
    pattern = "[^=]+=(default|none|writethrough|writeback|directsync|unsafe)"
    _each(text, pattern, "is not a cache mode for a type of disk; write e.g. file=directsync,block=none")


def _machine_types(text: str, _release: Release) -> None:
    _each(text, r"[\w-]+=\S+", "is not a machine type for an architecture; write e.g. x86_64=q35")


def _migration_uri(text: str, _release: Release) -> None:
    try:
        text % "host"
    except (TypeError, ValueError):
        raise ValueError("has no %s in the place of the other host's name; write e.g. qemu+ssh://nova@%s/system") from None


def _audit_period(text: str, _release: Release) -> None:
    unit, at, offset = text.partition("@")
    most = {"hour": 59, "day": 23, "month": 31, "year": 12}
    if unit not in most or (at and not (offset.isdecimal() and int(offset) <= most[unit])):
        raise ValueError("is not a period; write hour, day, month or year, optionally with an offset, e.g. month@15")


class _AnyField(dict):
    def __missing__(self, _name: str) -> int:
        return 1


def _name_template(text: str, _release: Release) -> None:
    for argument in (1, _AnyField()):
        try:
            text % argument
        except (TypeError, ValueError, KeyError):
            continue
        return
    raise ValueError("is not a template for a name; write e.g. instance-%08x or uuid-%(uuid)s")


def _log_levels(text: str, _release: Release) -> None:
    levels = r"(?:CRITICAL|FATAL|ERROR|WARNING|WARN|INFO|DEBUG|TRACE|NOTSET|\d+)"
    _each(text, rf"[^=]*={levels}", "is not a log level of a logger; write e.g. sqlalchemy=WARN")


def _vendordata_targets(text: str, _release: Release) -> None:
    _each(text, r"[^@\s]+@\S+", "has no name before its URL, and Nova skips it; write name@URL")


def _vlan_ranges(text: str, _release: Release) -> None:
    _ranges(text, r"[^:\s]+(?::(\d+):(\d+))?", 4094, "is not a physical network with its VLANs; write e.g. provider:100:199")


def _tunnel_ranges(text: str, _release: Release) -> None:
    _ranges(text, r"(\d+):(\d+)", 2**24 - 1, "is not a range of network identifiers; write first:last, e.g. 1:1000")


def _ranges(text: str, pattern: str, most: int, what: str) -> None:
    for number, element in enumerate(map(str.strip, text.split(",")), start=1):
        match = re.fullmatch(pattern, element, re.ASCII)
        if element and not (match and (match[1] is None or 1 <= int(match[1]) <= int(match[2]) <= most)):
            raise ValueError(f"element {number} {what}")


_FORMS: dict[str, Callable[[str, Release], None]] = {
    "pci_alias": _alias,
    "pci_device_spec": _device_spec,
    "cpu_set": _cpu_set,
    "huge_pages": _huge_pages,
    "catalog_info": _catalog_info,
    "pci_addresses": _pci_addresses,
    "cache_modes": _cache_modes,
    "machine_types": _machine_types,
    "migration_uri": _migration_uri,
    "audit_period": _audit_period,
    "name_template": _name_template,
    "log_levels": _log_levels,
    "vendordata_targets": _vendordata_targets,
    "vlan_ranges": _vlan_ranges,
    "tunnel_ranges": _tunnel_ranges,
}


# ------------------------------------------------------------------------------------------------------------ together


@functools.cache
def related() -> frozenset[str]:
    """Return the names of options that relations speak of."""
    asked = (name for row in _data()["relations"] for name in (*row["if"], *row.get("unless", {})))
    return frozenset(name.split("] ")[1] for name in asked)


def conflicts(values: Mapping[str, str]) -> Iterator[str]:
    """Yield conflicts between the values that nova-compute reads in the end, "[section] option" -> text."""
    for row in _data()["relations"]:
        asked, unless = row["if"], row.get("unless", {})
        if all(_holds(values.get(name), wanted) for name, wanted in asked.items()) and not (
            (unless and all(_holds(values.get(name), wanted) for name, wanted in unless.items()))
            or ("share_cpus" in row and not _share_cpus(values[name] for name in asked))
        ):
            yield f"{next(iter(asked))}: {row['what']}; {row['remedy']}"


def _share_cpus(texts: Iterable[str]) -> bool:
    """Whether one CPU is in all of these sets; what is no set is told elsewhere."""
    try:
        return bool(set.intersection(*map(_cpus, texts)))
    except ValueError:
        return False


def _holds(text: str | None, wanted: bool | float | str) -> bool:
    """Whether a value is what a relation requires; an unset one is neither true nor false."""
    if wanted == "set":  # 0 is a CPU
        return bool(text and text.strip())
    if isinstance(wanted, str):
        return text == wanted
    if isinstance(wanted, float):
        try:
            return float(text or "nan") == wanted
        except ValueError:
            return False
    said = "" if text is None else text.strip().lower()
    false = said in ("false", "no", "off", "0")
    return bool(said) and not false if wanted else false


# ---------------------------------------------------------------------------------------------------------- YAML's types


def doubtful(option: Option, value: Any) -> tuple[str, str] | None:
    """Return (level, what) for a value of an option for text of which YAML has made something else; None when it is fine."""
    name = option.spec["type"]
    elements = value if isinstance(value, (list, tuple)) else [value]
    if name == "List":
        name = option.spec.get("item", {}).get("type", "String")
        elements = [one for one in elements if isinstance(one, bool)]
    if name not in TEXTS:
        return None
    for one in elements:
        if isinstance(one, bool):
            what = f"is {'true' if one else 'false'} to YAML, which also reads yes, no, on and off that way, and not a text"
            return "error", f'{what}; write the value in quotes, e.g. "{"yes" if one else "no"}"'
        if isinstance(one, (int, float)):
            what = "is a number to YAML, which may have changed it: 0755 is 493, 12:30:45 is 45045, 1.10 is 1.1"
            return "warning", f"{what}; put the text in quotes"
    return None
