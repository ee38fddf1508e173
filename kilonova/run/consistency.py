"""What each variable of an inventory may be by itself and all cannot be together: ports, addresses, bridges, several hosts.

Here all variables are known to have the right type and form (run.variables). No host is contacted: what only a host can say,
as which interfaces it has, is looked at later (run.preflight).
"""

from __future__ import annotations

import difflib
import ipaddress
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.parsing.convert_bool import boolean

from kilonova.config import config_files, declared, inventories, listening, overrides, releases
from kilonova.config.addresses import is_host, is_loopback
from kilonova.config.conf import kind
from kilonova.problems import Problem, some
from kilonova.run import authorities

# Variables of the role openstack that a host may have for itself, as its addresses; all others are the same on all hosts.
PER_HOST = {
    "openstack_bridges",
    "openstack_bridge_mappings",
    "openstack_ip_forward",
    "openstack_datapath",
    "openstack_workers",
    "openstack_neutron_files",
}
# What every host listens on besides our services.
OTHER_PORTS = {22: "ssh", 4369: "epmd (of RabbitMQ)", 25672: "RabbitMQ's nodes"}
# Which variable gives a unit its port; the others have the port of their service.
PORT_VARIABLES = {
    "rabbitmq-server": "openstack_rabbit_port",
    "nova-novncproxy": "nova_controller_novncproxy_port",
    "nova-spicehtml5proxy": "nova_controller_spicehtml5proxy_port",
    "nova-serialproxy": "nova_controller_serialproxy_port",
    "mariadb": "openstack_database_port",
    "keystone": "openstack_auth_url",
    "memcached": "openstack_memcached_servers",
    "horizon": "horizon_port",
}
# Variable that says where a server listens -> variables that say where clients ask it, and its unit.
SERVERS = {
    "mysql_bind_address": ("openstack_database_host", "mariadb"),
    "rabbitmq_bind_address": ("openstack_rabbit_host", "rabbitmq-server"),
}
OUR_LISTENERS = ("listeners.tcp.openstack", "listeners.ssl.openstack")
KEYSTONE = 5000
# oslo.db's [database] max_pool_size; and each of these has `openstack_workers` processes: keystone, glance-api, placement-api,
# nova-api, nova-api-metadata, nova-conductor, nova-scheduler, neutron-api, neutron-rpc-server.
POOL, SERVICES = 5, 9
# Of Linux: IFNAMSIZ without its end.
LONGEST_NAME = 15
RESERVED_BRIDGES = ("br-int", "br-tun", "lo", "ovs-system", "ovs-netdev", "all", "default")
# What Networking, Compute and the kernel make for networks, routers, instances and tunnels.
RESERVED_BEGINNINGS = ("brq", "qbr", "qvb", "qvo", "qr-", "qg-", "sg-", "ha-", "tap", "genev_sys_", "vxlan_sys_", "gre_sys")
# libvirt 9.0 to 11: src/cpu_map. Each may have a suffix, as in EPYC-IBPB, Skylake-Server-v5 or Haswell-noTSX-IBRS.
CPU_MODELS = """
    486 athlon Broadwell Cascadelake-Server ClearwaterForest Conroe Cooperlake core2duo coreduo cpu64-rhel5 cpu64-rhel6
    Denverton Dhyana EPYC EPYC-Genoa EPYC-Milan EPYC-Rome EPYC-Turin GraniteRapids Haswell Icelake-Client Icelake-Server
    IvyBridge KnightsMill kvm32 kvm64 max n270 Nehalem Opteron_G1 Opteron_G2 Opteron_G3 Opteron_G4 Opteron_G5 Penryn pentium
    pentium2 pentium3 pentiumpro phenom qemu32 qemu64 SandyBridge SapphireRapids SierraForest Skylake-Client Skylake-Server
    Snowridge Westmere YongFeng cortex-a53 cortex-a57 cortex-a72 cortex-a76 a64fx neoverse-n1 neoverse-n2 neoverse-v1
    Kunpeng-920 Falkor ThunderX299xx FT-2000plus Tengyun-S2500 POWER8 POWER9 POWER10 POWER11
    """.split()  # noqa: SIM905 a list of this length reads better as words
CPU_SUFFIX = r"(-noTSX)?(-IBRS|-IBPB|-SSBD)?(-v[0-9]+)?"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)


def check(inventory: inventories.Inventory, hosts: Iterable[str]) -> list[Problem]:
    """Everything of this module; the first host is the controller."""
    hosts = list(hosts)
    problems = check_shared(inventory, hosts)
    if problems:  # what comes now would say it again for each that differs
        return problems
    known = known_addresses(inventory, hosts)
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for name in hosts:
        host = inventory.host(name)
        for row in (*_addresses(host, known), *_reached(host)):
            found.setdefault(row, []).append(name)
    if found:  # what is made of such an address is wrong with it
        return [Problem(some(names), *row) for row, names in found.items()]
    for name in hosts:
        host = inventory.host(name)
        for row in (*_bridges(host, known), *_mappings(host), *_cpu_model(host), *_screens(host)):
            found.setdefault(row, []).append(name)
    for name in inventory.groups.get("controllers", ())[:1]:
        host = inventory.host(name)
        networks = _flat_networks(inventory, hosts)
        for rows in (
            _bounds(host),
            _ports(host),
            _servers(host),
            _connections(host),
            _grants(host),
            _api_addresses(host),
            _urls(host),
            _plain_urls(host) if boolean(_value(host, "openstack_tls", False)) else _tls(host),
            _policies(host),
            _dashboard(host),
            _vendordata("openstack_vendordata", _value(host, "openstack_vendordata", {})),
            networks,
        ):
            for row in rows:
                found.setdefault(row, []).append(name)
        for where, row in _overlay(inventory, host, hosts):
            found.setdefault(row, []).append(where)
    return [Problem(some(names), *row) for row, names in found.items()]


Wrong = tuple[str, str, str, str]
"""Name, shown value, what is wrong, remedy."""


_value = inventories.Host.value


def _ip(value: Any) -> Any:
    """The text as an address, None if it is not one."""
    try:
        return ipaddress.ip_address(str(value).strip("[]"))
    except ValueError:
        return None


