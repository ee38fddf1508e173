"""The inventory's variables against what the roles say of them: names, types, choices, bounds, forms, and names of files.

The roles' argument specs say what there is. Ansible looks at them when a role begins, long after the first change, and never
at a name that no role reads. Here everything is looked at before, on every host, without contacting one. Values of secrets,
and of what may hold one, are not shown.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common import validation
from ansible.module_utils.parsing.convert_bool import boolean
from jinja2 import TemplateError
from jinja2.runtime import missing

from kilonova.config import addresses as addresses_
from kilonova.config import checking, config_files, declared, inventories, listening, migration, overrides, plain, sources
from kilonova.config.conf import kind
from kilonova.onhost.masking import HIDDEN
from kilonova.problems import IMPOSSIBLE, Problem, merged, some
from kilonova.run import authorities, consistency, preflight, volumes

# What roles keep by set_fact, which a second run in one process may see.
FACTS = ("openstack_host",)
# Unread names begin with these too, but ours begin with a role's.
FAMILIES = ("nova", "neutron", "rabbit", "memcache")
# A name without such a beginning is taken for a misspelt one when it is as near as one letter in eight.
NEAR = 0.88
FORBIDDEN = {part: what for part, what in IMPOSSIBLE.items() if len(part) == 1}


# What a variable's template may end in; a filter of Ansible's has errors of its own.
UNREADABLE = (ValueError, TypeError, TemplateError, AnsibleError)
# PEM.
OF_SEVERAL_LINES = (authorities.AUTHORITY, authorities.KEY, authorities.PEERS, authorities.PEERS_KEY)
YOUNG = "several controllers are young: they cannot be replaced or become more yet; docs/controllers.md says what was seen"
URLS = ("openstack_internal_scheme", "openstack_internal_host", "openstack_auth_url")
MIGRATION_ADDRESS = "nova_compute_migration_address"
# What may be a name that a host must know, the most general one first.
NAMING = ("openstack_internal_host", "openstack_auth_url", "openstack_database_host", "openstack_rabbit_host")
ADDRESSES = ("openstack_management_address", "openstack_tunnel_address", MIGRATION_ADDRESS)


def check_inventory(inventory: inventories.Inventory, foreign: Iterable[str] = ()) -> tuple[list[Problem | str], list[str]]:
    """Everything that an inventory can be asked without its hosts; returns problems, and warnings.

    `foreign` has the names of variables that look like ours and are not.
    """
    problems, warnings = _check_inventory(inventory, foreign)
    hide = hider(inventory) if problems or warnings else str
    shown: list[Problem | str] = [
        replace(one, value=hide(one.value), what=hide(one.what), remedy=hide(one.remedy))
        if isinstance(one, Problem)
        else hide(one)
        for one in problems
    ]
    return shown, [hide(line) for line in warnings]


def hider(inventory: inventories.Inventory) -> Callable[[str], str]:
    """Return what hides every secret of an inventory in a text: the template of any variable may have used one."""
    names = {*declared.secrets(), *inventory.role_vars["openstack_foreign_secrets"]}
    found = set()
    for host in [host for group in preflight.GROUPS for host in inventory.groups.get(group, ())[:1]]:
        found |= {str(_found(inventory.host(host), name)) for name in names}
    # A shorter one is refused, and may be a part of any word.
    texts = sorted((text for text in found if len(text) >= preflight.SHORTEST), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, texts))) if texts else None
    return lambda text: pattern.sub(HIDDEN, text) if pattern else text


def _check_inventory(inventory: inventories.Inventory, foreign: Iterable[str]) -> tuple[list[Problem | str], list[str]]:
    problems = sources.check_keys(inventory)
    if problems:  # who knows what else these leave of the inventory
        return problems, []
    hosts = inventory.hosts()
    problems = preflight.check_groups(inventory.groups)
    if isinstance(foreign, str):
        what, remedy = "is a text, not a list", f"write [{foreign}]"
        problems.append(Problem("inventory", "preflight_foreign_variables", foreign, what, remedy))
        foreign = [name.strip() for name in foreign.split(",")]
    known = {host: inventory.host(host) for host in hosts}
    for release in dict.fromkeys(_text(known[host], "openstack_release") for host in hosts):
        problems += preflight.check_release(release, distributions(inventory))
    backends = inventory.role_vars["openstack_network_backends"]
    asked = {
        host: {"release": _found(values, "openstack_release"), "backend": str(_found(values, "openstack_network_backend"))}
        for host, values in known.items()
    }
    if not problems and len({str(row["release"]) for row in asked.values()}) == 1:  # several: consistency.check_shared says so
        problems += preflight.check_backends(asked, backends)
    unreadable = [problem for host in hosts for problem in _unreadable_addresses(known[host])]
    told = {(problem.where, problem.variable) for problem in unreadable}
    problems += unreadable
    problems += [
        problem
        for problem in preflight.check_addresses({host: addresses(known[host]) for host in hosts})
        if (problem.where, problem.variable) not in told
    ]
    several = len(inventory.groups.get("controllers", ())) > 1
    if several and not problems:
        problems += check_cluster(inventory, known)
    wrong, soon = check_certificates(known)
    problems += wrong
    secrets = declared.needed_secrets(inventory.groups)
    shared = {name: word for name, word in secrets.items() if name in declared.on_computes()}
    for group in preflight.GROUPS:
        for host in inventory.groups.get(group, ())[:1]:
            names = secrets
            if group == "computes":
                more = backends.get(asked[host]["backend"], {}).get("compute_secrets", ())
                names = {**shared, **{name: secrets[name] for name in more}}
            told = {problem.variable for problem in problems}
            found = unreadable_secrets(known[host], names, group)
            failing = {problem.variable for problem in found}
            values = {name: _found(known[host], name) for name in names if name not in failing}
            found += preflight.check_secrets(values, {name: names[name] for name in values}, group)
            for name, value in values.items():
                if isinstance(value, str) and inventories.is_changed_by_templates(value):
                    what = "looks like a list or a mapping, which ansible-core before 2.19 makes of it"
                    found.append(Problem(group, name, "", what, "choose another value, or install ansible-core 2.19"))
            problems += [problem for problem in found if problem.variable not in told]
    problems += check_foreign_secrets(inventory, known)
    if not problems:
        problems += tls(inventory)
    problems += check_names(inventory, hosts, foreign) + check_overrides(inventory, hosts)
    problems += consistency.check_files(inventory.directories, inventory.groups, foreign)
    problems += sources.check_overrides(inventory, hosts)
    if problems:  # what comes now needs a release, and would say much of this again
        return merged(problems), []
    problems += check_values(inventory, hosts) or consistency.check(inventory, hosts) or check_places(inventory, hosts)
    problems = problems or volumes.check_inventory(known, inventory.groups)
    problems = problems or migration.check_inventory({host: known[host] for host in inventory.groups["computes"]})
    if problems:
        return problems, []
    # With all that in order, every file can be made: is it one that its service reads as meant?
    problems = check_written(known)
    if problems:
        return problems, []
    complaints = checking.complaints(inventory)
    young = [YOUNG] if several else []
    return checking.lines(complaints, "error"), [*young, *soon, *checking.lines(complaints, "warning")]


def unreadable_secrets(host: inventories.Host, names: Iterable[str], where: str) -> list[Problem]:
    """Secrets that are set, and that Ansible cannot read; what it says of them may be a part of one."""
    found = []
    for name in names:
        if host.is_set(name) and _reading(host, name)[1]:
            said = sources.where(host.inventory, host.name, name)
            what = "cannot be read: its template fails, or it is encrypted and the password of ansible-vault is missing"
            remedy = f"correct it{' ' + said if said else ''}, write a text that has braces as !unsafe, or add --ask-vault-pass"
            found.append(Problem(where, name, "", what, remedy))
    return found


def unreadable(inventory: inventories.Inventory) -> list[Problem]:
    """The same of all secrets, on the first host of each group."""
    first = [(group, host) for group in preflight.GROUPS for host in inventory.groups.get(group, ())[:1]]
    return [problem for group, host in first for problem in unreadable_secrets(inventory.host(host), declared.secrets(), group)]


def has_tls(host: inventories.Host) -> bool:
    """Return whether the cloud of this host has TLS; what is neither true nor false is told elsewhere."""
    return boolean(_found(host, "openstack_tls"), strict=False)


def check_certificates(hosts: Mapping[str, inventories.Host]) -> tuple[list[Problem], list[str]]:
    """Return what is wrong with the certificates of hosts that have TLS, and warnings of those that end soon."""
    found = []
    for name, host in hosts.items():
        if has_tls(host):
            # The first host shows whether they are such at all; all of them on every host would cost more with each.
            held = _own_certificates(host) if found else _all_certificates(host)
            found.append(authorities.problems(name, held, _wanted(host), warn_days(host)))
    return [problem for wrong, _soon in found for problem in wrong], [line for _wrong, soon in found for line in soon]


def certificates_of(hosts: Mapping[str, inventories.Host]) -> tuple[authorities.Held, dict[str, dict[str, authorities.Wanted]]]:
    """Return the certificates that an inventory has, and what those of each host must be.

    Raises ValueError where the hosts do not have the same, or something that is not certificates.
    """
    first = _all_certificates(next(iter(hosts.values()))) if hosts else {}
    for name, value in first.items():
        if any(_has_another(host, name, value) for host in hosts.values()):
            raise ValueError(f"{name} is not the same for all hosts; set it in group_vars/all")
    return authorities.Held.of_variables(first), {name: _wanted(host) for name, host in hosts.items()}


def _has_another(host: inventories.Host, name: str, value: Any) -> bool:
    """Whether a host has another value than the first one, without looking through what is the same object."""
    try:
        found = host.find(name)
    except UNREADABLE:
        return value is not None
    found = None if found is missing else found
    return found is not value and found != value


def _all_certificates(host: inventories.Host) -> dict[str, Any]:
    """The variables that have all hosts' certificates, as a host sees them."""
    return {name: _found(host, name) for name in authorities.VARIABLES}


