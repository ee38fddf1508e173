"""Units: what is restarted, waited for, put back and left alone."""

import os
import socket
import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from ansible.module_utils.kilonova import history
from harness import Failed, Systemd, load, unit

# What unit() reads.
READ = ["/etc/x.conf"]


def test_differences_name_files_and_sections():
    old = {"/etc/nova/nova.conf": {"DEFAULT": "1", "vnc": "1", "gone": "1"}, "/etc/default/x": {"*": "1"}, "/old": {"*": "1"}}
    new = {"/etc/nova/nova.conf": {"DEFAULT": "1", "vnc": "2", "new": "1"}, "/etc/default/x": {"*": "2"}}
    differences = load("service_units").differences
    assert differences(old, new) == {
        "/etc/default/x": "/etc/default/x",
        "/etc/nova/nova.conf": "[gone] [new] [vnc] of /etc/nova/nova.conf",
        "/old": "/old",
    }
    assert differences(new, new) == {}


@pytest.fixture
def server():
    """An HTTP server that replies with the status in the path, /404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(int(self.path[1:]))
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,), daemon=True).start()
        yield listening.server_port
        listening.shutdown()


def test_what_counts_as_an_answer(server):
    answer = load("service_units").answer
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = unused.getsockname()[1]
        assert [answer(f"http://127.0.0.1:{server}/{status}") for status in (200, 401, 404)] == [None] * 3
        assert answer(f"http://127.0.0.1:{server}/503") == "HTTP status 503"
        assert answer(f"127.0.0.1:{server}") is None
        assert "refused" in answer(f"127.0.0.1:{closed}")
        assert "refused" in answer(f"http://127.0.0.1:{closed}/")


def test_a_fresh_unit_is_enabled_and_started_and_then_left_alone(run, systemd):
    systemd.add("nova-api", ActiveState="inactive", UnitFileState="disabled")
    assert run(systemd.code, units=[unit("nova-api")])["actions"] == ["start nova-api"]
    assert systemd.calls == ["enable nova-api", "start nova-api"]
    assert run(systemd.code, units=[unit("nova-api")]) == {"changed": False, "actions": [], "diff": {"before": "", "after": ""}}
    assert stat.S_IMODE(os.stat(systemd.code.unit_state.state_path()).st_mode) == 0o600


def test_a_unit_that_runs_but_would_not_start_at_boot(run, systemd):
    systemd.add("nova-api")
    run(systemd.code, units=[unit("nova-api")])
    systemd.units["nova-api"]["UnitFileState"] = "disabled"
    systemd.calls.clear()
    assert run(systemd.code, units=[unit("nova-api")])["actions"] == ["enable nova-api"]
    assert systemd.calls == ["enable nova-api"]


def test_a_unit_that_systemd_makes_of_an_init_script_is_enabled_by_its_links(run, systemd, monkeypatch, tmp_path):
    """neutron-periodic-workers of Debian 13 is one: systemd calls it "generated", whether or not it starts with the host."""
    monkeypatch.setattr(systemd.code.unit_state, "RUNLEVELS", str(tmp_path / "S[0-9][0-9]%s"))
    systemd.add("workers", UnitFileState="generated")
    assert run(systemd.code, units=[unit("workers")], check_mode=True)["actions"][:1] == ["enable workers"]
    (tmp_path / "S01workers").touch()
    assert "enable workers" not in run(systemd.code, units=[unit("workers")], check_mode=True)["actions"]


def test_a_unit_that_shall_not_run_is_disabled_and_then_left_alone(run, systemd):
    systemd.add("spice", ActiveState="inactive")
    systemd.add("serial", UnitFileState="disabled")
    systemd.add("absent", LoadState="not-found", ActiveState="inactive", UnitFileState="")
    units = [unit(name, runs=False) for name in ("spice", "serial", "absent")]
    assert run(systemd.code, units=units)["actions"] == ["disable spice", "disable serial"]
    assert systemd.calls == ["disable --now spice serial"]
    assert not run(systemd.code, units=units)["changed"]
    assert len(systemd.calls) == 1


def test_check_mode_says_where_a_run_waits_or_notes_something(run, systemd, conf, monkeypatch):
    """So that nothing is left out because the module, asked ahead, would change nothing."""
    conf("[DEFAULT]\na = 1\n")
    systemd.add("glance-api")
    code, glance = systemd.code, {**conf.unit("glance-api"), "answers": "controller:9292"}
    silent = []
    monkeypatch.setattr(code, "answer", lambda target: "no answer" if silent else None)

    def left():
        result = run(code, check_mode=True, units=[glance])
        return result["actions"], result["unsettled"]

    run(code, units=[glance])
    assert left() == ([], [])
    silent.append(True)
    assert left() == ([], ["glance-api"])
    silent.clear()
    # A run that died before it noted what it had seen.
    for path in (code.unit_state.known_good_path(str(conf.path)), code.unit_state.answers_path()):
        os.unlink(path)
        assert left() == ([], ["glance-api"])
        run(code, units=[glance])
        assert left() == ([], [])
    # What is changed anyway is no question of waiting.
    systemd.units["glance-api"]["ActiveState"] = "inactive"
    assert left() == (["start glance-api"], [])


def test_a_unit_that_shall_run_no_more_is_forgotten(run, systemd, conf, monkeypatch):
    conf("[DEFAULT]\na = 1\n")
    systemd.add("spice", "novnc")
    code = systemd.code
    monkeypatch.setattr(code, "answer", lambda target: None)
    units = [{**conf.unit(name), "answers": f"controller:{port}"} for name, port in (("spice", 6082), ("novnc", 6080))]
    run(code, units=units)
    run(code, units=[{**units[0], "runs": False, "digests": {}}, units[1]])
    assert list(code.unit_state.load_state()) == ["novnc"]
    assert code.unit_state.load_answers() == {"novnc": "controller:6080"}


def test_only_what_reads_a_changed_section_is_restarted(run, systemd):
    systemd.add("nova-api", "nova-scheduler", "mariadb")
    start = [unit("nova-api"), unit("nova-scheduler"), unit("mariadb", reloads=READ)]
    run(systemd.code, units=start)
    systemd.calls.clear()
    result = run(systemd.code, units=[unit("nova-api", "2"), unit("nova-scheduler"), unit("mariadb", "2", reloads=READ)])
    assert result["actions"] == [
        "restart nova-api (changed: [DEFAULT] of /etc/x.conf)",
        "reload mariadb (changed: [DEFAULT] of /etc/x.conf)",
    ]
    assert systemd.calls == ["restart nova-api", "reload mariadb"]
    # Why was nova-api restarted last Tuesday? The host knows.
    assert [entry["action"] for entry in history.read()[0]][-2:] == result["actions"]


def test_a_unit_is_reloaded_where_only_what_it_can_read_again_has_changed(run, systemd):
    systemd.add("mariadb")
    key, conf = "/etc/mysql/key.pem", "/etc/mysql/x.cnf"

    def mariadb(certificate, configuration):
        digests = {key: {"*": certificate}, conf: {"*": configuration}}
        return {"name": "mariadb", "digests": digests, "reloads": [key]}

    run(systemd.code, units=[mariadb("1", "1")])
    assert run(systemd.code, units=[mariadb("2", "1")])["actions"] == [f"reload mariadb (changed: {key})"]
    assert run(systemd.code, units=[mariadb("2", "1")])["actions"] == []
    assert run(systemd.code, units=[mariadb("3", "2")])["actions"] == [f"restart mariadb (changed: {key}, {conf})"]
    assert run(systemd.code, units=[mariadb("3", "3")])["actions"] == [f"restart mariadb (changed: {conf})"]


def test_a_plan_says_of_a_unit_of_several_tasks_what_they_then_do(run, systemd, tmp_path):
    """HAProxy is started by its own role, and each service's page adds a file that it reads."""
    ways = [tmp_path / f"{port}.cfg" for port in (5000, 9292)]
    for way in ways:
        way.write_text("a way")
    calls = [unit("haproxy"), *({"name": "haproxy", "digests": {str(way): {"*": "1"}}, "reloads": [str(way)]} for way in ways)]
    systemd.add("haproxy", ActiveState="inactive", UnitFileState="disabled")

    def planned():
        actions, started = [], []
        for call in calls:
            result = run(systemd.code, check_mode=True, units=[call], started=started)
            started = result["started"]
            actions.append(result["actions"])
        return actions

    first = planned()
    assert first == [["start haproxy"], *([f"reload haproxy (changed: {way})"] for way in ways)]
    assert systemd.calls == []
    assert [run(systemd.code, units=[call])["actions"] for call in calls] == first
    # Stopped by hand: the first task starts it.
    systemd.units["haproxy"]["ActiveState"] = "inactive"
    assert planned() == [["start haproxy"], [], []]
    assert [run(systemd.code, units=[call])["actions"] for call in calls] == [["start haproxy"], [], []]


