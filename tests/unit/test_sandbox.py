"""The sandbox's modules: what they read from this machine, and what they refuse."""

from __future__ import annotations

import importlib.util
import os
import re
import time
from pathlib import Path
from subprocess import CompletedProcess, Popen, run
from types import ModuleType

import pytest
from ansible.errors import AnsibleConnectionFailure

LIBRARY = Path(__file__).parents[2] / "library"


def load(name: str, directory: Path = LIBRARY) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, directory / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


image = load("sandbox_image")
containers = load("sandbox_containers")


def test_mirrors_of_a_host() -> None:
    sources = [
        ("cdrom:[Debian]/", "bookworm"),
        ("http://a.example/debian", "bookworm"),
        ("http://a.example/debian", "bookworm-updates"),
        ("http://s.example/sec", "bookworm-security"),
    ]
    assert image.choose_mirrors(sources, "bookworm") == ("http://a.example/debian", "http://s.example/sec")
    assert image.choose_mirrors([("http://u.example/", "unstable")], "forky") == ("http://u.example/", "")
    assert image.choose_mirrors([("http://o.example/", "jammy")], "") == ("", "")


def test_mirror_list_stands_for_its_first_entry(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# ours\nhttp://a.example/debian priority:1\nhttp://b.example\n")
    assert image.first_address(f"mirror+file:{tmp_path}/list") == "http://a.example/debian"
    assert image.first_address("http://c.example") == "http://c.example"


@pytest.mark.parametrize(("rolling", "suites"), [(False, ["x x-updates", "x-security"]), (True, ["x"])])
def test_image_sources(rolling: bool, suites: list[str]) -> None:
    parts = {"distribution": "x", "rolling": rolling, "mirror": "http://a.example", "security_mirror": "http://s.example"}
    text = image.image_sources(parts, "/k.gpg")
    assert [line.removeprefix("Suites: ") for line in text.splitlines() if line.startswith("Suites")] == suites


def test_what_starts_units_is_put_aside_until_the_first_boot(tmp_path: Path) -> None:
    wants, rc = tmp_path / "etc/systemd/system/multi-user.target.wants", tmp_path / "etc/rc2.d"
    for directory in (wants, rc):
        directory.mkdir(parents=True)
    for link in (wants / "nova-api.service", wants / "dbus.service", rc / "S01nova-api", rc / "K01nova-api", rc / "S01sudo"):
        link.symlink_to("/nowhere")
    run(["sh", "-c", image.hold_script(["nova-*"]), "hold", str(tmp_path)], check=True)
    assert {link.name for link in (*wants.iterdir(), *rc.iterdir())} == {"dbus.service", "K01nova-api", "S01sudo"}
    run(["tar", "-C", tmp_path / "etc", "-xf", tmp_path / image.FIRST_BOOT / "enabled.tar"], check=True)
    assert (wants / "nova-api.service").is_symlink() and (rc / "S01nova-api").is_symlink()
    assert (tmp_path / image.FIRST_BOOT / "run").read_text() == image.FIRST_BOOT_SCRIPT


def test_recipe_follows_every_part() -> None:
    assert image.recipe_of({"a": 1, "b": 2}) == image.recipe_of({"b": 2, "a": 1}) != image.recipe_of({"a": 1, "b": 3})


def test_hardware_address_is_stable_and_local() -> None:
    assert containers.hardware_address("10.20.0.11") == "02:4b:0a:14:00:0b"
    six = [containers.hardware_address(f"fd4b:10:20{middle}::{host}") for middle in ("", ":1") for host in (11, 21)]
    assert len(set(six)) == 4
    assert all(re.fullmatch("02:4b(:[0-9a-f]{2}){4}", address) for address in six)
    assert containers.hardware_address("fd4b:10:20:0::11") == six[0]


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("10.20.0.11", ""),
        ("10.20.0.1", "gateway"),
        ("10.20.0.0", "not a host address"),
        ("10.20.0.255", "not a host address"),
        ("10.21.0.11", "not a host address"),
        ("", "empty"),
        ("x", "4 octets"),
    ],
)
def test_address_problem(address: str, problem: str) -> None:
    found = containers.address_problem(address, "10.20.0.0/24")
    assert problem in found and bool(found) == bool(problem)


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("fd4b:10:20::11", ""),
        ("fd4b:10:20::1", "gateway"),
        ("fd4b:10:20::", "not a host address"),
        ("fd4b:10:20:1::11", "not a host address"),
        ("10.20.0.11", "At least 3 parts"),
    ],
)
def test_address_problem_of_ipv6(address: str, problem: str) -> None:
    found = containers.address_problem(address, "fd4b:10:20::/64")
    assert problem in found and bool(found) == bool(problem)


