"""Schemas of databases: which migrations are applied, and first syncs that were killed.

MariaDB's DDL is not transactional, and the migrations refuse tables that exist. So a sync that begins with an empty database
leaves a mark until it has ended; what a killed one has made is removed before the next attempt of the same release.

The mark alone does not prove that a killed sync made what is there: a backup may have been restored since. So nothing is removed
from a database in which there are rows that no migration writes, that is older than the mark, or that is on another server.
"""

import ast
import os

from . import database, unit_state

MARKS = "/var/lib/kilonova/schema"
# Where a schema's revision is.
BOOKKEEPING = ("alembic_version", "migrate_version")
# Seconds that a sync waits for another one.
WAIT = 600


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


def lock(module, cursor, names):
    """Hold the databases until the connection ends; wait for another run that syncs them, and fail with its name."""
    for name in () if module.check_mode else names:
        cursor.execute("SELECT GET_LOCK(%s, %s)", (f"kilonova schema of {name}"[:64], WAIT))
        if cursor.fetchone()[0] != 1:
            cursor.execute(
                "SELECT id, user, host, time FROM information_schema.processlist WHERE id = IS_USED_LOCK(%s)",
                (f"kilonova schema of {name}"[:64],),
            )
            holder = cursor.fetchone()
            who = "connection {} of {} from {}, {} s in its present state".format(*holder) if holder else "another connection"
            module.fail_json(msg=f"database {name}: {who} syncs it; this run has waited {WAIT} s; run again when that has ended")


def server(cursor):
    """What tells a server from others, and its time."""
    cursor.execute("SELECT CONCAT_WS(' ', @@hostname, @@datadir), UNIX_TIMESTAMP(NOW())")
    return list(cursor.fetchone())


def check(module, cursor, names, wanted, seeds):
    """Fail, before anything is changed, when begin() would empty a database of something that no killed sync has made.

    `seeds`: table -> the most rows that the migrations themselves put there.
    """
    for name in names:
        found = _mark(name)
        if found is None or found["heads"] != sorted(wanted):
            continue
        cursor.execute(
            "SELECT table_name, table_type, UNIX_TIMESTAMP(create_time) FROM information_schema.tables WHERE table_schema = %s",
            (name,),
        )
        rows, problem = cursor.fetchall(), None
        here = server(cursor)[0]
        # A mark of an earlier version of this program knows neither.
        if rows and found["server"] not in (None, here):
            problem = f"it is on another server ({here}, then {found['server']})"
        for table, kind, created in rows:
            most = int(seeds.get(table, 0))
            if kind != "BASE TABLE":
                problem = problem or f"{table} is a {kind.lower()}"
            elif found["since"] and created and created < found["since"] - 1:
                problem = problem or f"table {table} is older than that sync"
            elif table not in BOOKKEEPING and _has_more(cursor, name, table, most):
                problem = problem or f"there are rows in table {table}"
        if problem:
            path = os.path.join(MARKS, name)
            module.fail_json(
                msg=f"database {name}: its first sync was killed, and what is in it now is not what that has left: {problem}. "
                f"Nothing was changed. If a backup was restored and is complete, remove {path} on this host and run again: it is "
                f"upgraded. If nothing in it is wanted, run `DROP DATABASE {name}` and then this again"
            )


def _has_more(cursor, name, table, most):
    """Whether a table has more rows than that."""
    cursor.execute(f"SELECT COUNT(*) FROM (SELECT 1 FROM {quoted(name)}.{quoted(table)} LIMIT {most + 1}) AS some")
    return cursor.fetchone()[0] > most


def quoted(name):
    """A name as SQL has it."""
    return "`{}`".format(name.replace("`", "``"))


def guess(module, names):
    """Which of the databases have no schema on the disk, where there is no server to ask."""
    behind = [name for name in names if not database.on_disk(module, name, "alembic_version")]
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
    """Before a sync, and after check(): remove what a killed one has made, mark what is empty."""
    for name in names:
        present = tables(cursor, name)
        if present and marked(name) == sorted(wanted):
            cursor.execute("SET FOREIGN_KEY_CHECKS = 0")
            for table in present:
                cursor.execute(f"DROP TABLE {quoted(name)}.{quoted(table)}")
            cursor.execute("SET FOREIGN_KEY_CHECKS = 1")
        elif not present:
            where, since = server(cursor)
            unit_state.save(os.path.join(MARKS, name), {"heads": sorted(wanted), "server": where, "since": since})


def end(module, cursor, names, wanted):
    """After a sync, or when none was needed: fail unless the databases are at the heads; no mark is left."""
    for name in names:
        revisions = applied(cursor, name)
        if revisions != wanted:
            shown = f"database {name} is at {sorted(revisions)} after the sync"
            module.fail_json(msg=f"{shown}, the installed release's scripts end at {sorted(wanted)}")
        unmark(name)


def unsettled(names, wanted):
    """The databases for which a run has something to do that is no change: to remove a mark, to say that scripts are missing."""
    return [name for name in names if not wanted or os.path.exists(os.path.join(MARKS, name))]


def actions(found):
    """What is, or would be, brought up to date, in words."""
    return [f"populate {name} (at {', '.join(sorted(revisions)) or 'no revision'})" for name, revisions in found.items()]


def marked(name):
    """The heads that a sync of this database was on its way to from nothing, when it was killed; None if there was none."""
    found = _mark(name)
    return found and found["heads"]


def _mark(name):
    """The mark: heads, server and since (None in one of an earlier version); None without one that can be read."""
    found = unit_state.load(os.path.join(MARKS, name))
    if isinstance(found, list):
        found = {"heads": found}
    if not isinstance(found, dict) or not isinstance(found.get("heads"), list):
        return None
    since = found.get("since")
    return {"heads": found["heads"], "server": found.get("server"), "since": since if isinstance(since, (int, float)) else None}


def unmark(name):
    """The database is whole. A mark that stayed would have a later release's sync empty it."""
    if os.path.exists(os.path.join(MARKS, name)):
        os.unlink(os.path.join(MARKS, name))
