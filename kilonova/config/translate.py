"""Carry a nova.conf from one release to a later one, with a reason for every line that changes.

    python -m kilonova.config.translate --conf old.conf --from ocata --to zed --out new.conf

What Nova says itself (its deprecated names, release by release) comes from the catalogue; what it does not say, from
catalogue/data/by_hand.yml. Comments, order and untouched lines stay as they are. What cannot stay becomes a comment
that says why, without its value. The result has no error by the later release's own options.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import re
import stat
import sys
import textwrap
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kilonova.config import conf
from kilonova.config.catalogue import Fate, Finding, catalogue, errors, fate, first_release, last_release, lives, mask, validate
from kilonova.config.catalogue.changes import older, precedence
from kilonova.config.catalogue.check import LONGEST, REFERENCE, Hints, Unresolved, Values, bad_values, named_sections
from kilonova.config.catalogue.options import Option, by_hand, is_secret, package
from kilonova.config.releases import Release, find
from kilonova.onhost import files
from kilonova.onhost.masking import HIDDEN

KEPT, RENAMED, DROPPED, ATTENTION = "kept", "renamed", "dropped", "attention"


@dataclass(slots=True)
class Record:
    """What became of one assignment of the old file. Values are fit to be shown: secrets are masked."""

    section: str
    option: str
    value: str
    action: str
    """kept, renamed (or moved), dropped, or attention: a person has to look, whether it stayed or not."""
    new_section: str | None
    new_option: str | None
    new_value: str | None
    """None when the option is not in the new file."""
    reason: str
    source: str
    line: int = 0
    """Where it was in the old file; not part of the JSON report."""

    def as_dict(self) -> dict[str, str | None]:
        """Return the record as the JSON report has it."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "line"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """Something that the later release needs and the old file does not have."""

    release: str
    need: str
    source: str


@dataclass(slots=True)
class Result:
    """A translation."""

    text: str
    """The new file. Contains the secrets of the old one."""
    records: list[Record]
    """One per assignment of the old file, in its order."""
    required: list[Requirement]
    findings: list[Finding] = field(default_factory=list)
    """What is left to say about the new file; warnings only."""

    def report(self) -> str:
        """Return the records as JSON."""
        return json.dumps([r.as_dict() for r in self.records], indent=2, ensure_ascii=False) + "\n"


@dataclass(slots=True)
class _Plan:
    """What to do with one assignment."""

    item: conf.Item
    section: str
    """Where it goes."""
    name: str
    value: str
    home: str = ""
    """The section in which the old release looked up what the value refers to."""
    out: bool = False
    """Left out of the new file."""
    composed: bool = False
    """Part of the line that another assignment replaces."""
    attention: bool = False
    was: Option | None = None
    """What the old release read it as; None when it ignored it."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """by_hand.yml's row that decided the result."""
    lost: bool = False
    """Another name's value was read instead."""
    secret: bool = False
    """Its value has a secret in it that its name does not tell of."""
    reordered: bool = False
    """It must be written apart from its old place, because all values of its option count, in their order."""
    reasons: list[str] = field(default_factory=list)
    source: str = ""

    def leave_out(self, reason: str, source: str = "", attention: bool = False) -> None:
        self.out, self.attention = True, self.attention or attention
        self.reasons += [reason] * bool(reason)
        self.source = source or self.source

    @property
    def moved(self) -> bool:
        return self.reordered or self.section != self.item.section

    @property
    def changed(self) -> bool:
        return self.moved or (self.name, self.value) != (self.item.name, self.item.value)


def translate(text: str | bytes, from_release: str | Release, to_release: str | Release) -> Result:
    """Translate the content of a nova.conf.

    Raises ValueError for unknown releases and for a `to_release` older than `from_release`, and conf.ConfError,
    with the line's number, for a file that oslo.config refuses too.
    """
    old, new = find(from_release), find(to_release)
    if new < old:
        raise ValueError(f"{new.title} is older than {old.title}: a configuration can only be translated to a later release")
    return _Translation(conf.read(text), old, new).result()


