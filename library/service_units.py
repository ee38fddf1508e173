#!/usr/bin/python
"""Services that run, are enabled, answer, and run with the configuration that is in place now."""

import os
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, files, foreign, lock, proxy, rabbitmq, result, unit_state
from ansible.module_utils.kilonova.http import answer

try:
    import amqp
except ImportError:  # comes with every service that has queues
    amqp = None

DOCUMENTATION = r"""
module: service_units
short_description: The guide's "service nova-api restart", only where it is needed
description:
  - The action plugin of the same name calls it, unless the host has reported that nothing is left to do. A role gives its units
    to the action, which makes the digests.
  - Starts and enables units. Restarts those that read a configuration that has changed since they were last restarted here.
  - C(/var/lib/kilonova/services.json) has what each unit was last restarted with. So the next run completes one that died
    between writing a file and restarting its reader.
  - Waits until each unit answers, and HAProxy leads to the ports of C(drains). Then the files that it reads are copied to
    C(/var/lib/kilonova/good).
  - Check mode returns, as C(unsettled), the units for which a run does something that is no change; it waits for an answer, or
    notes what it has seen.
  - A unit that does not survive its new configuration gets that copy back and is restarted with it. The task fails and says
    what became of both.
options:
  units:
    description: The units, in the order in which they start. Those with C(after) start once all others answer.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {type: str, required: true, description: 'Name of the unit, of a service without ".service".'}
      digests:
        type: dict
        default: {}
        description: >-
          What the unit reads, path to section to digest; a file without sections has one, C(*). The digest of a section that the
          unit does not use is empty.
      answers: {type: str, description: 'Where the unit answers when it works, an http URL or host:port.'}
      queues:
        type: list
        elements: str
        default: []
        description: RabbitMQ queues that have a consumer when the unit works.
      after:
        type: list
        elements: str
        default: []
        description: Units of this list that must answer before this one is touched.
      reloads:
        type: list
        elements: path
        default: []
        description: Of what it reads, files after whose change alone it is reloaded and not restarted.
      drains:
        type: list
        elements: int
        default: []
        description: >-
          Ports at which HAProxy of this and other controllers leads to the unit. Before it restarts, they are told to lead
          elsewhere, and what it works on is waited for.
      runs: {type: bool, default: true, description: Whether the unit runs. One that does not is stopped and disabled.}
      configuration:
        type: path
        description: >-
          File of a unit that does not run. If it differs from the package's, another program uses the unit, which then stays as
          it is.
      start_without_waiting:
        type: bool
        default: false
        description: Whether the run goes on while the unit starts for the first time. The last play waits for it.
      starts_by:
        type: str
        default: ''
        description: >-
          A program that starts or restarts the unit in a way of its own, in the place of systemctl, e.g. C(galera_new_cluster).
      invocation:
        type: str
        description: >-
          systemd's InvocationID when we last looked. If it has changed, the unit died and was started again.
  pending:
    type: list
    elements: dict
    default: []
    description: What earlier calls of this run returned as C(pending).
  started:
    type: list
    elements: str
    default: []
    description: Units that earlier calls of this run would have started, in check mode, where they count as started.
  timeout: {type: int, default: 180, description: Seconds to wait for all answers.}
  queue: {type: dict, description: 'Host, port, user, password and vhost of an external RabbitMQ.'}
  settle:
    type: int
    default: 10
    description: Seconds that a unit which cannot be asked must live with a changed configuration.
"""

RETURN = r"""
actions:
  description: >-
    What was done, or would be in check mode, with the reason: C(restart nova-api (changed: [api] of /etc/nova/nova.conf)). Of a
    call that fails, what was begun.
  returned: always
  type: list
pending:
  description: >-
    Units that this run started without waiting, and units whose only sign of life is their process; name, answers and invocation
    of each. The last play checks them. Has those of the option C(pending), too.
  returned: when this call adds some
  type: list
started:
  description: Units that this run would have started. Has those of the option C(started), too.
  returned: in check mode
  type: list
restored: {description: Files that were put back., returned: when a unit did not survive them, type: list}
journal: {description: The last lines of the unit's journal., returned: when a unit does not run, type: list}
"""

