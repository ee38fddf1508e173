#!/usr/bin/python
"""The mapping of the compute hosts to their cell, compared with the database and repaired."""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, database, lock, masking, result

DOCUMENTATION = r"""
module: nova_hosts
short_description: The guide's nova-manage cell_v2 discover_hosts, only where it is needed
description:
  - Waits until the compute hosts have reported for the first time, and maps those that no cell has yet.
options:
  hosts:
    type: list
    elements: str
    required: true
    description: Compute hosts that must be mapped; waits for their first report.
  timeout: {type: int, default: 120, description: Seconds to wait for the first report of a host.}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
  login: {type: dict, description: 'host, port, user and password of an external server; without it, the local socket.'}
"""


def nova_manage(module, *arguments):
    """Run nova-manage cell_v2 as nova; fail with its last words."""
    done = command.run("nova-manage", "cell_v2", *arguments, user="nova")
    if done.status:
        module.fail_json(
            msg="nova-manage cell_v2 %s failed: %s" % (arguments[0], masking.without_passwords(done.output.strip())[-600:])
        )


def answers(module):
    """Whether there is a server to ask."""
    try:
        database.opened(database.arguments(module)).close()
    except database.NoServer:
        return False
    return True


def query(module, statement, arguments=()):
    """Rows of a statement; in check mode no rows while there is no such database."""
    try:
        return database.ask(module, statement, arguments)
    except database.Error as error:
        if module.check_mode:
            return ()
        module.fail_json(msg="reading Nova's databases %s: %s" % (database.where(module), error))


def discover_hosts(module):
    """Every host in `hosts` is mapped, once it has reported itself. Returns the actions."""
    wanted = set(module.params["hosts"])
    mapped = {row[0] for row in query(module, "SELECT host FROM nova_api.host_mappings")}
    if wanted <= mapped:
        return []
    actions = ["map %s to cell1" % ", ".join(sorted(wanted - mapped))]
    if not module.check_mode:
        deadline = time.monotonic() + module.params["timeout"]
        # The row of compute_nodes is written after that of services; discover_hosts looks at the former.
        reported = "SELECT host FROM nova.compute_nodes WHERE deleted = 0"
        while not wanted - mapped <= {row[0] for row in query(module, reported)}:
            if time.monotonic() > deadline:
                missing = wanted - mapped - {row[0] for row in query(module, reported)}
                module.fail_json(
                    msg="no report from nova-compute on %s within %d s; look at `journalctl -u nova-compute` there: it must "
                    "reach RabbitMQ, Keystone and Placement" % (", ".join(sorted(missing)), module.params["timeout"])
                )
            time.sleep(0.2)
        with result.doing(module, actions):
            nova_manage(module, "discover_hosts")
            mapped = {row[0] for row in query(module, "SELECT host FROM nova_api.host_mappings")}
            if not wanted <= mapped:
                # A mapping that was deleted: the host's own row says that it has one, only its service says that it has none.
                nova_manage(module, "discover_hosts", "--by-service")
                mapped = {row[0] for row in query(module, "SELECT host FROM nova_api.host_mappings")}
            if not wanted <= mapped:
                module.fail_json(msg="discover_hosts left %s without a mapping" % ", ".join(sorted(wanted - mapped)))
    return actions


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "list", "elements": "str", "required": True},
            "timeout": {"type": "int", "default": 120},
            **database.options(),
        },
        supports_check_mode=True,
    )
    lock.take(module)
    if module.check_mode and not answers(module) and database.on_disk(module, "nova_api", "host_mappings"):
        database.warn_of_guess(module, "nova_api.host_mappings")
        actions = []
    else:
        actions = discover_hosts(module)
    result.leave(module, actions)


if __name__ == "__main__":
    main()
