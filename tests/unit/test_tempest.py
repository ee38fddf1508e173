"""Reasons and numbers from what Tempest's tests said."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from kilonova.proof import tempest

ROOT = Path(__file__).parents[2]
ROLE = ROOT / "roles/tempest"

BAD_REQUEST = r"""Traceback (most recent call last):

  File "/opt/tempest/environment/lib/python3.11/site-packages/tempest/api/identity/admin/v3/test_credentials.py", line 67, in test
    update_body = self.creds_client.update_credential(
                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

  File "/opt/tempest/environment/lib/python3.11/site-packages/tempest/lib/common/rest_client.py", line 831, in _error_checker
    raise exceptions.BadRequest(resp_body, resp=resp)

tempest.lib.exceptions.BadRequest: Bad request
Details: {'code': 400, 'message': 'Additional properties are not allowed', 'title': 'Bad Request'}
"""
BUILD_ERROR = """Traceback (most recent call last):
  File "/x/tempest/common/compute.py", line 400, in create_test_server
    raise exceptions.BuildErrorException(details, server_id=server_id)
tempest.exceptions.BuildErrorException: Server caf806d5 failed to build and is in ERROR status
Details: Fault: {'code': 500, 'created': '2026-11-21T00:55:25Z', 'message': 'Exceeded maximum number of retries.'}. \
Server boot request ID: req-70dd7455-5813-4d2b-bddf-f601adcc0350.
"""
MISMATCH = """Traceback (most recent call last):
  File "/x/testtools/testcase.py", line 509, in assertThat
    raise mismatch_error
testtools.matchers._impl.MismatchError: 2 != 1
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BAD_REQUEST, ["tempest.lib.exceptions.BadRequest: Bad request", "Additional properties are not allowed"]),
        (BUILD_ERROR, ["failed to build and is in ERROR status", "Exceeded maximum number of retries", "req-70dd7455"]),
        (MISMATCH, ["MismatchError: 2 != 1"]),
    ],
)
def test_reason_is_the_last_exception_with_what_it_says(text, words):
    why = tempest.reason(text)
    assert "\n" not in why and all(word in why for word in words)
    assert "File " not in why


def test_first_of_two_tracebacks_is_not_the_reason():
    assert tempest.reason(MISMATCH + "\n" + BUILD_ERROR).startswith("tempest.exceptions.BuildErrorException")


def test_long_details_keep_the_fault():
    text = BUILD_ERROR.replace("'created'", "'filler': '%s', 'created'" % ("x" * 600))
    assert tempest.reason(text).endswith("Exceeded maximum number of retries.")


def test_text_without_an_exception():
    assert tempest.reason("something\nworker died") == "worker died"
    assert tempest.reason("") == ""


def rows():
    return [
        {"id": "tempest.a.Test.test_x[id-1,smoke]", "status": "success", "seconds": 1.5, "text": ""},
        {"id": "tempest.b.Test.test_y[id-2]", "status": "fail", "seconds": 2, "text": BUILD_ERROR},
        {"id": "setUpClass (tempest.c.Test)", "status": "skip", "seconds": 0, "text": "Volume service not enabled.\n"},
        {"id": "tempest.d.Test.test_z[id-3]", "status": "inprogress", "seconds": 0, "text": ""},
        {"id": "tempest.e.Test.test_s", "status": "skip", "seconds": 0, "text": ""},
    ]


def test_report():
    found = tempest.report(rows(), "smoke", 12.34, "zed", "33.0.0")
    assert (found["passed"], found["failed"], found["skipped"], found["seconds"]) == (1, 2, 2, 12.3)
    assert found["tests"][0]["status"] == "failed", "what needs a person comes first"
    by_name = {row["name"]: row for row in found["tests"]}
    assert by_name["tempest.a.Test.test_x"] == {"name": "tempest.a.Test.test_x", "status": "passed", "reason": "", "seconds": 1.5}
    assert by_name["tempest.d.Test.test_z"]["reason"] == "the run ended before this test did"
    assert all(row["reason"] for row in found["tests"] if row["status"] != "passed")


def test_seconds_of_a_command():
    assert tempest.seconds({"start": "2026-11-21 01:16:01.100000", "end": "2026-11-21 01:17:02.600000"}) == 61.5


def test_unknown_status_is_no_success():
    assert tempest.report([{"id": "x", "status": "new", "seconds": 0, "text": ""}], "x", 1)["failed"] == 1


def test_summary_names_failures_and_counts_skips():
    lines = tempest.summary(tempest.report(rows(), "smoke", 12.34))
    assert lines[0].startswith("FAILED   tempest.b") and "BuildErrorException" in lines[1]
    assert "skipped    1  Volume service not enabled." in lines
    assert lines[-1] == "1 passed, 2 failed, 2 skipped in 12 s (smoke)"


# --- The role's data ---------------------------------------------------------------------------------------------------


@pytest.fixture
def data():
    return yaml.safe_load((ROLE / "vars/main/packages.yml").read_text())


def test_every_release_has_its_tempest_in_its_list_of_versions(data):
    for release, version in data["__tempest_versions"].items():
        lines = [line for line in (ROLE / f"files/{release}.txt").read_text().splitlines() if not line.startswith("#")]
        assert f"tempest=={version}" in lines
        assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "only exact versions"
    assert data["__tempest_versions"].keys() == data["__tempest_packages"].keys() == data["__tempest_corrections"].keys()


def test_corrections_fit_the_text_they_were_made_for(data):
    text = """
        update_body = self.creds_client.update_credential(
            cred['id'], blob=blob, project_id=self.projects[1],
            type='ec2')['credential']
        self.assertEqual(cred['id'], update_body['id'])
        self.assertEqual(self.projects[1], update_body['project_id'])
"""
    for correction in data["__tempest_corrections"]["zed"]:
        # ansible.builtin.replace: re.MULTILINE
        text, count = re.subn(correction["regexp"], correction["replace"], text, flags=re.MULTILINE)
        assert count == 1
    assert "cred['id'], blob=blob)['credential']" in text and "projects[1]" not in text


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"library/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nova_conf_is_read_with_defaults(tmp_path):
    path = tmp_path / "nova.conf"
    path.write_text("[DEFAULT]\nallow_resize_to_same_host = true\nmy_ip = %weird\n[vnc]\nenabled = false\n")
    nova = load("tempest_cloud").nova_options(str(path))
    assert nova("DEFAULT", "allow_resize_to_same_host") == "true"
    assert nova("vnc", "enabled", "true") == "false"
    assert nova("spice", "enabled", "false") == "false"
    assert load("tempest_cloud").nova_options(str(tmp_path / "absent"))("vnc", "enabled", "true") == "true"
