"""Keys for migrations, and who is let in."""

import configparser
import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from ansible.module_utils.kilonova import command, unit_state
from ansible.module_utils.kilonova import migration as kilonova_migration
from harness import LIBRARY, Failed, load

from kilonova.run import answers

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


PUBLIC = {n: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + str(n).rjust(43, "A") for n in (1, 32, 33)}


@pytest.fixture
def migration(run, monkeypatch, tmp_path):
    """The module on a host whose user nova has its home below tmp_path."""
    code = load("migration_keys")
    (tmp_path / "nova").mkdir()
    account = pwd.struct_passwd(("nova", "x", os.getuid(), os.getgid(), "", str(tmp_path / "nova"), "/bin/sh"))
    monkeypatch.setattr(code.pwd, "getpwnam", lambda name: account)
    (tmp_path / "host.pub").write_text(f"{PUBLIC[1]} root@compute1\n")
    monkeypatch.setattr(kilonova_migration, "HOST_KEY", str(tmp_path / "host.pub"))
    monkeypatch.setattr(kilonova_migration, "DROP_INS", (str(tmp_path / "sshd.conf"), str(tmp_path / "ssh.conf")))
    monkeypatch.setattr(unit_state, "DIRECTORY", str(tmp_path / "state"))

    def runs(check_mode=False, **arguments):
        return run(code, check_mode, directory=str(tmp_path / "ssh"), **arguments)

    runs.told = lambda: {"openstack_host": {"migration": kilonova_migration.told(str(tmp_path / "ssh"))}}
    return runs


def rows(**of_nodes):
    """The argument `lists`: n32=None or "" for a node whose key is to come or was not asked for."""
    keys = {int(name[1:]): PUBLIC[int(name[1:])] if asked is True else asked for name, asked in of_nodes.items()}
    return json.dumps(
        {
            "authorized_keys": [(f"10.0.0.{n}", key and f'from="10.0.0.{n}",restrict {key}') for n, key in keys.items()],
            "known_hosts": [(f"10.0.0.{n}", key and f"10.0.0.{n},node{n} {key}") for n, key in keys.items()],
        }
    )


needs_keygen = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")


@needs_keygen
def test_a_compute_nodes_key_is_made_once_and_stays_private(migration, tmp_path):
    assert migration(True)["peer"] == {"key": "", "host_key": PUBLIC[1]}
    assert not (tmp_path / "nova/.ssh").exists()
    made = migration()
    assert made["changed"]
    assert made["peer"]["key"] == " ".join((tmp_path / "nova/.ssh/id_ed25519.pub").read_text().split()[:2])
    assert stat.S_IMODE((tmp_path / "nova/.ssh").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "nova/.ssh/id_ed25519").stat().st_mode) == 0o600
    for check_mode in (True, False):
        again = migration(check_mode)
        assert (again["changed"], again["actions"], again["peer"]) == (False, [], made["peer"])
    told = migration.told()
    assert answers.migration_peer(told) == made["peer"]
    assert answers.migration_peer(told | {"ansible_facts": {answers.RUN: {"changed": True}}}) is None
    # What is beside the private key does not matter.
    for text in (None, "root:$y$secret:1::", f"{PUBLIC[32]}\n"):
        (tmp_path / "nova/.ssh/id_ed25519.pub").unlink(missing_ok=True)
        if text:
            (tmp_path / "nova/.ssh/id_ed25519.pub").write_text(text)
        assert migration()["peer"] == made["peer"]
        assert answers.migration_peer(migration.told()) == made["peer"]
    (tmp_path / "nova/.ssh/id_ed25519").unlink()
    assert answers.migration_peer(migration.told()) is None
    assert answers.migration_peer({"openstack_host": {"migration": None}}) is None


@needs_keygen
def test_a_run_that_was_killed_while_it_made_the_key(migration, tmp_path):
    for left in ("id_ed25519.kilonova", "id_ed25519.kilonova.pub", "id_ed25519.pub"):
        (tmp_path / "nova/.ssh").mkdir(exist_ok=True)
        (tmp_path / "nova/.ssh" / left).write_text("half")
        assert migration(True)["actions"] == [f"create {tmp_path}/nova/.ssh/id_ed25519"]
        assert migration()["peer"]["key"].startswith("ssh-ed25519 AAAA")
        assert sorted(path.name for path in (tmp_path / "nova/.ssh").iterdir()) == ["id_ed25519", "id_ed25519.pub"]
        shutil.rmtree(tmp_path / "nova/.ssh")


