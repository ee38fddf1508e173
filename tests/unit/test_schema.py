"""First syncs that were killed, and what was restored meanwhile, on a MariaDB of our own (a socket, no network)."""

import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.kilonova import schema
from harness import LIBRARY, Failed

pymysql = pytest.importorskip("pymysql")
if not (shutil.which("mariadbd") and shutil.which("mariadb-install-db")):
    pytest.skip("mariadb-server is not installed", allow_module_level=True)


@pytest.fixture(scope="module")
def socket():
    """A server's socket."""
    directory = tempfile.mkdtemp(prefix="schema")  # a socket's path must be short
    data, path, user = f"{directory}/data", f"{directory}/s", ["--user=root"] if os.geteuid() == 0 else []
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal", *user],
        check=True,
        capture_output=True,
    )
    options = ["--skip-networking", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"]
    server = subprocess.Popen(
        ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={path}", *options, *user],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _second in range(300):
            if os.path.exists(path):
                break
            time.sleep(0.1)
        yield path
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(directory)


class Cloud:
    """One database, the migrations of a release, and runs of schema_sync on them."""

    def __init__(self, socket, directory):
        self.socket, self.migrations = socket, directory
        (directory / "one.py").write_text("revision = 'b'\n")
        self.mark = Path(schema.MARKS) / "nova"
        self.sql("DROP DATABASE IF EXISTS nova", "CREATE DATABASE nova")

    def connect(self):
        return pymysql.connect(unix_socket=self.socket, user="root", autocommit=True)

    def sql(self, *statements):
        """Run statements; returns the rows of the last."""
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall()

    def tables(self):
        return {row[0] for row in self.sql("SHOW TABLES FROM nova")}

    def sync(self, *statements, check_mode=False, seeds=None, killed=False):
        """A run of the module whose sync does this; killed: and dies then."""
        spec = importlib.util.spec_from_file_location("library_schema_sync", LIBRARY / "schema_sync.py")
        code = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(code)
        ended = {}

        def fail(msg, **_more):
            raise Failed(msg)

        params = {
            "databases": ["nova"],
            "migrations": str(self.migrations),
            "commands": [["sync"]],
            "user": "nova",
            "unix_socket": self.socket,
            "seeds": seeds or {},
        }
        module = SimpleNamespace(params=params, check_mode=check_mode, fail_json=fail, exit_json=ended.update, warn=print)

        def run(_module, _command):
            self.sql(*statements)
            if killed:
                raise KeyboardInterrupt

        code.AnsibleModule, code.run = lambda **_arguments: module, run
        if killed:
            with pytest.raises(KeyboardInterrupt):
                code.main()
        else:
            code.main()
        return ended.get("actions")


HALF = ("CREATE TABLE nova.instances (id INT)", "CREATE TABLE nova.tags (id INT, a VARCHAR(9))")
WHOLE = (*HALF, "CREATE TABLE nova.alembic_version (version_num VARCHAR(32))", "INSERT INTO nova.alembic_version VALUES ('b')")
POPULATE = ["populate nova (at no revision)"]


@pytest.fixture
def cloud(socket, tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "MARKS", str(tmp_path / "marks"))
    (tmp_path / "versions").mkdir()
    return Cloud(socket, tmp_path / "versions")


def test_what_a_killed_first_sync_has_made_is_removed(cloud):
    cloud.sync(*HALF, killed=True)
    assert (cloud.tables(), cloud.mark.exists()) == ({"instances", "tags"}, True)
    assert cloud.sync(check_mode=True) == POPULATE
    assert cloud.tables() == {"instances", "tags"}
    assert cloud.sync(*WHOLE) == POPULATE
    assert (cloud.tables(), cloud.mark.exists()) == ({"instances", "tags", "alembic_version"}, False)
    assert cloud.sync() == []


RESTORED = {
    "into what was left": ("INSERT INTO nova.instances VALUES (1)",),
    "as a dump does it": (
        "DROP TABLE nova.instances",
        "CREATE TABLE nova.instances (id INT)",
        "INSERT INTO nova.instances VALUES (1)",
    ),
    "a part of it": ("DROP TABLE nova.tags", "INSERT INTO nova.instances VALUES (1), (2)"),
    "another database": (
        "DROP DATABASE nova",
        "CREATE DATABASE nova",
        "CREATE TABLE nova.x (id INT)",
        "INSERT INTO nova.x VALUES (1)",
    ),
    "of another release": (*WHOLE[2:3], "INSERT INTO nova.alembic_version VALUES ('a')", "INSERT INTO nova.instances VALUES (1)"),
    "more than the migrations put there": ("CREATE TABLE nova.seeded (id INT)", "INSERT INTO nova.seeded VALUES (1), (2)"),
    "a view": ("CREATE VIEW nova.shown AS SELECT * FROM nova.tags",),
    "with a quote in a name": ("CREATE TABLE nova.`a``b` (id INT)", "INSERT INTO nova.`a``b` VALUES (1)"),
}


@pytest.mark.parametrize("how", RESTORED)
def test_what_was_restored_meanwhile_is_never_removed(cloud, how):
    cloud.sync(*HALF, killed=True)
    cloud.sql(*RESTORED[how])
    before = cloud.tables()
    for check_mode in (True, False):
        with pytest.raises(Failed, match=r"database nova: its first sync was killed, and .* Nothing was changed"):
            cloud.sync(*WHOLE, check_mode=check_mode, seeds={"seeded": 1})
    assert (cloud.tables(), cloud.mark.exists()) == (before, True)
    # The remedy, where it is wanted.
    cloud.mark.unlink()
    if "alembic_version" not in before:
        assert cloud.sync(*WHOLE[2:]) == POPULATE
    assert before <= cloud.tables()


def test_a_complete_backup_of_this_release_needs_no_sync(cloud):
    cloud.sync(*HALF, killed=True)
    cloud.sql(*WHOLE[2:], "INSERT INTO nova.instances VALUES (1)")
    assert cloud.sync() == []
    assert not cloud.mark.exists()


def test_rows_of_the_migrations_themselves_are_no_backup(cloud):
    cloud.sync(*HALF, "CREATE TABLE nova.seeded (id INT)", "INSERT INTO nova.seeded VALUES (1)", *WHOLE[2:3], killed=True)
    assert cloud.sync(*WHOLE, seeds={"seeded": 1}) == POPULATE
    assert "seeded" not in cloud.tables()


@pytest.mark.parametrize(
    ("change", "message"),
    [({"server": "elsewhere /var/lib/mysql/"}, "it is on another server"), ({"since": 9e9}, "is older than that sync")],
)
def test_tables_of_another_server_or_time_are_not_the_killed_syncs(cloud, change, message):
    cloud.sync(*HALF, killed=True)
    cloud.mark.write_text(json.dumps({**json.loads(cloud.mark.read_text()), **change}))
    with pytest.raises(Failed, match=message):
        cloud.sync(*WHOLE)
    assert cloud.tables() == {"instances", "tags"}


@pytest.mark.parametrize("text", ['["b"]', '{"heads": ["b"]}', '{"heads": ["b"], "since": "x", "server": null}'])
def test_a_mark_of_an_earlier_version_still_counts(cloud, text):
    cloud.sync(*HALF, killed=True)
    cloud.mark.write_text(text)
    assert cloud.sync(*WHOLE) == POPULATE


@pytest.mark.parametrize("text", ["", "{", "7", "null", '"b"', '{"heads": 1}', "[" * 99999])
def test_a_mark_that_cannot_be_read_is_none(cloud, text):
    """Then nothing is removed, and the sync says what it thinks of the tables."""
    cloud.sync(*HALF, killed=True)
    cloud.mark.write_text(text)
    with pytest.raises(pymysql.MySQLError, match="already exists"):
        cloud.sync(*WHOLE)
    assert cloud.tables() == {"instances", "tags"}


def test_two_runs_do_not_sync_one_database_at_once(cloud):
    """Run B would empty what run A is making: it waits for A, and finds nothing left to do."""
    results = []
    first = threading.Thread(target=lambda: results.append(cloud.sync(*HALF, "SELECT SLEEP(1.5)", *WHOLE[2:])))
    first.start()
    while not cloud.mark.exists():
        time.sleep(0.01)
    assert cloud.sync() == []
    first.join()
    assert results == [POPULATE]


def test_a_run_that_waits_too_long_says_for_whom(cloud, monkeypatch):
    monkeypatch.setattr(schema, "WAIT", 1)
    with cloud.connect() as other, other.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK('kilonova schema of nova', 0)")
        with pytest.raises(Failed, match=r"nova: connection \d+ of root from localhost, \d+ s .* syncs it;.* waited 1 s"):
            cloud.sync(*WHOLE)
        assert cloud.sync(check_mode=True) == POPULATE
    # It is gone with its connection.
    assert cloud.sync(*WHOLE) == POPULATE
