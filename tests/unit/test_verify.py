"""The parts of the verification that need no cloud: order of rows, words, frames of a WebSocket, what the hosts said."""

import datetime
import importlib
import importlib.util
import json
import re
import socket
import socketserver
import ssl
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from kilonova.config import config_files
from kilonova.onhost.masking import mask_log
from kilonova.proof import verification
from kilonova.run import certificates

PROJECT = Path(__file__).resolve().parent.parent.parent
shared, engine, guest, rows, tenant, text, trust = (
    importlib.import_module(f"kilonova.onhost.verify.{name}")
    for name in ("context", "engine", "guest", "rows", "tenant", "text", "trust")
)


class Context:
    """As much of a run's context as the engine asks for."""

    def __init__(self):
        self.ran, self.lock = [], threading.Lock()

    def begin(self, row):
        with self.lock:
            self.ran.append(row.name)

    def end(self, row, outcome):
        pass


def row(name, run=lambda c: None, needs=(), after=(), always=False):
    return engine.Row(name, name, run, tuple(needs), tuple(after), always)


def fail(_context):
    raise engine.Failure("it is broken", fault="a fault")


def skip(_context):
    raise engine.Skip("there is none")


def statuses(outcomes):
    return {outcome.name: outcome.status for outcome in outcomes}


# -- the order of rows


def test_the_rows_are_a_graph_without_a_circle():
    engine.check(rows.ROWS)


def test_every_row_has_a_title():
    assert [item.name for item in rows.ROWS if not item.title] == []
    assert len({item.title for item in rows.ROWS}) == len(rows.ROWS)


def test_a_row_that_names_a_later_one_is_refused():
    with pytest.raises(ValueError, match="row a names b"):
        engine.check([row("a", needs=["b"]), row("b")])


def test_two_rows_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two rows are called a"):
        engine.check([row("a"), row("a")])


def test_picked_rows_bring_what_they_need_and_nothing_else():
    names = [item.name for item in engine.pick(rows.ROWS, ["console"])]
    assert names == ["project", "token", "image", "network", "boot", "active", "console"]


def test_an_unknown_row_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"no such row: bot; there are .*boot"):
        engine.pick(rows.ROWS, ["bot"])


def test_no_pick_is_all():
    assert [item.name for item in engine.pick(rows.ROWS, [])] == [item.name for item in rows.ROWS]


def test_the_order_of_picked_rows_is_kept_when_those_between_stay_away():
    graph = [row("a"), row("b", after=["a"]), row("c", after=["b"])]
    assert [(item.name, item.after) for item in engine.pick(graph, ["a", "c"])] == [("a", ()), ("c", ("a",))]


@pytest.mark.parametrize("names", [[], ["nothing_left", "console"], ["delete", "novnc_rfb", "http"]])
def test_nothing_is_deleted_before_everything_else_has_ended(names):
    chosen = {item.name: item for item in engine.pick(rows.ROWS, names)}
    assert set(chosen["delete"].after) == set(chosen) - {"delete", "nothing_left"}


def test_a_row_that_needs_a_failed_one_is_skipped_with_the_first_cause():
    graph = [row("a", fail), row("b", needs=["a"]), row("c", needs=["b"]), row("d")]
    outcomes = {outcome.name: outcome for outcome in engine.Runner(graph).run(Context())}
    assert statuses(outcomes.values()) == {"a": "failed", "b": "skipped", "c": "skipped", "d": "passed"}
    assert outcomes["c"].reason == "needs a, which failed"
    assert outcomes["a"].as_dict()["fault"] == "a fault"


def test_a_row_after_a_failed_one_runs():
    graph = [row("a", fail), row("b", after=["a"])]
    assert statuses(engine.Runner(graph).run(Context())) == {"a": "failed", "b": "passed"}


def test_independent_rows_run_side_by_side():
    together = threading.Barrier(3, timeout=5)
    graph = [row(name, lambda c: together.wait() and None) for name in "abc"]
    assert set(statuses(engine.Runner(graph).run(Context())).values()) == {"passed"}