class _Translation:
    def __init__(self, source: conf.Conf, old: Release, new: Release) -> None:
        self.conf, self.old, self.new = source, old, new
        self.before = Values(catalogue(old), source.items)
        self.after = Values(catalogue(new), source.items)
        self.named = named_sections(source.items)
        self.hints = Hints(catalogue(old))
        self.fates: dict[tuple[str, str, str], Fate] = {}
        self.needs: list[Requirement] = []
        self.plans = [self.plan(item) for item in source.items]
        self.plans_in_order = list(self.plans)
        """As they are written where they move."""

    # ------------------------------------------------------------------------------------------- what to do, and why

    def fate(self, section: str, name: str, plugin: str) -> Fate:
        """Return what became of an option of the old release."""
        key = (section, name, plugin)
        if key not in self.fates:
            self.fates[key] = fate(section, name, self.old, self.new, plugin, self.before.holds)
        return self.fates[key]

    def plan(self, item: conf.Item) -> _Plan:
        """Decide by the option's name alone."""
        plan = _Plan(item, item.section, item.name, item.value, home=item.section)
        plugin = self.before.plugin(item.section)
        found = catalogue(self.old).resolve(item.section, item.name, plugin)
        if found:
            plan.was, plan.home = found[0], found[0].section
            became = self.fate(item.section, item.name, plugin)
            plan.row = became.row or {}
            if became.target:
                plan.section, plan.name = became.target
                plan.source = became.source
                plan.reasons += [became.reason] * bool(became.reason)
            else:
                plan.leave_out(became.reason, became.source, attention="compose" not in plan.row and self.mattered(plan))
        elif item.section not in self.named:
            self.unknown(plan, plugin)
        return plan

    def mattered(self, plan: _Plan) -> bool:
        """Say whether the old release did something else because of the assignment than it would have done without it."""
        option, value = plan.was, self.text_of(plan)
        if option is None or re.search(plan.row.get("harmless", "$^"), value):
            return False
        if "effect" in plan.row and not any(self.before.holds(condition) for condition in plan.row["effect"]):
            return False
        default = self.before.default(option)
        try:
            return option.type(value) != option.type(default)
        except (ValueError, TypeError):
            return value != default

    def text_of(self, plan: _Plan) -> str:
        """Return the assignment's value as the old release read it, or as written if that could not be read."""
        return self.expanded(plan.item.value, plan)

    def expanded(self, text: str, plan: _Plan) -> str:
        """Return a part of the value with its references replaced, or as it is when that cannot be."""
        try:
            return self.before.substituted(text, plan.home)
        except Unresolved:
            return text

    def unknown(self, plan: _Plan, plugin: str) -> None:
        """Decide about an option that the old release ignored."""
        item, ignored = plan.item, f"Nova {self.old.title} ignores it"
        if "auth_type" in catalogue(self.old).sections.get(item.section, ()) and not catalogue(self.old).knows_plugin(plugin):
            plan.attention = True
            plan.reasons.append(f"the unknown auth plugin {plugin} may read it")
            return
        now = catalogue(self.new).resolve(item.section, item.name, plugin)
        if now:
            since = first_release(item.section, item.name, self.old) or self.new
            became = fate(item.section, item.name, self.new, self.new, plugin)
            if became.target is None:
                plan.leave_out(f"{ignored}; {became.reason}", became.source)
                return
            plan.section, plan.name = became.target
            plan.attention = True
            plan.reasons.append(f"{ignored}; from {since.title} on, it takes effect")
            plan.reasons += [became.reason] * bool(became.reason)
            plan.source = package(since)
            return
        last = last_release(item.section, item.name, self.old)
        if last:
            became = fate(item.section, item.name, lives(item.section, item.name)[0], self.new, holds=self.before.holds)
            use = f"; set [{became.target[0]}] {became.target[1]} if it is wanted" if became.target else ""
            detail = f" ({became.reason})" if became.reason else ""
            reason = f"{ignored} already: the last release to read it was {last.title}{detail}{use}"
            plan.leave_out(reason, became.source or package(last), attention=bool(use))
            return
        row = older(item.section, item.name)
        if row:
            plan.leave_out(f"{ignored}: no later release has such an option; {row['reason']}", row["source"])
            return
        later = first_release(item.section, item.name, self.new)
        if later:
            plan.leave_out(f"{ignored}; {later.title} is the first that reads it", package(later))
            return
        near = self.hints.near(item.section, item.name)
        hint = f"; was {near} meant?" if near else ""
        plan.leave_out(f"{ignored}: no later release has such an option{hint}", package(self.new), bool(near))

    def option(self, plan: _Plan) -> Option | None:
        """Return the new release's option that `plan` sets."""
        return catalogue(self.new).get(plan.section, plan.name, self.after.plugin(plan.section))

    def composed_of(self, what: str) -> list[_Plan]:
        """Return the assignments that become a part of `what`, by by_hand.yml's rows."""
        return [p for p in self.plans if p.out and p.row.get("compose") == what]

    # ----------------------------------------------------------------------------------------------- [DEFAULT] transport_url

    def compose_transport_url(self) -> None:
        """Put what rabbit_host and its like said, and the old release read, into [DEFAULT] transport_url."""
        parts = self.composed_of("transport_url")
        if not parts:
            return
        backends = [p for p in parts if p.item.name == "rpc_backend"]
        parts = [p for p in parts if p.item.name != "rpc_backend"]
        urls = [p for p in self.plans if p.name == "transport_url" and not p.out]
        url = next((p for p in reversed(urls) if p.section == "DEFAULT"), None)
        scheme = _url_parts(self.text_of(url) if url else "")[0] or _driver(self.old_value("DEFAULT", "rpc_backend"))
        for plan in [] if url else backends:
            # only a name can be a driver's
            plan.attention = self.mattered(plan) and bool(re.fullmatch(r"[\w.+-]+", plan.item.value))
            if plan.attention:
                scheme = scheme if scheme in _DRIVERS else "driver"
                address = f"{scheme}://user:password@host:port/"
                if not any(bad_values([("DEFAULT", "transport_url")], address, self.after, self.new)):
                    plan.reasons.append(f"without it RabbitMQ is used; write [DEFAULT] transport_url = {address}")
        # Each URL of RabbitMQ took from the options what it did not say itself: that of notifications, too.
        read = {id(p): _url_parts(self.text_of(p)) for p in urls}
        rabbit = [p for p in urls if (read[id(p)][0] or (p is url and scheme)) in _RABBIT]
        if scheme not in _RABBIT and not rabbit:
            for plan in parts:
                plan.reasons.append("another messaging system was in use, which did not read it")
            return
        whole: list[_Plan | None] = [p for p in rabbit if not read[id(p)][1]]
        if url is None and scheme in _RABBIT:
            whole.insert(0, None)
        try:
            short = self.add_virtual_host([p for p in rabbit if read[id(p)][1:] == (True, None)], parts)
            if whole and parts:
                self.replace_transport_url(whole, parts)
            else:
                for plan in parts:
                    put = plan.item.name == "rabbit_virtual_host" and short
                    plan.reasons.append(
                        "it is now the end of transport_url" if put else "it was not read together with transport_url"
                    )
        except Unresolved as error:
            for plan in parts:
                plan.leave_out(f"[DEFAULT] transport_url cannot be composed: {error}", attention=True)

    def replace_transport_url(self, urls: list[_Plan | None], parts: list[_Plan]) -> None:
        """Write the URLs, which named no hosts, with the parts in them; None is [DEFAULT]'s, where the file has none."""
        for url in filter(None, urls):
            url.value = self.transport_url(_url_parts(self.text_of(url))[2])
            url.reasons = [f"put together in [{url.section}] transport_url: {parts[0].row['reason']}"]
        first = urls[0]
        section, value = (first.section, first.value) if first else ("DEFAULT", self.transport_url(None))
        for number, plan in enumerate(parts):
            plan.section, plan.name, plan.value = section, "transport_url", value
            plan.out = plan.composed = first is not None or number > 0  # one line for all of them
            plan.reasons = [f"put together in [{section}] transport_url: {parts[0].row['reason']}"]

    def add_virtual_host(self, urls: list[_Plan], parts: list[_Plan]) -> list[_Plan]:
        """Until Rocky a URL without a path got rabbit_virtual_host; of the other options nothing was read beside its hosts."""
        named = any(p.item.name == "rabbit_virtual_host" for p in parts)
        wanted = _virtual_host(self.rabbit_value("rabbit_virtual_host")) if named else ""
        for plan in urls if wanted else ():
            address, query, rest = plan.value.partition("?")
            plan.value = f"{address}/{wanted}{query}{rest}"
            plan.reasons.append("it had no virtual host, so rabbit_virtual_host was used")
        return urls if wanted else []

    def old_value(self, section: str, name: str) -> str:
        """Return an option's value in the old release, set or default; "" for an option that it does not have."""
        option = catalogue(self.old).get(section, name)
        return self.before.substituted(self.before.effective(option), option.section) if option else ""

    def rabbit_value(self, name: str) -> str:
        """Return the value of a rabbit_ option; Unresolved says nothing of it."""
        try:
            return self.old_value("oslo_messaging_rabbit", name)
        except Unresolved:
            raise Unresolved(f"a $ in {name} refers to no option") from None

    def transport_url(self, path: str | None) -> str:
        """Return the URL that the old release built from its rabbit_ options; `path` is that of an URL without hosts."""
        login = ":".join(urllib.parse.quote(self.rabbit_value(n), safe="") for n in ("rabbit_userid", "rabbit_password"))
        port = self.rabbit_value("rabbit_port")
        option = catalogue(self.old).get("oslo_messaging_rabbit", "rabbit_hosts")
        if option and any(name in self.before.set for name in [(option.section, option.dest), *option.aliases]):
            addresses = [a.strip() for a in self.rabbit_value("rabbit_hosts").split(",") if a.strip()]
        else:  # the default is $rabbit_host:$rabbit_port, which cannot be taken apart again when the host is an IPv6 address
            addresses = [self.rabbit_value("rabbit_host")]
        hosts = ",".join(f"{login}@{_host_and_port(a, port)}".replace("$", "%24") for a in addresses)
        return f"rabbit://{hosts}/" + (_virtual_host(self.rabbit_value("rabbit_virtual_host")) if path is None else path)

    # ----------------------------------------------------------------------------------------------- [keystone_authtoken]

    def compose_credentials(self) -> None:
        """Give the names of today to the credentials that keystonemiddleware read while auth_type was not set."""
        parts = self.composed_of("keystone")
        section = "keystone_authtoken"
        if not parts or any((section, n) in self.before.set for n in ("auth_type", "auth_plugin", "auth_section")):
            return
        names = {"admin_user": "username", "admin_password": "password", "admin_tenant_name": "project_name"}
        if (section, "identity_uri") in self.before.set:
            names["identity_uri"] = "auth_url"
            address = self.before.set[section, "identity_uri"]
        else:
            names["auth_host"] = "auth_url"
            address = self.fragments()
        for plan in parts:
            plan.attention = True
            target = names.get(plan.item.name)
            if target:
                plan.section, plan.name, plan.out = section, target, False
                if target == "auth_url":
                    plan.value = re.sub(r"(/v2\.0)?/*$", "", address)
            elif plan.item.name == "admin_token":
                plan.reasons.append("a shared token is only for setting up Keystone; use a service user")
            elif plan.item.name in ("auth_port", "auth_protocol", "auth_admin_prefix") and "auth_host" in names:
                plan.reasons.append(f"it is a part of [{section}] auth_url")
        self.needs.append(
            Requirement(
                find(parts[0].row["from"]).title,
                f"[{section}] auth_type = password, user_domain_name = Default and project_domain_name = Default beside "
                "auth_url, username, password and project_name: admin_user and its like speak only Keystone's v2.0 API, which "
                "is gone",
                parts[0].row["source"],
            )
        )

    def fragments(self) -> str:
        """Return the URL that auth_protocol, auth_host, auth_port and auth_admin_prefix make."""
        section = "keystone_authtoken"
        try:
            scheme, host, port, prefix = (
                self.old_value(section, name) for name in ("auth_protocol", "auth_host", "auth_port", "auth_admin_prefix")
            )
        except Unresolved:
            return ""
        host = f"[{host}]" if ":" in host and host[0] != "[" else host
        return f"{scheme}://{host}:{port}/{prefix.strip('/')}".replace("$", "$$")

    # ------------------------------------------------------------------------------------------------------ names, values

    def settle_names(self) -> None:
        """Where several old names became one option, keep the value that the old release read, or all in its order."""
        groups: dict[tuple[str, str], dict[tuple[str, str], _Plan]] = {}
        for plan in self.plans:
            if not plan.out:
                # the last assignment of a name is the one that counts
                groups.setdefault((plan.section, plan.name), {})[plan.item.section, plan.item.name] = plan
        winners = {}
        for target, names in groups.items():
            option = self.option(next(iter(names.values())))
            if len(names) > 1 and option and option.multi:
                self.keep_order(target)
            elif len(names) > 1 and option:
                winners[target] = min(names, key=functools.partial(self.rank, names, target))
        for plan in self.plans:
            winner = winners.get((plan.section, plan.name))
            if winner and not plan.out and (plan.item.section, plan.item.name) != winner:
                plan.lost = True
                plan.leave_out(f"[{winner[0]}] {winner[1]} in the same file is read before it")

    def keep_order(self, target: tuple[str, str]) -> None:
        """Let the values of an option that may be repeated stand in the order in which the old release read them.

        oslo.config reads what stands under an option's last deprecated name first, and what stands under its own name last.
        """

        def place(plan: _Plan) -> int:
            if plan.was is None:
                return 1  # the old release ignored it
            order = [(plan.was.section, plan.was.dest), *plan.was.aliases]
            name = (plan.item.section, plan.item.name)
            return -order.index(name) if name in order else 0

        group = [p for p in self.ordered() if (p.section, p.name) == target]
        wanted = sorted(group, key=lambda p: (place(p), p.item.line))
        if wanted == group:
            return
        for plan in group:
            plan.reordered = True
            plan.reasons.append(f"all values count, in the order in which Nova {self.old.title} read their names")
        ids, rest = set(map(id, group)), iter(wanted)
        self.plans_in_order = [next(rest) if id(p) in ids else p for p in self.plans_in_order]

    def rank(self, names: Mapping[tuple[str, str], _Plan], target: tuple[str, str], name: tuple[str, str]) -> tuple[Any, ...]:
        """Return where `name` comes in the order in which the old release read these names; the least is the first."""
        plan = names[name]
        if plan.was is None:
            return (1, 0, 0, 0, name)  # it ignored it
        if plan.row.get("compose"):
            first = 0  # options under the new names were not read while auth_type was missing
        elif "wins" in (row := precedence(plan.was.section, plan.was.dest) or plan.row):
            read = "when" not in row or self.before.holds(row["when"])
            first = 0 if read and re.search(row["wins"], self.text_of(plan)) else 2
        else:
            first = 1
        own = (plan.was.section, plan.was.dest)
        order = [own, *plan.was.aliases]
        return (0, first, own != target, order.index(name) if name in order else len(order), name)

    def change_values(self) -> None:
        """Apply by_hand.yml's knowledge about values."""
        items = [self.new_item(p) for p in self.ordered()]
        values = Values(catalogue(self.new), items)
        for plan in self.plans:
            if plan.lost or plan.composed or (plan.out and (not plan.attention or plan.row.get("compose") == "keystone")):
                continue
            names = [(plan.section, plan.name), (plan.item.section, plan.item.name)][: 2 if plan.out else 1]
            try:
                text = plan.value if plan.value != plan.item.value else self.before.substituted(plan.value, plan.home)
            except Unresolved:
                continue  # its meaning is unknown; that is reported elsewhere
            for bad in bad_values(names, text, values, self.new):
                if plan.out and bad.row["level"] == "warning":
                    continue  # it is gone, whatever it said
                plan.attention = True
                plan.source = bad.row["source"]
                plan.reasons.append(bad.message)
                if not plan.out:
                    self.change_value(plan, bad.row, text)

    def change_value(self, plan: _Plan, row: Mapping[str, Any], text: str) -> None:
        """Write what a row about values says must be written instead, if it does."""
        if "drop_items" in row or "only_items" in row:
            gone, there = row.get("drop_items", ()), row.get("only_items")

            def good(value: str) -> list[str]:
                items = [i.strip() for i in value.split(",") if i.strip()]
                return [i for i in items if i.rpartition(".")[2] not in gone and (there is None or i in there)]

            stays = good(plan.value)
            # a reference may bring in what is gone
            plan.value = ",".join(stays if "$" not in plan.value else good(text.replace("$", "$$")))
            if not plan.value:
                plan.leave_out("the list would be empty, so the default applies")
        elif "replace" in row:
            pattern, replacement = row["replace"]
            if row.get("items"):
                items = (i.strip() for i in plan.value.split(","))
                plan.value = ",".join(
                    re.sub(pattern, replacement, i) if i and re.search(row["match"], self.expanded(i, plan)) else i for i in items
                )
            else:
                plan.value = re.sub(pattern, replacement, plan.value)

    def follow_references(self) -> None:
        """Make $name and ${section.name} in values mean in the new file what they meant in the old one."""
        for plan in self.plans:
            if not plan.out and "$" in plan.value:
                text = plan.value.replace(r"\$", "$$")
                left = LONGEST
                pieces, end = [], 0
                for match in REFERENCE.finditer(text):
                    pieces += [text[end : match.start()], self.reference(plan, match)]
                    end = match.end()
                    left -= len(pieces[-1])
                    if left < 0:
                        plan.leave_out("the option it refers to is gone, and its value is too long to write here", attention=True)
                        break
                else:
                    plan.value = "".join([*pieces, text[end:]])
                if plan.value == plan.item.value.replace(r"\$", "$$"):
                    plan.value = plan.item.value  # nothing but the spelling of a dollar sign would change

    def reference(self, plan: _Plan, match: re.Match[str]) -> str:
        """Return the text for one reference in the new file."""
        if match["escaped"]:
            return match[0]
        key = match["bare"] or match["braced"]
        was = self.before.referred(key, plan.home)
        now = self.after.referred(key, plan.section)
        if was is None:
            if now is None:
                plan.attention = True
                _say(plan, "it refers to no option, which Nova cannot read; written as text, with $$")
                return "$" + match[0]
            return match[0]
        became = self.fate(was.section, was.dest, self.before.plugin(was.section)).target
        if became is None:
            plan.attention = True
            plan.secret |= is_secret(was.dest, was)
            try:
                value = self.before.substituted(self.before.effective(was), was.section)
                _say(plan, f"it refers to {was!r}, which is gone; its value is written here instead")
            except Unresolved:
                value = ""
                _say(plan, f"it refers to {was!r}, which is gone, and its value cannot be read")
            return value.replace("$", "$$")
        if now and (now.section, now.dest) == became:
            return match[0] if "." in key or key == now.dest else f"${{{now.dest}}}"
        _say(plan, f"it referred to {was!r}, which is [{became[0]}] {became[1]} now")
        if became[0] in (plan.section, "DEFAULT"):
            return f"${{{became[1]}}}"
        return f"${{{became[0]}.{became[1]}}}"

    def drop_errors(self) -> None:
        """Leave out what the new release would not accept, until it accepts the rest."""
        for _ in range(len(self.plans) + 1):  # each round leaves out at least one
            items = [self.new_item(p) for p in self.ordered()]
            new = conf.Conf(items=items, headers=[(i.section, i.line) for i in items])
            found = errors(validate(new, self.new))
            if not found:
                self.named = named_sections(items)
                return
            wrong = {(f.section, f.option): f.message for f in found}
            lines = {f.line: f.message for f in found}
            for plan in self.plans:
                if plan.out:
                    continue
                option = self.option(plan)
                if option and option.multi:  # each of its values counts, and stays or goes alone
                    message = lines.get(plan.item.line)
                else:
                    message = wrong.get((plan.section, plan.name)) or wrong.get((plan.section, None))
                if message:
                    plan.leave_out("" if message in plan.reasons else message, package(self.new), attention=True)

    def new_item(self, plan: _Plan) -> conf.Item:
        return conf.Item(plan.section, plan.name, plan.value, plan.item.line, plan.item.last)

    def ordered(self) -> Iterable[_Plan]:
        """Yield what is in the new file in its order: what moved comes last in its section."""
        stay = [p for p in self.plans_in_order if not p.out]
        return [p for p in stay if not p.moved] + [p for p in stay if p.moved]

    # ------------------------------------------------------------------------------------------------------- the file

    def result(self) -> Result:
        self.compose_transport_url()
        self.compose_credentials()
        self.settle_names()
        self.change_values()
        self.follow_references()
        self.drop_errors()
        records = [self.record(p) for p in self.plans]
        required = list(self.requirements())
        text = self.text(required)
        return Result(text, records, required, validate(text, self.new))

    def record(self, plan: _Plan) -> Record:
        item = plan.item
        option = self.option(plan)
        in_file = not plan.out or plan.composed
        renamed = (plan.section, plan.name) != (item.section, item.name)
        if plan.attention:
            action = ATTENTION
        elif not in_file:
            action = DROPPED
        else:
            action = RENAMED if renamed else KEPT
        reasons, source = list(plan.reasons), plan.source
        if in_file and option and option.deprecated is not None:
            reasons.append(f"deprecated, still read by {self.new.title}: {option.deprecated or 'Nova gives no reason'}")
            source = source or package(self.new)
        if not reasons:
            reasons.append(f"valid in {self.new.title}" if option else "in a section that a value names")
            source = source or package(self.new)
        return Record(
            section=item.section,
            option=item.name,
            value=mask(item.section, item.name, item.value, plan.was) or "",
            action=action,
            new_section=plan.section if in_file else None,
            new_option=plan.name if in_file else None,
            new_value=(HIDDEN if plan.secret else mask(plan.section, plan.name, plan.value, option)) if in_file else None,
            reason="; ".join(reasons),
            source=source or package(self.new),
            line=item.line,
        )

    def requirements(self) -> Iterable[Requirement]:
        """Yield what releases after the old one need and the new file does not have."""
        yield from self.needs
        new = Values(catalogue(self.new), [self.new_item(p) for p in self.ordered()])
        compute = self.is_compute()
        for row in by_hand()["required"]:
            if not self.old.nova < row["from"] <= self.new.nova or (compute and row.get("host") == "controller"):
                continue
            section, name, pattern = row.get("set", ("", "", "."))
            met = re.search(pattern, new.set.get((section, name), ""))
            asked = "if" not in row or self.before.holds(row["if"])
            if asked and not met and not ("unless" in row and self.before.holds(row["unless"])):
                yield Requirement(find(row["from"]).title, row["need"], row["source"])

    def is_compute(self) -> bool:
        """Say whether the file is a compute node's: it has what only these have, and no database."""
        names = set(self.before.set)
        if any(section in ("database", "api_database", "placement_database") for section, _ in names):
            return False
        return any(
            section in ("libvirt", "vmware", "ironic")
            or name in ("compute_driver", "server_proxyclient_address")
            or name == "vncserver_proxyclient_address"
            for section, name in names
        )

    def text(self, required: list[Requirement]) -> str:
        """Return the new file."""
        lines = self.conf.lines
        new: dict[int, list[str]] = {n: [line] for n, line in enumerate(lines, start=1)}
        blocks: dict[int, list[str]] = {}
        for plan in self.plans:
            item = plan.item
            if not (plan.out or plan.changed):
                continue
            for number in range(item.line, item.last + 1):
                new[number] = []
            if plan.out:
                new[item.line] = [self.farewell(plan)]
            elif not plan.moved:
                new[item.line] = self.assignment(plan)
            else:
                number = item.line - 1
                comments: list[str] = []
                while number > 0 and new[number] and self.is_remark(item.section, lines[number - 1]):
                    comments[:0] = new[number]
                    new[number] = []
                    number -= 1
                blocks[id(plan)] = comments + self.assignment(plan)
        added: dict[str, list[str]] = {}
        for plan in self.ordered():
            if id(plan) in blocks:
                added.setdefault(plan.section, []).extend(blocks[id(plan)])
        self.retire_headers(new)
        end = self.insert(new, added)
        body = [line for number in sorted(new) for line in new[number]]
        for section, block in end.items():
            while body and not body[-1].strip():
                body.pop()
            body += ["", f"[{section}]", *block, ""]
        head = [f"# Kilonova: Nova {r.release} needs: {r.need}" for r in required]
        return self.conf.newline.join(head + body)

    def farewell(self, plan: _Plan) -> str:
        """Return the comment that replaces an option; never its value."""
        reason = " ".join("; ".join(plan.reasons).split())
        return f"# Kilonova: {plan.item.name} is not in {self.new.title}'s file: {reason}"

    def assignment(self, plan: _Plan) -> list[str]:
        """Return the lines that set the option; as they were, but for what changed."""
        item = plan.item
        raw = self.conf.lines[item.line - 1 : item.last]
        if plan.value == item.value:
            # the name only; whatever follows it stays
            first = raw[0]
            return [plan.name + first[len(item.name) :], *raw[1:]]
        values = plan.value.split("\n")
        return [f"{plan.name} = {conf.quote(values[0])}".rstrip()] + [f"  {v}" for v in values[1:]]

    def is_remark(self, section: str, line: str) -> bool:
        """Say whether `line` is a comment in words: an assignment or a header that is commented out stays where it is."""
        match = _COMMENTED_OUT.match(line)
        if line[:1] not in ("#", ";") or match is None:
            return line[:1] in ("#", ";")
        known = (catalogue(r).resolve(section, match["name"]) for r in (self.old, self.new)) if match["name"] else ()
        return match["sign"] == ":" and not any(known)  # "# note: ..." is words

    def retire_headers(self, new: dict[int, list[str]]) -> None:
        """Turn the headers of sections that the new release does not have into comments, but for those with comments below."""
        used = {p.section for p in self.plans if not p.out and not p.moved}
        headers = [*self.conf.headers, ("", len(self.conf.lines) + 1)]
        for (section, number), (_, end) in itertools.pairwise(headers):
            if section in used or section in self.named or catalogue(self.new).has_section(section):
                continue
            below = (line for n in range(number + 1, end) for line in new[n])
            if not any(line[:1] in ("#", ";") and not line.startswith("# Kilonova: ") for line in below):
                new[number] = [f"# Kilonova: Nova {self.new.title} has no section {section}"]

    def insert(self, new: dict[int, list[str]], added: dict[str, list[str]]) -> dict[str, list[str]]:
        """Put what moved at the end of its section's assignments; return what has no section yet."""
        end = dict(added)
        last: dict[str, int] = {}
        places = self.conf.headers + [(p.item.section, p.item.last) for p in self.plans if not p.moved]
        for section, number in places:
            if not (new[number] and new[number][0].startswith("# Kilonova: Nova")) and (new[number] or section in last):
                last[section] = max(number, last.get(section, 0))
        for section, block in added.items():
            if section in last:
                new[last[section]] = new[last[section]] + block
                del end[section]
        return end


