#!/usr/bin/python
"""Files that one controller has made, such as keys, and all controllers must have."""

import base64
import fnmatch
import grp
import os
import pwd
import secrets
import string

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import files, lock, result

DOCUMENTATION = r"""
module: shared_files
short_description: Files that one controller has made and all controllers must have
description:
  - Without C(content), returns what is there; with it, makes the same of this host.
  - Of the files that have such a name, those that the other host does not have are removed, after the new ones are there.
options:
  files:
    type: list
    elements: dict
    required: true
    description: Which files.
    suboptions:
      directory: {type: path, required: true, description: Where they are. Made when it is missing.}
      names: {type: str, required: true, description: Shell pattern of their names.}
      owner: {type: str, required: true, description: Their owner.}
      group: {type: str, required: true, description: Their group.}
      mode: {type: str, default: '0600', description: Their mode.}
      generated:
        type: bool
        default: false
        description: Whether a file that is missing is made, with a random text. Then C(names) is a name.
  content:
    type: dict
    description: What this module has returned on another host. A directory without a value is one that this very run makes.
"""

RETURN = r"""
found:
  description: Directory to name to what it has (base64) and when that was written, in nanoseconds; none before it is made.
  returned: without C(content)
  type: dict
"""

# As Erlang makes its own.
SECRET = 32


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "directory": {"type": "path", "required": True},
                    "names": {"type": "str", "required": True},
                    "owner": {"type": "str", "required": True},
                    "group": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0600"},
                    "generated": {"type": "bool", "default": False},
                },
            },
            "content": {"type": "dict", "no_log": True},
        },
        supports_check_mode=True,
    )
    lock.take(module)
    content, actions = module.params["content"], []
    try:
        with result.doing(module, actions):
            if content is None:
                found = {one["directory"]: read(module, one, actions) for one in module.params["files"]}
                result.leave(module, actions, found=found)
            for one in module.params["files"]:
                copy(module, one, content.get(one["directory"]), actions)
    except files.Refused as error:
        module.fail_json(msg=str(error))
    result.leave(module, actions)


def present(one):
    """Name -> what the file has, and when it was written; None without the directory."""
    try:
        here, _safe = files.open_directory(one["directory"])
    except FileNotFoundError:
        return None
    try:
        names = sorted(name for name in os.listdir(here) if fnmatch.fnmatchcase(name, one["names"]))
    finally:
        os.close(here)
    found = {}
    for name in names:
        with files.Place(os.path.join(one["directory"], name)) as place:
            content, state = place.read()
            if content is not None:
                found[name] = {"content": base64.b64encode(content).decode(), "written": state.st_mtime_ns}
    return found


def read(module, one, actions):
    """What the host has, for others; made, where it is a secret that is missing."""
    found = present(one)
    if found or not one["generated"]:
        return found or None
    actions.append("create %s" % os.path.join(one["directory"], one["names"]))
    if module.check_mode:
        return None
    text = "".join(secrets.choice(string.ascii_uppercase) for _ in range(SECRET))
    write(one, one["names"], text.encode())
    return present(one)


def copy(module, one, wanted, actions):
    """The same files as on the other host."""
    own, what = present(one), os.path.join(one["directory"], one["names"])
    if wanted is None and not module.check_mode:
        module.fail_json(msg="%s: the first controller has none" % what)
    texts = {name: file["content"] for name, file in (own or {}).items()}
    if texts and wanted is not None and texts == {name: file["content"] for name, file in wanted.items()}:
        return
    if wanted is None and texts:
        # This very run makes them there; these are of another cloud, or of an earlier attempt.
        module.warn("%s will be those of the first controller" % what)
    actions.append("copy %s of the first controller" % what)
    if module.check_mode:
        return
    for name, file in wanted.items():
        if texts.get(name) != file["content"]:
            write(one, name, base64.b64decode(file["content"]), (file["written"], file["written"]))
    here, _safe = files.open_directory(one["directory"])
    try:
        for name in set(texts) - set(wanted):
            os.unlink(name, dir_fd=here)
    finally:
        os.close(here)


def write(one, name, content, times=None):
    """Write a file, and make its directory, which only its owner may enter."""
    uid, gid = pwd.getpwnam(one["owner"]).pw_uid, grp.getgrnam(one["group"]).gr_gid
    is_new = present(one) is None
    with files.Place(os.path.join(one["directory"], name), create=True) as place:
        if is_new:
            files.give(place.directory, uid, gid, 0o700)
        place.write(content, uid, gid, int(one["mode"], 8), times=times)


if __name__ == "__main__":
    main()
