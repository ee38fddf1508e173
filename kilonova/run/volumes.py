"""Ceph and volumes: what an inventory may say of them by itself, and what hosts and a cluster say. Every check returns problems.

No secret is part of one.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kilonova.config import inventories, storage
from kilonova.config.catalogue import catalogue
from kilonova.config.catalogue.options import covers
from kilonova.problems import Problem

KEYRINGS = ("glance", "cinder", "cinder-backup", "nova")
# Which variables keep something in Ceph, the value by which they do, and the pool and the user of each.
IN_CEPH = {"glance_images": ("glance_images_pool", "glance"), "nova_compute_images": ("nova_compute_images_pool", "nova")}
NO_CEPH = "and there is no Ceph"
ADD_CEPH = "set openstack_ceph, or give hosts to the group storage"
CONF = "cinder.conf"


def check_inventory(known: Mapping[str, inventories.Host], groups: Mapping[str, Sequence[str]]) -> list[Problem]:
    """Everything of Ceph and volumes that needs no host."""
    problems = []
    for host in groups.get("volumes", ()):
        if host not in groups.get("controllers", ()):
            what, remedy = "is in the group volumes, and is no controller", "leave the controller alone in it"
            problems.append(Problem("inventory", "volumes", host, what, remedy))
    controller = known[groups["controllers"][0]]
    ceph = _value(controller, "openstack_ceph", {})
    if controller.is_set("openstack_ceph") and groups.get("storage"):
        what = "is set, and the group storage has hosts, which are a cluster of its own"
        problems.append(Problem("inventory", "openstack_ceph", "", what, "leave one of them out"))
    elif controller.is_set("openstack_ceph"):
        problems += [Problem("inventory", *row) for row in _cluster(ceph, _used(known, groups))]
    for name, host in known.items():
        for variable in IN_CEPH:
            if variable in _variables_of(host) and _value(host, variable) == "rbd" and not ceph:
                problems.append(
                    Problem(name, variable, "rbd", f"keeps something in Ceph, {NO_CEPH}", f"write file, or {ADD_CEPH}")
                )
    if groups.get("volumes"):
        problems += [Problem(groups["volumes"][0], *row) for row in _backends(controller, ceph)]
    problems += _pools(known, groups)
    return problems + (_osds(known, groups["storage"]) if groups.get("storage") else [])


_value = inventories.Host.value


def _variables_of(host: inventories.Host) -> set[str]:
    """Those of IN_CEPH whose roles the host has."""
    return {variable for variable in IN_CEPH if variable.rsplit("_", 1)[0] in host.roles()}


def _used(known: Mapping[str, inventories.Host], groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """User of Ceph that somebody logs in as -> the variable that says so."""
    found = {}
    for host in known.values():
        for variable in _variables_of(host):
            if _value(host, variable) == "rbd":
                found[IN_CEPH[variable][1]] = variable
    if groups.get("volumes"):
        controller = known[groups["volumes"][0]]
        if any(backend.get("driver") == "rbd" for backend in _backend_rows(controller).values()):
            found["cinder"] = "cinder_backends"
        if _value(controller, "cinder_backup_pool"):
            found["cinder-backup"] = "cinder_backup_pool"
    return found


def _backend_rows(host: inventories.Host) -> dict[str, Mapping[str, Any]]:
    rows = _value(host, "cinder_backends", {})
    return {str(name): row for name, row in rows.items() if isinstance(row, Mapping)} if isinstance(rows, Mapping) else {}


Wrong = tuple[str, str, str, str]
"""Name, shown value, what is wrong, remedy."""


def _cluster(ceph: Any, used: Mapping[str, str]) -> Iterator[Wrong]:
    """An operator's own cluster: its id, its monitors, and the keys of those who log in."""
    name, print_it = "openstack_ceph", "write what `ceph %s` prints there"
    for key in set(ceph) - {"fsid", "mons", "keyrings"}:
        yield name, str(key), "is not a part of it", "write fsid, mons and keyrings"
    fsid = str(ceph.get("fsid") or "")
    try:
        uuid.UUID(fsid)
    except ValueError:
        yield f"{name}.fsid", fsid, "is not the id of a cluster" if fsid else "is not set", print_it % "fsid"
    mons = ceph.get("mons")
    if not isinstance(mons, (list, tuple)) or not mons:
        yield f"{name}.mons", "", "is not a list of addresses", "write those of the cluster's monitors, e.g. [10.0.0.51]"
    else:
        for one in map(str, mons):
            if not re.fullmatch(r"(\[?v[12]:)?[\w.:\[\]/,-]+", one):
                yield f"{name}.mons", one, "is not an address", "write one such as 10.0.0.51, or 10.0.0.51:6789"
    keyrings = ceph.get("keyrings")
    if not isinstance(keyrings, Mapping):
        yield f"{name}.keyrings", "", "is not a mapping", "write {glance: KEY, cinder: KEY, ...}"
        return
    for user in set(keyrings) - set(KEYRINGS):
        yield f"{name}.keyrings", str(user), "is not a user that anything logs in as", f"write some of: {', '.join(KEYRINGS)}"
    for user, variable in used.items():
        where, remedy = f"{name}.keyrings.{user}", print_it % f"auth get-key client.{user}"
        if not keyrings.get(user):
            yield where, "", f"is not set, and {variable} needs it", remedy
        elif not storage.is_ceph_key(keyrings[user]):
            yield where, "", "is not a key in Ceph's own form", remedy


