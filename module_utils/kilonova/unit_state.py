"""What services were last restarted with, kept on their host: digests to compare, and files to go back to."""

import glob
import json
import os

from . import files

DIRECTORY = "/var/lib/kilonova"
# The digest of a file that was changed by hand: no real digest is equal to it.
BY_HAND = "changed by hand"
ENABLED = ("enabled", "enabled-runtime", "static", "alias", "indirect")
RUNLEVELS = "/etc/rc[2-5].d/S[0-9][0-9]%s"


def unit_name(name):
    """A unit as systemd calls it: a service, where nothing else is said."""
    return name if name.endswith(".socket") else name + ".service"


def is_enabled(name, state):
    """Whether a unit starts with the host. One that systemd makes of an init script is so by the links of its runlevels."""
    return bool(glob.glob(RUNLEVELS % name)) if state == "generated" else state in ENABLED


def state_path():
    """Unit -> path -> section -> digest."""
    return os.path.join(DIRECTORY, "services.json")


def known_good_path(path):
    """Where the copy of a file is that its services are known to run with."""
    return os.path.join(DIRECTORY, "good", path.lstrip("/"))


def files_path():
    """The paths of all files that the module config_files writes."""
    return os.path.join(DIRECTORY, "files.json")


def answers_path():
    """Unit -> the URL, or host:port, that answers once it works."""
    return os.path.join(DIRECTORY, "answers.json")


def load(path):
    """What save() wrote there; None when there is nothing that can be read."""
    try:
        return json.loads(files.read(path) or b"null")
    except (ValueError, RecursionError):
        return None


def save(path, data):
    """Replace a file of ours; digests of secrets are for root only."""
    replace(path, json.dumps(data, indent=1, sort_keys=True).encode())


def load_state(warn=None):
    """What each unit was last restarted with. Calls `warn` when something else wrote there: that counts as nothing."""
    return _wellformed(state_path(), {}, _is_state, warn)


def load_files(warn=None):
    """The paths that note_files() wrote."""
    return _wellformed(files_path(), [], lambda found: isinstance(found, list) and all(map(_is_path, found)), warn)


def _wellformed(path, nothing, is_right, warn):
    """What is in a file of ours, or `nothing`."""
    content = files.read(path)
    found = load(path)
    if found is not None and is_right(found):
        return found
    if content is not None and warn:
        warn(f"{path} is not as it was written here, and counts as absent; it is written again when something changes")
    return nothing


def _is_state(found):
    """Whether it is a mapping of units to paths to sections to digests."""
    return isinstance(found, dict) and all(
        isinstance(digests, dict)
        and all(
            _is_path(path) and isinstance(known, dict) and all(isinstance(digest, str) for digest in known.values())
            for path, known in digests.items()
        )
        for digests in found.values()
    )


def _is_path(text):
    """Whether the text can be a file's path."""
    try:
        return isinstance(text, str) and text.startswith("/") and "\0" not in text and bool(os.fsencode(text))
    except UnicodeError:
        return False


def save_state(state):
    """Remember it."""
    save(state_path(), state)


def note_files(paths):
    """Remember what is written, so that a later run can tell whether it is still the same."""
    known = load_files()
    if not set(paths) <= set(known):
        save(files_path(), sorted(path for path in {*known, *paths} if os.path.lexists(path)))


def load_answers(warn=None):
    """What note_answers() wrote."""
    return _wellformed(
        answers_path(), {}, lambda found: isinstance(found, dict) and all(isinstance(one, str) for one in found.values()), warn
    )


def note_answers(targets, gone=()):
    """Remember what answers, so that a later run asks all of the host at once, when it begins; forget units that are `gone`."""
    known = load_answers()
    wanted = {**{name: target for name, target in known.items() if name not in gone}, **targets}
    if known != wanted:
        save(answers_path(), wanted)


def replace(path, content):
    """Write a file of root's own, with its directories."""
    try:
        os.makedirs(DIRECTORY, mode=0o755, exist_ok=True)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    except OSError as error:
        raise files.unwritable(os.path.dirname(path), error) from error
    files.write(path, content, os.geteuid(), os.getegid(), 0o600)


def read(path):
    """Content of a file; None when there is none, or root may not touch it."""
    return files.read(path)


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
    good = read(known_good_path(path))
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


def is_known_good(path):
    """Whether a file is what its services were last seen running with."""
    return read(path) == read(known_good_path(path))


def keep_known_good(path):
    """Copy a file whose services run: it is what to go back to."""
    present = read(path)
    if present is not None and not is_known_good(path):
        os.makedirs(os.path.join(DIRECTORY, "good"), mode=0o700, exist_ok=True)
        replace(known_good_path(path), present)


def put_back(path):
    """Make a file what its services ran with before; returns whether it was something else."""
    good = read(known_good_path(path))
    if good is None:
        return False
    with files.Place(path, create=True) as place:
        present, state = place.read()
        if present == good:
            return False
        rights = (state.st_uid, state.st_gid, state.st_mode & 0o7777) if state else (os.geteuid(), os.getegid(), 0o600)
        place.write(good, *rights)
    return True
