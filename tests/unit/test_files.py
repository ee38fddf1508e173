"""What root does in files of hosts: links, second names, devices, full disks, and two at once."""

import errno
import fcntl
import grp
import json
import os
import pwd
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from base64 import b64encode
from pathlib import Path

import pytest
from ansible.module_utils.kilonova import files, unit_state
from ansible.module_utils.kilonova import lock as kilonova_lock
from ansible.module_utils.kilonova import rights as kilonova_rights
from harness import Failed, load

from kilonova.config import config_files
from kilonova.onhost import lock
from kilonova.run import changes, preflight

ME, MINE = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
SERVICE = 12345


def entry(path, text="new\n", mode="0640"):
    """A file as the module config_files takes it."""
    return {"path": str(path), "owner": ME, "group": MINE, "mode": mode, "content": b64encode(text.encode()).decode()}


@pytest.fixture
def etc(tmp_path):
    """A directory whose files a service may change, as /etc/keystone is, beside one of root's own."""
    for name in ("keystone", "secret"):
        (tmp_path / name).mkdir()
    (tmp_path / "keystone").chmod(0o770)
    if os.geteuid() == 0:
        os.chown(tmp_path / "keystone", SERVICE, SERVICE)
    shadow = tmp_path / "secret" / "shadow"
    shadow.write_text("root:canary\n")
    shadow.chmod(0o600)
    return tmp_path


def tree(directory):
    """Everything in a directory: kind, owner, mode, content."""
    found = {}
    for path in sorted(Path(directory).rglob("*")):
        state = path.lstat()
        content = path.read_text() if stat.S_ISREG(state.st_mode) else os.readlink(path) if path.is_symlink() else ""
        found[str(path.relative_to(directory))] = (state.st_mode, state.st_uid, state.st_gid, content)
    return found