def test_a_stopped_run_skips_what_has_not_begun_but_removes():
    runner = None

    def stop(_context):
        runner.stop.set()

    runner = engine.Runner([row("a", stop), row("b", after=["a"]), row("c", after=["b"], always=True)])
    context = Context()
    assert statuses(runner.run(context)) == {"a": "passed", "b": "skipped", "c": "passed"}
    assert context.ran == ["a", "c"]


def test_an_error_of_a_row_is_a_failure_with_its_place():
    outcome = engine.Runner([row("a", lambda c: {}["x"])]).run(Context())[0]
    assert (outcome.status, outcome.reason) == ("failed", "KeyError: 'x'")
    assert any("KeyError" in line for line in outcome.extra["traceback"])


def test_a_wait_says_what_it_waited_for_and_what_was_said_last():
    context = shared.Context.__new__(shared.Context)
    context.stop, context.p = threading.Event(), {"timeout": 240}
    with pytest.raises(engine.Failure, match=r"waited 0\.02 s for the moon; last: a cloud"):
        context.wait("the moon", lambda: None, 0.02, every=0.01, said=lambda: "a cloud")
    context.stop.set()
    with pytest.raises(engine.Stopped):
        context.wait("the moon", lambda: None)


# -- words


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("rabbit://openstack:MYL8jkk1S@10.20.0.11:5672/", "rabbit://openstack:(hidden)@10.20.0.11:5672/"),
        ("password = abc", "password = (hidden)"),
        ("{'adminPass': 'xyz', 'name': 'a'}", "{'adminPass': '(hidden)', 'name': 'a'}"),
        ('"memcache_secret_key": "q"', '"memcache_secret_key": "(hidden)"'),
        ("http://c:6080/vnc_lite.html?path=%3Ftoken%3D518bf820-4e57", "http://c:6080/vnc_lite.html?path=%3Ftoken%3D(hidden)"),
        ("Path: '/?token=518bf820-4e57'", "Path: '/?token=(hidden)'"),
        ("X-Auth-Token: gAAAAABlY2xvdWQgdG9rZW4gZm9yIHRlc3Rz", "X-Auth-Token: (hidden)"),
        ("X-Auth-Token: {SHA256}0123", "X-Auth-Token: {SHA256}0123"),
        ("seen gAAAAABlY2xvdWQgdG9rZW4gZm9yIHRlc3Rz here", "seen (hidden) here"),
        ("GET /v2.1/servers status: 200", "GET /v2.1/servers status: 200"),
        ("mysql+pymysql://nova:p%40ss@db/nova", "mysql+pymysql://nova:(hidden)@db/nova"),
    ],
)
def test_secrets_are_masked(line, shown):
    assert mask_log(line) == shown


def test_metadata_of_the_console():
    console = 'x\r\nKILONOVA-META: {"uuid": "1", "meta": {"a": "b"}}\r\nKILONOVA-META: {"uu\r\n'
    assert text.metadata(console) == {"uuid": "1", "meta": {"a": "b"}}
    assert text.metadata("nothing") == {}


def test_news_of_a_console_that_goes_on_and_of_one_begun_anew():
    assert text.news("old\n", "old\nnew\n") == "new\n"
    assert text.news("old\n", "new\n") == "new\n"
    assert text.news("", "new\n") == "new\n"


def test_terminal_sequences_are_left_out():
    assert text.plain("\x1b[6n\x1b[1;31mred\x1b[0m\r\n") == "red\n"


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("Corrupt image download. Hash was a expected b", "upload it again"),
        (
            "NeutronAdminCredentialConfigurationInvalid: Networking client is experiencing an unauthorized exception.",
            "[neutron] username",
        ),
        ("MessagingTimeout: Timed out waiting for a reply to message ID 1", "RabbitMQ"),
        (
            'File "/usr/lib/python3/dist-packages/nova/network/neutron.py", line 1, in get_client'
            " keystoneauth1.exceptions.http.Unauthorized: The request you have made requires authentication. (HTTP 401)",
            "[neutron] username",
        ),
        (
            'File "/usr/lib/python3/dist-packages/nova/scheduler/client/report.py", line 1, in get'
            " keystoneauth1.exceptions.http.Unauthorized: The request you have made requires authentication. (HTTP 401)",
            "[placement] username",
        ),
        ("waited 240 s for the lease on the console", "neutron-dhcp-agent"),
        ("KILONOVA: metadata-missing at 40s", "metadata_proxy_shared_secret"),
        ("noVNC websocket: [Errno 111] Connection refused", "nova-novncproxy"),
        ("No valid host was found. There are not enough hosts available.", "openstack hypervisor list"),
    ],
)
def test_words_of_a_failure_point_somewhere(words, advice):
    assert advice in " ".join(text.hints(words))


