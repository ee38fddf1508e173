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


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A file that units read: conf("text") writes it, conf.unit(name, digest) reads it; config_files marks it there."""
    path = tmp_path / "x.conf"

    class Conf:
        def __call__(self, text):
            path.write_text(text)
            path.chmod(0o640)

        def unit(self, name, ignores=(), **digests):
            return {"name": name, "digests": {str(path): {"DEFAULT": "1", **digests, **dict.fromkeys(ignores, "")}}}

    monkeypatch.setattr(Conf, "path", path, raising=False)
    return Conf()
