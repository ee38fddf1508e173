"""The project's modules: what they compare, and what they would do, without a host."""

import ast
import configparser
import grp
import importlib.util
import json
import os
import pwd
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import openstack
import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.kilonova import migration as kilonova_migration
from ansible.module_utils.kilonova import unit_state
from fake_keystone import Keystone

from kilonova.config import config_files
from kilonova.config.config_files import ROLES
from kilonova.run import answers

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself
LIBRARY = ROLES.parent / "library"
NAMES = sorted(path.stem for path in LIBRARY.glob("*.py"))


def load(name):
    """The module's code, afresh."""
    spec = importlib.util.spec_from_file_location(f"library_{name}", LIBRARY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Exit(Exception):
    """exit_json was called."""


class Failed(Exception):
    """fail_json was called."""


class Module:
    """AnsibleModule without its host: the arguments come from the test, the result is raised."""

    arguments, check_mode, warnings = {}, False, []

    def __init__(self, argument_spec, supports_check_mode=False, no_log=False):
        """Check the arguments as AnsibleModule does."""
        self.argument_spec, self.supports_check_mode = argument_spec, supports_check_mode
        checked = ArgumentSpecValidator(argument_spec).validate(self.arguments)
        assert not checked.error_messages
        self.params = checked.validated_parameters

    get_bin_path = staticmethod(shutil.which)

    def warn(self, text):
        Module.warnings.append(text)

    def exit_json(self, **result):
        raise Exit(result)

    def fail_json(self, **result):
        raise Failed(result)


@pytest.fixture
def run(monkeypatch):
    """Run a module's main(): run(code, check_mode, **arguments) returns its result or raises Failed."""

    def runs(code, check_mode=False, **arguments):
        monkeypatch.setattr(code, "AnsibleModule", type("Fake", (Module,), {"arguments": arguments, "check_mode": check_mode}))
        Module.warnings.clear()
        with pytest.raises(Exit) as ended:
            code.main()
        return ended.value.args[0]

    return runs


# ------------------------------------------------------------------------------------------------------ documentation


def argument_spec(name, monkeypatch):
    """The argument_spec that main() gives to AnsibleModule."""

    class Seen(Exception):
        pass

    def stop(argument_spec, **_rules):
        raise Seen(argument_spec)

    code = load(name)
    monkeypatch.setattr(code, "AnsibleModule", stop)
    with pytest.raises(Seen) as seen:
        code.main()
    return seen.value.args[0]


def facts(options):
    """What documentation and argument_spec both say of each option."""
    keys = ("type", "elements", "required", "default", "choices")
    return {name: {key: said[key] for key in keys if said.get(key) not in (None, False)} for name, said in options.items()}


@pytest.mark.parametrize("name", NAMES)
def test_documentation_lists_exactly_the_arguments(name, monkeypatch):
    said = yaml.safe_load(load(name).DOCUMENTATION)
    assert said["module"] == name
    assert {"short_description", "description"} <= set(said)
    assert facts(said.get("options", {})) == facts(argument_spec(name, monkeypatch))
    # ansible-doc refuses a module with an option that is not described.
    assert not [option for option, text in said.get("options", {}).items() if not text.get("description")]


@pytest.mark.parametrize("name", NAMES)
def test_passwords_are_hidden_from_logs(name, monkeypatch):
    def look(options):
        for option, said in options.items():
            assert said.get("no_log") or not re.search("pass|secret", option), option
            look(said.get("options") or {})

    look(argument_spec(name, monkeypatch))


# ----------------------------------------------------------------------------------------------------------- database


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


class Accounts:
    """A cursor on a server with one account, `nova`, and what was done to it."""

    def __init__(self, password):
        self.account = ("localhost", "mysql_native_password", load("service_database").native_hash(password))
        self.done = []

    def __enter__(self):
        return self

    def __exit__(self, *_arguments):
        pass

    cursor = __enter__

    def execute(self, statement, arguments=()):
        if "schemata" in statement:
            self.rows = [("nova",)]
        elif "mysql.user" in statement:
            self.rows = [self.account] if arguments == ("nova",) else []
        elif "SHOW GRANTS" in statement:
            self.rows = [("GRANT ALL PRIVILEGES ON `nova`.* TO `nova`@`localhost`",)]
        else:
            self.done.append(statement.split(" ")[0])

    def fetchall(self):
        return self.rows


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
    ("password", "drifted", "actions", "right"),
    [
        ("the right one", "leave", [], ["glance", "nova"]),
        ("another one", "leave", [], ["glance"]),
        ("another one", "correct", ["set the password of 'nova'@'localhost'"], ["glance", "nova"]),
    ],
)
def test_accounts_of_several_services(run, monkeypatch, password, drifted, actions, right):
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
        result = run(code, check_mode=check_mode, accounts=accounts, hosts=["localhost"], drifted=drifted)
        assert (result["actions"], result["right"]) == (new + actions, right)
    assert server.done == ["CREATE", "CREATE", "GRANT", *["ALTER" for _action in actions]]


def test_native_hash_is_mariadbs_password_function():
    # SELECT PASSWORD('password')
    assert load("service_database").native_hash("password") == "*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19"


def revision(directory, name, down=None, depends_on=None, annotated=False):
    """One alembic script."""
    hint = ": str" if annotated else ""
    lines = [f"revision{hint} = {name!r}", f"down_revision{hint} = {down!r}", f"depends_on = {depends_on!r}", "x = len('')"]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}_change.py").write_text("\n".join(lines))


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
    assert load("schema_sync").manage.without_secrets(text) == text.replace("p%40ss", "(hidden)")


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


# ----------------------------------------------------------------------------------------------------------- RabbitMQ


def test_password_hash_is_that_of_rabbitmqs_documentation():
    made = load("rabbitmq_account").password_hash("test12", bytes.fromhex("908DC60A"))
    assert made == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


def test_a_server_that_is_not_there_yet(run, monkeypatch, tmp_path):
    code = load("rabbitmq_account")
    monkeypatch.setattr(code, "DATA", str(tmp_path))
    arguments = {"user": "openstack", "password": "canary-canary-canary", "host": "127.0.0.1", "port": 1}
    everything = ["create user openstack", "grant openstack all permissions on vhost /", "delete user guest"]
    assert run(code, check_mode=True, **arguments)["actions"] == everything
    (tmp_path / "rabbit@controller").mkdir()  # it ran once, and is stopped
    assert run(code, check_mode=True, **arguments)["actions"] == []
    assert "count as what they were" in Module.warnings[0]


OURS = ["openstack\t/\t.*\t.*\t.*"]


@pytest.mark.parametrize(
    ("users", "rights", "right_password", "actions"),
    [
        (["openstack"], OURS, True, []),
        (["openstack"], OURS, False, ["set the password of user openstack"]),
        (["openstack"], ["openstack\t/\t^$\t.*\t.*"], True, ["grant openstack all permissions on vhost /"]),
        (["openstack"], ["openstack\t/\t\t\t"], True, ["grant openstack all permissions on vhost /"]),
        (["openstack", "guest"], [*OURS, "guest\t/\t.*\t.*\t.*"], True, ["delete user guest"]),
        (["guest"], [], True, ["create user openstack", "grant openstack all permissions on vhost /", "delete user guest"]),
    ],
)
def test_the_account_is_repaired_and_its_password_in_no_argument(run, monkeypatch, users, rights, right_password, actions):
    code, commands = load("rabbitmq_account"), []
    told = {code.VHOSTS: ["/"], code.USERS: users, code.RIGHTS: rights, code.TAGS: ["openstack\t"]}
    monkeypatch.setattr(code.rabbitmq, "rows", told.get)
    monkeypatch.setattr(code, "rabbitmqctl", lambda _module, *arguments: commands.append(arguments))
    monkeypatch.setattr(code, "login_works", lambda _params: right_password)
    monkeypatch.setattr(code.shutil, "chown", lambda *_arguments: None)
    monkeypatch.setattr(code, "DATA", os.curdir)
    monkeypatch.setattr(code, "listens", lambda _params: True)
    arguments = {"user": "openstack", "password": "canary-canary-canary", "host": "10.0.0.11"}
    assert run(code, check_mode=True, **arguments)["actions"] == actions
    assert commands == []
    assert run(code, **arguments)["actions"] == actions
    changes = {"import_definitions" if "guest" not in action else "delete_user" for action in actions}
    assert {command[0] for command in commands} == changes
    assert "canary" not in str(commands)


@pytest.fixture
def clients(tmp_path, monkeypatch):
    """Programs of RabbitMQ that print what the test says, first in PATH."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def client(name, answer, status=0):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat > {tmp_path}/asked\nprintf '%b' '{answer}'\nexit {status}\n")
        (tmp_path / name).chmod(0o755)

    return client


def test_rabbitmq_is_asked_the_quick_way_and_the_long_way_when_that_says_nothing(clients):
    code = load("rabbitmq_account").rabbitmq
    clients("erl_call", f"one\\ntwo\\n{code.END}")
    assert code.rows("[]") == ["one", "two"]
    clients("erl_call", "one\\n")  # what an expression that fails has printed before
    clients("rabbitmqctl", f"one\\n{code.END}ok\\n")
    assert code.rows("[]") == ["one"]
    clients("rabbitmqctl", "no such node\\n", 69)
    with pytest.raises(RuntimeError, match="rabbitmqctl eval failed: no such node"):
        code.rows("[]")


# ----------------------------------------------------------------------------------------------------------- services


def test_differences_name_files_and_sections():
    old = {"/etc/nova/nova.conf": {"DEFAULT": "1", "vnc": "1", "gone": "1"}, "/etc/default/x": {"*": "1"}, "/old": {"*": "1"}}
    new = {"/etc/nova/nova.conf": {"DEFAULT": "1", "vnc": "2", "new": "1"}, "/etc/default/x": {"*": "2"}}
    differences = load("service_units").differences
    assert differences(old, new) == ["/etc/default/x", "[gone] [new] [vnc] of /etc/nova/nova.conf", "/old"]
    assert differences(new, new) == []


@pytest.fixture
def server():
    """An HTTP server that replies with the status in the path, /404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path[1:]))
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield listening.server_port
        listening.shutdown()


def test_what_counts_as_an_answer(server):
    answer = load("service_units").answer
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        assert [answer(f"http://127.0.0.1:{server}/{status}") for status in (200, 401, 404)] == [None] * 3
        assert answer(f"http://127.0.0.1:{server}/503") == "HTTP status 503"
        assert answer(f"127.0.0.1:{server}") is None
        assert "refused" in answer(f"127.0.0.1:{closed}")
        assert "refused" in answer(f"http://127.0.0.1:{closed}/")


