"""What the operator has on a host is noticed before the run, and what makes a host unfit as well; each with its neighbours."""

import pytest
from test_generate import inventory

from kilonova.run import fitness, variables
from kilonova.run.preflight import check_hostnames

MANAGEMENT, TUNNEL = "openstack_management_address", "openstack_tunnel_address"
ADDRESSES = {MANAGEMENT: "10.0.0.21", TUNNEL: "10.0.1.21"}


def lines(problems):
    """What Ansible prints."""
    return [str(problem) for problem in problems]


def seen(**changes):
    """What host_facts tells of a host with three interfaces, a bond and an interface of another bridge."""
    return {
        "hostname": "compute1",
        "addresses": {
            "127.0.0.1": "lo",
            "10.0.0.21": "eth0",
            "10.0.1.21": "eth1",
            "192.0.2.7": "eth3",
            "fd00::7": "eth3",
            "fe80::1": "eth3",
        },
        "interfaces": {
            "lo": "",
            "eth0": "",
            "eth1": "",
            "eth2": "",
            "eth3": "",
            "eth4": "bond0",
            "eth5": "virbr0",
            "bond0": "",
            "virbr0": "",
            "br-int": "",
            "tap0": "ovs-system",
            "eth6": "ovs-system",
            "eth7": "brq1234",
        },
        "default_routes": ["eth3"],
        "packages": {},
        "machine": "x86_64",
        "compute_id": "",
        "backends": {},
        "resolved": {"compute1": ["127.0.1.1"]},
        **changes,
    }


# ------------------------------------------------------------------------------------------------------------- bridges


def checked(*bridges, datapath="system", **changes):
    return lines(fitness.check_bridges("a", seen(**changes), ADDRESSES, bridges, datapath))


@pytest.mark.parametrize(
    "bridge",
    [
        {"name": "br-x"},
        {"name": "br-x", "ports": ["eth2"], "addresses": ["198.51.100.1/24"]},
        {"name": "br-x", "ports": ["eth0"], "addresses": ["198.51.100.1/24", "10.0.0.21/24"]},
        {"name": "br-x", "ports": ["eth3"], "addresses": ["192.0.2.7/24"]},
        {"name": "br-x", "ports": ["eth3"], "addresses": ["FD00::0007/64"]},
        {"name": "br-x", "ports": ["eth6", "eth7", "bond0"]},
        {"name": "br-x", "ports": ["eth0"], "datapath": "netdev"},
        {"name": "virbr0", "ports": ["eth5"]},
    ],
)
def test_a_bridge_that_takes_nothing_away(bridge):
    assert checked(bridge) == []


@pytest.mark.parametrize(
    ("bridge", "problem"),
    [
        (
            {"name": "br-x", "ports": ["eth2", "eth0"]},
            f"a: openstack_bridges[0].ports[1] = eth0: has {MANAGEMENT} (10.0.0.21), which br-x would take away; "
            "write another interface, or add 10.0.0.21/PREFIX to the bridge's addresses",
        ),
        (
            {"name": "br-x", "ports": ["eth0"], "addresses": ["10.0.0.22/24"]},
            f"a: openstack_bridges[0].ports[0] = eth0: has {MANAGEMENT} (10.0.0.21), which br-x would take away; "
            "write another interface, or add 10.0.0.21/PREFIX to the bridge's addresses",
        ),
        (
            {"name": "br-x", "ports": ["eth1"]},
            f"a: openstack_bridges[0].ports[0] = eth1: has {TUNNEL} (10.0.1.21), which br-x would take away; "
            "write another interface, or add 10.0.1.21/PREFIX to the bridge's addresses",
        ),
        (
            {"name": "br-x", "ports": ["eth3"], "addresses": ["198.51.100.1/24"]},
            "a: openstack_bridges[0].ports[0] = eth3: has the host's default route, which br-x would take away; "
            "write another interface, or add 192.0.2.7/PREFIX to the bridge's addresses",
        ),
        (
            {"name": "br-x", "ports": ["eth9"]},
            "a: openstack_bridges[0].ports[0] = eth9: is not an interface of this host; "
            "write one of: bond0, eth0, eth1, eth2, eth3, eth4, eth5, eth6, eth7, virbr0",
        ),
        (
            {"name": "br-x", "ports": ["eth4"]},
            "a: openstack_bridges[0].ports[0] = eth4: is a part of bond0; write bond0, or remove it from bond0 first",
        ),
        (
            {"name": "br-x", "ports": ["eth5"]},
            "a: openstack_bridges[0].ports[0] = eth5: is a part of virbr0; write virbr0, or remove it from virbr0 first",
        ),
    ],
)
def test_a_bridge_that_would_cut_the_host_off(bridge, problem):
    assert checked(bridge) == [problem]


