"""Lines recorded on a real Zed cloud (tests/data/trace), matched with the steps of a launch."""

import copy
import importlib.util
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kilonova.proof import trace

ROOT = Path(__file__).parents[2]
GLOBAL, LOCAL = "req-24fc799b-d826-4ca3-a865-8a9defa00177", "req-b1dfd658-65c0-4bde-805a-9ada0fe17c88"


@pytest.fixture
def recorded():
    return json.loads((ROOT / "tests/data/trace/launch.json").read_text())


@pytest.fixture
def no_host():
    """A launch that no host had the memory for."""
    return json.loads((ROOT / "tests/data/trace/no_host.json").read_text())


@pytest.fixture
def collector():
    path = ROOT / "library/trace_evidence.py"
    spec = importlib.util.spec_from_file_location("trace_evidence", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def report_of(data):
    return trace.report(data["launch"], data["evidence"], data["addresses"])


def steps_of(data):
    return {(step["flow"], step["step"]): step for step in report_of(data)["steps"]}


# --- Lines -------------------------------------------------------------------------------------------------------------


def test_uwsgi_line():
    line = (
        "[pid: 11239|app: 0|req: 1225/1225] 10.20.0.11 () {32 vars in 482 bytes} [Sat Nov 21 00:44:43 2026] "
        "POST /v3/auth/tokens => generated 3410 bytes in 460 msecs (HTTP/1.1 201) 5 headers in 363 bytes (2 switches on core 2)"
    )
    entry = trace.parse_line("/var/log/keystone/keystone.log", line, "controller")
    assert (entry.service, entry.method, entry.path, entry.status) == ("keystone", "POST", "/v3/auth/tokens", 201)
    assert entry.time == datetime(2026, 11, 21, 0, 44, 43, tzinfo=UTC) and not entry.exact
    assert entry.seconds == 0.46 and entry.client == "10.20.0.11"


def test_request_that_was_logged_when_it_was_answered_began_earlier():
    line = (
        f"2026-11-21 00:21:29.417 11793 INFO nova.api.openstack.requestlog [{GLOBAL} {LOCAL} user project - - default default] "
        '10.20.0.11 "POST /v2.1/servers" status: 202 len: 372 microversion: 2.73 time: 1.715938'
    )
    entry = trace.parse_line("/var/log/nova/nova-api.log", line, "controller")
    assert entry.time == datetime(2026, 11, 21, 0, 21, 27, 701062, tzinfo=UTC) and entry.exact
    assert entry.request_ids == (GLOBAL, LOCAL)
    assert entry.end == datetime(2026, 11, 21, 0, 21, 29, 417000, tzinfo=UTC)


def test_placement_logs_no_duration():
    line = (
        f"2026-11-21 00:21:29.710 11687 INFO placement.requestlog [{GLOBAL} {LOCAL} user project - - default default] "
        '10.20.0.11 "PUT /allocations/3b1057b1-ba85-48c0-aa4b-a8bf649f8fc0" status: 204 len: 0 microversion: 1.36'
    )
    entry = trace.parse_line("/var/log/placement/placement-api.log", line, "controller")
    assert (entry.method, entry.status, entry.seconds) == ("PUT", 204, 0)


def test_eventlet_line():
    line = (
        f"2026-11-21 00:21:31.316 11569 INFO eventlet.wsgi.server [None {LOCAL} user project - - default default] 10.20.0.21 - - "
        '[21/Nov/2026 00:21:31] "GET /v2/images/dafb1140-9400-43c3-a70b-10782ad32e47/file HTTP/1.1" 200 15597827 0.073335'
    )
    entry = trace.parse_line("/var/log/glance/glance-api.log", line, "controller")
    assert entry.client == "10.20.0.21" and entry.path.endswith("/file") and entry.seconds == 0.073335


def test_journal_and_libvirt_lines_have_their_own_zone():
    lease = "2026-11-21T01:45:10.287223+0100 controller dnsmasq-dhcp[13705]: DHCPACK(tapa2c7896b-87) 172.16.1.117"
    entry = trace.parse_line("journal", lease, "controller", utc_offset=3600)
    assert entry.service == "dnsmasq-dhcp" and entry.time == datetime(2026, 11, 21, 0, 45, 10, 287223, tzinfo=UTC)
    started = "2026-11-21 00:44:54.009+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4+deb12u2 (Debian)"
    entry = trace.parse_line("/var/log/libvirt/qemu/instance-00000009.log", started, "compute1", utc_offset=3600)
    assert entry.service == "libvirt" and entry.time == datetime(2026, 11, 21, 0, 44, 54, 9000, tzinfo=UTC)


def test_logs_are_in_the_hosts_local_time():
    line = "2026-11-21 02:21:42.051 8094 INFO nova.compute.manager [-] [instance: x] VM Started (Lifecycle Event)"
    entry = trace.parse_line("/var/log/nova/nova-compute.log", line, "compute1", utc_offset=7200)
    assert entry.time == datetime(2026, 11, 21, 0, 21, 42, 51000, tzinfo=UTC)


@pytest.mark.parametrize("line", ["", "Traceback (most recent call last):", ").  Its value may be silently ignored."])
def test_lines_without_a_time_are_left_out(line):
    assert trace.parse_line("/var/log/nova/nova-conductor.log", line, "controller") is None


# --- A good launch -----------------------------------------------------------------------------------------------------


def test_the_28_steps_stand_beside_todays_flow(recorded):
    steps = report_of(recorded)["steps"]
    assert [step["step"] for step in steps if step["flow"] == "guide"] == list(range(1, 29))
    assert [step["step"] for step in steps if step["flow"] == "today"] == list(range(1, 29))


def test_good_launch_misses_no_hop(recorded):
    found = report_of(recorded)
    assert found["first_missing"] is None and not found["problem"]
    assert not [step for step in found["steps"] if step["state"] == "unseen"]
    assert found["instance"]["host"] == "compute1" and found["global_request_id"] == GLOBAL


def test_every_seen_step_has_its_proof(recorded):
    for step in report_of(recorded)["steps"]:
        assert step["seen"] == (step["state"] == "seen")
        if step["seen"]:
            assert step["evidence"] and datetime.fromisoformat(step["time"]).tzinfo, step
        else:
            assert step["note"] and not step["time"], step


def test_a_launch_from_the_dashboard_begins_with_the_login_there(recorded):
    data = copy.deepcopy(recorded)
    data["launch"].update({"from": "dashboard", "global_request_id": ""})
    stamps = {"login": "00:47:27.700000", "launch": "00:47:29.640000"}
    for path, stamp in (("/auth/login/", stamps["login"]), ("/api/nova/servers/", stamps["launch"])):
        line = (
            f"2026-11-21T{stamp}+00:00 controller horizon[77]: [pid: 77|app: 0|req: 1/1] 192.0.2.7 () {{62 vars in 1211 bytes}} "
            f"[Sat Nov 21 00:47:26 2026] POST {path} => generated 0 bytes in 900 msecs (HTTP/1.1 302) 12 headers in 1 bytes"
        )
        data["evidence"][0]["lines"].append(["journal", line])
    # Nova passes its own id on where the client gave none.
    text = json.dumps(data["evidence"]).replace(GLOBAL, LOCAL)
    data["evidence"] = json.loads(text)
    steps = steps_of(data)
    first = steps["guide", 1]
    assert (first["service"], first["from"], first["title"][:13]) == ("horizon", "dashboard", "The dashboard")
    assert "POST /auth/login/" in first["evidence"] and "Keystone: [pid: " in first["evidence"]
    assert "POST /api/nova/servers/" in steps["guide", 3]["evidence"]
    assert not [step for step in report_of(data)["steps"] if step["state"] == "unseen"]
    assert "client" not in {step["from"] for step in steps.values()}


def test_a_token_that_the_dashboard_has_used_need_not_be_checked(recorded):
    data = copy.deepcopy(recorded)
    data["launch"]["from"] = "dashboard"
    for host in data["evidence"]:
        host["lines"] = [line for line in host["lines"] if "GET /v3/auth/tokens" not in line[1]]
    step = steps_of(data)["guide", 4]
    assert step["state"] == "absent" and "the dashboard has shown lists with this token before" in step["note"]


def test_steps_with_a_request_id_have_the_launchs(recorded):
    steps = steps_of(recorded)
    for key in [("guide", 3), ("guide", 13), ("today", 15), ("today", 20)]:
        assert steps[key]["request_id"] == LOCAL, key
    for key in [("today", 9), ("today", 10)]:
        # Placement's own id stands beside the client's.
        assert steps[key]["request_id"] == GLOBAL, key


def test_what_todays_nova_no_longer_does_names_what_replaced_it(recorded):
    steps = steps_of(recorded)
    replaced = [number for (flow, number), step in steps.items() if flow == "guide" and step["state"] == "replaced"]
    assert replaced == [10, 11, 14, 15, 18, 21]
    assert all("today's step" in steps["guide", number]["note"] for number in replaced)
    assert "Placement" in steps["guide", 10]["note"]


def test_no_volume_service(recorded):
    steps = steps_of(recorded)
    assert {steps["guide", number]["note"] for number in (25, 26, 27)} == {"no volume service in the catalogue"}
    recorded["launch"]["volume_service"] = True
    assert "boots from an image" in steps_of(recorded)["guide", 25]["note"]


def test_cached_image_is_no_missing_step(recorded):
    assert "from an earlier launch" in steps_of(recorded)["guide", 19]["note"]
    for host in recorded["evidence"]:
        host["image_cache"] = {}
    assert steps_of(recorded)["guide", 19]["state"] == "unseen"
    image = recorded["launch"]["image_id"]
    line = (
        f"2026-11-21 00:47:35.316 11569 INFO eventlet.wsgi.server [None {GLOBAL} user project - - - -] 10.20.0.21 - - "
        f'[21/Nov/2026 00:47:35] "GET /v2/images/{image}/file HTTP/1.1" 200 15597827 0.073335'
    )
    recorded["evidence"][0]["lines"].append(["/var/log/glance/glance-api.log", line])
    assert steps_of(recorded)["guide", 19]["seen"]


def test_order_of_what_is_exact(recorded):
    """A later hop of the chain is not earlier: the exact times of the main hops ascend."""
    steps = steps_of(recorded)
    chain = [2, 4, 9, 10, 15, 20, 21, 23, 25]
    times = [datetime.fromisoformat(steps["today", number]["time"]) for number in chain]
    assert times == sorted(times)


def test_a_line_of_keystone_counts_once(recorded):
    steps = steps_of(recorded)
    lines = [steps["guide", number]["evidence"] for number in (4, 20, 23) if steps["guide", number]["seen"]]
    assert len(lines) == len(set(lines)) >= 1


def test_all_in_one(recorded):
    """Controller and compute node are one host: one address, one name."""
    text = json.dumps(recorded).replace("10.20.0.21", "10.20.0.11").replace("compute1", "controller")
    found = report_of(json.loads(text) | {"addresses": {"controller": "10.20.0.11"}})
    assert found["first_missing"] is None
    assert not [step for step in found["steps"] if step["state"] == "unseen"]


def test_table_is_for_people(recorded):
    found = report_of(recorded)
    lines = trace.table(found)
    assert any(line.startswith("28  ") for line in lines)
    assert "was ACTIVE after 81.0 s" in lines[-1]
    assert all(len(line) < 260 for line in lines)


# --- Launches that fail ------------------------------------------------------------------------------------------------


def test_no_host_with_enough_memory(no_host):
    found = report_of(no_host)
    assert found["first_missing"]["from"] == "nova-scheduler" and "claimed" in found["first_missing"]["title"]
    assert "No valid host" in trace.verdict(found)
    assert "First hop without evidence: nova-scheduler -> placement-api" in trace.verdict(found)


def test_cell0_is_no_chosen_host(no_host):
    steps = steps_of(no_host)
    assert steps["today", 11]["state"] == "unseen"
    assert steps["today", 13]["seen"] and "no host took" in steps["today", 13]["note"]


def without(data, *words):
    """The same launch, had these lines never been written."""
    data = copy.deepcopy(data)
    for host in data["evidence"]:
        host["lines"] = [item for item in host["lines"] if not any(word in item[0] + item[1] for word in words)]
    return data


def test_nova_compute_stopped(recorded):
    data = without(recorded, "nova-compute.log", "libvirt", "10.20.0.21", "network-vif-plugged", "openvswitch-agent")
    for host in data["evidence"]:
        host["rows"] = [row for row in host["rows"] if "instance_actions_events" not in row["table"]]
        host["image_cache"] = {}
        if host["rabbitmq"]:
            host["rabbitmq"]["queues"]["compute.compute1"] = {"name": "compute.compute1", "messages": 1, "consumers": 0}
    data["launch"].update(status="BUILD", active="", problem="the instance is not ACTIVE after 300 s (BUILD, task scheduling)")
    found = report_of(data)
    assert (found["first_missing"]["step"], found["first_missing"]["to"]) == (14, "nova-compute")
    assert "queue compute.compute1: 0 consumers, 1 message waiting" in trace.verdict(found)


def test_api_refuses(recorded):
    """The API answered with an error: nothing after it has evidence, and the request itself has."""
    data = copy.deepcopy(recorded)
    data["launch"] = {
        key: value for key, value in data["launch"].items() if key not in ("id", "active", "host", "domain", "console_seen")
    }
    data["launch"].update(ports=[], status="", problem="HTTP 500: Unexpected API Error")
    for host in data["evidence"]:
        host["rows"], host["image_cache"] = [], {}
        host["lines"] = [item for item in host["lines"] if "nova-api.log" in item[0] or "keystone.log" in item[0]]
    found = report_of(data)
    assert (found["first_missing"]["from"], found["first_missing"]["to"]) == ("nova-api", "glance-api")
    assert trace.verdict(found).startswith("The launch of kilonova-trace failed: HTTP 500")


def test_the_exception_that_ended_the_launch_is_named(recorded):
    data = without(recorded, "os_vif", "libvirt", "network-vif-plugged", "os-server-external-events")
    instance = data["launch"]["id"]
    head = "2026-11-21 00:47:41.892 8094 ERROR nova.compute.manager"
    context = f"[{GLOBAL} {LOCAL} user project - - default default]"
    log = next(host for host in data["evidence"] if host["host"] == "compute1")["lines"]
    for text in (
        f"{context} [instance: {instance}] Instance failed to spawn: BrokenPipeError: [Errno 32] Corrupt image download.",
        f"[instance: {instance}] Traceback (most recent call last):",
        f'[instance: {instance}]   File "/usr/lib/python3/dist-packages/nova/image/glance.py", line 1, in download',
        f"[instance: {instance}] BrokenPipeError: [Errno 32] Corrupt image download. Hash was c3f5 expected ed15",
        "[instance: 00000000-0000-0000-0000-000000000000] ValueError: of another instance",
    ):
        log.append(["/var/log/nova/nova-compute.log", f"{head} {text}"])
    # Nova forgets the host of an instance that it could not build.
    data["launch"].update(problem="the instance is in ERROR: Exceeded maximum number of retries.", host="", active="")
    found = report_of(data)
    assert found["instance"]["host"] == "compute1"
    # The first is Placement's answer to a race with the periodic task, which the launch survived.
    assert [error["text"].split()[-3:] for error in found["errors"]][1:] == [
        ["Corrupt", "image", "download."],
        ["c3f5", "expected", "ed15"],
    ]
    assert len(found["errors"]) == 3
    assert found["first_missing"]["title"].startswith("The instance's interface is plugged")
    assert "nova-compute on compute1 logged: BrokenPipeError: [Errno 32] Corrupt image" in trace.verdict(found)


def test_event_that_never_came(recorded):
    data = without(recorded, "network-vif-plugged", "os-server-external-events")
    data["launch"]["problem"] = "the instance is in ERROR: Virtual Interface creation failed"
    assert report_of(data)["first_missing"]["title"] == "The event network-vif-plugged"


def test_nothing_at_all():
    launch = {"name": "x", "image_id": "i", "network_id": "n", "ports": [], "problem": "HTTP 503: down"}
    found = trace.report(launch, [])
    assert found["first_missing"]["step"] == 1
    assert trace.table(found)[-1] == trace.verdict(found)


# --- What leaves a host ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        ("X-Auth-Token: gAAAAABn0123456789_-abc==", "gAAAAABn0123456789_-abc"),
        ("'X-Subject-Token': 'abcdef0123'", "abcdef0123"),
        ("GET /vnc_lite.html?path=%3Ftoken%3Dx&token=3c9e0c2a-secret", "3c9e0c2a-secret"),
        ('{"adminPass": "Sup3r"}', "Sup3r"),
        ("connection = mysql+pymysql://nova:geheim@controller/nova", "geheim"),
        ("password=hunter2, user=x", "hunter2"),
        ("x-instance-id-signature: 0a1b2c3d", "0a1b2c3d"),
    ],
)
def test_secrets_are_blotted_out(collector, line, secret):
    assert secret not in collector.clean(line)


