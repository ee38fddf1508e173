"""Packages in one transaction, with their services held back."""

import os

import pytest
from harness import Failed, load

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


SIMULATED = """NOTE: This is only a simulation!
Remv old-thing [1.0]
Inst nova-common (2:26.2.2-1 Debian:12.9/stable [all])
Inst libc6 [2.36-9] (2.36-10 Debian:12.9/stable [amd64]) []
Inst nova-api (2:26.2.2-1 Debian:12.9/stable [all])
Conf nova-common (2:26.2.2-1 Debian:12.9/stable [all])
"""


class Dpkg:
    """apt-get and dpkg in memory."""

    def __init__(self, code, monkeypatch, tmp_path):
        self.code, self.calls, self.packages, self.fails = code, [], {}, False
        self.policy, self.exclusions, self.modules = tmp_path / "policy-rc.d", tmp_path / "bcep" / "kilonova", tmp_path / "python"
        self.modules.mkdir()
        for name in ("policy", "exclusions"):
            monkeypatch.setattr(code, name.upper(), str(getattr(self, name)))
        monkeypatch.setattr(code, "PYTHON_MODULES", str(self.modules))
        self.real_call = code.call
        monkeypatch.setattr(code, "call", self.call)

    def call(self, *argv):
        words = [word for word in argv if not word.startswith("--") or word in ("--simulate", "--configure")]
        if argv[0] == "dpkg-query":
            return 0, "".join(f"{name} {status} ok\n" for name, status in self.packages.items())
        if "compileall" in argv:
            return self.real_call(*argv)
        self.calls.append((" ".join(words), self.policy.exists() and self.exclusions.exists()))
        if "--simulate" in argv:
            return 0, SIMULATED
        if self.fails:
            return 100, "Reading...\nE: Unable to fetch some archives\n"
        if argv[0] == "dpkg":
            self.packages = dict.fromkeys(self.packages, "installed")
        return 0, ""


@pytest.fixture
def dpkg(monkeypatch, tmp_path):
    """A host's packages."""
    return Dpkg(load("openstack_packages"), monkeypatch, tmp_path)


INSTALLED = [
    "install nova-api 2:26.2.2-1",
    "install nova-common 2:26.2.2-1",
    "remove old-thing 1.0",
    "upgrade libc6 2.36-9 to 2.36-10",
]


def test_packages_are_installed_with_their_services_held_back(run, dpkg):
    arguments = {"names": ["nova-api", "there"], "units": ["nova-*", "keystone*"], "removable": ["old-thing"]}
    dpkg.packages.update({"there": "installed", "old-thing": "installed"})
    planned = run(dpkg.code, check_mode=True, **arguments)
    assert planned["actions"] == INSTALLED
    assert planned["new"] == ["nova-api", "nova-common", "libc6"]
    assert planned["installed"] == ["libc6", "nova-api", "nova-common", "there"]
    assert [held for _call, held in dpkg.calls] == [False, False]
    dpkg.calls.clear()
    assert run(dpkg.code, **arguments)["actions"] == INSTALLED
    simulate = ("apt-get install --simulate nova-api", True)
    assert dpkg.calls == [("apt-get update", True), simulate, ("apt-get install nova-api", True)]
    assert not dpkg.policy.exists()
    dpkg.packages["nova-api"] = "installed"
    dpkg.calls.clear()
    assert not run(dpkg.code, **arguments)["changed"]
    assert dpkg.calls == []


@pytest.mark.parametrize("check_mode", [True, False])
@pytest.mark.parametrize("removable", [[], ["old"], ["nova-common", "old-thing-else"]])
def test_nothing_is_removed_that_nobody_named(run, dpkg, check_mode, removable):
    dpkg.packages["old-thing"] = "installed"
    wanted = "Nothing was installed. apt would remove old-thing to install nova-api. Remove it yourself, or name it in openst"
    with pytest.raises(Failed, match=wanted):
        run(dpkg.code, check_mode, names=["nova-api"], units=["x"], removable=removable)
    assert [call for call, _held in dpkg.calls] == ["apt-get update", "apt-get install --simulate nova-api"]


