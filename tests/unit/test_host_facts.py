"""What a host tells of itself when a run begins, and what is not asked again because of it."""

import grp
import os
import pwd
import threading

import pytest
from ansible.module_utils.kilonova import unit_state
from harness import load, unit

from kilonova.run import answers


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
    # What the run itself has seen since counts, also where that is another text.
    for text, facts in (("a\n", {"new": []}), ("a\n", {})):
        put_right = {"ansible_facts": {answers.RUN: {**facts, "files": {entry["path"]: answers.identity(entry, text)}}}}
        assert answers.file_is_there(entry, text, told | put_right)
        assert not answers.file_is_there(entry, path.read_text(), told | put_right)
        assert not answers.file_is_there({**entry, "mode": "0600"}, text, told | put_right)


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

    def rests(unit, enabled="enabled", active="active", facts=(), answers_at=None):
        states = {"agent.service": enabled, "x.timer": "enabled"}
        running = {"agent.service": active, "scheduler.service": "active"}
        told = code.services(code.unit_state.load_state(), answers.KEY, states, running)
        variables = {"openstack_host": {"services": told, "answers": answers_at or {}}, "ansible_facts": dict(facts)}
        return answers.unit_is_current(unit, variables)

    assert rests(agent)
    assert rests({**agent, "digests": {path: {**sections, "unused": ""} for path, sections in agent["digests"].items()}})
    # Its configuration, its state, or what is to be asked each time.
    assert not rests(conf.unit("agent", DEFAULT="2"))
    assert not rests({**agent, "digests": {**agent["digests"], "/etc/more": {"*": "1"}}})
    assert not rests(agent, enabled="disabled")
    assert not rests(agent, active="activating")
    assert not rests(conf.unit("scheduler"))  # not enabled
    assert not rests(conf.unit("unknown"))
    # Asked by the host itself when the run begins, all at once.
    assert not rests({**agent, "answers": "controller:1"})
    assert not rests({**agent, "answers": "controller:1"}, answers_at={"controller:1": False})
    assert rests({**agent, "answers": "controller:1"}, answers_at={"controller:1": True})
    assert not rests({**agent, "answers": "controller:2"}, answers_at={"controller:1": True})
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
    # What this run has seen to itself, for what another page says of the unit.
    seen = {answers.RUN: {"new": [], "changed": True, "units": {"agent": answers.read_by(agent)}}}
    [path] = agent["digests"]
    assert rests(agent, facts=seen)
    assert not rests({**agent, "digests": {path: {"other": "1"}}}, facts=seen)
    assert not rests({**agent, "digests": {**agent["digests"], "/etc/more": {"*": "1"}}}, facts=seen)
    assert not rests({**agent, "digests": {}}, facts=seen)  # it was started without waiting, and is asked at the end
    assert not rests({**agent, "queues": ["agent"]}, facts=seen)
    assert not rests({**agent, "invocation": "1"}, facts=seen)
    assert not rests({**agent, "name": "scheduler"}, facts=seen)
    assert rests(agent, facts={answers.RUN: {"corrected": []}})
    assert answers.noted({"changed": False, "ansible_facts": {"a": 1}}, {}) == {"changed": False, "ansible_facts": {"a": 1}}
    # What was learned before stays.
    known = {"ansible_facts": {answers.RUN: {"new": ["a"], "accounts": ["nova"]}}}
    learned = answers.noted({"changed": True, "ansible_facts": {"a": 1}}, known, accounts=["glance", "nova"])
    run_fact = {"new": ["a"], "accounts": ["glance", "nova"], "changed": True}
    assert learned["ansible_facts"] == {"a": 1, answers.RUN: run_fact}


def test_what_answered_is_asked_all_at_once_when_a_run_begins(run, systemd, monkeypatch):
    code = load("host_facts")
    assert code.answering([]) == {}
    asked = threading.Barrier(2, timeout=5)  # one alone would wait in vain

    def answer(target):
        asked.wait()
        return None if target == "a:1" else "dead"

    monkeypatch.setattr(code, "answer", answer)
    assert code.answering(["a:1", "http://b/"]) == {"a:1": True, "http://b/": False}
    # Where that is, a run leaves when it has waited for it.
    systemd.add("nova-api", "agent")
    monkeypatch.setattr(systemd.code, "answer", lambda _target: None)
    run(systemd.code, units=[unit("nova-api", answers="http://b/"), unit("agent")])
    assert unit_state.load_answers() == {"nova-api": "http://b/"}


@pytest.mark.parametrize(
    ("sources", "unstable"),
    [
        ("Types: deb\nURIs: http://deb.debian.org/debian\nSuites: sid\nComponents: main\n", True),
        ("deb http://deb.debian.org/debian unstable main\n", True),
        ("Types: deb\nSuites: forky forky-updates\n", False),
        ("# deb http://deb.debian.org/debian sid main\ndeb http://deb.debian.org/debian forky main\n", False),
    ],
)
def test_unstable_is_told_from_the_next_stable_by_its_sources(tmp_path, sources, unstable):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(sources)
    assert load("host_facts").follows_unstable(str(tmp_path)) is unstable
