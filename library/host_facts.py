#!/usr/bin/python
"""Read in one call what the playbooks must know of a host. Changes nothing."""

import glob
import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import socket
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: host_facts
short_description: What the playbooks must know of a host, in one call
description:
  - A full fact gathering costs seconds per host; the playbooks need a handful of values.
  - Returns hostname, distribution (id, codename, title), addresses (address to interface), packages (installed, name to
    version), install_interrupted (a run was killed inside apt), memory_mib, disk_free_mib, kernel, datapath
    (C(system) when the kernel has Open vSwitch, else C(netdev)), files (of the configuration files that services run with, path
    to a salted digest, owner, group and mode, and the salt), so that an unchanged file is not asked for again.
"""


def command(*argv):
    """Output of a reading command; empty when it is not installed."""
    if not shutil.which(argv[0]):
        return ""
    environment = dict(os.environ, LC_ALL="C.UTF-8")
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, check=False).stdout.decode(
        "utf-8", "replace"
    )


def distribution():
    """The keys of /etc/os-release that matter (os-release(5)). Debian's unstable calls itself as the next stable there."""
    values = {}
    with open("/etc/os-release", encoding="utf-8") as stream:
        for line in stream:
            name, separator, value = line.strip().partition("=")
            if separator:
                values[name] = value.strip("\"'")
    unstable = values.get("ID") == "debian" and "VERSION_ID" not in values and follows_unstable()
    return {
        "id": values.get("ID", ""),
        "codename": "sid" if unstable else values.get("VERSION_CODENAME", ""),
        "title": values.get("PRETTY_NAME", ""),
    }


def follows_unstable(directory="/etc/apt"):
    """Whether apt takes packages from Debian's unstable."""
    for path in glob.glob(directory + "/sources.list") + glob.glob(directory + "/sources.list.d/*"):
        with open(path, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if re.match(r"(deb\s|Suites:)", line) and re.search(r"\s(sid|unstable)(\s|$)", line):
                    return True
    return False


def addresses():
    """Address -> interface, for every IPv4 and IPv6 address of the host."""
    found = {}
    for line in command("ip", "-oneline", "address", "show").splitlines():
        match = re.match(r"\d+:\s+(\S+)\s+inet6?\s+([0-9a-fA-F:.]+)", line)
        if match:
            found[match.group(2)] = match.group(1)
    return found


def packages():
    """Name -> version of every package that is installed and configured, and whether any is neither so nor gone."""
    found, unfinished = {}, False
    for line in command("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n").splitlines():
        status, name, version = [*line.split(" ", 2), "", ""][:3]
        if status == "installed":
            found[name] = version
        unfinished = unfinished or status not in ("installed", "config-files", "not-installed")
    return found, unfinished


def memory_mib():
    """MemTotal in MiB."""
    with open("/proc/meminfo", encoding="ascii") as stream:
        return int(re.search(r"MemTotal:\s+(\d+)", stream.read()).group(1)) // 1024


def openvswitch_in_kernel():
    """Whether the running kernel has the Open vSwitch datapath, loaded, built in or loadable."""
    if os.path.isdir("/sys/module/openvswitch"):
        return True
    release = os.uname().release
    for index in ("modules.builtin", "modules.dep"):
        path = os.path.join("/lib/modules", release, index)
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as stream:
                if "/openvswitch.ko" in stream.read():
                    return True
    return False


def install_interrupted():
    """Whether a killed run left what the module openstack_packages has there for the time of its work."""
    if os.path.lexists("/usr/share/python3/bcep/kilonova"):
        return True
    try:
        with open("/usr/sbin/policy-rc.d", encoding="utf-8", errors="replace") as stream:
            return "Written by Kilonova" in stream.read()
    except OSError:
        return False


def files():
    """What the files are that the services were last restarted with (the module openstack_services keeps their paths)."""
    # Salted, because it appears in a verbose log: a digest of a file is one of the passwords in it.
    salt, found = os.urandom(16), {}
    try:
        with open("/var/lib/kilonova/services.json", encoding="utf-8") as stream:
            paths = {path for reads in json.load(stream).values() for path in reads}
    except (OSError, ValueError, AttributeError):
        paths = set()
    for path in paths:
        try:
            with open(path, "rb") as stream:
                digest = hashlib.sha256(salt + stream.read()).hexdigest()
            state = os.stat(path)
            rights = [pwd.getpwuid(state.st_uid).pw_name, grp.getgrgid(state.st_gid).gr_name, "%04o" % (state.st_mode & 0o7777)]
        except (OSError, KeyError):
            continue
        found[path] = [digest, *rights]
    return {"salt": salt.hex(), "digests": found}


def main():
    """Entry point."""
    module = AnsibleModule(argument_spec={}, supports_check_mode=True)
    disk = os.statvfs("/var")
    installed, unfinished = packages()
    module.exit_json(
        changed=False,
        host={
            "hostname": socket.gethostname(),
            "distribution": distribution(),
            "addresses": addresses(),
            "packages": installed,
            "memory_mib": memory_mib(),
            "disk_free_mib": disk.f_bavail * disk.f_frsize // 2**20,
            "files": files(),
            "kernel": os.uname().release,
            "install_interrupted": unfinished or install_interrupted(),
            "datapath": "system" if openvswitch_in_kernel() else "netdev",
        },
    )


if __name__ == "__main__":
    main()
