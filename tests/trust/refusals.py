"""Servers that cannot prove who they are, and what each client of docs/security.md's table says then."""

from __future__ import annotations

import contextlib
import datetime
import json
import re
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from kilonova.run import certificates

FAULTS = ("another authority", "expired", "another name")
# OpenSSL's words; those of GnuTLS, which QEMU uses; and what Open vSwitch's library for Python makes of OpenSSL's.
REFUSAL = (
    "certificate verify failed|CERTIFICATE_VERIFY_FAILED|certificate (.* )?has expired|certificate is not trusted"
    "|[Cc]ertificate does not match|certificate hasn't got a known issuer|ssl:.*attempt failed .Operation not permitted"
)
# What a client says by itself once it is cut off, and one that asks when it starts.
BY_ITSELF, RESTARTED = "true", "systemctl restart {}"
# A token that the service must ask Keystone about: it remembers those that it has asked about.
JUNK = """python3 - <<'END'
import requests, secrets
print(requests.get("http://127.0.0.1:{}", headers={{"X-Auth-Token": secrets.token_hex()}}, timeout=60).text)
END"""
# A guest's question, as the proxy in its network hands it to the metadata agent.
METADATA = """python3 - <<'END'
import http.client, socket
link = http.client.HTTPConnection("metadata", timeout=60)
link.sock = socket.socket(socket.AF_UNIX)
link.sock.connect("/var/lib/neutron/metadata_proxy")
link.request("GET", "/latest/meta-data/", headers={{"X-Forwarded-For": "{}", "X-OVN-Network-ID": "{}"}})
print(link.getresponse().read())
END"""


def _once(program: str, configuration: str, command: str) -> str:
    """A service's own command that asks its database, with the service's configuration, but tries only once."""
    once = "max_retries = 1\\nretry_interval = 1\\n"
    make = f"printf '[database]\\n{once}[placement_database]\\n{once}' > /run/once.conf"
    return f"{make}; {program} --config-file /etc/{configuration} --config-file /run/once.conf {command}; rm /run/once.conf"


def _files(directory: str, names: str = "") -> list[str]:
    return [f"{directory}/{names}{name}.pem" for name in (("cert", "key") if names else ("certificate", "key"))]


# server -> its name in the verification's row `tls`, host, files (certificate and key, or both in one; authority), and how it
# reads them
SERVERS = {
    "HAProxy": ("Identity", "controller", ["/etc/haproxy/openstack.pem"], "systemctl restart haproxy"),
    "MariaDB": ("MariaDB", "controller", _files("/etc/mysql/openstack"), "systemctl restart mariadb"),
    "RabbitMQ": ("RabbitMQ", "controller", _files("/etc/rabbitmq/openstack"), "systemctl restart rabbitmq-server"),
    "OVN": (
        "OVN's southbound database",
        "controller",
        _files("/etc/openvswitch/openstack"),
        "systemctl restart ovn-ovsdb-server-sb",
    ),
    # With a certificate that has ended, QEMU does not start.
    "screens": (
        "",
        "compute1",
        [*_files("/etc/pki/libvirt-vnc", "server-"), "/etc/pki/libvirt-vnc/ca-cert.pem"],
        "systemctl reload libvirtd",
    ),
    "migrations": ("", "compute2", [*_files("/etc/pki/qemu", "server-"), "/etc/pki/qemu/ca-cert.pem"], "true"),
}
# server -> client -> host, what makes it ask, and whose logs say what became of it. A command's own words count, too.
CLIENTS = {
    "HAProxy": {
        "nova-compute": ("compute1", RESTARTED.format("nova-compute"), "nova"),
        "Compute": ("controller", JUNK.format("8774/v2.1/servers"), "nova"),
        "Image": ("controller", JUNK.format("9292/v2/images"), "glance"),
        "Networking": ("controller", JUNK.format("9696/v2.0/networks"), "neutron"),
        "Placement": ("controller", JUNK.format("8778/resource_providers"), "placement"),
        "openstack": ("controller", ". /root/admin-openrc; timeout 60 openstack token issue", ""),
    },
    "MariaDB": {
        "Identity": ("controller", _once("keystone-manage", "keystone/keystone.conf", "db_version"), "keystone"),
        "Image": ("controller", _once("glance-manage", "glance/glance-api.conf", "db version"), "glance"),
        "Placement": ("controller", _once("placement-manage", "placement/placement.conf", "db version"), "placement"),
        "Networking": ("controller", _once("neutron-db-manage", "neutron/neutron.conf", "current"), "neutron"),
        "Compute": ("controller", _once("nova-manage", "nova/nova.conf", "db version"), "nova"),
        "nova-conductor": ("controller", BY_ITSELF, "nova"),
    },
    "RabbitMQ": {
        "nova-compute": ("compute1", BY_ITSELF, "nova"),
        "nova-conductor": ("controller", BY_ITSELF, "nova"),
        "Networking": ("controller", BY_ITSELF, "neutron"),
    },
    # Neither compares names.
    "OVN": {
        "ovn-controller": ("compute1", BY_ITSELF, "ovn"),
        "Networking": ("controller", RESTARTED.format("neutron-rpc-server"), "neutron"),
        "metadata agent": ("compute1", RESTARTED.format("neutron-ovn-metadata-agent"), "neutron"),
    },
}


