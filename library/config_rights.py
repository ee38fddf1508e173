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
  - What it corrects, or would in check mode, is in the fact C(config_rights_corrected), for the tasks that write files there.
options:
  directories:
    type: list
    elements: dict
    required: true
    description: path, owner, group, and the package whose installation gives it to others.
  installed: {type: list, elements: str, default: [], description: Packages that this run has installed, or would in check mode.}
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
                    "package": {"type": "str", "required": True},
                },
            },
            "installed": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    actions, corrected = [], []
    for directory in module.params["directories"]:
        found = kilonova_rights.wrong(directory)
        if module.check_mode:
            loose = bool(found) or directory["package"] in module.params["installed"]
        else:
            # Without that, no package of this host has the directory.
            loose = bool(found) and found[0][0] is not None
            for path, uid, gid, mode in found if loose else ():
                os.chmod(path, mode & os.lstat(path).st_mode)
                os.chown(path, uid, gid)
                os.chmod(path, mode)
        if loose:
            actions.append("give %(path)s to %(owner)s:%(group)s" % directory)
            corrected.append(directory)
    module.exit_json(
        changed=bool(actions), actions=actions, diff={"before": "", "after": "".join("%s\n" % action for action in actions)},
        ansible_facts={"config_rights_corrected": corrected},
    )


if __name__ == "__main__":
    main()
