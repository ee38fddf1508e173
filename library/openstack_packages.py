#!/usr/bin/python
"""Install packages without starting the services in them, and finish what a killed run left of an installation."""

import os
import re
import shutil
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, files, lock, result
from ansible.module_utils.kilonova.packaging import EXCLUDED, EXCLUSIONS, POLICY, PYTHON_MODULES

DOCUMENTATION = r"""
module: openstack_packages
short_description: The guide's apt-get install, with the services held back until they are configured
description:
  - Debian's packages start their services at once, with the shipped configuration. OpenStack's services then fail, each after
    up to 90 s, with 8 to 16 processes. So units that match C(units) cannot start during the call (policy-rc.d). A policy of the
    administrator is left alone; then nothing is held back.
  - Asks apt for every package that it would install, upgrade or remove; that list is the same with check mode, which reads the
    archives' indexes into a directory of its own.
  - Debian's Python packages call py3compile one after the other while dpkg waits, which is a third of an installation. We
    exclude the packages from py3compile during the apt call and compile them all in parallel afterwards. The compiled files are
    the same as py3compile's (same place, same format).
  - What a killed run left (unconfigured packages, services held back, modules that are not compiled) is finished first.
options:
  names: {type: list, elements: str, required: true, description: Packages that must be installed.}
  units: {type: list, elements: str, required: true, description: Shell patterns of the units that are held back.}
  removable:
    type: list
    elements: str
    default: []
    description: >-
      Packages that apt may remove if they conflict. If apt would remove any other, nothing is installed and the task fails, in
      check mode as well.
  proxy: {type: str, default: '', description: URL of the proxy that packages are fetched by.}
  lock_timeout: {type: int, default: 300, description: Seconds to wait for another user of apt.}
"""

MARK = "# Written by Kilonova for the time of one apt call."
SCRIPT = """#!/bin/sh
%s
case "$1" in
%s) exit 101 ;;
esac
exit 0
"""
SETTLED = ("installed", "config-files", "not-installed")
# As `apt-get --simulate` prints them: Inst name [old version] (new version archive); Remv name [version].
PLANNED = re.compile(r"^(Inst|Remv) (\S+)(?: \[(\S+)\])?(?: \((\S+) )?", re.MULTILINE)


def call(*argv):
    """Run a command without questions; returns (rc, output)."""
    return command.run(*argv, environment={"DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none"})[:2]


def statuses():
    """Package -> (status, whether its files must be unpacked again)."""
    output = call("dpkg-query", "-W", "-f", "${binary:Package} ${db:Status-Status} ${db:Status-Eflag}\n")[1]
    rows = [line.split() for line in output.splitlines()]
    return {row[0]: (row[1], row[2] == "reinstreq") for row in rows if len(row) == 3}


