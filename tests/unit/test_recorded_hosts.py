"""An installation of hosts that are not there: what it does once, a second run does not, and a plan does not foresee.

With the default of every variable, unlike the sandbox; with more hosts than a sandbox has.
"""

import json

import pytest

from tools import bench_hosts


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The directory of an installation of a controller and two compute nodes, how it is run again, and what the run printed."""
    directory = tmp_path_factory.mktemp("recorded")
    bench_hosts.write_inventory(directory / "inventory", 3)
    (directory / "made").mkdir()

    def run(*arguments):
        bench_hosts.run(directory / "inventory", directory / "made", *arguments)
        return (directory / "log").read_text(encoding="utf-8")

    return directory, run, run()


def made(directory, host):
    return json.loads((directory / "made" / f"{host}.json").read_text(encoding="utf-8"))


def test_every_host_gets_its_own(installed):
    directory, _run, said = installed
    assert "CHANGES" in said
    assert sorted(path.stem for path in (directory / "made").iterdir()) == ["compute00000", "compute00001", "controller"]
    for host, address in (("controller", "10.0.0.11"), ("compute00000", "10.1.0.1"), ("compute00001", "10.1.0.2")):
        (nova_conf, *_rights) = made(directory, host)["files"]["/etc/nova/nova.conf"]
        assert f"my_ip = {address}\n" in nova_conf
        assert ("nova-scheduler" in made(directory, host)["units"]) is (host == "controller")
        assert ("nova-compute" in made(directory, host)["units"]) is (host != "controller")


def test_nothing_is_left_to_do(installed):
    _directory, run, _said = installed
    said = run("-v")
    assert "nothing is left to do on any host" in said
    assert said.rstrip().endswith("Nothing had to be changed on any host.")


# What a host may lack, and the first task that finds it.
LACKS = {
    "compute00001": [
        (("kvm",), None, "nova_compute : Start a guest with KVM to see whether it works"),
        (("lists", "known_hosts"), "", "nova_compute : "),
        (("units", "nova-compute"), {}, "nova_compute : Start the Compute service including its dependencies"),
    ],
    "controller": [
        (("units", "neutron-api"), {}, "neutron_controller : Start the Networking services with their configuration"),
        (("units", "haproxy"), {}, "haproxy : Start the services with their configuration"),
        (("files", "/etc/neutron/neutron.conf"), ["", "root", "root", "0644"], "neutron_controller : Configure the service"),
    ],
}


def lack(directory, host, way, value):
    whole = made(directory, host)
    part = whole
    for key in way[:-1]:
        part = part[key]
    part[way[-1]] = value
    (directory / "made" / f"{host}.json").write_text(json.dumps(whole), encoding="utf-8")


# What a first installation does besides, a repair of it does not.
DATABASES = ("controller", ("done",), [], "Create the databases of all pages")


@pytest.mark.parametrize(
    ("host", "way", "value", "first"), [DATABASES, *((host, *one) for host, rows in LACKS.items() for one in rows)]
)
def test_a_plan_finds_what_a_host_lacks(installed, host, way, value, first):
    directory, run, _said = installed
    path = directory / "made" / f"{host}.json"
    whole = path.read_text(encoding="utf-8")
    lack(directory, host, way, value)
    lacking = path.read_text(encoding="utf-8")
    assert f"something may be left to do, first {host}: {first}" in run("--check", "-v")
    assert path.read_text(encoding="utf-8") == lacking
    path.write_text(whole, encoding="utf-8")


def test_a_run_does_what_its_plan_said(installed):
    directory, run, _said = installed
    whole = {host: made(directory, host) for host in LACKS}
    for host, rows in LACKS.items():
        for way, value, _first in rows:
            lack(directory, host, way, value)
    plan = run("--check").partition("\nPLAN\n")[2]
    changes = run().partition("\nCHANGES")[2].partition("\n")[2]
    assert plan == changes and all(f"{host}: " in plan for host in LACKS)
    assert {host: made(directory, host) for host in LACKS} == whole
