"""What variables cannot be together: each row of wrong input with its neighbours, and their right forms."""

import os
from pathlib import Path

import pytest
from test_generate import ONE, SECRETS, TWO, inventory
from wrong_input import walk

from kilonova.config import checking, config_files, plain
from kilonova.run import consistency, variables

CONTROLLER, COMPUTE = "10.0.0.11", "10.0.0.12"


def said(groups=TWO, release="epoxy", hosts=None, **given):
    """What the checks say of an inventory whose names are right."""
    source = inventory(groups, None, hosts, openstack_release=release, nova_compute_virt_type="kvm", **given)
    hosts = source.hosts()
    problems = variables.check_values(source, hosts) + variables.check_overrides(source, hosts) or consistency.check(
        source, hosts
    )
    return [str(problem) for problem in problems]


def bridge(**parts):
    return {"openstack_bridges": [{"name": "br-provider", **parts}]}


def mysql(variable="mysql", **options):
    return {f"{variable}_overrides": {"99-openstack.cnf": {"mysqld": options}}}


def rabbit(**options):
    return {"rabbitmq_overrides": {"rabbitmq.conf": {"DEFAULT": options}}}


# --------------------------------------------------------------------------------------------------------- right ones


@pytest.mark.parametrize("groups", [ONE, TWO])
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"openstack_rabbit_port": 5673, "nova_controller_novncproxy_port": 6081},
        {"mysql_bind_address": "0.0.0.0", "rabbitmq_bind_address": "::"},
        {"openstack_database_host": "db.example.org", "mysql_max_connections": 180},
        {"openstack_database_grant_hosts": ["localhost", "10.0.0.%"]},
        {"openstack_database_grant_hosts": ["10.0.0.0/255.255.255.0"]},
        {"openstack_auth_url": "https://cloud.example.org/identity/v3", "openstack_public_host": "cloud.example.org"},
        {"openstack_auth_url": "http://cloud.example.org:8080/v3/"},
        bridge(ports=["eth1", "enp3s0f1.100"]),
        bridge(ports=["eth1"], secure=True, tunnels=[]),
        {"openstack_bridges": [{"name": "br-a", "datapath": "system"}, {"name": "br-a", "datapath": "linux"}]},
        {"openstack_bridge_mappings": {"provider": "br-provider"}, **bridge(ports=["eth1"])},
        {"neutron_controller_flat_networks": ["*"]},
        {"neutron_controller_flat_networks": []},
        {"openstack_public_scheme": "https", "openstack_public_host": "cloud.example.org"},
        {"openstack_public_scheme": "https", "openstack_public_host": "203.0.113.5"},
        {"openstack_public_image_url": "https://10.0.0.11:9393"},
        rabbit(**{"listeners.tcp.local": "127.0.0.1:5673", "log.file.level": "debug", "auth_backends.1": "internal"}),
        {"mysql_overrides": {"99-openstack.cnf": {"client": {"port": 3306}, "mariadb-10.11": {"max_connections": 4096}}}},
        {"openstack_bridges": [{"name": "br-a", "secure": "no", "ports": ["e1", "e2"]}]},
        {"neutron_controller_overrides": {
            "ml2_conf.ini": {"ml2_type_geneve": {"vni_ranges": "1:9,20:29"}}, "neutron.conf": {"DEFAULT": {"rpc_workers": 0}},
        }},
        {"nova_compute_qemu_cpu_model": "Skylake-Server-noTSX-IBRS"},
        {"nova_compute_qemu_cpu_model": "EPYC-Milan-v2"},
        {"keystone_token_expiration": 300, "openstack_workers": 256, "mysql_max_connections": 100000},
        {"mysql_overrides": {"99-openstack.cnf": {"mysqld": {"innodb_buffer_pool_size": "4G", "loose_x": 1}}}},
        rabbit(**{"disk_free_limit.absolute": "1GB", "vm_memory_high_watermark.relative": 0.4}),
        {"memcached_overrides": {"memcached.conf": {"DEFAULT": {"-c": 2048, "--max-item-size": "8m", "-M": True}}}},
        {"mysql_overrides": {}, "rabbitmq_overrides": {}, "tempest_overrides": {"tempest.conf": {"compute": {"x": 1}}}},
        {"openstack_rabbit_user": "guest2"},
    ],
)  # fmt: skip
def test_right(groups, given):
    assert said(groups, **given) == []


@pytest.mark.parametrize("address", ["FD00:000a::0011", "fd00:a:0:0::11", "fd00:a::11"])
def test_an_address_of_ipv6_may_be_spelt_otherwise(address):
    """MariaDB compares an account's host with the usual form."""
    hosts = {"controller": {"openstack_management_address": address}, "compute1": {"openstack_management_address": "FD00:A::31"}}
    assert said(hosts=hosts) == []
    found = inventory(TWO, hosts=hosts).host("controller").find("openstack_database_grant_hosts")
    assert list(map(str, found)) == ["localhost", "fd00:a::11"]


@pytest.mark.parametrize("address", ["198.51.100.1/24", "2001:db8::1/64", "198.51.100.0/31", "10.0.0.11/24"])
def test_a_bridge_has_an_address_on_one_host(address):
    assert said(ONE, **bridge(addresses=[address])) == []
    assert said(hosts={"controller": bridge(addresses=[address])}) == []
    (problem,) = said(**bridge(addresses=[address]))
    assert f"openstack_bridges[0].addresses[0] = {address}: is also an address of " in problem


def test_one_host_may_be_its_own_loopback():
    given = {"openstack_public_host": "localhost", "nova_compute_novncproxy_base_url": "http://127.0.0.1:6080/vnc_lite.html"}
    assert said(ONE, **given) == []
    assert len(said(TWO, **given)) == 2


