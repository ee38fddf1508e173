"""What is on a host before us: network interfaces, names, and backends that we did not set up. Changes nothing.

A backend is ours when its own file has our mark, or when a run has started its unit with our configuration: either survives a
killed run, an older version and changes by hand.
"""

import glob
import hashlib
import json
import os
import re
import shutil
import socket

from . import database, files, rabbitmq
from .command import run
from .files import MARK

# Of MariaDB's own; `sys` and `test` come with some of its packages.
SYSTEM_DATABASES = ("mysql", "information_schema", "performance_schema", "sys", "test", "#innodb_redo", "#rocksdb")
SYSTEM_ACCOUNTS = ("", "root", "mysql", "mariadb.sys", "debian-sys-maint", "PUBLIC")
LOGIN_ERROR = re.compile(rf"ERROR ({'|'.join(map(str, database.REFUSED))})\b")
SEPARATOR = "\t"
RABBIT_DATA = "/var/lib/rabbitmq/mnesia"


def command(*argv):
    """(status, output, errors) of a command that only reads."""
    return run(*argv, apart=True, timeout=20)


def read(path):
    """Text of a file; empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""


# -------------------------------------------------------------------------------------------------------------- network


def interfaces(directory="/sys/class/net"):
    """Interface -> the bridge or bond that it is a part of, empty when of none."""
    found = {}
    for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else ():
        path = os.path.join(directory, name)
        if os.path.isdir(path):  # bonding_masters is a file
            master = os.path.join(path, "master")
            found[name] = os.path.basename(os.readlink(master)) if os.path.islink(master) else ""
    return found


def kinds():
    """Interface -> what it is, as ip(8) says: veth, bond, vlan, bridge, openvswitch, tun, ...; empty for a network card."""
    try:
        links = json.loads(command("ip", "-json", "-details", "link", "show")[1])
    except ValueError:
        return {}
    return {link["ifname"]: link.get("linkinfo", {}).get("info_kind", "") for link in links if link.get("ifname")}


def default_routes():
    """Interfaces that a default route leaves by, of either family."""
    found = []
    for family in ("-4", "-6"):
        output = command("ip", "-oneline", family, "route", "show", "default")[1]
        # A route by several ways has each as `nexthop via ... dev ...`.
        found += [name for name in re.findall(r"\bdev (\S+)", output) if name not in found]
    return found


def candidate(package):
    """The version that apt would install; empty when it knows none."""
    match = re.search(r"^ +Candidate: (\S+)", command("apt-cache", "policy", package)[1], re.MULTILINE)
    return match.group(1) if match and match.group(1) != "(none)" else ""


# ------------------------------------------------------------------------------------------------------------- evidence


def settings(path):
    """Lines of a file that set something."""
    return [line.strip() for line in read(path).splitlines() if line.strip() and line.strip()[0] not in "#;"]


# Files that a package's script copies, and the package's file that each is a copy of: dpkg knows nothing of the copy.
COPIES = {"/etc/memcached.conf": "/usr/share/memcached/memcached.conf.default"}


def is_packages_own(path):
    """Whether a file is exactly as its package shipped it (dpkg-query(1), Conffiles), or the unchanged copy of such a file."""
    try:
        with open(path, "rb") as stream:
            content = stream.read()
        if path in COPIES:
            with open(COPIES[path], "rb") as stream:
                return content == stream.read()
    except OSError:
        return False
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    owner = command("dpkg-query", "--search", path)[1].partition(":")[0]
    shipped = command("dpkg-query", "--show", "--showformat=${Conffiles}\\n", owner)[1] if owner else ""
    return f"{path} {digest}" in [" ".join(line.split()[:2]) for line in shipped.splitlines()]


def is_ours(path, unit, state):
    """Whether a file has our mark, or a run has written it or started the unit. `state` has the names of both."""
    return MARK in read(path)[:400] or path in state or unit in state


# ------------------------------------------------------------------------------------------------------------- backends


def ask_mariadb(statement):
    """(rows, error) of a statement as root by the local socket; rows is None when no server answers.

    By the client that comes with the server, because the Python library comes with our own packages; without the files that
    may hold root's password for it, because our modules do not have that either. Without TLS: from MariaDB 11.4 on the client
    would verify the server's certificate even at the socket, by authorities that only those files name.
    """
    client = next((name for name in ("mariadb", "mysql") if shutil.which(name)), None)
    path = database.socket()
    if client is None or not os.path.exists(path):
        return None, ""
    status, output, errors = command(
        *(client, "--no-defaults", "--loose-skip-ssl", "--batch", "--skip-column-names", "--user=root"),
        *("--socket=" + path, "--execute=" + statement),
    )
    if status == 0:
        return [line.split(SEPARATOR) for line in output.splitlines()], ""
    match = LOGIN_ERROR.search(errors)
    return None, match.group(1) if match else ""


def galera():
    """The cluster of databases that MariaDB is or was in: its uuid, how many members it sees now, and databases of ours here.

    These are seen in MariaDB's directory, whether or not it runs.
    """
    data = next((path for path in database.DATA if os.path.isdir(path)), database.DATA[0])
    state = files.read(os.path.join(data, "grastate.dat")) or b""
    found = re.search(rb"^uuid:\s*([0-9a-f-]+)", state, re.MULTILINE)
    uuid = found.group(1).decode() if found and found.group(1).strip(b"0-") else ""
    rows = ask_mariadb("SHOW STATUS LIKE 'wsrep_cluster_s%'")[0] if uuid else None
    seen = {row[0]: row[1] for row in rows or () if len(row) == 2}
    members = int(seen.get("wsrep_cluster_size", 0)) if seen.get("wsrep_cluster_status") == "Primary" else 0
    names = [name for name in sorted(os.listdir(data) if os.path.isdir(data) else ()) if name not in SYSTEM_DATABASES]
    return {"uuid": uuid, "members": members, "databases": [name for name in names if os.path.isdir(os.path.join(data, name))]}


def is_by_name(host):
    """Whether an account's host is one that only a name server can find out."""
    return bool(host) and host != "localhost" and ":" not in host and not re.fullmatch(r"[0-9.%_/]+", host)


