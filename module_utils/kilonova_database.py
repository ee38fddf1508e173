"""What check mode can say of a MariaDB server that this very run installs or starts: what its data directory holds."""

import os

# Debian moved both after its release 13.
SOCKETS = ("/run/mysqld/mysqld.sock", "/run/mariadbd/mysqld.sock")
DATA = ("/var/lib/mysql", "/var/lib/mariadb")


def socket():
    """The server's local socket."""
    return next((path for path in SOCKETS if os.path.exists(path)), SOCKETS[0])


def on_disk(database, table=""):
    """Whether the server, once it runs, will know this database, or this table of it."""
    data = next((path for path in DATA if os.path.isdir(path)), DATA[0])
    path = os.path.join(data, database)
    return os.path.exists(os.path.join(path, table + ".frm") if table else path)


def warn_of_guess(module, what):
    """Say that a plan is not a comparison here."""
    module.warn(f"MariaDB does not answer yet: {what} cannot be compared and counts as what it was when the server stopped")