def test_an_address_with_a_label_is_its_interfaces():
    found = checked({"name": "br-x", "ports": ["eth0"]}, addresses={"10.0.0.21": "eth0:1"})
    assert found[0].startswith(f"a: openstack_bridges[0].ports[0] = eth0: has {MANAGEMENT} (10.0.0.21)")


def test_an_interface_goes_into_one_bridge():
    assert checked({"name": "br-x", "ports": ["eth2"]}, {"name": "br-y", "ports": ["eth2"]}) == [
        "a: openstack_bridges[1].ports[0] = eth2: is also a port of br-x; give each interface to one bridge"
    ]


def test_the_second_run_finds_the_address_on_the_bridge():
    there = {"10.0.0.21": "br-x"}
    interfaces = {"eth0": "ovs-system", "br-x": "ovs-system"}
    bridge = {"name": "br-x", "ports": ["eth0"], "addresses": ["10.0.0.21/24"]}
    assert checked(bridge, addresses=there, interfaces=interfaces, default_routes=["br-x"]) == []


# ------------------------------------------------------------------------------------------------------------ backends


def test_backends_that_are_ours_or_new():
    known = {"mariadb": {"foreign": [], "by_name": ["backup@vault"], "refused": ""}, "rabbitmq": {"foreign": []}}
    assert fitness.check_backends("a", seen(backends=known), []) == []


@pytest.mark.parametrize(
    ("name", "foreign", "kept"),
    [
        (
            "mariadb",
            ["database wiki", "account wiki@%"],
            "which keeps databases and accounts, and listens on the management address",
        ),
        ("rabbitmq", ["user shop", "vhost /shop"], "which keeps users and virtual hosts, and replaces rabbitmq.conf"),
        ("memcached", ["/etc/memcached.conf"], "which replaces its configuration"),
        ("clouds.yaml", ["cloud work"], "which keeps the other clouds in it, and sets the cloud admin"),
        ("openvswitch", ["manager ptcp:6640", "bridge br-lab"], "which keeps bridges and managers, and gives it the host's name"),
    ],
)
def test_a_backend_of_somebody_else_is_refused_by_name_unless_it_is_named(name, foreign, kept):
    told = seen(backends={name: {"foreign": foreign}})
    assert lines(fitness.check_backends("a", told, ["another"])) == [
        f"a: {name} = {', '.join(foreign)}: exists and was not set up by Kilonova; "
        f"use another host, or add {name} to openstack_take_over, {kept}"
    ]
    assert fitness.check_backends("a", told, [name]) == []


def test_bridges_that_the_inventory_speaks_of_are_no_strangers():
    told = seen(backends={"openvswitch": {"foreign": ["bridge br-provider", "bridge br-lab"]}})
    (line,) = lines(fitness.check_backends("a", told, [], ["br-provider"]))
    assert line.startswith("a: openvswitch = bridge br-lab: exists")


def test_many_names_are_shortened():
    told = seen(backends={"mariadb": {"foreign": [f"database d{number}" for number in range(10)]}})
    assert " = database d0, database d1," in lines(fitness.check_backends("a", told, []))[0]
    assert "database d7 and 2 more: exists" in lines(fitness.check_backends("a", told, []))[0]


@pytest.mark.parametrize("code", ["1045", "1698", "1130"])
def test_a_root_who_is_refused_is_said_whoever_set_it_up(code):
    told = seen(backends={"mariadb": {"foreign": [], "by_name": [], "refused": code}})
    (line,) = lines(fitness.check_backends("a", told, ["mariadb"]))
    assert line.startswith(
        f"a: account = root@localhost: has a password, or another plugin: MariaDB refuses root at its local socket ({code}); "
    )
    assert "ALTER USER root@localhost IDENTIFIED VIA unix_socket" in line


# --------------------------------------------------------------------------------------- packages, machine and names


@pytest.mark.parametrize(
    ("packages", "candidate", "release"),
    [
        ({"nova-common": "2:26.2.2-1~deb12u3"}, "", "zed"),
        ({}, "3:31.0.0-4", "epoxy"),
        ({}, "", "zed"),
        ({"nova-common": "2:26.1.0"}, "3:31.0.0-4", "zed"),
        ({}, "2:33.0.0~rc1-1", "gazpacho"),
        ({}, "26.2.0+git", "26"),
    ],
)
def test_packages_of_the_release(packages, candidate, release):
    assert fitness.check_version("a", seen(packages=packages, candidate=candidate), release) == []