# text after the comment sign when an option or a section is commented out
_COMMENTED_OUT = re.compile(r"[#;]+\s*(?:\[[^\]]+\]\s*$|(?P<name>[A-Za-z_][\w.-]*)\s*(?P<sign>[=:]))")


def _say(plan: _Plan, reason: str) -> None:
    """Add a reason, once."""
    if reason not in plan.reasons:
        plan.reasons.append(reason)


_RABBIT = ("rabbit", "kombu")
_DRIVERS = ("amqp", "fake", "kafka", "pika", "qpid", "zmq")
"""Drivers of oslo.messaging that are not RabbitMQ's, in any release from Ocata on."""


def _driver(backend: str) -> str:
    """Return the scheme that [DEFAULT] rpc_backend means; Nova had names of its own for three (nova/rpc.py)."""
    found = re.fullmatch(r"nova\.(?:openstack\.common\.)?rpc\.impl_(\w+)", backend)
    name = found[1] if found else backend
    return "rabbit" if name == "kombu" else name


def _url_parts(url: str) -> tuple[str, bool, str | None]:
    """Return scheme, whether there are hosts, and the virtual host of a transport URL, as oslo.messaging tells them apart."""
    scheme, _, rest = url.partition("://")
    if not rest:
        return scheme.partition(":")[0], False, None
    netloc, slash, path = rest.partition("?")[0].partition("/")
    return _driver(scheme.removeprefix("kombu+")), bool(netloc), path if slash else None


