"""Secrets for tests: values that break what quotes badly, each with a token in it that can be found wherever it leaks to."""

from __future__ import annotations

import base64
import random
import re
import shutil
import string
import sys
import time
from pathlib import Path
from urllib.parse import quote

from kilonova.run import secrets

# What has broken installers: URLs, interpolation ($ and %), comments, quotes, blanks, Jinja, escapes, and what is not ASCII.
HOSTILE = (
    "p@ss:w/ord%41$x'#\"{}",
    "'{}quoted'",
    " lead {} trail ",
    "a,b[c]?d#e&f=g{}",
    "{{{{7*7}}}}{{%x%}}{}",
    "50%{}",
    "a\\b{}",
    "ü€😀{}",
)
LENGTH = 24
TOKEN = re.compile(rf"[A-Za-z0-9]{{{LENGTH}}}")


def tokens(seed: int) -> dict[str, str]:
    """Secret -> a word of 24 letters and digits that occurs nowhere else."""
    chance = random.Random(seed)
    return {name: "".join(chance.choices(string.ascii_letters + string.digits, k=LENGTH)) for name in secrets.names()}


def values(seed: int, turn: int = 0) -> dict[str, str]:
    """Secret -> hostile value around its token; after 8 turns each secret has had each value."""
    words = tokens(seed)
    return {name: HOSTILE[(at + turn) % len(HOSTILE)].format(words[name]) for at, name in enumerate(words)}


def forms(word: str, value: str) -> set[str]:
    """How a secret may be written where it leaks: as it is, in URLs, for oslo.config, and its token in base64 at any offset."""
    found = {word, value, quote(value, safe=""), value.replace("$", "$$")}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + word.encode()).decode()
        # What the neighbours' bits are part of is cut off.
        found.add(encoded[(0, 2, 3)[shift] : -(4 if encoded.endswith("=") else 1)])
    return found


def words_of(given: dict[str, str]) -> set[str]:
    """Every form of the secrets, hostile or not."""
    found = set()
    for value in given.values():
        found |= forms(next(iter(TOKEN.findall(value)), value), value)
    return found


def write(inventory: Path, given: dict[str, str]) -> Path:
    """Give an inventory these secrets, all of them."""
    return write_file(secrets.secrets_file(inventory), given)


def write_file(path: Path, given: dict[str, str]) -> Path:
    """Write secrets as a file of variables."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text("".join(f"{name}: {secrets.yaml_text(value)}\n" for name, value in given.items()), encoding="utf-8")
    return path


def copy(inventory: Path, directory: Path, seed: int) -> Path:
    """A copy of an inventory that has such secrets instead of its own."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(inventory, directory, ignore=shutil.ignore_patterns("secrets.yml*", "certificates.json*"))
    write(directory, values(seed))
    return directory


if __name__ == "__main__":
    write_file(Path(sys.argv[1]), values(int(time.time())))
