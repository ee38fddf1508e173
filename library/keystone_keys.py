#!/usr/bin/python3
"""Rotate the key repositories of the Identity service."""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, files, lock, masking, result, unit_state

DOCUMENTATION = r"""
module: keystone_keys
short_description: New keys for tokens (fernet_rotate) and for stored credentials (credential_migrate, credential_rotate)
description:
  - A new key signs from now on. Tokens that older keys signed stay valid until these are purged by later rotations
    ([fernet_tokens] max_active_keys). Stored credentials are encrypted again with the new key.
  - Every call rotates, unless that would purge a key for tokens that has signed until so recently that its tokens are still
    accepted (C([token] expiration) and C(allow_expired_window)). So a rotation that fails and is begun again and again makes no
    token of today unreadable. A warning says so, and from when on the next rotation is possible.
options:
  repositories: {type: list, elements: str, choices: [fernet, credential], required: true, description: Which keys.}
"""

# Credentials have to be under the newest key before there may be a newer one.
COMMANDS = {"fernet": ["fernet_rotate"], "credential": ["credential_migrate", "credential_rotate", "credential_migrate"]}
CONFIGURATION = "/etc/keystone/keystone.conf"
# Keystone's own defaults.
DEFAULTS = {
    ("fernet_tokens", "key_repository"): "/etc/keystone/fernet-keys/",
    ("fernet_tokens", "max_active_keys"): 3,
    ("token", "expiration"): 3600,
    ("token", "allow_expired_window"): 172800,
}


def settings():
    """The options of keystone.conf that say which keys are purged, and how long tokens are accepted."""
    found = dict(DEFAULTS)
    for section, lines in unit_state.sections(files.read(CONFIGURATION) or b"").items():
        for line in lines:
            name, separator, value = (part.strip() for part in line.partition("="))
            # Keystone does not start with a word for a number.
            if (section, name) in found and separator and (value.isdigit() or isinstance(found[section, name], str)):
                found[section, name] = type(found[section, name])(value.strip("\"'"))
    return found


def keys(directory):
    """Number -> time of the keys in a repository: when each was made, as the one that was to sign next."""
    try:
        names = [name for name in os.listdir(directory) if name.isdigit()]
    except OSError:  # in check mode, it comes with this very run
        return {}
    return {int(name): os.stat(os.path.join(directory, name), follow_symlinks=False).st_mtime for name in names}


def too_early(made, most, accepted, now):
    """Seconds until a rotation purges no key whose tokens are accepted; 0 for now.

    A rotation makes the key 0 the one that signs, under the next number, makes a new 0, and purges the lowest ones so that `most`
    are left. So a key has signed until the one after its successor was made, or 0 if there is none yet.
    """
    signed = sorted(number for number in made if number)
    purged = signed[: max(0, len(signed) + 2 - most)]
    ends = [made.get(number + 2, made.get(0, now)) if number != signed[-1] else now for number in purged]
    return max([0, *(end + accepted - now for end in ends)])


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={"repositories": {"type": "list", "elements": "str", "choices": list(COMMANDS), "required": True}},
        supports_check_mode=True,
    )
    lock.take(module)
    repositories = list(module.params["repositories"])
    if "fernet" in repositories:
        said, now = settings(), time.time()
        accepted = said["token", "expiration"] + said["token", "allow_expired_window"]
        most = said["fernet_tokens", "max_active_keys"]
        wait = too_early(keys(said["fernet_tokens", "key_repository"]), most, accepted, now)
        if wait:
            repositories.remove("fernet")
            module.warn(
                "The fernet keys were rotated lately and are not rotated again: that would purge a key whose tokens are still "
                "accepted. Rotate them after %s; at once, at the cost of these tokens: keystone-manage fernet_rotate"
                % time.strftime("%Y-%m-%d %H:%M", time.localtime(now + wait))
            )
    actions = []
    for name in repositories:
        actions.append("rotate the %s keys" % name)
        for verb in () if module.check_mode else COMMANDS[name]:
            # As Keystone's user: root would follow its links.
            argv = ["keystone-manage", verb, "--keystone-user", "keystone", "--keystone-group", "keystone"]
            done = command.run(*argv, user="keystone")
            if done.status:
                output = masking.without_passwords(done.output)
                result.fail(module, "keystone-manage %s failed: %s" % (verb, output.strip()[-600:]), actions)
    result.leave(module, actions)


if __name__ == "__main__":
    main()
