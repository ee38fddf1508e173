"""From data to files: what a host's configuration files contain, and what a service reads of them.

A *file* is a mapping that a role declares, with these keys:

    path        absolute path on the host
    owner       its user, `root` without it; group: its group, `root`; mode: its permissions in octal, `"0644"`
    template    file that prints it, in templates/ or the role's own; `oslo.conf.j2` without it
    layers      name of a layer -> section -> option -> value. A later layer wins; a list is a repeated option, null leaves the
                option out. Overrides are layers, too, which the mechanism adds (overrides.py)
    variables   of a template of its own, for a file without layers
    merge       of a YAML file, the mapping in which entries that are not ours stay, as other clouds in a clouds.yaml
    catalogue   of a file whose options are known, what it is checked against before it is written: `release`; `node`,
                `controller` or `compute`, to find options of the other; `accepted`, options ("[section] option") whose
                warnings are known
    optional    one of its variables: where that is empty, the file is written only if an earlier run wrote it, to take it back
    role        the role that declares it, where another role reads it; overrides: the names under which its overrides stand

Everything here runs where Ansible runs, once for all of a host's files, and touches no host: the deployment and `make config`
share it. All data is of built-in types: what comes from Ansible's templar passes through `built_in` first.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote as percent_encode

import jinja2
import yaml
from ansible.module_utils.parsing.convert_bool import boolean

from kilonova.config import addresses, conf, releases
from kilonova.config.once import once_for_objects
from kilonova.onhost.digests import plain
from kilonova.onhost.masking import mask as mask

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
# Prints any file that is declared by layers.
USUAL_TEMPLATE = "oslo.conf.j2"
SECTION_TEMPLATE = "oslo_section.j2"
# Print the options of [DEFAULT] alone, in files that know no sections.
WITHOUT_SECTIONS = ("settings.j2", "arguments.j2")
# Print values as Python has them, of any kind. [DEFAULT] has settings; other sections, what to set in one that is a mapping.
OF_PYTHON = ("horizon_settings.py.j2",)
ROLES = Path(__file__).resolve().parents[2] / "roles"


def combine_layers(layers: Mapping[str, Mapping[str, Mapping[str, Any]] | None]) -> dict[str, dict[str, tuple[Any, str]]]:
    """Merge mappings of sections and options; a later layer wins.

    Returns section -> option -> (value, name of the layer that set it), in the order in which they were first named.
    A value of None means that the option is left out of the file; a list means a repeated option.
    """
    return {section: _merged(section, given) for section, given in _given(layers).items()}


# Characters that would make another name or a new line in the file.
_NOT_IN_SECTIONS = "[]"
_NOT_IN_OPTIONS = "[]=:"


@lru_cache(maxsize=10_000)
def _is_name(name: str, forbidden: str) -> bool:
    """Whether it can be the name of a section or option. The files of all hosts have the same few hundred names."""
    return bool(name) and name.isprintable() and name == name.strip() and name[0] not in "#;" and not set(name) & set(forbidden)


def _must_be_name(layer: str, what: str, name: Any, forbidden: str) -> None:
    """Raise ValueError when a key of a layer cannot be the name of a section or option."""
    if type(name) is str and _is_name(name, forbidden):
        return
    if not isinstance(name, str):
        shown = str(name).lower() if isinstance(name, bool) else name
        raise ValueError(f"{layer}: the name {shown} of {what} is not a text; write it in quotes")
    if _is_name(str(name), forbidden):
        return
    bad = next((at for at, sign in enumerate(name) if sign in forbidden or not sign.isprintable()), None)
    if bad is not None:
        breaks = name[bad] in "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
        # What comes after a line break or an = sign may be a secret.
        shown, why = name[:bad].strip() + "…", f"contains {'a line break' if breaks else repr(name[bad])}"
    elif name != name.strip() or not name:
        shown, why = name.strip(), "is empty, or has blanks around it"
    elif name[0] in "#;":
        shown, why = name, f"begins with {name[0]!r}, as a comment does"
    else:
        return
    raise ValueError(f"{layer}: the name {shown!r} of {what} {why}; correct it")


def _must_be_mapping(layer: str, what: str, data: Any, example: str) -> None:
    """Raise ValueError when it is not; its content may be a secret and is not shown."""
    if type(data) is not dict and not isinstance(data, Mapping):
        kind = "empty" if data is None else type(data).__name__
        raise ValueError(f"{layer}: {what} is {kind}, not a mapping; write e.g. {example}")


def options_for_release(rows: Iterable[Mapping[str, Any]], release: str) -> dict[str, dict[str, Any]]:
    """Merge the `options` of those rows whose `since`..`until` (both inclusive, both optional) contain `release`."""
    wanted = releases.find(release).nova
    merged: dict[str, dict[str, Any]] = {}
    for row in rows:
        since = releases.find(row["since"]).nova if row.get("since") else 0
        until = releases.find(row["until"]).nova if row.get("until") else 10**6
        if since <= wanted <= until:
            for section, options in row["options"].items():
                merged.setdefault(section, {}).update(options)
    return merged


def for_release(table: Mapping[str, Any], release: str) -> Any:
    """Return the row of a per-release table: the newest row that is not newer than `release`.

    Keys are series names. Raises ValueError when even the oldest row is newer.
    """
    wanted = releases.find(release)
    rows = sorted((releases.find(name).nova, name) for name in table)
    fitting = [name for nova, name in rows if nova <= wanted.nova]
    if not fitting:
        raise ValueError(f"openstack_release {release!r} is older than every known release: {', '.join(n for _, n in rows)}")
    return table[fitting[-1]]


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # configuration files, not HTML
        # What several roles render, and what one alone does; a test sees that no two have the same name.
        loader=jinja2.FileSystemLoader([TEMPLATES, *sorted(ROLES.glob("*/templates"))]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    # A file asks them of each option: Jinja's own tests, and methods that a template calls, take longer.
    environment.tests["override"] = lambda layer: layer.startswith("override")
    environment.tests["repeated"] = lambda value: isinstance(value, (list, tuple))
    environment.filters["oslo_section"] = _section_text
    environment.filters["oslo_value"] = conf.quote
    environment.filters["ini_value"] = _ini_value
    environment.filters["libvirt_setting"] = _libvirt_setting
    environment.filters["shell"] = shlex.quote
    environment.filters["bool"] = boolean
    environment.filters["to_yaml"] = lambda data: yaml.safe_dump(
        # Never folded: a line that continues a secret would not be hidden from a diff (mask). What is not ASCII is escaped,
        # because a line break of Unicode would be read as a space.
        # A copy: what stands in two places would be written once, with a reference to it.
        built_in(data),
        sort_keys=False,
        width=float("inf"),
    )
    environment.filters["to_json"] = lambda data: json.dumps(data, indent=2, allow_nan=False)
    return environment


@cache
def _template(name: str) -> jinja2.Template:
    template = _environment().get_template(name)
    template.globals = dict(template.globals)  # not a view, of which Jinja makes a mapping for each file
    return template


@once_for_objects
def _section_text(options: Mapping[str, Any], section: str) -> str:
    return _template(SECTION_TEMPLATE).render(section=section, options=options)


def _ini_value(value: Any) -> str:
    """A value for uwsgi and MariaDB files, which know no quoting: booleans in lower case, everything else as it is."""
    if isinstance(value, (Mapping, list, tuple)):
        raise ValueError(f"a {'mapping' if isinstance(value, Mapping) else 'list'} is not a value of an option; write one value")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if any(character in text for character in "\n\r\0"):
        raise ValueError("a line break or NUL cannot stand in a configuration value; write it on one line")
    return text


def _libvirt_setting(value: Any, name: Any) -> str:
    """A line of libvirt's own configuration files; ValueError names the setting, never the value."""
    # With any other name, libvirt does not read the file, and does not start.
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name), re.ASCII):
        raise ValueError(f"{str(name)!r} is not a name of a setting; write letters, digits and underscores, e.g. vnc_tls")
    try:
        return f"{name} = {_libvirt_value(value)}"
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _libvirt_value(value: Any) -> str:
    """A value as libvirt's own configuration files write it: a number, a quoted text, or a list of these."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return f"[ {', '.join(map(_libvirt_value, value))} ]"
    if not isinstance(value, str):
        raise ValueError(f"{conf.kind(value)} cannot stand in libvirt's files; write a number, a text or a list of these")
    text = _ini_value(value)
    # libvirt knows no escapes.
    quote = next((mark for mark in "\"'" if mark not in text), None)
    if quote is None:
        raise ValueError("a text with both kinds of quotes cannot stand in libvirt's files; leave one kind out")
    return f"{quote}{text}{quote}"


def is_omitted(value: Any) -> bool:
    """Whether the value is what `omit` was before ansible-core 2.19: Ansible removes it from every container."""
    return isinstance(value, str) and value.startswith("__omit_place_holder__")


def built_in(data: Any) -> Any:
    """Copy `data` as built-in types: Ansible's tagged strings and lazy containers are not for other libraries."""
    if isinstance(data, Mapping):
        return {
            built_in(key) if isinstance(key, str) else key: built_in(value)
            for key, value in data.items()
            if not is_omitted(value)
        }
    if isinstance(data, (list, tuple)):
        return [built_in(value) for value in data if not is_omitted(value)]
    if isinstance(data, bool) or data is None:
        return data
    if isinstance(data, str):
        # Not str(data): an unsafe string of ansible-core 2.18 answers with itself.
        return str.__str__(data)
    for kind in (int, float):
        if isinstance(data, kind):
            return kind(data)
    return data


