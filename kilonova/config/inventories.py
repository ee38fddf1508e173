"""An inventory, and what Ansible would make of its variables, resolved for all hosts in one process.

The variables are read from the same sources and in the same order of precedence as Ansible's. Plain Jinja does it for the roles'
data, and for those templates of the inventory that it is known to read as Ansible does; all others (lookups, plugins of
collections, `omit`) are given to Ansible's own templar.

What makes it fast: a template is compiled once, a variable is resolved when something asks for it, and a result is used again on
every host on which the variables that it was made from are the same objects, as those of a group are (Host._once).
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib.util
import operator
import re
import sys
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import GeneratorType
from typing import Any

import jinja2
import yaml
from jinja2 import nodes
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import Context, missing

from kilonova.config import config_files, overrides, releases

TREE = config_files.ROLES.parent
# One result per combination of what it depends on, the latest: hosts of a group often come one after the other.
REMEMBERED = 8
# Where so many hosts in turn had another result, the rest will too.
MISSED = 20
# A mapping is made with so many combinations of results, as those of several groups.
COMBINED = 4
# Of so many mappings and lists is known that nothing in them is undefined: more than those that many hosts have alike.
MOST_WHOLE = 5000
_SIMPLE = re.compile(r"\{\{\s*(?!(?:none|true|false)\b)([A-Za-z_]\w*)\s*\}\}", re.ASCII | re.IGNORECASE)
_FACTS = re.compile(r"'(openstack_host|ansible_\w+)' is undefined|has no attribute ")
CONTAINS_ITSELF = "contains itself: a YAML anchor (&x) is used (*x) inside its own value"
VAULTED = ("EncryptedString", "AnsibleVaultEncryptedUnicode")


class GenerateError(ValueError):
    """A host's files cannot be made from its variables; the message names the file or variable, never a secret."""

    def __init__(self, message: str, host: str = "") -> None:
        super().__init__(f"{host}: {message}" if host else message)
        self.message, self.host = message, host

    @property
    def needs_host(self) -> bool:
        """Whether only the host may know what is missing: its facts, or a part of something."""
        return needs_host(self.message)


def needs_host(message: str) -> bool:
    """Whether what is undefined may be what only the host knows."""
    return bool(_FACTS.search(message))


def facts_in(value: Any) -> list[str]:
    """Return the facts of Ansible's that templates in `value` name: ansible_facts.default_ipv4, ansible_hostname."""
    text = value if isinstance(value, str) else repr(value)
    return list(dict.fromkeys(_FACT.findall(text))) if _is_template(text) else []


# Facts as they are named with and without inject_facts_as_vars; the latter are some of many names that begin so.
_FACT = re.compile(
    r"ansible_facts(?:\.\w+|\[\s*['\"]\w+['\"]\s*\])?"
    r"|\bansible_(?:default_ipv[46]|all_ipv[46]_addresses|fqdn|hostname|nodename|domain|eth\w*|en[ops]\w+|br_\w+|bond\w*"
    r"|interfaces|processor\w*|memtotal_mb|distribution\w*|os_family|architecture|local|dns|devices)\b"
)


# -------------------------------------------------------------------------------------------------------------- Jinja


class _Undefined(jinja2.StrictUndefined):
    """As Ansible has it: a part of something undefined is undefined, and using it is an error."""

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":
            raise AttributeError(name)
        return self

    def __getitem__(self, name: Any) -> Any:
        return self


class _Generator(NativeCodeGenerator):
    """Keeps the type of a constant: `{{ {} }}` is a mapping, not a text."""

    def _output_child_to_const(self, node, frame, finalize):
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible()
        return node.as_const(frame.eval_ctx)


class _Plugins(dict):
    """Filters or tests: the project's own, then Ansible's, loaded when a template names one, then Jinja's."""

    def __init__(self, builtin: Mapping[str, Any], own: Mapping[str, Any], kind: str) -> None:
        # Ansible's versions of these know its own kind of undefined only.
        of_undefined = {name: builtin[name] for name in ("default", "d", "defined", "undefined") if name in builtin}
        super().__init__({**of_undefined, **own})
        self.builtin, self.kind = builtin, kind

    def __missing__(self, name: str) -> Any:
        from ansible.plugins import loader

        # Outside of its own programs Ansible finds no collection, not even its own.
        short = name.removeprefix("ansible.builtin.")
        try:
            plugin = getattr(loader, f"{self.kind}_loader").get(short)
        except Exception:  # whatever a plugin's import raises
            plugin = None
        found = getattr(plugin, "j2_function", None) or self.builtin.get(short)
        if found is None:
            raise KeyError(name)
        self[name] = found
        return found

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def __contains__(self, name: object) -> bool:
        return self.get(str(name)) is not None


