"""HAProxy of this host, as a run talks to it by the socket of its master process."""

import contextlib
import socket
import time

MASTER = "/run/haproxy-master.sock"
# Other controllers' HAProxies ask every two seconds, and believe the second answer.
NOTICED = 5
# And before they lead to a service that has just started, they want to hear from it twice as well.
BELIEVED = 15
# What a request may take that a service works on when it is told to end.
LONGEST = 30
MOMENT = 0.2


def ask(line, path=MASTER):
    """What the worker that runs now says to a command of HAProxy's (management guide, 9.3 and 9.1 for the columns)."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(path)
        client.sendall(f"@1 {line}\n".encode())
        client.shutdown(socket.SHUT_WR)
        parts = []
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts).decode("utf-8", "replace")


def working(ports, path=MASTER):
    """How many requests the services at these ports work on."""
    rows = [row.split(",") for row in ask("show stat -1 4 -1", path).splitlines()]
    names = {str(port) for port in ports}
    return sum(int(row[4] or 0) for row in rows if len(row) > 4 and row[0] in names and row[1] in ("local", "leaving"))


def states(path=MASTER):
    """(name of the way, server) -> whether it is led to, as HAProxy sees it."""
    rows = [row.split(",") for row in ask("show stat -1 4 -1", path).splitlines()]
    return {(row[0], row[1]): row[17].startswith("UP") for row in rows if len(row) > 17}


def wait_until_led_to(ports, path=MASTER):
    """Until HAProxy leads to the services at these ports, which answer already. Where it does not run, nothing is waited for."""
    deadline = time.monotonic() + BELIEVED
    with contextlib.suppress(OSError):
        while ports and time.monotonic() < deadline:
            known = states(path)
            if all(known.get((str(port), "local"), True) for port in ports):
                break
            time.sleep(MOMENT)


@contextlib.contextmanager
def elsewhere(ports, path=MASTER):
    """Within it, nobody is led to the services at these ports, and they work on nothing.

    Where HAProxy does not run, nothing is done. What a killed run leaves so, the next one puts right: it restarts the same
    services.
    """
    try:
        for port in ports:
            ask(f"set server {port}/local state maint", path)
    except OSError:
        ports = []
    if ports:
        time.sleep(NOTICED)
        deadline = time.monotonic() + LONGEST
        with contextlib.suppress(OSError, ValueError):
            while working(ports, path) and time.monotonic() < deadline:
                time.sleep(MOMENT)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for port in ports:
                ask(f"set server {port}/local state ready", path)
        if ports:
            # Another controller is next.
            time.sleep(NOTICED)
