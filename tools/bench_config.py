"""Measure what `make config` costs for many hosts: `make bench-config`, or `python -m tools.bench_config 1000 5000`.

`--without-tls` measures clouds without certificates.

Inventories are made up: one controller, the others computes whose nova.conf has 100 options. What is measured is the whole run of
the playbook, from the start of ansible-playbook to its end, with validation: every file of every host, not nova.conf alone.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import tempfile
import time
from pathlib import Path

import yaml

from kilonova.config import catalogue, generate
from kilonova.run import secrets

TREE = Path(__file__).resolve().parent.parent
OPTIONS = 100
RELEASE = "zed"


def fillers(number: int) -> dict[str, dict[str, str]]:
    """Options of Nova's own with their own defaults, to fill a file up with lines that are valid."""
    chosen: dict[str, dict[str, str]] = {}
    known = catalogue.catalogue(RELEASE).sections
    for section in ("DEFAULT", "libvirt", "compute", "quota", "filter_scheduler", "pci"):
        for name, option in known[section].items():
            plain = isinstance(option.default, (int, float)) and not isinstance(option.default, bool)
            if plain and option.deprecated is None and number > 0:
                chosen.setdefault(section, {})[name] = option.default
                number -= 1
    return chosen


def options_of(text: str) -> int:
    """How many options a file sets."""
    return sum(" = " in line and not line.startswith("#") for line in text.splitlines())


def write_inventory(directory: Path, hosts: int, more: int, tls: bool = True, release: str = RELEASE) -> None:
    """An inventory of `hosts` hosts, with their certificates where the cloud has TLS."""
    computes = {
        f"compute{number:05}": {"openstack_management_address": f"10.1.{number // 250}.{number % 250 + 1}"}
        for number in range(hosts - 1)
    }
    groups = {
        "controllers": {"hosts": {"controller": {"openstack_management_address": "10.0.0.11"}}},
        "computes": {"hosts": computes},
    }
    (directory / "group_vars" / "all").mkdir(parents=True)
    (directory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}), encoding="utf-8")
    variables = {
        **{name: f"{word}-long-enough" for name, word in generate.placeholders().items()},
        "openstack_release": release,
        "openstack_tls": tls,
        **({"nova_compute_overrides": {"nova.conf": fillers(more)}} if more else {}),
    }
    (directory / "group_vars" / "all" / "main.yml").write_text(yaml.safe_dump(variables), encoding="utf-8")
    with contextlib.redirect_stdout(io.StringIO()):
        if tls and secrets.main([str(directory)]):
            raise SystemExit(f"the certificates of {directory} cannot be made")


def measured(log: Path, playbook: str, *arguments: str, **variables: str) -> tuple[float, float, float]:
    """Run a playbook of this tree; returns wall seconds, CPU seconds and peak memory in MB of Ansible and its processes."""
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    started = time.monotonic()
    with log.open("wb") as stream:
        pid = os.posix_spawn(
            program,
            [program, str(TREE / "playbooks" / playbook), *arguments],
            {**os.environ, "ANSIBLE_CONFIG": str(TREE / "ansible.cfg"), **variables},
            file_actions=[(os.POSIX_SPAWN_DUP2, stream.fileno(), 1), (os.POSIX_SPAWN_DUP2, stream.fileno(), 2)],
        )
        _pid, status, usage = os.wait4(pid, 0)
    wall = time.monotonic() - started
    if status:
        raise SystemExit(log.read_text(encoding="utf-8")[-5000:])
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def run(inventory: Path, out: Path) -> tuple[float, float, float]:
    """Run `make config`; returns what `measured` does."""
    return measured(out.parent / "log", "config.yml", "-i", str(inventory), "-e", f"config_out={out}")


def validation(text: str, times: int = 50) -> float:
    """Milliseconds of CPU that checking one file takes, once the catalogue is loaded."""
    catalogue.validate(text, RELEASE, "compute")
    started = time.process_time()
    for _ in range(times):
        catalogue.validate(text, RELEASE, "compute")
    return (time.process_time() - started) / times * 1000


def main(arguments: list[str] | None = None) -> int:
    """Measure each size, fresh and unchanged, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[1000, 5000], help="numbers of hosts")
    parser.add_argument("--without-tls", action="store_true", help="no certificates")
    wanted = parser.parse_args(arguments)
    tls = not wanted.without_tls
    os.chdir(TREE)
    print(f"{'hosts':>6} {'files':>6} {'':<10} {'wall s':>7} {'CPU s':>7} {'CPU ms/host':>12} {'peak MB':>8}")
    more, text = 0, ""
    for hosts in wanted.sizes:
        with tempfile.TemporaryDirectory(prefix="kilonova-bench-") as temporary:
            directory = Path(temporary)
            if not more:
                write_inventory(directory / "probe", 2, 0, tls)
                run(directory / "probe", directory / "probe-out")
                more = OPTIONS - options_of((directory / "probe-out/compute00000/etc/nova/nova.conf").read_text(encoding="utf-8"))
            write_inventory(directory / "inventory", hosts, more, tls)
            out = directory / "out"
            for state in ("fresh", "unchanged"):
                wall, cpu, peak = run(directory / "inventory", out)
                text = (out / "compute00000/etc/nova/nova.conf").read_text(encoding="utf-8")
                files = sum(path.is_file() for path in out.rglob("*")) - 1
                per_host = cpu * 1000 / hosts
                print(f"{hosts:>6} {files:>6} {state:<10} {wall:>7.1f} {cpu:>7.1f} {per_host:>12.1f} {peak:>8.0f}", flush=True)
    print(f"validation: {validation(text):.1f} ms of CPU for a nova.conf of {options_of(text)} options")
    return 0


if __name__ == "__main__":
    sys.exit(main())
