"""The certificates file of an inventory: its authority, and a certificate for each host and use, made where they are missing.

`certificates.json` of a group (openstack_certificates_group) has them as variables: openstack_tls_authority (what hosts
trust), openstack_tls_authority_key (which no host ever gets) and openstack_tls_certificates (host -> use -> certificate,
key). Several controllers trust an authority of their own among themselves (openstack_tls_peers_authority and its key), which
signs nothing for other hosts: so no compute node can join their clusters. An operator may set them elsewhere in the inventory, or
encrypt the file (`ansible-vault encrypt`): then nothing is written that would have them twice or in the clear.

A renewal goes by steps, each of which playbooks/site.yml brings to all hosts before the next one begins; the file says which one
is on its way (openstack_tls_renewal). `python -m kilonova.run.authorities inventories/sandbox` says so, too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import secrets as tokens
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kilonova.problems import Problem
from kilonova.run import certificates, secrets

FILE = "certificates.json"
# What the name of an authority begins with that is made here. No two have the same name, because programs look for the issuer of
# a certificate by it.
NAME = "Kilonova"
AUTHORITY, KEY, HOSTS = "openstack_tls_authority", "openstack_tls_authority_key", "openstack_tls_certificates"
STEP = "openstack_tls_renewal"
PEERS, PEERS_KEY = "openstack_tls_peers_authority", "openstack_tls_peers_authority_key"
VARIABLES = (AUTHORITY, KEY, HOSTS, STEP, PEERS, PEERS_KEY)
# What hosts do in each step of a renewal. One of the authority goes through the first three, one of hosts' certificates alone has
# the last.
TRUST, CHANGE, WITHDRAW, ALONE = "trust", "change", "withdraw", "hosts"
STEPS = {
    TRUST: "hosts trust the new authority beside the old one",
    CHANGE: "hosts get certificates that the new authority signed",
    WITHDRAW: "hosts no longer trust the old authority",
    ALONE: "hosts get new certificates",
}
# What can be renewed: what ends soon, certificates of hosts, or the authority and with it all of them.
SOON, OF_HOSTS, OF_AUTHORITY = "soon", "hosts", "authority"
DOCS = "docs/security.md, TLS"
REMADE = f"correct {AUTHORITY} and {KEY}, or remove both for new ones"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a certificate must be: all that its host is reached by, and for what it is used, of "server" and "client".

    `peers`: the controllers' own authority signs it.
    """

    reached_by: Sequence[str]
    uses: Sequence[str]
    peers: bool = False


def wanted(rows: Any) -> dict[str, Wanted]:
    """Return what a host's certificates must be, by use: the variable openstack_certificates."""
    return {use: Wanted(**row) for use, row in rows.items()} if isinstance(rows, Mapping) else {}


@dataclass(slots=True)
class Held:
    """The content of the file."""

    authority: str = ""
    key: str = field(default="", repr=False)
    hosts: dict[str, dict[str, certificates.Pair]] = field(default_factory=dict)
    step: str = ""
    peers: certificates.Pair | None = None

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
        step = str(found.get(STEP) or "")
        if step not in ("", *STEPS):
            raise ValueError(f"{STEP} ({step}) must be one of {', '.join(STEPS)}; it is written by a renewal: restore {FILE}")
        peers = certificates.Pair(str(found.get(PEERS) or ""), str(found.get(PEERS_KEY) or ""))
        return cls(str(found.get(AUTHORITY) or ""), str(found.get(KEY) or ""), pairs, step, peers if peers.certificate else None)

    def variables(self) -> dict[str, Any]:
        """Return the variables that the file has."""
        hosts = {
            host: {use: {"certificate": pair.certificate, "key": pair.key} for use, pair in uses.items()}
            for host, uses in self.hosts.items()
        }
        peers = {PEERS: self.peers.certificate, PEERS_KEY: self.peers.key} if self.peers else {}
        return {AUTHORITY: self.authority, KEY: self.key, **peers, HOSTS: hosts, **({STEP: self.step} if self.step else {})}

    def signer(self, one: Wanted) -> certificates.Pair:
        """Return the authority that signs a certificate; one without a text where there is none yet."""
        return (self.peers or certificates.Pair("", "")) if one.peers else certificates.Pair(self.authority, self.key)


