"""The MariaDB server: our own, as root by its local socket, or an external one, by TCP and with an account.

Of our own one, check mode can say something even when this very run installs or starts it: what its data directory holds.
"""

import os
import socket as sockets

from .address import canonical, host_port

try:
    import pymysql
except ImportError:  # check mode on a fresh host: the package comes with this very run
    pymysql = None

# Debian moved both after its release 13.
SOCKETS = ("/run/mysqld/mysqld.sock", "/run/mariadbd/mysqld.sock")
DATA = ("/var/lib/mysql", "/var/lib/mariadb")
# By password, by plugin, by the host that root may come from.
REFUSED = (1045, 1698, 1130)
REMEDY = (
    "run `ALTER USER root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password USING PASSWORD('...')` there, with "
    "root's password, which stays valid"
)
# Empty means our own server.
LOGIN = {
    "type": "dict",
    "options": {
        "host": {"type": "str"},
        "port": {"type": "int"},
        "user": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "cacert": {"type": "str", "default": ""},
    },
}
MISSING = "python3-pymysql is missing on this host; the roles mysql and keystone install it"
AGAIN = "or run site.yml without --limit, which does"


class Error(Exception):
    """What MariaDB says: a number and words."""


class NoServer(Error):
    """The server cannot be asked: no server, no login, or no library to connect with (0)."""


def socket():
    """The server's local socket."""
    return next((path for path in SOCKETS if os.path.exists(path)), SOCKETS[0])


def options():
    """Options of every module that asks the server: where it is."""
    return {"unix_socket": {"type": "path", "default": socket()}, "login": LOGIN}


def is_external(module):
    """Whether the server is external."""
    return bool((module.params.get("login") or {}).get("host"))


def arguments(module):
    """How to connect, in PyMySQL's words."""
    return login(module.params["login"]) if is_external(module) else {"unix_socket": module.params["unix_socket"], "user": "root"}


def login(account, timeout=10):
    """The same for `account`: host, port, user, password and cacert (of its authority), whatever else is in it."""
    known = {name: account[name] for name in ("host", "port", "user")}
    if account.get("cacert"):
        known["ssl"] = {"ca": account["cacert"]}
    # As bytes: PyMySQL takes text for Latin-1.
    return {**known, "password": account["password"].encode(), "connect_timeout": timeout}


def opened(how):
    """A new connection, by arguments() or login()."""
    if pymysql is None:
        raise NoServer(0, MISSING)
    try:
        return pymysql.connect(charset="utf8mb4", autocommit=True, **how)
    except pymysql.MySQLError as error:
        raise NoServer(*error.args) from error
    except OSError as error:  # PyMySQL wraps its own: this one is of the authority's file
        raise NoServer(0, f"{how.get('ssl', {}).get('ca', '')}: {error.strerror or error}") from error


def rows(connection, statement, parameters=()):
    """The rows of a statement."""
    try:
        with connection.cursor() as cursor:
            # With none, a % in the statement is one.
            cursor.execute(statement, parameters or None)
            return cursor.fetchall()
    except pymysql.MySQLError as error:
        raise Error(*error.args) from error


def ask(module, statement, parameters=()):
    """The rows of a statement, by a connection of its own."""
    with opened(arguments(module)) as connection:
        return rows(connection, statement, parameters)


def where(module):
    """The server in words."""
    login = module.params.get("login") or {}
    return f"at {host_port(login['host'], login['port'])}" if login.get("host") else f"on {module.params['unix_socket']}"


def connect(module):
    """A connection to the server of the options `login` and `unix_socket`; None in check mode when there may be one later."""
    try:
        return opened(arguments(module))
    except NoServer as error:
        # Nothing in a run changes that, so a plan cannot go on as if there were no server.
        if not is_external(module) and error.args and error.args[0] in REFUSED:
            module.fail_json(msg=f"MariaDB refuses root {where(module)}: {error}; {REMEDY}")
        problem = MISSING if pymysql is None else f"MariaDB does not answer {where(module)}: {error}"
    # Nothing in this run sets up an external server.
    if not module.check_mode or (is_external(module) and pymysql is not None):
        module.fail_json(msg=problem)
    return None