def _own_certificates(host: inventories.Host) -> dict[str, Any]:
    """The same with no certificates but the host's."""
    own = _found(host, "openstack_host_certificates") or {}
    shared = {name: _found(host, name) for name in (authorities.AUTHORITY, authorities.PEERS)}
    return {**shared, authorities.HOSTS: {host.name: own}}


def _wanted(host: inventories.Host) -> dict[str, authorities.Wanted]:
    """What a host's certificates must be."""
    return authorities.wanted(_found(host, "openstack_certificates"))


def warn_days(host: inventories.Host) -> int:
    """How many days before the end of a certificate to warn. What is not a number is told elsewhere."""
    days = str(_found(host, "openstack_tls_warn_days"))
    return int(days) if _is_number(days) and int(days) <= BOUNDS["openstack_tls_warn_days"][1] else 0


def certificates_group(host: inventories.Host) -> str:
    """Return the group in whose group_vars the certificates are."""
    return str(_found(host, "openstack_certificates_group"))


def check_cluster(inventory: inventories.Inventory, known: Mapping[str, inventories.Host]) -> list[Problem]:
    """Return what several controllers lack (preflight.check_cluster)."""
    first = known[inventory.groups["controllers"][0]]
    store = _found(first, "glance_store")
    shared = isinstance(store, Mapping) and boolean(store.get("shared", False), strict=False)
    asked = {
        "openstack_vip": _found(first, "openstack_vip"),
        "openstack_tls": has_tls(first),
        "openstack_network_backend": _found(first, "openstack_network_backend"),
        "is_shared": shared or _found(first, "glance_images") == "rbd",
    }
    return preflight.check_cluster(asked, {name: _found(host, "openstack_management_address") for name, host in known.items()})


