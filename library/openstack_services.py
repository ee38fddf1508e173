#!/usr/bin/python
"""Services that run, are enabled, answer, and run with the configuration that is in place now."""

import json
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: openstack_services
short_description: The guide's "service nova-api restart", only where it is needed
description:
  - Enables and starts units, and restarts those that read a configuration that changed since they were last restarted here.
  - What each unit was last restarted with is kept in C(/var/lib/kilonova/services.json), so a run that died between writing a
    file and restarting its reader is completed by the next run.
  - Then waits until each unit answers, by asking it.
options:
  units:
    type: list
    elements: dict
    required: true
    description: >-
      name; reads (path to section to digest, what the unit reads); answers (an http URL, or host:port; optional); queues (names
      of RabbitMQ queues that must have a consumer once the unit was started; optional); after (units of this list that must
      answer before this one is touched; optional); action (restart or reload); runs (whether it shall run; without it, yes. What
      shall not run is stopped and disabled).
  timeout: {type: int, default: 180, description: Seconds to wait for all answers.}
"""

STATE = "/var/lib/kilonova/services.json"


def systemctl(*arguments):
    """Run systemctl; returns (rc, output)."""
    done = subprocess.run(["systemctl", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace").strip()


def show(names):
    """Unit -> its properties, in one call."""
    output = systemctl("show", "--property=Id,LoadState,ActiveState,SubState,UnitFileState,Names", *names)[1]
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n")]
    return dict(zip(names, blocks, strict=False))


def load_state():
    """What each unit was last restarted with."""
    try:
        with open(STATE, encoding="utf-8") as stream:
            return json.load(stream)
    except (OSError, ValueError):
        return {}


def save_state(state):
    """Replace the state file atomically; digests of secrets are for root only."""
    os.makedirs(os.path.dirname(STATE), mode=0o755, exist_ok=True)
    descriptor = os.open(STATE + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(state, stream, indent=1, sort_keys=True)
    os.rename(STATE + ".new", STATE)


def differences(old, new):
    """Say which files and sections differ: ['[vnc] of /etc/nova/nova.conf']."""
    found = []
    for path in sorted(set(old) | set(new)):
        before, after = old.get(path, {}), new.get(path, {})
        sections = [name for name in sorted(set(before) | set(after)) if before.get(name) != after.get(name)]
        if sections == ["*"]:
            found.append(path)
        elif sections:
            found.append("%s of %s" % (" ".join("[%s]" % name for name in sections), path))
    return found


def answer(target):
    """None when the target answers, else what happened. Any HTTP status below 500 is an answer."""
    try:
        if target.startswith("http"):
            try:
                with urllib.request.urlopen(target, timeout=10) as reply:
                    reply.read(1)
            except urllib.error.HTTPError as error:
                if error.code >= 500:
                    return "HTTP status %d" % error.code
            return None
        host, _separator, port = target.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return None
    except OSError as error:
        return str(error)


def consumed_queues():
    """Names of the RabbitMQ queues that somebody listens to."""
    argv = ["rabbitmqctl", "--quiet", "list_queues", "name", "consumers"]
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    rows = [line.split("\t") for line in done.stdout.decode("utf-8", "replace").splitlines()]
    return {row[0] for row in rows if len(row) == 2 and row[1] not in ("0", "consumers")}


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
                    "reads": {"type": "dict", "default": {}},
                    "answers": {"type": "str"},
                    "queues": {"type": "list", "elements": "str", "default": []},
                    "after": {"type": "list", "elements": "str", "default": []},
                    "action": {"type": "str", "choices": ["restart", "reload"], "default": "restart"},
                    "runs": {"type": "bool", "default": True},
                },
            },
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    units = [unit for unit in module.params["units"] if unit["runs"]]
    idle = [unit["name"] for unit in module.params["units"] if not unit["runs"]]
    state = load_state()
    shown = show([unit["name"] for unit in module.params["units"]])
    plan, enable, act = [], [], {"start": [], "restart": [], "reload": []}
    # A unit that the packages of this host do not have needs nothing. Before they are installed, it counts as one that they have.
    disable = [name for name in idle if must_be_disabled(shown[name], module.check_mode)]
    plan += ["disable %s" % name for name in disable]
    for unit in units:
        name, properties = unit["name"], shown[unit["name"]]
        if properties.get("LoadState") == "masked":
            module.fail_json(msg="unit %s is masked on this host; run `systemctl unmask %s` or remove the mask" % (name, name))
        if properties.get("LoadState") == "not-found" and not module.check_mode:
            module.fail_json(msg="unit %s does not exist on this host; is the package installed?" % name)
        if properties.get("UnitFileState") not in ("enabled", "enabled-runtime", "generated", "static", "alias", "indirect"):
            enable.append(name)
            plan.append("enable %s" % name)
        known = state.get(name, {})
        # Only what this call knows of: on a host that is controller and compute node, two roles name the same unit.
        changed = differences({path: known[path] for path in unit["reads"] if path in known}, unit["reads"])
        if properties.get("ActiveState") not in ("active", "activating", "reloading"):
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
    new_state = dict(state)
    for wave in ([unit for unit in units if not unit["after"]], [unit for unit in units if unit["after"]]):
        mine = {unit["name"] for unit in wave}
        acted = False
        for verb, chosen in act.items():
            chosen = [name for name in chosen if name in mine]
            if not chosen:
                continue
            acted = True
            if verb == "start":
                systemctl("reset-failed", *chosen)
            # A service that cannot start says so below, with its journal; the others go on meanwhile.
            systemctl(verb, *chosen)
        wait(module, wave, result, acted)
        # Only now: a run that dies before this line restarts them again.
        new_state.update({unit["name"]: {**new_state.get(unit["name"], {}), **unit["reads"]} for unit in wave})
        if new_state != load_state():
            save_state(new_state)
    module.exit_json(**result)


def must_be_disabled(properties, check_mode):
    """Whether a unit that shall not run does, or would at the next start of the host."""
    if properties.get("LoadState") == "not-found":
        return check_mode
    enabled = properties.get("UnitFileState") in ("enabled", "enabled-runtime")
    return enabled or properties.get("ActiveState") in ("active", "activating", "reloading")


def wait(module, units, result, acted):
    """Until every unit is active and answers; otherwise fail with what the first silent one says of itself."""
    deadline = time.monotonic() + module.params["timeout"]
    waiting = {unit["name"]: unit.get("answers") for unit in units}
    # Asking RabbitMQ takes a second, so only for what was just started.
    queues = {unit["name"]: unit["queues"] for unit in units if acted and unit["queues"]}
    reason = {}
    while waiting:
        shown = show(list(waiting))
        for name, target in list(waiting.items()):
            active = shown[name].get("ActiveState")
            if active == "active":
                problem = answer(target) if target else None
                if problem is None and name in queues:
                    idle = sorted(set(queues[name]) - consumed_queues())
                    problem = "no consumer of %s" % ", ".join(idle) if idle else None
                if problem is None:
                    del waiting[name]
                    continue
                reason[name] = "%s: %s" % (target or "RabbitMQ", problem)
            else:
                reason[name] = "%s (%s)" % (active, shown[name].get("SubState"))
                if active == "failed":
                    report(module, name, reason[name], result)
        if waiting and time.monotonic() > deadline:
            name = next(iter(waiting))
            report(module, name, "no answer within %d s, last: %s" % (module.params["timeout"], reason[name]), result)
        if waiting:
            time.sleep(0.5)
    if acted:
        # Type=simple units are "active" before they have read their configuration: look once more.
        shown = show([unit["name"] for unit in units])
        for unit in units:
            if shown[unit["name"]].get("ActiveState") == "failed":
                report(module, unit["name"], "failed right after its start", result)


def report(module, name, reason, result):
    """Fail with the unit's own last words."""
    journal = subprocess.run(
        ["journalctl", "--unit", name, "--lines", "15", "--no-pager", "--output", "cat"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    ).stdout.decode("utf-8", "replace")
    module.fail_json(msg="service %s: %s" % (name, reason), journal=journal.splitlines(), **result)


if __name__ == "__main__":
    main()