ARGUMENTS = {
    "units": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            # Digests of what may be a weak password: not for verbose logs.
            "digests": {"type": "dict", "default": {}, "no_log": True},
            "answers": {"type": "str"},
            "queues": {"type": "list", "elements": "str", "default": []},
            "after": {"type": "list", "elements": "str", "default": []},
            "reloads": {"type": "list", "elements": "path", "default": []},
            "drains": {"type": "list", "elements": "int", "default": []},
            "runs": {"type": "bool", "default": True},
            "configuration": {"type": "path"},
            "start_without_waiting": {"type": "bool", "default": False},
            "starts_by": {"type": "str", "default": ""},
            "invocation": {"type": "str"},
        },
    },
    "pending": {"type": "list", "elements": "dict", "default": []},
    "started": {"type": "list", "elements": "str", "default": []},
    "queue": {"type": "dict", "options": rabbitmq.LOGIN},
    "timeout": {"type": "int", "default": 180},
    "settle": {"type": "int", "default": 10},
}
DIED = "died right after its start (now %s)"
RUNS = ("active", "activating", "reloading")
# What systemctl does with a unit that must run with its present configuration.
VERBS = ("start", "restart", "reload")
# Seconds between two questions to a service that starts, and between two looks at one that settles.
MOMENT = 0.2
PAUSE = 2
# For how long a unit that was reloaded is looked at.
RELOADED = 1
# The names of all queues that have a consumer, as Erlang's list of texts. A queue's name is a record of four parts, of which the
# last is what others call its name; the other two are the virtual host and the word "queue".
CONSUMED = (
    "[N || Q <- rabbit_amqqueue:list(), {resource, _, _, N} <- [amqqueue:get_name(Q)], rabbit_amqqueue:consumers(Q) =/= []]"
)
# Where Debian's packages note that it was them who masked a unit, because they were removed.
MASKED_BY_PACKAGE = "/var/lib/systemd/deb-systemd-helper-masked/%s.service"


