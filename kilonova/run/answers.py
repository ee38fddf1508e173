"""What a host told of itself when the run began (the module host_facts), so that nothing is asked twice.

Asking costs a process on the host and the time of a task, for each role and host: most of a run that has nothing to change.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

CHANGED = "openstack_host_changed"
# Of all digests of one run (library/host_facts.py says why), and in no log. The callback plugin `stages` makes it for all
# workers; one that had another would only ask its host again.
KEY = secrets.token_bytes(32)


def file_is_there(entry: Mapping[str, Any], text: str, variables: Mapping[str, Any]) -> bool:
    """Whether the host has the file `entry` with this text, owner, group and mode; packages that came since may change it."""
    if "openstack_packages_new" in (variables.get("ansible_facts") or {}):
        return False
    files = (variables.get("openstack_host") or {}).get("files") or {}
    digest = hashlib.blake2b(text.encode(), key=KEY, digest_size=16).hexdigest()
    rights = [str(entry.get("owner", "root")), str(entry.get("group", "root")), str(entry.get("mode", "0644"))]
    return files.get(str(entry["path"])) == [digest, *rights]


def unit_rests(unit: Mapping[str, Any], variables: Mapping[str, Any]) -> bool:
    """Whether nothing is left to do with a unit of the module service_units.

    It was enabled, ran with what it reads now, and nothing was changed on its host since. What answers is asked each time.
    """
    host = variables.get("openstack_host") or {}
    services = host.get("services") or {"busy": [unit["name"]], "resting": {}}
    if was_changed(variables):
        return False
    if not unit.get("runs", True):
        return unit["name"] not in services["busy"]
    if unit.get("answers") or unit.get("queues") or unit.get("invocation"):
        return False
    told = services["resting"].get(unit["name"])
    return told is not None and all(told.get(path) == _keyed(digests) for path, digests in unit["reads"].items())


def migration_peer(variables: Mapping[str, Any]) -> dict[str, str] | None:
    """What other compute nodes need of this one, as the module migration_keys returns it; None: the host must be asked."""
    told = (variables.get("openstack_host") or {}).get("migration") or {}
    if was_changed(variables) or not (told.get("key") and told.get("host_key")):
        return None
    return {"key": told["key"], "host_key": told["host_key"]}


def lets_in(digests: Mapping[str, str | None], variables: Mapping[str, Any]) -> bool:
    """Whether the host's lists of the module migration_keys have these digests; None: not all of a list is known here."""
    told = (variables.get("openstack_host") or {}).get("migration") or {}
    return not was_changed(variables) and all(digest and told.get(name) == digest for name, digest in digests.items())


def takes_part_in_migrations(variables: Mapping[str, Any]) -> bool:
    """Whether the host has anything of the module migration_keys, or did not tell. Nothing else in a run makes or removes it."""
    told = (variables.get("openstack_host") or {}).get("migration") or {}
    return bool(told.get("remains", True))


def was_changed(variables: Mapping[str, Any]) -> bool:
    """Whether this run has changed, or in check mode would have, files or packages of the host since it told of itself."""
    facts = variables.get("ansible_facts") or {}
    return bool(facts.get(CHANGED) or "openstack_packages_new" in facts or facts.get("config_rights_corrected"))


def noted(result: dict[str, Any]) -> dict[str, Any]:
    """Return a module's result with the fact that something was changed, for was_changed()."""
    if result.get("changed"):
        result["ansible_facts"] = {**result.get("ansible_facts", {}), CHANGED: True}
    return result


def _keyed(digests: Mapping[str, str]) -> str:
    """As keyed() in module_utils/kilonova/unit_state.py, which cannot be read here; a test compares the two."""
    used = sorted((name, digest) for name, digest in digests.items() if digest)
    return hashlib.blake2b(json.dumps(used).encode(), key=KEY, digest_size=16).hexdigest()
