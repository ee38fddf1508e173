"""Every check of the preflight, seen to fail once: the variable, the value and the remedy, and never a secret."""

import pytest
import yaml

from kilonova.config import declared
from kilonova.config.config_files import ROLES
from kilonova.run.preflight import (
    check_addresses,
    check_backends,
    check_groups,
    check_host,
    check_hostnames,
    check_listening,
    check_release,
    check_secrets,
)

DISTRIBUTIONS = {
    "zed": {"id": "debian", "codename": "bookworm", "title": "Debian 12 (bookworm)"},
    "epoxy": {"id": "debian", "codename": "trixie", "title": "Debian 13 (trixie)"},
}
CHOOSE = "choose one of: zed (Debian 12 (bookworm)), epoxy (Debian 13 (trixie))"
REMEDY = "run `make secrets INVENTORY=...`, which writes a strong one, or set it in group_vars/all/secrets.yml"
REPLACED = "remove it and run `make secrets INVENTORY=...`, which writes a strong one"
SHARED = yaml.safe_load((ROLES / "openstack" / "vars" / "main" / "main.yml").read_text())
SECRETS, BACKENDS = declared.secrets(), SHARED["openstack_network_backends"]


def lines(problems):
    """What Ansible prints."""
    return [str(problem) for problem in problems]


# ------------------------------------------------------------------------------------------------------------ groups


def test_two_groups_with_hosts_are_right():
    assert check_groups({"all": ["a", "b"], "controllers": ["a"], "computes": ["a", "b"]}) == []


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        (
            {"all": ["a"], "controller": ["a"], "computes": ["a"]},
            "inventory: groups = all, computes, controller: there is no group 'controllers'; rename the group 'controller'",
        ),
        (
            {"all": ["a"], "controllers": ["a"]},
            "inventory: groups = all, controllers: there is no group 'computes'; add the group 'computes' with its hosts",
        ),
        (
            {"controllers": ["a"], "computes": []},
            "inventory: groups = computes: the group has no hosts; add a host to 'computes'",
        ),
        (
            {"controllers": ["a", "b"], "computes": ["c"]},
            "inventory: controllers = a, b: 2 controllers survive no more losses than 1; have one, three or five",
        ),
    ],
)
def test_wrong_groups(groups, problem):
    assert lines(check_groups(groups)) == [problem]


# ----------------------------------------------------------------------------------------------------------- release


@pytest.mark.parametrize("release", ["zed", "Zed", "26", "epoxy", 2025.1])
def test_a_release_that_a_distribution_carries(release):
    assert check_release(release, DISTRIBUTIONS) == []


def test_an_unknown_release_names_the_nearest():
    (problem,) = lines(check_release("zad", DISTRIBUTIONS))
    assert problem.startswith("inventory: openstack_release = zad: unknown release 'zad' (nearest: zed; valid: ocata to hibiscus")
    assert problem.endswith(CHOOSE)


def test_a_release_that_no_distribution_carries():
    what = "no supported distribution carries this release"
    assert lines(check_release("yoga", DISTRIBUTIONS)) == [f"inventory: openstack_release = yoga: {what}; {CHOOSE}"]


# --------------------------------------------------------------------------------------------------- network backend


def asked(*pairs):
    """Hosts a, b, ... with a release and a network backend each."""
    return {host: {"release": release, "backend": backend} for host, (release, backend) in zip("abc", pairs, strict=False)}


@pytest.mark.parametrize(
    ("release", "backend"),
    [("zed", "linuxbridge"), ("26", "openvswitch"), ("yoga", "openvswitch"), ("2025.1", "ovn"), (2026.2, "openvswitch")],
)
def test_a_backend_that_the_release_has(release, backend):
    assert check_backends(asked((release, backend), (release, backend)), BACKENDS) == []


