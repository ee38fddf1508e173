#!/usr/bin/python
# Copyright: the Kilonova authors
# SPDX-License-Identifier: Apache-2.0
"""Provide the networks and the systemd containers of one sandbox."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import math
import os
import re
import resource
import shutil
import subprocess
import time

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: sandbox_containers
short_description: Provide the networks and the systemd containers of one sandbox
description:
  - Creates networks and containers that are missing, starts those that are stopped, and waits until systemd in each has
    finished starting. Does it for all of them in one process, because every call of podman costs time.
  - Only containers that carry the label of this sandbox are ever touched.
options:
  sandbox:
    description: Name of the sandbox, which every container and network carries as a label.
    type: str
    required: true
  state:
    description: Whether the sandbox shall be there. V(checked) only refuses what cannot work, and changes nothing.
    type: str
    choices: [present, checked, absent]
    default: present
  image:
    description: Image of the containers.
    type: str
    default: ""
  images:
    description: Image of each host that has one of its own, by its name.
    type: dict
    default: {}
  distribution:
    description: Code name of the distribution in the image. Names the package cache.
    type: str
    default: ""
  hosts:
    description: Host names.
    type: list
    elements: str
    default: []
  containers:
    description: Names of the containers, in the order of O(hosts).
    type: list
    elements: str
    default: []
  networks:
    description: Networks of every container.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the network.
        type: str
        required: true
      subnet:
        description: Its addresses.
        type: str
        required: true
      variable:
        description: Variable that holds the subnet, for messages.
        type: str
        required: true
      interface:
        description: Name of the interface inside the containers.
        type: str
        required: true
      internal:
        description: Whether there is no way out.
        type: bool
        default: false
      mtu:
        description: Bytes of the largest packet.
        type: int
        default: 1500
      addresses:
        description: Address of each host, in the order of O(hosts). Without them, podman gives each one.
        type: list
        elements: str
        default: []
      address_variable:
        description: Variable that holds a host's address, for messages.
        type: str
        default: ""
  volumes:
    description: Directories that several hosts share.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the volume.
        type: str
        required: true
      path:
        description: Where the hosts have it.
        type: str
        required: true
      hosts:
        description: The hosts that have it.
        type: list
        elements: str
        required: true
  cache_dir:
    description: Directory that keeps downloaded packages.
    type: path
  dns_servers:
    description: Name servers. Empty means the host's own.
    type: list
    elements: str
    default: []
  boot_timeout:
    description: Seconds that systemd may take to start.
    type: int
    default: 120
  accepted_failed_units:
    description: Units that may fail.
    type: list
    elements: str
    default: []
author:
  - The Kilonova authors
"""

EXAMPLES = r"""
- name: Remove the sandbox
  sandbox_containers:
    sandbox: kilonova
    state: absent
"""

RETURN = r"""
missing:
  description: Hosts that have no container yet.
  type: list
  returned: state is checked
created:
  description: Networks and containers that were created.
  type: list
  returned: state is present
started:
  description: Containers that had been stopped.
  type: list
  returned: state is present
removed:
  description: Networks and containers that were removed.
  type: list
  returned: state is absent
"""

