"""Migration between compute nodes: who lets whom in, where instances are, and what of the inventory cannot work."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from kilonova.config import overrides
from kilonova.onhost.migration import digest
from kilonova.problems import Problem

NO_PATH = "is not a path that SSH access for migrations can be limited to"
PATH_REMEDY = "write an absolute path of letters, digits and . _ + @ -, or set nova_compute_migration to false"
SSH_PORT = 22
STATE_PATH = "/var/lib/nova"
# What sshd's command of a peer may be about: nothing that a shell, scp or a pattern reads as something else.
_DIRECTORY = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9_.+@-]+)+")


@dataclass(frozen=True)
class Node:
    """A compute node, as the others know it."""

    addresses: tuple[str, ...]
    """The first is that of migrations."""
    names: tuple[str, ...] = ()
    port: int = SSH_PORT
    key: str | None = ""
    """Public, of its user nova. Empty: this run did not ask the node. None: it is not made yet (check mode)."""
    host_key: str | None = ""


def node(name: str, hostvars: Any, key: str) -> Node | None:
    """Return a host that takes part in migrations, by Ansible's `hostvars`; None for one that does not.

    `key` is the variable with what the module migration_keys returned there.
    """
    known = hostvars.raw_get(name)
    asked = known.get(key) or {}
    if asked.get("skipped"):
        return None
    if "peer" in asked:
        peer, called = asked["peer"], (known.get("openstack_host") or {}).get("hostname") or name
        addresses = tuple(dict.fromkeys(map(str, peer["addresses"])))
        return Node(addresses, (str(called),), int(peer["port"]), peer["key"] or None, peer["host_key"] or None)
    # Left out by --limit, or failed. The roles' defaults are not among its variables.
    found = hostvars[name]
    if not boolean(found.get("nova_compute_migration", True), strict=False):
        return None
    return Node((str(found.get("nova_compute_migration_address") or found["openstack_management_address"]),))


def lists(nodes: Iterable[Node]) -> dict[str, Any]:
    """Return the lists as the module migration_keys takes them, and a digest of each, None where not every node was asked."""
    rows: dict[str, list[tuple[str, str | None]]] = {"authorized_keys": [], "known_hosts": []}
    for one in sorted(nodes, key=lambda one: one.addresses):
        # Nova goes to an address, or to a host's name where an image has to be fetched from there.
        places = ",".join(p if one.port == SSH_PORT else f"[{p}]:{one.port}" for p in dict.fromkeys((*one.addresses, *one.names)))
        sources = ",".join(one.addresses)
        rows["authorized_keys"].append((one.addresses[0], one.key and f'from="{sources}",restrict {one.key}'))
        rows["known_hosts"].append((one.addresses[0], one.host_key and f"{places} {one.host_key}"))
    digests = {name: _digest(line for _address, line in found) for name, found in rows.items()}
    return {"lists": json.dumps(rows), "digests": digests}


def _digest(found: Iterable[str | None]) -> str | None:
    found = list(found)
    return digest("".join(f"{line}\n" for line in found)) if all(found) else None


def configured_path(files: Iterable[Mapping[str, Any]]) -> str:
    """Return where nova-compute has its instances, by the files that it reads, in their order."""
    options: dict[str, Any] = {}
    for entry in files:
        # Of two options; merging a whole file for them would double its cost.
        merged: dict[str, Any] = {}
        for layer in entry["layers"].values():
            section = layer.get("DEFAULT") if isinstance(layer, Mapping) else None
            if isinstance(section, Mapping):  # what else it may be is refused where the file is made
                merged.update(section)
        options.update({name: merged[name] for name in ("state_path", "instances_path") if merged.get(name) is not None})
    state = str(options.get("state_path", STATE_PATH))
    path = str(options.get("instances_path", "$state_path/instances"))
    return re.sub(r"\$(?:state_path\b|\{state_path\})", lambda _match: state, path)


def instances_path(files: Iterable[Mapping[str, Any]]) -> str:
    """Return the same, without a slash at its end, if it is one that peers can be limited to."""
    path = configured_path(files)
    if not _DIRECTORY.fullmatch(path.rstrip("/")):
        raise ValueError(f"[DEFAULT] instances_path = {path}: {NO_PATH}; {PATH_REMEDY}")
    return path.rstrip("/")


# -------------------------------------------------------------------------------------------------------------- checks


def takes_part(host: Any) -> bool:
    """Whether an inventories.Host is a compute node that migrates."""
    return "nova_compute" in host.roles() and boolean(host.find("nova_compute_migration"), strict=False)


def check_inventory(hosts: Mapping[str, Any]) -> list[Problem]:
    """Compute nodes know each other's SSH by one port, and have their instances where other nodes are let in.

    `hosts` has the inventories.Host of each, whose variables have the types that they should.
    """
    problems, first = [], None
    for name, host in hosts.items():
        if not takes_part(host):
            continue
        port = host.find("nova_compute_migration_port")
        if (first := first or (name, port))[1] != port:
            remedy = "set one for all compute nodes, in group_vars/computes"
            problems.append(Problem(name, "nova_compute_migration_port", str(port), f"{first[0]} has {first[1]}", remedy))
        alone = not host.find("__nova_compute_is_controller")
        names = [*(["__nova_compute_nova_conf_file"] if alone else []), "__nova_compute_second_file"]
        own = [host.with_overrides("nova_compute", host.find(variable)) for variable in names]
        path = configured_path(own)
        if not _DIRECTORY.fullmatch(path.rstrip("/")):
            value = f"[DEFAULT] instances_path: {path}"
            problems.append(Problem(name, _set_by(own) or "nova_compute_overrides", value, NO_PATH, PATH_REMEDY))
        elif not alone:
            # There nova.conf is another role's.
            entries = {entry["path"]: entry for entry in host.files()}
            read = configured_path([entries[file] for file in ("/etc/nova/nova.conf", "/etc/nova/nova-compute.conf")])
            if read != path:
                what = f"migrations would look for the instances in {path}"
                remedy = "also set it in nova_compute_overrides['nova.conf']"
                value = f"[DEFAULT] instances_path: {read}"
                by = _set_by([entries["/etc/nova/nova.conf"]]) or "nova_controller_overrides"
                problems.append(Problem(name, by, value, what, remedy))
    return problems


def _set_by(files: Iterable[Mapping[str, Any]]) -> str:
    """Return the variable of overrides that says last where instances are, "" where none does."""
    found = ""
    for entry in files:
        for layer, sections in entry["layers"].items():
            section = sections.get("DEFAULT") if overrides.is_override(layer) and isinstance(sections, Mapping) else None
            if isinstance(section, Mapping) and section.keys() & {"state_path", "instances_path"}:
                found = overrides.variable_of(layer)
    return found


def check_host(name: str, seen: Mapping[str, Any], host: Any) -> list[Problem]:
    """A compute node's sshd listens where the others look for it. `seen` is what it said of itself."""
    if not takes_part(host):
        return []
    port, address = int(host.find("nova_compute_migration_port")), str(host.find("nova_compute_migration_address"))
    sockets = [row for row in seen["listening"] if row["name"] == "sshd" or row.get("unit") in ("ssh.service", "ssh.socket")]
    there = sorted({row["port"] for row in sockets})
    if port not in there:
        if not sockets and port == SSH_PORT:  # its package will be installed
            return []
        what = f"sshd listens on {', '.join(map(str, there)) or 'no port'} of this host"
        remedy = "let it also listen there (Port in a file of /etc/ssh/sshd_config.d, next to `Port 22`), or set its port"
        return [Problem(name, "nova_compute_migration_port", str(port), what, remedy)]
    open_at = {row["address"].strip("[]").partition("%")[0] for row in sockets if row["port"] == port}
    if open_at & {"*", "::" if ":" in address else "0.0.0.0"} or _same(address, open_at):
        return []
    what = f"sshd listens on {', '.join(sorted(open_at))} alone at port {port} of this host"
    remedy = "let it also listen there (ListenAddress), or set one of these"
    return [Problem(name, "nova_compute_migration_address", address, what, remedy)]


def _same(address: str, others: Iterable[str]) -> bool:
    """Whether an address is one of others, which may be written in another way."""
    return ipaddress.ip_address(address) in {ipaddress.ip_address(other) for other in others if other != "*"}