# ----------------------------------------------------------------------------------------------------- wrong by itself


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"openstack_rabbit_port": 5000}, ["openstack_rabbit_port = 5000", "the port of keystone"]),
        ({"openstack_rabbit_port": 8775}, ["openstack_rabbit_port = 8775", "the port of nova-api-metadata"]),
        ({"openstack_rabbit_port": 11211}, ["the port of memcached"]),
        ({"openstack_rabbit_port": 25672}, ["the port of RabbitMQ's nodes"]),
        ({"nova_controller_novncproxy_port": 5672}, ["nova_controller_novncproxy_port = 5672", "the port of rabbitmq-server"]),
        ({"nova_controller_novncproxy_port": 3306}, ["the port of mariadb"]),
        ({"nova_controller_novncproxy_port": 6642}, ["the port of ovn-ovsdb-server-sb"]),
        ({"nova_controller_novncproxy_port": 22}, ["the port of ssh"]),
        ({"openstack_rabbit_port": 6090, "nova_controller_novncproxy_port": 6090}, ["= 6090", "set another port"]),
        ({"mysql_bind_address": "127.0.0.1"}, ["mysql_bind_address = 127.0.0.1", f"{CONTROLLER} (openstack_database_host)"]),
        ({"rabbitmq_bind_address": "127.0.0.1"}, [f"{CONTROLLER} (openstack_rabbit_host)", f"set {CONTROLLER}, or 0.0.0.0"]),
        (rabbit(**{"listeners.tcp.default": 5672}), ["listeners.tcp.default: 5672: is the port of rabbitmq-server"]),
        (rabbit(**{"listeners.ssl.1": "0.0.0.0:5000"}), ["listeners.ssl.1: 0.0.0.0:5000: is the port of keystone"]),
        (rabbit(**{"listeners.tcp": "none"}), ["is set by rabbitmq_bind_address and openstack_rabbit_port"]),
        (mysql(skip_networking=1), ["skip_networking: 1: is set by mysql_bind_address"]),
        (mysql(**{"loose-bind-address": "127.0.0.1"}), ["is set by mysql_bind_address"]),
        (
            {"mysql_overrides": {"99-openstack.cnf": {"server": {"max-connections": 20}}}},
            ["mysql_max_connections = 20", "at least 180"],
        ),
        ({"mysql_bind_address": COMPUTE}, [f"mysql_bind_address = {COMPUTE}"]),
        ({"mysql_max_connections": 1}, ["mysql_max_connections = 1", "from 10 to 100000"]),
        ({"mysql_max_connections": 179}, ["mysql_max_connections = 179", "at least 180"]),
        (mysql(max_connections=20), ["mysql_max_connections = 20", "at least 180"]),
        ({"openstack_workers": 200}, ["mysql_max_connections = 4096", "at least 9000"]),
        ({"openstack_database_grant_hosts": []}, ["openstack_database_grant_hosts: is empty"]),
        ({"openstack_database_grant_hosts": ["localhost"]}, ["= localhost: has no entry that matches 10.0.0.11", "add 10."]),
        ({"openstack_database_grant_hosts": ["10.0.1.%"]}, ["has no entry that matches 10.0.0.11"]),
        ({"openstack_database_grant_hosts": ["10.0.0.0/24"]}, ["has a prefix length", "write 10.0.0.0/255.255.255.0"]),
        ({"openstack_database_grant_hosts": ["10.0.0.11/255.255.255.0"]}, ["is not the address of an IPv4 network"]),
        ({"openstack_database_grant_hosts": ["10.0.0.11", "fd00::/64"]}, ["is not the address of an IPv4 network"]),
        ({"openstack_database_grant_hosts": ["10.0.0.11", "10.0.0.300"]}, ["= 10.0.0.300: is not an address"]),
        ({"openstack_database_grant_hosts": ["10.0.0.11", "cafe"]}, ["= cafe: is not an address"]),
        ({"openstack_database_grant_hosts": ["controller"]}, ["= controller: is not an address", "skip-name-resolve"]),
        ({"openstack_database_grant_hosts": ["Controller.Example.org"]}, ["is not an address", "skip-name-resolve"]),
        ({"openstack_auth_url": "http://10.0.0.11:5000"}, ["does not end in /v3", "write http://10.0.0.11:5000/v3"]),
        ({"openstack_auth_url": "http://10.0.0.11:5000/v2.0"}, ["does not end in /v3"]),
        ({"openstack_auth_url": "http://10.0.0.11:35357/v3"}, ["does not have Keystone's port", "write port 5000"]),
        ({"openstack_auth_url": "http://Controller:35357/v3"}, ["does not have Keystone's port", "write port 5000"]),
        ({"openstack_public_auth_url": "http://10.0.0.11:5000/v3#"}, ["does not end in /v3"]),
        ({"openstack_public_scheme": "https"}, ["openstack_public_scheme = https: no service on the controller speaks TLS"]),
        (
            {"openstack_public_auth_url": "https://10.0.0.11:5000/v3"},
            ["openstack_public_auth_url = https://10.0.0.11:5000/v3: no service on the controller speaks TLS"],
        ),
        ({"openstack_public_image_url": "HTTPS://10.0.0.11:9292"}, ["and 10.0.0.11:9292 is where one answers in plain HTTP"]),
        ({"openstack_internal_host": "169.254.1.1"}, ["openstack_internal_host = 169.254.1.1: is a link-local address"]),
        ({"openstack_public_host": "fe80::1"}, ["openstack_public_host = fe80::1: is a link-local address"]),
        ({"openstack_database_host": "0.0.0.0"}, ["openstack_database_host = 0.0.0.0: is not an address that other hosts"]),
        ({"openstack_rabbit_host": "255.255.255.255"}, ["openstack_rabbit_host = 255.255.255.255: is not an address"]),
        ({"openstack_public_host": "::ffff:10.0.0.11"}, ["is the IPv4 address 10.0.0.11 in IPv6 form"]),
        ({"openstack_auth_url": "http://224.0.0.1:5000/v3"}, ["= http://224.0.0.1:5000/v3: is not an address that other hosts"]),
        ({"keystone_overrides": {"keystone.conf": {"token": {"expiration": 1}}}}, ["[token] expiration = 1: is out of bounds"]),
        (
            {"neutron_controller_overrides": {"ml2_conf.ini": {"ml2_type_geneve": {"vni_ranges": "1000:1"}}}},
            ["ml2_conf.ini [ml2_type_geneve] vni_ranges = 1000:1: is not a range of network identifiers"],
        ),
        (
            {"nova_controller_overrides": {"nova.conf": {"conductor": {"workers": 100000}}}},
            ["nova.conf [conductor] workers = 100000: is out of bounds; set a number from 1 to 256"],
        ),
        (
            {"placement_overrides": {"placement-api-uwsgi.ini": {"uwsgi": {"processes": 1000}}}},
            ["placement-api-uwsgi.ini [uwsgi] processes = 1000: is out of bounds"],
        ),
        ({"openstack_region": "Régíon"}, ["is not a valid region name"]),
        ({"openstack_region": "r" * 256}, ["is not a valid region name"]),
        ({"mysql_bind_address": "fe80::1%eth0"}, ["mysql_bind_address = fe80::1%eth0: is not an IP address"]),
        ({"openstack_controller_address": COMPUTE}, [f"= {COMPUTE}: is an address of compute1; set an address of controller"]),
        ({"openstack_database_host": "localhost.localdomain"}, ["is not where mariadb listens, which is 10.0.0.11"]),
        ({"openstack_auth_url": "http://10.0.0.11/v3"}, ["does not have Keystone's port", "write port 5000"]),
        ({"openstack_public_auth_url": "http://cloud.example.org"}, ["openstack_public_auth_url", "does not end in /v3"]),
        ({"openstack_public_image_url": "https://a:b@x.org/image"}, ["= https://x.org/image: contains a user or password"]),
        ({"openstack_public_network_url": "https://x.org/?a=b"}, ["openstack_public_network_url", "has a query or a fragment"]),
        (
            {"openstack_public_compute_url": "https://x.org/compute/"},
            ["does not end in /v2.1", "write https://x.org/compute/v2.1"],
        ),
        ({"openstack_public_placement_url": "http://localhost:8778"}, ["means the local machine"]),
        ({"glance_policy": {"get_images": None}}, ["glance_policy = None: is not a text, as the rule get_images must be"]),
        ({"glance_policy": {7: "@"}}, ["glance_policy = @: has the rule 7, which is not a name"]),
        ({"keystone_policy": {"a": "admin"}}, ["keystone_policy = admin: 'admin' stands where a check must, in the rule a"]),
        ({"placement_policy": {"a": "role:x role:y"}}, ["'role:y' stands where `and` or `or` must"]),
        ({"nova_controller_policy": {"a": "(role:x or role:y"}}, ["has a parenthesis that is not closed"]),
        ({"nova_controller_policy": {"a": "role:x)"}}, ["')' stands where `and` or `or` must"]),
        ({"neutron_controller_policy": {"a": "role:x or"}}, ["ends where a check must stand, in the rule a"]),
        ({"neutron_controller_policy": {"a": "not"}}, ["ends where a check must stand"]),
        ({"openstack_internal_host": "127.0.0.1"}, ["openstack_internal_host = 127.0.0.1", "means the local machine"]),
        ({"openstack_internal_host": "127.0.1.1"}, ["openstack_internal_host = 127.0.1.1", "means the local machine"]),
        ({"openstack_public_host": "localhost"}, ["openstack_public_host = localhost", "means the local machine"]),
        ({"openstack_public_host": "localhost.localdomain"}, ["means the local machine"]),
        ({"openstack_auth_url": "http://localhost:5000/v3"}, ["= http://localhost:5000/v3", "means the local machine"]),
        (bridge(ports=["$(reboot)"]), ["openstack_bridges[0].ports[0] = $(reboot)", "is not a valid interface name"]),
        (bridge(ports=["eth1;id"]), ["is not a valid interface name"]),
        (bridge(ports=["--help"]), ["is not a valid interface name"]),
        (bridge(ports=["eth1", "eth1"]), ["ports[1] = eth1: is listed twice"]),
        (bridge(ports=["br-int"]), ["is a bridge or an interface of the system"]),
        (bridge(ports=["br-provider"]), ["is a bridge or an interface of the system"]),
        (bridge(ports=["enp3s0f1np1v0s0x"]), ["has 16 characters"]),
        ({"openstack_bridges": [{"name": "br-abcdefghijklmnopqrstuvw"}]}, ["openstack_bridges[0].name", "has 26 characters"]),
        ({"openstack_bridges": [{"name": "br provider"}]}, ["is not a valid interface name"]),
        ({"openstack_bridges": [{"name": "br/provider"}]}, ["is not a valid interface name"]),
        ({"openstack_bridges": [{"name": "--help"}]}, ["is not a valid interface name"]),
        ({"openstack_bridges": [{"name": "bräcke"}]}, ["is not a valid interface name"]),
        ({"openstack_bridges": [{"name": "br-int"}]}, ["is created and used by Networking"]),
        ({"openstack_bridges": [{"name": "vxlan_sys_4789"}]}, ["is created and used by Networking"]),
        ({"openstack_bridges": [{"name": "brq0a"}]}, ["is created and used by Networking"]),
        (bridge(ports=["tap0"]), ["is a bridge or an interface of the system"]),
        (bridge(ports=None), ["openstack_bridges[0].ports: has no value (null)"]),
        (bridge(addresses=[None]), ["openstack_bridges[0].addresses[0]: has no value (null)"]),
        (bridge(ports=["e1", "e2"], secure="on"), ["has 2 ports, and a secure bridge"]),
        (bridge(ports=["e1", "e2"], secure="True"), ["has 2 ports, and a secure bridge"]),
        (bridge(addresses=["198.51.100.1/255.255.255.0"]), ["is not an address with a prefix length"]),
        (bridge(addresses=["fd00::1%eth0/64"]), ["is not an address with a prefix length"]),
        (bridge(addresses=["198.51.100.1/0"]), ["is not an address with a prefix length"]),
        (bridge(addresses=["0.0.0.1/8"]), ["is not an address that an interface can have"]),
        ({"openstack_bridges": [{"name": "br-tun"}]}, ["is created and used by Networking"]),
        ({"openstack_bridges": [{"name": "br-a"}, {"name": "br-a"}]}, ["openstack_bridges[1].name = br-a"]),
        (
            {"openstack_bridges": [{"name": "br-a", "ports": ["eth1"]}, {"name": "br-b", "ports": ["eth1"]}]},
            ["openstack_bridges[1].ports = eth1: is also a port of br-a"],
        ),
        ({"openstack_bridges": [{"name": "br-provider123", "tunnels": [CONTROLLER]}]}, ["too long for the names of its tunnels"]),
        (bridge(addresses=["198.51.100.300/24"]), ["addresses[0] = 198.51.100.300/24", "is not an address with a prefix length"]),
        (bridge(addresses=["198.51.100.1"]), ["is not an address with a prefix length"]),
        (bridge(addresses=["198.51.100.1/33"]), ["is not an address with a prefix length"]),
        (bridge(addresses=["198.51.100.0/24"]), ["address of the network"]),
        (bridge(addresses=["198.51.100.255/24"]), ["broadcast address"]),
        (bridge(addresses=["127.0.0.2/8"]), ["not an address that an interface can have"]),
        (bridge(ports=["eth1", "eth2"], secure=True), ["has 2 ports", "leave one port"]),
        (bridge(secure=True), ["has 0 ports"]),
        (bridge(tunnels=["nonsense"]), ["tunnels[0] = nonsense: is not an IP address"]),
        (bridge(tunnels=["10.0.0.99"]), ["is not an address of a host in the inventory"]),
        (bridge(tunnels=[CONTROLLER, COMPUTE]), ["is an address of this host"]),
        ({"openstack_bridge_mappings": {"provider": "br-provider"}}, ["openstack_bridge_mappings.provider = br-provider"]),
        ({"openstack_bridge_mappings": {"provider": "br-provder"}, **bridge()}, ["write br-provider, or add it there"]),
        ({"openstack_bridge_mappings": {"a:b": "br-provider"}, **bridge()}, ["= a:b: is not a valid name of a physical network"]),
        ({"openstack_bridge_mappings": {"a,b": "br-provider"}, **bridge()}, ["= a,b: is not a valid name of a physical network"]),
        ({"openstack_bridge_mappings": {"a": "br-provider", "b": "br-provider"}, **bridge()}, ["the bridge br-provider twice"]),
        ({"neutron_controller_flat_networks": ["other"]}, ["neutron_controller_flat_networks[0] = other", "not in any host"]),
        (
            {"neutron_controller_flat_networks": ["provder"], "openstack_bridge_mappings": {"provider": "br-a"},
             "openstack_bridges": [{"name": "br-a"}]},
            ["write provider, or map it"],
        ),
        ({"nova_compute_qemu_cpu_model": "qemu46"}, ["= qemu46: is not a CPU model", "write qemu64"]),
        ({"nova_compute_qemu_cpu_model": "haswell"}, ["write Haswell"]),
        ({"nova_compute_qemu_cpu_model": "host"}, ["virsh cpu-models"]),
        ({"keystone_token_expiration": 1}, ["from 300 to 2678400"]),
        ({"keystone_token_expiration": 99999999}, ["from 300 to 2678400"]),
        ({"openstack_workers": 100000}, ["from 1 to 256"]),
        ({"memcached_memory": 9999999999}, ["from 1 to 1048576"]),
        ({"openstack_workers": "\u0663"}, ["openstack_workers = \u0663: is not a whole number"]),
        ({"openstack_workers": "1_0"}, ["openstack_workers = 1_0: is not a whole number"]),
        ({"openstack_rabbit_port": "\uff15\uff16"}, ["is not a whole number"]),
        ({"neutron_controller_vni_ranges": "\u0661:\u0661\u0660"}, ["is not a range of network identifiers"]),
        ({"openstack_memcached_servers": "10.0.0.11:\u0661\u0661"}, ["is not a list of servers"]),
        ({"openstack_public_host": "a" * 80}, ["openstack_public_host", "is not a host name or address"]),
        ({"openstack_public_host": f"{'a' * 64}.example.org"}, ["is not a host name or address"]),
        ({"openstack_public_host": "10.0.0.256"}, ["is not a host name or address"]),
        ({"openstack_rabbit_user": "guest"}, ["openstack_rabbit_user = guest", "guest is removed"]),
        ({"openstack_rabbit_user": ""}, ["openstack_rabbit_user: is not a valid name"]),
        ({"openstack_rabbit_user": "-x"}, ["openstack_rabbit_user = -x"]),
        ({"openstack_rabbit_user": "open stack"}, ["openstack_rabbit_user = open stack"]),
        (mysql("openstack", max_connections=20), ["mysql_max_connections = 20", "at least 180"]),
        (mysql(**{"max-connections": 20}), ["mysql_max_connections = 20", "at least 180"]),
        (mysql(max_connections=None), ["mysql_max_connections = 151", "at least 180"]),
        (rabbit(a={"b": "c"}), ["rabbitmq_overrides = rabbitmq.conf [DEFAULT] a: is a mapping", "{a.b: value}"]),
        (rabbit(a=["b"]), ["rabbitmq_overrides = rabbitmq.conf [DEFAULT] a: is a list"]),
        (rabbit(**{"a\nb": 1}), ["rabbitmq.conf [DEFAULT] 'a\\nb': is not a valid option name"]),
        (rabbit(**{"a = b": 1}), ["is not a valid option name"]),
        (rabbit(**{"listeners.tcp.openstack": 5673}), ["is set by rabbitmq_bind_address and"]),
        ({"rabbitmq_overrides": {"rabbitmq.conf": {"heartbeat": 30}}}, ["is not in a section", "{DEFAULT: {heartbeat: value}}"]),
        (mysql(x={"max_connections": 9}), ["mysql_overrides = 99-openstack.cnf [mysqld] x: is a mapping"]),
        (mysql(**{"bind-address": "127.0.0.1"}), ["is set by mysql_bind_address"]),
        (mysql("openstack", port=1), ["99-openstack.cnf [mysqld] port: 1: is set by openstack_database_port"]),
        ({"memcached_overrides": {"memcached.conf": {"DEFAULT": {"-l": "::"}}}}, ["is set by openstack_memcached_servers"]),
        ({"memcached_overrides": {"memcached.conf": {"DEFAULT": {"-c 9": 1}}}}, ["'-c 9': is not a valid option name"]),
        ({"mysql_overrides": {"max_connections": 9, "wait_timeout": None}},
         ["mysql_overrides: has options without", "{99-openstack.cnf: {mysqld: {max_connections: ..., wait_timeout: null}}}"]),
        ({"rabbitmq_overrides": {"disk_free_limit.absolute": "1GB"}},
         ["write {rabbitmq.conf: {DEFAULT: {disk_free_limit.absolute: ...}}}"]),
        ({"tempest_overrides": {"compute": {"min_compute_nodes": 2}}},
         ["tempest_overrides: has options without", "write {tempest.conf: {compute: {min_compute_nodes: ...}}}"]),
        ({"mysql_overrides": {"mysqld": {"max_connections": 9}}}, ["mysqld: is not a file", "write 99-openstack.cnf"]),
        ({"openstack_overrides": {"nova.cnf": {}}}, ["nova.cnf: is not a file that any role", "write nova.conf"]),
        ({"openstack_overrides": ["nova.conf"]}, ["openstack_overrides"]),
        ({"openstack_controller_address": "169.254.3.4"}, ["openstack_controller_address = 169.254.3.4", "link-local address"]),
    ],
)  # fmt: skip
def test_wrong(given, words):
    found = said(**given)
    assert any(all(word in problem for word in words) for problem in found), found