def main():
    """Observe, plan, act, prove or go back, remember."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    lock.take(module)
    state, shown = observe(module)
    plan = Plan(module, state, shown)
    if module.check_mode:
        started = {*module.params["started"], *plan.names["start"]}
        result.leave(module, plan.actions(), started=sorted(started), unsettled=unsettled(module, plan, shown))
    with result.doing(module, plan.begun):
        enable_and_disable(module, plan)
        for wave in plan.waves():
            ports = [port for unit in wave for port in unit["drains"] if unit["name"] in plan.names["restart"]]
            with proxy.elsewhere(ports):
                touched = act(plan, wave)
                failure = plan.refused or prove(module, plan.awaited(wave), touched, state, plan.names["reload"])
                if failure:
                    go_back(module, plan, *failure)
            proxy.wait_until_led_to([port for unit in wave if unit["name"] in touched for port in unit["drains"]])
        pending = still_pending(plan)
        remember(module, plan)
    result.leave(module, plan.actions(), **pending)


# --------------------------------------------------------------------------------------------------------------- observe


def observe(module):
    """(what each unit was last restarted with, what systemd says of each unit of this call)."""
    units = module.params["units"]
    state = unit_state.load_state(module.warn)
    if module.check_mode:
        # A real run has these marks from config_files, which put the files right.
        for path in paths_of(unit for unit in units if unit["runs"]):
            unit_state.mark_edits(state, path)
    shown = show([unit["name"] for unit in units])
    for name in set(module.params["started"]) & set(shown) if module.check_mode else ():
        shown[name] = {**shown[name], "ActiveState": "active", "UnitFileState": "enabled"}
        state.setdefault(name, {})
    return state, shown


def paths_of(units):
    """What the units read, each path once."""
    return list(dict.fromkeys(path for unit in units for path in unit["digests"]))


def show(names):
    """Unit -> its properties, in one call."""
    wanted = "--property=Id,LoadState,ActiveState,SubState,UnitFileState,InvocationID,MainPID,TriggeredBy,NRestarts"
    output = systemctl("show", wanted, *names)[1]
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in output.split("\n\n")]
    return dict(zip(names, blocks, strict=False))


def systemctl(*arguments):
    """Run systemctl; returns (rc, output)."""
    done = command.run("systemctl", *arguments)
    return done.status, done.output.strip()


# ------------------------------------------------------------------------------------------------------------------ plan


class Plan:
    """What is done with which units, and why."""

    def __init__(self, module, state, shown):
        self.state = state
        # Units of other calls, by name, that the last play asks.
        self.pending = {unit["name"]: unit for unit in module.params["pending"]}
        self.units = [unit for unit in module.params["units"] if unit["runs"]]
        self.names = {verb: [] for verb in ("disable", "enable", *VERBS)}
        # (verb, name) -> its text for people; the ones that were begun; the units that were started, restarted or reloaded.
        self.steps, self.begun, self.touched = {}, [], []
        # (name, reason) of a unit that does not read its files again: it answers, with what it has read before.
        self.refused = None
        for unit in module.params["units"]:
            if not unit["runs"] and must_be_disabled(unit, shown[unit["name"]], module.check_mode):
                self.add("disable", unit["name"])
        for unit in self.units:
            refuse_what_cannot_run(module, unit["name"], shown[unit["name"]])
            self.consider(unit, shown[unit["name"]])
        # Units that this call is the first to run with our configuration, and units of this run that have not been asked yet.
        self.first = [unit for unit in self.touches(self.units) if unit["name"] not in state or unit["name"] in self.pending]
        self.unwaited = {
            unit["name"] for unit in self.first if unit["start_without_waiting"] and unit["name"] in self.names["start"]
        }

    def consider(self, unit, properties):
        """Plan what a unit needs that must run."""
        name, stopped = unit["name"], properties.get("ActiveState") not in RUNS
        if not unit_state.is_enabled(name, properties.get("UnitFileState")):
            # What is started is enabled as well, whether or not its package did so.
            self.add("enable", name, said=not stopped)
        known = self.state.get(name, {})
        # Only what this call knows of: on a host that is controller and compute node, two roles name the same unit.
        changed = differences({path: known[path] for path in unit["digests"] if path in known}, unit["digests"])
        verb = "reload" if set(changed) <= set(unit["reloads"]) else "restart"
        if stopped:
            self.add("start", name)
        elif changed and name in self.state:
            self.add(verb, name, "changed: %s" % ", ".join(changed.values()))
        elif changed:
            self.add(verb, name, "runs with a configuration from before this installer")

    def add(self, verb, name, why="", said=True):
        """Plan to do this with a unit."""
        self.names[verb].append(name)
        if said:
            self.steps[verb, name] = "%s %s (%s)" % (verb, name, why) if why else "%s %s" % (verb, name)

    def begin(self, verb, names):
        """Note how far the plan has been carried out. A call that fails says so, also of what goes without saying in a plan."""
        self.begun += [self.steps.get((verb, name), "%s %s" % (verb, name)) for name in names]

    def actions(self):
        """What the plan does, for people."""
        return list(self.steps.values())

    def touches(self, units):
        """The units that are started, restarted or reloaded."""
        return [unit for unit in units if any(unit["name"] in self.names[verb] for verb in VERBS)]

    def waves(self):
        """The units in two parts: the units of the second wait for those of the first."""
        return [unit for unit in self.units if not unit["after"]], [unit for unit in self.units if unit["after"]]

    def awaited(self, units):
        """The units that the run waits for."""
        return [unit for unit in units if unit["name"] not in self.unwaited]


def refuse_what_cannot_run(module, name, properties):
    """Fail where a unit is masked or does not exist."""
    # In check mode, the package may come with this very run, and takes a mask of its own away.
    if module.check_mode and (properties.get("LoadState") == "not-found" or os.path.lexists(MASKED_BY_PACKAGE % name)):
        return
    if properties.get("LoadState") == "masked":
        module.fail_json(msg="unit %s is masked on this host; run `systemctl unmask %s` or remove the mask" % (name, name))
    if properties.get("LoadState") == "not-found":
        module.fail_json(msg="unit %s does not exist on this host; is the package installed?" % name)


def must_be_disabled(unit, properties, check_mode):
    """Whether a unit that must not run does run, or would at the next boot, and no other program uses it."""
    if properties.get("LoadState") == "not-found":
        # It needs nothing. Before packages are installed, it counts as one that they bring.
        present = check_mode
    else:
        present = properties.get("UnitFileState") in ("enabled", "enabled-runtime") or properties.get("ActiveState") in RUNS
    return present and not is_used(unit["name"], unit["configuration"])


def is_used(name, configuration):
    """Whether a unit that must not run serves another program: its configuration is there, and is not its package's."""
    return bool(configuration) and os.path.lexists(configuration) and not foreign.is_idle_package(name, configuration)


