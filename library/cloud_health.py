#!/usr/bin/python
"""Whether what hosts share works now: compute services, network agents, message queue, database. Changes nothing."""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import database, rabbitmq
from ansible.module_utils.kilonova.auth import AUTH
from ansible.module_utils.kilonova.health import row
from ansible.module_utils.kilonova.http import connect

try:
    import openstack
    from keystoneauth1.exceptions import ClientException
except ImportError:  # comes with the role keystone
    openstack = ClientException = None

DOCUMENTATION = r"""
module: cloud_health
short_description: Whether compute services and agents are up, and database and message queue have room
description:
  - For one controller. An external database or message queue is not looked into.
options:
  auth: {type: dict, required: true, description: 'auth_url, username, password, project_name and domain names.'}
  region: {type: str, required: true, description: Region of the Compute service.}
  computes: {type: list, elements: str, default: [], description: Names of hosts that must have a nova-compute.}
  controllers: {type: int, default: 1, description: 'How many controllers there are, and so nodes of RabbitMQ.'}
  queue: {type: bool, default: true, description: Whether RabbitMQ runs on this host.}
  database: {type: bool, default: true, description: Whether MariaDB runs on this host.}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
  login: {type: dict, description: 'host, port, user and password of an external server; without it, the local socket.'}
"""

RETURN = r"""
found: {description: 'As M(host_health) returns them.', returned: always, type: list}
"""

# Messages that wait: so many are a warning where nobody takes them, and a problem in any queue.
WAITING = (100, 1000)
# Each queue: its name, how many messages wait in it, how many consumers it has.
QUEUES = (
    "[[N, 9, integer_to_list(M), 9, integer_to_list(C)] || Q <- rabbit_amqqueue:list(), "
    "[{name, {resource, _, _, N}}, {messages, M}, {consumers, C}] <- [rabbit_amqqueue:info(Q, [name, messages, consumers])]]"
)
# Nodes that run; those that went on without each other; queues of which no majority of copies is there.
OF_CLUSTERS = {
    "node": "[atom_to_list(N) || N <- rabbit_nodes:list_running()]",
    "partition": "[atom_to_list(N) || N <- rabbit_node_monitor:partitions()]",
    "lost": "[N || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue, "
    "[{name, {resource, _, _, N}}, {members, M}, {online, O}] <- [rabbit_amqqueue:info(Q, [name, members, online])], "
    "2 * length(O) =< length(M)]",
}
ALARMS = '[io_lib:format("~w", [A]) || A <- rabbit_alarm:get_alarms()]'
# Part of max_connections, in percent, from which on new connections may be refused soon.
CONNECTIONS = 80


def services(connection, computes):
    """Rows of compute services and network agents."""
    found, listed = [], connection.compute.get("/os-services").json()["services"]
    agents = connection.network.get("/agents").json()["agents"]
    for one in listed:
        name = "%s on %s" % (one["binary"], one["host"])
        if one["state"] != "up":
            found.append(row("compute services", "problem", "%s is down, last heard of at %s" % (name, one["updated_at"])))
        elif one["status"] != "enabled":
            found.append(
                row("compute services", "warning", "%s is disabled: %s" % (name, one.get("disabled_reason") or "no reason"))
            )
    missing = set(computes) - {one["host"] for one in listed if one["binary"] == "nova-compute"}
    found += [row("compute services", "problem", "nova-compute on %s has never reported" % host) for host in sorted(missing)]
    for one in agents:
        name = "%s on %s" % (one["binary"], one["host"])
        if not one["alive"]:
            found.append(row("network agents", "problem", "%s is down, last heard of at %s" % (name, one["heartbeat_timestamp"])))
        elif not one["admin_state_up"]:
            found.append(row("network agents", "warning", "%s is disabled" % name))
    up = sum(one["state"] == "up" for one in listed), sum(one["alive"] for one in agents)
    return [
        row("compute services", "ok", "%d of %d are up" % (up[0], len(listed))),
        row("network agents", "ok", "%d of %d are up" % (up[1], len(agents))),
        *found,
    ]


