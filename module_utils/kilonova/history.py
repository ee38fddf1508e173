"""What was changed on this host, when, why and by which run: one line of JSON per action, the newest two files of them.

Only the `actions` of our modules are written. They have no secrets, and what Ansible would hide of them is hidden here, too.
A line is written when the module that did it ends, so a run that is killed has lost nothing that was done before.
"""

import contextlib
import datetime
import fcntl
import json
import os

from ansible.module_utils.common.parameters import remove_values

from . import files, unit_state

# Set by the callback plugin `stages` for all modules of a run: its id, the version, and the playbook's name.
RUN = "KILONOVA_RUN"
# The older file is given up when the newer one has so many bytes.
LARGEST = 2**20
NEWER, OLDER = "actions.jsonl", "actions.jsonl.1"
FIELDS = ("when", "run", "version", "playbook", "module", "action")


def directory():
    """Where the files are."""
    return os.path.join(unit_state.DIRECTORY, "history")


def append(module, actions, failed=False):
    """Write down what a module did. Where that is not possible, the module goes on, with a warning."""
    run, version, playbook = [*os.environ.get(RUN, "").split(" ", 2), "", "", ""][:3]
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    known = [when, run, version, playbook, getattr(module, "_name", "")]
    shown = remove_values([str(action) for action in actions], getattr(module, "no_log_values", ()))
    entries = [{**dict(zip(FIELDS, [*known, action], strict=True)), **({"failed": True} if failed else {})} for action in shown]
    try:
        _write("".join(json.dumps(entry) + "\n" for entry in entries).encode())
    except files.Refused as error:
        module.warn(f"what was changed is not in this host's history: {error}")
    except OSError as error:
        refused = files.unwritable(directory(), error)
        module.warn(f"what was changed is not in this host's history: {refused}")


def _write(lines):
    """Add whole lines, or nothing."""
    os.makedirs(unit_state.DIRECTORY, mode=0o755, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory(), 0o700)
    with files.Place(os.path.join(directory(), NEWER)) as place:
        if place.directory is None:
            raise files.Refused(directory(), "is a symbolic link that leads nowhere", "remove it")
        # Most modules that come here hold the host's lock. Those that change nothing on the host itself do not.
        fcntl.flock(place.directory, fcntl.LOCK_EX)
        if place.size() + len(lines) > LARGEST and place.there(NEWER):
            os.rename(NEWER, OLDER, src_dir_fd=place.directory, dst_dir_fd=place.directory)
        place.append(lines)


def read(since=""):
    """(entries from this time on, oldest first; how many lines are not such). Times in UTC, as they are written."""
    entries, strange, seen = [], 0, set()
    # In this order: what a run moves meanwhile from the first to the second is read once.
    contents = []
    for name in (NEWER, OLDER):
        with files.Place(os.path.join(directory(), name)) as place:
            content, state = place.read()
        if content is not None and state.st_ino not in seen:
            seen.add(state.st_ino)
            contents.insert(0, content)
    for line in b"".join(contents).splitlines():
        try:
            entry = json.loads(line)
            if not all(isinstance(entry[name], str) for name in FIELDS):
                raise ValueError(line)
        except (ValueError, KeyError, TypeError, RecursionError):
            strange += 1
            continue
        if entry["when"] >= since:
            entries.append(entry)
    return sorted(entries, key=lambda entry: entry["when"]), strange