def test_overlapping() -> None:
    taken = {"192.0.2.0/24": "eth0", "10.0.0.0/8": "vpn0", "fd4b:10:20::/48": "vpn1"}
    assert containers.overlapping("fd4b:10:20:1::/64", taken) == ("fd4b:10:20::/48", "vpn1")
    assert containers.overlapping("fd4b:10:21::/64", taken) is None
    assert containers.overlapping("10.20.0.0/24", taken) == ("10.0.0.0/8", "vpn0")
    assert containers.overlapping("172.16.0.0/24", taken) is None


def test_hosts_lines_of_others_are_left_alone() -> None:
    text = "127.0.0.1 localhost\n10.0.0.1 controller alias\n10.9.9.9 compute1\n"
    assert containers.missing_hosts_lines(text, {"controller": "10.0.0.1", "compute1": "10.0.0.2"}) == ["10.0.0.2 compute1"]


@pytest.mark.parametrize(
    ("version", "unified", "plain"),
    [
        ("systemd 252 (252.38-1)", False, True),
        ("\x1b[0;1;39msystemd 262\x1b[0m (262-1)", False, False),
        ("systemd 262 (262-1)", True, True),
        ("", False, True),
    ],
)
def test_init_command(version: str, unified: bool, plain: bool) -> None:
    assert (containers.init_command(version, unified) == ["/sbin/init"]) == plain


def test_a_process_of_a_container_is_told_from_another_with_its_number() -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "sleep", "60"]
    with Popen(namespace) as outer:
        try:
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
            while not children.read_text().split():
                time.sleep(0.01)
            (inner,) = map(int, children.read_text().split())
            assert containers.is_first(inner)
            assert not containers.is_first(outer.pid)
        finally:
            outer.kill()
    assert not containers.is_first(outer.pid)


@pytest.mark.parametrize(
    ("status", "said", "reachable"),
    [
        (0, "", True),
        (255, "no such option", True),  # of the command itself
        (125, "Error: no container with name or ID x found", False),
        (255, "Error: can only create exec sessions on running containers: container state improper", False),
    ],
)
def test_a_container_that_does_not_run_is_a_host_that_is_down(monkeypatch, status, said, reachable):
    plugin = load("podman_exec", LIBRARY.parent / "connection_plugins")
    monkeypatch.setattr(plugin.subprocess, "run", lambda argv, **_more: CompletedProcess(argv, status, b"", said.encode()))
    connection = plugin.Connection.__new__(plugin.Connection)
    monkeypatch.setattr(connection, "get_option", {"remote_user": "", "remote_addr": "x"}.get)
    if reachable:
        assert connection._podman_exec(["true"], b"").returncode == status
    else:
        with pytest.raises(AnsibleConnectionFailure, match=said):
            connection._podman_exec(["true"], b"")


PROC_LIMITS = """Limit                     Soft Limit           Hard Limit           Units
Max cpu time              unlimited            unlimited            seconds
Max file size             unlimited            {fsize}            bytes
Max data size             unlimited            unlimited            bytes
Max stack size            8388608              unlimited            bytes
Max core file size        0                    {core}                    bytes
Max resident set          unlimited            unlimited            bytes
Max processes             32768                {nproc}                processes
Max open files            20000                {nofile}                files
Max locked memory         8388608              8388608              bytes
Max address space         unlimited            {space}            bytes
"""


def limits(core="unlimited", fsize="unlimited", nproc=32768, nofile=20000, space="unlimited") -> str:
    return PROC_LIMITS.format(core=core, fsize=fsize, nproc=nproc, nofile=nofile, space=space)


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (limits(), []),
        # sudo's own: qemu.conf asks for no core file.
        (limits(core=0), []),
        (limits(nofile=1024), ["nofile is 1024 and must be at least 8192"]),
        (limits(nofile=8192, nproc=500), ["nproc is 500 and must be at least 8192"]),
        (
            limits(fsize=1073741824, space=4294967296),
            ["fsize is 1073741824 and must be unlimited", "as is 4294967296 and must be unlimited"],
        ),
    ],
)
def test_limits_of_a_container(text: str, problems: list[str]) -> None:
    assert containers.limit_problems(text) == problems


