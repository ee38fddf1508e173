"""What needs no host is answered by the process that Ansible runs in, without a worker.

Ansible makes a worker process for each task on each host. Most tasks of a run that has nothing to change ask no host at all
(instrument.py), and what a worker loads and compiles is gone with it. So such a task is first run here, as far as it gets without
its host. If it then asks the host, or is of another kind, a worker runs it as always, from its beginning: an instrument changes
nothing before it asks.

What the host was asked ahead (ahead.py) needs it no more, whatever the kind of the task.

Strategies, results and callbacks stay Ansible's own. With an ansible-core that this does not fit, each task has its worker. Where
a task asks its host, its arguments are resolved twice.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

from ansible.executor import task_result
from ansible.executor.process import worker
from ansible.executor.task_executor import TaskExecutor
from ansible.playbook.play_context import PlayContext
from ansible.plugins import loader, strategy
from ansible.plugins.action import ActionBase

from kilonova.run import ahead, rendered
from kilonova.run.instrument import Instrument

# Ansible's own actions that ask no host and change nothing outside of the process.
OF_ANSIBLE = ("assert", "debug", "fail", "include_role", "include_tasks", "set_fact", "validate_argument_spec")
INCLUDES = ("include_role", "ansible.builtin.include_role", "include_tasks", "ansible.builtin.include_tasks")
SET_FACT = ("set_fact", "ansible.builtin.set_fact")
# How an instrument asks where nothing is put in its place: there may be two of these, one in the other.
ASK = Instrument.ask
# What an executor is told (Worker._executor), in ansible-core 2.19 and 2.20.
_TOLD = {"host", "task", "job_vars", "play_context", "loader", "shared_loader_obj", "final_q", "variable_manager"}


def install() -> bool:
    """Let the strategies of this process use the workers of this module; returns whether this ansible-core fits them."""
    fits = hasattr(worker, "_task") and set(inspect.signature(TaskExecutor).parameters) == _TOLD
    if fits and getattr(strategy, "WorkerProcess", None) is worker.WorkerProcess:
        strategy.WorkerProcess = Worker
    return fits


def are_installed() -> bool:
    """Whether this run has the workers of this module. Mitogen's actions reach hosts in ways of their own."""
    return strategy.WorkerProcess is Worker and "ansible_mitogen" not in sys.modules


class _NeedsHost(BaseException):
    """A task asks its host. Not an Exception, which the executor would take for the task's failure."""

    question: ahead.Question | None = None


def _needs_host(*_arguments: Any, **_options: Any) -> Any:
    raise _NeedsHost


@contextlib.contextmanager
def _without_hosts(host: str, may_know: Callable[[str], bool], answer: Callable[[ahead.Question], Any]) -> Iterator[None]:
    """Within it, an action that asks its host raises _NeedsHost, unless there is an `answer` (`may_know`: to a module's)."""

    def execute(self: ActionBase, module_name: str | None = None, module_args: Any = None, **_options: Any) -> dict[str, Any]:
        asks = _NeedsHost()
        asks.question = ahead.Question(module_name or self._task.action, self._task.args if module_args is None else module_args)
        said = answer(asks.question) if self._task.delegate_to in (None, host) else None
        if said is None:
            raise asks
        return said

    def ask(self: Instrument, arguments: dict[str, Any]) -> dict[str, Any]:
        # Its arguments are only made if they are of use.
        return ASK(self, arguments) if may_know(self._task.action) else _needs_host()

    ways = {
        (ActionBase, "_execute_module"): execute,
        (ActionBase, "_low_level_execute_command"): _needs_host,
        (ActionBase, "_make_tmp_path"): _needs_host,
        (Instrument, "ask"): ask,
    }
    before = {way: getattr(*way) for way in ways}
    for way, instead in ways.items():
        setattr(*way, instead)
    try:
        yield
    finally:
        for way, method in before.items():
            setattr(*way, method)