def test_a_unit_that_refuses_to_read_its_files_again_fails(run, systemd):
    """It answers all the same, with what it has read before."""
    systemd.add("haproxy", "mariadb")
    units = [unit("mariadb", reloads=READ), unit("haproxy", reloads=READ)]
    run(systemd.code, units=units)
    systemd.refuses = {"reload haproxy": "Job for haproxy.service failed."}
    with pytest.raises(Failed, match=r"service haproxy: systemctl reload haproxy: Job for haproxy\.service failed\."):
        run(systemd.code, units=[unit("mariadb", "2", reloads=READ), unit("haproxy", "2", reloads=READ)])
    # The next run tries again.
    systemd.refuses = {}
    actions = run(systemd.code, units=[unit("mariadb", "2", reloads=READ), unit("haproxy", "2", reloads=READ)])["actions"]
    assert "reload haproxy (changed: [DEFAULT] of /etc/x.conf)" in actions


def test_a_restart_is_in_the_history_of_its_host(run, systemd, conf):
    systemd.add("agent", "api", "scheduler", ActiveState="inactive")
    conf("[DEFAULT]\ngood = 1\n")

    def units(digest):
        return [
            conf.unit("api", DEFAULT=digest),
            conf.unit("scheduler"),
            {**conf.unit("agent", DEFAULT=digest), "after": ["api"]},
        ]

    def remembered():
        return [(entry["action"], entry.get("failed", False)) for entry in history.read()[0]]

    run(systemd.code, units=units("1"))
    known = [("start api", False), ("start scheduler", False), ("start agent", False)]
    assert remembered() == known
    run(systemd.code, units=units("2"), check_mode=True)
    run(systemd.code, units=units("1"))
    assert remembered() == known
    why = f"(changed: [DEFAULT] of {conf.path})"
    run(systemd.code, units=units("2"))
    known += [(f"restart api {why}", False), (f"restart agent {why}", False)]
    assert remembered() == known
    # What comes after a unit that does not run was not touched.
    conf("[DEFAULT]\nbad = 1\n")
    systemd.starts["api"] = lambda: "failed" if "bad" in conf.path.read_text() else "active"
    with pytest.raises(Failed) as failed:
        run(systemd.code, units=units("3"))
    done = [f"restart api {why}", f"put back {conf.path}", "restart api (with what was put back)"]
    assert failed.value.args[0]["actions"] == done
    assert failed.value.args[0]["changed"]
    assert remembered() == known + [(line, True) for line in done]