def test_a_login_in_a_url_is_not_shown():
    for url in ("http://admin:geheim@10.0.0.11:5000/v3", "http://admin:ge@heim@10.0.0.11:5000/v3"):
        found = said(openstack_auth_url=url)
        assert len(found) == 1 and "contains a user or password" in found[0]
        assert "heim" not in found[0]


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([{"addresses": ["fd00::1/64", "fd00:0::1/64"]}], "addresses[1] = fd00:0::1/64: is listed twice"),
        ([{"addresses": ["198.51.100.1/24"]}, {"addresses": ["198.51.100.1/25"]}], "[1].addresses = 198.51.100.1: is also among"),
        (
            [{"tunnels": [CONTROLLER]}, {"tunnels": [CONTROLLER]}],
            f"[1].tunnels = {CONTROLLER}: is also among the tunnels of br-0",
        ),
        (
            [{"tunnels": [CONTROLLER, "10.0.1.11"]}],
            "tunnels[1] = 10.0.1.11: is an address of controller, to which this bridge has",
        ),
        ([{"addresses": ["198.51.100.1/24"]}, {"addresses": ["198.51.100.2/24"]}], ""),
        ([{"addresses": ["169.254.1.1/16"], "tunnels": [CONTROLLER]}], ""),
        ([{"addresses": ["198.51.100.1/24"], "datapath": one} for one in ("system", "netdev")], ""),
    ],
)
def test_bridges_of_one_host(parts, words):
    bridges = [{"name": f"br-{at}", **part} for at, part in enumerate(parts)]
    tunnel = {"controller": {"openstack_tunnel_address": "10.0.1.11"}}
    found = said(hosts={**tunnel, "compute1": {"openstack_bridges": bridges}})
    assert len(found) == bool(words) and all(words in problem for problem in found)