# --------------------------------------------------------------------------------------------------------- all hosts


def check_shared(inventory: inventories.Inventory, hosts: Iterable[str]) -> list[Problem]:
    """Every variable of the role openstack that is of the whole cloud has one value on all hosts."""
    from kilonova.run.variables import specs

    hosts = list(hosts)
    secrets = {*declared.secrets(), *inventory.role_vars["openstack_foreign_secrets"]}
    own = re.compile(r"(?<!_controller)_address(es)?$")
    names = [name for name in specs()["openstack"] if name not in PER_HOST and not own.search(name)]
    first: dict[str, tuple[str, Any]] = {}
    somewhere: set[str] = set()
    found: dict[Wrong, list[str]] = {}
    for name in hosts:
        host = inventory.host(name)
        for variable in names:
            value = _same(variable, _value(host, variable))
            if value is None:
                continue
            where, wanted = first.setdefault(variable, (name, value))
            if host.is_set(variable):
                somewhere.add(variable)
            if value != wanted:
                secret = variable in secrets
                shown, other = ("", "another value") if secret else (str(value), str(wanted))
                row = (variable, shown, f"{where} has {other}", "set one value for all hosts, in group_vars/all")
                found.setdefault(row, []).append(name)
    if any(row[0] == "openstack_release" for row in found):
        found = {row: names for row, names in found.items() if row[0] == "openstack_release"}
    # an unset one is made from others, which differ
    return [Problem(some(where), *row) for row, where in found.items() if row[0] in somewhere]


def _same(variable: str, value: Any) -> Any:
    """A value in the one form in which two are compared."""
    if value is None:
        return None
    if variable == "openstack_release":
        return releases.find(value).name
    return str(value) if not isinstance(value, (Mapping, list, tuple)) else value


def known_addresses(inventory: inventories.Inventory, hosts: Iterable[str]) -> dict[Any, str]:
    """Every address that the inventory gives to a host -> that host."""
    found = {}
    for name in hosts:
        host = inventory.host(name)
        texts = [_value(host, "openstack_management_address"), _value(host, "openstack_tunnel_address")]
        for bridge in _value(host, "openstack_bridges", ()):
            texts += [str(address).partition("/")[0] for address in bridge.get("addresses") or ()]
        found.update({address: name for address in map(_ip, texts) if address is not None})
    return found


# ----------------------------------------------------------------------------------------------------------- bridges


def _interface_address(text: str) -> Any:
    """An address with its prefix length, as `ip address` prints it; None for any other text."""
    try:
        return ipaddress.ip_interface(text) if re.fullmatch("[0-9A-Fa-f:.]+/[1-9][0-9]{0,2}", text) else None
    except ValueError:
        return None


def _interface(name: str) -> str:
    """What keeps a text from being the name of a network interface; empty when nothing does."""
    if not NAME.fullmatch(name) or name in (".", ".."):
        return "is not a valid interface name"
    if len(name) > LONGEST_NAME:
        return f"has {len(name)} characters, and an interface name has at most {LONGEST_NAME}"
    return ""


def _bridges(host: inventories.Host, known: Mapping[Any, str]) -> Iterator[Wrong]:
    bridges = _value(host, "openstack_bridges", [])
    for number, bridge in enumerate(bridges):
        where = f"openstack_bridges[{number}]"
        name = str(bridge["name"])
        yield from _bridge_name(f"{where}.name", name, bridge)
        ports = [str(port) for port in bridge.get("ports") or ()]
        for at, port in enumerate(ports):
            wrong = _interface(port)
            if wrong:
                yield f"{where}.ports[{at}]", port, wrong, "write the name of an interface as `ip link` shows it, e.g. eth1"
            elif (
                port == name
                or port in RESERVED_BRIDGES
                or port.startswith(RESERVED_BEGINNINGS)
                or port in [str(other["name"]) for other in bridges]
            ):
                yield f"{where}.ports[{at}]", port, "is a bridge or an interface of the system", "name an interface of the host"
            elif port in ports[:at]:
                yield f"{where}.ports[{at}]", port, "is listed twice", "name each interface once"
        if boolean(bridge.get("secure", False)) and len(ports) != 1:
            what = f"has {len(ports)} ports, and a secure bridge connects one port and the host only"
            yield f"{where}.ports", ", ".join(ports), what, "leave one port, or set secure to false"
        yield from _bridge_addresses(where, bridge, host, known)
    for (first, one), (second, two) in combinations(enumerate(bridges), 2):
        if one.get("datapath") and two.get("datapath") and one["datapath"] != two["datapath"]:
            continue  # only one of them is made
        if one["name"] == two["name"]:
            what = f"is also the name of openstack_bridges[{first}]"
            yield f"openstack_bridges[{second}].name", str(two["name"]), what, "merge the two entries"
        for port in set(map(str, one.get("ports") or ())) & set(map(str, two.get("ports") or ())):
            if one["name"] != two["name"]:
                what = f"is also a port of {one['name']}"
                yield f"openstack_bridges[{second}].ports", port, what, "an interface joins one bridge: remove it from the other"
        if one.get("tunnels") and two.get("tunnels") and _value(host, "openstack_network_backend") == "linuxbridge":
            what = f"is a second bridge with tunnels, as {one['name']} is, and the kernel cannot tell their tunnels apart"
            yield f"openstack_bridges[{second}].name", str(two["name"]), what, "give tunnels to one bridge of the host only"
            continue
        for part, remedy in (
            ("addresses", "write each address once"),
            ("tunnels", "two bridges cannot share a tunnel: remove one"),
        ):
            texts = [[str(text).partition("/")[0] for text in bridge.get(part) or ()] for bridge in (one, two)]
            for address in sorted({*map(_ip, texts[0])} & {*map(_ip, texts[1])} - {None}, key=str):
                yield f"openstack_bridges[{second}].{part}", str(address), f"is also among the {part} of {one['name']}", remedy


