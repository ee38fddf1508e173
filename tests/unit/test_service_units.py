"""Units: what is restarted, waited for, put back and left alone."""

import grp
import os
import pwd
import socket
import stat
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ansible.module_utils.kilonova import history
from harness import Failed, load, unit

from kilonova.run import answers

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


def test_differences_name_files_and_sections():
    old = {"/etc/nova/nova.conf": {"DEFAULT": "1", "vnc": "1", "gone": "1"}, "/etc/default/x": {"*": "1"}, "/old": {"*": "1"}}
    new = {"/etc/nova/nova.conf": {"DEFAULT": "1", "vnc": "2", "new": "1"}, "/etc/default/x": {"*": "2"}}
    differences = load("service_units").differences
    assert differences(old, new) == ["/etc/default/x", "[gone] [new] [vnc] of /etc/nova/nova.conf", "/old"]
    assert differences(new, new) == []


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


def test_only_what_reads_a_changed_section_is_restarted(run, systemd):
    systemd.add("nova-api", "nova-scheduler", "mariadb")
    start = [unit("nova-api"), unit("nova-scheduler"), unit("mariadb", action="reload")]
    run(systemd.code, units=start)
    systemd.calls.clear()
    result = run(systemd.code, units=[unit("nova-api", "2"), unit("nova-scheduler"), unit("mariadb", "2", action="reload")])
    assert result["actions"] == [
        "restart nova-api (changed: [DEFAULT] of /etc/x.conf)",
        "reload mariadb (changed: [DEFAULT] of /etc/x.conf)",
    ]
    assert systemd.calls == ["restart nova-api", "reload mariadb"]
    # Why was nova-api restarted last Tuesday? The host knows.
    assert [entry["action"] for entry in history.read()[0]][-2:] == result["actions"]


