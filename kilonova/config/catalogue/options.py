"""The options of one release that a file may have: look-up as oslo.config does it, and its types."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from oslo_config import types as oslo

from kilonova.config.catalogue import store
from kilonova.config.conf import section_key
from kilonova.config.releases import Release, find
from kilonova.onhost.masking import HIDDEN, without_passwords

AUTH, SOURCE = "{auth:%s}", "{source}"
"""Pseudo-sections: options of one of keystoneauth's plugins; options of sections that config_source names."""

BY_HAND = Path(__file__).parent / "data" / "by_hand.yml"
"""What no package says; every row names its source."""


@functools.cache
def by_hand() -> dict[str, Any]:
    """Return the hand-written knowledge; every row names its source."""
    return yaml.load(BY_HAND.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


NOVA = "nova.conf"
_NOVAS = (NOVA, "nova-compute.conf")


@functools.cache
def files() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the name of each file that is known -> its service's name, and the parts of services.json that it may have."""
    groups = by_hand()["parts"]

    def parts(names: list[str]) -> list[str]:
        return [part for name in names for part in (parts(groups[name]) if name in groups else [name])]

    known = {name: (row["service"], tuple(parts(row["parts"]))) for name, row in by_hand()["files"].items()}
    return {**{name: ("Nova", ()) for name in _NOVAS}, **known}


@functools.cache
def _stored() -> tuple[store.History, dict[int, str]]:
    return store.read()


@functools.cache
def _services() -> tuple[dict[str, store.History], dict[int, dict[str, str]]]:
    return store.read_services()


def histories(file: str = NOVA) -> list[store.History]:
    """Return the definitions of all releases, in the parts that `file` has."""
    return [_services()[0][part] for part in files()[file][1]] or [history()]


def history() -> store.History:
    """Return the definitions of nova.conf in all releases."""
    return _stored()[0]


def covers(release: Release, file: str) -> bool:
    """Say whether the options of `file` in `release` are known."""
    return file in _NOVAS or (file in files() and release.nova in _services()[1])


def package(release: Release, file: str = NOVA) -> str:
    """Return the package that the release's options were read from, "nova==26.3.0"."""
    if file in _NOVAS:
        return _stored()[1][release.nova]
    name = files()[file][0].lower()
    versions = _services()[1][release.nova]
    name = name if name in versions else f"openstack-{name}"
    return f"{name}=={versions[name]}"


# ------------------------------------------------------------------------------------------------------------ secrets

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase|code|$)|pwd|secret|token(_id|s)?$|(^|_|api)keys?$|credential|(^|_)connection(_string)?$|transport_url"
    # osprofiler's keys, Vault's roles, what OpenID Connect and OAuth log in with, and what is handed to a cache's backend
    r"|hmac|role_id$|^assertion$|^code$|backend_argument",
    re.I,
)


def mask(section: str, name: str, value: str | None, option: Option | None = None) -> str | None:
    """Return `value` fit to be shown: `(hidden)` for a secret, a URL without its password.

    Secret are options that Nova declares secret, and those with such a name; better one too many. (The mask() of texts knows no
    declarations and must find where a value ends; it goes by the end of a name.)
    """
    if not value:
        return value
    if is_secret(name, option):
        return HIDDEN
    return without_passwords(value)


def is_secret(name: str, option: Option | None = None) -> bool:
    """Say whether the option's value must not be shown at all."""
    return bool((option and option.secret) or _SECRET_NAME.search(name))


# ------------------------------------------------------------------------------------------------------------ options


