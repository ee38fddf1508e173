"""The one way to run a program: an argv and no shell, English words, nothing to read but what it is given.

No secret belongs into `argv`: every user of the host can read it. Hand it over as `text` or in `environment`.
"""

import os
import subprocess
from typing import NamedTuple

from . import lock

# As a shell, and timeout(1), report it.
MISSING, LATE = 127, 124
# The environment of a program that runs as another user, or on files that another user owns.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Done(NamedTuple):
    """How a program ended. `errors` is empty when they are among the `output`."""

    status: int
    output: str
    errors: str = ""


def run(*argv, user="root", text="", timeout=None, environment=(), directory="/", apart=False, locked=False):
    """Run a program and return how it ended, whatever that is.

    user: a name, whom runuser(1) makes it with the limits of that user; or an entry of `pwd`, for work in a home that is that
    user's own, with nothing of root's environment.
    text: what it reads. environment: more variables. apart: return its errors by themselves.
    locked: the program holds the lock of this run too, and keeps other runs out even when the module that started it is killed.
    """
    variables, change = dict(os.environ), {}
    if not isinstance(user, str):
        variables = {"PATH": PATH, "HOME": user.pw_dir}
        # Only root may become another user.
        if os.geteuid() == 0:
            change = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    elif user != "root":
        argv = ["runuser", "-u", user, "--", *argv]
    try:
        done = subprocess.run(
            list(argv),
            # Nothing to read is the end of a file, and no terminal.
            input=text.encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if apart else subprocess.STDOUT,
            env={**variables, "LC_ALL": "C.UTF-8", **dict(environment)},
            cwd=directory,
            timeout=timeout,
            check=False,
            pass_fds=lock.descriptors() if locked else (),
            **change,
        )
    except subprocess.TimeoutExpired:
        return _failed(LATE, f"{argv[0]} did not end within {timeout} s", apart)
    except OSError as error:
        return _failed(MISSING, f"{argv[0]}: {error.strerror}", apart)
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), (done.stderr or b"").decode("utf-8", "replace"))


def _failed(status, words, apart):
    return Done(status, "", words) if apart else Done(status, words)


def output(*argv, timeout=None):
    """What a reading program prints; empty when it is not installed or does not end."""
    return run(*argv, timeout=timeout, apart=True).output