def test_a_service_from_before_this_installer_is_restarted(run, systemd):
    systemd.add("nova-api")
    actions = run(systemd.code, units=[unit("nova-api")])["actions"]
    assert actions == ["restart nova-api (runs with a configuration from before this installer)"]


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


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A file that units read: conf("text") writes it, conf.unit(name, digest) reads it; config_files marks it there."""
    path = tmp_path / "x.conf"

    class Conf:
        def __call__(self, text):
            path.write_text(text)
            path.chmod(0o640)

        def unit(self, name, ignores=(), **digests):
            return {"name": name, "digests": {str(path): {"DEFAULT": "1", **digests, **dict.fromkeys(ignores, "")}}}

    monkeypatch.setattr(Conf, "path", path, raising=False)
    return Conf()


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


def test_what_cannot_be_asked_must_live_a_while_with_a_changed_configuration(run, systemd, conf, monkeypatch):
    systemd.add("nova-scheduler", InvocationID="1")
    conf("[DEFAULT]\ngood = 1\n")
    run(systemd.code, units=[conf.unit("nova-scheduler")])
    conf("[DEFAULT]\nbad = 1\n")
    # systemd starts it again and again, so that it looks active at any single moment.
    monkeypatch.setattr(systemd.code.time, "sleep", lambda _seconds: systemd.units["nova-scheduler"].update(InvocationID="2"))
    with pytest.raises(Failed) as failed:
        run(systemd.code, units=[conf.unit("nova-scheduler", DEFAULT="2")])
    assert "died right after its start" in failed.value.args[0]["msg"]
    assert "put back" in failed.value.args[0]["msg"]


def test_the_first_start_of_what_cannot_be_asked_is_looked_at_once(run, systemd, conf, monkeypatch):
    systemd.add("nova-api")
    systemd.add("nova-scheduler", ActiveState="inactive")
    conf("[DEFAULT]\ngood = 1\n")
    run(systemd.code, units=[conf.unit("nova-api")])
    # Another service's configuration, which is known to be good, says nothing about the one that starts now.
    slept = []
    monkeypatch.setattr(systemd.code.time, "sleep", slept.append)
    run(systemd.code, units=[conf.unit("nova-scheduler")])
    assert not slept


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


def test_a_compute_service_that_somebody_disabled_is_not_waited_for():
    code, wanted = load("compute_services"), {("nova-compute", f"compute{n}") for n in range(1, 6)}
    rows = [
        ("enabled", "up", None),
        ("disabled", "up", "new disk"),
        ("disabled", "down", None),
        ("enabled", "down", None),
        ("disabled", "up", "AUTO: Connection to libvirt lost: 1"),
    ]
    services = [
        {"binary": "nova-compute", "host": f"compute{n}", "status": status, "state": state, "disabled_reason": reason}
        for n, (status, state, reason) in enumerate(rows, 1)
    ]
    assert code.missing(services, wanted) == [("nova-compute", f"compute{n}") for n in (3, 4, 5)]
    assert code.missing(services, {("nova-compute", "compute6")}) == [("nova-compute", "compute6")]
    assert code.disabled(services[:2] + services[4:]) == {("nova-compute", "compute2")}


def test_the_table_of_compute_services():
    rows = [
        {"binary": "nova-scheduler", "host": "controller", "zone": "internal", "status": "enabled", "state": "up", "id": 2},
        {"binary": "nova-compute", "host": "compute1", "zone": "nova", "status": "disabled", "state": "down", "id": 1},
    ]
    assert load("compute_services").table(rows) == [
        "Binary          Host        Zone      Status    State",
        "nova-compute    compute1    nova      disabled  down",
        "nova-scheduler  controller  internal  enabled   up",
    ]


def test_host_facts_read_addresses_and_packages(monkeypatch):
    code = load("host_facts")
    outputs = {
        "ip": (
            "1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever\n"
            "2: eth0    inet 10.0.0.11/24 brd 10.0.0.255 scope global eth0\n"
            "2: eth0    inet6 fe80::1/64 scope link \n3: br-x:1    inet 10.1.0.1 peer 10.1.0.2/32 scope global br-x\n"
        ),
        "dpkg-query": (
            "install installed nova-api 2:26.2.2-1\ndeinstall config-files old 1.0\ninstall half-configured bad 1.0\n"
            "hold installed kept 2.0\nhold not-installed wanted \nunknown not-installed other \n"
        ),
        "systemctl": "nova-api.service masked enabled\nx.service enabled enabled\n",
        "ss": (
            'LISTEN 0 100 10.0.0.11:8774 0.0.0.0:* users:(("uwsgi",pid=12,fd=3),("uwsgi",pid=11,fd=3))\n'
            "LISTEN 0 100 [::]:22 [::]:*\n"
        ),
    }
    groups = {"/proc/12/cgroup": "0::/machine/libpod.scope/system.slice/nova-api.service/worker\n"}
    monkeypatch.setattr(code, "output", lambda *argv: outputs[argv[0]])
    assert code.addresses() == {"127.0.0.1": "lo", "10.0.0.11": "eth0", "fe80::1": "eth0", "10.1.0.1": "br-x:1"}
    assert code.packages() == ({"nova-api": "2:26.2.2-1", "kept": "2.0"}, {"bad": "half-configured"}, ["kept", "wanted"])
    assert code.unit_files(["nova-*"]) == {"nova-api.service": "masked", "x.service": "enabled"}
    monkeypatch.setattr(code, "read", lambda path: groups.get(path, ""))
    assert code.listening() == [
        {"port": 8774, "address": "10.0.0.11", "name": "uwsgi", "pid": 12, "unit": "nova-api.service"},
        {"port": 22, "address": "[::]", "name": "an unknown process", "pid": 0, "unit": ""},
    ]


def test_a_file_that_the_host_told_of_is_not_asked_for_again(tmp_path):
    code = load("host_facts")
    path = tmp_path / "nova.conf"
    path.write_text("[DEFAULT]\nmy_ip = 10.0.0.11\n")
    path.chmod(0o640)
    paths = [str(path), str(tmp_path / "gone")]
    told = {"openstack_host": {"files": code.file_digests(paths, answers.KEY)}}
    assert list(told["openstack_host"]["files"]) == [str(path)]
    owner = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": grp.getgrgid(os.getgid()).gr_name}
    entry = {"path": str(path), "mode": "0640", **owner}
    assert answers.file_is_there(entry, path.read_text(), told)
    assert not answers.file_is_there(entry, path.read_text() + "debug = true\n", told)
    assert not answers.file_is_there({**entry, "mode": "0600"}, path.read_text(), told)
    other = {"openstack_host": {"files": code.file_digests(paths, b"of another run")}}
    assert not answers.file_is_there(entry, path.read_text(), other)
    assert not answers.file_is_there(entry, path.read_text(), {})
    assert not answers.file_is_there(entry, path.read_text(), told | {"ansible_facts": {answers.RUN: {"new": []}}})


def test_a_socket_rests_as_a_service_does(run, systemd, conf):
    """epmd's, which systemd knows by its full name."""
    systemd.add("epmd.socket")
    conf("[Socket]\nListenStream = 127.0.0.1:4369\n")
    unit = conf.unit("epmd.socket")
    run(systemd.code, units=[unit])
    code = load("host_facts")
    for active, rests in (("active", True), ("inactive", False)):
        told = code.services(code.unit_state.load_state(), answers.KEY, {"epmd.socket": "enabled"}, {"epmd.socket": active})
        assert answers.unit_is_current(unit, {"openstack_host": {"services": told}, "ansible_facts": {}}) is rests