class Option:
    """One option of one release."""

    __slots__ = ("_aliases", "_type", "dest", "name", "section", "spec")

    def __init__(self, section: str, name: str, spec: store.Spec) -> None:
        self.section = section
        self.name = name
        self.dest: str = spec.get("dest") or name.replace("-", "_")
        """The name in a file: oslo.config finds `auth-url` as `auth_url` only."""
        self.spec = spec
        self._type: Any = None
        self._aliases: list[tuple[str, str]] | None = None

    def __repr__(self) -> str:
        return f"[{self.section}] {self.dest}"

    @property
    def default(self) -> Any:
        """The default; computed ones are placeholders such as `<host_ipv4>`, None means that there is none."""
        return self.spec.get("default")

    @property
    def secret(self) -> bool:
        return self.spec.get("secret", False)

    @property
    def multi(self) -> bool:
        """Whether every repetition counts, not only the last."""
        return self.spec.get("multi", False)

    @property
    def choices(self) -> list[Any] | None:
        return self.spec.get("choices")

    @property
    def deprecated(self) -> str | None:
        """Why the option will be removed ("" when Nova does not say); None when it is not deprecated."""
        return self.spec.get("deprecated")

    @property
    def aliases(self) -> list[tuple[str, str]]:
        """Deprecated (section, name) pairs that still work, in the order in which oslo.config tries them."""
        if self._aliases is None:
            pairs = [(section_key(s or self.section), n or self.dest) for s, n in self.spec.get("aliases", ())]
            self._aliases = [p for p in pairs if p != (self.section, self.dest)]
        return self._aliases

    @property
    def type(self) -> Any:
        """The oslo.config type; call it with a text to get the value, or ValueError."""
        if self._type is None:
            self._type = _type(self.spec)
        return self._type


def _type(spec: Mapping[str, Any]) -> Any:
    """Return the oslo.config type that `spec` describes."""
    kind = spec["type"]
    arguments = {k: spec[k] for k in _ARGUMENTS if k in spec}
    if kind in ("List", "Dict"):
        return getattr(oslo, kind)(_type(spec["item"]) if "item" in spec else None, **arguments)
    regex = arguments.get("regex")
    if isinstance(regex, dict):
        arguments["regex"] = re.compile(regex["pattern"], regex["flags"])
    if kind == "MultiString":
        kind = "String"  # one element: the option repeats, not the type
    return getattr(oslo, kind)(**arguments)


_ARGUMENTS = (
    "bounds",
    "choices",
    "ignore_case",
    "key_value_separator",
    "max",
    "max_length",
    "min",
    "quotes",
    "regex",
    "schemes",
    "version",
)


