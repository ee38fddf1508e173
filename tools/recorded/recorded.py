# Copyright: the Kilonova authors
# SPDX-License-Identifier: Apache-2.0
"""Hosts that answer from what was recorded of real ones, to measure the machine that runs Ansible (tools/bench_hosts.py)."""

from __future__ import annotations

import ast
import base64
import json
import os
import re
import time
from pathlib import Path
from typing import Any

from ansible.plugins.connection import ConnectionBase

from kilonova.onhost import digests, migration

DOCUMENTATION = """
name: recorded
short_description: Answer modules as a host would, without a host
description:
  - Ansible does all its work, up to the module's text that a host would run; this plugin reads the module's name and arguments in
    it. What a module was told to make is there from then on, in a file for each host in the directory that KILONOVA_RECORDED
    names.
  - hosts.json beside this file has the reports of a controller and a compute node of a deployed cloud.
options:
  remote_addr:
    description: Address of the host.
    default: inventory_hostname
    vars: [{name: inventory_hostname}, {name: openstack_management_address}]
  host:
    description: Name of the host.
    default: inventory_hostname
    vars: [{name: inventory_hostname}]
extends_documentation_fragment: [connection_pipelining]
"""

REPORTS = json.loads(Path(__file__).with_name("hosts.json").read_text(encoding="utf-8"))
ARGUMENT = r"^%s=(.*),$"
CONTROLLER = "keystone"


class Connection(ConnectionBase):
    """One host that is not there."""

    transport = "recorded"
    has_pipelining = True

    def _connect(self):
        self._connected = True
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):
        """Answer the module whose text is `in_data`."""
        text = in_data.decode()
        name, params = (
            ast.literal_eval(re.search(ARGUMENT % one, text, re.MULTILINE)[1]) for one in ("ansible_module", "params")
        )
        host = Host(self.get_option("host"), self.get_option("remote_addr"))
        arguments = json.loads(params)["ANSIBLE_MODULE_ARGS"]
        answer = host.said(name, arguments)
        host.save(arguments)
        return 0, json.dumps({"invocation": {}, **answer}).encode(), b""

    def put_file(self, in_path, out_path):
        """No task of ours sends a file."""
        raise NotImplementedError

    fetch_file = put_file

    def close(self):
        """Nothing is open."""
        self._connected = False


def ordered(value: Any) -> str:
    """A value as a text, whatever the order of what is in it: some filters of Ansible's give lists in any order."""
    if isinstance(value, dict):
        return str(sorted((key, ordered(one)) for key, one in value.items()))
    return str(sorted(map(ordered, value))) if isinstance(value, list) else str(value)


