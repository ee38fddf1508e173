#!/usr/bin/python3
"""Pools of a Ceph cluster, and the users that services log in as, in one connection."""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import ceph, lock, result

try:
    import rados
    import rbd
except ImportError:  # check mode on a fresh host: the packages come with this very run
    rados = rbd = None

DOCUMENTATION = r"""
module: ceph_pools
short_description: Pools for RBD (osd pool create, rbd pool init) and users with their rights (auth import)
description:
  - Compares all, and makes or corrects what differs. Pools and users are never removed, and a pool keeps its number of placement
    groups.
  - A pool that is there and is used for something else is refused.
options:
  cluster: {type: dict, required: true, description: 'fsid, monitors (name to address), secure, and the key of client.admin.'}
  pools: {type: dict, required: true, description: Pool to the number of its placement groups.}
  users: {type: dict, required: true, description: 'User (client.glance) to its key, and caps by kind of daemon.'}
  timeout: {type: int, default: 120, description: Seconds until the cluster must be able to store something.}
"""
USE = "rbd"
FAILURES = (ceph.Failure, *((rados.Error, rbd.Error) if rados else ()))


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "cluster": ceph.CLUSTER,
            "pools": {"type": "dict", "required": True},
            # The keys are in it.
            "users": {"type": "dict", "required": True, "no_log": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    lock.take(module)
    p, actions = module.params, []
    cluster = p["cluster"]
    try:
        with ceph.Cluster(ceph.mon_host(cluster["monitors"]), "client.admin", cluster["admin_key"], cluster["secure"]) as asked:
            steps = [*pools(asked, p["pools"], module.params["timeout"]), *users(asked, p["users"])]
            if module.check_mode:
                actions = [action for action, _do in steps]
            else:
                with result.doing(module, actions):
                    for action, do in steps:
                        actions.append(action)
                        do()
    except FAILURES as error:
        if not module.check_mode:
            module.fail_json(msg=f"Ceph: {error}", actions=actions, changed=bool(actions))
        # The cluster is made by this very run, or does not answer: whatever is there, it will be seen then.
        actions = [f"create pool {name}" for name in p["pools"]] + [f"create user {name}" for name in p["users"]]
    result.leave(module, actions)


def pools(cluster, wanted, timeout):
    """[(action, how it is done)] for pools."""
    known = {one["pool_name"]: one for one in cluster.ask("osd dump")["pools"]}
    steps = []
    for name, groups in wanted.items():
        uses = list(known[name].get("application_metadata") or {}) if name in known else []
        if uses and uses != [USE]:
            raise ceph.Failure(f"pool {name} belongs to something else ({', '.join(uses)}); choose another name")
        if name not in known:
            steps.append((f"create pool {name}", lambda name=name, groups=groups: create(cluster, name, groups, timeout)))
        elif not uses:
            # A run was killed between the two, or somebody else has made it.
            steps.append((f"prepare pool {name} for RBD", lambda name=name: prepare(cluster, name, timeout)))
    return steps


def create(cluster, name, groups, timeout):
    """Ceph osd pool create, rbd pool init."""
    cluster.ask("osd pool create", pool=name, pg_num=int(groups), pgp_num=int(groups))
    prepare(cluster, name, timeout)


def prepare(cluster, name, timeout):
    """Rbd pool init, once an OSD can store something."""
    until = time.monotonic() + timeout
    while not any(osd["up"] and osd["in"] for osd in cluster.ask("osd dump")["osds"]):
        if time.monotonic() > until:
            raise ceph.Failure(f"no OSD is up after {timeout} s; look at ceph-osd@ on the storage hosts")
        time.sleep(0.3)
    while True:
        try:
            with cluster.rados.open_ioctx(name) as pool:
                rbd.RBD().pool_init(pool, True)
            return
        except (rados.Error, rbd.Error):
            if time.monotonic() > until:
                raise
            time.sleep(0.3)


def users(cluster, wanted):
    """[(action, how it is done)] for users."""
    steps = []
    for name, user in wanted.items():
        found = cluster.ask("auth get", missing=True, entity=name)
        known = found[0] if found else None
        caps = {kind: str(cap) for kind, cap in user["caps"].items()}
        if known is None:
            action = f"create user {name}"
        elif known["key"] != user["key"]:
            action = f"set the key of {name}"
        elif known.get("caps") != caps:
            action = f"set the rights of {name}"
        else:
            continue
        steps.append((action, lambda name=name, key=user["key"], caps=caps: put(cluster, name, key, caps)))
    return steps


def put(cluster, name, key, caps):
    """Ceph auth import: key and rights at once, and the key in no argv."""
    lines = [f"[{name}]", f"\tkey = {key}", *(f'\tcaps {kind} = "{cap}"' for kind, cap in caps.items())]
    cluster.ask("auth import", text="\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
