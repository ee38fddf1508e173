"""A copy of what Ansible has parsed is as equal as a deep copy, has containers of its own, and says where each part is from."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.parsing.dataloader import DataLoader

from kilonova.config.config_files import ROLES
from kilonova.run import copies

datatag = pytest.importorskip("ansible.module_utils._internal._datatag")

FILES = sorted(
    str(path.relative_to(ROLES)) for room in ("defaults", "meta", "tasks", "vars") for path in ROLES.glob(f"*/{room}/**/*.yml")
)
ODD = "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\nb: !unsafe '{{ x }}'\nc: [1, 2.5, true, null, 2026-11-27]\nd: {}\n"


def alike(one, other):
    """Whether two values are equal, of the same types and tags, and share no container."""
    assert type(one) is type(other)
    assert datatag.AnsibleTagHelper.tags(one) == datatag.AnsibleTagHelper.tags(other)
    if isinstance(one, dict):
        assert one is not other
        assert list(one) == list(other)
        for (key, item), (same, its) in zip(one.items(), other.items(), strict=True):
            alike(key, same)
            alike(item, its)
    elif isinstance(one, list):
        assert one is not other and len(one) == len(other)
        for item, its in zip(one, other, strict=True):
            alike(item, its)
    elif isinstance(one, str | int | float | None):
        assert one == other


@pytest.mark.parametrize("trusted", [True, False])
def test_files_of_roles_are_copied_as_before(monkeypatch, trusted):
    loader = DataLoader()
    assert len(FILES) > 100
    for name in FILES:
        parsed = loader.load_from_file(str(ROLES / name), unsafe=True, trusted_as_template=trusted)
        alike(copies.copied(parsed), copy.deepcopy(parsed))
        alike(copies.copied(parsed), parsed)


def test_what_is_neither_text_nor_container_is_copied_as_before(tmp_path):
    path = tmp_path / "odd.yml"
    path.write_text(ODD)
    parsed = DataLoader().load_from_file(str(path), unsafe=True)
    alike(copies.copied(parsed), copy.deepcopy(parsed))
    assert type(copies.copied(parsed)["a"]).__name__ == type(parsed["a"]).__name__


def test_a_copy_that_is_changed_leaves_the_original(tmp_path):
    path = tmp_path / "one.yml"
    path.write_text("a: {b: [1]}\n")
    loader = DataLoader()
    parsed = loader.load_from_file(str(path), unsafe=True)
    mine = copies.copied(parsed)
    mine["a"]["b"].append(2)
    mine["c"] = 3
    assert parsed == {"a": {"b": [1]}}


def test_a_run_copies_that_way_before_it_reads_playbooks(tmp_path):
    """Wherever it is called: the plugin is found beside the playbooks."""
    program = """
import sys
from ansible.parsing import dataloader
from ansible.playbook import Playbook
sys.argv = ["ansible-playbook", "--syntax-check", "-i", "hosts", sys.argv[1]]
load = Playbook.load
def loading(*arguments, **options):
    print("copies by", dataloader.copy.deepcopy.__module__)
    return load(*arguments, **options)
Playbook.load = loading
from ansible.cli.playbook import main
main()
"""
    (tmp_path / "hosts").write_text("localhost\n")
    playbook = str(ROLES.parent / "playbooks" / "config.yml")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [sys.executable, "-c", program, playbook],
        cwd=tmp_path,
        env={**clean, "HOME": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "copies by kilonova.run.copies" in done.stdout, done.stdout + done.stderr