def instances(connection):
    """The row of instances in ERROR."""
    wrong = connection.compute.get("/servers?all_tenants=1&status=ERROR&limit=1000").json()["servers"]
    what = "%d in ERROR%s" % (len(wrong), ": " + ", ".join(one["id"] for one in wrong[:3]) if wrong else "")
    return row("instances", "warning" if wrong else "ok", what)


def queues(lines, alarms):
    """Rows of RabbitMQ: queues in which messages wait, and alarms, with which it takes no more."""
    found, waiting = [], 0
    for name, messages, consumers in (line.split("\t") for line in lines):
        waiting += int(messages)
        many = int(messages) >= WAITING[1]
        if many or (int(messages) >= WAITING[0] and not int(consumers)):
            what = "%s messages wait in %s, which has %s consumers" % (messages, name, consumers)
            found.append(row("message queue", "problem" if many else "warning", what))
    found += [row("message queue", "problem", "RabbitMQ takes no messages: %s" % alarm) for alarm in alarms]
    return [row("message queue", "ok", "%d queues, %d messages wait" % (len(lines), waiting)), *found]


def cluster(size, nodes, partitions, lost):
    """Rows of RabbitMQ as a cluster of `size` nodes."""
    found = [row("message queue", "ok" if len(nodes) >= size else "warning", "%d of %d nodes run" % (len(nodes), size))]
    if partitions:
        found.append(row("message queue", "problem", "went on without this node: %s" % ", ".join(sorted(partitions))))
    if lost:
        what = "%d queues without a majority of their copies: %s" % (len(lost), ", ".join(sorted(lost)[:3]))
        found.append(row("message queue", "problem", what))
    return found


def message_queue(size):
    """Rows of our RabbitMQ, of `size` nodes. All is asked at once: at a cluster, each question starts an Erlang of its own."""
    asked = {"queue": QUEUES, "alarm": ALARMS, **(OF_CLUSTERS if size > 1 else {})}
    lines = rabbitmq.rows(" ++ ".join('[["%s", 9, R] || R <- %s]' % one for one in asked.items()))
    said = {kind: [line.partition("\t")[2] for line in lines if line.partition("\t")[0] == kind] for kind in asked}
    found = queues(said["queue"], said["alarm"])
    return found + (cluster(size, said["node"], said["partition"], said["lost"]) if size > 1 else [])


def connections(module):
    """The row of MariaDB's connections."""
    status = "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'THREADS_CONNECTED'"
    [[used, most]] = database.ask(module, "SELECT (%s), @@max_connections" % status)
    percent = 100 * int(used) // int(most)
    return row("database", "warning" if percent >= CONNECTIONS else "ok", "%s of %s connections" % (used, most))


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "auth": AUTH,
            "region": {"type": "str", "required": True},
            "computes": {"type": "list", "elements": "str", "default": []},
            "controllers": {"type": "int", "default": 1},
            "queue": {"type": "bool", "default": True},
            "database": {"type": "bool", "default": True},
            **database.options(),
        },
        supports_check_mode=True,
    )
    p, found = module.params, []
    if openstack is None:
        module.fail_json(msg="python3-openstacksdk is missing on this host; the role keystone installs it")
    cloud = connect(openstack, auth=p["auth"], region_name=p["region"], compute_api_version="2")
    for about, look in (
        ("APIs", lambda: services(cloud, p["computes"])),
        ("APIs", lambda: [instances(cloud)]),
        ("message queue", lambda: message_queue(p["controllers"]) if p["queue"] else []),
        ("database", lambda: [connections(module)] if p["database"] else []),
    ):
        try:
            found += look()
        # Keystone's client has errors of its own.
        except (openstack.exceptions.SDKException, ClientException, RuntimeError, database.Error, KeyError, ValueError) as error:
            found.append(row(about, "problem", str(error) or type(error).__name__))
    module.exit_json(changed=False, found=found)


if __name__ == "__main__":
    main()
