"""What Nova of each release accepts in nova.conf: look up an option, and check a file before it is applied.

    catalogue("epoxy").get("vnc", "server_listen").default      "127.0.0.1"
    validate(text, "zed", node="compute")                       [Finding(...), ...]

The definitions are Nova's own and its libraries' (tools/catalogue re-creates them from the released packages), and
the checks are made by oslo.config's own types: a value that Nova accepts is not refused. Nothing is contacted.
"""

from kilonova.config.catalogue.changes import Fate, fate, first_release, last_release, lives
from kilonova.config.catalogue.check import Finding, errors, validate
from kilonova.config.catalogue.options import Catalogue, Option, catalogue, is_secret, mask

__all__ = [
    "Catalogue",
    "Fate",
    "Finding",
    "Option",
    "catalogue",
    "errors",
    "fate",
    "first_release",
    "is_secret",
    "last_release",
    "lives",
    "mask",
    "validate",
]