REFUSED = {
    "a link": (lambda path, etc: path.symlink_to(etc / "secret/shadow"), "is a symbolic link to .*/secret/shadow; put the file"),
    "a link that leads nowhere": (lambda path, etc: path.symlink_to("gone"), "is a symbolic link to gone; put the file itself"),
    "a link in a circle": (lambda path, etc: path.symlink_to(path.name), "is a symbolic link to x.conf"),
    "a hard link": (lambda path, etc: path.hardlink_to(etc / "secret/shadow"), r"has 2 names \(hard links\), in a directory"),
    "a directory": (lambda path, etc: path.mkdir(), "is a directory, not a file; move it away"),
    "a pipe": (lambda path, etc: os.mkfifo(path), "is a pipe, not a file; move it away"),
    "a link on its way": (lambda path, etc: path.with_suffix("").symlink_to(etc / "secret"), "x on its way is a symbolic link"),
    "a file on its way": (lambda path, etc: path.with_suffix("").write_text(""), "x on its way is a file, not a dir"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("check_mode", [True, False])
def test_what_is_no_file_of_ours_is_refused_before_anything_is_written(run, etc, what, check_mode):
    make, message = REFUSED[what]
    path = etc / "keystone" / "x.conf"
    make(path, etc)
    path = path.with_suffix("") / "shadow" if "on its way" in what else path
    before = tree(etc)
    with pytest.raises(Failed) as failed:
        run(load("config_files"), check_mode, files=[entry(etc / "first"), entry(path), entry(etc / "secret" / "last")])
    message = rf"^Nothing was written\. {re.escape(str(path))}: {message}"
    assert re.match(message, failed.value.args[0]["msg"]), failed.value.args[0]["msg"]
    assert tree(etc) == before
    # preflight says it already.
    [refused] = files.refusals([str(path)])
    [problem] = preflight.check_files("controller", {"refused": [{"path": refused.path, "what": refused.what, "remedy": "x"}]})
    assert str(problem) == f"controller: file = {path}: {refused.what}; x"
    # And nobody reads it.
    assert unit_state.read(str(path)) is None
    assert load("host_facts").file_digests([str(path)], b"key") == {}


def test_nothing_of_a_service_leads_root_elsewhere_when_it_reads(etc):
    """Logs, identities and keys in directories that are a service's own."""
    log = etc / "keystone" / "keystone.log"
    log.symlink_to(etc / "secret" / "shadow")
    assert list(load("trace_evidence").new_lines(str(log), None)) == []
    assert load("verify_host").tail(str(log)) == []
    log.unlink()
    log.write_text("a line\n")
    assert load("verify_host").tail(str(log)) == list(load("trace_evidence").new_lines(str(log), None)) == ["a line"]
    log.rename(log.with_name("keystone.log.1"))
    log.write_text("another\n")
    mark = [log.with_name("keystone.log.1").stat().st_ino, 2]
    assert list(load("trace_evidence").new_lines(str(log), mark)) == ["line", "another"]


def test_a_repository_of_keys_that_is_a_link_loses_none_of_what_it_leads_to(etc):
    """One key alone is what a killed setup has left, and is removed."""
    code, keys = load("keystone_bootstrap"), etc / "keystone" / "fernet-keys"
    module = type("M", (), {"check_mode": False, "fail_json": staticmethod(lambda msg: pytest.fail(msg))})
    assert code.begun(module, str(keys))
    keys.symlink_to(etc / "secret")
    with pytest.raises(pytest.fail.Exception, match="fernet-keys on its way is a symbolic link that not only root can change"):
        code.begun(module, str(keys))
    assert (etc / "secret" / "shadow").exists()
    keys.unlink()
    keys.mkdir()
    (keys / "0").touch()
    assert code.begun(type("P", (module,), {"check_mode": True}), str(keys))
    assert (keys / "0").exists()
    assert code.begun(module, str(keys))
    assert list(keys.iterdir()) == []
    (keys / "0").touch()
    (keys / "1").touch()
    assert not code.begun(module, str(keys))
    assert len(list(keys.iterdir())) == 2


def test_all_that_is_refused_is_said_at_once(run, etc):
    for name in ("a", "b"):
        (etc / "secret" / name).symlink_to("shadow")
    with pytest.raises(Failed, match=r"secret/a: is a symbolic link to shadow; .* \| .*/secret/b: is a symbolic link"):
        run(load("config_files"), files=[entry(etc / "secret" / "a"), entry(etc / "secret" / "b")])


@needs_root
def test_a_device_is_refused(run, tmp_path):
    try:
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("no devices can be made here")
    with pytest.raises(Failed, match="null: is a device, not a file; move it away"):
        run(load("config_files"), files=[entry(tmp_path / "null")])


def test_a_directory_that_the_administrator_has_moved_is_followed(run, tmp_path):
    (tmp_path / "srv" / "nova").mkdir(parents=True)
    (tmp_path / "nova").symlink_to("srv/../srv/nova")
    (tmp_path / "abs").symlink_to(tmp_path / "nova")
    run(load("config_files"), files=[entry(tmp_path / "abs" / "deep" / "x.conf")])
    assert (tmp_path / "srv/nova/deep/x.conf").read_text() == "new\n"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Failed, match="loop/x: has too many symbolic links on its way"):
        run(load("config_files"), files=[entry(tmp_path / "loop" / "x")])


@pytest.mark.parametrize("name", [".x.conf.kilonova", "x.conf.orig.kilonova", "x.conf.kilonova", "x.conf.new", "x.conf.orig"])
def test_no_name_that_the_service_prepared_is_written_through(run, etc, name):
    """Adversarial 3: a link at the name of the copy, which root then filled and gave away."""
    path = etc / "keystone" / "x.conf"
    path.write_text("* * * * * root evil\n")
    path.with_name(name).symlink_to(etc / "secret" / "cron")
    run(load("config_files"), files=[entry(path)])
    assert list(tree(etc / "secret")) == ["shadow"]
    assert path.read_text() == "new\n"
    if name != "x.conf.orig":
        assert path.with_name("x.conf.orig").read_text() == "* * * * * root evil\n"
        assert not path.with_name("x.conf.orig").is_symlink()


@pytest.mark.parametrize("work", ["write", "give", "put back", "rights"])
def test_races_are_lost_by_the_service(etc, work, monkeypatch):
    """The name is swapped for a link in the very moment between look and deed, again and again."""
    path, target = etc / "keystone" / "x.conf", etc / "secret" / "shadow"
    before, stop = tree(etc / "secret"), threading.Event()
    directory = {"path": str(etc / "keystone"), "owner": ME, "group": MINE}
    unit_state.replace(unit_state.known_good_path(str(path)), b"good\n")

    def swap():
        other = path.with_name("other")
        while not stop.is_set():
            for make in (lambda: other.symlink_to(target), lambda: other.write_text("service\n")):
                make()
                other.replace(path)

    def deed():
        with files.Place(str(path)) as place:
            if work == "write":
                place.write(b"new\n", os.getuid(), os.getgid(), 0o640)
            elif work == "give":
                place.give(os.getuid(), os.getgid(), 0o644)
            elif work == "put back":
                unit_state.put_back(str(path))
            else:
                kilonova_rights.wrong(directory, correct=True)
            return place.read()[0]

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _time in range(300):
            try:
                assert b"canary" not in (deed() or b"")
            except files.Refused as error:
                assert "symbolic link" in str(error)
    finally:
        stop.set()
        thread.join()
    assert tree(etc / "secret") == before


def test_two_writers_at_once_write_whole_files(tmp_path):
    """Adversarial 22: with one name for all temporary files, one took away or published the other's."""
    path, texts, errors = tmp_path / "nova.conf", [bytes([65 + at]) * 50000 for at in range(4)], []

    def write(text):
        try:
            for _time in range(30):
                files.write(str(path), text, os.getuid(), os.getgid(), 0o640)
                assert path.read_bytes() in texts
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (errors, [found.name for found in tmp_path.iterdir()]) == ([], ["nova.conf"])


def test_what_a_killed_writer_has_left_is_removed_and_a_living_ones_stays(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    dead, old = tmp_path / f".x.conf.kilonova-{gone.pid}-00", tmp_path / ".x.conf.kilonova"
    lives, other = tmp_path / f".x.conf.kilonova-{os.getppid()}-00", tmp_path / ".y.conf.kilonova"
    for path in (dead, old, lives, other):
        path.write_text("password = canary\n")
    files.write(str(tmp_path / "x.conf"), b"1", os.getuid(), os.getgid(), 0o600)
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "x.conf", lives, other])