def test_a_linux_bridge_with_tunnels_is_the_only_one():
    bridges = [{"name": "br-a", "tunnels": [CONTROLLER]}, {"name": "br-b", "tunnels": ["10.0.1.11"]}]
    hosts = {"controller": {"openstack_tunnel_address": "10.0.1.11"}, "compute1": {"openstack_bridges": bridges}}
    (problem,) = said(release="zed", hosts=hosts, openstack_network_backend="linuxbridge")
    assert "openstack_bridges[1].name = br-b: is a second bridge with tunnels, as br-a is" in problem
    assert said(release="zed", hosts=hosts, openstack_network_backend="openvswitch") == []


def ml2(**sections):
    return {"neutron_controller_overrides": {"ml2_conf.ini": sections}}


PROVIDER = {"openstack_bridge_mappings": {"provider": "br-provider"}, **bridge(ports=["eth1"])}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (ml2(ml2_type_flat={"flat_networks": "other"}), "[ml2_type_flat] flat_networks = other: is not in any host's"),
        ({**ml2(ml2_type_flat={"flat_networks": "provider,Provider"}), **PROVIDER}, "flat_networks = Provider: is not in any"),
        (ml2(ml2_type_vlan={"network_vlan_ranges": "other:1:100"}), "[ml2_type_vlan] network_vlan_ranges = other: is not in"),
        ({**ml2(ml2_type_vlan={"network_vlan_ranges": "provider:1:9,x"}), **PROVIDER}, "network_vlan_ranges = x: is not in any"),
        ({**ml2(ml2_type_vlan={"network_vlan_ranges": "provider:1:100"}), **PROVIDER}, ""),
        (ml2(ml2_type_flat={"flat_networks": "*"}), ""),
        (ml2(ml2={"path_mtu": 1500}), ""),
        (
            {
                **ml2(ml2_type_flat={"flat_networks": "other"}),
                "neutron_openvswitch_overrides": {"openvswitch_agent.ini": {"ovs": {"bridge_mappings": "other:br-other"}}},
            },
            "",
        ),
    ],
)
def test_networks_of_overrides_are_mapped(given, words):
    found = said(release="zed", openstack_network_backend="openvswitch", **given)
    assert len(found) == bool(words) and all(words in problem for problem in found)