# -- guests


def test_checksum_is_that_of_rfc_1071():
    assert guest.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0x220D
    assert guest.checksum(b"\x01") == 0xFEFF


@pytest.mark.parametrize("size", [3, 125, 126, 65535, 65536])
def test_frames_of_every_length(size):
    head = b"\x82" + (
        bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big") if size < 65536 else b"\x7f" + size.to_bytes(8, "big")
    )
    whole = head + b"x" * size
    assert guest.frame_of(whole + b"rest") == ((2, b"x" * size), b"rest")
    for cut in (1, len(head) - 1, len(whole) - 1):
        assert guest.frame_of(whole[:cut]) == (None, whole[:cut])


class Proxy(socketserver.BaseRequestHandler):
    """A console proxy: a page, or a WebSocket to a VNC server that wants no login."""

    kinds, result = b"\2\2\1", bytes(4)

    def handle(self):
        asked = self.request.recv(4096)
        if b"Upgrade: websocket" not in asked:
            self.request.sendall(b"HTTP/1.0 200 OK\r\n\r\nnoVNC")
            return
        self.request.sendall(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x82\x0cRFB 003.008\n")
        for heard, said in ((b"RFB 003.008\n", self.kinds), (b"\1", self.result)):
            frame = self.request.recv(6 + len(heard))
            if frame != bytes([0x82, 0x80 | len(heard), 0, 0, 0, 0]) + heard or not said:
                return
            self.request.sendall(bytes([0x82, len(said)]) + said)


class OldScreen(Proxy):
    kinds = b"\1\2"


class Refusing(Proxy):
    result = b"\0\0\0\1"


class WithoutScreen(Proxy):
    """What the proxy does where QEMU's certificate is not trusted: it has said the version already."""

    result = b""


def test_a_console_over_tls_is_checked_by_the_given_authorities(over_tls):
    base, cacert = over_tls(Proxy)
    url = f"{base}/vnc_lite.html?path=%3Ftoken%3Dx"
    assert guest.http(url, cacert=cacert) == (200, "noVNC")
    assert guest.vnc_login(url, cacert) == "RFB 003.008"
    status, said = guest.http(url)
    assert (status, "certificate verify failed" in str(said)) == (0, True)
    with pytest.raises(ssl.SSLCertVerificationError):
        guest.vnc_login(url)


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        (OldScreen, "wants a login of the kinds [2], and not none (1)"),
        (Refusing, "refuses the login with 1"),
        (WithoutScreen, "the console proxy closed the connection"),
    ],
)
def test_a_console_without_a_screen_fails(over_tls, proxy, why):
    base, cacert = over_tls(proxy)
    with pytest.raises(guest.WebSocketError, match=re.escape(why)):
        guest.vnc_login(f"{base}/vnc_lite.html?path=%3Ftoken%3Dx", cacert)


# -- whether servers are trusted


class Greets(socketserver.BaseRequestHandler):
    """MariaDB until TLS begins: its greeting, what the client asks for, and TLS where it was asked for."""

    greeting = b"\x0a11.8.3-MariaDB\0" + b"\1\0\0\0" + b"12345678" + b"\0" + b"\xfe\xff" + b"-\2\0" + bytes(40)

    def handle(self):
        self.request.sendall(len(self.greeting).to_bytes(3, "little") + b"\0" + self.greeting)
        asked = self.request.recv(36, socket.MSG_WAITALL)
        if len(asked) == 36 and asked[:4] == b"\x20\0\0\1" and asked[5] & 8:
            self.server.context.wrap_socket(self.request, server_side=True).recv(1)