def _bridge_name(variable: str, name: str, bridge: Mapping[str, Any]) -> Iterator[Wrong]:
    wrong = _interface(name)
    if wrong:
        remedy = f"write at most {LONGEST_NAME} letters, digits, dots, dashes and underscores, e.g. br-provider"
        yield variable, name, wrong, remedy
    elif name in RESERVED_BRIDGES or name.startswith(RESERVED_BEGINNINGS):
        yield variable, name, "is created and used by Networking or the system", "choose another name, e.g. br-provider"
    elif bridge.get("tunnels") and len(f"{name}-{len(bridge['tunnels'])}") > LONGEST_NAME:
        what = f"is too long for the names of its tunnels, {name}-1 and so on, of at most {LONGEST_NAME} characters"
        yield variable, name, what, "choose a shorter name"


def _bridge_addresses(where: str, bridge: Mapping[str, Any], host: inventories.Host, known: Mapping[Any, str]) -> Iterator[Wrong]:
    addresses = [str(address) for address in bridge.get("addresses") or ()]
    for at, text in enumerate(addresses):
        address = _interface_address(text)
        what, remedy = "", "write an address with its prefix length, e.g. 198.51.100.1/24"
        if address is None:
            what = "is not an address with a prefix length"
        elif not address.ip.is_link_local and unreachable(address.ip):
            what = "is not an address that an interface can have"
        elif address.network.prefixlen < address.max_prefixlen - 1 and address.ip == address.network.network_address:
            what = "is the address of the network, not of a host in it"
        elif address.version == 4 and address.network.prefixlen < 31 and address.ip == address.network.broadcast_address:
            what = "is the network's broadcast address, not of a host in it"
        elif address.ip in [other.ip for other in map(_interface_address, addresses[:at]) if other]:
            what, remedy = "is listed twice", "write each address once"
        elif known.get(address.ip, host.name) != host.name and not bridge.get("datapath"):
            what, remedy = f"is also an address of {known[address.ip]}", "give each host its own address"
        if what:
            yield f"{where}.addresses[{at}]", text, what, remedy
    tunnels = [str(peer) for peer in bridge.get("tunnels") or ()]
    for at, text in enumerate(tunnels):
        address, what, remedy = _ip(text), "", "write the address of another host, as its openstack_tunnel_address"
        if address is None:
            what = "is not an IP address"
        elif known.get(address) == host.name:
            what = "is an address of this host"
        elif address not in known:
            what = "is not an address of a host in the inventory"
        elif text in tunnels[:at]:
            what, remedy = "is listed twice", "name each host once"
        elif known[address] in [known.get(_ip(other)) for other in tunnels[:at]]:
            what, remedy = f"is an address of {known[address]}, to which this bridge has a tunnel", "name each host once"
        if what:
            yield f"{where}.tunnels[{at}]", text, what, remedy


def _mappings(host: inventories.Host) -> Iterator[Wrong]:
    mappings = _value(host, "openstack_bridge_mappings", {})
    made = [str(bridge["name"]) for bridge in _value(host, "openstack_bridges", [])]
    for network, bridge in mappings.items():
        wrong = _physical_network(str(network))
        if wrong:
            yield "openstack_bridge_mappings", str(network), wrong, "write letters, digits, dots, dashes and underscores"
        elif str(bridge) not in made:
            near = difflib.get_close_matches(str(bridge), made, n=1, cutoff=0.6)
            remedy = f"write {near[0]}, or add it there" if near else "add it there, with the interface that joins it"
            yield f"openstack_bridge_mappings.{network}", str(bridge), "is not a bridge of openstack_bridges", remedy
    twice = [bridge for bridge in mappings.values() if list(mappings.values()).count(bridge) > 1]
    if twice:
        what = f"names the bridge {twice[0]} twice, and Networking allows one network per bridge"
        yield "openstack_bridge_mappings", ", ".join(map(str, mappings)), what, "give each physical network its own bridge"


def _physical_network(name: str) -> str:
    if not NAME.fullmatch(name):
        return "is not a valid name of a physical network"
    return "has more than 64 characters" if len(name) > 64 else ""


def _flat_networks(inventory: inventories.Inventory, hosts: Iterable[str]) -> Iterator[Wrong]:
    variable = "neutron_controller_flat_networks"
    controller = inventory.host(inventory.groups["controllers"][0])
    mapped = {str(network) for name in hosts for network in _value(inventory.host(name), "openstack_bridge_mappings", {})}
    yield from _networks_of_overrides(inventory, hosts, mapped)
    for at, network in enumerate(_value(controller, variable, []) if controller.is_set(variable) else ()):
        network = str(network)
        if network == "*" or network in mapped:
            continue
        wrong = _physical_network(network) or "is not in any host's openstack_bridge_mappings"
        near = difflib.get_close_matches(network, mapped, n=1, cutoff=0.6) or sorted(mapped)
        remedy = f"write {near[0]}, or map it to a bridge" if near else "map it to a bridge there"
        yield f"{variable}[{at}]", network, wrong, remedy


def _networks_of_overrides(inventory: inventories.Inventory, hosts: Iterable[str], mapped: set[str]) -> Iterator[Wrong]:
    """Physical networks that only an override names are mapped too: by the variable, or by an override of an agent's file."""
    controller = inventory.host(inventory.groups["controllers"][0])
    if not any(controller.is_set(name) for name in overrides.files_of()):
        return
    known = set(mapped)
    for name in hosts:
        for end, section, option in (
            ("/openvswitch_agent.ini", "ovs", "bridge_mappings"),
            ("/linuxbridge_agent.ini", "linux_bridge", "physical_interface_mappings"),
            ("/linuxbridge_agent.ini", "linux_bridge", "bridge_mappings"),
        ):
            known |= {pair.partition(":")[0] for pair in _items((_written(inventory.host(name), end, section) or {}).get(option))}
    own = map(str, _value(controller, "neutron_controller_flat_networks", []))
    for section, option, ours in (
        ("ml2_type_flat", "flat_networks", {*own, "*"}),
        ("ml2_type_vlan", "network_vlan_ranges", set()),
    ):
        for text in _items((_written(controller, "/ml2_conf.ini", section) or {}).get(option)):
            network = text.partition(":")[0]
            if network not in known | ours:
                what = "is not in any host's openstack_bridge_mappings"
                yield f"/etc/neutron/plugins/ml2/ml2_conf.ini [{section}] {option}", network, what, "map it to a bridge there"


