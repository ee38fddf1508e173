"""What later tasks would ask a host is asked at once; nothing is believed that may no longer be true."""

import ast

import pytest
from harness import LIBRARY, Exit, Module, ansible_playbook, load

from kilonova.run import ahead

# One of ahead.ASKED, with a module that notes each of its runs, and says what its arguments say.
ASKED = "schema_sync"
MODULE = """
import os
from ansible.module_utils.basic import AnsibleModule

if __name__ == "__main__":
    said, secret, ends = {"type": "dict", "default": {}}, {"no_log": True}, {"default": "well"}
    options = {"notes": {}, "name": {}, "said": said, "secret": secret, "ends": ends}
    module = AnsibleModule(options, supports_check_mode=True)
    p = module.params
    with open(p["notes"], "a") as notes:
        notes.write("%s%s\\n" % (p["name"], " in check mode" if module.check_mode else ""))
    if p["ends"] == "at once":
        os._exit(0)
    if p["ends"] == "badly":
        raise RuntimeError("a fault")
    warnings = p["said"].pop("warnings", [])
    for warning in warnings:
        module.warn(warning)
    module.exit_json(**{"changed": False, "actions": [], "secret": p["secret"], **p["said"]})
"""
# Changes something, as far as Ansible knows.
CHANGE = {"name": "Change", "command": "true"}
SHOW = {"debug": {"msg": "it said {{ told }}"}}


@pytest.fixture
def run(tmp_path):
    """Run plays on this machine, of which the first asks ahead; returns what the module noted and what was printed."""

    def done(*plays, arguments=(), reported=None, callbacks=True):
        (tmp_path / "library").mkdir(exist_ok=True)
        (tmp_path / "library" / f"{ASKED}.py").write_text(MODULE)
        notes = tmp_path / "notes"
        notes.write_text("")
        report = {"openstack_host": {"files": {"/etc/x": []} if reported is None else reported}}
        first = [{"set_fact": report, "tags": ["always"]}, {"name": "Ask ahead", "ask_ahead": {}, "tags": ["always"]}]
        plays = [{"hosts": "one", "vars": {"notes": str(notes)}, "tasks": tasks} for tasks in (first, *plays)]
        _process, said = ansible_playbook(tmp_path, plays, ("one", "two"), arguments, callbacks)
        return notes.read_text().splitlines(), said

    return done


def ask(name, **more):
    """A task that asks."""
    keywords = {key: more.pop(key) for key in ("when", "tags", "vars", "delegate_to", "loop", "ignore_errors") if key in more}
    return {"name": f"Ask {name}", ASKED: {"notes": "{{ notes }}", "name": name, **more}, "register": "told", **keywords}


def test_what_is_right_is_asked_once(run):
    notes, said = run([ask("a", said={"found": 1}), SHOW], [ask("{{ b }}", vars={"b": "b"}), ask("c", secret="s3cret"), SHOW])
    assert sorted(notes) == ["a in check mode", "b in check mode", "c in check mode"], said
    assert "it said" in said
    assert "'found': 1" in said or '"found": 1' in said
    assert "s3cret" not in said
    assert "failed=0" in said


@pytest.mark.parametrize(
    "said",
    [
        {"changed": True, "actions": ["create x"]},
        {"warnings": ["it cannot be asked"]},
        {"failed": True, "msg": "it failed"},
        {"unsettled": ["nova"]},
    ],
    ids=lambda said: next(iter(said)),
)
def test_what_is_not_right_is_asked_in_its_time(run, said):
    notes, _said = run([ask("a", said=said)])
    assert notes == ["a in check mode", "a"]


@pytest.mark.parametrize("ends", ["at once", "badly"])
def test_a_module_without_a_result_has_no_answer(run, ends):
    notes, said = run([ask("a", ends=ends)], [ask("b")])
    assert sorted(notes) == ["a", "a in check mode", "b in check mode"], said


def test_after_a_change_nothing_is_believed(run):
    notes, _said = run([ask("a")], [CHANGE, ask("b")])
    assert sorted(notes) == ["a in check mode", "b", "b in check mode"]


def test_after_a_failure_nothing_is_believed(run):
    notes, _said = run([{"command": "false", "ignore_errors": True}, ask("a")])
    assert notes == ["a in check mode", "a"]


def test_other_arguments_are_another_question(run):
    """Here a result that is known only later."""
    told = {"command": "echo y", "changed_when": False, "register": "late"}
    notes, _said = run([told, ask("{{ late.stdout | default('x') }}")])
    assert notes == ["x in check mode", "y"]


def test_facts_of_later_tasks_are_known(run):
    notes, _said = run([{"set_fact": {"late": "y"}}, ask("{{ late | default('x') }}")])
    assert notes == ["y in check mode"]


def test_what_is_not_run_is_not_asked(run):
    this = {"tags": ["this"]}
    notes, said = run(
        [
            ask("here", delegate_to="one", **this),
            ask("skipped", when="inventory_hostname == 'two'", **this),
            ask("other tag", tags=["other"]),
            ask("elsewhere", delegate_to="two", **this),
            ask("unknown", when="nowhere.found", ignore_errors=True, **this),
        ],
        arguments=["--tags", "this"],
    )
    assert notes == ["here in check mode", "elsewhere"], said


def test_a_loop_asks_for_itself(run):
    notes, _said = run([ask("{{ item }}", loop=["a", "b"])])
    assert [note for note in notes if note in ("a", "b")] == ["a", "b"]


def test_a_host_of_which_nothing_is_known_is_not_asked(run):
    assert run([ask("a")], reported={})[0] == ["a"]


def test_a_plan_asks_ahead_too(run):
    assert run([ask("a")], arguments=["--check"])[0] == ["a in check mode"]


def test_without_our_workers_each_task_asks(run):
    assert run([ask("a")], callbacks=False)[0] == ["a"]


def test_questions_say_nothing_of_passwords():
    question = ahead.Question("schema_sync", {"password": "guess me"})
    assert "guess" not in question.digest
    assert question.digest != ahead.Question("schema_sync", {"password": "guess you"}).digest
    assert question.digest != ahead.Question("nova_databases", {"password": "guess me"}).digest


def test_the_modules_are_sent_with_all_that_they_import():
    """Ansible sends what the module ask_ahead imports; theirs is only a text to it."""

    def imported(name):
        for node in ast.walk(ast.parse((LIBRARY / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("ansible.module_utils.kilonova"):
                below = node.module.removeprefix("ansible.module_utils.kilonova").lstrip(".")
                yield from [below] if below else [alias.name for alias in node.names]

    missing = {name: sorted(set(imported(name)) - set(imported("ask_ahead"))) for name in ahead.ASKED}
    assert {name: names for name, names in missing.items() if names} == {}


def test_what_does_not_end_is_killed_and_the_others_have_their_answers(monkeypatch):
    code = load("ask_ahead")
    prints = """import os; os.write(1, b'{"changed": false, "invocation": {}}')"""
    sources = {"never": "import time; time.sleep(600)", "well": prints, "mute": "pass"}
    same = {"arguments": {}, "compares": True}
    questions = [{"digest": name, "name": name, "source": text, **same} for name, text in sources.items()]
    monkeypatch.setattr(Module, "arguments", {"questions": questions, "timeout": 2})
    monkeypatch.setattr(code, "AnsibleModule", Module)
    monkeypatch.setattr(code.basic, "_load_params", lambda: {"questions": questions, "_ansible_check_mode": False})
    with pytest.raises(Exit) as ended:
        code.main()
    assert ended.value.args[0]["answers"] == {"well": {"changed": False}}