def test_ordinary_lines_stay(collector, recorded):
    for host in recorded["evidence"]:
        for _source, line in host["lines"]:
            assert collector.clean(line) == line


def test_only_new_lines_are_read(collector, tmp_path):
    log = tmp_path / "nova-api.log"
    log.write_text("old\n")
    mark = collector.marks([str(tmp_path / "*.log")])[str(log)]
    with log.open("a") as stream:
        stream.write("new\n")
    assert list(collector.new_lines(str(log), mark)) == ["new"]
    # logrotate between the two looks: the rest of the old file and all of the new one.
    log.rename(tmp_path / "nova-api.log.1")
    log.write_text("newest\n")
    assert list(collector.new_lines(str(log), mark)) == ["new", "newest"]
    assert list(collector.new_lines(str(tmp_path / "gone.log"), None)) == []


# --- OVN ---------------------------------------------------------------------------------------------------------------

MAC = "fa:16:3e:6b:c6:d7"
OVN_LOG = "/var/log/ovn/ovn-controller.log"


def with_ovn(recorded, *lines):
    """The recorded launch as OVN would have left it: no dnsmasq, no DHCP agent, the guest's MAC address in OVN's log."""
    for host in recorded["evidence"]:
        host["lines"] = [(source, line) for source, line in host["lines"] if "dnsmasq" not in line and "dhcp-agent" not in source]
    recorded["launch"]["ports"][0]["mac"] = MAC
    compute = next(host for host in recorded["evidence"] if host["host"] == "compute1")
    compute["lines"] += [(OVN_LOG, line) for line in lines]
    return recorded


