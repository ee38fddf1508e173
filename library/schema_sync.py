#!/usr/bin/python
"""Populate a service's database: run the schema migrations of the installed release, only when they are not all applied."""

import ast
import json
import os
import re
import subprocess

from ansible.module_utils import kilonova_database as database
from ansible.module_utils.basic import AnsibleModule

try:
    import pymysql
except ImportError:  # check mode on a fresh host: the package comes with this very run
    pymysql = None

DOCUMENTATION = r"""
module: schema_sync
short_description: The guide's "su -s /bin/sh -c 'nova-manage db sync' nova", only where it is needed
description:
  - Compares the revisions in C(alembic_version) with the heads of the installed migration scripts. That takes milliseconds,
    where asking the service's own command takes seconds.
  - When a sync that began with an empty database was killed, its half-made tables are removed before the next attempt of the
    same release. MariaDB's DDL is not transactional, and the migrations refuse tables that exist.
options:
  databases: {type: list, elements: str, required: true, description: Databases whose revisions are compared.}
  migrations: {type: path, required: true, description: Directory of the alembic scripts, searched with its subdirectories.}
  commands: {type: list, elements: list, required: true, description: Commands (argv) that bring the schema up to date.}
  user: {type: str, required: true, description: Operating system user that runs them.}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
"""

MARKS = "/var/lib/kilonova/schema"


def heads(directory):
    """Revisions that no other script builds on; empty when the package is not installed."""
    revisions, parents = set(), set()
    for base, _directories, names in os.walk(directory):
        for name in names:
            if not name.endswith(".py"):
                continue
            with open(os.path.join(base, name), encoding="utf-8") as stream:
                tree = ast.parse(stream.read())
            values = {}
            for node in tree.body:
                # `revision = "..."`, or `revision: str = "..."` as alembic's newer template has it.
                target = getattr(node, "target", None) or (getattr(node, "targets", None) or [None])[0]
                if isinstance(target, ast.Name) and getattr(node, "value", None) is not None:
                    try:
                        values[target.id] = ast.literal_eval(node.value)
                    except ValueError:
                        continue
            if isinstance(values.get("revision"), str):
                revisions.add(values["revision"])
                # Alembic does not list a revision that a listed one depends on (glance's contract on its expand).
                for base_name in ("down_revision", "depends_on"):
                    below = values.get(base_name)
                    parents.update([below] if isinstance(below, str) else below or [])
    return revisions - parents


def applied(cursor, database):
    """Revisions that the database says it has."""
    cursor.execute(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s AND table_name = 'alembic_version'", (database,)
    )
    if not cursor.fetchone()[0]:
        return set()
    cursor.execute("SELECT version_num FROM `%s`.alembic_version" % database)
    return {row[0] for row in cursor.fetchall()}


def tables(cursor, database):
    """Names of the database's tables."""
    cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (database,))
    return [row[0] for row in cursor.fetchall()]


def without_secrets(text):
    """Connection URLs in a traceback lose their password."""
    return re.sub(r"://([^:/@\s]+):[^@\s]+@", r"://\1:(hidden)@", text)


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "databases": {"type": "list", "elements": "str", "required": True},
            "migrations": {"type": "path", "required": True},
            "commands": {"type": "list", "elements": "list", "required": True},
            "user": {"type": "str", "required": True},
            "unix_socket": {"type": "path", "default": database.socket()},
        },
        supports_check_mode=True,
    )
    p = module.params
    wanted = heads(p["migrations"])
    if not wanted and not module.check_mode:
        module.fail_json(msg="no migration scripts in %s; is the package installed?" % p["migrations"])
    try:
        connection = pymysql.connect(unix_socket=p["unix_socket"], user="root", autocommit=True) if pymysql else None
    except pymysql.MySQLError as error:
        if not module.check_mode:
            module.fail_json(msg="MariaDB does not answer on %s: %s" % (p["unix_socket"], error))
        connection = None
    if connection is None:
        behind = [name for name in p["databases"] if not database.on_disk(name, "alembic_version")]
        if behind != p["databases"]:
            database.warn_of_guess(module, "the schema of %s" % ", ".join(p["databases"]))
        finish(module, p, behind, {})
    with connection, connection.cursor() as cursor:
        before = {name: applied(cursor, name) for name in p["databases"]}
        # In check mode, the scripts may come with this very run: then only what has no schema at all is sure to be behind.
        behind = [name for name in p["databases"] if before[name] != (wanted or before[name] or None)]
        if behind and not module.check_mode:
            os.makedirs(MARKS, mode=0o700, exist_ok=True)
            for name in behind:
                present = tables(cursor, name)
                if present and marked(name) == sorted(wanted):
                    cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
                    for table in present:
                        cursor.execute("DROP TABLE `%s`.`%s`" % (name, table))
                    cursor.execute("SET FOREIGN_KEY_CHECKS = 1")
                elif not present:
                    with open(os.path.join(MARKS, name), "w", encoding="ascii") as stream:
                        json.dump(sorted(wanted), stream)
            for command in p["commands"]:
                run(module, command)
            after = {name: applied(cursor, name) for name in p["databases"]}
            wrong = [name for name in p["databases"] if after[name] != wanted]
            if wrong:
                module.fail_json(
                    msg="database %s is at %s after the sync, the installed release's scripts end at %s"
                    % (wrong[0], sorted(after[wrong[0]]), sorted(wanted))
                )
        if not module.check_mode:
            for name in p["databases"]:
                unmark(name)
    finish(module, p, behind, before)


def marked(database):
    """The heads that a sync of this database was on its way to from nothing, when it was killed; None if there was none."""
    try:
        with open(os.path.join(MARKS, database), encoding="ascii") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def unmark(database):
    """The database is whole. A mark that stayed would have a later release's sync empty it."""
    if os.path.exists(os.path.join(MARKS, database)):
        os.unlink(os.path.join(MARKS, database))


def run(module, command):
    """One command as the service's user; its output only when it fails."""
    done = subprocess.run(
        ["runuser", "-u", module.params["user"], "--", *command],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/", check=False,
    )
    if done.returncode:
        output = without_secrets(done.stdout.decode("utf-8", "replace"))
        module.fail_json(
            msg="%s failed with status %d: %s" % (" ".join(command), done.returncode, (output.strip().splitlines() or [""])[-1]),
            output=output.splitlines()[-30:],
        )


def finish(module, params, behind, before):
    """Report which databases were, or would be, brought up to date."""
    actions = ["populate %s (at %s)" % (name, ", ".join(sorted(before.get(name, ()))) or "no revision") for name in behind]
    module.exit_json(
        changed=bool(behind), actions=actions, diff={"before": "", "after": "".join("%s\n" % line for line in actions)},
        commands=params["commands"] if behind else [],
    )


if __name__ == "__main__":
    main()
