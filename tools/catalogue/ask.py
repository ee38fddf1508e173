"""Ask a release's own oslo.config, with Nova's own options, what it makes of values. Used by the tests.

    PYTHONPATH=<unpacked packages of the series>:<base> python ask.py < cases.json > answers.json

A case is [section, option, lines of the file]; its answer says whether the option can be read: true, or the error.
"""

from __future__ import annotations

import json
import sys
import tempfile

import extract

extract.compat()

import nova.conf  # noqa: E402 - needs what extract.compat() has made
from oslo_config import cfg  # noqa: E402 - the same


def main() -> None:
    conf = nova.conf.CONF
    for section, option in extract.listed():
        # oslo.config registers its own three itself
        if not section.startswith("{") and option.name not in ("config-file", "config-dir", "config_source"):
            option.required = False  # it is, of an auth plugin that a file has to choose first
            try:
                conf.register_opt(option, group=None if section == "DEFAULT" else section)
            except (cfg.DuplicateOptError, cfg.ArgsAlreadyParsedError):
                continue  # Nova registered its own variant, which is the one that counts
    answers = []
    for section, name, lines in json.load(sys.stdin):
        with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            conf.clear()
            try:
                conf([], project="nova", default_config_files=[file.name], default_config_dirs=[])
                getattr(conf if section == "DEFAULT" else conf[section], name)
            except (Exception, SystemExit) as error:  # whatever it is, Nova does not start with it
                answers.append(f"{type(error).__name__}: {error}")
            else:
                answers.append(True)
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
