"""Where nothing is left to do on any host, the rest of a run is left out; where something may be, all of it is run."""

import pytest
from harness import ansible_playbook

REPORT = {"set_fact": {"openstack_host": {"files": {"/etc/x": []}}}, "tags": ["always"]}
LOOK = {"name": "Look", "ask_ahead": {}, "run_once": True}


@pytest.fixture
def run(tmp_path):
    """Run plays on this machine, the first of which looks whether the others have anything to do; returns what was printed."""

    def done(*plays, hosts=("one", "two"), arguments=(), first=(), more_plays=(), **more):
        every = [
            {"hosts": "all", "tasks": [REPORT, *first, LOOK]},
            *({"hosts": "all", "tasks": tasks, **more} for tasks in plays),
            *more_plays,
        ]
        return ansible_playbook(tmp_path, every, hosts, ["-v", *arguments])[1]

    return done


def say(text, **more):
    return {"name": f"Say {text}", "debug": {"msg": text}, **more}


def agree(name, **more):
    return {"name": f"Agree {name}", "assert": {"that": "1 == 1", "quiet": True}, **more}


def test_what_would_do_nothing_is_left_out(run):
    said = run([agree("a")], [agree("b", when="inventory_hostname == 'two'"), {"set_fact": {"made": 1}}])
    assert "nothing is left to do on any host" in said
    assert "Agree a" not in said and "Agree b" not in said
    assert "ok=2 " in said and "failed=0" in said


def test_what_comes_before_the_first_that_may_do_something_is_left_out(run):
    made = {"set_fact": {"made": "{{ inventory_hostname }}"}}
    said = run([made], [say("a")], [agree("b")], [{"name": "Act", "command": "true"}, say("{{ made }}")], [agree("c")])
    assert "first one: Act" in said and "failed=0" in said
    assert "Agree b" not in said and "Say a" in said and "Agree c" in said and '"msg": "two"' in said


def test_what_is_shown_is_shown(run):
    """A play of the operator's own may do nothing else."""
    said = run([agree("a")], [agree("b"), say("b", when="inventory_hostname == 'two'")], [say("c", when="false")])
    assert "nothing is left to do on any host" in said
    assert "Agree a" not in said and "Say c" not in said
    assert "Agree b" in said and "Say b" in said


def test_a_play_on_other_hosts_is_no_business_of_this(run):
    plays = {"hosts": "localhost", "tasks": [agree("there")]}
    said = run([agree("a")], more_plays=[plays])
    assert "first localhost: " in said and "Agree a" not in said and "Agree there" in said


@pytest.mark.parametrize(
    ("task", "left"),
    [
        ({"name": "Act", "command": "true"}, "two: Act"),
        ({"name": "Act", "command": "true", "changed_when": False}, "two: Act"),
        ({"name": "Act", "assert": {"that": "1 == 2"}, "ignore_errors": True}, "two: Act"),
        ({"name": "Act", "meta": "clear_facts"}, "one: Act"),
        ({"name": "Act", "debug": {"msg": "x"}, "changed_when": True}, "two: Act"),
        ({"name": "Act", "pause": {"seconds": 0}}, "one: Act"),
    ],
)
def test_what_may_do_something_is_run_with_all_the_rest(run, task, left):
    when = {} if left.startswith("one") else {"when": "inventory_hostname == 'two'"}
    said = run([agree("a")], [{**task, **when}], [agree("b")])
    assert f"something may be left to do, first {left}" in said
    assert "Agree a" not in said and "Act" in said and "Agree b" in said


def test_results_and_facts_are_those_of_the_tasks(run):
    tasks = [
        {"set_fact": {"made": "{{ inventory_hostname }}"}},
        {"name": "Keep", "debug": {"msg": "{{ made }}"}, "register": "kept"},
        {"name": "Look at it", "assert": {"that": ["kept.msg == inventory_hostname", "hostvars.two.made == 'two'"]}},
    ]
    assert "nothing is left to do" in run(tasks)
    tasks[-1]["assert"]["that"] = "kept.msg == 'one'"
    said = run(tasks)
    assert "first two: Look at it" in said and "failed=1" in said


def test_what_was_only_gone_through_leaves_nothing(run):
    made = {"set_fact": {"made": True}}
    said = run([{"assert": {"that": "made is not defined"}}, made], [{"name": "Act", "command": "true"}])
    assert "first one: Act" in said and "failed=0" in said


def test_only_tasks_with_the_runs_tags_count(run):
    first, act = [{"debug": {}, "tags": ["always"]}], {"name": "Act", "command": "true", "tags": ["other"]}
    LOOK_ALWAYS = {**LOOK, "tags": ["always"]}
    said = run([agree("a", tags=["this"]), act], first=[*first, LOOK_ALWAYS], arguments=["--tags", "this"])
    assert "nothing is left to do" in said and "Act" not in said and "Agree a" not in said


def test_roles_that_are_included_are_gone_through(run, tmp_path):
    for name, tasks in (("quiet", "- debug: {msg: in the role}"), ("busy", "- name: Act in the role\n  command: 'true'")):
        (tmp_path / "roles" / name / "tasks").mkdir(parents=True)
        (tmp_path / "roles" / name / "tasks" / "main.yml").write_text(tasks + "\n")
    include = {"name": "Include", "include_role": {"name": "{{ item }}"}}
    assert "nothing is left to do" in run([{**include, "loop": ["quiet"]}])
    assert "first one: busy : Act in the role" in run([{**include, "loop": ["quiet", "busy"]}])
    assert "nothing is left to do" in run([{**include, "loop": ["busy"], "when": "false"}])


def test_a_host_that_is_down_or_something_changed_leaves_all_to_the_tasks(run):
    lost = {"fail": {"msg": "x"}, "when": "inventory_hostname == 'two'"}
    assert "first two: is down" in run([say("a")], first=[lost])
    changed = run([say("a")], first=[{"command": "true"}])
    assert "first something was changed" in changed and "Say a" in changed


def test_a_limit_leaves_other_hosts_out(run):
    act = {"name": "Act", "command": "true", "when": "inventory_hostname == 'two'"}
    said = run([agree("a")], [act], arguments=["--limit", "one"])
    assert "nothing is left to do" in said
