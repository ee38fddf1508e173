#!/usr/bin/python
"""Keep services from being started by their packages before they are configured."""

import os

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: service_hold
short_description: Hold back the start of services while packages are installed (policy-rc.d)
description:
  - Debian's packages start their services at once, with the shipped configuration. OpenStack's fail then, each after up to 90 s,
    with 8 to 16 processes.
  - Only units that match C(units) are held back; a policy of the administrator is left alone, and then nothing is held.
options:
  units: {type: list, elements: str, required: true, description: Shell patterns of unit names.}
  state: {type: str, choices: [present, absent], default: present, description: Whether they are held back.}
"""

PATH = "/usr/sbin/policy-rc.d"
MARK = "# Written by Kilonova for the time of one apt call."
SCRIPT = """#!/bin/sh
%s
case "$1" in
%s) exit 101 ;;
esac
exit 0
"""


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "units": {"type": "list", "elements": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    wanted = SCRIPT % (MARK, "|".join(module.params["units"]))
    present = os.path.lexists(PATH)
    text = ""
    if present:
        with open(PATH, encoding="utf-8", errors="replace") as stream:
            text = stream.read()
    if present and MARK not in text:
        module.exit_json(changed=False, msg="%s is the administrator's" % PATH)
    if module.params["state"] == "absent":
        if present and not module.check_mode:
            os.unlink(PATH)
        module.exit_json(changed=present)
    if text != wanted and not module.check_mode:
        with open(PATH, "w", encoding="utf-8") as stream:
            stream.write(wanted)
        os.chmod(PATH, 0o755)
    module.exit_json(changed=text != wanted)


if __name__ == "__main__":
    main()
