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
# OpenSSL's words, and those of GnuTLS, which QEMU uses.
REFUSAL = (
    "certificate verify failed|CERTIFICATE_VERIFY_FAILED|certificate has expired|certificate is not trusted"
    "|[Cc]ertificate does not match|certificate hasn't got a known issuer"
)
# What a client says by itself once it is cut off, and one that asks when it starts.
BY_ITSELF, RESTARTED = "true", "systemctl restart {}"
# A token that the service must ask Keystone about: it remembers those that it has asked about.
JUNK = 'curl --silent --max-time 60 --header "X-Auth-Token: $RANDOM$RANDOM$RANDOM" http://127.0.0.1:{}'


def _files(directory: str, names: str = "") -> list[str]:
    return [f"{directory}/{names}{name}.pem" for name in (("cert", "key") if names else ("certificate", "key"))]


# server -> its name in the verification's row `tls`, host, files (certificate and key, or both in one), and how it reads them
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
    "screens": ("", "compute1", _files("/etc/pki/libvirt-vnc", "server-"), "systemctl reload libvirtd"),
    "migrations": ("", "compute2", _files("/etc/pki/qemu", "server-"), "true"),
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
        "Identity": ("controller", "keystone-manage db_version", "keystone"),
        "Image": ("controller", "glance-manage db version", "glance"),
        "Placement": ("controller", "placement-manage db version", "placement"),
        "Networking": ("controller", "neutron-db-manage current", "neutron"),
        "Compute": ("controller", "nova-manage db version", "nova"),
        "nova-conductor": ("controller", RESTARTED.format("nova-conductor"), "nova"),
    },
    "RabbitMQ": {
        "nova-compute": ("compute1", BY_ITSELF, "nova"),
        "nova-conductor": ("controller", BY_ITSELF, "nova"),
        "Networking": ("controller", BY_ITSELF, "neutron"),
    },
    # Neither compares names.
    "OVN": {
        "ovn-controller": ("compute1", BY_ITSELF, "ovn"),
        "Networking": ("controller", BY_ITSELF, "neutron"),
        "metadata agent": ("compute1", BY_ITSELF, "neutron"),
    },
}


def metadata_agent(cloud) -> tuple[str, str, str]:
    """The client of Nova's metadata: its agent, asked as by the guest `first`."""
    network, addresses = next(iter(json.loads(cloud.openstack("server show first -f json -c addresses"))["addresses"].items()))
    known = cloud.openstack(f"network show {network} -f value -c id")
    asks = f"curl --silent --max-time 60 --unix-socket /var/lib/neutron/metadata_proxy --header 'X-Forwarded-For: {addresses[0]}'"
    return ("compute1", f"{asks} --header 'X-OVN-Network-ID: {known}' http://metadata/latest/meta-data/", "neutron")


def wrong(cloud, host: str, fault: str) -> certificates.Pair:
    """A certificate for `host` with a fault, and nothing else wrong."""
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
        return certificates.issue(signer, host, names, ["server", "client"], 20)


@contextlib.contextmanager
def shown(cloud, server: str, pair: certificates.Pair):
    """Within it, a server shows another certificate."""
    _name, host, paths, reads = SERVERS[server]
    texts = [pair.certificate + pair.key] if len(paths) == 1 else [pair.certificate, pair.key]
    try:
        for path, text in zip(paths, texts, strict=True):
            command = f"cp --preserve {path} {path}.kept && cat > {path}"
            subprocess.run(
                ["podman", "exec", "-i", cloud.container(host), "bash", "-c", command], input=text, text=True, check=True
            )
        cloud.sh(host, reads)
        yield
    finally:
        cloud.sh(host, "; ".join(f"mv {path}.kept {path}" for path in paths))
        cloud.sh(host, reads)


def refusals(cloud, host: str, logs: str) -> list[str]:
    """Lines of a service's logs by which it refused a certificate."""
    return cloud.sh(host, f"cat /var/log/{logs}/*.log | grep -E {shlex.quote(REFUSAL)}", check=False).splitlines() if logs else []


def counted(cloud, clients: dict) -> dict[str, int]:
    """How often each client has refused a certificate so far."""
    return {name: len(refusals(cloud, host, logs)) for name, (host, _command, logs) in clients.items()}


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
