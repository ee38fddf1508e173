"""What must hold of a host so that the run loses nothing that its operator has, and can work there at all.

As kilonova.run.preflight, over what the module host_facts reported; every check returns problems with variable, value and remedy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kilonova.config import releases
from kilonova.onhost import database
from kilonova.problems import Problem

# The role that sets a backend up, and what becomes of what is in it when it is named in openstack_take_over.
KEPT = {
    "mariadb": "which keeps databases and accounts, and listens on the management address",
    "rabbitmq": "which keeps users and virtual hosts, and replaces rabbitmq.conf",
    "memcached": "which replaces its configuration",
    "clouds.yaml": "which keeps the other clouds in it, and sets the cloud admin",
    "openvswitch": "which keeps bridges and managers, and gives it the host's name",
}
# Nova's own identity of a compute node is in a file since then.
IDENTITY_SINCE = "antelope"
IDENTITY = "/var/lib/nova/compute_id"
SHOWN = 8
# Kinds of interfaces that bridges have: Linux's, those of Open vSwitch in the kernel, and in userspace.
BRIDGES = ("bridge", "openvswitch", "tun")


# -------------------------------------------------------------------------------------------------------------- bridges


def check_bridges(
    host: str, seen: Mapping[str, Any], addresses: Mapping[str, Any], bridges: Sequence[Mapping[str, Any]], datapath: str
) -> list[Problem]:
    """No bridge takes what the host is reached by, unless it gets that very address; every port is there, and in one bridge.

    `addresses`: those of openstack_management_address, ... by variable; `bridges`: openstack_bridges.
    """
    problems, taken = [], {}
    made = {str(bridge["name"]) for bridge in bridges}
    for number, bridge in enumerate(bridges):
        if bridge.get("datapath") not in (None, datapath):
            continue
        kind = seen.get("kinds", {}).get(str(bridge["name"]))
        if kind is not None and kind not in BRIDGES:
            what = f"is an interface of this host ({kind or 'a network card'}), and no bridge"
            remedy = "choose another name; the interface may be one of its ports"
            problems.append(Problem(host, f"openstack_bridges[{number}].name", str(bridge["name"]), what, remedy))
        given = {_address(text) for text in bridge.get("addresses") or ()}
        for at, port in enumerate(map(str, bridge.get("ports") or ())):
            variable = f"openstack_bridges[{number}].ports[{at}]"
            if port in taken:
                what, remedy = f"is also a port of {taken[port]}", "give each interface to one bridge"
            elif port in made:
                continue
            elif port not in seen["interfaces"]:
                free = [name for name in sorted(seen["interfaces"]) if name not in made and not _is_internal(name)]
                what, remedy = "is not an interface of this host", f"write one of: {', '.join(free) or 'none found'}"
            else:
                what, remedy = _taking(port, str(bridge["name"]), seen, addresses, given, made)
            taken.setdefault(port, bridge["name"])
            if what:
                problems.append(Problem(host, variable, port, what, remedy))
    return problems


def _taking(
    port: str, bridge: str, seen: Mapping[str, Any], addresses: Mapping[str, Any], given: set[Any], made: set[str]
) -> tuple[str, str]:
    """What is lost when a bridge takes this interface, and the remedy; nothing when nothing is."""
    master = seen["interfaces"][port]
    if master and master != "ovs-system" and master not in made and not master.startswith("brq"):
        return f"is a part of {master}", f"write {master}, or remove it from {master} first"
    wanted = {variable: value for variable, value in addresses.items() if _interface(seen, value) == port}
    for variable, value in wanted.items():
        if _address(value) not in given:
            what = f"has {variable} ({value}), which {bridge} would take away"
            return what, f"write another interface, or add {value}/PREFIX to the bridge's addresses"
    if port in seen["default_routes"]:
        own = [text for text, name in seen["addresses"].items() if name.partition(":")[0] == port and not _is_link_local(text)]
        if not given & set(map(_address, own)):
            what = f"has the host's default route, which {bridge} would take away"
            shown = f"{own[0]}/PREFIX" if own else "its address"
            return what, f"write another interface, or add {shown} to the bridge's addresses"
    return "", ""


def _interface(seen: Mapping[str, Any], value: Any) -> str:
    """The interface that has an address; a label, `eth0:1`, is its interface's."""
    wanted = _address(value)
    return next((name.partition(":")[0] for text, name in seen["addresses"].items() if _address(text) == wanted), "")


def _address(value: Any) -> Any:
    """An address, with or without a prefix length, however it is written."""
    try:
        return ipaddress.ip_interface(str(value)).ip
    except ValueError:
        return str(value)


def _is_link_local(text: str) -> bool:
    address = _address(text)
    return not isinstance(address, str) and address.is_link_local


def _is_internal(name: str) -> bool:
    """Whether an interface is of the host itself, or of Open vSwitch, Networking or Nova."""
    return name == "lo" or bool(re.match(r"ovs-|br-int$|br-tun$|tap|qvo|qvb|qbr|brq|genev_sys|vxlan_sys", name))


# ------------------------------------------------------------------------------------------------------------- backends


def check_backends(host: str, seen: Mapping[str, Any], take_over: Sequence[str], bridges: Iterable[str] = ()) -> list[Problem]:
    """A backend that we did not set up is only taken over if openstack_take_over names it; root can always log in.

    `bridges`: those that the inventory names. The guide creates them by hand, so they are expected.
    """
    problems, known = [], {f"bridge {name}" for name in bridges}
    for name, told in (seen.get("backends") or {}).items():
        if told.get("refused"):
            what = f"has a password, or another plugin: MariaDB refuses root at its local socket ({told['refused']})"
            problems.append(Problem(host, "account", "root@localhost", what, database.REMEDY))
        foreign = [text for text in told["foreign"] if text not in known]
        if foreign and name not in take_over:
            shown = ", ".join(foreign[:SHOWN]) + (f" and {len(foreign) - SHOWN} more" if len(foreign) > SHOWN else "")
            remedy = f"use another host, or add {name} to openstack_take_over, {KEPT[name]}"
            problems.append(Problem(host, name, shown, "exists and was not set up by Kilonova", remedy))
    return problems


