#!/usr/bin/python
"""Populate a service's database: run the schema migrations of the installed release, only when they are not all applied."""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, database, lock, masking, result, schema

DOCUMENTATION = r"""
module: schema_sync
short_description: The guide's "su -s /bin/sh -c 'nova-manage db sync' nova", only where it is needed
description:
  - Compares the revisions in C(alembic_version) with the heads of the installed migration scripts. That takes milliseconds,
    where asking the service's own command takes seconds.
  - When a sync that began with an empty database was killed, its half-made tables are removed before the next attempt of the
    same release; not so when there is something in it that no sync makes, as in a backup that was restored meanwhile.
  - Two syncs of a database wait for each other, also from two hosts (C(GET_LOCK) of MariaDB).
  - Check mode returns, as C(unsettled), the databases for which a run does something that is no change (schema.unsettled()).
options:
  databases: {type: list, elements: str, required: true, description: Databases whose revisions are compared.}
  migrations: {type: path, required: true, description: Directory of the alembic scripts, searched with its subdirectories.}
  commands: {type: list, elements: list, required: true, description: Commands (argv) that bring the schema up to date.}
  seeds:
    type: dict
    default: {}
    description: Tables in which the migrations themselves put rows, and how many at most.
  user: {type: str, required: true, description: Operating system user that runs them.}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
  login: {type: dict, description: 'host, port, user and password of an external server; without it, the local socket.'}
"""


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "databases": {"type": "list", "elements": "str", "required": True},
            "migrations": {"type": "path", "required": True},
            "commands": {"type": "list", "elements": "list", "required": True},
            "seeds": {"type": "dict", "default": {}},
            "user": {"type": "str", "required": True},
            **database.options(),
        },
        supports_check_mode=True,
    )
    lock.take(module)
    p = module.params
    wanted = schema.installed(module, p["migrations"])
    connection = database.connect(module)
    if connection is None:
        behind = schema.guess(module, p["databases"])
    else:
        with connection, connection.cursor() as cursor:
            schema.lock(module, cursor, p["databases"])
            behind = schema.behind(cursor, p["databases"], wanted)
            schema.check(module, cursor, behind, wanted, p["seeds"])
            if not module.check_mode:
                with result.doing(module, schema.actions(behind)):
                    if behind:
                        schema.begin(cursor, behind, wanted)
                        for argv in p["commands"]:
                            run(module, argv)
                    schema.end(module, cursor, p["databases"], wanted)
    unsettled = schema.unsettled(p["databases"], wanted) if module.check_mode else []
    result.leave(module, schema.actions(behind), commands=p["commands"] if behind else [], unsettled=unsettled)


def run(module, argv):
    """One command as the service's user; its output only when it fails."""
    done = command.run(*argv, user=module.params["user"], locked=True)
    if done.status:
        output = masking.without_passwords(done.output).strip().splitlines()
        words = "%s failed with status %d: %s" % (" ".join(argv), done.status, (output or [""])[-1])
        module.fail_json(msg=words, output=output[-30:])


if __name__ == "__main__":
    main()
