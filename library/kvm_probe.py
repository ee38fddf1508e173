#!/usr/bin/python
"""Whether KVM runs guests on this host, found out by running one."""

import os
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, kvm

DOCUMENTATION = r"""
module: kvm_probe
short_description: Start a guest of one boot sector with KVM and see whether it gets to its end
description:
  - C(/dev/kvm) may exist and yet not run a guest, or only at a crawl (nested virtualization), so the device node decides nothing.
  - The guest counts to 32 million and then tells QEMU's isa-debug-exit device. With hardware acceleration that takes a
    fraction of a second. The answer is kept in C(/run) while the host runs the same kernel with the same modules and emulator.
    Returns works (bool) and reason.
  - On aarch64 the guest counts as far, and then switches itself off (PSCI).
options:
  timeout: {type: int, default: 10, description: Seconds that the guest may take.}
"""

# 16-bit code: mov ecx, 0x2000000; loop: dec ecx; jnz loop; mov dx, 0xf4; mov al, 0x10; out dx, al; hlt; jmp hlt.
BOOT_SECTOR = bytes.fromhex("66b900000002664975fcbaf400b010eef4ebfd").ljust(510, b"\0") + b"\x55\xaa"
# movz x0, #0x200, lsl #16; loop: subs x0, x0, #1; b.ne loop; movz w0, #8; movk w0, #0x8400, lsl #16; hvc #0 (SYSTEM_OFF); b .
ARM_IMAGE = b"".join(
    word.to_bytes(4, "little") for word in (0xD2A04000, 0xF1000400, 0x54FFFFE1, 0x52800100, 0x72B08000, 0xD4000002, 0x14000000)
)
# Machine -> its emulator, the guest, how QEMU is given it, and the status that QEMU ends with when the guest got to its end.
GUESTS = {
    "x86_64": {
        "emulator": "qemu-system-x86_64",
        "image": BOOT_SECTOR + bytes(1474560 - 512),
        "options": [
            "-machine",
            "pc",
            "-m",
            "16",
            "-drive",
            "file=%s,format=raw,if=floppy,readonly=on",
            "-boot",
            "a",
            "-device",
            "isa-debug-exit,iobase=0xf4,iosize=0x04",
        ],
        "done": 0x10 << 1 | 1,  # what isa-debug-exit makes of 0x10
    },
    "aarch64": {
        "emulator": "qemu-system-aarch64",
        "image": ARM_IMAGE,
        "options": ["-machine", "virt,gic-version=max", "-cpu", "max", "-m", "64", "-kernel", "%s"],
        "done": 0,
    },
}


def probe(binary, timeout, guest):
    """Return (works, reason)."""
    if not os.path.exists("/dev/kvm"):
        return False, "there is no /dev/kvm"
    with tempfile.NamedTemporaryFile(suffix=".img") as image:
        image.write(guest["image"])
        image.flush()
        options = [option % image.name if "%s" in option else option for option in guest["options"]]
        argv = [binary, "-accel", "kvm", "-nodefaults", "-display", "none", "-no-reboot", *options]
        done = command.run(*argv, timeout=timeout)
    if done.status == guest["done"]:
        return True, "a guest ran"
    if done.status == command.LATE:
        return False, "a guest of one boot sector did not end within %d s" % timeout
    return False, "QEMU ended with status %d: %s" % (done.status, done.output.strip()[-300:])


def main():
    """Entry point."""
    module = AnsibleModule(argument_spec={"timeout": {"type": "int", "default": 10}}, supports_check_mode=True)
    guest = GUESTS.get(os.uname().machine)
    if guest is None:
        module.exit_json(changed=False, works=False, reason="no guest for %s is known here" % os.uname().machine)
    binary = module.get_bin_path(guest["emulator"])
    if binary is None:
        if module.check_mode:  # before the first run, which installs it
            works = os.path.exists("/dev/kvm")
            module.exit_json(changed=False, works=works, reason="QEMU is not installed yet" if works else "there is no /dev/kvm")
        module.fail_json(msg="%s is missing on this host; the role nova_compute installs it" % guest["emulator"])
    known = kvm.kept()
    if known is None:
        works, reason = probe(binary, module.params["timeout"], guest)
        known = {"works": works, "reason": reason}
        if not module.check_mode:
            kvm.keep(binary, known)
    module.exit_json(changed=False, **known)


if __name__ == "__main__":
    main()
