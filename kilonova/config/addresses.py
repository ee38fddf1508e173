"""Where the inventory's hosts, addresses and ports point to, for filters and checks.

Joining and reading of host and port is shared with the modules, and is in module_utils/kilonova/address.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from kilonova.onhost.address import bare, canonical, host_port, parsed, split, url_host

__all__ = ["bare", "canonical", "host_port", "parsed", "split", "url_host"]


def ip_version(address: Any) -> int:
    """Return 4 or 6, the kind of an IP address. Raises ValueError for anything else."""
    found = parsed(address)
    if found is None:
        raise ValueError(f"{address!r} is not an IP address")
    return found.version


def erlang_address(address: Any) -> str:
    """Return an IP address as Erlang writes it: {10,0,0,11}, or eight numbers for IPv6. Raises ValueError for anything else."""
    found = parsed(address)
    if found is None:
        raise ValueError(f"{address!r} is not an IP address")
    size = 1 if found.version == 4 else 2
    numbers = (int.from_bytes(found.packed[at : at + size], "big") for at in range(0, len(found.packed), size))
    return "{" + ",".join(map(str, numbers)) + "}"


def hosts_of(texts: Iterable[Any]) -> list[str]:
    """Return the hosts, each once, of what names some: a host, a URL, or host:port with commas between."""
    found: dict[str, None] = {}
    for text in map(str, texts):
        for part in [text] if "://" in text else text.split(","):
            try:
                host = urlsplit(part).hostname or "" if "://" in part else split(part)[0]
            except ValueError:
                host = part
            found[bare(host.strip())] = None
    return [host for host in found if host]


def names_of(texts: Iterable[Any]) -> list[str]:
    """Return the names in hosts_of() that have to be resolved."""
    return [host for host in hosts_of(texts) if parsed(host) is None]


def is_loopback(name: Any) -> bool:
    """Whether a name or an address is that of the very machine which asks."""
    address = parsed(name)
    if address is not None:
        return address.is_loopback or address.is_unspecified
    labels = str(name).lower().rstrip(".").split(".")
    return labels[-1] == "localhost" or labels[0] in ("localhost", "ip6-localhost", "ip6-loopback")


def is_elsewhere(host: Any, controller: Mapping[str, Any]) -> bool:
    """Whether `host`, a name or an address, is another machine than the controller.

    `controller` has its `address` and `name` in the inventory, and what it reported: its `hostname`, its `addresses`, and
    what names are there (`resolved`). Before it has reported, only its address and its name are known.
    """
    text = bare(host)
    own = {canonical(address) for address in (controller["address"], *(controller.get("addresses") or ()))}
    if parsed(text) is not None:
        return canonical(text) not in own and not is_loopback(text)
    resolved = (controller.get("resolved") or {}).get(text)
    if resolved is not None:
        return not any(address in own or parsed(address).is_loopback for address in resolved)
    names = {str(name).lower() for name in (controller["name"], controller.get("hostname")) if name}
    return text.lower().rstrip(".") not in names and not is_loopback(text)


def content_sources(urls: Iterable[str]) -> str:
    """Return the page's own site and where URLs lead (scheme, host, port), each once, as a Content-Security-Policy has them.

    An address of IPv6 cannot stand there: it becomes any host.
    """
    parts = [urlsplit(str(url)) for url in urls]
    found = [f"{part.scheme}://{'*' + part.netloc.rpartition(']')[2] if ']' in part.netloc else part.netloc}" for part in parts]
    return " ".join(dict.fromkeys(["'self'", *found]))


def is_host(text: str) -> bool:
    """Whether a text is a host's name or address."""
    if parsed(text) is not None and "%" not in text:
        return True
    labels = text.rstrip(".").split(".")
    # RFC 1123; a last label of digits is what was meant for an address (10.0.0.256)
    known = all(re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)", label) for label in labels)
    return known and len(text) <= 253 and not re.fullmatch("[0-9]+", labels[-1])