def check_foreign_secrets(inventory: inventories.Inventory, known: Mapping[str, inventories.Host]) -> list[Problem]:
    """Passwords of external servers: there where one is used, and one that can be used."""
    problems = []
    for host in inventory.groups.get("controllers", ())[:1]:
        for name, user in inventory.role_vars["openstack_foreign_secrets"].items():
            value, needed = _found(known[host], name), _found(known[host], user)
            if needed and value in (None, ""):
                remedy = f"set it to the password of {user} = {needed}, best encrypted by ansible-vault"
                problems.append(Problem("controllers", name, "", "is not set", remedy))
            elif needed and (isinstance(value, bool) or not isinstance(value, (str, int, float))):
                problems.append(Problem("controllers", name, "", "is not a text", "write one in quotes"))
            elif not needed and value not in (None, ""):
                problems.append(Problem("controllers", user, "", f"is not set, and {name} is", f"set it, or remove {name}"))
            elif needed and not _found(known[host], "openstack_database_is_external"):
                what = "is not used: this run sets up MariaDB on the controller itself, as root over the local socket"
                remedy = f"remove it and {name}, or correct openstack_database_host"
                problems.append(Problem("controllers", user, str(needed), what, remedy))
        if _found(known[host], "openstack_rabbit_is_external") and "/" in str(_found(known[host], "openstack_rabbit_pass") or ""):
            what = "contains a slash, which oslo.messaging changes, and this run does not manage the account"
            problems.append(Problem("controllers", "openstack_rabbit_pass", "", what, "give the account a password without one"))
    return problems


def distributions(inventory: inventories.Inventory) -> Mapping[str, Mapping[str, str]]:
    """Return release -> the distribution that carries it."""
    return inventory.role_vars["openstack_distributions"]


def _found(host: inventories.Host, name: str) -> Any:
    """Return the value, or None if it is unset or its template fails; check_values reports the failure."""
    try:
        value = host.find(name)
    except UNREADABLE:
        return None
    return None if value is missing or inventories.first_undefined(value, host.inventory.whole) else value


def _text(host: inventories.Host, name: str) -> str | None:
    """The same as a text."""
    value = _found(host, name)
    return None if value is None else str(value)


def listened(host: inventories.Host) -> dict[str, Any]:
    """Return the addresses that a controller's APIs listen on, which must be its own."""
    found = _found(host, "openstack_api_addresses")
    return {f"openstack_api_addresses[{at}]": address for at, address in enumerate(found if isinstance(found, list) else ())}


def login(host: inventories.Host) -> dict[str, Any]:
    """Return the address by which Ansible reaches a host, which nothing may take away from it, by variable."""
    return {"ansible_host": _found(host, "ansible_host") or host.name}


def addresses(host: inventories.Host) -> dict[str, Any]:
    """Return a host's addresses that must be its own, by variable."""
    # The default of the last is the first, of which everything is said already.
    return {name: _found(host, name) for name in ADDRESSES if name != MIGRATION_ADDRESS or host.is_set(name)}


def tls(inventory: inventories.Inventory, told: Mapping[str, Any] | None = None) -> list[Problem]:
    """Check who is asked by https inside of the cloud; `told` is what the controller reported."""
    controller = inventory.groups["controllers"][0]
    if has_tls(inventory.host(controller)):
        return []
    management = str(_found(inventory.host(controller), "openstack_management_address"))
    own = [str(address) for address in addresses(inventory.host(controller)).values()]
    names = [controller, *own, *([told["hostname"]] if told else [])]
    hosts = {name: {variable: _found(inventory.host(name), variable) for variable in URLS} for name in inventory.hosts()}
    return preflight.check_tls(hosts, lambda host: listening.is_own(host, management, names, told))


def _unreadable_addresses(host: inventories.Host) -> list[Problem]:
    """Addresses that are set to something that is not an address: mostly templates of facts, or nothing."""
    found = []
    for name in ADDRESSES:
        if host.is_set(name):
            value, wrong = _reading(host, name)
            if value is None and not wrong and name != "openstack_management_address":  # which is said to be missing
                wrong = list(check_value(name, value, {}))
            found += [Problem(host.name, *row) for row in wrong]
    return found


def hosts(host: inventories.Host) -> dict[str, Any]:
    """Return the names by which a host reaches something, by variable; only the controller needs the database."""
    found = {name: addresses_.names_of([_found(host, name) or ""]) for name in NAMING}
    if host.name not in host.inventory.groups.get("controllers", ()):
        found.pop("openstack_database_host")
    return {name: texts[0] for name, texts in found.items() if texts}


def datapath(host: inventories.Host, seen: Mapping[str, Any]) -> str:
    """Return what openstack_host_datapath is going to be, once the host's facts are variables."""
    if host.find("openstack_network_backend") == "linuxbridge":
        return "linux"
    asked = str(host.find("openstack_datapath"))
    return asked if asked != "auto" else str(seen["datapath"])


