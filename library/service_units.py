#!/usr/bin/python
"""Services that run, are enabled, answer, and run with the configuration that is in place now."""

import os
import socket
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import files, foreign, lock, rabbitmq, unit_state
from ansible.module_utils.kilonova.address import split
from ansible.module_utils.kilonova.http import NoAnswer, ask

try:
    import amqp
except ImportError:  # comes with every service that has queues
    amqp = None

DOCUMENTATION = r"""
module: service_units
short_description: The guide's "service nova-api restart", only where it is needed
description:
  - Called by the action plugin of the same name, where the host has not told already that nothing is left to do.
  - Starts and enables units, and restarts those that read a configuration that changed since they were last restarted here.
  - What each unit was last restarted with is kept in C(/var/lib/kilonova/services.json), so a run that died between writing a
    file and restarting its reader is completed by the next run.
  - Then waits until each unit answers, by asking it. The files that it runs with then are copied to C(/var/lib/kilonova/good).
  - A unit that does not survive its new configuration gets that copy back and is restarted with it; the task fails with both.
options:
  units:
    type: list
    elements: dict
    required: true
    description: >-
      name; reads (path to section to digest, what the unit reads; the digest of a section that it does not use is empty);
      answers (an http URL, or host:port; optional); queues (names of RabbitMQ queues that must have a consumer once the unit was
      started; optional); after (units of this list that must answer before this one is touched; optional); action (restart or
      reload); runs (whether it shall run; without it, yes. What shall not run is stopped and disabled); configuration (file of a
      unit that shall not run; one that is not exactly its package's is somebody's who uses the unit, which then stays as it
      is); later (nothing in the run needs it before the last play: the first start here is not waited for); invocation (systemd's
      id of the process at an earlier look: by another one it died meanwhile).
  unasked:
    type: list
    elements: dict
    default: []
    description: >-
      Units (name, answers, invocation) whose first start was not waited for so far, or that only their process could be asked.
      Those of this call are returned as C(pending), for the last play to ask.
  timeout: {type: int, default: 180, description: Seconds to wait for all answers.}
  queue: {type: dict, description: 'Where RabbitMQ is somebody else''s - its host, port, user, password and vhost.'}
  settle:
    type: int
    default: 10
    description: Seconds that a unit must live with a changed configuration, where nothing but its process can be asked.
"""

DIED = "died right after its start (now %s, %s)"
# Seconds between two questions to a service that starts, and between two looks at one that settles.
MOMENT = 0.2
PAUSE = 2
CONSUMED = (
    "[N || Q <- rabbit_amqqueue:list(), {resource, _, _, N} <- [amqqueue:get_name(Q)], rabbit_amqqueue:consumers(Q) =/= []]"
)
# Where Debian's packages note that it was them who masked a unit, because they were removed.
MASKED_BY_PACKAGE = "/var/lib/systemd/deb-systemd-helper-masked/%s.service"