@functools.cache
def _own_filters() -> dict[str, Callable[..., Any]]:
    spec = importlib.util.spec_from_file_location("kilonova_filters", TREE / "filter_plugins" / "kilonova.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.FilterModule().filters()


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # configuration files, not HTML
        trim_blocks=True, keep_trailing_newline=True, undefined=_Undefined
    )
    environment.code_generator_class = _Generator
    environment.filters = _Plugins(environment.filters, _own_filters(), "filter")
    environment.tests = _Plugins(environment.tests, {}, "test")
    return environment


@functools.cache
def _template(source: str) -> jinja2.Template:
    try:
        return _environment().from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise GenerateError(f"{error.message} in the template of a variable, line {error.lineno} of it") from None


class _Scope(Context):
    """The variables of a host, for compiled templates."""

    def __init__(self, host: Host) -> None:
        super().__init__(_environment(), {}, None, {})
        self.host = host

    def resolve_or_missing(self, key: str) -> Any:
        if key in self.vars:  # {% set %}
            return self.vars[key]
        value = self.host.find(key)
        return self.environment.globals.get(key, missing) if value is missing else value


def _joined(parts: list[Any]) -> Any:
    """A template's result: what its only expression gives, of any type, or text."""
    value = _as_is(parts)
    if keeps_types():
        return value
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else _evaluated(value)


def _evaluated(value: Any) -> Any:
    """As ansible-core before 2.19: text that looks like a list, a mapping or a truth value of Python's becomes one."""
    if value is None:
        return ""
    text = value if type(value) in (str, Literal) else ""
    if text.startswith(("{", "[")) or text in ("True", "False"):
        with contextlib.suppress(ValueError, SyntaxError, TypeError, MemoryError):
            return ast.literal_eval(ast.parse(text, mode="eval"))
    return value


def is_changed_by_templates(text: str) -> bool:
    """Whether a template that gives this text gives something else in this ansible-core."""
    return not keeps_types() and _evaluated(text) != text


def _as_is(parts: list[Any]) -> Any:
    if len(parts) == 1:
        part = parts[0]
        return list(part) if isinstance(part, GeneratorType | map | filter | type({}.items()) | type({}.values())) else part
    return "".join("" if part is None else str(part) for part in parts)


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text or "{#" in text


# What gives the same here as in Ansible's templar: filters, tests, methods and kinds of nodes. No others are resolved here.
_SAME_FILTERS = frozenset(
    (
        "abs",
        "b64decode",
        "b64encode",
        "basename",
        "bool",
        "capitalize",
        "combine",
        "count",
        "d",
        "default",
        "dict2items",
        "dictsort",
        "difference",
        "dirname",
        "extract",
        "first",
        "flatten",
        "float",
        "int",
        "intersect",
        "items",
        "items2dict",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
        "max",
        "min",
        "product",
        "quote",
        "regex_replace",
        "regex_search",
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "round",
        "select",
        "selectattr",
        "sort",
        "split",
        "string",
        "sum",
        "ternary",
        "title",
        "to_json",
        "trim",
        "union",
        "unique",
        "upper",
        "zip",
    )
)
_SAME_TESTS = frozenset(
    (
        "boolean",
        "defined",
        "divisibleby",
        "eq",
        "equalto",
        "even",
        "false",
        "float",
        "ge",
        "gt",
        "in",
        "integer",
        "iterable",
        "le",
        "lower",
        "lt",
        "mapping",
        "match",
        "ne",
        "none",
        "number",
        "odd",
        "search",
        "sequence",
        "string",
        "true",
        "undefined",
        "upper",
    )
)
_SAME_METHODS = frozenset(
    ("endswith", "get", "items", "keys", "lower", "replace", "split", "startswith", "strip", "upper", "values")
)
_SAME_NODES = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Getitem,
    nodes.Compare,
    nodes.Operand,
    nodes.BinExpr,
    nodes.UnaryExpr,
    nodes.Concat,
    nodes.CondExpr,
    nodes.List,
    nodes.Tuple,
    nodes.Dict,
    nodes.Pair,
    nodes.Keyword,
    nodes.Slice,
)
# Not a variable, or not the same one.
_NOT_THE_SAME = frozenset(("omit", "undef", "now", "environment", "lookup", "query", "q"))
OMITTED = "it is `omit`, which only a task's argument can be"
# Lookups whose answer depends on nothing but what they are asked.
_CONSTANT_LOOKUPS = frozenset(("env", "file", "ini", "csvfile", "lines", "pipe", "url", "community.general.passwordstore"))


