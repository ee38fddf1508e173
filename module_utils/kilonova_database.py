"""The MariaDB server of this host, as root by its local socket; and what check mode can say of one that this very run installs or
starts: what its data directory holds.
"""

import os

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


def socket():
    """The server's local socket."""
    return next((path for path in SOCKETS if os.path.exists(path)), SOCKETS[0])


def connect(module):
    """A connection to the server at the option `unix_socket`; None in check mode when there is none."""
    path = module.params["unix_socket"]
    if pymysql is None:
        problem = "python3-pymysql is missing on this host; the role mysql installs it"
    else:
        try:
            return pymysql.connect(unix_socket=path, user="root", charset="utf8mb4", autocommit=True)
        except pymysql.MySQLError as error:
            # Nothing in a run changes that, so a plan cannot go on as if nobody were there.
            if error.args and error.args[0] in REFUSED:
                module.fail_json(msg=f"MariaDB refuses root at {path}: {error}; {REMEDY}")
            problem = f"MariaDB does not answer on {path}: {error}"
    if not module.check_mode:
        module.fail_json(msg=problem)
    return None


def on_disk(database, table=""):
    """Whether the server, once it runs, will know this database, or this table of it."""
    data = next((path for path in DATA if os.path.isdir(path)), DATA[0])
    path = os.path.join(data, database)
    return os.path.exists(os.path.join(path, table + ".frm") if table else path)


def warn_of_guess(module, what):
    """Say that a plan is not a comparison here."""
    module.warn(f"MariaDB does not answer yet: {what} cannot be compared and counts as what it was when the server stopped")
