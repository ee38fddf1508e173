"""What the service roles declare, each in its own vars/main/service.yml, read without Ansible."""

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
def services(roles_path: Path = ROLES) -> dict[str, dict[str, Any]]:
    """Return role -> what it declares: `service`, `account` and `identity`, as far as it has them, with templates as they are."""
    found = {}
    for path in sorted(roles_path.glob("*/vars/main/service.yml")):
        role = path.parts[-4]
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[role] = {name.removeprefix(f"{role}_"): value for name, value in data.items()}
    return found


@cache
def secrets(roles_path: Path = ROLES) -> dict[str, str]:
    """Return every secret's variable with the guide's name for it: those of no service alone, and those of each service."""
    shared = yaml.safe_load((roles_path / "openstack" / "vars" / "main" / "main.yml").read_text(encoding="utf-8"))
    found = dict(shared["openstack_secrets"])
    for role in shared["openstack_services"]:
        found.update(services(roles_path)[role]["service"].get("secrets", {}))
    return found


@cache
def on_computes(roles_path: Path = ROLES) -> frozenset[str]:
    """Return the secrets that every compute node needs: the message queue's, and those of users that it logs in as."""
    shared = yaml.safe_load((roles_path / "openstack" / "vars" / "main" / "main.yml").read_text(encoding="utf-8"))
    users = (services(roles_path)[role]["identity"]["user"] for role in shared["openstack_services_on_computes"])
    return frozenset({"openstack_rabbit_pass", *(user["variable"] for user in users)})


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
