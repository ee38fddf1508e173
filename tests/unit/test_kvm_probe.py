"""Whether a guest runs with KVM: whose answer is kept, and for which machines there is a guest."""

import json

import pytest
import yaml
from harness import Failed, Module, ansible_playbook, load

from kilonova.config.config_files import ROLES


@pytest.fixture
def kvm(run, monkeypatch, tmp_path):
    """kvm_probe with an emulator that is there; `asked` counts guests."""
    code, asked = load("kvm_probe"), []
    monkeypatch.setattr(code.kvm, "KEPT", str(tmp_path / "kept.json"))
    monkeypatch.setattr(code.kvm, "situation", lambda binary: [*now, binary])
    monkeypatch.setattr(code, "probe", lambda _binary, _timeout, guest: asked.append(guest["emulator"]) or (True, "a guest ran"))
    binary = tmp_path / "emulator"
    binary.touch()
    now = ["boot", "6.1", [], 0]
    return code, now, asked, lambda **more: run(code, **more)


@pytest.mark.parametrize(("at", "value"), [(0, "another boot"), (1, "6.12"), (2, ["kvm", "kvm_intel"]), (3, 2792)])
def test_an_answer_is_kept_for_this_kernel_and_these_modules(kvm, monkeypatch, at, value):
    code, now, asked, probe = kvm
    monkeypatch.setattr(Module, "get_bin_path", staticmethod(lambda name: f"/usr/bin/{name}"))
    assert probe()["works"] and probe()["works"]
    assert len(asked) == 1
    now[at] = value
    assert probe()["works"]
    assert len(asked) == 2
    with open(code.kvm.KEPT, "w", encoding="utf-8") as stream:
        json.dump([False, "as an older version kept it"], stream)
    assert probe()["works"]
    assert len(asked) == 3


def test_a_host_reports_it_while_it_holds(kvm, monkeypatch):
    code, now, _asked, probe = kvm
    monkeypatch.setattr(Module, "get_bin_path", staticmethod(lambda name: f"/usr/bin/{name}"))
    assert code.kvm.kept() is None
    probe()
    assert code.kvm.kept() == {"works": True, "reason": "a guest ran"}
    now[1] = "6.12"
    assert code.kvm.kept() is None


@pytest.mark.parametrize(
    ("facts", "asked"),
    [
        ({"kvm": {"works": False, "reason": "as reported"}}, False),
        ({"kvm": None}, True),
        ({}, True),
        ({"kvm": {"works": False, "reason": "as reported"}, "new": ["qemu-system-x86"]}, True),
    ],
)
def test_a_host_that_has_reported_it_is_not_asked(tmp_path, facts, asked):
    """The module would fail here, where it is not root or has no emulator, or say something else."""
    new = {"openstack_run": {"new": facts.pop("new")}} if "new" in facts else {}
    tasks = [
        {"set_fact": {"openstack_host": facts}},
        {"set_fact": {**new, "cacheable": True}} if new else {"debug": {}},
        {"kvm_probe": {}, "register": "kvm", "ignore_errors": True, "environment": {"PATH": "/nonexistent"}},
        {"debug": {"msg": "{{ kvm.reason | default('asked') }}"}},
    ]
    said = ansible_playbook(tmp_path, [{"hosts": "all", "tasks": tasks}], ("one",))[1]
    assert ("as reported" in said) is not asked


@pytest.mark.parametrize(("machine", "emulator"), [("x86_64", "qemu-system-x86_64"), ("aarch64", "qemu-system-aarch64")])
def test_the_emulator_is_that_of_the_machine(kvm, monkeypatch, machine, emulator):
    code, _now, asked, probe = kvm
    uname = type("Uname", (), {"machine": machine, "release": "6.1"})
    monkeypatch.setattr(code.os, "uname", uname)
    monkeypatch.setattr(Module, "get_bin_path", staticmethod(lambda name: f"/usr/bin/{name}"))
    probe()
    assert asked == [emulator]
    monkeypatch.setattr(Module, "get_bin_path", staticmethod(lambda _name: None))
    with pytest.raises(Failed, match=f"{emulator} is missing on this host"):
        probe()


def test_a_machine_that_is_not_known_has_no_kvm_for_us(kvm, monkeypatch):
    code, _now, asked, probe = kvm
    monkeypatch.setattr(code.os, "uname", type("Uname", (), {"machine": "riscv64", "release": "6.1"}))
    assert probe() == {"changed": False, "works": False, "reason": "no guest for riscv64 is known here"}
    assert asked == []


def test_every_machine_that_is_allowed_has_a_guest():
    shared = yaml.safe_load((ROLES / "openstack" / "vars" / "main" / "main.yml").read_text())
    assert set(shared["openstack_architectures"]) == set(load("kvm_probe").GUESTS)


def test_every_machine_gets_what_its_guests_run_with():
    """nova-compute-kvm is one package for all machines, and needs the emulator of x86_64 only."""
    shared = yaml.safe_load((ROLES / "openstack/vars/main/main.yml").read_text(encoding="utf-8"))
    packages = {machine: row["packages"] for machine, row in shared["openstack_architectures"].items()}
    assert packages == {"x86_64": [], "aarch64": ["qemu-system-arm", "qemu-efi-aarch64"]}
    (task, *_others) = yaml.safe_load((ROLES / "nova_compute/tasks/main.yml").read_text(encoding="utf-8"))
    assert "+ openstack_host_architecture.packages" in task["openstack_packages"]["names"]
