"""What tests of modules share."""

import grp
import os
import pwd
from base64 import b64encode

import pytest
from harness import Exit, Module, Systemd, load


@pytest.fixture
def run(monkeypatch):
    """Run a module's main(): run(code, check_mode, **arguments) returns its result or raises Failed."""

    def runs(code, check_mode=False, **arguments):
        monkeypatch.setattr(code, "AnsibleModule", type("Fake", (Module,), {"arguments": arguments, "check_mode": check_mode}))
        Module.warnings.clear()
        with pytest.raises(Exit) as ended:
            code.main()
        return ended.value.args[0]

    return runs


@pytest.fixture
def files(tmp_path):
    """config_files with files that belong to whoever runs the tests: entry(name, text, mode)."""
    owner, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name

    def entry(name, text, mode="0640"):
        content = b64encode(text.encode()).decode()
        return {"path": str(tmp_path / name), "owner": owner, "group": group, "mode": mode, "content": content}

    return entry


@pytest.fixture
def systemd(monkeypatch, tmp_path):
    """A host's systemd, in memory."""
    return Systemd(load("service_units"), monkeypatch, tmp_path)
