"""What a run knows of a host: what it reported when the run began (the module host_facts), and what tasks have done since.

Asking a host costs a process there and the time of a task, for each role and host: most of a run that has nothing to change. So
an instrument asks only where something may be left to do, and this is the one place where that is decided.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from kilonova.config import config_files
from kilonova.onhost import digests

# The fact in which a run keeps what its tasks have done on a host:
#   changed    files, units, packages or owners were changed, or would be in check mode
#   new        packages that were installed, upgraded or removed
#   installed  the names of all packages since then
#   corrected  directories whose owners and modes were corrected
#   pending    units that the last play must ask (RETURN of library/service_units.py)
#   started    units that would have been started, in check mode
#   accounts   users whose databases, accounts and grants are complete
#   services   names of the services that are registered in Keystone
#   files      files that were put right or seen to be, since packages were last installed: path -> what identifies them
#   units      units that run with what they read, since then: name -> digests of that
RUN = "openstack_run"
# Of all digests of one run (library/host_facts.py says why), and in no log. The callback plugin `stages` makes it for all
# workers; one that had another would only ask its host again.
KEY = secrets.token_bytes(32)


def done(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this run has done on the host (see RUN)."""
    return (variables.get("ansible_facts") or {}).get(RUN) or {}


def noted(result: dict[str, Any], variables: Mapping[str, Any], **learned: Any) -> dict[str, Any]:
    """Return a module's result with the fact of what this run has done on its host, `learned` among it."""
    before = done(variables)
    after = {**before, **learned, **({"changed": True} if result.get("changed") else {})}
    if after != before:
        result["ansible_facts"] = {**result.get("ansible_facts", {}), RUN: after}
    return result


def was_changed(variables: Mapping[str, Any]) -> bool:
    """Whether this run has changed, or in check mode would have, files, units or packages of the host since it reported."""
    known = done(variables)
    return bool(known.get("changed") or "new" in known or known.get("corrected"))


def reported(variables: Mapping[str, Any], name: str, default: Any) -> Any:
    """Return a part of what the host reported; `default` where it did not."""
    found = (variables.get("openstack_host") or {}).get(name)
    return default if found is None else found


def packages_are_there(names: list[str], variables: Mapping[str, Any]) -> bool:
    """Whether the packages are installed. Where a killed run left an installation unfinished, nothing counts as installed."""
    interrupted = reported(variables, "install_interrupted", False)
    return set(names) <= set(done(variables).get("installed", () if interrupted else reported(variables, "packages", ())))


def rights_are_right(variables: Mapping[str, Any]) -> bool:
    """Whether the owners and modes of configuration directories are right; packages installed since may have changed them."""
    return not done(variables).get("new") and not reported(variables, "wrong_rights", ["not reported"])


def is_left_over(path: str, variables: Mapping[str, Any]) -> bool:
    """Whether a file that packages make may be there."""
    return "new" in done(variables) or path in reported(variables, "leftovers", [path])


def is_needed(entry: Mapping[str, Any], variables: Mapping[str, Any]) -> bool:
    """Whether the host needs the file: one that says nothing is needed only where an earlier run wrote it."""
    return not config_files.says_nothing(entry) or str(entry["path"]) in reported(variables, "files", {})


def file_is_there(entry: Mapping[str, Any], text: str, variables: Mapping[str, Any]) -> bool:
    """Whether the host has the file `entry` with this text, owner, group and mode; packages installed since may change it."""
    path, wanted = str(entry["path"]), identity(entry, text)
    if path in (put_right := done(variables).get("files", {})):
        return put_right[path] == wanted
    return "new" not in done(variables) and reported(variables, "files", {}).get(path) == wanted


def identity(entry: Mapping[str, Any], text: str) -> list[str]:
    """What a file is known by: a digest of its text, owner, group and mode."""
    rights = [str(entry.get("owner", "root")), str(entry.get("group", "root")), str(entry.get("mode", "0644"))]
    return [digests.keyed(text.encode(), KEY), *rights]


def read_by(unit: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Digests of what a unit reads, in the form in which a host reports them: path -> section -> digest."""
    return {path: digests.keyed_sections(sections, KEY) for path, sections in unit.get("digests", {}).items()}


def unit_is_current(unit: Mapping[str, Any], variables: Mapping[str, Any]) -> bool:
    """Whether nothing is left to do with a unit of the module service_units.

    It was enabled, ran with what it reads now and answered when the run began, and nothing was changed on its host since. Or this
    run has seen to that itself: another page reads the same.
    """
    services = reported(variables, "services", {"busy": [unit["name"]], "current": {}})
    wanted = read_by(unit)
    if wanted and unit.get("runs", True) and not unit.get("queues") and not unit.get("invocation"):
        seen = done(variables).get("units", {}).get(unit["name"], {})
        if all(seen.get(path) == digest for path, digest in wanted.items()):
            return True
    if was_changed(variables):
        return False
    if not unit.get("runs", True):
        return unit["name"] not in services["busy"]
    if unit.get("queues") or unit.get("invocation"):
        return False
    if unit.get("answers") and not reported(variables, "answers", {}).get(unit["answers"]):
        return False
    current = services["current"].get(unit["name"])
    return current is not None and all(current.get(path) == digest for path, digest in wanted.items())


def kvm(variables: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the host knows of KVM (works, reason); None: a guest has to show it, as with packages that were installed since."""
    return None if "new" in done(variables) else reported(variables, "kvm", None)


def migration_peer(variables: Mapping[str, Any]) -> dict[str, str] | None:
    """What other compute nodes need of this one, as the module migration_keys returns it; None: the host must be asked."""
    known = reported(variables, "migration", {})
    if was_changed(variables) or not (known.get("key") and known.get("host_key")):
        return None
    return {"key": known["key"], "host_key": known["host_key"]}


def lets_in(digests: Mapping[str, str | None], variables: Mapping[str, Any]) -> bool:
    """Whether the host's lists of the module migration_keys have these digests; None: not all of a list is known here."""
    known = reported(variables, "migration", {})
    return not was_changed(variables) and all(digest and known.get(name) == digest for name, digest in digests.items())


def takes_part_in_migrations(variables: Mapping[str, Any]) -> bool:
    """Whether the host has anything of the module migration_keys, or did not report. Nothing else makes or removes it."""
    return bool(reported(variables, "migration", {}).get("remains", True))
