#!/usr/bin/python
"""Nova's cells: cell0, cell1 and the mapping of the compute hosts, compared with the database and repaired."""

import subprocess
import time

from ansible.module_utils import kilonova_database as database
from ansible.module_utils.basic import AnsibleModule

try:
    import pymysql
except ImportError:  # check mode on a fresh host: the package comes with this very run
    pymysql = None
# What a database that is not there raises; without pymysql, calling it does.
UNREADABLE = (AttributeError, pymysql.MySQLError) if pymysql else (AttributeError,)

DOCUMENTATION = r"""
module: nova_cells
short_description: The guide's nova-manage cell_v2 map_cell0, create_cell and discover_hosts, only where they are needed
description:
  - Cells are mapped by URL templates (C({scheme}://{username}:{password}@...)), which Nova fills from nova.conf. So no secret
    is in argv or in the database, and a new password needs no new mapping.
  - A mapping with another URL is corrected (update_cell).
options:
  hosts:
    type: list
    elements: str
    description: Compute hosts that must be mapped; waits for their first report. Without it only cell0 and cell1 are looked at.
  timeout: {type: int, default: 120, description: Seconds to wait for the first report of a host.}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
"""

CELL0 = "00000000-0000-0000-0000-000000000000"
NETLOC = "{scheme}://{username}:{password}@{hostname}:{port}/"
DATABASE = {"cell0": NETLOC + "nova_cell0?{query}", "cell1": NETLOC + "nova?{query}"}
TRANSPORT = {"cell0": "none:///", "cell1": NETLOC + "{path}?{query}"}


def nova_manage(module, *commands):
    """Run commands of nova-manage cell_v2 as nova, all at once; fail with the last words of the first that failed."""
    argv = ["runuser", "-u", "nova", "--", "nova-manage", "cell_v2"]
    begun = [
        subprocess.Popen([*argv, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/") for arguments in commands
    ]
    outputs = [process.communicate()[0].decode("utf-8", "replace") for process in begun]
    for process, arguments, output in zip(begun, commands, outputs):
        if process.returncode:
            module.fail_json(msg="nova-manage cell_v2 %s failed: %s" % (arguments[0], output.strip()[-600:]))


def answers(module):
    """Whether there is a server to ask."""
    try:
        pymysql.connect(unix_socket=module.params["unix_socket"], user="root").close()
    except UNREADABLE:
        return False
    return True


def query(module, statement, arguments=()):
    """Rows of a statement; in check mode no rows while there is no such database."""
    try:
        connection = pymysql.connect(unix_socket=module.params["unix_socket"], user="root", autocommit=True)
        with connection, connection.cursor() as cursor:
            cursor.execute(statement, arguments)
            return cursor.fetchall()
    except UNREADABLE as error:
        if module.check_mode:
            return ()
        module.fail_json(msg="reading Nova's databases by %s: %s" % (module.params["unix_socket"], error))


def map_cells(module):
    """cell0 and cell1 exist with the templates above; what is missing of both is done side by side. Returns the actions."""
    rows = query(module, "SELECT uuid, name, transport_url, database_connection FROM nova_api.cell_mappings")
    cell0 = next((row for row in rows if row[0] == CELL0), None)
    cell1 = next((row for row in rows if row[1] == "cell1"), None)
    commands = {}
    if cell0 is None:
        commands["map cell0"] = ["map_cell0", "--database_connection", DATABASE["cell0"]]
    elif cell0[3] != DATABASE["cell0"]:
        arguments = ["--transport-url", TRANSPORT["cell0"], "--database_connection", DATABASE["cell0"]]
        commands["correct the mapping of cell0"] = ["update_cell", "--cell_uuid", CELL0, *arguments]
    arguments = ["--transport-url", TRANSPORT["cell1"], "--database_connection", DATABASE["cell1"]]
    if cell1 is None:
        commands["create cell1"] = ["create_cell", "--name", "cell1", *arguments]
    elif cell1[2:] != (TRANSPORT["cell1"], DATABASE["cell1"]):
        commands["correct the mapping of cell1"] = ["update_cell", "--cell_uuid", cell1[0], "--name", "cell1", *arguments]
    if not module.check_mode:
        nova_manage(module, *commands.values())
    return list(commands)


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
            time.sleep(0.5)
        nova_manage(module, ["discover_hosts"])
        mapped = {row[0] for row in query(module, "SELECT host FROM nova_api.host_mappings")}
        if not wanted <= mapped:
            # A mapping that somebody deleted: the host's own row says that it has one, and only its service does not.
            nova_manage(module, ["discover_hosts", "--by-service"])
            mapped = {row[0] for row in query(module, "SELECT host FROM nova_api.host_mappings")}
        if not wanted <= mapped:
            module.fail_json(msg="discover_hosts left %s without a mapping" % ", ".join(sorted(wanted - mapped)))
    return actions


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "hosts": {"type": "list", "elements": "str"},
            "timeout": {"type": "int", "default": 120},
            "unix_socket": {"type": "path", "default": database.socket()},
        },
        supports_check_mode=True,
    )
    actions = []
    table = "cell_mappings" if module.params["hosts"] is None else "host_mappings"
    if module.check_mode and not answers(module) and database.on_disk("nova_api", table):
        database.warn_of_guess(module, "nova_api.%s" % table)
    elif module.params["hosts"] is None:
        actions = map_cells(module)
    else:
        actions = discover_hosts(module)
    module.exit_json(
        changed=bool(actions), actions=actions, diff={"before": "", "after": "".join("%s\n" % action for action in actions)}
    )


if __name__ == "__main__":
    main()
