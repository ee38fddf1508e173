"""Accounts, their databases and grants."""

import pytest
from harness import Accounts, load


class Grants:
    """A cursor with rows for the next statement."""

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
    assert load("service_database").grants(Grants(rows), ("nova", "localhost")) == {"nova_api", "nova"}


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


class Cursor:
    """MariaDB's cursor with accounts of one user."""

    def __init__(self, rows):
        self.rows = rows

    def execute(self, statement, _arguments=()):
        self.found = [] if statement.startswith("SHOW GRANTS") else self.rows

    def fetchall(self):
        return self.found


@pytest.mark.parametrize(
    ("others", "removed"), [("remove", ["remove account 'glance'@'%'", "remove account 'glance'@'vault'"]), ("keep", [])]
)
def test_accounts_of_others_stay_in_a_database_that_is_taken_over(others, removed):
    code = load("service_database")
    account = {"user": "glance", "password": "x", "databases": []}
    known = [("localhost", "mysql_native_password", code.native_hash("x")), ("%", "", ""), ("vault", "", "")]
    module = type("Fake", (), {"params": {"hosts": ["localhost"], "others": others, "login": None}})()
    found = code.differences(module, Cursor(known), account, set())
    assert [action for action, *_rest in found] == removed
