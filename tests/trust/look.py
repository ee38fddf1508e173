"""Runs on a host, by its own Python: what is there, as JSON. `look.py state NETWORK` or `look.py pulse`.

`state` is what a deployment made: equal for two deployments of the same inventory. `pulse` is what must not move while nothing
changes: modification times, processes, and every row of every table that services do not write by themselves.
"""

import grp
import hashlib
import json
import os
import pwd
import re
import stat
import subprocess
import sys

try:
    import pymysql
except ImportError:
    pymysql = None

# Debian moved it after its release 13.
SOCKET = next((path for path in ("/run/mysqld/mysqld.sock", "/run/mariadbd/mysqld.sock") if os.path.exists(path)), "")
TREES = ["/etc", "/usr/local/sbin", "/usr/sbin/policy-rc.d", "/var/lib/kilonova"]
# Of the host itself, random, or a note of when something was installed.
OWN = re.compile(
    r"/etc/(machine-id|hostname|hosts|resolv\.conf|mtab|ld\.so\.cache|\.pwd\.lock|ssh/|ssl/certs/|ssl/private/|iscsi/initiatorname"
    r"|openvswitch/(conf\.db|\.conf\.db|system-id)|passwd|group|shadow|gshadow|subuid|subgid|apt/|cni/|alternatives/README"
    r"|mysql/debian\.cnf|libvirt/(qemu/networks|secrets|nwfilter)|hostid|rabbitmq/.*cookie"
    r"|systemd/system/.*\.wants/.*@|ca-certificates\.conf|ssl/certs|xml/catalog\.old)"
)
# Certificates and keys, within other text.
PEM = re.compile(rb"(-----BEGIN [A-Z ]+-----)[^-]*")
# `ps` has more; these are the services that the roles configure, by their units' names.
OURS = re.compile(r"^(keystone|glance|placement|nova|neutron|mariadb|rabbitmq|memcached|openvswitch|ovs|ovn|openstack|libvirt)")
DATABASES = ("keystone", "glance", "placement", "nova_api", "nova", "nova_cell0", "neutron")
ROWS = {
    "users": "SELECT name, enabled FROM keystone.local_user JOIN keystone.user ON user.id = user_id",
    "projects": "SELECT name, enabled, is_domain FROM keystone.project",
    "roles": "SELECT name FROM keystone.role",
    "assignments": (
        "SELECT type, local_user.name, project.name, role.name FROM keystone.assignment JOIN keystone.role ON role.id = role_id"
        " JOIN keystone.local_user ON local_user.user_id = actor_id LEFT JOIN keystone.project ON project.id = target_id"
    ),
    "system roles": (
        "SELECT local_user.name, role.name FROM keystone.system_assignment JOIN keystone.role ON role.id = role_id"
        " JOIN keystone.local_user ON local_user.user_id = actor_id"
    ),
    "implied roles": (
        "SELECT prior.name, implied.name FROM keystone.implied_role JOIN keystone.role prior ON prior.id = prior_role_id"
        " JOIN keystone.role implied ON implied.id = implied_role_id"
    ),
    "endpoints": (
        "SELECT service.type, service.enabled, service.extra, endpoint.interface, url, endpoint.region_id, endpoint.enabled"
        " FROM keystone.endpoint JOIN keystone.service ON service.id = service_id"
    ),
    "cells": "SELECT name, transport_url, database_connection, disabled FROM nova_api.cell_mappings",
    "mapped hosts": (
        "SELECT host, cell_mappings.name FROM nova_api.host_mappings JOIN nova_api.cell_mappings ON cell_mappings.id = cell_id"
    ),
    "nova services": "SELECT host, `binary`, disabled FROM nova.services WHERE deleted = 0",
    "compute nodes": "SELECT host, hypervisor_hostname FROM nova.compute_nodes WHERE deleted = 0",
    "providers": "SELECT name FROM placement.resource_providers",
    "agents": "SELECT agent_type, `binary`, host, admin_state_up FROM neutron.agents",
    **{f"revision of {name}": f"SELECT version_num FROM `{name}`.alembic_version" for name in DATABASES},
}
# Written by the services themselves while nothing happens.
BEATS = {
    "nova.services",
    "nova.compute_nodes",
    "nova.instance_info_caches",
    "nova.task_log",
    "neutron.agents",
    "neutron.ml2_port_binding_levels",
    "neutron.ovn_hash_ring",
    "neutron.ovn_revision_numbers",
    "neutron.resourcedeltas",
    "placement.resource_providers",
    "placement.inventories",
}

# Directories of guests, leases and locks below /var/lib/<service>.
LIVELY = ("instances", "tmp", "dhcp", "external", "locks", "lock")


def output(*argv):
    """Standard output of a command."""
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode("utf-8", "replace")


def paths():
    """Every path below the trees, without what is the host's own."""
    for tree in TREES:
        yield tree
        for base, directories, names in os.walk(tree):
            directories.sort()
            for name in sorted(directories + names):
                path = os.path.join(base, name)
                if not OWN.match(path):
                    yield path


def touched(path):
    """Owner, mode and time of modification."""
    return f"{owner(os.lstat(path))} {os.lstat(path).st_mtime_ns}"


