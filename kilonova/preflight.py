"""What must hold before anything is changed: checks over the inventory and over what the hosts say of themselves.

Every check returns problems that name the variable, the value and the remedy. A secret's value is never part of one.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kilonova import releases

GROUPS = ("controllers", "computes")
SHORTEST = 16
# Two characters that oslo.config cannot read back in any notation, and what would begin a new line of a file.
IMPOSSIBLE = {
    "\n": "a line break", "\r": "a carriage return", "\0": "a NUL character", "\\$": "a backslash followed by a dollar sign",
}
SECRETS_REMEDY = "run `make secrets INVENTORY=...`, which writes a strong one, or set it in group_vars/all/secrets.yml"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, which variable, which value, what is wrong with it and what to do."""

    where: str
    variable: str
    value: str
    what: str
    remedy: str

    def __str__(self) -> str:
        value = f" = {self.value}" if self.value else ""
        return f"{self.where}: {self.variable}{value}: {self.what}; {self.remedy}"


def check_groups(groups: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Both groups exist and have hosts; exactly one controller."""
    problems = []
    for name in GROUPS:
        if name not in groups:
            others = [group for group in groups if group not in ("all", "ungrouped")]
            near = difflib.get_close_matches(name, others, n=1, cutoff=0.6)
            remedy = f"rename the group {near[0]!r}" if near else f"add the group {name!r} with its hosts"
            problems.append(Problem("inventory", "groups", ", ".join(sorted(groups)), f"there is no group {name!r}", remedy))
        elif not groups[name]:
            problems.append(Problem("inventory", "groups", name, "the group has no hosts", f"add a host to {name!r}"))
    if len(groups.get("controllers") or ()) > 1:
        value = ", ".join(groups["controllers"])
        problems.append(Problem("inventory", "controllers", value, "more than one controller", "leave one host in the group"))
    return problems


def check_release(value: Any, distributions: Mapping[str, Mapping[str, str]]) -> list[Problem]:
    """`openstack_release` is a release, and one that a distribution carries that we know."""
    deployable = ", ".join(f"{name} ({row['title']})" for name, row in distributions.items())
    try:
        name = releases.find(value).name
    except ValueError as error:
        return [Problem("inventory", "openstack_release", str(value), str(error), f"choose one of: {deployable}")]
    if name not in distributions:
        what = "no distribution that is supported here carries this release"
        return [Problem("inventory", "openstack_release", str(value), what, f"choose one of: {deployable}")]
    return []


def check_backends(hosts: Mapping[str, Mapping[str, Any]], backends: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """Every host's network backend exists in its release, and all hosts have the same.

    `hosts` has `release` and `backend` of each; the releases are known to be ones.
    """
    problems, first = [], None
    for host, asked in hosts.items():
        backend, release = asked["backend"], releases.find(asked["release"])
        allowed = [name for name, row in backends.items() if _has(row, release)]
        remedy = f"choose one of: {', '.join(allowed)}"
        if backend not in backends:
            what = "is no network backend"
        elif backend not in allowed:
            last = backends[backend].get("until")
            span = f"until {releases.find(last).title}" if last else f"from {releases.find(backends[backend]['since']).title} on"
            what = f"{release.title} does not have it, only releases {span}"
        elif backend != (first := first or (host, backend))[1]:
            what, remedy = f"{first[0]} has {first[1]}", "set one backend for all hosts, in group_vars/all"
        else:
            continue
        problems.append(Problem(host, "openstack_network_backend", str(backend), what, remedy))
    return problems


def _has(row: Mapping[str, Any], release: releases.Release) -> bool:
    """Whether `release` is in the row's `since`..`until`, both optional."""
    return releases.find(row.get("since", releases.OLDEST)) <= release <= releases.find(row.get("until", releases.NEWEST))


def check_addresses(hosts: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """Every host has a valid management address of its own; a tunnel address that is given is valid as well."""
    problems, seen = [], {}
    for host, variables in hosts.items():
        for variable in ("openstack_management_address", "openstack_tunnel_address"):
            value = variables.get(variable)
            if value in (None, ""):
                if variable == "openstack_management_address":
                    what, remedy = "is not set", "set it in the inventory to the host's address on the management network"
                    problems.append(Problem(host, variable, "", what, remedy))
                continue
            try:
                address = ipaddress.ip_address(str(value))
            except ValueError:
                remedy = "write an address such as 10.0.0.11, without a prefix length"
                problems.append(Problem(host, variable, str(value), "is not an IP address", remedy))
                continue
            if address.is_unspecified or address.is_loopback or address.is_multicast:
                what = "is not an address that other hosts can reach"
                problems.append(Problem(host, variable, str(value), what, "set the host's address on that network"))
            elif seen.setdefault(address, host) != host:
                what = f"is also an address of {seen[address]}"
                problems.append(Problem(host, variable, str(value), what, "give each host an address of its own"))
    return problems


def check_secrets(values: Mapping[str, Any], descriptions: Mapping[str, str], where: str) -> list[Problem]:
    """Every secret of `descriptions` is there, strong, usable and used once. Values never appear in a problem."""
    problems, users = [], {}
    # What the guide prints where a reader should choose, of any length: PLACEMENT_DBPASS has 16 characters.
    placeholders = {word.lower() for word in (*descriptions, *descriptions.values())}
    for name, description in descriptions.items():
        value = values.get(name)
        if value in (None, ""):
            problems.append(Problem(where, name, "", f"is not set ({description})", SECRETS_REMEDY))
            continue
        text = str(value)
        impossible = next((what for part, what in IMPOSSIBLE.items() if part in text), None)
        if impossible:
            what = f"contains {impossible}, which no configuration file of OpenStack can hold"
            problems.append(Problem(where, name, "", what, "choose another value"))
        elif len(text) < SHORTEST:
            what = f"is weak ({len(text)} characters)"
            problems.append(Problem(where, name, "", what, f"use at least {SHORTEST} characters, or {SECRETS_REMEDY}"))
        elif text.lower() in placeholders:
            problems.append(Problem(where, name, "", "is weak (the install guide's placeholder)", SECRETS_REMEDY))
        elif text in users:
            what = f"has the same value as {users[text]}"
            problems.append(Problem(where, name, "", what, "give each secret a value of its own"))
        users.setdefault(text, name)
    return problems


def check_host(host: str, seen: Mapping[str, Any], addresses: Mapping[str, Any], release: Any,
               distributions: Mapping[str, Mapping[str, str]]) -> list[Problem]:
    """What a host says of itself fits the inventory: its distribution, and addresses that are on an interface."""
    problems = check_release(release, distributions)
    if problems:  # `--limit` left out localhost, where the inventory is checked
        return problems
    wanted = distributions[releases.find(release).name]
    found = seen["distribution"]
    system = found["id"], found["codename"]
    if system != (wanted["id"], wanted["codename"]):
        carried = [name for name, row in distributions.items() if (row["id"], row["codename"]) == system]
        remedy = f"set openstack_release to {' or '.join(carried)}" if carried else f"install {wanted['title']} on the host"
        what = f"needs {wanted['title']}, and this host is {found['title'] or found['id'] or 'an unknown system'}"
        problems.append(Problem(host, "openstack_release", str(release), what, remedy))
    present = {_address(text): interface for text, interface in seen["addresses"].items()}
    for variable, value in addresses.items():
        if _address(value) not in present:
            there = ", ".join(f"{address} ({interface})" for address, interface in present.items() if interface != "lo")
            what, remedy = "is on no interface of the host", f"set one of: {there or 'none found'}"
            problems.append(Problem(host, variable, str(value), what, remedy))
    return problems


def _address(value: Any) -> Any:
    """The address that `value` writes (IPv6 has many ways), or the text itself when it is none."""
    try:
        return ipaddress.ip_address(str(value))
    except ValueError:
        return str(value)


def check_hostnames(names: Mapping[str, str]) -> list[Problem]:
    """No two hosts call themselves the same: Nova and Neutron know a host by its name."""
    problems, seen = [], {}
    for host, name in names.items():
        if name in seen:
            what = f"is also the host name of {seen[name]}"
            problems.append(Problem(host, "hostname", name, what, f"run `hostnamectl set-hostname {host}` on it"))
        seen.setdefault(name, host)
    return problems