@functools.lru_cache(maxsize=10_000)
def reads_as_ansible(source: str) -> bool:
    """Whether plain Jinja is known to read this template of an inventory as Ansible does."""
    if "\\" in source or "{%" in source:  # Ansible changes what backslashes mean
        return False
    try:
        tree = _environment().parse(source)
    except jinja2.TemplateSyntaxError:
        return True  # said when it is compiled
    return all(map(is_same, tree.find_all(nodes.Node)))


def is_same(node: nodes.Node) -> bool:
    """Whether a part of a template, without those within it, gives the same here as in Ansible's templar."""
    if isinstance(node, nodes.Filter):
        return node.name.removeprefix("ansible.builtin.") in _SAME_FILTERS or node.name in _own_filters()
    if isinstance(node, nodes.Test):
        return node.name.removeprefix("ansible.builtin.") in _SAME_TESTS
    if isinstance(node, nodes.Name):
        return node.name not in _NOT_THE_SAME
    if isinstance(node, nodes.Call):
        return isinstance(node.node, nodes.Getattr) and node.node.attr in _SAME_METHODS
    if isinstance(node, nodes.Getattr):
        return not node.attr.startswith("_")
    return isinstance(node, _SAME_NODES)


@functools.lru_cache(maxsize=10_000)
def _is_constant(source: str) -> bool:
    """Whether a template asks lookups alone, which give the same on every host."""
    try:
        tree = _environment().parse(source)
    except jinja2.TemplateSyntaxError:
        return False
    asked = []
    for call in tree.find_all(nodes.Call):
        plugin = call.args[0] if call.args else None
        if not isinstance(call.node, nodes.Name) or not isinstance(plugin, nodes.Const):
            return False
        asked.append(str(plugin.value).removeprefix("ansible.builtin."))
    return (
        bool(asked)
        and all(name in _CONSTANT_LOOKUPS for name in asked)
        and {name.name for name in tree.find_all(nodes.Name)} <= {"lookup", "query", "q"}
        and not any(tree.find_all(nodes.Assign))
    )


# ---------------------------------------------------------------------------------------------------------- variables


class Literal(str):
    """Text that is not a template, even if it looks like one (`!unsafe`, `!vault`)."""

    __slots__ = ()


def _ansible_trusts(text: str) -> bool:
    """Whether Ansible would take `text`, from an inventory, for a template."""
    if keeps_types():
        from ansible.template import is_trusted_as_template

        return is_trusted_as_template(text)
    from ansible.utils.unsafe_proxy import AnsibleUnsafe

    return not isinstance(text, AnsibleUnsafe)


@functools.cache
def keeps_types() -> bool:
    """Whether a template of Ansible's gives a value of any type, as from ansible-core 2.19 on; before, None was an empty text."""
    from ansible import template

    return hasattr(template, "is_trusted_as_template")


class _AnsibleTemplar:
    """Ansible's own templar over a host's variables, for what plain Jinja may read otherwise."""

    def __init__(self, loader: Any = None, hostvars: Any = None, trust: bool = False) -> None:
        if loader is None:
            from ansible.parsing.dataloader import DataLoader

            loader = DataLoader()
        self.loader, self.hostvars, self.trust = loader, hostvars, trust
        self._trusted: dict[int, tuple[Any, Any]] = {}

    def __call__(self, host: Host, value: Any) -> Any:
        """Return `value` resolved on `host`, as built-in types."""
        from ansible.template import Templar

        _load_collections()
        return config_files.built_in(Templar(loader=self.loader, variables=self._variables(host)).template(self._own(value)))

    def _variables(self, host: Host) -> dict[str, Any]:
        inventory = host.inventory
        _extra, role_vars, variables, defaults = host.layers
        found = {**self._trust(defaults), **variables, **self._trust(role_vars), **inventory.raw_extra}
        if self.hostvars is None:
            del found["groups"], found["hostvars"]
            others = {name: dict(inventory._variables(name)) for name in inventory.hostvars}
            found = {**self._own(found), "groups": inventory.groups, "hostvars": self._own(others)}
        else:
            found["hostvars"] = self.hostvars
        # Where lookups of files look, as from the playbook.
        found = {"ansible_search_path": [self.loader.get_basedir()], **found}
        return {"vars": found, **found}

    def _own(self, value: Any) -> Any:
        return self._trust(value) if self.trust else value

    def _trust(self, value: Any) -> Any:
        """Mark the texts of the roles' data as templates, and literals as none."""
        known = self._trusted.get(id(value))
        if known is None:
            known = self._trusted[id(value)] = value, _marked(value)
        return known[1]


