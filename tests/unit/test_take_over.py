"""Modules leave alone what somebody else has in a backend that they take over, and what is not theirs to stop."""

import base64
import grp
import json
import os
import pwd

import pytest
import yaml
from harness import Failed, Module, Systemd, load

from kilonova.config.config_files import ROLES

# ------------------------------------------------------------------------------------------------------------- MariaDB


class Cursor:
    """MariaDB's cursor with accounts of one user."""

    def __init__(self, rows):
        self.rows = rows

    def execute(self, statement, _arguments=()):
        self.found = [] if statement.startswith("SHOW GRANTS") else self.rows

    def fetchall(self):
        return self.found


@pytest.mark.parametrize(
    ("others", "removed"), [("remove", ["remove account 'glance'@'%'", "remove account 'glance'@'vault'"]), ("keep", [])]
)
def test_accounts_of_others_stay_in_a_database_that_is_taken_over(others, removed):
    code = load("service_database")
    account = {"user": "glance", "password": "x", "databases": []}
    known = [("localhost", "mysql_native_password", code.native_hash("x")), ("%", "", ""), ("vault", "", "")]
    module = type("Fake", (), {"params": {"hosts": ["localhost"], "others": others, "login": None}})()
    found = code.differences(module, Cursor(known), account, set())
    assert [action for action, *_rest in found] == removed


@pytest.mark.parametrize("code", [1045, 1698, 1130])
@pytest.mark.parametrize("name", ["service_database", "schema_sync"])
def test_a_plan_does_not_foresee_what_a_refused_root_cannot_do(run, monkeypatch, name, code):
    module = load(name)

    class Driver:
        class MySQLError(Exception):
            pass

        @classmethod
        def connect(cls, **_arguments):
            raise cls.MySQLError(code, "Access denied for user 'root'@'localhost'")

    monkeypatch.setattr(module.database, "pymysql", Driver)
    fake = type("Fake", (), {"params": {"unix_socket": "/run/x"}, "check_mode": True})()

    def fail(msg):
        raise Failed(msg)

    fake.fail_json = fail
    with pytest.raises(Failed, match=rf"MariaDB refuses root on /run/x: \({code}, .*run `ALTER USER root@localhost IDENTIFIED"):
        module.database.connect(fake)
    monkeypatch.setattr(Driver, "connect", classmethod(lambda cls, **_more: (_ for _ in ()).throw(cls.MySQLError(2002, "none"))))
    assert module.database.connect(fake) is None


# ------------------------------------------------------------------------------------------------------------ RabbitMQ


@pytest.mark.parametrize(
    ("tags", "kept"),
    [
        (["openstack\tadministrator,monitoring", "ops\tmanagement"], ["administrator", "monitoring"]),
        (["openstack\t"], []),
        ([], []),
    ],
)
def test_guest_and_tags_stay_in_a_message_queue_that_is_taken_over(run, monkeypatch, tags, kept):
    code, imported = load("rabbitmq_account"), []
    rows = {code.USERS: ["openstack", "guest", "ops"], code.VHOSTS: ["/"], code.RIGHTS: [], code.TAGS: tags}
    monkeypatch.setattr(code.rabbitmq, "rows", rows.__getitem__)
    monkeypatch.setattr(code, "login_works", lambda _params: True)
    monkeypatch.setattr(code.shutil, "chown", lambda *_arguments: None)

    def rabbitmqctl(_module, verb, path):
        assert verb == "import_definitions"
        with open(path, encoding="utf-8") as stream:
            imported.append(json.load(stream))

    monkeypatch.setattr(code, "rabbitmqctl", rabbitmqctl)
    arguments = {"user": "openstack", "password": "canary-canary-canary", "host": "10.0.0.11", "guest": "keep"}
    assert run(code, **arguments)["actions"] == ["grant openstack all permissions on vhost /"]
    assert imported[0]["users"][0]["tags"] == kept


# --------------------------------------------------------------------------------------------------------- clouds.yaml

OURS = "# Clouds. Written by Kilonova.\nclouds:\n  admin:\n    region_name: RegionOne\n"