class Systemd:
    """systemctl with units in memory; `starts` says what each start leads to."""

    def __init__(self, code, monkeypatch, tmp_path):
        self.code, self.calls, self.units, self.starts = code, [], {}, {}
        monkeypatch.setattr(code.unit_state, "DIRECTORY", str(tmp_path / "kilonova"))
        monkeypatch.setattr(code, "systemctl", self.systemctl)
        monkeypatch.setattr(code, "show", lambda names: {name: dict(self.units[name]) for name in names})
        monkeypatch.setattr(code, "last_words", lambda name: [f"the journal of {name}"])
        monkeypatch.setattr(code.time, "sleep", lambda _seconds: None)

    def add(self, *names, **properties):
        """Units that are enabled and run."""
        for name in names:
            self.units[name] = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", **properties}

    def systemctl(self, verb, *names):
        if verb not in ("daemon-reload", "reset-failed"):
            self.calls.append(" ".join((verb, *names)))
        for name in set(names) - {"--no-block"}:
            if verb == "enable":
                self.units[name]["UnitFileState"] = "enabled"
            elif verb == "disable":
                self.units.get(name, {}).update(UnitFileState="disabled", ActiveState="inactive")
            elif verb in ("start", "restart", "reload"):
                led_to = self.starts.get(name, "active")
                self.units[name]["ActiveState"] = led_to() if callable(led_to) else led_to
        return 0, ""


@pytest.fixture
def systemd(monkeypatch, tmp_path):
    """A host's systemd, in memory."""
    return Systemd(load("service_units"), monkeypatch, tmp_path)


def unit(name, digest="1", **more):
    """A unit that reads one section of one file."""
    return {"name": name, "reads": {"/etc/x.conf": {"DEFAULT": digest}}, **more}


def test_a_fresh_unit_is_enabled_and_started_and_then_left_alone(run, systemd):
    systemd.add("nova-api", ActiveState="inactive", UnitFileState="disabled")
    assert run(systemd.code, units=[unit("nova-api")])["actions"] == ["start nova-api"]
    assert systemd.calls == ["enable nova-api", "start nova-api"]
    assert run(systemd.code, units=[unit("nova-api")]) == {"changed": False, "actions": [], "diff": {"before": "", "after": ""}}
    assert stat.S_IMODE(os.stat(systemd.code.unit_state.state_path()).st_mode) == 0o600


def test_a_unit_that_runs_but_would_not_start_at_boot(run, systemd):
    systemd.add("nova-api")
    run(systemd.code, units=[unit("nova-api")])
    systemd.units["nova-api"]["UnitFileState"] = "disabled"
    systemd.calls.clear()
    assert run(systemd.code, units=[unit("nova-api")])["actions"] == ["enable nova-api"]
    assert systemd.calls == ["enable nova-api"]


def test_a_unit_that_systemd_makes_of_an_init_script_is_enabled_by_its_links(run, systemd, monkeypatch, tmp_path):
    """neutron-periodic-workers of Debian 13 is one: systemd calls it "generated", whether or not it starts with the host."""
    monkeypatch.setattr(systemd.code.unit_state, "RUNLEVELS", str(tmp_path / "S[0-9][0-9]%s"))
    systemd.add("workers", UnitFileState="generated")
    assert run(systemd.code, units=[unit("workers")], check_mode=True)["actions"][:1] == ["enable workers"]
    (tmp_path / "S01workers").touch()
    assert "enable workers" not in run(systemd.code, units=[unit("workers")], check_mode=True)["actions"]


def test_a_unit_that_shall_not_run_is_disabled_and_then_left_alone(run, systemd):
    systemd.add("spice", ActiveState="inactive")
    systemd.add("serial", UnitFileState="disabled")
    systemd.add("absent", LoadState="not-found", ActiveState="inactive", UnitFileState="")
    units = [unit(name, runs=False) for name in ("spice", "serial", "absent")]
    assert run(systemd.code, units=units)["actions"] == ["disable spice", "disable serial"]
    assert systemd.calls == ["disable --now spice serial"]
    assert not run(systemd.code, units=units)["changed"]
    assert len(systemd.calls) == 1


def test_only_what_reads_a_changed_section_is_restarted(run, systemd):
    systemd.add("nova-api", "nova-scheduler", "mariadb")
    start = [unit("nova-api"), unit("nova-scheduler"), unit("mariadb", action="reload")]
    run(systemd.code, units=start)
    systemd.calls.clear()
    result = run(systemd.code, units=[unit("nova-api", "2"), unit("nova-scheduler"), unit("mariadb", "2", action="reload")])
    assert result["actions"] == [
        "restart nova-api (changed: [DEFAULT] of /etc/x.conf)",
        "reload mariadb (changed: [DEFAULT] of /etc/x.conf)",
    ]
    assert systemd.calls == ["restart nova-api", "reload mariadb"]


def test_a_service_from_before_this_installer_is_restarted(run, systemd):
    systemd.add("nova-api")
    actions = run(systemd.code, units=[unit("nova-api")])["actions"]
    assert actions == ["restart nova-api (runs with a configuration from before this installer)"]


def test_check_mode_touches_nothing(run, systemd):
    systemd.add("nova-api", ActiveState="inactive", UnitFileState="disabled")
    systemd.add("not-yet", LoadState="not-found", ActiveState="inactive", UnitFileState="")
    result = run(systemd.code, check_mode=True, units=[unit("nova-api"), unit("not-yet")])
    assert result["changed"]
    assert systemd.calls == []
    assert not os.path.exists(systemd.code.unit_state.state_path())


