"""What a template gives is computed once for the same variables, not each time something reads it.

Ansible computes a variable whenever a template names it, with all variables that its own template names. So the address of the
controller is computed a hundred times for one task. Here a text (or number) that a template gave is given again, as long as each
variable that was read for it, by it or by templates within, is the same object. What another host's variables were read for
(`hostvars`) may be given again only as long as no task has said anything (unchanged).

Only for templates of which it is known that nothing else goes into them: Jinja's own operators, filters and tests, this
project's filters, and lookups of environment variables.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from jinja2 import Environment, TemplateError, nodes
from jinja2.runtime import Context

from kilonova.config import inventories

try:
    from ansible._internal._templating import _engine, _jinja_bits
    from ansible.vars.hostvars import HostVars
except ImportError:  # ansible-core 2.18
    _engine = None

# So many templates are remembered, and for each the results for so many combinations of variables, the latest.
MOST, COMBINATIONS = 20_000, 4
_MISSING = object()
_IMMUTABLE = (str, int, float, bool, type(None))
_JINJA = Environment()
_KNOWN: dict[str, list[_Result]] = {}
_FRAMES: list[_Frame] = []


class _State:
    """Of the variables of all hosts."""

    # What was computed from them is of use while this is the same; None: they may change at any time.
    now: object | None = None
    hosts: ClassVar[dict[str, Any]] = {}


class _Frame:
    """What a template that is being computed has read."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.read: set[str] = set()
        self.is_pure = True
        self.of_hosts = False

    def within(self, variables: Mapping[str, Any], inner: _Frame | _Result) -> None:
        """Note what was read for a template within this one, from these variables."""
        self.of_hosts |= inner.of_hosts or self.variables is not variables
        if self.variables is variables:
            self.read.update(inner.read)


class _Result:
    """What a template gave, and for which variables."""

    def __init__(self, value: Any, frame: _Frame) -> None:
        self.value = value
        self.read = {name: frame.variables.get(name, _MISSING) for name in frame.read}
        self.of_hosts = frame.of_hosts
        self.state = _State.now if frame.of_hosts else None

    def holds_for(self, variables: Mapping[str, Any]) -> bool:
        """Whether the template gives the same for these."""
        if self.of_hosts and (self.state is None or self.state is not _State.now):
            return False
        return all(variables.get(name, _MISSING) is value for name, value in self.read.items())


def install() -> None:
    """Let Ansible's own templates, in this process and its workers, remember what they gave, where this ansible-core fits."""
    before = getattr(getattr(_engine, "TemplateEngine", None), "_compile_template", None)
    fits = before is not None and [*inspect.signature(before).parameters] == ["self", "template", "options"]
    if fits and not hasattr(before, "__wrapped__"):
        _engine.TemplateEngine._compile_template = remembering(_engine.TemplateEngine._compile_template)
        _jinja_bits.AnsibleContext.resolve_or_missing = _resolve_or_missing
        HostVars.__getitem__ = _once_unchanged(HostVars.__getitem__)


@contextlib.contextmanager
def unchanged() -> Iterator[None]:
    """Within it, the variables of all hosts stay as they are, but for what `changed` tells."""
    before = _State.now
    changed()
    try:
        yield
    finally:
        changed()
        _State.now = before


def changed() -> None:
    """The variables of a host have changed, or may have."""
    _State.now = object()
    _State.hosts = {}


def remembering(compile_template: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method `_compile_template` of an engine, with a memory of what templates gave."""

    @functools.wraps(compile_template)
    def compiled(self: Any, template: str, options: Any) -> Callable[[Mapping[str, Any]], Any]:
        outer = _FRAMES[-1] if _FRAMES else None
        usual = options.overrides is _engine.TemplateOverrides.DEFAULT
        if not usual or not is_pure(str.__str__(template)):
            if outer:
                outer.is_pure = False
            return compile_template(self, template, options)
        variables = self.available_variables
        for result in _KNOWN.get(template, ()):
            if result.holds_for(variables):
                if outer:
                    outer.within(variables, result)
                return lambda _variables: result.value
        render = compile_template(self, template, options)
        return functools.partial(_rendered, template, variables, render)

    return compiled


def _rendered(template: str, variables: Mapping[str, Any], render: Callable[..., Any], given: Mapping[str, Any]) -> Any:
    """Return what a template gives, and remember it."""
    frame = _Frame(variables)
    _FRAMES.append(frame)
    try:
        value = render(given)
    finally:
        _FRAMES.pop()
        if _FRAMES:
            _FRAMES[-1].is_pure &= frame.is_pure
            _FRAMES[-1].within(variables, frame)
    if frame.is_pure and isinstance(value, _IMMUTABLE) and given is variables:
        if len(_KNOWN) >= MOST:
            _KNOWN.clear()
        results = _KNOWN.setdefault(str.__str__(template), [])
        results.insert(0, _Result(value, frame))
        del results[COMBINATIONS:]
    return value


def _resolve_or_missing(self: Any, key: str) -> Any:
    if _FRAMES:
        frame = _FRAMES[-1]
        frame.read.add(key)
        if key == "hostvars":
            frame.of_hosts = True
        elif key == "vars":
            frame.is_pure = False
    return Context.resolve_or_missing(self, key)


def _once_unchanged(get: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(get)
    def got(self: Any, host: str) -> Any:
        if _State.now is None:
            return get(self, host)
        if host not in _State.hosts:
            _State.hosts[host] = get(self, host)
        return _State.hosts[host]

    return got


@functools.lru_cache(maxsize=MOST)
def is_pure(source: str) -> bool:
    """Whether nothing but variables goes into what a template gives."""
    if "\\" in source or "{%" in source:
        return False
    try:
        return _is_pure(_JINJA.parse(source))
    except TemplateError:  # Ansible says it
        return False


def _is_pure(node: nodes.Node) -> bool:
    known = _is_of_environment(node)
    return (known or inventories.is_same(node)) and all(map(_is_pure, node.iter_child_nodes(exclude=("node",) if known else ())))


def _is_of_environment(node: nodes.Node) -> bool:
    """Whether it looks an environment variable up."""
    return (
        isinstance(node, nodes.Call)
        and isinstance(node.node, nodes.Name)
        and node.node.name in ("lookup", "query", "q")
        and bool(node.args)
        and isinstance(node.args[0], nodes.Const)
        and str(node.args[0].value).removeprefix("ansible.builtin.") == "env"
    )