def systemctl(*arguments):
    """Run systemctl; returns (rc, output)."""
    done = subprocess.run(["systemctl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def show(names):
    """Unit -> its properties, in one call."""
    wanted = "--property=Id,LoadState,ActiveState,SubState,UnitFileState,InvocationID,MainPID"
    output = systemctl("show", wanted, *names)[1]
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n")]
    return dict(zip(names, blocks))


def differences(old, new):
    """Say which files and sections differ: ['[vnc] of /etc/nova/nova.conf']."""
    found = []
    for path in sorted(set(old) | set(new)):
        used = [{name: digest for name, digest in side.get(path, {}).items() if digest} for side in (old, new)]
        sections = unit_state.differing(*used)
        if sections == ["*"]:
            found.append(path)
        elif sections:
            found.append("%s of %s" % (" ".join("[%s]" % name for name in sections), path))
    return found


def answer(target):
    """None when the target answers, else what happened. Any HTTP status below 500 is an answer."""
    try:
        if target.startswith("http"):
            status = ask(target, most=1)[0]
            return "HTTP status %d" % status if status >= 500 else None
        with socket.create_connection(split(target), timeout=5):
            return None
    except (OSError, NoAnswer) as error:
        return "no answer: %s" % error


def consumed_queues(module, names):
    """Those of the RabbitMQ queues `names` that somebody listens to; none while RabbitMQ does not say."""
    if module.params["queue"]:
        return rabbitmq.consumed(amqp, module.params["queue"], names)
    try:
        return set(names) & set(rabbitmq.rows(CONSUMED))
    except RuntimeError:
        return set()


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "units": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    # Digests of what may be a weak password: not for verbose logs.
                    "reads": {"type": "dict", "default": {}, "no_log": True},
                    "answers": {"type": "str"},
                    "queues": {"type": "list", "elements": "str", "default": []},
                    "after": {"type": "list", "elements": "str", "default": []},
                    "action": {"type": "str", "choices": ["restart", "reload"], "default": "restart"},
                    "runs": {"type": "bool", "default": True},
                    "configuration": {"type": "path"},
                    "later": {"type": "bool", "default": False},
                    "invocation": {"type": "str"},
                },
            },
            "unasked": {"type": "list", "elements": "dict", "default": []},
            "queue": {"type": "dict", "options": rabbitmq.LOGIN},
            "timeout": {"type": "int", "default": 180},
            "settle": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    lock.take(module)
    units = [unit for unit in module.params["units"] if unit["runs"]]
    idle = {unit["name"]: unit["configuration"] for unit in module.params["units"] if not unit["runs"]}
    paths = list(dict.fromkeys(path for unit in units for path in unit["reads"]))
    state = unit_state.load_state(module.warn)
    if module.check_mode:
        # A real run has these marks from config_files, which put the files right.
        for path in paths:
            unit_state.mark_edits(state, path)
    shown = show([unit["name"] for unit in module.params["units"]])
    plan, enable, act = [], [], {"start": [], "restart": [], "reload": []}
    # A unit that the packages of this host do not have needs nothing. Before they are installed, it counts as one that they have.
    disable = [name for name in idle if must_be_disabled(shown[name], module.check_mode) and not is_used(name, idle[name])]
    plan += ["disable %s" % name for name in disable]
    for unit in units:
        name, properties = unit["name"], shown[unit["name"]]
        # In check mode, the package may come with this very run, and takes a mask of its own away.
        coming = module.check_mode and (properties.get("LoadState") == "not-found" or os.path.lexists(MASKED_BY_PACKAGE % name))
        if properties.get("LoadState") == "masked" and not coming:
            module.fail_json(msg="unit %s is masked on this host; run `systemctl unmask %s` or remove the mask" % (name, name))
        if properties.get("LoadState") == "not-found" and not coming:
            module.fail_json(msg="unit %s does not exist on this host; is the package installed?" % name)
        stopped = properties.get("ActiveState") not in ("active", "activating", "reloading")
        if not unit_state.is_enabled(name, properties.get("UnitFileState")):
            enable.append(name)
            # What is started is enabled as well, whether or not its package did so.
            plan += [] if stopped else ["enable %s" % name]
        known = state.get(name, {})
        # Only what this call knows of: on a host that is controller and compute node, two roles name the same unit.
        changed = differences({path: known[path] for path in unit["reads"] if path in known}, unit["reads"])
        if stopped:
            act["start"].append(name)
            plan.append("start %s" % name)
        elif changed:
            act[unit["action"]].append(name)
            why = "changed: %s" % ", ".join(changed) if name in state else "runs with a configuration from before this installer"
            plan.append("%s %s (%s)" % (unit["action"], name, why))
    result = {"changed": bool(plan), "actions": plan, "diff": {"before": "", "after": "".join("%s\n" % line for line in plan)}}
    if module.check_mode:
        module.exit_json(**result)
    if plan:
        # A unit's own file, or a drop-in of it, may be what changed.
        systemctl("daemon-reload")
    for command, chosen in ((("disable", "--now"), disable), (("enable",), enable)):
        rc, output = systemctl(*command, *chosen) if chosen else (0, "")
        if rc:
            module.fail_json(msg="systemctl %s %s: %s" % (command[0], " ".join(chosen), output), **result)
    unasked = {unit["name"]: unit for unit in module.params["unasked"]}
    touched = {name for chosen in act.values() for name in chosen}
    first = [unit for unit in units if unit["name"] in touched and (unit["name"] not in state or unit["name"] in unasked)]
    done, later = [], {unit["name"] for unit in first if unit["later"] and unit["name"] in act["start"]}
    for wave in ([unit for unit in units if not unit["after"]], [unit for unit in units if unit["after"]]):
        mine = {unit["name"] for unit in wave}
        acted = {verb: [name for name in chosen if name in mine] for verb, chosen in act.items()}
        for verb, chosen in acted.items():
            if not chosen:
                continue
            if verb == "start":
                systemctl("reset-failed", *chosen)
            # A service that cannot start says so below, with its journal; the others go on meanwhile.
            for names, options in ((set(chosen) - later, []), (set(chosen) & later, ["--no-block"])):
                if names:
                    systemctl(verb, *options, *[name for name in chosen if name in names])
        acted = {name for chosen in acted.values() for name in chosen}
        done += [unit for unit in wave if unit["name"] in acted]
        silent = wait(module, [unit for unit in wave if unit["name"] not in later], acted, state)
        if silent:
            go_back(module, silent, paths, done, result)
    first = {unit["name"]: unit for unit in first if unit["name"] in later or not (unit["answers"] or unit["queues"])}
    if first:
        seen = show(list(first))
        for name, unit in first.items():
            # What systemd has not started yet has the id of an earlier process, or none.
            invocation = None if name in later else seen[name].get("InvocationID")
            unasked[name] = {"name": name, "answers": unit["answers"], "invocation": invocation}
        result["pending"] = list(unasked.values())
    # Only now: a run that dies before this line restarts them again.
    new_state = dict(state)
    new_state.update({unit["name"]: {**state.get(unit["name"], {}), **unit["reads"]} for unit in units})
    try:
        if new_state != state:
            unit_state.save_state(new_state)
        for path in paths:
            unit_state.keep_good(path)
    except files.Refused as error:
        module.fail_json(msg=str(error), **result)
    module.exit_json(**result)


