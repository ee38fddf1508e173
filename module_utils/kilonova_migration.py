"""What lets compute nodes trust each other with migrations: a key of Nova's user on each, and lists of the others' keys."""

import os
import pwd

from ansible.module_utils import kilonova_services

USER = "nova"
HOST_KEY = "/etc/ssh/ssh_host_ed25519_key.pub"
# File -> (which key of a peer it has, what stands before the key).
LISTS = {"authorized_keys": ("key", 'from="%s",restrict'), "known_hosts": ("host_key", "%s")}


def private_key(home):
    """Path of the key in the home of Nova's user."""
    return os.path.join(home, ".ssh", "id_ed25519")


def read(path):
    """Text of a file; empty when there is none."""
    return (kilonova_services.read(path) or b"").decode("utf-8", "replace")


def public_key(path):
    """Type and key of a file, without its comment; empty when there is no file."""
    return " ".join(read(path).split()[:2])


def known(text):
    """Address -> type and key, of the lines of a list."""
    found = {}
    for line in text.splitlines():
        options, _separator, rest = line.strip().partition(" ")
        address = options.partition('from="')[2].partition('"')[0] or options
        found[address] = " ".join(rest.split()[:2])
    return found


def text(name, keys):
    """What the list `name` has for these keys, by their addresses."""
    return "".join(f"{LISTS[name][1] % address} {key}\n" for address, key in keys.items())


def told(directory):
    """What this host has: its own public keys (empty: not made yet), and each list, None where it is not as text() makes it."""
    try:
        home = pwd.getpwnam(USER).pw_dir
    except KeyError:
        return None
    path = private_key(home)
    found = {"key": public_key(path + ".pub") if os.path.exists(path) else "", "host_key": public_key(HOST_KEY)}
    for name in LISTS:
        present = read(os.path.join(directory, name))
        keys = known(present)
        found[name] = keys if text(name, keys) == present else None
    return found
