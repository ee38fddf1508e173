"""What lets compute nodes trust each other with migrations: a key of Nova's user on each, and lists of the others' keys."""

import hashlib
import os
import pwd
import re

from . import command, files, unit_state

USER = "nova"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
SSHD = "/usr/sbin/sshd"
LISTS = ("authorized_keys", "known_hosts")
# What else belongs to it on a host, besides the directory of the lists.
DROP_INS = ("/etc/ssh/sshd_config.d/10-nova-migration.conf", "/etc/ssh/ssh_config.d/10-nova-migration.conf")
# One key and nothing else: what a service's user wrote goes into files of other hosts.
_PUBLIC = re.compile(r"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-Za-z0-9+/]{43}(?=[ \n]|\Z)[^\n]*\n?")
_LINE = re.compile(r'(?:from="|\[)?([0-9A-Fa-f.:]+)\S* ssh-ed25519 \S+')
# Seconds for a program of OpenSSH; a key is made in a fraction of one.
PATIENCE = 30


def private_key(home):
    """Path of the key in the home of Nova's user."""
    return os.path.join(home, ".ssh", "id_ed25519")


def public_key(text):
    """Type and key of what must be one public key, without its comment; empty when it is not."""
    return " ".join(text.split()[:2]) if _PUBLIC.fullmatch(text) else ""


def host_key():
    """The host's own public key; empty when it has none."""
    return public_key(read(HOST_KEY))


def as_user(account, *argv):
    """Run a program as Nova's user, so that links in its home lead nowhere else: (rc, output, errors)."""
    # One that does not end waits for what is in the key's place, such as a FIFO.
    status, output, errors = command.run(*argv, user=account, timeout=PATIENCE, apart=True)
    return status, output, errors.strip()


def users_key(account):
    """(public half of the key of Nova's user, what is wrong with the key). Both are empty when there is none."""
    path = private_key(account.pw_dir)
    if not os.path.lexists(path):
        return "", ""
    # From the private half, so that the content of the other file does not matter.
    rc, output, errors = as_user(account, "ssh-keygen", "-y", "-P", "", "-f", path)
    found = "" if rc else public_key(output)
    return found, "" if found else " ".join(errors.split()) or "it is of another type"


def read(path):
    """Text of a file of root's; empty when there is none."""
    return (unit_state.read(path) or b"").decode("utf-8", "replace")


def known(text):
    """First address -> line, of the lines of a list."""
    return {match.group(1): match.group() for match in map(_LINE.fullmatch, text.splitlines()) if match}


def digest(text):
    """By which a list is compared without being sent."""
    return hashlib.sha256(text.encode()).hexdigest()


def remains(directory):
    """The paths that a host has because it took part in migrations, in the order in which they may go."""
    lists = [os.path.join(directory, name) for name in LISTS]
    try:
        more = sorted(os.path.join(directory, name) for name in os.listdir(directory))
    except OSError:
        more = []
    own = [path for path in DROP_INS if files.MARK in read(path)[:400]]
    # The access first; the directory last: until then, another run sees that sshd may not have been reloaded.
    found = [*lists, *own, *(path for path in more if path not in lists)]
    return [path for path in found if os.path.lexists(path)] + ([directory] if os.path.isdir(directory) else [])


def told(directory):
    """What this host has: its own public keys (empty: none that can be used), digests of the lists, and whether anything."""
    found = {name: digest(read(os.path.join(directory, name))) for name in LISTS}
    try:
        key = users_key(pwd.getpwnam(USER))[0]
    except KeyError:
        key = ""
    return {**found, "key": key, "host_key": host_key(), "remains": bool(remains(directory))}
