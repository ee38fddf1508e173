"""Generate the secrets of an inventory, once: `python -m kilonova.secrets inventories/sandbox`.

Writes `group_vars/all/secrets.yml` beside the inventory with mode 0600. Values that are there stay; only missing ones are added,
so a new release that needs one more secret does not change the others. An encrypted file (ansible-vault) is left alone.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
from pathlib import Path

import yaml

from kilonova.config_files import ROLES

HEADER = "# Secrets of this inventory. Not in git; `ansible-vault encrypt` it if it has to travel.\n"
BYTES = 24  # 192 bits: 32 characters of the URL-safe alphabet, which every program's quoting leaves alone


def names() -> dict[str, str]:
    """Return every secret's variable with its description (roles/openstack/vars/main.yml)."""
    return yaml.safe_load((ROLES / "openstack" / "vars" / "main.yml").read_text(encoding="utf-8"))["openstack_secrets"]


def secrets_file(inventory: Path) -> Path:
    """Where the secrets of an inventory (a directory, or a file) are."""
    directory = inventory if inventory.is_dir() else inventory.parent
    return directory / "group_vars" / "all" / "secrets.yml"


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
        _variables(text, path)  # a file that cannot be added to, such as {a: b}, stays as it is
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
        new.replace(path)
    elif path.exists():
        path.chmod(0o600)
    return path, missing


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
    parser = argparse.ArgumentParser(description="Generate the secrets that an inventory lacks.")
    parser.add_argument("inventory", type=Path)
    try:
        path, added = generate(parser.parse_args(arguments).inventory)
    except ValueError as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 1
    print(f"secrets: {f'{len(added)} new in' if added else 'nothing to add to'} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