@pytest.fixture
def clouds(run, tmp_path):
    """Write clouds.yaml over what is there."""
    code, path = load("config_files"), tmp_path / "clouds.yaml"

    def wrote(there, check_mode=False):
        if there is not None:
            path.write_text(there)
        user, group = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
        code.unit_state.DIRECTORY = str(tmp_path / "kilonova")
        entry = {
            "path": str(path),
            "owner": user,
            "group": group,
            "mode": "0600",
            "merge": "clouds",
            "content": base64.b64encode(OURS.encode()).decode(),
        }
        return run(code, check_mode=check_mode, files=[entry]), path

    return wrote


@pytest.mark.parametrize("there", [None, "", "# nothing\n", OURS, "clouds:\n  admin:\n    region_name: Other\n", "clouds: {}\n"])
def test_a_file_without_other_clouds_is_ours(clouds, there):
    assert clouds(there)[1].read_text() == OURS


@pytest.mark.parametrize(
    ("there", "others"),
    [
        ("clouds:\n  work:\n    auth: {password: 'a: b'}\n", {"clouds": {"work": {"auth": {"password": "a: b"}}}}),
        (
            "clouds: {work: {}, admin: {region_name: Other}}\ncache: {expiration_time: 3600}\n",
            {"clouds": {"work": {}}, "cache": {"expiration_time": 3600}},
        ),
        ("client: {force_ipv4: true}\n", {"client": {"force_ipv4": True}}),
    ],
)
def test_other_clouds_stay(clouds, there, others):
    foreseen, path = clouds(there, check_mode=True)
    result, path = clouds(there)
    assert foreseen["changed_files"] == result["changed_files"] == [str(path)]
    found = yaml.safe_load(path.read_text())
    assert found == {**others, "clouds": {**others.get("clouds", {}), "admin": {"region_name": "RegionOne"}}}
    assert path.read_text().startswith("# Clouds. Written by Kilonova.\n")
    assert not clouds(None)[0]["changed"]


@pytest.mark.parametrize("there", ["clouds: [a\n", "- a\n", "clouds: [work]\n"])
def test_what_is_no_clouds_file_is_not_replaced(clouds, there, tmp_path):
    with pytest.raises(Failed, match="correct it, or move it away"):
        clouds(there)
    assert (tmp_path / "clouds.yaml").read_text() == there


# ------------------------------------------------------------------------------------------------------------- haproxy


@pytest.mark.parametrize(
    ("configuration", "own", "disabled"), [(True, True, True), (True, False, False), (False, False, True), (None, False, True)]
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_unit_that_serves_somebody_else_is_not_stopped(run, monkeypatch, tmp_path, configuration, own, disabled, check_mode):
    systemd = Systemd(load("service_units"), monkeypatch, tmp_path)
    systemd.add("haproxy")
    path = tmp_path / "haproxy.cfg"
    if configuration:
        path.touch()
    monkeypatch.setattr(systemd.code.foreign, "is_idle_package", lambda _name, _path: own)
    unit = {"name": "haproxy", "runs": False, **({} if configuration is None else {"configuration": str(path)})}
    assert run(systemd.code, check_mode=check_mode, units=[unit])["actions"] == (["disable haproxy"] if disabled else [])
    assert systemd.calls == (["disable --now haproxy"] if disabled and not check_mode else [])


# ----------------------------------------------------------------------------------------------------------------- KVM


@pytest.fixture
def kvm(run, monkeypatch, tmp_path):
    """kvm_probe with an emulator that is there; `asked` counts guests."""
    code, asked = load("kvm_probe"), []
    monkeypatch.setattr(code, "KEPT", str(tmp_path / "kept.json"))
    monkeypatch.setattr(code, "situation", lambda _binary: list(now))
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
    with open(code.KEPT, "w", encoding="utf-8") as stream:
        json.dump([False, "as an older version kept it"], stream)
    assert probe()["works"]
    assert len(asked) == 3


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


# ----------------------------------------------------------------------------------------------------- --limit compute2


def test_the_controller_maps_a_new_compute_node_also_when_limit_leaves_it_out():
    (play,) = yaml.safe_load((ROLES.parent / "playbooks" / "verify_operation.yml").read_text())
    (task,) = [
        task for task in play["tasks"] if task.get("ansible.builtin.import_role", {}).get("tasks_from") == "discover_hosts"
    ]
    assert task["delegate_to"] == "{{ groups['controllers'] | first }}"
    assert task["run_once"] is True
    assert "group_names" not in task["when"]
    assert "inventory_hostname" not in task["when"]
