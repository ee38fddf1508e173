"""A template is compiled once, not each time it is used.

Ansible compiles the Jinja of a variable whenever a task reads it. The roles' data has a few hundred templates, which task after
task reads: compiling them was a third of the processor time of a run that changes nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from jinja2 import nodes

try:
    from ansible._internal._templating._jinja_bits import AnsibleEnvironment
except ImportError:  # ansible-core 2.18, which computes parts of a template while it compiles it: `1000000 | random`
    AnsibleEnvironment = None

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
    if AnsibleEnvironment is not None and not hasattr(AnsibleEnvironment.compile, "__wrapped__"):
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
        if key in known:
            return known[key]
        code = compile_(self, source)
        if _knows_all(self, source):
            known[key] = code
        return code

    return compiled


def _knows_all(environment: Any, source: str) -> bool:
    """Whether all filters and tests of a template are there: the code for one that a role brings later is another one."""
    tree = environment.parse(source)
    return all(node.name in environment.filters for node in tree.find_all(nodes.Filter)) and all(
        node.name in environment.tests for node in tree.find_all(nodes.Test)
    )
