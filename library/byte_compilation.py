#!/usr/bin/python
"""Put off the byte compilation of Python packages while apt runs, and do it afterwards on all processors at once."""

import os
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: byte_compilation
short_description: Byte-compile the packages' Python modules once, in parallel, instead of package by package
description:
  - Debian's Python packages call py3compile one after the other while dpkg waits, which is a third of an installation.
  - Uses what py3compile offers for it, a file of exclusions in C(/usr/share/python3/bcep); no tool of the distribution is
    replaced.
  - The compiled files are the ones that py3compile would have written (same place, same format).
options:
  state:
    type: str
    choices: [deferred, done]
    required: true
    description: >-
      C(deferred) excludes the modules from now on; C(done) ends that and compiles whatever is not compiled yet. C(done) does
      nothing when nothing was deferred.
"""

EXCLUSIONS = "/usr/share/python3/bcep/kilonova"
MODULES = "/usr/lib/python3/dist-packages"
# Kind, versions of Python, directory: the format of py3compile.
TEXT = "dir|3.0-|%s\n" % MODULES


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={"state": {"type": "str", "choices": ["deferred", "done"], "required": True}}, supports_check_mode=True
    )
    deferred = os.path.lexists(EXCLUSIONS)
    wanted = module.params["state"] == "deferred"
    if deferred == wanted or module.check_mode:
        module.exit_json(changed=deferred != wanted)
    if wanted:
        os.makedirs(os.path.dirname(EXCLUSIONS), mode=0o755, exist_ok=True)
        with open(EXCLUSIONS, "w", encoding="utf-8") as stream:
            stream.write(TEXT)
        module.exit_json(changed=True)
    # -j 0: as many processes as processors. Status 1: a module of another Python version, which py3compile passes over as well.
    argv = ["/usr/bin/python3", "-m", "compileall", "-qq", "-j", "0", MODULES]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode not in (0, 1):
        module.fail_json(msg="%s: status %d: %s" % (" ".join(argv), done.returncode, done.stdout.decode("utf-8", "replace")))
    # Only now: a run that dies before this line compiles again.
    os.unlink(EXCLUSIONS)
    module.exit_json(changed=True)


if __name__ == "__main__":
    main()
