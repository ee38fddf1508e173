"""Ask the database server only for accounts that this run has not completed yet."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run.instrument import OnceARun


class ActionModule(OnceARun):
    """See the module of the same name (library/service_database.py)."""

    KEPT, OPTION, NAME = "accounts", "accounts", "user"
    SHARED = (
        ("hosts", "openstack_database_grant_hosts"),
        ("others", "openstack_database_other_accounts"),
        ("login", "openstack_database_administrator"),
        ("tls", "openstack_database_tls"),
    )
