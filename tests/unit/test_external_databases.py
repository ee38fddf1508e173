"""Databases on a server that somebody else runs."""

import ast
import importlib.util
import os
import ssl
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from harness import Accounts, Failed, argument_spec, load, revision, unit

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


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
    assert (result["changed"], result["actions"], result["complete"]) == (False, [], ["nova"])


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
    server.account = ("10.0.0.77", "mysql_native_password", "of somebody", "")
    monkeypatch.setattr(code.database, "connect", lambda _module: server)
    login = {"host": DB, "port": 3307, "user": "admin", "password": "of-the-administrator"}
    actions = run(code, accounts=[NOVA], hosts=["10.0.0.11"], login=login)["actions"]
    assert "create account 'nova'@'10.0.0.11'" in actions
    assert not [action for action in actions if action.startswith("remove")]
    assert "remove account 'nova'@'10.0.0.77'" in run(code, accounts=[NOVA], hosts=["10.0.0.11"])["actions"]


@pytest.mark.parametrize(("works", "action"), [(True, []), (False, ["set the password of 'nova'@'10.0.0.11'"])])
def test_a_password_that_another_plugin_stores_is_tried(run, monkeypatch, works, action):
    code, server = load("service_database"), Accounts("p@ss/ü")
    server.account = ("10.0.0.11", "ed25519", "what nobody can compare", "")
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
    module.params["login"]["cacert"] = "/nonexistent/ca.pem"
    assert database.arguments(module)["ssl"] == {"ca": "/nonexistent/ca.pem"}


def test_an_authority_that_is_missing_is_named(monkeypatch):
    database = importlib.import_module("ansible.module_utils.kilonova.database")

    def connect(ssl, **_others):
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(database, "pymysql", driver(connect))
    with pytest.raises(database.NoServer, match=r"/nonexistent/ca\.pem: No such file or directory"):
        database.opened({"ssl": {"ca": "/nonexistent/ca.pem"}})


@pytest.mark.parametrize(("host", "name"), [("mq.test", "mq.test"), ("[fd00::90]", "fd00::90"), ("10.0.0.11", "10.0.0.11")])
def test_the_message_queue_is_verified_by_name(host, name):
    rabbitmq, asked = importlib.import_module("ansible.module_utils.kilonova.rabbitmq"), []
    client = SimpleNamespace(Connection=lambda **arguments: asked.append(arguments["ssl"]))
    login = {"host": host, "port": 5671, "user": "openstack", "password": "canary", "vhost": "/"}
    rabbitmq.connection(client, {**login, "cacert": "/ca.pem"})
    rabbitmq.connection(client, {**login, "cacert": ""})
    assert asked == [{"ca_certs": "/ca.pem", "cert_reqs": ssl.CERT_REQUIRED, "server_hostname": name}, False]


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