def _items(value: Any) -> list[str]:
    """The parts of an option that is a list with commas."""
    texts = value if isinstance(value, (list, tuple)) else [value or ""]
    return [part.strip() for text in texts for part in str(text).split(",") if part.strip()]


# ------------------------------------------------------------------------------------------------ ports and addresses


def _ports(host: inventories.Host) -> Iterator[Wrong]:
    """No two services of the controller want one port."""
    from kilonova.run.variables import units

    taken: dict[int, str] = dict(OTHER_PORTS)
    # fixed ports first: the other one has to give way
    for unit, there in sorted(units(host).items(), key=lambda pair: host.is_set(PORT_VARIABLES.get(pair[0], ""))):
        if there is None:
            continue
        _address, port = there
        if port in taken:
            variable = PORT_VARIABLES.get(unit, "port")
            what = f"is the port of {taken[port]} on this host, and {unit} needs its own port"
            yield variable, str(port), what, "set another port"
        taken.setdefault(port, unit)
    for option, value in (_written(host, "/rabbitmq.conf", "DEFAULT") or {}).items():
        port = str(value).rpartition(":")[2]
        if option.startswith("listeners.") and option not in OUR_LISTENERS and port.isdecimal() and int(port) in taken:
            what = f"is the port of {taken[int(port)]} on this host, and a listener needs its own port"
            yield "rabbitmq_overrides", f"rabbitmq.conf [DEFAULT] {option}: {value}", what, "set another port"


def _written(host: inventories.Host, end: str, *sections: str) -> dict[str, Any] | None:
    """What sections of the host's file whose path has this end say, option by option; None if the file cannot be made."""
    try:
        entry = next((entry for entry in host.files() if str(entry["path"]).endswith(end)), None)
        found = config_files.sections_of(entry) if entry else {}
    except (ValueError, KeyError):
        return None  # the file's own check says why
    return {option: value for section in sections for option, (value, _layer) in found.get(section, {}).items()}


# Options whose values have the bounds of a variable, also where an override sets them: end of the file's path, section, option.
BOUND = (
    ("/keystone.conf", "token", "expiration", "keystone_token_expiration"),
    ("/ml2_conf.ini", "ml2_type_vxlan", "vni_ranges", "neutron_controller_vni_ranges"),
    ("/ml2_conf.ini", "ml2_type_geneve", "vni_ranges", "neutron_controller_vni_ranges"),
    ("/nova.conf", "DEFAULT", "osapi_compute_workers", "openstack_workers"),
    ("/nova.conf", "DEFAULT", "metadata_workers", "openstack_workers"),
    ("/nova.conf", "conductor", "workers", "openstack_workers"),
    ("/nova.conf", "scheduler", "workers", "openstack_workers"),
    ("/glance-api.conf", "DEFAULT", "workers", "openstack_workers"),
    ("/neutron.conf", "DEFAULT", "api_workers", "openstack_workers"),
    ("/neutron.conf", "DEFAULT", "rpc_workers", "openstack_workers"),
    *(
        (f"/{api}-uwsgi.ini", "uwsgi", "processes", "openstack_workers")
        for api in ("keystone", "glance-api", "placement-api", "nova-api", "nova-api-metadata", "neutron-api", "horizon")
    ),
)


def _bounds(host: inventories.Host) -> Iterator[Wrong]:
    from kilonova.run.variables import check_value, specs

    known = {name: attributes for role in specs().values() for name, attributes in role.items()}
    for end, section, option, variable in BOUND:
        for text in _items((_written(host, end, section) or {}).get(option)):
            # Networking does without workers, if it is told to; what another option says is not known here.
            if "$" in text or (text == "0" and variable == "openstack_workers"):
                continue
            for _name, shown, what, remedy in check_value(variable, text, known[variable]):
                yield f"{end[1:]} [{section}] {option}", shown, what, remedy


def _servers(host: inventories.Host) -> Iterator[Wrong]:
    """Each server listens where it is asked, when that is this host."""
    from kilonova.run.variables import units

    own = {_ip(_value(host, name)) for name in ("openstack_management_address", "openstack_tunnel_address")}
    own |= {_ip(_value(host, "openstack_controller_address"))}
    running = units(host)
    for variable, (asked, unit) in SERVERS.items():
        bind = _ip(_value(host, variable))
        if bind is None or bind.is_unspecified or unit not in running:
            continue
        text = str(_value(host, asked, ""))
        address = _ip(text)
        if address is not None and address == _ip(_value(host, "openstack_vip")):
            continue  # HAProxy leads from there to where it listens
        missed = not bind.is_loopback if address is None else address != bind
        if not ((address in own or is_loopback(text)) and missed):
            continue
        if host.is_set(variable) or not host.is_set(asked):
            what = f"is not where the services reach {unit}, which is {text} ({asked})"
            yield variable, str(bind), what, f"set {text}, or 0.0.0.0 for all addresses of the host"
        else:
            what = f"is not where {unit} listens, which is {bind} ({variable})"
            yield asked, text, what, f"set {bind}, or change {variable} as well"


# What MariaDB takes where nothing is set.
MARIADB_CONNECTIONS = 151


def _connections(host: inventories.Host) -> Iterator[Wrong]:
    if "mysql" not in host.roles():
        return
    workers = int(_value(host, "openstack_workers", 1))
    written = _written(host, "/99-openstack.cnf", "mysqld", "server", "mariadb", "mariadbd")
    if written is None:
        return
    # MariaDB takes dashes and underscores for the same, and the last line counts.
    texts = [str(value) for name, value in written.items() if name.replace("-", "_") == "max_connections"]
    if not all(text.isdecimal() for text in texts):
        return  # the file's own check says why
    most = [int(text) for text in texts]
    most = most[-1] if most else MARIADB_CONNECTIONS
    needed = POOL * SERVICES * workers
    if most < needed:
        what = f"is too low: {SERVICES} services with {workers} workers keep {POOL} connections each"
        yield "mysql_max_connections", str(most), what, f"set at least {needed}, or lower openstack_workers"