def test_a_restart_that_failed_is_done_again_by_the_next_run(run, systemd):
    systemd.add("nova-api")
    run(systemd.code, units=[unit("nova-api")])
    systemd.starts["nova-api"] = "failed"
    with pytest.raises(Failed, match="nova-api"):
        run(systemd.code, units=[unit("nova-api", "2")])
    systemd.units["nova-api"]["ActiveState"] = "active"  # somebody started it, with whatever it had
    systemd.starts.clear()
    assert run(systemd.code, units=[unit("nova-api", "2")])["changed"]


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A file that units read: conf("text") writes it, conf.unit(name, digest) reads it; config_files marks it there."""
    path = tmp_path / "x.conf"

    class Conf:
        def __call__(self, text):
            path.write_text(text)
            path.chmod(0o640)

        def unit(self, name, ignores=(), **digests):
            return {"name": name, "reads": {str(path): {"DEFAULT": "1", **digests, **dict.fromkeys(ignores, "")}}}

    monkeypatch.setattr(Conf, "path", path, raising=False)
    return Conf()


def test_what_was_changed_by_hand_restarts_what_reads_it(run, systemd, conf, files):
    systemd.add("nova-api", "nova-scheduler", ActiveState="inactive")
    units = [conf.unit("nova-api", ignores=["scheduler"]), conf.unit("nova-scheduler", scheduler="1")]
    right = "[DEFAULT]\n# a comment\na = 1\n[scheduler]\nb = 1\n"
    conf(right)
    run(systemd.code, units=units)
    systemd.calls.clear()
    conf(right.replace("b = 1", "b = 2"))
    restart = [f"restart nova-scheduler (changed: [scheduler] of {conf.path})"]
    assert run(systemd.code, check_mode=True, units=units)["actions"] == restart
    assert run(load("config_files"), files=[files("x.conf", right)])["changed"]
    assert run(systemd.code, units=units)["actions"] == restart
    assert systemd.calls == ["restart nova-scheduler"]
    assert not run(systemd.code, units=units)["changed"]
    conf(right.replace("a comment", "another"))
    assert not run(systemd.code, check_mode=True, units=units)["changed"]
    conf.path.unlink()
    assert len(run(systemd.code, check_mode=True, units=units)["actions"]) == 2


def test_a_configuration_that_a_service_does_not_survive_is_put_back(run, systemd, conf):
    systemd.add("nova-api", "nova-scheduler", "libvirtd")
    units = [conf.unit("nova-api"), conf.unit("nova-scheduler"), {"name": "libvirtd", "reads": {}}]
    conf("[DEFAULT]\ngood = 1\n")
    run(systemd.code, units=units)
    conf("[DEFAULT]\nbad = 1\n")
    systemd.calls.clear()
    systemd.starts["nova-scheduler"] = lambda: "failed" if "bad" in conf.path.read_text() else "active"
    changed = [conf.unit("nova-api", DEFAULT="2"), conf.unit("nova-scheduler", DEFAULT="2"), {"name": "libvirtd", "reads": {}}]
    with pytest.raises(Failed) as failed:
        run(systemd.code, units=changed)
    assert failed.value.args[0]["msg"] == (
        f"service nova-scheduler does not run with its new configuration: failed (None); {conf.path} was put back as it was "
        "before, nova-api, nova-scheduler run again with it"
    )
    assert conf.path.read_text() == "[DEFAULT]\ngood = 1\n"
    assert stat.S_IMODE(conf.path.stat().st_mode) == 0o640
    assert systemd.calls == ["restart nova-api nova-scheduler"] * 2
    # The next run finds nothing but what is still asked for.
    assert not run(systemd.code, units=units)["changed"]
    assert len(run(systemd.code, check_mode=True, units=changed)["actions"]) == 2


def test_what_cannot_be_asked_must_live_a_while_with_a_changed_configuration(run, systemd, conf, monkeypatch):
    systemd.add("nova-scheduler", InvocationID="1")
    conf("[DEFAULT]\ngood = 1\n")
    run(systemd.code, units=[conf.unit("nova-scheduler")])
    conf("[DEFAULT]\nbad = 1\n")
    # systemd starts it again and again, so that it looks active at any single moment.
    monkeypatch.setattr(systemd.code.time, "sleep", lambda _seconds: systemd.units["nova-scheduler"].update(InvocationID="2"))
    with pytest.raises(Failed) as failed:
        run(systemd.code, units=[conf.unit("nova-scheduler", DEFAULT="2")])
    assert "died right after its start" in failed.value.args[0]["msg"]
    assert "put back" in failed.value.args[0]["msg"]


def test_the_first_start_of_what_cannot_be_asked_is_looked_at_once(run, systemd, conf, monkeypatch):
    systemd.add("nova-api")
    systemd.add("nova-scheduler", ActiveState="inactive")
    conf("[DEFAULT]\ngood = 1\n")
    run(systemd.code, units=[conf.unit("nova-api")])
    # Another service's configuration, which is known to be good, says nothing about the one that starts now.
    slept = []
    monkeypatch.setattr(systemd.code.time, "sleep", slept.append)
    run(systemd.code, units=[conf.unit("nova-scheduler")])
    assert not slept


def test_the_run_goes_on_while_a_service_starts_for_the_first_time(run, systemd, monkeypatch):
    systemd.add("glance-api", "keystone", ActiveState="inactive")
    asked = []
    monkeypatch.setattr(systemd.code, "answer", asked.append)
    units = [{**unit("glance-api", answers="10.0.0.11:9292"), "later": True}, unit("keystone", answers="10.0.0.11:5000")]
    result = run(systemd.code, units=units, unasked=[{"name": "earlier", "answers": None}])
    assert systemd.calls == ["start keystone", "start --no-block glance-api"]
    assert asked == ["10.0.0.11:5000"]
    later = result["ansible_facts"]["openstack_services_unasked"]
    glance = {"name": "glance-api", "answers": "10.0.0.11:9292", "invocation": None}
    assert later == [{"name": "earlier", "answers": None}, glance]
    # The last play asks, and every run after it asks at once.
    systemd.calls.clear()
    for again in (later[1:], units):
        asked.clear()
        result = run(systemd.code, units=again)
        assert (result["changed"], "10.0.0.11:9292" in asked, "ansible_facts" in result) == (False, True, False)
    assert systemd.calls == []


def test_what_ran_before_this_installer_is_waited_for(run, systemd, monkeypatch):
    """A run that was killed before it noted what it started: the next one restarts it, which makes another process of it."""
    systemd.add("glance-api", InvocationID="old")
    asked = []
    monkeypatch.setattr(systemd.code, "answer", asked.append)
    result = run(systemd.code, units=[{**unit("glance-api", answers="10.0.0.11:9292"), "later": True}])
    assert systemd.calls == ["restart glance-api"]
    assert (asked, "ansible_facts" in result) == (["10.0.0.11:9292"], False)
    systemd.add("nova-scheduler", ActiveState="inactive", InvocationID="old")
    unasked = run(systemd.code, units=[{**unit("nova-scheduler"), "later": True}])["ansible_facts"]["openstack_services_unasked"]
    systemd.units["nova-scheduler"]["InvocationID"] = "new"
    assert not run(systemd.code, units=unasked)["changed"]


def test_what_died_after_its_first_start_is_found_by_the_last_play(run, systemd):
    systemd.add("agent", ActiveState="inactive", InvocationID="1")
    unasked = run(systemd.code, units=[unit("agent")])["ansible_facts"]["openstack_services_unasked"]
    assert unasked == [{"name": "agent", "answers": None, "invocation": "1"}]
    assert not run(systemd.code, units=unasked)["changed"]
    # systemd starts it again and again, so that it looks active at any single moment.
    systemd.units["agent"]["InvocationID"] = "2"
    with pytest.raises(Failed, match="service agent: died right after its start"):
        run(systemd.code, units=unasked)
    # Unless it was another role that restarted it.
    again = run(systemd.code, units=[unit("agent", "2")], unasked=unasked)["ansible_facts"]["openstack_services_unasked"]
    assert again == [{"name": "agent", "answers": None, "invocation": "2"}]


def test_units_wait_for_those_that_they_come_after(run, systemd, monkeypatch):
    systemd.add("agent", "rpc", ActiveState="inactive")
    consumers = iter([set(), {"q-plugin"}])
    monkeypatch.setattr(systemd.code, "consumed_queues", lambda *_asked: systemd.calls.append("asked") or next(consumers))
    run(systemd.code, units=[unit("agent", after=["rpc"]), unit("rpc", queues=["q-plugin"])])
    assert systemd.calls == ["start rpc", "asked", "asked", "start agent"]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"LoadState": "masked"}, "unit x is masked on this host; run `systemctl unmask x` or remove the mask"),
        ({"LoadState": "not-found"}, "unit x does not exist on this host; is the package installed[?]"),
    ],
)
def test_units_that_cannot_run(run, systemd, properties, message):
    systemd.add("x", **properties)
    with pytest.raises(Failed, match=message):
        run(systemd.code, units=[unit("x")])


def test_a_unit_that_does_not_answer_is_named(run, systemd, monkeypatch):
    systemd.add("x")
    monkeypatch.setattr(systemd.code, "answer", lambda _target: "Connection refused")
    with pytest.raises(Failed, match=r"no answer within 0 s, last: 10\.0\.0\.11:80: Connection refused"):
        run(systemd.code, units=[unit("x", answers="10.0.0.11:80")], timeout=0)


def test_a_compute_service_that_somebody_disabled_is_not_waited_for():
    code, wanted = load("compute_services"), {("nova-compute", f"compute{n}") for n in range(1, 6)}
    rows = [
        ("enabled", "up", None),
        ("disabled", "up", "new disk"),
        ("disabled", "down", None),
        ("enabled", "down", None),
        ("disabled", "up", "AUTO: Connection to libvirt lost: 1"),
    ]
    services = [
        {"binary": "nova-compute", "host": f"compute{n}", "status": status, "state": state, "disabled_reason": reason}
        for n, (status, state, reason) in enumerate(rows, 1)
    ]
    assert code.missing(services, wanted) == [("nova-compute", f"compute{n}") for n in (3, 4, 5)]
    assert code.missing(services, {("nova-compute", "compute6")}) == [("nova-compute", "compute6")]
    assert code.disabled(services[:2] + services[4:]) == {("nova-compute", "compute2")}


def test_the_table_of_compute_services():
    rows = [
        {"binary": "nova-scheduler", "host": "controller", "zone": "internal", "status": "enabled", "state": "up", "id": 2},
        {"binary": "nova-compute", "host": "compute1", "zone": "nova", "status": "disabled", "state": "down", "id": 1},
    ]
    assert load("compute_services").table(rows) == [
        "Binary          Host        Zone      Status    State",
        "nova-compute    compute1    nova      disabled  down",
        "nova-scheduler  controller  internal  enabled   up",
    ]


def test_host_facts_read_addresses_and_packages(monkeypatch):
    code = load("host_facts")
    outputs = {
        "ip": (
            "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n"
            "2: eth0    inet 10.0.0.11/24 brd 10.0.0.255 scope global eth0\n"
            "2: eth0    inet6 fe80::1/64 scope link \n3: br-x:1    inet 10.1.0.1 peer 10.1.0.2/32 scope global br-x\n"
        ),
        "dpkg-query": (
            "install installed nova-api 2:26.2.2-1\ndeinstall config-files old 1.0\ninstall half-configured bad 1.0\n"
            "hold installed kept 2.0\nhold not-installed wanted \nunknown not-installed other \n"
        ),
        "systemctl": "nova-api.service masked enabled\nx.service enabled enabled\n",
        "ss": (
            'LISTEN 0 100 10.0.0.11:8774 0.0.0.0:* users:(("uwsgi",pid=12,fd=3),("uwsgi",pid=11,fd=3))\n'
            "LISTEN 0 100 [::]:22 [::]:*\n"
        ),
    }
    groups = {"/proc/12/cgroup": "0::/machine/libpod.scope/system.slice/nova-api.service/worker\n"}
    monkeypatch.setattr(code, "command", lambda *argv: outputs[argv[0]])
    assert code.addresses() == {"127.0.0.1": "lo", "10.0.0.11": "eth0", "fe80::1": "eth0", "10.1.0.1": "br-x:1"}
    assert code.packages() == ({"nova-api": "2:26.2.2-1", "kept": "2.0"}, {"bad": "half-configured"}, ["kept", "wanted"])
    assert code.unit_files(["nova-*"]) == {"nova-api.service": "masked", "x.service": "enabled"}
    monkeypatch.setattr(code, "read", lambda path: groups.get(path, ""))
    assert code.listening() == [
        {"port": 8774, "address": "10.0.0.11", "name": "uwsgi", "pid": 12, "unit": "nova-api.service"},
        {"port": 22, "address": "[::]", "name": "an unknown process", "pid": 0, "unit": ""},
    ]


def test_a_file_that_the_host_told_of_is_not_asked_for_again(tmp_path):
    code = load("host_facts")
    path = tmp_path / "nova.conf"
    path.write_text("[DEFAULT]\nmy_ip = 10.0.0.11\n")
    path.chmod(0o640)
    paths = [str(path), str(tmp_path / "gone")]
    told = {"openstack_host": {"files": code.file_digests(paths, answers.KEY)}}
    assert list(told["openstack_host"]["files"]) == [str(path)]
    owner = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}
    entry = {"path": str(path), "mode": "0640", **owner}
    assert answers.file_is_there(entry, path.read_text(), told)
    assert not answers.file_is_there(entry, path.read_text() + "debug = true\n", told)
    assert not answers.file_is_there({**entry, "mode": "0600"}, path.read_text(), told)
    other = {"openstack_host": {"files": code.file_digests(paths, b"of another run")}}
    assert not answers.file_is_there(entry, path.read_text(), other)
    assert not answers.file_is_there(entry, path.read_text(), {})
    assert not answers.file_is_there(entry, path.read_text(), told | {"ansible_facts": {"openstack_packages_new": []}})


def test_a_socket_rests_as_a_service_does(run, systemd, conf):
    """epmd's, which systemd knows by its full name."""
    systemd.add("epmd.socket")
    conf("[Socket]\nListenStream = 127.0.0.1:4369\n")
    unit = conf.unit("epmd.socket")
    run(systemd.code, units=[unit])
    code = load("host_facts")
    for active, rests in (("active", True), ("inactive", False)):
        told = code.services(code.unit_state.load_state(), answers.KEY, {"epmd.socket": "enabled"}, {"epmd.socket": active})
        assert answers.unit_rests(unit, {"openstack_host": {"services": told}, "ansible_facts": {}}) is rests


def test_a_service_with_which_nothing_is_left_to_do_is_not_asked_again(run, systemd, conf):
    systemd.add("agent", "scheduler")
    conf("[DEFAULT]\na = 1\n")
    agent = conf.unit("agent", ignores=["api"])
    run(systemd.code, units=[agent, conf.unit("scheduler")])
    code = load("host_facts")

    def rests(unit, enabled="enabled", active="active", facts=()):
        states = {"agent.service": enabled, "x.timer": "enabled"}
        running = {"agent.service": active, "scheduler.service": "active"}
        told = code.services(code.unit_state.load_state(), answers.KEY, states, running)
        variables = {"openstack_host": {"services": told}, "ansible_facts": dict(facts)}
        return answers.unit_rests(unit, variables)

    assert rests(agent)
    assert rests({**agent, "reads": {path: {**reads, "unused": ""} for path, reads in agent["reads"].items()}})
    # Its configuration, its state, or what is to be asked each time.
    assert not rests(conf.unit("agent", DEFAULT="2"))
    assert not rests({**agent, "reads": {**agent["reads"], "/etc/more": {"*": "1"}}})
    assert not rests(agent, enabled="disabled")
    assert not rests(agent, active="activating")
    assert not rests(conf.unit("scheduler"))  # not enabled
    assert not rests(conf.unit("unknown"))
    assert not rests({**agent, "answers": "controller:1"})
    assert not rests({**agent, "queues": ["agent"]})
    assert not rests({**agent, "invocation": "1"})
    # What shall not run.
    assert rests({"name": "x", "runs": False, "reads": {}})
    assert not rests({"name": "agent", "runs": False, "reads": {}})
    assert not rests({"name": "agent", "runs": False, "reads": {}}, enabled="disabled")
    # A run that died before the copy that a rollback needs was made, and a change by hand.
    conf("[DEFAULT]\na = 2\n")
    assert not rests(agent)
    conf("[DEFAULT]\na = 1\n")
    assert rests(agent)
    assert not answers.unit_rests(agent, {})
    noted = answers.noted({"changed": True})["ansible_facts"]
    for facts in ({"openstack_packages_new": []}, {"config_rights_corrected": [{}]}, noted):
        assert not rests(agent, facts=facts)
    assert rests(agent, facts={"config_rights_corrected": []})
    assert answers.noted({"changed": False, "ansible_facts": {"a": 1}}) == {"changed": False, "ansible_facts": {"a": 1}}
    assert answers.noted({"changed": True, "ansible_facts": {"a": 1}})["ansible_facts"] == {"a": 1, answers.CHANGED: True}