def complete(held: Held, hosts: Mapping[str, Mapping[str, Wanted]]) -> tuple[Held, list[str]]:
    """Return the certificates with what is missing, or no longer right, made anew; and a line for each that was made or removed.

    What is right stays as it is. Raises ValueError without the authority's key where something has to be made: an operator who
    keeps it elsewhere makes the certificates there.
    """
    lines: list[str] = []
    authority = certificates.Pair(held.authority, held.key)
    if not held.authority and not held.key:
        authority = _new_authority()
        lines.append("the authority: new")
    elif wrong := certificates.check_authority(held.authority):
        raise ValueError(f"the authority {wrong[0].what}; {REMADE}")
    after = replace(held, authority=authority.certificate, key=authority.key, hosts={})
    if not held.peers and any(one.peers for uses in hosts.values() for one in uses.values()):
        after.peers = _new_authority("controllers")
        lines.append("the controllers' authority among themselves: new")
    for host, uses in hosts.items():
        after.hosts[host] = {}
        for use, one in uses.items():
            pair, signer = held.hosts.get(host, {}).get(use), after.signer(one)
            why = "there was none" if pair is None else _wrong(pair, signer.certificate, one)
            if pair is None or why:
                if not signer.key:
                    key = PEERS_KEY if one.peers else KEY
                    raise ValueError(f"{host}: its certificate for {use} has to be made ({why}), and {key} is not set")
                pair = _issue(signer, host, use, one)
                lines.append(f"{host}: {use}: made, because {why}")
            after.hosts[host][use] = pair
    lines += [f"{host}: removed, because it is not in the inventory" for host in held.hosts.keys() - hosts.keys()]
    return after, lines


def _issue(authority: certificates.Pair, host: str, use: str, one: Wanted) -> certificates.Pair:
    """A new certificate. Raises ValueError where the key is not the authority's, or cannot be read."""
    try:
        pair = certificates.issue(authority, host, one.reached_by, one.uses)
    except (TypeError, ValueError) as error:  # with a passphrase; not PEM
        key = PEERS_KEY if one.peers else KEY
        raise ValueError(f"{key} is not a private key in PEM without a passphrase; {REMADE}") from error
    if wrong := _wrong(pair, authority.certificate, one):
        raise ValueError(f"{host}: no certificate for {use} can be made: {wrong}; {REMADE}")
    return pair


def _wrong(pair: certificates.Pair, authority: str, one: Wanted) -> str:
    """Why a certificate cannot stay, "" when it can."""
    found = certificates.check(pair, authority, one.reached_by, one.uses, warn_days=0)
    return "; ".join(f"the {said.part} {said.what}" for said in found if said.level == "error")