def differences(old, new):
    """Say which files and sections differ, by file: {'/etc/nova/nova.conf': '[vnc] of /etc/nova/nova.conf'}."""
    found = {}
    for path in sorted(set(old) | set(new)):
        used = [{name: digest for name, digest in side.get(path, {}).items() if digest} for side in (old, new)]
        sections = unit_state.differing(*used)
        if sections == ["*"]:
            found[path] = path
        elif sections:
            found[path] = "%s of %s" % (" ".join("[%s]" % name for name in sections), path)
    return found


# ------------------------------------------------------------------------------------------------------------------- act


def enable_and_disable(module, plan):
    """Enable the units that must run, and disable the others."""
    if plan.steps:
        # The unit's own file, or a drop-in, may have changed.
        systemctl("daemon-reload")
    for verb, options in (("disable", ["--now"]), ("enable", [])):
        names = plan.names[verb]
        if names:
            plan.begin(verb, names)
            rc, output = systemctl(verb, *options, *names)
            if rc:
                module.fail_json(msg="systemctl %s %s: %s" % (verb, " ".join(names), output))


def act(plan, wave):
    """Start, restart and reload those units of a wave that need it; returns their names."""
    touched = plan.touches(wave)
    plan.touched += touched
    for verb in VERBS:
        chosen = [unit for unit in touched if unit["name"] in plan.names[verb]]
        names = [unit["name"] for unit in chosen]
        awaited = [unit["name"] for unit in plan.awaited(chosen)]
        plan.begin(verb, names)
        if names and verb == "start":
            systemctl("reset-failed", *names)
        # Whether they start is asked afterwards. A service that cannot says so then, with its journal; the others go on.
        if awaited and verb == "reload":
            for name in awaited:
                rc, output = systemctl(verb, name)
                if rc and not plan.refused:
                    plan.refused = (name, "systemctl reload %s: %s" % (name, output))
        elif awaited:
            programs = {unit["name"]: unit["starts_by"] for unit in chosen if unit["starts_by"]}
            for program in programs.values():
                command.run(program)
            usual = [name for name in awaited if name not in programs]
            if usual:
                systemctl(verb, *usual)
        if len(awaited) < len(names):
            systemctl(verb, "--no-block", *[name for name in names if name in plan.unwaited])
    return {unit["name"] for unit in touched}


# ----------------------------------------------------------------------------------------------------------------- prove


def prove(module, units, touched, state, reloaded=()):
    """See that all units work; returns (name, reason) of the first that does not, or None."""
    unheard = [unit["name"] for unit in units if unit["name"] in touched and not can_be_asked(unit)]
    return wait_for_answers(module, units, bool(touched)) or watch(module, unheard, state, reloaded)


def can_be_asked(unit):
    """Whether a unit gives another sign of life than its process."""
    return bool(unit["answers"] or unit["queues"])


