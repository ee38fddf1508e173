"""A template is compiled once, not each time it is used.

Ansible compiles the Jinja of a variable whenever a task reads it. The roles' data has a few hundred templates, which task after
task reads: compiling them was a third of the processor time of a run that changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

try:
    from ansible._internal._templating._jinja_bits import AnsibleEnvironment
except ImportError:  # ansible-core 2.18
    from ansible.template import AnsibleEnvironment

# What, beside the class of the environment and the text, decides how a text is compiled.
_SETTINGS = (
    "block_start_string",
    "block_end_string",
    "variable_start_string",
    "variable_end_string",
    "comment_start_string",
    "comment_end_string",
    "line_statement_prefix",
    "line_comment_prefix",
    "trim_blocks",
    "lstrip_blocks",
    "newline_sequence",
    "keep_trailing_newline",
    "optimized",
)


def install() -> None:
    """Let Ansible's own environment for templates, in this process and its workers, keep what it compiles."""
    if not hasattr(AnsibleEnvironment.compile, "__wrapped__"):
        AnsibleEnvironment.compile = kept(AnsibleEnvironment.compile)


def kept(compile_: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method `compile` of an environment, with a memory."""
    known: dict[tuple[Any, ...], Any] = {}

    @functools.wraps(compile_)
    def compiled(self: Any, source: Any, *arguments: Any, **options: Any) -> Any:
        # Ansible means one thing or another by a backslash, depending on who asks.
        if arguments or options or not isinstance(source, str) or "\\" in source:
            return compile_(self, source, *arguments, **options)
        key = type(self), str.__str__(source), *(getattr(self, name) for name in _SETTINGS)
        if key not in known:
            known[key] = compile_(self, source)
        return known[key]

    return compiled