def _grants(host: inventories.Host) -> Iterator[Wrong]:
    """The accounts of the database may come from where the services are: from the controller."""
    variable = "openstack_database_grant_hosts"
    patterns = [str(pattern) for pattern in _value(host, variable, [])]
    if not patterns:
        yield variable, "", "is empty, so no service could log in to the database", "add the controller's address"
        return
    for pattern in patterns:
        if not _is_grant(pattern):
            what = "is not an address, and MariaDB resolves no names (skip-name-resolve)"
            yield variable, pattern, what, "write localhost, an address, or a pattern such as 10.0.0.%"
            return
        network = _network(pattern)
        if "/" in pattern and network is None:
            what = "is not the address of an IPv4 network with a netmask, the only form that MariaDB reads"
            yield variable, pattern, what, "write one such as 10.0.0.0/255.255.255.0, or a pattern such as 10.0.0.%"
            return
        if network is not None and re.search("/[0-9]+$", pattern) and not _value(host, "openstack_database_is_external"):
            yield variable, pattern, "has a prefix length, and MariaDB reads netmasks only", f"write {network.with_netmask}"
            return
    asked = _ip(_value(host, "openstack_database_host", ""))
    if asked is None or not (asked.is_loopback or asked == _ip(_value(host, "openstack_management_address"))):
        return  # an external server, or a name: the addresses of clients are not known here
    if not any(_grants_to(pattern, asked) for pattern in patterns):
        what = f"has no entry that matches {asked}, from which the services log in"
        yield variable, ", ".join(patterns), what, f"add {asked}"


def _is_grant(pattern: str) -> bool:
    """Whether an account may be for this: localhost, an address, a pattern of addresses, or a network, right or wrong."""
    if pattern == "localhost" or _ip(pattern) is not None:
        return True
    return bool(re.fullmatch(r"[0-9a-fA-F:.]*[%_][0-9a-fA-F:.%_]*|[0-9a-fA-F:.]+/[0-9.]+", pattern, re.ASCII))


def _network(pattern: str) -> Any:
    """An IPv4 network with netmask or prefix length; None for anything else, as with bits of a host in it."""
    try:
        return ipaddress.IPv4Network(pattern) if "/" in pattern else None
    except ValueError:
        return None


def _grants_to(pattern: str, address: Any) -> bool:
    """Whether an account `user`@`pattern` of MariaDB may come from the address."""
    if "/" in pattern:
        return address in (_network(pattern) or ())
    if _ip(pattern) is not None:
        return bool(_ip(pattern) == address)
    expression = re.escape(pattern.lower()).replace("%", ".*").replace("_", ".")
    return bool(re.fullmatch(expression, str(address)))


def _without_login(url: str) -> str:
    return re.sub(r"//.*@", "//", url)


def _urls(host: inventories.Host) -> Iterator[Wrong]:
    """The URLs of the Identity service are ones at which it answers."""
    management = str(_value(host, "openstack_management_address", ""))
    names = [host.name, *map(str, known_addresses(host.inventory, [host.name]))]
    for variable in ("openstack_auth_url", "openstack_public_auth_url"):
        text = str(_value(host, variable, ""))
        parts = urlsplit(text)
        shown = _without_login(text)
        if not text:  # only the host knows it
            continue
        if "@" in parts.netloc:
            yield variable, shown, "contains a user or password", "remove it; services log in with their own accounts"
        elif not parts.path.rstrip("/").endswith("/v3") or parts.query or "#" in text:
            yield variable, shown, "does not end in /v3, the version of the API", f"write {parts.scheme}://{parts.netloc}/v3"
        elif (
            variable == "openstack_auth_url"
            and parts.port != KEYSTONE
            and listening.is_own(parts.hostname, management, names, None)
        ):
            yield variable, shown, f"does not have Keystone's port on the controller, {KEYSTONE}", f"write port {KEYSTONE}"
        elif (
            parts.port == KEYSTONE
            and parts.path.rstrip("/") != "/v3"
            and listening.is_own(parts.hostname, management, names, None)
        ):
            what = f"does not have the path of Keystone on the controller, /v3, at port {KEYSTONE}"
            yield variable, shown, what, f"write {parts.scheme}://{parts.netloc}/v3"
    for variable in PUBLIC:
        text = str(_value(host, variable, ""))
        parts = urlsplit(text)
        if not text:
            continue
        if "@" in parts.netloc:
            yield variable, _without_login(text), "contains a user or password", "remove it; users log in with their own accounts"
        elif parts.query or "#" in text:
            yield variable, text, "has a query or a fragment, to which no client can add a path", "remove what begins with ? or #"
        elif variable == "openstack_public_compute_url" and not parts.path.rstrip("/").endswith("/v2.1"):
            shown = parts._replace(path=f"{parts.path.rstrip('/')}/v2.1").geturl()
            yield variable, text, "does not end in /v2.1, the version of the API", f"write {shown}"


def _tls(host: inventories.Host) -> Iterator[Wrong]:
    """Public endpoints with https do not lead to a service itself, at the address and port where it answers in plain HTTP."""
    listens = [*map(listening.canonical, _value(host, "openstack_api_addresses", ()))]
    for variable, role in {"openstack_public_auth_url": "keystone", **PUBLIC}.items():
        parts = urlsplit(str(_value(host, variable, "")))
        port = declared.declarations()[role]["ports"][0]["port"]
        if parts.scheme != "https" or parts.port != port or listening.canonical(parts.hostname) not in listens:
            continue
        what = f"no service on the controller speaks TLS, and {parts.netloc} is where one answers in plain HTTP"
        remedy = "set openstack_tls to true, or name the host that terminates TLS in front of it"
        if host.is_set(variable):
            yield variable, parts.geturl(), what, remedy
        else:
            yield "openstack_public_scheme", "https", what, f"{remedy} in openstack_public_host"
            return


