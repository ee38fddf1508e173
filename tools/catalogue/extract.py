"""Print every option that one release of Nova registers, as JSON. Runs inside recreate.py's search path.

    PYTHONPATH=<unpacked packages of the series>:<base> python extract.py SERIES > options.json

Only definitions are imported, no service is started. Two things make twenty releases run on one modern
Python: `compat` gives back names that Python has dropped since, and `Stubs` stands in for packages that the
option modules import but that define no option (eventlet, SQLAlchemy, kombu ...). A default that came from a
stub would not be plain data, and `plain` refuses it, so neither can change a definition unseen.
"""

from __future__ import annotations

import abc
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import itertools
import json
import os
import re
import sys
import types as pytypes
from typing import Any

# ---------------------------------------------------------------------------------------------- old code, new Python

# split: eighty words read better without quotes and commas
STUBS = frozenset(
    """
    alembic amqp barbicanclient bcrypt cachetools cffi cgi cinderclient confluent_kafka cotyledon cryptography cursive
    dateutil decorator distutils dogpile eventlet fasteners futurist glanceclient greenlet hvac imp importlib_metadata
    jinja2 jsonpatch jsonschema jwt kafka keystoneclient kombu lxml memcache microversion_parse migrate monotonic
    netifaces neutronclient openstack opentelemetry os_client_config os_traits os_win oslo_metrics oslo_rootwrap
    oslo_upgradecheck oslo_vmware ovs ovsdbapp paramiko paste pika pika_pool positional prettytable prometheus_client
    proton pycadf pymemcache pyngus pyroute2 pytz redis repoze retrying routes setproctitle sqlalchemy statsd tenacity
    testscenarios testtools threadloop tooz tornado webob websockify yappi zmq
    """.split()  # noqa: SIM905 a list of this length reads better as words
)

# Where a package's version chooses between definitions: what the release really ran with.
VERSIONS = {"dogpile": "0.9.2"}


class _Meta(abc.ABCMeta):
    """A class that has whatever attribute is asked for, and that may be used as a bare decorator."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and isinstance(args[0], pytypes.FunctionType):
            return args[0]
        return super().__call__(*args, **kwargs)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return _Meta(name, (Stub,), {"__module__": cls.__module__})

    def __iter__(cls):
        return iter(())

    def __or__(cls, other):
        return cls

    __ror__ = __and__ = __lt__ = __gt__ = __or__

    def __getitem__(cls, key):
        return cls


class Stub(metaclass=_Meta):
    """Whatever the code of an absent package would have been: a class, a decorator, an exception."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __init_subclass__(cls, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return args[0] if args and callable(args[0]) else self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return Stub()

    def __iter__(self):
        return iter(())

    def __getitem__(self, key):
        return self

    def __bool__(self):
        # "is eventlet patched?": no
        return False

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return False