def _virtual_host(name: str) -> str:
    """Return a virtual host as written after the URL's slash: that of `/` is the default, every other keeps its slashes."""
    return "" if name == "/" else urllib.parse.quote(name, safe="/")


def _host_and_port(address: str, port: str) -> str:
    """Return `address` with a port, brackets around IPv6, as oslo_utils.netutils.parse_host_port takes it apart."""
    if address.startswith("["):
        host, _, after = address[1:].partition("]")
        return f"[{host}]:{after.lstrip(':') or port}"
    if address.count(":") == 1:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


# -------------------------------------------------------------------------------------------------------------- people


def table(result: Result, width: int = 120) -> str:
    """Return the translation as a table for people, secrets masked."""
    lines = []
    for record in result.records:
        target = ""
        if record.new_option and (record.new_section, record.new_option) != (record.section, record.option):
            target = f" -> [{record.new_section}] {record.new_option}"
        value = f" = {record.new_value}" if record.new_value is not None and record.new_value != record.value else ""
        row = f"{record.line:>5}  {record.action:<9}  [{record.section}] {record.option}{target}{value}"
        lines.append(row.replace("\n", " "))
        if record.action != KEPT or "deprecated" in record.reason:
            lines += textwrap.wrap(record.reason, width, initial_indent=" " * 18, subsequent_indent=" " * 18)
    for requirement in result.required:
        text = f"Nova {requirement.release} needs: {requirement.need}"
        lines += textwrap.wrap(text, width, initial_indent="    !  ", subsequent_indent=" " * 7)
    counts = ", ".join(
        f"{sum(r.action == action for r in result.records)} {action}" for action in (KEPT, RENAMED, DROPPED, ATTENTION)
    )
    return "\n".join([*lines, counts]) + "\n"