def test_a_line_of_ovn():
    line = f"2026-11-25T19:21:58.975Z|00006|pinctrl(ovn_pinctrl0)|INFO|DHCPACK {MAC} 172.16.1.88"
    entry = trace.parse_line(OVN_LOG, line, "compute1", utc_offset=3600)
    assert (entry.service, entry.exact) == ("ovn-controller", True)
    assert entry.time == datetime(2026, 11, 25, 19, 21, 58, 975000, tzinfo=UTC)


def test_with_ovn_the_lease_is_seen_and_the_agent_is_replaced(recorded):
    steps = steps_of(
        with_ovn(
            recorded,
            f"2026-11-21T00:45:10.287Z|00005|pinctrl(ovn_pinctrl0)|INFO|DHCPOFFER {MAC} 172.16.1.117",
            f"2026-11-21T00:45:10.288Z|00006|pinctrl(ovn_pinctrl0)|INFO|DHCPACK {MAC} 172.16.1.117",
        )
    )
    assert (steps["today", 18]["state"], steps["today", 27]["service"]) == ("replaced", "ovn-controller")
    assert "DHCPACK" in steps["today", 27]["evidence"]


@pytest.mark.parametrize(
    "line",
    [
        f"2026-11-21T00:45:10.287Z|00005|pinctrl(ovn_pinctrl0)|INFO|DHCPOFFER {MAC} 172.16.1.117",
        "2026-11-21T00:45:10.287Z|00005|pinctrl(ovn_pinctrl0)|INFO|DHCPACK fa:16:3e:00:00:01 172.16.1.117",
    ],
)
def test_an_offer_or_anothers_lease_is_no_lease(recorded, line):
    assert steps_of(with_ovn(recorded, line))["today", 27]["state"] == "unseen"


def test_without_ovn_and_without_a_line_the_agent_stays_unseen(recorded):
    assert steps_of(with_ovn(recorded))["today", 18]["state"] == "unseen"


@pytest.mark.parametrize("said", ["VM Resumed (Lifecycle Event)", "Instance spawned successfully."])
def test_the_guest_runs_by_each_of_its_words_without_a_request_id(recorded, said):
    case_lines = next(host for host in recorded["evidence"] if host["host"] == "compute1")
    instance = recorded["launch"]["id"]
    case_lines["lines"] = [
        (source, line) for source, line in case_lines["lines"] if "VM Resumed" not in line and "spawned successfully" not in line
    ]
    case_lines["lines"].append(
        (
            "/var/log/nova/nova-compute.log",
            f"2026-11-21 00:45:03.084 8635 INFO nova.virt.libvirt.driver [-] [instance: {instance}] {said}",
        )
    )
    assert said in steps_of(recorded)["today", 25]["evidence"]
