"""One run at a time: a lock that a living process holds, so that it is gone with that process, however it ends.

On a host, each module that changes something holds it while it works (`take`). Where Ansible runs, the whole run holds its
inventory (kilonova/run/changes.py), which says so at once instead of at the first host.
"""

import atexit
import contextlib
import fcntl
import os
import pwd
import time

PATH = "/run/kilonova.lock"
WAIT = 600
_held = {}


def take(module):
    """Hold the host's lock until this module ends; check mode needs none. Wait for the holder, and fail with its name."""
    if module.check_mode or PATH in _held:
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        stream = os.fdopen(os.open(PATH, flags, 0o600), "r+", encoding="ascii", errors="replace")
    except OSError as error:
        module.fail_json(msg=f"{PATH}: cannot be opened: {error.strerror}; look at it on the host")
    begun, holder = time.monotonic(), ""
    while not _locked(stream):
        stream.seek(0)
        pid, _blank, name = stream.read(200).partition(" ")
        if pid == str(os.getpid()):  # one process for all modules (mitogen): the one before has not quite ended
            break
        holder = f"{describe(pid)} ({name})" if name else describe(pid)
        if time.monotonic() - begun > WAIT:
            stream.close()
            waited = f"this one has waited {WAIT} s; run again when that has ended"
            module.fail_json(msg=f"another run works on this host: {holder}; {waited}")
        time.sleep(0.2)
    if holder:
        module.warn(f"another run worked on this host ({holder}); waited {time.monotonic() - begun:.0f} s for it")
    stream.seek(0)
    stream.truncate()
    stream.write(f"{os.getpid()} {getattr(module, '_name', '')}")
    stream.flush()
    _held[PATH] = stream
    atexit.register(release)


def release():
    """Let the next one."""
    while _held:
        _held.popitem()[1].close()


def descriptors():
    """For a command that no other run may meet, even when the module that started it was killed: it holds the lock as well."""
    return tuple(stream.fileno() for stream in _held.values())


def _locked(stream):
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def holder(descriptor):
    """The process that has a lock on what is open here (proc(5), /proc/locks); None when that does not say."""
    inode = f":{os.fstat(descriptor).st_ino}"
    with contextlib.suppress(OSError), open("/proc/locks", encoding="ascii") as stream:
        for line in stream:
            words = line.split()
            if "FLOCK" in words and "->" not in words and words[5].endswith(inode):
                return words[4]
    return None


def describe(pid):
    """Who a process is: its number, user, beginning, and where its user came from."""
    try:
        owner = os.stat(f"/proc/{int(pid)}").st_uid
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(_begun(pid)))
    except (OSError, ValueError):
        return "process %s, which is gone; what it started still works" % (pid or "?")
    try:
        user = pwd.getpwuid(owner).pw_name
    except KeyError:
        user = str(owner)
    said, there = {}, pid
    # sudo hides it from its children, and keeps it itself.
    while int(there) > 1 and not {"SUDO_USER", "SSH_CONNECTION"} <= set(said):
        said = {**environment(there, ("SUDO_USER", "SSH_CONNECTION")), **said}
        there = _status(there).get("PPid", "0")
    user = said["SUDO_USER"] + " as " + user if said.get("SUDO_USER", user) != user else user
    origin = said.get("SSH_CONNECTION", "").split(" ")[0] or "this machine"
    return f"process {pid} of {user}, since {since}, from {origin}"


def environment(pid, names):
    """What a process was started with, of some variables."""
    found = {}
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", encoding="utf-8", errors="replace") as stream:
        for entry in stream.read().split("\0"):
            name, _separator, value = entry.partition("=")
            if name in names:
                found[name] = value
    return found


def _status(pid):
    """Fields of /proc/PID/status."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as stream:
        return dict(line.rstrip("\n").replace("\t", "").split(":", 1) for line in stream if ":" in line)
    return {}


def _begun(pid):
    """When a process began, in seconds since 1970."""
    with open(f"/proc/{pid}/stat", "rb") as stream:
        # The name of the program, in parentheses, may contain anything.
        ticks = int(stream.read().rpartition(b")")[2].split()[19])
    # Not by /proc/uptime and the time now: two looks at one process would differ by a second now and then.
    with open("/proc/stat", encoding="ascii") as stream:
        booted = next(int(line.split()[1]) for line in stream if line.startswith("btime "))
    return booted + ticks / os.sysconf("SC_CLK_TCK")
