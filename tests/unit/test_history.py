"""What a host remembers of its changes, and how a run and `make history` tell of it."""

import contextlib
import datetime
import errno
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible.module_utils.kilonova import files, history, result, unit_state

from kilonova import __version__
from kilonova.run import changes

PROJECT = Path(__file__).resolve().parents[2]
NOW = datetime.datetime(2026, 11, 25, 12, 0, tzinfo=datetime.UTC)


class Ended(Exception):
    """A module has ended, with this result."""


class Module:
    """As much of AnsibleModule as the end of one needs."""

    _name, no_log_values = "config_files", frozenset()

    def __init__(self, check_mode=False):
        self.check_mode, self.warnings = check_mode, []
        self.warn = self.warnings.append

    def exit_json(self, **given):
        raise Ended(given)

    def fail_json(self, **given):
        raise Ended({"failed": True, **given})


def ended(function, *arguments, **more):
    """The result with which a module ends."""
    with pytest.raises(Ended) as seen:
        function(*arguments, **more)
    return seen.value.args[0]


@pytest.fixture
def of_a_run(monkeypatch):
    """What the callback plugin gives to modules."""
    monkeypatch.setenv(history.RUN, "3f2a9c01 0.1.0 my site.yml")


def actions():
    """What the host remembers."""
    return [entry["action"] for entry in history.read()[0]]


def newer():
    return Path(history.directory()) / history.NEWER


# ------------------------------------------------------------------------------------------------------- how modules end


def test_what_was_changed_is_returned_and_remembered(of_a_run):
    assert ended(result.leave, Module(), (line for line in ("write /x ([a])", "write /y")), more=1) == {
        "changed": True,
        "actions": ["write /x ([a])", "write /y"],
        "diff": {"before": "", "after": "write /x ([a])\nwrite /y\n"},
        "more": 1,
    }
    (first, second), strange = history.read()
    assert strange == 0 and second["action"] == "write /y"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", first.pop("when"))
    assert first == {
        "run": "3f2a9c01",
        "version": "0.1.0",
        "playbook": "my site.yml",
        "module": "config_files",
        "action": "write /x ([a])",
    }
    assert [stat.S_IMODE(path.stat().st_mode) for path in (newer().parent, newer())] == [0o700, 0o600]


def test_nothing_is_remembered_of_a_plan_or_of_no_change():
    assert ended(result.leave, Module(check_mode=True), ["write /x"])["changed"]
    assert ended(result.leave, Module(), []) == {"changed": False, "actions": [], "diff": {"before": "", "after": ""}}
    assert not ended(result.fail, Module(), "no")["changed"]
    assert not os.path.exists(history.directory())


def test_a_diff_of_the_modules_own_wins():
    assert ended(result.leave, Module(), ["write /x"], diff=[1])["diff"] == [1]


def test_what_fails_later_is_remembered_as_failed():
    said = ended(result.fail, Module(), "it broke", ["start a"], journal=["x"])
    assert said == {"failed": True, "msg": "it broke", "changed": True, "actions": ["start a"], "journal": ["x"]}
    assert [(entry["action"], entry["failed"]) for entry in history.read()[0]] == [("start a", True)]


@pytest.mark.parametrize("error", [OSError("gone"), KeyboardInterrupt(), SystemExit(1)])
def test_whatever_ends_what_acts_what_was_done_is_remembered(error):
    done = ["one"]
    with pytest.raises(type(error)), result.doing(Module(), done):
        done.append("two")
        raise error
    assert actions() == ["one", "two"]


def test_who_fails_deep_within_fails_with_the_actions_and_only_there():
    module, done = Module(), []

    def act():
        with result.doing(module, done):
            done.append("one")
            module.fail_json(msg="deep")

    assert ended(act) == {"failed": True, "msg": "deep", "changed": True, "actions": ["one"]}
    assert ended(module.fail_json, msg="after") == {"failed": True, "msg": "after"}
    with result.doing(module, done):
        pass
    assert actions() == ["one"]


