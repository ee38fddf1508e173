"""A cloud whose management and tunnel networks are IPv6 only: `make cloud IPV6=1`."""

from __future__ import annotations

import os

import pytest
from deployment import SITE, Deployment


@pytest.fixture(scope="module")
def cloud():
    """A deployed one."""
    found = Deployment(os.environ.get("KILONOVA_SANDBOX") or "ipv6", os.environ.get("KILONOVA_NETWORK") or "10.27", images="on")
    found.environment["KILONOVA_IPV6"] = "1"
    try:
        found.create()
        found.first = found.playbook("playbooks/cloud.yml").stdout
        yield found
    finally:
        found.destroy()


def test_no_network_of_the_cloud_has_an_ipv4_address(cloud):
    """Packages come by eth2; the provider network is the guests'."""
    for host in cloud.hosts:
        for interface in ("eth0", "eth1", "br-tunnel"):
            assert "inet " not in cloud.sh(host, f"ip -4 -oneline address show dev {interface} 2>/dev/null", check=False)
        assert "fd4b:" in cloud.sh(host, "getent ahosts controller")


def test_an_instance_boots_and_answers(cloud):
    assert "it answers: hello from first" in cloud.first


def test_a_second_run_changes_nothing(cloud):
    assert "Nothing had to be changed on any host." in cloud.playbook(SITE).stdout


def test_tunnels_and_endpoints_are_of_ipv6(cloud):
    assert "https://[fd4b:" in cloud.openstack("endpoint list -f value -c URL")
    ovn = "ovs-vsctl --if-exists get open_vswitch . external-ids:ovn-encap-ip"
    agent = "grep ^local_ip /etc/neutron/plugins/ml2/openvswitch_agent.ini"
    assert "fd4b:" in cloud.sh("compute1", f"{ovn}; {agent} || true")
