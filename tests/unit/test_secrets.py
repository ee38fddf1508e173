"""The secrets of an inventory: generated once, strong, readable by their owner alone."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from kilonova.onhost import command
from kilonova.run import preflight
from kilonova.run.secrets import (
    always,
    begin_rotation,
    changed_names,
    finish_rotation,
    generate,
    main,
    old_values,
    rotating_file,
    secrets_file,
)


@pytest.fixture
def inventory(tmp_path):
    """An inventory directory."""
    return tmp_path


def written(inventory, text):
    """Give the inventory a secrets file."""
    path = secrets_file(inventory)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return path


def test_every_secret_is_written_strong_and_passes_the_preflight(inventory):
    path, added = generate(inventory)
    values = yaml.safe_load(path.read_text())
    assert path == inventory / "group_vars" / "all" / "secrets.yml"
    assert added == list(values) == list(always())
    assert all(re.fullmatch(r"[\w-]{32}", value) for value in values.values())
    assert preflight.check_secrets(values, always(), "controllers") == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_run_changes_nothing_but_a_mode_that_is_too_wide(inventory):
    path, _added = generate(inventory)
    before = path.read_text()
    path.chmod(0o644)
    assert generate(inventory) == (path, [])
    assert path.read_text() == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_missing_ones_are_added(inventory):
    mine = "# mine\nopenstack_admin_pass: !unsafe '{{7*7}}'\nopenstack_nova_pass: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132"
    path = written(inventory, mine)
    _path, added = generate(inventory)
    assert path.read_text().startswith(mine + "\n")
    assert added == [name for name in always() if name not in ("openstack_admin_pass", "openstack_nova_pass")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".gitignore", "secrets.yml"]


# ------------------------------------------------------------------------------------------- what is set elsewhere

HOSTS = "all: {children: {controllers: {hosts: {controller: }}, computes: {hosts: {compute1: , compute2: }}}}\n"
ALL = "".join(f"{name}: of-the-operator-{number:02}\n" for number, name in enumerate(always()))
NOVA = "openstack_nova_pass: of-the-operator-00\n"


def tree(directory, files):
    """Write files (name -> text) of an inventory; None makes a directory."""
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if text is None else path.write_text(text)


def resolved(*inventories):
    """Every variable of every host, as Ansible has it; in a process of its own, because Ansible remembers files."""
    sources = [part for path in inventories for part in ("-i", path)]
    said = subprocess.run([sys.executable, "-m", "ansible", "inventory", "--list", *sources], capture_output=True, check=True)
    return json.loads(said.stdout)["_meta"]["hostvars"]


@pytest.mark.parametrize("name", ["all.yml", "all.yaml", "all.json", "all"])
def test_a_file_of_the_operator_is_not_switched_off(name, inventory):
    tree(inventory, {"hosts.yml": HOSTS, f"group_vars/{name}": '{"openstack_release": "zed", "openstack_region": "Berlin"}\n'})
    before = resolved(inventory)
    with pytest.raises(ValueError, match=re.escape(f"Ansible reads {inventory}/group_vars/{name}, and would no longer")) as said:
        generate(inventory)
    assert resolved(inventory) == before
    # What is said is what helps.
    subprocess.run(str(said.value).partition("move it first: ")[2], shell=True, check=True)
    assert generate(inventory)[1] == list(always())
    after = resolved(inventory)
    assert {host: {key: found[key] for key in before[host]} for host, found in after.items()} == before
    assert all(set(always()) <= set(found) for found in after.values())


def test_a_file_of_the_operator_that_has_all_secrets_is_enough(inventory):
    tree(inventory, {"hosts.yml": HOSTS, "group_vars/all.yml": ALL})
    assert generate(inventory)[1] == []
    assert not (inventory / "group_vars" / "all").exists()


@pytest.mark.parametrize(
    "files",
    [
        {"hosts.yml": HOSTS, "group_vars/all/passwords.yml": NOVA},
        {"hosts.yml": HOSTS, "group_vars/all/deep/er.yml": NOVA},
        {"hosts.yml": HOSTS, "group_vars/controllers.yml": NOVA, "group_vars/computes/x.json": '{"openstack_nova_pass": "abc"}'},
        {"hosts.yml": HOSTS, **dict.fromkeys((f"host_vars/{host}.yml" for host in ("controller", "compute1", "compute2")), NOVA)},
        {"hosts": "[controllers]\na openstack_nova_pass=abc\n[computes]\nb openstack_nova_pass=abc\n"},
        {"hosts": "[controllers]\na\n[computes]\nb\n[all:vars]\nopenstack_nova_pass=abc\n"},
        {"hosts.yml": HOSTS, "more.yml": "all: {vars: {openstack_nova_pass: '{{ elsewhere }}'}}\n"},
        {"hosts.yml": HOSTS, "more.yml": "plugin: ansible.builtin.constructed\ncompose: {openstack_nova_pass: \"'abc'\"}\n"},
        {"hosts.yml": HOSTS, "group_vars/all/x.yml": "openstack_nova_pass: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132\n"},
    ],
)
def test_what_is_set_elsewhere_is_left_alone(files, inventory):
    tree(inventory, files)
    before = resolved(inventory)
    path, added = generate(inventory)
    assert added == [name for name in always() if name != "openstack_nova_pass"]
    assert "openstack_nova_pass" not in path.read_text()
    after = resolved(inventory)
    assert {host: {key: value for key, value in found.items() if key not in added} for host, found in after.items()} == before


def test_an_inventory_that_is_a_program(inventory):
    program = inventory / "hosts.py"
    said = {"controllers": {"hosts": ["a"], "vars": {"openstack_nova_pass": "abc"}}}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\n")
    program.chmod(0o755)
    assert "openstack_nova_pass" not in generate(program)[1]
    assert generate(program) == (secrets_file(inventory), [])


def test_several_inventories(inventory):
    tree(inventory, {"a/hosts.yml": HOSTS, "b/hosts.ini": "[controllers]\ncontroller\n", "b/group_vars/all.yml": NOVA})
    path, added = generate(inventory / "a", inventory / "b" / "hosts.ini")
    assert path == inventory / "a" / "group_vars" / "all" / "secrets.yml"
    assert added == [name for name in always() if name != "openstack_nova_pass"]
    assert generate(inventory / "a", inventory / "b" / "hosts.ini") == (path, [])


def test_what_only_some_hosts_have_is_told(inventory, capsys):
    tree(inventory, {"hosts.yml": HOSTS, "group_vars/controllers.yml": "openstack_nova_dbpass: abc\n"})
    assert main([str(inventory)]) == 0
    said = "secrets: openstack_nova_dbpass is set for controller and not for compute1, compute2; it stays so\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(("host", "others"), [("controller", "compute1, compute2"), ("compute1", "controller, compute2")])
def test_what_only_some_have_of_those_that_need_it_is_refused(host, others, inventory):
    tree(inventory, {"hosts.yml": HOSTS, f"host_vars/{host}.yml": NOVA})
    with pytest.raises(ValueError, match=f"^openstack_nova_pass is set for {host} and not for {others}; set it for all hosts"):
        generate(inventory)
    assert not (inventory / "group_vars").exists()


@pytest.mark.parametrize("where", ["group_vars/all/passwords.yml", "group_vars/all/secrets.yml", "group_vars/all.yml"])
def test_an_encrypted_file_is_looked_into_or_named(where, inventory, monkeypatch):
    tree(inventory, {"hosts.yml": HOSTS, where: ALL, "password": "right\n"})
    path = inventory / where
    vault = [sys.executable, "-m", "ansible", "vault", "encrypt", "--vault-password-file", inventory / "password", path]
    subprocess.run(vault, check=True, capture_output=True)
    (inventory / "password").rename(inventory.parent / "password")
    before = path.read_bytes()
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE", raising=False)
    with pytest.raises(ValueError, match=re.escape(f"{path}: encrypted, and may hold secrets")) as said:
        generate(inventory)
    assert "of-the-operator" not in str(said.value)
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(inventory.parent / "password"))
    assert generate(inventory)[1] == []
    assert path.read_bytes() == before
    monkeypatch.delenv("ANSIBLE_VAULT_PASSWORD_FILE")
    (inventory.parent / "password").unlink()
    # With values for all beside it, what is encrypted does not matter.
    if "passwords" in where:
        tree(inventory, {"group_vars/all/secrets.yml": ALL})
        assert generate(inventory)[1] == []


def test_an_encrypted_file_that_lacks_some_is_named(inventory, monkeypatch):
    tree(inventory, {"hosts.yml": HOSTS, "group_vars/all/secrets.yml": NOVA})
    tree(inventory.parent, {"password": "right\n"})
    path = secrets_file(inventory)
    vault = [sys.executable, "-m", "ansible", "vault", "encrypt", "--vault-password-file", inventory.parent / "password", path]
    subprocess.run(vault, check=True, capture_output=True)
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", str(inventory.parent / "password"))
    with pytest.raises(ValueError, match=re.escape(f"{path} is encrypted, and has no openstack_admin_pass, ")):
        generate(inventory)


@pytest.mark.parametrize("text", ["---\n", "# mine\n---\n", ""])
def test_a_file_without_variables_gets_them(text, inventory):
    path = written(inventory, text)
    assert generate(inventory) == (path, list(always()))
    assert path.read_text().startswith(text)


@pytest.mark.parametrize("empty", ["openstack_nova_pass:", "openstack_nova_pass: # later", 'openstack_nova_pass: ""'])
def test_what_is_empty_in_the_file_is_filled(empty, inventory):
    written(inventory, f"# mine\n{empty}\nopenstack_admin_pass: 0123456789abcdef\n")
    path, added = generate(inventory)
    assert added == [name for name in always() if name != "openstack_admin_pass"]
    lines = path.read_text().splitlines()
    assert re.match(r'openstack_nova_pass: !unsafe "[\w-]{32}"', lines[1])
    assert (lines[0], lines[2]) == ("# mine", "openstack_admin_pass: 0123456789abcdef")
    assert generate(inventory) == (path, [])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("group_vars/all/main.yml", "openstack_nova_pass:\n"),
        ("group_vars/all/zz.json", '{"openstack_nova_pass": ""}'),
        ("host_vars/controller.yml", "openstack_nova_pass: ''\n"),
        ("more.ini", "[all:vars]\nopenstack_nova_pass=\n"),
    ],
)
def test_what_is_empty_elsewhere_is_told(name, text, inventory):
    tree(inventory, {"hosts.yml": HOSTS, name: text})
    with pytest.raises(ValueError, match=re.escape(f"openstack_nova_pass is set but empty in {inventory / name}; remove it")):
        generate(inventory)
    assert not secrets_file(inventory).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[a, b]: c\n", ": line 1: a list is not a valid variable name; write name: value"),
        ("a: b\n? {a: b}\n", ": line 2: a mapping is not a valid variable name; write name: value"),
        ("? [[canary]]\n: c\n", ": line 1: a list is not a valid variable name; write name: value"),
        ("[" * 5000, ": brackets are nested too deeply"),
    ],
)
def test_a_name_that_is_no_text(text, message, inventory, capsys):
    path = written(inventory, text)
    assert main([str(inventory)]) == main([str(inventory), "--rotate", "all"]) == 1
    assert capsys.readouterr().err == f"secrets: {path}{message}\n" * 2
    values = inventory / "values.yml"
    values.write_text(text)
    path.write_text(ALL)
    assert main([str(inventory), "--rotate", "all", "--values", str(values)]) == 1
    assert capsys.readouterr().err == f"secrets: {values}{message}\n"


def test_an_inventory_that_cannot_be_read_is_refused(inventory, capsys):
    tree(inventory, {"hosts.yml": HOSTS, "group_vars/all/x.yml": "openstack_nova_pass: 'canary\n"})
    assert main([str(inventory)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("secrets: Ansible cannot read the inventory: ") and "x.yml" in said and "canary" not in said
    tree(inventory, {"group_vars/all/x.yml": "", "hosts.yml": "all: [\n"})
    assert main([str(inventory)]) == 1
    assert not secrets_file(inventory).exists()


@pytest.mark.parametrize("place", ["", "inventories/prod/eu", "prod", "with blank/it's"])
def test_git_ignores_the_secrets_wherever_they_are(place, inventory):
    subprocess.run(["git", "init", "--quiet", inventory], check=True)
    tree(inventory / place, {"hosts.yml": HOSTS})
    path, _added = generate(inventory / place)
    begin_rotation(inventory / place, "nova_pass")
    seen = subprocess.run(["git", "-C", inventory, "status", "--porcelain", "-uall"], capture_output=True, check=True, text=True)
    assert seen.stdout.count("\n") == 1 and "hosts.yml" in seen.stdout
    path.with_name(".gitignore").write_text("mine")
    generate(inventory / place)
    assert path.with_name(".gitignore").read_text() == "mine\nsecrets.yml*\n.secrets.yml*\n"


def test_the_project_ignores_the_secrets_of_its_inventories():
    root = Path(__file__).parents[2]
    for place in ("inventories/sandbox", "inventories/prod/eu", "prod"):
        path = f"{place}/group_vars/all/secrets.yml"
        left = f"{place}/group_vars/all/.secrets.yml.kilonova-1-0a"
        asked = [path, f"{path}.rotating", f"{path}.old", left, left.replace("secrets.yml", "certificates.json")]
        command = ["git", "check-ignore", "--no-index", *asked]
        said = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert said.stdout.split() == asked


def test_a_link_or_a_directory_in_the_place_of_the_file(inventory):
    path = written(inventory, "")
    path.rename(inventory / "elsewhere.yml")
    path.symlink_to(inventory / "elsewhere.yml")
    with pytest.raises(ValueError, match=re.escape(f"{path} is a symbolic link to {inventory}/elsewhere.yml")):
        generate(inventory)
    (inventory / "elsewhere.yml").write_text(ALL)
    with pytest.raises(ValueError, match=re.escape(f"{path} is a symbolic link to {inventory}/elsewhere.yml")):
        begin_rotation(inventory)
    assert path.is_symlink() and path.read_text() == ALL and not rotating_file(inventory).exists()
    path.unlink()
    path.mkdir()
    with pytest.raises(ValueError, match=re.escape(f"{path} is not a file")):
        generate(inventory)


def test_an_inventory_file_has_its_secrets_beside_it(inventory):
    (inventory / "hosts.yml").touch()
    assert generate(inventory / "hosts.yml")[0] == secrets_file(inventory)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a canary\n", " is not a mapping of variables"),
        ("{openstack_admin_pass: canary}", ": line 2: not one YAML mapping with a line for each variable"),
        ("openstack_admin_pass: canary\n...\n", ": line 3: not one YAML mapping with a line for each variable"),
        ("openstack_admin_pass: 'canary\n", ": line 2: not one YAML mapping with a line for each variable"),
    ],
)
def test_a_file_that_cannot_be_added_to_stays_as_it_is(inventory, text, message, capsys):
    path = written(inventory, text)
    assert main([str(inventory)]) == 1
    assert capsys.readouterr().err == f"secrets: {path}{message}\n"
    assert path.read_text() == text


def test_the_command_names_the_file_and_no_value(inventory, capsys):
    assert main([str(inventory)]) == 0
    assert capsys.readouterr().out == f"secrets: {len(always())} new in {secrets_file(inventory)}\n"
    assert main([str(inventory)]) == 0
    assert capsys.readouterr().out == f"secrets: nothing to add to {secrets_file(inventory)}\n"


def test_a_missing_inventory(inventory, capsys):
    assert main([str(inventory / "none")]) == 1
    assert capsys.readouterr().err.startswith(f"secrets: there is no inventory '{inventory}/none'; name one, e.g. INVENTORY=")


# -------------------------------------------------------------------------------------------------------- certificates


def cloud(computes):
    """The hosts of an inventory with addresses."""
    nodes = {f"compute{n}": {"openstack_management_address": f"192.0.2.{n + 20}"} for n in range(1, computes + 1)}
    groups = {"controllers": {"controller": {"openstack_management_address": "192.0.2.11"}}, "computes": nodes}
    return yaml.safe_dump({"all": {"children": {group: {"hosts": hosts} for group, hosts in groups.items()}}})


def test_certificates_are_made_beside_the_secrets_once(inventory, capsys):
    tree(inventory, {"hosts.yml": cloud(1)})
    assert main([str(inventory)]) == 0
    made = [line for line in capsys.readouterr().out.splitlines() if line.startswith("certificates: ")]
    new = ("controller: server", "controller: console", "controller: ovn", "compute1: qemu", "compute1: ovn")
    lines = ["the authority: new", *(f"{what}: made, because there was none" for what in new)]
    assert made == [f"certificates: {line}" for line in lines]
    path = inventory / "group_vars" / "all" / "certificates.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    assert main([str(inventory)]) == 0
    assert capsys.readouterr().out == f"secrets: nothing to add to {secrets_file(inventory)}\n"
    assert path.read_bytes() == before


def test_a_new_host_gets_its_certificates(inventory, capsys):
    for computes in (1, 2):
        tree(inventory, {"hosts.yml": cloud(computes)})
        assert main([str(inventory)]) == 0
    assert "compute2: qemu: made, because there was none" in capsys.readouterr().out.split("nothing to add")[1]


@pytest.mark.parametrize("text", ["openstack_tls: false\n", "openstack_tls: 'no'\n"])
def test_without_tls_there_are_none(text, inventory):
    tree(inventory, {"hosts.yml": cloud(1), "group_vars/all/main.yml": text})
    assert main([str(inventory)]) == 0
    assert not [*inventory.rglob("certificates.json")]


def test_certificates_of_another_group(inventory, capsys):
    """Two clouds of one inventory, as the sandboxes are."""
    group = "openstack_certificates_group: east\n"
    tree(inventory, {"hosts.yml": cloud(1), "group_vars/all/main.yml": group})
    assert main([str(inventory)]) == 1
    assert capsys.readouterr().err == (
        "certificates: openstack_certificates_group (east) must be a group that has all hosts, such as all\n"
    )
    tree(inventory, {"x.yml": "east: {children: {controllers: , computes: }}\n"})
    assert main([str(inventory)]) == 0
    assert [path.parent.name for path in inventory.rglob("certificates.json")] == ["east"]


def test_certificates_that_cannot_be_added_to_are_told(inventory, capsys):
    tree(inventory, {"hosts.yml": cloud(1), "group_vars/all/certificates.json": '{"openstack_tls_authority": "canary"}'})
    assert main([str(inventory)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("certificates: the authority has no certificate in PEM that can be read; ")
    assert "canary" not in said


def test_what_ansible_is_asked_grows_with_the_hosts_and_no_faster(inventory, monkeypatch):
    """Each host sees the certificates of all hosts."""
    sizes = []

    def counted(*argv, **options):
        done = command.run(*argv, **options)
        sizes.append(len(done.output))
        return done

    for computes in (4, 16):
        tree(inventory, {"hosts.yml": cloud(computes)})
        assert main([str(inventory)]) == 0
        with monkeypatch.context() as patched:
            patched.setattr("kilonova.run.secrets.run", counted)
            assert main([str(inventory)]) == 0
    few, _made, many, _made = sizes
    assert 0 < few < many <= 4 * few


# ----------------------------------------------------------------------------------------------------------- rotation

MINE = """# mine
openstack_admin_pass: !unsafe '{{7*7}}-0123456789abcdef'
openstack_nova_pass: |-
  a text of 24 letters abc