class Refuses(Greets):
    greeting = b"\xff\x6a\x04Host '10.0.0.9' is not allowed to connect"


class Plain(Greets):
    greeting = Greets.greeting.replace(b"\xfe\xff", b"\xfe\xf7")


class Tls(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.context.wrap_socket(self.request, server_side=True).recv(1)


@pytest.fixture(scope="module")
def authorities():
    return {name: certificates.new_authority(name) for name in ("ours", "another")}


@pytest.fixture
def answering(tmp_path, authorities, monkeypatch):
    """A server with a certificate: answering(handler, by, reached_by, days ago) -> what doubts() takes."""
    (tmp_path / "authority.pem").write_text(authorities["ours"].certificate)
    servers = []

    def serve(handler, by="ours", reached_by=("localhost", "127.0.0.1"), ago=0, asks=False):
        today = certificates.now()
        with monkeypatch.context() as then:
            then.setattr(certificates, "now", lambda: today - datetime.timedelta(days=ago))
            pair = certificates.issue(authorities[by], "controller", reached_by, ["server", "client"], 2)
        (tmp_path / "certificate.pem").write_text(pair.certificate)
        (tmp_path / "key.pem").write_text(pair.key)
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
        if asks:
            server.context.verify_mode = ssl.CERT_REQUIRED
            server.context.load_verify_locations(tmp_path / "authority.pem")
        server.handle_error = lambda *_arguments: None
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return {"name": "MariaDB", "host": "127.0.0.1", "port": server.server_address[1], "greets": issubclass(handler, Greets)}

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("handler", [Tls, Greets])
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, ""),
        ({"by": "another"}, "has a certificate that clients refuse: "),
        ({"ago": 10}, "has a certificate that clients refuse: certificate has expired"),
        ({"reached_by": ["other.example.org"]}, "has a certificate that clients refuse: IP address mismatch"),
    ],
)
def test_servers_are_trusted_as_clients_trust_them(answering, tmp_path, handler, given, why):
    server = answering(handler, **given)
    said = trust.doubts(server, str(tmp_path / "authority.pem"))
    assert said.startswith(f"MariaDB at 127.0.0.1:{server['port']} {why}" if why else ""), said
    assert bool(said) == bool(why)


@pytest.mark.parametrize(
    ("handler", "why"),
    [(Refuses, "refuses: Host '10.0.0.9' is not allowed to connect"), (Plain, "offers no TLS"), (Proxy, "does not speak TLS: ")],
)
def test_servers_without_tls(answering, tmp_path, handler, why):
    assert why in trust.doubts(answering(handler), str(tmp_path / "authority.pem"))


def test_a_server_that_is_not_there(tmp_path, answering):
    answering(Tls)
    said = trust.doubts({"name": "Image", "host": "127.0.0.1", "port": 1}, str(tmp_path / "authority.pem"))
    assert said == "Image at 127.0.0.1:1 does not answer: Connection refused"


@pytest.mark.parametrize("by", ["ours", "another"])
def test_a_server_that_wants_to_know_who_asks_is_of_any_name(tmp_path, answering, by):
    own = {"certificate": str(tmp_path / "certificate.pem"), "key": str(tmp_path / "key.pem")}
    server = {**answering(Tls, by=by, reached_by=["other.example.org"], asks=True), **own}
    assert ("clients refuse" in trust.doubts(server, str(tmp_path / "authority.pem"))) == (by == "another")


def test_the_row_names_each_that_is_not_trusted(tmp_path, answering):
    right, wrong = answering(Tls), answering(Greets, by="another")
    context = SimpleNamespace(p={"tls": [right, wrong], "cacert": str(tmp_path / "authority.pem")})
    with pytest.raises(engine.Failure, match=rf"^MariaDB at 127.0.0.1:{wrong['port']} has a certificate that clients refuse"):
        rows.tls(context)
    context.p["tls"] = [right]
    assert rows.tls(context) == "1 servers"
    context.p["tls"] = []
    with pytest.raises(engine.Skip):
        rows.tls(context)


# -- leftovers of other runs


