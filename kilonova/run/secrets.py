"""Generate the secrets of an inventory, once: `python -m kilonova.run.secrets inventories/sandbox`; and give them new values.

Writes `group_vars/all/secrets.yml` next to the inventory with mode 0600. Values that are there stay; only missing ones are added,
so a new release that needs one more secret does not change the others. What is missing, Ansible is asked: a secret may be set
anywhere in an inventory, and what is set anywhere is left alone. Where that cannot be known, nothing is written.

`--rotate` begins a rotation: the file gets new values, and what it had is kept as `secrets.yml.rotating` until
playbooks/rotate_secrets.yml has brought them to every host and seen that the old ones are refused; then that is
`secrets.yml.old`. A rotation that was begun goes on with the values that it has.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import secrets
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from kilonova.config import declared
from kilonova.config.config_files import ROLES
from kilonova.onhost import files
from kilonova.onhost.command import run
from kilonova.problems import some
from kilonova.run import preflight

HEADER = "# Secrets of this inventory. Not in git; `ansible-vault encrypt` it if it has to travel.\n"
# What `--rotate` accepts besides secrets: key repositories of Keystone, which are on its host and in no inventory.
KEYS = ("fernet_keys", "credential_keys")
VAULT = "$ANSIBLE_VAULT"
# What a directory may have without being an inventory of hosts.
NO_SOURCES = ("group_vars", "host_vars", ".gitignore")
BYTES = 24  # 192 bits: 32 characters of the URL-safe alphabet, which every program's quoting leaves alone


def names() -> dict[str, str]:
    """Return every secret's variable with its description, whether or not an inventory needs it."""
    return declared.secrets()


def always() -> dict[str, str]:
    """Return those that every cloud needs, whatever groups of hosts it has."""
    return declared.needed_secrets({})


def secrets_file(inventory: Path) -> Path:
    """Where the secrets of an inventory (a directory, or a file) are."""
    directory = inventory if inventory.is_dir() else inventory.parent
    return directory / "group_vars" / "all" / "secrets.yml"


def values(inventory: Path) -> dict[str, str]:
    """Return the secrets that the inventory has (not encrypted), as text."""
    path = secrets_file(inventory)
    return _values(path.read_text(encoding="utf-8"), path)


def generate(*inventories: Path, tell: Callable[[str], Any] = lambda line: None) -> tuple[Path, list[str]]:
    """Add the secrets that the inventory lacks, to the first of several; return the file and the names that were added.

    Raises ValueError, and writes nothing, when the inventory is not there, when the file cannot be added to, and when what is
    set cannot be known or would change. `tell` gets lines for people.
    """
    for inventory in inventories:
        if not inventory.exists():
            raise ValueError(f"there is no inventory {str(inventory)!r}; name one, e.g. INVENTORY=inventories/sandbox")
    path = secrets_file(inventories[0])
    text = _text(path)
    encrypted = text is not None and text.startswith(VAULT)
    own = {} if text is None or encrypted else _nodes(text, path)
    if not encrypted and not all(name in own for name in always()):
        _must_be_a_file(path)
    try:
        missing, empty = _lacking(inventories, tell)
    except Encrypted:
        # Encrypted files do not matter if everything has a value outside of them.
        if not all(name in own and not _is_empty(own[name]) for name in always()):
            raise
        missing, empty = [], []
    for name in empty:
        where = [str(file) for file in _files(inventories) if file != path and _sets_empty(file, name)]
        if where or name not in own or not _is_empty(own[name]):
            place = " and ".join(where) or "the inventory"
            raise ValueError(f"{name} is set but empty in {place}; remove it there, or give it a value")
    added = [name for name in names() if name in (*missing, *empty)]
    if added and encrypted:
        raise ValueError(f"{path} is encrypted, and has no {', '.join(added)}; add it (ansible-vault edit {path})")
    if added:
        _must_be_a_file(path)
        see_that_nothing_is_hidden(path)
        text = _with_values(text or HEADER, {name: secrets.token_urlsafe(BYTES) for name in empty}, path)
        text = text if text.endswith("\n") else text + "\n"
        text += "".join(f"{name}: {secrets.token_urlsafe(BYTES)}\n" for name in missing)
        _nodes(text, path)  # a file that cannot be added to, such as {a: b}, stays as it is
        path.parent.mkdir(parents=True, exist_ok=True)
        ignored_by_git(path)
        replace(path, text)
    elif text is not None:
        ignored_by_git(path)
        path.chmod(0o600)
    return path, added