@pytest.mark.parametrize(
    ("verb", "name", "actions"), [("disable", "spice", ["disable spice"]), ("enable", "fresh", ["disable spice", "enable fresh"])]
)
def test_a_unit_that_cannot_be_enabled_or_disabled_ends_the_task(run, systemd, monkeypatch, verb, name, actions):
    systemd.add("spice")
    systemd.add("fresh", ActiveState="inactive", UnitFileState="disabled")
    monkeypatch.setattr(systemd.code, "systemctl", lambda called, *_names: (int(called == verb), "Access denied"))
    with pytest.raises(Failed) as failed:
        run(systemd.code, units=[unit("spice", runs=False), unit("fresh")])
    said = {"msg": f"systemctl {verb} {name}: Access denied", "changed": True, "actions": actions}
    assert failed.value.args[0] == said


def test_a_service_from_before_this_installer_is_restarted(run, systemd):
    systemd.add("nova-api")
    actions = run(systemd.code, units=[unit("nova-api")])["actions"]
    assert actions == ["restart nova-api (runs with a configuration from before this installer)"]


def test_what_an_earlier_version_remembered_restarts_nothing(run, systemd, conf):
    """The files of the first version, as it wrote them."""
    systemd.add("nova-api", "libvirtd")
    conf("[DEFAULT]\na = 1\n")
    kept = Path(systemd.code.unit_state.DIRECTORY)
    good = kept / "good" / str(conf.path).lstrip("/")
    good.parent.mkdir(parents=True)
    good.write_text(conf.path.read_text())
    remembered = '{\n "libvirtd": {},\n "nova-api": {\n  "PATH": {\n   "DEFAULT": "1",\n   "vnc": ""\n  }\n }\n}'
    (kept / "services.json").write_text(remembered.replace("PATH", str(conf.path)))
    units = [conf.unit("nova-api", ignores=["vnc"]), {"name": "libvirtd", "digests": {}}]
    for check_mode in (True, False):
        assert run(systemd.code, check_mode=check_mode, units=units)["actions"] == []
    assert systemd.calls == []