def test_what_ansible_hides_is_hidden():
    module = Module()
    module.no_log_values = {"a-canary"}
    ended(result.leave, module, ["set it to a-canary"])
    assert actions() == ["set it to ********"]
    assert b"canary" not in newer().read_bytes()


# ------------------------------------------------------------------------------------------------------ the files of a host


def test_the_newest_two_files_stay(monkeypatch):
    monkeypatch.setattr(history, "LARGEST", 1000)
    for number in range(40):
        history.append(Module(), [f"action {number}"])
        assert all(path.stat().st_size <= 1000 for path in newer().parent.iterdir())
    assert sorted(path.name for path in newer().parent.iterdir()) == [history.NEWER, history.OLDER]
    kept = actions()
    assert 8 < len(kept) < 20 and kept == [f"action {number}" for number in range(40 - len(kept), 40)]


def test_a_line_that_a_killed_process_began_costs_only_itself():
    history.append(Module(), ["one"])
    with newer().open("a") as stream:
        stream.write('{"when": "2026-11-2')
    assert history.read()[1] == 1 and actions() == ["one"]
    history.append(Module(), ["two"])
    assert history.read()[1] == 1 and actions() == ["one", "two"]


@pytest.mark.parametrize("line", ["", "[]", "null", '{"when": 1}', "[" * 5000, "\xff\0"])
def test_what_somebody_else_writes_there_is_counted_and_left_out(line):
    history.append(Module(), ["one"])
    with newer().open("a", encoding="latin-1") as stream:
        stream.write(line + "\n")
    history.append(Module(), ["two"])
    assert actions() == ["one", "two"] and history.read()[1] == 1


@pytest.mark.parametrize("name", ["file", "nowhere", "pipe", "directory", "lost", "taken"])
def test_what_is_in_the_place_of_the_history_is_left_alone_and_the_module_ends_well(name, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    newer().parent.parent.mkdir(exist_ok=True)
    if name in ("lost", "taken"):
        newer().parent.symlink_to(tmp_path / "lost") if name == "lost" else newer().parent.write_text("a file\n")
    else:
        newer().parent.mkdir()
        {
            "file": lambda: newer().symlink_to(victim),
            "nowhere": lambda: newer().symlink_to(tmp_path / "made"),
            "pipe": lambda: os.mkfifo(newer()),
            "directory": newer().mkdir,
        }[name]()
    module = Module()
    assert ended(result.leave, module, ["write /x"])["changed"]
    assert len(module.warnings) == 1 and module.warnings[0].startswith("what was changed is not in this host's history: ")
    assert victim.read_text() == "mine\n"
    assert not (tmp_path / "made").exists() and not (tmp_path / "lost").exists()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts a small file system")
def test_a_full_disk_fails_nothing_and_leaves_no_half_line(tmp_path):
    """In a file system of 64 KiB, of a mount namespace of its own."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    script = """
import json, os, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[2] + "/module_utils")
from types import SimpleNamespace
from ansible.module_utils.kilonova import history, unit_state
unit_state.DIRECTORY = sys.argv[1] + "/kilonova"
said = []
module = SimpleNamespace(warn=said.append, _name="x")
for number in range(100):
    history.append(module, ["%d %s" % (number, "x" * 2000)])
