"""`make bench`: how long an installation takes, against the least that it could take, from one run on one machine.

The floor is what nobody can leave out: one apt transaction for the same packages on both hosts at once, and the schema syncs.
Uses a sandbox of its own (name `bench`) and removes it. Prints seconds, and the ratios, which are what to compare, and writes
them to docs/benchmarks.md. `make bench BASE=commit` measures that commit as well, in the same sitting.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import yaml

from kilonova.config.config_files import ROLES, for_release, role_packages

PROJECT = Path(__file__).resolve().parent.parent
RELEASE = "zed"
# Compute nodes at the end: what one of them costs an unchanged run is the share of all but the first.
MORE = "3"
SANDBOX = {"KILONOVA_SANDBOX": "bench", "KILONOVA_NETWORK": "10.22", "KILONOVA_RELEASE": RELEASE}
# Each service's databases and its own command; the pages of the roles have the same.
SYNCS = {
    "keystone": (["keystone"], ["keystone-manage", "db_sync"]),
    "glance": (["glance"], ["glance-manage", "db_sync"]),
    "placement": (["placement"], ["placement-manage", "db", "sync"]),
    "nova": (["nova", "nova_cell0"], ["nova-manage", "db", "sync"]),
    "nova (api)": (["nova_api"], ["nova-manage", "api_db", "sync"]),
    "neutron": (
        ["neutron"],
        [
            "neutron-db-manage",
            "--config-file=/etc/neutron/neutron.conf",
            "--config-file=/etc/neutron/plugins/ml2/ml2_conf.ini",
            "upgrade",
            "head",
        ],
    ),
}
# Run on the controller: the median time of logins, each by a connection of its own, in milliseconds.
LOGINS = """
import os, statistics, time, requests
name, domain = {"name": os.environ["OS_USERNAME"]}, {"name": "Default"}
user = {"password": {"user": {**name, "domain": domain, "password": os.environ["OS_PASSWORD"]}}, "methods": ["password"]}
login = {"auth": {"identity": user, "scope": {"project": {"name": os.environ["OS_PROJECT_NAME"], "domain": domain}}}}
def one():
    started = time.monotonic()
    url = os.environ["OS_AUTH_URL"] + "/auth/tokens"
    assert requests.post(url, json=login, verify=os.environ.get("OS_CACERT", True)).status_code == 201
    return 1000 * (time.monotonic() - started)
print(statistics.median([one() for turn in range(110)][10:]))
"""


def command(tree: Path, argv: list[str], **environment: str) -> tuple[float, float]:
    """Run a command of a tree for the bench's sandbox; returns wall and CPU seconds (of Ansible's side). Fails loudly."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    done = subprocess.run(argv, cwd=tree, env=os.environ | SANDBOX | environment, capture_output=True, text=True, check=False)
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"bench: {argv} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def playbook(tree: Path, name: str, **environment: str) -> tuple[float, float]:
    """Run a tree's playbook, as `command` does."""
    argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "inventories/sandbox", f"playbooks/{name}.yml"]
    return command(tree, argv, **environment)


