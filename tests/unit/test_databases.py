"""Modules that work in the database: accounts, schemas, cells."""

import importlib.util
import re
from unittest.mock import MagicMock

import pytest
from harness import Accounts, Failed, Module, load, revision

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


class Cursor:
    """Rows for the next statement."""

    def __init__(self, rows):
        self.rows = rows

    def execute(self, *_statement):
        pass

    def fetchall(self):
        return self.rows


def test_grants_are_read_as_mariadb_prints_them():
    rows = [
        ("GRANT USAGE ON *.* TO `nova`@`localhost` IDENTIFIED BY PASSWORD '*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29'",),
        (r"GRANT ALL PRIVILEGES ON `nova\_api`.* TO `nova`@`localhost`",),
        ("GRANT ALL PRIVILEGES ON `nova`.* TO `nova`@`localhost`",),
        ("GRANT SELECT, INSERT ON `placement`.* TO `nova`@`localhost`",),
        ("GRANT ALL PRIVILEGES ON `keystone`.`user` TO `nova`@`localhost`",),
    ]
    assert load("service_database").grants(Cursor(rows), ("nova", "localhost")) == {"nova_api", "nova"}


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


@pytest.mark.parametrize(
    ("password", "repair_logins", "actions", "complete"),
    [
        ("the right one", False, [], ["glance", "nova"]),
        ("another one", False, [], ["glance"]),
        ("another one", True, ["set the password of 'nova'@'localhost'"], ["glance", "nova"]),
    ],
)
def test_accounts_of_several_services(run, monkeypatch, password, repair_logins, actions, complete):
    """What another service still logs in with is left to its page, which brings it the new password."""
    code, server = load("service_database"), Accounts(password)
    monkeypatch.setattr(code.database, "connect", lambda _module: server)
    accounts = [
        {"user": "glance", "password": "canary", "databases": ["glance"]},
        {"user": "nova", "password": "the right one", "databases": ["nova"]},
    ]
    glance = "'glance'@'localhost'"
    new = ["create database glance", f"create account {glance}", f"grant all privileges on glance to {glance}"]
    for check_mode in (True, False):
        assert server.done == []
        result = run(code, check_mode=check_mode, accounts=accounts, hosts=["localhost"], repair_logins=repair_logins)
        assert (result["actions"], result["complete"]) == (new + actions, complete)
    assert server.done == ["CREATE", "CREATE", "GRANT", *["ALTER" for _action in actions]]


def test_native_hash_is_mariadbs_password_function():
    # SELECT PASSWORD('password')
    assert load("service_database").native_hash("password") == "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"


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


MANAGEMENT = """
import os, pathlib, sys
here = pathlib.Path(os.environ["HERE"])
(here / "starts").open("a").write("x")

def main():
    (here / sys.argv[1]).write_text(" ".join([*sys.argv, os.environ["SECRET"], str((here / "first").exists())]))
    if sys.argv[1] == "fails":
        print("at mysql+pymysql://nova:p%40ss@10.0.0.11/nova")
        return 3
"""


@pytest.fixture
def management(run, monkeypatch, tmp_path):
    """A management program; management(waves) runs it as a module would, and returns that program's directory."""
    (tmp_path / "service_manage.py").write_text(MANAGEMENT)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HERE", str(tmp_path))
    manage = load("nova_databases").manage

    def managed(*waves):
        manage.run(Module({}), ("service-manage", "service_manage"), *waves, secrets={"SECRET": "canary"})
        return tmp_path

    return managed


def test_commands_of_one_program_for_one_start_of_it(management, tmp_path):
    management([["first", "--option"]], [], [["second"], ["third"]])
    assert (tmp_path / "starts").read_text() == "x"
    assert (tmp_path / "first").read_text() == "service-manage first --option canary False"
    assert [(tmp_path / name).read_text() for name in ("second", "third")] == [
        f"service-manage {name} canary True" for name in ("second", "third")
    ]


def test_a_command_that_fails_ends_the_program_and_its_password_is_hidden(management, tmp_path):
    with pytest.raises(Failed, match=r"nova:\(hidden\)@10[^$]*service-manage fails now failed"):
        management([["fails", "now"], ["first"]], [["second"]])
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "second").exists()


def test_a_traceback_loses_its_password():
    text = "OperationalError at mysql+pymysql://nova:p%40ss@10.0.0.11:3306/nova?charset=utf8"
    assert load("schema_sync").masking.without_passwords(text) == text.replace("p%40ss", "(hidden)")


NETLOC = "{scheme}://{username}:{password}@{hostname}:{port}"
RIGHT = {
    "cell0": ("00000000-0000-0000-0000-000000000000", "cell0", "none:///", NETLOC + "/nova_cell0?{query}", 0),
    "cell1": ("u1", "cell1", NETLOC + "/{path}?{query}", NETLOC + "/nova?{query}", 0),
}