LABEL = "kilonova.sandbox"
# A host on the tunnel network may be a bridge with flows that name its own hardware address, so that has to stay.
HARDWARE_PREFIX = "02:4b"
# Asked in this order: each entry costs a start of a container, and only until one works.
RUNTIMES = ("crun", "runc")
# The limits of a container's first process, which every service in it inherits: what we ask for, and the least that works. They
# never depend on who starts the containers: sudo alone limits core files to 0, and a login shell may limit anything.
UNLIMITED = resource.RLIM_INFINITY
LIMITS = {
    # QEMU is started with unlimited core files, unless qemu.conf says 0 as the sandbox's does.
    "core": (UNLIMITED, 0),
    "cpu": (UNLIMITED, UNLIMITED),
    "data": (UNLIMITED, UNLIMITED),
    "fsize": (UNLIMITED, UNLIMITED),
    "memlock": (UNLIMITED, 65536),
    "nofile": (1048576, 8192),
    "nproc": (UNLIMITED, 8192),
    "rss": (UNLIMITED, UNLIMITED),
    "stack": (UNLIMITED, 8 * 1024 * 1024),
}
# podman has no option for it, so it can only be looked at.
LOOKED_AT = {"as": (UNLIMITED, UNLIMITED)}
# Without CAP_SYS_RESOURCE podman gives itself these, and can raise nothing after that.
PODMANS_OWN = {"nofile": 1048576, "nproc": 32768}
# systemd 258 and later start under unified control groups only. Where the host's are hybrid, the container's own part
# of the unified hierarchy becomes all that its systemd sees; it starts units without limits then, as a host would.
UNIFIED_SYSTEMD = 258
UNIFIED_INIT = (
    "unshare",
    "--cgroup",
    "/bin/sh",
    "-c",
    "umount --recursive /sys/fs/cgroup && mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 /sys/fs/cgroup && exec /sbin/init",
)
# Printed by one shell in the container: the hosts file, the limits of systemd, its state, the units that failed.
STATE_SCRIPT = (
    "cat /etc/hosts; echo ==; cat /proc/1/limits; echo ==; systemctl is-system-running --wait 2>&1; echo ==; "
    "systemctl list-units --failed --no-legend --plain"
)


# What an image with packages still needs, once (sandbox_image).
FIRST_BOOT = "f=/var/lib/kilonova-sandbox/run; [ ! -e $f ] || sh $f"

# Where podman's monitors write how root's containers ended.
EXITS = "/run/libpod/exits"

# Lines of /proc/PID/limits, by the name of the limit.
LIMIT_LINES = {
    "as": "Max address space",
    "core": "Max core file size",
    "cpu": "Max cpu time",
    "data": "Max data size",
    "fsize": "Max file size",
    "memlock": "Max locked memory",
    "nofile": "Max open files",
    "nproc": "Max processes",
    "rss": "Max resident set",
    "stack": "Max stack size",
}


def within(limit: int, bound: int) -> int:
    """Return the smaller of two limits."""
    return min((limit, bound), key=lambda value: math.inf if value == UNLIMITED else value)


def ulimit_options(hard: dict[str, int] | None = None) -> list[str]:
    """Return podman's options for the limits that we want; with `hard`, for what remains of them where they cannot be raised."""
    wanted = {name: limit for name, (limit, _least) in LIMITS.items()}
    if hard is not None:
        wanted = {name: within(within(limit, hard[name]), PODMANS_OWN.get(name, UNLIMITED)) for name, limit in wanted.items()}
    return [f"--ulimit={name}={limit}:{limit}" for name, limit in wanted.items()]


def hard_limits() -> dict[str, int]:
    """Return this process's own hard limits."""
    return {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1] for name in LIMITS}


def limit_problems(text: str) -> list[str]:
    """Say which hard limits in the text of /proc/1/limits are below the least that works."""
    problems = []
    for name, (_wanted, least) in {**LIMITS, **LOOKED_AT}.items():
        found = re.search(rf"^{re.escape(LIMIT_LINES[name])}\s+\S+\s+(\S+)", text, re.MULTILINE)
        limit = UNLIMITED if found is None or found[1] == "unlimited" else int(found[1])
        if within(limit, least) != least:
            needed = "unlimited" if least == UNLIMITED else f"at least {least}"
            problems.append(f"{name} is {limit} and must be {needed}")
    return problems


def init_command(systemd: str, unified: bool) -> list[str]:
    """Return the first program of a container, by what its systemd says about its version."""
    # Newer ones colour even this.
    found = re.search(r"systemd (\d+)", systemd)
    if found and int(found[1]) >= UNIFIED_SYSTEMD and not unified:
        return list(UNIFIED_INIT)
    return ["/sbin/init"]


