"""Where services listen: addresses of their own host, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from kilonova.config.addresses import canonical, host_port, is_loopback, parsed

# Where HAProxy finds the ways to the services.
PROXY_DIRECTORY = "/etc/haproxy/conf.d"


def own_addresses(management: str, hosts: Iterable[str], told: Mapping[str, Any] | None) -> list[str]:
    """Return the management address, and what `hosts` (names or addresses that clients use) mean if it is of this host.

    `told` is what the host reported: its `addresses`, and in `resolved` what names are there. Before it said anything, only
    the management address is known to be its.
    """
    told = told or {}
    found = [canonical(management)]
    present = {canonical(address) for address in told.get("addresses") or ()}
    for host in map(str, hosts):
        meant = (told.get("resolved") or {}).get(host, [host])
        found += [canonical(address) for address in meant if canonical(address) in present and not _is_loopback(address)]
    return list(dict.fromkeys(found))


def is_own(host: str, management: str, names: Iterable[str], told: Mapping[str, Any] | None) -> bool:
    """Whether `host` is the machine with this management address, these names, and what it `told` us."""
    if canonical(host.lower().rstrip(".")) in {canonical(name.lower()) for name in names} or is_loopback(host):
        return True
    return (
        canonical(host) == canonical(management)
        or len(own_addresses(management, [host], told)) > 1
        or (canonical(management) in map(canonical, ((told or {}).get("resolved") or {}).get(host, ())))
    )


def sockets(addresses: Iterable[str], port: int) -> str:
    """Return uwsgi's arguments to serve HTTP at a port of each address."""
    return " ".join(f"--http-socket {host_port(address, port)}" for address in addresses)


def one_address(addresses: Iterable[str]) -> str:
    """Return the address for a service that listens on one or on all: the only one, else every address of the host."""
    found = list(addresses)
    if len(found) == 1:
        return found[0]
    return "::" if any(":" in address for address in found) else "0.0.0.0"


def proxy_files(
    ports: Iterable[Mapping[str, Any]],
    addresses: Iterable[str],
    ports_set: Mapping[int, int] | None = None,
    unused: Iterable[int] = (),
    cluster: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Return the files by which HAProxy leads to the services of those `ports` that are `proxied`, at `addresses`.

    `ports_set` has the port that a variable sets in the place of a declared one. Of declared ports that are `unused`, the files
    are not there. Of several controllers, `cluster` has their common `address`, the name of this one (`own`) and of all with
    their addresses (`members`): then HAProxy also leads from that address to all of them, for ports that are `clustered` as well.
    """
    unused, addresses = set(unused), list(addresses)
    return [
        {
            "path": f"{PROXY_DIRECTORY}/{row['port']}.cfg",
            "template": "haproxy_service.cfg.j2" if row.get("proxied") else "haproxy_connections.cfg.j2",
            "variables": {
                "port": port,
                "service": row["service"],
                "addresses": [] if row["port"] in unused else addresses,
                "asks_for_others": row.get("asks_for_others", False),
                **(_virtual(cluster, row, port) if cluster else {}),
            },
            "optional": "addresses",
        }
        for row, port in _led_to(ports, ports_set, bool(cluster))
    ]


def _virtual(cluster: Mapping[str, Any], row: Mapping[str, Any], port: int) -> dict[str, Any]:
    """Return what the templates are told of a port of several controllers."""
    servers = {name: host_port(address, port) for name, address in cluster["members"].items()}
    return {
        "virtual": host_port(cluster["address"], port),
        "own": cluster["own"],
        "servers": servers,
        "sources": [address for name, address in cluster["members"].items() if name != cluster["own"]],
        "one": row.get("one_at_a_time", False),
        "check": row.get("check", {}),
    }


def proxied_servers(
    ports: Iterable[Mapping[str, Any]], host: str, ports_set: Mapping[int, int] | None = None, unused: Iterable[int] = ()
) -> list[dict[str, Any]]:
    """Return name, host and port of what HAProxy answers for (see proxy_files), as clients of `host` ask for it."""
    used = (row for row in ports if row["port"] not in set(unused))
    return [{"name": row["service"], "host": host, "port": port} for row, port in _led_to(used, ports_set)]


def _led_to(
    ports: Iterable[Mapping[str, Any]], ports_set: Mapping[int, int] | None, several: bool = False
) -> list[tuple[Mapping[str, Any], int]]:
    """Return the rows that HAProxy leads to, each with the port that it has in this inventory."""
    # In ansible-core 2.18, what a template gives is a text.
    rows = (row for row in ports if row.get("proxied") or (several and row.get("clustered")))
    return [(row, int((ports_set or {}).get(row["port"], row["port"]))) for row in rows]


def ovn_remotes(hosts: Iterable[str], scheme: str, port: int) -> str:
    """Return where OVN's clients find a database: `['10.0.0.11', '10.0.0.12'] | ovn_remotes('ssl', 6642)`."""
    return ",".join(f"{scheme}:{host_port(host, port)}" for host in hosts)


def are_ours(servers: str) -> bool:
    """Whether every one of host:port,... is at IPv4's loopback, the only form that all clients of memcached read."""
    hosts = [server.strip().rpartition(":")[0] for server in servers.split(",")]
    return all(_is_loopback(host) and ":" not in host for host in hosts)


def open_caches(sections: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, str]]:
    """Return section, option and value of every memcached or Redis in a configuration file that another host can write into.

    oslo.cache's backends and keystonemiddleware unpickle what they get, before they decrypt it. What says where the cache is:
    the options of each kind, and an argument `url:...` of the backend, which wins.
    """
    found = []
    for section, options in sections.items():
        rows = [(name, _texts(options.get(name))) for name in ("memcache_servers", "memcached_servers")]
        urls = [text[4:] for text in _texts(options.get("backend_argument"), None) if text.startswith("url:")]
        rows.append(("backend_argument", [server for url in urls for server in url.split(",")]))
        # Only logins can write.
        if str(options.get("memcache_sasl_enabled", "")).lower() == "true":
            rows = []
        if not options.get("redis_password"):
            rows += [(name, _texts(options.get(name))) for name in ("redis_server", "redis_sentinels")]
        found += [(section, name, ",".join(servers)) for name, servers in rows if not all(map(_is_local, servers))]
    return found


def _texts(value: Any, separator: str | None = ",") -> list[str]:
    """The values of an option that has several: a list, or one text."""
    found = value if isinstance(value, (list, tuple)) else str(value or "").split(separator) if separator else [value or ""]
    return [str(text).strip() for text in found]


def _is_local(server: str) -> bool:
    """Whether a cache is reached from its own host only, in any of the forms of its clients, or asks for a password."""
    if "://" in server:
        parts = urlsplit(server)
        return bool(parts.password) or parts.scheme == "unix" or _is_local(parts.netloc)
    for family in ("inet:", "inet6:"):
        server = server.removeprefix(family)
    host = server.rpartition(":")[0].strip("[]") or server
    return not server or server.startswith(("unix:", "/")) or host == "localhost" or _is_loopback(host)


def overlap(one: str, other: str) -> bool:
    """Whether two sockets of one port cannot both be bound: one is at every address, or both at the same."""
    one, other = (canonical(text.strip("[]").partition("%")[0]) for text in (one, other))
    every = ("*", "0.0.0.0", "::")
    return one in every or other in every or one == other


def _is_loopback(address: Any) -> bool:
    found = parsed(address)
    return found is not None and found.is_loopback
