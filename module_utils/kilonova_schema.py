"""Schemas of databases: which migrations are applied, and first syncs that were killed.

MariaDB's DDL is not transactional, and the migrations refuse tables that exist. So a sync that begins with an empty database
leaves a mark until it has ended; what a killed one has made is removed before the next attempt of the same release.
"""

import ast
import json
import os

from ansible.module_utils import kilonova_database as database

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


def installed(module, directory):
    """The heads of the installed scripts; fails when there are none and nothing may bring them."""
    wanted = heads(directory)
    if not wanted and not module.check_mode:
        module.fail_json(msg=f"no migration scripts in {directory}; is the package installed?")
    return wanted


def applied(cursor, name):
    """Revisions that a database says it has."""
    cursor.execute(
        "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s AND table_name = 'alembic_version'", (name,)
    )
    if not cursor.fetchone()[0]:
        return set()
    cursor.execute(f"SELECT version_num FROM `{name}`.alembic_version")
    return {row[0] for row in cursor.fetchall()}


def tables(cursor, name):
    """Names of a database's tables."""
    cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (name,))
    return [row[0] for row in cursor.fetchall()]


def guess(module, names):
    """Which of the databases have no schema on the disk, where there is no server to ask."""
    behind = [name for name in names if not database.on_disk(name, "alembic_version")]
    if behind != names:
        database.warn_of_guess(module, f"the schema of {', '.join(names)}")
    return dict.fromkeys(behind, ())


def behind(cursor, names, wanted):
    """Databases that are not at the heads -> their revisions.

    Without heads (check mode: the scripts may come with this very run) only what has no schema at all is sure to be behind.
    """
    found = {name: applied(cursor, name) for name in names}
    return {name: revisions for name, revisions in found.items() if revisions != (wanted or revisions or None)}


def begin(cursor, names, wanted):
    """Before a sync: remove what a killed one has made, mark what is empty."""
    os.makedirs(MARKS, mode=0o700, exist_ok=True)
    for name in names:
        present = tables(cursor, name)
        if present and marked(name) == sorted(wanted):
            cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
            for table in present:
                cursor.execute(f"DROP TABLE `{name}`.`{table}`")
            cursor.execute("SET FOREIGN_KEY_CHECKS = 1")
        elif not present:
            with open(os.path.join(MARKS, name), "w", encoding="ascii") as stream:
                json.dump(sorted(wanted), stream)


def end(module, cursor, names, wanted):
    """After a sync, or when none was needed: fail unless the databases are at the heads; no mark is left."""
    for name in names:
        revisions = applied(cursor, name)
        if revisions != wanted:
            shown = f"database {name} is at {sorted(revisions)} after the sync"
            module.fail_json(msg=f"{shown}, the installed release's scripts end at {sorted(wanted)}")
        unmark(name)


def actions(found):
    """What is, or would be, brought up to date, in words."""
    return [f"populate {name} (at {', '.join(sorted(revisions)) or 'no revision'})" for name, revisions in found.items()]


def marked(name):
    """The heads that a sync of this database was on its way to from nothing, when it was killed; None if there was none."""
    try:
        with open(os.path.join(MARKS, name), encoding="ascii") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return None


def unmark(name):
    """The database is whole. A mark that stayed would have a later release's sync empty it."""
    if os.path.exists(os.path.join(MARKS, name)):
        os.unlink(os.path.join(MARKS, name))
