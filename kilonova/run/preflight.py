"""What must hold before anything is changed: checks over the inventory and over what the hosts say of themselves.

Every check returns problems that name the variable, the value and the remedy. A secret's value is never part of one.
"""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from kilonova.config import addresses, listening, releases
from kilonova.problems import IMPOSSIBLE, Problem

GROUPS = ("controllers", "computes")
# How many controllers there may be.
CONTROLLERS = (1, 3, 5)
SHORTEST = 16
# A long secret must have this many different characters; 0000000000000000 is not a secret.
DIFFERENT = 6
OPEN_CACHE = (
    "is not on the loopback interface, and anyone who can write to it can run code in the services that read it; "
    "write 127.0.0.1:11211"
)
SECRETS_REMEDY = "run `make secrets INVENTORY=...`, which writes a strong one, or set it in group_vars/all/secrets.yml"
# That writes only what is missing.
REPLACED = "remove it and run `make secrets INVENTORY=...`, which writes a strong one"


def check_groups(groups: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Both groups exist and have hosts; one, three or five controllers; the dashboard is there, if anywhere."""
    problems = []
    for name in GROUPS:
        if name not in groups:
            others = [group for group in groups if group not in ("all", "ungrouped")]
            near = difflib.get_close_matches(name, others, n=1, cutoff=0.6)
            remedy = f"rename the group {near[0]!r}" if near else f"add the group {name!r} with its hosts"
            problems.append(Problem("inventory", "groups", ", ".join(sorted(groups)), f"there is no group {name!r}", remedy))
        elif not groups[name]:
            problems.append(Problem("inventory", "groups", name, "the group has no hosts", f"add a host to {name!r}"))
    controllers = groups.get("controllers") or ()
    count = len(controllers)
    if count > 1 and count not in CONTROLLERS:
        what = f"{count} controllers survive no more losses than {count - 1}"
        if count > max(CONTROLLERS):
            what = f"with {count} controllers each change of the databases waits for all of them"
        problems.append(Problem("inventory", "controllers", ", ".join(controllers), what, "have one, three or five"))
    elsewhere = [host for host in groups.get("dashboards") or () if host not in (groups.get("controllers") or ())]
    if elsewhere and groups.get("controllers"):
        what = "is not a controller, and the dashboard needs the controller's memcached and HAProxy"
        remedy = f"leave {', '.join(groups['controllers'])} in the group, or nothing"
        problems.append(Problem("inventory", "dashboards", ", ".join(elsewhere), what, remedy))
    return problems


def check_cluster(variables: Mapping[str, Any], hosts: Mapping[str, Any]) -> list[Problem]:
    """What several controllers need: a common address that is no host's, TLS, and a network backend that survives one of them.

    `variables` has openstack_vip, openstack_tls and openstack_network_backend as the first controller has them, and whether the
    directory of images is that of all (`is_shared`); `hosts` the management address of each host.
    """
    vip = str(variables["openstack_vip"] or "")
    found = []

    def add(variable: str, value: Any, what: str, remedy: str) -> None:
        found.append(Problem("controllers", variable, str(value), what, remedy))

    free = "set it to a free address of the management network"
    try:
        address = ipaddress.ip_address(vip)
    except ValueError:
        what = "is not an IP address" if vip else "is not set, and there are several controllers"
        add("openstack_vip", vip, what, free)
    else:
        taken = {ipaddress.ip_address(str(own)): name for name, own in hosts.items()}
        if address in taken:
            add("openstack_vip", vip, f"is the address of {taken[address]}", free)
        elif address.is_loopback or address.is_unspecified or address.is_multicast:
            add("openstack_vip", vip, "is not an address that other hosts can reach", free)
        elif {address.version} != {own.version for own in taken}:
            add("openstack_vip", vip, "is not of the same family (IPv4, IPv6) as the hosts' management addresses", free)
    if not variables["openstack_tls"]:
        what = "several controllers trust each other by certificates"
        add("openstack_tls", "false", what, "set it to true, or have one controller")
    if variables["openstack_network_backend"] != "ovn":
        what = "with several controllers, only OVN goes on when one of them is gone"
        add("openstack_network_backend", variables["openstack_network_backend"], what, "set ovn, or have one controller")
    if not variables["is_shared"]:
        what = "each controller would have images of its own"
        remedy = "have them in Ceph, or mount one directory at /var/lib/glance/images of all, and set {type: file, shared: true}"
        add("glance_store", "", what, remedy)
    return found


def check_release(value: Any, distributions: Mapping[str, Mapping[str, str]]) -> list[Problem]:
    """`openstack_release` is a release, and one that a distribution carries that we know."""
    deployable = ", ".join(f"{name} ({row['title']})" for name, row in distributions.items())
    if value is None:
        return [Problem("inventory", "openstack_release", "", "has no value (null)", f"choose one of: {deployable}")]
    try:
        name = releases.find(value).name
    except ValueError as error:
        return [Problem("inventory", "openstack_release", str(value), str(error), f"choose one of: {deployable}")]
    if name not in distributions:
        what = "no supported distribution carries this release"
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
            what = "is not a network backend"
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
    """Every host has a valid management address of its own; one for tunnels or migrations that is given is valid as well."""
    problems, seen = [], {}
    for host, variables in hosts.items():
        for variable in ("openstack_management_address", "openstack_tunnel_address", "nova_compute_migration_address"):
            value = variables.get(variable)
            if value in (None, ""):
                if variable == "openstack_management_address":
                    what, remedy = "is not set", "set it in the inventory to the host's address on the management network"
                    problems.append(Problem(host, variable, "", what, remedy))
                elif value == "":
                    problems.append(Problem(host, variable, "", "is empty", "write an address, or remove the line"))
                continue
            try:
                if "%" in str(value):  # an interface of this host means nothing to others
                    raise ValueError
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
                problems.append(Problem(host, variable, str(value), what, "give each host its own address"))
    return problems


def check_tls(hosts: Mapping[str, Mapping[str, Any]], is_own: Callable[[str], bool]) -> list[Problem]:
    """Internal URLs with https lead to a proxy that terminates TLS, not to the controller itself: nothing there speaks it.

    `hosts` has each one's openstack_internal_scheme, openstack_internal_host and openstack_auth_url.
    """
    problems = []
    names = ("openstack_internal_scheme", "openstack_internal_host", "openstack_auth_url")
    for host, variables in hosts.items():
        scheme, internal, url = (str(variables.get(name)) for name in names)
        what = "no service on the controller speaks TLS, and {} is the controller itself"
        if scheme == "https" and is_own(internal):
            remedy = "set http, or set openstack_internal_host to the host that terminates TLS in front of it"
            what = what.format(f"openstack_internal_host ({internal})")
            problems.append(Problem(host, "openstack_internal_scheme", scheme, what, remedy))
        elif url.lower().startswith("https:") and is_own(_host_of(url)):
            remedy = "write http, or the host that terminates TLS in front of it"
            problems.append(Problem(host, "openstack_auth_url", url, what.format(_host_of(url)), remedy))
    return problems


def _host_of(url: str) -> str:
    """The host of a URL; empty when it has none."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


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
        if not isinstance(value, (str, int, float)) or isinstance(value, bool):
            problems.append(Problem(where, name, "", "is not a text", "write one in quotes, or " + REPLACED))
            continue
        text = str(value)
        impossible = next((what for part, what in IMPOSSIBLE.items() if part in text), None)
        if impossible:
            what = f"contains {impossible}, which no configuration file of OpenStack can hold"
            problems.append(Problem(where, name, "", what, "choose another value"))
        elif len(text) < SHORTEST:
            what = f"is weak ({len(text)} characters)"
            problems.append(Problem(where, name, "", what, f"use at least {SHORTEST} characters, or {REPLACED}"))
        elif len(set(text)) < DIFFERENT:
            what = f"is weak ({len(set(text))} different characters)"
            problems.append(Problem(where, name, "", what, REPLACED))
        elif text.lower() in placeholders:
            problems.append(Problem(where, name, "", "is weak (the install guide's placeholder)", REPLACED))
        elif text in users:
            what = f"has the same value as {users[text]}"
            problems.append(Problem(where, name, "", what, "give each secret its own value"))
        users.setdefault(text, name)
    return problems


def check_host(
    host: str,
    seen: Mapping[str, Any],
    wanted_addresses: Mapping[str, Any],
    release: Any,
    distributions: Mapping[str, Mapping[str, str]],
) -> list[Problem]:
    """What a host reports fits the inventory: its distribution, and addresses that are on an interface."""
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
    for variable, value in wanted_addresses.items():
        if _address(value) not in present:
            there = ", ".join(f"{address} ({interface})" for address, interface in present.items() if _is_shown(address))
            what, remedy = "is not on any interface of the host", f"set one of: {there or 'none found'}"
            problems.append(Problem(host, variable, str(value), what, remedy))
    return problems


def check_listening(host: str, seen: Mapping[str, Any], used: Mapping[str, tuple[str, str, str]]) -> list[Problem]:
    """Our own servers are reached where they listen. `used`: variable -> (server, its host, where it listens)."""
    problems = []
    for variable, (server, name, bound) in used.items():
        address = addresses.parsed(bound)
        there = (seen.get("resolved") or {}).get(name, [addresses.canonical(name)])
        if not there or address is None or address.is_unspecified or addresses.canonical(bound) in there:
            continue
        if name in there:
            what, remedy = f"is not where {server} listens, which is {bound}", f"write {bound}"
        else:
            what = f"resolves to {', '.join(there)} on this host, but {server} listens at {bound}"
            remedy = f"make it resolve to {bound}, or write that address"
        problems.append(Problem(host, variable, name, what, remedy))
    return problems


def _is_shown(address: Any) -> bool:
    """Whether the address may be what is wanted: not of this host or link alone."""
    return isinstance(address, str) or not (address.is_loopback or address.is_link_local)


def _address(value: Any) -> Any:
    """`value` as an address (IPv6 has many forms), or the text itself if it is not one."""
    try:
        return ipaddress.ip_address(str(value))
    except ValueError:
        return str(value)


def check_resources(host: str, seen: Mapping[str, Any], limits: Mapping[str, Any]) -> list[Problem]:
    """The host lets us be root, has room and the right time. `limits`: preflight_memory_mib, ... as its variables say."""
    problems = []
    if not seen["root"]:
        what, remedy = "is not set, and the login is not root", "set it to true, with a user who may use sudo"
        problems.append(Problem(host, "ansible_become", "", what, remedy))
    for variable, found, what, remedy in (
        ("preflight_memory_mib", seen["memory_mib"], "memory", "add memory"),
        ("preflight_disk_mib", seen["disk_free_mib"], "free disk space in /var", "make room"),
    ):
        floor = int(limits[variable])
        if found < floor:
            what = f"this host has {found} MiB of {what}"
            problems.append(Problem(host, variable, str(floor), what, f"{remedy}, or lower the limit"))
    ahead, most = float(seen["clock_ahead"]), int(limits["preflight_clock_skew"])
    if abs(ahead) > most:
        what = f"the clock of this host is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} ours"
        problems.append(Problem(host, "preflight_clock_skew", str(most), what, "let chrony or systemd-timesyncd set it"))
    return problems


def check_packages(host: str, seen: Mapping[str, Any], wanted: Sequence[str]) -> list[Problem]:
    """apt is able to install what is missing: nothing is half installed, and nothing that is needed is held back."""
    problems = []
    for name, status in seen["half_installed"].items():
        remedy = "run `dpkg --configure -a` and `apt-get --fix-broken install` on this host"
        problems.append(Problem(host, "package", name, f"is {status}", remedy))
    for name in wanted:
        if name in seen["held"] and name not in seen["packages"]:
            what = "is needed, not installed, and on hold"
            problems.append(Problem(host, "package", name, what, f"run `apt-mark unhold {name}` on this host"))
    return problems


def check_units(host: str, seen: Mapping[str, Any], units: Mapping[str, tuple[str, int] | None]) -> list[Problem]:
    """No unit that the host will run is masked, and no other program has its port at its address."""
    problems = []
    for name, socket in units.items():
        unit = name if name.endswith(".socket") else f"{name}.service"
        if unit in seen["masked"]:
            problems.append(Problem(host, "unit", name, "is masked", f"run `systemctl unmask {name}` on this host"))
        for there in seen["listening"] if socket else ():
            address, port = socket
            if there["port"] == port and there["unit"] != unit and listening.overlap(there["address"], address):
                what = f"is needed by {name} and in use by {there['name']} (PID {there['pid']}, {there['unit'] or 'no unit'})"
                problems.append(Problem(host, "port", str(port), what, "stop it, or give it another port"))
    return problems


def check_ways(
    host: str, seen: Mapping[str, Any], ways: Sequence[tuple[str, str, int]], units: Mapping[str, tuple[str, int] | None]
) -> list[Problem]:
    """No other program has a port at an address where HAProxy is to answer. `ways`: service, address and port.

    One of our units may have it still, whose page moves it away; at its own address, check_units says it.
    """
    problems = []
    ours = {"haproxy.service", *(name if name.endswith(".socket") else f"{name}.service" for name in units)}
    for service, address, port in ways:
        own = [socket[0] for socket in units.values() if socket and socket[1] == port]
        for there in seen["listening"]:
            if there["port"] != port or there["unit"] in ours or not listening.overlap(there["address"], address):
                continue
            if not any(listening.overlap(there["address"], one) for one in own):
                other = f"{there['name']} (PID {there['pid']}, {there['unit'] or 'no unit'})"
                what = f"is needed by haproxy ({service}) and in use by {other}"
                problems.append(Problem(host, "port", str(port), what, "stop it, or give it another port"))
    return problems


def check_files(host: str, seen: Mapping[str, Any]) -> list[Problem]:
    """Every file that the run would write is one, or is not there: no link, directory or device."""
    return [Problem(host, "file", row["path"], row["what"], row["remedy"]) for row in seen.get("refused", ())]


def no_kvm(host: str, reason: str) -> Problem:
    """A host that must run guests with KVM and cannot."""
    what = f"KVM does not work on this host ({reason})"
    return Problem(host, "nova_compute_virt_type", "kvm", what, "set qemu, or auto, which tests KVM first")


def check_identities(identities: Mapping[str, str]) -> list[Problem]:
    """No two hosts have one compute_id, as clones of a machine do."""
    problems, seen = [], {}
    for host, identity in identities.items():
        if identity in seen:
            what, remedy = f"is also used by {seen[identity]}", "delete the file on the new host"
            problems.append(Problem(host, "/var/lib/nova/compute_id", identity, what, remedy))
        seen.setdefault(identity, host)
    return problems


def check_cluster_hosts(names: Mapping[str, str]) -> list[Problem]:
    """Several controllers call themselves as the inventory does: by these names, RabbitMQ's nodes find and verify each other."""
    problems = []
    for host, name in names.items():
        short = host.partition(".")[0]
        if name.partition(".")[0] != short:
            what = "is not the name in the inventory, by which the other controllers' RabbitMQ knows the host"
            problems.append(Problem(host, "hostname", name, what, f"run `hostnamectl set-hostname {short}` on this host"))
    return problems


def check_hostnames(names: Mapping[str, str]) -> list[Problem]:
    """No two hosts call themselves the same: Nova and Neutron know a host by its name, and their databases ignore its case."""
    problems, seen = [], {}
    for host, name in names.items():
        first, same = seen.setdefault(name.casefold(), (host, name))
        if first != host:
            what = f"is also the host name of {first}" + (f" ({same}): case does not matter" if same != name else "")
            problems.append(Problem(host, "hostname", name, what, f"run `hostnamectl set-hostname {host}` on this host"))
    return problems