def inside(host: str, *argv: str) -> subprocess.Popen:
    """Start a command in a container."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    return subprocess.Popen([*sudo, "podman", "exec", f"bench-{host}", *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finished(processes: list[subprocess.Popen]) -> None:
    """Wait for all; fail with what the first that failed said."""
    for process in processes:
        _output, error = process.communicate()
        if process.returncode:
            sys.exit(f"bench: {process.args} failed: {error.decode()[-1000:]}")


def seconds(action: Callable[[], None]) -> float:
    """How long `action` takes."""
    started = time.monotonic()
    action()
    return time.monotonic() - started


def unchanged(tree: Path, computes: str) -> tuple[float, float]:
    """Wall and CPU seconds of a run that has nothing to change, with so many compute nodes: each the median of three."""
    runs = [playbook(tree, "site", KILONOVA_COMPUTES=computes) for _turn in range(3)]
    return statistics.median(wall for wall, _cpu in runs), statistics.median(cpu for _wall, cpu in runs)


def empty_sandbox(tree: Path) -> None:
    """Containers that nothing was installed in, and a disk that has written down what was before."""
    command(tree, [sys.executable, "-m", "kilonova.run.secrets", "inventories/sandbox"], KILONOVA_COMPUTES=MORE)
    playbook(tree, "destroy")
    playbook(tree, "sandbox")
    os.sync()


def apt_floor() -> None:
    """One transaction on each host, both at once, services started by their packages held back as the installation does."""
    known = yaml.safe_load((ROLES / "openstack/vars/main/main.yml").read_text(encoding="utf-8"))
    backends = known["openstack_network_backends"]
    mine = backends[for_release(known["openstack_default_network_backends"], RELEASE)]["roles"]
    others = {role for backend in backends.values() for role in backend["roles"]} - set(mine)
    roles = known["openstack_group_roles"]
    install = (
        "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; apt-get update -qq; "
        "DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "
    )
    finished(
        [
            inside(
                host,
                "sh",
                "-c",
                install + " ".join(role_packages([role for role in roles[group] if role not in others], RELEASE)),
            )
            for host, group in (("controller", "controllers"), ("compute1", "computes"))
        ]
    )


def sync_floor() -> float:
    """Seconds of all schema syncs on empty databases, one after the other."""
    total = 0.0
    for service, (databases, command) in SYNCS.items():
        recreate = "".join(f"DROP DATABASE {name}; CREATE DATABASE {name};" for name in databases)
        finished([inside("controller", "mariadb", "-e", recreate)])
        user = service.split()[0]
        argv = ["runuser", "-u", user, "--", *command]
        total += seconds(lambda argv=argv: finished([inside("controller", *argv)]))
    return total


def memory_mib() -> dict[str, int]:
    """Proportional memory of each host's processes, and of HAProxy's."""
    every = "/proc/[0-9]*/smaps_rollup"
    # Without TLS there is none.
    haproxy = "/dev/null $(pgrep -x haproxy | sed 's:.*:/proc/&/smaps_rollup:')"
    result = {}
    for what, host, files in (
        ("controller", "controller", every),
        ("HAProxy", "controller", haproxy),
        ("compute1", "compute1", every),
    ):
        program = f"cat {files} 2>/dev/null | awk '/^Pss:/{{s+=$2}} END{{print int(s/1024)}}'"
        argv = ["podman", "exec", f"bench-{host}", "sh", "-c", program]
        result[what] = int(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return result


def login_ms() -> float:
    """Median time of a login in milliseconds: of a hundred, after ten that wake the service."""
    argv = ["podman", "exec", "bench-controller", "bash", "-c", '. /root/admin-openrc; python3 -c "$0"', LOGINS]
    return float(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)


@contextlib.contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """A commit's files, with this sandbox's secrets."""
    with tempfile.TemporaryDirectory(prefix="kilonova-base-") as temporary:
        tree = Path(temporary) / "kilonova"
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", tree, commit], cwd=PROJECT, check=True)
        try:
            secrets = "inventories/sandbox/group_vars/all/secrets.yml"
            shutil.copyfile(PROJECT / secrets, tree / secrets)
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", tree], cwd=PROJECT, check=True)


def installation(tree: Path) -> dict[str, float]:
    """Measure a fresh run and unchanged ones on an empty sandbox, which is then an installed one with more compute nodes."""
    empty_sandbox(tree)
    with tempfile.NamedTemporaryFile(suffix=".json") as times:
        fresh, _cpu = playbook(tree, "site", KILONOVA_TIMES=times.name)
        registration = sum(took for name, took in json.load(times) if name.endswith("Register the services in Keystone"))
    second, cpu = unchanged(tree, "1")
    with tempfile.NamedTemporaryFile(suffix=".json") as times:
        playbook(tree, "site", KILONOVA_TIMES=times.name)
        tasks = len(json.load(times))
    after = {"a login, ms": login_ms(), **{f"memory of {what}, MiB": size for what, size in memory_mib().items()}}
    playbook(tree, "sandbox", KILONOVA_COMPUTES=MORE)
    playbook(tree, "site", KILONOVA_COMPUTES=MORE)
    with_more, cpu_more = unchanged(tree, MORE)
    further = int(MORE) - 1
    return {
        "fresh `site.yml`, s": fresh,
        "registration of all Keystone objects, s": registration,
        "unchanged `site.yml`, s": second,
        "unchanged `site.yml`, CPU s of Ansible": cpu,
        "tasks of an unchanged run": tasks,
        "each further unchanged compute node, s": (with_more - second) / further,
        "each further unchanged compute node, CPU s": (cpu_more - cpu) / further,
        **after,
    }


def commit_of(tree: Path) -> str:
    """The commit of a tree, with a plus where files differ from it."""
    said = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=tree, check=True, capture_output=True, text=True)
    return said.stdout.strip()


def table(columns: dict[str, dict[str, float]]) -> str:
    """Markdown: a row for each figure, a column for each commit."""
    rows = [["figure", *columns], ["---"] * (len(columns) + 1)]
    rows += [
        [figure, *(f"{values.get(figure, ''):.4g}" if figure in values else "" for values in columns.values())]
        for figure in next(iter(columns.values()))
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def write(text: str, page: Path) -> None:
    """Put the text between the page's marks."""
    before, _mark, rest = page.read_text(encoding="utf-8").partition("<!-- bench -->\n")
    _old, _mark, after = rest.partition("<!-- end of bench -->\n")
    page.write_text(f"{before}<!-- bench -->\n{text}\n<!-- end of bench -->\n{after}", encoding="utf-8")


def main() -> None:
    """Measure, print, and write docs/benchmarks.md."""
    base = os.environ.get("KILONOVA_BENCH_BASE")
    columns = {}
    try:
        empty_sandbox(PROJECT)
        apt = seconds(apt_floor)
        os.environ["KILONOVA_TLS"] = "0"
        columns["without TLS"] = installation(PROJECT)
        del os.environ["KILONOVA_TLS"]
        if base:
            with tree_of(base) as tree:
                columns[commit_of(tree)] = installation(tree)
        ours = columns[commit_of(PROJECT)] = installation(PROJECT)
        finished([inside("controller", "sh", "-c", "systemctl stop 'nova-*' 'neutron-*' glance-api placement-api keystone")])
        syncs = sync_floor()
    finally:
        playbook(PROJECT, "destroy")
    for values in columns.values():
        values["fresh / floor"] = values["fresh `site.yml`, s"] / (apt + syncs)
    ours |= {"floor: one apt transaction, both hosts, s": apt, "floor: schema syncs, s": syncs}
    columns = dict(reversed(columns.items()))
    text = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}, medians of three for unchanged runs:\n\n{table(columns)}"
    write(text, PROJECT / "docs/benchmarks.md")
    print(text)


if __name__ == "__main__":
    main()
