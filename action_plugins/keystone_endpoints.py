"""Ask the Identity service only for services that this run has not registered yet."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/keystone_endpoints.py).

    The role keystone_endpoints registers the services of all pages at once, because each login costs a second; each page's own
    task finds its service there.
    """

    SHARED = (("auth", "openstack_admin_auth"), ("region", "openstack_region"), ("login", "openstack_keystone_database_login"))

    def must_ask(self, arguments):
        """Whether one of the services may not be registered."""
        return not {service["name"] for service in arguments["services"]} <= set(self._registered())

    def learned(self, arguments, answer):
        """Which services are registered now."""
        if answer.get("failed"):
            return {}
        return {"services": sorted({*self._registered(), *(service["name"] for service in arguments["services"])})}

    def _registered(self):
        return answers.done(self.variables).get("services", ())