# ------------------------------------------------------------------------------------------------------------ Identity's keys


@pytest.fixture
def fernet(run, monkeypatch, tmp_path):
    """fernet(): a rotation; fernet.keys: the numbers there are; fernet.age(hours): all of it happened so much earlier."""
    code, directory = load("keystone_keys"), tmp_path / "fernet-keys"
    directory.mkdir()
    (tmp_path / "keystone.conf").write_text(f"[fernet_tokens]\nkey_repository = {directory}\n[token]\nexpiration = 7200\n")
    monkeypatch.setattr(code, "CONFIGURATION", str(tmp_path / "keystone.conf"))

    def rotate():
        """As keystone/common/fernet_utils.py does it."""
        numbers = {int(path.name) for path in directory.iterdir()}
        (directory / "0").rename(directory / str(max(numbers) + 1))
        (directory / "0").touch()
        signed = sorted(int(path.name) for path in directory.iterdir() if path.name != "0")
        for number in signed[:-2]:
            (directory / str(number)).unlink()

    def keystone_manage(argv, **_options):
        assert argv[:5] == ["runuser", "-u", "keystone", "--", "keystone-manage"]
        if argv[5] == "fernet_rotate":
            rotate()
        return subprocess.CompletedProcess(argv, 0, b"")

    def rotation(check_mode=False, repositories=("fernet",)):
        return run(code, check_mode, repositories=list(repositories))

    def age(hours):
        for path in directory.iterdir():
            os.utime(path, (path.stat().st_mtime - hours * 3600,) * 2)

    (directory / "0").touch()
    rotate()
    monkeypatch.setattr(code.subprocess, "run", keystone_manage)
    rotation.age, rotation.keys, rotation.code = age, lambda: sorted(int(path.name) for path in directory.iterdir()), code
    return rotation


def test_rotations_that_fail_again_and_again_purge_no_key_of_todays_tokens(fernet):
    """Each attempt rotated, and the third one purged what had signed the tokens from before the first."""
    fernet.age(1000)
    assert fernet.keys() == [0, 1]
    assert fernet()["changed"]
    for _attempt in range(3):
        for check_mode in (True, False):
            result = fernet(check_mode, repositories=("credential", "fernet"))
            assert result["actions"] == ["rotate the credential keys"]
            assert re.match(r"The fernet keys were rotated lately.* after 2\d{3}-\d\d-\d\d \d\d:\d\d; at", Module.warnings[0])
    assert fernet.keys() == [0, 1, 2]


@pytest.mark.parametrize(("hours", "rotated"), [(1, False), (49, False), (51, True), (1000, True)])
def test_keys_are_rotated_when_no_token_is_lost_by_it(fernet, hours, rotated):
    """Tokens of two hours, and two days more for what services do with one that has expired meanwhile."""
    fernet.age(1000)
    fernet()
    fernet.age(hours)
    assert fernet(check_mode=True)["changed"] is rotated
    assert fernet()["changed"] is rotated
    assert fernet.keys() == ([0, 2, 3] if rotated else [0, 1, 2])


def test_settings_of_keystone_are_read_and_nonsense_is_not(fernet, tmp_path):
    text = "[token]\nexpiration = soon\nallow_expired_window=60\n[fernet_tokens]\nmax_active_keys = 5\n"
    (tmp_path / "keystone.conf").write_text(text)
    assert fernet.code.settings() == {
        ("fernet_tokens", "key_repository"): "/etc/keystone/fernet-keys/",
        ("fernet_tokens", "max_active_keys"): 5,
        ("token", "expiration"): 3600,
        ("token", "allow_expired_window"): 60,
    }
    (tmp_path / "keystone.conf").unlink()
    assert fernet.code.settings() == fernet.code.DEFAULTS


# -------------------------------------------------------------------------------------------------------------- files


@pytest.fixture
def files(tmp_path):
    """config_files with files that belong to whoever runs the tests: entry(name, text, mode)."""
    owner, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name

    def entry(name, text, mode="0640"):
        content = b64encode(text.encode()).decode()
        return {"path": str(tmp_path / name), "owner": owner, "group": group, "mode": mode, "content": content}

    return entry


ON_HOSTS = [*LIBRARY.glob("*.py"), *LIBRARY.parent.glob("module_utils/**/*.py")]


@pytest.mark.parametrize("path", [path for path in ON_HOSTS if not path.name.startswith("sandbox_")], ids=lambda path: path.stem)
def test_modules_run_with_the_oldest_python_of_a_host(path):
    """Debian 11 has 3.9: no syntax and no zip(strict=) of a later one."""
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "zip"]
    assert not [node.lineno for node in calls if any(word.arg == "strict" for word in node.keywords)]


@pytest.mark.parametrize(
    ("sources", "unstable"),
    [
        ("Types: deb\nURIs: http://deb.debian.org/debian\nSuites: sid\nComponents: main\n", True),
        ("deb http://deb.debian.org/debian unstable main\n", True),
        ("Types: deb\nSuites: forky forky-updates\n", False),
        ("# deb http://deb.debian.org/debian sid main\ndeb http://deb.debian.org/debian forky main\n", False),
    ],
)
def test_unstable_is_told_from_the_next_stable_by_its_sources(tmp_path, sources, unstable):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(sources)
    assert load("host_facts").follows_unstable(str(tmp_path)) is unstable


def test_files_are_known_by_those_who_ask_later_while_they_are_there(run, files, tmp_path):
    code = load("config_files")
    run(code, files=[files("a", "1\n"), files("b", "1\n")])
    known = Path(unit_state.files_path())
    before = known.stat()
    assert json.loads(known.read_text()) == [str(tmp_path / "a"), str(tmp_path / "b")]
    # A second run writes nothing, a plan neither.
    run(code, files=[files("b", "2\n")])
    run(code, check_mode=True, files=[files("c", "1\n")])
    assert known.stat() == before
    (tmp_path / "a").unlink()
    run(code, files=[files("c", "1\n")])
    assert unit_state.load(known) == [str(tmp_path / "b"), str(tmp_path / "c")]