@pytest.mark.parametrize("name", ["openstack_region", "openstack_workers", "openstack_bridges", "nova_compute_migration",
                                  "openstack_memcached_servers", "openstack_api_addresses", "openstack_rabbit_port"])  # fmt: skip
def test_nothing_is_no_value(name):
    """YAML reads `openstack_region:` as null, which templates write as None."""
    (problem,) = said(**{name: None})
    assert f": {name}: has no value (null); write one, or remove the line" in problem


# -------------------------------------------------------------------------------------------------------- of one host


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"openstack_release": "zed"}, "compute1: openstack_release = zed: controller has epoxy; set one value for all hosts, in "
                                       "group_vars/all"),
        ({"openstack_release": "2026.1"}, "compute1: openstack_release = gazpacho: controller has epoxy; set one value for all "
                                          "hosts, in group_vars/all"),
        ({"openstack_region": "RegionTwo"}, "compute1: openstack_region = RegionTwo: controller has RegionOne; set one value for "
                                            "all hosts, in group_vars/all"),
        ({"openstack_controller_address": "10.0.0.99"}, "compute1: openstack_controller_address = 10.0.0.99: controller has "
                                                        "10.0.0.11; set one value for all hosts, in group_vars/all"),
        ({"openstack_rabbit_port": 5673}, "compute1: openstack_rabbit_port = 5673: controller has 5672; set one value for all "
                                          "hosts, in group_vars/all"),
        ({"openstack_nova_pass": "another-secret-value"}, "compute1: openstack_nova_pass: controller has another value; set one "
                                                          "value for all hosts, in group_vars/all"),
    ],
)  # fmt: skip
def test_what_all_hosts_have_in_common(given, problem):
    assert said(hosts={"compute1": given}) == [problem]
    assert not any(secret in problem for secret in SECRETS.values())


