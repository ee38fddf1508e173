"""What needs no host is answered by the process that Ansible runs in, without a worker.

Ansible makes a worker process for each task on each host. Most tasks of a run that has nothing to change ask no host at all
(instrument.py), and what a worker loads and compiles is gone with it. So such a task is first run here, as far as it gets without
its host. If it then asks the host, or is of another kind, a worker runs it as always, from its beginning: an instrument changes
nothing before it asks.

Strategies, results and callbacks stay Ansible's own. With an ansible-core that this does not fit, each task has its worker.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import sys
from collections.abc import Iterator
from typing import Any

from ansible.executor import task_result
from ansible.executor.process import worker
from ansible.executor.task_executor import TaskExecutor
from ansible.plugins import loader, strategy
from ansible.plugins.action import ActionBase

from kilonova.run.instrument import Instrument

# Ansible's own actions that ask no host and change nothing outside of the process.
OF_ANSIBLE = ("assert", "debug", "fail", "include_role", "include_tasks", "set_fact", "validate_argument_spec")
# The ways of an action to its host.
_WAYS = ("_execute_module", "_low_level_execute_command", "_make_tmp_path")


# What an executor may be told (Worker._executor).
_TOLD = {"host", "task", "job_vars", "play_context", "new_stdin", "loader", "shared_loader_obj", "final_q", "variable_manager"}


def install() -> bool:
    """Let the strategies of this process use the workers of this module; returns whether this ansible-core fits them."""
    told = set(inspect.signature(TaskExecutor).parameters)
    fits = {"task", "job_vars"} <= told <= _TOLD and getattr(strategy, "WorkerProcess", None) is worker.WorkerProcess
    if fits:
        strategy.WorkerProcess = Worker
    return fits


class _NeedsHost(BaseException):
    """A task asks its host. Not an Exception, which the executor would take for the task's failure."""


def _needs_host(*_arguments: Any, **_options: Any) -> Any:
    raise _NeedsHost


@contextlib.contextmanager
def _without_hosts() -> Iterator[None]:
    """Within it, an action that asks its host raises _NeedsHost."""
    before = {name: getattr(ActionBase, name) for name in _WAYS}
    for name in _WAYS:
        setattr(ActionBase, name, _needs_host)
    try:
        yield
    finally:
        for name, method in before.items():
            setattr(ActionBase, name, method)


@functools.cache
def may_need_no_host(action: str) -> bool:
    """Whether an action may need no host, and changes nothing before it asks one."""
    if action.removeprefix("ansible.builtin.") in OF_ANSIBLE:
        return True
    found = loader.action_loader.get(action, class_only=True)
    return isinstance(found, type) and issubclass(found, Instrument) and found.must_ask is not Instrument.must_ask


class _Queue:
    """What a task sends while it runs, kept until it has turned out to need no host."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: self.sent.append((name, arguments, options))


class Worker(worker.WorkerProcess):
    """A worker that is only started for a task that needs its host."""

    def start(self) -> None:
        """Run the task here, or start the process."""
        task = self._task
        waits = task.retries or task.until
        # Mitogen's actions have ways of their own to their hosts.
        if waits or "ansible_mitogen" in sys.modules or not may_need_no_host(task.action):
            return super().start()
        # The executor changes the task, the variables and the context, which in a process of its own are copies.
        parent, task, queue = task._parent, task.copy(exclude_parent=True), _Queue()
        task._parent = parent
        try:
            with _without_hosts(), _running(task):
                result = self._executor(task, queue).run()
        except _NeedsHost:
            return super().start()
        for name, arguments, options in queue.sent:
            getattr(self._final_q, name)(*arguments, **options)
        if hasattr(task_result, "_RawTaskResult"):  # since ansible-core 2.19
            whole = task_result._RawTaskResult(host=self._host, task=task, return_data=result, task_fields=task.dump_attrs())
            return self._final_q.send_task_result(whole)
        return self._final_q.send_task_result(self._host.name, task._uuid, result, task_fields=task.dump_attrs())

    def _executor(self, task: Any, queue: _Queue) -> TaskExecutor:
        """The executor of the task; which arguments it takes depends on the version."""
        known = {
            "host": self._host,
            "task": task,
            "job_vars": copy.copy(self._task_vars),
            "play_context": self._play_context.copy(),
            "new_stdin": None,
            "loader": self._loader,
            "shared_loader_obj": self._shared_loader_obj,
            "final_q": queue,
            "variable_manager": self._variable_manager,
        }
        return TaskExecutor(**{name: known[name] for name in inspect.signature(TaskExecutor).parameters})


def _running(task: Any) -> Any:
    """The context that says which task runs, since ansible-core 2.19."""
    return worker._task.TaskContext(task) if hasattr(worker, "_task") else contextlib.nullcontext()