# end
"""


@pytest.fixture
def complete(inventory):
    """An inventory with every secret, some of them in forms of their own."""
    path = written(inventory, MINE)
    generate(inventory)
    return path


def test_a_rotation_changes_what_is_named_and_nothing_else(inventory, complete):
    before = complete.read_text()
    begun = begin_rotation(inventory, "nova_pass, openstack_admin_pass fernet_keys")
    assert begun == ["openstack_nova_pass", "openstack_admin_pass"]
    after = complete.read_text()
    assert rotating_file(inventory).read_text() == before
    assert [stat.S_IMODE(path.stat().st_mode) for path in (complete, rotating_file(inventory))] == [0o600, 0o600]
    assert changed_names(inventory) == ["openstack_admin_pass", "openstack_nova_pass"]
    assert re.fullmatch(
        r'# mine\nopenstack_admin_pass: !unsafe "[\w-]{32}"\nopenstack_nova_pass: !unsafe "[\w-]{32}"\n# end\n',
        after[: after.index("openstack_rabbit_pass")],
    )
    assert after[after.index("openstack_rabbit_pass") :] == before[before.index("openstack_rabbit_pass") :]


@pytest.mark.parametrize("value", ["[aSecretLongEnough1234]", "{a: aSecretLongEnough1234}"])
def test_a_new_value_that_is_not_a_text_is_refused(value, inventory, complete, capsys):
    values = inventory.parent / "values.yml"
    values.write_text(f"openstack_nova_pass: {value}\n")
    before = complete.read_text()
    assert main([str(inventory), "--rotate", "openstack_nova_pass", "--values", str(values)]) == 1
    message = "openstack_nova_pass is a list or a mapping, not a text; write one text in quotes"
    assert capsys.readouterr().err == f"secrets: {values}: {message}\n"
    assert complete.read_text() == before


def test_a_rotation_that_was_begun_goes_on_with_its_values(inventory, complete):
    before = complete.read_text()
    begin_rotation(inventory, "nova_pass")
    begun = complete.read_text()
    assert begin_rotation(inventory, "nova_pass") == ["openstack_nova_pass"]
    assert complete.read_text() == begun
    assert begin_rotation(inventory, "nova_pass neutron_pass") == ["openstack_nova_pass", "openstack_neutron_pass"]
    assert changed_names(inventory) == ["openstack_nova_pass", "openstack_neutron_pass"]
    assert rotating_file(inventory).read_text() == before
    finish_rotation(inventory)
    assert sorted(path.name for path in complete.parent.iterdir()) == [".gitignore", "secrets.yml", "secrets.yml.old"]
    assert old_values(inventory) == {}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("short", "new secrets: openstack_nova_pass: is weak (5 characters); "),
        ("with a line\nbreak in it", "new secrets: openstack_nova_pass: contains a line break, "),
        ("another-0123456789", "openstack_nova_pass: a rotation to another value was begun, and hosts may have "),
    ],
)
def test_values_for_a_rotation_that_was_begun_are_not_ignored(value, message, inventory, complete):
    begin_rotation(inventory, "nova_pass", {"openstack_nova_pass": "begun-0123456789"})
    begun = complete.read_text()
    with pytest.raises(ValueError, match="^" + re.escape(message)) as caught:
        begin_rotation(inventory, "nova_pass", {"openstack_nova_pass": value})
    assert value not in str(caught.value)
    assert complete.read_text() == begun
    assert begin_rotation(inventory, "nova_pass", {"openstack_nova_pass": "begun-0123456789"}) == ["openstack_nova_pass"]
    assert complete.read_text() == begun


def test_a_rotation_that_would_change_nothing_is_refused(inventory, complete):
    tree(inventory, {"hosts.yml": HOSTS, "host_vars/controller.yml": NOVA})
    with pytest.raises(ValueError, match=r"^openstack_nova_pass has another value for controller than in "):
        begin_rotation(inventory, "nova_pass")
    assert begin_rotation(inventory, "neutron_pass") == ["openstack_neutron_pass"]


def test_a_rotation_of_all_rotates_all(inventory, complete):
    assert begin_rotation(inventory) == changed_names(inventory) == list(always())


def test_values_of_ones_own(inventory, complete):
    hostile = "p@ss:w/ord%41$x'#\" {{7*7}} ü€😀"
    begin_rotation(inventory, "nova_dbpass", {"openstack_nova_dbpass": hostile})
    loader = DataLoader()
    assert loader.load_from_file(str(complete))["openstack_nova_dbpass"] == hostile


@pytest.mark.parametrize(
    ("only", "given", "message"),
    [
        ("nova_pas", {}, "ONLY = nova_pas: there is no such secret; write openstack_nova_pass"),
        ("nova_pass", {"openstack_nova_pass": "Welcome123"}, "new secrets: openstack_nova_pass: is weak (10 characters); "),
        ("nova_pass", {"openstack_nova_pass": "0123456789abcdef\n"}, "new secrets: openstack_nova_pass: contains a line break, "),
        ("nova_pass", {"openstack_admin_pass": "0123456789abcdef"}, "openstack_admin_pass has a value, and is not rotated; "),
    ],
)
def test_a_rotation_that_cannot_be_changes_nothing(only, given, message, inventory, complete):
    before = complete.read_text()
    with pytest.raises(ValueError, match="^" + re.escape(message)) as caught:
        begin_rotation(inventory, only, given)
    assert not [value for value in given.values() if value in str(caught.value)]
    assert complete.read_text() == before
    assert not rotating_file(inventory).exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$ANSIBLE_VAULT;1.1;AES256\n3132", "secrets.yml is encrypted; decrypt it"),
        ("openstack_nova_pass: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  3132\n", "openstack_nova_pass is encrypted in "),
        ("openstack_admin_pass: abc\n", "openstack_nova_pass is not in "),
    ],
)
def test_a_file_that_cannot_be_edited_stays_as_it_is(text, message, inventory):
    path = written(inventory, text)
    with pytest.raises(ValueError, match=re.escape(message)):
        begin_rotation(inventory, "nova_pass")
    assert path.read_text() == text


def test_ansible_does_not_read_the_old_ones(inventory, complete):
    (inventory / "hosts.yml").write_text("all: {hosts: {a: }}\n")
    begin_rotation(inventory, "nova_pass", {"openstack_nova_pass": "new-0123456789abcdef"})
    loader = DataLoader()
    read = InventoryManager(loader, sources=[str(inventory)])
    found = VariableManager(loader=loader, inventory=read).get_vars(host=read.get_host("a"))
    assert found["openstack_nova_pass"] == "new-0123456789abcdef"


def test_the_command_names_what_it_rotates_and_no_value(inventory, complete, capsys):
    assert main([str(inventory), "--rotate", "nova_pass"]) == 0
    assert capsys.readouterr().out == f"secrets: new values of openstack_nova_pass in {complete}\n"
    assert main([str(inventory), "--rotate", "nova_pas"]) == 1
    assert capsys.readouterr().err == "secrets: ONLY = nova_pas: there is no such secret; write openstack_nova_pass\n"


@pytest.mark.parametrize("name", ["secrets.yml", "secrets.yml.rotating"])
def test_a_link_is_refused_because_what_it_leads_to_would_keep_the_old_ones(inventory, complete, tmp_path, name):
    elsewhere = tmp_path / "elsewhere.yml"
    elsewhere.write_text(complete.read_text())
    path = complete.with_name(name)
    path.unlink(missing_ok=True)
    path.symlink_to(elsewhere)
    before = elsewhere.read_text()
    with pytest.raises(ValueError, match=f"{re.escape(str(path))} is a symbolic link to .*elsewhere.yml; put the file"):
        begin_rotation(inventory, "nova_pass")
    assert (elsewhere.read_text(), path.is_symlink()) == (before, True)
    assert (name == "secrets.yml.rotating") or not complete.with_name("secrets.yml.rotating").exists()


def test_a_link_is_not_replaced_by_a_file_with_missing_secrets(inventory, complete, tmp_path):
    elsewhere = tmp_path / "elsewhere.yml"
    elsewhere.write_text("".join(complete.read_text().splitlines(keepends=True)[:-1]))
    complete.unlink()
    complete.symlink_to(elsewhere)
    with pytest.raises(ValueError, match="is a symbolic link to"):
        generate(inventory)
    assert complete.is_symlink()
    complete.unlink()
    complete.mkdir()
    with pytest.raises(ValueError, match=r"secrets.yml is not a file; move it away"):
        begin_rotation(inventory, "nova_pass")


# ------------------------------------------------------------------------------------ what only some inventories need

DASHBOARD = "openstack_horizon_secret_key"


def hosts(inventory, dashboards):
    """Give the inventory its groups."""
    groups = {"controllers": {"hosts": {"c": {}}}, "computes": {"hosts": {"n": {}}}}
    groups |= {"dashboards": {"hosts": {"c": {}}}} if dashboards else {}
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))


def test_the_dashboards_key_is_made_where_there_is_one(inventory):
    hosts(inventory, dashboards=False)
    path, added = generate(inventory)
    assert added == list(always()) and DASHBOARD not in added
    before = path.read_text()
    hosts(inventory, dashboards=True)
    assert generate(inventory) == (path, [DASHBOARD])
    assert path.read_text().startswith(before)
    assert generate(inventory)[1] == []


def test_a_rotation_of_all_rotates_it_where_it_is(inventory):
    hosts(inventory, dashboards=False)
    generate(inventory)
    with pytest.raises(ValueError, match=f"{DASHBOARD} is not in .*; rotate it where it is set"):
        begin_rotation(inventory, "horizon_secret_key")
    assert begin_rotation(inventory) == list(always())
    finish_rotation(inventory)
    hosts(inventory, dashboards=True)
    generate(inventory)
    assert sorted(begin_rotation(inventory)) == sorted([*always(), DASHBOARD])


def test_a_cloud_with_volumes_gets_the_secrets_of_these_too(tmp_path):
    hosts = {"controllers": "c", "computes": "n", "storage": "s", "volumes": "c"}
    groups = {group: {"hosts": {host: {}}} for group, host in hosts.items()}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    path, added = generate(tmp_path)
    assert set(added) > set(always()) and "openstack_ceph_cinder_pass" in added and "openstack_cinder_dbpass" in added
    # A run logs in to the cluster by these, to change the others.
    kept = ["openstack_ceph_mon_pass", "openstack_ceph_admin_pass"]
    with pytest.raises(ValueError, match="openstack_ceph_mon_pass cannot be rotated: a run logs in by it"):
        begin_rotation(tmp_path, "ceph_mon_pass")
    assert begin_rotation(tmp_path) == [name for name in added if name not in kept]
    assert path.stat().st_mode & 0o777 == 0o600