def test_check_mode_touches_nothing(run, systemd):
    systemd.add("nova-api", ActiveState="inactive", UnitFileState="disabled")
    systemd.add("not-yet", LoadState="not-found", ActiveState="inactive", UnitFileState="")
    result = run(systemd.code, check_mode=True, units=[unit("nova-api"), unit("not-yet")])
    assert result["changed"]
    assert systemd.calls == []
    assert not os.path.exists(systemd.code.unit_state.state_path())


def test_a_restart_that_failed_is_done_again_by_the_next_run(run, systemd):
    systemd.add("nova-api")
    run(systemd.code, units=[unit("nova-api")])
    systemd.starts["nova-api"] = "failed"
    with pytest.raises(Failed, match="nova-api"):
        run(systemd.code, units=[unit("nova-api", "2")])
    systemd.units["nova-api"]["ActiveState"] = "active"  # somebody started it, with whatever it had
    systemd.starts.clear()
    assert run(systemd.code, units=[unit("nova-api", "2")])["changed"]


def test_what_was_changed_by_hand_restarts_what_reads_it(run, systemd, conf, files):
    systemd.add("nova-api", "nova-scheduler", ActiveState="inactive")
    units = [conf.unit("nova-api", ignores=["scheduler"]), conf.unit("nova-scheduler", scheduler="1")]
    right = "[DEFAULT]\n# a comment\na = 1\n[scheduler]\nb = 1\n"
    conf(right)
    run(systemd.code, units=units)
    systemd.calls.clear()
    conf(right.replace("b = 1", "b = 2"))
    restart = [f"restart nova-scheduler (changed: [scheduler] of {conf.path})"]
    assert run(systemd.code, check_mode=True, units=units)["actions"] == restart
    assert run(load("config_files"), files=[files("x.conf", right)])["changed"]
    assert run(systemd.code, units=units)["actions"] == restart
    assert systemd.calls == ["restart nova-scheduler"]
    assert not run(systemd.code, units=units)["changed"]
    conf(right.replace("a comment", "another"))
    assert not run(systemd.code, check_mode=True, units=units)["changed"]
    conf.path.unlink()
    assert len(run(systemd.code, check_mode=True, units=units)["actions"]) == 2


def test_a_configuration_that_a_service_does_not_survive_is_put_back(run, systemd, conf):
    systemd.add("nova-api", "nova-scheduler", "libvirtd")
    units = [conf.unit("nova-api"), conf.unit("nova-scheduler"), {"name": "libvirtd", "digests": {}}]
    conf("[DEFAULT]\ngood = 1\n")
    run(systemd.code, units=units)
    conf("[DEFAULT]\nbad = 1\n")
    systemd.calls.clear()
    systemd.starts["nova-scheduler"] = lambda: "failed" if "bad" in conf.path.read_text() else "active"
    changed = [conf.unit("nova-api", DEFAULT="2"), conf.unit("nova-scheduler", DEFAULT="2"), {"name": "libvirtd", "digests": {}}]
    with pytest.raises(Failed) as failed:
        run(systemd.code, units=changed)
    assert failed.value.args[0]["msg"] == (
        f"service nova-scheduler does not run with its new configuration: failed (None); {conf.path} was put back as it was "
        "before, nova-api, nova-scheduler run again with it"
    )
    assert conf.path.read_text() == "[DEFAULT]\ngood = 1\n"
    assert stat.S_IMODE(conf.path.stat().st_mode) == 0o640
    assert systemd.calls == ["restart nova-api nova-scheduler"] * 2
    # The next run finds nothing but what is still asked for.
    assert not run(systemd.code, units=units)["changed"]
    assert len(run(systemd.code, check_mode=True, units=changed)["actions"]) == 2


def test_what_cannot_be_asked_must_live_a_while_with_a_changed_configuration(run, systemd, conf):
    systemd.add("nova-scheduler", InvocationID="1")
    conf("[DEFAULT]\ngood = 1\n")
    run(systemd.code, units=[conf.unit("nova-scheduler")])
    conf("[DEFAULT]\nbad = 1\n")
    # systemd starts it again and again, so that it looks active at any single moment.
    systemd.clock.meanwhile = lambda: systemd.units["nova-scheduler"].update(InvocationID="2")
    with pytest.raises(Failed) as failed:
        run(systemd.code, units=[conf.unit("nova-scheduler", DEFAULT="2")])
    assert "died right after its start" in failed.value.args[0]["msg"]
    assert "put back" in failed.value.args[0]["msg"]