def wait_for_answers(module, units, just_started):
    """Until every unit is active and answers; returns (name, reason) of the first that does not, or None."""
    deadline = time.monotonic() + module.params["timeout"]
    waiting, reasons = {unit["name"]: unit for unit in units}, {}
    while waiting:
        shown = show(list(waiting))
        for name, unit in list(waiting.items()):
            properties = shown[name]
            if unit["invocation"] and properties.get("InvocationID") != unit["invocation"] and not ended_idle(properties):
                return name, DIED % seen(properties)
            reasons[name] = what_is_missing(module, unit, properties, just_started)
            if reasons[name] is None:
                del waiting[name]
            elif properties.get("ActiveState") == "failed":
                return name, reasons[name]
        if waiting and time.monotonic() > deadline:
            name = next(iter(waiting))
            return name, "no answer within %d s, last: %s" % (module.params["timeout"], reasons[name])
        if waiting:
            time.sleep(MOMENT)
    return None


def ended_idle(properties):
    """Whether a unit that a socket starts ended because nobody used it, as libvirtd does after two minutes.

    systemd counts how often it has started one again by itself, which is after a failure.
    """
    return bool(properties.get("TriggeredBy")) and properties.get("NRestarts") == "0"


def what_is_missing(module, unit, properties, just_started):
    """Why a unit does not work yet; None when it does."""
    if properties.get("ActiveState") != "active":
        return "%s (%s)" % (properties.get("ActiveState"), properties.get("SubState"))
    problem = answer(unit["answers"]) if unit["answers"] else None
    # Only what was just started has to begin to listen.
    if problem is None and just_started and unit["queues"]:
        idle = sorted(set(unit["queues"]) - consumed_queues(module, unit["queues"]))
        problem = "no consumer of %s" % ", ".join(idle) if idle else None
    return "%s: %s" % (unit["answers"] or "RabbitMQ", problem) if problem else None


def consumed_queues(module, names):
    """The RabbitMQ queues of `names` that have a consumer; none while RabbitMQ does not say."""
    if module.params["queue"]:
        return rabbitmq.consumed(amqp, module.params["queue"], names)
    try:
        return set(names) & set(rabbitmq.rows(CONSUMED))
    except RuntimeError:
        return set()


def watch(module, names, state, reloaded=()):
    """Units that cannot be asked are "active" before they have read their configuration: see that they stay so.

    Units that run with their first configuration here are looked at once; the run's last play asks for all of them. Others must
    live for some seconds, and until they are idle: on a busy host a service needs long to find out that it cannot work. What was
    only reloaded goes on meanwhile as it was, and is looked at for a second.
    Returns (name, reason) of the first that dies, or None.
    """
    if not names:
        return None
    begun, restarted = time.monotonic(), any(name in state and name not in reloaded for name in names)
    least = module.params["settle"] if restarted else RELOADED if any(name in state for name in names) else 0
    first, used = show(names), {}
    while True:
        shown, before = show(names), used
        used = {name: processor_seconds(shown[name].get("MainPID", "0")) for name in names}
        for name in names:
            # Another invocation: it died, and systemd started it again.
            is_same = shown[name].get("InvocationID") == first[name].get("InvocationID")
            if shown[name].get("ActiveState") not in ("active", "reloading") or not is_same:
                return name, DIED % seen(shown[name])
        lived = time.monotonic() - begun
        idle = before and all(used[name] - before[name] < PAUSE / 5 for name in names)
        # HAProxy says itself that it reads its files again, after systemctl has ended.
        reloading = [name for name in names if shown[name].get("ActiveState") == "reloading"]
        if lived > module.params["timeout"]:
            return (reloading[0], "still reloading after %d s" % lived) if reloading else None
        if not reloading and (not least or (lived > least and (idle or not restarted))):
            return None
        time.sleep(PAUSE if restarted else MOMENT)


def processor_seconds(pid):
    """The CPU time that a process and its children have used."""
    ticks = 0
    for name in os.listdir("/proc"):
        stat = unit_state.read("/proc/%s/stat" % name) if name.isdigit() else None
        if stat:
            # The name of the program, in parentheses, may contain anything.
            fields = stat.rpartition(b")")[2].split()
            if pid in (name, fields[1].decode()):
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


