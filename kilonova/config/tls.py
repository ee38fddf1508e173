"""Files with a host's certificates, each for one service, which alone reads the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Certificate and key, as most services are told them.
NAMES = ("certificate.pem", "key.pem")


def certificate_files(
    certificates: Mapping[str, Mapping[str, str]], use: str, directory: str, group: str = "root", names: Sequence[str] = NAMES
) -> list[dict[str, Any]]:
    """Return the files of the host's certificate for `use` and its key, which `group` may read.

    Without a certificate there are none, and those that an earlier run wrote are taken back.
    """
    pair = certificates.get(use) or {}
    rights = {"group": group, "mode": "0640" if group != "root" else "0600"}
    return [
        {
            "path": f"{directory}/{name}",
            "template": "text.j2",
            "variables": {"text": pair.get(part, "")},
            "optional": "text",
            # Of the certificate, too: below /etc/nova and its like nobody else reads anything.
            **rights,
        }
        for name, part in zip(names, ("certificate", "key"), strict=True)
    ]