class Host:
    """What was made on a host, and what its modules say."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self.path = Path(os.environ["KILONOVA_RECORDED"], f"{name}.json")
        self.made: dict[str, Any] = {
            "files": {},
            "units": {},
            "answers": {},
            "done": [],
            "packages": [],
            "kvm": None,
            "lists": {},
        }
        if self.path.exists():
            self.made = json.loads(self.path.read_text(encoding="utf-8"))
        self.before = json.dumps(self.made)

    def save(self, arguments: dict[str, Any]) -> None:
        """Keep what was made, unless it was only foreseen."""
        after = json.dumps(self.made)
        if after != self.before and not arguments["_ansible_check_mode"]:
            self.path.write_text(after, encoding="utf-8")

    def said(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """What a module says."""
        return getattr(self, name, self.other)(name, arguments)

    @property
    def key(self) -> str:
        """Its public key, of the host and of its user."""
        return f"ssh-ed25519 {base64.b64encode(self.name.encode().rjust(48)).decode()}"

    def host_facts(self, _name: str, told: dict[str, Any]) -> dict[str, Any]:
        """What the host reports."""
        key = bytes.fromhex(told["key"])
        report = REPORTS["controller" if CONTROLLER in told["roles"] else "compute"]
        current = {
            unit: {path: digests.keyed_sections(sections, key) for path, sections in known.items()}
            for unit, known in self.made["units"].items()
        }
        found = {
            "hostname": self.name,
            "addresses": {self.address: "eth0", "127.0.0.1": "lo"},
            "resolved": {name: [self.address] for name in [self.name, *told["names"]]},
            "clock": time.time(),
            "packages": {**(report["packages"] if self.made["packages"] else {}), **dict.fromkeys(self.made["packages"], "1")},
            "listening": [],
            "compute_id": "",
            "compute_nodes": [] if CONTROLLER in told["roles"] else None,
            "files": {path: [digests.keyed(text.encode(), key), *rights] for path, (text, *rights) in self.made["files"].items()},
            "services": {"busy": sorted(self.made["units"]), "current": current},
            "answers": dict.fromkeys(self.made["answers"].values(), True),
            "kvm": self.made["kvm"],
            "migration": {
                **{name: migration.digest(self.made["lists"].get(name, "")) for name in migration.LISTS},
                "key": self.key if self.made["lists"] else "",
                "host_key": self.key,
                "remains": bool(self.made["lists"]),
            },
        }
        return {"changed": False, "host": {**report, **found}}

    def ask_ahead(self, _name: str, told: dict[str, Any]) -> dict[str, Any]:
        """What each module would do, which is not kept."""
        made, answers = json.dumps(self.made), {}
        for question in told["questions"]:
            answers[question["digest"]] = self.said(question["name"], question["arguments"])
            self.made = json.loads(made)
        return {"changed": False, "answers": answers}

    def openstack_packages(self, _name: str, told: dict[str, Any]) -> dict[str, Any]:
        """The packages are installed."""
        missing = sorted({*told["names"]} - {*self.made["packages"]})
        self.made["packages"] = sorted({*self.made["packages"], *missing})
        more = {"new": missing, "installed": self.made["packages"]} if missing else {}
        return {"changed": bool(missing), "actions": [f"install {name}" for name in missing], **more}

    def config_files(self, _name: str, told: dict[str, Any]) -> dict[str, Any]:
        """The files are written."""
        wanted = {
            one["path"]: [base64.b64decode(one["content"]).decode(), one["owner"], one["group"], one["mode"]]
            for one in told["files"]
        }
        actions = [f"write {path}" for path, file in wanted.items() if self.made["files"].get(path) != file]
        self.made["files"].update(wanted)
        return {"changed": bool(actions), "actions": actions, "before": {}, "after": {}}

    def service_units(self, _name: str, told: dict[str, Any]) -> dict[str, Any]:
        """The units are started."""
        actions = []
        for unit in told["units"]:
            # Several calls may say what one unit reads: HAProxy's ways.
            known = self.made["units"].get(unit["name"])
            if unit.get("runs", True) and (known is None or known != {**known, **unit["digests"]}):
                actions.append(f"start {unit['name']}")
                self.made["units"][unit["name"]] = {**(known or {}), **unit["digests"]}
        self.made["answers"].update({unit["name"]: unit["answers"] for unit in told["units"] if unit.get("answers")})
        return {"changed": bool(actions), "actions": actions}

    def migration_keys(self, _name: str, told: dict[str, Any]) -> dict[str, Any]:
        """The key is made, or the lists are written."""
        if told.get("lists") is None:
            return {**self.once("key", True, ["create the key"]), "peer": {"key": self.key, "host_key": self.key}}
        lists = {
            name: "".join(f"{line}\n" for _address, line in rows if line) for name, rows in json.loads(told["lists"]).items()
        }
        return self.once("lists", lists, [f"write {name}" for name in lists])

    def kvm_probe(self, _name: str, _told: dict[str, Any]) -> dict[str, Any]:
        """A guest ran."""
        self.made["kvm"] = {"works": True, "reason": "a guest ran"}
        return {"changed": False, **self.made["kvm"]}

    def other(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """Something is changed by the first call with these arguments, for however long it waits."""
        arguments = {key: one for key, one in told.items() if key[:1] != "_" and key != "timeout"}
        call = f"{name} {digests.plain(ordered(arguments))}"
        actions = [] if call in self.made["done"] else [name]
        self.made["done"] = sorted({*self.made["done"], call})
        return {"changed": bool(actions), "actions": actions, "table": []}

    def once(self, what: str, value: Any, actions: list[str]) -> dict[str, Any]:
        """Say and keep what is new."""
        changed = self.made.get(what) != value
        self.made[what] = value
        return {"changed": changed, "actions": actions if changed else []}
