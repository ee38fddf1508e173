"""What users of Ansible and molecule do out of habit, in a clean clone: their own Ansible, any directory, no make before."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

from kilonova.run import secrets

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = Path(sysconfig.get_path("purelib"))
HOSTS = """
all:
  children:
    controllers: {hosts: {controller: {openstack_management_address: 10.0.0.11}}}
    computes: {hosts: {compute1: {openstack_management_address: 10.0.0.31}}}
  # Nobody listens there.
  vars: {ansible_host: 127.0.0.1, ansible_port: 1, ansible_become: true}
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """What a clone of this tree has: the files that git knows, and nothing that was made beside them."""
    listed = subprocess.run(["git", "-C", PROJECT, "ls-files", "-z", "--cached"], capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is no clone of a git repository")
    directory = tmp_path_factory.mktemp("a clone") / "kilonova"
    for name in filter(None, listed.stdout.decode().split("\0")):
        source, target = PROJECT / name, directory / name
        if source.is_symlink() or source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    subprocess.run(["git", "init", "--quiet", directory], check=True)
    return directory


def environment(directory, without=()):
    """A virtual environment with an Ansible of the user's own: all packages of this one but the project and `without`."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", directory], check=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(directory)}))
    for entry in PACKAGES.iterdir():
        if "kilonova" not in entry.name and not entry.name.startswith(tuple(without)):
            (packages / entry.name).symlink_to(entry)
    script = directory / "bin" / "ansible-playbook"
    script.write_text(f"#!{directory}/bin/python\nimport sys\nfrom ansible.cli.playbook import main\nsys.exit(main())\n")
    script.chmod(0o755)
    return directory


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """An environment that has what is needed, and not the project."""
    return environment(tmp_path_factory.mktemp("own") / "venv")


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    """A small inventory with secrets, somewhere else, with a name that shells dislike."""
    directory = tmp_path_factory.mktemp("elsewhere") / "it's mine"
    directory.mkdir()
    (directory / "hosts.yml").write_text(HOSTS)
    assert secrets.main([str(directory)]) == 0
    return directory


def run(*command, cwd, **more):
    """Run a command as in a login of no settings of Ansible's."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "KILONOVA_", "MOLECULE_", "MAKE"))}
    kept.update({"ANSIBLE_NOCOLOR": "1", "COLUMNS": "500", **more})
    return subprocess.run(list(map(str, command)), cwd=cwd, env=kept, capture_output=True, text=True, check=False)


def playbook(own, *arguments, cwd, **more):
    return run(own / "bin" / "ansible-playbook", *arguments, cwd=cwd, **more)


# --------------------------------------------------------------------------------------------------- an Ansible of one's own


def test_ones_own_ansible_in_a_clean_clone(own, clone, inventory, tmp_path):
    done = playbook(own, "-i", inventory, "playbooks/config.yml", "-e", f"config_out={tmp_path}/out", cwd=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "compute1" / "etc" / "nova" / "nova.conf").is_file()
    assert done.stdout.count("STAGES") == 1
    assert "WARNING" not in done.stdout + done.stderr


def test_an_example_inventory_as_it_is_says_how_its_secrets_are_made(own, clone):
    done = playbook(own, "-i", "inventories/multinode", "playbooks/config.yml", cwd=clone)
    multinode = shlex.quote(f"{clone}/inventories/multinode")
    command = f"cd {shlex.quote(str(clone))} && {own}/bin/python -m kilonova.run.secrets {multinode}"
    assert done.returncode == 2
    assert f"is undefined; make the secrets of this inventory: {command}" in done.stdout
    subprocess.run(command, shell=True, check=True, capture_output=True)
    done = playbook(own, "-i", "inventories/multinode", "playbooks/config.yml", cwd=clone)
    assert done.returncode == 0, done.stdout
    (clone / "inventories" / "multinode" / "group_vars" / "all" / "secrets.yml").unlink()


@pytest.mark.parametrize("name", ["config.yml", "site.yml"])
def test_what_is_missing_is_one_line_with_the_command_that_installs_it(name, clone, inventory, tmp_path):
    bare = environment(tmp_path / "bare", without=["oslo_config", "oslo.config"])
    done = playbook(bare, "-i", inventory, f"playbooks/{name}", cwd=clone)
    python = f"{bare}/bin/python"
    assert done.returncode == 1 and done.stdout == ""
    said = f"ERROR! Kilonova needs oslo.config in Ansible's Python ({python}); run: {python} -m pip install oslo.config\n"
    assert done.stderr == said


def test_an_ansible_that_is_too_old_says_which_is_needed(clone, inventory, tmp_path):
    # This Ansible with the version of Debian 12's.
    old = environment(tmp_path / "old", without=["ansible"])
    ansible = Path(sysconfig.get_path("purelib", vars={"base": str(old)})) / "ansible"
    ansible.mkdir()
    for entry in (PACKAGES / "ansible").iterdir():
        (ansible / entry.name).symlink_to(entry)
    (ansible / "release.py").unlink()
    release = (PACKAGES / "ansible" / "release.py").read_text()
    (ansible / "release.py").write_text(f"{release}\n__version__ = '2.14.18'\n")
    done = playbook(old, "-i", inventory, "playbooks/config.yml", cwd=clone)
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR! Kilonova needs ansible-core 2.18 or newer, and this is 2.14.18 (")
    assert done.stderr.count("\n") == 1


# ---------------------------------------------------------------------------------------------------- from another directory


def test_from_another_directory(own, clone, inventory, tmp_path):
    for name in ("site.yml", "cloud.yml", "verify.yml", "trace.yml", "tempest.yml", "remove_compute.yml", "rotate_secrets.yml"):
        done = playbook(own, "-i", inventory, clone / "playbooks" / name, "--syntax-check", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    done = playbook(own, "-i", inventory, clone / "playbooks" / "config.yml", cwd=tmp_path)
    assert done.returncode == 0 and "STAGES" in done.stdout, done.stdout + done.stderr
    done = playbook(own, "-i", inventory, clone / "playbooks" / "site.yml", cwd=tmp_path)
    # The inventory has passed; one line says what is not as it should be, and the hosts, which are not there, were asked.
    assert "localhost                  : ok=2 " in done.stdout and done.stdout.count("UNREACHABLE") == 2, done.stdout
    warned = [line for line in (done.stdout + done.stderr).splitlines() if "Ansible has read no ansible.cfg" in line]
    assert len(warned) == 1
    assert "inject_facts_as_vars" in warned[0] and "any_unparsed_is_failed" in warned[0]
    assert f"set ANSIBLE_CONFIG={clone}/ansible.cfg" in warned[0]
    done = playbook(own, "-i", inventory, clone / "playbooks" / "site.yml", cwd=tmp_path, ANSIBLE_CONFIG=f"{clone}/ansible.cfg")
    assert "ansible.cfg" not in done.stdout + done.stderr


def test_modules_are_found_from_another_directory(own, clone, tmp_path):
    book = clone / "playbooks" / "test_modules.yml"
    tasks = [{"config_rights": {"directories": []}}, {"assert": {"that": "'zed' | release_name == 'zed'"}}]
    book.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    done = playbook(own, book, cwd=tmp_path)
    book.unlink()
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("variable", "setting"),
    [
        ("ansible_pipelining", "pipelining"),
        ("ansible_ssh_pipelining", "pipelining"),
        ("ansible_no_target_syslog", "no_target_syslog"),
    ],
)
def test_a_setting_that_would_show_secrets_is_an_error(variable, setting, own, clone, inventory, tmp_path):
    for more in ({}, {"ANSIBLE_CONFIG": f"{clone}/ansible.cfg"}):
        off = f'{{"{variable}": false}}'
        done = playbook(own, "-i", inventory, clone / "playbooks" / "site.yml", "-e", off, cwd=tmp_path, **more)
        assert f"Nothing was changed. controller, compute1: {setting}: is off, so " in done.stdout, done.stdout
        assert "UNREACHABLE" not in done.stdout


# ------------------------------------------------------------------------------------------------------------------ molecule


def test_molecule_in_a_clean_clone(clone, tmp_path):
    if not (Path(sys.executable).parent / "molecule").exists():
        pytest.skip("molecule is not installed")
    login = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    scenarios = sorted(found.parent.name for found in clone.glob("molecule/*/molecule.yml"))
    assert len(scenarios) >= 5
    # A clone of the same name that is gone has left its links in the home directory.
    gone = shutil.copytree(clone, tmp_path / clone.name, symlinks=True)
    assert run("molecule", "list", cwd=gone, **login).returncode == 0
    shutil.rmtree(gone)
    for words in (["list"], ["syntax", "--all"], ["--version"]):
        done = run("molecule", *words, cwd=clone, **login)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not (clone / "build").exists()
    # What goes before everything that deploys makes the secrets, once.
    made = clone / "build" / "molecule" / "secrets.yml"
    texts = []
    for _time in range(2):
        done = run("molecule", "dependency", "--scenario-name", "zed", cwd=clone, **login)
        assert done.returncode == 0, done.stdout + done.stderr
        texts.append(made.read_text())
    assert texts[0] == texts[1] and made.stat().st_mode & 0o777 == 0o600
    assert secrets.values(clone / "molecule" / "inventory").keys() == secrets.names().keys()
    for name in scenarios:
        done = run("molecule", "matrix", "--scenario-name", name, "test", cwd=clone, **login)
        steps = done.stdout + done.stderr
        assert "dependency" in steps and steps.index("dependency") < steps.index("create"), steps
    shutil.rmtree(clone / "build")


# ------------------------------------------------------------------------------------------------------ the control machine


def test_nobody_becomes_root_on_this_machine(own, clone, inventory, tmp_path):
    (tmp_path / "report").mkdir()
    trap = tmp_path / "sudo"
    trap.write_text(f'#!/bin/sh\ntouch "{tmp_path}/became"\nexit 1\n')
    trap.chmod(0o755)
    # Of another user, because whoever is root already does not become root.
    user = ["-e", f"ansible_become_exe={trap}", "-e", "ansible_become_user=nobody"]
    arguments = ["-i", inventory, *user, "-e", f"report_directory={tmp_path}/report"]
    for name in ("config.yml", "report.yml", "preflight.yml"):
        done = playbook(own, *arguments, f"playbooks/{name}", cwd=clone)
        assert "failed=0" in done.stdout.partition("localhost  ")[2], done.stdout + done.stderr
    assert not (tmp_path / "became").exists()
    # And it would have been seen.
    book = tmp_path / "book.yml"
    book.write_text("- hosts: localhost\n  become: false\n  gather_facts: false\n  tasks: [{command: id -u}]\n")
    assert playbook(own, *arguments, book, cwd=clone).returncode == 2
    assert (tmp_path / "became").exists()


def _tasks(tasks):
    for task in tasks or ():
        yield task
        for part in ("block", "rescue", "always"):
            yield from _tasks(task.get(part))


def test_every_task_for_this_machine_says_so():
    root_by_need = {"Create the sandbox", "Destroy the sandbox"}
    for path in sorted((PROJECT / "playbooks").glob("*.yml")):
        for play in yaml.safe_load(path.read_text()):
            if play.get("hosts") == "localhost" and play["name"] not in root_by_need:
                assert play.get("vars", {}).get("ansible_become") is False, path
    found = 0
    for path in sorted((PROJECT / "roles").glob("*/tasks/*.yml")):
        for task in _tasks(yaml.safe_load(path.read_text())):
            if task.get("delegate_to") == "localhost":
                found += 1
                assert task.get("vars", {}).get("ansible_become") is False, path
    assert found > 4


# ---------------------------------------------------------------------------------------------------------------------- make


@pytest.fixture(scope="module")
def make(own, clone):
    """Run make in the clone with that environment."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    (own / "ready").touch()
    return lambda *words, **more: run("make", f"VENV={own}", *words, cwd=clone, **more)


@pytest.mark.parametrize("out", ["it's a  b", 'a"b\\c'])
def test_paths_reach_ansible_as_they_are(out, make, clone, inventory):
    done = make("config", f"INVENTORY={inventory}", f"OUT=build/{out}", "SECRETS=hide")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (clone / "build" / out / "manifest.json").is_file()
    shutil.rmtree(clone / "build")


def test_paths_of_translate_and_secrets(make, clone, inventory, tmp_path):
    old, new = tmp_path / "an old's nova.conf", tmp_path / "a new's.conf"
    old.write_text("[DEFAULT]\ndebug = true\n")
    done = make("translate", f"CONF={old}", "FROM=ocata", "TO=zed", f"OUT={new}")
    assert done.returncode == 0 and "debug = true" in new.read_text(), done.stdout + done.stderr
    done = make("secrets", f"INVENTORY={inventory}")
    assert done.stdout.endswith(f"secrets: nothing to add to {inventory}/group_vars/all/secrets.yml\n"), done.stderr
    values = tmp_path / "my 'values'.yml"
    values.write_text("openstack_nova_pass: short\n")
    done = make("rotate-secrets", f"INVENTORY={inventory}", "ONLY=nova_pass", f"VALUES={values}")
    assert "secrets: new secrets: openstack_nova_pass: is weak (5 characters)" in done.stderr
    # Two inventories: the second has the secrets.
    (tmp_path / "hosts.yml").write_text(HOSTS)
    done = make("secrets", f"INVENTORY={tmp_path}/hosts.yml,{inventory}")
    assert done.stdout.endswith(f"secrets: nothing to add to {tmp_path}/group_vars/all/secrets.yml\n"), done.stderr
    done = make("validate", f"INVENTORY={tmp_path}/hosts.yml,{inventory}")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("word", ["Show", "none"])
def test_secrets_are_shown_or_hidden(word, make, inventory):
    done = make("config", f"INVENTORY={inventory}", "OUT=build/x", f"SECRETS={word}")
    assert f"config_secrets (SECRETS=...) = {word}: must be one of show, hide" in done.stdout


@pytest.mark.parametrize("locale", ["C", "xx_XX.UTF-8"])
def test_the_locale_of_the_login_does_not_matter(locale, make, inventory):
    done = make("validate", f"INVENTORY={inventory}", LC_ALL=locale, LANG=locale)
    assert done.returncode == 0, done.stdout + done.stderr