def test_the_first_start_of_what_cannot_be_asked_is_looked_at_once(run, systemd, conf):
    systemd.add("nova-api")
    systemd.add("nova-scheduler", ActiveState="inactive")
    conf("[DEFAULT]\ngood = 1\n")
    run(systemd.code, units=[conf.unit("nova-api")])
    # Another service's configuration, which is known to be good, says nothing about the one that starts now.
    run(systemd.code, units=[conf.unit("nova-scheduler")])
    assert not systemd.clock.slept


def test_what_cannot_be_asked_must_live_for_ten_seconds_and_come_to_rest(run, systemd, monkeypatch):
    systemd.add("nova-scheduler")
    run(systemd.code, units=[unit("nova-scheduler")])
    assert not systemd.clock.slept
    run(systemd.code, units=[unit("nova-scheduler", "2")])
    assert 10 < systemd.clock.monotonic() <= 12
    # On a busy host it still reads its configuration by then: all the time of a processor until the 30th second.
    systemd.clock.slept.clear()
    monkeypatch.setattr(systemd.code, "processor_seconds", lambda _pid: min(systemd.clock.monotonic(), 30))
    run(systemd.code, units=[unit("nova-scheduler", "3")])
    assert 30 < systemd.clock.monotonic() <= 34


def test_the_run_goes_on_while_a_service_starts_for_the_first_time(run, systemd, monkeypatch):
    systemd.add("glance-api", "keystone", ActiveState="inactive")
    asked = []
    monkeypatch.setattr(systemd.code, "answer", asked.append)
    units = [
        {**unit("glance-api", answers="10.0.0.11:9292"), "start_without_waiting": True},
        unit("keystone", answers="10.0.0.11:5000"),
    ]
    result = run(systemd.code, units=units, pending=[{"name": "earlier", "answers": None}])
    assert systemd.calls == ["start keystone", "start --no-block glance-api"]
    assert asked == ["10.0.0.11:5000"]
    later = result["pending"]
    glance = {"name": "glance-api", "answers": "10.0.0.11:9292", "invocation": None}
    assert later == [{"name": "earlier", "answers": None}, glance]
    # The last play asks, and every run after it asks at once.
    systemd.calls.clear()
    for again in (later[1:], units):
        asked.clear()
        result = run(systemd.code, units=again)
        assert (result["changed"], "10.0.0.11:9292" in asked, "ansible_facts" in result) == (False, True, False)
    assert systemd.calls == []


def test_what_ran_before_this_installer_is_waited_for(run, systemd, monkeypatch):
    """A run that was killed before it noted what it started: the next one restarts it, which makes another process of it."""
    systemd.add("glance-api", InvocationID="old")
    asked = []
    monkeypatch.setattr(systemd.code, "answer", asked.append)
    result = run(systemd.code, units=[{**unit("glance-api", answers="10.0.0.11:9292"), "start_without_waiting": True}])
    assert systemd.calls == ["restart glance-api"]
    assert (asked, "ansible_facts" in result) == (["10.0.0.11:9292"], False)
    systemd.add("nova-scheduler", ActiveState="inactive", InvocationID="old")
    pending = run(systemd.code, units=[{**unit("nova-scheduler"), "start_without_waiting": True}])["pending"]
    systemd.units["nova-scheduler"]["InvocationID"] = "new"
    assert not run(systemd.code, units=pending)["changed"]


def test_what_died_after_its_first_start_is_found_by_the_last_play(run, systemd):
    systemd.add("agent", ActiveState="inactive", InvocationID="1")
    pending = run(systemd.code, units=[unit("agent")])["pending"]
    assert pending == [{"name": "agent", "answers": None, "invocation": "1"}]
    assert not run(systemd.code, units=pending)["changed"]
    # systemd starts it again and again, so that it looks active at any single moment.
    systemd.units["agent"]["InvocationID"] = "2"
    with pytest.raises(Failed, match="service agent: died right after its start"):
        run(systemd.code, units=pending)
    # Unless it was another role that restarted it.
    again = run(systemd.code, units=[unit("agent", "2")], pending=pending)["pending"]
    assert again == [{"name": "agent", "answers": None, "invocation": "2"}]