@pytest.mark.parametrize("release", [2025.1, "2025.1", "Epoxy", "31"])
def test_a_release_in_other_words_is_the_same(release):
    assert said(hosts={"compute1": {"openstack_release": release}}) == []


@pytest.mark.parametrize(
    "given",
    [
        {"openstack_workers": 2},
        {"openstack_datapath": "netdev"},
        {"openstack_bridges": [{"name": "br-a"}]},
        {"openstack_ip_forward": True},
    ],
)
def test_what_a_host_has_for_itself(given):
    assert said(hosts={"compute1": given}) == []


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("openstack_management_address", "169.254.7.8", "is a link-local address"),
        ("openstack_management_address", "255.255.255.255", "not an address that other hosts can reach"),
        ("openstack_management_address", "240.0.0.1", "not an address that other hosts can reach"),
        ("openstack_management_address", "0.1.2.3", "not an address that other hosts can reach"),
        ("openstack_management_address", "::ffff:10.0.0.32", "is the IPv4 address 10.0.0.32 in IPv6 form"),
        ("openstack_tunnel_address", "fe80::1", "is a link-local address"),
        ("openstack_tunnel_address", "239.1.2.3", "not an address that other hosts can reach"),
        ("openstack_tunnel_address", "fd00::1", "is IPv6, and Networking expects IPv4"),
    ],
)
@pytest.mark.parametrize("release", ["zed", "epoxy"])
def test_addresses(variable, value, words, release):
    found = said(release=release, hosts={"compute1": {variable: value}})
    assert any(problem.startswith(f"compute1: {variable} = {value}: ") and words in problem for problem in found), found


def test_an_overlay_of_ipv6_needs_ipv6_everywhere():
    override = {"neutron_controller_overrides": {"ml2_conf.ini": {"ml2": {"overlay_ip_version": 6}}}}
    tunnels = {"controller": {"openstack_tunnel_address": "fd00::1"}, "compute1": {"openstack_tunnel_address": "fd00::2"}}
    assert said(hosts=tunnels, **override) == []
    found = said(hosts={"compute1": tunnels["compute1"]}, **override)
    assert len(found) == 1 and found[0].startswith("controller: openstack_tunnel_address = 10.0.0.11: is IPv4")