@functools.cache
def may_need_no_host(action: str) -> bool:
    """Whether an action may need no host, and changes nothing before it asks one."""
    if action.removeprefix("ansible.builtin.") in OF_ANSIBLE:
        return True
    found = loader.action_loader.get(action, class_only=True)
    if not isinstance(found, type):
        return False
    return getattr(found, "ASKS_NO_HOST", False) or (issubclass(found, Instrument) and found.must_ask is not Instrument.must_ask)


def _copied(task: Any) -> Any:
    """A task that its executor may change, which in a process of its own is a copy."""
    parent, task = task._parent, task.copy(exclude_parent=True)
    task._parent = parent
    return task


class _Nobody:
    """Who is told nothing of the results of a loop, and of callbacks of actions."""

    def send_task_result(self, *_result: Any, **_more: Any) -> None:
        """Nothing."""

    def send_callback(self, *_callback: Any, **_more: Any) -> None:
        """Nothing."""


class _Known(TaskExecutor):
    """Runs no action that is not known to change nothing before it asks a host."""

    def _get_action_handler_with_module_context(self, templar: Any) -> Any:
        if not (may_need_no_host(self._task.action) or self._task.action in ahead.ASKED):
            _needs_host()
        return super()._get_action_handler_with_module_context(templar)


def result_without_host(
    host: Any, play: Any, task: Any, variables: dict[str, Any], plugin: ActionBase
) -> tuple[dict[str, Any] | None, Any, ahead.Question | None]:
    """Return what a task of a later play says without its host; the task as it was run; what it would ask its host.

    Without a result it needs the host; without a question, another host, or in a way that is not known. `plugin` is the action
    that wants to know it.
    """
    task = _copied(task)
    executor = _Known(
        host=host,
        task=task,
        job_vars=variables,
        play_context=PlayContext(play),
        loader=plugin._loader,
        shared_loader_obj=plugin._shared_loader_obj,
        final_q=_Nobody(),
        variable_manager=play.get_variable_manager(),
    )
    try:
        with (
            _without_hosts(host.name, lambda module: module in ahead.ASKED, lambda _question: None),
            worker._task.TaskContext(task),
        ):
            return executor.run(), task, None
    except _NeedsHost as asks:
        return None, task, asks.question if task.delegate_to in (None, host.name) else None


class Worker(worker.WorkerProcess):
    """A worker that is only started for a task that needs its host."""

    def start(self) -> None:
        """Run the task here, or start the process."""
        task = self._task
        # What waits would let the other hosts wait; results of a loop are sent one by one, before it is known that none of them
        # needs its host.
        waits = task.retries or task.until or task.loop is not None or task.async_val or task.timeout
        may_know = functools.partial(ahead.knows, variables=self._task_vars)
        if waits or not are_installed() or not (may_know(task.action) or may_need_no_host(task.action)):
            return super().start()
        task = _copied(task)
        answer = functools.partial(ahead.answer, variables=self._task_vars)
        try:
            with rendered.unchanged(), _without_hosts(self._host.name, may_know, answer), worker._task.TaskContext(task):
                result = self._executor(task).run()
            # Nothing is sent before it is pickled.
            return self._final_q.send_task_result(
                task_result._RawTaskResult(host=self._host, task=task, return_data=result, task_fields=task.dump_attrs())
            )
        except (_NeedsHost, SystemExit, Exception):
            # A task's failure is a result. This is something else: a plugin that ends its process, a result that cannot be
            # pickled. The worker runs the task again, and Ansible says what it always says.
            return super().start()

    def run(self) -> Any:
        """Run the task in the process that was started, which nobody tells what other tasks say."""
        with rendered.unchanged():
            return super().run()

    def _executor(self, task: Any) -> TaskExecutor:
        """The executor of the task. It changes the variables and the context as well."""
        return TaskExecutor(
            host=self._host,
            task=task,
            job_vars=copy.copy(self._task_vars),
            play_context=self._play_context.copy(),
            loader=self._loader,
            shared_loader_obj=self._shared_loader_obj,
            final_q=self._final_q,
            variable_manager=self._variable_manager,
        )
