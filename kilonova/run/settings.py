"""Settings of Ansible that this project relies on, and has in its ansible.cfg, where another configuration is in force.

Ansible reads the ansible.cfg of the directory that it is called in. Plugins, roles and variables next to the playbooks are
found without it; what is left is said here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible import constants
from ansible.plugins.loader import connection_loader

from kilonova.config.config_files import ROLES
from kilonova.problems import Problem, some

CONFIG = ROLES.parent / "ansible.cfg"
SYSLOG, PIPELINING = "no_target_syslog", "pipelining"
OFF = {
    SYSLOG: "is off, so what modules are called with would be in the host's journal",
    PIPELINING: "is off, so modules would be files on the host for a moment, with the secrets that they are called with",
}


def warnings() -> list[str]:
    """At most one line: settings without which a run goes on, and may not do what its inventory says."""
    wrong = []
    if constants.config.get_config_value("INJECT_FACTS_AS_VARS"):
        wrong.append("inject_facts_as_vars is on, so what a host says of itself may take the place of variables")
    if not constants.config.get_config_value("INVENTORY_ANY_UNPARSED_IS_FAILED"):
        wrong.append("any_unparsed_is_failed is off, so a file of the inventory that cannot be read leaves its hosts out")
    read = f"Ansible's configuration is {constants.CONFIG_FILE}" if constants.CONFIG_FILE else "Ansible has read no ansible.cfg"
    return [f"{read}: {'; '.join(wrong)}; set ANSIBLE_CONFIG={CONFIG}"] if wrong else []


def problems(hosts: Mapping[str, Mapping[str, Any]]) -> list[Problem]:
    """Settings by which secrets would be seen on a host, for hosts with their variables."""
    found: dict[str, list[str]] = {}
    for host, variables in hosts.items():
        own = _texts(variables, "ansible_no_target_syslog")
        if not constants.config.get_config_value("DEFAULT_NO_TARGET_SYSLOG", variables=own):
            found.setdefault(SYSLOG, []).append(host)
        if not _pipelining(variables):
            found.setdefault(PIPELINING, []).append(host)
    remedy = f"set ansible_{{}}: true in the inventory, or ANSIBLE_CONFIG={CONFIG}"
    return [Problem(some(names), name, "", OFF[name], remedy.format(name)) for name, names in found.items()]


def _pipelining(variables: Mapping[str, Any]) -> bool:
    """Whether a host's connection pipelines, as its plugin will decide."""
    name = str(variables.get("ansible_connection", constants.DEFAULT_TRANSPORT))
    plugin = connection_loader.get("ssh" if name == "smart" or "{" in name else name, class_only=True)
    if plugin is None or not getattr(plugin, "has_pipelining", False):
        return True  # nothing that could be switched on
    own = {"plugin_type": "connection", "plugin_name": plugin._load_name}
    own["variables"] = _texts(variables, "ansible_pipelining", "ansible_ssh_pipelining")
    try:
        return bool(constants.config.get_config_value("pipelining", **own))
    except Exception:  # a plugin without this option, of which each release of Ansible says so in another way
        return True


def _texts(variables: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The variables of these names, without templates, which are not resolved here."""
    return {name: variables[name] for name in names if name in variables and "{" not in str(variables[name])}