entries, strange = history.read()
whole = open(history.directory() + "/actions.jsonl", "rb").read()
print(json.dumps([len(entries), strange, len(said), sorted(set(said)), whole.endswith(b"\\n")]))
"""
    mount = 'mount -t tmpfs -o size=64k none "$1" && exec "$0" -c "$2" "$1" "$3"'
    command = ["unshare", "--mount", "sh", "-c", mount, sys.executable, str(tmp_path), script, str(PROJECT)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    entries, strange, warned, said, whole = json.loads(done.stdout)
    assert strange == 0 and whole and 5 < entries < 60 and entries + warned == 100
    assert len(said) == 1, "Ansible shows what is said again only once"
    assert said[0].endswith("cannot be written: No space left on device; make room there (`df -h`, `df -i`), and run again")


def test_half_a_line_is_taken_back(monkeypatch):
    history.append(Module(), ["one"])
    before, write = newer().read_bytes(), os.write
    written = []

    def full(descriptor, content):
        if written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(write(descriptor, content[:9]))
        return 9

    monkeypatch.setattr(os, "write", full)
    module = Module()
    history.append(module, ["two"])
    assert written == [9] and len(module.warnings) == 1 and newer().read_bytes() == before


def test_many_at_once_lose_nothing(monkeypatch):
    monkeypatch.setattr(history, "LARGEST", 3000)
    children = []
    for number in range(4):
        child = os.fork()
        if not child:
            with contextlib.suppress(BaseException):
                for line in range(3):
                    history.append(Module(), [f"{number} {line}"])
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    assert sorted(actions()) == [f"{number} {line}" for number in range(4) for line in range(3)]


def test_reading_begins_where_it_is_asked_to():
    unit_state.replace(str(newer()), b"".join(json.dumps(entry("b", day)).encode() + b"\n" for day in (3, 1, 2)))
    assert [found["when"][8:10] for found in history.read()[0]] == ["01", "02", "03"]
    assert [found["when"][8:10] for found in history.read("2026-11-02T00:00:00Z")[0]] == ["02", "03"]


def test_append_makes_no_file_for_a_name_with_links(tmp_path):
    (tmp_path / "x").symlink_to(tmp_path / "y")
    with pytest.raises(files.Refused), files.Place(str(tmp_path / "x")) as place:
        place.append(b"x\n")
    assert not (tmp_path / "y").exists()


# ----------------------------------------------------------------------------------------------------------- what is told


def entry(action, day=1, **more):
    known = {"run": "3f2a9c01", "version": "0.1.0", "playbook": "site.yml", "module": "service_units"}
    return {"when": f"2026-11-{day:02}T16:00:12Z", **known, "action": action, **more}


def test_lines_are_in_the_order_of_time_with_their_hosts_and_runs():
    restart = "restart nova-scheduler (changed: [scheduler] of /etc/nova/nova.conf)"
    broken = {**entry("a\nb\x1b[31m", 3), "run": "", "version": "", "playbook": ""}
    assert changes.history({"controller": [entry(restart, 2), broken], "c1": [entry("start x", failed=True)]}) == [
        "2026-11-01 16:00:12 c1          start x  run 3f2a9c01, site.yml, 0.1.0, failed",
        f"2026-11-02 16:00:12 controller  {restart}  run 3f2a9c01, site.yml, 0.1.0",
        "2026-11-03 16:00:12 controller  a?b?[31m",
    ]
    assert changes.history({"controller": []}) == ["No change is known."]


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("", ""),
        ("2026-11-24", "2026-11-24T00:00:00Z"),
        ("2026-11-24T10:00", "2026-11-24T10:00:00Z"),
        ("2026-11-24 10:00:01", "2026-11-24T10:00:01Z"),
        ("2026-11-24T10:00+02:00", "2026-11-24T08:00:00Z"),
        (datetime.date(2026, 11, 24), "2026-11-24T00:00:00Z"),
        ("7d", "2026-11-18T12:00:00Z"),
        ("3h", "2026-11-25T09:00:00Z"),
        ("90m", "2026-11-25T10:30:00Z"),
        ("2w", "2026-11-11T12:00:00Z"),
        ("yesterday", None),
        ("7", None),
        ("7y", None),
        ("-7d", None),
        ("999999d", None),
        ("2026-13-01", None),
    ],
)
def test_times_that_may_be_asked_for(text, when):
    assert changes.moment(text, NOW) == when


# ------------------------------------------------------------------------------------------------------ from end to end

HOSTS = """
all:
  children:
    controllers: {hosts: {controller: {ansible_connection: local, ansible_python_interpreter: "{{ ansible_playbook_python }}"}}}
    computes: {hosts: {compute1: {ansible_host: 127.0.0.1, ansible_port: 1}}}