def test_a_shipped_file_is_kept_once(run, files, tmp_path):
    code, path = load("config_files"), tmp_path / "nova.conf"
    path.write_text("shipped\n")
    assert run(code, files=[files("nova.conf", "# Written by Kilonova\n1\n")])["kept"] == [f"{path}.orig"]
    result = run(code, files=[files("nova.conf", "# Written by Kilonova\n2\n")])
    assert (result["changed_files"], result["kept"]) == ([str(path)], [])
    path.write_text("shipped by an upgrade\n")
    assert run(code, files=[files("nova.conf", "# Written by Kilonova\n2\n")])["kept"] == []
    assert (tmp_path / "nova.conf.orig").read_text() == "shipped\n"
    assert path.read_text().endswith("2\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["nova.conf", "nova.conf.orig"]


def test_an_equal_file_is_left_alone_and_a_wrong_mode_corrected(run, files, tmp_path):
    code, path = load("config_files"), tmp_path / "deep" / "x"
    assert run(code, files=[files("deep/x", "1\n")])["changed"]
    before = path.stat()
    assert not run(code, files=[files("deep/x", "1\n")])["changed"]
    result = run(code, files=[files("deep/x", "1\n", "0600")])
    assert next(iter(result["notes"].values()))[0].startswith("owner, group and mode become")
    after = path.stat()
    assert (after.st_ino, after.st_mtime, stat.S_IMODE(after.st_mode)) == (before.st_ino, before.st_mtime, 0o600)


def test_check_mode_writes_nothing_and_shows_no_secret(run, files, tmp_path):
    code, path = load("config_files"), tmp_path / "x"
    path.write_text("password = old-canary\n")
    result = run(code, check_mode=True, files=[files("x", "password = new-canary\n"), files("new", "1\n")])
    assert result["changed_files"] == [str(path), str(tmp_path / "new")]
    assert result["secrets_changed"] == [str(path)]
    assert "canary" not in json.dumps(result)
    assert path.read_text() == "password = old-canary\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_plan_counts_rights_that_the_run_has_corrected_before(run, files, tmp_path):
    """config_rights comes first and gives its files to root and their service; then there is nothing left to write."""
    path, entry = tmp_path / "nova" / "nova.conf", files("nova/nova.conf", "1\n")
    path.parent.mkdir()
    path.write_text("1\n")
    path.chmod(0o644)
    directories = [{"path": str(path.parent), "owner": entry["owner"], "group": entry["group"], "package": "nova-common"}]
    corrected = run(load("config_rights"), check_mode=True, directories=directories)["ansible_facts"]["config_rights_corrected"]
    assert run(load("config_files"), check_mode=True, files=[entry])["changed"]
    assert not run(load("config_files"), check_mode=True, files=[entry], corrected=corrected)["changed"]
    run(load("config_rights"), directories=directories)
    assert not run(load("config_files"), files=[entry], corrected=corrected)["changed"]
    assert run(load("config_rights"), directories=directories)["ansible_facts"]["config_rights_corrected"] == []
    # The package comes again with this run, and its script gives the directory to others.
    arguments = {"directories": directories, "installed": ["nova-common"]}
    assert run(load("config_rights"), check_mode=True, **arguments)["changed"]
    assert not run(load("config_rights"), **arguments)["changed"]


def test_an_owner_that_does_not_exist(run, files):
    entry = {**files("x", "1\n"), "owner": "no-such-user"}
    with pytest.raises(Failed, match="is the package that owns the file installed"):
        run(load("config_files"), files=[entry])


def test_host_and_controller_hide_the_same():
    code, shown = load("config_files"), "password = (hidden)\nurl = a://b:(hidden)@c"
    assert Path(code.mask.__code__.co_filename).samefile(config_files.mask.__code__.co_filename)
    assert code.mask("password = canary\nurl = a://b:canary@c") == shown


# ----------------------------------------------------------------------------------------------------------- packages

SIMULATED = """NOTE: This is only a simulation!
Remv old-thing [1.0]
Inst nova-common (2:26.2.2-1 Debian:12.9/stable [all])
Inst libc6 [2.36-9] (2.36-10 Debian:12.9/stable [amd64]) []
Inst nova-api (2:26.2.2-1 Debian:12.9/stable [all])
Conf nova-common (2:26.2.2-1 Debian:12.9/stable [all])
"""


class Dpkg:
    """apt-get and dpkg in memory."""

    def __init__(self, code, monkeypatch, tmp_path):
        self.code, self.calls, self.packages, self.fails = code, [], {}, False
        self.policy, self.exclusions, self.modules = tmp_path / "policy-rc.d", tmp_path / "bcep" / "kilonova", tmp_path / "python"
        self.modules.mkdir()
        for name in ("policy", "exclusions"):
            monkeypatch.setattr(code, name.upper(), str(getattr(self, name)))
        monkeypatch.setattr(code, "PYTHON_MODULES", str(self.modules))
        self.real_call = code.call
        monkeypatch.setattr(code, "call", self.call)

    def call(self, *argv):
        words = [word for word in argv if not word.startswith("--") or word in ("--simulate", "--configure")]
        if argv[0] == "dpkg-query":
            return 0, "".join(f"{name} {status} ok\n" for name, status in self.packages.items())
        if "compileall" in argv:
            return self.real_call(*argv)
        self.calls.append((" ".join(words), self.policy.exists() and self.exclusions.exists()))
        if "--simulate" in argv:
            return 0, SIMULATED
        if self.fails:
            return 100, "Reading...\nE: Unable to fetch some archives\n"
        if argv[0] == "dpkg":
            self.packages = dict.fromkeys(self.packages, "installed")
        return 0, ""


@pytest.fixture
def dpkg(monkeypatch, tmp_path):
    """A host's packages."""
    return Dpkg(load("openstack_packages"), monkeypatch, tmp_path)


INSTALLED = [
    "install nova-api 2:26.2.2-1",
    "install nova-common 2:26.2.2-1",
    "remove old-thing 1.0",
    "upgrade libc6 2.36-9 to 2.36-10",
]


def test_packages_are_installed_with_their_services_held_back(run, dpkg):
    arguments = {"names": ["nova-api", "there"], "units": ["nova-*", "keystone*"], "removable": ["old-thing"]}
    dpkg.packages.update({"there": "installed", "old-thing": "installed"})
    planned = run(dpkg.code, check_mode=True, **arguments)
    assert planned["actions"] == INSTALLED
    assert planned["ansible_facts"]["openstack_packages_new"] == ["nova-api", "nova-common", "libc6"]
    assert planned["ansible_facts"]["openstack_packages_installed"] == ["libc6", "nova-api", "nova-common", "there"]
    assert [held for _call, held in dpkg.calls] == [False, False]
    dpkg.calls.clear()
    assert run(dpkg.code, **arguments)["actions"] == INSTALLED
    simulate = ("apt-get install --simulate nova-api", True)
    assert dpkg.calls == [("apt-get update", True), simulate, ("apt-get install nova-api", True)]
    assert not dpkg.policy.exists()
    dpkg.packages["nova-api"] = "installed"
    dpkg.calls.clear()
    assert not run(dpkg.code, **arguments)["changed"]
    assert dpkg.calls == []


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("removable", [[], ["old"], ["nova-common", "old-thing-else"]])
def test_nothing_is_removed_that_nobody_named(run, dpkg, check_mode, removable):
    dpkg.packages["old-thing"] = "installed"
    wanted = "Nothing was installed. apt would remove old-thing to install nova-api. Remove it yourself, or name it in openst"
    with pytest.raises(Failed, match=wanted):
        run(dpkg.code, check_mode, names=["nova-api"], units=["x"], removable=removable)
    assert [call for call, _held in dpkg.calls] == ["apt-get update", "apt-get install --simulate nova-api"]


@pytest.mark.parametrize(
    ("simulated", "guard"),
    [
        ("Inst nova-api (1 Debian [all])\n", True),
        ("Inst nova-api (1 Debian [all])\nRemv old-thing [1]\n", False),
        ("Inst nova-api (1 Debian [all])\nRemv old-thing:amd64 [1]\n", False),
    ],
)
def test_apt_itself_is_told_to_remove_nothing_where_nothing_is_planned(run, dpkg, simulated, guard, monkeypatch):
    seen = []

    def call(*argv):
        seen.append(argv)
        return (0, simulated) if "--simulate" in argv else dpkg.call(*argv)

    monkeypatch.setattr(dpkg.code, "call", call)
    run(dpkg.code, names=["nova-api"], units=["x"], removable=["old-thing"])
    done = [argv for argv in seen if "install" in argv and "--simulate" not in argv]
    assert ["--no-remove" in argv for argv in done] == [guard]


def test_byte_compilation_is_put_off_and_done_once(run, dpkg):
    (dpkg.modules / "service.py").write_text("answer = 42\n")
    dpkg.packages["nova-api"] = "installed"
    dpkg.code.put_off_compilation()  # and killed
    # The format of py3compile: kind, versions, directory.
    assert dpkg.exclusions.read_text().split("|")[:2] == ["dir", "3.0-"]
    actions = ["finish what a killed run left: the modules that it did not compile"]
    assert run(dpkg.code, names=["nova-api"], units=["x"])["actions"] == actions
    assert list(dpkg.modules.glob("__pycache__/service.*.pyc"))
    assert not dpkg.exclusions.exists()
    assert not run(dpkg.code, names=["nova-api"], units=["x"])["changed"]


def test_the_policy_holds_units_and_no_others(dpkg):
    dpkg.code.hold(["nova-*", "keystone*"])
    held = {name: os.spawnl(os.P_WAIT, str(dpkg.policy), "policy-rc.d", name) for name in ("nova-api", "keystone", "cron")}
    assert held == {"nova-api": 101, "keystone": 101, "cron": 0}


def test_what_a_killed_run_left_is_finished(run, dpkg):
    dpkg.code.hold(["nova-*"])
    dpkg.packages["nova-common"] = "half-configured"
    wanted = ["finish the installation of nova-common", "finish what a killed run left: the services that it held back"]
    assert run(dpkg.code, True, names=["nova-common"], units=["x"], removable=["old-thing"])["actions"] == [
        wanted[0],
        *INSTALLED,
        wanted[1],
    ]
    assert dpkg.policy.exists()
    dpkg.calls.clear()
    run(dpkg.code, names=["nova-common"], units=["x"], removable=["old-thing"])
    assert dpkg.calls[0] == ("dpkg --configure -a", True)
    assert not dpkg.policy.exists()


def test_a_policy_of_the_administrator_stays(run, dpkg):
    dpkg.policy.write_text("#!/bin/sh\nexit 101\n")
    run(dpkg.code, names=["nova-api"], units=["nova-*"], removable=["old-thing"])
    assert dpkg.policy.read_text() == "#!/bin/sh\nexit 101\n"


@pytest.mark.parametrize("check_mode", [False, True])
def test_apt_is_told_of_the_proxy_in_a_plan_as_well(run, dpkg, monkeypatch, check_mode):
    """Its file comes with the run. Who asks inside of the cloud is told of none (test_http.py)."""
    asked = []
    call = dpkg.call
    monkeypatch.setattr(dpkg.code, "call", lambda *argv: asked.append(argv) or call(*argv))
    arguments = {"names": ["nova-api"], "units": ["nova-*"], "removable": ["old-thing"]}
    proxies = {f"--option=Acquire::{kind}::Proxy=http://proxy.example.org:3128" for kind in ("http", "https")}
    run(dpkg.code, check_mode=check_mode, proxy="http://proxy.example.org:3128", **arguments)
    fetching = [argv for argv in asked if argv[0] == "apt-get"]
    assert fetching
    assert all(proxies <= set(argv) for argv in fetching)
    asked.clear()
    run(dpkg.code, check_mode=check_mode, **arguments)
    assert "Proxy" not in str(asked)


def test_services_are_released_when_apt_fails(run, dpkg):
    dpkg.fails = True
    with pytest.raises(Failed) as failed:
        run(dpkg.code, names=["nova-api"], units=["nova-*"])
    assert failed.value.args[0]["msg"] == "apt-get update: E: Unable to fetch some archives"
    assert not dpkg.policy.exists()


# ----------------------------------------------------------------------------------------------------------- keystone

PASSWORD = "p@ss:w/ord%41$x'#\""
REGION = "RegionOne"


def service(name="glance", kind="image", port=9292, **user):
    """One entry of keystone_endpoints_services."""
    endpoints = {interface: f"http://10.0.0.11:{port}" for interface in ("public", "internal", "admin")}
    user = {"name": name, "password": PASSWORD, "roles": ["admin", "service"], **user}
    return {"name": name, "type": kind, "description": f"OpenStack {kind.capitalize()}", "endpoints": endpoints, "user": user}


CREATE = [
    "create project service",
    "create region RegionOne",
    "create user glance",
    "add role admin to user glance in project service",
    "create role service",
    "add role service to user glance in project service",
    "create service glance",
    *(f"create endpoint image {interface} http://10.0.0.11:9292" for interface in ("public", "internal", "admin")),
]


@pytest.fixture
def keystone():
    """A Keystone that was bootstrapped and knows nothing else."""
    with Keystone("admin-password") as listening:
        yield listening


@pytest.fixture
def register(run):
    """register(keystone, services, check_mode) returns the actions."""
    code = load("keystone_endpoints")

    def registers(keystone, *services, check_mode=False, password="admin-password"):
        auth = {"auth_url": keystone.url, "password": password}
        return run(code, check_mode, auth=auth, region=REGION, services=list(services))["actions"]

    return registers


def test_an_empty_keystone_gets_everything_once(keystone, register):
    assert register(keystone, service()) == CREATE
    assert len(keystone.writes) == len(CREATE)
    glance = keystone.find("users", name="glance")
    assert keystone.passwords[glance["id"]] == PASSWORD
    assert len(keystone.roles_of) == 3
    assert keystone.find("endpoints", interface="public")["service_id"] == keystone.find("services", name="glance")["id"]
    keystone.writes.clear()
    assert register(keystone, service()) == []
    assert keystone.writes == []


def test_check_mode_predicts_everything_and_performs_nothing(keystone, register):
    before = keystone.state()
    assert register(keystone, service(), check_mode=True) == CREATE
    assert (keystone.writes, keystone.state()) == ([], before)


def test_a_second_service_shares_project_region_and_roles(keystone, register):
    register(keystone, service())
    actions = register(keystone, service(), service("nova", "compute", 8774))
    own = CREATE[2:4] + CREATE[5:]
    assert actions == [line.replace("glance", "nova").replace("image", "compute").replace("9292", "8774") for line in own]


def drifted(keystone, plural, _changes=None, **attributes):
    """Change an object behind the installer's back."""
    keystone.find(plural, **attributes).update(_changes or {})


def lose_role(keystone):
    """Take the role `service` from glance."""
    role, user = keystone.find("roles", name="service")["id"], keystone.find("users", name="glance")["id"]
    keystone.roles_of = {row for row in keystone.roles_of if row[1:] != (user, role)}


DRIFT = {
    "url": (
        lambda k: drifted(k, "endpoints", {"url": "http://old"}, interface="public"),
        "correct url of endpoint image public http://10.0.0.11:9292",
    ),
    "endpoint": (
        lambda k: drifted(k, "endpoints", {"enabled": False}, interface="admin"),
        "correct enabled of endpoint image admin http://10.0.0.11:9292",
    ),
    "description": (
        lambda k: drifted(k, "services", {"description": "x"}, name="glance"),
        "correct description of service glance",
    ),
    "service": (lambda k: drifted(k, "services", {"enabled": False}, name="glance"), "correct enabled of service glance"),
    "user": (lambda k: drifted(k, "users", {"enabled": False}, name="glance"), "correct enabled of user glance"),
    "project": (lambda k: drifted(k, "projects", {"enabled": False}, name="service"), "correct enabled of project service"),
    "password": (lambda k: k.passwords.update({k.find("users", name="glance")["id"]: "old"}), "set the password of user glance"),
    "role": (lose_role, "add role service to user glance in project service"),
}


@pytest.mark.parametrize("case", DRIFT)
def test_what_drifted_is_repaired_and_nothing_else(keystone, register, case):
    register(keystone, service())
    right = keystone.state()
    drift, action = DRIFT[case]
    drift(keystone)
    assert keystone.state() != right
    keystone.writes.clear()
    assert register(keystone, service()) == [action]
    assert len(keystone.writes) == 1
    assert keystone.state() == right


@pytest.mark.parametrize("case", DRIFT)
def test_check_mode_names_the_repair_and_performs_none(keystone, register, case):
    register(keystone, service())
    drift, action = DRIFT[case]
    drift(keystone)
    before = keystone.state()
    keystone.writes.clear()
    actions = register(keystone, service(), check_mode=True)
    assert (keystone.writes, keystone.state()) == ([], before)
    assert actions == [action]


@pytest.mark.parametrize(("limit", "pages"), [(1, False), (1, True), (2, False), (2, True), (3, True)])
def test_lists_that_keystone_cuts(keystone, register, limit, pages):
    """[DEFAULT] list_limit: what is not on the list is asked for by its name."""
    for name in ("a", "b", "z"):
        keystone.add("user", name=name, password="p")
        keystone.add("role", name=name)
        keystone.add("project", name=name)
        keystone.add("service", name=name, type=name)
        keystone.add("region", id=name)
    keystone.limit, keystone.pages = limit, pages
    assert register(keystone, service()) == CREATE
    right = keystone.state()
    assert register(keystone, service(), check_mode=True) == []
    assert register(keystone, service(), service("glance", "image", 9292)) == []
    assert keystone.state() == right


@pytest.mark.parametrize(
    ("plural", "name", "there"),
    [
        ("users", "glance", "Glance"),
        ("projects", "service", "SERVICE"),
        ("roles", "service", "Service"),
        ("services", "glance", "GLANCE"),
        ("domains", "Default", "default"),
    ],
)
def test_names_are_compared_as_the_database_does(keystone, register, plural, name, there):
    """Another one could not be made (409); the name stays as somebody wrote it."""
    register(keystone, service())
    keystone.find(plural, name=name)["name"] = there
    before = keystone.state()
    assert register(keystone, service(), check_mode=True) == []
    assert register(keystone, service()) == []
    assert keystone.state() == before
    # What differs in it is put right all the same.
    if plural == "users":
        keystone.find("users", name=there)["enabled"] = False
        assert register(keystone, service()) == ["correct enabled of user glance"]
        assert keystone.find("users", name=there)["enabled"]


@pytest.mark.parametrize(
    ("one", "other", "right"),
    [
        ("Nova", "nova", True),
        ("nóva", "NOVA", True),
        ("nova ", "nova", True),
        ("nova", "nova2", False),
        (" nova", "nova", False),
        (None, None, True),
        (True, True, True),
        (None, "nova", False),
    ],
)
def test_what_is_alike_to_mariadb(one, other, right):
    """utf8mb3_general_ci."""
    assert load("keystone_endpoints").alike(one, other) is right


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("limit", [None, 1])
def test_a_service_of_another_name_is_not_taken_over(keystone, register, check_mode, limit):
    theirs = keystone.add("service", name="images-of-old", type="image")
    keystone.limit = limit
    before = keystone.objects["services"][theirs["id"]].copy()
    with pytest.raises(Failed) as failed:
        register(keystone, service(), check_mode=check_mode)
    said = failed.value.args[0]["msg"]
    assert f"service images-of-old of type image is there (ID {theirs['id']}), which the install guide calls glance" in said
    assert f"`openstack service set --name glance {theirs['id']}`" in said
    assert keystone.objects["services"] == {theirs["id"]: before}
    # Both may be there: then it is clear which is meant.
    keystone.add("service", name="glance", type="image", description=service()["description"])
    assert not any("service glance" in line for line in register(keystone, service(), check_mode=check_mode))
    assert keystone.objects["services"][theirs["id"]] == before


def test_a_region_in_other_letters_is_refused(keystone, register):
    """Keystone takes it for the same, and clients do not."""
    keystone.add("region", id="regionone")
    with pytest.raises(Failed, match="region regionone is there; set openstack_region to it"):
        register(keystone, service())


def test_a_domain_that_is_not_there(keystone, register):
    keystone.objects["domains"]["default"]["name"] = "Other"
    with pytest.raises(Failed, match="there is no domain Default"):
        register(keystone, service())


def test_a_wrong_administrators_password_stops_the_run_and_is_not_shown(keystone, register):
    with pytest.raises(Failed) as failed:
        register(keystone, service(), password="wrong-canary")
    message = failed.value.args[0]["msg"]
    assert message.startswith(f"Keystone at {keystone.url} (user admin): ")
    assert "canary" not in message


def test_no_keystone_is_an_error_but_not_in_check_mode(register):
    with Keystone("admin-password") as gone:
        pass
    with pytest.raises(Failed, match="Keystone at"):
        register(gone, service())
    predicted = register(gone, service(), check_mode=True)
    assert set(predicted) <= set(CREATE)
    assert {line for line in CREATE if line.split()[1] in ("user", "service", "endpoint")} <= set(predicted)


PRESENT = ("create project service", "create region RegionOne", "create role service")  # in every deployed cloud
# KILONOVA_KEYSTONE_URL=http://10.20.0.11:5000/v3 KILONOVA_KEYSTONE_PASSWORD_FILE=... : the same questions to a real one, in
# check mode only. A service that is there is taken as it is; what is then asked for differs from it in one thing.
REAL = os.environ.get("KILONOVA_KEYSTONE_URL")


@pytest.fixture(scope="module")
def real():
    """A running Keystone as the administrator sees it, with one of its services as we would ask for it."""
    password = Path(os.environ["KILONOVA_KEYSTONE_PASSWORD_FILE"]).read_text().strip()
    auth = {"auth_url": REAL, "username": "admin", "password": password, "project_name": "admin"}
    auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
    identity = openstack.connect(load_yaml_config=False, load_envvars=False, auth=auth, identity_endpoint_override=REAL).identity

    def asked_for():  # not everything: others may work with this cloud meanwhile
        found = {kind: identity.get(f"/{kind}").json()[kind] for kind in ("users", "roles", "services", "endpoints", "regions")}
        found["users"] = [user for user in found["users"] if user["name"] in ("glance", "new")]
        return found

    before = asked_for()
    there = next(item for item in before["services"] if item["type"] == "image")
    urls = {
        item["interface"]: item["url"]
        for item in before["endpoints"]
        if (item["service_id"], item["region_id"]) == (there["id"], REGION)
    }
    entry = {"name": there["name"], "type": "image", "description": there["description"], "endpoints": urls}
    yield type("Real", (), {"url": REAL, "password": password, "entry": entry})
    assert asked_for() == before


@pytest.mark.skipif(not REAL, reason="KILONOVA_KEYSTONE_URL names no running Keystone")
@pytest.mark.parametrize(
    ("change", "actions"),
    [
        (lambda entry: None, lambda entry: []),
        (
            lambda entry: entry["endpoints"].update(public="http://changed"),
            lambda entry: ["correct url of endpoint image public http://changed"],
        ),
        (lambda entry: entry.update(description="changed"), lambda entry: ["correct description of service glance"]),
        (
            lambda entry: entry.update(user={"name": "glance", "password": "not the password", "roles": ["admin", "reader"]}),
            lambda entry: ["set the password of user glance", "add role reader to user glance in project service"],
        ),
        (
            lambda entry: entry.update(service("new", "new")),
            lambda entry: [line.replace("glance", "new").replace("image", "new") for line in CREATE if line not in PRESENT],
        ),
    ],
)
def test_a_real_keystone_is_read_right_and_not_changed(real, register, change, actions):
    entry = json.loads(json.dumps(real.entry))
    change(entry)
    assert register(real, entry, check_mode=True, password=real.password) == actions(entry)


# ----------------------------------------------------------------------------------------------------------- migration


PUBLIC = {n: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + str(n).rjust(43, "A") for n in (1, 32, 33)}


@pytest.fixture
def migration(run, monkeypatch, tmp_path):
    """The module on a host whose user nova has its home below tmp_path."""
    code = load("migration_keys")
    (tmp_path / "nova").mkdir()
    account = pwd.struct_passwd(("nova", "x", os.getuid(), os.getgid(), "", str(tmp_path / "nova"), "/bin/sh"))
    monkeypatch.setattr(code.pwd, "getpwnam", lambda name: account)
    (tmp_path / "host.pub").write_text(f"{PUBLIC[1]} root@compute1\n")
    monkeypatch.setattr(kilonova_migration, "HOST_KEY", str(tmp_path / "host.pub"))
    monkeypatch.setattr(kilonova_migration, "DROP_INS", (str(tmp_path / "sshd.conf"), str(tmp_path / "ssh.conf")))
    monkeypatch.setattr(unit_state, "DIRECTORY", str(tmp_path / "state"))

    def runs(check_mode=False, **arguments):
        return run(code, check_mode, directory=str(tmp_path / "ssh"), **arguments)

    runs.told = lambda: {"openstack_host": {"migration": kilonova_migration.told(str(tmp_path / "ssh"))}}
    return runs


def rows(**of_nodes):
    """The argument `lists`: n32=None or "" for a node whose key is to come or was not asked for."""
    keys = {int(name[1:]): PUBLIC[int(name[1:])] if asked is True else asked for name, asked in of_nodes.items()}
    return json.dumps(
        {
            "authorized_keys": [(f"10.0.0.{n}", key and f'from="10.0.0.{n}",restrict {key}') for n, key in keys.items()],
            "known_hosts": [(f"10.0.0.{n}", key and f"10.0.0.{n},node{n} {key}") for n, key in keys.items()],
        }
    )


needs_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")


@needs_keygen
def test_a_compute_nodes_key_is_made_once_and_stays_private(migration, tmp_path):
    assert migration(True)["peer"] == {"key": "", "host_key": PUBLIC[1]}
    assert not (tmp_path / "nova/.ssh").exists()
    made = migration()
    assert made["changed"]
    assert made["peer"]["key"] == " ".join((tmp_path / "nova/.ssh/id_ed25519.pub").read_text().split()[:2])
    assert stat.S_IMODE((tmp_path / "nova/.ssh").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "nova/.ssh/id_ed25519").stat().st_mode) == 0o600
    for check_mode in (True, False):
        again = migration(check_mode)
        assert (again["changed"], again["actions"], again["peer"]) == (False, [], made["peer"])
    told = migration.told()
    assert answers.migration_peer(told) == made["peer"]
    assert answers.migration_peer(told | {"ansible_facts": {answers.CHANGED: True}}) is None
    # What is beside the private key does not matter.
    for text in (None, "root:$y$secret:1::", f"{PUBLIC[32]}\n"):
        (tmp_path / "nova/.ssh/id_ed25519.pub").unlink(missing_ok=True)
        if text:
            (tmp_path / "nova/.ssh/id_ed25519.pub").write_text(text)
        assert migration()["peer"] == made["peer"]
        assert answers.migration_peer(migration.told()) == made["peer"]
    (tmp_path / "nova/.ssh/id_ed25519").unlink()
    assert answers.migration_peer(migration.told()) is None
    assert answers.migration_peer({"openstack_host": {"migration": None}}) is None