@pytest.mark.parametrize(
    ("hosts", "problem"),
    [
        (
            [("epoxy", "linuxbridge")],
            "a: openstack_network_backend = linuxbridge: 2025.1 Epoxy does not have it, only releases until Zed; "
            "choose one of: ovn, openvswitch",
        ),
        (
            [("train", "ovn")],
            "a: openstack_network_backend = ovn: Train does not have it, only releases from 2025.1 Epoxy on; "
            "choose one of: openvswitch, linuxbridge",
        ),
        (
            [("zed", "calico")],
            "a: openstack_network_backend = calico: is not a network backend; choose one of: openvswitch, linuxbridge",
        ),
        (
            [("epoxy", "ovn"), ("epoxy", "openvswitch")],
            "b: openstack_network_backend = openvswitch: a has ovn; set one backend for all hosts, in group_vars/all",
        ),
    ],
)
def test_a_backend_that_the_release_has_not(hosts, problem):
    assert lines(check_backends(asked(*hosts), BACKENDS)) == [problem]


# --------------------------------------------------------------------------------------------------------- addresses

MANAGEMENT, TUNNEL = "openstack_management_address", "openstack_tunnel_address"


def test_addresses_of_their_own_are_right():
    hosts = {"a": {MANAGEMENT: "10.0.0.11", TUNNEL: "10.0.0.11"}, "b": {MANAGEMENT: "fd00::12", TUNNEL: None}}
    assert check_addresses(hosts) == []


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, f"b: {MANAGEMENT}: is not set; set it in the inventory to the host's address on the management network"),
        *(
            (
                {MANAGEMENT: value},
                f"b: {MANAGEMENT} = {value}: is not an IP address; write an address such as 10.0.0.11, without a prefix length",
            )
            for value in ("10.0.0.11/24", "10.0.0.256", "controller", "10.0.0.012", "fd00::11%eth0")
        ),
        *(
            (
                {MANAGEMENT: value},
                f"b: {MANAGEMENT} = {value}: is not an address that other hosts can reach; "
                "set the host's address on that network",
            )
            for value in ("0.0.0.0", "127.0.1.1", "224.0.0.1", "::1")
        ),
        ({MANAGEMENT: "10.0.0.11"}, f"b: {MANAGEMENT} = 10.0.0.11: is also an address of a; give each host its own address"),
        (
            {MANAGEMENT: "10.0.0.12", TUNNEL: "10.0.0.11"},
            f"b: {TUNNEL} = 10.0.0.11: is also an address of a; give each host its own address",
        ),
        (
            {MANAGEMENT: "10.0.0.12", TUNNEL: "eth1"},
            f"b: {TUNNEL} = eth1: is not an IP address; write an address such as 10.0.0.11, without a prefix length",
        ),
    ],
)
def test_wrong_addresses(variables, problem):
    assert lines(check_addresses({"a": {MANAGEMENT: "10.0.0.11"}, "b": variables})) == [problem]


# ----------------------------------------------------------------------------------------------------------- secrets

STRONG = {name: f"{number:02}-0123456789abcdef" for number, name in enumerate(SECRETS)}


def test_strong_secrets_are_right():
    assert check_secrets(STRONG, SECRETS, "controllers") == []


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, f"is not set (PLACEMENT_DBPASS); {REMEDY}"),
        ("", f"is not set (PLACEMENT_DBPASS); {REMEDY}"),
        ("Welcome123", f"is weak (10 characters); use at least 16 characters, or {REPLACED}"),
        ("0123456789abcde", f"is weak (15 characters); use at least 16 characters, or {REPLACED}"),
        (123456, f"is weak (6 characters); use at least 16 characters, or {REPLACED}"),
        ("PLACEMENT_DBPASS", f"is weak (the install guide's placeholder); {REPLACED}"),
        ("openstack_nova_pass", f"is weak (the install guide's placeholder); {REPLACED}"),
        (STRONG["openstack_glance_pass"], "has the same value as openstack_glance_pass; give each secret its own value"),
        *(
            (
                f"0123456789{part}abcdef",
                f"contains {what}, which no configuration file of OpenStack can hold; choose another value",
            )
            for part, what in [
                ("\n", "a line break"),
                ("\r", "a carriage return"),
                ("\0", "a NUL character"),
                ("\\$", "a backslash followed by a dollar sign"),
            ]
        ),
    ],
)
def test_wrong_secrets_are_named_and_not_shown(value, problem):
    values = {**STRONG, "openstack_placement_dbpass": value}
    assert lines(check_secrets(values, SECRETS, "controllers")) == [f"controllers: openstack_placement_dbpass: {problem}"]