def servers(host: inventories.Host) -> dict[str, tuple[str, str, str]]:
    """Return our servers that a host runs, by the variable that says where clients reach them: (server, host, listens)."""
    found = {}
    for role, server, variable in (
        ("mysql", "MariaDB", "openstack_database_host"),
        ("rabbitmq", "RabbitMQ", "openstack_rabbit_host"),
    ):
        # From the common address of several controllers, HAProxy leads there.
        if role in host.roles() and _found(host, variable) != _found(host, "openstack_vip"):
            found[variable] = server, str(host.find(variable)), str(host.find(f"{role}_bind_address"))
    return found


def packages(host: inventories.Host) -> list[str]:
    """Return the packages that a host is going to have."""
    return config_files.role_packages(host.roles(), host.find("openstack_release"))


def units(host: inventories.Host) -> dict[str, tuple[str, int] | None]:
    """Return the units that a host is going to run, with the address and port that each answers on."""
    found: dict[str, tuple[str, int] | None] = {}
    vip = _found(host, "openstack_vip")
    for role in host.roles():
        for name in inventories.unit_variables(role):
            for unit in host.find(name):
                if not unit.get("runs", True):
                    continue
                answers = "" if inventories.first_undefined(unit) else str(unit.get("answers") or "")
                parts = urlsplit(answers if "://" in answers else f"//{answers}")
                port = re.search(r":([0-9]+)(?:/[^:]*)?$", answers)  # an IPv6 address may be written without brackets
                if parts.hostname and parts.hostname == vip:
                    port = None  # what several controllers have together is no port of this host's own
                found[unit["name"]] = (parts.hostname or "*", int(port[1])) if port else found.get(unit["name"])
    return found


def ways(host: inventories.Host) -> list[tuple[str, str, int]]:
    """Return service, address and port of all that HAProxy is going to answer for on a host."""
    files = host.find("openstack_proxy_files") if "haproxy" in host.roles() else []
    said = [entry["variables"] for entry in files if not inventories.first_undefined(entry)]
    return [(one["service"], str(address), int(one["port"])) for one in said for address in one["addresses"]]


# ---------------------------------------------------------------------------------------------------------------- specs


@functools.cache
def specs() -> dict[str, dict[str, dict[str, Any]]]:
    """Return role -> option -> attributes, of all entry points."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(config_files.ROLES.glob("*/meta/argument_specs.yml")):
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))["argument_specs"].values()
        found[path.parts[-3]] = {name: attributes for entry in entries for name, attributes in entry["options"].items()}
    return found


# ---------------------------------------------------------------------------------------------------------------- forms


def _is_address(text: str) -> bool:
    return addresses_.parsed(text) is not None and "%" not in text


def _is_url(text: str, schemes: Iterable[str] = ("http", "https")) -> bool:
    try:
        parts = urlsplit(text)
        known = parts.scheme in schemes and addresses_.is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        return False
    # What no URL has (RFC 3986), and what would end a text in apt's files.
    return known and text.isascii() and not re.search(r"""[\s"'\\;<>{}|^`]""", text)


def _is_servers(text: str) -> bool:
    if re.search(r"\s", text):
        return False
    try:
        servers = text.split(",")
        return len(set(servers)) == len(servers) and all(addresses_.is_host(addresses_.split(server)[0]) for server in servers)
    except ValueError:
        return False


def _is_range(text: str) -> bool:
    first, _colon, last = text.partition(":")
    return _is_number(first) and _is_number(last) and 1 <= int(first) <= int(last) < 2**24


def _is_number(text: str) -> bool:
    """Whether a text has digits only, as every service reads them: not those of other scripts, which Python reads as well."""
    return bool(re.fullmatch("[0-9]{1,10}", text))


# End of a name, what its values are, what to write.
FORMS: tuple[tuple[str, Callable[[str], bool], str, str], ...] = (
    ("_address", _is_address, "is not an IP address", "write an address such as 10.0.0.11, without a prefix length"),
    ("_host", addresses_.is_host, "is not a host name or address", "write a name such as controller.example.org, or an address"),
    ("_url", _is_url, "is not a URL", "write one such as http://10.0.0.11:5000/v3"),
    (
        "_serialproxy_base_url",
        lambda text: _is_url(text, ("ws", "wss")),
        "is not the URL of a WebSocket",
        "write one such as wss://10.0.0.11:6083/",
    ),
    (
        "_memcached_servers",
        _is_servers,
        "is not a list of servers",
        "write host:port, e.g. 127.0.0.1:11211, with commas between servers",
    ),
    ("_memcached_servers", listening.are_ours, *preflight.OPEN_CACHE.split("; ")),
    (
        "_apt_proxy",
        lambda text: not text or (_is_url(text) and "@" not in text),
        "must be the URL of a proxy without a login",
        "write one such as http://proxy.example.org:3128; every user of the host can read it",
    ),
    (
        "_vhost",
        lambda text: text == "/" or bool(re.fullmatch(r"[\w.-]+", text, re.ASCII)),
        "is not a valid name of a virtual host",
        "write /, or letters, digits, dots, dashes and underscores, e.g. openstack",
    ),
    ("_vni_ranges", _is_range, "is not a range of network identifiers", "write first:last between 1 and 16777215, e.g. 1:1000"),
    (
        "_region",
        lambda text: bool(re.fullmatch(r"[\w.-]{1,255}", text, re.ASCII)),
        "is not a valid region name",
        "write letters, digits, dots, dashes and underscores, e.g. RegionOne",
    ),
    (
        "_rabbit_user",
        lambda text: bool(re.fullmatch(r"(?!guest$)[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}", text)),
        "is not a valid name for the RabbitMQ account (guest is removed)",
        "write another name, e.g. openstack",
    ),
)


def _form(name: str, text: str) -> tuple[str, str] | None:
    """What is wrong with a text by the end of its variable's name, and the remedy."""
    ends = [row[0] for row in FORMS if name.endswith(row[0])]
    for end, fits, what, remedy in FORMS:
        if end == max(ends, key=len, default="") and not fits(text):
            return what, remedy
    return None


