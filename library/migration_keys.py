#!/usr/bin/python
"""The keys by which compute nodes trust each other with migrations: one of each host, known to the others."""

import json
import os
import pwd

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, files, lock, migration, result, unit_state

DOCUMENTATION = r"""
module: migration_keys
short_description: A key of Nova's user on a compute node, and the list of those of the other nodes
description:
  - Without O(lists), creates the key of this host when there is none. The private key never leaves the host. What is done in the
    home of Nova's user is done as that user.
  - With O(lists), writes who may log in here and how the others are recognized. What is known here of a node that this run
    did not ask (C(--limit)) is kept; that of one that is not in O(lists) is removed.
  - With O(state=absent), removes all of it but the host's own key, and lets sshd know.
options:
  directory: {type: path, required: true, description: Directory of C(authorized_keys) and C(known_hosts).}
  lists:
    type: str
    description: >-
      JSON, as the action M(migration_nodes) returns it, the same for all hosts - file name to a list of [address, line]; the line
      is empty for a node that this run did not ask, and null for one whose key is not made yet (check mode).
  state: {type: str, choices: [present, absent], default: present, description: Whether this host takes part.}
"""

RETURN = r"""
peer:
  description: What the others need of this host - key (public, of the user) and host_key. Empty keys are not made yet.
  type: dict
  returned: without lists
"""
SERVICE = "ssh"


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "lists": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    lock.take(module)
    try:
        if module.params["state"] == "absent":
            remove(module)
        elif module.params["lists"] is not None:
            write(module)
        else:
            key(module)
    except files.Refused as refused:
        module.fail_json(msg=str(refused))


def key(module):
    """Create the key when there is none; return its public half."""
    try:
        account = pwd.getpwnam(migration.USER)
    except KeyError:
        if not module.check_mode:
            module.fail_json(msg="user %s is missing on this host; the package nova-common makes it" % migration.USER)
        nothing = {"key": "", "host_key": migration.host_key()}
        result.leave(module, ["create the key of user %s" % migration.USER], peer=nothing)
    host_key = migration.host_key()
    # In check mode, the package may still be to come.
    if not host_key and (os.path.exists(migration.SSHD) or not module.check_mode):
        remedy = "run `ssh-keygen -A` and `systemctl reload ssh` on it"
        module.fail_json(msg="%s: is not a public key of this host; %s" % (migration.HOST_KEY, remedy))
    path = migration.private_key(account.pw_dir)
    public, wrong = migration.users_key(account)
    if wrong:
        what = "is not an ed25519 key that user %s can use without a passphrase (%s)" % (migration.USER, wrong)
        module.fail_json(msg="%s: %s; move it away, and the next run makes one" % (path, what))
    actions = [] if public else ["create %s" % path]
    if actions and not module.check_mode:
        with result.doing(module, actions):
            public = make(module, account, path)
    result.leave(module, actions, peer={"key": public, "host_key": host_key})


def make(module, account, path):
    """Make the key, under its name only when it is whole; return its public half."""
    part = path + ".kilonova"
    for argv in (
        ("mkdir", "-p", "-m", "0700", os.path.dirname(path)),
        # Of a run that was killed.
        ("rm", "-f", part, part + ".pub"),
        ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "nova migration", "-f", part),
        ("mv", "-fT", part + ".pub", path + ".pub"),
        ("mv", "-nT", part, path),
    ):
        rc, output, errors = migration.as_user(account, *argv)
        if rc:
            module.fail_json(msg="%s: %s" % (" ".join(argv[:1]), errors or output))
    public, wrong = migration.users_key(account)
    if not public:
        module.fail_json(msg="%s: was not made (%s)" % (path, wrong))
    return public


def write(module):
    """Write both lists where they differ."""
    p = module.params
    actions, diffs = [], []
    for name, rows in sorted(json.loads(p["lists"]).items()):
        path = os.path.join(p["directory"], name)
        before = migration.read(path)
        kept = migration.known(before)
        wanted = "".join("%s\n" % line for line in (line or kept.get(address) for address, line in rows) if line)
        # In check mode, a node without a key will have one.
        if before == wanted and all(line is not None for _address, line in rows):
            continue
        actions.append("write %s" % path)
        diffs.append({"before_header": path, "after_header": path, "before": before, "after": wanted})
        if not module.check_mode:
            with result.doing(module, actions):
                files.replace(path, wanted, 0o644)
    result.leave(module, actions, diff=diffs)


def remove(module):
    """Remove the lists, what makes sshd and ssh read them, and what sshd starts for a peer."""
    found = migration.remains(module.params["directory"])
    actions = ["remove %s" % path for path in found]
    if actions:
        actions.append("reload %s" % SERVICE)
    if actions and not module.check_mode:
        # sshd forgets the peers' keys with the first file; it reads its configuration again before the directory goes.
        *early, last = found if os.path.isdir(found[-1]) else [*found, ""]
        with result.doing(module, actions):
            for path in early:
                os.unlink(path)
            state = unit_state.load_state()
            if state.pop(SERVICE, None):
                unit_state.save_state(state)
            done = command.run("systemctl", "try-reload-or-restart", SERVICE)
            if done.status:
                module.fail_json(msg="systemctl try-reload-or-restart %s: %s" % (SERVICE, done.output.strip()))
            if last:
                os.rmdir(last)
    result.leave(module, actions)


if __name__ == "__main__":
    main()
