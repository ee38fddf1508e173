#!/usr/bin/python
"""Whether a host does its part in the cloud now: services, disks, memory, certificates. Changes nothing."""

import datetime
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import clusters, files, unit_state
from ansible.module_utils.kilonova.command import output
from ansible.module_utils.kilonova.health import row
from ansible.module_utils.kilonova.http import answer

try:
    from cryptography import x509
except ImportError:  # comes with the first service
    x509 = None

DOCUMENTATION = r"""
module: host_health
short_description: Whether a host does its part in the cloud now
description:
  - Looks at what this installer has set up there, as the host itself remembers it (C(/var/lib/kilonova)), so it needs nothing
    of the inventory. What drifted from the inventory is for a plan to say (C(make plan)).
options:
  warn_days: {type: int, default: 30, description: Days before a certificate ends in which that is a warning.}
  controllers: {type: int, default: 1, description: 'How many controllers the cloud has, on one of several; 1 elsewhere.'}
  common_address: {type: str, default: '', description: 'The address that these have in common.'}
"""

RETURN = r"""
host:
  description: C(hostname), C(clock_ahead) in seconds, C(common) and C(found).
  returned: always
  type: dict
  contains:
    common: {description: 'Whether the common address is C(here), and whose MariaDB is the C(writer), if known.', type: dict}
    found:
      description: >-
        A row for each thing that was looked at: about, state (ok, warning, problem), what. A problem is what users notice, or
        will within hours.
      type: list
"""

# Directories that fill up. Free space in percent and in MiB, below which it is a warning, and a problem.
FILLED = ("/", "/var/log", "/var/lib/mysql", "/var/lib/rabbitmq", "/var/lib/glance/images", "/var/lib/nova/instances")
LOW = (("problem", 2, 200), ("warning", 10, 1024))
# systemd has started a service anew so many times since somebody last did.
RESTARTS = 3


def shown(names):
    """Unit -> its properties, in one call."""
    wanted = "--property=LoadState,ActiveState,SubState,UnitFileState,Result,NRestarts"
    blocks = output("systemctl", "show", wanted, *map(unit_state.unit_name, names)).split("\n\n")
    return {
        name: dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        for name, block in zip(names, blocks, strict=False)
    }


def services(units):
    """Rows of our units, by their properties: those that do not run, do not start with the host, or die again and again."""
    found, running = [], 0
    for name, properties in units.items():
        state, enabled = properties.get("ActiveState"), unit_state.is_enabled(name, properties.get("UnitFileState"))
        restarts = int(properties.get("NRestarts") or 0)
        if properties.get("LoadState") == "not-found":
            found.append(row("services", "problem", "%s does not exist on this host any more" % name))
        elif switched_off(name, properties):
            found.append(row("services", "warning", "%s is switched off: it does not run, nor start with the host" % name))
        elif state in ("activating", "reloading"):
            found.append(row("services", "warning", "%s is %s (%s)" % (name, state, properties.get("SubState"))))
        elif state != "active":
            found.append(row("services", "problem", "%s is %s (%s)" % (name, state, properties.get("Result"))))
        elif restarts >= RESTARTS:
            found.append(row("services", "warning", "%s died %d times, and systemd started it again" % (name, restarts)))
        if state == "active":
            running += 1
            if not enabled:
                found.append(row("services", "warning", "%s does not start with the host" % name))
    return [row("services", "ok", "%d of %d run" % (running, len(units))), *found] if units else []


def switched_off(name, properties):
    """Whether somebody, or a run with another inventory, has stopped and disabled a unit."""
    return properties.get("ActiveState") == "inactive" and not unit_state.is_enabled(name, properties.get("UnitFileState"))


def answers(targets):
    """Rows of what must answer, all asked at once."""
    if not targets:
        return []
    names = sorted(targets)
    with ThreadPoolExecutor(len(names)) as pool:
        problems = dict(zip(names, pool.map(answer, [targets[name] for name in names]), strict=True))
    silent = ["%s (%s): %s" % (name, targets[name], problem) for name, problem in problems.items() if problem]
    said = row("answers", "ok", "%d of %d answer" % (len(names) - len(silent), len(names)))
    return [said, *(row("answers", "problem", what) for what in silent)]


