#!/usr/bin/python
"""Populate Nova's databases and register its cells, in one process of nova-manage."""

import socket
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import database, lock, manage, result, schema
from ansible.module_utils.kilonova.address import bare, resolved, url_host

DOCUMENTATION = r"""
module: nova_databases
short_description: The guide's nova-manage api_db sync, cell_v2 map_cell0 and create_cell, db sync, only where they are needed
description:
  - Compares the revisions in C(alembic_version) with the heads of the installed migration scripts, and the mappings of the cells
    with what they must be. What is missing is done in one start of nova-manage, in the guide's order.
  - Cells are mapped by URL templates (C({scheme}://{username}:{password}@...)), which Nova fills from nova.conf. So no secret
    is in argv or in the database, and a new password needs no new mapping.
  - A mapping with another URL is corrected (update_cell). The cell is the one whose database is Nova's, whatever its name, for
    the guide's C(create_cell) without C(--name) leaves it without. Two mappings of one database are refused, because Nova would
    list everything twice.
options:
  api_migrations: {type: path, required: true, description: Directory of the alembic scripts of nova_api.}
  migrations: {type: path, required: true, description: Directory of the alembic scripts of nova and nova_cell0.}
  host: {type: str, required: true, description: Host of the databases. A mapping of another host is another cell.}
  queue_host: {type: str, required: true, description: Host of the message queue.}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
  login: {type: dict, description: 'host, port, user and password of an external server; without it, the local socket.'}
"""

PROGRAM = ("nova-manage", "nova.cmd.manage")
CELL0 = "00000000-0000-0000-0000-000000000000"
NETLOC = "{scheme}://{username}:{password}@{hostname}:{port}/"
NO_TRANSPORT = "none:///"


def template(host, path):
    """The template of a URL at `host`. Nova removes the brackets of an IPv6 address, so the template has them."""
    return NETLOC.replace("{hostname}", url_host(host).replace(bare(host), "{hostname}")) + path + "?{query}"


def addresses(host):
    """The addresses of a host; its name where it has none."""
    return set(resolved(host)) or {host}


def is_ours(url, name, host):
    """Whether a mapping's URL, a template or a whole one, leads to the database `name` at `host`."""
    # A template's port has braces, but a port must be a number.
    place, _separator, rest = url.partition("://")[2].rpartition("@")[2].partition("/")
    if rest.partition("?")[0] != name:
        return False
    if place.startswith(("{hostname}", "[{hostname}]")):
        return True
    there = urlsplit("//" + place).hostname or ""
    return bool(addresses(there) & (addresses(host) | addresses("localhost") | addresses(socket.gethostname())))


def doubles(rows, host):
    """What is wrong with mappings that lead to one database, with the command that removes the one of the two without hosts."""
    problems = []
    for name, known in (("nova_cell0", lambda row: row[0] == CELL0), ("nova", lambda row: False)):
        cells = [row for row in rows if known(row) or is_ours(row[3], name, host)]
        if len(cells) > 1:
            which = ", ".join("%s (%s)" % (row[0], row[1] or "without a name") for row in cells)
            problems.append(
                "several cells are mapped to the database %s: %s. Nova lists their instances and services twice. Look which one "
                "has no hosts (nova-manage cell_v2 list_hosts), and remove it: nova-manage cell_v2 delete_cell --cell_uuid UUID"
                % (name, which)
            )
    return problems


def cell_commands(rows, host, queue_host):
    """What has to be done to the mappings (uuid, name, transport URL, database connection): action -> arguments."""
    database0, database1 = template(host, "nova_cell0"), template(host, "nova")
    transport1 = template(queue_host, "{path}")
    cell0 = next((row for row in rows if row[0] == CELL0), None)
    # By its name where no mapping leads to our database: the database has moved.
    cell1 = next((row for row in rows if row[0] != CELL0 and is_ours(row[3], "nova", host)), None) or next(
        (row for row in rows if row[1] == "cell1"), None
    )
    commands = {}
    if cell0 is None:
        commands["map cell0"] = ["cell_v2", "map_cell0", "--database_connection", database0]
    elif cell0[3] != database0:
        arguments = ["--transport-url", NO_TRANSPORT, "--database_connection", database0]
        commands["correct the mapping of cell0"] = ["cell_v2", "update_cell", "--cell_uuid", CELL0, *arguments]
    arguments = ["--transport-url", transport1, "--database_connection", database1]
    if cell1 is None:
        commands["create cell1"] = ["cell_v2", "create_cell", "--name", "cell1", *arguments]
    elif tuple(cell1[2:4]) != (transport1, database1):
        what = "correct the mapping of %s" % (cell1[1] or "the cell without a name, %s" % cell1[0])
        # The name is the operator's.
        name = ["--name", cell1[1]] if cell1[1] else []
        commands[what] = ["cell_v2", "update_cell", "--cell_uuid", cell1[0], *name, *arguments]
    return commands


def mappings(cursor):
    """The rows of cell_mappings; none without that table."""
    if "cell_mappings" not in schema.tables(cursor, "nova_api"):
        return ()
    cursor.execute("SELECT uuid, name, transport_url, database_connection, disabled FROM nova_api.cell_mappings")
    return cursor.fetchall()


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "api_migrations": {"type": "path", "required": True},
            "migrations": {"type": "path", "required": True},
            "host": {"type": "str", "required": True},
            "queue_host": {"type": "str", "required": True},
            **database.options(),
        },
        supports_check_mode=True,
    )
    lock.take(module)
    parts = [
        (names, schema.installed(module, module.params[option]), command)
        for names, option, command in (
            (["nova_api"], "api_migrations", ["api_db", "sync"]),
            (["nova", "nova_cell0"], "migrations", ["db", "sync"]),
        )
    ]
    connection = database.connect(module)
    if connection is None:
        api, main_ = (schema.guess(module, names) for names, _wanted, _command in parts)
        cells = cell_commands((), module.params["host"], module.params["queue_host"]) if api else {}
        actions = [*schema.actions(api), *cells, *schema.actions(main_)]
    else:
        with connection, connection.cursor() as cursor:
            schema.lock(module, cursor, [name for names, _wanted, _command in parts for name in names])
            api, main_ = (schema.behind(cursor, names, wanted) for names, wanted, _command in parts)
            for behind, (_names, wanted, _command) in zip((api, main_), parts, strict=True):
                schema.check(module, cursor, behind, wanted, {})
            rows = mappings(cursor)
            problems = doubles(rows, module.params["host"])
            if problems:
                module.fail_json(msg=" ".join(problems))
            for row in rows:
                if row[4]:
                    enable = "nova-manage cell_v2 update_cell --cell_uuid %s --enable" % row[0]
                    module.warn("cell %s is disabled: Nova starts no instance there; %s" % (row[1] or "without a name", enable))
            cells = cell_commands(rows, module.params["host"], module.params["queue_host"])
            actions = [*schema.actions(api), *cells, *schema.actions(main_)]
            if not module.check_mode:
                with result.doing(module, actions):
                    for behind, (_names, wanted, _command) in zip((api, main_), parts, strict=True):
                        schema.begin(cursor, behind, wanted)
                    waves = [[parts[0][2]] if api else [], list(cells.values()), [parts[1][2]] if main_ else []]
                    if any(waves):
                        manage.run(module, PROGRAM, *waves, user="nova")
                    for names, wanted, _command in parts:
                        schema.end(module, cursor, names, wanted)
    unsettled = [name for names, wanted, _command in parts for name in schema.unsettled(names, wanted)]
    result.leave(module, actions, unsettled=unsettled if module.check_mode else [])


if __name__ == "__main__":
    main()