@pytest.mark.parametrize(
    ("packages", "candidate", "release", "problem"),
    [
        (
            {"nova-common": "3:31.0.0-4"},
            "",
            "zed",
            "a: openstack_release = zed: needs Nova 26, and nova-common is 3:31.0.0-4 (2025.1 Epoxy) on this host; look at "
            "`apt-cache policy nova-common` and remove the other package source, or set openstack_release to epoxy",
        ),
        (
            {},
            "2:27.0.0~rc1-1",
            "zed",
            "a: openstack_release = zed: needs Nova 26, and nova-common would be 2:27.0.0~rc1-1 (2023.1 Antelope) on this host; "
            "look at `apt-cache policy nova-common` and remove the other package source, or set openstack_release to antelope",
        ),
        (
            {},
            "1:2015.1.1",
            "epoxy",
            "a: openstack_release = epoxy: needs Nova 31, and nova-common would be 1:2015.1.1 (an unknown release) on "
            "this host; look at `apt-cache policy nova-common` and remove the other package source",
        ),
    ],
)
def test_packages_of_another_release(packages, candidate, release, problem):
    assert lines(fitness.check_version("a", seen(packages=packages, candidate=candidate), release)) == [problem]


def test_machines():
    known = {"x86_64": {}, "aarch64": {}}
    assert fitness.check_machine("a", seen(machine="aarch64"), known) == []
    for machine in ("ppc64le", "riscv64", "armv7l"):
        assert lines(fitness.check_machine("a", seen(machine=machine), known)) == [
            f"a: architecture = {machine}: must be one of x86_64, aarch64; use another machine"
        ]


INTERNAL, PUBLIC = "openstack_internal_host", "openstack_public_host"


def test_names_that_are_known_alike_everywhere():
    hosts = {
        "a": seen(hostname="ctl", resolved={"ctl": ["127.0.1.1"], "cloud": ["10.0.0.11", "fd00::11"]}),
        "b": seen(resolved={"compute1": ["10.0.0.21"], "cloud": ["10.0.0.11"]}),
    }
    assert fitness.check_names(hosts, {"a": {INTERNAL: "cloud", PUBLIC: "203.0.113.1"}, "b": {INTERNAL: "cloud"}}) == []


@pytest.mark.parametrize(
    ("resolved", "variables", "problem"),
    [
        (
            {"compute1": []},
            {},
            "b: hostname = compute1: does not resolve on the host itself; add the line `127.0.1.1 compute1` to /etc/hosts on it",
        ),
        (
            {"cloud": []},
            {INTERNAL: "cloud", PUBLIC: "cloud"},
            f"b: {INTERNAL} = cloud: does not resolve on this host; add it to /etc/hosts or to the name server, or write its "
            "address",
        ),
        (
            {"cloud": ["127.0.1.1"]},
            {INTERNAL: "cloud"},
            f"b: {INTERNAL} = cloud: resolves to 127.0.1.1 on this host and to 10.0.0.11 on a; "
            "make it resolve to one address on all hosts (/etc/hosts, name server), or write its address",
        ),
        (
            {"cloud": ["fd00::99"]},
            {PUBLIC: "cloud"},
            f"b: {PUBLIC} = cloud: resolves to fd00::99 on this host and to 10.0.0.11 on a; "
            "make it resolve to one address on all hosts (/etc/hosts, name server), or write its address",
        ),
    ],
)
def test_names_that_are_not(resolved, variables, problem):
    hosts = {
        "a": seen(hostname="ctl", resolved={"ctl": ["127.0.1.1"], "cloud": ["10.0.0.11"]}),
        "b": seen(resolved={"compute1": ["127.0.1.1"], **resolved}),
    }
    assert lines(fitness.check_names(hosts, {"a": {INTERNAL: "cloud"}, "b": variables})) == [problem]


# ------------------------------------------------------------------------------------------------------- compute nodes

ONE, TWO = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
NODES = [{"uuid": ONE, "host": "compute1", "address": "10.0.0.21"}, {"uuid": TWO, "host": "compute2", "address": "10.0.0.22"}]


def node(release="epoxy", address="10.0.0.21", nodes=NODES, **changes):
    problems, identity = fitness.check_compute_node("a", seen(**changes), nodes, address, release)
    return lines(problems), identity