@pytest.mark.parametrize(
    ("simulated", "guard"),
    [
        ("Inst nova-api (1 Debian [all])\n", True),
        ("Inst nova-api (1 Debian [all])\nRemv old-thing [1]\n", False),
        ("Inst nova-api (1 Debian [all])\nRemv old-thing:amd64 [1]\n", False),
    ],
)
def test_apt_itself_is_told_to_remove_nothing_where_nothing_is_planned(run, dpkg, simulated, guard, monkeypatch):
    seen = []

    def call(*argv):
        seen.append(argv)
        return (0, simulated) if "--simulate" in argv else dpkg.call(*argv)

    monkeypatch.setattr(dpkg.code, "call", call)
    run(dpkg.code, names=["nova-api"], units=["x"], removable=["old-thing"])
    done = [argv for argv in seen if "install" in argv and "--simulate" not in argv]
    assert ["--no-remove" in argv for argv in done] == [guard]


def test_byte_compilation_is_put_off_and_done_once(run, dpkg):
    (dpkg.modules / "service.py").write_text("answer = 42\n")
    dpkg.packages["nova-api"] = "installed"
    dpkg.code.put_off_compilation()  # and killed
    # The format of py3compile: kind, versions, directory.
    assert dpkg.exclusions.read_text().split("|")[:2] == ["dir", "3.0-"]
    actions = ["finish what a killed run left: the modules that it did not compile"]
    assert run(dpkg.code, names=["nova-api"], units=["x"])["actions"] == actions
    assert list(dpkg.modules.glob("__pycache__/service.*.pyc"))
    assert not dpkg.exclusions.exists()
    assert not run(dpkg.code, names=["nova-api"], units=["x"])["changed"]


def test_the_policy_holds_units_and_no_others(dpkg):
    dpkg.code.hold(["nova-*", "keystone*"])
    held = {name: os.spawnl(os.P_WAIT, str(dpkg.policy), "policy-rc.d", name) for name in ("nova-api", "keystone", "cron")}
    assert held == {"nova-api": 101, "keystone": 101, "cron": 0}


def test_what_a_killed_run_left_is_finished(run, dpkg):
    dpkg.code.hold(["nova-*"])
    dpkg.packages["nova-common"] = "half-configured"
    wanted = ["finish the installation of nova-common", "finish what a killed run left: the services that it held back"]
    assert run(dpkg.code, True, names=["nova-common"], units=["x"], removable=["old-thing"])["actions"] == [
        wanted[0],
        *INSTALLED,
        wanted[1],
    ]
    assert dpkg.policy.exists()
    dpkg.calls.clear()
    run(dpkg.code, names=["nova-common"], units=["x"], removable=["old-thing"])
    assert dpkg.calls[0] == ("dpkg --configure -a", True)
    assert not dpkg.policy.exists()


def test_a_policy_of_the_administrator_stays(run, dpkg):
    dpkg.policy.write_text("#!/bin/sh\nexit 101\n")
    run(dpkg.code, names=["nova-api"], units=["nova-*"], removable=["old-thing"])
    assert dpkg.policy.read_text() == "#!/bin/sh\nexit 101\n"


@pytest.mark.parametrize("check_mode", [False, True])
def test_apt_is_told_of_the_proxy_in_a_plan_as_well(run, dpkg, monkeypatch, check_mode):
    """Its file comes with the run. Who asks inside of the cloud is told of none (test_http.py)."""
    asked = []
    call = dpkg.call
    monkeypatch.setattr(dpkg.code, "call", lambda *argv: asked.append(argv) or call(*argv))
    arguments = {"names": ["nova-api"], "units": ["nova-*"], "removable": ["old-thing"]}
    proxies = {f"--option=Acquire::{kind}::Proxy=http://proxy.example.org:3128" for kind in ("http", "https")}
    run(dpkg.code, check_mode=check_mode, proxy="http://proxy.example.org:3128", **arguments)
    fetching = [argv for argv in asked if argv[0] == "apt-get"]
    assert fetching
    assert all(proxies <= set(argv) for argv in fetching)
    asked.clear()
    run(dpkg.code, check_mode=check_mode, **arguments)
    assert "Proxy" not in str(asked)


def test_services_are_released_when_apt_fails(run, dpkg):
    dpkg.fails = True
    with pytest.raises(Failed) as failed:
        run(dpkg.code, names=["nova-api"], units=["nova-*"])
    assert failed.value.args[0]["msg"] == "apt-get update: E: Unable to fetch some archives"
    assert not dpkg.policy.exists()
