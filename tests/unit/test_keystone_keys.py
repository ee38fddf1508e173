"""The Identity service's keys."""

import os
import re
import subprocess

import pytest
from harness import Module, load

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


@pytest.fixture
def fernet(run, monkeypatch, tmp_path):
    """fernet(): a rotation; fernet.keys: the numbers there are; fernet.age(hours): all of it happened so much earlier."""
    code, directory = load("keystone_keys"), tmp_path / "fernet-keys"
    directory.mkdir()
    (tmp_path / "keystone.conf").write_text(f"[fernet_tokens]\nkey_repository = {directory}\n[token]\nexpiration = 7200\n")
    monkeypatch.setattr(code, "CONFIGURATION", str(tmp_path / "keystone.conf"))

    def rotate():
        """As keystone/common/fernet_utils.py does it."""
        numbers = {int(path.name) for path in directory.iterdir()}
        (directory / "0").rename(directory / str(max(numbers) + 1))
        (directory / "0").touch()
        signed = sorted(int(path.name) for path in directory.iterdir() if path.name != "0")
        for number in signed[:-2]:
            (directory / str(number)).unlink()

    def keystone_manage(argv, **_options):
        assert argv[:5] == ["runuser", "-u", "keystone", "--", "keystone-manage"]
        if argv[5] == "fernet_rotate":
            rotate()
        return subprocess.CompletedProcess(argv, 0, b"")

    def rotation(check_mode=False, repositories=("fernet",)):
        return run(code, check_mode, repositories=list(repositories))

    def age(hours):
        for path in directory.iterdir():
            os.utime(path, (path.stat().st_mtime - hours * 3600,) * 2)

    (directory / "0").touch()
    rotate()
    monkeypatch.setattr(code.command.subprocess, "run", keystone_manage)
    rotation.age, rotation.keys, rotation.code = age, lambda: sorted(int(path.name) for path in directory.iterdir()), code
    return rotation


def test_rotations_that_fail_again_and_again_purge_no_key_of_todays_tokens(fernet):
    """Each attempt rotated, and the third one purged what had signed the tokens from before the first."""
    fernet.age(1000)
    assert fernet.keys() == [0, 1]
    assert fernet()["changed"]
    for _attempt in range(3):
        for check_mode in (True, False):
            result = fernet(check_mode, repositories=("credential", "fernet"))
            assert result["actions"] == ["rotate the credential keys"]
            assert re.match(r"The fernet keys were rotated lately.* after 2\d{3}-\d\d-\d\d \d\d:\d\d; at", Module.warnings[0])
    assert fernet.keys() == [0, 1, 2]


@pytest.mark.parametrize(("hours", "rotated"), [(1, False), (49, False), (51, True), (1000, True)])
def test_keys_are_rotated_when_no_token_is_lost_by_it(fernet, hours, rotated):
    """Tokens of two hours, and two days more for what services do with one that has expired meanwhile."""
    fernet.age(1000)
    fernet()
    fernet.age(hours)
    assert fernet(check_mode=True)["changed"] is rotated
    assert fernet()["changed"] is rotated
    assert fernet.keys() == ([0, 2, 3] if rotated else [0, 1, 2])


def test_settings_of_keystone_are_read_and_nonsense_is_not(fernet, tmp_path):
    text = "[token]\nexpiration = soon\nallow_expired_window=60\n[fernet_tokens]\nmax_active_keys = 5\n"
    (tmp_path / "keystone.conf").write_text(text)
    assert fernet.code.settings() == {
        ("fernet_tokens", "key_repository"): "/etc/keystone/fernet-keys/",
        ("fernet_tokens", "max_active_keys"): 5,
        ("token", "expiration"): 3600,
        ("token", "allow_expired_window"): 60,
    }
    (tmp_path / "keystone.conf").unlink()
    assert fernet.code.settings() == fernet.code.DEFAULTS
