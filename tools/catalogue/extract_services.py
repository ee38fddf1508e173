"""Print every option that the other services of one release register, as JSON. Runs inside recreate.py's search path.

    PYTHONPATH=<unpacked services>:<unpacked libraries>:<base> python extract_services.py SERIES > options.json

As extract.py does for Nova. Options come in parts, one for each list that a package has of its own: which of them a file may have
depends on the programs that read the file (kilonova/config/catalogue/data/by_hand.yml, `files`).
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import sys
import threading
import types as pytypes
from typing import Any

import extract
from extract import AUTH, KEYSTONEAUTH, RUNTIME, auth_plugins, ignored, load, misplaced

# What these services import besides, and what defines no option of a file; of their own code, all but the option modules.
extract.STUBS |= frozenset(
    """
    boto3 botocore cinder.api.extensions cinder.api.openstack cinder.db.api cinder.db.sqlalchemy cinder.objects
    cinder.policies designateclient distro google googleapiclient hpe3parclient infi infinisdk krest linstor novaclient nvmeof
    oauth2client psutil purestorage pyparsing pypureclient python_3parclient pywbem rtslib rtslib_fb scciclient simplejson storops
    storpool suds swift tabulate tzlocal win32com xattr zaqarclient
    flask flask_restful httplib2 ldap ldappool oauthlib os_ken passlib pecan pymysql rados rbd
    retry_decorator saml2 swiftclient taskflow werkzeug wsme xmlsec zstandard
    glance.common.scripts glance.db glance.quota neutron.agent.agent_extensions_manager
    neutron.agent.linux.external_process neutron.agent.linux.utils neutron.agent.securitygroups_rpc neutron.api neutron.cmd
    neutron.common.utils neutron.conf.policies neutron.db neutron.extensions
    neutron.objects neutron.plugins neutron.wsgi neutron_lib.db
    """.split()  # noqa: SIM905 as in extract.py
)

STORE = "{store:%s}"
"""Pseudo-section: the options of a kind of image store, in the section that [DEFAULT] enabled_backends names for one."""

# Part -> who lists its options. A list that a release does not have (yet, or any more) gives no options.
PARTS: dict[str, tuple[str, ...]] = {
    "keystone": ("keystone.conf.opts:list_opts",),
    "glance-api": ("glance.opts:list_api_opts", "glance.opts:list_image_import_opts"),
    "placement": ("placement.conf.opts:list_opts",),
    "neutron": (
        "neutron.opts:list_opts", "neutron.opts:list_experimental_opts", "neutron.opts:list_agent_opts",
        "neutron.opts:list_base_agent_opts", "neutron.opts:list_az_agent_opts",
    ),
    "neutron.server": (
        "neutron.opts:list_db_opts", "neutron.opts:list_extension_opts", "neutron.opts:list_ml2_conf_opts",
    ),
    "neutron.ovn": ("neutron.conf.plugins.ml2.drivers.ovn.ovn_conf:list_opts",),
    "neutron.openvswitch": ("neutron.opts:list_ovs_opts",),
    "neutron.linuxbridge": ("neutron.opts:list_linux_bridge_opts",),
    "neutron.l3": ("neutron.opts:list_l3_agent_opts",),
    "neutron.dhcp": ("neutron.opts:list_dhcp_agent_opts",),
    "neutron.metadata": ("neutron.opts:list_metadata_agent_opts",),
    "neutron.metering": ("neutron.opts:list_metering_agent_opts",),
    "neutron.macvtap": ("neutron.opts:list_macvtap_opts",),
    "neutron.sriov": ("neutron.opts:list_sriov_agent_opts",),
    "neutron.ovn.metadata": ("neutron.conf.agent.ovn.metadata.config:list_metadata_agent_opts",),
    "neutron.ovn.agent": ("neutron.conf.agent.ovn.ovn_neutron_agent.config:list_ovn_neutron_agent_opts",),
    "oslo.cache": ("oslo_cache._opts:list_opts",),
    "oslo.concurrency": ("oslo_concurrency.opts:list_opts",),
    "oslo.config": ("oslo_config._list_opts:list_opts",),
    "oslo.db": ("oslo_db.options:list_opts", "oslo_db.concurrency:list_opts"),
    "oslo.limit": ("oslo_limit.opts:list_opts",),
    "oslo.log": ("oslo_log._options:list_opts",),
    "oslo.messaging": ("oslo_messaging.opts:list_opts",),
    "oslo.middleware": (
        "oslo_middleware.opts:list_opts", "oslo_middleware.opts:list_opts_basic_auth", "oslo_middleware.opts:list_opts_tracing",
    ),
    "oslo.policy": ("oslo_policy.opts:list_opts",),
    "oslo.reports": ("oslo_reports.opts:list_opts",),
    "oslo.versionedobjects": ("oslo_versionedobjects._options:list_opts",),
    "keystonemiddleware": ("keystonemiddleware.auth_token._opts:list_opts", "keystonemiddleware.audit:list_opts"),
    "osprofiler": ("osprofiler.opts:list_opts",),
    "castellan": ("castellan.options:list_opts",),
    "os-brick": ("os_brick.opts:list_opts", "os_brick.initiator.connectors.lightos:list_opts"),
    # The last: its modules register their options when they are imported, some of which another service has in another form.
    "cinder": ("cinder.opts:list_opts",),
}  # fmt: skip
PRIVSEP = {
    "cinder": ("cinder_sys_admin", "privsep_osbrick"),  # cinder.privsep, os_brick.privileged
    "glance-api": ("privsep_osbrick",),  # os_brick.privileged, for images in block storage
    "neutron": (  # neutron.privileged
        "privsep", "privsep_dhcp_release", "privsep_ovs_vsctl", "privsep_namespace", "privsep_conntrack", "privsep_link",
    ),
}  # fmt: skip
PACKAGES = ("keystone", "glance", "glance_store", "placement", "neutron", "cinder")

Parts = dict[str, list[tuple[str, Any]]]


def listed() -> Parts:
    """Return part -> (section, option) of everything that the services and their libraries register."""
    from oslo_config import cfg

    found: Parts = {}
    importlib.import_module("neutron.conf.agent.securitygroups_rpc")  # neutron.opts uses it, and a stub imports it

    def add(part: str, section: Any, options: Any) -> None:
        name = str(getattr(section, "name", section) or "DEFAULT")
        # As oslo.config reads it: [AGENT] and [agent] are one.
        name = name if name == "DEFAULT" else name.lower()
        found.setdefault(part, []).extend((name, option) for option in options if not ignored(option))

    elsewhere = misplaced()
    for part, entries in PARTS.items():
        if part == "cinder":
            cfg.ConfigOpts.register_opt = _first_counts(cfg.ConfigOpts.register_opt)
            # Another service of this process has chosen its threads already, since 2026.2.
            if load("oslo_service.backend:init_backend"):
                importlib.import_module("oslo_service.backend").init_backend = lambda *kind, **more: None
            # What decorates methods, for which the stub of `decorator` will not do.
            importlib.import_module("cinder.coordination").synchronized = lambda *names, **more: lambda function: function
        for entry in entries:
            lister = load(entry)
            for section, options in lister() if lister else ():
                of_messaging = part == "oslo.messaging"
                add(part, section, [o for o in options if not (of_messaging and (section, o.name) in elsewhere)])
    for section, entry in RUNTIME:
        add("oslo.messaging" if entry.startswith("oslo_messaging") else "keystonemiddleware", section, load(entry) or ())
    for module, (section, kinds) in KEYSTONEAUTH.items():
        loading = load(module + ":loading")
        for kind in kinds if loading else ():
            part = "oslo.limit" if module.startswith("oslo_limit") else "castellan"
            add(part, section, getattr(loading, f"get_{kind}_conf_options")())
    cors = load("oslo_middleware.cors:CORS")
    if "list_all_sections" in cors._init_conf.__code__.co_names:  # until 2025.2: any section named so
        add("oslo.middleware", "cors.*", load("oslo_middleware.cors:CORS_OPTS"))
    for name in ("eventlet_backdoor_opts", "service_opts", "periodic_opts", "wsgi_opts"):
        add("oslo.service", "DEFAULT", load("oslo_service._options:" + name) or ())
    add("oslo.service", "ssl", load("oslo_service.sslutils:ssl_opts") or ())
    privsep = load("oslo_privsep.priv_context:OPTS")
    for part, sections in PRIVSEP.items():
        for section in sections:
            add(part, section, privsep)
    for name, loader in sorted(auth_plugins().items()):
        add("keystoneauth", AUTH % name, [option._to_oslo_opt() for option in loader().get_options()])
    for section in ("nova", "ironic", "placement", "designate"):  # as neutron.common.config registers them
        for name in ("auth_common", "session", *(("adapter",) if section == "ironic" else ())):
            add("neutron", section, load(f"keystoneauth1.loading:get_{name}_conf_options")())
    for section in ("service_user", "nova"):  # as cinder.service_auth and cinder.compute.nova register them
        add("cinder", section, load("keystoneauth1.loading:get_auth_common_conf_options")())
    add("neutron.server", "quotas", load("neutron.conf.quota:rbac_quota_opts"))
    for name, options in stores().items():
        add("glance-api", STORE % name, options)
    add("glance-api", "glance_store", load("glance_store.multi_backend:_STORE_OPTS"))
    add("glance-api", "glance_store", load("glance_store.backend:_STORE_OPTS"))
    add_registered(found, add)
    return found


def _first_counts(register: Any) -> Any:
    """Let a later registration of an option that is known in another form say nothing: its list has its own form."""

    def of_lists(self: Any, *given: Any, **more: Any) -> Any:
        from oslo_config import cfg

        try:
            return register(self, *given, **more)
        except cfg.DuplicateOptError:
            return False

    return of_lists


def stores() -> dict[str, list[Any]]:
    """Return kind -> options of the image stores."""
    common = load("glance_store.driver:_MULTI_BACKEND_OPTS") or []
    found = {}
    for name, entry in {
        "file": "glance_store._drivers.filesystem:Store", "http": "glance_store._drivers.http:Store",
        "swift": "glance_store._drivers.swift:Store", "rbd": "glance_store._drivers.rbd:Store",
        "cinder": "glance_store._drivers.cinder:Store", "vmware": "glance_store._drivers.vmware_datastore:Store",
        "s3": "glance_store._drivers.s3:Store",
    }.items():  # fmt: skip
        module, _, _ = entry.partition(":")
        try:
            driver = load(entry) or load(module + ".store:Store")
        except (TypeError, AttributeError) as error:
            raise TypeError(f"{entry}: {error}") from error
        if driver:
            found[name] = [*driver.OPTIONS, *common]
    return found


def add_registered(found: Parts, add: Any) -> None:
    """Add what Neutron's option modules register and no list of it has: wherever Neutron's programs may read it."""
    from oslo_config import cfg

    conf = cfg.ConfigOpts()
    package = importlib.import_module("neutron.conf")
    for info in pkgutil.walk_packages(package.__path__, "neutron.conf."):
        module = importlib.import_module(info.name)
        for name, function in vars(module).items():
            if not name.startswith("register") or getattr(function, "__module__", "") != module.__name__:
                continue
            parameters = inspect.signature(function).parameters
            given = {p: conf for p in parameters if p.lower() in ("cfg", "conf", "config")}
            if not given or any(p.default is p.empty for n, p in parameters.items() if n not in given):
                continue
            try:
                function(**given)
            except cfg.DuplicateOptError:
                continue  # two programs' variants of one option: each is in its program's list
    known = {(section, option.name) for part, rows in found.items() if part.startswith("neutron") for section, option in rows}
    for section, holder in [("DEFAULT", conf), *conf._groups.items()]:
        for held in holder._opts.values():
            if (section.lower() if section != "DEFAULT" else section, held["opt"].name) not in known:
                add("neutron", section, [held["opt"]])


def compat() -> None:
    """As extract.compat, and: packages whose own __init__ needs a database, and what libraries of Zed have dropped since."""
    extract.compat()
    from oslo_utils import secretutils

    if not hasattr(secretutils, "md5"):
        secretutils.md5 = hashlib.md5
    importlib.import_module("passlib.utils").MAX_PASSWORD_SIZE = 4096  # as it is, unless the environment says otherwise
    # Of eventlet, as cinder-backup asks for it.
    sys.modules["__original_module_threading"] = threading
    bare = pytypes.ModuleType("neutron_lib")
    bare.__path__ = list(importlib.util.find_spec("neutron_lib").submodule_search_locations)
    sys.modules["neutron_lib"] = bare


def main(series: str) -> None:
    compat()
    for name in PACKAGES:
        root = os.path.dirname(os.path.dirname(os.path.abspath(importlib.util.find_spec(name).origin)))
        extract.PLACES.append((root, "/usr/lib/python3/dist-packages"))
    extract.PLACES.extend([(sys.prefix, "/usr"), (os.getcwd(), "/")])
    parts = {part: extract.merged(options) for part, options in listed().items()}
    json.dump({"series": series, "parts": parts}, sys.stdout, sort_keys=True)


if __name__ == "__main__":
    main(sys.argv[1])
