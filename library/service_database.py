#!/usr/bin/python
"""Create databases, accounts and grants on a MariaDB server, and repair what drifted, in one connection."""

import hashlib
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import database, lock, result
from ansible.module_utils.kilonova.address import canonical

DOCUMENTATION = r"""
module: service_database
short_description: Databases and grants of services (CREATE DATABASE, GRANT ALL PRIVILEGES)
description:
  - The guide's C(CREATE DATABASE nova_api; GRANT ALL PRIVILEGES ON nova_api.* TO 'nova'@'localhost' IDENTIFIED BY ...).
  - Connects as the operating system's root by the local socket (unix_socket), so there is no root password.
  - Repairs a changed password and a missing grant. Accounts of the same user for hosts that are not listed are removed,
    so that a former C('%') does not stay behind, unless C(others) says that they stay. Databases are never dropped.
  - Check mode returns, as C(unsettled), the accounts that a run leaves incomplete.
  - On an external server, the administrator of C(login) does the same, and no other account is removed.
    Without an administrator, the databases and accounts must be there; what is missing is said, with the SQL that makes it.
options:
  accounts:
    type: list
    elements: dict
    required: true
    description: >-
      user (name of an account), password (any characters), databases (that it gets all privileges on), variable (that has its
      password).
  hosts: {type: list, elements: str, required: true, description: 'Hosts that the account may come from; % is any.'}
  repair_logins:
    type: bool
    default: true
    description: >-
      Whether an account with another password gets the right one. An account that is left so is not among C(complete) of the
      result.
  others:
    type: str
    choices: [remove, keep]
    default: remove
    description: What becomes of accounts of the same user for hosts that are not listed.
  tls:
    type: bool
    default: false
    description: >-
      Whether accounts of other hosts than C(localhost) must log in by TLS (REQUIRE SSL). On an external server a requirement that
      is there stays.
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
  login: {type: dict, description: 'host, port, user and password of an external server; without it, the local socket.'}
"""

CREATE = "CREATE USER %s@%s IDENTIFIED BY %s"


def native_hash(password):
    """mysql_native_password's stored form (MariaDB PASSWORD())."""
    return "*" + hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "accounts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "user": {"type": "str", "required": True},
                    "password": {"type": "str", "required": True, "no_log": True},
                    "variable": {"type": "str", "default": ""},
                    "databases": {"type": "list", "elements": "str", "required": True},
                },
            },
            "hosts": {"type": "list", "elements": "str", "required": True},
            "others": {"type": "str", "choices": ["remove", "keep"], "default": "remove"},
            "repair_logins": {"type": "bool", "default": True},
            "tls": {"type": "bool", "default": False},
            **database.options(),
        },
        supports_check_mode=True,
    )
    lock.take(module)
    p = module.params
    p["hosts"] = [canonical(host) for host in p["hosts"]]
    actions, complete = [], []
    if database.is_external(module) and not p["login"]["user"]:
        expect(module)
    connection = database.connect(module)
    if connection is None:
        for account in p["accounts"]:
            actions += foresee(module, account)
            complete.append(account["user"])
    else:
        with connection, connection.cursor() as cursor, result.doing(module, actions):
            cursor.execute("SELECT schema_name FROM information_schema.schemata")
            present = {row[0] for row in cursor.fetchall()}
            for account in p["accounts"]:
                is_complete = True
                for action, statement, arguments in differences(module, cursor, account, present):
                    if action.startswith("set the password") and not p["repair_logins"]:
                        is_complete = False
                        continue
                    actions.append(action)
                    if not module.check_mode:
                        cursor.execute(statement, arguments)
                complete += [account["user"]] if is_complete else []
    incomplete = [account["user"] for account in p["accounts"] if account["user"] not in complete]
    result.leave(module, actions, complete=complete, unsettled=incomplete if module.check_mode else [])


