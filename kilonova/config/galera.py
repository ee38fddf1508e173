"""Who founds the cluster of databases of several controllers, and what hinders it. In doubt nobody does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from kilonova.problems import Problem, some

DOCS = "docs/controllers.md"


def told(names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any] | None]:
    """Return what each controller has reported of its MariaDB (`galera` of the module host_facts); None where it has not."""
    found = {}
    for name in names:
        seen = hostvars[name].get("openstack_host")
        found[name] = (seen.get("galera") or {}) if seen else None
    return found


def founder(names: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the controller that founds the cluster, empty where there is one.

    `groups['controllers'] | galera_founder(hostvars)`. Only where all controllers have reported, and none of them has ever had a
    cluster or a database.
    """
    known = told(names, hostvars)
    is_new = all(one is not None and not one.get("uuid") and not one.get("databases") for one in known.values())
    return next(iter(known), "") if is_new else ""


def check(known: Mapping[str, Mapping[str, Any] | None]) -> Iterator[Problem]:
    """Yield why the MariaDB of a controller would join nothing, or would lose its databases to those of the others."""
    heard = {name: one for name, one in known.items() if one is not None}
    clusters = {one["uuid"] for one in heard.values() if one.get("members")}
    for name, one in heard.items():
        if one.get("databases") and not one.get("uuid"):
            what = f"has databases ({some(one['databases'])}) that are in no cluster, and would get those of the others instead"
            remedy = f"leave it the only controller, or take another host: a cloud cannot get more controllers yet ({DOCS})"
            yield Problem(name, "controllers", "", what, remedy)
        elif clusters and one.get("uuid") and one["uuid"] not in clusters:
            what = "is the cluster that its databases were in, and the other controllers have another"
            remedy = "take it out of the group, or move its databases (/var/lib/mysql) away, which it then gets from the others"
            yield Problem(name, "Galera", one["uuid"], what, remedy)
    if len(clusters) > 1:
        yield Problem(
            "controllers", "Galera", ", ".join(sorted(clusters)), "are two clusters", "leave the hosts of one in the group"
        )
    known_before = sorted(name for name, one in heard.items() if one.get("uuid"))
    if known_before and not clusters:
        what = "have been a cluster, and none of their MariaDBs runs as a part of it"
        remedy = f"start the one with the newest databases first ({DOCS}, galera_recovery), then run again"
        yield Problem("controllers", "Galera", ", ".join(known_before), what, remedy)
    silent = sorted(name for name, one in known.items() if one is None)
    if silent and not clusters and not known_before:
        what = "have not been reached, and a cluster of databases begins with all controllers"
        yield Problem("controllers", "Galera", ", ".join(silent), what, "make them reachable, and run without --limit")