# -------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("path", "said_of_it"),
    [
        ("group_vars/controler/main.yml", "inventory: group_vars/controler: there is no group 'controler', so nothing reads "
                                          "it; rename it to controllers, or remove it, or list it in "),
        ("group_vars/compute.yml", "there is no group 'compute', so nothing reads it; rename it to computes.yml"),
        ("group_vars/All.yml", "there is no group 'All'"),
        ("host_vars/compute01.yml", "inventory: host_vars/compute01.yml: there is no host 'compute01', so nothing reads it; "
                                    "rename it to compute1.yml, or remove it, or list it in "),
        ("host_vars/contoller.yaml", "rename it to controller.yaml"),
        ("host_vars/compute1.example.org.yml", "no host 'compute1.example.org', so nothing reads it; rename it to compute1"),
        ("host_vars/COMPUTE1/x.yml", "rename it to compute1,"),
        ("host_vars/compute1.ini", "Ansible reads files without an ending, and .yml, .yaml and .json; rename it to compute1.yml"),
        ("group_vars/computes.txt", "rename it to computes.yml"),
        ("hosts_vars/compute1.yml", "hosts_vars: is a directory that Ansible does not read, and host_vars is one that"),
        ("Group-Vars/all/x.yml", "rename it to group_vars, or list it in"),
        ("host_vars/compute1.yml.bak", ""),
        ("host_vars/storage1.example.org.yml", ""),
        ("playbooks/compute1.yml", ""),
        ("host_vars/compute1.yml", ""),
        ("host_vars/compute1/more.yml", ""),
        ("group_vars/all.yml", ""),
        ("group_vars/ceph.yml", ""),
        ("group_vars/.controler.yml.swp", ""),
        ("host_vars/compute1.yml~", ""),
        ("group_vars/controler/certificates.json", ""),
    ],
)  # fmt: skip
def test_files_that_nothing_reads(path, said_of_it, tmp_path):
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("{}\n")
    groups = {"all": ["controller", "compute1"], "controllers": ["controller"], "computes": ["compute1"]}
    found = [str(problem) for problem in consistency.check_files([tmp_path, tmp_path], groups)]
    assert len(found) == bool(said_of_it)
    assert not found or said_of_it in found[0]
    listed = "/".join(path.split("/")[: 2 if path.split("/")[0] in ("group_vars", "host_vars") else 1])
    assert consistency.check_files([tmp_path], groups, [listed]) == []


@pytest.mark.parametrize(
    ("paths", "said_of_it"),
    [
        (["group_vars/all/main.yml", "group_vars/all.yml"],
         "group_vars/all.yml: Ansible does not read it, because all/ is there, which it reads instead; merge it into all/main"),
        (["group_vars/all/more.yml", "group_vars/all.yaml"], "move it to all/main.yaml"),
        (["host_vars/compute1/a.yml", "host_vars/compute1.json"], "host_vars/compute1.json: Ansible does not read it"),
        (["group_vars/computes", "group_vars/computes.yml"], "group_vars/computes.yml: Ansible does not read it"),
        (["group_vars/controllers.yml", "group_vars/controllers.json"], "merge it into controllers.yml"),
        (["group_vars/all/main.YML"], "group_vars/all/main.YML: Ansible reads files without an ending, and .yml, .yaml and "
                                      ".json; rename it to main.yml, or move it elsewhere"),
        (["group_vars/all/main.yml.txt"], "rename it to main.yml"),
        (["host_vars/compute1/sub/x.Yaml"], "rename it to x.yaml"),
        (["group_vars/all/main.yml", "group_vars/all/README.md", "group_vars/all/main.yml.bak", "group_vars/all/.x.YML"], ""),
        (["group_vars/all/main.yml", "group_vars/computes.yml", "host_vars/compute1.yml"], ""),
    ],
)  # fmt: skip
def test_files_that_another_one_hides(paths, said_of_it, tmp_path):
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("{}\n")
    groups = {"all": ["controller", "compute1"], "controllers": ["controller"], "computes": ["compute1"]}
    found = [str(problem) for problem in consistency.check_files([tmp_path], groups)]
    assert len(found) == bool(said_of_it)
    assert not found or said_of_it in found[0]


def test_ansible_reads_what_it_is_said_to_read(tmp_path):
    """The order of the endings, as Ansible has it."""
    from ansible.parsing.dataloader import DataLoader

    (tmp_path / "all").mkdir()
    for name in ("all.yml", "all.yaml", "all.json", "all/x.YML", "all/x.yml.txt", "all/main.yml"):
        (tmp_path / name).write_text("{}\n")
    read = [
        Path(path).relative_to(tmp_path).as_posix()
        for path in map(os.fsdecode, DataLoader().find_vars_files(str(tmp_path), "all"))
    ]
    assert read == ["all/main.yml"]
    hidden = {name for name, *_wrong in consistency._hidden_files(tmp_path)}
    assert hidden == {"all.yml", "all.yaml", "all.json", "all/x.YML", "all/x.yml.txt"}


def test_the_files_of_the_tests_inventory_are_read():
    assert consistency.check_files([walk.RIGHT], {"controllers": ["controller"], "computes": ["compute1"], "all": []}) == []


# ----------------------------------------------------------------------------------------------------- names in files


@pytest.mark.parametrize("name", ["a\nb", "a]\n[b", "a]", "[a", "", " a", "#a", ";a", "a\0"])
def test_no_name_of_a_section_is_another_line(name):
    with pytest.raises(ValueError, match="of a section"):
        config_files.combine_layers({"overrides": {name: {"debug": True}}})


@pytest.mark.parametrize("name", ["a\nb", "a = b", "a:b", "a=b", "[a]", "", "a ", "# a", "debug\n[x]\ny"])
def test_no_name_of_an_option_is_another_line(name):
    with pytest.raises(ValueError, match="of an option"):
        config_files.combine_layers({"overrides": {"DEFAULT": {name: True}}})


