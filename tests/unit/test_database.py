"""The one connection to MariaDB: what is told apart where it says no."""

import importlib
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from harness import Failed, load

from kilonova.onhost import database


class Refusal(Exception):
    """As pymysql.MySQLError."""


@pytest.fixture
def server(monkeypatch):
    """server(connect, execute): MariaDB with these errors; returns how it was connected to."""

    def serve(connect=None, execute=None):
        seen = []
        connection = MagicMock()
        connection.__enter__.return_value = connection
        cursor = connection.cursor.return_value.__enter__.return_value
        cursor.execute.side_effect, cursor.fetchall.return_value = execute, (("a",),)

        def opened(**how):
            seen.append(how)
            if connect:
                raise connect
            return connection

        monkeypatch.setattr(database, "pymysql", SimpleNamespace(connect=opened, MySQLError=Refusal))
        return seen

    return serve


MODULE = SimpleNamespace(params={"unix_socket": "/run/x.sock", "login": None})
ELSEWHERE = SimpleNamespace(params={"login": {"host": "h", "port": 1, "user": "nova", "password": "ü"}})


def test_a_statement_is_asked_at_the_socket_or_elsewhere(server):
    seen = server()
    assert database.ask(MODULE, "SELECT 1") == database.ask(ELSEWHERE, "SELECT 1") == (("a",),)
    common = {"charset": "utf8mb4", "autocommit": True}
    login = {"host": "h", "port": 1, "user": "nova", "password": "ü".encode(), "connect_timeout": 10}
    assert seen == [{"unix_socket": "/run/x.sock", "user": "root", **common}, {**login, **common}]


def test_nobody_to_ask_is_told_from_what_a_server_refuses(server, monkeypatch):
    server(connect=Refusal(2002, "Can't connect"))
    with pytest.raises(database.NoServer, match="2002") as said:
        database.ask(MODULE, "SELECT 1")
    assert said.value.args == (2002, "Can't connect")
    server(execute=Refusal(1146, "no such table"))
    with pytest.raises(database.Error, match="1146") as said:
        database.ask(MODULE, "SELECT 1")
    assert type(said.value) is database.Error
    monkeypatch.setattr(database, "pymysql", None)
    with pytest.raises(database.NoServer, match="python3-pymysql is missing"):
        database.ask(MODULE, "SELECT 1")


@pytest.mark.parametrize("code", [1045, 1698, 1130])
@pytest.mark.parametrize("name", ["service_database", "schema_sync"])
def test_a_plan_does_not_foresee_what_a_refused_root_cannot_do(run, monkeypatch, name, code):
    module = load(name)

    class Driver:
        class MySQLError(Exception):
            pass

        @classmethod
        def connect(cls, **_arguments):
            raise cls.MySQLError(code, "Access denied for user 'root'@'localhost'")

    monkeypatch.setattr(module.database, "pymysql", Driver)
    fake = type("Fake", (), {"params": {"unix_socket": "/run/x"}, "check_mode": True})()

    def fail(msg):
        raise Failed(msg)

    fake.fail_json = fail
    with pytest.raises(Failed, match=rf"MariaDB refuses root on /run/x: \({code}, .*run `ALTER USER root@localhost IDENTIFIED"):
        module.database.connect(fake)
    monkeypatch.setattr(Driver, "connect", classmethod(lambda cls, **_more: (_ for _ in ()).throw(cls.MySQLError(2002, "none"))))
    assert module.database.connect(fake) is None


def test_the_socket_of_mariadb_is_where_it_is(monkeypatch, tmp_path):
    database = importlib.import_module("ansible.module_utils.kilonova.database")
    old, new = tmp_path / "old", tmp_path / "new"
    monkeypatch.setattr(database, "SOCKETS", (str(old), str(new)))
    assert database.socket() == str(old)
    new.touch()
    assert database.socket() == str(new)