def hardware_address(address: str) -> str:
    """Return a stable, locally administered hardware address for an IP address."""
    found = ipaddress.ip_address(address)
    # The four bytes of IPv4, or as many of all that IPv6 has.
    parts = found.packed if found.version == 4 else hashlib.blake2b(found.packed, digest_size=4).digest()
    return HARDWARE_PREFIX + "".join(f":{byte:02x}" for byte in parts)


def address_problem(address: str, subnet: str) -> str:
    """Say what is wrong with a host's address on a subnet, "" if nothing is."""
    try:
        network = ipaddress.ip_network(subnet)
        found = type(network.network_address)(address)
    except ValueError as error:
        return str(error)
    if found not in network or found in (network.network_address, network.broadcast_address):
        return f"it is not a host address of {subnet}"
    if found == network.network_address + 1:
        return f"it is the gateway's address on {subnet}"
    return ""


def overlapping(subnet: str, taken: dict[str, str]) -> tuple[str, str] | None:
    """Return the first (network, its owner) that shares addresses with the subnet."""
    wanted = ipaddress.ip_network(subnet)
    for network, owner in taken.items():
        other = ipaddress.ip_network(network, strict=False)
        if other.version == wanted.version and wanted.overlaps(other):
            return network, owner
    return None


def missing_hosts_lines(text: str, wanted: dict[str, str]) -> list[str]:
    """Return the lines that a hosts file lacks. Lines that something else wrote are left alone."""
    present = {(words[0], name) for words in map(str.split, text.splitlines()) if words for name in words[1:]}
    return [f"{address} {name}" for name, address in wanted.items() if (address, name) not in present]