# -------------------------------------------------------------------------------------------- packages, machine and names


def check_version(host: str, seen: Mapping[str, Any], release: Any) -> list[Problem]:
    """Nova's packages, installed or else those that apt would install, are of the release."""
    wanted = releases.find(release)
    installed = seen["packages"].get("nova-common")
    version = installed or seen.get("candidate") or ""
    match = re.match(r"(?:\d+:)?(\d+)(?=[.~+-]|$)", version)
    if not match or int(match.group(1)) == wanted.nova:
        return []
    try:
        other = releases.find(match.group(1))
        title, instead = other.title, f", or set openstack_release to {other}"
    except ValueError:
        title, instead = "an unknown release", ""
    what = f"needs Nova {wanted.nova}, and nova-common {'is' if installed else 'would be'} {version} ({title}) on this host"
    remedy = f"look at `apt-cache policy nova-common` and remove the other package source{instead}"
    return [Problem(host, "openstack_release", str(release), what, remedy)]


def check_machine(host: str, seen: Mapping[str, Any], architectures: Iterable[str]) -> list[Problem]:
    """The host's processor is of a kind that is known here."""
    known = list(architectures)
    if seen["machine"] in known:
        return []
    return [Problem(host, "architecture", seen["machine"], f"must be one of {', '.join(known)}", "use another machine")]


def check_names(hosts: Mapping[str, Mapping[str, Any]], names: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """Every host can resolve its own name, and the names of `names` (variable -> host's value) to one address on all of them."""
    problems, first = [], {}
    for host, seen in hosts.items():
        resolved, own = seen["resolved"], seen["hostname"]
        if not resolved.get(own):
            what, remedy = "does not resolve on the host itself", f"add the line `127.0.1.1 {own}` to /etc/hosts on it"
            problems.append(Problem(host, "hostname", own, what, remedy))
        asked = set()
        for variable, name in names.get(host, {}).items():
            # One mistake is one line: what follows from another variable is not named again.
            if not isinstance(name, str) or not isinstance(_address(name), str) or name in asked:
                continue
            asked.add(name)
            found = resolved.get(name) or []
            if not found:
                what, remedy = "does not resolve on this host", "add it to /etc/hosts or to the name server, or write its address"
                problems.append(Problem(host, variable, name, what, remedy))
                continue
            before = first.setdefault(name, (host, found))
            if not set(before[1]) & set(found):
                what = f"resolves to {', '.join(found)} on this host and to {', '.join(before[1])} on {before[0]}"
                remedy = "make it resolve to one address on all hosts (/etc/hosts, name server), or write its address"
                problems.append(Problem(host, variable, name, what, remedy))
    return problems


# -------------------------------------------------------------------------------------------------------- compute nodes


def check_compute_node(
    host: str, seen: Mapping[str, Any], nodes: Sequence[Mapping[str, str]], address: Any, release: Any
) -> tuple[list[Problem], str | None]:
    """(problems, identity to restore) of a compute node, from Nova's database.

    Nova refuses to start under another name than its identity's, or with another identity than its name's. A reinstalled host
    has lost its identity, which only has to be written again.
    """
    name, identity = seen["hostname"], seen["compute_id"]
    mine = [node for node in nodes if node["host"].casefold() == name.casefold()]
    by_identity = [node for node in nodes if identity and node["uuid"] == identity]
    by_address = [node for node in nodes if _address(node.get("address") or "") == _address(address)]
    other = next((node for node in by_identity or by_address if node["host"] != name), None)
    # By its address alone, a host that has a name of its own in Nova is not another one.
    if other and (by_identity or not any(node["host"] == name for node in mine)):
        by = f"compute_id {identity}" if by_identity else f"address {address}"
        what = f"Nova knows this host ({by}) as {other['host']}"
        remedy = (
            f"run `hostnamectl set-hostname {other['host']}` on this host, or remove {other['host']} first "
            f"(`make remove-compute COMPUTE={other['host']}`)" + (f" and {IDENTITY} with it" if by_identity else "")
        )
        return [Problem(host, "hostname", name, what, remedy)], None
    if not mine or releases.find(release) < releases.find(IDENTITY_SINCE):
        return [], None
    if not identity:
        return [], mine[0]["uuid"]
    if identity != mine[0]["uuid"]:
        what = f"Nova knows {name} as {mine[0]['uuid']}, and would not start"
        return [Problem(host, IDENTITY, identity, what, f"run `echo {mine[0]['uuid']} > {IDENTITY}` on this host")], None
    return [], None


def older_release(nodes: Sequence[Mapping[str, str]], release: Any, versions: Mapping[str, int]) -> str:
    """Return the release of the oldest compute service, "" if none is older than `release`.

    `versions` has what the services of each release call themselves. It is 0 for what is older than all of them.
    """
    numbers = [int(node["version"]) for node in nodes if str(node.get("version") or "").isdigit()]
    wanted = releases.find(release)
    current = [number for name, number in versions.items() if releases.find(name) <= wanted]
    if not numbers or not current or min(numbers) >= max(current):
        return ""
    known = sorted(versions, key=releases.find)
    return next((name for name in reversed(known) if versions[name] <= min(numbers)), known[0])