@pytest.mark.parametrize("call", ["write", "fsync", "rename", "fchown"])
@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "cannot be written: No space left on device; make room there (`df -h`, `df -i`), and run again"),
        (errno.EROFS, "cannot be written: Read-only file system; mount its file system for writing, and run again"),
        (errno.EDQUOT, "cannot be written: Disk quota exceeded; raise the quota there, and run again"),
        (errno.EIO, "cannot be written: Input/output error; look at its file system, and run again"),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(run, tmp_path, monkeypatch, call, number, message):
    path = tmp_path / "nova.conf"
    path.write_text("Written by Kilonova\nold\n")

    def fail(*_arguments, **_named):
        raise OSError(number, os.strerror(number))

    if call == "write":
        real = os.fdopen

        def opened(descriptor, mode="r", *more, **named):
            stream = real(descriptor, mode, *more, **named)
            return (
                type(
                    "Full", (), {"__enter__": lambda self: self, "__exit__": lambda self, *error: stream.close(), "write": fail}
                )()
                if mode == "wb"
                else stream
            )

        monkeypatch.setattr(files.os, "fdopen", opened)
    else:
        monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(Failed) as failed:
        run(load("config_files"), files=[entry(path)])
    monkeypatch.undo()
    assert failed.value.args[0]["msg"] == f"{path}: {message}"
    assert path.read_text() == "Written by Kilonova\nold\n"
    assert [found.name for found in tmp_path.iterdir()] == ["nova.conf"]