class Catalogue:
    """Every option of one release that a file may have."""

    def __init__(self, release: Release, file: str = NOVA) -> None:
        self.release, self.file = release, file
        self.service = files()[file][0]
        self.sections: dict[str, dict[str, Option]] = {}
        """Section -> name in a file -> option."""
        self._aliases: dict[tuple[str, str], list[Option]] = {}
        self._patterns: dict[str, str] = {}
        secrets = {(row["section"], name) for row in by_hand()["secrets"] for name in row["names"]}
        for part in histories(file):
            for section, options in store.at(part, release.nova).items():
                known = self.sections.setdefault(section, {})
                for name, spec in options.items():
                    if (section, name) in secrets:
                        spec = {**spec, "secret": True}
                    option = Option(section, name, spec)
                    # two spellings of one option, `region-name` and `region_name`: the same in a file
                    if option.dest not in known or name == option.dest:
                        known[option.dest] = option
        backports = [row for row in by_hand()["backports"] if row["section"] in self.sections]
        for row in [*(by_hand()["sections"] if file in _NOVAS else ()), *backports]:
            if row["from"] <= release.nova <= row.get("to", release.nova):
                known = {n: Option(row["section"], n, spec) for n, spec in row["options"].items()}
                self.sections.setdefault(row["section"], {}).update(known)
        for section, known in self.sections.items():
            if section.endswith("*"):
                self._patterns[section[:-1]] = section
            for option in known.values():
                for alias in option.aliases:
                    self._aliases.setdefault(alias, []).append(option)
                    if alias[0].endswith("*"):
                        self._patterns[alias[0][:-1]] = alias[0]

    def __len__(self) -> int:
        return sum(len(known) for section, known in self.sections.items() if section[0] != "{")

    def family(self, section: str) -> str:
        """Return the catalogue's name of `section`: `mdev_*` for `mdev_nvidia-35`, else the section's own."""
        if section not in self.sections:
            for prefix, pattern in self._patterns.items():
                if section.startswith(prefix):
                    return pattern
        return section

    def plugin(self, name: str | None) -> dict[str, Option]:
        """Return the options of the auth plugin `name`; of all plugins together for one that we do not know."""
        if self.knows_plugin(name):
            return self.sections[AUTH % name]
        return {n: o for s, known in self.sections.items() if s.startswith("{auth:") for n, o in known.items()}

    def knows_plugin(self, name: str | None) -> bool:
        """Say whether `name` is one of keystoneauth's own plugins: others may read any option."""
        return AUTH % name in self.sections

    def own(self, section: str, name: str) -> Option | None:
        """Return the option with this current name that belongs to the section whichever plugin it chooses, or None."""
        return self.sections.get(self.family(section), {}).get(name)

    def plugin_option(self, section: str, name: str, plugin: str | None) -> bool:
        """Say whether the section's auth plugin reads (section, name) too, by a current or a deprecated name."""
        if "auth_type" not in self.sections.get(self.family(section), ()):
            return False
        return any(name == o.dest or (o.section, name) in o.aliases for o in self.plugin(plugin).values())

    def get(self, section: str, name: str, plugin: str | None = "password") -> Option | None:
        """Return the option with this current name, spelled as in a file, or None.

        `plugin` is the section's auth_type, where it has one.
        """
        family = self.family(section)
        known = self.sections.get(family)
        if known is None:
            return None
        option = known.get(name)
        if option is None and "auth_type" in known:
            option = self.plugin(plugin).get(name)
        if option is None or option.section == section:
            return option
        return Option(section, option.name, option.spec)

    def aliased(self, section: str, name: str, plugin: str | None = "password") -> list[Option]:
        """Return the options that read the deprecated (section, name), one of the same section first."""
        family = self.family(section)
        found = sorted(self._aliases.get((family, name), []), key=lambda o: o.section != section)
        if not found and "auth_type" in self.sections.get(family, ()) and self.knows_plugin(plugin):
            own = [o for o in self.plugin(plugin).values() if (o.section, name) in o.aliases]
            return [Option(section, o.name, o.spec) for o in own]
        if family == section:
            return found
        # [vgpu_nvidia-35] is an alias of [mdev_nvidia-35]
        rest = section[len(family) - 1 :]
        return [Option(o.section[:-1] + rest, o.name, o.spec) if o.section[-1] == "*" else o for o in found]

    def resolve(self, section: str, name: str, plugin: str | None = "password") -> tuple[Option, bool] | None:
        """Return (option, whether by a deprecated name) of what a file sets as (section, name), or None."""
        section = section_key(section)
        option = self.get(section, name, plugin)
        if option:
            return option, False
        aliased = self.aliased(section, name, plugin)
        return (aliased[0], True) if aliased else None

    def has_section(self, section: str) -> bool:
        """Say whether `section` can have any option, current or deprecated."""
        family = self.family(section)
        return family in self.sections or any(s == family for s, _ in self._aliases)

    def nearest(self, section: str, name: str, plugin: str = "password", kind: str = "") -> str | None:
        """Return the valid option that was most likely meant, as "[section] name", or None.

        `plugin` is the section's auth_type, where it has one; `kind` the pseudo-section of its options, where it is dynamic.
        """
        known = self.sections.get(kind or self.family(section), {})
        names = [*known, *(self.plugin(plugin) if "auth_type" in known else ())]
        plain = name.replace("-", "_").lower()
        near = [plain] if plain in names else difflib.get_close_matches(plain, names, n=1, cutoff=0.8)
        if near:
            return f"[{section}] {near[0]}"
        elsewhere = [s for s, options in self.sections.items() if s[0] != "{" and name in options]
        best = difflib.get_close_matches(section, elsewhere, n=1, cutoff=0.6)
        if not best and len(elsewhere) == 1 and "DEFAULT" in (section, *elsewhere):
            best = elsewhere  # under the wrong header; the same name in two services' sections means two things
        return f"[{best[0]}] {name}" if best else None

    def nearest_section(self, section: str) -> str | None:
        """Return the valid section that was most likely meant, or None."""
        names = {s.lower(): s for s in self.sections if s[0] != "{"}
        near = difflib.get_close_matches(section.lower(), names, n=1, cutoff=0.7)
        return names[near[0]] if near else None


@functools.cache
def _catalogue(release: Release, file: str) -> Catalogue:
    return Catalogue(release, file)


def catalogue(release: str | int | float | Release, file: str = NOVA) -> Catalogue:
    """Return the catalogue of `file` in `release` (name, number or Nova's major version); ValueError when there is none."""
    found = find(release)
    if not covers(found, file):
        raise ValueError(f"the options of {file} are not known in {found.title}")
    return _catalogue(found, NOVA if file in _NOVAS else file)
