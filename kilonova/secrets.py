"""Generate the secrets of an inventory, once: `python -m kilonova.secrets inventories/sandbox`; and give them new values.

Writes `group_vars/all/secrets.yml` beside the inventory with mode 0600. Values that are there stay; only missing ones are added,
so a new release that needs one more secret does not change the others. An encrypted file (ansible-vault) is left alone.

`--rotate` begins a rotation: the file gets new values, and what it had is kept as `secrets.yml.rotating` until
playbooks/rotate_secrets.yml has brought them to every host and seen that the old ones are refused; then that is
`secrets.yml.old`. A rotation that was begun goes on with the values that it has.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import secrets
import sys
from pathlib import Path

import yaml

from kilonova import preflight
from kilonova.config_files import ROLES

HEADER = "# Secrets of this inventory. Not in git; `ansible-vault encrypt` it if it has to travel.\n"
# What `--rotate` takes beside secrets: key repositories of Keystone, which are on its host and in no inventory.
KEYS = ("fernet_keys", "credential_keys")
BYTES = 24  # 192 bits: 32 characters of the URL-safe alphabet, which every program's quoting leaves alone


def names() -> dict[str, str]:
    """Return every secret's variable with its description (roles/openstack/vars/main.yml)."""
    return yaml.safe_load((ROLES / "openstack" / "vars" / "main.yml").read_text(encoding="utf-8"))["openstack_secrets"]


def secrets_file(inventory: Path) -> Path:
    """Where the secrets of an inventory (a directory, or a file) are."""
    directory = inventory if inventory.is_dir() else inventory.parent
    return directory / "group_vars" / "all" / "secrets.yml"


def values(inventory: Path) -> dict[str, str]:
    """Return the secrets that the inventory has (not encrypted), as text."""
    path = secrets_file(inventory)
    return _values(path.read_text(encoding="utf-8"), path)


def generate(inventory: Path) -> tuple[Path, list[str]]:
    """Add the secrets that the inventory's file lacks; return the file and the names that were added.

    Raises ValueError when the inventory is not there or the file is not a mapping.
    """
    if not inventory.exists():
        raise ValueError(f"there is no inventory {str(inventory)!r}; name one, e.g. INVENTORY=inventories/sandbox")
    path = secrets_file(inventory)
    text = path.read_text(encoding="utf-8") if path.exists() else HEADER
    if text.startswith("$ANSIBLE_VAULT"):
        return path, []
    present = _variables(text, path)
    missing = [name for name in names() if name not in present]
    if missing:
        text = text if text.endswith("\n") else text + "\n"
        text += "".join(f"{name}: {secrets.token_urlsafe(BYTES)}\n" for name in missing)
        _must_be_a_file(path)
        _variables(text, path)  # a file that cannot be added to, such as {a: b}, stays as it is
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, text)
    elif path.exists():
        path.chmod(0o600)
    return path, missing


def _must_be_a_file(path: Path) -> None:
    """Raise ValueError for a link, which a new file would take the place of while what it leads to keeps the old secrets."""
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link to {os.readlink(path)}; put the file itself there, and run this again")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; move it away, and run this again")


