"""Measure what installations of many hosts cost the machine that runs Ansible: `make bench-hosts`.

No host is there: a connection answers as hosts do that were recorded (tools/recorded). Ansible does all of its own work. Of
each size (compute nodes, and one controller), a fresh run of site.yml, an unchanged one and a plan. The CPU time per host is
that of all hosts more than those of the smallest size. Forks and strategy as Ansible has them (ANSIBLE_FORKS, ANSIBLE_STRATEGY).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import yaml

from tools import bench_config

TREE = Path(__file__).resolve().parent.parent
RELEASE = "epoxy"
SIZES = (3, 53)


def write_inventory(directory: Path, hosts: int) -> None:
    """An inventory of hosts that are reached by the connection that answers."""
    bench_config.write_inventory(directory, hosts, 0, release=RELEASE)
    path = directory / "group_vars" / "all" / "recorded.yml"
    path.write_text(yaml.safe_dump({"ansible_connection": "recorded"}), encoding="utf-8")


def run(inventory: Path, made: Path, *arguments: str) -> tuple[float, float, float]:
    """Run site.yml; returns what bench_config.measured() does. `made` is what was made on the hosts; the log is beside it."""
    return bench_config.measured(
        made.parent / "log",
        "site.yml",
        "-i",
        str(inventory),
        *arguments,
        ANSIBLE_CONNECTION_PLUGINS=str(TREE / "tools/recorded"),
        KILONOVA_RECORDED=str(made),
        KILONOVA_REPORT=str(made.parent / "report"),
        PYTHONPATH=str(TREE),
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure each size, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES), help="numbers of hosts, the smallest first")
    sizes = parser.parse_args(arguments).sizes
    os.chdir(TREE)
    print(f"{'hosts':>6} {'':<10} {'wall s':>7} {'CPU s':>7} {'CPU ms/host':>12} {'peak MB':>8}")
    smallest: dict[str, float] = {}
    for hosts in sizes:
        with tempfile.TemporaryDirectory(prefix="kilonova-bench-") as temporary:
            directory = Path(temporary)
            write_inventory(directory / "inventory", hosts)
            (directory / "made").mkdir()
            for state, more in (("fresh", ()), ("unchanged", ()), ("plan", ("--check", "--diff"))):
                wall, cpu, peak = run(directory / "inventory", directory / "made", *more)
                each = (cpu - smallest.setdefault(state, cpu)) * 1000 / max(hosts - sizes[0], 1)
                print(f"{hosts:>6} {state:<10} {wall:>7.1f} {cpu:>7.1f} {each:>12.1f} {peak:>8.0f}", flush=True)
                last = (directory / "log").read_text(encoding="utf-8").rstrip().splitlines()[-1]
                nothing = {"unchanged": "Nothing had to be changed on any host.", "plan": "Nothing would be changed on any host."}
                if last != nothing.get(state, last):
                    raise SystemExit(f"{state}: {last}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
