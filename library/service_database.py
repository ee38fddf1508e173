#!/usr/bin/python
"""Create databases, accounts and grants on a MariaDB server, and repair what drifted, in one connection."""

import hashlib
import re

from ansible.module_utils import kilonova_database as database
from ansible.module_utils.basic import AnsibleModule

try:
    import pymysql
except ImportError:  # check mode on a fresh host: the package comes with this very run
    pymysql = None

DOCUMENTATION = r"""
module: service_database
short_description: Databases and grants of a service (CREATE DATABASE, GRANT ALL PRIVILEGES)
description:
  - The guide's C(CREATE DATABASE nova_api; GRANT ALL PRIVILEGES ON nova_api.* TO 'nova'@'localhost' IDENTIFIED BY ...).
  - Connects as the operating system's root by the local socket (unix_socket), so there is no root password.
  - Repairs a changed password and a missing grant. Accounts of the same user for hosts that are not listed are removed,
    so that a former C('%') does not stay behind. Databases are never dropped.
options:
  databases: {type: list, elements: str, required: true, description: Names of the databases.}
  user: {type: str, required: true, description: Account that gets all privileges on them.}
  password: {type: str, required: true, description: Password of the account, any characters.}
  hosts: {type: list, elements: str, required: true, description: 'Hosts that the account may come from; % is any.'}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
"""


def native_hash(password):
    """mysql_native_password's stored form (MariaDB PASSWORD())."""
    return "*" + hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "databases": {"type": "list", "elements": "str", "required": True},
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "hosts": {"type": "list", "elements": "str", "required": True},
            "unix_socket": {"type": "path", "default": database.socket()},
        },
        supports_check_mode=True,
    )
    p = module.params
    if pymysql is None:
        if module.check_mode:
            foresee(module)
        module.fail_json(msg="python3-pymysql is missing on this host; the role mysql installs it")
    try:
        connection = pymysql.connect(unix_socket=p["unix_socket"], user="root", charset="utf8mb4", autocommit=True)
    except pymysql.MySQLError as error:
        if module.check_mode:
            foresee(module)
        module.fail_json(msg="MariaDB does not answer on %s: %s" % (p["unix_socket"], error))
    actions = []
    with connection, connection.cursor() as cursor:

        def do(action, statement, arguments=()):
            actions.append(action)
            if not module.check_mode:
                cursor.execute(statement, arguments)

        cursor.execute("SELECT schema_name FROM information_schema.schemata")
        present = {row[0] for row in cursor.fetchall()}
        for name in p["databases"]:
            if name not in present:
                do("create database %s" % name, "CREATE DATABASE `%s`" % name)

        cursor.execute("SELECT host, plugin, authentication_string FROM mysql.user WHERE user = %s", (p["user"],))
        accounts = {row[0]: (row[1], row[2]) for row in cursor.fetchall()}
        for host in p["hosts"]:
            account = (p["user"], host)
            shown = "'%s'@'%s'" % account
            if host not in accounts:
                do("create account %s" % shown, "CREATE USER %s@%s IDENTIFIED BY %s", (*account, p["password"]))
            elif accounts[host] != ("mysql_native_password", native_hash(p["password"])):
                do("set the password of %s" % shown, "ALTER USER %s@%s IDENTIFIED BY %s", (*account, p["password"]))
            granted = grants(cursor, account) if host in accounts else set()
            for name in p["databases"]:
                if name not in granted:
                    # An underscore is a wildcard in a GRANT; the guide's own `nova_api` would open `novaXapi` too.
                    pattern = name.replace("_", r"\_")
                    do("grant all privileges on %s to %s" % (name, shown), "GRANT ALL PRIVILEGES ON `%s`.* TO %%s@%%s" % pattern,
                       account)
        for host in sorted(set(accounts) - set(p["hosts"])):
            do("remove account '%s'@'%s'" % (p["user"], host), "DROP USER %s@%s", (p["user"], host))
    module.exit_json(changed=bool(actions), actions=actions, diff=diff(actions))


def foresee(module):
    """Exit with what will be done, where there is no server to ask yet."""
    p = module.params
    missing = [name for name in p["databases"] if not database.on_disk(name)]
    actions = ["create database %s" % name for name in missing]
    if missing == p["databases"]:
        for host in p["hosts"]:
            shown = "'%s'@'%s'" % (p["user"], host)
            actions += ["create account %s" % shown, *["grant all privileges on %s to %s" % (name, shown) for name in missing]]
    else:
        database.warn_of_guess(module, "account %s" % p["user"])
    module.exit_json(changed=bool(actions), actions=actions, diff=diff(actions))


def grants(cursor, account):
    """Databases on which the account has all privileges."""
    cursor.execute("SHOW GRANTS FOR %s@%s", account)
    pattern = re.compile(r"GRANT ALL PRIVILEGES ON `((?:[^`]|``)+)`\.\* TO")
    found = (pattern.match(row[0]) for row in cursor.fetchall())
    return {match.group(1).replace("\\_", "_") for match in found if match}


def diff(actions):
    """The actions as Ansible shows them with --diff."""
    return {"before": "", "after": "".join("%s\n" % action for action in actions)}


if __name__ == "__main__":
    main()
