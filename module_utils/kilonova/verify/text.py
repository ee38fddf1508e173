"""Words: what a console says, and what a failure points at."""

from __future__ import annotations

import json
import re


def plain(text: str) -> str:
    """Return the text without a terminal's control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]", "", text)


def metadata(console: str) -> dict:
    """The metadata that our guest prints; an empty mapping when it printed none."""
    found = {}
    for line in plain(console).splitlines():
        _before, mark, after = line.partition("KILONOVA-META: ")
        if mark:
            try:
                found = json.loads(after)
            except ValueError:
                continue
    return found


def news(before: str, after: str) -> str:
    """What a console shows that it did not show before: its file is begun anew when a server starts, or goes on."""
    return after[len(before) :] if before and after.startswith(before) else after


def request_ids(text: str) -> list[str]:
    """The request ids in a text."""
    return list(dict.fromkeys(re.findall(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text)))


# What a text of Nova, of a log or of a guest points at. The first column is a regular expression, any case.
HINTS = (
    (r"hash was .* expected|corrupt image|checksum", "the image's stored data: `openstack image show`, then upload it again"),
    (
        # Where the words do not tell whose password it was, the traceback does.
        r"NeutronAdminCredentialConfigurationInvalid|networking client is experiencing an unauthorized"
        r"|nova/network/neutron\.py(?:(?!Traceback).)*exceptions\.http\.Unauthorized",
        "nova.conf [neutron] username and password, on the controller and on the compute nodes",
    ),
    (
        r"nova/scheduler/client/report\.py(?:(?!Traceback).)*exceptions\.http\.Unauthorized",
        "nova.conf [placement] username and password, on the controller and on the compute nodes",
    ),
    (
        r"unauthorized|invalid.{0,12}credential|HTTP 401|requires authentication",
        "the service's password: [keystone_authtoken] and the section of the service that it called",
    ),
    (
        r"MessagingTimeout|timed out waiting for a reply",
        "RabbitMQ and the service that should have replied: `rabbitmqctl list_queues`, `openstack compute service list`",
    ),
    (
        r"ACCESS_REFUSED|access to (?:queue|exchange|vhost)",
        "the RabbitMQ user's password and permissions: `rabbitmqctl list_permissions`",
    ),
    (
        r"ECONNREFUSED|connection refused|cannot connect|unable to connect",
        "the service that should listen there: `systemctl status`, `ss -ltnp`",
    ),
    (
        r"X-Instance-ID-Signature|metadata-missing|metadata on the console",
        "metadata_proxy_shared_secret in nova.conf [neutron] and in metadata_agent.ini (OVN: neutron_ovn_metadata_agent.ini) "
        "must be equal; neutron-metadata-agent (OVN: neutron-ovn-metadata-agent) and nova-api-metadata must run",
    ),
    (
        r"lease on the console",
        "neutron-dhcp-agent and the layer-2 agents: `openstack network agent list`, neutron-dhcp-agent.log, "
        "`ip netns exec qdhcp-…`; OVN: ovn-controller on the compute node, `ovn-sbctl show`",
    ),
    (
        r"binding:?.?failed|VirtualInterfaceCreateException|PortBindingFailed|network-vif-plugged",
        "neutron-openvswitch-agent (OVN: ovn-controller) on the compute node: `openstack network agent list`, its log",
    ),
    (
        r"exceeded max scheduling attempts|exhausted all hosts",
        "nova-compute.log on the hosts that were tried: each of them failed",
    ),
    (
        r"no valid host|no host",
        "room and state of the hosts: `openstack hypervisor list`, `openstack resource provider inventory "
        "list`, `openstack compute service list`",
    ),
    (
        r"RFB|noVNC|websocket|console token|6080",
        "nova-novncproxy.service; NOVA_CONSOLE_PROXY_TYPE in /etc/default/nova-consoleproxy; [vnc] in nova.conf on both sides",
    ),
    (
        r"SPICE|6082",
        "nova-spicehtml5proxy.service; the package qemu-system-modules-spice on the compute node, where it exists; guests have "
        "SPICE from their next start on; [spice] in nova.conf on both sides",
    ),
    (
        r"serial console|6083",
        "nova-serialproxy.service; guests have a serial port for it from their next start or hard reboot on; [serial_console] in "
        "nova.conf on both sides",
    ),
    (
        r"HTTP at|ping of|floating",
        "neutron-l3-agent, the router's namespace (`ip netns`; OVN: `ovn-nbctl show`), br-provider, security group rules",
    ),
    (
        r"connection reset|connection aborted|remote end closed",
        "the uwsgi of that API: keep-alive without `add-header = Connection: close` in its ini file",
    ),
)


def hints(text: str) -> list[str]:
    """What to look at, for the words of a failure."""
    return [advice for pattern, advice in HINTS if re.search(pattern, text, re.I)]
