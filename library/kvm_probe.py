#!/usr/bin/python
"""Whether KVM runs guests on this host, found out by running one."""

import json
import os
import subprocess
import tempfile

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kvm_probe
short_description: Start a guest of one boot sector with KVM and see whether it gets to its end
description:
  - C(/dev/kvm) may exist and yet not run a guest, or only at a crawl (nested virtualization), so the device node decides nothing.
  - The guest counts to 32 million and then tells QEMU's isa-debug-exit device. With hardware acceleration that takes a
    fraction of a second. The answer is kept in C(/run) until the host boots again. Returns works (bool) and reason.
options:
  timeout: {type: int, default: 10, description: Seconds that the guest may take.}
"""

KEPT = "/run/kilonova-kvm-probe.json"
# 16-bit code: mov ecx, 0x2000000; loop: dec ecx; jnz loop; mov dx, 0xf4; mov al, 0x10; out dx, al; hlt; jmp hlt.
CODE = bytes.fromhex("66b900000002" "6649" "75fc" "baf400" "b010" "ee" "f4" "ebfd")
DONE = 0x10 << 1 | 1  # what isa-debug-exit makes of 0x10


def probe(binary, timeout):
    """Return (works, reason)."""
    if not os.path.exists("/dev/kvm"):
        return False, "there is no /dev/kvm"
    with tempfile.NamedTemporaryFile(suffix=".img") as image:
        image.write(CODE.ljust(510, b"\0") + b"\x55\xaa" + bytes(1474560 - 512))
        image.flush()
        argv = [
            binary, "-accel", "kvm", "-machine", "pc", "-m", "16", "-nodefaults", "-display", "none", "-no-reboot",
            "-drive", "file=%s,format=raw,if=floppy,readonly=on" % image.name, "-boot", "a",
            "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
        ]
        try:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False)
        except subprocess.TimeoutExpired:
            return False, "a guest of one boot sector did not end within %d s" % timeout
    if done.returncode == DONE:
        return True, "a guest ran"
    output = done.stdout.decode("utf-8", "replace").strip()
    return False, "QEMU ended with status %d: %s" % (done.returncode, output[-300:])


def main():
    """Entry point."""
    module = AnsibleModule(argument_spec={"timeout": {"type": "int", "default": 10}}, supports_check_mode=True)
    binary = module.get_bin_path("qemu-system-x86_64")
    if binary is None:
        if module.check_mode:  # before the first run, which installs it
            works = os.path.exists("/dev/kvm")
            module.exit_json(changed=False, works=works, reason="QEMU is not installed yet" if works else "there is no /dev/kvm")
        module.fail_json(msg="qemu-system-x86_64 is missing on this host; the role nova_compute installs it")
    try:
        with open(KEPT, encoding="utf-8") as stream:
            works, reason = json.load(stream)
    except (OSError, ValueError):
        works, reason = probe(binary, module.params["timeout"])
        if not module.check_mode:
            with open(KEPT, "w", encoding="utf-8") as stream:
                json.dump([works, reason], stream)
    module.exit_json(changed=False, works=works, reason=reason)


if __name__ == "__main__":
    main()