def others(ours):
    """Rows of units that have failed and are not ours."""
    listed = output("systemctl", "list-units", "--state=failed", "--no-legend", "--plain")
    failed = [line.split()[0] for line in listed.splitlines() if line.split()]
    left = sorted(set(failed) - {unit_state.unit_name(name) for name in ours})
    return [row("other units", "warning", "failed: %s" % ", ".join(left))] if left else []


def disks(paths=FILLED):
    """A row for each file system that holds one of the directories."""
    found, seen = [], set()
    for path in paths:
        try:
            device, space = os.stat(path).st_dev, os.statvfs(path)
        except OSError:
            continue
        if device in seen or not space.f_blocks:
            continue
        seen.add(device)
        mib, percent = space.f_bavail * space.f_frsize // 2**20, 100 * space.f_bavail // space.f_blocks
        entries = 100 * space.f_favail // space.f_files if space.f_files else 100
        state = next((state for state, least, least_mib in LOW if percent < least or mib < least_mib or entries < least), "ok")
        what = "%s has %d MiB free (%d %%)" % (path, mib, percent)
        found.append(row("disk", state, what + (", and %d %% of its inodes" % entries if entries < LOW[-1][1] else "")))
    return found


def memory(path="/proc/meminfo"):
    """The row of memory that programs can still get."""
    with open(path, encoding="ascii") as stream:
        values = {name: int(rest.split()[0]) for name, _colon, rest in (line.partition(":") for line in stream) if rest.split()}
    percent = 100 * values["MemAvailable"] // values["MemTotal"]
    return row(
        "memory", "warning" if percent < 5 else "ok", "%d MiB available (%d %%)" % (values["MemAvailable"] // 1024, percent)
    )


def end_of(certificate):
    """When a certificate ends; without a zone until cryptography 42, and with a warning since."""
    known = getattr(certificate, "not_valid_after_utc", None)
    return known or certificate.not_valid_after.replace(tzinfo=datetime.UTC)


def certificates(paths, warn_days, now=None):
    """Rows of certificates in files that we wrote; the first certificate of a file is its owner's."""
    if x509 is None:
        return []
    now, ends, found = now or datetime.datetime.now(datetime.UTC), {}, []
    for path in paths:
        if not path.endswith(".pem"):
            continue
        try:
            ends[path] = end_of(x509.load_pem_x509_certificate(files.read(path) or b""))
        except ValueError:  # a key, or not there
            continue
    left = {path: (end - now).total_seconds() / 86400 for path, end in ends.items()}
    for path, days in left.items():
        if days < 0:
            found.append(row("certificates", "problem", "%s ended on %s" % (path, ends[path].date())))
        elif days < warn_days:
            found.append(row("certificates", "warning", "%s ends on %s" % (path, ends[path].date())))
    if left and not found:
        found.append(row("certificates", "ok", "%d, the first ends in %d days" % (len(left), min(left.values()))))
    return found


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "warn_days": {"type": "int", "default": 30},
            "controllers": {"type": "int", "default": 1},
            "common_address": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    clock, state = time.time(), unit_state.load_state(module.warn)
    units = shown(sorted(state)) if state else {}
    targets = unit_state.load_answers(module.warn)
    targets = {name: targets[name] for name, found in units.items() if name in targets and not switched_off(name, found)}
    found = services(units) + answers(targets) + others(state) + disks() + [memory()]
    found += certificates(unit_state.load_files(module.warn), module.params["warn_days"])
    several, common = module.params["controllers"], {}
    if several > 1 and state:
        found += clusters.rows(several)
        common = clusters.common(module.params["common_address"])
    if not state:
        found.insert(0, row("services", "problem", "nothing was installed here; run site.yml"))
    module.exit_json(changed=False, host={"hostname": socket.gethostname(), "clock": clock, "common": common, "found": found})


if __name__ == "__main__":
    main()
