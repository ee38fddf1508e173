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
        # No later task may do without asking for it.
        assert result["unsettled"] == ([] if "nova" in complete or not check_mode else ["nova"])
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
    known = [("localhost", "mysql_native_password", code.native_hash("x"), ""), ("%", "", "", ""), ("vault", "", "", "")]
    module = type("Fake", (), {"params": {"hosts": ["localhost"], "others": others, "login": None, "tls": False}})()
    found = code.differences(module, Cursor(known), account, set())
    assert [action for action, *_rest in found] == removed


SSL = "ANY"


@pytest.mark.parametrize(
    ("tls", "external", "before", "action", "statement"),
    [
        (True, False, "", ["require TLS of 'glance'@'10.0.0.11'"], ["ALTER USER %s@%s REQUIRE SSL"]),
        (True, False, SSL, [], []),
        (False, False, SSL, ["require no TLS of 'glance'@'10.0.0.11'"], ["ALTER USER %s@%s REQUIRE NONE"]),
        (False, False, "", [], []),
        # Somebody else's server may ask for more than we do.
        (False, True, SSL, [], []),
        (True, True, "", ["require TLS of 'glance'@'10.0.0.11'"], ["ALTER USER %s@%s REQUIRE SSL"]),
    ],
)
def test_accounts_log_in_by_tls(tls, external, before, action, statement):
    """But root's neighbours on the local socket, which has none."""
    code = load("service_database")
    account = {"user": "glance", "password": "x", "databases": []}
    stored = code.native_hash("x")
    known = [
        (host, "mysql_native_password", stored, "" if host == "localhost" else before) for host in ("localhost", "10.0.0.11")
    ]
    login = {"host": "192.0.2.9"} if external else None
    module = type("Fake", (), {"params": {"hosts": ["localhost", "10.0.0.11"], "others": "keep", "login": login, "tls": tls}})()
    found = list(code.differences(module, Cursor(known), account, set()))
    assert [row[0] for row in found] == action
    assert [row[1] for row in found] == statement
    assert [row[2] for row in found] == [("glance", "10.0.0.11") for _row in found]


@pytest.mark.parametrize(("tls", "end"), [(True, " REQUIRE SSL"), (False, "")])
def test_a_new_account_begins_with_tls(tls, end):
    code = load("service_database")
    account = {"user": "glance", "password": "x", "databases": []}
    module = type("Fake", (), {"params": {"hosts": ["localhost", "fd00::11"], "others": "keep", "login": None, "tls": tls}})()
    [(_action, here, _given), (_also, there, _values)] = code.differences(module, Cursor([]), account, set())
    assert (here, there) == (code.CREATE, code.CREATE + end)
