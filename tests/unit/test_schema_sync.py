"""Schemas: which revision is the last, and first syncs that were killed (test_schema.py has more, on a real server)."""

import re

import pytest
from harness import Failed, load, revision


def test_without_its_driver_only_a_plan_goes_on(run, monkeypatch, tmp_path):
    """It comes with this very run; and what is there is not called done when nothing could be asked."""
    code = load("schema_sync")
    monkeypatch.setattr(code.database, "pymysql", None)
    monkeypatch.setattr(code.database, "DATA", (str(tmp_path),))
    revision(tmp_path, "a")
    arguments = {"databases": ["nova"], "migrations": str(tmp_path), "commands": [["sync"]], "user": "nova"}
    assert run(code, check_mode=True, **arguments)["actions"] == ["populate nova (at no revision)"]
    with pytest.raises(Failed, match="python3-pymysql is missing on this host; the roles mysql and keystone install it"):
        run(code, **arguments)


def test_heads_of_branches_with_merges_and_dependencies(tmp_path):
    revision(tmp_path / "base", "a")
    revision(tmp_path / "zed" / "expand", "e1", "a")
    revision(tmp_path / "zed" / "expand", "e2", "e1")
    revision(tmp_path / "zed" / "contract", "c1", "a", depends_on=("e1",))
    assert load("schema_sync").schema.heads(tmp_path) == {"e2", "c1"}
    revision(tmp_path / "antelope", "m", ("e2", "c1"))
    assert load("schema_sync").schema.heads(tmp_path) == {"m"}
    revision(tmp_path / "bobcat" / "data", "d", None, depends_on="m")
    assert load("schema_sync").schema.heads(tmp_path) == {"d"}


def test_no_heads_without_scripts(tmp_path):
    (tmp_path / "__init__.py").write_text('"""No revision."""\nrevision = len("x")\n')
    assert load("schema_sync").schema.heads(tmp_path) == set()
    assert load("schema_sync").schema.heads(tmp_path / "none") == set()


def test_heads_of_annotated_scripts(tmp_path):
    revision(tmp_path, "a", annotated=True)
    revision(tmp_path, "b", "a", annotated=True)
    assert load("schema_sync").schema.heads(tmp_path) == {"b"}


class Schema:
    """A database server with one database: `revision` (None: no schema) and `tables`; commands are run by `sync`."""

    def __init__(self, code, monkeypatch, tmp_path):
        self.code, self.revision, self.tables, self.dropped = code, None, [], []
        self.killed, self.rows, self.result = False, {}, []
        (tmp_path / "versions").mkdir()
        self.migrations = tmp_path / "versions"
        self.installed("1")
        monkeypatch.setattr(code.schema, "MARKS", str(tmp_path / "marks"))
        monkeypatch.setattr(code.schema, "applied", lambda _cursor, _name: {self.revision} if self.revision else set())
        monkeypatch.setattr(code.schema, "tables", lambda _cursor, _name: list(self.tables))
        monkeypatch.setattr(code.database, "connect", lambda _module: self)
        monkeypatch.setattr(code, "run", lambda _module, _command: self.sync())
        self.cursor = lambda: self

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def execute(self, statement, _arguments=()):
        if statement.startswith("DROP"):
            self.dropped, self.tables = self.dropped + self.tables, []
        elif "GET_LOCK" in statement:
            self.result = [(1,)]
        elif "@@hostname" in statement:
            self.result = [("controller /var/lib/mysql/", 1000)]
        elif "COUNT" in statement:
            self.result = [(self.rows.get(re.search(r"`nova`.`([^`]*)`", statement).group(1), 0),)]
        elif "table_type" in statement:
            self.result = [(table, "BASE TABLE", 1001) for table in self.tables]

    def fetchone(self):
        return self.result[0]

    def fetchall(self):
        return self.result

    def installed(self, revision):
        """The release that is installed ends at this revision."""
        (self.migrations / "one.py").write_text(f"revision = {revision!r}\n")
        self.head = revision

    def sync(self):
        self.tables.append(f"table-of-{self.head}")
        if self.killed:
            raise KeyboardInterrupt
        self.revision = self.head


@pytest.fixture
def schema(run, monkeypatch, tmp_path):
    """schema(): a run of schema_sync; schema.server: what it finds."""
    server = Schema(load("schema_sync"), monkeypatch, tmp_path)

    def synced(check_mode=False):
        arguments = {"databases": ["nova"], "commands": [["sync"]], "user": "nova", "seeds": {"seeded": 1}}
        return run(server.code, check_mode, migrations=str(server.migrations), **arguments)

    synced.server, synced.mark = server, tmp_path / "marks" / "nova"
    return synced


def test_a_first_sync_that_was_killed_begins_anew(schema):
    schema.server.killed = True
    with pytest.raises(KeyboardInterrupt):
        schema()
    schema.server.killed = False
    assert schema(check_mode=True)["actions"] == ["populate nova (at no revision)"]
    assert schema()["actions"] == ["populate nova (at no revision)"]
    assert schema.server.dropped == ["table-of-1"]
    assert not schema.mark.exists()
    assert not schema()["changed"]


def test_a_mark_that_stayed_does_not_empty_a_database_that_is_in_use(schema):
    schema()
    schema.mark.write_text('["1"]')  # killed after the sync, before the mark was removed
    schema.server.installed("2")
    assert schema()["actions"] == ["populate nova (at 1)"]
    assert schema.server.dropped == []
    schema.mark.write_text('["2"]')
    assert not schema()["changed"]
    assert not schema.mark.exists()


@pytest.mark.parametrize("table", ["instances", "seeded"])
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_no_sync_has_made_is_never_removed(schema, table, check_mode):
    """A backup that was restored after the first sync was killed; test_schema.py has more, on a real server."""
    schema.server.killed = True
    with pytest.raises(KeyboardInterrupt):
        schema()
    schema.server.killed, schema.server.rows = False, {table: 2}
    schema.server.tables += [table]
    with pytest.raises(Failed, match=f"database nova: its first sync was killed.*there are rows in table {table}"):
        schema(check_mode=check_mode)
    assert (schema.server.dropped, schema.mark.exists()) == ([], True)
