"""Every configuration file of every host, from the inventory's variables alone: no host is asked, no task is run.

The deployment lets Ansible resolve the variables of one role on one host and hands the result, the role's *files*, to the action
`config_files`. Here the same variables are resolved for all hosts in one process (inventories.Inventory), and the same function
renders the files (config_files.render): a test compares the two byte by byte.

What only a host can say (the role openstack's `openstack_host`, whether KVM works) is undefined; the roles' data has a default.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2.runtime import missing

from kilonova.config import checking, config_files, declared, inventories
from kilonova.config.once import once_for_objects

# ---------------------------------------------------------------------------------------------------------- generating


@dataclass(frozen=True, slots=True)
class File:
    """One file of a host."""

    host: str
    path: str
    text: str
    entry: Mapping[str, Any] = field(repr=False)
    owner: inventories.Host | None = field(default=None, repr=False, compare=False)
    """The host with its variables."""

    @property
    def mode(self) -> int:
        """Its mode on the host."""
        return int(str(self.entry.get("mode", "0644")), 8)


def files(inventory: inventories.Inventory, hosts: Iterable[str] | None = None, hide: bool = False) -> Iterator[File]:
    """Yield every file of every host, host by host. `hide` puts placeholders where secrets would be.

    Raises GenerateError, naming host and file, for data that makes none.
    """
    words = placeholders() if hide else {}
    inventory = _hidden(inventory, {**words, **_certificates(inventory)}) if hide else inventory
    for names in batches(inventory.hosts() if hosts is None else hosts, HOSTS_AT_ONCE):
        entries = [(host, entry) for host in map(inventory.host, names) for entry in host.files()]
        made = []
        for host, entry in entries:
            try:
                text = _text(entry)
            except ValueError as error:
                raise inventories.GenerateError(checking.with_path(entry, error), host.name) from error
            made.append(File(host.name, str(entry["path"]), _masked(text, words.values()) if hide else text, entry, host))
        yield from made


# One step for some hosts before the next one: a processor's cache keeps what a step needs, which makes all a sixth faster.
HOSTS_AT_ONCE = 50


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items in lists of `size`; the last one has what is left."""
    left = iter(items)
    while batch := list(itertools.islice(left, size)):
        yield batch


_text = once_for_objects(config_files.render)


def placeholders() -> dict[str, str]:
    """Return the placeholder of each secret: the install guide's word if it has one, NOVA_PASS."""
    secrets = declared.secrets()
    return {
        name: word if re.fullmatch("[A-Z_]+", word) else name.removeprefix("openstack_").upper() for name, word in secrets.items()
    }


def has_certificates(inventory: inventories.Inventory) -> bool:
    """Return whether an authority is set; else the first file that needs one says so."""
    return any(inventory.host(name).find("openstack_tls_authority") is not missing for name in inventory.hosts()[:1])


def _certificates(inventory: inventories.Inventory) -> dict[str, Any]:
    """Placeholders for certificates of all hosts, whatever they need; none where there are some, whose keys a mask hides."""
    if has_certificates(inventory):
        return {}
    names = ("__openstack_controller_certificates", "__openstack_compute_certificates", "__openstack_ovn_certificates")
    pair = {"certificate": "CERTIFICATE\n", "key": "KEY\n"}
    uses = {use: pair for name in names for use in inventory.role_vars[name]}
    return {"openstack_tls_authority": "AUTHORITY\n", "openstack_tls_certificates": dict.fromkeys(inventory.hosts(), uses)}


def _hidden(inventory: inventories.Inventory, words: Mapping[str, Any]) -> inventories.Inventory:
    """The inventory with placeholders for the secrets and certificates; it need not have any."""
    extra = {**inventory.raw_extra, **words}
    return inventories.Inventory(
        inventory._variables, inventory.groups, extra=extra, trusted=inventory._trusted, templar=inventory.templar
    )


def _masked(text: str, words: Iterable[str]) -> str:
    """Hide what an operator set as a secret by other means; placeholders stay readable."""
    lines = text.split("\n")
    masked = config_files.mask(text).split("\n")
    if len(lines) != len(masked):  # a secret of several lines: better too much hidden than too little
        return "\n".join(masked)
    known = re.compile("|".join(map(re.escape, words)) + r"|[=:] *(true|false)$")
    return "\n".join(line if line == hidden or known.search(line) else hidden for line, hidden in zip(lines, masked, strict=True))