@needs_root
def test_a_full_disk(run, tmp_path):
    """A real one: the message is one line, and nothing of the secrets stays."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        (disk / "x").write_text("Written by Kilonova\n")
        with pytest.raises(Failed, match=r"^.*/disk/x: cannot be written: No space left on device; make room there"):
            run(load("config_files"), files=[entry(disk / "x", "password = canary\n" * 9000)])
        assert tree(disk).keys() == {"x"}
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_copy_of_the_original_is_never_more_open_than_the_original(run, tmp_path, monkeypatch):
    """Adversarial 25: it was world-readable while it was made."""
    path, seen = tmp_path / "clouds.yaml", []
    path.write_text("password: canary\n")
    path.chmod(0o600)
    real = os.fsync

    def look(descriptor):
        seen.append(os.fstat(descriptor).st_mode & 0o7777)
        real(descriptor)

    monkeypatch.setattr(files.os, "fsync", look)
    os.utime(path, ns=(10**18, 10**18))
    before = os.umask(0)
    try:
        run(load("config_files"), files=[entry(path, mode="0600")])
    finally:
        os.umask(before)
    original = path.with_name("clouds.yaml.orig")
    state = original.stat()
    assert (stat.S_IMODE(state.st_mode), state.st_mtime_ns, original.read_text()) == (0o600, 10**18, "password: canary\n")
    assert seen[0] == 0o600


# ------------------------------------------------------------------------------------------------------------------- rights


@pytest.fixture
def nova(tmp_path, monkeypatch):
    """/etc/nova as its package and its administrator leave it; nova(): owner, group and mode of everything after a run."""
    root = tmp_path / "nova"
    users = {"root": (0, 0), "nova": (SERVICE, SERVICE), "haproxy": (SERVICE + 1, SERVICE + 1)}
    monkeypatch.setattr(kilonova_rights.pwd, "getpwnam", lambda name: type("U", (), {"pw_uid": users[name][0]}))
    monkeypatch.setattr(kilonova_rights.grp, "getgrnam", lambda name: type("G", (), {"gr_gid": users[name][1]}))
    for name, mode, owner, group in (
        (".", 0o755, "nova", "nova"),
        ("nova.conf", 0o644, "nova", "nova"),
        ("rootwrap.conf", 0o644, "root", "root"),
        ("policy.d/", 0o2775, "nova", "nova"),
        ("policy.d/a.yaml", 0o664, "nova", "nova"),
        ("hook", 0o755, "root", "root"),
        ("suid", 0o4755, "nova", "nova"),
        ("private.key", 0o600, "root", "root"),
        ("hidden", 0o640, "root", "root"),
        ("hidden-by-a-package", 0o640, "root", "root"),
        ("hidden.d/", 0o750, "root", "root"),
        ("hidden.d/by-a-package", 0o640, "root", "root"),
        ("private-of-a-package", 0o600, "root", "root"),
        ("haproxy.pem", 0o640, "root", "haproxy"),
        ("haproxy/", 0o750, "haproxy", "haproxy"),
        ("haproxy/x", 0o644, "root", "root"),
        ("fernet/", 0o700, "nova", "nova"),
        ("fernet/0", 0o644, "nova", "nova"),
    ):
        path = root / name
        path.mkdir() if name.endswith((".", "/")) else path.write_text("x")
        os.chown(path, users[owner][0], users[group][1])
        path.chmod(mode)
    names = {number: name for name, (number, _group) in users.items()}
    (tmp_path / "x.conffiles").write_text(f"/etc/x\n{root}/hidden-by-a-package\n{root}/private-of-a-package\n")
    (tmp_path / "y.conffiles").write_text(f"{root}/hidden.d/by-a-package\n")
    monkeypatch.setattr(kilonova_rights, "PACKAGES", f"{tmp_path}/*.conffiles")
    kilonova_rights._of_packages.cache_clear()

    def after(correct=True):
        wrong = kilonova_rights.wrong({"path": str(root), "owner": "root", "group": "nova"}, correct)
        after.wrong = {os.path.relpath(path, root) for path, *_rights in wrong}
        states = {str(path.relative_to(root)): path.lstat() for path in (root, *root.rglob("*"))}
        return {
            name: f"{names[state.st_uid]}:{names[state.st_gid]} {stat.S_IMODE(state.st_mode):o}" for name, state in states.items()
        }

    after.root = root
    return after


RIGHT = {
    ".": "root:nova 750",
    "nova.conf": "root:nova 640",
    "rootwrap.conf": "root:nova 640",
    # The script of the package took it from the service.
    "hidden-by-a-package": "root:nova 640",
    "policy.d/a.yaml": "root:nova 640",
    # Who had set the group's bit of a directory wants it; a program of the administrator's is one.
    "policy.d": "root:nova 2750",
    "hook": "root:nova 750",
    # Nothing of a service's becomes a program that runs as root.
    "suid": "root:nova 750",
    # What the service cannot read, or what is another daemon's.
    "private.key": "root:root 600",
    "hidden": "root:root 640",
    "hidden.d": "root:root 750",
    "hidden.d/by-a-package": "root:root 640",
    "private-of-a-package": "root:root 600",
    "haproxy.pem": "root:haproxy 640",
    "haproxy": "haproxy:haproxy 750",
    "haproxy/x": "root:root 644",
    "fernet": "nova:nova 700",
    "fernet/0": "nova:nova 644",
}


@needs_root
def test_rights_are_corrected_where_they_are_ours(nova):
    before = nova(correct=False)
    assert nova.wrong == {name for name, rights in RIGHT.items() if before[name] != rights}
    assert nova() == RIGHT
    assert nova(correct=False) == RIGHT
    assert nova.wrong == set()


@needs_root
def test_rights_of_what_is_elsewhere_stay(nova, tmp_path):
    """Links, also on the second run, when the directory is root's and nobody could tell who has made them."""
    for name, mode in (("shadow", 0o640), ("passwd", 0o644)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
        (nova.root / name).hardlink_to(tmp_path / name)
        (nova.root / f"{name}-link").symlink_to(tmp_path / name)
    os.mkfifo(nova.root / "pipe", 0o666)
    before = {name: (tmp_path / name).stat() for name in ("shadow", "passwd")}
    for _run in range(2):
        nova()
        assert {name: (tmp_path / name).stat()[:6] for name in before} == {name: state[:6] for name, state in before.items()}


def test_what_vanishes_during_the_walk_is_no_error(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(0o644)
    (tmp_path / "d").mkdir()
    real = os.listdir

    def listed(directory):
        found = real(directory)
        (tmp_path / "b").unlink(missing_ok=True)
        (tmp_path / "d").rmdir() if (tmp_path / "d").exists() else None
        return found

    monkeypatch.setattr(kilonova_rights.os, "listdir", listed)
    wrong = kilonova_rights.wrong({"path": str(tmp_path), "owner": ME, "group": MINE}, correct=True)
    assert [path for path, *_rights in wrong if path != str(tmp_path)] == [str(tmp_path / "a"), str(tmp_path / "c")]


# -------------------------------------------------------------------------------------------------------------- state files

SHAPES = [
    "",
    '"x"',
    "7",
    "null",
    "true",
    "{",
    "[[]]",
    '{"u": null}',
    '{"u": []}',
    '{"u": {"/p": null}}',
    '{"u": {"/p": {"s": 1}}}',
    '{"u": {"p": {}}}',
    '["relative"]',
    '["/a\\u0000b"]',
    '["/\\ud800"]',
    '{"u": {"/\\ud800": {}}}',
    "[" * 100000,
    "1e999",
    "\0",
    '{"/a": 1}',
    "[1]",
]


@pytest.mark.parametrize("text", SHAPES, ids=range(len(SHAPES)))
def test_state_files_of_any_shape_count_as_absent(run, tmp_path, text):
    directory = Path(unit_state.DIRECTORY)
    directory.mkdir()
    names = ("services.json", "files.json", "answers.json")
    for name in names:
        (directory / name).write_text(text)
    warnings = []
    assert (unit_state.load_state(warnings.append), unit_state.load_files(warnings.append)) == ({}, [])
    unit_state.load_answers(warnings.append)
    assert [warning.split(" ")[0] for warning in warnings][:2] == [str(directory / name) for name in names[:2]]
    code = load("host_facts")
    assert code.services(unit_state.load_state(), b"key", {}, {}) == {"busy": [], "current": {}}
    assert code.file_digests(unit_state.load_files(), b"key") == {}
    # Text is where something answers, or does not: what is neither a URL nor a port does not.
    assert not any(code.answering([*unit_state.load_answers().values(), "", "x", "a:b", "http://", "[::1"]).values())
    path = tmp_path / "x.conf"
    assert run(load("config_files"), files=[entry(path)])["changed"]
    assert json.loads((directory / "files.json").read_text()) == [str(path)]
    path.write_text("by hand\n")
    assert run(load("config_files"), files=[entry(path)])["changed"]


def test_what_is_written_is_read_without_a_warning():
    state = {"nova-api": {"/etc/nova/nova.conf": {"DEFAULT": "1", "api": ""}}}
    unit_state.save_state(state)
    assert unit_state.load_state(pytest.fail) == state
    assert unit_state.load_files(pytest.fail) == []


# --------------------------------------------------------------------------------------------------------------------- lock

HOLDER = """
import sys, time
sys.path.append(sys.argv[1])
from kilonova.onhost import lock
from types import SimpleNamespace
lock.PATH = sys.argv[2]
lock.take(SimpleNamespace(check_mode=False, fail_json=sys.exit, warn=print, _name="schema_sync"))
print("held", flush=True)
exec(sys.argv[3])
"""


@pytest.fixture
def holder():
    """holder(program): another run's module on this host, which has the lock and does that; killed at the end."""
    started = []

    def start(program="time.sleep(60)", **environment):
        argv = [sys.executable, "-c", HOLDER, str(config_files.ROLES.parent), kilonova_lock.PATH, program]
        started.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}))
        assert started[-1].stdout.readline() == "held\n"
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_second_run_says_who_works_on_the_host(run, tmp_path, holder, monkeypatch):
    monkeypatch.setattr(kilonova_lock, "WAIT", 0.3)
    other = holder(SUDO_USER="alice", SSH_CONNECTION="192.0.2.7 50000 10.0.0.11 22")
    message = (
        rf"another run works on this host: process {other.pid} of alice as {ME}, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d, "
        r"from 192.0.2.7 \(schema_sync\); this one has waited 0.3 s; run again when that has ended"
    )
    with pytest.raises(Failed, match=message):
        run(load("config_files"), files=[entry(tmp_path / "x")])
    assert not (tmp_path / "x").exists()
    # A plan changes nothing, and waits for nobody.
    assert run(load("config_files"), check_mode=True, files=[entry(tmp_path / "x")])["changed"]