def held_text():
    """What the policy says now; empty when there is none."""
    try:
        with open(POLICY, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except FileNotFoundError:
        return ""


def hold(units):
    """Refuse the start of `units`."""
    files.replace(POLICY, SCRIPT % (MARK, "|".join(units)), 0o755)


def put_off_compilation():
    """Have py3compile pass over the packages' modules from now on."""
    files.replace(EXCLUSIONS, EXCLUDED + "\n", 0o644)


def compile_modules(module):
    """End that, and compile whatever is not compiled yet."""
    # -j 0: as many processes as processors. Status 1: a module of another Python version, which py3compile passes over as well.
    rc, output = call("/usr/bin/python3", "-m", "compileall", "-qq", "-j", "0", PYTHON_MODULES)
    if rc not in (0, 1):
        module.fail_json(msg="compileall %s: status %d: %s" % (PYTHON_MODULES, rc, output[-400:]))
    # Only now: a run that dies before this line compiles again.
    os.unlink(EXCLUSIONS)


def planned(output):
    """The simulation's lines as actions."""
    actions = []
    for verb, name, old, new in PLANNED.findall(output):
        if verb == "Remv":
            actions.append("remove %s %s" % (name, old))
        elif old and old != new:
            actions.append("upgrade %s %s to %s" % (name, old, new))
        else:
            actions.append("install %s %s" % (name, new))
    return sorted(actions)


class Apt:
    """apt-get with the options that every call shares."""

    def __init__(self, module):
        """Read how long to wait for locks."""
        self.module = module
        self.deadline = time.monotonic() + module.params["lock_timeout"]
        self.options = [
            "--option=DPkg::Lock::Timeout=%d" % module.params["lock_timeout"],
            "--option=Dpkg::Options::=--force-confdef",
            "--option=Dpkg::Options::=--force-confold",
        ]
        # In a plan, apt's file for it may not exist yet.
        if module.params["proxy"]:
            self.options += ["--option=Acquire::%s::Proxy=%s" % (kind, module.params["proxy"]) for kind in ("http", "https")]

    def run(self, *arguments):
        """apt-get; fails with what it says."""
        while True:
            rc, output = call("apt-get", "--quiet", "--assume-yes", *self.options, *arguments)
            # `update` has no option to wait.
            if not (rc and "Could not get lock" in output and time.monotonic() < self.deadline):
                break
            time.sleep(2)
        if rc:
            wrong = [line for line in output.splitlines() if line.startswith(("E:", "dpkg: error"))] or output.splitlines()[-3:]
            self.module.fail_json(msg="apt-get %s: %s" % (arguments[0], " ".join(wrong)), output=output.splitlines()[-40:])
        return output

    def simulate(self, *arguments):
        """What an installation does; fails when it would remove a package that is not named."""
        actions = planned(self.run("install", "--simulate", "--fix-broken", "--no-install-recommends", *arguments))
        removed = [action.split()[1] for action in actions if action.startswith("remove ")]
        others = [name for name in removed if name.partition(":")[0] not in self.module.params["removable"]]
        if others:
            self.module.fail_json(
                msg="Nothing was installed. apt would remove %s to install %s. Remove it yourself, or name it in "
                "openstack_packages_removable." % (", ".join(others), ", ".join(arguments[-10:])),
                actions=actions,
            )
        return actions

    def install(self, actions, *arguments):
        """Do what was simulated, and remove nothing that was not in it."""
        never = [] if any(action.startswith("remove ") for action in actions) else ["--no-remove"]
        self.run("install", "--fix-broken", "--no-install-recommends", *never, *arguments)


def simulate_apart(module, names):
    """The same with fresh indexes in a directory of their own: check mode changes nothing, but must not guess either."""
    directory = tempfile.mkdtemp(prefix="kilonova-apt-")
    try:
        os.chmod(directory, 0o755)  # apt reads the network as a user of its own
        os.makedirs(os.path.join(directory, "partial"))
        apt = Apt(module)
        apt.options += [
            "--option=Dir::State::lists=%s" % directory,
            "--option=Dir::Cache::pkgcache=",
            "--option=Dir::Cache::srcpkgcache=",
        ]
        apt.run("update")
        return apt.simulate(*names)
    finally:
        shutil.rmtree(directory)


def install(module, names, unfinished, actions):
    """Do it, with the services held back, and add to `actions` what it is."""
    apt = Apt(module)
    actions += ["finish the installation of %s" % name for name in unfinished]
    if MARK in held_text() or not held_text():
        hold(module.params["units"])
    put_off_compilation()
    try:
        if unfinished:
            # What still misses a dependency is left to apt.
            call("dpkg", "--configure", "-a", "--force-confdef", "--force-confold")
            broken = sorted(name for name, (_status, again) in statuses().items() if again)
            if broken:
                apt.install(apt.simulate("--reinstall", *broken), "--reinstall", *broken)
        if names:
            apt.run("update")
            found = apt.simulate(*names)
            actions += found
            apt.install(found, *names)
    finally:
        if MARK in held_text():
            os.unlink(POLICY)
        compile_modules(module)


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "units": {"type": "list", "elements": "str", "required": True},
            "removable": {"type": "list", "elements": "str", "default": []},
            "proxy": {"type": "str", "default": ""},
            "lock_timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    lock.take(module)
    present = statuses()
    left = {
        "the services that it held back": MARK in held_text(),
        "the modules that it did not compile": os.path.exists(EXCLUSIONS),
    }
    unfinished = sorted(name for name, (status, again) in present.items() if again or status not in SETTLED)
    installed = {name.partition(":")[0] for name, (status, _again) in present.items() if status == "installed"}
    missing = [name for name in module.params["names"] if name not in installed]
    actions = []
    if module.check_mode:
        actions += ["finish the installation of %s" % name for name in unfinished]
        actions += simulate_apart(module, missing) if missing else []
    elif missing or unfinished or any(left.values()):
        with result.doing(module, actions):
            install(module, missing, unfinished, actions)
    actions += ["finish what a killed run left: %s" % thing for thing, is_left in left.items() if is_left]
    summary = actions
    if len(actions) > 30:
        folded = [action for action in actions if action.startswith("install ")]
        summary = ["%s, and what they need: %d packages" % (", ".join("install %s" % name for name in missing), len(folded))]
        summary += [action for action in actions if action not in folded]
    # What their scripts may have touched.
    new = [words[1] for words in map(str.split, actions) if words[0] in ("install", "upgrade")] + unfinished
    gone = {words[1] for words in map(str.split, actions) if words[0] == "remove"}
    # For the roles after this one, whose own packages have come with it.
    there = sorted((installed | {*new, *module.params["names"]}) - gone)
    result.leave(
        module, actions, diff={"before": "", "after": "".join("%s\n" % line for line in summary)}, new=new, installed=there
    )


if __name__ == "__main__":
    main()
