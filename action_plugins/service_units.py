"""Ask a host about its services only where it has not reported, when the run began, that nothing is left to do with them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import config_files
from kilonova.run import answers
from kilonova.run.instrument import Instrument


class ActionModule(Instrument):
    """Give a role's units to the module of the same name (library/service_units.py), with digests of what they read.

    `service_units: {units: [...], files: [...]}` takes the role's declared files, and units in the form that roles have:

    - reads: the paths of those files that the unit reads, as far as their change restarts it; all of them, where it is not set.
    - ignores: sections of these files that the unit does not use.
    - all that the module knows but `digests` and `invocation`: name, reloads, answers, queues, after, runs, configuration,
      start_without_waiting.

    `service_units: {wait_for_pending: true}` waits for the units that this run started without waiting.
    """

    SHARED = (("timeout", "openstack_services_timeout"), ("settle", "openstack_services_settle"))

    def prepared(self, arguments):
        """Turn what each unit reads into digests of what that contains; add what this run knows of units."""
        done = answers.done(self.variables)
        pending, started = done.get("pending", []), done.get("started", [])
        if arguments.pop("wait_for_pending", False):
            return {**arguments, "units": pending, "started": started}
        files, absent = self.needed(arguments.pop("files", []))
        units = config_files.units_with_digests(arguments.pop("units"), files, absent)
        return {**arguments, "units": units, "pending": pending, "started": started}

    def must_ask(self, arguments):
        """Whether something may be left to do with one of the units."""
        return not all(answers.unit_is_current(unit, self.variables) for unit in arguments["units"])

    def sent(self, arguments):
        """Add the login to an external message queue, where units have queues; our own needs no password."""
        if any(unit.get("queues") for unit in arguments["units"]) and self.shared("openstack_rabbit_is_external"):
            return {**arguments, "queue": self.shared("openstack_queue_login")}
        return arguments

    def learned(self, arguments, answer):
        """Which units still have to be asked, which would have been started, and what units run with."""
        if answer.get("failed"):
            return {}
        seen = dict(answers.done(self.variables).get("units", {}))
        for unit in arguments["units"]:
            if unit.get("digests") and unit.get("runs", True):
                seen[unit["name"]] = {**seen.get(unit["name"], {}), **answers.read_by(unit)}
        return {"units": seen, **{key: answer[key] for key in ("pending", "started") if answer.get(key)}}