def _plain_urls(host: inventories.Host) -> Iterator[Wrong]:
    """With openstack_tls, nothing asks the controller itself in plain HTTP: what HAProxy answers for speaks TLS only."""
    management = str(_value(host, "openstack_management_address", ""))
    names = [host.name, *map(str, known_addresses(host.inventory, [host.name]))]
    what, remedy = "is plain HTTP, and openstack_tls is true, with which {} speaks TLS only", "remove it, or write https"
    for variable, at in (("openstack_internal_scheme", "internal"), ("openstack_public_scheme", "public")):
        name = str(_value(host, f"openstack_{at}_host", ""))
        if (
            host.is_set(variable)
            and _value(host, variable) == "http"
            and name
            and listening.is_own(name, management, names, None)
        ):
            yield variable, "http", what.format(name), remedy
    ports = {role: service["ports"][0]["port"] for role, service in declared.declarations().items() if service.get("ports")}
    roles = {"openstack_auth_url": "keystone", "openstack_public_auth_url": "keystone", **PUBLIC}
    for variable, role in roles.items():
        text = str(_value(host, variable, "")) if host.is_set(variable) else ""
        parts = urlsplit(text)
        if (
            parts.scheme == "http"
            and parts.port == ports[role]
            and listening.is_own(parts.hostname or "", management, names, None)
        ):
            yield variable, text, what.format(parts.netloc), remedy


def _screens(host: inventories.Host) -> Iterator[Wrong]:
    """The URLs of consoles have the scheme that the proxy speaks, and no login, which every user would see."""
    controller = host.inventory.host(host.inventory.groups["controllers"][0])
    management = str(_value(controller, "openstack_management_address", ""))
    for variable, port_variable in SCREENS.items():
        text = str(_value(host, variable, "")) if host.is_set(variable) else ""
        parts = urlsplit(text)
        if "@" in parts.netloc:
            yield variable, _without_login(text), "contains a user or password", "remove it: each user would see it"
        port = _value(controller, port_variable)
        if parts.scheme not in PLAIN or str(parts.port) != str(port) or not boolean(_value(host, "openstack_tls", False)):
            continue
        if listening.is_own(parts.hostname or "", management, [controller.name], None):
            plain, encrypted = PLAIN[parts.scheme]
            what = f"is {plain}, and openstack_tls is true, with which {parts.netloc} speaks TLS only"
            yield variable, text, what, f"remove it, or write {encrypted}"


def _api_addresses(host: inventories.Host) -> Iterator[Wrong]:
    """The APIs listen at addresses, each once, and not where only the controller itself could ask them."""
    variable = "openstack_api_addresses"
    texts = [str(text) for text in _value(host, variable, ())] if host.is_set(variable) else None
    if texts is None:
        return
    if not texts:
        yield variable, "", "is empty, so no API would be reached", "add the controller's address"
    remedy = "write an address of the controller, e.g. its openstack_management_address"
    for at, text in enumerate(texts):
        address = _ip(text)
        if address is None:
            yield f"{variable}[{at}]", text, "is not an IP address", remedy
        elif text in texts[:at]:
            yield f"{variable}[{at}]", text, "is listed twice", "write each address once"
        elif address.is_unspecified:
            yield f"{variable}[{at}]", text, "is not an address of the controller", "list each address that the APIs listen on"
        elif not address.is_loopback and (what := unreachable(address)):
            yield f"{variable}[{at}]", text, what, remedy
    if texts and len(host.inventory.hosts()) > 1 and all(getattr(_ip(text), "is_loopback", False) for text in texts):
        yield variable, ", ".join(texts), "is where only the controller itself can ask the APIs", "add its address"


def _vendordata(where: str, data: Any) -> Iterator[Wrong]:
    """The data that guests are given can be written as JSON."""
    remedy = "write texts, numbers, true or false, lists and mappings; put the text in quotes"
    if isinstance(data, Mapping):
        for key, value in data.items():
            if not isinstance(key, str):
                yield f"{where}.{key}", "", f"has a name that is {kind(key)} to YAML, not a text", "put the name in quotes"
            yield from _vendordata(f"{where}.{key}", value)
    elif isinstance(data, (list, tuple)):
        for at, value in enumerate(data):
            yield from _vendordata(f"{where}[{at}]", value)
    elif isinstance(data, float) and not math.isfinite(data):
        yield where, "", "is not a number that JSON can hold", remedy
    elif not (data is None or isinstance(data, (str, bool, int, float))):
        yield where, "", f"is {kind(data)} to YAML, which JSON cannot hold", remedy


def _policies(host: inventories.Host) -> Iterator[Wrong]:
    """Rules of policies are ones that oslo.policy can read: for others it only logs an error, and denies the request."""
    for variable in POLICIES:
        rules = _value(host, variable, {})
        for name, rule in rules.items() if isinstance(rules, Mapping) else ():
            if not isinstance(name, str) or not name.strip():
                what = f"has the rule {name!r}, which is not a name"
                yield variable, str(rule), what, "write a name such as os_compute_api:servers:create"
            elif not isinstance(rule, str):
                what = f"is not a text, as the rule {name} must be"
                yield variable, str(rule), what, 'write a rule such as "role:member", "@" (everybody) or "!" (nobody)'
            elif what := wrong_rule(rule):
                remedy = 'write checks such as "role:member" with and, or, not and parentheses, "@" (everybody) or "!" (nobody)'
                yield variable, rule, f"{what}, in the rule {name}", remedy


def wrong_rule(rule: str) -> str:
    """What is wrong with a check string of oslo.policy; empty when nothing is. An empty check string admits everyone."""
    words = []
    for word in rule.split():
        bare = word.lstrip("(")
        inner = bare.rstrip(")")
        # A parenthesis may be a part of a check, as in %(project_id)s, but not at its end.
        words += ["("] * (len(word) - len(bare)) + [inner] * bool(inner) + [")"] * (len(bare) - len(inner))
    depth, wants = 0, True
    for word in words:
        if wants and word.lower() == "not":
            continue
        if wants and word == "(":
            depth += 1
        elif wants and (word in ("@", "!") or ":" in word.strip(":")):
            wants = False
        elif not wants and word.lower() in ("and", "or"):
            wants = True
        elif not wants and word == ")" and depth:
            depth -= 1
        else:
            return f"{word!r} stands where {'a check' if wants else '`and` or `or`'} must"
    if words and wants:
        return "ends where a check must stand"
    return "has a parenthesis that is not closed" if depth else ""


