#!/usr/bin/python
"""Services that run, are enabled, answer, and run with the configuration that is in place now."""

import os
import socket
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import files, foreign, lock, rabbitmq, result, unit_state
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
  - Called by the action plugin of the same name, where the host has not reported already that nothing is left to do.
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
    description: Units, in the order in which they start.
    suboptions:
      name: {type: str, required: true, description: Name of the unit.}
      digests:
        type: dict
        default: {}
        description: >-
          What the unit reads - path to section to digest; the digest of a section that it does not use is empty. The action
          plugin makes them of a role's C(reads) (paths; without it, all C(files)) and C(ignores) (sections that the unit does
          not use).
      answers:
        type: str
        description: HTTP URL, or host:port, that answers once the unit works. Without it, being active is enough.
      queues:
        type: list
        elements: str
        default: []
        description: RabbitMQ queues that must have a consumer once the unit was started.
      after:
        type: list
        elements: str
        default: []
        description: Units of this list that must answer before this one is touched.
      action: {type: str, choices: [restart, reload], default: restart, description: What a changed configuration asks for.}
      runs: {type: bool, default: true, description: Whether the unit shall run. One that shall not is stopped and disabled.}
      configuration:
        type: path
        description: >-
          File of a unit that shall not run. Where it is not exactly its package's, somebody uses the unit, and it stays as it is.
      start_without_waiting:
        type: bool
        default: false
        description: >-
          Whether nothing in the run needs the unit before the last play. Its first start is not waited for; the last play asks.
      invocation:
        type: str
        description: systemd's InvocationID when we last looked. If it has changed, the unit died and was started again.
  pending:
    type: list
    elements: dict
    default: []
    description: >-
      Units (name, answers, invocation) that this run started without waiting, and units whose only sign of life is their process.
  timeout: {type: int, default: 180, description: Seconds to wait for all answers.}
  queue: {type: dict, description: 'Where RabbitMQ is external - its host, port, user, password and vhost.'}
  settle:
    type: int
    default: 10
    description: Seconds that a unit must live with a changed configuration, where nothing but its process can be asked.
"""

RETURN = r"""
pending:
  description: C(pending), and such units of this call. The last play asks them.
  type: list
  returned: when there are any new ones
"""

DIED = "died right after its start (now %s, %s)"
# Seconds between two questions to a service that starts, and between two looks at one that settles.
MOMENT = 0.2
PAUSE = 2
# An Erlang term for RabbitMQ: the names of all queues that have a consumer, as a list of binaries.
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
    return dict(zip(names, blocks, strict=False))


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


ARGUMENTS = {
    "units": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            # Of what may be a weak password: not for verbose logs.
            "digests": {"type": "dict", "default": {}, "no_log": True},
            "answers": {"type": "str"},
            "queues": {"type": "list", "elements": "str", "default": []},
            "after": {"type": "list", "elements": "str", "default": []},
            "action": {"type": "str", "choices": ["restart", "reload"], "default": "restart"},
            "runs": {"type": "bool", "default": True},
            "configuration": {"type": "path"},
            "start_without_waiting": {"type": "bool", "default": False},
            "invocation": {"type": "str"},
        },
    },
    "pending": {"type": "list", "elements": "dict", "default": []},
    "queue": {"type": "dict", "options": rabbitmq.LOGIN},
    "timeout": {"type": "int", "default": 180},
    "settle": {"type": "int", "default": 10},
}


def main():
    """Observe, plan, act, prove or go back, remember."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    lock.take(module)
    seen = Seen(module)
    plan = Plan(module, seen)
    if module.check_mode:
        result.leave(module, plan.actions)
    with result.doing(module, plan.begun):
        enable_and_disable(module, plan)
        done = []
        for wave in ([unit for unit in seen.units if not unit["after"]], [unit for unit in seen.units if unit["after"]]):
            acted = act(plan, wave)
            done += [unit for unit in wave if unit["name"] in acted]
            prove_or_go_back(module, seen, plan, wave, acted, done)
        pending = still_pending(seen, plan)
        remember(module, seen)
    result.leave(module, plan.actions, **({"pending": pending} if pending else {}))


class Seen:
    """What there is: the units as systemd shows them, and what each was last restarted with."""

    def __init__(self, module):
        """Ask systemd once, and read the state."""
        self.all = module.params["units"]
        self.units = [unit for unit in self.all if unit["runs"]]
        self.paths = list(dict.fromkeys(path for unit in self.units for path in unit["digests"]))
        self.pending = {unit["name"]: unit for unit in module.params["pending"]}
        self.state = unit_state.load_state(module.warn)
        if module.check_mode:
            # A real run has these marks from config_files, which put the files right.
            for path in self.paths:
                unit_state.mark_edits(self.state, path)
        self.shown = show([unit["name"] for unit in self.all])