@pytest.mark.parametrize(("restarts", "works"), [("0", True), ("1", False)])
def test_a_unit_that_a_socket_starts_may_end_when_nobody_uses_it(run, systemd, restarts, works):
    """As libvirtd does after two minutes; what failed, systemd has started again itself."""
    systemd.add("libvirtd", ActiveState="inactive", InvocationID="1")
    pending = run(systemd.code, units=[unit("libvirtd")])["pending"]
    systemd.units["libvirtd"].update(InvocationID="2", TriggeredBy="libvirtd.socket", NRestarts=restarts)
    if works:
        assert not run(systemd.code, units=pending)["changed"]
    else:
        with pytest.raises(Failed, match="service libvirtd: died right after its start"):
            run(systemd.code, units=pending)


@pytest.mark.parametrize(("reloads", "least", "most"), [(READ, 1, 2), ([], 10, 15)])
def test_what_was_only_reloaded_is_looked_at_for_a_second(run, systemd, reloads, least, most):
    systemd.add("haproxy")
    run(systemd.code, units=[unit("haproxy", reloads=reloads)])
    begun = systemd.clock.monotonic()
    run(systemd.code, units=[unit("haproxy", "2", reloads=reloads)])
    assert least < systemd.clock.monotonic() - begun < most


def test_a_unit_that_still_reloads_has_not_died(run, systemd):
    """HAProxy says itself that it reads its files again, after systemctl has ended; on a busy host for some seconds."""
    systemd.add("haproxy")
    run(systemd.code, units=[unit("haproxy", reloads=READ)])

    def reloads(until):
        systemd.clock.slept.clear()
        systemd.units["haproxy"]["ActiveState"] = "active"

        def passes():
            systemd.units["haproxy"]["ActiveState"] = "reloading" if systemd.clock.monotonic() < until else "active"

        systemd.clock.meanwhile = passes

    reloads(30)
    actions = run(systemd.code, units=[unit("haproxy", "2", reloads=READ)])["actions"]
    assert actions == ["reload haproxy (changed: [DEFAULT] of /etc/x.conf)"]
    assert systemd.clock.monotonic() >= 30
    # One that never ends is no success.
    reloads(1000)
    with pytest.raises(Failed, match=r"service haproxy: still reloading after 18\d s"):
        run(systemd.code, units=[unit("haproxy", "3", reloads=READ)])


def test_units_wait_for_those_that_they_come_after(run, systemd, monkeypatch):
    systemd.add("agent", "rpc", ActiveState="inactive")
    consumers = iter([set(), {"q-plugin"}])
    monkeypatch.setattr(systemd.code, "consumed_queues", lambda *_asked: systemd.calls.append("asked") or next(consumers))
    run(systemd.code, units=[unit("agent", after=["rpc"]), unit("rpc", queues=["q-plugin"])])
    assert systemd.calls == ["start rpc", "asked", "asked", "start agent"]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"LoadState": "masked"}, "unit x is masked on this host; run `systemctl unmask x` or remove the mask"),
        ({"LoadState": "not-found"}, "unit x does not exist on this host; is the package installed[?]"),
    ],
)
def test_units_that_cannot_run(run, systemd, properties, message):
    systemd.add("x", **properties)
    with pytest.raises(Failed, match=message):
        run(systemd.code, units=[unit("x")])


def test_a_unit_that_does_not_answer_is_named(run, systemd, monkeypatch):
    systemd.add("x")
    monkeypatch.setattr(systemd.code, "answer", lambda _target: "Connection refused")
    with pytest.raises(Failed, match=r"no answer within 0 s, last: 10\.0\.0\.11:80: Connection refused"):
        run(systemd.code, units=[unit("x", answers="10.0.0.11:80")], timeout=0)


@pytest.mark.parametrize(
    ("configuration", "own", "disabled"), [(True, True, True), (True, False, False), (False, False, True), (None, False, True)]
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_unit_that_serves_somebody_else_is_not_stopped(run, monkeypatch, tmp_path, configuration, own, disabled, check_mode):
    systemd = Systemd(load("service_units"), monkeypatch, tmp_path)
    systemd.add("haproxy")
    path = tmp_path / "haproxy.cfg"
    if configuration:
        path.touch()
    monkeypatch.setattr(systemd.code.foreign, "is_idle_package", lambda _name, _path: own)
    unit = {"name": "haproxy", "runs": False, **({} if configuration is None else {"configuration": str(path)})}
    assert run(systemd.code, check_mode=check_mode, units=[unit])["actions"] == (["disable haproxy"] if disabled else [])
    assert systemd.calls == (["disable --now haproxy"] if disabled and not check_mode else [])
