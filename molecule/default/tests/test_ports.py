"""Every port of every host listens where a role declares it and nowhere else, and a compute node reaches no other."""

from __future__ import annotations

import ipaddress

import backend
import pytest

from kilonova.config import declared

ROWS = declared.ports()
ROLES = {"controller": ("every", "controller"), "compute1": ("every", "compute node")}
each_host = pytest.mark.parametrize("host", ["controller", "compute1"])


def rows(host):
    """What is declared for a host with this backend."""
    return [row for row in ROWS if row["host"] in ROLES[host] and backend.BACKEND in row.get("backends", [backend.BACKEND])]


def span(row):
    """Its ports."""
    first, _dash, last = str(row["port"]).partition("-")
    return range(int(first), int(last or first) + 1)


def sockets(node):
    """(kind, address, port, process) of everything that listens; a UDP socket that is connected is a question, not a service."""
    found = []
    for line in node.check_output("ss -Hlntup").splitlines():
        kind, _state, _receive, _send, local, _peer, *process = line.split(None, 6)
        address, _colon, port = local.rpartition(":")
        found.append((kind, address.strip("[]").partition("%")[0], int(port), " ".join(process)))
    return found


def is_right(address, row, management):
    """Whether a row's service may have this address."""
    if row["at"] == "any" or (row.get("proxied") and address == "127.0.0.1"):
        return True
    if address == "*":
        return False
    if row["at"] == "loopback":
        return ipaddress.ip_address(address).is_loopback
    return address == management


@each_host
def test_nothing_listens_that_is_not_declared(host, request, addresses):
    wrong = []
    for kind, address, port, process in sockets(request.getfixturevalue(host)):
        known = [row for row in rows(host) if row.get("kind", "tcp") == kind and port in span(row)]
        if not any(is_right(address, row, addresses[host]) for row in known):
            wrong.append(f"{kind} {address}:{port} {process}")
    assert not wrong, "\n".join(wrong)


@each_host
def test_everything_that_is_declared_listens(host, request):
    there = {(kind, port) for kind, _address, port, _process in sockets(request.getfixturevalue(host))}
    for row in rows(host):
        if "sometimes" not in row:
            assert (row.get("kind", "tcp"), row["port"]) in there, row


@pytest.mark.parametrize("row", [row for row in ROWS if row["host"] == "controller"], ids=lambda row: str(row["port"]))
def test_what_a_compute_node_reaches(row, controller, compute1, addresses):
    """What it must, and of the rest nothing, by any address of the controller."""
    if row not in rows("controller"):
        pytest.skip(f"not with {backend.BACKEND}")
    # Of what is there sometimes, what is there now: several controllers open ports that one has on the loopback interface.
    own = addresses["controller"]
    now = [port for _kind, address, port, _process in sockets(controller) if is_right(address, row, own)]
    open_ = "sometimes" not in row or row["port"] in now
    network = addresses["controller"].rpartition(".0.")[0]
    for address in (addresses["controller"], f"{network}.1.11"):
        program = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3)"
        reached = compute1.run("python3 -c %s %s %s", program, address, str(row["port"])).rc == 0
        expected = open_ and row["at"] != "loopback" and address == addresses["controller"]
        assert reached is expected, f"{address}:{row['port']}"