class Plan:
    """What is to be done: `actions` in words, and the units by verb. `begun` are the actions that were not only planned."""

    def __init__(self, module, seen):
        """Compare what there is with what must be; fail where a unit cannot run."""
        self.enable, self.verbs = [], {"start": [], "restart": [], "reload": []}
        self.actions, self.begun, self.words = [], [], {}
        # A unit that the packages of this host do not have needs nothing. Before they are installed, it counts as one that they
        # have.
        self.disable = [
            unit["name"]
            for unit in seen.all
            if not unit["runs"]
            and must_be_disabled(seen.shown[unit["name"]], module.check_mode)
            and not is_used(unit["name"], unit["configuration"])
        ]
        for name in self.disable:
            self._say("disable", name)
        for unit in seen.units:
            see_that_it_can_run(module, unit["name"], seen.shown[unit["name"]])
            self._add(unit, seen.shown[unit["name"]], seen.state)
        touched = {name for chosen in self.verbs.values() for name in chosen}
        # Units that run here with their first configuration, as far as this run knows.
        self.first = [
            unit
            for unit in seen.units
            if unit["name"] in touched and (unit["name"] not in seen.state or unit["name"] in seen.pending)
        ]
        self.without_waiting = {
            unit["name"] for unit in self.first if unit["start_without_waiting"] and unit["name"] in self.verbs["start"]
        }

    def _add(self, unit, properties, state):
        name = unit["name"]
        stopped = properties.get("ActiveState") not in ("active", "activating", "reloading")
        if not unit_state.is_enabled(name, properties.get("UnitFileState")):
            self.enable.append(name)
            # What is started is enabled as well, whether or not its package did so.
            if not stopped:
                self._say("enable", name)
        known = state.get(name, {})
        # Only what this call knows of: on a host that is controller and compute node, two roles name the same unit.
        changed = differences({path: known[path] for path in unit["digests"] if path in known}, unit["digests"])
        if stopped:
            self.verbs["start"].append(name)
            self._say("start", name)
        elif changed:
            self.verbs[unit["action"]].append(name)
            why = "changed: %s" % ", ".join(changed) if name in state else "runs with a configuration from before this installer"
            self._say(unit["action"], name, " (%s)" % why)

    def _say(self, verb, name, why=""):
        self.words[verb, name] = "%s %s%s" % (verb, name, why)
        self.actions.append(self.words[verb, name])

    def systemctl(self, verb, names, *options):
        """Begin to do it with these units, if there are any; returns (rc, output)."""
        self.begun += [self.words.get((verb, name), "%s %s" % (verb, name)) for name in names]
        return systemctl(verb, *options, *names) if names else (0, "")


def see_that_it_can_run(module, name, properties):
    """Fail where a unit is masked or missing. In check mode, its package may come with this very run."""
    # The package takes a mask of its own away.
    coming = module.check_mode and (properties.get("LoadState") == "not-found" or os.path.lexists(MASKED_BY_PACKAGE % name))
    if properties.get("LoadState") == "masked" and not coming:
        module.fail_json(msg="unit %s is masked on this host; run `systemctl unmask %s` or remove the mask" % (name, name))
    if properties.get("LoadState") == "not-found" and not coming:
        module.fail_json(msg="unit %s does not exist on this host; is the package installed?" % name)


def enable_and_disable(module, plan):
    """Let units start with the host, or not."""
    if plan.actions:
        # A unit's own file, or a drop-in of it, may be what changed.
        systemctl("daemon-reload")
    for verb, chosen, options in (("disable", plan.disable, ["--now"]), ("enable", plan.enable, [])):
        rc, output = plan.systemctl(verb, chosen, *options)
        if rc:
            module.fail_json(msg="systemctl %s %s: %s" % (verb, " ".join(chosen), output))


def act(plan, wave):
    """Start, restart and reload the units of a wave; returns the names of those that were touched.

    A service that cannot start says so when it is proven, with its journal; the others go on meanwhile.
    """
    mine = {unit["name"] for unit in wave}
    acted = {verb: [name for name in chosen if name in mine] for verb, chosen in plan.verbs.items()}
    for verb, chosen in acted.items():
        if verb == "start" and chosen:
            systemctl("reset-failed", *chosen)
        plan.systemctl(verb, [name for name in chosen if name not in plan.without_waiting])
        plan.systemctl(verb, [name for name in chosen if name in plan.without_waiting], "--no-block")
    return {name for chosen in acted.values() for name in chosen}


def prove_or_go_back(module, seen, plan, wave, acted, done):
    """Wait until the units of a wave answer. Where one does not, put back what it ran with before, and fail."""
    silent = wait(module, [unit for unit in wave if unit["name"] not in plan.without_waiting], acted, seen.state)
    if silent:
        go_back(module, silent, seen.paths, done, plan.begun)


def still_pending(seen, plan):
    """Units that the last play asks: those that were not waited for, and those of which only the process can be asked."""
    first = {
        unit["name"]: unit
        for unit in plan.first
        if unit["name"] in plan.without_waiting or not (unit["answers"] or unit["queues"])
    }
    if not first:
        return []
    shown = show(list(first))
    for name, unit in first.items():
        # What systemd has not started yet has the id of an earlier process, or none.
        invocation = None if name in plan.without_waiting else shown[name].get("InvocationID")
        seen.pending[name] = {"name": name, "answers": unit["answers"], "invocation": invocation}
    return list(seen.pending.values())


def remember(module, seen):
    """Keep what the units run with now. Only at the end: a run that dies before it restarts them again."""
    state = dict(seen.state)
    state.update({unit["name"]: {**seen.state.get(unit["name"], {}), **unit["digests"]} for unit in seen.units})
    try:
        if state != seen.state:
            unit_state.save_state(state)
        for path in seen.paths:
            unit_state.keep_good(path)
    except files.Refused as error:
        module.fail_json(msg=str(error))


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


def go_back(module, silent, paths, units, begun):
    """Put back the files that the unit ran with before, and fail with what happened to both configurations."""
    name, reason = silent
    reads = next((unit["digests"] for unit in units if unit["name"] == name), {})
    journal, restored = last_words(name), []
    try:
        for path in paths:
            if path in reads and unit_state.put_back(path):
                restored.append(path)
                begun.append("put back %s" % path)
    except files.Refused as error:
        message = "service %s: %s; its files could not be put back: %s" % (name, reason, error)
        module.fail_json(msg=message, journal=journal)
    if not restored:
        module.fail_json(msg="service %s: %s" % (name, reason), journal=journal)
    again = [unit for unit in units if set(unit["digests"]) & set(restored)]
    begun += ["restart %s (with what was put back)" % unit["name"] for unit in again]
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
