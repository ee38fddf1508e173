#!/usr/bin/python
"""Read in one call what the playbooks must know of a host. Changes nothing."""

import glob
import grp
import os
import pwd
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import address, digests, files, foreign, kvm, migration, rights, unit_state
from ansible.module_utils.kilonova.command import output
from ansible.module_utils.kilonova.foreign import read
from ansible.module_utils.kilonova.http import answer
from ansible.module_utils.kilonova.packaging import EXCLUSIONS, POLICY

DOCUMENTATION = r"""
module: host_facts
short_description: What the playbooks must know about a host, in one call
description:
  - A full fact gathering costs seconds per host; the playbooks need a handful of values.
  - What it reports is not asked again in the same run, unless something has changed it since.
options:
  directories: {type: list, elements: dict, default: [], description: 'path, owner and group of configuration directories.'}
  key:
    type: str
    required: true
    description: >-
      Hexadecimal key of the digests, from the action plugin of the same name. Digests of files with passwords appear in verbose
      logs; without the key, nobody can try passwords on them.
  paths: {type: list, elements: str, default: [], description: Files that the run is going to write.}
  names: {type: list, elements: str, default: [], description: Names that the host must be able to resolve.}
  roles: {type: list, elements: str, default: [], description: Roles of the host.}
  units: {type: list, elements: str, default: ['*'], description: Shell patterns of the units that matter.}
  migration: {type: path, required: true, description: Directory of M(migration_keys).}
  leftovers: {type: list, elements: str, default: [], description: Files that packages create and nothing reads.}
"""

RETURN = r"""
host:
  description: What the host reports of itself.
  returned: always
  type: dict
  contains:
    hostname: {type: str, description: Its name.}
    root: {type: bool, description: Whether the module runs as root.}
    distribution: {type: dict, description: 'id, codename and title.'}
    machine: {type: str, description: Its architecture (uname -m).}
    kernel: {type: str, description: Release of the running kernel.}
    kvm: {type: dict, description: 'What M(kvm_probe) found out, while it holds: works and reason.'}
    datapath: {type: str, description: C(system) where the kernel has Open vSwitch, else C(netdev).}
    addresses: {type: dict, description: IP address to interface.}
    interfaces: {type: dict, description: Interface to the bridge or bond that it is a part of.}
    kinds: {type: dict, description: 'Interface to its kind, as ip(8) calls it; empty for a network card.'}
    default_routes: {type: list, description: Interfaces of the default routes.}
    resolved: {type: dict, description: Each of C(names) to its addresses.}
    listening: {type: list, description: 'TCP ports: port, address, and name, pid and unit of their process.'}
    memory_mib: {type: int, description: Memory in MiB.}
    disk_free_mib: {type: int, description: Free space below /var in MiB.}
    clock_ahead: {type: float, description: 'Seconds by which its clock is ahead of the clock where Ansible runs, at least.'}
    packages: {type: dict, description: Installed package to version.}
    half_installed: {type: dict, description: 'Package to the status of dpkg, where an installation has not ended.'}
    install_interrupted: {type: bool, description: Whether a run was killed while it installed packages.}
    held: {type: list, description: Packages on hold.}
    candidate: {type: str, description: 'Version of nova-common that apt would install, where none is installed.'}
    masked: {type: list, description: Masked units.}
    services:
      type: dict
      description: >-
        C(busy), units that run or start with the host. C(current), units that need nothing done - name to path to a keyed digest
        of what the unit was last restarted with.
    answers: {type: dict, description: 'Where units answered when a run last waited for them: URL or port to whether it does.'}
    files: {type: dict, description: 'Files that M(config_files) wrote: path to a keyed digest, owner, group and mode.'}
    wrong_rights: {type: list, description: Those of C(directories) with a wrong owner or mode.}
    refused:
      type: list
      description: 'Paths that M(config_files) and M(config_rights) refuse, as a link or a device is: path, what, remedy.'
    leftovers: {type: list, description: Those of C(leftovers) that exist.}
    migration: {type: dict, description: What M(migration_keys) has made.}
    compute_id: {type: str, description: Identity by which the database of Nova knows the host.}
    compute_nodes: {type: dict, description: 'What the database of Nova says about compute nodes; none if it does not exist.'}
    backends: {type: dict, description: 'What others have in the backends that C(roles) set up.'}
    galera:
      type: dict
      description: >-
        C(members), of the cluster of databases that MariaDB sees, 0 without one; C(uuid) of that, and of one that it was in;
        C(databases), those in its directory that are not MariaDB's own.
    ceph: {type: list, description: 'Daemons of Ceph that M(ceph_daemons) has made: mon/ceph-storage1, osd/ceph-0.'}
    guests: {type: int, description: Instances that libvirt knows.}
    images: {type: str, description: 'Where their disks are, file or rbd; none where no run has configured nova-compute.'}
    secrets: {type: dict, description: 'What M(libvirt_secrets) has given to libvirt: UUID to a keyed digest of the key.'}
"""


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
    for line in output("ip", "-oneline", "address", "show").splitlines():
        match = re.match(r"\d+:\s+(\S+)\s+inet6?\s+([0-9a-fA-F:.]+)", line)
        if match:
            found[match.group(2)] = match.group(1)
    return found