# --------------------------------------------------------------------------------------------------------------- values


# Bounds of numbers that have others than "from 1": what is outside breaks services, or is a slip of the pen.
BOUNDS = {
    "openstack_workers": (1, 256),
    "openstack_tls_warn_days": (1, 3650),
    # A token has to outlive what is done with it: an instance is built with one, an image uploaded.
    "keystone_token_expiration": (300, 2678400),
    "mysql_max_connections": (10, 100000),
    "memcached_memory": (1, 1048576),
    "nova_controller_report_timeout": (1, 86400),
    "ceph_osds.id": (0, 32767),
    # Less is full before a volume is in it.
    "ceph_osds.size_gib": (5, 1048576),
    "ceph_osd_memory_mib": (896, 1048576),
    "ceph_copies": (1, 10),
}

_TYPES: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "int": (validation.check_type_int, "is not a whole number", "write one, e.g. 4"),
    "float": (validation.check_type_float, "is not a number", "write one, e.g. 1.5"),
    "bool": (validation.check_type_bool, "is neither true nor false", "write true or false"),
    "list": (validation.check_type_list, "is not a list", "write [first, second]"),
    "dict": (validation.check_type_dict, "is not a mapping", "write {name: value}"),
}


Wrong = tuple[str, str, str, str]
"""Name, shown value, what is wrong, remedy."""


def check_value(name: str, value: Any, attributes: Mapping[str, Any], hidden: bool = False) -> Iterator[Wrong]:
    """Yield what does not fit an option's attributes: a value, and those in it."""
    hidden = hidden or attributes.get("no_log", False) or config_files.mask(f"{name} = x") != f"{name} = x"
    shown = "" if hidden or isinstance(value, (Mapping, list, tuple)) else _without_login(name, config_files.mask(str(value)))
    if isinstance(value, bool):
        shown = shown.lower()
    wanted = attributes.get("type", "str")
    if value is None:
        # With all of its lines commented out, a mapping of overrides has none.
        if not name.endswith("_overrides"):
            yield name, "", "has no value (null)", "write one, or remove the line"
        return
    if wanted in _TYPES:
        convert, what, remedy = _TYPES[wanted]
        try:
            if isinstance(value, str) and wanted in ("list", "dict"):  # Ansible would take it, and roles its characters
                raise TypeError
            if isinstance(value, bool) and wanted in ("int", "float", "list", "dict"):
                raise TypeError
            # Files get the text as it is: 1e3, 5672.0 and +2 would stand there, too. And Python reads digits of every script.
            if wanted == "int" and (isinstance(value, float) or (isinstance(value, str) and not re.fullmatch("-?[0-9]+", value))):
                raise ValueError
            if wanted == "float" and isinstance(value, str) and not re.fullmatch(r"[-+0-9.eE]+", value.strip()):
                raise ValueError
            value = convert(value)
        except (TypeError, ValueError):
            yield name, shown, what, remedy
            return
    elif isinstance(value, (Mapping, list, tuple)):
        yield name, shown, f"is a {'mapping' if isinstance(value, Mapping) else 'list'}, not a text", "write one text"
        return
    elif not isinstance(value, str):
        what, example = f"is {kind(value)} to YAML", str(value)
        if isinstance(value, bool):
            what, example = "is true or false to YAML, which also reads yes, no, on and off that way", "yes" if value else "no"
        yield name, shown, f"{what}, not a text", "put the value in quotes" + ("" if hidden else f', e.g. "{example}"')
        return
    elif name not in OF_SEVERAL_LINES:
        for part, what in FORBIDDEN.items():
            if part in value:
                yield name, "", f"contains {what}", "write it on one line"
                return
    choices = attributes.get("choices")
    if choices and wanted != "list" and value not in choices:
        yield name, shown, f"must be one of {', '.join(map(str, choices))}", "set one of them"
    elif wanted == "int":
        low, high = BOUNDS.get(re.sub(r"\[\d+\]", "", name), (1, 65535) if name.endswith("_port") else (1, None))
        if value < low or (high is not None and value > high):
            limits = f"from {low} to {high}" if high else f"from {low}"
            yield name, shown, "is out of bounds", f"set a number {limits}"
    elif wanted == "str" and (wrong := _form(name, value)):
        yield name, shown, *wrong
    elif wanted == "list":
        inner = {"type": attributes.get("elements", "str"), "options": attributes.get("options"), "choices": choices}
        for number, item in enumerate(value):
            yield from check_value(f"{name}[{number}]", item, inner, hidden)
    elif wanted == "dict" and attributes.get("options"):
        yield from _check_parts(name, value, attributes["options"], hidden)


def _without_login(name: str, text: str) -> str:
    """Hide the password of user:password@host, with or without a scheme before it, and of a user:password."""
    text = re.sub(r"(?<![^\s/,])([^\s:/@]+:)(?!//)[^\s]+@", rf"\1{HIDDEN}@", text)
    return re.sub(":.*", f":{HIDDEN}", text) if name.endswith("_user") else text


def _check_parts(name: str, value: Mapping[str, Any], options: Mapping[str, Any], hidden: bool) -> Iterator[Wrong]:
    """The same for a mapping whose keys are known."""
    for key in value:
        if key not in options:
            yield name, "", f"has no key {key!r}", f"use {nearest(str(key), options)}"
    for key, attributes in options.items():
        if key in value:
            yield from check_value(f"{name}.{key}", value[key], attributes, hidden)
        elif attributes.get("required"):
            yield f"{name}.{key}", "", "is not set", "set it"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the name that was probably meant, or else all of them if they are few."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return near[0] if near else known[0] if len(known) == 1 else f"one of: {', '.join(known)}"