def sections_of(entry: Mapping[str, Any]) -> dict[str, dict[str, tuple[Any, str]]]:
    """Return the merged sections of a file that is declared by layers, without the options that are None.

    A list or a mapping is the text that the option's type makes of it, or a list of texts for a repeated option.
    """
    found: dict[str, dict[str, tuple[Any, str]]] = {}
    wrong = []
    file, release = str(entry["path"]).rpartition("/")[2], (entry.get("catalogue") or {}).get("release")
    of_python = entry.get("template") in OF_PYTHON
    for section, given in _given(entry["layers"]).items():
        found[section], complaints = _section(file, release, of_python, section, *itertools.chain.from_iterable(given))
        wrong += complaints
    if wrong:
        raise ValueError(" | ".join(wrong))
    return found


def _given(layers: Mapping[str, Mapping[str, Mapping[str, Any]] | None]) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """Section -> (layer, options) of each layer that has it."""
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for layer, sections in layers.items():
        if sections is None:
            continue
        _must_be_mapping(layer, "the file", sections, "DEFAULT: {debug: true}")
        for section, options in sections.items():
            _must_be_name(layer, "a section", section, _NOT_IN_SECTIONS)
            _must_be_mapping(layer, f"section [{section}]", options, f"{section}: {{debug: true}}")
            found.setdefault(section, []).append((layer, options))
    return found


