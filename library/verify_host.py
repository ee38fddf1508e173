#!/usr/bin/python
"""What this host knows of a verification: log lines of its requests, units that should run, and what is left of instances."""

import calendar
import glob
import os
import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, files, unit_state
from ansible.module_utils.kilonova.masking import mask_log
from ansible.module_utils.kilonova.verify.text import hints

DOCUMENTATION = r"""
module: verify_host
short_description: Read a host's logs, units and disk for a verification; changes nothing
description:
  - Returns log lines by request id, errors of the time, units that are enabled and do not run, what is left of instances, and
    when the certificates end that the installer wrote.
options:
  request_ids: {type: list, elements: str, default: [], description: Requests whose log lines are wanted.}
  servers: {type: list, elements: str, default: [], description: Instances of which nothing may be left.}
  since: {type: float, default: 0, description: Logs that were not written to since then (seconds since 1970) are not read.}
  lines: {type: int, default: 40, description: Lines of each request at most.}
  instances: {type: path, default: /var/lib/nova/instances, description: Directory of the instances' disks.}
  services:
    type: list
    elements: str
    default: [nova, neutron, glance, placement, keystone, cinder]
    description: Names of directories below /var/log, and first words of units.
"""

SERVICES = ["nova", "neutron", "glance", "placement", "keystone", "cinder"]
BACKENDS = [
    "mariadb",
    "rabbitmq-server",
    "memcached",
    "libvirtd",
    "virtlogd",
    "openvswitch-switch",
    "openstack-bridges",
    "ovn-central",
    "ovn-ovsdb-server-nb",
    "ovn-ovsdb-server-sb",
    "ovn-northd",
    "ovn-host",
    "ovn-controller",
    "chrony",
]
# No more than this is read from the end of a log.
TAIL = 24 << 20
LINE = 600
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
CERTIFICATE = (b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----")
# Errors of the time, the last ones, that are looked through for what they point at.
ADVISED = 2000


def run(*argv):
    """What a command prints that only reads. libvirt may hang."""
    return command.output(*argv, timeout=60)


def tail(path):
    """The end of a file, as lines; none of one that is gone, or that leads elsewhere: its directory is a service's own."""
    try:
        with files.stream(path) as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size - TAIL))
            return stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def tidy(line):
    """A line that can be shown."""
    line = re.sub(r"\x1b\[[0-9;]*m|\x1b?\[00m", "", line).rstrip()
    return mask_log(line if len(line) <= LINE else line[:LINE] + " …")


def logs(names, wanted, since, limit):
    """Lines of the requests by id, and the errors of the time of the run, what they point at: {id: [...]}, [...], [...]."""
    found, errors = {}, []
    pattern = re.compile("|".join(re.escape(item) for item in wanted)) if wanted else None
    from datetime import datetime

    begin = datetime.fromtimestamp(since).strftime("%Y-%m-%d %H:%M:%S")
    for name in names:
        for path in sorted(glob.glob("/var/log/%s/*.log" % name)):
            if os.lstat(path).st_mtime < since:
                continue
            short = os.path.basename(path)[:-4]
            for line in tail(path):
                match = pattern.search(line) if pattern else None
                if match:
                    lines = found.setdefault(match.group(), [])
                    if len(lines) < limit:
                        lines.append("%s: %s" % (short, tidy(line)))
                elif re.match(r"\d{4}-\d\d-\d\d \S+ \d+ (ERROR|CRITICAL) ", line) and line[:19] >= begin:
                    errors.append("%s: %s" % (short, tidy(line)))
    return found, errors[-limit:], hints(" ".join(errors[-ADVISED:]))


def silent_units(names):
    """Units of the services that are enabled and do not run."""
    listed = run("systemctl", "list-unit-files", "--type=service", "--state=enabled", "--plain", "--no-legend").splitlines()
    units = [line.split()[0] for line in listed if line.split()]
    units = [unit for unit in units if unit.split("-")[0] in names or unit.removesuffix(".service") in BACKENDS]
    if not units:
        return []
    # Units that work once and end are not meant to run.
    shown = run("systemctl", "show", "--property=Id,ActiveState,Type,RemainAfterExit,TriggeredBy", *units)
    result = []
    for block in shown.split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if not values or values["ActiveState"] == "active" or values.get("TriggeredBy"):
            continue
        if values.get("Type") == "oneshot" and values["ActiveState"] != "failed":
            continue
        result.append("%s is %s" % (values["Id"], values["ActiveState"]))
    return result


