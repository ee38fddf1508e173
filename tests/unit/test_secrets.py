"""The secrets of an inventory: generated once, strong, readable by their owner alone."""

import re
import stat

import pytest
import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.vars.manager import VariableManager

from kilonova import preflight
from kilonova.secrets import (
    begin_rotation,
    changed_names,
    finish_rotation,
    generate,
    main,
    names,
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
    assert added == list(values) == list(names())
    assert all(re.fullmatch(r"[\w-]{32}", value) for value in values.values())
    assert preflight.check_secrets(values, names(), "controllers") == []
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
    assert added == [name for name in names() if name not in ("openstack_admin_pass", "openstack_nova_pass")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["secrets.yml"]


def test_an_encrypted_file_is_left_alone(inventory):
    path = written(inventory, "$ANSIBLE_VAULT;1.1;AES256\n3132")
    assert generate(inventory) == (path, [])
    assert path.read_text() == "$ANSIBLE_VAULT;1.1;AES256\n3132"


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
    assert capsys.readouterr().out == f"secrets: {len(names())} new in {secrets_file(inventory)}\n"
    assert main([str(inventory)]) == 0
    assert capsys.readouterr().out == f"secrets: nothing to add to {secrets_file(inventory)}\n"


def test_a_missing_inventory(inventory, capsys):
    assert main([str(inventory / "none")]) == 1
    assert capsys.readouterr().err.startswith(f"secrets: there is no inventory '{inventory}/none'; name one, e.g. INVENTORY=")


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
    assert re.fullmatch(r'# mine\nopenstack_admin_pass: !unsafe "[\w-]{32}"\nopenstack_nova_pass: !unsafe "[\w-]{32}"\n# end\n',
                        after[:after.index("openstack_rabbit_pass")])
    assert after[after.index("openstack_rabbit_pass"):] == before[before.index("openstack_rabbit_pass"):]


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
    assert sorted(path.name for path in complete.parent.iterdir()) == ["secrets.yml", "secrets.yml.old"]
    assert old_values(inventory) == {}


def test_a_rotation_of_all_rotates_all(inventory, complete):
    assert begin_rotation(inventory) == changed_names(inventory) == list(names())


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
