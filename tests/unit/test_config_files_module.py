"""Configuration files on a host, their owners and modes."""

import base64
import grp
import json
import os
import pwd
import stat
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.kilonova import unit_state
from harness import Failed, load

from kilonova.config import config_files

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


def test_files_are_known_by_those_who_ask_later_while_they_are_there(run, files, tmp_path):
    code = load("config_files")
    run(code, files=[files("a", "1\n"), files("b", "1\n")])
    known = Path(unit_state.files_path())
    before = known.stat()
    assert json.loads(known.read_text()) == [str(tmp_path / "a"), str(tmp_path / "b")]
    # A second run writes nothing, a plan neither.
    run(code, files=[files("b", "2\n")])
    run(code, check_mode=True, files=[files("c", "1\n")])
    assert known.stat() == before
    (tmp_path / "a").unlink()
    run(code, files=[files("c", "1\n")])
    assert unit_state.load(known) == [str(tmp_path / "b"), str(tmp_path / "c")]


def test_a_shipped_file_is_kept_once(run, files, tmp_path):
    code, path = load("config_files"), tmp_path / "nova.conf"
    path.write_text("shipped\n")
    assert run(code, files=[files("nova.conf", "# Written by Kilonova\n1\n")])["kept"] == [f"{path}.orig"]
    result = run(code, files=[files("nova.conf", "# Written by Kilonova\n2\n")])
    assert (result["changed_files"], result["kept"]) == ([str(path)], [])
    path.write_text("shipped by an upgrade\n")
    assert run(code, files=[files("nova.conf", "# Written by Kilonova\n2\n")])["kept"] == []
    assert (tmp_path / "nova.conf.orig").read_text() == "shipped\n"
    assert path.read_text().endswith("2\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["nova.conf", "nova.conf.orig"]


def test_an_equal_file_is_left_alone_and_a_wrong_mode_corrected(run, files, tmp_path):
    code, path = load("config_files"), tmp_path / "deep" / "x"
    assert run(code, files=[files("deep/x", "1\n")])["changed"]
    before = path.stat()
    assert not run(code, files=[files("deep/x", "1\n")])["changed"]
    result = run(code, files=[files("deep/x", "1\n", "0600")])
    assert next(iter(result["notes"].values()))[0].startswith("owner, group and mode become")
    after = path.stat()
    assert (after.st_ino, after.st_mtime, stat.S_IMODE(after.st_mode)) == (before.st_ino, before.st_mtime, 0o600)


def test_check_mode_writes_nothing_and_shows_no_secret(run, files, tmp_path):
    code, path = load("config_files"), tmp_path / "x"
    path.write_text("password = old-canary\n")
    result = run(code, check_mode=True, files=[files("x", "password = new-canary\n"), files("new", "1\n")])
    assert result["changed_files"] == [str(path), str(tmp_path / "new")]
    assert result["secrets_changed"] == [str(path)]
    assert "canary" not in json.dumps(result)
    assert path.read_text() == "password = old-canary\n"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_plan_counts_rights_that_the_run_has_corrected_before(run, files, tmp_path):
    """config_rights comes first and gives its files to root and their service; then there is nothing left to write."""
    path, entry = tmp_path / "nova" / "nova.conf", files("nova/nova.conf", "1\n")
    path.parent.mkdir()
    path.write_text("1\n")
    path.chmod(0o644)
    directories = [{"path": str(path.parent), "owner": entry["owner"], "group": entry["group"], "package": "nova-common"}]
    corrected = run(load("config_rights"), check_mode=True, directories=directories)["corrected"]
    assert run(load("config_files"), check_mode=True, files=[entry])["changed"]
    assert not run(load("config_files"), check_mode=True, files=[entry], corrected=corrected)["changed"]
    run(load("config_rights"), directories=directories)
    assert not run(load("config_files"), files=[entry], corrected=corrected)["changed"]
    assert run(load("config_rights"), directories=directories)["corrected"] == []
    # The package comes again with this run, and its script gives the directory to others.
    arguments = {"directories": directories, "installed": ["nova-common"]}
    assert run(load("config_rights"), check_mode=True, **arguments)["changed"]
    assert not run(load("config_rights"), **arguments)["changed"]


def test_an_owner_that_does_not_exist(run, files):
    entry = {**files("x", "1\n"), "owner": "no-such-user"}
    with pytest.raises(Failed, match="is the package that owns the file installed"):
        run(load("config_files"), files=[entry])


def test_host_and_controller_hide_the_same():
    code, shown = load("config_files"), "password = (hidden)\nurl = a://b:(hidden)@c"
    assert Path(code.mask.__code__.co_filename).samefile(config_files.mask.__code__.co_filename)
    assert code.mask("password = canary\nurl = a://b:canary@c") == shown


# --------------------------------------------------------------------------------------------------------- clouds.yaml

OURS = "# Clouds. Written by Kilonova.\nclouds:\n  admin:\n    region_name: RegionOne\n"


@pytest.fixture
def clouds(run, tmp_path):
    """Write clouds.yaml over what is there."""
    code, path = load("config_files"), tmp_path / "clouds.yaml"

    def wrote(there, check_mode=False):
        if there is not None:
            path.write_text(there)
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        code.unit_state.DIRECTORY = str(tmp_path / "kilonova")
        entry = {
            "path": str(path),
            "owner": user,
            "group": group,
            "mode": "0600",
            "merge": "clouds",
            "content": base64.b64encode(OURS.encode()).decode(),
        }
        return run(code, check_mode=check_mode, files=[entry]), path

    return wrote


@pytest.mark.parametrize("there", [None, "", "# nothing\n", OURS, "clouds:\n  admin:\n    region_name: Other\n", "clouds: {}\n"])
def test_a_file_without_other_clouds_is_ours(clouds, there):
    assert clouds(there)[1].read_text() == OURS


@pytest.mark.parametrize(
    ("there", "others"),
    [
        ("clouds:\n  work:\n    auth: {password: 'a: b'}\n", {"clouds": {"work": {"auth": {"password": "a: b"}}}}),
        (
            "clouds: {work: {}, admin: {region_name: Other}}\ncache: {expiration_time: 3600}\n",
            {"clouds": {"work": {}}, "cache": {"expiration_time": 3600}},
        ),
        ("client: {force_ipv4: true}\n", {"client": {"force_ipv4": True}}),
    ],
)
def test_other_clouds_stay(clouds, there, others):
    foreseen, path = clouds(there, check_mode=True)
    result, path = clouds(there)
    assert foreseen["changed_files"] == result["changed_files"] == [str(path)]
    found = yaml.safe_load(path.read_text())
    assert found == {**others, "clouds": {**others.get("clouds", {}), "admin": {"region_name": "RegionOne"}}}
    assert path.read_text().startswith("# Clouds. Written by Kilonova.\n")
    assert not clouds(None)[0]["changed"]


@pytest.mark.parametrize("there", ["clouds: [a\n", "- a\n", "clouds: [work]\n"])
def test_what_is_no_clouds_file_is_not_replaced(clouds, there, tmp_path):
    with pytest.raises(Failed, match="correct it, or move it away"):
        clouds(there)
    assert (tmp_path / "clouds.yaml").read_text() == there
