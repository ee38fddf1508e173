#!/usr/bin/python
"""The keys by which compute nodes trust each other with migrations: one of each host, known to the others."""

import os
import pwd
import subprocess

from ansible.module_utils import kilonova_migration as migration
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: migration_keys
short_description: A key of Nova's user on a compute node, and the list of those of the other nodes
description:
  - Without O(peers), makes the key of this host when there is none. The private key never leaves the host.
  - With O(peers), writes who may log in here and how the others are recognized. What is known here of an address that this run
    did not ask (C(--limit)) is kept; that of one that is not in O(addresses) is removed.
options:
  address: {type: str, description: Address that the other compute nodes know this host by. Needed without O(peers).}
  directory: {type: path, required: true, description: Directory of C(authorized_keys) and C(known_hosts).}
  peers:
    type: list
    elements: dict
    description: >-
      Those of the other compute nodes that this run asked: address, and key and host_key as this module returned them there.
  addresses: {type: list, elements: str, default: [], description: Addresses of all other compute nodes.}
"""

RETURN = r"""
peer:
  description: What the others need of this host - address, key (public, of the user), host_key. Empty keys are not made yet.
  type: dict
  returned: without peers
"""


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str"},
            "directory": {"type": "path", "required": True},
            "peers": {
                "type": "list",
                "elements": "dict",
                "options": {
                    "address": {"type": "str", "required": True},
                    "key": {"type": "str", "default": "", "no_log": False},
                    "host_key": {"type": "str", "default": "", "no_log": False},
                },
            },
            "addresses": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    p = module.params
    try:
        account = pwd.getpwnam(migration.USER)
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg="user %s is missing on this host; the package nova-common makes it" % migration.USER)
        nothing = {"address": p["address"], "key": "", "host_key": ""}
        module.exit_json(changed=True, peer=nothing, actions=["create the key of user %s" % migration.USER])
    if p["peers"] is None:
        key(module, account)
    write(module)


def key(module, account):
    """Make the key when there is none; return its public half."""
    path = migration.private_key(account.pw_dir)
    missing = not os.path.exists(path)
    if missing and not module.check_mode:
        directory = os.path.dirname(path)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "nova migration", "-f", path]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            module.fail_json(msg="ssh-keygen: %s" % done.stdout.decode("utf-8", "replace").strip())
        for name in (directory, path, path + ".pub"):
            os.chown(name, account.pw_uid, account.pw_gid)
    module.exit_json(
        changed=missing,
        peer={
            "address": module.params["address"],
            "key": migration.public_key(path + ".pub"),
            "host_key": migration.public_key(migration.HOST_KEY),
        },
        actions=["create %s" % path] if missing else [],
    )


def write(module):
    """Write both lists where they differ."""
    p = module.params
    actions, diffs = [], []
    for name, (which, _prefix) in migration.LISTS.items():
        path = os.path.join(p["directory"], name)
        before = migration.read(path)
        keys = dict(migration.known(before), **{peer["address"]: peer[which] for peer in p["peers"]})
        wanted = migration.text(name, {address: keys[address] for address in p["addresses"] if keys.get(address)})
        # In check mode, a peer without a key will have one.
        if before == wanted and all(peer[which] for peer in p["peers"]):
            continue
        actions.append("write %s" % path)
        diffs.append({"before_header": path, "after_header": path, "before": before, "after": wanted})
        if not module.check_mode:
            os.makedirs(p["directory"], mode=0o755, exist_ok=True)
            descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(wanted)
            os.rename(path + ".new", path)
    module.exit_json(changed=bool(actions), actions=actions, diff=diffs)


if __name__ == "__main__":
    main()