def _replace(path: Path, text: str) -> None:
    """Write a file of secrets: readers see the old one or the new one, and nobody else sees either."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(path)


# ------------------------------------------------------------------------------------------------------------- rotation


def rotating_file(inventory: Path) -> Path:
    """Where the secrets from before a rotation are until it is complete."""
    path = secrets_file(inventory)
    return path.with_name(path.name + ".rotating")


def chosen(only: str) -> list[str]:
    """Return the names that `only` means: all, or some, with or without `openstack_`, separated by commas or blanks.

    Raises ValueError, with the nearest name, for one that is none.
    """
    known = [*names(), *KEYS]
    words = only.replace(",", " ").split()
    if not words or words == ["all"]:
        return known
    full = [word if word in known else f"openstack_{word}" for word in words]
    for word, name in zip(words, full, strict=True):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
            hint = f"write {near[0]}" if near else f"write some of: {', '.join(known)}"
            raise ValueError(f"ONLY = {word}: there is no such secret; {hint}")
    return list(dict.fromkeys(full))


def begin_rotation(inventory: Path, only: str = "all", given: dict[str, str] | None = None) -> list[str]:
    """Give secrets new values, those of `given` where it has them; return the names of all that are being rotated.

    Raises ValueError, and changes nothing, for names that are none, for values that are not usable, and for a file that cannot
    be edited.
    """
    path, before = secrets_file(inventory), rotating_file(inventory)
    wanted = [name for name in chosen(only) if name not in KEYS]
    strange = sorted(set(given or ()) - set(wanted))
    if strange:
        raise ValueError(f"{strange[0]} has a value, and is not rotated; name it in ONLY")
    for file in (path, before):
        _must_be_a_file(file)
    if not path.exists():
        raise ValueError(f"there is no {path}; run `make secrets INVENTORY=...` first")
    text = path.read_text(encoding="utf-8")
    begun = changed_names(inventory) if before.exists() else []
    new = {name: (given or {}).get(name) or secrets.token_urlsafe(BYTES) for name in wanted if name not in begun}
    edited = _with_values(text, new, path)
    values = _values(edited, path)
    described = {name: text for name, text in names().items() if name in values}
    problems = preflight.check_secrets(values, described, "new secrets")
    if problems:
        raise ValueError(" | ".join(map(str, problems)))
    if not before.exists():
        _replace(before, text)
    _replace(path, edited)
    return [*begun, *new]


def changed_names(inventory: Path) -> list[str]:
    """Return the secrets whose values differ from those before the rotation."""
    old, new = old_values(inventory), _values(secrets_file(inventory).read_text(encoding="utf-8"), secrets_file(inventory))
    return [name for name in names() if name in old and old[name] != new.get(name)]


def old_values(inventory: Path) -> dict[str, str]:
    """Return the secrets from before the rotation; empty when none was begun."""
    before = rotating_file(inventory)
    return _values(before.read_text(encoding="utf-8"), before) if before.exists() else {}


def finish_rotation(inventory: Path) -> None:
    """Keep what was before the rotation as secrets.yml.old."""
    path = secrets_file(inventory)
    rotating_file(inventory).replace(path.with_name(path.name + ".old"))


def _with_values(text: str, new: dict[str, str], path: Path) -> str:
    """The file's text with other values of its variables; everything else stays as it is."""
    if text.startswith("$ANSIBLE_VAULT"):
        raise ValueError(f"{path} is encrypted; decrypt it (ansible-vault decrypt), rotate, and encrypt it again")
    _variables(text, path)
    nodes = {key.value: value for key, value in getattr(yaml.compose(text), "value", ())}
    for name in new:
        if name not in nodes:
            raise ValueError(f"{name} is not in {path}; rotate it where it is set")
        if nodes[name].tag == "!vault":
            raise ValueError(f"{name} is encrypted in {path}; write it in plain text, rotate, and encrypt it again")
    # From the end, so that places before stay where they are.
    for name, value in sorted(new.items(), key=lambda item: nodes[item[0]].start_mark.index, reverse=True):
        node = nodes[name]
        end = "\n" if text[: node.end_mark.index].endswith("\n") else ""
        text = text[: node.start_mark.index] + yaml_text(value) + end + text[node.end_mark.index :]
    return text


def _values(text: str, path: Path) -> dict[str, str]:
    """Variables of a file with their values as text; tags (!unsafe) are taken away."""
    _variables(text, path)
    node = yaml.compose(text)
    return {key.value: value.value for key, value in node.value if isinstance(value, yaml.ScalarNode)} if node else {}


# ---------------------------------------------------------------------------------------------------------------- files


def yaml_text(value: str) -> str:
    """Return a secret as YAML that Ansible takes as it is: one line, and no template whatever it looks like."""
    return "!unsafe " + json.dumps(value, ensure_ascii=False)


def _variables(text: str, path: Path) -> set[str]:
    """Names of a file's variables; ValueError, which shows no line of the file, when it is not a mapping of them."""
    try:
        # Composed, not constructed: the file may hold values tagged !unsafe or !vault, and only the names matter here.
        node = yaml.compose(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{path}: {where}not one YAML mapping with a line for each variable") from None
    if node is not None and not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{path} is not a mapping of variables")
    return {key.value for key, _value in node.value} if node else set()


def main(arguments: list[str] | None = None) -> int:
    """Command line: generate and say what was written, never a value."""
    parser = argparse.ArgumentParser(description="Generate the secrets that an inventory lacks, or give them new values.")
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--rotate", metavar="NAMES", help="begin to replace these secrets, or `all`")
    parser.add_argument("--values", type=Path, metavar="FILE", help="YAML file with new values of your own")
    options = parser.parse_args(arguments)
    try:
        if options.rotate is not None:
            given = _values(options.values.read_text(encoding="utf-8"), options.values) if options.values else {}
            rotated = begin_rotation(options.inventory, options.rotate, given)
            print(f"secrets: new values of {', '.join(rotated) or 'none'} in {secrets_file(options.inventory)}")
            return 0
        path, added = generate(options.inventory)
    except (ValueError, OSError) as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 1
    print(f"secrets: {f'{len(added)} new in' if added else 'nothing to add to'} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