def see_that_nothing_is_hidden(path: Path) -> None:
    """Raise ValueError where the directory of the secrets would take the place of what Ansible reads now.

    Of group_vars/all, all.yml, all.yaml and all.json, as of any group's, Ansible reads the first that is there and no other.
    """
    directory = path.parent
    if directory.is_dir():
        return
    group_vars = directory.parent
    for suffix in ("", ".yml", ".yaml", ".json"):
        file = group_vars / f"{directory.name}{suffix}"
        if file.exists():
            main = directory / f"main{suffix or '.yml'}"
            # A file cannot be moved into a directory of its own name.
            first = f"mv {file} {file}.yml && " if not suffix else ""
            raise ValueError(
                f"Ansible reads {file}, and would no longer read it beside {path}; "
                f"move it first: {first}mkdir {directory} && mv {file}{'.yml' if not suffix else ''} {main}"
            )
    if group_vars.exists() and not group_vars.is_dir():
        raise ValueError(f"{group_vars} is not a directory; secrets belong in {path}")


def ignored_by_git(path: Path) -> None:
    """Have git ignore the secrets wherever the inventory lies; not even this shows up there."""
    ignore = path.with_name(".gitignore")
    text = ignore.read_text(encoding="utf-8") if ignore.is_file() else ""
    # The second is what a write that was killed has left.
    lines = [f"{path.name}*", f".{path.name}*", *([] if text else [ignore.name])]
    missing = [f"{line}\n" for line in lines if line not in text.splitlines()]
    if missing:
        ignore.write_text(text + ("\n" if text and not text.endswith("\n") else "") + "".join(missing), encoding="utf-8")


