"""What services were last restarted with, kept on their host: digests to compare, and files to go back to."""

import glob
import hashlib
import json
import os
import shutil

DIRECTORY = "/var/lib/kilonova"
# Stands for a digest where somebody changed the file by hand: no digest is equal to it.
BY_HAND = "changed by hand"
ENABLED = ("enabled", "enabled-runtime", "static", "alias", "indirect")
RUNLEVELS = "/etc/rc[2-5].d/S[0-9][0-9]%s"


def unit_name(name):
    """A unit as systemd calls it: a service, where nothing else is said."""
    return name if name.endswith(".socket") else name + ".service"


def is_enabled(name, state):
    """Whether a unit starts with the host. One that systemd makes of an init script is so by the links of its runlevels."""
    return bool(glob.glob(RUNLEVELS % name)) if state == "generated" else state in ENABLED


def keyed(sections, key):
    """One digest of the sections that a unit uses; kilonova/hosts.py has the same."""
    used = sorted((name, digest) for name, digest in sections.items() if digest)
    return hashlib.blake2b(json.dumps(used).encode(), key=key, digest_size=16).hexdigest()


def state_path():
    """Unit -> path -> section -> digest."""
    return os.path.join(DIRECTORY, "services.json")


def good_path(path):
    """Where the copy of a file is that its services are known to run with."""
    return os.path.join(DIRECTORY, "good", path.lstrip("/"))


def files_path():
    """The paths of all files that the module oslo_config writes."""
    return os.path.join(DIRECTORY, "files.json")


def load(path):
    """What save() wrote there; None when there is nothing."""
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def save(path, data):
    """Replace a file of ours; digests of secrets are for root only."""
    replace(path, json.dumps(data, indent=1, sort_keys=True).encode())


def load_state():
    """What each unit was last restarted with."""
    return load(state_path()) or {}


def save_state(state):
    """Remember it."""
    save(state_path(), state)


def note_files(paths):
    """Remember what is written, so that a later run can tell whether it is still the same."""
    known = load(files_path()) or []
    if not set(paths) <= set(known):
        save(files_path(), sorted(path for path in {*known, *paths} if os.path.lexists(path)))


def replace(path, content):
    """Write a file of root's own atomically, with its directories."""
    os.makedirs(DIRECTORY, mode=0o755, exist_ok=True)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(path + ".new", path)


def read(path):
    """Content of a file; None when there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return None


def sections(content):
    """Section -> its lines without comments."""
    found, name = {}, ""
    for line in content.decode("utf-8", "replace").splitlines():
        line = line.strip()
        if line.startswith("[") and line.endswith("]"):
            name = line[1:-1]
            found.setdefault(name, [])
        elif line and line[0] not in "#;":
            found.setdefault(name, []).append(line)
    return found


def differing(old, new):
    """Names whose values differ between two mappings."""
    return [name for name in sorted(set(old) | set(new)) if old.get(name) != new.get(name)]


def mark_edits(state, path):
    """Where a file is not what its services were last seen running with, forget their digests of the sections that differ.

    A service may have been restarted since, so it may run with them. Returns whether `state` changed.
    """
    good = read(good_path(path))
    present = read(path)
    if good is None or present == good:
        return False
    edited = differing(sections(good), sections(present or b""))
    marked = False
    for known in state.values():
        if path in known:
            for name in ["*"] if "*" in known[path] else edited:
                # "": the unit does not use this section.
                if known[path].get(name) != "":
                    known[path][name], marked = BY_HAND, True
    return marked


def is_good(path):
    """Whether a file is what its services were last seen running with."""
    return read(path) == read(good_path(path))


def keep_good(path):
    """The services that read this file run: it is what to go back to."""
    present = read(path)
    if present is not None and not is_good(path):
        os.makedirs(os.path.join(DIRECTORY, "good"), mode=0o700, exist_ok=True)
        replace(good_path(path), present)


def put_back(path):
    """Make a file what its services ran with before; returns whether it was something else."""
    good = read(good_path(path))
    if good is None or good == read(path):
        return False
    temporary = path + ".kilonova"
    replace(temporary, good)
    if os.path.exists(path):
        shutil.copystat(path, temporary)
        state = os.stat(path)
        os.chown(temporary, state.st_uid, state.st_gid)
    os.rename(temporary, path)
    return True
