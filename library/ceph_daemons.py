#!/usr/bin/python3
"""The daemons of a Ceph cluster on one of its hosts, made once."""

import base64
import json
import os
import pwd
import secrets
import shutil
import struct
import tempfile
import time
import uuid

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import ceph, command, files, lock, result

DOCUMENTATION = r"""
module: ceph_daemons
short_description: Monitor, manager and OSDs of a Ceph cluster on this host
description:
  - Makes what a daemon needs before its unit can start. What is there is left as it is, so no data is ever lost.
  - Each is made under another name as Ceph's user, and gets its own when it is complete. So a run that was killed leaves nothing
    that a daemon would start with, and root follows no link of that user's.
  - Keys are in no argv. They are in files that only Ceph's user may read.
options:
  kind:
    type: str
    choices: [monitor, others]
    required: true
    description: The monitor, which no cluster is needed for, or manager and OSDs, which the monitors have to know.
  cluster: {type: dict, required: true, description: 'fsid, name of this host, monitors (name to address), secure, and keys.'}
  osds: {type: list, elements: dict, default: [], description: 'id and size_gib of each OSD.'}
  timeout: {type: int, default: 120, description: Seconds that the monitors may take until they answer.}
"""
DIRECTORY = "/var/lib/ceph"
USER = "ceph"


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "kind": {"type": "str", "choices": ["monitor", "others"], "required": True},
            "cluster": ceph.CLUSTER,
            "osds": {"type": "list", "elements": "dict", "default": []},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    lock.take(module)
    wanted = monitor(module) if module.params["kind"] == "monitor" else others(module)
    missing = [(path, action, make) for path, action, make in wanted if not is_there(path)]
    actions = [action for _path, action, _make in missing]
    if missing and not module.check_mode:
        done = []
        with result.doing(module, done):
            try:
                for path, action, make in missing:
                    done.append(action)
                    make(path)
            except (ceph.Failure, files.Refused, OSError) as error:
                module.fail_json(msg=str(error))
    result.leave(module, actions)


def is_there(path):
    """Whether a daemon's directory is there. Only Ceph's user and root can make it, and nothing is read from it."""
    return os.path.isdir(path) and not os.path.islink(path)


def monitor(module):
    """[(directory, action, how it is made)] of the monitor."""
    name = module.params["cluster"]["name"]
    return [(f"{DIRECTORY}/mon/ceph-{name}", f"make Ceph's monitor {name}", lambda path: make_monitor(module, path))]


def others(module):
    """The same of manager and OSDs."""
    name = module.params["cluster"]["name"]
    found = [(f"{DIRECTORY}/mgr/ceph-{name}", f"make Ceph's manager {name}", lambda path: make_manager(module, path))]
    for osd in module.params["osds"]:
        action = f"make Ceph's OSD {osd['id']} ({osd['size_gib']} GiB)"
        found.append((f"{DIRECTORY}/osd/ceph-{osd['id']}", action, lambda path, osd=osd: make_osd(module, path, osd)))
    return found


# ------------------------------------------------------------------------------------------------------- as Ceph's user


def as_ceph(*argv, text=""):
    """Run a program as Ceph's user; Failure with its last words."""
    done = command.run(*argv, user=USER, text=text)
    if done.status:
        raise ceph.Failure(f"{os.path.basename(argv[0])} failed: {done.output.strip()[-600:]}")
    return done.output


def begin(path):
    """Return the name under which a daemon's directory is made, without what a killed run has left there."""
    new = os.path.join(os.path.dirname(path), f".new-{os.path.basename(path)}")
    as_ceph("rm", "-rf", "--", new)
    as_ceph("mkdir", "-m", "0750", "--", new)
    return new


def write(path, text):
    """Write a file that only Ceph's user may read."""
    as_ceph("sh", "-c", 'umask 077; cat > "$1"', "sh", path, text=text)


def end(new, path):
    """Give a complete directory its name."""
    as_ceph("mv", "--no-target-directory", "--", new, path)


def keyring(name, key, caps=()):
    """Return the text of a keyring."""
    return f"[{name}]\n\tkey = {key}\n" + "".join(f'\tcaps {kind} = "{cap}"\n' for kind, cap in caps)


def new_key():
    """Return a new key in Ceph's own form."""
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, 16) + secrets.token_bytes(16)).decode()


