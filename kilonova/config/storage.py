"""Ceph and the Block Storage service, from data to what their files have: keys, monitors' addresses, sections of backends."""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from kilonova.config import addresses

# A key as Ceph encodes it (CryptoKey): kind 1 (AES), when it was made (seconds, nanoseconds), how long it is, and its 16 bytes.
_KEY = struct.Struct("<HIIH")
_BYTES = 16


def is_ceph_key(text: Any) -> bool:
    """Whether a text is a key in Ceph's own form, as `ceph auth get-key` prints it."""
    try:
        raw = base64.b64decode(str(text).encode(), validate=True)
    except (binascii.Error, ValueError):
        return False
    if len(raw) != _KEY.size + _BYTES:
        return False
    kind, _seconds, _nanoseconds, length = _KEY.unpack_from(raw)
    return (kind, length) == (1, _BYTES)


def ceph_key(text: Any) -> str:
    """Return a secret as a key of Ceph's: one in Ceph's own form as it is; of any other text, one is made.

    So a cluster's own keys can be given, and `make secrets` and rotations need to know nothing of their form.
    """
    if is_ceph_key(text):
        return str(text)
    made = hashlib.sha256(b"kilonova ceph key\0" + str(text).encode()).digest()[:_BYTES]
    return base64.b64encode(_KEY.pack(1, 1, 0, _BYTES) + made).decode()


def ceph_mons(mons: Iterable[Any], protocol: str = "") -> str:
    """Return addresses of monitors as mon_host: an address alone, or what has a port already; `protocol` v2 names the port."""
    found = []
    for one in map(str, mons):
        if addresses.parsed(one) is None:
            found.append(one)
        else:
            found.append(f"{protocol}:{addresses.host_port(one, 3300)}" if protocol else addresses.url_host(one))
    return ",".join(found)


def backend_sections(backends: Mapping[str, Mapping[str, Any]], drivers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return section -> options of the backends of cinder_backends.

    `drivers` has for each driver its `options`, and in `names` what the keys of a backend are called there. A backend's own
    `options` win.
    """
    found = {}
    for name, backend in backends.items():
        driver = drivers[backend["driver"]]
        own = {driver["names"][key]: value for key, value in backend.items() if key in driver["names"]}
        given = backend.get("options") or {}
        found[str(name)] = {**driver["options"], "volume_backend_name": str(name), **own, **given}
    return found


def volume_types(backends: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return a type of volumes for each backend, of its name."""
    return {str(name): {"volume_backend_name": str(name)} for name in backends}


def each_unit(items: Iterable[Any], form: str, unit: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a unit like `unit` for each item, named by `form`: `[0, 1] | each_unit('ceph-osd@%s', {...})`."""
    return [{"name": form % item, **unit} for item in items]