@pytest.mark.parametrize(
    ("arguments", "identity"),
    [
        ({"compute_id": ONE}, None),
        ({"compute_id": ""}, ONE),
        ({"compute_id": "", "release": "antelope"}, ONE),
        ({"compute_id": "", "release": "zed"}, None),
        ({"compute_id": "", "nodes": []}, None),
        ({"compute_id": "", "hostname": "compute3", "address": "10.0.0.23"}, None),
        # Another network for management, and a neighbour that now has our former address.
        ({"compute_id": ONE, "address": "10.0.0.22"}, None),
    ],
)
def test_an_identity_is_put_back_where_it_is_lost(arguments, identity):
    assert node(**arguments) == ([], identity)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (
            {"hostname": "other", "compute_id": ONE},
            f"a: hostname = other: Nova knows this host (compute_id {ONE}) as compute1; run `hostnamectl set-hostname "
            "compute1` on this host, or remove compute1 first (`make remove-compute COMPUTE=compute1`) and "
            "/var/lib/nova/compute_id with it",
        ),
        (
            {"hostname": "other", "release": "zed"},
            "a: hostname = other: Nova knows this host (address 10.0.0.21) as compute1; run `hostnamectl set-hostname "
            "compute1` on this host, or remove compute1 first (`make remove-compute COMPUTE=compute1`)",
        ),
        (
            {"hostname": "Compute1", "compute_id": ONE},
            f"a: hostname = Compute1: Nova knows this host (compute_id {ONE}) as compute1; run `hostnamectl set-hostname "
            "compute1` on this host, or remove compute1 first (`make remove-compute COMPUTE=compute1`) and "
            "/var/lib/nova/compute_id with it",
        ),
        (
            {"hostname": "compute1.example.org", "compute_id": ""},
            "a: hostname = compute1.example.org: Nova knows this host (address 10.0.0.21) as compute1; run `hostnamectl "
            "set-hostname compute1` on this host, or remove compute1 first (`make remove-compute COMPUTE=compute1`)",
        ),
        (
            {"compute_id": "33333333-3333-4333-8333-333333333333"},
            "a: /var/lib/nova/compute_id = 33333333-3333-4333-8333-333333333333: "
            f"Nova knows compute1 as {ONE}, and would not start; run `echo {ONE} > /var/lib/nova/compute_id` on this host",
        ),
    ],
)
def test_a_host_that_nova_would_not_know_again(arguments, problem):
    assert node(**arguments) == ([problem], None)


@pytest.mark.parametrize("name", ["Compute1", "COMPUTE1", "compute1"])
def test_names_that_differ_in_case_only_are_one(name):
    (problem,) = lines(check_hostnames({"a": "compute1", "b": name}))
    why = "" if name == "compute1" else " (compute1): case does not matter"
    assert problem == f"b: hostname = {name}: is also the host name of a{why}; run `hostnamectl set-hostname b` on this host"


@pytest.mark.parametrize(("given", "address"), [({"ansible_host": "192.0.2.7"}, "192.0.2.7"), ({}, "compute1")])
def test_the_way_of_ansible_to_a_host_is_not_taken_away(given, address):
    login = variables.login(inventory(hosts={"compute1": given}).host("compute1"))
    assert login == {"ansible_host": address}
    found = lines(fitness.check_bridges("a", seen(default_routes=[]), login, [{"name": "br-x", "ports": ["eth3"]}], "system"))
    assert found == (
        [
            "a: openstack_bridges[0].ports[0] = eth3: has ansible_host (192.0.2.7), which br-x would take away; "
            "write another interface, or add 192.0.2.7/PREFIX to the bridge's addresses"
        ]
        if given
        else []
    )


@pytest.mark.parametrize(
    ("release", "numbers", "older"),
    [
        ("epoxy", ["68", "68"], ""),
        ("epoxy", ["68", "64"], "zed"),
        ("epoxy", ["67", "68"], "dalmatian"),
        # Stable releases may count on: 2024.1 ends with 67, as 2024.2 begins.
        ("caracal", ["67"], ""),
        ("caracal", ["66"], ""),
        ("dalmatian", ["66"], "antelope"),
        ("zed", ["61"], "yoga"),
        ("zed", ["60"], "xena"),
        ("2026.2", ["52"], "xena"),
        # A newer one is another matter; a node without a service, or a database that does not say, is none.
        ("zed", ["68"], ""),
        ("epoxy", ["NULL"], ""),
        ("epoxy", ["NULL", "64"], "zed"),
        ("epoxy", [], ""),
        # What is not in the table.
        ("train", ["38"], ""),
    ],
)
def test_compute_nodes_of_an_older_release(release, numbers, older):
    versions = inventory().role_vars["openstack_service_versions"]
    nodes = [{"host": f"compute{at}", "version": number} for at, number in enumerate(numbers)]
    assert fitness.older_release(nodes, release, versions) == older
    assert fitness.older_release([{"host": "compute1"}], release, versions) == ""


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (None, ""),
        ("bridge", ""),
        ("openvswitch", ""),
        ("tun", ""),
        ("", "(a network card), and no bridge; choose another name; the interface may be one of its ports"),
        ("veth", "is an interface of this host (veth), and no bridge"),
        ("bond", "is an interface of this host (bond), and no bridge"),
        ("vlan", "is an interface of this host (vlan), and no bridge"),
    ],
)
def test_a_bridge_that_is_called_like_an_interface(kind, words):
    kinds = {} if kind is None else {"br-ex": kind}
    found = lines(fitness.check_bridges("compute1", seen(kinds=kinds), {}, [{"name": "br-ex"}], "system"))
    assert len(found) == bool(words)
    assert not found or words in found[0]
