"""Servers that are asked by TLS, as a client meets them: whether they prove who they are."""

from __future__ import annotations

import socket
import ssl
import struct

from ..address import bare, host_port

# MariaDB's protocol: what a client says when it goes on by TLS (protocol 4.1, TLS, native passwords), how long its packets may be
# and its character set, utf8mb4.
_MARIADB_ASKS = struct.pack("<IIB23x", 0x8A00, 1 << 24, 45)
# What the server says that it can do, after its version: the bit for TLS.
_MARIADB_TLS = 0x0800


def doubts(server: dict, authority: str, timeout: float = 10) -> str:
    """Say why a client must not trust a server; "" if it has a certificate of `authority` (a file), for its name, in time.

    `server` has `name` (of the service), `host` and `port`; `greets` where MariaDB's greeting comes before TLS; `certificate`,
    `key` (files) where the server wants to know who asks, and then compares no names: OVN's databases.
    """
    where = f"{server['name']} at {host_port(server['host'], server['port'])}"
    context = ssl.create_default_context(cafile=authority)
    try:
        if server.get("certificate"):
            context.check_hostname = False
            context.load_cert_chain(server["certificate"], server["key"])
        with socket.create_connection((bare(server["host"]), server["port"]), timeout=timeout) as plain:
            if server.get("greets") and (why := _greeted(plain)):
                return f"{where} {why}"
            with context.wrap_socket(plain, server_hostname=bare(server["host"])):
                return ""
    except ssl.SSLCertVerificationError as error:
        return f"{where} has a certificate that clients refuse: {error.verify_message}"
    except ssl.SSLError as error:
        return f"{where} does not speak TLS: {error.reason or error}"
    except OSError as error:
        return f"{where} does not answer: {error.strerror or error}"


def _greeted(plain: socket.socket) -> str:
    """Read MariaDB's greeting and ask for TLS; returns why there is none."""
    with plain.makefile("rb") as stream:
        length = int.from_bytes(stream.read(4)[:3], "little")
        said = stream.read(length)
    # Protocol, version, thread, salt, zero, capabilities.
    after = said.find(b"\0") + 1 + 4 + 8 + 1
    if said[:1] == b"\xff":
        return f"refuses: {said[3:].decode('utf-8', 'replace')}"
    if not int.from_bytes(said[after : after + 2], "little") & _MARIADB_TLS:
        return "offers no TLS"
    plain.sendall(struct.pack("<I", len(_MARIADB_ASKS) | 1 << 24) + _MARIADB_ASKS)
    return ""
