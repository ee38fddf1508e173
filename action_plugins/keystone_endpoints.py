"""Ask the Identity service only for services that this run has not registered yet."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run.instrument import OnceARun


class ActionModule(OnceARun):
    """See the module of the same name (library/keystone_endpoints.py)."""

    KEPT, OPTION, NAME = "services", "services", "name"
    SHARED = (("auth", "openstack_admin_auth"), ("region", "openstack_region"), ("login", "openstack_keystone_database_login"))