def test_no_message_holds_a_secret():
    values = dict.fromkeys(SECRETS, "short-canary") | {"openstack_nova_pass": "long-canary\nlong-canary"}
    problems = lines(check_secrets(values, SECRETS, "controllers"))
    assert len(problems) == len(SECRETS)
    assert not [problem for problem in problems if "canary" in problem]


# ------------------------------------------------------------------------------------------------------------- hosts


def host(**changes):
    """What host_facts says of a right host."""
    return {
        "distribution": {"id": "debian", "codename": "bookworm", "title": "Debian GNU/Linux 12 (bookworm)"},
        "addresses": {"127.0.0.1": "lo", "10.0.0.11": "eth0", "fd00::11": "eth0"},
        **changes,
    }


@pytest.mark.parametrize("address", ["10.0.0.11", "fd00::11", "FD00:0::0011"])
def test_a_host_that_is_what_the_inventory_says(address):
    assert check_host("a", host(), {MANAGEMENT: address}, "zed", DISTRIBUTIONS) == []


TRIXIE = {"id": "debian", "codename": "trixie", "title": "Debian GNU/Linux 13 (trixie)"}
UNKNOWN = {"id": "", "codename": "", "title": ""}


@pytest.mark.parametrize(
    ("seen", "release", "address", "problem"),
    [
        (
            host(distribution=TRIXIE),
            "zed",
            "10.0.0.11",
            "a: openstack_release = zed: needs Debian 12 (bookworm), and this host is Debian GNU/Linux 13 (trixie); "
            "set openstack_release to epoxy",
        ),
        (
            host(distribution=UNKNOWN),
            "zed",
            "10.0.0.11",
            "a: openstack_release = zed: needs Debian 12 (bookworm), and this host is an unknown system; "
            "install Debian 12 (bookworm) on the host",
        ),
        (
            host(),
            "yoga",
            "10.0.0.11",
            f"inventory: openstack_release = yoga: no supported distribution carries this release; {CHOOSE}",
        ),
        (
            host(),
            "zed",
            "10.0.0.99",
            f"a: {MANAGEMENT} = 10.0.0.99: is not on any interface of the host; set one of: 10.0.0.11 (eth0), fd00::11 (eth0)",
        ),
        (
            host(addresses={"127.0.0.1": "lo"}),
            "zed",
            "10.0.0.11",
            f"a: {MANAGEMENT} = 10.0.0.11: is not on any interface of the host; set one of: none found",
        ),
    ],
)
def test_a_host_that_is_not(seen, release, address, problem):
    assert lines(check_host("a", seen, {MANAGEMENT: address}, release, DISTRIBUTIONS)) == [problem]


def test_two_hosts_with_one_name():
    assert check_hostnames({"a": "node", "b": "other"}) == []
    (problem,) = lines(check_hostnames({"a": "node", "b": "node"}))
    assert problem == "b: hostname = node: is also the host name of a; run `hostnamectl set-hostname b` on this host"


# ------------------------------------------------------------------------------------------------------ names and servers

RESOLVED = {"resolved": {"db": ["10.0.0.90"], "nowhere": [], "ctl": ["127.0.1.1"], "both": ["10.0.0.11", "fd00::11"]}}


@pytest.mark.parametrize(
    ("host", "bound", "what"),
    [
        ("10.0.0.11", "10.0.0.11", ""),
        ("both", "10.0.0.11", ""),
        ("both", "FD00:0::11", ""),
        ("ctl", "0.0.0.0", ""),
        ("ctl", "::", ""),
        ("nowhere", "10.0.0.11", ""),  # said by fitness.check_names
        ("ctl", "10.0.0.11", "resolves to 127.0.1.1 on this host, but MariaDB listens at 10.0.0.11"),
        ("192.0.2.11", "10.0.0.11", "is not where MariaDB listens, which is 10.0.0.11"),
        ("10.0.0.110", "10.0.0.11", "is not where MariaDB listens, which is 10.0.0.11"),
    ],
)
def test_our_servers_are_reached_where_they_listen(host, bound, what):
    found = check_listening("controller", RESOLVED, {"openstack_database_host": ("MariaDB", host, bound)})
    assert [problem.what for problem in found] == ([what] if what else [])