def test_a_run_is_abandoned_when_its_process_or_its_time_is_over():
    now = time.time()
    description = json.dumps({"kilonova": "verify", "host": "controller", "pid": 7, "until": now + 60})
    assert not tenant.abandoned(description, now, "controller", lambda pid: True)
    assert tenant.abandoned(description, now, "controller", lambda pid: False)
    # The process of another host cannot be asked for: its time decides.
    assert not tenant.abandoned(description, now, "elsewhere", lambda pid: False)
    assert tenant.abandoned(description, now + 61, "elsewhere", lambda pid: True)


@pytest.mark.parametrize("description", ["", "a person's words", "{}", "[]"])
def test_what_no_run_described_is_abandoned(description):
    assert tenant.abandoned(description, 0, "controller", lambda pid: True)


def test_a_run_describes_itself_so_that_it_is_not_abandoned():
    assert not tenant.abandoned(tenant.describe(60), time.time(), "elsewhere", lambda pid: False)
    assert tenant.process_alive(1 << 30) is False


@pytest.mark.parametrize(
    ("content", "allowed"),
    [("[DEFAULT]\nallow_resize_to_same_host = true\n", True), ("[DEFAULT]\nx = y\n", False), ("broken", False)],
)
def test_nova_conf_tells_whether_a_resize_may_stay(tmp_path, content, allowed):
    path = tmp_path / "nova.conf"
    path.write_text(content)
    assert rows.same_host_allowed(str(path)) is allowed
    assert rows.same_host_allowed(str(tmp_path / "none")) is False


# -- what the hosts said


def result(status="failed"):
    return {
        "name": "kilonova-verify-00000000",
        "begun": 1.0,
        "seconds": 2.0,
        "servers": ["u1"],
        "request_ids": ["req-1"],
        "rows": [
            {
                "name": "boot",
                "title": "Boots",
                "status": status,
                "seconds": 1.0,
                "started": 0.0,
                "detail": "",
                "reason": "it is broken",
                "fault": "No valid host",
                "requests": [{"request_id": "req-1", "method": "POST", "path": "/servers", "status": 202}],
                "look_at": ["the scheduler"],
            },
            {
                "name": "delete",
                "title": "Deletes",
                "status": "passed",
                "seconds": 1.0,
                "started": 1.0,
                "detail": "",
                "reason": "",
            },
        ],
    }


def test_a_failed_row_has_the_lines_of_its_request_and_the_units_that_do_not_run():
    hosts = {
        "controller": {
            "logs": {"req-1": ["nova-api: quiet INFO line", "nova-scheduler: 2026 ERROR loud"], "req-2": ["another's"]},
            "units": [],
        },
        "compute1": {"logs": {}, "units": ["nova-compute.service is inactive"], "left": []},
    }
    whole = verification.assemble(result(), hosts)
    row = whole["rows"][0]
    assert row["logs"] == {"controller": ["nova-scheduler: 2026 ERROR loud"]}
    assert row["look_at"] == ["compute1: nova-compute.service is inactive", "the scheduler"]
    assert whole["counts"] == {"passed": 2, "failed": 1, "skipped": 0}
    assert whole["rows"][-1]["name"] == "disk"
    lines = verification.lines(whole)
    assert any("fault: No valid host" in line for line in lines)
    assert lines[-1] == "2 passed, 1 failed, 0 skipped, 2 s"


def test_a_request_without_errors_of_its_own_shows_those_of_its_time():
    refused = "nova-conductor: 2026 ERROR oslo.messaging ACCESS_REFUSED"
    hosts = {
        "controller": {"logs": {"req-1": ["nova-api: POST 202"]}, "errors": [refused], "errors_advice": ["its permissions"]},
        "compute1": {"logs": {}, "errors": []},
    }
    row = verification.assemble(result(), hosts)["rows"][0]
    assert row["logs"] == {"controller": ["nova-api: POST 202", refused]}
    assert row["look_at"] == ["the scheduler", "its permissions"]
    hosts["compute1"]["logs"]["req-1"] = ["nova-compute: 2026 ERROR loud"]
    assert refused not in str(verification.assemble(result(), hosts)["rows"][0])


