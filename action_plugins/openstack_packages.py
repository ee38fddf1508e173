"""Ask a host for packages only where one of them is not known to be installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """See the module of the same name (library/openstack_packages.py)."""

    SHARED = (("units", "openstack_units"), ("removable", "openstack_packages_removable"), ("proxy", "openstack_apt_proxy"))

    def must_ask(self, arguments):
        """Whether a package may be missing: an unchanged host needs no apt."""
        return not answers.packages_are_there(arguments["names"], self.variables)

    def learned(self, arguments, answer):
        """Which packages were installed, for later tasks that must look again, and which exist now."""
        again = {"files": {}, "units": {}} if answer.get("new") else {}
        return {**again, **{key: answer[key] for key in ("new", "installed") if key in answer}}
