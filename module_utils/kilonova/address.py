"""Hosts and ports as text, and which host a name means. Nothing else in the project joins or compares them."""

import ipaddress
import socket


def host_port(host, port):
    """`host:port`, as in a URL: an IPv6 address is in brackets there (RFC 3986)."""
    return f"{url_host(host)}:{int(port)}"


def url_host(host):
    """The host as it stands in a URL and in connection strings of Open vSwitch's databases."""
    host = bare(host)
    return f"[{host}]" if ":" in host else host


def bare(host):
    """The host without brackets."""
    host = str(host)
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def split(text):
    """(host, port) of what host_port() made.

    Raises ValueError when it is something else: without a port, or an IPv6 address without brackets, which ends nowhere.
    """
    host, _colon, port = str(text).strip().rpartition(":")
    if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not host:port")
    if (":" in host) != (host.startswith("[") and host.endswith("]")):
        raise ValueError(f"{text!r} is not host:port; an IPv6 address is in brackets, [fd00::11]:11211")
    return bare(host), int(port)


def canonical(host):
    """An address in the one form that programs print (RFC 5952; fd00:0::0A is fd00::a); any other text as it is."""
    found = parsed(bare(host))
    return str(host) if found is None else str(found)


def parsed(text):
    """The address that `text` writes; None when it is none. An IPv4 address in IPv6's clothes is that IPv4 address."""
    try:
        found = ipaddress.ip_address(str(text))
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def resolved(name):
    """The addresses that this machine knows a name by, in their one form; none when it does not know it."""
    if parsed(name) is not None:
        return [canonical(name)]
    try:
        found = socket.getaddrinfo(str(name), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return sorted({canonical(row[4][0]) for row in found})