# Endpoints that users are given, besides the Identity service's: each service declares its variable.
PUBLIC = {
    variable: role
    for role, service in declared.services().items()
    for variable in re.findall(r"\w+_url", str(service.get("identity", {}).get("endpoints", {}).get("public", "")))
    if role != "keystone"
}
POLICIES = tuple(f"{role}_policy" for role, service in declared.services().items() if "identity" in service)


def _dashboard(host: inventories.Host) -> Iterator[Wrong]:
    """The dashboard answers where users ask for it, and its sessions are in the host's memcached."""
    if "horizon" not in host.roles():
        return
    variable = "horizon_allowed_hosts"
    names = [str(name) for name in _value(host, variable, [])]
    for at, name in enumerate(names):
        if "*" in name:
            what = "would let a request name any host, and links in answers lead there"
            yield f"{variable}[{at}]", name, what, "list the names that browsers ask by"
        elif not is_host(name):
            what = "is not a host name or address"
            yield f"{variable}[{at}]", name, what, "write a name such as dashboard.example.org, without a scheme or a port"
    public = str(_value(host, "openstack_public_host", ""))
    if host.is_set(variable) and public and public not in names:
        what = f"does not have openstack_public_host ({public}), so the dashboard would refuse who asks for it there"
        yield variable, ", ".join(names), what, f"add {public}"
    yield from _sessions(host)


def _sessions(host: inventories.Host) -> Iterator[Wrong]:
    """What overrides make of the cache that has the dashboard's sessions."""
    variable = "horizon_overrides"
    try:
        entry = next(entry for entry in host.files() if str(entry["path"]).endswith("/_1000_kilonova.py"))
        layers = config_files.layers_of(entry)
    except (ValueError, KeyError, StopIteration):
        return  # the file's own check says why
    settings = {section: {name: value for name, (value, _) in options.items()} for section, options in layers.items()}
    caches = {**(settings["DEFAULT"].get("CACHES") or {}), **settings.get("CACHES", {})}
    cache = caches.get("default") if isinstance(caches, Mapping) else None
    cache = cache if isinstance(cache, Mapping) else {}
    backend, location = str(cache.get("BACKEND", "")), cache.get("LOCATION", "")
    servers = [str(one) for one in (location if isinstance(location, (list, tuple)) else re.split("[,;]", str(location)))]
    if not str(settings["DEFAULT"].get("SESSION_ENGINE", "")).endswith(".cache"):
        return
    if not backend.endswith(".PyMemcacheCache"):
        what = "is not memcached, where all processes of the dashboard find a session"
        yield variable, f"_1000_kilonova.py CACHES default BACKEND: {backend}", what, "leave it out: memcached runs on the host"
    elif not all(map(listening.are_ours, servers)):
        what = "is not on the loopback interface, and who can read it there can act as any user who has logged in"
        shown = f"_1000_kilonova.py CACHES default LOCATION: {', '.join(servers)}"
        yield variable, shown, what, "leave it out, or write 127.0.0.1:11211"


# URLs that users are given for consoles -> the variable with the port of the proxy there.
SCREENS = {
    "nova_compute_novncproxy_base_url": "nova_controller_novncproxy_port",
    "nova_compute_spicehtml5proxy_base_url": "nova_controller_spicehtml5proxy_port",
    "nova_compute_serialproxy_base_url": "nova_controller_serialproxy_port",
}
# Schemes without encryption -> what they are, and the one to write.
PLAIN = {"http": ("plain HTTP", "https"), "ws": ("a plain WebSocket", "wss")}

# Addresses that other hosts or users are given.
REACHED = (
    "openstack_internal_host",
    "openstack_public_host",
    "openstack_auth_url",
    "openstack_public_auth_url",
    "openstack_rabbit_host",
    *SCREENS,
    *PUBLIC,
)


def _reached(host: inventories.Host) -> Iterator[Wrong]:
    """Addresses that other hosts and users are given can be reached. Loopback will do where there is only one host."""
    alone = len(host.inventory.hosts()) == 1
    for variable in (*REACHED, "openstack_database_host"):
        text = str(_value(host, variable, "")) if host.is_set(variable) else ""
        name = (urlsplit(text).hostname or "") if variable.endswith("_url") else text
        address = _ip(name)
        if name and is_loopback(name) and not getattr(address, "is_unspecified", False):
            if variable in REACHED and not alone:
                what = "means the local machine on every host and for every user"
                yield variable, _without_login(text), what, "set a name or address of the controller that all of them can reach"
        elif address is not None and (what := unreachable(address)):
            yield variable, _without_login(text), what, "set a name or address that the other hosts can reach"


ADDRESSES = (
    "openstack_management_address",
    "openstack_tunnel_address",
    "nova_compute_migration_address",
    "openstack_controller_address",
)


def _addresses(host: inventories.Host, known: Mapping[Any, str]) -> Iterator[Wrong]:
    """An address is one that other hosts can reach, and the controller's is not another host's."""
    controller = host.inventory.groups["controllers"][0]
    for variable in ADDRESSES:
        text = str(_value(host, variable, "")) if host.is_set(variable) else ""
        address = _ip(text)
        if address is not None and (what := unreachable(address)):
            yield variable, text, what, "set the host's address on that network"
        elif variable == "openstack_controller_address" and known.get(address, controller) != controller:
            yield variable, text, f"is an address of {known[address]}", f"set an address of {controller}"


def unreachable(address: Any) -> str:
    """Why other hosts cannot reach an address; empty when they may."""
    if getattr(address, "ipv4_mapped", None):
        return f"is the IPv4 address {address.ipv4_mapped} in IPv6 form, which no interface has"
    if address.is_link_local:
        return "is a link-local address (169.254.0.0/16 or fe80::/10), which hosts assign to themselves"
    first_zero = address.version == 4 and int(address) < 2**24
    if address.is_unspecified or address.is_loopback or address.is_multicast or address.is_reserved or first_zero:
        return "is not an address that other hosts can reach"
    return ""


