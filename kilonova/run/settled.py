"""Whether anything is left to do, seen before the tasks are run.

A task costs Ansible 20 ms for each host, even one that asks no host and finds nothing to do. So when all hosts have reported,
the action `ask_ahead` goes through all tasks that the run still has, with Ansible's own executor, on each host, in their order.
What a task would ask the controller is a question (ahead.py), whose answer is supposed to be that all is as it should be. Any
other task that would ask its host, change something, fail, or is of a kind that is not known here may have something to do: then
only the questions of later tasks are of use. If the controller gives those answers, the plays before that task would do nothing,
and of them only those that show something are run.

What tasks say to later ones (results, facts) is known on the way, and to the run where their plays are left out. What a
question's task would register is not: a task that needs it fails here, and so has something to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from ansible.executor import task_result
from ansible.playbook.block import Block
from ansible.playbook.included_file import IncludedFile

from kilonova.run import ahead, answers, rendered, workers
from kilonova.run.instrument import OnceARun

# Of Ansible's own `meta`, what does nothing where nothing was changed.
NOTHING = ("flush_handlers", "noop", "role_complete")
SHOWS = ("debug", "ansible.builtin.debug")


@dataclass
class Seen:
    """What was seen on the way. A play is known by its place among those that are left."""

    questions: list[tuple[int, Any, ahead.Question]] = field(default_factory=list)
    """What tasks would ask the host that is asked: (play, task, question)."""
    quiet: int = 0
    """How many plays come before the first task that may have something to do; all of them, if there is none."""
    first: str = ""
    """That task, for people."""
    wanted: set[int] = field(default_factory=set)
    """Plays that show something, or keep what the host answers (`register`)."""
    said: list[tuple[int, Callable[..., None], str, dict[str, Any]]] = field(default_factory=list)
    """What tasks say to later ones: (play, how it is kept, host, variables)."""


def look(asked: str, names: list[str], plugin: Any) -> Seen:
    """Go through all tasks that the run has still to do on these hosts; `asked` is the one that will be asked."""
    seen = Seen(first="something was changed" if ahead.Run.changed else "")
    manager = ahead.Run.play.get_variable_manager()
    with rendered.unchanged(), _nothing_kept(manager):
        for number, play in enumerate(ahead.coming_plays()):
            # It is restricted to the hosts of the play that is being run.
            # Ansible resolves it when the play begins: groups that an inventory need not have are named by a template.
            pattern = plugin._templar.template(play.hosts)
            found = {host.name for host in manager._inventory.get_hosts(pattern, ignore_restrictions=True)}
            hosts = [manager._inventory.get_host(name) for name in names if name in found]
            if others := sorted(found.difference(names)):
                seen.first = seen.first or f"{others[0]}: {play.get_name()}"
            if hosts:
                _Way(number, play, hosts, asked, plugin, seen).through(play.compile(), hosts)
            if not seen.first:
                seen.quiet = number + 1
    return seen


def leave_out(seen: Seen, quiet: int) -> set[str]:
    """Return the unique IDs of the plays to leave out, of the first `quiet` ones, and keep what their tasks would have said."""
    plays = ahead.coming_plays()[:quiet]
    out = set(range(len(plays))) - seen.wanted
    for play, keep, host, variables in seen.said:
        if play in out:
            keep(host, variables)
    return {plays[number]._uuid for number in out}


@contextlib.contextmanager
def _nothing_kept(manager: Any) -> Iterator[None]:
    """Within it, facts and results of tasks are kept; not afterwards."""
    results, facts = manager._nonpersistent_fact_cache, manager._fact_cache
    results_before = {name: dict(results[name]) for name in results}
    facts_before = {name: dict(facts.get(name)) for name in set(facts.keys())}
    try:
        yield
    finally:
        results.clear()
        results.update(results_before)
        for name in set(facts.keys()) - facts_before.keys():
            facts.delete(name)
        for name, known in facts_before.items():
            facts.set(name, known)


@dataclass
class _Way:
    """The way through a play."""

    number: int
    play: Any
    hosts: list[Any]
    asked: str
    plugin: Any
    seen: Seen

    @property
    def manager(self) -> Any:
        return self.play.get_variable_manager()

    def through(self, blocks: list[Any], hosts: list[Any]) -> None:
        """Go through the tasks of blocks, each on all hosts."""
        variables = self.manager.get_vars(play=self.play, host=hosts[0])
        for block in blocks:
            for task in _tasks(block.filter_tagged_tasks(variables)):
                for host in hosts[:1] if task.run_once else hosts:
                    # Once something may be left, only questions are of use.
                    if not self.seen.first or (task.action in ahead.ASKED and host.name == self.asked):
                        self.task(task, host)

    def task(self, task: Any, host: Any) -> None:
        """Go through a task on a host."""
        if task.action in ("meta", "ansible.builtin.meta"):
            if task.args.get("_raw_params") not in NOTHING:
                self.left(task, host)
            return
        if task.until or task.retries or task.async_val:  # it waits
            self.left(task, host)
            return
        variables = self.manager.get_vars(play=self.play, host=host, task=task)
        result, ran, question = workers.result_without_host(host, self.play, task, variables, self.plugin)
        if question is not None and host.name == self.asked and question.module in ahead.ASKED and task.loop is None:
            self.seen.questions.append((self.number, task, question))
            self.suppose(task, question, host)
            if task.register:
                self.seen.wanted.add(self.number)
        elif result is None or any(result.get(key) for key in ("changed", "failed", "unreachable")):
            self.left(task, host)
        elif task.action in workers.INCLUDES:
            self.included(task, ran, host, result)
        else:
            if task.action in SHOWS and not result.get("skipped"):
                self.seen.wanted.add(self.number)
            self.keep(task, host, result)

    def left(self, task: Any, host: Any) -> None:
        """A task may have something to do."""
        self.seen.first = self.seen.first or f"{host.name}: {task.get_name()}"

    def suppose(self, task: Any, question: ahead.Question, host: Any) -> None:
        """Keep what a run would know of the host, if the answer is that all is as it should be (ahead.is_settled)."""
        kind = self.plugin._shared_loader_obj.action_loader.get(task.action, class_only=True)
        if isinstance(kind, type) and issubclass(kind, OnceARun):
            done = answers.done(self.manager.get_vars(play=self.play, host=host))
            names = {one[kind.NAME] for one in question.arguments[kind.OPTION]} | set(done.get(kind.KEPT, ()))
            self.say(self.manager.set_host_facts, host.name, {answers.RUN: {**done, kind.KEPT: sorted(names)}})

    def keep(self, task: Any, host: Any, result: dict[str, Any]) -> None:
        """Keep what a task says to later ones."""
        of_task, of_host = self.manager.set_nonpersistent_facts, self.manager.set_host_facts
        for name in [one.name for one in self.hosts] if task.run_once else [host.name]:
            for one in result.get("results", [result]) if task.loop is not None else [result]:
                if found := one.get("ansible_facts"):
                    self.say(of_task if task.action in workers.SET_FACT else of_host, name, dict(found))
            if task.register:
                self.say(of_task, name, {task.register: result})

    def say(self, keep: Callable[..., None], host: str, variables: dict[str, Any]) -> None:
        """Keep variables of a host."""
        keep(host, variables)
        rendered.changed()
        self.seen.said.append((self.number, keep, host, variables))

    def included(self, task: Any, ran: Any, host: Any, result: dict[str, Any]) -> None:
        """Go through the tasks of the roles that a task includes."""
        raw = task_result._RawTaskResult(host=host, task=ran, return_data=result, task_fields=ran.dump_attrs())
        loader = self.plugin._loader
        for included in IncludedFile.process_include_results([raw], SimpleNamespace(_play=self.play), loader, self.manager):
            if not included._is_role:
                self.left(task, host)
                continue
            role = included._task.copy(exclude_parent=True)
            role._parent = included._task._parent
            role.vars = role.vars | included._vars
            blocks, _handlers = role.get_block_list(play=self.play, variable_manager=self.manager, loader=loader)
            self.through(blocks, [host])


def _tasks(block: Block) -> Iterator[Any]:
    """The tasks of a block that are run where none fails."""
    for one in [*block.block, *block.always]:
        if isinstance(one, Block):
            yield from _tasks(one)
        else:
            yield one
