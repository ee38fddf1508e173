"""Carry a nova.conf of this machine to a later release; what became of each line is printed and reported."""

import contextlib
import io
import sys
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the project, installed or not

from kilonova.config import translate


class ActionModule(ActionBase):
    """`translate_config: {conf: file, from: release, to: release, out: file}`; writes `out` and `out`.report.json."""

    TRANSFERS_FILES = False
    _requires_connection = False

    def run(self, tmp=None, task_vars=None):
        """Run kilonova.config.translate as its command line does."""
        result = super().run(tmp, task_vars)
        arguments = {name: str(self._task.args.get(name) or "") for name in ("conf", "from", "to", "out")}
        missing = [name.upper() for name, value in arguments.items() if not value]
        if missing:
            raise AnsibleActionFail(
                f"{', '.join(missing)} is not set; write e.g. make translate CONF=old.conf FROM=ocata TO=zed OUT=new.conf"
            )
        if self._task.check_mode:
            return {**result, "skipped": True, "msg": "a translation is all or nothing: nothing is written in check mode"}
        out = Path(arguments["out"])
        before = out.read_bytes() if out.is_file() else None
        said, wrong = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
            status = translate.main([f"--{name}={value}" for name, value in arguments.items()])
        if status:
            raise AnsibleActionFail(wrong.getvalue().strip())
        Display().display(said.getvalue().rstrip())
        return {**result, "changed": before != out.read_bytes(), "out": str(out), "report": f"{out}.report.json"}