@needs_keygen
def test_a_run_that_was_killed_while_it_made_the_key(migration, tmp_path):
    for left in ("id_ed25519.kilonova", "id_ed25519.kilonova.pub", "id_ed25519.pub"):
        (tmp_path / "nova/.ssh").mkdir(exist_ok=True)
        (tmp_path / "nova/.ssh" / left).write_text("half")
        assert migration(True)["actions"] == [f"create {tmp_path}/nova/.ssh/id_ed25519"]
        assert migration()["peer"]["key"].startswith("ssh-ed25519 AAAA")
        assert sorted(path.name for path in (tmp_path / "nova/.ssh").iterdir()) == ["id_ed25519", "id_ed25519.pub"]
        shutil.rmtree(tmp_path / "nova/.ssh")


@needs_keygen
@pytest.mark.parametrize("wrong", ["empty", "rsa", "passphrase", "open", "directory", "dangling", "fifo"])
def test_a_key_that_cannot_be_used_is_named_and_kept(migration, monkeypatch, tmp_path, wrong):
    path = tmp_path / "nova/.ssh/id_ed25519"
    path.parent.mkdir()
    kind, phrase = ("rsa", "") if wrong == "rsa" else ("ed25519", "long enough" if wrong == "passphrase" else "")
    if wrong in ("rsa", "passphrase", "open"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", path], check=True)
    elif wrong == "directory":
        path.mkdir()
    elif wrong == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif wrong == "fifo":
        os.mkfifo(path)
    else:
        path.touch(mode=0o600)
    if wrong == "open":
        path.chmod(0o644)
    before = path.lstat()
    monkeypatch.setattr(kilonova_migration, "PATIENCE", 1)
    for check_mode in (True, False):
        with pytest.raises(Failed, match=r"is no ed25519 key that user nova can use without a passphrase .*; move it away"):
            migration(check_mode)
    assert answers.migration_peer(migration.told()) is None
    found = path.lstat()
    # Not when it was read.
    kept = ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns")
    assert [getattr(found, name) for name in kept] == [getattr(before, name) for name in kept]


@needs_keygen
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nova")
def test_links_in_novas_home_give_nothing(run, monkeypatch, tmp_path):
    """As the module does it: root runs it, and nova is another user."""
    nobody = pwd.getpwnam("nobody")
    code, account = load("migration_keys"), pwd.struct_passwd(("nova", "x", nobody.pw_uid, nobody.pw_gid, "", "", "/bin/sh"))
    # A directory of pytest is root's alone.
    home = Path(tempfile.mkdtemp(dir="/var/tmp"))
    secret = home / "secret"
    try:
        home.chmod(0o755)
        (home / "nova").mkdir()
        os.chown(home / "nova", account.pw_uid, account.pw_gid)
        account = pwd.struct_passwd((*account[:5], str(home / "nova"), "/bin/sh"))
        monkeypatch.setattr(code.pwd, "getpwnam", lambda name: account)
        (home / "host.pub").write_text(f"{PUBLIC[1]}\n")
        monkeypatch.setattr(kilonova_migration, "HOST_KEY", str(home / "host.pub"))
        secret.mkdir(mode=0o700)
        # ~/.ssh is a link to a directory of root's: nothing is made there, and it stays root's.
        (home / "nova/.ssh").symlink_to(secret)
        with pytest.raises(Failed, match="Permission denied"):
            run(code, directory=str(home / "ssh"))
        assert list(secret.iterdir()) == []
        assert secret.stat().st_uid == 0
        # The key is a link to root's, or root's itself, as an earlier version's killed run left it.
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", secret / "id_ed25519"], check=True)
        for linked in (True, False):
            (home / "nova/.ssh").unlink() if (home / "nova/.ssh").is_symlink() else shutil.rmtree(home / "nova/.ssh")
            (home / "nova/.ssh").mkdir()
            if linked:
                (home / "nova/.ssh/id_ed25519").symlink_to(secret / "id_ed25519")
            else:
                shutil.copy2(secret / "id_ed25519", home / "nova/.ssh/id_ed25519")
            with pytest.raises(Failed, match=r"Permission denied.*; move it away"):
                run(code, directory=str(home / "ssh"))
            assert kilonova_migration.told(str(home / "ssh"))["key"] == ""
        # With nothing in the way, the key is nova's from the beginning.
        shutil.rmtree(home / "nova/.ssh")
        assert run(code, directory=str(home / "ssh"))["changed"]
        assert {path.stat().st_uid for path in (home / "nova").rglob("*")} == {account.pw_uid}
    finally:
        shutil.rmtree(home)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "root:$y$j9T$abc:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
        "ssh-rsa AAAAB3NzaC1yc2E x\n",
        f"{PUBLIC[1]}\n{PUBLIC[32]}\n",
        f'command="x" {PUBLIC[1]}\n',
        f"{PUBLIC[1][:-1]}\n",
        f"{PUBLIC[1]}AAAA\n",
        PUBLIC[1].replace("AAAAI", "AAAA "),
        "ssh-ed25519 HOST\n",
    ],
)
def test_what_is_no_public_key_is_passed_on_to_nobody(migration, tmp_path, monkeypatch, text):
    assert kilonova_migration.public_key(text) == ""
    (tmp_path / "host.pub").write_text(text)
    monkeypatch.setattr(kilonova_migration, "SSHD", "/bin/sh")
    for check_mode in (True, False):
        with pytest.raises(Failed, match="is no public key of this host; run `ssh-keygen -A` and `systemctl reload ssh`"):
            migration(check_mode)
    # In a plan, sshd may still be to come.
    monkeypatch.setattr(kilonova_migration, "SSHD", "/nonexistent")
    assert migration(True)["peer"]["host_key"] == ""


