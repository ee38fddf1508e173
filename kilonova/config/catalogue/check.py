"""Check a configuration file against the options of one release, before it is applied."""

from __future__ import annotations

import difflib
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kilonova.config import conf
from kilonova.config.catalogue import grammar
from kilonova.config.catalogue.changes import fate, first_release, is_about, last_release, lives, older
from kilonova.config.catalogue.options import NOVA, SOURCE, Catalogue, Option, by_hand, catalogue, covers, files, is_secret, mask
from kilonova.config.releases import NEWEST, OLDEST, Release, find
from kilonova.onhost.masking import HIDDEN, without_passwords


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem, present or to come."""

    level: str
    """`error`: the service would fail, or ignore it silently. `warning`: it works, but not for long or not as it looks."""
    section: str
    option: str | None
    """None when the finding is about the section as a whole."""
    value: str | None
    """Secrets masked."""
    message: str
    """The problem and the remedy."""
    line: int | None = None

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line else ""
        name = f"[{self.section}]" + (f" {self.option}" if self.option else "")
        return f"{self.level}: {where}{name}: {self.message}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings that must stop a deployment."""
    return [f for f in findings if f.level == "error"]


def validate(
    source: str | bytes | conf.Conf | Mapping[str, Any], release: str | Release, node: str | None = None, file: str = NOVA
) -> list[Finding]:
    """Return what is wrong with `source`, a file or the mapping that one is rendered from, in its order.

    `file` is its name (options.files has all that are known). Of a release before Zed only nova.conf is known, and nothing is
    found in others.

    `node` says what the host is, `controller` or `compute`, for options that belong to the other; without it, or
    for a host that is both, these are not looked for.

    Raises ValueError for a release or node that does not exist, conf.ConfError for a file that cannot be read.
    """
    if node not in (None, "controller", "compute"):
        raise ValueError(f"unknown kind of node {node!r} (controller, compute or None)")
    found = find(release)
    if file in files() and not covers(found, file):
        return []
    return _Check(source, found, node, file).findings()


# ----------------------------------------------------------------------------------------------------- interpolation

REFERENCE = re.compile(r"\$(?:(?P<escaped>\$)|(?P<bare>[_a-z][._a-z0-9]*)|\{(?P<braced>[_a-z][._a-z0-9]*)\})", re.I | re.A)
"""As oslo_config.cfg.ConfigOpts.Template: a bare name may contain dots, and swallows them."""

_PLACEHOLDERS = {"<host_ipv4>": "192.0.2.1", "<current_hostname>": "localhost"}


LONGEST, DEEPEST = 1_000_000, 100
"""How long references may make a value, and how far they may lead: beyond, oslo.config takes minutes, or fails."""


class Unresolved(ValueError):
    """An interpolation that oslo.config cannot resolve; reading the option would fail. Its text tells nothing of the value."""