# --------------------------------------------------------------------------------------------------------------- go back


def go_back(module, plan, name, reason):
    """Put back the files that a unit ran with before, and fail with what happened to both configurations."""
    journal, restored = last_words(name), []
    reads = paths_of(unit for unit in plan.touched if unit["name"] == name)
    try:
        for path in paths_of(plan.units):
            if path in reads and unit_state.put_back(path):
                restored.append(path)
                plan.begun.append("put back %s" % path)
    except files.Refused as error:
        module.fail_json(msg="service %s: %s; its files could not be put back: %s" % (name, reason, error), journal=journal)
    if not restored:
        module.fail_json(msg="service %s: %s" % (name, reason), journal=journal)
    message = "service %s does not run with its new configuration: %s; %s was put back as it was before, %s" % (
        name,
        reason,
        ", ".join(restored),
        restart_readers(module, plan, restored),
    )
    module.fail_json(msg=message, journal=journal, restored=restored)


def restart_readers(module, plan, paths):
    """Restart the touched units that read one of the files, which were put back; returns how that ended."""
    units = [unit for unit in plan.touched if set(unit["digests"]) & set(paths)]
    names = [unit["name"] for unit in units]
    plan.begun += ["restart %s (with what was put back)" % name for name in names]
    systemctl("daemon-reload")
    systemctl("reset-failed", *names)
    systemctl("restart", *names)
    failure = prove(module, units, set(names), unit_state.load_state())
    if failure:
        return "but service %s does not run with it either: %s" % failure
    return "%s %s again with it" % (", ".join(names), "runs" if len(names) == 1 else "run")


def last_words(name):
    """The end of the unit's journal."""
    options = ["--lines", "15", "--no-pager", "--output", "cat"]
    return command.run("journalctl", "--unit", name, *options).output.splitlines()


# -------------------------------------------------------------------------------------------------------------- remember


def unsettled(module, plan, shown):
    """Names of units that a run would wait for, or of which it would write something down, where it changes nothing."""
    known = unit_state.load_answers()
    return [
        unit["name"]
        for unit in ([] if plan.steps else plan.units)
        if unit["name"] not in plan.state
        or not all(map(unit_state.is_known_good, unit["digests"]))
        or (unit["answers"] and known.get(unit["name"]) != unit["answers"])
        or what_is_missing(module, unit, shown[unit["name"]], just_started=False)
    ]


def still_pending(plan):
    """The units that the last play asks, as a result; an empty one where this call adds none."""
    added = [unit for unit in plan.first if unit["name"] in plan.unwaited or not can_be_asked(unit)]
    if not added:
        return {}
    shown = show([unit["name"] for unit in added])
    pending = dict(plan.pending)
    for unit in added:
        # What systemd has not started yet has the id of an earlier process, or none.
        invocation = None if unit["name"] in plan.unwaited else shown[unit["name"]].get("InvocationID")
        pending[unit["name"]] = {"name": unit["name"], "answers": unit["answers"], "invocation": invocation}
    return {"pending": list(pending.values())}


def remember(module, plan):
    """Write down what the units run with. Only now: the next run restarts them again after one that died before this."""
    off = {unit["name"] for unit in module.params["units"] if not unit["runs"]}
    state = {name: known for name, known in plan.state.items() if name not in off}
    for unit in plan.units:
        state[unit["name"]] = {**state.get(unit["name"], {}), **unit["digests"]}
    try:
        if state != plan.state:
            unit_state.save_state(state)
        for path in paths_of(plan.units):
            unit_state.keep_known_good(path)
        unit_state.note_answers({unit["name"]: unit["answers"] for unit in plan.units if unit["answers"]}, off)
    except files.Refused as error:
        module.fail_json(msg=str(error))


def seen(properties):
    """What systemd calls the state of a unit."""
    return "%s, %s" % (properties.get("ActiveState"), properties.get("SubState"))


if __name__ == "__main__":
    main()
