"""What a controller, one of several, says of the clusters that it is in (docs/controllers.md), for `make health`."""

import re

from . import command, foreign, proxy
from .health import row

# Changes of other nodes that wait to be applied here: from so many on, what is read here is old.
BEHIND = 100
OVN = {"nb": "OVN_Northbound", "sb": "OVN_Southbound"}
# The way of all services to the database (roles/haproxy), and how HAProxy calls the server that everybody is led to.
DATABASE_WAY = "3306-virtual"
LED_TO = re.compile(r"server_(?:key|name)=(\S+)")


def rows(size):
    """Rows of Galera and of OVN's databases on this controller, one of `size`."""
    return [*galera(size), *(one for kind in sorted(OVN) for one in raft(kind, size))]


def galera(size):
    """Rows of MariaDB as a node of its cluster."""
    answer, error = foreign.ask_mariadb("SHOW STATUS LIKE 'wsrep_%'")
    if answer is None:
        return [row("Galera", "problem", f"MariaDB does not answer here{f': {error}' if error else ''}")]
    seen = {one[0]: one[1] for one in answer if len(one) == 2}
    status, state = seen.get("wsrep_cluster_status"), seen.get("wsrep_local_state_comment")
    members, behind = int(seen.get("wsrep_cluster_size") or 0), int(seen.get("wsrep_local_recv_queue") or 0)
    if status != "Primary" or seen.get("wsrep_ready") != "ON":
        what = f"MariaDB here is no part of the cluster ({status or 'no cluster'}, {state or 'no state'})"
        return [row("Galera", "problem", what)]
    found = [row("Galera", "ok" if members >= size else "warning", f"{members} of {size} nodes, {state}")]
    if state != "Synced":
        found.append(row("Galera", "warning", f"MariaDB here is {state}: nobody is led to it"))
    if behind >= BEHIND:
        found.append(row("Galera", "warning", f"{behind} changes of other nodes wait here"))
    return found


def raft(kind, size):
    """The row of one of OVN's databases as a member of its cluster. Hosts without one have none."""
    done = command.run("ovs-appctl", "--timeout=5", "-t", f"/run/ovn/ovn{kind}_db.ctl", "cluster/status", OVN[kind], apart=True)
    if done.status:
        last = (done.errors.strip().splitlines() or ["no answer"])[-1]
        return [row(OVN[kind], "problem", f"does not answer here: {last}")]
    seen = dict(re.findall(r"^(Status|Role|Leader): (.*)$", done.output, re.MULTILINE))
    members = len(re.findall(r"^ +[0-9a-f]{4} \(", done.output, re.MULTILINE))
    if seen.get("Status") != "cluster member" or seen.get("Leader") in (None, "unknown"):
        what = f"here: {seen.get('Status', 'no cluster')}, its leader is {seen.get('Leader', 'unknown')}"
        return [row(OVN[kind], "problem", what)]
    return [row(OVN[kind], "ok" if members >= size else "warning", f"{seen['Role']} of {members} of {size}")]


def common(address):
    """Whether this controller has the common address, and to whose MariaDB its HAProxy leads (empty: nobody has asked)."""
    listed = command.run("ip", "-oneline", "address", "show").output
    here = bool(re.search(rf" inet6? {re.escape(address)}/", listed))
    try:
        led_to = LED_TO.search(proxy.ask(f"show table {DATABASE_WAY}")) if here else None
    except OSError:
        led_to = None
    return {"here": here, "writer": led_to.group(1) if led_to else ""}
