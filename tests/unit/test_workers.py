"""Tasks that need no host run in Ansible's own process, and nothing else is another than with workers."""

import re
import textwrap

import yaml
from harness import ansible_playbook

from kilonova.run import workers

# An instrument that notes which process decides, and its module, which notes that it has run.
ACTION = """
import os
from kilonova.run.instrument import Instrument

class ActionModule(Instrument):
    def must_ask(self, arguments):
        with open(arguments["notes"], "a") as notes:
            notes.write(f"decided by {os.getpid()}\\n")
        if arguments.get("wrong"):
            raise ValueError("a wrong value; write another")
        return arguments["ask"]
"""
MODULE = """
from ansible.module_utils.basic import AnsibleModule

module = AnsibleModule({"notes": {}, "ask": {"type": "bool"}})
with open(module.params["notes"], "a") as notes:
    notes.write("ran\\n")
module.exit_json(changed=True, actions=["noted"])
"""


def play(directory, tasks, answered_here=True, hosts=("one",)):
    """Run tasks on hosts that are this machine; returns the process and what it printed."""
    for folder, text in (("action_plugins", ACTION), ("library", MODULE)):
        (directory / folder).mkdir(exist_ok=True)
        (directory / folder / "noting.py").write_text(text)
    plays = [{"hosts": "all", "vars": {"list": [1, 2]}, "tasks": tasks}]
    return ansible_playbook(directory, plays, hosts, callbacks=answered_here)


def test_a_task_that_needs_no_host_runs_in_ansibles_own_process(tmp_path):
    notes = tmp_path / "notes"
    process, said = play(tmp_path, [{"noting": {"notes": str(notes), "ask": False}}])
    assert process.returncode == 0, said
    assert notes.read_text().splitlines() == [f"decided by {process.pid}"]


def test_a_task_that_needs_its_host_is_run_once_by_a_worker(tmp_path):
    notes = tmp_path / "notes"
    process, said = play(tmp_path, [{"noting": {"notes": str(notes), "ask": True}, "register": "told"}])
    assert process.returncode == 0, said
    here, there, ran = notes.read_text().splitlines()
    assert here == f"decided by {process.pid}" != there
    assert ran == "ran"
    assert "changed=1" in said


def test_the_items_of_a_loop_have_a_worker(tmp_path):
    notes = tmp_path / "notes"
    process, said = play(tmp_path, [{"noting": {"notes": str(notes), "ask": False}, "loop": [1, 2]}])
    assert process.returncode == 0, said
    assert len(notes.read_text().splitlines()) == 2
    assert str(process.pid) not in notes.read_text()


def test_a_plugin_that_ends_its_process_ends_a_worker(tmp_path):
    """And not Ansible, which says so as it always did."""
    (tmp_path / "filter_plugins").mkdir()
    source = "import sys\nclass FilterModule:\n    def filters(self):\n        return {'end': lambda value: sys.exit(3)}\n"
    (tmp_path / "filter_plugins" / "end.py").write_text(source)
    _process, said = play(tmp_path, [{"debug": {"msg": "{{ 'x' | end }}"}, "ignore_errors": True}])
    assert "A worker was found in a dead state" in said


def test_what_waits_has_a_worker(tmp_path):
    notes = tmp_path / "notes"
    waiting = {"register": "told", "until": "told.changed", "retries": 2, "delay": 0}
    process, said = play(tmp_path, [{"noting": {"notes": str(notes), "ask": True}, **waiting}])
    assert process.returncode == 0, said
    assert f"decided by {process.pid}" not in notes.read_text()
    assert notes.read_text().count("ran") == 1


def test_a_wrong_argument_fails_here_with_its_message(tmp_path):
    process, said = play(tmp_path, [{"noting": {"notes": str(tmp_path / "notes"), "ask": True, "wrong": True}}])
    assert process.returncode == 2
    assert "a wrong value; write another" in said
    assert "ran" not in (tmp_path / "notes").read_text()


# What is ignored is compared as well: what a task that failed has registered, and that the run goes on.
TASKS = yaml.safe_load(
    textwrap.dedent("""
    - set_fact: {word: "{{ inventory_hostname }}-{{ list | join('-') }}"}
    - debug: {msg: "{{ word }} {{ item }}"}
      loop: "{{ list }}"
    - debug: {var: list}
      when: word is search('two')
    - assert: {that: ["word is search('one')"], quiet: true}
      ignore_errors: true
      register: tried
    - set_fact: {word: "{{ tried.failed }} {{ tried.msg }}"}
      delegate_to: localhost
      run_once: true
    - debug: {msg: "{{ word }} on {{ hostvars.two.word }}"}
    - debug: {msg: "{{ lookup('pipe', 'echo hidden') }}"}
      no_log: true
    - debug: {msg: "{{ nowhere }}"}
      ignore_errors: true
    - block:
        - fail: {msg: "refused: {{ word }}"}
      rescue:
        - debug: {msg: "{{ ansible_failed_task.name }} {{ ansible_failed_result.msg }}"}
      always:
        - command: echo {{ word | quote }}
          register: echoed
          changed_when: echoed.stdout == 'no'
    - include_tasks: more.yml
      vars: {given: "{{ word }}"}
    - noting: {notes: /dev/null, ask: false}
      loop: [1, 2]
    - noting: {notes: /dev/null, ask: "{{ item == 2 }}"}
      loop: [1, 2]
    - assert: {that: "false", fail_msg: "the end of {{ inventory_hostname }}"}
      when: inventory_hostname == 'two'
    - debug: {msg: "after it"}
    """)
)


def test_results_are_those_of_workers(tmp_path):
    (tmp_path / "more.yml").write_text("- debug: {msg: '{{ given }}'}\n- set_fact: {word: '{{ given }}!'}\n")
    said = {}
    for answered_here in (True, False):
        process, text = play(tmp_path, TASKS, answered_here, ("one", "two"))
        assert process.returncode == 2, text
        # Workers of several hosts end in any order; what `stages` prints stands behind the recap.
        text = text.replace(" for two, one", " for one, two")
        said[answered_here] = sorted(re.sub(r"\*+", "", text.partition("\nSTAGES")[0]).strip().splitlines())
        assert ("\nSTAGES" in text) == answered_here
    assert said[True] == said[False]


def test_an_ansible_core_that_does_not_fit_keeps_its_workers(monkeypatch):
    """As from 2.21 on, whose executor gets no task."""

    class Executor:
        def __init__(self, host, play_context, loader, shared_loader_obj, final_q, variable_manager): ...

    own = workers.worker.WorkerProcess
    monkeypatch.setattr(workers.strategy, "WorkerProcess", own)
    with monkeypatch.context() as other:
        other.setattr(workers, "TaskExecutor", Executor)
        assert not workers.install()
        assert workers.strategy.WorkerProcess is own
    assert workers.install()
    assert workers.strategy.WorkerProcess is workers.Worker


def test_what_is_answered_here():
    assert workers.may_need_no_host("ansible.builtin.assert")
    assert not workers.may_need_no_host("ansible.builtin.command")
    assert not workers.may_need_no_host("ansible.builtin.copy")
    assert not workers.may_need_no_host("wait_for_connection")
