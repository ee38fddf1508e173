#!/usr/bin/python
"""Write configuration files on a host: compare, keep the original once, replace atomically."""

import base64
import contextlib
import grp
import pwd

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import files, lock, result, rights, unit_state
from ansible.module_utils.kilonova.masking import mask

try:
    import yaml
except ImportError:  # a fresh host: the package comes with this very run
    yaml = None

DOCUMENTATION = r"""
module: config_files
short_description: Write configuration files, keeping what the package shipped as .orig
description:
  - Called by the action plugin of the same name, which renders the files where Ansible runs.
  - The first time a file that we did not write is replaced, it is kept as C(<path>.orig), as the install guide does
    (C(cp /etc/nova/nova.conf /etc/nova/nova.conf.orig)).
  - A file that is a symbolic link, a directory or a device is refused before any of them is touched, and so is one with a second
    name (a hard link) in a directory that a service may change. A link of a directory is followed where root alone can set it.
  - Notes, for M(service_units), which sections were changed by hand, and for M(host_facts), which files exist.
options:
  files:
    description: >-
      Files with path, owner, group, mode and base64 content; merge is the name of a mapping in a YAML file, in which entries that
      are not ours stay as they are, and so does everything else.
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


def ids(entry, module):
    """Numeric owner and group; None for one that a package of this very run will create (check mode)."""
    try:
        return pwd.getpwnam(entry["owner"]).pw_uid, grp.getgrnam(entry["group"]).gr_gid
    except KeyError as error:
        if module.check_mode:
            return None, None
        module.fail_json(msg="%s: %s; is the package that owns the file installed?" % (entry["path"], error))


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
                    "merge": {"type": "str"},
                },
            },
            "corrected": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    lock.take(module)
    refused = files.refusals(entry["path"] for entry in module.params["files"])
    if refused:
        module.fail_json(msg="Nothing was written. %s" % " | ".join(map(str, refused)))
    actions = []
    found = {"changed_files": [], "kept": [], "before": {}, "after": {}, "notes": {}, "secrets_changed": []}
    owned = [(entry, *ids(entry, module)) for entry in module.params["files"]]
    try:
        foreseen = {}
        for directory in module.params["corrected"] if module.check_mode else ():
            foreseen.update({path: wanted for path, *wanted in rights.wrong(directory)})
        for entry, uid, gid in owned:
            action = bring(module, entry, [uid, gid, int(entry["mode"], 8)], foreseen.get(entry["path"]), found)
            actions += [action] if action else []
        if not module.check_mode:
            unit_state.note_files([entry["path"] for entry in module.params["files"]])
    except files.Refused as error:
        result.fail(module, str(error), actions, **found)
    result.leave(module, actions, **found)


def merged(module, path, name, old, ours):
    """A YAML file with what we say in one of its mappings, and what others have in it; ours alone where they have nothing."""
    if yaml is None:
        if module.check_mode:
            module.warn("%s: python3-yaml is not installed yet; what others have in it stays, and is not in this plan" % path)
            return ours
        module.fail_json(msg="%s: python3-yaml is missing on this host; the role keystone installs it" % path)
    try:
        there = yaml.safe_load(old.decode())
    except (ValueError, yaml.YAMLError) as error:
        module.fail_json(msg="%s: is not YAML (%s); correct it, or move it away" % (path, str(error).split("\n")[0]))
    wanted = yaml.safe_load(ours.decode())
    if there is None:
        return ours
    if not isinstance(there, dict) or not isinstance(there.get(name) or {}, dict):
        module.fail_json(msg="%s: has no mapping %s; correct it, or move it away" % (path, name))
    both = {**there, **wanted, name: {**(there.get(name) or {}), **wanted[name]}}
    if both == wanted:
        return ours
    comments = b"".join(line for line in ours.splitlines(keepends=True) if line.startswith(b"#"))
    return comments + yaml.safe_dump(both, default_flow_style=False, allow_unicode=True, sort_keys=False).encode()


def action_of(path, old, new, rights_only):
    """What is done to a file, and what changes in it: names of sections, never what is in them.

    No more is said of a file that is not ours yet: a plan cannot know what a package of the same run will bring.
    """
    changed = ""
    if files.MARK in old[:400].decode("utf-8", "replace"):
        old, new = unit_state.sections(old), unit_state.sections(new)
        names = [name for name in unit_state.differing(old, new) if name]
        changed = "owner, group and mode" if rights_only else " ".join("[%s]" % name for name in names)
    return "write %s (%s)" % (path, changed) if changed else "write %s" % path


def bring(module, entry, wanted, foreseen, found):
    """Make a file what it must be, with what was there kept once as `.orig`; returns this as an action.

    What that changes is said in `found`.
    """
    path, content = entry["path"], base64.b64decode(entry["content"])
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(files.Place(path))
        old, state = place.read()
        if entry.get("merge") and old:
            content = merged(module, path, entry["merge"], old, content)
        owned = [state.st_uid, state.st_gid, state.st_mode & 0o7777] if state else None
        same_content = old == content
        if same_content and (foreseen or owned) == wanted:
            return None
        found["changed_files"].append(path)
        old_text, new_text = (old or b"").decode("utf-8", "replace"), content.decode("utf-8")
        if entry.get("merge"):
            found["after"][path] = mask(new_text)
        found["before"][path] = mask(old_text)
        if same_content:
            found["notes"][path] = ["owner, group and mode become %(owner)s:%(group)s %(mode)s" % entry]
        elif found["before"][path] == mask(new_text):
            found["secrets_changed"].append(path)
        original = place.name + ".orig"
        keep = state and not same_content and files.MARK not in old_text[:400] and not place.there(original)
        if keep:
            found["kept"].append(path + ".orig")
        action = action_of(path, old or b"", content, same_content)
        if module.check_mode:
            return action
        if keep:
            place.write(old, *owned, name=original, times=(state.st_atime_ns, state.st_mtime_ns))
        if same_content:
            place.give(*wanted)
            return action
        # First: a run that dies here, or between here and the restart, leaves the mark.
        known = unit_state.load_state(module.warn)
        if unit_state.mark_edits(known, path):
            unit_state.save_state(known)
        if place.directory is None:
            place = stack.enter_context(files.Place(path, create=True))
        place.write(content, *wanted)
        return action


if __name__ == "__main__":
    main()