def _text(path: Path) -> str | None:
    """The text of a file of secrets; None when there is none. ValueError if it is not a file."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        _must_be_a_file(path)  # a link to what is not there
        return None
    if not stat.S_ISREG(mode):
        _must_be_a_file(path)
    return _decoded(path)


def _decoded(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8") from None


def _must_be_a_file(path: Path) -> None:
    """Raise ValueError for a link, which a new file would take the place of while what it leads to keeps the old secrets."""
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link to {os.readlink(path)}; put the file itself there, and run this again")
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} is not a file; move it away, and run this again")


def replace(path: Path, text: str) -> None:
    """Write a file of secrets: readers see the old one or the new one, and no other user sees either."""
    _must_be_a_file(path)
    files.replace_operators(path, text)


# ---------------------------------------------------------------------------------------------------- what Ansible knows


class Encrypted(ValueError):
    """A part of the inventory is encrypted, and there is no password for it."""


def _lacking(inventories: tuple[Path, ...], tell: Callable[[str], Any]) -> tuple[list[str], list[str]]:
    """Secrets that no host has, and secrets that are set but empty."""
    variables, groups = asked(inventories, names())
    controllers = groups.get("controllers") or list(variables)
    missing, empty = [], []
    for name in declared.needed_secrets(groups):
        having = {host for host, found in variables.items() if found.get(name) not in (None, "")}
        without = [host for host in variables if host not in having]
        partly = f"{name} is set for {some(sorted(having))} and not for {some(without)}"
        if having and without and (having.isdisjoint(controllers) or name in declared.on_computes()):
            raise ValueError(f"{partly}; set it for all hosts, e.g. in group_vars/all, or for none")
        if having and without:
            tell(f"{partly}; it stays so")
        elif any(name in found for found in variables.values()) and not having:
            empty.append(name)
        elif not having:
            missing.append(name)
    return missing, empty


def asked(inventories: tuple[Path, ...], wanted: Iterable[str]) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]]]:
    """Return the wanted variables of every host as Ansible has them (not resolved), and the groups.

    Raises ValueError, with what Ansible said, when it cannot read the inventory.
    """
    # A host in no group, for inventories that have none yet: it sees what is set for all.
    nobody = "kilonova.invalid"
    found, errors = _ask("inventory_values", inventories, {"names": list(wanted)}, nobody + ",")
    if "values" not in found:
        _explain(errors, inventories)
    variables, groups = found["values"], found["groups"]
    hosts = list(dict.fromkeys([*groups.get("controllers", []), *groups.get("computes", [])])) or [
        host for host in variables if host != nobody
    ]
    hosts = hosts or [nobody]
    return {host: variables.get(host, {}) for host in hosts}, groups


def _ask(action: str, inventories: tuple[Path, ...], arguments: dict[str, Any], *more: str) -> tuple[dict[str, Any], str]:
    """What an action of ours returns that looks at an inventory, and what Ansible said instead where it could not begin."""
    tree = ROLES.parent
    sources = [part for one in (*map(str, inventories), *more) for part in ("-i", one)]
    command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", action, "-a", json.dumps(arguments)]
    command += ["-e", "ansible_become=false", "--playbook-dir", str(tree / "playbooks"), *sources]
    # An inventory may have no hosts yet. The answer has secrets in it, which no log of Ansible's may get.
    has_hosts = all(path.is_file() or any(entry.name not in NO_SOURCES for entry in path.iterdir()) for path in inventories)
    environment = {
        "ANSIBLE_CONFIG": os.environ.get("ANSIBLE_CONFIG") or str(tree / "ansible.cfg"),
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": str(has_hosts),
        "ANSIBLE_LOG_PATH": os.devnull,
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_FORCE_COLOR": "0",
    }
    done = run(*command, environment=environment, directory=".", apart=True)
    said = re.search(r"^localhost \| \w+!? => (?=\{)", done.output, re.MULTILINE)
    return json.JSONDecoder().raw_decode(done.output, said.end())[0] if said else {}, done.errors


def _explain(said: str, inventories: tuple[Path, ...]) -> None:
    """Raise what ansible-inventory said, without the lines of files that it shows."""
    encrypted = [str(path) for path in _files(inventories) if _begins_encrypted(path)]
    if encrypted and re.search("vault|decrypt", said, re.IGNORECASE):
        raise Encrypted(
            f"{', '.join(encrypted)}: encrypted, and may hold secrets that would be overridden; nothing is written. "
            "Let Ansible look into it: ANSIBLE_VAULT_PASSWORD_FILE=file"
        )
    if "recursion" in said:
        said = "ERROR! a value contains itself: a YAML anchor (&x) is used (*x) inside its own value"
    begin = re.search(r"^(ERROR!|\[ERROR\]:)\s*", said, re.MULTILINE)
    words = " ".join(said[begin.end() :].split("\n\n")[0].split()) if begin else "it gives no reason"
    place = re.search(r"Origin: (\S+)|error appears to be in '([^']+)': line (\d+)", said)
    at = f" ({':'.join(part for part in place.groups() if part)})" if place else _unreadable(inventories)
    raise ValueError(f"Ansible cannot read the inventory: {words}{at}")


def _files(inventories: tuple[Path, ...]) -> Iterator[Path]:
    """Files in which an inventory may set variables."""
    for inventory in inventories:
        base = inventory if inventory.is_dir() else inventory.parent
        roots = [base] if inventory.is_dir() else [inventory, base / "group_vars", base / "host_vars"]
        for root in roots:
            yield from sorted(path for path in (root.rglob("*") if root.is_dir() else [root]) if path.is_file())


def _unreadable(inventories: tuple[Path, ...]) -> str:
    """The first file of variables that Ansible cannot read, which it does not always name itself."""
    for path in _files(inventories):
        if path.parts[-2] in NO_SOURCES or path.parts[-3] in NO_SOURCES:
            try:
                if _contains_itself(yaml.compose(path.read_bytes())):
                    return f" ({path})"
            except yaml.YAMLError as error:
                mark = getattr(error, "problem_mark", None)
                return f" ({path}{f':{mark.line + 1}' if mark else ''})"
    return ""


def _contains_itself(node: yaml.Node | None, around: tuple[int, ...] = ()) -> bool:
    if not isinstance(node, yaml.CollectionNode):
        return False
    inner = (part for item in node.value for part in (item if isinstance(item, tuple) else (item,)))
    return id(node) in around or any(_contains_itself(part, (*around, id(node))) for part in inner)


def _begins_encrypted(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(VAULT)) == VAULT.encode()


def _sets_empty(path: Path, name: str) -> bool:
    """Whether a file has a line that sets the variable to nothing, in YAML, JSON or INI."""
    empty = rf"""^[^#\n]*\b{name}['"]?\s*[:=]\s*(?:""|''|null|~)?\s*(?:[,}}#].*)?$"""
    return bool(re.search(empty, path.read_text(encoding="utf-8", errors="replace"), re.MULTILINE))


# ------------------------------------------------------------------------------------------------------------- rotation


def rotating_file(inventory: Path) -> Path:
    """Where the secrets from before a rotation are until it is complete."""
    path = secrets_file(inventory)
    return path.with_name(path.name + ".rotating")


def chosen(only: str) -> list[str]:
    """Return the names that `only` means: all, or some, with or without `openstack_`, separated by commas or blanks.

    Raises ValueError, with the nearest name, for an unknown one.
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


def begin_rotation(
    inventory: Path, only: str = "all", given: dict[str, str] | None = None, others: tuple[Path, ...] = ()
) -> list[str]:
    """Give secrets new values, from `given` where it has them; return the names of all that are being rotated.

    `others` are inventories that are used with this one, which has the secrets.

    Raises ValueError, and changes nothing, for names that are none, for values that are not usable, and for a file that cannot
    be edited.
    """
    path, before = secrets_file(inventory), rotating_file(inventory)
    wanted = [name for name in chosen(only) if name not in KEYS]
    kept = [name for name in wanted if name in declared.kept_secrets()]
    if kept and chosen(only) != chosen("all"):
        raise ValueError(f"{kept[0]} cannot be rotated: a run logs in by it to change the others; leave it out of ONLY")
    wanted = [name for name in wanted if name not in kept]
    for file in (path, before):
        _must_be_a_file(file)
    text = _text(path)
    given = given or {}
    strange = sorted(set(given) - set(wanted))
    if strange:
        raise ValueError(f"{strange[0]} has a value, and is not rotated; name it in ONLY")
    if text is None:
        raise ValueError(f"there is no {path}; run `make secrets INVENTORY=...` first")
    if chosen(only) == chosen("all"):
        # Those that only some clouds have, where this one has them.
        there = _nodes(text, path) if not text.startswith(VAULT) else {}
        wanted = [name for name in wanted if name in always() or name in there]
    begun = changed_names(inventory) if before.exists() else []
    new = {name: given[name] if name in given else secrets.token_urlsafe(BYTES) for name in wanted if name not in begun}
    edited = _with_values(text, new, path)
    values = _values(edited, path)
    # The values of a rotation that was begun stay, and yet those given must be usable: they may be the same.
    described = {name: text for name, text in names().items() if name in values}
    problems = preflight.check_secrets({**values, **given}, described, "new secrets")
    if problems:
        raise ValueError(" | ".join(map(str, problems)))
    other = [name for name in begun if name in given and given[name] != values[name]]
    if other:
        raise ValueError(
            f"{', '.join(other)}: a rotation to another value was begun, and hosts may have that already; finish it first "
            "(the same command without VALUES), then rotate again"
        )
    _see_that_it_counts((inventory, *others), new, _values(text, path))
    if not before.exists():
        replace(before, text)
    replace(path, edited)
    return [*begun, *new]


def _see_that_it_counts(inventories: tuple[Path, ...], new: dict[str, str], before: dict[str, str]) -> None:
    """Raise ValueError when a host has another value than the file's: then a new one in the file would change nothing there."""
    variables, _groups = asked(inventories, new)
    for name in new:
        found = {host: row.get(name) for host, row in variables.items()}
        elsewhere = [host for host, value in found.items() if isinstance(value, str | dict) and value != before.get(name)]
        if elsewhere:
            where, path = some(elsewhere), secrets_file(inventories[0])
            raise ValueError(f"{name} has another value for {where} than in {path}; rotate it where that is set")


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
    if text.startswith(VAULT):
        raise ValueError(f"{path} is encrypted; decrypt it (ansible-vault decrypt), rotate, and encrypt it again")
    nodes = _nodes(text, path)
    for name in new:
        if name not in nodes:
            raise ValueError(f"{name} is not in {path}; rotate it where it is set")
        if nodes[name].tag == "!vault":
            raise ValueError(f"{name} is encrypted in {path}; write it in plain text, rotate, and encrypt it again")
    # From the end, so that places before stay where they are.
    for name, value in sorted(new.items(), key=lambda item: nodes[item[0]].start_mark.index, reverse=True):
        start, end = nodes[name].start_mark.index, nodes[name].end_mark.index
        after = "\n" if text[start:end].endswith("\n") else ""
        blank = "" if text[:start].endswith((" ", "\t")) else " "  # there is nothing directly after the colon
        text = text[:start] + blank + yaml_text(value) + after + text[end:]
    return text


def _values(text: str, path: Path) -> dict[str, str]:
    """Variables of a file with their values as text; tags (!unsafe) are taken away."""
    return {name: node.value for name, node in _nodes(text, path).items() if isinstance(node, yaml.ScalarNode)}


def _new_values(path: Path) -> dict[str, str]:
    """The operator's own new values; ValueError for one that is not a text, which a random one must not replace."""
    text = _decoded(path)
    for name, node in _nodes(text, path).items():
        if not isinstance(node, yaml.ScalarNode):
            raise ValueError(f"{path}: {name} is a list or a mapping, not a text; write one text in quotes")
    return _values(text, path)


# ---------------------------------------------------------------------------------------------------------------- files


def yaml_text(value: str) -> str:
    """Return a secret as YAML that Ansible takes as it is: one line, and no template whatever it looks like."""
    return "!unsafe " + json.dumps(value, ensure_ascii=False)


def _nodes(text: str, path: Path) -> dict[str, yaml.Node]:
    """A file's variables; ValueError, which shows no line of the file, when it is not a mapping of them."""
    try:
        # Composed, not constructed: the file may hold values tagged !unsafe or !vault, and only the names matter here.
        node = yaml.compose(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark else ""
        raise ValueError(f"{path}: {where}not one YAML mapping with a line for each variable") from None
    except RecursionError:
        raise ValueError(f"{path}: brackets are nested too deeply") from None
    if node is not None and node.tag == "tag:yaml.org,2002:null":  # as the line that begins a document, and nothing after it
        node = None
    if node is not None and not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{path} is not a mapping of variables")
    for key, _value in node.value if node else ():
        if not isinstance(key, yaml.ScalarNode):
            kind = "list" if isinstance(key, yaml.SequenceNode) else "mapping"
            raise ValueError(f"{path}: line {key.start_mark.line + 1}: a {kind} is not a valid variable name; write name: value")
    return {key.value: value for key, value in node.value} if node else {}


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and (node.value == "" or node.tag == "tag:yaml.org,2002:null")


def main(arguments: list[str] | None = None) -> int:
    """Command line: generate and say what was written, never a value."""
    parser = argparse.ArgumentParser(
        description="Make the secrets and certificates that an inventory lacks, or give secrets new values."
    )
    parser.add_argument("inventory", type=Path, nargs="+", help="as ansible-playbook -i; the first has the secrets")
    parser.add_argument("--rotate", metavar="NAMES", help="begin to replace these secrets, or `all`")
    parser.add_argument("--values", type=Path, metavar="FILE", help="YAML file with new values of your own")
    options = parser.parse_args(arguments)
    first = options.inventory[0]
    try:
        if options.rotate is not None:
            given = _new_values(options.values) if options.values else {}
            rotated = begin_rotation(first, options.rotate, given, tuple(options.inventory[1:]))
            print(f"secrets: new values of {', '.join(rotated) or 'none'} in {secrets_file(first)}")
            return 0
        path, added = generate(*options.inventory, tell=lambda line: print(f"secrets: {line}", file=sys.stderr))
    except (ValueError, OSError) as error:
        print(f"secrets: {error}", file=sys.stderr)
        return 1
    print(f"secrets: {f'{len(added)} new in' if added else 'nothing to add to'} {path}")
    # They depend on what the inventory's variables become. (Ansible takes no arguments that are empty.)
    made, errors = _ask("certificates", tuple(options.inventory), {"renew": ""})
    for line in made.get("actions", []):
        print(f"certificates: {line}")
    if "actions" in made:
        return 0
    print(f"certificates: {made.get('msg') or errors.strip()}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