class Stubs(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """First finder on sys.meta_path: empty modules for the packages in STUBS, whether they are installed or not."""

    def find_spec(self, name, path=None, target=None):
        # a package or a module of one
        if any(part in STUBS for part in itertools.accumulate(name.split("."), "{}.{}".format)):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = pytypes.ModuleType(spec.name)
        module.__path__ = []

        def attribute(name: str) -> Any:
            if name.startswith("__") and name.endswith("__"):
                raise AttributeError(name)
            # exceptions must stay usable in `except` clauses and as bases
            if name.endswith(("Error", "Exception", "Timeout", "NotFound")):
                value = type(name, (Exception,), {})
            else:
                value = _Meta(name, (Stub,), {"__module__": spec.name})
            setattr(module, name, value)
            return value

        module.__getattr__ = attribute
        module.__version__ = VERSIONS.get(spec.name, "99.0.0")
        return module

    def exec_module(self, module):
        pass


class AsyncNames(importlib.abc.MetaPathFinder):
    """Loads modules that use `async` as a name (oslo.messaging's ZeroMQ driver until Queens)."""

    def find_spec(self, name, path=None, target=None):
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec and "zmq_driver" in name and spec.origin and spec.origin.endswith(".py"):
            spec.loader = _AsyncLoader(name, spec.origin)
            return spec
        return None


class _AsyncLoader(importlib.machinery.SourceFileLoader):
    def get_data(self, path):
        data = super().get_data(path)
        return data.replace(b" async", b" async_").replace(b".async", b".async_") if path.endswith(".py") else data

    def set_data(self, *args, **kwargs):
        pass


def compat() -> None:
    """Give back what Python dropped, and take away what would make a default depend on this machine."""
    import collections
    import collections.abc
    import gettext
    import inspect
    import logging
    import platform
    import socket
    import ssl
    import tempfile

    for name in collections.abc.__all__:
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
    if not hasattr(inspect, "getargspec"):
        inspect.getargspec = inspect.getfullargspec
    if not hasattr(inspect, "ArgSpec"):
        inspect.ArgSpec = inspect.FullArgSpec
    for name in ("wrap_socket", "match_hostname"):
        if not hasattr(ssl, name):
            setattr(ssl, name, None)
    if not hasattr(logging, "warn"):
        logging.warn = logging.warning
    if not hasattr(platform, "linux_distribution"):
        platform.linux_distribution = lambda *a, **k: ("", "", "")
    # old callers pass codeset=, gone since 3.11
    find = gettext.translation
    gettext.translation = lambda *a, codeset=None, **k: find(*a, **k)
    socket.gethostname = socket.getfqdn = lambda *a: "localhost"
    tempfile.gettempdir = lambda: "/tmp"
    tempfile.tempdir = "/tmp"
    os.cpu_count = lambda: 1
    sys.meta_path[:0] = [Stubs(), AsyncNames()]


# ---------------------------------------------------------------------------------------------- who lists options

# As in Nova's own etc/nova/nova-config-generator.conf, plus what its dependencies register at run time
# (os_vif, os_brick, castellan's backends). Absent ones are named in ABSENT below, never skipped silently.
LISTS = (
    "nova.conf.opts:list_opts",
    "oslo_log._options:list_opts",
    "oslo_messaging.opts:list_opts",
    "oslo_policy.opts:list_opts",
    "oslo_db.options:list_opts",
    "oslo_db.concurrency:list_opts",  # until oslo.db 17
    "oslo_cache._opts:list_opts",
    "oslo_concurrency.opts:list_opts",
    "oslo_middleware.opts:list_opts",
    "oslo_middleware.opts:list_opts_basic_auth",  # since Wallaby
    "oslo_middleware.opts:list_opts_tracing",  # since 2026.1
    "oslo_reports.opts:list_opts",
    "oslo_limit.opts:list_opts",  # since Ussuri
    "oslo_versionedobjects._options:list_opts",
    "oslo_config._list_opts:list_opts",
    "keystonemiddleware.auth_token._opts:list_opts",
    "keystonemiddleware.audit:list_opts",  # since Stein
    "osprofiler.opts:list_opts",
    "os_brick.opts:list_opts",  # since Zed
    "os_brick.initiator.connectors.lightos:list_opts",  # since Xena
    "castellan.options:list_opts",
)

# Sections that oslo.privsep's contexts name (cfg_section in nova.privsep, os_brick.privileged, vif_plug_*.privsep).
PRIVSEP = ("nova_sys_admin", "privsep_osbrick", "vif_plug_linux_bridge_privileged", "vif_plug_ovs_privileged")
VIF_PLUGINS = {
    "os_vif_linux_bridge": "vif_plug_linux_bridge.linux_bridge:LinuxBridgePlugin",
    "os_vif_ovs": "vif_plug_ovs.ovs:OvsPlugin",
}
# What libraries register when they run, beside what they publish or somewhere else. All of it is read from a file.
RUNTIME = (
    ("oslo_messaging_rabbit", "oslo_messaging._drivers.base:base_opts"),  # until 2024.2; published for [DEFAULT] (see MISPLACED)
    ("keystone_authtoken", "keystonemiddleware.auth_token._auth:OPTS"),  # until 2026.1
    ("audit_middleware_notifications", "keystonemiddleware.audit:_AUDIT_OPTS"),  # published since Zed
)
# Sections to which a module adds keystoneauth's own options, as long as it imports keystoneauth1.loading.
KEYSTONEAUTH = {
    "castellan.key_manager.barbican_key_manager": ("barbican", ("session",)),
    "castellan.key_manager.vault_key_manager": ("vault", ("session",)),  # until 2024.1
    "oslo_limit.opts": ("oslo_limit", ("auth_common", "session")),  # and the plugin that auth_type names
}
# oslo.messaging publishes the pool of its drivers for [DEFAULT]; only the ZeroMQ driver, until Rocky, registers it there.
# rpc_conn_pool_size of [DEFAULT] is a deprecated name of the RabbitMQ driver's.
MISPLACED = ("rpc_conn_pool_size", "conn_pool_min_size", "conn_pool_ttl")
AUTH = "{auth:%s}"
"""Pseudo-section: the options of an auth plugin, valid in each section that chooses it by `auth_type`."""

SOURCE = "{source}"
"""Pseudo-section: options of the sections that [DEFAULT] config_source names."""


def load(entry: str) -> Any:
    """Return `name` of "module:name", or None when this release does not have it yet or any more."""
    module, name = entry.split(":")
    try:
        return getattr(importlib.import_module(module), name, None)
    except ModuleNotFoundError as error:
        # the module itself, or a package that holds it; anything else that is missing is a fault of ours
        if error.name and (module + ".").startswith(error.name + "."):
            return None
        raise


def listed() -> list[tuple[str, Any]]:
    """Return (section, option) of everything that Nova and its libraries register, the binding ones first."""
    found: list[tuple[str, Any]] = []

    def add(section: Any, options: Any) -> None:
        name = getattr(section, "name", section) or "DEFAULT"
        found.extend((str(name), option) for option in options if not ignored(option))

    import nova.conf

    conf = nova.conf.CONF
    set_defaults(conf)
    register_dynamic(conf)
    add("DEFAULT", [held["opt"] for held in conf._opts.values()])
    for group in conf._groups.values():
        add(group.name, [held["opt"] for held in group._opts.values()])
    elsewhere = misplaced()
    for entry in LISTS:
        lister = load(entry)
        for section, options in lister() if lister else ():
            add(section, [option for option in options if (section, option.name) not in elsewhere])
    for section, entry in RUNTIME:
        add(section, load(entry) or ())
    for module, (section, kinds) in KEYSTONEAUTH.items():
        loading = load(module + ":loading")
        for kind_ in kinds if loading else ():
            add(section, getattr(loading, f"get_{kind_}_conf_options")())
    cors = load("oslo_middleware.cors:CORS")
    if "list_all_sections" in cors._init_conf.__code__.co_names:  # until 2025.2: any section named so
        add("cors.*", load("oslo_middleware.cors:CORS_OPTS"))
    # not by their list_opts, which start a threading backend
    for name in ("eventlet_backdoor_opts", "service_opts", "periodic_opts"):
        add("DEFAULT", load("oslo_service._options:" + name))
    privsep = load("oslo_privsep.priv_context:OPTS")
    for section in PRIVSEP:
        add(section, privsep)
    for section, entry in VIF_PLUGINS.items():
        plugin = load(entry)  # linux_bridge: until os-vif 4
        if plugin:
            add(section, plugin.CONFIG_OPTS)
    for name, loader in sorted(auth_plugins().items()):
        add(AUTH % name, [option._to_oslo_opt() for option in loader().get_options()])
    return found


def misplaced() -> set[tuple[str | None, str]]:
    """Return (section, option) of what oslo.messaging publishes for a section in which nothing reads it."""
    zmq = load("oslo_messaging._drivers.zmq_driver.zmq_options:zmq_opts")
    return {(None, name) for name in MISPLACED if name == "rpc_conn_pool_size" or not zmq}


def auth_plugins() -> dict[str, Any]:
    """Return keystoneauth's loaders by the names that auth_type takes, those of its extras too."""
    found = importlib.metadata.entry_points(group="keystoneauth1.plugin")
    return {entry.name: load(entry.value) for entry in found}


def ignored(option: Any) -> bool:
    """Say whether Nova registers the option only to ignore it: [neutron] interface (nova/conf/utils.py, _dummy_opt)."""
    return isinstance(option.type, pytypes.FunctionType) and option.type("x") is None


def set_defaults(conf: Any) -> None:
    """Give the libraries' options the defaults that Nova gives them: exchange, CORS headers, policy file.

    Not by nova.config.set_lib_defaults, which imports the database layer.
    """
    load("oslo_messaging:set_transport_defaults")("nova")
    cors = load("nova.middleware:set_defaults") or load("nova.common.config:set_middleware_defaults")
    cors()
    policy = os.path.join(os.path.dirname(importlib.util.find_spec("nova").origin), "policy.py")
    with open(policy, encoding="utf-8") as file:
        text = file.read()
    name = re.search(r"^DEFAULT_POLICY_FILE = '(.+)'", text, re.M)
    if name:  # Victoria to 2024.1; earlier and later it is oslo.policy's own
        flags = {f: True for f in ("enforce_scope", "enforce_new_defaults") if f"{f}=True" in text}  # since 2023.1
        load("oslo_policy.opts:set_defaults")(conf, policy_file=name[1], **flags)


def register_dynamic(conf: Any) -> None:
    """Register the sections that Nova makes up from a value: [mdev_<type>], once [vgpu_<type>], for the type "*"."""
    register = load("nova.conf.devices:register_dynamic_opts")
    if register:
        names = ("enabled_mdev_types", "enabled_vgpu_types")
        name = next(n for n in names if n in conf._groups["devices"]._opts)
        conf([], project="nova", default_config_files=[], default_config_dirs=[])
        conf.set_override(name, ["*"], group="devices")
        register(conf)
        conf.clear_override(name, group="devices")


# ---------------------------------------------------------------------------------------------- what an option is

# oslo.config's types and the attributes that make one again; `None` and these defaults are left out
TYPES = {
    "URI": {"max_length": None, "schemes": None},
    "HostDomain": {},
    "HostAddress": {},
    "Hostname": {},
    "IPAddress": {},
    "Port": {"min": None, "max": None, "choices": None},
    "Float": {"min": None, "max": None},
    "Integer": {"min": None, "max": None, "choices": None},
    "Boolean": {},
    "List": {"bounds": False},
    "Dict": {"bounds": False, "key_value_separator": ":"},
    "Range": {"min": None, "max": None},
    "MultiString": {},
    "String": {"choices": None, "quotes": False, "ignore_case": False, "max_length": None, "regex": None},
}


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it, without traces of this machine; refuse what is not plain data."""
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        for place, common in PLACES:
            value = value.replace(place, common)
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        items = [plain(v) for v in value]
        return sorted(items, key=str) if isinstance(value, (set, frozenset)) else items
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if hasattr(value, "isoformat") or type(value).__module__ in ("netaddr.ip", "ipaddress"):
        return str(value)
    raise TypeError(f"not plain data: {value!r} of {type(value)}")


def kind(type_: Any) -> dict[str, Any]:
    """Return {"type": name, attribute: value ...} of an oslo.config type; attributes at their default are left out."""
    own = getattr(type_, "__name__", type(type_).__name__)
    if own == "CapNameOrInt":  # oslo.privsep: CAP_SYS_ADMIN, or its number
        names = sorted(load("oslo_privsep.capabilities:CAPS_BYNAME"))
        return {"type": "String", "regex": rf"^\s*({'|'.join(names)}|[+-]?[0-9]+)\s*$"}
    if own == "UnifiedLimitsResource":  # Nova: a limit's name, or class: and a resource class
        names = sorted(type_.resources | {f"class:{name}" for name in load("os_resource_classes:STANDARDS")})
        return {"type": "String", "regex": f"^({'|'.join(names)}|class:CUSTOM_[A-Z0-9_]+)$"}
    if own in ("ZonePrefixIPv4", "ZonePrefixIPv6"):  # Neutron: an integer that may be neither
        step = 8 if own == "ZonePrefixIPv4" else 4
        return {"type": "Integer", "choices": list(range(type_.min, type_.max + 1, step))}
    if own in ("int", "float", "bool", "str"):  # plain functions, in keystoneauth and old drivers
        return {"type": {"int": "Integer", "float": "Float", "bool": "Boolean", "str": "String"}[own]}
    if own in ("<lambda>", "_identity") and type_("a, 1") == "a, 1":
        return {"type": "String"}
    if own not in TYPES:
        raise TypeError(f"unknown type {own} ({type_!r}): say in `kind` which values it takes")
    name = own
    out: dict[str, Any] = {"type": name}
    for attribute, default in TYPES[name].items():
        value = getattr(type_, attribute, default)
        if attribute == "regex" and value is not None:
            value = {"pattern": value.pattern, "flags": value.flags & 2} if value.flags & 2 else value.pattern
        if attribute == "choices" and value is not None:
            value = [plain(c) for c in value] or None
        unset = not value and attribute not in ("min", "max")  # False, 0 and None are the same but for bounds
        if value != default and not unset:
            out[attribute] = plain(value)
    if name == "Port":
        out = {k: v for k, v in out.items() if (k, v) not in (("min", 0), ("max", 65535))}
    if name == "List" and kind(type_.item_type) != {"type": "String"}:
        out["item"] = kind(type_.item_type)
    if name == "Dict" and kind(type_.value_type) != {"type": "String"}:
        out["item"] = kind(type_.value_type)
    if name in ("IPAddress", "HostAddress"):
        checker = getattr(type_ if name == "IPAddress" else type_.ip_address, "version_checker", None)
        version = {"_check_ipv4": 4, "_check_ipv6": 6}.get(getattr(checker, "__name__", ""))
        if version:
            out["version"] = version
    return out


def described(option: Any) -> dict[str, Any]:
    """Return everything about `option` that is needed to check a value, or to explain one."""
    out = kind(option.type)
    multi = bool(option.multi)
    if multi:
        out["multi"] = True
    default = LOCAL.get(option.name, option.default)
    if default is not None:
        out["default"] = plain(default)
    aliases = [[d.group or None, d.name or None] for d in option.deprecated_opts]
    aliases = [a for a in aliases if any(a)]
    if aliases:
        out["aliases"] = aliases  # in Nova's order: of several names that are set, the first listed counts
    if option.deprecated_for_removal:
        out["deprecated"] = " ".join(str(option.deprecated_reason or "").split())
        if getattr(option, "deprecated_since", None):
            out["since"] = str(option.deprecated_since)
    for flag in ("secret", "required", "advanced", "mutable"):
        if getattr(option, flag, False) is True:
            out[flag] = True
    if option.dest != option.name.replace("-", "_"):
        out["dest"] = option.dest
    return out


# Defaults that Nova computes on the host; the words are those of its own documentation.
LOCAL = {"host": "<current_hostname>", "my_ip": "<host_ipv4>"}
PLACES: list[tuple[str, str]] = []


def merged(listed: list[tuple[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return section -> option -> what it is, of (section, option) pairs."""
    options: dict[str, dict[str, Any]] = {}
    for section, option in listed:
        if section.startswith("sample_"):  # oslo.config's examples of what a section named by config_source holds
            section = SOURCE
        known = options.setdefault(section, {})
        new = described(option)
        old = known.setdefault(option.name, new)
        if old is not new:
            # the same option listed twice, as by several auth plugins: one definition, every alias
            aliases = {json.dumps(a): a for a in old.get("aliases", []) + new.get("aliases", [])}
            if aliases:
                old["aliases"] = list(aliases.values())
            if new.get("secret"):
                old["secret"] = True
    return options


def main(series: str) -> None:
    compat()
    root = os.path.dirname(os.path.dirname(os.path.abspath(importlib.util.find_spec("nova").origin)))
    PLACES.extend([(root, "/usr/lib/python3/dist-packages"), (sys.prefix, "/usr"), (os.getcwd(), "/")])
    options = merged(listed())
    json.dump({"series": series, "options": options}, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main(sys.argv[1])