def renew(held: Held, hosts: Mapping[str, Mapping[str, Wanted]], what: str, warn_days: int) -> tuple[Held, list[str]]:
    """Begin to renew `what` is asked for (SOON, OF_HOSTS, OF_AUTHORITY); return the certificates, and a line for each change.

    One that has begun goes on first: nothing is changed then, unless the old authority has ended meanwhile. Raises ValueError for
    another word, for what was not made here, and where the authority's key is not there.
    """
    if what not in (SOON, OF_HOSTS, OF_AUTHORITY):
        raise ValueError(f"certificates_renew ({what}) must be one of {SOON}, {OF_HOSTS}, {OF_AUTHORITY}")
    if not held.authority:
        raise ValueError(f"there is nothing to renew: {AUTHORITY} is not set; run `make secrets` first")
    first, *others = _each(held)
    if held.step:
        if held.step not in (TRUST, CHANGE) or not others or not certificates.check_authority(others[0]):
            return held, []
        # Preflight refuses an authority that has ended, and nobody takes what it signed any more.
        without = replace(held, authority="".join([first, *others[1:]]), step=WITHDRAW)
        return _changed(without, hosts) if held.step == TRUST else advance(held, hosts)
    for one in others:
        if wrong := certificates.check_authority(one):
            raise ValueError(f"{AUTHORITY}: {certificates.shown(one)} {wrong[0].what}; remove it")
    latest = certificates.now() + datetime.timedelta(days=warn_days)
    has_ended = bool(certificates.check_authority(first))
    if has_ended or what == OF_AUTHORITY or (what == SOON and certificates.ends(first) <= latest):
        if not (held.key and certificates.is_authority_called(first, NAME)):
            who = certificates.shown(first)
            raise ValueError(f"the authority ({who}) was not made here; put its successor beside it ({DOCS})")
        new = _new_authority()
        if has_ended:
            return _changed(replace(held, authority="".join([new.certificate, *others]), key=new.key, step=WITHDRAW), hosts)
        held, lines = complete(held, hosts)
        held = replace(held, authority=new.certificate + held.authority, key=new.key, step=TRUST)
        return held, [*lines, f"the authority: new ({STEPS[TRUST]})"]
    before, (held, lines) = held, complete(held, hosts)
    pairs = {(host, use): pair for host, uses in held.hosts.items() for use, pair in uses.items()}
    chosen = [at for at, pair in pairs.items() if what == OF_HOSTS or certificates.ends(pair.certificate) <= latest]
    if chosen and not held.key:
        raise ValueError(f"{KEY} is not set: who has it makes the certificates, and they go into {HOSTS}")
    held, renewed = _issued(held, hosts, chosen)
    is_new = any(before.hosts.get(host) != uses for host, uses in held.hosts.items())
    return replace(held, step=ALONE if is_new else ""), [*lines, *renewed]


def advance(held: Held, hosts: Mapping[str, Mapping[str, Wanted]]) -> tuple[Held, list[str]]:
    """Return the certificates of the next step, once all hosts have those of this one; a line for each change."""
    if held.step == TRUST:
        return _changed(replace(held, step=CHANGE), hosts)
    if held.step == CHANGE:
        # The new one is first, the old one second; what an operator trusts besides stays. A host that was not in the inventory
        # when the others got theirs gets one now.
        new, *others = _each(held)
        pairs = {(host, use): held.hosts.get(host, {}).get(use) for host, uses in hosts.items() for use in uses}
        signers = {at: held.signer(one).certificate if one.peers else new for at, one in _by_place(hosts).items()}
        late = [at for at, pair in pairs.items() if not pair or _wrong(pair, signers[at], hosts[at[0]][at[1]])]
        held, lines = _issued(replace(held, authority="".join([new, *others[1:]]), step=WITHDRAW), hosts, late)
        return held, [f"the old authority: removed ({STEPS[WITHDRAW]})", *lines]
    return replace(held, step=""), [f"the renewal is complete; {first_end(held)}"] if held.step else []


def _each(held: Held) -> list[str]:
    """The authorities that hosts trust, each by itself; the first one signs."""
    try:
        return certificates.each(held.authority)
    except ValueError as error:
        raise ValueError(f"{AUTHORITY} has no certificate in PEM that can be read; {REMADE}") from error


def _by_place(hosts: Mapping[str, Mapping[str, Wanted]]) -> dict[tuple[str, str], Wanted]:
    return {(host, use): one for host, uses in hosts.items() for use, one in uses.items()}


def _new_authority(whose: str = "") -> certificates.Pair:
    words = (NAME, whose, f"{certificates.now():%Y-%m-%d}", tokens.token_hex(4))
    return certificates.new_authority(" ".join(word for word in words if word))


def _changed(held: Held, hosts: Mapping[str, Mapping[str, Wanted]]) -> tuple[Held, list[str]]:
    """All hosts' certificates anew, by an authority that is new."""
    after, lines = _issued(held, hosts, [(host, use) for host, uses in hosts.items() for use in uses])
    return after, [f"the authority: new ({STEPS[held.step]})", *lines]