def _overlay(inventory: inventories.Inventory, controller: inventories.Host, hosts: Iterable[str]) -> Iterator[tuple[str, Wrong]]:
    """The ends of all tunnels have the version that the server expects ([ml2] overlay_ip_version); with the host."""
    wanted = str((_written(controller, "/ml2_conf.ini", "ml2") or {}).get("overlay_ip_version", 4))
    for name in hosts:
        text = _value(inventory.host(name), "openstack_tunnel_address")
        address = _ip(text)
        if address is not None and wanted in ("4", "6") and str(address.version) != wanted:
            what = f"is IPv{address.version}, and Networking expects IPv{wanted} ([ml2] overlay_ip_version)"
            remedy = f"give every host an IPv{wanted} address for tunnels, or set that option"
            yield name, ("openstack_tunnel_address", str(text), what, remedy)


def _cpu_model(host: inventories.Host) -> Iterator[Wrong]:
    variable = "nova_compute_qemu_cpu_model"
    text = str(_value(host, variable, "")) if host.is_set(variable) else ""
    if not text:
        return
    base = [model for model in CPU_MODELS if re.fullmatch(re.escape(model) + CPU_SUFFIX, text)]
    if not base:
        near = difflib.get_close_matches(text, CPU_MODELS, n=1, cutoff=0.6)
        near = near or [model for model in CPU_MODELS if model.lower() == text.lower()]
        remedy = f"write {near[0]}" if near else "write one that `virsh cpu-models` lists on a compute node, e.g. qemu64"
        yield variable, text, "is not a CPU model that libvirt knows", remedy


# ------------------------------------------------------------------------------------------------------------- files


BACKUPS = ("~", ".bak", ".orig", ".old", ".save", ".swp")


def check_files(directories: Iterable[Path], groups: Mapping[str, Iterable[str]], foreign: Iterable[str] = ()) -> list[Problem]:
    """Every file of group_vars and host_vars is of a group or host that there is: Ansible does not read the others."""
    listed = set(map(str, foreign))
    names = {"group_vars": {*groups, "all", "ungrouped"}, "host_vars": {host for hosts in groups.values() for host in hosts}}
    problems = []
    for directory in dict.fromkeys(directories):
        for path in sorted(directory.glob("*/")):
            near = difflib.get_close_matches(path.name.lower().replace("-", "_"), names, n=1, cutoff=0.85)
            if near and path.name not in names and path.name not in listed:
                wrong = f"is a directory that Ansible does not read, and {near[0]} is one that it does"
                remedy = f"rename it to {near[0]}, or list it in preflight_foreign_variables"
                problems.append(Problem("inventory", path.name, "", wrong, remedy))
        for place, known in names.items():
            problems += [Problem("inventory", f"{place}/{name}", "", *wrong) for name, *wrong in _hidden_files(directory / place)]
            for path in sorted((directory / place).glob("*")) if (directory / place).is_dir() else ():
                name = path.name if path.is_dir() else path.stem if path.suffix in (".yml", ".yaml", ".json") else path.name
                if path.name.startswith(".") or path.name.endswith(BACKUPS) or name in known or f"{place}/{path.name}" in listed:
                    continue
                if path.is_dir() and [file.name for file in path.glob("[!.]*")] == [authorities.FILE]:
                    continue  # certificates of another sandbox, say: openstack_certificates_group
                what = "group" if place == "group_vars" else "host"
                if path.is_file() and path.stem in known and not path.suffix[1:].isdecimal():
                    wrong = "Ansible reads files without an ending, and .yml, .yaml and .json"
                    remedy = f"rename it to {path.stem}.yml, or remove it, or list it in preflight_foreign_variables"
                    problems.append(Problem("inventory", f"{place}/{path.name}", "", wrong, remedy))
                    continue
                near = [one for one in known if _first_label(one) == _first_label(name)]
                near = near or difflib.get_close_matches(name, known, 1, 0.8)
                if near:
                    remedy = f"rename it to {near[0]}{path.suffix if not path.is_dir() else ''}, or remove it, or list it in "
                    wrong = f"there is no {what} {name!r}, so nothing reads it"
                    problem = Problem("inventory", f"{place}/{path.name}", "", wrong, f"{remedy}preflight_foreign_variables")
                    problems.append(problem)
    return problems


READ = ("", ".yml", ".yaml", ".json")


def _hidden_files(directory: Path) -> Iterator[tuple[str, str, str]]:
    """Files of group_vars or host_vars that look as if Ansible read them: name, what is wrong, remedy.

    Of a group's directory and files, Ansible reads the first that is there and no other, in the order of READ; below a directory,
    files with one of these endings, in small letters.
    """
    if not directory.is_dir():
        return
    for name in sorted({path.name.removesuffix(path.suffix if path.suffix in READ else "") for path in directory.glob("[!.]*")}):
        there = [path for path in (directory / f"{name}{ending}" for ending in READ) if path.exists()]
        for path in there[1:]:
            wrong = f"Ansible does not read it, because {there[0].name}{'/' * there[0].is_dir()} is there, which it reads instead"
            into = f"move it to {name}/main{path.suffix}" if there[0].is_dir() else f"merge it into {there[0].name}"
            if there[0].is_dir() and (there[0] / f"main{path.suffix}").exists():
                into = f"merge it into {name}/main{path.suffix}"
            yield path.name, wrong, into
    for path in sorted(directory.glob("*/**/*")):
        ending = path.suffix.lower()
        inner = Path(path.stem).suffix
        if path.is_dir() or path.name.startswith(".") or path.name.endswith(BACKUPS) or path.suffix in READ:
            continue
        if ending in READ or inner in READ[1:]:
            right = path.stem if inner in READ[1:] else f"{path.stem}{ending}"
            wrong = "Ansible reads files without an ending, and .yml, .yaml and .json"
            yield str(path.relative_to(directory)), wrong, f"rename it to {right}, or move it elsewhere"


def _first_label(name: str) -> str:
    """A host's name without its domain, as any case of it means."""
    return name.lower().partition(".")[0]
