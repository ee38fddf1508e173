"""Owners and modes of a service's configuration: who may read it, and that only root may change it.

The OpenStack Security Guide wants this of every file below /etc/nova and its like, and packages bring other owners and modes.
"""

import contextlib
import functools
import glob
import grp
import os
import pwd
import stat

from . import files

# Where dpkg keeps the names of each package's configuration files.
PACKAGES = "/var/lib/dpkg/info/*.conffiles"


def wrong(directory, correct=False):
    """[(path, uid, gid, mode)] for what in `directory` (path, owner, group) is not as it must be; `correct` puts it right.

    A file loses what others may do, and what the group may do beyond reading and executing, and the owner and the group may
    read it; a program of the administrator's stays one. A path of None means that the directory, or its owner, is not there yet.

    Left as they are: what only its owner may read (key repositories); what belongs to a user or a group that is neither root nor
    the service (the administrator lets another daemon read it); what the service cannot read so far, because an owner must not
    be a way to it, unless it is a package's, whose script took it away; links, and files with a second name, which may be at home
    elsewhere.
    """
    try:
        uid, gid = pwd.getpwnam(directory["owner"]).pw_uid, grp.getgrnam(directory["group"]).gr_gid
        top, _safe = files.open_directory(directory["path"])
    except (KeyError, OSError):
        return [(None, 0, 0, 0)]
    members = {0, uid, *_user_of(directory["group"])}
    try:
        return list(_walk(directory["path"], top, (uid, gid, members), correct))
    finally:
        os.close(top)


def _user_of(group):
    """The service's user: it has the name of its group."""
    with contextlib.suppress(KeyError):
        yield pwd.getpwnam(group).pw_uid


def _walk(path, here, rights, correct, top=True):
    """What is wrong with an open directory and its contents; the directory is corrected before anything below it is read."""
    uid, gid, members = rights
    state = os.fstat(here)
    if not top and _stays(state, gid, members, path):
        return
    yield from _right(path, here, state, (uid, gid, state.st_mode & 0o7000 | 0o750), correct)
    for name in sorted(os.listdir(here)):
        below = os.path.join(path, name)
        try:
            kind = os.stat(name, dir_fd=here, follow_symlinks=False).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
                continue
            found = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
        except OSError:  # it was removed or replaced meanwhile
            continue
        try:
            state = os.fstat(found)
            if stat.S_ISDIR(state.st_mode):
                yield from _walk(below, found, rights, correct, top=False)
            elif stat.S_ISREG(state.st_mode) and state.st_nlink == 1 and not _stays(state, gid, members, below):
                yield from _right(below, found, state, (uid, gid, state.st_mode & 0o750 | 0o640), correct)
        finally:
            os.close(found)


@functools.cache
def _of_packages():
    """Paths of all packages' configuration files."""
    paths = set()
    for name in glob.glob(PACKAGES):
        with contextlib.suppress(OSError), open(name, encoding="utf-8", errors="replace") as stream:
            paths.update(line.strip() for line in stream)
    return paths


def _stays(state, gid, members, path):
    """Whether owner and mode are not ours to change."""
    private = not state.st_mode & 0o077
    foreign = state.st_uid not in members or state.st_gid not in (0, gid)
    hidden = state.st_uid == 0 and state.st_gid == 0 and gid != 0 and not state.st_mode & 0o004
    return private or foreign or (hidden and path not in _of_packages())


def _right(path, descriptor, state, wanted, correct):
    """The path with what it must have, if it has not."""
    if (state.st_uid, state.st_gid, state.st_mode & 0o7777) != wanted:
        if correct:
            files.give(descriptor, *wanted)
        yield (path, *wanted)