@pytest.mark.parametrize("name", [True, 5, None])
def test_a_name_is_a_text(name):
    """YAML reads `on:` as true."""
    with pytest.raises(ValueError, match="is not a text; write it in quotes"):
        config_files.combine_layers({"overrides": {"DEFAULT": {name: True}}})


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}]])
def test_a_mapping_is_no_value(value):
    entry = {"path": "/etc/x", "template": "settings.j2", "layers": {"x": {"DEFAULT": {"a": value}}}}
    with pytest.raises(
        ValueError, match=r"/etc/x: x: option a of .* (is a mapping, not a value|has an element that is not a value)"
    ):
        config_files.render(entry)


# ------------------------------------------------------------------------------------------ programs not OpenStack's


@pytest.mark.parametrize(
    ("path", "section", "option", "value", "words"),
    [
        ("/etc/keystone/keystone-uwsgi.ini", "uwsgi", "proceses", 4, "did you mean processes?"),
        ("/etc/nova/nova-api-uwsgi.ini", "uwsgi", "harakri", 4, "did you mean harakiri?"),
        ("/etc/nova/nova-api-uwsgi.ini", "uwsgi", "threads", "many", "many is not a whole number"),
        ("/etc/nova/nova-api-uwsgi.ini", "uwsgi", "master", "perhaps", "perhaps is not true or false"),
        ("/etc/nova/nova-api-uwsgi.ini", "uwgsi", "threads", 4, "uWSGI reads the section [uwsgi] only"),
        ("/etc/mysql/x.cnf", "mysqld", "max_conections", 4, "did you mean max-connections?"),
        ("/etc/mysql/x.cnf", "mysqld", "inodb_buffer_pool_size", "1G", "did you mean innodb-buffer-pool-size?"),
        ("/etc/mysql/x.cnf", "mysqld", "innodb_buffer_pool_size", "lots", "is not a number of bytes"),
        ("/etc/mysql/x.cnf", "mysqld", "wait_timeout", "1h", "1h is not a whole number"),
        ("/etc/mysql/x.cnf", "mysqld", "MAX_CONNECTIONS", 400, "did you mean max-connections?"),
        ("/etc/mysql/x.cnf", "mariadb-11.8", "max_conections", 4, "did you mean max-connections?"),
        ("/etc/mysql/x.cnf", "mysqldd", "max_connections", 400, "[mysqldd]: MariaDB reads no such section"),
        ("/etc/mysql/x.cnf", "Mysqld", "max_connections", 400, "[Mysqld]: MariaDB reads no such section"),
        ("/etc/mysql/x.cnf", "client", "max_conections", 4, ""),
        ("/etc/rabbitmq/rabbitmq.conf", "DEFAULT", "vm_memory_high_watermark.relativ", 1, "vm_memory_high_watermark.relative?"),
        ("/etc/rabbitmq/rabbitmq.conf", "DEFAULT", "hartbeat", 60, "did you mean heartbeat?"),
        ("/etc/rabbitmq/rabbitmq.conf", "DEFAULT", "heartbeat", "1m", "1m is not a whole number"),
        ("/etc/rabbitmq/rabbitmq.conf", "DEFAULT", "listeners.tcp.mine", 5673, ""),
        ("/etc/rabbitmq/rabbitmq.conf", "DEFAULT", "log.queue.level", "debug", ""),
        ("/etc/rabbitmq/rabbitmq.conf", "DEFAULT", "auth_ldap.servers.1", "x", ""),
        ("/etc/keystone/keystone-uwsgi.ini", "uwsgi", "env", ["A=1", "B=2"], ""),
        ("/etc/keystone/keystone-uwsgi.ini", "uwsgi", "my-own-word", "x", ""),
        ("/etc/mysql/x.cnf", "mysqld", "loose_max_conections", 4, ""),
        ("/etc/systemd/x.conf", "Service", "threads", "many", ""),
    ],
)
def test_programs_that_are_not_openstacks(path, section, option, value, words):
    found = list(plain.check(path, {section: {option: (value, "overrides of x")}}))
    assert len(found) == bool(words)
    assert not found or words in found[0]


@pytest.mark.parametrize(
    ("variable", "settings", "words"),
    [
        ("nova_compute_qemu_conf", {"vnc_tls_x509_cert_dirs": "/x"}, "did you mean vnc_tls_x509_cert_dir?"),
        ("nova_compute_qemu_conf", {"max_fils": 9}, "did you mean max_files?"),
        ("nova_compute_qemu_conf", {"Max_Files": 9}, "did you mean max_files?"),
        ("nova_compute_qemu_conf", {"max_files": 9, "storage_use_nbdkit": True, "of_a_newer_libvirt": 1}, ""),
        ("nova_compute_libvirtd_conf", {"log_filter": "1:qemu"}, "did you mean log_filters?"),
        ("nova_compute_libvirtd_conf", {"log_filters": "1:qemu", "max_clients": 9}, ""),
        # A setting of the other file.
        ("nova_compute_libvirtd_conf", {"spice_tls_x509_cert_dir": "/x"}, ""),
    ],
)
def test_settings_of_libvirt(variable, settings, words):
    found = [str(one) for one in checking.complaints(inventory(TWO, **{variable: settings}))]
    assert len(found) == bool(words)
    assert not found or (words in found[0] and found[0].startswith("compute1: /etc/libvirt/"))


@pytest.mark.parametrize("value", ["{{ site_nothing }}", "aSecret{{LongEnough1234", "{{ openstack_nova_pass }}", "{{ 1 / 0 }}"])
def test_a_secret_that_cannot_be_read_is_not_said_to_be_missing(value):
    found = [str(problem) for problem in variables.unreadable(inventory(TWO, openstack_nova_pass=value))]
    assert found and all("openstack_nova_pass: cannot be read: its template fails, or it is encrypted" in one for one in found)
    assert not any("LongEnough1234" in one or "site_nothing" in one for one in found)
    assert variables.unreadable(inventory(TWO)) == []
