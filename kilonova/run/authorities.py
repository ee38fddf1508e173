"""The certificates file of an inventory: its authority, and a certificate for each host and use, made where they are missing.

`group_vars/all/certificates.json` has them as variables: openstack_tls_authority (what hosts trust), openstack_tls_authority_key
(which no host ever gets) and openstack_tls_certificates (host -> use -> certificate, key). An operator may set them elsewhere in
the inventory, or encrypt the file (`ansible-vault encrypt`): then nothing is written that would have them twice or in the clear.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kilonova.problems import Problem
from kilonova.run import certificates, secrets

FILE = Path("group_vars", "all", "certificates.json")
# The authority's name.
NAME = "Kilonova"
AUTHORITY, KEY, HOSTS = "openstack_tls_authority", "openstack_tls_authority_key", "openstack_tls_certificates"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a certificate must be: all that its host is reached by, and for what it is used, of "server" and "client"."""

    reached_by: Sequence[str]
    uses: Sequence[str]


def wanted(rows: Any) -> dict[str, Wanted]:
    """Return what a host's certificates must be, by use: the variable openstack_certificates."""
    return {use: Wanted(**row) for use, row in rows.items()} if isinstance(rows, Mapping) else {}


@dataclass(slots=True)
class Held:
    """The content of the file."""

    authority: str = ""
    key: str = field(default="", repr=False)
    hosts: dict[str, dict[str, certificates.Pair]] = field(default_factory=dict)

    @classmethod
    def of_variables(cls, found: Mapping[str, Any]) -> Held:
        """Take the variables that the file has. Raises ValueError for what has another form."""
        hosts = found.get(HOSTS) or {}
        if not isinstance(hosts, Mapping) or not all(isinstance(uses, Mapping) for uses in hosts.values()):
            raise ValueError(f"{HOSTS} is not a mapping of hosts to uses to certificates; move {FILE} away, and run this again")
        pairs = {
            str(host): {
                str(use): certificates.Pair(str(row["certificate"]), str(row["key"]))
                for use, row in uses.items()
                if isinstance(row, Mapping) and {"certificate", "key"} <= row.keys()
            }
            for host, uses in hosts.items()
        }
        return cls(str(found.get(AUTHORITY) or ""), str(found.get(KEY) or ""), pairs)

    def variables(self) -> dict[str, Any]:
        """Return the variables that the file has."""
        hosts = {
            host: {use: {"certificate": pair.certificate, "key": pair.key} for use, pair in uses.items()}
            for host, uses in self.hosts.items()
        }
        return {AUTHORITY: self.authority, KEY: self.key, HOSTS: hosts}


def complete(held: Held, hosts: Mapping[str, Mapping[str, Wanted]]) -> tuple[Held, list[str]]:
    """Return the certificates with what is missing, or no longer right, made anew; and a line for each that was made or removed.

    What is right stays as it is. Raises ValueError without the authority's key where something has to be made: an operator who
    keeps it elsewhere makes the certificates there.
    """
    lines: list[str] = []
    authority = certificates.Pair(held.authority, held.key)
    remedy = f"correct {AUTHORITY} and {KEY}, or remove both for new ones"
    if not held.authority and not held.key:
        authority = certificates.new_authority(NAME)
        lines.append("the authority: new")
    elif wrong := certificates.check_authority(held.authority):
        raise ValueError(f"the authority {wrong[0].what}; {remedy}")
    made: dict[str, dict[str, certificates.Pair]] = {}
    for host, uses in hosts.items():
        made[host] = {}
        for use, one in uses.items():
            pair = held.hosts.get(host, {}).get(use)
            why = "there was none" if pair is None else _wrong(pair, authority.certificate, one)
            if pair is None or why:
                if not authority.key:
                    raise ValueError(f"{host}: its certificate for {use} has to be made ({why}), and {KEY} is not set")
                pair = certificates.issue(authority, host, one.reached_by, one.uses)
                if left := _wrong(pair, authority.certificate, one):  # the key is not the authority's
                    raise ValueError(f"{host}: no certificate for {use} can be made: {left}; {remedy}")
                lines.append(f"{host}: {use}: made, because {why}")
            made[host][use] = pair
    lines += [f"{host}: removed, because it is not in the inventory" for host in held.hosts.keys() - hosts.keys()]
    return Held(authority.certificate, authority.key, made), lines


def _wrong(pair: certificates.Pair, authority: str, one: Wanted) -> str:
    """Why a certificate cannot stay, "" when it can."""
    found = certificates.check(pair, authority, one.reached_by, one.uses, warn_days=0)
    return "; ".join(f"the {said.part} {said.what}" for said in found if said.level == "error")


REMEDY = "run `make certificates INVENTORY=...`, which makes what is missing"


def problems(host: str, found: Mapping[str, Any], uses: Mapping[str, Wanted], warn_days: int) -> tuple[list[Problem], list[str]]:
    """Return what is wrong with a host's certificates, and warnings; `found` has the variables of the file.

    No key is part of either.
    """
    if not isinstance(found.get(AUTHORITY), str) or not found[AUTHORITY].strip():
        return [Problem(host, AUTHORITY, "", "is not set, and openstack_tls is true", f"{REMEDY}, or set your own")], []
    try:
        held = Held.of_variables(found)
    except ValueError as error:
        return [Problem(host, HOSTS, "", str(error), REMEDY)], []
    wrong: list[Problem] = []
    warnings: list[str] = []
    for use, one in uses.items():
        pair = held.hosts.get(host, {}).get(use)
        if pair is None:
            wrong.append(Problem(host, f"{HOSTS}[{host}][{use}]", "", "is not set, and openstack_tls is true", REMEDY))
            continue
        for said in certificates.check(pair, held.authority, one.reached_by, one.uses, warn_days):
            variable = AUTHORITY if said.part == "authority" else f"{HOSTS}[{host}][{use}].{said.part}"
            problem = Problem(host, variable, "", said.what, said.remedy)
            if said.level == "error":
                wrong.append(problem)
            else:
                warnings.append(str(problem))
    return wrong, warnings


def write(path: Path, before: Held, after: Held) -> None:
    """Write the file with mode 0600, and have git ignore it; readers see the old one or the new one.

    `before` is what the inventory had. Raises ValueError, and writes nothing, where that is not the file's alone, where the file
    is encrypted or a link, and where Ansible would no longer read what it reads now (secrets.see_that_nothing_is_hidden).
    """
    if _own(path) != before:
        names = f"{AUTHORITY}, {KEY} or {HOSTS}"
        raise ValueError(f"{names} is set elsewhere in the inventory, not in {path} alone; renew it there, or remove it there")
    secrets.see_that_nothing_is_hidden(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    secrets.ignored_by_git(path)
    secrets.replace(path, json.dumps(after.variables(), indent=1) + "\n")


def _own(path: Path) -> Held:
    """What the file has."""
    if not path.exists():
        return Held()
    text = path.read_text(encoding="utf-8")
    if text.startswith(secrets.VAULT):
        raise ValueError(f"{path} is encrypted; decrypt it (ansible-vault decrypt), run this again, and encrypt it again")
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a JSON mapping of variables; correct it, or move it away")
    return Held.of_variables(found)