def is_first(pid: int) -> bool:
    """Whether a process is the first one in its own PID namespace."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as stream:
            found = re.search(r"^NSpid:(?:\s+\d+)*\s+\d+\s+1$", stream.read(), re.MULTILINE)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return found is not None


class Sandbox:
    def __init__(self, module: AnsibleModule):
        self.module = module
        self.params = module.params
        self.label = f"{LABEL}={self.params['sandbox']}"

    # -- podman ---------------------------------------------------------------------------------------------------
    def try_podman(self, *argv: str) -> tuple[int, str, str]:
        return self.module.run_command(["podman", *argv])

    def podman(self, *argv: str) -> str:
        code, out, err = self.try_podman(*argv)
        if code != 0:
            self.module.fail_json(msg=f"podman {' '.join(argv[:3])} … failed with {code}: {(err or out).strip()}")
        return out

    def inspect(self, kind: str, names: list[str]) -> list[dict]:
        return json.loads(self.podman(kind, "inspect", *names)) if names else []

    def containers(self) -> dict[str, dict]:
        """Return every container on this machine by name: labels, state, and whether podman has not seen that it ended."""
        found = json.loads(self.podman("ps", "--all", "--format", "json") or "[]") or []
        for entry in found:
            entry["Unseen"] = entry["State"] == "running" and not is_first(entry["Pid"])
            if entry["Unseen"]:
                entry["State"] = "exited"
        return {entry["Names"][0]: entry for entry in found}

    def record_unseen_ends(self, entries: list[dict]) -> None:
        """Record the end of containers whose monitors ended with them, as when the kernel ran out of memory.

        That is the monitor's to do (conmon's --exit-dir). Without it, podman takes the container for a running one: it starts and
        stops nothing of it, and every command in it fails.
        """
        if entries and not os.path.isdir(EXITS):
            names = ", ".join(entry["Names"][0] for entry in entries)
            self.module.fail_json(
                msg=(
                    f"The containers {names} have ended, and podman takes them for running ones: their monitors ended with them. "
                    "Run 'make destroy', and try again."
                )
            )
        for entry in entries:
            with open(os.path.join(EXITS, entry["Id"]), "w", encoding="ascii") as stream:
                stream.write("137")  # as after SIGKILL
        if entries:
            self.podman("ps", "--all", "--sync")

    def networks(self) -> dict[str, dict]:
        found = json.loads(self.podman("network", "ls", "--format", "json") or "[]") or []
        return {entry["name"]: entry for entry in found}

    def is_ours(self, entry: dict) -> bool:
        labels = entry.get("Labels") or entry.get("labels") or {}
        return labels.get(LABEL) == self.params["sandbox"]

    # -- checks that change nothing -------------------------------------------------------------------------------
    def check_input(self) -> None:
        hosts = self.params["hosts"]
        if not hosts:
            self.module.fail_json(
                msg=(
                    "The inventory has no hosts in the groups named by sandbox_groups. Give it at least one controller and "
                    "one compute, as inventories/sandbox/hosts.yml does."
                )
            )
        for network in self.params["networks"]:
            try:
                ipaddress.ip_network(network["subnet"])
            except ValueError as error:
                self.module.fail_json(
                    msg=(
                        f"{network['variable']} is {network['subnet']!r}: {error}. Give a network such as 10.20.0.0/24, or "
                        "fd4b:10:20::/64."
                    )
                )
            # That no two hosts have the same, preflight has said.
            for host, address in zip(hosts if network["addresses"] else (), network["addresses"], strict=True):
                problem = address_problem(address, network["subnet"])
                if problem:
                    self.module.fail_json(
                        msg=(
                            f"{network['address_variable']} of {host} is {address!r}: {problem}. Give it an address of "
                            f"{network['variable']} ({network['subnet']}) that no other host has."
                        )
                    )

    def check_containers(self, existing: dict[str, dict]) -> None:
        for name in self.params["containers"]:
            if name in existing and not self.is_ours(existing[name]):
                self.module.fail_json(
                    msg=(
                        f"A container named {name} exists and does not belong to the sandbox {self.params['sandbox']!r}. "
                        "It is left alone: remove it yourself, or set sandbox_container_prefix to another text."
                    )
                )
        ours = [name for name in self.params["containers"] if name in existing]
        for entry in self.inspect("container", ours):
            have = entry["Config"]["Labels"]
            index = self.params["containers"].index(entry["Name"])
            for key, wanted in self.facts_of(index).items():
                if have.get(key) != wanted:
                    self.module.fail_json(
                        msg=(
                            f"The container {entry['Name']} has {key.split('.')[-1]} {have.get(key)!r}, and {wanted!r} is "
                            "asked for. A container is not converted: destroy the sandbox first."
                        )
                    )

    def check_subnets(self, existing: dict[str, dict]) -> None:
        """Refuse a subnet that something on this machine already uses."""
        missing = [network for network in self.params["networks"] if network["name"] not in existing]
        if not missing:
            return
        taken = {}
        routes = []
        for family in ("-4", "-6") if shutil.which("ip") else ():
            code, out, _err = self.module.run_command(["ip", "-json", family, "route", "show", "table", "main"])
            routes += json.loads(out or "[]") if code == 0 else []
        for route in routes:
            # Every interface has the network fe80::/64.
            if not route.get("dst", "default").startswith(("default", "fe80:")):
                taken[route["dst"]] = f"this machine's route over {route.get('dev', 'another interface')}"
        for entry in existing.values():
            for subnet in entry.get("subnets") or []:
                taken[subnet["subnet"]] = f"podman's network {entry['name']}"
        for index, network in enumerate(missing):
            found = overlapping(network["subnet"], taken)
            if found:
                self.module.fail_json(
                    msg=(
                        f"{network['variable']} is {network['subnet']}, and {found[1]} already has {found[0]}. Set "
                        f"{network['variable']} to a free network, and {network['address_variable']} of every host "
                        "to addresses of it."
                    )
                )
            if index + 1 < len(missing):
                taken = {**taken, network["subnet"]: f"{network['variable']} of this sandbox"}

    def facts_of(self, index: int) -> dict[str, str]:
        """Return what a container was made with and keeps for its life, as labels."""
        facts = {"kilonova.distribution": self.params["distribution"]}
        for network in self.params["networks"]:
            if network["addresses"]:
                facts[f"kilonova.{network['address_variable']}"] = network["addresses"][index]
        return facts

    # -- creating -------------------------------------------------------------------------------------------------
    def working_options(self, image: str) -> tuple[list[str], list[str], list[str]]:
        """Return how a container starts here: options before and after podman's word run, and its first program."""
        problems = []
        runtimes = [name for name in RUNTIMES if shutil.which(name)] or [""]
        for ulimits in (ulimit_options(), ulimit_options(hard_limits())):
            for runtime in runtimes:
                before = [f"--runtime={runtime}"] if runtime else []
                code, out, err = self.try_podman(
                    *before,
                    "run",
                    "--rm",
                    "--systemd=always",
                    "--privileged",
                    "--network=none",
                    *ulimits,
                    image,
                    "systemctl",
                    "--version",
                )
                if code == 0:
                    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
                    return before, list(ulimits), init_command(out, unified)
                problems.append(f"{runtime or 'default runtime'} {' '.join(ulimits)}: {err.strip().splitlines()[-1:]}")
        self.module.fail_json(
            msg=(
                "podman starts no privileged container on this machine. What was tried, and what it said:\n"
                + "\n".join(problems)
                + "\nIn a container of your own, run it with --privileged."
            )
        )
        raise AssertionError

    def package_cache(self, container: str) -> tuple[str, str]:
        """Return a container's directories for packages and package lists, filled from its neighbours' when new.

        apt locks both, so no two containers share them; the files are hard links, so they take their space once.
        """
        base = os.path.join(self.params["cache_dir"], "apt", self.params["distribution"])
        paths = (os.path.join(base, container, "archives"), os.path.join(base, container, "lists"))
        for path, kind in zip(paths, ("archives", "lists"), strict=True):
            is_new = not os.path.isdir(path)
            os.makedirs(path, mode=0o755, exist_ok=True)
            for neighbour in sorted(os.listdir(base)):
                source = os.path.join(base, neighbour, kind)
                if neighbour == container or not os.path.isdir(source) or (kind == "lists" and not is_new):
                    continue
                for entry in os.scandir(source):
                    target = os.path.join(path, entry.name)
                    if entry.is_file() and entry.name != "lock" and not os.path.exists(target):
                        os.link(entry.path, target)
                if kind == "lists" and os.listdir(path):
                    # Lists of two neighbours may be of different days and do not fit together.
                    break
        return paths

    def start_command(self, index: int, before: list[str], after: list[str], init: list[str]) -> list[str]:
        name, host = self.params["containers"][index], self.params["hosts"][index]
        archives, lists = self.package_cache(name)
        command = [
            "podman",
            *before,
            "run",
            "--detach",
            f"--name={name}",
            f"--hostname={host}",
            f"--label={self.label}",
            "--systemd=always",
            "--privileged",
            "--pull=never",
            # We write it: podman would write it again at every start, without the hosts that were added later.
            "--no-hosts",
            # Databases get the time to stop.
            "--stop-timeout=90",
            f"--volume={archives}:/var/cache/apt/archives",
            f"--volume={lists}:/var/lib/apt/lists",
            *after,
        ]
        command += [f"--label={key}={value}" for key, value in self.facts_of(index).items()]
        command += [f"--dns={server}" for server in self.params["dns_servers"]]
        for volume in self.params["volumes"]:
            if host in volume["hosts"]:
                command.append(f"--volume={volume['name']}:{volume['path']}")
        if os.path.isdir("/lib/modules"):
            command.append("--volume=/lib/modules:/lib/modules:ro")
        for network in self.params["networks"]:
            options = [f"interface_name={network['interface']}"]
            if network["addresses"]:
                address = network["addresses"][index]
                options += [f"ip={address}", f"mac={hardware_address(address)}"]
            command.append(f"--network={network['name']}:{','.join(options)}")
        return [*command, self.image(index), *init]

    def image(self, index: int) -> str:
        return self.params["images"].get(self.params["hosts"][index], self.params["image"])

    def run_together(self, commands: dict[str, list[str]]) -> None:
        """Run one command per container, all at once, and fail with what the first unsuccessful one said."""
        running = {
            name: subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for name, command in commands.items()
        }
        results = {name: (process.communicate(), process.returncode) for name, process in running.items()}
        for name, ((_out, err), code) in results.items():
            if code != 0:
                self.module.fail_json(msg=f"The container {name} did not start: {err.strip()}")

    def wait_for_systemd(self, wait_until: float, name: str, is_new: bool) -> str:
        """Wait until systemd in a container has finished starting. Returns its hosts file.

        In a new one no unit may have failed. In one that was there, the deployment puts right what did.
        """
        accepted = set(self.params["accepted_failed_units"])
        while True:
            _code, out, err = self.try_podman("exec", name, "sh", "-c", STATE_SCRIPT)
            hosts, limits, state, failed = [part.strip() for part in (out + "\n==\n==\n==\n").split("==\n")[:4]]
            too_low = limit_problems(limits)
            if too_low:
                self.module.fail_json(
                    msg=(
                        f"The container {name} has hard limits that its services cannot work with: {'; '.join(too_low)}. They "
                        "come from the shell that started it, and CAP_SYS_RESOURCE is missing to raise them. Raise them there "
                        "(ulimit -H, /etc/security/limits.conf), then 'make destroy' and try again."
                    )
                )
            units = {line.split()[0] for line in failed.splitlines() if line.strip()}
            if state == "running" or (state == "degraded" and (units <= accepted or not is_new)):
                return hosts
            if state == "degraded":
                self.module.fail_json(
                    msg=(
                        f"In the container {name} these units failed: {', '.join(sorted(units - accepted))}. Look with "
                        f"'podman exec {name} systemctl status UNIT'; if that is harmless, add the unit to "
                        "sandbox_accepted_failed_units."
                    )
                )
            if not state and self.inspect("container", [name])[0]["State"]["Status"] == "exited":
                self.module.fail_json(msg=f"systemd in the container {name} ended at once. {self.last_words(name)}")
            if time.monotonic() > wait_until:
                self.module.fail_json(
                    msg=(
                        f"systemd in the container {name} has not finished starting within sandbox_boot_timeout "
                        f"({self.params['boot_timeout']} s): {state or err.strip()}. {self.last_words(name)}"
                    )
                )
            # The first moments of a container have no systemd to ask yet.
            time.sleep(0.2)

    def checked(self) -> tuple[dict, dict]:
        """Return the containers and networks of this machine, if none of them conflicts."""
        self.check_input()
        has_podman = shutil.which("podman") is not None
        containers, networks = (self.containers(), self.networks()) if has_podman else ({}, {})
        self.check_containers(containers)
        self.check_subnets(networks)
        for name in self.network_names():
            if name in networks and not self.is_ours(networks[name]):
                self.module.fail_json(
                    msg=(
                        f"A podman network named {name} exists and does not belong to this sandbox. It is left alone: "
                        "set sandbox_name to another name."
                    )
                )
        return containers, networks

    def last_words(self, name: str) -> str:
        _code, out, err = self.try_podman("logs", "--tail=20", name)
        return f"Its last words:\n{out}{err}"

    def present(self) -> dict:
        containers, networks = self.checked()
        created = [name for name in self.network_names() if name not in networks]
        new = [index for index, name in enumerate(self.params["containers"]) if name not in containers]
        started = [name for name in self.params["containers"] if name in containers and containers[name]["State"] != "running"]
        created += [self.params["containers"][index] for index in new]
        result = {"changed": bool(created or started), "created": created, "started": started}
        if self.module.check_mode:
            return result
        for network in self.params["networks"]:
            if network["name"] not in networks:
                # Names come from /etc/hosts and the host's name servers, so podman's own one stays away. With --ipv6 it would add
                # a network of IPv4.
                options = [
                    "--disable-dns",
                    f"--subnet={network['subnet']}",
                    f"--label={self.label}",
                    f"--opt=mtu={network['mtu']}",
                ]
                self.podman("network", "create", *options, *["--internal"] * network["internal"], network["name"])
        present = self.podman("volume", "ls", "--quiet").split() if new and self.params["volumes"] else []
        for volume in self.params["volumes"] if new else ():
            if volume["name"] not in present:
                self.podman("volume", "create", f"--label={self.label}", volume["name"])
        self.record_unseen_ends([containers[name] for name in started if containers[name]["Unseen"]])
        commands = {name: ["podman", "start", name] for name in started}
        if new:
            how = self.working_options(self.image(new[0]))
            for index in new:
                commands[self.params["containers"][index]] = self.start_command(index, *how)
        self.run_together(commands)
        wait_until = time.monotonic() + self.params["boot_timeout"]
        first = self.params["networks"][0]["addresses"] if self.params["networks"] else []
        wanted = dict(zip(self.params["hosts"], first, strict=False))
        for index, name in enumerate(self.params["containers"]):
            lines = missing_hosts_lines(self.wait_for_systemd(wait_until, name, index in new), wanted)
            if lines:
                result["changed"] = True
                self.podman("exec", name, "sh", "-c", 'printf "%s\\n" "$@" >> /etc/hosts', "hosts", *lines)
        self.run_together({name: ["podman", "exec", name, "sh", "-c", FIRST_BOOT] for name in self.params["containers"]})
        return result

    def network_names(self) -> list[str]:
        return [network["name"] for network in self.params["networks"]]

    # -- removing -------------------------------------------------------------------------------------------------
    def absent(self) -> dict:
        if not shutil.which("podman"):
            return {"changed": False, "removed": []}
        containers = [name for name, entry in self.containers().items() if self.is_ours(entry)]
        networks = [name for name, entry in self.networks().items() if self.is_ours(entry)]
        removed = containers + networks
        if removed and not self.module.check_mode:
            if containers:
                # Nothing in them is kept, so nothing needs to stop in order.
                self.podman("rm", "--force", "--time=0", "--volumes", *containers)
            if networks:
                self.podman("network", "rm", *networks)
            volumes = self.podman("volume", "ls", "--quiet", f"--filter=label={self.label}").split()
            if volumes:
                self.podman("volume", "rm", *volumes)
        return {"changed": bool(removed), "removed": removed}


