"""The sandbox's modules: what they read from this machine, and what they refuse."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from subprocess import CompletedProcess
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

ONE_LINE = """# deb http://no.example/debian stable main
deb-src http://no.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://a.example/debian bookworm main # why
deb http://s.example/sec bookworm-security main
deb cdrom:[Debian]/ bookworm main
"""
DEB822 = """# comment
Types: deb deb-src
URIs: http://a.example/debian
# http://no.example
Suites: bookworm
 bookworm-updates
Components: main

Types: deb
URIs: http://off.example/debian
Suites: bookworm
Enabled: no

Types: deb-src
URIs: http://src.example/debian
Suites: bookworm
"""


def test_one_line_sources() -> None:
    assert image.parse_sources(ONE_LINE, deb822=False)[:2] == [
        ("http://a.example/debian", "bookworm"), ("http://s.example/sec", "bookworm-security")]


def test_deb822_sources() -> None:
    assert image.parse_sources(DEB822, deb822=True) == [
        ("http://a.example/debian", "bookworm"), ("http://a.example/debian", "bookworm-updates")]


def test_mirrors_of_a_host() -> None:
    sources = image.parse_sources(ONE_LINE, deb822=False)
    assert image.choose_mirrors(sources, "bookworm") == ("http://a.example/debian", "http://s.example/sec")
    assert image.choose_mirrors([("http://u.example/", "unstable")], "forky") == ("http://u.example/", "")
    assert image.choose_mirrors([("http://o.example/", "jammy")], "") == ("", "")


def test_mirror_list_stands_for_its_first_entry(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("# ours\nhttp://a.example/debian priority:1\nhttp://b.example\n")
    assert image.first_address(f"mirror+file:{tmp_path}/list") == "http://a.example/debian"
    assert image.first_address("http://c.example") == "http://c.example"


@pytest.mark.parametrize(("distribution", "suites"), [
    ("bookworm", ["bookworm bookworm-updates", "bookworm-security"]), ("sid", ["sid"]), ("forky", ["forky"])])
def test_image_sources(distribution: str, suites: list[str]) -> None:
    text = image.image_sources(distribution, "http://a.example", "http://s.example", "/k.gpg")
    assert [line.removeprefix("Suites: ") for line in text.splitlines() if line.startswith("Suites")] == suites


def test_recipe_follows_every_part() -> None:
    assert image.recipe_of({"a": 1, "b": 2}) == image.recipe_of({"b": 2, "a": 1}) != image.recipe_of({"a": 1, "b": 3})


def test_hardware_address_is_stable_and_local() -> None:
    assert containers.hardware_address("10.20.0.11") == "02:4b:0a:14:00:0b"


@pytest.mark.parametrize(("address", "problem"), [
    ("10.20.0.11", ""), ("10.20.0.1", "gateway"), ("10.20.0.0", "no host address"), ("10.20.0.255", "no host address"),
    ("10.21.0.11", "no host address"), ("", "empty"), ("x", "4 octets")])
def test_address_problem(address: str, problem: str) -> None:
    found = containers.address_problem(address, "10.20.0.0/24")
    assert problem in found and bool(found) == bool(problem)


def test_overlapping() -> None:
    taken = {"192.0.2.0/24": "eth0", "10.0.0.0/8": "vpn0"}
    assert containers.overlapping("10.20.0.0/24", taken) == ("10.0.0.0/8", "vpn0")
    assert containers.overlapping("172.16.0.0/24", taken) is None


def test_hosts_lines_of_others_are_left_alone() -> None:
    text = "127.0.0.1 localhost\n10.0.0.1 controller alias\n10.9.9.9 compute1\n"
    assert containers.missing_hosts_lines(text, {"controller": "10.0.0.1", "compute1": "10.0.0.2"}) == [
        "10.0.0.2 compute1"]


@pytest.mark.parametrize(("version", "unified", "plain"), [
    ("systemd 252 (252.38-1)", False, True), ("\x1b[0;1;39msystemd 262\x1b[0m (262-1)", False, False),
    ("systemd 262 (262-1)", True, True), ("", False, True)])
def test_init_command(version: str, unified: bool, plain: bool) -> None:
    assert (containers.init_command(version, unified) == ["/sbin/init"]) == plain


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