def owner(of):
    """Owner, group and mode by name: numbers depend on the order of packages."""
    try:
        return f"{pwd.getpwuid(of.st_uid).pw_name}:{grp.getgrgid(of.st_gid).gr_name} {stat.S_IMODE(of.st_mode):o}"
    except KeyError:
        return f"{of.st_uid}:{of.st_gid} {stat.S_IMODE(of.st_mode):o}"


def content(path, of, network):
    """Digest of a file, in which the sandbox's own addresses count as equal; the target of a link.

    Certificates and keys have a digest of their own, because other sandboxes have others (`deployment.without_certificates`).
    """
    if stat.S_ISLNK(of.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(of.st_mode):
        return ""
    with open(path, "rb") as stream:
        data = stream.read().replace(network.encode(), b"NETWORK")
    # Random; and what runs have done, of which every run has more.
    if "-keys/" in path or path.startswith("/var/lib/kilonova/history/"):
        return ""
    if path.endswith("services.json"):
        # Digests of what contains addresses.
        data = json.dumps({unit: sorted(reads) for unit, reads in json.loads(data).items()}, sort_keys=True).encode()
    rest = PEM.sub(rb"\1", data)
    return digest(data) if rest == data else f"{digest(rest)} with {digest(data)}"


def digest(data):
    """Enough of it."""
    return hashlib.sha256(data).hexdigest()[:16]


def ask(statement):
    """Rows as strings, sorted."""
    connection = pymysql.connect(unix_socket=SOCKET, user="root")
    with connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return sorted([str(value) for value in row] for row in cursor.fetchall())


def properties(*names):
    """Unit -> the named properties, of the services that we configure."""
    text = output("systemctl", "show", "--property=" + ",".join(("Id", *names)), "*.service")
    units = [dict(line.split("=", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]
    return {unit.pop("Id"): unit for unit in units if OURS.match(unit["Id"])}


def database(network):
    """Schemas, rows, accounts and grants."""
    found = {name: ask(statement) for name, statement in ROWS.items()}
    for name in DATABASES:
        schema = "FROM information_schema.%s WHERE table_schema = '" + name + "' ORDER BY 1, 2, 3"
        columns = ask("SELECT table_name, column_name, column_type, is_nullable, column_default " + schema % "columns")
        indexes = ask("SELECT table_name, index_name, seq_in_index, column_name, non_unique " + schema % "statistics")
        found["columns of " + name] = hashlib.sha256(json.dumps(columns).encode()).hexdigest()[:16]
        found["indexes of " + name] = hashlib.sha256(json.dumps(indexes).encode()).hexdigest()[:16]
    accounts = ask("SELECT user, host FROM mysql.user WHERE user NOT IN ('mariadb.sys', 'mysql', 'root')")
    found["grants"] = {f"{user}@{host}": ask(f"SHOW GRANTS FOR '{user}'@'{host}'") for user, host in accounts}
    return json.loads(json.dumps(found).replace(network, "NETWORK"))


def tables():
    """Table -> checksum of all its rows."""
    found = {}
    for name in (*DATABASES, "mysql"):
        for (table,) in ask(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{name}' AND table_type = 'BASE TABLE'"
        ):
            full = f"{name}.{table}"
            if full not in BEATS and not any(word in table for word in ("stats", "gtid", "log")):
                found[full] = ask(f"CHECKSUM TABLE `{name}`.`{table}`")[0][1]
    return found


def state(network):
    """What the deployment made."""
    units = properties("ActiveState", "UnitFileState", "LoadState")
    units = {name: unit for name, unit in units.items() if "@" not in name and unit["LoadState"] != "not-found"}
    found = {
        "files": {
            path: f"{owner(os.lstat(path))} {content(path, os.lstat(path), network)}" for path in paths() if os.path.lexists(path)
        },
        "units": {name: "{ActiveState} {UnitFileState}".format(**unit) for name, unit in units.items()},
        "packages": output("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n").splitlines(),
        "people": sorted(person.pw_name for person in pwd.getpwall()),
        "failed": output("systemctl", "--failed", "--no-legend", "--plain").split("\n"),
    }
    if SOCKET:
        found["database"] = database(network)
        found["rabbitmq"] = sorted(output("rabbitmqctl", "--quiet", "list_permissions").splitlines())
    return found


def pulse():
    """What must not move."""
    running = properties("MainPID", "InvocationID", "NRestarts", "ActiveEnterTimestampMonotonic", "StateChangeTimestampMonotonic")
    found = {
        "files": {path: touched(path) for path in paths() if os.path.lexists(path)},
        "units": running,
        "packages": output("dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Abbrev}\n").splitlines(),
    }
    for service in ("keystone", "glance", "placement", "nova", "neutron"):
        for base, directories, names in os.walk("/var/lib/" + service):
            directories[:] = [name for name in directories if name not in LIVELY]
            found["files"].update({path: touched(path) for path in (os.path.join(base, name) for name in names)})
    if SOCKET and pymysql:
        found["tables"] = tables()
    return found


if __name__ == "__main__":
    print(json.dumps(state(sys.argv[2]) if sys.argv[1] == "state" else pulse()))