def test_peers_are_let_in_kept_and_forgotten(migration, tmp_path):
    assert migration(True, lists=rows(n32=True, n33=True))["changed"]
    assert not (tmp_path / "ssh").exists()
    done = migration(lists=rows(n32=True, n33=True))
    assert done["actions"] == [f"write {tmp_path}/ssh/authorized_keys", f"write {tmp_path}/ssh/known_hosts"]
    allowed = f'from="10.0.0.32",restrict {PUBLIC[32]}\nfrom="10.0.0.33",restrict {PUBLIC[33]}\n'
    assert (tmp_path / "ssh/authorized_keys").read_text() == allowed
    assert (tmp_path / "ssh/known_hosts").read_text() == f"10.0.0.32,node32 {PUBLIC[32]}\n10.0.0.33,node33 {PUBLIC[33]}\n"
    # A run with --limit does not ask everybody.
    assert not migration(lists=rows(n32=True, n33=""))["changed"]
    assert (tmp_path / "ssh/authorized_keys").read_text() == allowed
    # A plan: a key is to come.
    assert migration(True, lists=rows(n32=True, n33=None))["changed"]
    # A node that has left the inventory, and one that no run has asked so far.
    assert migration(lists=rows(n32=True, n1=""))["changed"]
    assert "10.0.0.33" not in (tmp_path / "ssh/authorized_keys").read_text() + (tmp_path / "ssh/known_hosts").read_text()
    assert not migration(lists=rows(n32=True, n1=""))["changed"]


def test_peers_that_are_let_in_are_not_asked_for_again(migration, tmp_path):
    digests = {
        name: kilonova_migration.digest("".join(f"{line}\n" for _address, line in found))
        for name, found in json.loads(rows(n32=True, n33=True)).items()
    }

    def lets_in(of=digests, **facts):
        return answers.lets_in(of, {**migration.told(), "ansible_facts": facts})

    assert not lets_in()
    migration(lists=rows(n32=True, n33=True))
    assert lets_in()
    assert not lets_in(openstack_packages_new=[])
    assert not lets_in({**digests, "known_hosts": None})
    assert not lets_in({**digests, "known_hosts": digests["authorized_keys"]})
    with (tmp_path / "ssh/authorized_keys").open("a") as stream:
        stream.write("# by hand\n")
    assert not lets_in()
    assert not answers.lets_in(digests, {})


def test_a_host_that_takes_no_part_any_more_lets_nobody_in(migration, tmp_path, monkeypatch):
    systemctl = []
    monkeypatch.setattr(Module, "run_command", lambda _self, command: systemctl.append(command) or (0, "", ""), raising=False)
    assert not migration(state="absent")["changed"]
    assert not answers.takes_part_in_migrations(migration.told())
    assert answers.takes_part_in_migrations({})
    migration(lists=rows(n32=True))
    (tmp_path / "ssh/command").write_text("#!/bin/sh\n")
    (tmp_path / "sshd.conf").write_text("# Written by Kilonova\nMatch User nova\n")
    (tmp_path / "ssh.conf").write_text("# my own\n")
    unit_state.save_state({"ssh": {"/x": {"*": "digest"}}, "nova-compute": {"/y": {"*": "digest"}}})
    assert answers.takes_part_in_migrations(migration.told())
    paths = [
        *(tmp_path / "ssh" / name for name in ("authorized_keys", "known_hosts")),
        tmp_path / "sshd.conf",
        tmp_path / "ssh/command",
        tmp_path / "ssh",
    ]
    planned = migration(True, state="absent")
    assert planned["actions"] == [*(f"remove {path}" for path in paths), "reload ssh"]
    assert all(path.exists() for path in paths)
    assert migration(state="absent")["actions"] == planned["actions"]
    assert not any(path.exists() for path in paths)
    assert (tmp_path / "ssh.conf").exists()
    assert systemctl == [["systemctl", "try-reload-or-restart", "ssh"]]
    # When it takes part again, sshd has to read its file again.
    assert unit_state.load_state() == {"nova-compute": {"/y": {"*": "digest"}}}
    assert migration(state="absent") == {"changed": False, "actions": [], "diff": {"before": "", "after": ""}}


def test_sshd_is_told_by_the_next_run_when_this_one_is_killed(migration, tmp_path, monkeypatch):
    def killed(_self, _command):
        raise KeyboardInterrupt

    migration(lists=rows(n32=True))
    monkeypatch.setattr(Module, "run_command", killed, raising=False)
    with pytest.raises(KeyboardInterrupt):
        migration(state="absent")
    assert list((tmp_path / "ssh").iterdir()) == []
    monkeypatch.setattr(Module, "run_command", lambda _self, _command: (0, "", ""), raising=False)
    assert migration(state="absent")["actions"] == [f"remove {tmp_path}/ssh", "reload ssh"]
    assert not migration(state="absent")["changed"]


def test_no_call_is_written_into_the_hosts_journal():
    """Ansible logs every call there, and finds no password in it that Python has to escape: a quote or a backslash is enough."""
    settings = configparser.ConfigParser()
    settings.read(LIBRARY.parent / "ansible.cfg", encoding="utf-8")
    assert settings.getboolean("defaults", "no_target_syslog")


# ------------------------------------------------------------------------------------------- ebtables of the Linux bridge agent

CHAIN = """Bridge table: nat

Bridge chain: neutronMAC-tap1, entries: 3, policy: RETURN
1 -i tap1 --among-src fa:16:3e:ac:33:54 -j RETURN
2 -i tap1 --among-src fa:16:3e:ac:33:55 -j RETURN
3 -j DROP
"""


