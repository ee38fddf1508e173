"""What roles declare, each in its own vars/main/service.yml, read without Ansible."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import pass_context
from jinja2.runtime import missing

from kilonova.config.config_files import ROLES


@cache
def _shared(roles_path: Path) -> dict[str, Any]:
    return yaml.safe_load((roles_path / "openstack" / "vars" / "main" / "main.yml").read_text(encoding="utf-8"))


@cache
def declarations(roles_path: Path = ROLES) -> dict[str, dict[str, Any]]:
    """Return role -> what it declares, in the guide's order, with templates as they are.

    `ports`; and where it is a service, `service`, `account` and `identity`, as far as it has them.
    """
    found = {}
    for role in dict.fromkeys(role for roles in _shared(roles_path)["openstack_group_roles"].values() for role in roles):
        path = roles_path / role / "vars" / "main" / "service.yml"
        if path.exists():
            data = yaml.safe_load(path.read_text(encoding="utf-8"))
            found[role] = {name.removeprefix(f"{role}_"): value for name, value in data.items()}
    return found


def services(roles_path: Path = ROLES) -> dict[str, dict[str, Any]]:
    """Return the declarations of the roles that are a service."""
    return {role: found for role, found in declarations(roles_path).items() if "service" in found}


def ports(roles_path: Path = ROLES) -> list[dict[str, Any]]:
    """Return every port that something listens on, in the guide's order, as declared by the role that opens it.

    - port, kind: the number, or first-last; `udp`, else TCP.
    - service, by, login: what it is, who must reach it, and what it asks them for.
    - at: management (the host's address on that network), api (openstack_api_addresses), loopback, or any (every address: the
      kernel knows no other way).
    - sometimes: it need not be there; while what it is.
    - proxied: with openstack_tls, HAProxy answers at these addresses, and the service listens on the loopback interface.
    - asks_for_others: its clients are proxies, which say by X-Forwarded-For whom they ask for.
    - clustered: of several controllers, HAProxy leads there from their common address as well.
    - one_at_a_time: of several, to the same one until it is gone.
    - check: how HAProxy asks whether it works: `port`, which it asks instead; `seconds` between two questions, otherwise 2.
    - host: controller, compute node, storage host, controller (volumes) or every: where the role is, unless the row says
      otherwise.
    - backends: with which of them the role is there; not set where with all.
    """
    groups, backends = (_shared(roles_path)[f"openstack_{name}"] for name in ("group_roles", "network_backends"))
    hosts = {("controllers",): "controller", ("computes",): "compute node", ("storage",): "storage host"}
    # Their hosts are controllers.
    hosts |= {("dashboards",): "controller", ("volumes",): "controller (volumes)"}
    found = []
    for role, declared in declarations(roles_path).items():
        host = hosts.get(tuple(group for group, roles in groups.items() if role in roles), "every")
        only = [name for name, backend in backends.items() if role in backend["roles"]]
        found += [{"host": host, **({"backends": only} if only else {}), **row} for row in declared.get("ports", ())]
    return found


@cache
def secrets(roles_path: Path = ROLES) -> dict[str, str]:
    """Return every secret's variable with the guide's name for it: those of no service alone, and those of each service."""
    found = dict(_shared(roles_path)["openstack_secrets"])
    for declared in services(roles_path).values():
        found.update(declared["service"].get("secrets", {}))
    return found


@cache
def kept_secrets(roles_path: Path = ROLES) -> frozenset[str]:
    """Return the secrets that no rotation changes, because a run logs in by them to change the others."""
    return frozenset(name for found in services(roles_path).values() for name in found["service"].get("keeps", ()))


@cache
def on_computes(roles_path: Path = ROLES) -> frozenset[str]:
    """Return the secrets that every compute node needs: the message queue's, and those of users that it logs in as."""
    roles = _shared(roles_path)["openstack_services_on_computes"]
    users = (services(roles_path)[role]["identity"]["user"] for role in roles)
    return frozenset({"openstack_rabbit_pass", *(user["variable"] for user in users)})


@cache
def optional_groups(roles_path: Path = ROLES) -> tuple[str, ...]:
    """Return the groups that an inventory need not have."""
    return tuple(group for group in _shared(roles_path)["openstack_group_roles"] if group not in ("controllers", "computes"))


def needed_secrets(groups: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Return the secrets, as secrets() has them, that a cloud with hosts in these groups needs."""
    deployed = service_roles(_shared(ROLES)["openstack_group_roles"], groups)
    left_out = [found["service"].get("secrets", {}) for role, found in services().items() if role not in deployed]
    return {name: word for name, word in secrets().items() if not any(name in other for other in left_out)}


def service_roles(group_roles: Mapping[str, Iterable[str]], groups: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the roles that declare a service, without those of optional groups that have no hosts.

    `openstack_group_roles | service_roles(groups)`.
    """
    known, optional = services(), optional_groups()
    there = (roles for group, roles in group_roles.items() if group not in optional or groups.get(group))
    return list(dict.fromkeys(role for roles in there for role in roles if role in known))


def config_owners(roles: Iterable[str], configured_with: Mapping[str, str], known: Iterable[str]) -> list[str]:
    """Return the roles, of those `known`, in whose directories the services of `roles` have their configuration, each once."""
    owners = (configured_with.get(role, role) for role in roles)
    known = set(known)
    return list(dict.fromkeys(owner for owner in owners if owner in known))


@pass_context
def of_services(context: Any, roles: Iterable[str], kind: str) -> list[Any]:
    """Return `<role>_<kind>` of each of the roles that has one: `openstack_services | declared('account')`."""
    found = (context.resolve_or_missing(f"{role}_{kind}") for role in roles)
    return [value for value in found if value is not missing]