def test_what_is_left_on_a_disk_fails():
    hosts = {"compute1": {"left": ["directory /var/lib/nova/instances/u1"]}}
    row = verification.assemble(result("passed"), hosts)["rows"][-1]
    assert (row["status"], row["reason"]) == ("failed", "compute1: directory /var/lib/nova/instances/u1")


def test_the_documentation_has_every_row():
    documented = (PROJECT / "docs/verify.md").read_text()
    extra = ["leftovers", "login", "removal", "disk"]
    assert [name for name in [*(item.name for item in rows.ROWS), *extra] if f"`{name}`" not in documented] == []


def test_defaults_and_specification_agree():
    defaults = yaml.safe_load((PROJECT / "roles/verify/defaults/main.yml").read_text())
    specs = yaml.safe_load((PROJECT / "roles/verify/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    assert {name: spec["default"] for name, spec in specs.items()} == defaults


# ------------------------------------------------------------------------------------------------------------------- login


MODULE = PROJECT / "library" / "verify_cloud.py"


def login_code():
    """The module's code."""
    spec = importlib.util.spec_from_file_location("library_verify_cloud", MODULE)
    code = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(code)
    return code


def test_the_run_gets_its_login_from_the_host_and_in_no_argument():
    """What runs by itself has its arguments in files of Ansible's, for hours."""
    [start] = [task for task in yaml.safe_load((PROJECT / "roles/verify/tasks/main.yml").read_text()) if "async" in task]
    assert not [text for text in map(str, start["verify_cloud"].values()) if "auth" in text or "pass" in text or "secret" in text]
    documentation = yaml.safe_load(re.search(r'DOCUMENTATION = r"""(.*?)"""', MODULE.read_text(), re.S).group(1))
    assert not [name for name in documentation["options"] if re.search("auth|pass|secret", name)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no login of a cloud admin; run site.yml, which writes it"),
        ("clouds: {other: {auth: {password: canary}}}", "has no login of a cloud admin"),
        ("clouds: {admin: {auth: {password: canary}}}", "has no login of a cloud admin"),
        ("clouds: [canary", "has no login of a cloud admin"),
        ("canary", "has no login of a cloud admin"),
        ("clouds: {admin: {auth: canary}}", "has no login of a cloud admin"),
    ],
)
def test_a_host_without_the_login_is_told_so_and_no_password(tmp_path, text, message):
    code, path, said = login_code(), tmp_path / "clouds.yaml", []
    if text is not None:
        path.write_text(text)

    def fail(msg):
        said.append(msg)
        raise SystemExit

    with pytest.raises(SystemExit):
        code.login(SimpleNamespace(params={"clouds": str(path), "cloud": "admin"}, fail_json=fail))
    assert message in said[0]
    assert "canary" not in said[0]


def test_the_login_is_what_the_role_keystone_writes(tmp_path):
    auth = {"auth_url": "http://c:5000/v3", "username": "admin", "password": "p@ss: '\"{{x}}", "project_name": "admin"}
    entry = {"path": "/x", "template": "clouds.yaml.j2", "variables": {"clouds": {"clouds": {"admin": {"auth": auth}}}}}
    path = tmp_path / "clouds.yaml"
    path.write_text(config_files.render(entry))
    found = login_code().login(SimpleNamespace(params={"clouds": str(path), "cloud": "admin"}, fail_json=pytest.fail))
    assert found == {"user_domain_name": "Default", "project_domain_name": "Default", **auth}


def test_without_a_token_servers_are_still_looked_at(tmp_path, answering):
    """Because that is what a certificate which has ended looks like to the administrator."""
    given = {"tls": [answering(Tls, ago=10)], "cacert": str(tmp_path / "authority.pem")}
    shared = SimpleNamespace(p=given, begin=lambda row: None, end=lambda row, outcome: None)
    found = login_code().without_login(shared, "at https://controller:5000/v3: certificate verify failed")
    assert [(row["name"], row["status"]) for row in found] == [("tls", "failed"), ("login", "failed")]
    assert "certificate has expired" in found[0]["reason"] and found[1]["reason"].startswith("at https://controller:5000")
