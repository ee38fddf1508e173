"""Match what the hosts say of one launch with the steps of the launch.

Two flows side by side: the 28 steps of the workflow that students learn (Grizzly's time: "quantum-server", a scheduler
that reads the database), and what today's Nova does; launch.yml lists them. `report()` takes the evidence that
library/trace_evidence.py collected and the launch that library/trace_launch.py made, and returns both flows with time, host,
service and the line that proves the step.

A step's `state`:

seen      a line, a database row or a counter proves it;
replaced  today's Nova does not do it; the note names today's step that took its place;
absent this launch did not need it (no volume service, an image that the compute node already has);
unseen    it should have happened, and nothing shows it. The first of these in today's flow is where a launch stopped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

# 2026-11-21 00:21:29.417 11793 INFO nova.api.openstack.requestlog [req-global req-local user project ...] text
_OSLO = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) \d+ [A-Z]+ (\S+) (?:\[([^]]*)\] ?)?(.*)")
# [pid: 11239|app: 0|req: 397/397] 10.20.0.11 () {32 vars in 482 bytes} [Sat Nov 21 00:30:22 2026] POST /v3/auth/tokens => ...
_UWSGI = re.compile(
    r"^\[pid: .*?\] (\S*) \(.*?\) \{.*?\} \[(\w{3} \w{3} +\d+ \d\d:\d\d:\d\d \d{4})\] (\S+) (\S+) => "
    r"generated \d+ bytes in (\d+) msecs \(HTTP/[\d.]+ (\d+)\)"
)
# ... 10.20.0.21 "GET /allocations/..." status: 200 len: 257 microversion: 1.28 time: 0.0065
_REQUESTLOG = re.compile(r'(\S+) "(\S+) (\S+)" status: (\d+) len: \S+ microversion: \S+(?: time: ([\d.]+))?')
# 10.20.0.21 - - [21/Nov/2026 00:21:31] "GET /v2/images/... HTTP/1.1" 200 1126 0.085454
_EVENTLET = re.compile(r'(\S+) - - \[[^]]*\] "(\S+) (\S+) HTTP/[\d.]+" (\d+) \S+ ([\d.]+)')
# 2026-11-21T00:21:50.123456+00:00 controller dnsmasq-dhcp[13705]: text
_JOURNAL = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+[+-]\d\d:?\d\d) \S+ ([^\s\[:]+)(?:\[\d+\])?: (.*)")
# 2026-11-21 00:21:41.330+0000: starting up libvirt version: 9.0.0
_LIBVIRT = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+[+-]\d{4}): (.*)")
# 2026-11-25T19:21:58.975Z|00006|pinctrl(ovn_pinctrl0)|INFO|DHCPACK fa:16:3e:6b:c6:d7 172.16.1.88
_OVN = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)\|\d+\|[^|]+\|[A-Z]+\|(.*)")
# 2026-11-21 01:19:59.892 8094 ERROR nova.compute.manager [instance: ...] BrokenPipeError: [Errno 32] Corrupt image download.
_ERROR = re.compile(r"^\S+ \S+ \d+ (?:ERROR|CRITICAL) \S+ (?:\[(?:None |req-|-)[^]]*\] )?(.*)")
_RAISED = re.compile(r"^(?:[a-z]\w*\.)*[A-Z]\w*: \S")
_REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")
_SERVICES = {"keystone": "keystone", "rabbit@": "rabbitmq"}


@dataclass(frozen=True)
class Entry:
    """One line or row, with what it says about itself."""

    time: datetime
    """When the thing began, in UTC."""
    host: str
    service: str
    text: str
    """The line as the host has it."""
    exact: bool = True
    """False where only the second is known (uwsgi's access log, the databases)."""
    request_ids: tuple[str, ...] = ()
    client: str = ""
    method: str = ""
    path: str = ""
    status: int = 0
    seconds: float = 0.0
    row: dict[str, Any] = field(default_factory=dict)

    @property
    def end(self) -> datetime:
        """When the request was answered."""
        return self.time + timedelta(seconds=self.seconds)


def service_of(path: str) -> str:
    """`/var/log/nova/nova-compute.log` -> `nova-compute`; QEMU's own logs -> `libvirt`."""
    if "/libvirt/" in path:
        return "libvirt"
    return PurePosixPath(path).name.removesuffix(".log").removesuffix(".1").removesuffix(".log")


def _utc(naive: datetime, offset: int) -> datetime:
    return (naive - timedelta(seconds=offset)).replace(tzinfo=UTC)


def parse_line(source: str, line: str, host: str, utc_offset: int = 0) -> Entry | None:
    """Read one line of a log or of the journal; None for a line without a time (a traceback, a wrapped warning)."""
    if source == "journal":
        match = _JOURNAL.match(line)
        if not match:
            return None
        stamp, service, text = match.groups()
        logged = datetime.fromisoformat(stamp).astimezone(UTC)
        # uWSGI says it when a request is answered.
        if asked := _UWSGI.match(text):
            client, _second, method, path, milliseconds, status = asked.groups()
            spent = int(milliseconds) / 1000
            said = {"client": client, "method": method, "path": path, "status": int(status), "seconds": spent}
            return Entry(logged - timedelta(seconds=spent), host, service, line, **said)
        return Entry(logged, host, service, line)
    service = service_of(source)
    if match := _UWSGI.match(line):
        client, stamp, method, path, milliseconds, status = match.groups()
        return Entry(
            _utc(datetime.strptime(stamp, "%a %b %d %H:%M:%S %Y"), utc_offset),
            host,
            service,
            line,
            exact=False,
            client=client,
            method=method,
            path=path,
            status=int(status),
            seconds=int(milliseconds) / 1000,
        )
    if match := _LIBVIRT.match(line):
        return Entry(datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f%z").astimezone(UTC), host, service, line)
    if match := _OVN.match(line):
        return Entry(datetime.fromisoformat(match[1]), host, service, line)
    match = _OSLO.match(line)
    if not match:
        return None
    stamp, _module, context, text = match.groups()
    logged = _utc(datetime.fromisoformat(stamp), utc_offset)
    ids = tuple(_REQUEST_ID.findall(context or ""))
    request = _REQUESTLOG.search(text) or _EVENTLET.search(text)
    if not request:
        return Entry(logged, host, service, line, request_ids=ids)
    client, method, path, status, seconds = request.groups()
    spent = float(seconds or 0)
    # A request is logged when it is answered.
    return Entry(
        logged - timedelta(seconds=spent),
        host,
        service,
        line,
        request_ids=ids,
        client=client,
        method=method,
        path=path,
        status=int(status),
        seconds=spent,
    )


def entries(evidence: Iterable[dict[str, Any]]) -> list[Entry]:
    """Every line of every host that has a time, oldest first."""
    found = [
        entry
        for host in evidence
        for source, line in host["lines"]
        if (entry := parse_line(source, line, host["host"], host["utc_offset"]))
    ]
    return sorted(found, key=lambda entry: entry.time)


def _moment(text: str | None) -> datetime | None:
    """A time of the client (with a zone) or of a database (UTC without one)."""
    if not text:
        return None
    moment = datetime.fromisoformat(str(text))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


class Case:
    """One launch and its evidence; the questions that steps ask of them."""

    def __init__(self, launch: dict[str, Any], evidence: list[dict[str, Any]], addresses: dict[str, str] | None = None):
        """`addresses`: host to its management address, which access logs show."""
        self.launch = launch
        self.evidence = evidence
        self.all = entries(evidence)
        self.instance = launch.get("id") or ""
        self.ids = {i for i in (launch.get("global_request_id"), launch.get("request_id")) if i}
        self.addresses = addresses or {}
        self.ports = [port["id"] for port in launch.get("ports", [])] or self._ports_of_rows()
        self.host = launch.get("host") or self._host_of_evidence()
        self.api_hosts = {entry.host for entry in self.all if entry.service in ("nova-api", "keystone")}
        self.by_dashboard = launch.get("from") == "dashboard"
        self.asked = _moment(launch.get("asked"))
        self.answered = _moment(launch.get("answered"))

    def _ports_of_rows(self) -> list[str]:
        return [row["id"] for row in self.rows("neutron.ports")]

    def _host_of_evidence(self) -> str:
        """The compute node that worked on it: Nova forgets it when a launch fails."""
        events = [row["host"] for row in self.rows("nova.instance_actions_events") if row.get("host")]
        lines = [entry.host for entry in self.all if entry.service == "nova-compute" and self.ids & set(entry.request_ids)]
        return (lines or events or [""])[0]

    def errors(self) -> list[dict[str, str]]:
        """What services logged as an error of this launch: with its request id, or the exception that ends its traceback."""
        found: dict[tuple[str, str], dict[str, str]] = {}
        for entry in self.all:
            match = _ERROR.match(entry.text)
            if not match:
                continue
            said = match[1].strip()
            named = self.instance and said.startswith(f"[instance: {self.instance}]")
            said = said.removeprefix(f"[instance: {self.instance}]").strip()
            # A traceback has the instance in each line; of those, only the exception itself says why.
            if (self.ids & set(entry.request_ids) and said) or (named and _RAISED.match(said)):
                row = {"time": _shown(entry), "host": entry.host, "service": entry.service, "text": said}
                found.setdefault((entry.service, said), row)
        return list(found.values())

    def client(self, moment: str, text: str, **more: Any) -> Entry | None:
        """What the client itself saw."""
        when = _moment(self.launch.get(moment))
        return when and Entry(when, "", "client", text, **more)

    def first(
        self,
        service: str,
        text: str = "",
        *,
        ours: bool | None = None,
        method: str = "",
        path: str = "",
        host: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        of_compute: bool | None = None,
    ) -> Entry | None:
        """The first line of a service that fits.

        `ours`: has one of the launch's request ids. `of_compute`: the request came from the compute node (or did not).
        """
        compute = {self.addresses.get(self.host, self.host)} - {""}
        if self.host in self.api_hosts:
            # All in one: the address tells nothing.
            of_compute = None
        for entry in self.all:
            if entry.service != service or (host and entry.host != host):
                continue
            if ours is not None and ours != bool(self.ids & set(entry.request_ids)):
                continue
            if (text and not re.search(text, entry.text)) or (method and method != entry.method):
                continue
            if path and not re.search(path, entry.path):
                continue
            # A time that is known to the second only may lie in the same second.
            slack = timedelta(0) if entry.exact else timedelta(seconds=1)
            if (since and entry.time + slack < since) or (until and entry.time > until):
                continue
            if of_compute is not None and (not compute or of_compute != (entry.client in compute)):
                continue
            return entry
        return None

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Rows of a table; `nova` stands for every cell."""
        wanted = {table, table.replace("nova.", "nova_cell0.")}
        return [row for host in self.evidence for row in host.get("rows", []) if row["table"] in wanted]

    def row(self, table: str, column: str = "created_at", **values: Any) -> Entry | None:
        """The first row that fits, at the time of its column."""
        for host in self.evidence:
            for row in host.get("rows", []):
                if row not in self.rows(table) or any(row.get(key) != value for key, value in values.items()):
                    continue
                moment = _moment(row.get(column))
                if moment:
                    shown = ", ".join(f"{key} {value}" for key, value in row.items() if key != "table" and value is not None)
                    return Entry(moment, host["host"], "mariadb", f"{row['table']}: {shown}", exact=False, row=row)
        return None

    def queue(self, name: str) -> str:
        """What RabbitMQ says about a queue, and how much its consumer's service sent and received meanwhile."""
        for host in self.evidence:
            queue = (host.get("rabbitmq") or {}).get("queues", {}).get(name)
            if queue:
                return f"queue {name}: {_count(queue['consumers'], 'consumer')}, {_count(queue['messages'], 'message')} waiting"
        return f"queue {name}: not there"

    def stuck(self, name: str) -> bool:
        """A queue without a consumer, or with messages that are not consumed."""
        queues = [(host.get("rabbitmq") or {}).get("queues", {}) for host in self.evidence]
        return any(queues) and not any(queue.get(name, {}).get("consumers") for queue in queues)

    def message(self, queue: str, proof: Entry | None) -> Entry | None:
        """A message that passed a queue: what its receiver did proves it; RabbitMQ describes the way."""
        if proof is None:
            return None
        broker = next((host["host"] for host in self.evidence if host.get("rabbitmq")), proof.host)
        return replace(proof, host=broker, service="rabbitmq", text=f"{self.queue(queue)}. Its receiver: {proof.text}")

    def token_checks(self, around: Entry | None, after: Sequence[Entry | None] = ()) -> Iterator[Entry]:
        """Keystone's access lines of the validation that a request may have caused, those of `after` left out."""
        if around is None:
            return
        for entry in self.all:
            # The access log has whole seconds: a line of the same second may be later than the request.
            if entry.time + timedelta(seconds=1) < around.time or entry.time > around.end + timedelta(seconds=not around.exact):
                continue
            checked = entry.service == "keystone" and entry.method == "GET" and entry.path.startswith("/v3/auth/tokens")
            if checked and entry not in after:
                yield entry

    # What several steps look at.

    def server_request(self) -> Entry | None:
        """nova-api's line of POST /servers."""
        return self.first("nova-api", ours=True, method="POST", path=r"/servers$") or self.first(
            "nova-api", method="POST", path=r"/servers$", since=self.asked, until=self.answered
        )

    def launch_request(self) -> Entry | None:
        """The same, with what the browser asked the dashboard for."""
        found = self.server_request()
        page = self.first("horizon", method="POST", path="^/api/nova/servers/", since=self.asked) if self.by_dashboard else None
        return replace(found, text=f"{found.text} Asked for by: {page.text}") if found and page else found

    def port_request(self) -> Entry | None:
        """Neutron's line of the port that nova-compute asked for."""
        return self.first("neutron-api", method="POST", path=r"^/v2.0/ports", since=self.asked, of_compute=True)

    def compute_line(self, text: str = "") -> Entry | None:
        """A line of nova-compute about this instance."""
        return self.first("nova-compute", text=text, ours=True) or (
            self.first("nova-compute", text=f"(?=.*{self.instance})(?=.*(?:{text}))") if self.instance else None
        )

    def with_ovn(self) -> bool:
        """Whether OVN carries the networks: its controller on the compute node has logged something of this launch."""
        return any(entry.service == "ovn-controller" for entry in self.all)

    def image_file(self) -> Entry | None:
        """Glance's line of the download."""
        return self.first("glance-api", method="GET", path=rf"/v2/images/{self.launch['image_id']}/file", since=self.asked)

    def cached_image(self) -> str:
        """Where the compute node keeps the image since an earlier launch; empty when it had to ask for it."""
        for host in self.evidence:
            cache = host.get("image_cache")
            if cache and host["host"] == self.host and self.image_file() is None:
                return f"{host['host']}: {cache['path']}, {cache['size']} bytes"
        return ""


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


Answer = Entry | None | tuple[str, str]


@dataclass(frozen=True)
class Step:
    """One step of a flow. `find` returns its proof, None, or (state, note)."""

    flow: str
    step: int
    sender: str
    receiver: str
    service: str
    title: str
    find: Callable[[Case], Answer]
    note: str = ""
    optional: bool = False
    """A launch can be good without its trace: the token was cached, the answer came another way."""


def _replaced(note: str) -> Callable[[Case], Answer]:
    return lambda case: ("replaced", note)


def _without_volume(case: Case) -> tuple[str, str] | None:
    """Why a launch asks for no volume; None where it does."""
    if case.launch.get("volume"):
        return None
    if case.launch.get("volume_service"):
        return "absent", "this instance boots from an image and has no volume"
    return "absent", "no volume service in the catalogue"


def _volume_asked(case: Case) -> Entry | None:
    """Cinder's line of the first request that nova-compute made for the volume."""
    return case.first("cinder-api", ours=True, text=r"(POST|GET) \S+/v3/\S*(volumes|attachments)")


def _of_volume(find: Callable[[Case], Answer]) -> Callable[[Case], Answer]:
    """A step that only a launch with a volume has."""
    return lambda case: _without_volume(case) or find(case)


def _cached(case: Case) -> Answer:
    if case.launch.get("volume"):
        return "absent", "the volume was made of the image before, by cinder-volume"
    cache = case.cached_image()
    return ("absent", f"the compute node had the image from an earlier launch ({cache})") if cache else None


_ASKS = {
    "nova-api": lambda case: case.server_request(),
    "glance-api": lambda case: case.first("glance-api", ours=True, method="GET", path=rf"/v2/images/{case.launch['image_id']}$"),
    "neutron-api": lambda case: case.first("neutron-api", since=case.asked, until=case.answered, of_compute=False),
    "cinder-api": _volume_asked,
}


def _token_checked(asker: str) -> Callable[[Case], Answer]:
    """Keystone's line for the first request that a service got with the token. A line counts once, in the flow's order."""

    def find(case: Case) -> Answer:
        given: list[Entry | None] = []
        for service, asks in _ASKS.items():
            request = asks(case)
            found = next(case.token_checks(request, given), None)
            if service == asker:
                break
            given.append(found)
        if case.by_dashboard and request is not None and not found:
            return "absent", "the dashboard has shown lists with this token before: the answer was still in memcached"
        # nova-api is the first to get the token, so it must have asked.
        if found or request is None or asker == "nova-api":
            return found
        return "absent", "another service had the token checked, and they share memcached: Keystone was not asked again"

    return find


def _login(case: Case) -> Entry | None:
    found = case.first(
        "keystone",
        method="POST",
        path=r"^/v3/auth/tokens",
        since=_moment(case.launch.get("token_asked")),
        until=_moment(case.launch.get("token_given")),
    )
    asked = _moment(case.launch.get("token_asked"))
    if case.by_dashboard:
        page = case.first("horizon", method="POST", path="^/auth/login/", since=asked)
        return found and page and replace(page, text=f"{page.text} Keystone: {found.text}")
    # Keystone's log has the second, the client's clock the moment.
    return replace(found, time=asked, exact=True) if found and asked else found


def _event(case: Case, column: str = "start_time") -> Entry | None:
    return case.row("nova.instance_actions_events", column, event="compute__do_build_and_run_instance")


def _candidates(case: Case) -> Entry | None:
    return case.first("placement-api", ours=True, method="GET", path=r"^(/placement)?/allocation_candidates")


def _claim(case: Case) -> Entry | None:
    return case.first("placement-api", ours=True, method="PUT", path=rf"/allocations/{case.instance or 'none'}")


def _compute_queue(case: Case) -> str:
    return f"compute.{case.host}" if case.host else "compute"


def _compute_got_it(case: Case) -> Entry | None:
    return case.compute_line("Claim successful|Attempting claim") or _event(case) or case.compute_line()


def _conductor_got_it(case: Case) -> Entry | None:
    # What it logs comes later than what it does: it asks the scheduler, and the scheduler asks Placement.
    found = (entry for entry in (case.first("nova-conductor", ours=True), _candidates(case)) if entry)
    written = case.row("nova.instance_actions", "start_time", action="create")
    return min(found, key=lambda entry: entry.time, default=written)


def _port_event(case: Case) -> Entry | None:
    for port in case.ports:
        found = case.first("neutron-rpc-server", text=f"network-vif-plugged.*{port}|{port}.*network-vif-plugged") or case.first(
            "neutron-api", text=f"network-vif-plugged.*{port}|{port}.*network-vif-plugged"
        )
        if found:
            return found
    return None


def _port_wired(case: Case) -> Entry | None:
    agents = ("neutron-openvswitch-agent", "neutron-linuxbridge-agent", "neutron-ovn-metadata-agent", "ovn-controller")
    found = (case.first(agent, text=port, host=case.host) for port in case.ports for agent in agents)
    return next(filter(None, found), None)


def _dhcp_configured(case: Case) -> Answer:
    found = (case.first("neutron-dhcp-agent", text=rf"configuration for ports .*{port}") for port in case.ports)
    without = ("replaced", "OVN has no DHCP agent: ovn-controller on the compute node answers, from OVN's databases")
    return next(filter(None, found), None) or (without if case.with_ovn() else None)


def _lease(case: Case) -> Entry | None:
    macs = [port["mac"] for port in case.launch.get("ports", [])]
    servers = ("dnsmasq-dhcp", "ovn-controller")
    return next(filter(None, (case.first(server, text=rf"DHCPACK.*{mac}") for mac in macs for server in servers)), None)


def _metadata(case: Case) -> Entry | None:
    active = _moment(case.launch.get("active"))
    if not active:
        return None
    for port in case.launch.get("ports", []):
        for address in port["addresses"]:
            for entry in case.all:
                if "haproxy" in entry.service and re.search(rf"[: ]{re.escape(address)}:\d+ .*\"GET /", entry.text):
                    return entry
    return None


def _external_event(case: Case) -> Entry | None:
    event = _port_event(case)
    ids = set(_REQUEST_ID.findall(event.text)) if event else set()
    return next((entry for entry in case.all if entry.service == "nova-api" and ids & set(entry.request_ids)), None)


def _placed_row(case: Case) -> Entry | None:
    """The instance's row, which nova-conductor writes when the scheduler has answered."""
    mapping = case.row("nova_api.instance_mappings", "updated_at")
    return mapping if mapping and mapping.row.get("cell") not in (None, "cell0") else None


# What proves a step, by the names that launch.yml uses.
PROOFS: dict[str, Callable[[Case], Answer]] = {
    "login": _login,
    "token given": lambda case: case.client(
        "token_given",
        "the dashboard has logged in: it keeps the token, and the browser has a session (not shown)"
        if case.by_dashboard
        else "the client holds a token (not shown)",
    ),
    "server request": lambda case: case.launch_request(),
    **{f"token checked for {service}": _token_checked(service) for service in _ASKS if service != "cinder-api"},
    "token checked for cinder-api": _of_volume(_token_checked("cinder-api")),
    "request specification": lambda case: case.row("nova_api.request_specs"),
    "instance mapping": lambda case: case.row("nova_api.instance_mappings"),
    "image metadata": _ASKS["glance-api"],
    "network and quota": lambda case: case.first(
        "neutron-api",
        method="GET",
        path=rf"^/v2.0/networks\?.*id={case.launch['network_id']}",
        since=case.asked,
        until=case.answered,
    ),
    "message to conductor": lambda case: case.message("conductor", _conductor_got_it(case)),
    "message to scheduler": lambda case: case.message("scheduler", _candidates(case)),
    "candidates": _candidates,
    "claim": _claim,
    "host chosen": lambda case: case.message("conductor", _placed_row(case)),
    "host mapped": lambda case: case.row("nova_api.instance_mappings", "updated_at"),
    "instance row": lambda case: case.row("nova.instances"),
    "message to compute": lambda case: case.message(_compute_queue(case), _compute_got_it(case)),
    "compute got it": _compute_got_it,
    "resources claimed": lambda case: case.compute_line("Claim successful|Attempting claim"),
    # nova-compute has no access to the database: every row that bears its name was written by nova-conductor.
    "event": _event,
    "event by conductor": lambda case: case.message("conductor", _event(case)),
    "port request": lambda case: case.port_request(),
    "network details": lambda case: case.first(
        "neutron-api", method="GET", path=rf"^/v2.0/ports\?.*device_id={case.instance or 'none'}", of_compute=True
    ),
    "DHCP configured": _dhcp_configured,
    "image": lambda case: case.image_file() or _cached(case),
    "volume asked": _of_volume(_volume_asked),
    "volume details": _of_volume(
        lambda case: case.first("cinder-api", ours=True, text=r"/v3/\S*(volumes|attachments)/\S+ returned with HTTP 20[02]")
    ),
    "interface plugged": lambda case: case.compute_line("Successfully plugged vif"),
    "guest started": lambda case: case.first("libvirt", text="starting up") or case.compute_line("VM Started|Instance spawned"),
    "port wired": _port_wired,
    "port event": _port_event,
    "external event": _external_event,
    "guest runs": lambda case: case.compute_line("VM Resumed|Instance spawned successfully"),
    "launched": lambda case: case.row("nova.instances", "launched_at"),
    "lease": _lease,
    "metadata": _metadata,
}


def _flow(name: str, rows: Iterable[dict[str, Any]]) -> tuple[Step, ...]:
    """The steps of a flow, numbered as in launch.yml."""
    return tuple(
        Step(
            name,
            number,
            row["from"],
            row["to"],
            row["service"],
            row["title"],
            _replaced(row["replaced"]) if "replaced" in row else PROOFS[row["proof"]],
            row.get("note", ""),
            row.get("optional", False),
        )
        for number, row in enumerate(rows, 1)
    )


STEPS: tuple[Step, ...] = tuple(
    step
    for name, rows in yaml.safe_load(Path(__file__).with_name("launch.yml").read_text(encoding="utf-8")).items()
    for step in _flow(name, rows)
)


def _described(step: Step, case: Case) -> dict[str, Any]:
    found = step.find(case)
    entry = found if isinstance(found, Entry) else None
    state, note = ("seen", step.note) if entry else found or ("unseen", "")
    if entry and re.search(r"nova_cell0\.|\bcell cell0\b", entry.text):
        note = "cell0 keeps the instances that no host took"
    if state == "unseen" and step.receiver == "nova-compute" and case.stuck(_compute_queue(case)):
        note = case.queue(_compute_queue(case))
    ids = [i for i in (entry.request_ids if entry else ()) if i in case.ids] or list(entry.request_ids if entry else ())
    return {
        "step": step.step,
        "flow": step.flow,
        "time": _shown(entry) if entry else "",
        "host": entry.host if entry else "",
        "service": entry.service if entry else step.service,
        "from": _spoken(case, step.sender),
        "to": _spoken(case, step.receiver),
        "title": step.title.replace("The client", "The dashboard") if case.by_dashboard else step.title,
        "evidence": entry.text if entry else "",
        "request_id": (ids[-1] if ids else (entry.row.get("request_id") or "")) if entry else "",
        "note": note,
        "seen": bool(entry),
        "state": state,
        "optional": step.optional,
    }


def _spoken(case: Case, who: str) -> str:
    """Who speaks: the client may be the dashboard."""
    return "dashboard" if who == "client" and case.by_dashboard else who


def _shown(entry: Entry) -> str:
    """ISO 8601 in UTC, as exact as the source is."""
    return entry.time.isoformat(timespec="microseconds" if entry.exact else "seconds")


def first_missing(described: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """The first hop of today's flow that nothing shows: where a launch stopped."""
    for step in described:
        if step["flow"] == "today" and step["state"] == "unseen" and not step["optional"]:
            return step
    return None


def report(launch: dict[str, Any], evidence: list[dict[str, Any]], addresses: dict[str, str] | None = None) -> dict[str, Any]:
    """Everything that build/report/trace.json holds."""
    case = Case(launch, evidence, addresses)
    described = [_described(step, case) for step in STEPS]
    missing = first_missing(described)
    problem = launch.get("problem") or ""
    return {
        "instance": {"id": case.instance, "name": launch.get("name", ""), "host": case.host, "status": launch.get("status", "")},
        "started": launch.get("asked") or launch.get("token_asked") or "",
        "seconds": launch.get("seconds"),
        "global_request_id": launch.get("global_request_id", ""),
        "request_id": launch.get("request_id", ""),
        "problem": problem,
        "fault": launch.get("fault") or {},
        "errors": case.errors(),
        "first_missing": {key: missing[key] for key in ("step", "from", "to", "title", "note")} if missing else None,
        "steps": described,
    }


def verdict(found: dict[str, Any]) -> str:
    """One sentence: the result of the launch, and where it stopped."""
    name = found["instance"]["name"]
    missing = found["first_missing"]
    hop = missing and f"{missing['from']} -> {missing['to']}: {missing['title']}"
    if found["problem"]:
        where = f" First hop without evidence: {hop} (today's step {missing['step']})." if missing else ""
        where = where or " Every hop left evidence."
        said = f" {missing['note']}." if missing and missing["note"] else ""
        logged = next((error for error in reversed(found["errors"]) if _RAISED.match(error["text"])), None)
        cause = f" {logged['service']} on {logged['host']} logged: {logged['text'][:300]}." if logged else ""
        return f"The launch of {name} failed: {found['problem'].rstrip('. ')}.{where}{said}{cause}"
    states = [step["state"] for step in found["steps"] if step["flow"] == "guide"]
    seen, replaced, absent = (states.count(state) for state in ("seen", "replaced", "absent"))
    text = (
        f"{name} was ACTIVE after {found['seconds']} s. Of the workflow's 28 steps {seen} were seen, today's Nova has replaced "
        f"{replaced}, and {absent} had nothing to do in this launch."
    )
    return text + (f" Without evidence: {hop}." if missing else "")


_NO_TIME = {"unseen": "-- unseen --", "replaced": "(replaced)", "absent": "(none)"}


def table(found: dict[str, Any]) -> list[str]:
    """Lines for a terminal: each flow, a line per step."""
    lines = []
    for flow, title in (("guide", "THE WORKFLOW'S 28 STEPS"), ("today", "TODAY'S FLOW")):
        lines += ["", title]
        for step in found["steps"]:
            if step["flow"] != flow:
                continue
            clock = _NO_TIME.get(step["state"]) or re.split("[+Z]", step["time"][11:23])[0]
            hop = f"{step['from']} -> {step['to']}"
            where = ":".join(filter(None, (step["host"], step["service"])))
            lines.append(f"{step['step']:>2}  {clock:<12}  {hop:<30}  {step['title']}")
            if step["seen"]:
                lines.append(f"{'':18}{where}: {step['evidence'][:150]}")
            elif step["note"]:
                lines.append(f"{'':18}{step['note']}")
    return [*lines, "", verdict(found)]
