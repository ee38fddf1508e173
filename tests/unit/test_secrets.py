"""The secrets of an inventory: generated once, strong, readable by their owner alone."""

import re
import stat

import pytest
import yaml

from kilonova import preflight
from kilonova.secrets import generate, main, names, secrets_file


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