@needs_keygen
@pytest.mark.parametrize("wrong", ["empty", "rsa", "passphrase", "open", "directory", "dangling", "fifo"])
def test_a_key_that_cannot_be_used_is_named_and_kept(migration, monkeypatch, tmp_path, wrong):
    path = tmp_path / "nova/.ssh/id_ed25519"
    path.parent.mkdir()
    kind, phrase = ("rsa", "") if wrong == "rsa" else ("ed25519", "long enough" if wrong == "passphrase" else "")
    if wrong in ("rsa", "passphrase", "open"):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", phrase, "-f", path], check=True)
    elif wrong == "directory":
        path.mkdir()
    elif wrong == "dangling":
        path.symlink_to(tmp_path / "nowhere")
    elif wrong == "fifo":
        os.mkfifo(path)
    else:
        path.touch(mode=0o600)
    if wrong == "open":
        path.chmod(0o644)
    before = path.lstat()
    monkeypatch.setattr(kilonova_migration, "PATIENCE", 1)
    for check_mode in (True, False):
        with pytest.raises(Failed, match=r"is not an ed25519 key that user nova can use without a passphrase .*; move it away"):
            migration(check_mode)
    assert answers.migration_peer(migration.told()) is None
    found = path.lstat()
    # Not when it was read.
    kept = ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns")
    assert [getattr(found, name) for name in kept] == [getattr(before, name) for name in kept]


@needs_keygen
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nova")
def test_links_in_novas_home_give_nothing(run, monkeypatch, tmp_path):
    """As the module does it: root runs it, and nova is another user."""
    nobody = pwd.getpwnam("nobody")
    code, account = load("migration_keys"), pwd.struct_passwd(("nova", "x", nobody.pw_uid, nobody.pw_gid, "", "", "/bin/sh"))
    # A directory of pytest is root's alone.
    home = Path(tempfile.mkdtemp(dir="/var/tmp"))
    secret = home / "secret"
    try:
        home.chmod(0o755)
        (home / "nova").mkdir()
        os.chown(home / "nova", account.pw_uid, account.pw_gid)
        account = pwd.struct_passwd((*account[:5], str(home / "nova"), "/bin/sh"))
        monkeypatch.setattr(code.pwd, "getpwnam", lambda name: account)
        (home / "host.pub").write_text(f"{PUBLIC[1]}\n")
        monkeypatch.setattr(kilonova_migration, "HOST_KEY", str(home / "host.pub"))
        secret.mkdir(mode=0o700)
        # ~/.ssh is a link to a directory of root's: nothing is made there, and it stays root's.
        (home / "nova/.ssh").symlink_to(secret)
        with pytest.raises(Failed, match="Permission denied"):
            run(code, directory=str(home / "ssh"))
        assert list(secret.iterdir()) == []
        assert secret.stat().st_uid == 0
        # The key is a link to root's, or root's itself, as an earlier version's killed run left it.
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", secret / "id_ed25519"], check=True)
        for linked in (True, False):
            (home / "nova/.ssh").unlink() if (home / "nova/.ssh").is_symlink() else shutil.rmtree(home / "nova/.ssh")
            (home / "nova/.ssh").mkdir()
            if linked:
                (home / "nova/.ssh/id_ed25519").symlink_to(secret / "id_ed25519")
            else:
                shutil.copy2(secret / "id_ed25519", home / "nova/.ssh/id_ed25519")
            with pytest.raises(Failed, match=r"Permission denied.*; move it away"):
                run(code, directory=str(home / "ssh"))
            assert kilonova_migration.told(str(home / "ssh"))["key"] == ""
        # With nothing in the way, the key is nova's from the beginning.
        shutil.rmtree(home / "nova/.ssh")
        assert run(code, directory=str(home / "ssh"))["changed"]
        assert {path.stat().st_uid for path in (home / "nova").rglob("*")} == {account.pw_uid}
    finally:
        shutil.rmtree(home)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "root:$y$j9T$abc:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n",
        "ssh-rsa AAAAB3NzaC1yc2E x\n",
        f"{PUBLIC[1]}\n{PUBLIC[32]}\n",
        f'command="x" {PUBLIC[1]}\n',
        f"{PUBLIC[1][:-1]}\n",
        f"{PUBLIC[1]}AAAA\n",
        PUBLIC[1].replace("AAAAI", "AAAA "),
        "ssh-ed25519 HOST\n",
    ],
)
def test_what_is_no_public_key_is_passed_on_to_nobody(migration, tmp_path, monkeypatch, text):
    assert kilonova_migration.public_key(text) == ""
    (tmp_path / "host.pub").write_text(text)
    monkeypatch.setattr(kilonova_migration, "SSHD", "/bin/sh")
    for check_mode in (True, False):
        with pytest.raises(Failed, match="is not a public key of this host; run `ssh-keygen -A` and `systemctl reload ssh`"):
            migration(check_mode)
    # In a plan, sshd may still be to come.
    monkeypatch.setattr(kilonova_migration, "SSHD", "/nonexistent")
    assert migration(True)["peer"]["host_key"] == ""


