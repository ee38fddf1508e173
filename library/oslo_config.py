#!/usr/bin/python
"""Write configuration files on a host: compare, keep the original once, replace atomically."""

import base64
import grp
import os
import pwd
import re
import shutil

from ansible.module_utils import kilonova_rights
from ansible.module_utils import kilonova_services as services
from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: oslo_config
short_description: Write configuration files, keeping what the package shipped as .orig
description:
  - Called by the action plugin of the same name, which renders the files where Ansible runs.
  - The first time a file that we did not write is replaced, it is kept as C(<path>.orig), as the install guide does
    (C(cp /etc/nova/nova.conf /etc/nova/nova.conf.orig)).
  - Notes, for M(openstack_services), which sections somebody changed by hand, and for M(host_facts), which files there are.
options:
  files:
    description: Files with path, owner, group, mode and base64 content.
    type: list
    elements: dict
    required: true
  corrected:
    description: >-
      Directories (path, owner, group) whose owners and modes M(config_rights) has put right in this run. In check mode it has
      not, and what is in them counts as if.
    type: list
    elements: dict
    default: []
"""

# As in kilonova/config_files.py, which cannot be read here; a test compares the two.
_SECRET_NAME = r"[\w.-]*(?:pass(?:word|wd|phrase|code)?|secret|token|_key|credentials?|connection|transport_url)"
_CONTINUED = r"(?:\n(?P=indent)[^\S\n]+\S.*)"
_SECRET_VALUE = re.compile(
    rf"^((?P<indent>[^\S\n]*)[#;]?[^\S\n]*(?:export[^\S\n]+)?{_SECRET_NAME}[^\S\n]*[=:][^\S\n]*)"
    rf"(?:\S.*{_CONTINUED}*|{_CONTINUED}+)$",
    re.IGNORECASE | re.MULTILINE,
)
_URL_PASSWORD = re.compile(r"(://[^:/?#@\s]*:)\S+@")
MARK = "Written by Kilonova"


def mask(text):
    """Hide secrets before the text leaves the host."""
    return _URL_PASSWORD.sub(r"\1(hidden)@", _SECRET_VALUE.sub(r"\1(hidden)", text))


def ids(entry, module):
    """Numeric owner and group; None for one that a package of this very run will create (check mode)."""
    try:
        return pwd.getpwnam(entry["owner"]).pw_uid, grp.getgrnam(entry["group"]).gr_gid
    except KeyError as error:
        if module.check_mode:
            return None, None
        module.fail_json(msg="%s: %s; is the package that owns the file installed?" % (entry["path"], error))


def write(path, content, uid, gid, mode):
    """Replace atomically: a reader sees the old file or the new one, never a part, and never other rights."""
    directory = os.path.dirname(path)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    temporary = os.path.join(directory, ".%s.kilonova" % os.path.basename(path))
    if os.path.lexists(temporary):
        os.unlink(temporary)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.chown(temporary, uid, gid)
    os.chmod(temporary, mode)
    os.rename(temporary, path)


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "owner": {"type": "str", "default": "root"},
                    "group": {"type": "str", "default": "root"},
                    "mode": {"type": "str", "default": "0644"},
                    "content": {"type": "str", "required": True, "no_log": True},
                },
            },
            "corrected": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    changed, kept, before, notes, secrets_changed = [], [], {}, {}, []
    foreseen = {}
    for directory in module.params["corrected"] if module.check_mode else ():
        foreseen.update({path: rights for path, *rights in kilonova_rights.wrong(directory)})
    for entry in module.params["files"]:
        path, mode = entry["path"], int(entry["mode"], 8)
        content = base64.b64decode(entry["content"])
        uid, gid = ids(entry, module)
        present = os.path.isfile(path)
        old = b""
        if present:
            with open(path, "rb") as stream:
                old = stream.read()
            state = os.stat(path)
        same_content = present and old == content
        same_rights = present and foreseen.get(path, [state.st_uid, state.st_gid, state.st_mode & 0o7777]) == [uid, gid, mode]
        if same_content and same_rights:
            continue
        changed.append(path)
        old_text = old.decode("utf-8", "replace")
        new_text = content.decode("utf-8")
        before[path] = mask(old_text)
        if same_content:
            notes[path] = ["owner, group and mode become %(owner)s:%(group)s %(mode)s" % entry]
        if mask(old_text) == mask(new_text) and not same_content:
            secrets_changed.append(path)
        original = path + ".orig"
        keep = present and not same_content and MARK not in old_text[:400] and not os.path.exists(original)
        if keep:
            kept.append(original)
        if module.check_mode:
            continue
        if keep:
            # Under its name only when it is whole: it is never made again.
            shutil.copy2(path, original + ".kilonova")
            os.chown(original + ".kilonova", state.st_uid, state.st_gid)
            os.rename(original + ".kilonova", original)
        if same_content:
            os.chown(path, uid, gid)
            os.chmod(path, mode)
        else:
            # First: a run that dies here, or between here and the restart, leaves the mark.
            known = services.load_state()
            if services.mark_edits(known, path):
                services.save_state(known)
            write(path, content, uid, gid, mode)
    if not module.check_mode:
        services.note_files([entry["path"] for entry in module.params["files"]])
    module.exit_json(
        changed=bool(changed),
        changed_files=changed,
        kept=kept,
        before=before,
        notes=notes,
        secrets_changed=secrets_changed,
    )


if __name__ == "__main__":
    main()