def test_the_socket_of_mariadb_is_where_it_is(monkeypatch, tmp_path):
    database = importlib.import_module("ansible.module_utils.kilonova.database")
    old, new = tmp_path / "old", tmp_path / "new"
    monkeypatch.setattr(database, "SOCKETS", (str(old), str(new)))
    assert database.socket() == str(old)
    new.touch()
    assert database.socket() == str(new)


@pytest.mark.parametrize(
    ("rows", "actions"),
    [
        ([], ["map cell0", "create cell1"]),
        (list(RIGHT.values()), []),
        ([RIGHT["cell0"], (*RIGHT["cell1"][:2], "rabbit://old", *RIGHT["cell1"][3:])], ["correct the mapping of cell1"]),
        ([(*RIGHT["cell0"][:3], "mysql://old", 0), RIGHT["cell1"]], ["correct the mapping of cell0"]),
        # The guide's create_cell without --name, and one of another name.
        (
            [RIGHT["cell0"], ("u1", None, "rabbit://x", "mysql+pymysql://nova:p@192.0.2.1/nova", 0)],
            ["correct the mapping of the cell without a name, u1"],
        ),
        ([RIGHT["cell0"], ("u1", "main", *RIGHT["cell1"][2:])], []),
        (
            [RIGHT["cell0"], ("u1", "main", "rabbit://x", "mysql+pymysql://nova:p%40@localhost:3306/nova?charset=utf8", 0)],
            ["correct the mapping of main"],
        ),
        # The database has moved, and a cell with a database of another host is somebody's own.
        (
            [RIGHT["cell0"], ("u1", "cell1", "rabbit://x", "mysql+pymysql://nova:p@192.0.2.77/nova", 0)],
            ["correct the mapping of cell1"],
        ),
        ([RIGHT["cell0"], RIGHT["cell1"], ("u2", "cell2", "rabbit://x", "mysql+pymysql://nova:p@192.0.2.77/nova", 0)], []),
        ([RIGHT["cell0"], RIGHT["cell1"], ("u2", "cell2", "rabbit://x", NETLOC + "/nova_cell2?{query}", 0)], []),
    ],
)
def test_cells_are_mapped_by_templates(rows, actions):
    code = load("nova_databases")
    commands = code.cell_commands(rows, "192.0.2.1", "192.0.2.1")
    assert list(commands) == actions
    assert code.doubles(rows, "192.0.2.1") == []
    assert not [word for words in commands.values() for word in words if "mysql" in word or "rabbit" in word]


@pytest.mark.parametrize(
    "double",
    [
        ("u2", None, "rabbit://x", "mysql+pymysql://nova:p@192.0.2.1/nova", 0),
        ("u2", "cell2", "rabbit://x", NETLOC + "/nova?{query}", 0),
        ("u2", "cell1", "rabbit://x", "mysql+pymysql://other:p%2F@192.0.2.1:3306/nova?charset=utf8", 1),
    ],
)
def test_two_cells_of_one_database_are_refused(double):
    problems = load("nova_databases").doubles([*RIGHT.values(), double], "192.0.2.1")
    assert len(problems) == 1
    assert f"the database nova: u1 (cell1), u2 ({double[1] or 'without a name'})" in problems[0]
    assert "p@" not in problems[0] and "delete_cell --cell_uuid UUID" in problems[0]


def test_a_second_cell0_is_refused():
    rows = [*RIGHT.values(), ("u2", "grave", "none:///", NETLOC + "/nova_cell0?{query}", 0)]
    assert "the database nova_cell0: 00000000" in load("nova_databases").doubles(rows, "192.0.2.1")[0]


@pytest.mark.parametrize(
    ("host", "queue_host", "database", "queue"),
    [
        ("10.0.0.11", "10.0.0.11", "@{hostname}:", "@{hostname}:"),
        ("fd00::11", "fd00::11", "@[{hostname}]:", "@[{hostname}]:"),
        ("db.example.org", "fd00::11", "@{hostname}:", "@[{hostname}]:"),
        ("fd00::11", "mq", "@[{hostname}]:", "@{hostname}:"),
    ],
)
def test_templates_have_the_brackets_that_nova_takes_away(host, queue_host, database, queue):
    """Nova fills in `urlparse(url).hostname`."""
    commands = load("nova_databases").cell_commands([], host, queue_host)
    transport, connection = (
        commands["create cell1"][commands["create cell1"].index(option) + 1]
        for option in ("--transport-url", "--database_connection")
    )
    assert database in connection
    assert queue in transport
    assert database in commands["map cell0"][-1]
    rows = [("00000000-0000-0000-0000-000000000000", "cell0", "none:///", commands["map cell0"][-1], 0)]
    rows.append(("u1", "cell1", transport, connection, 0))
    assert load("nova_databases").cell_commands(rows, host, queue_host) == {}
    filled = connection.replace("{hostname}", "fd00::11").replace("{port}", "3306").replace("{scheme}", "mysql+pymysql")
    assert ("[fd00::11]:3306" in filled) == (":" in host)


