"""No secret is anywhere but in the declared files: in nothing that a run says, in no process, log, journal or temporary file.

Each secret has a word of 24 letters in it that occurs nowhere else (the fixture `cloud`), and is looked for in every form: raw,
as in a URL, with `$$`, and in base64.
"""

import json
import re
import subprocess
from pathlib import Path

import pytest
from canary import HOSTS, TREE
from hostile import words_of

KEPT = "/var/lib/kilonova/good"
# What a running system has of itself, and what holds no text of ours.
SEARCH = r"""
grep --recursive --files-with-matches --text --fixed-strings --file=/dev/stdin --devices=skip \
  --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev --exclude-dir=doc --exclude-dir=man --exclude-dir=locale / 2>/dev/null
"""


def found_on(cloud, host, words):
    """Files of a host that have one of the words. They are given by a pipe: none is in a command line."""
    done = subprocess.run(
        ["podman", "exec", "--interactive", f"{cloud.prefix}{host}", "bash", "-c", SEARCH],
        input="\n".join(sorted(words)) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return set(done.stdout.splitlines())


@pytest.fixture(scope="module")
def words(cloud):
    """Every form of every secret, and of each private key a line."""
    return cloud.words


@pytest.fixture(scope="module")
def declared(cloud, tmp_path_factory, words):
    """Host -> path -> (owner, group, mode) of the files that need a secret, as `make config` has them."""
    out = tmp_path_factory.mktemp("config")
    done = cloud.run("config.yml", "--extra-vars", f"config_out={out}")
    assert done.returncode == 0, done.stdout[-3000:]
    files = {host: {} for host in HOSTS}
    for row in json.loads((out / "manifest.json").read_text(encoding="utf-8")):
        text = (out / f"{row['host']}{row['path']}").read_text(encoding="utf-8")
        if any(word in text for word in words):
            files[row["host"]][row["path"]] = row["owner"], row["group"], int(row["mode"], 8)
    return files


@pytest.mark.parametrize("host", HOSTS)
def test_only_the_declared_files_hold_one(host, cloud, words, declared):
    """All of them do, so the search finds what there is. The copies that a rollback needs are root's alone."""
    copies = {f"{KEPT}{path}" for path in declared[host]}
    assert found_on(cloud, host, words) - copies == set(declared[host])
    assert cloud.shell(host, f"stat --format '%U:%G %a' {KEPT}").strip() == "root:root 700"


@pytest.mark.parametrize("host", HOSTS)
def test_declared_files_are_for_their_service_alone(host, cloud, declared):
    """0600 or 0640, with the right owner."""
    paths = " ".join(declared[host])
    rights = {}
    for line in cloud.shell(host, f"stat --format '%n %U %G %a' {paths}").splitlines():
        path, owner, group, mode = line.split()
        rights[path] = owner, group, int(mode, 8)
    assert rights == declared[host]
    assert {mode for _owner, _group, mode in rights.values()} <= {0o600, 0o640}
    assert not [path for path, (owner, group, _mode) in rights.items() if "root" != owner != group]


def test_a_compute_node_has_only_what_it_needs(cloud, declared):
    """No password of a database, of the administrator or of the Image service."""
    text = "".join(cloud.shell("compute1", f"cat {path}") for path in declared["compute1"])
    unneeded = [name for name in cloud.secrets if re.search("_dbpass$|_admin_|_glance_", name)]
    assert [name for name in unneeded if any(word in text for word in words_of({name: cloud.secrets[name]}))] == []


def test_the_run_says_none(cloud, words):
    """With -vvv --diff, from the first task to the last."""
    text = cloud.log.read_text(encoding="utf-8")
    assert "module_args" in text  # it was that verbose
    assert [word for word in words if word in text] == []


def test_no_process_was_given_one(cloud):
    """Neither in argv nor in the environment, on any host, nor on this machine."""
    assert cloud.processes == []


@pytest.mark.parametrize("host", HOSTS)
def test_no_journal_has_one(host, cloud, words):
    """Services and sudo say none aloud."""
    text = cloud.shell(host, "journalctl --no-pager --output=verbose")
    assert len(text) > 10000
    assert [word for word in words if word in text] == []


def test_cell_mappings_have_none(cloud, words):
    """They are templates that Nova fills from its configuration."""
    text = cloud.shell("controller", "mariadb --batch -e 'SELECT * FROM nova_api.cell_mappings'")
    assert "{password}" in text
    assert [word for word in words if word in text] == []


def test_no_database_has_one(cloud, words):
    """Accounts, users and credentials are hashed."""
    text = cloud.shell("controller", "mariadb-dump --all-databases --skip-lock-tables 2>/dev/null")
    assert "INSERT INTO" in text
    assert [word for word in words if word in text] == []


def test_nothing_is_left_where_ansible_runs(cloud, words):
    """No temporary file, no facts cache, no retry file."""
    temporary = [path for pattern in ("ansible*", ".ansible*") for path in Path("/tmp").glob(pattern)]
    places = [str(place) for place in (Path.home() / ".ansible", TREE / ".ansible", TREE / "build", *temporary) if place.exists()]
    done = subprocess.run(
        ["grep", "--recursive", "--files-with-matches", "--text", "--fixed-strings", "--file=/dev/stdin", "/dev/null", *places],
        input="\n".join(sorted(words)) + "\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""


def test_a_failed_task_says_none(cloud, words):
    """Every module that handles a secret, made to fail for a reason of its own, with -vvv --diff."""
    done = cloud.run("../tests/trust/failures.yml", "-vvv", "--diff")
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.count("...ignoring") >= 10
    assert [word for word in words if word in done.stdout] == []
    for host in HOSTS:
        journal = cloud.shell(host, "journalctl --no-pager --since=-5min")
        assert [word for word in words if word in journal] == []


def test_the_search_would_find_one(cloud, words):
    """A copy of nova.conf in a log is found, and so is one in base64."""
    cloud.shell("compute1", "cp /etc/nova/nova.conf /var/log/leak.log; base64 --wrap=0 /etc/nova/nova.conf > /var/tmp/leak")
    try:
        assert {"/var/log/leak.log", "/var/tmp/leak"} <= found_on(cloud, "compute1", words)
    finally:
        cloud.shell("compute1", "rm /var/log/leak.log /var/tmp/leak")