def mariadb(state):
    """Databases, accounts and settings that are not ours; and in any case accounts by host name and a refused root."""
    found = {"foreign": [], "by_name": [], "refused": ""}
    ours = is_ours("/etc/mysql/mariadb.conf.d/99-openstack.cnf", "mariadb", state)
    accounts, found["refused"] = ask_mariadb("SELECT user, host FROM mysql.user WHERE user <> '' ORDER BY user, host")
    if accounts is not None:
        found["by_name"] = [f"{user}@{host}" for user, host in accounts if is_by_name(host)]
    if ours:
        return found
    rows = ask_mariadb("SELECT schema_name FROM information_schema.schemata ORDER BY 1")[0]
    if rows is None:
        data = next((path for path in database.DATA if os.path.isdir(path)), "")
        names = [entry.name for entry in os.scandir(data) if entry.is_dir()] if data else []
    else:
        names = [row[0] for row in rows]
    found["foreign"] += ["database " + name for name in sorted(names) if name not in SYSTEM_DATABASES]
    # root from elsewhere is a login that was added by hand.
    found["foreign"] += [
        f"account {user}@{host}"
        for user, host in accounts or ()
        if user not in SYSTEM_ACCOUNTS or (user == "root" and host not in ("localhost", "127.0.0.1", "::1", socket.gethostname()))
    ]
    bound = (ask_mariadb("SELECT @@bind_address")[0] or [["127.0.0.1"]])[0][0]
    if bound not in ("127.0.0.1", "::1", "localhost"):
        found["foreign"].append(f"bind-address {bound}")
    return found


def rabbit(state):
    """Users, virtual hosts and settings that are not ours."""
    path = "/etc/rabbitmq/rabbitmq.conf"
    if is_ours(path, "rabbitmq-server", state):
        return {"foreign": []}
    found = [path] if settings(path) and not is_packages_own(path) else []
    found += [other for other in ("/etc/rabbitmq/rabbitmq.config", "/etc/rabbitmq/advanced.config") if settings(other)]
    if os.path.isdir(RABBIT_DATA) and os.listdir(RABBIT_DATA) and shutil.which("rabbitmqctl"):
        try:
            found += ["user " + name for name in sorted(rabbitmq.rows(rabbitmq.USERS)) if name != "guest"]
            found += ["vhost " + name for name in sorted(rabbitmq.rows(rabbitmq.VHOSTS)) if name != "/"]
        except (RuntimeError, OSError):
            # It is stopped but has been used: its contents are unknown.
            found.append(RABBIT_DATA + " (stopped)")
    return {"foreign": found}