def on_disk(module, database, table=""):
    """Whether the server, once it runs or can be asked, will have this database, or this table in it."""
    if is_external(module):
        return False
    data = next((path for path in DATA if os.path.isdir(path)), DATA[0])
    path = os.path.join(data, database)
    return os.path.exists(os.path.join(path, table + ".frm") if table else path)


def warn_of_guess(module, what):
    """Say that a plan is not a comparison here."""
    if is_external(module):
        module.warn(f"MariaDB {where(module)} cannot be asked before python3-pymysql is installed: {what} counts as missing")
    else:
        module.warn(f"MariaDB does not answer yet: {what} cannot be compared and counts as what it was when the server stopped")


# ------------------------------------------------------------------------------------------------- somebody else's server


def statements(account, hosts, databases=(), login=False):
    """SQL for an operator that gives an account what it lacks, with the variable's name in the place of the password."""
    addresses = [host for host in hosts if host != "localhost"] or list(hosts)
    found = [f"CREATE DATABASE IF NOT EXISTS `{name}`" for name in databases]
    for host in map(canonical, addresses):
        who = f"'{account['user']}'@'{host}'"
        if login:
            found.append(f"CREATE USER IF NOT EXISTS {who}")
            found.append(f"ALTER USER {who} IDENTIFIED BY '<{account['variable']}>'")
        # An underscore is a wildcard in a GRANT.
        patterns = [name.replace("_", r"\_") for name in databases]
        found += [f"GRANT ALL PRIVILEGES ON `{pattern}`.* TO {who}" for pattern in patterns]
    return "; ".join(found) + ";"


def problem(variable, value, what, remedy):
    """One problem, in the form of kilonova.run.preflight.Problem."""
    return {"variable": variable, "value": str(value), "what": what, "remedy": remedy}


def port_answers(host, port, timeout):
    """None when something listens, else the system's message."""
    try:
        with sockets.create_connection((host, port), timeout=timeout):
            return None
    except OSError as error:
        return error.strerror or str(error)


def problems(params, timeout):
    """What keeps accounts from their databases; the errors of MariaDB that they can run into are 2002, 1045, 1130, 1049, 1044.

    `params`: host, port, accounts (user, password, variable, databases), external (whether it is for the operator to put it
    right) and hosts (where accounts come from).
    """
    host, port = params["host"], int(params["port"])
    server = f"MariaDB at {host_port(host, port)}"
    silent = port_answers(host, port, timeout)
    if silent:
        remedy = "start it, or correct openstack_database_host and openstack_database_port"
        return [problem("openstack_database_host", host, f"{server} does not answer (2002: {silent})", remedy)]
    found = []
    for account in params["accounts"] if pymysql else ():
        found += account_problems(server, account, params, timeout)
    return found


def account_problems(server, account, params, timeout):
    """The same for one account."""
    user, found = account["user"], []
    for name in account["databases"] or [None]:
        try:
            opened({**login({**params, **account, "port": int(params["port"])}, timeout), "database": name}).close()
            continue
        except NoServer as error:
            code, said = [*error.args, "", ""][:2]
        if code in (1045, 1130, 1698):
            words = "refuses the password of account" if code != 1130 else "does not let this host in, nor account"
            remedy = "give it the account's password, " + AGAIN
            if params["external"] and account["databases"]:
                remedy = "run there: " + statements(account, params["hosts"], account["databases"], login=True)
            elif params["external"]:
                remedy = "give it the account's password"
            return [problem(account["variable"], "", f"{server} {words} {user} ({code})", remedy)]
        if code == 1049:
            what, remedy = f"{server} has no database {name} (1049)", "create it, " + AGAIN
        elif code == 1044:
            what = f"{server} does not let account {user} use database {name} (1044)"
            remedy = "grant the account all privileges on it, " + AGAIN
        else:
            found.append(problem("openstack_database_host", params["host"], f"{server}: {code} {said}", "look at its log"))
            continue
        if params["external"]:
            remedy = "run there: " + statements(account, params["hosts"], [name])
        found.append(problem("database", name, what, remedy))
    return found