@functools.cache
def _load_collections() -> None:
    """Let Ansible find collections, its own too, where none of its programs has done so: in a test."""
    from ansible.plugins.loader import init_plugin_loader
    from ansible.utils.collection_loader import AnsibleCollectionConfig

    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader()


def _marked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_marked(item) for item in value]
    if isinstance(value, Literal) and not keeps_types():
        from ansible.utils.unsafe_proxy import wrap_var

        return wrap_var(str(value))
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, str) and keeps_types():
        from ansible.template import trust_as_template

        return trust_as_template(value)
    return value


class Remembered(deque):
    """The latest results of a variable or template.

    Each is a host's variables, the names of those that the result was made from, and the result.
    """

    def __init__(self) -> None:
        super().__init__(maxlen=REMEMBERED)
        self.missed = 0
        """For how many hosts in turn none of them was the result."""


class Inventory:
    """The variables of all hosts, as Ansible has them before any template is resolved.

    `variables` gives a host's own (from inventory and extra variables), by name or called with it; `extra` are variables that
    win over the roles' own. `trusted` tells whether a text of these is a template at all.
    """

    def __init__(
        self,
        variables: Mapping[str, Mapping[str, Any]] | Callable[[str], Mapping[str, Any]],
        groups: Mapping[str, Iterable[str]],
        release: Any = None,
        extra: Mapping[str, Any] | None = None,
        trusted: Callable[[str], bool] = lambda text: True,
        templar: _AnsibleTemplar | None = None,
        sources: Any = None,
    ) -> None:
        self.directories: list[Path] = []
        """Where the inventory's files are, as far as it has any."""
        self.groups = {str(name): [str(host) for host in hosts] for name, hosts in groups.items()}
        self.hostvars = _HostVars(self)
        self._variables = variables if callable(variables) else variables.__getitem__
        self._trusted = trusted
        self._plain: dict[int, tuple[Any, Any]] = {}
        self._copying: set[int] = set()
        self._templates: dict[int, tuple[Any, list[Any], list[tuple[list[Any], Any]]]] = {}
        self.remembered: defaultdict[str, Remembered] = defaultdict(Remembered)
        """Variable or template -> what it gave."""
        self.whole: dict[int, Any] = {}
        """Mappings and lists in which nothing is undefined, by id; with them, so that their ids stay their own."""
        self._of_hosts: dict[str, dict[str, Any]] = {}
        self._group_names: dict[tuple[str, ...], list[str]] = {}
        self._reads_plainly: dict[int, tuple[Any, bool]] = {}
        self.constant: dict[str, Any] = {}
        self.raw_extra = dict(extra or {})
        self.extra = {name: self.plain(value, name) for name, value in self.raw_extra.items()}
        self.templar = templar or _AnsibleTemplar(trust=True)
        self.sources = sources
        if release is not None:
            self.extra["openstack_release"] = self.raw_extra["openstack_release"] = releases.find(release).name
        self.defaults, self.role_vars = role_data()
        self._known: dict[str, Host] = {}

    @classmethod
    def of_ansible(cls, task_vars: Mapping[str, Any], **options: Any) -> Inventory:
        """Take the inventory of a running playbook from an action plugin's `task_vars`."""
        hostvars = task_vars["hostvars"]
        # There is no other way to them; what set_fact made on a host wins over roles' variables as well, and is not known here.
        extra = hostvars._variable_manager.extra_vars
        templar = _AnsibleTemplar(hostvars._loader, hostvars)
        made = cls(
            hostvars.raw_get,
            task_vars["groups"],
            extra=extra,
            trusted=_ansible_trusts,
            templar=templar,
            sources=hostvars,
            **options,
        )
        sources = [Path(source) for source in getattr(hostvars._inventory, "_sources", None) or () if "," not in str(source)]
        made.directories = [source if source.is_dir() else source.parent for source in sources if source.exists()]
        return made

    def hosts(self) -> list[str]:
        """Hosts that get files, controllers first."""
        names = self.role_vars["openstack_group_roles"]
        return list(dict.fromkeys(host for group in names for host in self.groups.get(group, ())))

    def host(self, name: str) -> Host:
        """Return a host with the roles' variables."""
        return Host(self, name, self.defaults, self.role_vars)

    def known(self, name: str) -> Host:
        """Return a host as others see it in `hostvars`: without the roles' variables."""
        if name not in self._known:
            if len(self._known) > 100:
                self._known.clear()
            self._known[name] = Host(self, name, {}, {})
        return self._known[name]

    def variables(self, name: str) -> dict[str, Any]:
        """Return a host's raw variables, including those that every host has. Ansible collects them once, which is slow."""
        if name not in self._of_hosts:
            found = {"inventory_hostname": name, **self._variables(name), "groups": self.groups, "hostvars": self.hostvars}
            if "group_names" not in found:
                members = (group for group, hosts in self.groups.items() if name in hosts)
                found["group_names"] = sorted(set(members) - {"all", "ungrouped"})
            # Of hosts in the same groups, one object, by which results are used again.
            found["group_names"] = self._group_names.setdefault(tuple(found["group_names"]), found["group_names"])
            self._of_hosts[name] = found
        return self._of_hosts[name]

    def plain(self, value: Any, name: str = "") -> Any:
        """Copy a value of Ansible's, of the variable `name`, as built-in types; the same value gives the same object."""
        kind = type(value)
        if kind in (int, bool, float, type(None)):
            return value
        known = self._plain.get(id(value))
        if known is not None:
            return known[1]
        if kind is Literal:
            result: Any = value
        elif kind.__name__ in VAULTED:
            result = Literal(str(value))
        elif isinstance(value, str):
            # Not str(value): an unsafe string of ansible-core 2.18 answers with itself.
            plain = str.__str__(value)
            result = plain if not _is_template(value) or self._trusted(value) else Literal(plain)
        elif value is self.groups or value is self.hostvars:
            return value
        elif isinstance(value, (Mapping, list, tuple)):
            if id(value) in self._copying:
                raise GenerateError(f"{name}: {CONTAINS_ITSELF}; write it out")
            self._copying.add(id(value))
            try:
                if isinstance(value, Mapping):
                    result = {
                        str.__str__(key) if isinstance(key, str) else key: self.plain(item, name) for key, item in value.items()
                    }
                else:
                    result = [self.plain(item, name) for item in value]
            finally:
                self._copying.discard(id(value))
        elif isinstance(value, bool) or value is None:
            result = value
        else:
            result = next((simple(value) for simple in (int, float) if isinstance(value, simple)), value)
        self._plain[id(value)] = value, result  # with the value, so that its id stays its own
        return result

    def static(self, value: Any) -> bool:
        """Whether there is no template in `value`."""
        if isinstance(value, str):
            return type(value) is str and not _is_template(value)
        return not isinstance(value, (dict, list)) or not self.templates_in(value)[0]

    def templates_in(self, value: dict[Any, Any] | list[Any]) -> tuple[list[Any], list[tuple[list[Any], Any]]]:
        """Keys of a mapping, or places in a list, where there are templates; and what was made with their results (combined)."""
        known = self._templates.get(id(value))
        if known is None:
            inner = value.items() if isinstance(value, dict) else enumerate(value)
            known = self._templates[id(value)] = value, [key for key, item in inner if not self.static(item)], []
        return known[1:]

    def combined(self, value: Any, results: list[Any]) -> Any:
        """Return the mapping or list with the results of its templates: the same object for the same results.

        What is asked of it is then answered once for all hosts, as far as they have the same.
        """
        keys, known = self.templates_in(value)
        for before, made in known:
            if all(map(operator.is_, before, results)):
                return made
        made = value.copy()
        for key, result in zip(keys, results, strict=True):
            made[key] = result
        if len(known) < COMBINED:
            known.append((results, made))
        return made

    def reads_plainly(self, value: Any) -> bool:
        """Whether plain Jinja reads every template in the plain `value` as Ansible does."""
        if isinstance(value, str):
            return type(value) is Literal or not _is_template(value) or reads_as_ansible(value)
        if not isinstance(value, (dict, list)):
            return True
        known = self._reads_plainly.get(id(value))
        if known is None:
            inner = value.values() if isinstance(value, dict) else value
            known = value, all([self.reads_plainly(item) for item in inner])
            self._reads_plainly[id(value)] = known
        return known[1]