@pytest.mark.parametrize(
    ("arguments", "asked", "status"),
    [
        ("-t nat --concurrent -L", ["-t nat --concurrent -L"], 0),
        ("-t nat --concurrent -D neutronARP-tap1 -p ARP -j DROP", ["-t nat --concurrent -D neutronARP-tap1 -p ARP -j DROP"], 0),
        (
            "-t nat --concurrent -D neutronMAC-tap1 -i tap1 --among-src fa:16:3e:ac:33:55 -j RETURN",
            ["-t nat --concurrent -L neutronMAC-tap1 --Ln", "-t nat --concurrent -D neutronMAC-tap1 2"],
            0,
        ),
        (
            "-t nat --concurrent -D neutronMAC-tap1 -i tap2 --among-src fa:16:3e:ac:33:55 -j RETURN",
            ["-t nat --concurrent -L neutronMAC-tap1 --Ln"],
            1,
        ),
    ],
)
def test_a_rule_with_a_list_of_addresses_is_deleted_by_its_number(tmp_path, arguments, asked, status):
    real, calls, program = tmp_path / "real", tmp_path / "calls", tmp_path / "ebtables"
    real.write_text(f"#!/bin/sh\necho \"$@\" >> {calls}\ncat <<'EOF'\n{CHAIN}EOF\n")
    program.write_text((ROLES.parent / "templates/openstack-ebtables.sh.j2").read_text().replace("/usr/sbin/ebtables", str(real)))
    for path in (real, program):
        path.chmod(0o755)
    done = subprocess.run([program, *arguments.split()], capture_output=True, text=True, check=False)
    assert (done.returncode, calls.read_text().splitlines()) == (status, asked), done.stderr
    assert status == 0 or "there is no such rule in chain neutronMAC-tap1" in done.stderr


# ----------------------------------------------------------------------------------------------- servers of somebody else

DB = "10.0.0.90"
NOVA = {"user": "nova", "password": "p@ss/ü", "variable": "openstack_nova_dbpass", "databases": ["nova_api", "nova"]}


def driver(connect):
    """PyMySQL, which is not everywhere where tests run."""
    return SimpleNamespace(connect=connect, MySQLError=type("MySQLError", (Exception,), {}))


class Server:
    """MariaDB elsewhere: `accounts` has user -> (password, databases); `admin` may do everything."""

    def __init__(self, accounts):
        self.accounts, self.databases, self.asked = accounts, {"billing"}, []

    def connect(self, code, **arguments):
        """As pymysql.connect."""
        assert (arguments["host"], arguments["port"]) == (DB, 3307)
        self.asked.append((arguments["user"], arguments.get("database")))
        password, databases = self.accounts.get(arguments["user"], (None, ()))
        error = code.database.pymysql.MySQLError
        if password is None or arguments["password"] != password.encode():
            raise error(1045, f"Access denied for user '{arguments['user']}'")
        if arguments.get("database") and arguments["database"] not in databases:
            raise error(1044, "Access denied")
        return MagicMock()


@pytest.fixture
def elsewhere(run, monkeypatch):
    """elsewhere(accounts, login): what service_database says of Nova's account on such a server."""

    def said(accounts, check_mode=False, **login):
        code, server = load("service_database"), Server(accounts)
        monkeypatch.setattr(code.database, "port_answers", lambda *_asked: None)
        monkeypatch.setattr(code.database, "pymysql", driver(lambda **arguments: server.connect(code, **arguments)))
        login = {"host": DB, "port": 3307, **login}
        return run(code, check_mode, accounts=[NOVA], hosts=["localhost", "FD00:0::11"], login=login)

    return said


@pytest.mark.parametrize("check_mode", [False, True])
def test_databases_that_must_be_there_and_are(elsewhere, check_mode):
    result = elsewhere({"nova": ("p@ss/ü", ["nova_api", "nova"])}, check_mode)
    assert (result["changed"], result["actions"], result["right"]) == (False, [], ["nova"])


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_must_be_there_is_named_with_the_statements_that_make_it(elsewhere, check_mode):
    with pytest.raises(Failed) as failed:
        elsewhere({"nova": ("another", ["nova_api", "nova"])}, check_mode)
    assert ast.literal_eval(str(failed.value))["msg"] == (
        "openstack_database_admin_user is not set, so what is missing there is not made here. MariaDB at 10.0.0.90:3307 refuses "
        "the password of account nova (1045); run there: CREATE DATABASE IF NOT EXISTS `nova_api`; "
        "CREATE DATABASE IF NOT EXISTS `nova`; CREATE USER IF NOT EXISTS 'nova'@'fd00::11'; "
        "ALTER USER 'nova'@'fd00::11' IDENTIFIED BY '<openstack_nova_dbpass>'; "
        r"GRANT ALL PRIVILEGES ON `nova\_api`.* TO 'nova'@'fd00::11'; GRANT ALL PRIVILEGES ON `nova`.* TO 'nova'@'fd00::11';"
    )


def test_one_database_that_is_missing_is_named_alone(elsewhere):
    with pytest.raises(Failed) as failed:
        elsewhere({"nova": ("p@ss/ü", ["nova"])})
    said = str(failed.value)
    assert "account nova use database nova_api (1044); run there: CREATE DATABASE IF NOT EXISTS `nova_api`; GRANT" in said
    assert "CREATE USER" not in said
    assert "p@ss" not in said


def test_the_administrator_of_another_server_removes_nobody(run, monkeypatch):
    code, server = load("service_database"), Accounts("p@ss/ü")
    server.account = ("10.0.0.77", "mysql_native_password", "of somebody")
    monkeypatch.setattr(code.database, "connect", lambda _module: server)
    login = {"host": DB, "port": 3307, "user": "admin", "password": "of-the-administrator"}
    actions = run(code, accounts=[NOVA], hosts=["10.0.0.11"], login=login)["actions"]
    assert "create account 'nova'@'10.0.0.11'" in actions
    assert not [action for action in actions if action.startswith("remove")]
    assert "remove account 'nova'@'10.0.0.77'" in run(code, accounts=[NOVA], hosts=["10.0.0.11"])["actions"]


@pytest.mark.parametrize(("works", "action"), [(True, []), (False, ["set the password of 'nova'@'10.0.0.11'"])])
def test_a_password_that_another_plugin_stores_is_tried(run, monkeypatch, works, action):
    code, server = load("service_database"), Accounts("p@ss/ü")
    server.account = ("10.0.0.11", "ed25519", "what nobody can compare")
    monkeypatch.setattr(code.database, "connect", lambda _module: server)

    def connect(**arguments):
        assert (arguments["user"], arguments["password"]) == ("nova", "p@ss/ü".encode())
        if not works:
            raise code.database.pymysql.MySQLError(1045, "no")
        return MagicMock()

    monkeypatch.setattr(code.database, "pymysql", driver(connect))
    login = {"host": DB, "port": 3307, "user": "admin", "password": "of-the-administrator"}
    done = run(code, accounts=[NOVA], hosts=["10.0.0.11"], login=login)["actions"]
    assert [one for one in done if "password" in one or "account" in one] == action


LOOKING = ["schema_sync", "nova_databases", "nova_hosts", "keystone_bootstrap", "keystone_endpoints", "compute_removal"]


@pytest.mark.parametrize("name", LOOKING)
def test_every_module_that_looks_into_a_database_takes_the_login(name, monkeypatch):
    assert argument_spec(name, monkeypatch)["login"] == load("service_database").database.LOGIN


def test_how_to_connect():
    database = importlib.import_module("ansible.module_utils.kilonova.database")
    module = MagicMock(params={"unix_socket": "/run/x.sock", "login": None})
    assert database.arguments(module) == {"unix_socket": "/run/x.sock", "user": "root"}
    module.params["login"] = {"host": "fd00::90", "port": 3307, "user": "nova", "password": "ü"}
    assert database.arguments(module) == {
        "host": "fd00::90",
        "port": 3307,
        "user": "nova",
        "password": "ü".encode(),
        "connect_timeout": 10,
    }
    assert database.where(module) == "at [fd00::90]:3307"


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_server_of_others_that_does_not_let_us_in_ends_a_plan_too(run, monkeypatch, check_mode, tmp_path):
    """Nothing of this run would bring it."""
    code = load("schema_sync")
    revision(tmp_path, "a")

    def connect(**_arguments):
        raise code.database.pymysql.MySQLError(1045, "Access denied")

    monkeypatch.setattr(code.database, "pymysql", driver(connect))
    login = {"host": DB, "port": 3307, "user": "nova", "password": "canary"}
    with pytest.raises(Failed, match=r"MariaDB does not answer at 10\.0\.0\.90:3307"):
        run(code, check_mode, databases=["nova"], migrations=str(tmp_path), commands=[["sync"]], user="nova", login=login)


def test_queues_of_another_server_are_asked_for_as_a_client_does(run, systemd, monkeypatch):
    """A question for one that is not there closes the channel, and is no consumer."""
    failure = type("AMQPError", (Exception,), {})
    consumers, logins = {"q-plugin": 2, "q-idle": 0}, []

    class Connection:
        def __init__(self, **arguments):
            logins.append(arguments)

        def __enter__(self):
            return self

        def __exit__(self, *_error):
            return None

        def connect(self):
            pass

        def channel(self):
            return self

        def queue_declare(self, name, passive):
            assert passive
            if name not in consumers:
                raise failure
            return MagicMock(consumer_count=consumers[name])

    client = SimpleNamespace(Connection=Connection, exceptions=SimpleNamespace(AMQPError=failure))
    login = {"host": "fd00::90", "port": 5673, "user": "openstack", "password": "canary", "vhost": "cloud"}
    assert systemd.code.rabbitmq.consumed(client, login, ["q-plugin", "q-idle", "q-none"]) == {"q-plugin"}
    assert {(one["host"], one["virtual_host"]) for one in logins} == {("[fd00::90]:5673", "cloud")}
    monkeypatch.setattr(systemd.code, "amqp", client)
    systemd.add("rpc", ActiveState="inactive")
    run(systemd.code, units=[unit("rpc", queues=["q-plugin"])], queue=login)
    assert systemd.calls == ["start rpc"]


def test_a_virtual_host_that_is_missing_is_made(run, monkeypatch):
    code, commands = load("rabbitmq_account"), []
    ours = ["openstack\tcloud\t.*\t.*\t.*"]
    told = {code.VHOSTS: ["/"], code.USERS: ["openstack"], code.RIGHTS: ours, code.TAGS: []}
    monkeypatch.setattr(code.rabbitmq, "rows", told.get)
    monkeypatch.setattr(code, "import_account", lambda _module, params, _tags: commands.append(params["vhost"]))
    monkeypatch.setattr(code, "login_works", lambda _params: True)
    monkeypatch.setattr(code, "DATA", os.curdir)
    monkeypatch.setattr(code, "listens", lambda _params: True)
    arguments = {"user": "openstack", "password": "canary", "host": "10.0.0.11", "vhost": "cloud"}
    assert run(code, **arguments)["actions"] == ["create vhost cloud"]
    assert commands == ["cloud"]