def _backends(host: inventories.Host, ceph: Any) -> Iterator[Wrong]:
    """Backends of volumes: each has a driver that is known, and what that needs; no two have the same place."""
    drivers, rows = host.inventory.role_vars["__cinder_controller_drivers"], _value(host, "cinder_backends", {})
    if not rows:
        what = f"is empty, {NO_CEPH}, so that nothing can hold a volume" if not ceph else "is empty: nothing can hold a volume"
        yield "cinder_backends", "", what, "write e.g. {lvm: {driver: lvm, volume_group: cinder-volumes}}, or " + ADD_CEPH
        return
    release = host.release
    taken = {section.lower() for section in catalogue(release, CONF).sections} if covers(release, CONF) else set()
    places: dict[tuple[str, str], str] = {}
    for name, row in rows.items():
        where = f"cinder_backends.{name}"
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", str(name)):
            yield where, "", "is not a name that a section can have", "write letters, digits, - and _"
        elif str(name).lower() in taken | {"default"}:
            yield where, "", f"is a section of {CONF} that means something else", "choose another name"
        if not isinstance(row, Mapping) or row.get("driver") not in drivers:
            value = row.get("driver", "") if isinstance(row, Mapping) else ""
            yield f"{where}.driver", str(value), f"must be one of {', '.join(drivers)}", "set one of them"
            continue
        driver = drivers[row["driver"]]
        for key in driver["names"]:
            if not row.get(key):
                yield f"{where}.{key}", "", f"is not set, and the driver {row['driver']} needs it", "set it"
            elif (first := places.setdefault((row["driver"], str(row[key])), str(name))) != str(name):
                yield f"{where}.{key}", str(row[key]), f"is also the {key} of {first}", "give each backend its own"
        for key in set(row) - {"driver", "options", *driver["names"]}:
            yield (
                f"{where}.{key}",
                "",
                f"is not a part of a backend of {row['driver']}",
                "write it into its options, or remove it",
            )
        if row["driver"] == "rbd" and not ceph:
            yield f"{where}.driver", "rbd", f"keeps volumes in Ceph, {NO_CEPH}", ADD_CEPH
    if _value(host, "cinder_backup_pool") and not ceph:
        yield "cinder_backup_pool", str(_value(host, "cinder_backup_pool")), f"is a pool of Ceph, {NO_CEPH}", ADD_CEPH
    types, default = _value(host, "cinder_volume_types", {}), str(_value(host, "cinder_default_volume_type", ""))
    if default not in map(str, types):
        yield "cinder_default_volume_type", default, "is not a type of cinder_volume_types", f"write one of: {', '.join(types)}"


def _pools(known: Mapping[str, inventories.Host], groups: Mapping[str, Sequence[str]]) -> list[Problem]:
    """No pool is used by two, whose rights would reach what is the other's."""
    users: dict[str, tuple[str, str]] = {}
    problems = []
    for name, host in known.items():
        found = [
            (str(_value(host, IN_CEPH[one][0])), IN_CEPH[one][0]) for one in _variables_of(host) if _value(host, one) == "rbd"
        ]
        if name in groups.get("volumes", ()):
            found += [
                (str(row.get("pool")), f"cinder_backends.{key}.pool")
                for key, row in _backend_rows(host).items()
                if row.get("driver") == "rbd" and row.get("pool")
            ]
            found += [(str(pool), "cinder_backup_pool")] if (pool := _value(host, "cinder_backup_pool")) else []
        for pool, variable in found:
            _where, other = users.setdefault(pool, (name, variable))
            # Two backends are told of above.
            if other.partition(".")[0] != variable.partition(".")[0]:
                problems.append(Problem(name, variable, pool, f"is also the pool of {other}", "give each its own pool"))
    if groups.get("storage"):
        made = _value(known[groups["storage"][0]], "ceph_pools", {})
        for pool, (where, variable) in users.items():
            if pool not in made:
                remedy = f"add it to ceph_pools, or write one of: {', '.join(made)}"
                problems.append(Problem(where, variable, pool, "is not a pool of ceph_pools", remedy))
    return problems


def _osds(known: Mapping[str, inventories.Host], hosts: Sequence[str]) -> list[Problem]:
    """No two OSDs of the cluster have one number, and there are as many hosts as copies."""
    problems, seen = [], {}
    for name in hosts:
        for osd in _value(known[name], "ceph_osds", []):
            first = seen.setdefault(int(osd["id"]), name)
            if first != name or [int(one["id"]) for one in _value(known[name], "ceph_osds")].count(int(osd["id"])) > 1:
                what = f"is also the id of an OSD of {first}"
                problems.append(Problem(name, "ceph_osds", str(osd["id"]), what, "give each OSD its own"))
    copies = int(_value(known[hosts[0]], "ceph_copies", 1))
    if copies > len(hosts) > 1:
        what = f"is more than the {len(hosts)} hosts of the group storage, each of which holds one"
        problems.append(Problem(hosts[0], "ceph_copies", str(copies), what, "lower it, or add hosts"))
    return list(dict.fromkeys(problems))


def check_images(host: str, seen: Mapping[str, Any], wanted: str) -> list[Problem]:
    """Where the disks of instances are does not change while there are instances: Nova would look for them at the other place."""
    guests, has = int(seen.get("guests") or 0), seen.get("images")
    if not guests or has is None or has == wanted:
        return []
    some = f"{guests} instances are" if guests > 1 else "an instance is"
    what = f"would be changed from {has}, and {some} on this host, with disks there"
    return [Problem(host, "nova_compute_images", wanted, what, f"write {has}, or delete or move the instances first")]