class _HostVars(Mapping):
    """Ansible's `hostvars`."""

    def __init__(self, inventory: Inventory) -> None:
        self.inventory = inventory

    def __getitem__(self, name: str) -> _HostVarsOf:
        if not any(name in hosts for hosts in self.inventory.groups.values()):
            raise KeyError(name)
        return _HostVarsOf(self.inventory.known(name))

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(host for hosts in self.inventory.groups.values() for host in hosts))

    def __len__(self) -> int:
        return len(list(iter(self)))


class _HostVarsOf(Mapping):
    """The variables of one host for another one."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def __getitem__(self, name: str) -> Any:
        value = self.host.find(name)
        if value is missing:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.host.layers[2])

    def __len__(self) -> int:
        return len(self.host.layers[2])


# Numbers of the first of a host's layers.
EXTRA, OF_ROLES, INVENTORY = range(3)


class Host:
    """The variables of one host, resolved when they are asked for."""

    def __init__(self, inventory: Inventory, name: str, defaults: Mapping[str, Any], role_vars: Mapping[str, Any]) -> None:
        self.inventory, self.name = inventory, name
        # Extra variables, roles' variables, inventory, roles' defaults: Ansible's order of precedence.
        self.layers = (inventory.extra, role_vars, inventory.variables(name), defaults)
        self._values: dict[str, Any] = {}
        self._made_of: dict[str, frozenset[str]] = {}
        self._busy: list[str] = []
        self._used: set[str] = set()
        self._differences: dict[int, set[str]] = {}
        self._scope = _Scope(self)

    def _layer_of(self, name: str) -> int | None:
        """The number of the layer whose value of the variable counts; None when there is none."""
        for number, layer in enumerate(self.layers):
            if name in layer:
                return number
        return None

    def raw(self, name: str) -> Any:
        """Return the variable's value before templates are resolved, `missing` when there is none."""
        number = self._layer_of(name)
        return missing if number is None else self.layers[number][name]

    def is_set(self, name: str) -> bool:
        """Whether the inventory, or an extra variable, sets it."""
        return name in self.layers[0] or name in self.layers[2]

    def value(self, name: str, default: Any = None) -> Any:
        """Return the variable's value; `default` when there is none, or when only the host knows it."""
        try:
            value = self.find(name)
        except ValueError:
            return default
        return default if value is missing or value is None or first_undefined(value) else value

    def find(self, name: str) -> Any:
        """Return the variable's value; `missing` when there is none."""
        if name in self._values:
            self._used |= self._made_of[name]
            return self._values[name]
        if name == "vars":
            self._used.add("inventory_hostname")  # nobody knows what it depends on
            return _HostVarsOf(self)
        if name in self._busy:
            raise GenerateError(f"the variable {name} refers to itself ({' -> '.join([*self._busy, name])})")
        number = self._layer_of(name)
        raw = missing if number is None else self.layers[number][name]
        ours = number not in (EXTRA, INVENTORY) or name in ("groups", "hostvars")
        plain = raw if ours else self.inventory.plain(raw, name)
        # What no inventory can set, all hosts have alike: nothing depends on it.
        itself: frozenset[str] = frozenset() if number in (EXTRA, OF_ROLES) else frozenset((name,))
        if self.inventory.static(plain):
            value, made_of = plain, itself
            self._used |= itself
        else:
            self._busy.append(name)
            try:
                value, made_of = self._once(name, self._resolved, name, plain, ours, itself)
            finally:
                self._busy.pop()
        self._values[name], self._made_of[name] = value, made_of
        return value

    def once(self, key: str, make: Callable[..., Any], *given: Any) -> Any:
        """Return what `make` makes of what is `given` and of the host's variables, once for all hosts that have these alike.

        `key` says what is made. Who asks must not change the result.
        """
        return self._once(key, make, *given)[0]

    def _once(self, key: str, make: Callable[..., Any], *given: Any) -> tuple[Any, frozenset[str]]:
        """Return what `make` makes of what is `given` and of the host's variables, and the names of these.

        What was made for another host is used again where these variables are the same objects. `key` says what is made: the name
        of a variable, or a template.
        """
        # Not for hosts as others see them, on which the roles' variables are missing.
        remembered = self.inventory.remembered[key] if self.layers[1] else Remembered()
        if remembered.missed < MISSED:
            for variables, made_of, value in remembered:
                if made_of.isdisjoint(self._different(variables)):
                    remembered.missed = 0
                    self._used |= made_of
                    return value, made_of
        outer, self._used = self._used, set()
        try:
            value = make(*given)
        finally:
            made_of, self._used = frozenset(self._used), outer
            self._used |= made_of
        remembered.missed += 1
        if remembered.missed <= MISSED and not isinstance(value, _Undefined):
            remembered.append((self.layers[2], made_of, value))
        return value, made_of

    def _different(self, others: dict[str, Any]) -> set[str]:
        """Names of the variables that are not the same objects as another host's; only those of the inventory can be others."""
        found = self._differences.get(id(others))
        if found is None:
            own = self.layers[2]
            found = {name for name in own.keys() | others.keys() if own.get(name, missing) is not others.get(name, missing)}
            self._differences[id(others)] = found
        return found

    def _resolved(self, name: str, plain: Any, ours: bool, itself: frozenset[str]) -> Any:
        """Resolve the templates in a variable: `ours`, in the roles' data, or the inventory's."""
        self._used |= itself
        try:
            return self.resolve(plain) if ours or self.inventory.reads_plainly(plain) else self._by_ansible(name, plain)
        except jinja2.UndefinedError as error:
            return _Undefined(hint=f"{name}: {error}")
        except (ArithmeticError, LookupError, AttributeError, re.error) as error:  # whatever a template does: it divides by 0
            raise GenerateError(f"{type(error).__name__}: {error}") from error

    def _by_ansible(self, name: str, plain: Any) -> Any:
        """Let Ansible resolve a variable of the inventory, or an extra one."""
        constant = isinstance(plain, str) and _is_constant(plain)
        if constant and plain in self.inventory.constant:
            return self.inventory.constant[plain]
        if not constant:
            self._used.add("inventory_hostname")  # nobody knows what it depends on
        raw = self.inventory.raw_extra.get(name, missing)
        try:
            value = self.inventory.templar(self, self.layers[2][name] if raw is missing else raw)
        except Exception as error:  # whatever a plugin raises
            said = " ".join(str(error).split()) or type(error).__name__
            if type(error).__name__ == "AnsibleUndefinedVariable":
                return _Undefined(hint=said)
            if type(error).__name__ == "AnsibleValueOmittedError":
                said = OMITTED
            raise GenerateError(said) from error
        if config_files.is_omitted(value):
            raise GenerateError(OMITTED)
        if constant:
            self.inventory.constant[plain] = value
        return value

    def resolve(self, value: Any) -> Any:
        """Resolve the templates in a plain value."""
        if isinstance(value, str):
            if type(value) is Literal:
                return str(value)
            return self.render(value) if _is_template(value) else value
        if not isinstance(value, (dict, list)):
            return value
        keys = self.inventory.templates_in(value)[0]
        return self.inventory.combined(value, [self._resolve_inner(value[key]) for key in keys]) if keys else value

    def _resolve_inner(self, value: Any) -> Any:
        """What is undefined in a part of a variable matters only to who uses that part."""
        try:
            return self.resolve(value)
        except jinja2.UndefinedError as error:
            return _Undefined(hint=str(error))

    def render(self, source: str) -> Any:
        """Return what a template gives on this host."""
        simple = _SIMPLE.fullmatch(source)
        if simple:
            value = self._scope.resolve_or_missing(simple[1])
            value = _Undefined(name=simple[1]) if value is missing else value
            return value if keeps_types() else _evaluated(value)
        return self._once(source, self._rendered, source)[0]

    def _rendered(self, source: str) -> Any:
        scope = _Scope(self) if "{%" in source else self._scope
        value = _joined(list(_template(source).root_render_func(scope)))
        # The same object for the same text, by which other results are the same (Inventory.combined).
        return sys.intern(value) if type(value) is str else value

    def roles(self) -> list[str]:
        """Return the roles that the host gets, in order."""
        return list(self.find("openstack_host_roles"))

    def files(self) -> list[dict[str, Any]]:
        """Return the file entries that the deployment's `config_files` actions get on this host."""
        entries = []
        for role in self.roles():
            for variable in file_variables(role):
                try:
                    found, undefined = self._once(f"files of {variable}", self._files_of, role, variable)[0]
                except (ValueError, TypeError, jinja2.TemplateError) as error:
                    raise _explained(error, self.name, variable) from error
                except Exception as error:  # a filter of Ansible's raises errors of its own
                    if type(error).__module__.startswith("ansible"):
                        raise _explained(error, self.name, variable) from error
                    raise
                if undefined is not None:
                    where = ": ".join(str(key) for key in [variable, *undefined[1]] if key != "layers")
                    raise GenerateError(f"{where}: {undefined[0]._undefined_message}", self.name)
                entries += found
        paths = [entry["path"] for entry in entries]
        twice = next((path for path in paths if paths.count(path) > 1), None)
        if twice:
            raise GenerateError(f"{twice} is declared twice", self.name)
        return entries

    def overridden(self) -> frozenset[tuple[str, str]]:
        """Return (variable, name of a file) of all overrides that the host's files take."""
        found = []
        for entry in self.files():
            if entry.get("layers") is not None:
                names = entry.get("overrides") or [str(entry["path"]).rpartition("/")[2]]
                found += [(variable, name) for variable in overrides.variables_of(entry["role"]) for name in names]
        return frozenset(found)

    def _files_of(self, role: str, variable: str) -> tuple[list[Mapping[str, Any]], tuple[_Undefined, list[Any]] | None]:
        """Return those files of a role that say something, or what is undefined in them."""
        found = [self.with_overrides(role, entry) for entry in self.find(variable)]
        undefined = _first_undefined(found, self.inventory.whole)
        return [] if undefined else [entry for entry in found if not config_files.says_nothing(entry)], undefined

    def with_overrides(self, role: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the entry of a role's file with the operator's overrides."""

        def find(variable: str) -> Any:
            value = self.find(variable)
            return None if value is missing else value

        return overrides.with_overrides(role, entry, find)

    @property
    def release(self) -> releases.Release:
        """The host's OpenStack release."""
        return releases.find(self.find("openstack_release"))


def _explained(error: Exception, host: str, variable: str) -> GenerateError:
    said = error.message if isinstance(error, GenerateError) else str(error)
    return GenerateError(said if variable in said else f"{variable}: {said}", host)


def _first_undefined(value: Any, whole: dict[int, Any] | None = None) -> tuple[_Undefined, list[Any]] | None:
    """Return something undefined in `value` and the keys that lead to it, None when everything is defined.

    What `whole` has, by its id, is known to be defined, and more is added that may be asked of again (Inventory.whole).
    """
    if isinstance(value, _Undefined):
        return value, []
    if not isinstance(value, (dict, list, tuple)):
        return None
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if type(item) is not str and not (whole and id(item) in whole):
            found = _first_undefined(item, whole)
            if found is not None:
                # A file is known by its path, not by its number.
                name = item["path"] if isinstance(item, dict) and "path" in item else key
                return found[0], [name, *found[1]]
    if whole is not None:
        if len(whole) >= MOST_WHOLE:
            whole.clear()
        whole[id(value)] = value
    return None


def first_undefined(value: Any, whole: dict[int, Any] | None = None) -> str:
    """Return what is undefined in `value`, as Jinja says it; empty when everything is defined. `whole` as Inventory has it."""
    found = _first_undefined(value, whole)
    return found[0]._undefined_message if found else ""


# -------------------------------------------------------------------------------------------------------- roles' data


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML as the roles write it: `!unsafe` marks text that is not a template."""


_Loader.add_constructor("!unsafe", lambda loader, node: Literal(loader.construct_scalar(node)))


def _data_files(role: str, kind: str) -> list[Path]:
    """The files of a role's `vars` or `defaults`, in Ansible's order."""
    directory = config_files.ROLES / role / kind
    single = [path for path in (directory / "main.yml",) if path.is_file()]
    return single or sorted(path for path in (directory / "main").rglob("*.yml"))


@functools.cache
def variables_of(role: str, kind: str) -> dict[str, Any]:
    """Return a role's `vars` or `defaults`."""
    found: dict[str, Any] = {}
    for path in _data_files(role, kind):
        found.update(yaml.load(path.read_text(encoding="utf-8"), _Loader) or {})
    return found


@functools.cache
def role_data() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the defaults and the variables of the role openstack and of all that a group's hosts get.

    Together, though Ansible shows a role only its own and openstack's: every name begins with its role's.
    """
    groups = variables_of("openstack", "vars")["openstack_group_roles"]
    roles = ["openstack", *dict.fromkeys(role for names in groups.values() for role in names)]
    merged: dict[str, dict[str, Any]] = {"defaults": {}, "vars": {}}
    for kind, variables in merged.items():
        for role in roles:
            variables.update(variables_of(role, kind))
    return merged["defaults"], merged["vars"]


@functools.cache
def file_variables(role: str) -> list[str]:
    """Names of the variables that list a role's files: `__nova_controller_files`, `__keystone_environment_files`."""
    pattern = re.compile(rf"__{role}(_\w+)?_files")
    return [name for name in variables_of(role, "vars") if pattern.fullmatch(name)]


@functools.cache
def unit_variables(role: str) -> list[str]:
    """Names of the variables that list a role's units."""
    return [name for name in variables_of(role, "vars") if name == f"__{role}_units"]
