"""Whether KVM runs guests on a host, as M(kvm_probe) found out, and how long that holds."""

import json
import os

from . import files

KEPT = "/run/kilonova-kvm-probe.json"


def situation(binary):
    """What an answer is good for: this boot's kernel, with KVM's modules and device as they are, and this emulator."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
            boot = stream.read().strip()
    except OSError:
        boot = ""
    modules = sorted(name for name in ("kvm", "kvm_intel", "kvm_amd") if os.path.isdir("/sys/module/" + name))
    device = os.stat("/dev/kvm").st_rdev if os.path.exists("/dev/kvm") else 0
    state = os.stat(binary)
    return [boot, os.uname().release, modules, device, binary, state.st_size, int(state.st_mtime)]


def keep(binary, found):
    """Keep what a guest of this emulator showed: works (bool) and reason."""
    files.replace(KEPT, json.dumps([situation(binary), found["works"], found["reason"]]), 0o644)


def kept():
    """What was found out, while all that it depends on is as it was; None where nobody knows."""
    try:
        with open(KEPT, encoding="utf-8") as stream:
            before, works, reason = json.load(stream)
        return {"works": works, "reason": reason} if before == situation(before[4]) else None
    except (OSError, ValueError, TypeError, IndexError):  # another version kept something else
        return None