def main() -> None:
    network = {
        "name": {"type": "str", "required": True},
        "subnet": {"type": "str", "required": True},
        "variable": {"type": "str", "required": True},
        "interface": {"type": "str", "required": True},
        "internal": {"type": "bool", "default": False},
        "mtu": {"type": "int", "default": 1500},
        "addresses": {"type": "list", "elements": "str", "default": []},
        "address_variable": {"type": "str", "default": ""},
    }
    volume = {
        "name": {"type": "str", "required": True},
        "path": {"type": "str", "required": True},
        "hosts": {"type": "list", "elements": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "sandbox": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "checked", "absent"], "default": "present"},
            "image": {"type": "str", "default": ""},
            "images": {"type": "dict", "default": {}},
            "distribution": {"type": "str", "default": ""},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "containers": {"type": "list", "elements": "str", "default": []},
            "networks": {"type": "list", "elements": "dict", "options": network, "default": []},
            "volumes": {"type": "list", "elements": "dict", "options": volume, "default": []},
            "cache_dir": {"type": "path"},
            "dns_servers": {"type": "list", "elements": "str", "default": []},
            "boot_timeout": {"type": "int", "default": 120},
            "accepted_failed_units": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    if os.geteuid() != 0:
        module.fail_json(
            msg=(
                "The sandbox needs root for networks and systemd containers. Run the playbook as root, or give sudo "
                "without a password, or add --ask-become-pass."
            )
        )
    sandbox = Sandbox(module)
    if module.params["state"] == "checked":
        containers, _networks = sandbox.checked()
        names = zip(module.params["hosts"], module.params["containers"], strict=True)
        module.exit_json(changed=False, missing=[host for host, name in names if name not in containers])
    module.exit_json(**(sandbox.present() if module.params["state"] == "present" else sandbox.absent()))


if __name__ == "__main__":
    main()