def test_a_second_run_waits_and_goes_on(run, tmp_path, holder):
    other = holder("time.sleep(0.5)")
    assert run(load("config_files"), files=[entry(tmp_path / "x")])["changed"]
    assert other.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_lock_is_gone_with_who_had_it(run, tmp_path, holder, number):
    other = holder()
    other.send_signal(number)
    other.wait()
    begun = time.monotonic()
    assert run(load("config_files"), files=[entry(tmp_path / "x")])["changed"]
    assert time.monotonic() - begun < 2


def test_a_migration_whose_module_was_killed_keeps_the_lock(run, tmp_path, holder, monkeypatch):
    """nova-manage goes on by itself: the next run must not empty what it fills."""
    monkeypatch.setattr(kilonova_lock, "WAIT", 0.3)
    other = holder("import subprocess; subprocess.run(['sleep', '1'], pass_fds=lock.descriptors())")
    time.sleep(0.3)
    other.kill()
    other.wait()
    with pytest.raises(Failed, match=f"process {other.pid}, which is gone; what it started still works"):
        run(load("config_files"), files=[entry(tmp_path / "x")])
    monkeypatch.setattr(kilonova_lock, "WAIT", 5)
    assert run(load("config_files"), files=[entry(tmp_path / "x")])["changed"]