def check_values(inventory: inventories.Inventory, hosts: Iterable[str]) -> list[Problem]:
    """Every variable of every host's roles fits its spec. Secrets and addresses have checks of their own (preflight.py)."""
    secrets = {*declared.secrets(), *inventory.role_vars["openstack_foreign_secrets"]}
    checked_elsewhere = {*secrets, *ADDRESSES, "openstack_release"}
    found: dict[Wrong, list[str]] = {}
    followed: dict[Wrong, list[str]] = {}
    for name in hosts:
        host = inventory.host(name)
        for role in ("openstack", "preflight", *host.roles()):
            for variable, attributes in specs()[role].items():
                if variable not in checked_elsewhere:
                    for problem in _check_variable(host, variable, attributes):
                        (found if host.is_set(variable) else followed).setdefault(problem, []).append(name)
    # What is wrong with a default comes of something that was set.
    return [Problem(some(names), *problem) for problem, names in (found or followed).items()]


def _check_variable(host: inventories.Host, name: str, attributes: Mapping[str, Any]) -> Iterable[Wrong]:
    value, wrong = _reading(host, name)
    if wrong or value is missing or (value is None and not host.is_set(name)):
        return wrong
    return list(check_value(name, value, attributes))


def _reading(host: inventories.Host, name: str) -> tuple[Any, list[Wrong]]:
    """A variable's value (`missing` when it is the host's to say), and what keeps it from being read."""

    def place() -> str:
        said = sources.where(host.inventory, host.name, name)
        return f" {said}" if said else ""

    try:
        value = host.find(name)
    except UNREADABLE as error:
        return None, [(name, "", f"cannot be read: {error}", f"correct the template{place()}")]
    undefined = inventories.first_undefined(value).removeprefix(f"{name}: ")
    if not undefined:
        return value, []
    facts = inventories.facts_in(host.raw(name)) if host.is_set(name) else []
    if facts:
        what = f"uses {' and '.join(facts)}, and runs do not gather facts"
        return None, [(name, "", what, f"write the value itself{place()}")]
    # Of what the inventory has itself, only what names a host's report has to wait for it.
    if inventories.needs_host(undefined) and (not host.is_set(name) or "openstack_host" in f"{host.raw(name)} {undefined}"):
        return missing, []
    return None, [(name, "", f"cannot be read: {undefined}", f"define it, or correct the template{place()}")]


# ---------------------------------------------------------------------------------------------------------------- names


def check_names(inventory: inventories.Inventory, hosts: Iterable[str], foreign: Iterable[str] = ()) -> list[Problem]:
    """No variable of the inventory has our prefix without being read: not by a role, not by another variable."""
    options = {name for role in specs().values() for name in role}
    fixed = set(inventory.role_vars) - options
    begins = re.compile(rf"(?:{'|'.join([*specs(), *FAMILIES])})_")
    suspects: dict[str, list[str]] = {}
    read = set(map(str, foreign))
    seen: dict[int, Any] = {}
    endless: dict[str, list[str]] = {}
    for host in hosts:
        for name, value in {**inventory.variables(host), **inventory.extra}.items():
            if name in ("groups", "hostvars") or name.startswith("_"):  # Ansible's, and what tasks registered
                continue
            if id(value) not in seen:
                seen[id(value)] = value  # kept, so that its id stays its own
                try:
                    read |= _words(value)
                except RecursionError:
                    endless.setdefault(name, []).append(host)
            if name not in options and name not in FACTS and (name in fixed or begins.match(name) or _nearly(name, options)):
                suspects.setdefault(name, []).append(host)
    problems = [Problem(some(where), name, "", inventories.CONTAINS_ITSELF, "write it out") for name, where in endless.items()]
    for name, where in suspects.items():
        if name in fixed:
            what, remedy = "is internal data of a role, which an inventory cannot change", "remove it"
            problems.append(Problem(some(where), name, "", what, remedy))
        elif name not in read:
            near = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
            remedy = (f"write {near[0]}, or " if near else "") + "list it in preflight_foreign_variables if it is yours"
            problems.append(Problem(some(where), name, "", "is a variable that nothing reads", remedy))
    return problems


@functools.cache
def _owners() -> dict[str, frozenset[str]]:
    """Return variable -> the roles that have it.

    Not those that the data of the role openstack reads, which all hosts have; nor overrides, of which `check_written` says more.
    """
    shared = set().union(*(_words(inventories.variables_of("openstack", kind)) for kind in ("defaults", "vars")))
    found: dict[str, set[str]] = {}
    for role, options in specs().items():
        for name in options.keys() - shared - overrides.files_of().keys():
            found.setdefault(name, set()).add(role)
    return {name: frozenset(roles) for name, roles in found.items()}


def check_places(inventory: inventories.Inventory, hosts: Iterable[str]) -> list[Problem]:
    """No host has a variable of a role that only others have, and which those do not have with the same value."""
    roles = {host: frozenset(inventory.host(host).roles()) for host in hosts}
    deployed: frozenset[str] = frozenset().union(*roles.values())
    # Values of hosts that have the role, by their ids: those of a group are one object.
    used: dict[str, dict[int, Any]] = {}
    elsewhere: dict[str, list[tuple[str, Any]]] = {}
    for host in hosts:
        variables = inventory.variables(host)
        for name in variables.keys() & _owners().keys():
            if _owners()[name] & roles[host]:
                used.setdefault(name, {})[id(variables[name])] = variables[name]
            elif _owners()[name] & deployed:
                elsewhere.setdefault(name, []).append((host, variables[name]))
    problems = []
    for name, places in elsewhere.items():
        known = used.get(name, {})
        alone = [host for host, value in places if id(value) not in known and value not in known.values()]
        if alone:
            role = min(_owners()[name] & deployed)
            what = f"is a variable of the role {role}, which does not come to this host"
            remedy = f"set it for {some(sorted(host for host in roles if role in roles[host]))}, or remove it"
            problems.append(Problem(some(alone), name, "", what, remedy))
    return problems


