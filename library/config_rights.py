#!/usr/bin/python3
"""Give configuration directories, and what is in them, to root and to the service that reads them."""

import os

from ansible.module_utils import kilonova_rights
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: config_rights
short_description: Owners and modes of /etc/nova and its like, as the OpenStack Security Guide wants them
description:
  - Everything in a directory gets its owner and group; files become 0640, directories 0750. What only its owner may read stays
    as it is.
options:
  directories: {type: list, elements: dict, required: true, description: 'path, owner, group.'}
"""


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "required": True},
                },
            },
        },
        supports_check_mode=True,
    )
    actions = []
    for directory in module.params["directories"]:
        found = kilonova_rights.wrong(directory)
        if not found:
            continue
        if found[0][0] is None:
            if not module.check_mode:  # no package of this host has it
                continue
        else:
            for path, uid, gid, mode in () if module.check_mode else found:
                os.chmod(path, mode & os.lstat(path).st_mode)
                os.chown(path, uid, gid)
                os.chmod(path, mode)
        actions.append("give %(path)s to %(owner)s:%(group)s" % directory)
    module.exit_json(
        changed=bool(actions), actions=actions, diff={"before": "", "after": "".join("%s\n" % action for action in actions)}
    )


if __name__ == "__main__":
    main()