CHANGING = [
    path
    for path in sorted((config_files.ROLES.parent / "library").glob("*.py"))
    if "supports_check_mode=True" in (text := path.read_text()) and re.search(r"changed=(?!False)|\bresult\.leave\(", text)
]
# They make nothing that a second run could meet: an answer in /run, a guest's image and the sandbox, which is this machine's own.
ALONE = {"migration_keys", "kvm_probe", "launch_instance", "tempest_cloud", "sandbox_containers", "sandbox_image", "trace_launch"}


@pytest.mark.parametrize("path", CHANGING, ids=lambda path: path.stem)
def test_every_module_that_changes_a_host_takes_its_lock(path):
    if path.stem in ALONE:
        pytest.skip("changes nothing of a host's installation")
    assert "lock.take(module)" in path.read_text()


def test_nothing_stays_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for number in range(5):
        files.write(str(tmp_path / "made" / str(number)), b"x", os.geteuid(), os.getegid(), 0o600)
        assert files.read(str(tmp_path / "made" / str(number))) == b"x"
        assert files.refusals([str(tmp_path / "made")])
    assert len(os.listdir("/proc/self/fd")) == before


def test_one_run_at_a_time_works_on_an_inventory(tmp_path):
    """The whole run; the lock is the inventory's own descriptor, so nothing is left behind."""
    (tmp_path / "hosts.yml").touch()
    held = os.open(tmp_path, os.O_RDONLY)
    said = []
    waited = [str(tmp_path), "localhost,", "/nowhere"]
    # A daemon: where an assertion fails, it waits for ever.
    done = threading.Thread(target=lambda: said.extend(changes.hold(waited, said.append)), daemon=True)
    fcntl.flock(held, fcntl.LOCK_EX)
    done.start()
    while not said:
        time.sleep(0.01)
    who = lock.describe(str(os.getpid())) if lock.holder(held) else "a process that does not show itself"
    assert said == [f"Another run is working on {tmp_path}: {who}. This run waits until it has ended."]
    os.close(held)
    done.join()
    descriptor = said[-1]
    with pytest.raises(BlockingIOError):
        fcntl.flock(other := os.open(tmp_path, os.O_RDONLY), fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)
    assert [path.name for path in tmp_path.iterdir()] == ["hosts.yml"]