class Values:
    """The values that options have in a file, interpolated as oslo.config does it."""

    def __init__(self, cat: Catalogue, items: Iterable[conf.Item]) -> None:
        self.cat = cat
        self._every: dict[tuple[str, str], list[str]] = {}
        for item in items:
            self._every.setdefault((item.section, item.name), []).append(item.value)
        # The last one counts, but of an option that may be set several times.
        self.set: dict[tuple[str, str], str] = {name: values[-1] for name, values in self._every.items()}
        self._substituted: dict[str, str] = {}
        self._referred: dict[tuple[str, str], Option | None] = {}

    def plugin(self, section: str) -> str:
        """Return the auth plugin that `section` chooses."""
        return self.set.get((section, "auth_type")) or self.set.get((section, "auth_plugin")) or "password"

    def effective(self, option: Option) -> str:
        """Return the text of the option's value: set by its name or a deprecated one, or its default."""
        for name in [(option.section, option.dest), *option.aliases]:
            if name in self.set:
                return self.set[name]
        return self.default(option)

    @staticmethod
    def default(option: Option) -> str:
        """Return the text of the option's default."""
        default = option.default
        if default is None:
            return ""
        if isinstance(default, list):
            return ",".join(map(str, default))
        if isinstance(default, dict):
            return ",".join(f"{key}:{value}" for key, value in default.items())
        return _PLACEHOLDERS.get(str(default), str(default))

    def holds(self, condition: Sequence[str]) -> bool:
        """Say whether the value of an option, set or default, matches: (section, name, pattern). Of several values, all must."""
        section, name, pattern = condition
        option = self.cat.get(section, name, self.plugin(section))
        if option is None:
            return False
        texts = [self.effective(option)]
        if option.spec.get("multi"):
            texts = [text for at in ((section, option.dest), *option.aliases) for text in self._every.get(at, ())] or texts
        try:
            return all(re.search(pattern, self.substituted(text, section)) for text in texts)
        except Unresolved:
            return False

    def referred(self, key: str, section: str) -> Option | None:
        """Return the option that `$key` in a value of `section` means, or None."""
        if (key, section) not in self._referred:
            self._referred[key, section] = self._refer(key, section)
        return self._referred[key, section]

    def _refer(self, key: str, section: str) -> Option | None:
        group, dot, name = key.partition(".")
        if dot:
            found = self.cat.get(group, name, self.plugin(group)) if group != "DEFAULT" else None
        else:
            resolved = self.cat.resolve(section, key, self.plugin(section))
            found = resolved[0] if resolved else None
        if found is None and not dot and key not in self.cat.sections:
            resolved = self.cat.resolve("DEFAULT", key)
            found = resolved[0] if resolved else None
        return found

    def substituted(self, text: str, section: str, seen: tuple[str, ...] = ()) -> str:
        """Return `text` with its references replaced; Unresolved says what is wrong with one."""
        if "$" not in text:
            return text
        length = len(text)

        def replace(match: re.Match[str]) -> str:
            nonlocal length
            if match["escaped"]:
                return "$"
            option = self.referred(match["bare"] or match["braced"], section)
            if option is None:
                raise Unresolved(f"{match[0]} refers to no option")
            name = repr(option)
            if name in seen:
                raise Unresolved(f"{match[0]} refers to itself")
            if len(seen) == DEEPEST:
                raise Unresolved(f"references lead on from one to the next more than {DEEPEST} times")
            if name not in self._substituted:  # each option once: two references to the next double with every option
                self._substituted[name] = self.substituted(self.effective(option), option.section, (*seen, name))
            length += len(self._substituted[name])
            if length > LONGEST:
                raise Unresolved(f"references make it longer than {LONGEST:,} characters")
            return self._substituted[name]

        return REFERENCE.sub(replace, text.replace(r"\$", "$$"))


def unresolved(error: Unresolved, name: str, value: str, option: Option | None) -> str:
    """Return what is wrong with the value's references, without any part of a secret."""
    if is_secret(name, option) or without_passwords(value) != value:
        return "a $ in it refers to no option"
    return str(error)


# ------------------------------------------------------------------------------------------------------------ values


@dataclass(frozen=True, slots=True)
class Bad:
    """What by_hand.yml's table of values says about a value."""

    row: Mapping[str, Any]
    elements: tuple[str, ...] = ()
    """Those of a list that are wrong, by `drop_items`, `only_items` or `items`."""

    @property
    def message(self) -> str:
        since = find(self.row["from"])
        if "drop_items" in self.row:
            return f"{', '.join(self.elements)} gone in {since.title}: {self.row['reason']}"
        reason = ": ".join([*([", ".join(self.elements)] if self.elements else []), self.row["reason"]])
        return f"{reason} (since {since.title})" if since > OLDEST else reason


