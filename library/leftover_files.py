#!/usr/bin/python3
"""Remove files that packages create and nothing reads."""

import os

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import files, lock, result

DOCUMENTATION = r"""
module: leftover_files
short_description: Remove files that packages make and nobody reads, as the guide's C(rm -f /var/lib/nova/nova.sqlite)
description:
  - A link is removed, not what it points to. A directory is refused.
options:
  paths: {type: list, elements: path, required: true, description: Absolute paths of the files.}
"""


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={"paths": {"type": "list", "elements": "path", "required": True}}, supports_check_mode=True
    )
    lock.take(module)
    actions = []
    with result.doing(module, actions):
        for path in filter(os.path.lexists, module.params["paths"]):
            try:
                if not module.check_mode:
                    with files.Place(path) as place:
                        os.unlink(place.name, dir_fd=place.directory)
            except (files.Refused, OSError) as refused:
                module.fail_json(msg="%s: cannot be removed (%s); remove it, and run again" % (path, refused))
            actions.append("remove %s" % path)
    result.leave(module, actions)


if __name__ == "__main__":
    main()