def packages():
    """(name -> version of what is installed, name -> status of what is half so, names on hold)."""
    installed, half, held = {}, {}, []
    form = "${db:Status-Want} ${db:Status-Status} ${Package} ${Version}\\n"
    for line in output("dpkg-query", "-W", "-f", form, "*").splitlines():
        want, status, name, version = [*line.split(" ", 3), "", "", ""][:4]
        if status == "installed":
            installed[name] = version
        elif status not in ("not-installed", "config-files"):
            half[name] = status
        if want == "hold":
            held.append(name)
    return installed, half, held


def unit_files(patterns):
    """Unit -> state of its file (systemctl(1): enabled, masked, generated and so on). Of all units, systemd finds it in 0.2 s."""
    listed = output("systemctl", "list-unit-files", "--no-legend", "--plain", "--", *patterns)
    return {words[0]: words[1] for words in map(str.split, listed.splitlines()) if words}


def active_services():
    """Names of the services that run, or are about to, each with its state."""
    states = "--state=active,activating,reloading"
    listed = output("systemctl", "list-units", "--type=service,socket", states, "--no-legend", "--plain")
    return {words[0]: words[2] for words in map(str.split, listed.splitlines()) if words}


def listening():
    """Every TCP port on which something listens: port, address, and name, pid and unit of the first process."""
    found = []
    for line in output("ss", "--tcp", "--listening", "--numeric", "--processes", "--no-header").splitlines():
        words = line.split(None, 5)
        where, _colon, port = words[3].rpartition(":")
        match = re.search(r'\(\("([^"]*)",pid=(\d+)', words[5] if len(words) > 5 else "")
        name, pid = match.groups() if match else ("an unknown process", "0")
        found.append({"port": int(port), "address": where, "name": name, "pid": int(pid), "unit": unit(pid)})
    return found


def unit(pid):
    """The systemd service that a process belongs to, as its control group says; empty when to none."""
    match = re.search(r"([^/\n]+\.service)(?:/[^/\n]*)*$", read("/proc/%s/cgroup" % pid), re.MULTILINE)
    return match.group(1) if match else ""


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
    return os.path.lexists(EXCLUSIONS) or files.MARK in read(POLICY)


def file_digests(paths, key):
    """Path -> digest, owner, group and mode of files."""
    found = {}
    for path in paths:
        try:
            with files.Place(path) as place:
                content, state = place.read()
            if content is None:
                continue
            digest = digests.keyed(content, key)
            owned = [pwd.getpwuid(state.st_uid).pw_name, grp.getgrgid(state.st_gid).gr_name, "%04o" % (state.st_mode & 0o7777)]
        except (OSError, KeyError, files.Refused):
            continue
        found[path] = [digest, *owned]
    return found


def wrong_rights(directories):
    """(directories with wrong owners or modes, directories that cannot be read)."""
    found, refused = [], []
    for entry in directories:
        try:
            if rights.wrong(entry):
                found.append(entry["path"])
        except files.Refused as error:
            refused.append(error)
    return found, refused


def services(state, key, states, active):
    """`busy`: what runs or starts with the host. `current`: those of `state` with which nothing is left to do."""
    busy = {*active, *(unit for unit, known in states.items() if known in ("enabled", "enabled-runtime"))}
    current = {}
    for name, known in state.items():
        unit = unit_state.unit_name(name)
        enabled = unit_state.is_enabled(name, states.get(unit))
        if enabled and active.get(unit) == "active" and all(map(unit_state.is_known_good, known)):
            current[name] = {path: digests.keyed_sections(sections, key) for path, sections in known.items()}
    ending = ".service"
    return {"busy": sorted(unit[: -len(ending)] for unit in busy if unit.endswith(ending)), "current": current}


def ceph_daemons(directory="/var/lib/ceph"):
    """The directories of Ceph's daemons on this host. A daemon that is being made has another name."""
    found = [path for kind in ("mon", "mgr", "osd") for path in glob.glob("%s/%s/ceph-*" % (directory, kind))]
    return sorted(os.path.relpath(path, directory) for path in found if os.path.isdir(path) and not os.path.islink(path))