def left_over(servers, instances):
    """What is left of instances on the disk and in libvirt."""
    found = []
    for server in servers:
        for path in sorted(glob.glob(os.path.join(instances, server + "*"))):
            found.append("directory %s" % path)
    if servers:
        domains = run("virsh", "--connect", "qemu:///system", "list", "--all", "--uuid").split()
        found += ["libvirt domain %s" % server for server in servers if server in domains]
    return found


def facts():
    """Distribution, kernel, processors, memory and versions of what is installed."""
    packages = [
        "nova-common",
        "neutron-common",
        "keystone",
        "glance-common",
        "placement-common",
        "cinder-common",
        "libvirt-daemon",
        "qemu-system-x86",
        "qemu-system-arm",
        "openvswitch-switch",
        "mariadb-server",
        "rabbitmq-server",
        "memcached",
    ]
    listed = run("dpkg-query", "--show", "--showformat=${db:Status-Abbrev} ${Package} ${Version}\n", *packages).splitlines()
    versions = {line.split()[1]: line.split()[2] for line in listed if line.startswith("ii")}
    with open("/etc/os-release") as stream:
        release = dict(line.rstrip().split("=", 1) for line in stream if "=" in line)
    with open("/proc/meminfo") as stream:
        memory = int(stream.readline().split()[1]) // 1024
    return {
        "system": release.get("PRETTY_NAME", "").strip('"'),
        "kernel": os.uname().release,
        "processors": len(os.sched_getaffinity(0)),
        "memory": memory,
        "packages": versions,
    }


def seconds(text):
    """Seconds since 1970 of a time as openssl says it, `May 16 00:00:00 2026 GMT`, in English on any host."""
    month, day, clock, year = text.split()[:4]
    hours, minutes, second = clock.split(":")
    return calendar.timegm((int(year), MONTHS.index(month) + 1, int(day), int(hours), int(minutes), int(second)))


def certificates():
    """The certificates among the files that the installer wrote, each with its name and its end (seconds since 1970).

    Of a file with several, the first one. openssl reads them from its input: a key that is in the same file is in no argument.
    """
    found = []
    for path in unit_state.load_files():
        content = unit_state.read(path) if path.endswith(".pem") else None
        begin, end = (content or b"").find(CERTIFICATE[0]), (content or b"").find(CERTIFICATE[1])
        if not 0 <= begin < end:
            continue
        one = content[begin : end + len(CERTIFICATE[1])].decode("ascii", "replace") + "\n"
        asked = ("openssl", "x509", "-noout", "-subject", "-enddate", "-nameopt", "RFC2253")
        said = command.run(*asked, text=one, timeout=60, apart=True).output
        rows = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        if "notAfter" in rows:
            found.append({"path": path, "name": rows.get("subject", "").strip(), "ends": seconds(rows["notAfter"])})
    return found


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "request_ids": {"type": "list", "elements": "str", "default": []},
            "servers": {"type": "list", "elements": "str", "default": []},
            "since": {"type": "float", "default": 0},
            "lines": {"type": "int", "default": 40},
            "instances": {"type": "path", "default": "/var/lib/nova/instances"},
            "services": {"type": "list", "elements": "str", "default": SERVICES},
        },
        supports_check_mode=True,
    )
    p = module.params
    found, errors, errors_advice = logs(p["services"], p["request_ids"], p["since"], p["lines"])
    advice = {request: hints(" ".join(lines)) for request, lines in found.items()}
    module.exit_json(
        changed=False,
        logs=found,
        advice=advice,
        errors=errors,
        errors_advice=errors_advice,
        units=silent_units(p["services"]),
        left=left_over(p["servers"], p["instances"]),
        facts={**facts(), "certificates": certificates()},
    )


if __name__ == "__main__":
    main()