def expect(module):
    """No login may create anything: end here, well when everything is there."""
    p = module.params
    if database.pymysql is None:
        if not module.check_mode:
            module.fail_json(msg=database.MISSING)
        module.warn("MariaDB %s cannot be asked before python3-pymysql is installed" % database.where(module))
    wanted = {**p["login"], "accounts": p["accounts"], "external": True, "hosts": p["hosts"]}
    found = database.problems(wanted, 10)
    if found:
        lines = ["%(what)s; %(remedy)s" % one for one in found]
        why = "openstack_database_admin_user is not set, so what is missing there is not made here"
        module.fail_json(msg="%s. %s" % (why, " | ".join(lines)), problems=found)
    result.leave(module, [], complete=[account["user"] for account in p["accounts"]])


def differences(module, cursor, account, present):
    """What one account lacks, in order: (action, statement, arguments). `present`: the databases that are there."""
    hosts = module.params["hosts"]
    for name in account["databases"]:
        if name not in present:
            yield "create database %s" % name, "CREATE DATABASE `%s`" % name, ()
    user = account["user"]
    cursor.execute("SELECT host, plugin, authentication_string, ssl_type FROM mysql.user WHERE user = %s", (user,))
    rows = cursor.fetchall()
    known, by_tls = {row[0]: (row[1], row[2]) for row in rows}, {row[0] for row in rows if row[3]}
    for host in hosts:
        shown = "'%s'@'%s'" % (user, host)
        granted = grants(cursor, (user, host)) if host in known else set()
        if host not in known:
            yield "create account %s" % shown, CREATE + required(module, host), (user, host, account["password"])
        elif not password_is_right(module, account, known[host]):
            yield "set the password of %s" % shown, "ALTER USER %s@%s IDENTIFIED BY %s", (user, host, account["password"])
        wanted = required(module, host)
        if host in known and bool(wanted) != (host in by_tls) and (wanted or not database.is_external(module)):
            what = "require TLS of %s" if wanted else "require no TLS of %s"
            yield what % shown, "ALTER USER %s@%s" + (wanted or " REQUIRE NONE"), (user, host)
        for name in account["databases"]:
            if name not in granted:
                # An underscore is a wildcard in a GRANT; the guide's own `nova_api` would open `novaXapi` too.
                statement = "GRANT ALL PRIVILEGES ON `%s`.* TO %%s@%%s" % name.replace("_", r"\_")
                yield "grant all privileges on %s to %s" % (name, shown), statement, (user, host)
    # An external server may have more of them, for other clients.
    keep = module.params["others"] == "keep" or database.is_external(module)
    for host in () if keep else sorted(set(known) - set(hosts)):
        yield "remove account '%s'@'%s'" % (user, host), "DROP USER %s@%s", (user, host)


def required(module, host):
    """What an account must fulfil besides its password; the local socket has no TLS."""
    return " REQUIRE SSL" if module.params["tls"] and host != "localhost" else ""


def password_is_right(module, account, stored):
    """Whether what is stored (plugin, text) is this password; on an external server, by another plugin as well."""
    if stored[0] == "mysql_native_password" or not database.is_external(module):
        return stored == ("mysql_native_password", native_hash(account["password"]))
    try:
        database.opened(database.login({**module.params["login"], **account})).close()
    except database.NoServer:
        return False
    return True


def foresee(module, account):
    """What will be done for an account while there is no server to ask."""
    missing = [name for name in account["databases"] if not database.on_disk(module, name)]
    actions = ["create database %s" % name for name in missing]
    if database.is_external(module):
        database.warn_of_guess(module, "account %s" % account["user"])
    if missing == account["databases"]:
        for host in module.params["hosts"]:
            shown = "'%s'@'%s'" % (account["user"], host)
            actions += ["create account %s" % shown, *["grant all privileges on %s to %s" % (name, shown) for name in missing]]
    else:
        database.warn_of_guess(module, "account %s" % account["user"])
    return actions


def grants(cursor, account):
    """Databases on which the account has all privileges."""
    cursor.execute("SHOW GRANTS FOR %s@%s", account)
    pattern = re.compile(r"GRANT ALL PRIVILEGES ON `((?:[^`]|``)+)`\.\* TO")
    found = (pattern.match(row[0]) for row in cursor.fetchall())
    return {match.group(1).replace("\\_", "_") for match in found if match}


if __name__ == "__main__":
    main()
