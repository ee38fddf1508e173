#!/usr/bin/python3
"""Give configuration directories, and what is in them, to root and to the service that reads them."""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import files, lock, result, rights

DOCUMENTATION = r"""
module: config_rights
short_description: Owners and modes of /etc/nova and its like, as the OpenStack Security Guide wants them
description:
  - Everything in a directory gets its owner and group. Files become 0640, or 0750 where the owner may execute them;
    directories 0750.
  - What only its owner may read stays as it is, and so does what belongs to a user or group that is neither root nor the service,
    and what root alone can read by owner and group. Links are not followed.
  - What it corrects, or would in check mode, it returns as C(corrected), for the tasks that write files there.
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
    lock.take(module)
    actions, corrected = [], []
    for directory in module.params["directories"]:
        try:
            found = rights.wrong(directory, correct=not module.check_mode)
        except files.Refused as error:
            result.fail(module, str(error), actions)
        except OSError as error:
            result.fail(module, str(files.unwritable(directory["path"], error)), actions)
        if module.check_mode:
            wrong = bool(found) or directory["package"] in module.params["installed"]
        else:
            # Without that, no package of this host has the directory.
            wrong = bool(found) and found[0][0] is not None
        if wrong:
            actions.append("give %(path)s to %(owner)s:%(group)s" % directory)
            corrected.append(directory)
    result.leave(module, actions, corrected=corrected)


if __name__ == "__main__":
    main()