def _issued(held: Held, hosts: Mapping[str, Mapping[str, Wanted]], chosen: Sequence[tuple[str, str]]) -> tuple[Held, list[str]]:
    """New certificates for some hosts and uses; those of hosts that are not in the inventory any more go."""
    made = {host: dict(held.hosts.get(host, {})) for host in hosts}
    for host, use in chosen:
        made[host][use] = _issue(held.signer(hosts[host][use]), host, use, hosts[host][use])
    return replace(held, hosts=made), [f"{host}: {use}: renewed" for host, use in chosen]


def why_not(held: Held, warn_days: int) -> str:
    """Why renew() has begun nothing."""
    if held.step:
        return f"A renewal has begun, which goes on: {STEPS[held.step]}."
    return f"No certificate ends within {warn_days} days: {first_end(held)}."


def first_end(held: Held) -> str:
    """Which certificate ends first, and when."""
    ends = {"the authority": certificates.ends(held.authority)}
    ends |= {
        f"{host}: {use}": certificates.ends(pair.certificate) for host, uses in held.hosts.items() for use, pair in uses.items()
    }
    first = min(ends, key=ends.__getitem__)
    return f"the first to end is {first}, on {ends[first]:%Y-%m-%d}"


REMEDY = "run `make secrets INVENTORY=...`, which makes what is missing"
RENEW = "run `make rotate-certificates INVENTORY=...`, or give one that ends later"


def problems(host: str, found: Mapping[str, Any], uses: Mapping[str, Wanted], warn_days: int) -> tuple[list[Problem], list[str]]:
    """Return what is wrong with a host's certificates, and warnings; `found` has the variables of the file.

    No key is part of either.
    """
    if found.get(AUTHORITY) is not None and not isinstance(found[AUTHORITY], str):
        return [Problem(host, AUTHORITY, "", "is not a text", f"{REMEDY}, or write your own in PEM")], []
    if not (found.get(AUTHORITY) or "").strip():
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
        authority = PEERS if one.peers else AUTHORITY
        if not held.signer(one).certificate.strip():
            wrong.append(Problem(host, authority, "", "is not set, and there are several controllers", REMEDY))
            continue
        for said in certificates.check(pair, held.signer(one).certificate, one.reached_by, one.uses, warn_days):
            variable = authority if said.part == "authority" else f"{HOSTS}[{host}][{use}].{said.part}"
            if said.level == "error":
                wrong.append(Problem(host, variable, "", said.what, said.remedy))
            else:
                warnings.append(str(Problem(host, variable, "", said.what, RENEW)))
    return wrong, warnings


def file_of(directory: Path, group: str) -> Path:
    """Where an inventory's directory has the certificates of a group."""
    return directory / "group_vars" / group / FILE


def write(path: Path, before: Held, after: Held) -> None:
    """Write the file with mode 0600, and have git ignore it; readers see the old one or the new one.

    `before` is what the inventory had. Raises ValueError, and writes nothing, as see_that_it_is_ours() does, and where the file
    is a link.
    """
    see_that_it_is_ours(path, before)
    path.parent.mkdir(parents=True, exist_ok=True)
    secrets.ignored_by_git(path)
    secrets.replace(path, json.dumps(after.variables(), indent=1) + "\n")


def see_that_it_is_ours(path: Path, before: Held) -> None:
    """Raise ValueError where the file must not be written.

    What the inventory had is not the file's alone, the file is encrypted, or Ansible would no longer read what it reads now
    (secrets.see_that_nothing_is_hidden).
    """
    if _own(path) != before:
        names = f"{AUTHORITY}, {KEY} or {HOSTS}"
        raise ValueError(f"{names} is set elsewhere in the inventory, not in {path} alone; renew it there, or remove it there")
    secrets.see_that_nothing_is_hidden(path)


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


def main() -> int:
    """Say which step of a renewal an inventory is in, and nothing when it is in none; status 2 when that cannot be known."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[-1], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inventory", type=Path, nargs="+", help="as ansible-playbook -i")
    try:
        found, _controllers = secrets.asked(tuple(parser.parse_args().inventory), [STEP])
        steps = {held.step for held in map(Held.of_variables, found.values()) if held.step}
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    for step in steps:
        print(f"Renewal of certificates: {STEPS[step]}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
