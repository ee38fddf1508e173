"""Check files of programs without a catalogue of options: uWSGI's, MariaDB's, RabbitMQ's, libvirt's, and Horizon's settings.

They know no types that could be asked, but names.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

NAMES = Path(__file__).parent / "catalogue" / "data" / "names.yml"
# Section -> option -> what its value is.
NUMBER, SWITCH, SIZE = "a whole number", "true or false", "a number of bytes, e.g. 1073741824 or 1G"
FRACTION, LEVEL = "a number between 0 and 1", "one of debug, info, notice, warning, error, critical, alert, emergency, none"
KINDS: dict[str, dict[str, str]] = {
    "uwsgi": {
        **dict.fromkeys(
            (
                "processes",
                "workers",
                "threads",
                "listen",
                "buffer-size",
                "harakiri",
                "max-requests",
                "socket-timeout",
                "http-timeout",
                "chunked-input-limit",
                "cheaper",
                "reload-mercy",
                "worker-reload-mercy",
            ),
            NUMBER,
        ),
        **dict.fromkeys(
            (
                "master",
                "thunder-lock",
                "lazy-apps",
                "enable-threads",
                "die-on-term",
                "no-orphans",
                "vacuum",
                "single-interpreter",
                "need-app",
                "http-keepalive",
                "http-raw-body",
                "http-auto-chunked",
                "http-chunked-input",
            ),
            SWITCH,
        ),
    },
    "mysqld": {
        **dict.fromkeys(
            (
                "max-connections",
                "port",
                "wait-timeout",
                "interactive-timeout",
                "connect-timeout",
                "back-log",
                "max-connect-errors",
                "open-files-limit",
                "table-open-cache",
                "thread-cache-size",
                "net-read-timeout",
            ),
            NUMBER,
        ),
        **dict.fromkeys(
            (
                "innodb-buffer-pool-size",
                "innodb-log-file-size",
                "max-allowed-packet",
                "tmp-table-size",
                "max-heap-table-size",
                "key-buffer-size",
                "sort-buffer-size",
                "join-buffer-size",
                "query-cache-size",
            ),
            SIZE,
        ),
        **dict.fromkeys(("skip-name-resolve", "innodb-file-per-table", "local-infile", "slow-query-log"), SWITCH),
    },
    "rabbitmq": dict.fromkeys(("heartbeat", "frame_max", "channel_max", "num_acceptors.tcp", "max_message_size"), NUMBER)
    | dict.fromkeys(("log.file.level", "log.console.level", "log.connection.level", "log.default.level"), LEVEL)
    | {"vm_memory_high_watermark.relative": FRACTION},
    "horizon": dict.fromkeys(
        ("SESSION_TIMEOUT", "SESSION_COOKIE_AGE", "API_RESULT_LIMIT", "API_RESULT_PAGE_SIZE", "DROPDOWN_MAX_ITEMS"), NUMBER
    )
    | dict.fromkeys(
        (
            "DISALLOW_IFRAME_EMBED",
            "CSRF_COOKIE_SECURE",
            "SESSION_COOKIE_SECURE",
            "SESSION_COOKIE_HTTPONLY",
            "ENFORCE_PASSWORD_CHECK",
            "OPENSTACK_KEYSTONE_MULTIDOMAIN_SUPPORT",
            "OPENSTACK_SSL_NO_VERIFY",
        ),
        SWITCH,
    ),
}
_FORMS = {
    NUMBER: re.compile(r"[0-9]+"),
    SWITCH: re.compile(r"true|false|on|off|1|0|yes|no", re.IGNORECASE),
    SIZE: re.compile(r"[0-9]+[KMGTPE]?", re.IGNORECASE),
    FRACTION: re.compile(r"0?\.[0-9]+|[01](\.0*)?"),
    LEVEL: re.compile("debug|info|notice|warning|error|critical|alert|emergency|none"),
}
# What makes uWSGI listen: addresses and ports are arguments of the unit.
LISTENS = re.compile(r"((https?|http11|uwsgi|puwsgi|fastcgi|scgi|ssl|raw)-)?socket|https?2?")
# Options of MariaDB of which every line counts; of the others only the last one does.
REPEATED = re.compile(r"(loose-)?(replicate|binlog)-.*(db|table)|(loose-)?plugin-load-add|(loose-)?ignore-db-dirs?")
ENDS = {"-uwsgi.ini": "uwsgi", ".cnf": "mysqld", "rabbitmq.conf": "rabbitmq", "_1000_kilonova.py": "horizon"}
"""End of a file's name -> the kind of its options."""
# How near a name must be to another one to be a misspelt one.
NEAR = 0.85
# The sections that a program reads; MariaDB's may end with a version.
READ = {
    "uwsgi": r"uwsgi",
    "mysqld": r"(mysqld|server|mariadb|mariadbd)(-[0-9.]+)?",
    "rabbitmq": r"DEFAULT",
    "horizon": r"DEFAULT",  # and, as sections, settings that are mappings
}
# Sections of MariaDB's other programs, which such a file may have too.
OTHER_SECTIONS = ("client", "client-server", "client-mariadb", "galera", "mysql", "mariadb-client", "mysqldump", "mysqld_safe")


