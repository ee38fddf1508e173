"""What the rows share: the clouds, the servers, how they wait, and what explains a failure."""

from __future__ import annotations

import base64
import re
import secrets
import threading
import time

from ..masking import mask_log
from . import guest
from .cloud import Calls, Cloud
from .engine import FAILED, Failure, Row, Skip, Stopped
from .tenant import Tenant
from .text import hints, news, plain

CONSOLE_TAIL = 25


class Context:
    """What the rows share."""

    def __init__(self, params: dict, name: str, calls: Calls, admin: Cloud):
        """Take the module's parameters; the run's name prefixes everything that it makes."""
        self.p, self.name, self.calls, self.admin = params, name, calls, admin
        self.tenant = Tenant(admin, name)
        self.me: Cloud | None = None
        self.auth: dict = {}
        self.stop = threading.Event()
        self.secret = secrets.token_hex(8)
        self.made: dict[str, str] = {}
        self.servers: dict[str, dict] = {}
        self.image: dict = {}
        self.key_file = ""
        self.computes: list[str] = []
        self.picture: dict | None = None
        self.publish = lambda: None
        self._local = threading.local()
        self._guard = threading.Lock()
        self._console_locks: dict[str, threading.Lock] = {}
        self._consoles: dict[str, tuple[float, str]] = {}

    # -- what the engine calls

    def begin(self, row: Row) -> None:
        """A row starts in this thread."""
        self.calls.start()
        self._local.server = ""

    def end(self, row: Row, outcome) -> None:
        """A row has ended: keep its notes, and for a failure what explains it."""
        if notes := self.calls.notes():
            outcome.extra["notes"] = notes
        if outcome.status == FAILED:
            outcome.extra.setdefault("requests", self.calls.kept())
            server = getattr(self._local, "server", "")
            if server and not self.stop.is_set():
                outcome.extra.update(self.explain(server))
            if not outcome.extra.get("console"):
                outcome.extra.pop("console", None)
            words = " ".join([outcome.reason, str(outcome.extra.get("fault", "")), *outcome.extra.get("console", [])[-5:]])
            outcome.extra["look_at"] = list(dict.fromkeys([*outcome.extra.get("look_at", []), *hints(words)]))
        outcome.reason, outcome.detail = mask_log(outcome.reason), mask_log(outcome.detail)

    # -- waiting

    def wait(self, what: str, ask, limit: int | None = None, every: float = 1.0, said=lambda: ""):
        """The first true answer; a failure that names what was waited for, and what was said last, when the limit is over."""
        limit = limit or self.p["timeout"]
        deadline = time.monotonic() + limit
        while True:
            if self.stop.is_set():
                raise Stopped
            answer = ask()
            if answer:
                return answer
            if time.monotonic() > deadline:
                last = said()
                raise Failure(f"waited {limit} s for {what}" + (f"; last: {last}" if last else ""))
            self.stop.wait(every)

    # -- servers

    def create_server(self, kind: str, image_id: str, networks, **more) -> str:
        """Ask for a server; returns its id."""
        body = {
            "name": f"{self.name}-{kind}",
            "imageRef": image_id,
            "flavorRef": self.tenant.flavors["small"],
            "networks": networks,
            "key_name": self.made.get("keypair"),
            "metadata": {"kilonova-verify": self.secret},
            "user_data": base64.b64encode(
                f"#!/bin/sh\necho KILONOVA-VERIFY user_data {self.secret} > /dev/console\n".encode()
            ).decode(),
            "security_groups": [{"name": self.made["security_group"]}],
        }
        hints_ = more.pop("hints", None)
        body.update(more)
        body = {key: value for key, value in body.items() if value is not None}
        whole = {"server": body, **({"os:scheduler_hints": hints_} if hints_ else {})}
        server_id = self.me.post("compute", "/servers", whole)["server"]["id"]
        self.servers[kind] = {"id": server_id, "kind": kind, "before": ""}
        self._local.server = server_id
        return server_id

    def use(self, kind: str) -> dict:
        """A server that earlier rows made, which must be ACTIVE: what another row broke is that row's failure alone."""
        server = self.servers[kind]
        self._local.server = server["id"]
        status = self.show(server["id"])["status"]
        if status != "ACTIVE":
            raise Skip(f"the instance is {status} since an earlier row")
        return server

    def show(self, server_id: str) -> dict:
        """A server as its owner sees it."""
        return self.me.get("compute", f"/servers/{server_id}")["server"]

    def host_of(self, server_id: str) -> str:
        """The compute node it is on."""
        return self.admin.get("compute", f"/servers/{server_id}")["server"].get("OS-EXT-SRV-ATTR:host") or ""

    def action(self, server_id: str, body: dict):
        """Ask for an action on a server."""
        return self.me.post("compute", f"/servers/{server_id}/action", body)

    def until(self, server_id: str, status: str, limit: int | None = None, idle: bool = True) -> dict:
        """The server once it has the status and no task; fails at once with Nova's fault when it is in ERROR."""
        seen = {}

        def ask():
            server = self.show(server_id)
            seen.update(status=server["status"], task=server.get("OS-EXT-STS:task_state"))
            if server["status"] == "ERROR" and status != "ERROR":
                fault = server.get("fault") or {}
                raise Failure(f"the instance is in ERROR: {fault.get('message', 'Nova gives no fault')}")
            return server if server["status"] == status and not (idle and server.get("OS-EXT-STS:task_state")) else None

        return self.wait(
            f"the instance to be {status}", ask, limit, said=lambda: f"{seen.get('status')}, task {seen.get('task')}"
        )

    def console(self, server_id: str, length: int | None = None) -> str:
        """What it wrote on its serial console."""
        options = {"length": length} if length else {}
        return plain(self.action(server_id, {"os-getConsoleOutput": options})["output"] or "")

    def recent_console(self, server_id: str) -> str:
        """The same, at most a second old: rows that watch one console share what one of them asked for."""
        with self._guard:
            lock = self._console_locks.setdefault(server_id, threading.Lock())
        with lock:
            when, text = self._consoles.get(server_id, (0.0, ""))
            if time.monotonic() - when > 1.0:
                text = self.console(server_id)
                self._consoles[server_id] = (time.monotonic(), text)
            return text

    def shown(self, server: dict, pattern: str, what: str, limit: int | None = None) -> re.Match:
        """The match of a pattern in what the console shows since the server's last start."""
        said = {}

        def ask():
            said["text"] = text = news(server["before"], self.recent_console(server["id"]))
            return re.search(pattern, text)

        try:
            return self.wait(f"{what} on the console (pattern {pattern!r})", ask, limit)
        except Failure as failure:
            failure.details["console"] = mask_log(said.get("text", "")).splitlines()[-CONSOLE_TAIL:]
            raise

    def booted(self, server: dict) -> None:
        """Wait until the guest says that it is up, after a start."""
        self.shown(server, self.p["console"]["boot"], "the end of the boot")

    def mark(self, server: dict) -> None:
        """What the console shows now is old: called before a row starts the guest anew."""
        self._consoles.pop(server["id"], None)
        server["before"] = self.console(server["id"])

    def answers(self, server: dict) -> str:
        """Its page at its floating address."""
        if not server.get("floating"):
            return ""
        url = f"http://{server['floating']}:{self.p['port']}/"
        last = {}

        def ask():
            status, text = guest.http(url)
            last["said"] = text.strip()[:200]
            return (last["said"] or "(an empty page)") if status == 200 else None

        return self.wait(f"an answer by HTTP at {url}", ask, said=lambda: last.get("said"))

    def float(self, server: dict) -> str:
        """Give it a floating address, once."""
        if not server.get("floating"):
            port = self.me.get("network", f"/ports?device_id={server['id']}")["ports"][0]
            body = {"floating_network_id": self.made["external"], "port_id": port["id"]}
            server["floating"] = self.me.post("network", "/floatingips", {"floatingip": body})["floatingip"][
                "floating_ip_address"
            ]
        return server["floating"]

    def explain(self, server_id: str) -> dict:
        """What Nova itself says about a server: fault, last actions with their request ids, and the tail of its console."""
        found: dict = {"server": server_id}
        try:
            server = self.admin.get("compute", f"/servers/{server_id}", ok=(404,)).get("server", {}) or {}
        except (Failure, AttributeError):
            return found
        found["host"] = server.get("OS-EXT-SRV-ATTR:host") or ""
        if server.get("fault"):
            fault = server["fault"]
            found["fault"] = mask_log(fault.get("message", ""))
            found["fault_details"] = mask_log(fault.get("details") or "").strip().splitlines()[-3:]
        try:
            actions = self.admin.get("compute", f"/servers/{server_id}/os-instance-actions")["instanceActions"]
            found["actions"] = [
                {
                    "action": item["action"],
                    "request_id": item["request_id"],
                    "message": item["message"] or "",
                    "time": item["start_time"],
                }
                for item in actions[:3]
            ]
            if server.get("status") == "ACTIVE":
                found["console"] = mask_log(self.console(server_id)).splitlines()[-CONSOLE_TAIL:]
        except Failure:
            pass
        if "No valid host" in found.get("fault", ""):
            found["look_at"] = self.room()
        return found

    def room(self) -> list[str]:
        """Why no host could take a server: state and free memory of each."""
        lines, size = [], self.p["flavor"]
        wanted = {"VCPU": size["vcpus"], "MEMORY_MB": size["ram"], "DISK_GB": size["disk"]}
        # Extra specs may ask Placement for other amounts than the flavor has.
        wanted.update(
            {key[10:]: int(value) for key, value in (size.get("extra_specs") or {}).items() if key.startswith("resources:")}
        )
        try:
            for service in self.admin.get("compute", "/os-services?binary=nova-compute")["services"]:
                if (service["status"], service["state"]) != ("enabled", "up"):
                    state = f"{service['status']} and {service['state']}"
                    lines.append(f"nova-compute on {service['host']} is {state}, last heard of at {service['updated_at']}")
            for provider in self.admin.get("placement", "/resource_providers")["resource_providers"]:
                free = self.free(provider["uuid"])
                short = [
                    f"{name} {free.get(name, 0)} free, {amount} asked"
                    for name, amount in wanted.items()
                    if free.get(name, 0) < amount
                ]
                if short:
                    lines.append(f"{provider['name']} has no room: {'; '.join(short)}")
        except Failure as error:
            lines.append(str(error))
        return lines

    def free(self, provider: str) -> dict[str, int]:
        """Free amounts of a resource provider, as the scheduler counts."""
        inventories = self.admin.get("placement", f"/resource_providers/{provider}/inventories")["inventories"]
        used = self.admin.get("placement", f"/resource_providers/{provider}/usages")["usages"]
        return {
            name: int((item["total"] - item["reserved"]) * item["allocation_ratio"]) - used.get(name, 0)
            for name, item in inventories.items()
        }