def _refuse(path: Path, what: str) -> None:
    """Raise ValueError for a path that exists and is not a regular file."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        for parent in path.parents:
            if parent.exists() and not parent.is_dir():
                raise ValueError(f"{what} {path}: {parent} is not a directory") from None
        return
    except NotADirectoryError:
        raise ValueError(f"{what} {path}: a part of its path is not a directory") from None
    if stat.S_ISREG(mode):
        return
    kind = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    raise ValueError(f"{what} {path} is {kind.get(stat.S_IFMT(mode), 'a device')}; name an ordinary file")


def _read(path: Path) -> bytes:
    """Return what is in the file to translate; ValueError says why there is nothing."""
    try:
        if not (path.is_file() or path.is_fifo()):
            _refuse(path.resolve(), "CONF")
        return path.read_bytes()
    except FileNotFoundError:
        raise ValueError(f"CONF {path}: the file does not exist") from None
    except PermissionError:
        raise ValueError(f"CONF {path}: this user may not read it") from None


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner may read: it holds secrets. All of it or nothing."""
    files.replace_operators(path, text)


def _keep(out: Path, text: str) -> None:
    """Keep what is in OUT as OUT.orig before it is replaced, once, as the install guide keeps a file that it edits."""
    orig = out.with_name(out.name + ".orig")
    _refuse(orig, "OUT needs")
    if out.exists() and not orig.exists() and (before := out.read_bytes()) != text.encode():
        _write(orig, before.decode("utf-8", "surrogateescape"))


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 0, or 2 with one line on stderr when there is no translation."""
    parser = argparse.ArgumentParser(prog="python -m kilonova.config.translate", description=__doc__.splitlines()[0])
    parser.add_argument("--conf", type=Path, required=True, help="the nova.conf to translate")
    parser.add_argument("--from", dest="old", required=True, help="its release: name or number")
    parser.add_argument("--to", dest="new", required=True, help="the release to translate to")
    parser.add_argument(
        "--out", type=Path, required=True, help="file to write, with OUT.report.json beside it; what it held is kept as OUT.orig"
    )
    args = parser.parse_args(arguments)
    try:
        report = args.out.with_name(args.out.name + ".report.json") if args.out.name else args.out
        for path in (args.out, report):
            _refuse(path, "OUT")
        if report.exists() and args.conf.exists() and report.samefile(args.conf):
            raise ValueError(f"CONF {args.conf} is the path of the report; choose another OUT")
        orig = args.out.with_name(args.out.name + ".orig")
        if orig.exists() and args.out.exists() and args.conf.exists() and args.out.samefile(args.conf):
            raise ValueError(f"CONF {args.conf} was already translated in place; the original is {orig}: pass that as CONF")
        result = translate(_read(args.conf), args.old, args.new)
        _keep(args.out, result.text)
        _write(args.out, result.text)
        _write(report, result.report())
    except conf.ConfError as error:
        print(f"{args.conf}: {error}", file=sys.stderr)
        return 2
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(result), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
