"""Hide secrets: mask() in any configuration file (ini, shell, YAML in all its forms, JSON), mask_log() in a log.

Both sides import this: hosts, before the text leaves them, and the machine that runs Ansible (as kilonova.onhost.masking).
It hides rather too much than too little: where the end of a value is not clear, the rest of the line is hidden. `key_name`,
`keymap` or `token_ttl` are not secrets: a name has to end with the word, and `key` has to be a separate word.
"""

import re

HIDDEN = "(hidden)"
_WORDS = (
    r"(?:(?<!by)(?<!com)pass(?:word|wd|phrase|code)?|pass(?:word|wd|phrase|code)|passwords|pwd|(?<=root|bind)pw|(?<![a-z])pw|"
    r"secrets?|tokens?|authorization|psk|cookie|credentials?|creds?|connection|transport_url|(?:secret|token)_id|approle_role_id|"
    r"(?:api|access|auth|encryption|hmac|private|priv|secret|shared|ssh)key|[_.-]keys?)"
)
# A name that ends with one of the words, quoted or not, and what is between it and its value.
_NAME = re.compile(
    rf"""(?:(?P<quote>["'])|(?<![\w.-]))(?P<name>[\w.-]*{_WORDS}|keys?)(?(quote)(?P=quote))(?P<separator>[^\S\n]*(?:=>|[=:]))""",
    re.IGNORECASE,
)
# The same as the key of YAML's long form, whose value follows on a line that begins with a colon.
_LONG = re.compile(rf"""^(?P<indent>[^\S\n]*)\?[^\S\n]+(["']?)(?:[\w.-]*{_WORDS}|keys?)\2[^\S\n]*$""", re.IGNORECASE)
# --os-password VALUE
_OPTION = re.compile(rf"(--[\w-]*{_WORDS}[^\S\n]+)\S.*", re.IGNORECASE)
# What may stand before a name that begins its line.
_BEGIN = re.compile(r"[^\S\n]*(?:[#;]+[^\S\n]*)?(?:(?:export|set|local|declare[^\S\n]+-\w+)[^\S\n]+)?(?:-[^\S\n]+)*")
_QUOTED = re.compile(r"""[^\S\n]*(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.|'')*')(?=[^\S\n]*(?:[,}\]]|$))""")
# inject_password = true
_PLAIN = re.compile(r"[^\S\n]*(?:true|false|yes|no|none|null|~)[^\S\n]*,?[^\S\n]*", re.IGNORECASE)
# To the last @ of the line: a password written by hand may contain blanks or slashes.
_URL_PASSWORD = re.compile(r"(://[^:\s]*:).*@")

# PEM, also where its lines are one, as in JSON.
_PRIVATE_KEY = re.compile(r"(-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----)(\n?).*?(\n?-----END |\Z)", re.DOTALL)