def must_be_disabled(properties, check_mode):
    """Whether a unit that shall not run does, or would at the next start of the host."""
    if properties.get("LoadState") == "not-found":
        return check_mode
    enabled = properties.get("UnitFileState") in ("enabled", "enabled-runtime")
    return enabled or properties.get("ActiveState") in ("active", "activating", "reloading")


def is_used(name, configuration):
    """Whether a unit that shall not run serves somebody else: its configuration is there, and is not its package's."""
    return bool(configuration) and os.path.lexists(configuration) and not foreign.is_idle_package(name, configuration)


def wait(module, units, acted, state):
    """Until every unit is active and answers; returns the name of the first that does not and why, or None."""
    deadline = time.monotonic() + module.params["timeout"]
    waiting = {unit["name"]: unit.get("answers") for unit in units}
    # Only what was just started has to begin to listen.
    queues = {unit["name"]: unit["queues"] for unit in units if acted and unit["queues"]}
    invocations = {unit["name"]: unit.get("invocation") for unit in units}
    reason = {}
    while waiting:
        shown = show(list(waiting))
        for name, target in list(waiting.items()):
            active = shown[name].get("ActiveState")
            if invocations.get(name) and shown[name].get("InvocationID") != invocations[name]:
                return name, DIED % (active, shown[name].get("SubState"))
            if active == "active":
                problem = answer(target) if target else None
                if problem is None and name in queues:
                    idle = sorted(set(queues[name]) - consumed_queues(module, queues[name]))
                    problem = "no consumer of %s" % ", ".join(idle) if idle else None
                if problem is None:
                    del waiting[name]
                    continue
                reason[name] = "%s: %s" % (target or "RabbitMQ", problem)
            else:
                reason[name] = "%s (%s)" % (active, shown[name].get("SubState"))
                if active == "failed":
                    return name, reason[name]
        if waiting and time.monotonic() > deadline:
            name = next(iter(waiting))
            return name, "no answer within %d s, last: %s" % (module.params["timeout"], reason[name])
        if waiting:
            time.sleep(MOMENT)
    return survive(module, [unit for unit in units if unit["name"] in acted], state)


