"""Wrong inputs as data (cases.yml): an inventory for each, what must be said of it, and the table of docs/preflight.md.

NETWORK stands for the first half of the sandbox's addresses, DISTRIBUTIONS for what can be deployed.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kilonova.config.config_files import ROLES
from kilonova.run import authorities, secrets

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
RIGHT = HERE / "inventory"
DOCUMENT = TREE / "docs" / "preflight.md"
BEGIN, END = "<!-- cases -->\n", "<!-- end of the cases -->\n"


@dataclass(frozen=True)
class Case:
    """One wrong input."""

    name: str
    message: str
    """What must be said, exactly; NUMBER and TEXT stand for what differs."""
    hosts: list[list[str]] = field(default_factory=list)
    """[old, new] for the text of hosts.yml."""
    variables: dict[str, Any] = field(default_factory=dict)
    """Variables of all hosts."""
    host: dict[str, Any] = field(default_factory=dict)
    """Variables of compute1."""
    secrets: dict[str, Any] = field(default_factory=dict)
    """Secrets that become others; null removes one."""
    arguments: list[str] = field(default_factory=list)
    """More arguments of ansible-playbook."""
    prepare: dict[str, str] = field(default_factory=dict)
    """Host -> what is done to it before."""
    undo: dict[str, str] = field(default_factory=dict)
    """Host -> what undoes it."""
    asks_host: bool = False
    """Whether a host must be asked, so that a cloud is needed."""

    def inventory(self, directory: Path, given: dict[str, str], network: str, certificates: dict[str, Any] | None = None) -> Path:
        """Make the inventory: the one that is right, with the given secrets and certificates and this case's change."""
        shutil.copytree(RIGHT, directory)
        text = (directory / "hosts.yml").read_text(encoding="utf-8")
        for old, new in self.hosts:
            assert old in text, f"{old!r} is not in hosts.yml"
            text = text.replace(old, new)
        (directory / "hosts.yml").write_text(text, encoding="utf-8")
        changed = {name: value for name, value in {**given, **self.secrets}.items() if value is not None}
        words = {
            name: secrets.yaml_text(value) if isinstance(value, str) else json.dumps(value) for name, value in changed.items()
        }
        path = secrets.secrets_file(directory)
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}: {word}\n" for name, word in words.items()), encoding="utf-8")
        variables = self.variables
        if certificates:
            variables = {"openstack_tls": True, **variables}
            file = authorities.file_of(directory, "all")
            file.write_text(json.dumps(certificates), encoding="utf-8")
        # Read after main.yml, so these win.
        (directory / "group_vars" / "all" / "zz_case.yml").write_text(_in(network, yaml.safe_dump(variables)), encoding="utf-8")
        if self.host:
            (directory / "host_vars").mkdir()
            (directory / "host_vars" / "compute1.yml").write_text(_in(network, yaml.safe_dump(self.host)), encoding="utf-8")
        return directory

    def expected(self, network: str) -> str:
        """The message in a sandbox with these addresses."""
        data = yaml.safe_load((ROLES / "openstack/vars/main/main.yml").read_text(encoding="utf-8"))["openstack_distributions"]
        known = ", ".join(f"{name} ({row['title']})" for name, row in data.items())
        return _in(network, self.message).replace("DISTRIBUTIONS", known)

    def is_said(self, output: str, network: str) -> bool:
        """Whether the output has the message."""
        pattern = re.escape(self.expected(network)).replace("NUMBER", r"\d+").replace("TEXT", "[^;]+")
        return bool(re.search(pattern, " ".join(output.split())))

    def steps(self, which: str, network: str) -> dict[str, str]:
        """Host -> commands, of `prepare` or `undo`."""
        return {host: _in(network, text) for host, text in getattr(self, which).items()}


def _in(network: str, text: str) -> str:
    return text.replace("NETWORK", network)


def cases() -> list[Case]:
    """All of them, in the order of the file."""
    rows = yaml.safe_load((HERE / "cases.yml").read_text(encoding="utf-8"))
    return [Case(**row) for row in rows]


def good_secrets() -> dict[str, str]:
    """Secrets that are right."""
    return {name: base64.b32encode(f"{at:02}-{name}".encode()).decode() for at, name in enumerate(secrets.names())}


def table() -> str:
    """The cases as the document lists them."""
    text = ""
    for asks_host, title in ((False, "Without contacting a host"), (True, "Asking the hosts")):
        text += f"\n{title}:\n\n| wrong | what is said |\n|---|---|\n"
        for case in cases():
            if case.asks_host == asks_host:
                said = case.expected("10.20").replace("|", "\\|")
                text += f"| {case.name} | `` {said} `` |\n" if "`" in said else f"| {case.name} | `{said}` |\n"
    return text + "\n"


def document() -> str:
    """docs/preflight.md with its table as it must be."""
    text = DOCUMENT.read_text(encoding="utf-8")
    return re.sub(f"(?s)(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", lambda _match: table(), text)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
