"""When a host is asked, and what a run remembers of the answer: the actions with what a play gives them, without a play."""

import importlib.util
from types import SimpleNamespace

import pytest

from kilonova.config.config_files import ROLES
from kilonova.run import answers

SHARED = {
    "openstack_units": ["nova-*"],
    "openstack_packages_removable": [],
    "openstack_apt_proxy": "",
    "openstack_database_grant_hosts": ["localhost"],
    "openstack_database_other_accounts": "remove",
    "openstack_database_administrator": {},
    "openstack_database_tls": False,
    "openstack_admin_auth": {"password": "canary"},
    "openstack_region": "RegionOne",
    "openstack_keystone_database_login": {},
    "openstack_services_timeout": 5,
    "openstack_services_settle": 1,
    "openstack_rabbit_is_external": True,
    "openstack_queue_login": {"host": "10.0.0.90"},
}


class Templar:
    """Counts what is resolved."""

    def __init__(self):
        self.resolved = []

    def template(self, value):
        self.resolved.append(value)
        return value


@pytest.fixture
def act(monkeypatch):
    """Run an action: act(name, variables, answer, **arguments) -> (result, what its module got; None where nobody was asked)."""

    def acts(name, variables, answer, **arguments):
        spec = importlib.util.spec_from_file_location(f"action_{name}", ROLES.parent / "action_plugins" / f"{name}.py")
        code = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(code)
        task = SimpleNamespace(args=arguments, _role=None)
        plugin = object.__new__(code.ActionModule)
        plugin._task, plugin._templar, asked = task, Templar(), []
        monkeypatch.setattr("ansible.plugins.action.ActionBase.run", lambda *_arguments: {})
        monkeypatch.setattr(
            code.ActionModule, "_execute_module", lambda _self, **given: asked.append(given["module_args"]) or answer
        )
        result = plugin.run(task_vars={"inventory_hostname": "c", **SHARED, **variables})
        acts.resolved = plugin._templar.resolved
        return result, (asked or [None])[0]

    return acts


def after(result):
    """The variables of the next task."""
    return {"ansible_facts": result.get("ansible_facts", {})}


@pytest.mark.parametrize(
    ("name", "option", "key", "kept"),
    [("service_database", "accounts", "user", "accounts"), ("keystone_endpoints", "services", "name", "services")],
)
def test_what_a_run_has_completed_is_not_asked_for_again(act, name, option, key, kept):
    glance, nova = {key: "glance"}, {key: "nova"}
    # The playbook does all at once; one is left to its own page.
    result, asked = act(name, {}, {"changed": True, "complete": ["glance"]}, **{option: [glance, nova]})
    assert asked[option] == [glance, nova]
    assert result["ansible_facts"][answers.RUN] == {kept: ["glance"], "changed": True}
    result, asked = act(name, after(result), {}, **{option: [glance]})
    assert (result, asked) == ({"changed": False, "actions": []}, None)
    # Where nobody is asked, nobody's password is looked up.
    assert act.resolved == []
    result, asked = act(name, {"ansible_facts": {answers.RUN: {kept: ["glance"]}}}, {"complete": ["nova"]}, **{option: [nova]})
    assert asked is not None
    assert result["ansible_facts"][answers.RUN][kept] == ["glance", "nova"]
    # What failed is asked for again, and so it is where the page runs alone.
    result, _asked = act(name, {}, {"failed": True}, **{option: [nova]})
    assert act(name, after(result), {}, **{option: [nova]})[1] is not None


def test_what_a_task_says_wins_over_what_all_share(act):
    _result, asked = act("service_database", {}, {}, accounts=[{"user": "nova"}], hosts=["10.0.0.1"])
    assert (asked["hosts"], asked["others"]) == (["10.0.0.1"], "remove")


def test_what_a_run_has_put_right_is_not_asked_for_by_another_page(act):
    """Until packages are installed, which may change it again."""
    file = {"path": "/etc/nova/x.conf", "template": "lines.j2", "variables": {"lines": ["a"]}}
    write = ("config_files", {"files": [file]})
    start = ("service_units", {"units": [{"name": "nova-x", "reads": [file["path"]]}], "files": [file]})

    def result(of, before, **answer):
        return act(of[0], after(before), answer, **of[1])[0]

    def asks(of, before):
        return act(of[0], after(before), {}, **of[1])[1] is not None

    written = result(write, {}, changed=True)
    assert not asks(write, written) and asks(start, written)
    started = result(start, written, changed=True)
    assert not asks(write, started) and not asks(start, started)
    installed = act("openstack_packages", after(started), {"new": ["x"], "installed": ["x"]}, names=["x"])[0]
    assert asks(write, installed) and asks(start, installed)
    # What failed may be as it was.
    assert asks(write, result(write, {}, failed=True, changed=True))
    assert asks(start, result(start, {}, failed=True, changed=True))