@functools.cache
def _nearly_known(name: str, options: frozenset[str]) -> bool:
    return bool(difflib.get_close_matches(name, options, n=1, cutoff=NEAR))


def _nearly(name: str, options: Iterable[str]) -> bool:
    return not name.startswith("ansible_") and _nearly_known(name, frozenset(options))


def _words(value: Any) -> set[str]:
    """Every name in the templates of a value."""
    if isinstance(value, str):
        return set(re.findall(r"[A-Za-z_]\w*", value)) if "{{" in value or "{%" in value else set()
    if isinstance(value, Mapping):
        return set().union(*map(_words, value.values())) if value else set()
    if isinstance(value, (list, tuple)):
        return set().union(*map(_words, value)) if value else set()
    return set()


def _wrong_argument(name: str, value: Any) -> tuple[str, str] | None:
    """What is wrong with the value of an argument of memcached, and the remedy."""
    if value is None or isinstance(value, (bool, list, tuple)):
        return None
    if NUMBERED.fullmatch(name) and not re.fullmatch("[0-9]+", str(value)):
        return "is not a whole number", "write one"
    if not ARGUMENT.fullmatch(str(value)):
        return "contains what would begin another argument", "write one value without blanks or quotes"
    if name in ("-u", "--user") and str(value) in ("root", "0"):
        return "would let the cache run as root", "leave it out: it runs as memcache"
    return None


# Horizon's settings, which are Python's and Django's, and those that cannot be others: what is wrong, and the remedy.
SETTINGS = "_1000_kilonova.py"
FIXED = {
    **dict.fromkeys(
        ("WEBROOT", "STATIC_URL", "STATIC_ROOT", "COMPRESS_OFFLINE"),
        ("is fixed, because the package has made its pages with it", "leave it out"),
    ),
    "DEBUG": (
        "would show settings and tracebacks to anyone who asks",
        "leave it out; `journalctl --unit horizon` has errors on the host",
    ),
}
# What an option's name can be in files of programs that are not OpenStack's.
OPTIONS = {
    "rabbitmq.conf": r"[a-z][a-z0-9_]*(\.[A-Za-z0-9_$-]+)*",
    "99-openstack.cnf": r"[A-Za-z][A-Za-z0-9_-]*",
    # memcached 1.6: memcached.c, shortopts and longopts. Its long names may not be cut short here.
    "memcached.conf": r"-[AaBbCcDdFfIikLlMmNnoPpRrSstUuVvWXYZ]|-vv|logfile|--(port|unix-socket|enable-shutdown|unix-mask|listen"
    r"|daemon|enable-coredumps|user|memory-limit|disable-evictions|conn-limit|lock-memory|verbose|pidfile|slab-growth-factor"
    r"|slab-min-size|enable-largepages|threads|max-reqs-per-event|disable-cas|listen-backlog|protocol|max-item-size|enable-sasl"
    r"|disable-flush-all|disable-dumping|disable-watch|auth-file|extended|udp-port|napi-ids|enable-ssl)",
    SETTINGS: r"[A-Z][A-Z0-9_]*",
}
# What Debian's script gives to a shell with all other lines, so that a blank or a quote would make more arguments of it.
ARGUMENT = re.compile(r"[A-Za-z0-9_./:,=@+-]+")
NUMBERED = re.compile("-[cmtRbnU]|--(conn-limit|memory-limit|threads|max-reqs-per-event|listen-backlog|slab-min-size|udp-port)")
# The only section of files that have none.
ONE_SECTION = {"rabbitmq.conf": "DEFAULT", "memcached.conf": "DEFAULT"}
# Options that other variables set, and others must know the value of; those without a variable are fixed.
OWNED = {
    "99-openstack.cnf": {
        "bind-address": "mysql_bind_address",
        "skip-networking": "mysql_bind_address",
        "port": "openstack_database_port",
        "socket": "",
    },
    "rabbitmq.conf": dict.fromkeys(
        ("listeners.tcp", "listeners.tcp.openstack", "listeners.ssl", "listeners.ssl.openstack"),
        "rabbitmq_bind_address and openstack_rabbit_port",
    ),
    "memcached.conf": dict.fromkeys(("-l", "--listen", "-p", "--port", "-s", "--unix-socket"), "openstack_memcached_servers"),
    SETTINGS: {
        "SECRET_KEY": "openstack_horizon_secret_key",
        "ALLOWED_HOSTS": "horizon_allowed_hosts",
        "OPENSTACK_KEYSTONE_URL": "openstack_auth_url",
        "OPENSTACK_SSL_CACERT": "openstack_tls",
        "CONSOLE_TYPE": "nova_consoles",
    },
}
# Overrides that once were options, or sections, without a file: variable -> how deep they were, and how they are written.
FORMER = {
    "mysql_overrides": (1, "{{99-openstack.cnf: {{mysqld: {}}}}}"),
    "rabbitmq_overrides": (1, "{{rabbitmq.conf: {{DEFAULT: {}}}}}"),
    "tempest_overrides": (2, "{{tempest.conf: {}}}"),
}


