"""Launch the instance of a trace by the dashboard, with the browser of the machine that runs Ansible."""

import sys
from pathlib import Path

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.proof import dashboard


class ActionModule(ActionBase):
    """`trace_dashboard: {url, auth, name, image, flavor, network, directory}`; `auth` as other modules have it."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Return, as `launch`, the instance's id, and when login and launch were asked for and answered."""
        result = super().run(tmp, task_vars)
        given = self._task.args
        visit = dashboard.Visit(
            url=str(given["url"]),
            user=str(given["auth"]["username"]),
            password=str(given["auth"]["password"]),
            server=str(given["name"]),
            image=str(given["image"]),
            flavor=str(given["flavor"]),
            network=str(given["network"]),
            boot="",
            consoles=[],
            directory=Path(str(given["directory"])),
            # The authority is known to hosts, not to browsers; `make verify` checks the certificate.
            certificate_checked=bool(given["auth"].get("cacert")),
        )
        said = visit.run(dashboard.Visit.launch_only)
        if said["status"] != "passed":
            return {**result, "failed": True, "msg": f"the launch by the dashboard: {said['text']}"}
        moments = {name: said[name] for name in ("id", "token_asked", "token_given", "asked", "answered")}
        return {**result, "changed": True, "launch": {**moments, "from": "dashboard"}}