@once_for_objects
def _section(
    file: str, release: str | None, of_python: bool, section: str, *given: Any
) -> tuple[dict[str, tuple[Any, str]], list[str]]:
    """Return the options of a section as they are written, and what cannot be; `given` are a layer, its options, and so on.

    Most sections of a file have the same mappings on all hosts (inventories.Inventory.combined).
    """
    written: dict[str, tuple[Any, str]] = {}
    wrong = []
    for option, (value, layer) in _merged(section, zip(given[::2], given[1::2], strict=True)).items():
        try:
            text = _python(value) if of_python else _written(file, release, section, option, value)
        except ValueError as error:
            wrong.append(f"{layer}: option {option} of [{section}] {error}")
        else:
            if text is not None:
                written[option] = (text, layer)
    return written, wrong


def _merged(section: str, given: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[str, tuple[Any, str]]:
    """Option -> (value, layer that set it) of a section."""
    merged = {}
    for layer, options in given:
        for option, value in options.items():
            _must_be_name(layer, f"an option of [{section}]", option, _NOT_IN_OPTIONS)
            merged[option] = (value, layer)
    return merged


def layers_of(entry: Mapping[str, Any]) -> dict[str, dict[str, tuple[Any, str]]]:
    """Return the merged layers of a file as they are in the data, with the options that are None."""
    return combine_layers(entry["layers"])


def catalogue_of(entry: Mapping[str, Any]) -> Any:
    """Return the catalogue of the options that a file may have, None where there is none."""
    wanted = entry.get("catalogue")
    return _catalogue(str(entry["path"]).rpartition("/")[2], wanted["release"]) if wanted else None


def _catalogue(file: str, release: str) -> Any:
    # A fifth of a second, which most files of a deployment never need.
    from kilonova.config.catalogue.options import catalogue, covers

    return catalogue(release, file) if covers(releases.find(release), file) else None


def _written(file: str, release: str | None, section: str, name: str, value: Any) -> Any:
    """Return the text in the file for an option's value; ValueError, without the value, for what cannot."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if not isinstance(value, (Mapping, list, tuple)):
        raise ValueError(f"is {conf.kind(value)} to YAML, and not a text; put it in quotes")
    known = _catalogue(file, release) if release else None
    found = known.resolve(section, name) if known is not None else None
    if found:
        from kilonova.config.catalogue import grammar

        return grammar.written(found[0], value)
    if isinstance(value, Mapping):
        raise ValueError("is a mapping, not a value or a list of them")
    for one in value:
        if not (one is None or isinstance(one, (str, int, float))):
            raise ValueError(f"has an element that is not a value of an option ({conf.kind(one)}); write a text or a number")
    return value


def _python(value: Any) -> str | None:
    """Return a value as Python has it; None for one that is left out. ValueError, without the value, for what cannot."""
    if value is None:
        return None
    return repr(_simple(value))


def _simple(value: Any) -> Any:
    """A value of YAML as Python's own types, whose repr() Python reads."""
    if isinstance(value, Mapping):
        return {str(key): _simple(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_simple(item) for item in value]
    if value is None or type(value) in (bool, str) or (type(value) in (int, float) and value == value and abs(value) != math.inf):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    raise ValueError(f"is {conf.kind(value)} to YAML, or has one in it; put it in quotes")


def render(entry: Mapping[str, Any]) -> str:
    """Return the text of one declared file. Errors name the file: ValueError for data that cannot be written."""
    try:
        template = _template(entry.get("template") or USUAL_TEMPLATE)
        if entry.get("layers") is not None:
            sections = sections_of(entry)
            if entry.get("template") in WITHOUT_SECTIONS and (unknown := sections.keys() - {"DEFAULT"}):
                raise ValueError(
                    f"section [{min(unknown)}] cannot stand in a file without sections; write its options under DEFAULT"
                )
            return template.render(path=entry["path"], sections=sections)
        return template.render(path=entry["path"], **(entry.get("variables") or {}))
    except (ValueError, TypeError, jinja2.TemplateError) as error:
        raise ValueError(f"{entry['path']}: {error}") from error


def says_nothing(entry: Mapping[str, Any]) -> bool:
    """Whether a file has nothing to say on this host (`optional`)."""
    return "optional" in entry and not entry["variables"][entry["optional"]]


def digests(files: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return path -> section -> digest of what the section will contain (`*` for a file without sections).

    Two equal digests mean that a service that reads only that section needs no restart.
    """
    result: dict[str, dict[str, str]] = {}
    for entry in files:
        if entry.get("layers") is not None and entry.get("template") not in WITHOUT_SECTIONS:
            parts = {
                section: repr([(option, value) for option, (value, _layer) in options.items()])
                for section, options in sections_of(entry).items()
            }
        else:
            parts = {"*": render(entry)}
        result[str(entry["path"])] = {section: plain(text) for section, text in parts.items()}
    return result


def units_with_digests(
    units: Iterable[Mapping[str, Any]], files: Iterable[Mapping[str, Any]], absent: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Return `units` for the module service_units: digests of what each reads, in the place of `reads` and `ignores`.

    `reads` is a list of paths (default: all `files`); `ignores` names sections that this unit does not use: their digest is "".
    `absent` has the paths of files that this host does not need (`optional`).
    """
    known = digests(files)
    result = []
    for unit in units:
        paths = [path for path in unit.get("reads", known) if path not in absent]
        unknown = [path for path in paths if path not in known]
        if unknown:
            raise ValueError(f"unit {unit['name']} reads {unknown[0]}, which is not among the files {', '.join(known)}")
        ignored = dict.fromkeys(unit.get("ignores") or (), "")
        kept = {key: value for key, value in unit.items() if key not in ("reads", "ignores")}
        result.append({**kept, "digests": {path: {**known[path], **ignored} for path in paths}})
    return result


def role_packages(roles: Iterable[str], release: str, roles_path: Path = ROLES) -> list[str]:
    """Return the packages that `roles` install in `release`, each once, in the roles' order."""
    names: dict[str, None] = {}
    for role in roles:
        path = roles_path / role / "vars" / "main" / "packages.yml"
        if path.exists():
            table = yaml.safe_load(path.read_text(encoding="utf-8"))[f"__{role}_packages"]
            names.update(dict.fromkeys(for_release(table, release)))
    return list(names)


def role_files(roles: Iterable[str], roles_path: Path = ROLES) -> list[str]:
    """Return the files that `roles` may write, in whatever release, where their data says the path itself, each once."""
    paths = [str(entry["path"]) for entry in declared(roles, roles_path)]
    return list(dict.fromkeys(path for path in paths if path.startswith("/") and "{{" not in path))


def declared(roles: Iterable[str], roles_path: Path = ROLES) -> Iterator[Mapping[str, Any]]:
    """Yield the files that `roles` declare, in whatever release, as their data has them."""

    def look(data: Any) -> Iterator[Mapping[str, Any]]:
        if isinstance(data, Mapping) and "path" in data and data.keys() & {"layers", "variables", "template"}:
            yield data
        for value in data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ():
            yield from look(value)

    for role in roles:
        for source in sorted((roles_path / role / "vars" / "main").glob("*.yml")):
            yield from look(_role_data(source))


@cache
def _role_data(source: Path) -> Any:
    """A role's data, read once for all hosts."""
    return yaml.load(source.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def literal(value: Any) -> str:
    """Return a secret as the value of an option: every `$` is doubled, so that oslo.config interpolates nothing.

    Quotes are the template's (a value that is quoted here would be quoted twice). Raises ValueError for what cannot be written.
    """
    conf.literal(value)
    return conf.text(value).replace("$", "$$")


def url(scheme: str, host: str, port: int, user: str, password: str, path: str = "") -> str:
    """Return `scheme://user:password@host:port/path` with user and password percent-encoded (RFC 3986, no safe characters).

    oslo.db, oslo.messaging and Nova's cell templates all decode what is encoded here; they misread raw `@ : / ? # [ %`.
    PyMySQL sends a password as Latin-1, and MariaDB knows it as UTF-8: it gets text whose Latin-1 is the password's UTF-8.
    """
    if scheme.endswith("+pymysql"):
        password = str(password).encode().decode("latin-1")

    def encode(text: str) -> str:
        return percent_encode(str(text), safe="")

    return f"{scheme}://{encode(user)}:{encode(password)}@{addresses.host_port(host, port)}/{encode(path)}"


def rabbit_password(password: str) -> str:
    """Return what the account of RabbitMQ has as its password.

    oslo.messaging decodes a URL's password and encodes it again for kombu, but for slashes, at which kombu then cuts it.
    """
    return str(password).replace("/", "%2F")


def database_login(user: str, logins: Mapping[str, Any], administrator: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a module reads the databases of `user`, one of the accounts of `logins`.

    `administrator` is {} for our own server, which root reaches by its socket; without a `user`, the server's administrator is
    unknown, and the account itself logs in.
    """
    if not administrator or administrator.get("user"):
        return dict(administrator)
    account = next(one for one in logins["accounts"] if one["user"] == user)
    return {**administrator, "user": user, "password": account["password"]}