def metadata_agent(cloud) -> tuple[str, str, str]:
    """The client of Nova's metadata: its agent, asked as by the guest `first`."""
    network, addresses = next(iter(json.loads(cloud.openstack("server show first -f json -c addresses"))["addresses"].items()))
    known = cloud.openstack(f"network show {network} -f value -c id")
    return ("compute1", METADATA.format(addresses[0], known), "neutron")


def wrong(cloud, host: str, fault: str) -> tuple[certificates.Pair, str]:
    """A certificate for `host` with a fault, and nothing else wrong; and the authorities that the server trusts."""
    [path] = Path(cloud.environment["ANSIBLE_INVENTORY"]).glob(f"group_vars/sandbox_{cloud.name}/certificates.json")
    held = json.loads(path.read_text())
    signer = certificates.Pair(held["openstack_tls_authority"], held["openstack_tls_authority_key"])
    if fault == "another authority":
        signer = certificates.new_authority("Another")
    address = f"{cloud.network}.0.{ {'controller': 11, 'compute1': 21, 'compute2': 22}[host] }"
    names = ["other.example.org"] if fault == "another name" else [host, address]
    today = certificates.now()
    with pytest.MonkeyPatch.context() as then:
        if fault == "expired":
            then.setattr(certificates, "now", lambda: today - datetime.timedelta(days=30))
        # The server itself trusts whom it trusted before: it is for the client to refuse.
        trusted = held["openstack_tls_authority"] + signer.certificate
        return certificates.issue(signer, host, names, ["server", "client"], 20), trusted


@contextlib.contextmanager
def shown(cloud, server: str, pair: certificates.Pair, authority: str):
    """Within it, a server shows another certificate."""
    _name, host, paths, reads = SERVERS[server]
    texts = [pair.certificate + pair.key] if len(paths) == 1 else [pair.certificate, pair.key, authority]
    try:
        for path, text in zip(paths, texts, strict=False):
            command = f"cp --preserve {path} {path}.kept && cat > {path}"
            subprocess.run(
                ["podman", "exec", "-i", cloud.container(host), "bash", "-c", command], input=text, text=True, check=True
            )
        cloud.sh(host, reads)
        yield
    finally:
        cloud.sh(host, "; ".join(f"mv {path}.kept {path}" for path in paths))
        cloud.sh(host, reads)


def refusals(cloud, host: str, logs: str, unit: str = "") -> list[str]:
    """Lines of a service's logs by which it refused a certificate, and of the journal of a unit that it asked."""
    logged = f"cat /var/log/{logs}/*.log" + (f"; journalctl --unit {unit} --output cat" if unit else "")
    return cloud.sh(host, f"({logged}) | grep -E {shlex.quote(REFUSAL)}", check=False).splitlines() if logs else []


def counted(cloud, clients: dict) -> dict[str, int]:
    """How often each client has refused a certificate so far."""
    return {name: len(refusals(cloud, host, logs)) for name, (host, _command, logs) in clients.items()}


def restart(cloud, clients: dict) -> None:
    """Restart the clients that were restarted while the server was not trusted: some of them have given up."""
    for host, command, _logs in clients.values():
        if command.startswith(RESTARTED.format("")):
            cloud.sh(host, command)
    deadline = time.monotonic() + 180
    while "down" in (said := cloud.openstack("compute service list -f value -c State -c Binary", check=False)) or not said:
        assert time.monotonic() < deadline, said
        time.sleep(3)


def silent(cloud, clients: dict, before: dict[str, int], limit: float = 120) -> list[str]:
    """Clients that ask and do not refuse within `limit` seconds, by their own words or in a log, since they were `counted`."""
    said = {name: cloud.sh(host, command, check=False) for name, (host, command, _logs) in clients.items()}
    waiting = {name for name in clients if not re.search(REFUSAL, said[name])}
    deadline = time.monotonic() + limit
    while waiting and time.monotonic() < deadline:
        time.sleep(2)
        after = counted(cloud, {name: clients[name] for name in waiting})
        waiting -= {name for name in waiting if after[name] > before[name]}
    return sorted(waiting)