def check_overrides(inventory: inventories.Inventory, hosts: Iterable[str]) -> list[Problem]:
    """Every file that is named in an override is one that the role writes, and what it has is in the form of that file."""
    found: dict[Wrong, list[str]] = {}
    for name in hosts:
        host = inventory.host(name)
        for problem in host.once("check_overrides", _wrong_overrides, host):
            found.setdefault(problem, []).append(name)
    return [Problem(some(names), *problem) for problem, names in found.items()]


def _wrong_overrides(host: inventories.Host) -> list[Wrong]:
    """What is wrong with a host's overrides."""
    found = []
    for name, files in overrides.files_of().items():
        try:
            value = host.find(name)
        except UNREADABLE:
            continue  # check_values says it
        if isinstance(value, Mapping):
            found += _check_files(name, value, files)
    return found


def _check_files(name: str, value: Mapping[str, Any], files: list[str]) -> Iterator[Wrong]:
    """What is wrong with one variable of overrides."""
    depth, form = FORMER.get(name, (0, ""))
    if depth and not set(value).intersection(files) and _is_shallow(value, depth):
        what = "has options without the file that they are for, as it once did"
        yield name, "", what, f"write {form.format(_outline(value))}"
        return
    writer = "any role" if name == overrides.OF_ALL else "this role"
    for file, sections in value.items():
        if file not in files and (role := overrides.written_whole().get((name, str(file)))):
            what = "is a file that takes no overrides, as variables make it whole"
            own = f"set variables of {role} instead (roles/{role}/defaults/main.yml)"
            yield name, str(file), what, own if inventories.variables_of(role, "defaults") else "remove it"
        elif file not in files:
            yield name, str(file), f"is not a file that {writer} writes", f"write {nearest(str(file), files)}"
        elif file in OPTIONS and isinstance(sections, Mapping):
            for section, options in sections.items():
                yield from _check_options(name, str(file), str(section), options)


def check_written(hosts: Mapping[str, inventories.Host]) -> list[Problem]:
    """Every file that an override names is written on one of the hosts that have the override."""
    asked: dict[tuple[str, str], list[str]] = {}
    written: set[tuple[str, str]] = set()
    for name, host in hosts.items():
        values = {variable: _found(host, variable) for variable in overrides.files_of() if host.is_set(variable)}
        own = {(variable, str(file)) for variable, value in values.items() if isinstance(value, Mapping) for file in value}
        for one in sorted(own):
            asked.setdefault(one, []).append(name)
        if own - written:
            written |= own & host.overridden()
    problems = []
    for (variable, file), names in asked.items():
        if (variable, file) not in written:
            release, backend = (hosts[names[0]].find(f"openstack_{name}") for name in ("release", "network_backend"))
            what = f"is not a file of these hosts with {release} and {backend}"
            remedy = "remove it, or set it for the hosts that have the file"
            problems.append(Problem(some(names), variable, file, what, remedy))
    return problems


def _is_shallow(value: Any, depth: int) -> bool:
    """Whether there are values, and not mappings, at a depth."""
    if depth == 0:
        return not isinstance(value, Mapping)
    return isinstance(value, Mapping) and any(_is_shallow(inner, depth - 1) for inner in value.values())


def _outline(value: Any) -> str:
    """A mapping's keys as YAML, without the values, which may be secrets."""
    if not isinstance(value, Mapping):
        return "null" if value is None else "..."
    names = [str(key) if re.fullmatch(r"[\w.$-]+", str(key)) else repr(str(key)) for key in value]
    return "{" + ", ".join(f"{name}: {_outline(inner)}" for name, inner in zip(names, value.values(), strict=True)) + "}"


def _usual(file: str, option: str) -> str:
    """An option's name as documentation has it; MariaDB reads others for the same."""
    return option.replace("_", "-").removeprefix("loose-") if file.endswith(".cnf") else option


def _check_options(name: str, file: str, section: str, options: Any) -> Iterator[Wrong]:
    """Invalid option names or values in a file of a program that is not OpenStack's."""
    if not isinstance(options, Mapping):
        if file in ONE_SECTION:
            yield name, f"{file} {section}", "is not in a section", f"write {{{ONE_SECTION[file]}: {{{section}: value}}}}"
        return  # of others, the file's own check says it
    if file == SETTINGS and section != "DEFAULT":  # what a setting has that is a mapping
        return
    for key, item in options.items():
        where = f"{file} [{section}]"
        if file == SETTINGS and key in FIXED:
            yield name, f"{where} {key}: {item}", *FIXED[key]
        elif not re.fullmatch(OPTIONS[file], str(key)):
            yield name, f"{where} {str(key)!r}", "is not a valid option name", "write one as its documentation has it"
        elif (owner := OWNED[file].get(_usual(file, str(key)))) is not None and plain.reads(file, section):
            if owner:
                shown = config_files.mask(f"{key}: {item}")
                yield name, f"{where} {shown}", f"is set by {owner}, as services must know it", "set that instead"
            else:
                yield name, f"{where} {key}: {item}", "is fixed, because this run logs in there as root", "leave it out"
        elif isinstance(item, Mapping) and file != SETTINGS:
            remedy = (
                f"write {{{key}.{next(iter(item), 'b')}: value}}, or one value" if file == "rabbitmq.conf" else "write one value"
            )
            yield name, f"{where} {key}", "is a mapping, not a value", remedy
        elif file == "memcached.conf" and (wrong := _wrong_argument(str(key), item)):
            yield name, f"{where} {key}: {item}", *wrong
        elif isinstance(item, (list, tuple)) and file in ONE_SECTION:
            remedy = (
                "write one entry for each, e.g. listeners.tcp.1 and listeners.tcp.2" if file == "rabbitmq.conf" else "write one"
            )
            yield name, f"{where} {key}", "is a list, not a value", remedy
