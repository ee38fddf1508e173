"""Hosts and ports: joined and read in one place, names resolved and addresses compared."""

import ipaddress
import socket

import pytest

from kilonova.config import addresses
from kilonova.onhost import address

CONTROLLER = {
    "name": "ctl1",
    "address": "10.0.0.11",
    "hostname": "ctl1.example.org",
    "addresses": ["127.0.0.1", "10.0.0.11", "192.0.2.11", "fd00::11"],
    "resolved": {
        "db.example.org": ["10.0.0.90"],
        "ctl1.example.org": ["127.0.1.1"],
        "api.example.org": ["192.0.2.11"],
        "six": ["fd00::11"],
        "nowhere": [],
        "both": ["10.0.0.11", "10.0.0.90"],
    },
}
SILENT = {"name": "ctl1", "address": "10.0.0.11", "hostname": "", "addresses": [], "resolved": {}}


@pytest.mark.parametrize(
    ("host", "port", "joined"),
    [
        ("10.0.0.11", 5000, "10.0.0.11:5000"),
        ("controller", "80", "controller:80"),
        ("fd00:a::11", 5000, "[fd00:a::11]:5000"),
        ("[fd00:a::11]", 5000, "[fd00:a::11]:5000"),
        ("::ffff:10.0.0.1", 1, "[::ffff:10.0.0.1]:1"),
        ("::", 8774, "[::]:8774"),
    ],
)
def test_host_and_port(host, port, joined):
    assert addresses.host_port(host, port) == joined
    assert addresses.split(joined) == (host.strip("[]"), int(port))


@pytest.mark.parametrize(
    "text",
    ["10.0.0.11", "fd00:a::11:11211", "[fd00::1]", "controller:", "controller:0", "controller:65536", ":80", "a:b", "x:٣", ""],
)
def test_what_is_no_host_and_port(text):
    with pytest.raises(ValueError, match="is not host:port"):
        addresses.split(text)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("FD00:0:0::0A", "fd00::a"),
        ("10.0.0.11", "10.0.0.11"),
        ("[fd00::1]", "fd00::1"),
        ("%", "%"),
        ("db", "db"),
        ("::ffff:10.0.0.32", "10.0.0.32"),
    ],
)
def test_one_form_of_an_address(text, form):
    assert addresses.canonical(text) == form


@pytest.mark.parametrize(("address", "version"), [("10.0.0.1", 4), ("fd00::1", 6), ("::ffff:10.0.0.1", 4)])
def test_version(address, version):
    assert addresses.ip_version(address) == version


def test_a_name_has_no_version():
    with pytest.raises(ValueError, match="'controller' is not an IP address"):
        addresses.ip_version("controller")


@pytest.mark.parametrize(
    ("host", "elsewhere"),
    [
        ("10.0.0.11", False),
        ("10.0.0.110", True),
        ("10.0.0.1", True),
        ("192.0.2.11", False),
        ("127.0.0.1", False),
        ("FD00:0::11", False),
        ("[fd00::11]", False),
        ("fd00::110", True),
        ("::1", False),
        ("ctl1.example.org", False),
        ("api.example.org", False),
        ("six", False),
        ("db.example.org", True),
        ("nowhere", True),
        ("both", False),
        ("CTL1", False),
        ("ctl10", True),
        ("localhost", False),
        ("unasked.example.org", True),
    ],
)
def test_names_are_resolved_and_addresses_compared(host, elsewhere):
    assert addresses.is_elsewhere(host, CONTROLLER) is elsewhere


@pytest.mark.parametrize(
    ("host", "elsewhere"),
    [("10.0.0.11", False), ("ctl1", False), ("ctl1.", False), ("10.0.0.110", True), ("192.0.2.11", True), ("db.test", True)],
)
def test_before_the_controller_was_asked(host, elsewhere):
    assert addresses.is_elsewhere(host, SILENT) is elsewhere


def test_names_in_hosts_urls_and_lists():
    given = [
        "ctl1",
        "http://ctl1:5000/v3",
        "https://[fd00::1]:5000/v3",
        "10.0.0.11:11211,cache1:11211",
        "fd00::2",
        "https://api/identity/v3",
    ]
    assert addresses.hosts_of(given) == ["ctl1", "fd00::1", "10.0.0.11", "cache1", "fd00::2", "api"]
    assert addresses.names_of(given) == ["ctl1", "cache1", "api"]


def test_resolving(monkeypatch):
    def known(name, _port, type):
        if name != "ctl1":
            raise socket.gaierror
        return [(0, type, 0, "", ("10.0.0.11", 0)), (0, type, 0, "", ("fd00:0::11", 0, 0, 0)), (0, type, 0, "", ("10.0.0.11", 0))]

    monkeypatch.setattr(address.socket, "getaddrinfo", known)
    assert address.resolved("ctl1") == ["10.0.0.11", "fd00::11"]
    assert address.resolved("ctl2") == []
    assert address.resolved("FD00::0A") == [str(ipaddress.ip_address("fd00::a"))]
