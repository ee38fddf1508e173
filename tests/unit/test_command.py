"""The one way to run a program on a host."""

import os
import pwd
import re
import sys
import time
from types import SimpleNamespace

import pytest
from harness import LIBRARY

from kilonova.onhost import command, lock

NOBODY = pwd.getpwnam("nobody")


def python(code, *argv, **how):
    """Run a line of Python."""
    return command.run(sys.executable, "-c", code, *argv, **how)


def test_no_shell_reads_an_argument():
    assert command.run("printf", "%s|", "a b", "$HOME; false", "") == (0, "a b|$HOME; false||", "")


def test_errors_are_among_the_output_or_apart():
    both = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(3)"
    assert python(both) == (3, "out\nerr\n", "")
    assert python(both, apart=True) == (3, "out\n", "err\n")
    assert command.output("sh", "-c", "echo out; echo err >&2; exit 3") == "out\n"


def test_there_is_nothing_to_read_but_what_is_given():
    assert command.run("cat") == (0, "", "")
    assert command.run("cat", text="ä\n") == (0, "ä\n", "")
    # One that does not read ends as it would.
    assert command.run("true", text="x" * 2**20).status == 0


def test_words_are_english_whatever_the_caller_speaks(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("OURS", "kept")
    assert command.run("sh", "-c", "echo $LC_ALL $OURS $THEIRS", environment={"THEIRS": "given"}).output == "C.UTF-8 kept given\n"


def test_what_is_no_text_is_shown_all_the_same():
    assert command.run("printf", r"a\377b").output == "a\ufffdb"


def test_it_works_where_nobody_has_a_directory_of_his_own(tmp_path):
    assert command.run("pwd").output == "/\n"
    assert command.run("pwd", directory=tmp_path).output == f"{tmp_path}\n"


def test_one_that_is_not_installed_and_one_that_does_not_end():
    assert command.run("no-such-program") == (command.MISSING, "no-such-program: No such file or directory", "")
    assert command.run("no-such-program", apart=True) == (command.MISSING, "", "no-such-program: No such file or directory")
    assert command.output("no-such-program") == ""
    begun = time.monotonic()
    assert command.run("sleep", "60", timeout=0.2) == (command.LATE, "sleep did not end within 0.2 s", "")
    assert time.monotonic() - begun < 30


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_it_becomes_another_user_with_nothing_of_roots(monkeypatch, tmp_path):
    monkeypatch.setenv("CANARY", "root's")
    account = SimpleNamespace(pw_uid=NOBODY.pw_uid, pw_gid=NOBODY.pw_gid, pw_dir="/nonexistent")
    said = "import os; print(os.getuid(), os.getgid(), os.getgroups(), os.environ['HOME'], os.environ.get('CANARY'))"
    done = command.run("/usr/bin/env", "python3", "-c", said, user=account)
    assert done == (0, f"{NOBODY.pw_uid} {NOBODY.pw_gid} [] /nonexistent None\n", "")
    assert command.run("id", "-un", user="nobody") == (0, "nobody\n", "")
    assert command.run("true", user="no-such-user", apart=True).status


def test_it_holds_the_lock_where_it_is_asked_to(monkeypatch, tmp_path):
    """Even when the module was killed: the descriptor is the program's own."""
    path = tmp_path / "lock"
    with path.open("w") as stream:
        monkeypatch.setitem(lock._held, str(path), stream)
        held = f"import os; print('{path}' in [os.readlink('/proc/self/fd/' + name) for name in os.listdir('/proc/self/fd') if"
        held += " os.path.exists('/proc/self/fd/' + name)])"
        assert python(held).output == "False\n"
        assert python(held, locked=True).output == "True\n"
        monkeypatch.undo()


def test_nothing_on_hosts_runs_programs_another_way():
    """But for a stream of bytes, and what the sandbox and the units' own module still do."""
    paths = [*LIBRARY.glob("*.py"), *LIBRARY.parent.glob("module_utils/**/*.py")]
    found = {path.name for path in paths if re.search(r"subprocess\.|run_command\(|os\.system", path.read_text(encoding="utf-8"))}
    assert found <= {"command.py", "tempest_results.py", "sandbox_containers.py", "sandbox_image.py"}