@pytest.fixture
def nova(run, monkeypatch, tmp_path):
    """nova(): a run of nova_databases; nova.revisions: database -> revision (None: no schema); nova.waves: what was run."""
    code = load("nova_databases")
    revisions, rows, waves = dict.fromkeys(("nova_api", "nova", "nova_cell0")), [], []
    for name in ("api", "main"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "one.py").write_text("revision = '1'\n")
    server = MagicMock()
    server.cursor.return_value.__enter__.return_value.fetchall.side_effect = lambda: rows
    # The databases' locks, and where and when the mark is made.
    server.cursor.return_value.__enter__.return_value.fetchone.return_value = (1, 1000)
    monkeypatch.setattr(code.schema, "MARKS", str(tmp_path / "marks"))
    monkeypatch.setattr(code.database, "connect", lambda _module: server)
    monkeypatch.setattr(code.schema, "applied", lambda _cursor, name: {revisions[name]} - {None})
    monkeypatch.setattr(code.schema, "tables", lambda _cursor, name: ["cell_mappings"] if revisions[name] else [])

    def manage(_module, _program, *commands, user):
        assert user == "nova"
        waves.append(commands)
        revisions.update(dict.fromkeys(revisions, "1"))
        rows[:] = RIGHT.values()

    monkeypatch.setattr(code.manage, "run", manage)

    def populated(check_mode=False):
        where = {"host": "192.0.2.1", "queue_host": "192.0.2.1"}
        return run(code, check_mode, api_migrations=str(tmp_path / "api"), migrations=str(tmp_path / "main"), **where)

    populated.revisions, populated.rows, populated.waves = revisions, rows, waves
    return populated


def test_novas_databases_are_populated_in_the_guides_order(nova):
    everything = [
        "populate nova_api (at no revision)",
        "map cell0",
        "create cell1",
        "populate nova (at no revision)",
        "populate nova_cell0 (at no revision)",
    ]
    assert nova(check_mode=True)["actions"] == everything
    assert nova.waves == []
    assert nova()["actions"] == everything
    [(api, cells, main)] = nova.waves
    assert (api, [words[:2] for words in cells], main) == (
        [["api_db", "sync"]],
        [["cell_v2", "map_cell0"], ["cell_v2", "create_cell"]],
        [["db", "sync"]],
    )
    assert nova()["actions"] == []
    assert len(nova.waves) == 1


def test_only_what_nova_lacks_is_done(nova):
    """As after a run that was killed when cell1 was created."""
    nova.revisions["nova_api"] = "1"
    nova.rows[:] = RIGHT.values()
    assert nova()["actions"] == ["populate nova (at no revision)", "populate nova_cell0 (at no revision)"]
    assert nova.waves == [([], [], [["db", "sync"]])]


def test_hosts_are_mapped_once(run, monkeypatch):
    code, mapped = load("nova_hosts"), [("a",)]
    answers = {"nova_api.host_mappings": lambda: mapped, "nova.compute_nodes": lambda: [("a",), ("b",)]}
    monkeypatch.setattr(code, "query", lambda _module, statement: next(f() for table, f in answers.items() if table in statement))
    monkeypatch.setattr(code, "nova_manage", lambda *_arguments: mapped.append(("b",)))
    assert run(code, hosts=["a", "b"])["actions"] == ["map b to cell1"]
    assert run(code, hosts=["a", "b"])["actions"] == []


def test_a_mapping_that_somebody_deleted_is_made_again(run, monkeypatch):
    code, mapped, calls = load("nova_hosts"), [], []
    tables = {"nova_api.host_mappings": mapped, "nova.compute_nodes": [("a",)]}
    monkeypatch.setattr(code, "query", lambda _module, statement: next(tables[name] for name in tables if name in statement))

    def nova_manage(_module, *arguments):
        calls.append(arguments)
        if "--by-service" in arguments:
            mapped.append(("a",))

    monkeypatch.setattr(code, "nova_manage", nova_manage)
    assert run(code, hosts=["a"])["actions"] == ["map a to cell1"]
    assert calls == [("discover_hosts",), ("discover_hosts", "--by-service")]


def test_a_host_that_does_not_report_is_named(run, monkeypatch):
    code = load("nova_hosts")
    monkeypatch.setattr(code, "query", lambda *_arguments: [])
    with pytest.raises(Failed, match="no report from nova-compute on b within 0 s"):
        run(code, hosts=["b"], timeout=0)
