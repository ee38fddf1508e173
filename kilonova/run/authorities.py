"""The certificates file of an inventory: its authority, and a certificate for each host and use, made where they are missing.

`group_vars/all/certificates.json` has them as variables: openstack_tls_authority (what hosts trust), openstack_tls_authority_key
(which no host ever gets) and openstack_tls_certificates (host -> use -> certificate, key). JSON, which Ansible reads ten times as
fast as other YAML. `ansible-vault encrypt` works on it as on any file of variables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kilonova.onhost import files
from kilonova.problems import Problem
from kilonova.run import certificates, secrets

FILE = Path("group_vars", "all", "certificates.json")
AUTHORITY, KEY, HOSTS = "openstack_tls_authority", "openstack_tls_authority_key", "openstack_tls_certificates"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a certificate must be: all that its host is reached by, and for what it is used, of "server" and "client"."""

    reached_by: Sequence[str]
    uses: Sequence[str]


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


def complete(held: Held, wanted: Mapping[str, Mapping[str, Wanted]], name: str = "Kilonova") -> tuple[Held, list[str]]:
    """Return the certificates with what is missing, or no longer right, made anew; and a line for each that was made or removed.

    What is right stays as it is. Raises ValueError without the authority's key where something has to be made: an operator who
    keeps it elsewhere makes the certificates there.
    """
    lines: list[str] = []
    authority = certificates.Pair(held.authority, held.key)
    if not held.authority and not held.key:
        authority = certificates.new_authority(name)
        lines.append("the authority: new")
    trusted = authority.certificate
    hosts: dict[str, dict[str, certificates.Pair]] = {}
    for host, uses in wanted.items():
        hosts[host] = {}
        for use, one in uses.items():
            pair = held.hosts.get(host, {}).get(use)
            why = "there was none" if pair is None else _wrong(pair, trusted, one)
            if pair is None or why:
                if not authority.key:
                    raise ValueError(f"{host}: its certificate for {use} has to be made ({why}), and {KEY} is not set")
                pair = certificates.issue(authority, host, one.reached_by, one.uses)
                lines.append(f"{host}: {use}: made, because {why}")
            hosts[host][use] = pair
    lines += [f"{host}: removed, because it is not in the inventory" for host in held.hosts.keys() - wanted.keys()]
    return Held(authority.certificate, authority.key, hosts), lines


def _wrong(pair: certificates.Pair, authority: str, wanted: Wanted) -> str:
    """Why a certificate cannot stay, "" when it can."""
    found = certificates.check(pair, authority, wanted.reached_by, wanted.uses, warn_days=0)
    return "; ".join(f"the {one.part} {one.what}" for one in found if one.level == "error")


REMEDY = "run `make certificates INVENTORY=...`, which makes what is missing"


def problems(
    host: str, found: Mapping[str, Any], wanted: Mapping[str, Wanted], warn_days: int
) -> tuple[list[Problem], list[str]]:
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
    for use, one in wanted.items():
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


def write(path: Path, held: Held) -> None:
    """Write the file with mode 0600, and have git ignore it; readers see the old one or the new one.

    Raises ValueError where Ansible would no longer read what it reads now (secrets.see_that_nothing_is_hidden).
    """
    secrets.see_that_nothing_is_hidden(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    secrets.ignored_by_git(path)
    files.replace_operators(path, json.dumps(held.variables(), indent=1) + "\n")


def ends(held: Held) -> dict[str, str]:
    """Return what ends when: `authority`, and `host use` for each certificate, as dates of ISO 8601."""
    found = {"authority": min(one.not_valid_after_utc for one in certificates.load(held.authority))} if held.authority else {}
    found |= {f"{host} {use}": pair.ends for host, uses in held.hosts.items() for use, pair in uses.items()}
    return {name: f"{end:%Y-%m-%d}" for name, end in found.items()}
