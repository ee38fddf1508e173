"""What check mode can say of a MariaDB server that this very run installs or starts: what its data directory holds."""

import os

DATA = "/var/lib/mysql"


def on_disk(database, table=""):
    """Whether the server, once it runs, will know this database, or this table of it."""
    path = os.path.join(DATA, database)
    return os.path.exists(os.path.join(path, table + ".frm") if table else path)


def warn_of_guess(module, what):
    """Say that a plan is not a comparison here."""
    module.warn(f"MariaDB does not answer yet: {what} cannot be compared and counts as what it was when the server stopped")