def test_every_limit_is_asked_for_whoever_starts_the_containers() -> None:
    wanted = containers.ulimit_options()
    assert "--ulimit=core=-1:-1" in wanted and "--ulimit=nofile=1048576:1048576" in wanted
    assert [option.split("=")[1] for option in wanted] == sorted(containers.LIMITS)


def test_what_cannot_be_raised_is_left_as_it_is() -> None:
    hard = {name: -1 for name in containers.LIMITS} | {"core": 0, "nofile": 20000, "nproc": 96365, "memlock": 8388608}
    left = containers.ulimit_options(hard)
    assert {
        "--ulimit=core=0:0",
        "--ulimit=nofile=20000:20000",
        "--ulimit=nproc=32768:32768",
        "--ulimit=memlock=8388608:8388608",
        "--ulimit=cpu=-1:-1",
    } <= set(left)


def test_this_process_knows_its_hard_limits() -> None:
    assert set(containers.hard_limits()) == set(containers.LIMITS)


@pytest.mark.parametrize(
    ("is_new", "answer"), [(True, "In the container c these units failed: nova-api.service"), (False, "10.0.0.1 c")]
)
def test_a_unit_that_failed_is_a_fault_of_a_new_container_only(is_new: bool, answer: str) -> None:
    """In one that was there, a deployment failed, and the next one puts it right."""

    class Ended(Exception):
        pass

    def fail_json(msg: str) -> None:
        raise Ended(msg)

    sandbox = object.__new__(containers.Sandbox)
    sandbox.params = {"accepted_failed_units": ["e2scrub_reap.service"], "boot_timeout": 9}
    sandbox.module = type("Module", (), {"fail_json": staticmethod(fail_json)})()
    told = f"10.0.0.1 c\n==\n{limits()}\n==\ndegraded\n==\nnova-api.service loaded failed\ne2scrub_reap.service loaded failed\n"
    sandbox.try_podman = lambda *_command: (0, told, "")
    try:
        said = sandbox.wait_for_systemd(0, "c", is_new)
    except Ended as ended:
        said = str(ended)
    assert said.startswith(answer)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An image of an archive that is in files, and an mmdebstrap that says, as the real one does, what it would install."""
    release = tmp_path / "dists" / "trixie" / "InRelease"
    release.parent.mkdir(parents=True)
    (release.parent.parent / "trixie-updates").mkdir()
    (release.parent.parent / "trixie-updates" / "InRelease").write_text("updates")
    program = tmp_path / "bin" / "mmdebstrap"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho simulated; cat {tmp_path}/would >&2\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    parts = {"distribution": "trixie", "mirror": f"file://{tmp_path}", "security_mirror": "", "rolling": False, "packages": []}
    parts |= {"apt_proxy": "", "apt_options": {}, "hold": []}
    module = type("Module", (), {"params": {"cache_dir": str(tmp_path), "name": "x"}, "check_mode": False})()
    made = image.Image(module)
    monkeypatch.setattr(made, "archive_path", lambda what: str(tmp_path / "images" / f"x@{what}.tar.zst"))

    def versions(state, would):
        release.write_text(state)
        (tmp_path / "would").write_text(would)
        return made.versions(parts)

    return versions


def test_newer_packages_make_another_image(archive):
    first = archive("monday", "I: begins\nInst nova-api (1 Debian [all])\nInst libc6 (2 Debian [amd64])\n")
    # Where the archive is the same, nobody asks.
    assert archive("monday", "") == first
    # Another package of the archive is newer, and then one of the image's.
    assert archive("tuesday", "Inst libc6 (2 Debian [amd64])\nInst nova-api (1 Debian [all])\n") == first
    assert archive("wednesday", "Inst nova-api (2 Debian [all])\nInst libc6 (2 Debian [amd64])\n") != first
    with pytest.raises(image.Failed, match="does not say which packages"):
        archive("thursday", "I: success\n")
