"""What `make health` says of a cloud that works, and of one in which a service has stopped."""

import json
import subprocess
import sys
import time
from pathlib import Path

from conftest import INVENTORY, PROJECT


def asked(tmp_path):
    """Whether the playbook passed, and the rows that are not well."""
    file = tmp_path / "health.json"
    argv = [Path(sys.executable).with_name("ansible-playbook"), "-i", INVENTORY, "playbooks/health.yml"]
    done = subprocess.run(
        [*argv, "--extra-vars", json.dumps({"health_file": str(file)})],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    whole = json.loads(file.read_text())
    assert whole["counts"]["ok"] > 10 and {row["where"] for row in whole["rows"]} == {"controller", "compute1", "(cloud)"}
    return done.returncode, [(row["state"], row["about"], row["what"]) for row in whole["rows"] if row["state"] != "ok"]


def test_a_cloud_that_works(tmp_path):
    # What was killed a moment ago is heard of again within a minute.
    for _attempt in range(4):
        status, rows = asked(tmp_path)
        # The machine that tests may have little of either.
        left = [row for row in rows if row[1] not in ("disk", "memory", "other units")]
        if not left:
            break
        time.sleep(20)
    assert status == 0 and not left, rows


def test_a_service_that_has_stopped(controller, tmp_path):
    controller.run_expect([0], "systemctl stop placement-api")
    try:
        status, rows = asked(tmp_path)
    finally:
        controller.run_expect([0], "systemctl start placement-api")
    assert status == 2
    assert ("problem", "services", "placement-api is inactive (success)") in rows
    assert [about for state, about, what in rows if state == "problem" and "placement-api" in what] == ["services", "answers"]
