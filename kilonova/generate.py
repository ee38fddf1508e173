"""Every configuration file of every host, from the inventory's variables alone: no host is asked, no task is run.

The deployment lets Ansible resolve the variables of one role on one host and hands the result, the role's *files*, to the action
`oslo_config`. Here the same variables are resolved for all hosts in one process, from the same sources and in the same order of
precedence, and the same function renders the files (config_files.render): a test compares the two byte by byte. Plain Jinja does
it for the roles' data, and for those templates of the inventory that it is known to read as Ansible does; all others (lookups,
plugins of collections, `omit`) are given to Ansible's own templar.

What makes it fast: a template is compiled once, a variable is resolved when something asks for it, and a result is used again on
every host on which the variables that it was made from are the same objects, as those of a group are.

What only a host can say (the role openstack's `openstack_host`, whether KVM works) is undefined; the roles' data has a default.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import functools
import importlib.util
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import GeneratorType
from typing import Any

import jinja2
import yaml
from jinja2 import nodes
from jinja2.nativetypes import NativeCodeGenerator
from jinja2.runtime import Context, missing

from kilonova import catalogue, conf, config_files, listening, plain, preflight, releases
from kilonova.catalogue import grammar

TREE = config_files.ROLES.parent
# One result per combination of what it depends on; something that is another on every host is not worth remembering.
REMEMBERED = 4
_SIMPLE = re.compile(r"\{\{\s*(?!(?:none|true|false)\b)([A-Za-z_]\w*)\s*\}\}", re.ASCII | re.IGNORECASE)
_FACTS = re.compile(r"'(openstack_host|ansible_\w+)' is undefined|has no attribute ")
CONTAINS_ITSELF = "contains itself: a YAML anchor (&x) that is used (*x) within what it stands for"
_VAULTED = ("EncryptedString", "AnsibleVaultEncryptedUnicode")


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
    if _keeps_types():
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
    return not _keeps_types() and _evaluated(text) != text


def _as_is(parts: list[Any]) -> Any:
    if len(parts) == 1:
        part = parts[0]
        return list(part) if isinstance(part, GeneratorType | map | filter | type({}.items()) | type({}.values())) else part
    return "".join("" if part is None else str(part) for part in parts)


def _is_template(text: str) -> bool:
    return "{{" in text or "{%" in text or "{#" in text


# What gives the same here as in Ansible's templar: filters, tests, methods and kinds of nodes. No others are resolved here.
_SAME_FILTERS = frozenset((
    "abs", "b64decode", "b64encode", "basename", "bool", "capitalize", "combine", "count", "d", "default", "dict2items",
    "dictsort", "difference", "dirname", "extract", "first", "flatten", "float", "int", "intersect", "items", "items2dict",
    "join", "last", "length", "list", "lower", "map", "max", "min", "product", "quote", "regex_replace", "regex_search",
    "reject", "rejectattr", "replace", "reverse", "round", "select", "selectattr", "sort", "split", "string", "sum",
    "ternary", "title", "to_json", "trim", "union", "unique", "upper", "zip",
))
_SAME_TESTS = frozenset((
    "boolean", "defined", "divisibleby", "eq", "equalto", "even", "false", "float", "ge", "gt", "in", "integer", "iterable",
    "le", "lower", "lt", "mapping", "match", "ne", "none", "number", "odd", "search", "sequence", "string", "true",
    "undefined", "upper",
))
_SAME_METHODS = frozenset((
    "endswith", "get", "items", "keys", "lower", "replace", "split", "startswith", "strip", "upper", "values",
))
_SAME_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getitem, nodes.Compare, nodes.Operand,
    nodes.BinExpr, nodes.UnaryExpr, nodes.Concat, nodes.CondExpr, nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword,
    nodes.Slice,
)
# What is no variable, or not the same one.
_NOT_THE_SAME = frozenset(("omit", "undef", "now", "environment", "lookup", "query", "q"))
OMITTED = "it is `omit`, which only the argument of a task can be"
# Lookups whose answer depends on nothing but what they are asked.
_CONSTANT_LOOKUPS = frozenset(("env", "file", "ini", "csvfile", "lines", "pipe", "url", "community.general.passwordstore"))


@functools.lru_cache(maxsize=10_000)
def _reads_as_ansible(source: str) -> bool:
    """Whether plain Jinja is known to read this template of an inventory as Ansible does."""
    if "\\" in source or "{%" in source:  # Ansible changes what backslashes mean
        return False
    try:
        tree = _environment().parse(source)
    except jinja2.TemplateSyntaxError:
        return True  # said when it is compiled
    return all(map(_is_same, tree.find_all(nodes.Node)))


def _is_same(node: nodes.Node) -> bool:
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
    return bool(asked) and all(name in _CONSTANT_LOOKUPS for name in asked) and {
        name.name for name in tree.find_all(nodes.Name)
    } <= {"lookup", "query", "q"} and not any(tree.find_all(nodes.Assign))


# ---------------------------------------------------------------------------------------------------------- variables


class Literal(str):
    """Text that is no template, whatever it looks like (`!unsafe`, `!vault`)."""

    __slots__ = ()


def _ansible_trusts(text: str) -> bool:
    """Whether Ansible would take `text`, from an inventory, for a template."""
    if _keeps_types():
        from ansible.template import is_trusted_as_template

        return is_trusted_as_template(text)
    from ansible.utils.unsafe_proxy import AnsibleUnsafe

    return not isinstance(text, AnsibleUnsafe)


@functools.cache
def _keeps_types() -> bool:
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
        return config_files._plain(Templar(loader=self.loader, variables=self._variables(host)).template(self._own(value)))

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
    if isinstance(value, Literal) and not _keeps_types():
        from ansible.utils.unsafe_proxy import wrap_var

        return wrap_var(str(value))
    if isinstance(value, Literal):
        return str(value)
    if isinstance(value, str) and _keeps_types():
        from ansible.template import trust_as_template

        return trust_as_template(value)
    return value


class Inventory:
    """The variables of all hosts, as Ansible has them before any template is resolved.

    `variables` gives a host's own (from inventory and extra variables), by name or called with it; `extra` are those that win
    over the roles' own. `trusted` tells whether a text of these is a template at all.
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
        self._static: dict[int, tuple[Any, bool]] = {}
        self.remembered: dict[str, list[tuple[tuple[tuple[str, Any], ...], Any]]] = {}
        self._reads_plainly: dict[int, tuple[Any, bool]] = {}
        self.constant: dict[str, Any] = {}
        self.raw_extra = dict(extra or {})
        self.extra = {name: self.plain(value, name) for name, value in self.raw_extra.items()}
        self.templar = templar or _AnsibleTemplar(trust=True)
        self.sources = sources
        if release is not None:
            self.extra["openstack_release"] = self.raw_extra["openstack_release"] = releases.find(release).name
        self.defaults, self.role_vars = _role_data()
        self._known: dict[str, Host] = {}

    @classmethod
    def of_ansible(cls, task_vars: Mapping[str, Any], **options: Any) -> Inventory:
        """Take the inventory of a running playbook from an action plugin's `task_vars`."""
        hostvars = task_vars["hostvars"]
        # There is no other way to them; what set_fact made on a host wins over roles' variables as well, and is not known here.
        extra = hostvars._variable_manager.extra_vars
        templar = _AnsibleTemplar(hostvars._loader, hostvars)
        made = cls(hostvars.raw_get, task_vars["groups"], extra=extra, trusted=_ansible_trusts, templar=templar,
                   sources=hostvars, **options)
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
        """Return a host's raw variables, with those that every host has."""
        found = {"inventory_hostname": name, **self._variables(name), "groups": self.groups, "hostvars": self.hostvars}
        if "group_names" not in found:
            members = (group for group, hosts in self.groups.items() if name in hosts)
            found["group_names"] = sorted(set(members) - {"all", "ungrouped"})
        return found

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
        elif kind.__name__ in _VAULTED:
            result = Literal(str(value))
        elif isinstance(value, str):
            result = str(value) if not _is_template(value) or self._trusted(value) else Literal(value)
        elif value is self.groups or value is self.hostvars:
            return value
        elif isinstance(value, (Mapping, list, tuple)):
            if id(value) in self._copying:
                raise GenerateError(f"{name}: {CONTAINS_ITSELF}; write it out")
            self._copying.add(id(value))
            try:
                if isinstance(value, Mapping):
                    result = {
                        str(key) if isinstance(key, str) else key: self.plain(item, name) for key, item in value.items()
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
        if not isinstance(value, (dict, list)):
            return True
        known = self._static.get(id(value))
        if known is None:
            inner = value.values() if isinstance(value, dict) else value
            known = value, all([self.static(item) for item in inner])
            self._static[id(value)] = known
        return known[1]


    def reads_plainly(self, value: Any) -> bool:
        """Whether plain Jinja reads every template in the plain `value` as Ansible does."""
        if isinstance(value, str):
            return type(value) is Literal or not _is_template(value) or _reads_as_ansible(value)
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
        self._scope = _Scope(self)

    def raw(self, name: str) -> Any:
        """Return the variable's value before templates are resolved, `missing` when there is none."""
        for layer in self.layers:
            if name in layer:
                return layer[name]
        return missing

    def is_set(self, name: str) -> bool:
        """Whether the inventory, or an extra variable, sets it."""
        return name in self.layers[0] or name in self.layers[2]

    def find(self, name: str) -> Any:
        """Return the variable's value; `missing` when there is none."""
        if name in self._values:
            self._used |= self._made_of[name]
            return self._values[name]
        if name == "vars":
            self._used.add("inventory_hostname")  # nobody knows what it depends on
            return _HostVarsOf(self)
        raw = self.raw(name)
        if name in self._busy:
            raise GenerateError(f"the variable {name} refers to itself ({' -> '.join([*self._busy, name])})")
        outer, self._used = self._used, {name}
        self._busy.append(name)
        try:
            value = raw if raw is missing else self._resolved(name, raw)
        except jinja2.UndefinedError as error:
            value = _Undefined(hint=f"{name}: {error}")
        finally:
            self._busy.pop()
            made_of, self._used = frozenset(self._used), outer
        self._used |= made_of
        self._values[name], self._made_of[name] = value, made_of
        return value

    def _resolved(self, name: str, raw: Any) -> Any:
        """Resolve a variable's raw value."""
        if name in ("groups", "hostvars") or not (name in self.layers[0] or self._is_of_inventory(name)):
            return self.resolve(raw)  # data of the roles
        plain = self.inventory.plain(raw, name)
        return self.resolve(plain) if self.inventory.reads_plainly(plain) else self._by_ansible(name, plain)

    def _is_of_inventory(self, name: str) -> bool:
        return name not in self.layers[1] and name in self.layers[2]

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
        if not isinstance(value, (dict, list)) or self.inventory.static(value):
            return value
        if isinstance(value, dict):
            return {key: self._resolve_inner(item) for key, item in value.items()}
        return [self._resolve_inner(item) for item in value]

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
            return value if _keeps_types() else _evaluated(value)
        candidates = self.inventory.remembered.setdefault(source, []) if self.layers[1] else None
        for made_of, value in candidates or ():
            if all(self.raw(name) is raw for name, raw in made_of):
                self._used.update(name for name, _raw in made_of)
                return value
        outer, self._used = self._used, set()
        try:
            scope = _Scope(self) if "{%" in source else self._scope
            value = _joined(list(_template(source).root_render_func(scope)))
        finally:
            used, self._used = self._used, outer
            self._used |= used
        if candidates is not None and len(candidates) < REMEMBERED and not isinstance(value, _Undefined):
            candidates.append((tuple((name, self.raw(name)) for name in used), value))
        return value

    def roles(self) -> list[str]:
        """Return the roles that the host gets, in order."""
        return list(self.find("openstack_host_roles"))

    def files(self) -> list[dict[str, Any]]:
        """Return the file entries that the deployment's `oslo_config` actions get on this host."""
        entries = []
        for role in self.roles():
            for variable in _file_variables(role):
                try:
                    found = self.find(variable)
                    undefined = _first_undefined(found)
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

    @property
    def release(self) -> releases.Release:
        """The host's OpenStack release."""
        return releases.find(self.find("openstack_release"))


def _explained(error: Exception, host: str, variable: str) -> GenerateError:
    said = error.message if isinstance(error, GenerateError) else str(error)
    return GenerateError(said if variable in said else f"{variable}: {said}", host)


def _first_undefined(value: Any) -> tuple[_Undefined, list[Any]] | None:
    """Return something undefined in `value` and the keys that lead to it, None when everything is defined."""
    if isinstance(value, _Undefined):
        return value, []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    for key, item in inner:
        if type(item) is not str:
            found = _first_undefined(item)
            if found is not None:
                # A file is known by its path, not by its number.
                name = item["path"] if isinstance(item, dict) and "path" in item else key
                return found[0], [name, *found[1]]
    return None


def first_undefined(value: Any) -> str:
    """Return what is undefined in `value`, as Jinja says it; empty when everything is defined."""
    found = _first_undefined(value)
    return found[0]._undefined_message if found else ""


# -------------------------------------------------------------------------------------------------------- roles' data


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML as the roles write it: `!unsafe` marks what is no template."""


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
def _role_data() -> tuple[dict[str, Any], dict[str, Any]]:
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
def _file_variables(role: str) -> list[str]:
    """Names of the variables that list a role's files: `__nova_controller_files`, `__keystone_environment_files`."""
    pattern = re.compile(rf"__{role}(_\w+)?_files")
    return [name for name in variables_of(role, "vars") if pattern.fullmatch(name)]


def unit_variables(role: str) -> list[str]:
    """Names of the variables that list a role's units."""
    pattern = re.compile(rf"__{role}(_bridge)?_units")
    return [name for name in variables_of(role, "vars") if pattern.fullmatch(name)]


@functools.cache
def override_files() -> dict[str, list[str]]:
    """Return variable -> names of the files that its role looks up in it: nova_compute_overrides -> nova.conf, ..."""
    found: dict[str, dict[str, None]] = {}
    for path in sorted(config_files.ROLES.glob("*/vars/**/*.yml")):
        role = path.relative_to(config_files.ROLES).parts[0]
        for name, file in re.findall(r"\b(\w+_overrides)\['([\w.-]+)'\]", path.read_text(encoding="utf-8")):
            if name in variables_of(role, "defaults"):
                found.setdefault(name, {})[file] = None
    return {name: list(files) for name, files in found.items()}


# ---------------------------------------------------------------------------------------------------------- generating


@dataclass(frozen=True, slots=True)
class File:
    """One file of a host."""

    host: str
    path: str
    text: str
    entry: Mapping[str, Any] = field(repr=False)
    owner: Host | None = field(default=None, repr=False, compare=False)
    """The host with its variables."""

    @property
    def mode(self) -> int:
        """Its mode on the host."""
        return int(str(self.entry.get("mode", "0644")), 8)


def files(inventory: Inventory, hosts: Iterable[str] | None = None, hide: bool = False) -> Iterator[File]:
    """Yield every file of every host, host by host. `hide` puts placeholders where secrets would be.

    Raises GenerateError, naming host and file, for data that makes none.
    """
    words = placeholders() if hide else {}
    inventory = _hidden(inventory, words) if hide else inventory
    for name in inventory.hosts() if hosts is None else hosts:
        host = inventory.host(name)
        for entry in host.files():
            try:
                text = config_files.render(entry)
            except ValueError as error:
                raise GenerateError(_with_path(entry, error), name) from error
            yield File(name, str(entry["path"]), _masked(text, words.values()) if hide else text, entry, host)


def placeholders() -> dict[str, str]:
    """Return what stands for each secret: the install guide's word where it has one, NOVA_PASS."""
    secrets = variables_of("openstack", "vars")["openstack_secrets"]
    return {
        name: word if re.fullmatch("[A-Z_]+", word) else name.removeprefix("openstack_").upper() for name, word in secrets.items()
    }


def _hidden(inventory: Inventory, words: Mapping[str, str]) -> Inventory:
    """The inventory with placeholders for the secrets; it need not have any."""
    extra = {**inventory.raw_extra, **words}
    return Inventory(
        inventory._variables, inventory.groups, extra=extra, trusted=inventory._trusted, templar=inventory.templar
    )


def _masked(text: str, words: Iterable[str]) -> str:
    """Hide what an operator set as a secret by other means; placeholders stay readable."""
    lines = text.split("\n")
    masked = config_files.mask(text).split("\n")
    if len(lines) != len(masked):  # a secret of several lines: better too much hidden than too little
        return "\n".join(masked)
    known = re.compile("|".join(map(re.escape, words)) + r"|[=:] *(true|false)$")
    return "\n".join(line if line == hidden or known.search(line) else hidden for line, hidden in zip(lines, masked, strict=True))


# ---------------------------------------------------------------------------------------------------------- validating


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong with a host's file."""

    host: str
    what: str
    """File, option, value (secrets masked), what is wrong and what to do."""
    level: str = "error"
    """As a finding's: `error` or `warning`."""

    def __str__(self) -> str:
        return f"{self.host}: {self.what}"


def check(host: str, entry: Mapping[str, Any], text: str | None = None) -> list[Complaint]:
    """Check a file whose entry has `catalogue: {release, node}` against that release's options of it; others by their form.

    Without `text`, what would be written is checked before it is. `accepted` in it names options, as ``[section] option``, whose
    warnings we know and cannot avoid.
    """
    found = _check_types(host, entry)
    wanted = entry.get("catalogue")
    if not wanted:
        path = str(entry["path"])
        known = entry.get("layers") is not None and plain.section_of(path)
        wrong = plain.check(path, config_files.sections_of(entry)) if known else ()
        return [*found, *(Complaint(host, f"{path} {what}") for what in wrong)]
    source: Any = text
    if text is None:
        source = {
            section: {option: value for option, (value, _layer) in options.items()}
            for section, options in config_files.sections_of(entry).items()
        }
    for finding in _findings(entry["path"], source, wanted):
        name = f"[{finding.section}]" + (f" {finding.option}" if finding.option else "")
        if finding.level == "warning" and name in wanted.get("accepted", ()):
            continue
        value = f" = {finding.value}" if finding.value else ""
        found.append(Complaint(host, f"{entry['path']} {name}{value}: {finding.message}", finding.level))
    return found


def _findings(path: str, source: Any, wanted: Mapping[str, Any]) -> list[catalogue.Finding]:
    """What is wrong with a file, looked for once in files of the same content."""
    asked = os.path.basename(path), wanted["release"], wanted.get("node") or None
    key = (*map(str, asked), source if isinstance(source, str) else repr(source))
    if key not in _FOUND:
        if len(_FOUND) > 1000:  # files that are another on every host
            _FOUND.clear()
        file, release, node = asked
        _FOUND[key] = catalogue.validate(source, release, node, str(file))
    return _FOUND[key]


_FOUND: dict[tuple[Any, ...], list[catalogue.Finding]] = {}


def _check_types(host: str, entry: Mapping[str, Any]) -> list[Complaint]:
    """What YAML may have made something else of than was meant, in an operator's overrides."""
    found: list[Complaint] = []
    if not _is_read_by_oslo(entry) or not _overrides(entry):
        return found
    known = config_files.catalogue_of(entry)
    overrides = {layer: entry["layers"][layer] for layer in _overrides(entry)}
    for section, options in config_files.layers_of({"layers": overrides}).items():
        for name, (value, _layer) in options.items():
            if value is None or isinstance(value, str):
                continue
            resolved = known.resolve(section, name) if known is not None else None
            said = grammar.doubtful(resolved[0], value) if resolved else None
            if known is None and isinstance(value, list) and len(value) > 1:
                what = "is a list, written as one line for each element, and of most options the last one alone counts"
                said = "warning", f"{what}; if commas are meant, write one text with them"
            if said:
                found.append(Complaint(host, f"{entry['path']} [{section}] {name}: {said[1]}", said[0]))
    return found


def _is_read_by_oslo(entry: Mapping[str, Any]) -> bool:
    """Whether the file is one of sections and options that oslo.config reads."""
    return entry.get("layers") is not None and entry.get("template") in (None, "oslo.conf.j2")


def _overrides(entry: Mapping[str, Any]) -> list[str]:
    """Names of the layers of an operator that say something."""
    return [name for name, sections in entry["layers"].items() if name.startswith("override") and sections]


# What an override may not change by itself, because something else knows it too: one row for each fact.
def _kept_twice() -> list[dict[str, Any]]:
    return variables_of("preflight", "vars")["__preflight_kept_twice"]


def check_host(host: Host, entries: Iterable[Mapping[str, Any]]) -> list[Complaint]:
    """What an operator's overrides come to on a host, all of its files taken together.

    Of the files that a unit reads one after the other, the last that sets an option counts: an override that loses is an error.
    So is one of a fact that something else knows too, and options that exclude each other.
    """
    files = {str(entry["path"]): entry for entry in entries if _is_read_by_oslo(entry)}
    if not any(_overrides(entry) for entry in files.values()):
        return []
    names = _overridden(files.values()) | grammar.related()
    merged = {path: _resolved_layers(entry, names) for path, entry in files.items()}
    usual = _usual(files.values(), names)
    found = [complaint for path, options in merged.items() for complaint in _check_kept_twice(host, path, options, usual)]
    for unit, paths in _reading_orders(host, files).items():
        read = {path: merged[path] for path in paths}
        found += [Complaint(host.name, what) for what in _lost(unit, read, files)]
        if unit == "nova-compute":
            values = {f"[{section}] {name}": conf.text(value) for (section, name), (value, _l, _m) in _in_the_end(read).items()
                      if isinstance(value, (str, int, float))}
            found += [Complaint(host.name, f"{paths[-1]} {what}") for what in grammar.conflicts(values)]
    return list(dict.fromkeys(found))


def _overridden(entries: Iterable[Mapping[str, Any]]) -> set[str]:
    """Names of all options that overrides set, with the other names of those options."""
    found: set[str] = set()
    for entry in entries:
        known = config_files.catalogue_of(entry)
        for layer in _overrides(entry):
            for section, options in entry["layers"][layer].items():
                for name in options or ():
                    resolved = known.resolve(section, name) if known is not None else None
                    found |= {name, *((resolved[0].dest, *(alias for _s, alias in resolved[0].aliases)) if resolved else ())}
    return found


def _resolved_layers(entry: Mapping[str, Any], names: set[str]) -> dict[tuple[str, str], list[tuple[Any, str, bool]]]:
    """(section, option) -> what sets it in the file: (text or list or None, layer, whether repetitions count), first what counts.

    Only options that have one of `names`.

    By the option's present name, which oslo.config tries before the deprecated ones.
    """
    known = config_files.catalogue_of(entry)
    present = config_files.sections_of(entry)
    found: dict[tuple[str, str], list[tuple[int, tuple[Any, str, bool]]]] = {}
    for section, options in config_files.layers_of(entry).items():
        for name, (_value, layer) in options.items():
            if name not in names:
                continue
            resolved = known.resolve(section, name) if known is not None else None
            option = resolved[0] if resolved else None
            key = (option.section, option.dest) if option else (conf.section_key(section), name)
            tried = [key, *option.aliases] if option else [key]
            here = (conf.section_key(section), name)
            rank = tried.index(here) if here in tried else len(tried)
            value = present.get(section, {}).get(name, (None, layer))[0]
            found.setdefault(key, []).append((rank, (value, layer, bool(option and option.multi))))
    # What is left out of the file sets nothing, but says what the operator wants.
    return {
        key: [one for _rank, one in sorted(sets, key=lambda pair: (pair[1][0] is None, pair[0]))] for key, sets in found.items()
    }


def _usual(entries: Iterable[Mapping[str, Any]], names: set[str]) -> dict[tuple[str, str], Any]:
    """(section, option) -> what our own layers set; of several files, the first."""
    found: dict[tuple[str, str], Any] = {}
    for entry in entries:
        ours = {name: sections for name, sections in entry["layers"].items() if not name.startswith("override")}
        for section, options in config_files.combine_layers(ours).items():
            for name in names.intersection(options):
                found.setdefault((conf.section_key(section), name), options[name][0])
    return found


def _reading_orders(host: Host, files: Mapping[str, Any]) -> dict[str, list[str]]:
    """Unit -> those of `files` that it reads, in its order."""
    found = {}
    for role in host.roles():
        for variable in unit_variables(role):
            for unit in host.find(variable):
                if unit.get("runs", True) and "reads" in unit:
                    found[unit["name"]] = [path for path in unit["reads"] if path in files]
    return {unit: paths for unit, paths in found.items() if paths}


Sets = Mapping[tuple[str, str], list[tuple[Any, str, bool]]]


def _in_the_end(read: Mapping[str, Sets]) -> dict[tuple[str, str], tuple[Any, str, bool]]:
    """What counts for each option after the files of `read`, in this order."""
    found: dict[tuple[str, str], tuple[Any, str, bool]] = {}
    for sets in read.values():
        for key, values in sets.items():
            if values[0][0] is not None:
                found[key] = values[0]
    return found


def _lost(unit: str, read: Mapping[str, Sets], files: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield the overrides that do not take effect, each with the remedy."""
    end = {key: (values[0], path) for path, sets in read.items() for key, values in sets.items() if values[0][0] is not None}
    for path, sets in read.items():
        for (section, name), values in sets.items():
            for value, layer, multi in values:
                if not layer.startswith("override") or (section, name) not in end:
                    continue
                (counts, by, _multi), last = end[section, name]
                same = counts == value or (None not in (counts, value) and not isinstance(counts, list) and not isinstance(
                    value, list) and conf.text(counts) == conf.text(value))
                if same or (multi and value is not None):  # of a repeated option, every file's lines count
                    continue
                variable = layer.removeprefix("overrides of ").split(" ")[0]
                if by.startswith("override") and _role_of(by) != _role_of(layer):
                    continue  # one for another service, which reads more
                file = last.rpartition("/")[2]
                if last == path:
                    what = f"is set there by its present name too ({by}), which counts"
                    remedy = f"write [{section}] {name}"
                elif by.startswith("override"):
                    what, remedy = f"is lost: {unit} reads {last} later, where {by} set it again", "leave one of them out"
                else:
                    what = f"is lost: {unit} reads {last} later, which sets it too ({by})"
                    remedy = f"write it under {file} in {_variable_of(files[last], variable)}"
                yield f"{path} [{section}] {name}, of {variable}: {what}; {remedy}"


def _role_of(layer: str) -> str:
    return layer.removeprefix("overrides of ").split("_overrides")[0].removesuffix("_host")


def _variable_of(entry: Mapping[str, Any], variable: str) -> str:
    """The variable of overrides for a file: the same if the file has it, else the file's own of that kind."""
    own = [layer.removeprefix("overrides of ").split(" ")[0] for layer in entry["layers"] if layer.startswith("override")]
    for_host = variable.endswith("_host_overrides")
    fitting = [name for name in own if name.endswith("_host_overrides") == for_host]
    return variable if variable in own or not fitting else fitting[0]


def _check_kept_twice(host: Host, path: str, sets: Sets, usual: Mapping[tuple[str, str], Any]) -> Iterator[Complaint]:
    """Yield overrides of what something else knows too, and so would know otherwise; `usual` is what our own layers set."""
    for row in _kept_twice():
        if not re.search(row["files"], path):
            continue
        for section in row["sections"]:
            for name in row["names"]:
                if (section, name) not in usual and "default" not in row:
                    continue  # nobody else has it on this host
                for value, layer, _multi in sets.get((section, name), ()):
                    if not layer.startswith("override"):
                        continue
                    before = usual.get((section, name), row.get("default"))
                    same = [conf.text(one) for one in (value, before) if isinstance(one, (str, int, float))]
                    if value == before or (len(same) == 2 and same[0] == same[1]):
                        continue
                    secret = value is None or catalogue.is_secret(name)
                    shown = "" if secret else f" = {catalogue.mask(section, name, str(value))}"
                    what = f"{row['also']} would not know of it; {row['remedy']}"
                    yield Complaint(host.name, f"{path} [{section}] {name}{shown}: {what}")


def complaints(inventory: Inventory, hosts: Iterable[str] | None = None) -> list[Complaint]:
    """Check every host's files that the catalogue knows, and whether the others can be made.

    What keeps a file from being made is one more complaint; only a warning if the host's own facts may be all that is missing.
    """
    found = []
    for name in inventory.hosts() if hosts is None else hosts:
        host, whole = inventory.host(name), True
        try:
            entries = host.files()
        except GenerateError as error:
            found.append(_complaint(error))
            continue
        for entry in entries:
            try:
                found += _open_caches(name, entry)
                if not entry.get("catalogue"):
                    config_files.render(entry)
                found += check(name, entry)
            except ValueError as error:
                found.append(_complaint(GenerateError(_with_path(entry, error), name)))
                whole = False
        if whole:
            found += check_host(host, entries)
    return found


def _open_caches(host: str, entry: Mapping[str, Any]) -> list[Complaint]:
    """What a file's services would unpickle although other hosts can write it; an override may say so."""
    if entry.get("layers") is None or entry.get("template"):
        return []
    plain = {
        section: {option: value for option, (value, _layer) in options.items()}
        for section, options in config_files.sections_of(entry).items()
    }
    return [
        Complaint(host, f"{entry['path']} [{section}] {option} = {value}: {preflight.OPEN_CACHE}")
        for section, option, value in listening.open_caches(plain)
    ]


def _complaint(error: GenerateError) -> Complaint:
    if error.needs_host:
        return Complaint(error.host, f"not checked before the host is asked: {error.message}", "warning")
    return Complaint(error.host, error.message)


def _with_path(entry: Mapping[str, Any], error: Exception) -> str:
    """What is wrong with a file, with its path at the beginning, once."""
    said = str(error).removeprefix(f"{entry['path']}: ")
    return f"{entry['path']}{' ' if said.startswith('[') else ': '}{said}"


class Checked:
    """Files as they come by, each checked on its way, and those of a host together."""

    def __init__(self, generated: Iterable[File], hide: bool = False) -> None:
        self._generated, self._hide = generated, hide
        self.complaints: list[Complaint] = []
        self.count = 0

    def __iter__(self) -> Iterator[File]:
        host: Host | None = None
        entries: list[Mapping[str, Any]] = []
        for file in self._generated:
            if file.owner is not host:
                self._together(host, entries)
                host, entries = file.owner, []
            self.count += 1
            entries.append(file.entry)
            # a text in which secrets are hidden is not what a service would read
            self.complaints += check(file.host, file.entry, None if self._hide else file.text)
            yield file
        self._together(host, entries)

    def _together(self, host: Host | None, entries: list[Mapping[str, Any]]) -> None:
        if host:
            self.complaints += check_host(host, entries)


def lines(found: Iterable[Complaint], level: str) -> list[str]:
    """Complaints of a level as text, the same one about many hosts once."""
    hosts: dict[str, list[str]] = {}
    for complaint in found:
        if complaint.level == level:
            hosts.setdefault(complaint.what, []).append(complaint.host)
    return [f"{preflight.some(names)}: {what}" for what, names in hosts.items()]


# -------------------------------------------------------------------------------------------------------------- writing

MANIFEST = "manifest.json"


@dataclass(slots=True)
class Written:
    """What a run wrote, and what differs from the run before."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    diffs: dict[str, list[str]] = field(default_factory=dict)
    """Diff, secrets masked, to the files that it is the same for."""
    all: list[dict[str, str]] = field(default_factory=list)
    """Each file with host, path on it, owner, group and mode."""


def write(generated: Iterable[File], out: Path, check_mode: bool = False) -> Written:
    """Write the files to `out`/<host>/<path>; those that no longer belong there are removed. `check_mode` writes nothing.

    Only what an earlier run's manifest names is ever removed. A file that others may not read on its host has mode 0600 here.
    """
    done = Written()
    _see_that_it_is_a_directory(out)
    for file in generated:
        name = f"{file.host}{file.path}"
        if "/" in file.host or file.host in (".", "..") or ".." in Path(file.path).parts or not file.path.startswith("/"):
            raise GenerateError(f"{file.path} is no place for a file", file.host)
        owner, group = (str(file.entry.get(key, "root")) for key in ("owner", "group"))
        done.all.append({"host": file.host, "path": file.path, "owner": owner, "group": group, "mode": f"{file.mode:04o}"})
        mode = file.mode if file.mode & stat.S_IROTH else file.mode & 0o700
        path = f"{out}/{name}"  # text: of many thousands, objects for paths are a tenth of the work
        _see_that_a_file_fits(path)
        if _differs(path, file.text, name, done) and not check_mode:
            _write_one(path, file.text, mode)
        elif not check_mode and stat.S_IMODE(os.stat(path).st_mode) != mode:
            os.chmod(path, mode)
    _see_that_a_file_fits(f"{out}/{MANIFEST}")
    present = {f"{row['host']}{row['path']}" for row in done.all}
    for name in sorted(_earlier(out) - present):
        if ".." not in Path(name).parts:
            done.removed.append(name)
            if not check_mode:
                (out / name).unlink(missing_ok=True)
    if not check_mode:
        _write_one(f"{out}/{MANIFEST}", json.dumps(done.all, indent=1) + "\n", 0o644)
    return done


def _see_that_it_is_a_directory(path: Path) -> None:
    """Raise GenerateError for what is there in the place of a directory, or of one above it."""
    if path.is_symlink() and not path.exists():
        raise GenerateError(f"{path} is a link to {os.readlink(path)}, which is not there; remove it, or name another directory")
    above = next(one for one in (path, *path.parents) if one.exists() or one.is_symlink())
    if not above.is_dir():
        raise GenerateError(f"{above} is not a directory; remove it, or name another directory")


def _see_that_a_file_fits(path: str) -> None:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        _see_that_it_is_a_directory(Path(directory))
    if os.path.isdir(path) and not os.path.islink(path):
        raise GenerateError(f"{path} is a directory, and belongs to a file; remove it, or name another directory")


def _earlier(out: Path) -> set[str]:
    try:
        return {f"{row['host']}{row['path']}" for row in json.loads((out / MANIFEST).read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def _differs(path: str, text: str, name: str, done: Written) -> bool:
    """Whether the file has to be written; says so in `done`."""
    old = None
    with contextlib.suppress(OSError), open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        old = stream.read()
    if old == text.encode():
        done.unchanged.append(name)
        return False
    if old is None:
        done.new.append(name)
    else:
        done.changed.append(name)
        done.diffs.setdefault(_difference(old.decode("utf-8", "replace"), text), []).append(name)
    return True


def _write_one(path: str, text: str, mode: int) -> None:
    directory, _slash, name = path.rpartition("/")
    part, how = f"{directory}/.{name}.part", os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(part, how, 0o600)
    except (FileNotFoundError, FileExistsError):  # asked for first, all this would be most of the work
        os.makedirs(directory, mode=0o755, exist_ok=True)
        Path(part).unlink(missing_ok=True)
        descriptor = os.open(part, how, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(text.encode())
        os.fchmod(stream.fileno(), mode)
    os.replace(part, path)


def _difference(old: str, new: str) -> str:
    """A diff of two versions of a file, secrets masked, without its header."""
    lines = difflib.unified_diff(config_files.mask(old).splitlines(), config_files.mask(new).splitlines(), n=1, lineterm="")
    return "\n".join(list(lines)[2:]) or "(only the values of hidden secrets)"


def report(done: Written, out: Path, most: int = 60) -> list[str]:
    """Lines for people: what was written, and what differs from the run before."""
    lines: list[str] = []
    names = {
        **dict.fromkeys(done.new, "new"), **dict.fromkeys(done.changed, "changed"), **dict.fromkeys(done.unchanged, "unchanged")
    }
    if len(done.all) <= most:
        lines += [f"{names[row['host'] + row['path']]:<9}  {row['mode']}  {out}/{row['host']}{row['path']}" for row in done.all]
    else:
        paths: dict[tuple[str, str], list[str]] = {}
        for row in done.all:
            paths.setdefault((row["path"], row["mode"]), []).append(names[row["host"] + row["path"]])
        for (path, mode), states in paths.items():
            counts = ", ".join(f"{states.count(state)} {state}" for state in ("new", "changed", "unchanged") if state in states)
            lines.append(f"{len(states):>6} hosts  {mode}  {path} ({counts})")
    lines += [f"removed    {out}/{name}" for name in done.removed]
    for difference, where in done.diffs.items():
        lines += ["", f"--- {preflight.some(where)}", *difference.splitlines()]
    states = ("new", "changed", "unchanged", "removed")
    total = ", ".join(f"{len(getattr(done, state))} {state}" for state in states)
    hosts = len({row["host"] for row in done.all})
    return [*lines, "", f"{len(done.all)} files of {hosts} hosts in {out}: {total}.", f"Owner, group and mode: {out}/{MANIFEST}."]