def test_packages_that_are_there_need_no_apt(act):
    host = {"openstack_host": {"packages": {"nova-api": "1"}}}
    assert act("openstack_packages", host, {}, names=["nova-api"])[1] is None
    result, asked = act("openstack_packages", host, {"changed": True, "new": ["x"], "installed": ["nova-api", "x"]}, names=["x"])
    assert (asked["names"], asked["units"]) == (["x"], ["nova-*"])
    known = {**host, **after(result)}
    assert act("openstack_packages", known, {}, names=["x", "nova-api"])[1] is None
    # Where a run was killed inside apt, nothing counts as installed.
    killed = {"openstack_host": {"packages": {"nova-api": "1"}, "install_interrupted": True}}
    assert act("openstack_packages", killed, {}, names=["nova-api"])[1] is not None
    # Packages may have brought other owners, and a file that nobody reads.
    right = {"openstack_host": {"wrong_rights": [], "leftovers": []}}
    assert act("config_rights", right, {}, directories=[])[1] is None
    assert act("config_rights", {**right, **after(result)}, {}, directories=[])[1] == {"directories": [], "installed": ["x"]}
    assert act("leftover_files", right, {}, paths=["/x"])[1] is None
    assert act("leftover_files", {**right, **after(result)}, {}, paths=["/x"])[1] == {"paths": ["/x"]}
    assert act("leftover_files", {"openstack_host": {"leftovers": ["/x"]}}, {}, paths=["/x", "/y"])[1] is not None
    assert act("leftover_files", {}, {}, paths=["/x"])[1] is not None


def test_a_file_that_says_nothing_is_written_where_it_once_said_something(act):
    policy = {"path": "/etc/nova/policy.d/50-kilonova.yaml", "template": "policy.yaml.j2", "optional": "rules"}
    policy["variables"] = {"variable": "nova_controller_policy", "rules": {}}
    never, once = (
        {"openstack_host": {"files": files}} for files in ({}, {policy["path"]: ["of other rules", "root", "root", "0644"]})
    )
    assert act("config_files", never, {}, files=[policy])[1] is None
    assert [entry["path"] for entry in act("config_files", once, {}, files=[policy])[1]["files"]] == [policy["path"]]
    policy["variables"]["rules"] = {"a": "@"}
    assert act("config_files", never, {}, files=[policy])[1] is not None


def test_a_unit_restarts_for_rules_that_come_change_and_go_and_for_none_that_never_were(act):
    path = "/etc/nova/policy.d/50-kilonova.yaml"
    policy = {"path": path, "template": "policy.yaml.j2", "optional": "rules"}
    conf = {"path": "/etc/nova/nova.conf", "layers": {"x": {"DEFAULT": {"debug": True}}}}
    units = [{"name": "nova-api", "reads": ["/etc/nova/nova.conf", path]}, {"name": "placement-api"}]

    def digests(rules, written):
        files = [conf, {**policy, "variables": {"variable": "p", "rules": rules}}]
        host = {"openstack_host": {"files": {name: ["", "root", "root", "0644"] for name in written}}}
        found = act("service_units", host, {}, units=units, files=files)[1]["units"]
        assert found[0]["digests"] == found[1]["digests"]
        return found[0]["digests"].get(path)

    assert digests({}, []) is None
    one, other, none = digests({"a": "@"}, []), digests({"a": "!"}, [path]), digests({}, [path])
    assert None not in (one, other, none)
    assert len({str(digest) for digest in (one, other, none)}) == 3


def test_only_units_with_queues_need_a_login_to_the_message_queue(act):
    host = {"openstack_host": {"services": {"busy": [], "current": {"a": {}}}}}
    units = [{"name": "a"}, {"name": "b", "queues": ["q"]}]
    assert act("service_units", host, {}, units=units[:1])[1] is None
    _result, asked = act("service_units", host, {}, units=units)
    assert asked["queue"] == {"host": "10.0.0.90"}
    assert (asked["timeout"], asked["settle"], asked["pending"]) == (5, 1, [])
    _result, asked = act("service_units", host, {}, units=[{"name": "c"}])
    assert "queue" not in asked
    _result, asked = act("service_units", {**host, "openstack_rabbit_is_external": False}, {}, units=units)
    assert "queue" not in asked


def test_what_was_started_without_waiting_is_asked_later(act):
    pending = [{"name": "a", "answers": None, "invocation": None}]
    result, _asked = act("service_units", {}, {"changed": True, "pending": pending}, units=[{"name": "a"}])
    assert act("service_units", after(result), {}, wait_for_pending=True)[1]["units"] == pending
    assert act("service_units", {}, {}, wait_for_pending=True)[1] is None


@pytest.mark.parametrize(("clock", "ahead"), [(1000, 0), (1029, 0), (1030, 0), (1031.5, 1.5), (999, -1), (1090, 60)])
def test_a_clock_is_wrong_only_by_what_the_way_of_the_question_does_not_explain(act, monkeypatch, clock, ahead):
    """A host that is busy answers late; here it takes half a minute."""
    times = iter([1000.0, 1030.0])
    monkeypatch.setattr("time.time", lambda: next(times))
    result, _sent = act("host_facts", {}, {"host": {"clock": clock}}, migration="/m")
    assert result["host"] == {"clock_ahead": ahead}