@functools.cache
def _value_rows(release: Release) -> dict[str, list[dict[str, Any]]]:
    """Return the rows about values that hold in `release`, by the option's name."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in by_hand()["values"]:
        if row["from"] <= release.nova <= row.get("to", NEWEST.nova):
            for name in row["names"]:
                rows.setdefault(name, []).append(row)
    return rows


def _is_wrong(element: str, row: Mapping[str, Any]) -> bool:
    """Whether a row about the elements of a list is about this one."""
    if "drop_items" in row:
        return element.rpartition(".")[2] in row["drop_items"]
    return element not in row["only_items"] if "only_items" in row else bool(re.search(row["match"], element))


def bad_values(names: Iterable[tuple[str, str]], text: str, values: Values, release: Release) -> Iterator[Bad]:
    """Yield what cannot work, or means something else, in `release` about the value `text` of the option with these names."""
    rows = _value_rows(release)
    names = list(dict.fromkeys(names))
    for row in (
        row
        for section, name in names
        for row in (*rows.get(name, ()), *rows.get("*", ()))
        if row["section"] in ("*", section) and is_about(row, values.cat.file)
    ):
        if ("when" in row and not values.holds(row["when"])) or ("unless" in row and values.holds(row["unless"])):
            continue
        elements = [element.strip() for element in text.split(",") if element.strip()]
        if not row.keys() & {"drop_items", "only_items", "items"}:
            if re.search(row["match"], text):
                yield Bad(row)
        elif wrong := tuple(element for element in elements if _is_wrong(element, row)):
            yield Bad(row, wrong)


# ------------------------------------------------------------------------------------------------------------- check


def named_sections(items: Iterable[conf.Item]) -> set[str]:
    """Return the sections that exist because a value names them."""
    names = (i.value.split(",") for i in items if i.name in ("auth_section", "config_source"))
    return {conf.section_key(name.strip()) for name in itertools.chain.from_iterable(names)}


class Hints:
    """What may have been meant by unknown names of one file. Searching takes a millisecond: the first hundred get a hint."""

    SEARCHES = 100

    def __init__(self, cat: Catalogue) -> None:
        self.cat, self.left = cat, self.SEARCHES

    def _search(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def near(self, section: str, name: str, plugin: str = "password", kind: str = "") -> str | None:
        """Return the option that was most likely meant, as "[section] name", or None; see Catalogue.nearest."""
        return self.cat.nearest(section, name, plugin, kind) if self._search() else None

    def section(self, section: str) -> str | None:
        """Return the section that was most likely meant, or None."""
        return self.cat.nearest_section(section) if self._search() else None


class _Check:
    """One run of `validate`."""

    def __init__(self, source: Any, release: Release, node: str | None, file: str) -> None:
        self.release, self.node = release, node
        self.cat = catalogue(release, file)
        self.file, self.service = file, self.cat.service
        self.known_file = self.cat.file
        self.out: list[Finding] = []
        if isinstance(source, (str, bytes)):
            source = conf.read(source)
        if isinstance(source, conf.Conf):
            self.items, self.headers = source.items, source.headers
        else:
            self.items = list(self._mapped(source))
            self.headers = [(conf.section_key(s), 0) for s in source]
        self.values = Values(self.cat, self.items)
        # sections that a value makes up: [keystone_authtoken] auth_section = x, [DEFAULT] config_source = a,b
        self.named = named_sections(self.items)
        self.hints = Hints(self.cat)
        self.kinds = self._kinds()
        self.plugin = self._loads_a_plugin()

    def _kinds(self) -> dict[str, str]:
        """Return the sections that a mapping names -> the pseudo-section of their options: [DEFAULT] enabled_backends."""
        kinds: dict[str, str] = {}
        for row in by_hand()["dynamic"]:
            if row["file"] == self.file and "kind" in row:
                pairs = [pair.partition(":") for pair in self.listed(*row["sections_of"])]
                named = {conf.section_key(name.strip()): kind.strip() for name, _colon, kind in pairs}
                kinds.update({section: row["kind"] % kind for section, kind in {**row["always"], **named}.items()})
        return kinds

    def _loads_a_plugin(self) -> str:
        """Return the option that loads a third party's plugin, whose sections we do not know; empty when none does."""
        for row in by_hand()["plugins"]:
            for section, name, own in row["lists"] if row["service"] == self.service else ():
                # by its short name, or by the path of its class
                foreign = [word for word in self.listed(section, name) if word not in own and not word.startswith("neutron.")]
                if foreign:
                    return f"{foreign[0]} of [{section}] {name}"
        return ""

    def listed(self, section: str, name: str) -> list[str]:
        """Return the items of an option that is a list, as the file has it."""
        return [word.strip() for word in self.values.set.get((section, name), "").split(",") if word.strip()]

    def dynamic(self, section: str, name: str) -> Option | None:
        """Return an option that is registered only because of other options' values."""
        if section in self.kinds:
            known = self.cat.sections.get(self.kinds[section], {}).get(name)
            return Option(section, known.name, known.spec) if known else None
        for row in by_hand()["dynamic"]:
            if row["file"] != self.file or row.get("section") not in ("*", section):
                continue
            if name in row.get("names", ()) or ("names_of" in row and name in self.listed(*row["names_of"])):
                return Option(section, name, {"type": "String"})
        return None

    def _mapped(self, mapping: Mapping[str, Any]) -> Iterable[conf.Item]:
        """Yield the mapping's items; what cannot be written becomes a finding."""
        for section, options in mapping.items():
            for name, value in (options or {}).items():
                try:
                    items = list(conf.items({section: {name: value}}))
                    for item in items:
                        conf.quote(item.value)
                except (TypeError, ValueError) as error:
                    message = (
                        f"{error}" if isinstance(error, ValueError) else "not a string, number or boolean, nor a list of them"
                    )
                    self.out.append(Finding("error", section, str(name), None, message))
                else:
                    yield from items

    def add(self, level: str, item: conf.Item, message: str, option: Option | None = None) -> None:
        value = mask(item.section, item.name, item.value, option)
        self.out.append(Finding(level, item.section, item.name, value, message, item.line or None))

    def findings(self) -> list[Finding]:
        groups: dict[tuple[str, str], list[conf.Item]] = {}
        for item in self.items:
            groups.setdefault((item.section, item.name), []).append(item)
        unknown = self.unknown_sections()
        for (section, name), items in groups.items():
            found = self.lookup(section, name)
            if found:
                self.known(items, *found)
            else:
                self.missing(items[-1], section in unknown)
        return sorted(self.out, key=lambda f: f.line or 0)

    def lookup(self, section: str, name: str) -> tuple[Option, bool] | None:
        plugin = self.values.plugin(section)
        found = self.cat.resolve(section, name, plugin)
        if found is None:
            option = self.dynamic(section, name)
            found = (option, False) if option else None
        if found is None and section in self.named:
            # options of a section that the operator named: how to authenticate, or where to read from
            for known in (
                self.cat.sections.get("service_user") or self.cat.sections.get("keystone_authtoken", {}),
                self.cat.plugin(plugin),
                self.cat.sections.get(SOURCE, {}),
            ):
                if name in known:
                    return Option(section, known[name].name, known[name].spec), False
        return found

    def unknown_sections(self) -> set[str]:
        """Report sections that no release knows, once each."""
        used: dict[str, list[str]] = {}
        for item in self.items:
            used.setdefault(item.section, []).append(item.name)
        unknown: dict[str, int] = {}
        for section, line in self.headers:
            known = section in self.named or section in self.kinds or self.cat.has_section(section)
            if not known and section not in unknown and not self.all_dynamic(section):
                unknown[section] = line
        file = self.known_file
        for section, line in unknown.items():
            # an empty one says nothing that could be ignored; what another release or by_hand.yml knows is said of each option
            if section in used and not any(
                last_release(section, name, self.release, file) or older(section, name, file) for name in used[section]
            ):
                near = self.hints.section(section)
                where = self.elsewhere(section, used[section])
                level = "warning" if self.plugin and not near and not where else "error"
                if level == "warning":
                    hint = f"; only {self.plugin} may read it"
                else:
                    hint = f"; {where}" if where else f"; did you mean [{near}]?" if near else "; remove it"
                message = f"{self.service} {self.release.title} has no such section{' in this file' * bool(where)}, and ignores "
                self.out.append(Finding(level, section, None, None, f"{message}what is in it{hint}", line or None))
        return set(unknown)

    def all_dynamic(self, section: str) -> bool:
        """Say whether a section with an unknown name has only options that may be in any section."""
        names = {i.name for i in self.items if i.section == section}
        return bool(names) and all(self.dynamic(section, name) for name in names)

    def elsewhere(self, section: str, names: Iterable[str]) -> str:
        """Return where the service reads the option, if in another of its files."""
        others = [other for other, (service, _parts) in files().items() if service == self.service and other != self.file]
        for name in names if self.service != "Nova" else ():
            reading = [other for other in others if catalogue(self.release, other).resolve(section, name)]
            # every program of Neutron reads neutron.conf; an agent with its own file has the option there
            own = [other for other in reading if other != "neutron.conf"] or reading
            if own:
                return f"its programs read it in {' and '.join(own)}"
        return ""

    def missing(self, item: conf.Item, in_unknown_section: bool) -> None:
        """Report an option that the release does not have."""
        title, file = f"{self.service} {self.release.title}", self.known_file
        plugin = self.values.plugin(item.section)
        if "auth_type" in self.cat.sections.get(item.section, ()) and not self.cat.knows_plugin(plugin):
            message = f"{title} has no such option; the unknown auth plugin {plugin} may have"
            self.add("warning", item, message)
            return
        last = last_release(item.section, item.name, self.release, file)
        if last:
            since = lives(item.section, item.name, file)[0]
            now = fate(item.section, item.name, since, self.release, holds=self.values.holds, file=file)
            remedy = f"use [{now.target[0]}] {now.target[1]}" if now.target else "remove it"
            reason = f" ({now.reason})" if now.reason else ""
            self.add("error", item, f"{title} ignores it: the last release to read it was {last.title}{reason}; {remedy}")
            return
        row = older(item.section, item.name, file)
        if in_unknown_section and not row:
            return  # said once, for the section
        first = first_release(item.section, item.name, self.release, file)
        if first:
            self.add("error", item, f"{title} ignores it: it exists since {first.title}; remove it")
            return
        where = self.elsewhere(item.section, [item.name])
        if where:
            self.add("error", item, f"{title} has no such option in this file, and ignores it; {where}")
            return
        near = None if row else self.hints.near(item.section, item.name, plugin, self.kinds.get(item.section, ""))
        if not near and not row and self.of_a_plugin(item):
            self.add("warning", item, f"{title} has no such option; only a plugin may read it")
            return
        instead = f"remove it: {row['reason']}" if row else f"did you mean {near}?" if near else "remove it"
        message = f"{title} has no such option, and ignores it; {instead}"
        plain = near or re.fullmatch(r"[\d.]*|(?i:true|false|yes|no|on|off)", item.value)
        if not plain or (near and is_secret(near)):  # pasword, and names of which nobody knows what they hold
            self.out.append(Finding("error", item.section, item.name, HIDDEN, message, item.line or None))
        else:
            self.add("error", item, message)

    def of_a_plugin(self, item: conf.Item) -> bool:
        """Say whether a plugin may have registered the option: [quotas] quota_RESOURCE."""
        rows = [row for row in by_hand()["plugins"] if row["service"] == self.service and "prefix" in row]
        return any(item.section == row["prefix"][0] and item.name.startswith(row["prefix"][1]) for row in rows)

    def known(self, items: list[conf.Item], option: Option, alias: bool) -> None:
        """Check the values of one option."""
        item = items[-1]
        if alias:
            self.add("warning", item, f"deprecated name; use {option!r}", option)
        if option.deprecated is not None:
            since = f" since {option.spec['since']}" if "since" in option.spec else ""
            self.add("warning", item, f"deprecated{since}: {option.deprecated or self.service + ' gives no reason'}", option)
        if not option.multi and len(items) > 1:
            lines = ", ".join(str(i.line) for i in items if i.line)
            where = f" (lines {lines})" if lines else ""
            self.add("warning", item, f"set {len(items)} times{where}; only the last counts", option)
        for one in items if option.multi else [item]:
            self.value(one, option)
        self.wrong_node(item, option)
        self.not_listed(item, option)
        self.misspelt_plugins(item, option)

    def misspelt_plugins(self, item: conf.Item, option: Option) -> None:
        """Report plugins that are nearly the service's own: [ml2] mechanism_drivers = openvswich."""
        for row in by_hand()["plugins"]:
            for section, name, own in [*row["lists"], *row.get("others", ())] if row["service"] == self.service else ():
                for word in self.listed(section, name) if (section, name) == (option.section, option.dest) else ():
                    if word not in own and (near := difflib.get_close_matches(word, own, n=1, cutoff=0.8)):
                        self.add("error", item, f"{word} is not one of {self.service}'s own; did you mean {near[0]}?", option)

    def not_listed(self, item: conf.Item, option: Option) -> None:
        """Report an option of a section that is read only when a list names it: [neutron] physnets."""
        family = self.cat.family(item.section)
        for row in by_hand()["sections"]:
            if row["section"] == family and "listed" in row:
                name, (section, of) = item.section.removeprefix(family[:-1]), row["listed"]
                if name not in self.listed(section, of):
                    self.add("warning", item, f"{self.service} does not read it unless {name} is in [{section}] {of}", option)

    def value(self, item: conf.Item, option: Option) -> None:
        """Let oslo.config's type judge one value."""
        try:
            # as the option itself finds its neighbours, wherever a deprecated name is
            text = self.values.substituted(item.value, option.section)
        except Unresolved as error:
            detail = unresolved(error, item.name, item.value, option)
            self.add("error", item, f"{detail}, so {self.service} cannot read the value; write $$ for a dollar sign", option)
            return
        try:
            option.type(text)
        except (ValueError, TypeError) as error:
            said = without_passwords(" ".join(str(error).split()))
            detail = "" if is_secret(item.name, option) else f": {said}"
            self.add("error", item, f"not a valid value{detail}; valid is {expected(option)}", option)
            return
        if any(row["level"] == "error" for row in self.node_rows(option)):
            return  # it has to go, whatever it says
        said = grammar.wrong(option, text, self.release)
        if said:
            self.add("error", item, said, option)
        for bad in bad_values([(option.section, option.dest)], text, self.values, self.release):
            if self.node and bad.row.get("related"):
                continue
            self.add(bad.row["level"], item, bad.message, option)

    def wrong_node(self, item: conf.Item, option: Option) -> None:
        for row in self.node_rows(option):
            self.add(row["level"], item, row["reason"], option)

    def node_rows(self, option: Option) -> list[dict[str, Any]]:
        """Return what by_hand.yml says about the option on this kind of node."""
        return [
            row
            for row in by_hand()["nodes"]
            if row["section"] == option.section and option.dest in row["names"] and row["not_on"] == self.node
        ]


