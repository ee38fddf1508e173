"""What the network backend of the scenario's release brings: units, agents with their hosts, files with secrets."""

import os

from kilonova.config import releases

RELEASE = releases.find(os.environ.get("KILONOVA_RELEASE") or "epoxy")
BACKEND = "ovn" if releases.find("epoxy") <= RELEASE else "openvswitch"

CONTROLLER_UNITS = {
    "openvswitch": ["neutron-l3-agent", "neutron-dhcp-agent", "neutron-metadata-agent", "neutron-openvswitch-agent"],
    "ovn": ["ovn-central", "ovn-host", "neutron-periodic-workers", "neutron-ovn-maintenance-worker"],
}[BACKEND]
COMPUTE_UNITS = {"openvswitch": ["neutron-openvswitch-agent"], "ovn": ["ovn-host", "neutron-ovn-metadata-agent"]}[BACKEND]
AGENTS = {
    "openvswitch": {
        ("neutron-l3-agent", "controller"),
        ("neutron-dhcp-agent", "controller"),
        ("neutron-metadata-agent", "controller"),
        ("neutron-openvswitch-agent", "controller"),
        ("neutron-openvswitch-agent", "compute1"),
    },
    "ovn": {("ovn-controller", "controller"), ("ovn-controller", "compute1"), ("neutron-ovn-metadata-agent", "compute1")},
}[BACKEND]
SECRET_FILES = {
    "openvswitch": [("controller", "/etc/neutron/metadata_agent.ini", "root", "neutron", 0o640)],
    "ovn": [("compute1", "/etc/neutron/neutron_ovn_metadata_agent.ini", "root", "neutron", 0o640)],
}[BACKEND]
