"""What the Python that runs Ansible must have, for users of their own Ansible (pip, pipx, Debian's package)."""

from __future__ import annotations

import importlib.util
import shlex
import sys

ANSIBLE = (2, 18)
# What ansible-core does not bring itself: the module, and what it is called by pip and by apt.
MODULES = {"oslo_config": ("oslo.config", "python3-oslo.config")}


def missing() -> str:
    """Return one line that says what the Ansible in whose process this is lacks, and the command that brings it; or nothing."""
    from ansible.release import __version__

    found = tuple(int(part) for part in __version__.split(".")[:2])
    if found < ANSIBLE:
        wanted = ".".join(map(str, ANSIBLE))
        modules = " ".join(pip for pip, _apt in MODULES.values())
        return (
            f"Kilonova needs ansible-core {wanted} or newer, and this is {__version__} ({sys.executable}); `make` makes "
            f"one of its own, or: python3 -m venv DIRECTORY && DIRECTORY/bin/pip install 'ansible-core>={wanted}' {modules}"
        )
    lacking = [names for module, names in MODULES.items() if importlib.util.find_spec(module) is None]
    if not lacking:
        return ""
    names = ", ".join(pip for pip, _apt in lacking)
    return f"Kilonova needs {names} in Ansible's Python ({sys.executable}); run: {_command(lacking)}"


def _command(lacking: list[tuple[str, str]]) -> str:
    """How packages come to where this Python looks: pip, pipx or apt."""
    pip = " ".join(name for name, _apt in lacking)
    if sys.prefix == sys.base_prefix and sys.prefix == "/usr":
        return "apt install " + " ".join(apt for _pip, apt in lacking)
    if "/pipx/" in f"{sys.prefix}/":
        return f"pipx inject {shlex.quote(sys.prefix.rpartition('/')[2])} {pip}"
    return f"{shlex.quote(sys.executable)} -m pip install {pip}"