def test_peers_are_let_in_kept_and_forgotten(migration, tmp_path):
    assert migration(True, lists=rows(n32=True, n33=True))["changed"]
    assert not (tmp_path / "ssh").exists()
    done = migration(lists=rows(n32=True, n33=True))
    assert done["actions"] == [f"write {tmp_path}/ssh/authorized_keys", f"write {tmp_path}/ssh/known_hosts"]
    allowed = f'from="10.0.0.32",restrict {PUBLIC[32]}\nfrom="10.0.0.33",restrict {PUBLIC[33]}\n'
    assert (tmp_path / "ssh/authorized_keys").read_text() == allowed
    assert (tmp_path / "ssh/known_hosts").read_text() == f"10.0.0.32,node32 {PUBLIC[32]}\n10.0.0.33,node33 {PUBLIC[33]}\n"
    # A run with --limit does not ask everybody.
    assert not migration(lists=rows(n32=True, n33=""))["changed"]
    assert (tmp_path / "ssh/authorized_keys").read_text() == allowed
    # A plan: a key is to come.
    assert migration(True, lists=rows(n32=True, n33=None))["changed"]
    # A node that has left the inventory, and one that no run has asked so far.
    assert migration(lists=rows(n32=True, n1=""))["changed"]
    assert "10.0.0.33" not in (tmp_path / "ssh/authorized_keys").read_text() + (tmp_path / "ssh/known_hosts").read_text()
    assert not migration(lists=rows(n32=True, n1=""))["changed"]


def test_peers_that_are_let_in_are_not_asked_for_again(migration, tmp_path):
    digests = {
        name: kilonova_migration.digest("".join(f"{line}\n" for _address, line in found))
        for name, found in json.loads(rows(n32=True, n33=True)).items()
    }

    def lets_in(of=digests, **facts):
        return answers.lets_in(of, {**migration.told(), "ansible_facts": facts})

    assert not lets_in()
    migration(lists=rows(n32=True, n33=True))
    assert lets_in()
    assert not lets_in(**{answers.RUN: {"new": []}})
    assert not lets_in({**digests, "known_hosts": None})
    assert not lets_in({**digests, "known_hosts": digests["authorized_keys"]})
    with (tmp_path / "ssh/authorized_keys").open("a") as stream:
        stream.write("# by hand\n")
    assert not lets_in()
    assert not answers.lets_in(digests, {})


def systemctl_is(monkeypatch, systemctl):
    """What systemctl does; other commands are run."""
    run = command.run
    monkeypatch.setattr(command, "run", lambda *argv, **more: systemctl(argv) if argv[0] == "systemctl" else run(*argv, **more))


def test_a_host_that_takes_no_part_any_more_lets_nobody_in(migration, tmp_path, monkeypatch):
    systemctl = []
    systemctl_is(monkeypatch, lambda argv: systemctl.append([*argv]) or command.Done(0, ""))
    assert not migration(state="absent")["changed"]
    assert not answers.takes_part_in_migrations(migration.told())
    assert answers.takes_part_in_migrations({})
    migration(lists=rows(n32=True))
    (tmp_path / "ssh/command").write_text("#!/bin/sh\n")
    (tmp_path / "sshd.conf").write_text("# Written by Kilonova\nMatch User nova\n")
    (tmp_path / "ssh.conf").write_text("# my own\n")
    unit_state.save_state({"ssh": {"/x": {"*": "digest"}}, "nova-compute": {"/y": {"*": "digest"}}})
    assert answers.takes_part_in_migrations(migration.told())
    paths = [
        *(tmp_path / "ssh" / name for name in ("authorized_keys", "known_hosts")),
        tmp_path / "sshd.conf",
        tmp_path / "ssh/command",
        tmp_path / "ssh",
    ]
    planned = migration(True, state="absent")
    assert planned["actions"] == [*(f"remove {path}" for path in paths), "reload ssh"]
    assert all(path.exists() for path in paths)
    assert migration(state="absent")["actions"] == planned["actions"]
    assert not any(path.exists() for path in paths)
    assert (tmp_path / "ssh.conf").exists()
    assert systemctl == [["systemctl", "try-reload-or-restart", "ssh"]]
    # When it takes part again, sshd has to read its file again.
    assert unit_state.load_state() == {"nova-compute": {"/y": {"*": "digest"}}}
    assert migration(state="absent") == {"changed": False, "actions": [], "diff": {"before": "", "after": ""}}


def test_sshd_is_told_by_the_next_run_when_this_one_is_killed(migration, tmp_path, monkeypatch):
    def killed(_argv):
        raise KeyboardInterrupt

    migration(lists=rows(n32=True))
    systemctl_is(monkeypatch, killed)
    with pytest.raises(KeyboardInterrupt):
        migration(state="absent")
    assert list((tmp_path / "ssh").iterdir()) == []
    systemctl_is(monkeypatch, lambda _argv: command.Done(0, ""))
    assert migration(state="absent")["actions"] == [f"remove {tmp_path}/ssh", "reload ssh"]
    assert not migration(state="absent")["changed"]


def test_no_call_is_written_into_the_hosts_journal():
    """Ansible logs every call there, and finds no password in it that Python has to escape: a quote or a backslash is enough."""
    settings = configparser.ConfigParser()
    settings.read(LIBRARY.parent / "ansible.cfg", encoding="utf-8")
    assert settings.getboolean("defaults", "no_target_syslog")