def survive(module, units, state):
    """Units that cannot be asked are "active" before they have read their configuration: see that they stay so.

    Those that run with their first configuration here are looked at once; the run's last play asks for all of them. Others must
    live for some seconds, and until they have come to rest: on a busy host a service needs long to find out that it cannot work.
    """
    names = [unit["name"] for unit in units if not (unit.get("answers") or unit["queues"])]
    changed = [name for name in names if name in state]
    if not names:
        return None
    begun = time.monotonic()
    first, used = show(names), {}
    while True:
        shown, before = show(names), used
        used = {name: processor_seconds(shown[name].get("MainPID", "0")) for name in names}
        for name in names:
            active = shown[name].get("ActiveState")
            # Another invocation: it died, and systemd started it again.
            if active != "active" or shown[name].get("InvocationID") != first[name].get("InvocationID"):
                return name, DIED % (active, shown[name].get("SubState"))
        lived = time.monotonic() - begun
        resting = before and all(used[name] - before[name] < PAUSE / 5 for name in names)
        if not changed or lived > module.params["timeout"] or (lived > module.params["settle"] and resting):
            return None
        time.sleep(PAUSE)


def processor_seconds(pid):
    """What a process and its children have used of the processors so far."""
    ticks = 0
    for name in os.listdir("/proc"):
        stat = unit_state.read("/proc/%s/stat" % name) if name.isdigit() else None
        if stat:
            # The name of the program, in parentheses, may contain anything.
            fields = stat.rpartition(b")")[2].split()
            if pid in (name, fields[1].decode()):
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def go_back(module, silent, paths, units, result):
    """Put back the files that the unit ran with before, and fail with what happened to both configurations."""
    name, reason = silent
    reads = next((unit["reads"] for unit in units if unit["name"] == name), {})
    journal = last_words(name)
    try:
        restored = [path for path in paths if path in reads and unit_state.put_back(path)]
    except files.Refused as error:
        message = "service %s: %s; its files could not be put back: %s" % (name, reason, error)
        module.fail_json(msg=message, journal=journal, **result)
    if not restored:
        module.fail_json(msg="service %s: %s" % (name, reason), journal=journal, **result)
    again = [unit for unit in units if set(unit["reads"]) & set(restored)]
    systemctl("daemon-reload")
    systemctl("reset-failed", *[unit["name"] for unit in again])
    systemctl("restart", *[unit["name"] for unit in again])
    still = wait(module, again, {unit["name"] for unit in again}, unit_state.load_state())
    outcome = "%s %s again with it" % (", ".join(unit["name"] for unit in again), "runs" if len(again) == 1 else "run")
    if still:
        outcome = "but service %s does not run with it either: %s" % still
    module.fail_json(
        msg="service %s does not run with its new configuration: %s; %s was put back as it was before, %s"
        % (name, reason, ", ".join(restored), outcome),
        journal=journal,
        restored=restored,
        **result,
    )


def last_words(name):
    """The end of the unit's journal."""
    return (
        subprocess.run(
            ["journalctl", "--unit", name, "--lines", "15", "--no-pager", "--output", "cat"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        .stdout.decode("utf-8", "replace")
        .splitlines()
    )


if __name__ == "__main__":
    main()
