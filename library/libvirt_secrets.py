#!/usr/bin/python3
"""Keys that libvirt gives to QEMU, for volumes and disks in Ceph."""

import base64
from xml.sax.saxutils import escape

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import lock, result

try:
    import libvirt
except ImportError:  # check mode on a fresh host: the package comes with this very run
    libvirt = None

DOCUMENTATION = r"""
module: libvirt_secrets
short_description: Secrets of libvirt (virsh secret-define, secret-set-value), without a value in an argv
description:
  - Defines those that are missing, sets values that differ, and removes those of ours that are not wanted any more, which their
    usage says.
options:
  keys:
    type: list
    elements: dict
    required: true
    description: 'uuid, user of Ceph, and key in Ceph''s own form.'
"""
# What the usage of our secrets begins with.
OURS = "kilonova "


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "keys": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "uuid": {"type": "str", "required": True},
                    "user": {"type": "str", "required": True},
                    "key": {"type": "str", "required": True, "no_log": True},
                },
            }
        },
        supports_check_mode=True,
    )
    lock.take(module)
    wanted, actions = {one["uuid"].lower(): one for one in module.params["keys"]}, []
    connection = opened(module)
    if connection is None:
        result.leave(module, [f"give libvirt the key of {one['user']}" for one in wanted.values()])
    with result.doing(module, actions):
        try:
            for action, do in steps(connection, wanted):
                actions.append(action)
                if not module.check_mode:
                    do()
        except libvirt.libvirtError as error:
            module.fail_json(msg=f"libvirt: {error}")
    result.leave(module, actions)


def opened(module):
    """Libvirt; None in check mode, where it may come with this very run."""
    if libvirt is not None:
        # Its errors are raised; it would print them as well.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        try:
            return libvirt.open("qemu:///system")
        except libvirt.libvirtError as error:
            said = f"libvirt does not answer: {error}"
    else:
        said = "python3-libvirt is missing on this host; nova-compute brings it"
    if not module.check_mode:
        module.fail_json(msg=said)
    return None


def steps(connection, wanted):
    """[(action, how it is done)]."""
    known = {one.UUIDString(): one for one in connection.listAllSecrets()}
    found = []
    for uuid, one in wanted.items():
        secret = known.get(uuid)
        if secret is None:
            found.append((f"give libvirt the key of {one['user']}", lambda one=one: define(connection, one)))
        elif value(secret) != one["key"]:
            found.append((f"give libvirt the new key of {one['user']}", lambda one=one, secret=secret: put(secret, one)))
    for uuid, secret in known.items():
        if uuid not in wanted and secret.usageID().startswith(OURS):
            user = secret.usageID()[len(OURS) :]
            found.append((f"take the key of {user} from libvirt", secret.undefine))
    return found


def value(secret):
    """A secret's value, in Ceph's form; None where it has none yet."""
    try:
        return base64_of(secret.value())
    except libvirt.libvirtError:
        return None


def base64_of(raw):
    """Bytes of a key as Ceph writes them."""
    return base64.b64encode(raw).decode()


def define(connection, one):
    """Make a secret, with its value."""
    usage = escape(OURS + one["user"])
    text = (
        f"<secret ephemeral='no' private='no'><uuid>{escape(one['uuid'])}</uuid><usage type='ceph'><name>{usage}</name></usage>"
        "</secret>"
    )
    put(connection.secretDefineXML(text), one)


def put(secret, one):
    """Set its value: the bytes that Ceph's text stands for."""
    secret.setValue(base64.b64decode(one["key"]))


if __name__ == "__main__":
    main()