def memcached(state):
    """A configuration that is not ours."""
    path = "/etc/memcached.conf"
    foreign = settings(path) and not is_ours(path, "memcached", state) and not is_packages_own(path)
    return {"foreign": [path] if foreign else []}


def cloud_names(text):
    """Names of the clouds in the text of a clouds.yaml, without a library for it, which may come later."""
    found, inside, depth = [], False, None
    for line in text.splitlines():
        bare = line.split("#")[0].rstrip() if not re.search(r"['\"].*#", line) else line.rstrip()
        if not bare.strip() or bare.strip() == "---":
            continue
        indent = len(bare) - len(bare.lstrip())
        if indent == 0:
            flow = re.match(r"clouds\s*:\s*\{(.*)", bare)
            if flow:
                found += re.findall(r"(?:^|\},)\s*['\"]?([^'\":{},]+?)['\"]?\s*:\s*\{", flow.group(1))
            inside, depth = bool(re.match(r"['\"]?clouds['\"]?\s*:\s*$", bare)), None
        elif inside:
            depth = indent if depth is None else depth
            name = re.match(r"\s*(?:'([^']*)'|\"([^\"]*)\"|([^:]+?))\s*:(?:\s|$)", bare)
            if indent == depth and name:
                found.append(next(group for group in name.groups() if group is not None))
    return found


def clouds(state):
    """Clouds that are not ours."""
    path = "/etc/openstack/clouds.yaml"
    return {"foreign": [] if is_ours(path, path, state) else ["cloud " + name for name in cloud_names(read(path))]}


def openvswitch(state, hostname):
    """System-id, managers, bridges and settings that are not ours."""
    path = "/etc/default/openvswitch-switch"
    if is_ours(path, "openvswitch-switch", state):
        return {"foreign": []}
    found = [path] if settings(path) and not is_packages_own(path) else []
    if not os.path.exists("/run/openvswitch/db.sock"):
        return {"foreign": found}
    ask = ("ovs-vsctl", "--timeout=5")
    identity = command(*ask, "--if-exists", "get", "Open_vSwitch", ".", "external_ids:system-id")[1].strip().strip('"')
    # The package generates a UUID; a name was given by hand.
    if identity and identity != hostname and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", identity):
        found.append("system-id " + identity)
    remote = command(*ask, "--if-exists", "get", "Open_vSwitch", ".", "external_ids:ovn-remote")[1].strip().strip('"')
    found += ["ovn-remote " + remote] if remote else []
    found += ["manager " + line for line in command(*ask, "get-manager")[1].split()]
    found += ["bridge " + line for line in command(*ask, "list-br")[1].split()]
    return {"foreign": found}


def backends(roles, state, hostname):
    """Backend -> what is known of it, for those that the host's roles set up."""
    asks = {
        "mysql": ("mariadb", lambda: mariadb(state)),
        "rabbitmq": ("rabbitmq", lambda: rabbit(state)),
        "memcached": ("memcached", lambda: memcached(state)),
        "keystone": ("clouds.yaml", lambda: clouds(state)),
        "openvswitch": ("openvswitch", lambda: openvswitch(state, hostname)),
    }
    return {name: ask() for role, (name, ask) in asks.items() if role in roles}


COMPUTE_NODES = (
    "SELECT n.uuid, n.host, n.host_ip, s.version FROM nova.compute_nodes n LEFT JOIN nova.services s"
    " ON s.host = n.host AND s.`binary` = 'nova-compute' AND s.deleted = 0 AND s.forced_down = 0 WHERE n.deleted = 0"
)


def compute_nodes():
    """What Nova's database says about compute nodes: uuid, host, address, version of the service; None when it cannot be asked.

    The version is Nova's count of changes (SERVICE_VERSION in nova/objects/service.py), as text; NULL without a service.
    """
    rows, _error = ask_mariadb(COMPUTE_NODES)
    return None if rows is None else [dict(zip(("uuid", "host", "address", "version"), row, strict=False)) for row in rows]


# --------------------------------------------------------------------------------------------------------------- units


def is_idle_package(unit, configuration):
    """Whether a unit serves nothing: its configuration, and how it is started, are exactly its package's."""
    drop_ins = glob.glob(f"/etc/systemd/system/{unit}.service.d/*.conf")
    started = os.path.join("/etc/default", unit)
    own_unit = os.path.lexists(f"/etc/systemd/system/{unit}.service")
    return (
        is_packages_own(configuration)
        and not drop_ins
        and not own_unit
        and (not os.path.exists(started) or is_packages_own(started))
    )