def test_a_service_with_which_nothing_is_left_to_do_is_not_asked_again(run, systemd, conf):
    systemd.add("agent", "scheduler")
    conf("[DEFAULT]\na = 1\n")
    agent = conf.unit("agent", ignores=["api"])
    run(systemd.code, units=[agent, conf.unit("scheduler")])
    code = load("host_facts")

    def rests(unit, enabled="enabled", active="active", facts=()):
        states = {"agent.service": enabled, "x.timer": "enabled"}
        running = {"agent.service": active, "scheduler.service": "active"}
        told = code.services(code.unit_state.load_state(), answers.KEY, states, running)
        variables = {"openstack_host": {"services": told}, "ansible_facts": dict(facts)}
        return answers.unit_is_current(unit, variables)

    assert rests(agent)
    assert rests({**agent, "digests": {path: {**reads, "unused": ""} for path, reads in agent["digests"].items()}})
    # Its configuration, its state, or what is to be asked each time.
    assert not rests(conf.unit("agent", DEFAULT="2"))
    assert not rests({**agent, "digests": {**agent["digests"], "/etc/more": {"*": "1"}}})
    assert not rests(agent, enabled="disabled")
    assert not rests(agent, active="activating")
    assert not rests(conf.unit("scheduler"))  # not enabled
    assert not rests(conf.unit("unknown"))
    assert not rests({**agent, "answers": "controller:1"})
    assert not rests({**agent, "queues": ["agent"]})
    assert not rests({**agent, "invocation": "1"})
    # What shall not run.
    assert rests({"name": "x", "runs": False, "digests": {}})
    assert not rests({"name": "agent", "runs": False, "digests": {}})
    assert not rests({"name": "agent", "runs": False, "digests": {}}, enabled="disabled")
    # A run that died before the copy that a rollback needs was made, and a change by hand.
    conf("[DEFAULT]\na = 2\n")
    assert not rests(agent)
    conf("[DEFAULT]\na = 1\n")
    assert rests(agent)
    assert not answers.unit_is_current(agent, {})
    noted = answers.noted({"changed": True}, {})["ansible_facts"]
    for facts in ({answers.RUN: {"new": []}}, {answers.RUN: {"corrected": [{}]}}, noted):
        assert not rests(agent, facts=facts)
    assert rests(agent, facts={answers.RUN: {"corrected": []}})
    assert answers.noted({"changed": False, "ansible_facts": {"a": 1}}, {}) == {"changed": False, "ansible_facts": {"a": 1}}
    # What was learned before stays.
    known = {"ansible_facts": {answers.RUN: {"new": ["a"], "accounts": ["nova"]}}}
    learned = answers.noted({"changed": True, "ansible_facts": {"a": 1}}, known, accounts=["glance", "nova"])
    run_fact = {"new": ["a"], "accounts": ["glance", "nova"], "changed": True}
    assert learned["ansible_facts"] == {"a": 1, answers.RUN: run_fact}
