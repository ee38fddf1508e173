"""Owners and modes of a service's configuration: who may read it, and that nobody but root may change it.

The OpenStack Security Guide wants this of every file below /etc/nova and its like, and packages bring other owners and modes.
"""

import grp
import os
import pwd
import stat


def wrong(directory):
    """[(path, uid, gid, mode)] for what in `directory` (path, owner, group) is not as it must be.

    Files become 0640 and directories 0750. What only its owner may read (key repositories) stays. A path of None means that
    the directory, or its owner, is not there yet.
    """
    try:
        uid, gid = pwd.getpwnam(directory["owner"]).pw_uid, grp.getgrnam(directory["group"]).gr_gid
        os.stat(directory["path"])
    except (KeyError, OSError):
        return [(None, 0, 0, 0)]
    found = []
    for base, directories, files in os.walk(directory["path"]):
        directories[:] = [name for name in directories if not _private(os.path.join(base, name))]
        for path, mode in [(base, 0o750), *((os.path.join(base, name), 0o640) for name in files)]:
            state = os.lstat(path)
            right = (state.st_uid, state.st_gid, state.st_mode & 0o7777) == (uid, gid, mode)
            if not right and not stat.S_ISLNK(state.st_mode) and not _private(path):
                found.append((path, uid, gid, mode))
    return found


def _private(path):
    """Whether only its owner may read it."""
    return not os.lstat(path).st_mode & 0o077