def expected(option: Option) -> str:
    """Return in words which values an option takes."""
    return _words(option.spec)


def _words(spec: Mapping[str, Any]) -> str:
    kind = spec["type"]
    if spec.get("choices"):
        return "one of " + ", ".join("(empty)" if c == "" else str(c) for c in spec["choices"])
    if kind in ("Integer", "Float", "Port"):
        low, high = spec.get("min"), spec.get("max")
        if kind == "Port" and low is None and high is None:
            low, high = 0, 65535
        word = "a number" if kind == "Float" else "an integer"
        bounds = [f"at least {low}"] * (low is not None) + [f"at most {high}"] * (high is not None)
        return " ".join([word, " and ".join(bounds)]).strip()
    if kind == "List":
        return "a comma-separated list" + (f", each {_words(spec['item'])}" if "item" in spec else "")
    if kind == "URI":
        return "a URI" + (f" with the scheme {' or '.join(spec['schemes'])}" if spec.get("schemes") else "")
    if spec.get("regex"):
        regex = spec["regex"]
        return f"a text that matches {regex['pattern'] if isinstance(regex, dict) else regex}"
    words = {
        "Boolean": "true or false (also 1/0, yes/no, on/off)",
        "Dict": "key:value pairs separated by commas",
        "IPAddress": "an IP address",
        "HostAddress": "a host name or IP address",
        "HostDomain": "a host or domain name or an IP address",
        "Hostname": "a host name",
    }
    text = words.get(kind, "a text")
    return text + (f" of at most {spec['max_length']} characters" if spec.get("max_length") else "")