# ---------------------------------------------------------------------------------------------------------------- made


def make_monitor(module, path):
    """ceph-mon --mkfs, with the keys of the monitors and of client.admin."""
    cluster = module.params["cluster"]
    everything = [("mon", "allow *"), ("osd", "allow *"), ("mds", "allow *"), ("mgr", "allow *")]
    keys = keyring("mon.", cluster["monitor_key"], [("mon", "allow *")])
    keys += keyring("client.admin", cluster["admin_key"], everything)
    owner = pwd.getpwnam(USER)
    # Root's own directory, which Ceph's user may read.
    place = tempfile.mkdtemp(prefix="kilonova-", dir="/run")
    try:
        os.chown(place, 0, owner.pw_gid)
        os.chmod(place, 0o750)
        monmap = os.path.join(place, "monmap")
        made = ["monmaptool", "--create", "--fsid", cluster["fsid"]]
        for name, address in cluster["monitors"].items():
            host = f"[{address}]" if ":" in address else address
            made += ["--addv", name, f"[v2:{host}:3300]"]
        done = command.run(*made, monmap)
        if done.status:
            raise ceph.Failure(f"monmaptool failed: {done.output.strip()[-600:]}")
        os.chmod(monmap, 0o644)
        files.write(os.path.join(place, "keyring"), keys.encode(), 0, owner.pw_gid, 0o640)
        new = begin(path)
        argv = ["ceph-mon", "--mkfs", "-i", cluster["name"], "--mon-data", new, "--monmap", monmap]
        as_ceph(*argv, "--keyring", os.path.join(place, "keyring"))
        end(new, path)
    finally:
        shutil.rmtree(place)


def administrator(module):
    """The cluster, as client.admin, once the monitors answer."""
    cluster, until = module.params["cluster"], time.monotonic() + module.params["timeout"]
    while True:
        found = ceph.Cluster(ceph.mon_host(cluster["monitors"]), "client.admin", cluster["admin_key"], cluster["secure"])
        try:
            with found:
                fsid = found.ask("fsid")["fsid"]
        except ceph.Failure:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)
            continue
        if fsid != cluster["fsid"]:
            raise ceph.Failure(f"the cluster's id is {fsid}, not {cluster['fsid']}; set openstack_ceph_fsid to what it is")
        return ceph.Cluster(ceph.mon_host(cluster["monitors"]), "client.admin", cluster["admin_key"], cluster["secure"])


def make_manager(module, path):
    """Ceph auth get-or-create, for the manager."""
    name = "mgr." + module.params["cluster"]["name"]
    caps = ["mon", "allow profile mgr", "osd", "allow *", "mds", "allow *"]
    with administrator(module) as cluster:
        (known,) = cluster.ask("auth get-or-create", entity=name, caps=caps)
    new = begin(path)
    write(os.path.join(new, "keyring"), keyring(name, known["key"]))
    end(new, path)


def make_osd(module, path, osd):
    """Ceph osd new, and ceph-osd --mkfs on a sparse file."""
    fsid = module.params["cluster"]["fsid"]
    identity = str(uuid.uuid5(uuid.UUID(fsid), f"{module.params['cluster']['name']} osd.{osd['id']}"))
    name = f"osd.{osd['id']}"
    with administrator(module) as cluster:
        there = {one["osd"]: one["uuid"] for one in cluster.ask("osd dump")["osds"]}
        if there.get(osd["id"], identity) != identity:
            raise ceph.Failure(f"the cluster has another OSD {osd['id']}; give this host's ceph_osds another id")
        if osd["id"] in there:
            # A run was killed before the OSD was complete; no data is there yet.
            key = cluster.ask("auth get", entity=name)[0]["key"]
        else:
            key = new_key()
            cluster.ask("osd new", text=json.dumps({"cephx_secret": key}), uuid=identity, id=osd["id"])
    new = begin(path)
    write(os.path.join(new, "keyring"), keyring(name, key))
    size = osd["size_gib"] * 2**30
    as_ceph(
        *["ceph-osd", "--mkfs", "-i", str(osd["id"]), "--osd-uuid", identity, "--osd-data", new],
        *["--bluestore-block-size", str(size), "--keyring", os.path.join(new, "keyring")],
    )
    end(new, path)


if __name__ == "__main__":
    main()
