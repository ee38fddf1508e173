"""What needs no host is answered by the process that Ansible runs in, without a worker.

Ansible makes a worker process for each task on each host. Most tasks of a run that has nothing to change ask no host at all
(instrument.py), and what a worker loads and compiles is gone with it. So such a task is first run here, as far as it gets without
its host. If it then asks the host, or is of another kind, a worker runs it as always, from its beginning: an instrument changes
nothing before it asks.

Strategies, results and callbacks stay Ansible's own. With an ansible-core that this does not fit, each task has its worker. Where
a task asks its host, its arguments are resolved twice.
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


# What an executor is told (Worker._executor), in ansible-core 2.19 and 2.20.
_TOLD = {"host", "task", "job_vars", "play_context", "loader", "shared_loader_obj", "final_q", "variable_manager"}


def install() -> bool:
    """Let the strategies of this process use the workers of this module; returns whether this ansible-core fits them."""
    fits = hasattr(worker, "_task") and set(inspect.signature(TaskExecutor).parameters) == _TOLD
    if fits and getattr(strategy, "WorkerProcess", None) is worker.WorkerProcess:
        strategy.WorkerProcess = Worker
    return fits


class _NeedsHost(BaseException):
    """A task asks its host. Not an Exception, which the executor would take for the task's failure."""


def _needs_host(*_arguments: Any, **_options: Any) -> Any:
    raise _NeedsHost


@contextlib.contextmanager
def _without_hosts() -> Iterator[None]:
    """Within it, an action that asks its host raises _NeedsHost."""
    ways = [(ActionBase, name) for name in _WAYS] + [(Instrument, "ask")]
    before = [getattr(owner, name) for owner, name in ways]
    for owner, name in ways:
        setattr(owner, name, _needs_host)
    try:
        yield
    finally:
        for (owner, name), method in zip(ways, before, strict=True):
            setattr(owner, name, method)


@functools.cache
def may_need_no_host(action: str) -> bool:
    """Whether an action may need no host, and changes nothing before it asks one."""
    if action.removeprefix("ansible.builtin.") in OF_ANSIBLE:
        return True
    found = loader.action_loader.get(action, class_only=True)
    return isinstance(found, type) and issubclass(found, Instrument) and found.must_ask is not Instrument.must_ask


class Worker(worker.WorkerProcess):
    """A worker that is only started for a task that needs its host."""

    def start(self) -> None:
        """Run the task here, or start the process."""
        task = self._task
        # What waits would let the other hosts wait; results of a loop are sent one by one, before it is known that none of them
        # needs its host. Mitogen's actions reach hosts in ways of their own.
        waits = task.retries or task.until or task.loop is not None or task.async_val or task.timeout
        if waits or "ansible_mitogen" in sys.modules or not may_need_no_host(task.action):
            return super().start()
        # The executor changes the task, the variables and the context, which in a process of its own are copies.
        parent, task = task._parent, task.copy(exclude_parent=True)
        task._parent = parent
        try:
            with _without_hosts(), worker._task.TaskContext(task):
                result = self._executor(task).run()
            # Nothing is sent before it is pickled.
            return self._final_q.send_task_result(
                task_result._RawTaskResult(host=self._host, task=task, return_data=result, task_fields=task.dump_attrs())
            )
        except (_NeedsHost, SystemExit, Exception):
            # A task's failure is a result. This is something else: a plugin that ends its process, a result that cannot be
            # pickled. The worker runs the task again, and Ansible says what it always says.
            return super().start()

    def _executor(self, task: Any) -> TaskExecutor:
        """The executor of the task."""
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