def test_sandboxes_of_one_inventory_do_not_wait_for_each_other(tmp_path, monkeypatch):
    program = "import fcntl, os, sys; fcntl.flock(os.open(sys.argv[1], 0), 2); print(); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "KILONOVA_SANDBOX": "other"},
    )
    other.stdout.readline()
    monkeypatch.setenv("KILONOVA_SANDBOX", "mine")
    changes.hold([str(tmp_path)], pytest.fail)
    other.communicate()


def test_which_playbooks_hold_the_inventory():
    names = {path.name for path in (config_files.ROLES.parent / "playbooks").glob("*.yml")}
    assert set(changes.CHANGING) <= names


def test_files_of_roles_are_known_without_a_host():
    """host_facts looks at them before anything is changed."""
    controller = config_files.role_files(["keystone", "nova_controller"])
    expected = {"/etc/keystone/keystone.conf", "/etc/nova/nova.conf", "/root/admin-openrc", "/etc/openstack/clouds.yaml"}
    assert expected <= set(controller)
    assert "/etc/glance/glance-api.conf" not in controller
    assert not [path for path in controller if "{{" in path or path.endswith("/")]


def test_the_operators_file_may_be_behind_a_link_but_is_none_itself(tmp_path, monkeypatch):
    """Where Ansible runs, the way to a file is the operator's own; and a directory that a group may write is not root's."""
    (tmp_path / "disk").mkdir(mode=0o775)
    (tmp_path / "disk").chmod(0o777)
    (tmp_path / "work").symlink_to("disk")
    monkeypatch.chdir(tmp_path)
    files.replace_operators(Path("work/new/secrets.yml"), "a: \udcff\n")
    made = tmp_path / "disk/new/secrets.yml"
    assert made.read_bytes() == b"a: \xff\n"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert [path.name for path in made.parent.iterdir()] == ["secrets.yml"]
