"""How a module is run without its host, and what stands in for systemd."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from kilonova.config.config_files import ROLES

TREE = ROLES.parent
LIBRARY = TREE / "library"


def load(name):
    """The module's code, afresh."""
    spec = importlib.util.spec_from_file_location(f"library_{name}", LIBRARY / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ansible_playbook(directory, plays, hosts, arguments=(), callbacks=True, name="play.yml"):
    """Run plays on hosts that are this machine; returns the process, and what it printed.

    Plugins are ours and those of the directory. Without our `callbacks`, Ansible works as it does by itself.
    """
    common = {"gather_facts": False, "connection": "local"}
    text = yaml.safe_dump([{**common, **play} for play in plays], sort_keys=False)
    (directory / name).write_text(text)
    argv = [Path(sys.executable).with_name("ansible-playbook"), "-i", "".join(f"{host}," for host in hosts), name, *arguments]
    variables = {
        "ANSIBLE_CONFIG": str(TREE / "ansible.cfg"),
        "PYTHONPATH": str(TREE),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        **({} if callbacks else {"ANSIBLE_CALLBACK_PLUGINS": str(directory / "none")}),
    }
    process = subprocess.Popen(
        argv,
        env={**os.environ, **variables},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return process, process.communicate(timeout=120)[0]


class Exit(Exception):
    """exit_json was called."""


class Failed(Exception):
    """fail_json was called."""


class Module:
    """AnsibleModule without its host: the arguments come from the test, the result is raised."""

    arguments, check_mode, warnings = {}, False, []

    def __init__(self, argument_spec, supports_check_mode=False, no_log=False):
        """Check the arguments as AnsibleModule does."""
        self.argument_spec, self.supports_check_mode = argument_spec, supports_check_mode
        checked = ArgumentSpecValidator(argument_spec).validate(self.arguments)
        assert not checked.error_messages
        self.params = checked.validated_parameters

    get_bin_path = staticmethod(shutil.which)

    def warn(self, text):
        Module.warnings.append(text)

    def exit_json(self, **result):
        raise Exit(result)

    def fail_json(self, **result):
        raise Failed(result)


class Clock:
    """Time that passes while somebody sleeps, and not otherwise; `meanwhile` is what happens then."""

    def __init__(self):
        self.slept, self.meanwhile = [], lambda: None

    def monotonic(self):
        return sum(self.slept)

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.meanwhile()


class Systemd:
    """systemctl with units in memory; `starts` says what each start leads to, `refuses` what a command answers that fails."""

    def __init__(self, code, monkeypatch, tmp_path):
        self.code, self.calls, self.units, self.starts, self.refuses = code, [], {}, {}, {}
        monkeypatch.setattr(code.unit_state, "DIRECTORY", str(tmp_path / "kilonova"))
        monkeypatch.setattr(code, "systemctl", self.systemctl)
        monkeypatch.setattr(code, "show", lambda names: {name: dict(self.units[name]) for name in names})
        monkeypatch.setattr(code, "last_words", lambda name: [f"the journal of {name}"])
        self.clock = Clock()
        monkeypatch.setattr(code, "time", self.clock)

    def add(self, *names, **properties):
        """Units that are enabled and run."""
        for name in names:
            self.units[name] = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled", **properties}

    def systemctl(self, verb, *names):
        if verb not in ("daemon-reload", "reset-failed"):
            self.calls.append(" ".join((verb, *names)))
        if " ".join((verb, *names)) in self.refuses:
            return 1, self.refuses[" ".join((verb, *names))]
        for name in set(names) - {"--no-block"}:
            if verb == "enable":
                self.units[name]["UnitFileState"] = "enabled"
            elif verb == "disable":
                self.units.get(name, {}).update(UnitFileState="disabled", ActiveState="inactive")
            elif verb in ("start", "restart", "reload"):
                led_to = self.starts.get(name, "active")
                self.units[name]["ActiveState"] = led_to() if callable(led_to) else led_to
        return 0, ""


class Accounts:
    """A cursor on a server with one account, `nova`, and what was done to it."""

    def __init__(self, password):
        self.account = ("localhost", "mysql_native_password", load("service_database").native_hash(password), "")
        self.done = []

    def __enter__(self):
        return self

    def __exit__(self, *_arguments):
        pass

    cursor = __enter__

    def execute(self, statement, arguments=()):
        if "schemata" in statement:
            self.rows = [("nova",)]
        elif "mysql.user" in statement:
            self.rows = [self.account] if arguments == ("nova",) else []
        elif "SHOW GRANTS" in statement:
            self.rows = [("GRANT ALL PRIVILEGES ON `nova`.* TO `nova`@`localhost`",)]
        else:
            self.done.append(statement.split(" ")[0])

    def fetchall(self):
        return self.rows


def argument_spec(name, monkeypatch):
    """The argument_spec that main() gives to AnsibleModule."""

    class Seen(Exception):
        pass

    def stop(argument_spec, **_rules):
        raise Seen(argument_spec)

    code = load(name)
    monkeypatch.setattr(code, "AnsibleModule", stop)
    with pytest.raises(Seen) as seen:
        code.main()
    return seen.value.args[0]


def revision(directory, name, down=None, depends_on=None, annotated=False):
    """One alembic script."""
    hint = ": str" if annotated else ""
    lines = [f"revision{hint} = {name!r}", f"down_revision{hint} = {down!r}", f"depends_on = {depends_on!r}", "x = len('')"]
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}_change.py").write_text("\n".join(lines))


def unit(name, digest="1", **more):
    """A unit that reads one section of one file."""
    return {"name": name, "digests": {"/etc/x.conf": {"DEFAULT": digest}}, **more}
