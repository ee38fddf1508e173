"""Answer once what the files of many hosts ask again and again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

# Of files that differ on every host, none is asked about again.
MOST = 1000
BUILT_IN = frozenset((dict, list, str, int, float, bool, type(None)))


_MEMORIES: list[dict[Any, Any]] = []


def forget() -> None:
    """Forget all answers, as when the process began."""
    for known in _MEMORIES:
        known.clear()


def once(answer: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function answer once for the same arguments: data of built-in types, all of which stands in their `repr`.

    Who asks must not change the answer. An error is no answer.
    """
    known: dict[str, Any] = {}
    _MEMORIES.append(known)

    @functools.wraps(answer)
    def remembering(*data: Any) -> Any:
        key = repr(data)
        if key not in known:
            if len(known) >= MOST:
                known.clear()
            known[key] = answer(*data)
        return known[key]

    return remembering


def once_for_objects(answer: Callable[..., Any]) -> Callable[..., Any]:
    """The same for arguments that are the same objects; texts need only be equal. Nothing in them is looked at.

    Objects of Ansible's own types are not kept, because they hold all variables of a task.
    """
    known: dict[tuple[Any, ...], tuple[Any, Any]] = {}
    _MEMORIES.append(known)

    @functools.wraps(answer)
    def remembering(*data: Any) -> Any:
        if not BUILT_IN.issuperset(map(type, data)):
            return answer(*data)
        key = tuple([one if one is None or isinstance(one, str) else id(one) for one in data])
        if key not in known:
            if len(known) >= MOST:
                known.clear()
            known[key] = data, answer(*data)  # with the objects, so that their ids stay their own
        return known[key][1]

    return remembering
