#!/usr/bin/python3
"""Rotate the key repositories of the Identity service."""

import re
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: keystone_keys
short_description: New keys for tokens (fernet_rotate) and for stored credentials (credential_migrate, credential_rotate)
description:
  - A new key signs from now on. Tokens that older keys signed stay valid until these are purged by later rotations
    ([fernet_tokens] max_active_keys). Stored credentials are encrypted again with the new key.
  - Every call rotates; it is always C(changed).
options:
  repositories: {type: list, elements: str, choices: [fernet, credential], required: true, description: Which keys.}
"""

# Credentials have to be under the newest key before there may be a newer one.
COMMANDS = {"fernet": ["fernet_rotate"], "credential": ["credential_migrate", "credential_rotate", "credential_migrate"]}


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "repositories": {"type": "list", "elements": "str", "choices": list(COMMANDS), "required": True},
        },
        supports_check_mode=True,
    )
    actions = ["rotate the %s keys" % name for name in module.params["repositories"]]
    for name in module.params["repositories"]:
        for command in () if module.check_mode else COMMANDS[name]:
            argv = ["keystone-manage", command, "--keystone-user", "keystone", "--keystone-group", "keystone"]
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            if done.returncode:
                output = re.sub(r"://([^:/@\s]+):[^@\s]+@", r"://\1:(hidden)@", done.stdout.decode("utf-8", "replace"))
                module.fail_json(msg="keystone-manage %s failed: %s" % (command, output.strip()[-600:]))
    module.exit_json(
        changed=bool(actions), actions=actions, diff={"before": "", "after": "".join("%s\n" % action for action in actions)}
    )


if __name__ == "__main__":
    main()