# In a log, a value ends where its word ends: with the rest of the line, mask() would hide what the line is read for.
_LOG_NAME = r"[\w.-]*(?:pass(?:w(?:or)?d)?|secret(?:_key)?|private_key|signature|token)"
_LOGGED = (
    # Fernet tokens, wherever they are.
    (re.compile(r"gAAAA[\w=-]+"), HIDDEN),
    (
        re.compile(r"""(authorization["']?[^\S\n]*[=:][^\S\n]*u?["']?(?:bearer |basic )?)[^\s,"']+""", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    # "key": "value", 'key': u'value', key = "value"
    (re.compile(rf"""({_LOG_NAME}["']?[^\S\n]*[=:][^\S\n]*u?["'])[^"'\n]+""", re.IGNORECASE), rf"\1{HIDDEN}"),
    # key = value, key: value, ?token=value and %3Ftoken%3Dvalue; neither the digest that keystoneauth shows nor a mapping
    (
        re.compile(rf"""(\b{_LOG_NAME}["']?(?:[^\S\n]*[=:][^\S\n]*|%3D))(?!\{{SHA256\}}|\{{["'])[^\s,&"']+""", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
)


def without_passwords(text):
    """Return `text` without the passwords in its URLs, as they stand in a value or in a traceback."""
    return re.sub(r"\S+", _without_password, text) if "@" in text else text


def _without_password(word):
    # Only what stands before the last @: a list of a thousand URLs would otherwise be read to its end for each.
    login, sign, rest = word[0].rpartition("@")
    return re.sub(r"(://[^:/?#@]*:).*", rf"\1{HIDDEN}", login) + sign + rest


def _without_keys(text):
    return _PRIVATE_KEY.sub(rf"\1\2{HIDDEN}\3", text)


def mask_log(text):
    """Return lines of a log, or what a program says, without passwords and tokens."""
    text = _without_keys(text)
    for pattern, replacement in _LOGGED:
        text = pattern.sub(replacement, text)
    return without_passwords(text)


def mask(text):
    """Return `text` with everything that may be a secret replaced by `(hidden)`."""
    shown, lines = [], _without_keys(text).split("\n")
    while lines:
        line = lines.pop(0)
        masked, column, value, in_flow = _line(line)
        shown.append(_URL_PASSWORD.sub(rf"\1{HIDDEN}@", masked))
        if column is not None and _skip(lines, column, value, in_flow) and HIDDEN not in masked:
            shown[-1] += HIDDEN
    return "\n".join(shown)


def _line(line):
    """(the line without secrets, column of a name whose value may go on below, what is here of it, whether it is in a flow)."""
    long = _LONG.match(line)
    if long:
        return line, len(long.group("indent")), "", True
    out, place = "", 0
    while True:
        found = _NAME.search(line, place)
        if not found:
            break
        begins = _BEGIN.fullmatch(line[: found.start()])
        in_flow = not begins or bool(found.group("quote"))
        # A word of prose: only at the beginning of a line, or where data is written, `key` names a value.
        in_data = begins or re.search(r"[{,&?][^\S\n]*$", line[: found.start()])
        if found.group("name").lower() in ("key", "keys") and not in_data:
            out, place = out + line[place : found.end()], found.end()
            continue
        rest = line[found.end() :]
        out += line[place : found.end()]
        if not rest.strip():
            return out + rest, found.start(), "", in_flow
        if _PLAIN.fullmatch(rest):
            return out + rest, None, "", False
        value = _QUOTED.match(rest) if in_flow else None
        blank = rest[: len(rest) - len(rest.lstrip())]
        out += blank + HIDDEN
        if not value:
            # In an ini file, quotes and a backslash at the end are parts of the value.
            ini = not in_flow and "=" in found.group("separator") and bool(blank)
            return out, found.start(), "x" if ini else rest.strip(), in_flow
        place = found.end() + value.end()
    return _OPTION.sub(r"\1" + HIDDEN, out + line[place:]), None, "", False


def _skip(lines, column, value, in_flow):
    """Take away the lines in which a value goes on, whose name is in this column; returns whether there were any."""
    before = len(lines)
    if value[:1] in ("'", '"') and not _closed(value):
        end = next((at for at, line in enumerate(lines) if value[0] in line.replace("\\" + value[0], "")), -1)
        del lines[: end + 1]
    while value.endswith("\\") and lines:
        value = lines.pop(0).rstrip()
    if not value and in_flow and lines:
        lines.pop(0)
    # Blank lines belong to a text of several lines, if more of it follows.
    while lines:
        ahead = next((at for at, line in enumerate(lines) if line.strip()), None)
        if ahead is None:
            break
        line = lines[ahead]
        indent = len(line) - len(line.lstrip())
        if not (indent > column or (not value and indent == column and re.match(r"-(\s|$)", line.lstrip()))):
            break
        del lines[: ahead + 1]
    return len(lines) != before


def _closed(value):
    """Whether the quotation that a value begins with ends in its line."""
    return bool(re.match(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'', value))