@functools.cache
def names() -> dict[str, list[str]]:
    """Return section -> names of its options."""
    return yaml.load(NAMES.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def section_of(path: str) -> str | None:
    """Return the kind of options of a file that is checked; None for other files."""
    return next((section for end, section in ENDS.items() if path.endswith(end)), None)


def reads(path: str, section: str) -> bool:
    """Whether the program that the file is for reads this section of it; for files that are not checked, any."""
    kind = section_of(path)
    return not kind or bool(re.fullmatch(READ[kind], section))


def check(path: str, sections: Mapping[str, Mapping[str, tuple[Any, str]]]) -> Iterator[str]:
    """Yield what is wrong with a file, by option; `sections` as config_files.sections_of makes them."""
    wanted = section_of(path)
    for section, options in sections.items() if wanted else ():
        if not reads(path, section):
            if wanted == "uwsgi":
                yield f"[{section}]: uWSGI reads the section [uwsgi] only; move it there"
            elif wanted == "horizon":
                yield from _setting(section)
            elif section not in OTHER_SECTIONS and difflib.get_close_matches(section.lower(), ["mysqld", "server", "mariadb"]):
                yield f"[{section}]: MariaDB reads no such section; write [mysqld]"
            continue
        for option, (value, layer) in options.items():
            for wrong in _option(wanted, option, value, layer):
                yield f"[{section}] {option}: {wrong}"


def _setting(section: str) -> Iterator[str]:
    """What is wrong with the name of a setting that is a mapping."""
    if not re.fullmatch("[A-Z][A-Z0-9_]*", section):
        yield f"[{section}]: is not the name of a setting; write one in capitals, or move what is in it to [DEFAULT]"
    elif section not in names()["horizon"] and (near := _meant(section, names()["horizon"])):
        yield f"[{section}]: there is no such setting; did you mean {near}?"


def _option(section: str, option: str, value: Any, layer: str) -> Iterator[str]:
    # MariaDB takes dashes and underscores for the same; `loose_` before a name that may be unknown
    name = option.replace("_", "-") if section == "mysqld" else option
    kind = KINDS[section].get(name)
    for item in value if isinstance(value, (list, tuple)) else [value]:
        if kind and not _FORMS[kind].fullmatch(str(item)):
            yield f"{item} is not {kind}"
    if layer.startswith("override") and section == "uwsgi" and LISTENS.fullmatch(name):
        yield "the unit says where its API listens, and what else knows the port; set openstack_api_addresses, or leave it out"
        return
    if section == "mysqld" and isinstance(value, (list, tuple)) and len(value) > 1 and not REPEATED.fullmatch(name):
        yield "is a list, and MariaDB would read the last element only; write one text, with commas if it may be several"
    known = names()[section]
    prefixed, prefix = False, ""
    if section == "mysqld" and name not in known and (match := re.match("loose-|skip-|disable-|enable-", name)):
        prefix, rest = match[0], name[match.end() :]
        # What begins with loose- may be unknown: MariaDB passes over it.
        prefixed = prefix == "loose-" or rest in known or not (_meant(rest, known) or _meant(name, known))
    if section == "rabbitmq":  # the operator gives names to listeners and other things there are several of
        prefixed = any(re.fullmatch(re.escape(known).replace(r"\$", "[^.]+"), name) for known in known if "$" in known)
    if name in known or prefixed or not layer.startswith("override"):
        return
    first, dot, rest = name.partition(".")
    if not (near := _meant(name, known)) and prefix and (near := _meant(name.removeprefix(prefix), known)):
        near = prefix + near
    group = _meant(first, {one.partition(".")[0] for one in known if "." in one}) if section == "rabbitmq" and dot else ""
    if near := near or (group and group != first and f"{group}.{rest}"):
        yield f"there is no such option; did you mean {near}?"


def _meant(name: str, known: Iterable[str]) -> str:
    """The name of which this is a misspelling; empty when there is none."""
    known = list(known)
    text = name if known and known[0].isupper() else name.lower()
    return next(iter(difflib.get_close_matches(text, known, n=1, cutoff=NEAR)), "")


# libvirt's qemu.conf and libvirtd.conf: settings that are numbers, and names of users and groups.
_COUNTS = re.compile(
    r"(admin_)?(max|min|prio)_[a-z_]*(clients|workers|requests)|(max_)?(files|processes|queued)|max_(files|processes|queued)"
    r"|(admin_)?keepalive_(interval|count|required)|log_level|audit_level|.*_port_(min|max)|migration_port_(min|max)"
    r"|listen_(tls|tcp)|dynamic_ownership|remember_owner|clear_emulator_capabilities|set_process_name|(.*_)?tls(_x509_verify)?"
)
_ACCOUNTS = re.compile("user|group|swtpm_user|swtpm_group|unix_sock_group")


def check_settings(path: str, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with a file of libvirt's, which has no sections. libvirt passes over what it does not know."""
    known = names().get(Path(path).name, ())
    for name, value in settings.items():
        if _COUNTS.fullmatch(str(name)) and not re.fullmatch("[0-9]+|True|False", str(value)):
            yield f"{name}: {value} is not a whole number"
        if _ACCOUNTS.fullmatch(str(name)) and isinstance(value, bool):
            yield f"{name}: is {str(value).lower()} to YAML, and not a name; put it in quotes"
    for name in map(str, settings):
        if name not in known and (near := _meant(name, known)):
            yield f"{name}: there is no such setting; did you mean {near}?"