def libvirt_secrets(key, directory="/etc/libvirt/secrets"):
    """UUID of each secret of ours -> a keyed digest of its value, as libvirt keeps it."""
    found = {}
    for path in glob.glob(directory + "/*.xml"):
        if "<name>kilonova " in (files.read(path) or b"").decode("utf-8", "replace"):
            value = files.read(path[: -len("xml")] + "base64") or b""
            found[os.path.basename(path)[: -len(".xml")]] = digests.keyed(value.strip(), key)
    return found


def images(path="/etc/nova/nova-compute.conf"):
    """`rbd` or `file`, where the disks of instances are; None where the file is not ours."""
    content = files.read(path) or b""
    if files.MARK.encode() not in content:
        return None
    lines = (line.partition("=") for line in unit_state.sections(content).get("libvirt", ()))
    return "rbd" if ("images_type", "rbd") in [(name.strip(), value.strip()) for name, _sign, value in lines] else "file"


def answering(targets):
    """Which of the URLs and ports answer, all asked at once: target to whether it does."""
    if not targets:
        return {}
    with ThreadPoolExecutor(len(targets)) as pool:
        return dict(zip(targets, (problem is None for problem in pool.map(answer, targets)), strict=True))


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "key": {"type": "str", "required": True, "no_log": True},
            "directories": {"type": "list", "elements": "dict", "default": []},
            "leftovers": {"type": "list", "elements": "str", "default": []},
            "migration": {"type": "path", "required": True},
            "names": {"type": "list", "elements": "str", "default": []},
            "paths": {"type": "list", "elements": "str", "default": []},
            "roles": {"type": "list", "elements": "str", "default": []},
            "units": {"type": "list", "elements": "str", "default": ["*"]},
        },
        supports_check_mode=True,
    )
    clock = time.time()
    disk = os.statvfs("/var")
    installed, half, held = packages()
    states = unit_files(module.params["units"])
    state = unit_state.load_state(module.warn)
    not_right, refused = wrong_rights(module.params["directories"])
    refused += files.refusals(module.params["paths"])
    key = bytes.fromhex(module.params["key"])
    interrupted = install_interrupted()
    hostname, known = socket.gethostname(), unit_state.load_files(module.warn)
    names = [name for name in dict.fromkeys([hostname, *module.params["names"]]) if name]
    module.exit_json(
        changed=False,
        host={
            "hostname": hostname,
            "root": os.geteuid() == 0,
            "distribution": distribution(),
            "addresses": addresses(),
            "packages": installed,
            # The next run completes what an earlier one left half done.
            "half_installed": {} if interrupted else half,
            "held": held,
            "masked": [name for name, unit_state in states.items() if unit_state == "masked"],
            "listening": listening(),
            "compute_id": (files.read("/var/lib/nova/compute_id") or b"").decode("utf-8", "replace").strip(),
            # The action plugin compares it with the time when it asked, and when it had the answer.
            "clock": clock,
            "memory_mib": memory_mib(),
            "disk_free_mib": disk.f_bavail * disk.f_frsize // 2**20,
            "files": file_digests(known, key),
            "services": services(state, key, states, active_services()),
            "answers": answering(sorted({*unit_state.load_answers(module.warn).values()})),
            "migration": migration.told(module.params["migration"]),
            "wrong_rights": not_right,
            "refused": [{"path": error.path, "what": error.what, "remedy": error.remedy} for error in refused],
            "leftovers": [path for path in module.params["leftovers"] if os.path.lexists(path)],
            "kernel": os.uname().release,
            "machine": os.uname().machine,
            "interfaces": foreign.interfaces(),
            "kinds": foreign.kinds(),
            "default_routes": foreign.default_routes(),
            "resolved": {name: address.resolved(name) for name in names},
            "candidate": "" if "nova-common" in installed else foreign.candidate("nova-common"),
            "backends": foreign.backends(module.params["roles"], {*state, *known}, hostname),
            "galera": foreign.galera() if "mysql" in module.params["roles"] else {},
            "compute_nodes": foreign.compute_nodes() if "nova_controller" in module.params["roles"] else None,
            "install_interrupted": bool(half) or interrupted,
            "ceph": ceph_daemons(),
            "guests": len(glob.glob("/etc/libvirt/qemu/instance-*.xml")),
            "images": images(),
            "secrets": libvirt_secrets(key),
            "kvm": kvm.kept(),
            "datapath": "system" if openvswitch_in_kernel() else "netdev",
        },
    )


if __name__ == "__main__":
    main()