"""
PLAY = """
- name: A page
  hosts: controllers
  gather_facts: false
  tasks:
    - name: Write the files
      config_files:
        files:
          - {path: "{{ where }}/x.conf", layers: {ours: {a: {b: "{{ b }}"}, c: {d: 1}}}}
          - {path: "{{ where }}/y.conf", layers: {ours: {a: {b: 1, admin_password: a-canary}}}}
    - name: Write another, in the place of which there is a directory
      config_files:
        files: [{path: "{{ where }}", layers: {}}]
      when: b == 3
"""
COMMANDS = """
mount -t tmpfs none /var/lib && mount -t tmpfs none /run && mkdir /run/etc
play() { "$PYTHON" -m ansible.cli.playbook -i "$ROOM/hosts.yml" "$@"; printf "\\nended: $?\\n=====\\n"; }
play "$PLAYBOOK" -e b=1 --check -e where=/run/etc
ls /var/lib
play "$PLAYBOOK" -e b=1 -e where=/run/etc
play "$PLAYBOOK" -e b=2 -e where=/run/etc
play "$PLAYBOOK" -e b=2 -e where=/run/etc
play "$PLAYBOOK" -e '{"b": 3}' -e where=/run/etc
play playbooks/history.yml
play playbooks/history.yml -e history_since=1d --limit controller
play playbooks/history.yml -e history_since=yesterday
grep -r canary /var/lib/kilonova/history
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The output of each of COMMANDS, on a host of its own: this one with other /var/lib and /run."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here")
    room = tmp_path_factory.mktemp("room")
    (room / "hosts.yml").write_text(HOSTS)
    playbook = PROJECT / "playbooks" / f"history-{os.getpid()}.yml"
    playbook.write_text(PLAY)
    names = {"ROOM": str(room), "PLAYBOOK": str(playbook), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "500", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", COMMANDS],
            cwd=PROJECT,
            env={**os.environ, **names, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        playbook.unlink()
    return SimpleNamespace(parts=done.stdout.split("=====\n"), playbook=playbook.name, errors=done.stderr)


def after(part, heading):
    """The lines under a heading of a run's end."""
    assert f"\n{heading}" in part, part
    return part.split(f"\n{heading}", 1)[1].split("\n\n")[0].splitlines()[1:]


def test_a_run_says_what_it_changed_as_its_plan_did(told):
    plan, first, second, third = told.parts[:4]
    assert after(plan, "PLAN") == after(first, "CHANGES (run ") == [f"controller: write /run/etc/{name}.conf" for name in "xy"]
    assert first.startswith("\nPLAY"), "a plan leaves nothing in /var/lib"
    assert after(second, "CHANGES (run ") == ["controller: write /run/etc/x.conf ([a])"]
    assert "CHANGES" not in third and "Nothing had to be changed on any host." in third


def test_a_failed_run_says_what_it_changed_before(told):
    failed = told.parts[4]
    assert after(failed, "CHANGES (run ") == ["controller: write /run/etc/x.conf ([a])"]
    assert "NOT FINISHED" in failed


def test_the_host_says_what_was_changed_when_why_and_by_whom(told):
    said = told.parts[5]
    runs = [re.search(r"CHANGES \(run (\w{8})\)", told.parts[number])[1] for number in (1, 2, 4)]
    assert len(set(runs)) == 3
    lines = after(said, "HISTORY (UTC)")
    known = [("x.conf", 0), ("y.conf", 0), ("x.conf ([a])", 1), ("x.conf ([a])", 2)]
    assert [re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", line) for line in lines] == [
        f"controller  write /run/etc/{what}  run {runs[run]}, {told.playbook}, {__version__}" for what, run in known
    ]
    assert "compute1 could not be reached at: Read what was changed" in said
    assert "ended: 0" in told.parts[6] and after(told.parts[6], "HISTORY (UTC)") == lines


def test_a_wrong_time_is_one_error(told):
    wrong = told.parts[7]
    assert "history_since (SINCE) = yesterday: is not a time; write a date (2026-11-24), a date with a time" in wrong
    assert wrong.count("FAILED!") == 1 and "HISTORY" not in wrong and "UNREACHABLE" not in wrong
    assert told.parts[8] == "", "the canary is in the history"
