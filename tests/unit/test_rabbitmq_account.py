"""RabbitMQ's account, and what stands in its queues."""

import json
import os

import pytest
from harness import Module, load

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


def test_password_hash_is_that_of_rabbitmqs_documentation():
    made = load("rabbitmq_account").password_hash("test12", bytes.fromhex("908DC60A"))
    assert made == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


def test_a_server_that_is_not_there_yet(run, monkeypatch, tmp_path):
    code = load("rabbitmq_account")
    monkeypatch.setattr(code, "DATA", str(tmp_path))
    arguments = {"user": "openstack", "password": "canary-canary-canary", "host": "127.0.0.1", "port": 1}
    everything = ["create user openstack", "grant openstack all permissions on vhost /", "delete user guest"]
    assert run(code, check_mode=True, **arguments)["actions"] == everything
    (tmp_path / "rabbit@controller").mkdir()  # it ran once, and is stopped
    assert run(code, check_mode=True, **arguments)["actions"] == []
    assert "count as what they were" in Module.warnings[0]


OURS = ["openstack\t/\t.*\t.*\t.*"]


@pytest.mark.parametrize(
    ("users", "rights", "right_password", "actions"),
    [
        (["openstack"], OURS, True, []),
        (["openstack"], OURS, False, ["set the password of user openstack"]),
        (["openstack"], ["openstack\t/\t^$\t.*\t.*"], True, ["grant openstack all permissions on vhost /"]),
        (["openstack"], ["openstack\t/\t\t\t"], True, ["grant openstack all permissions on vhost /"]),
        (["openstack", "guest"], [*OURS, "guest\t/\t.*\t.*\t.*"], True, ["delete user guest"]),
        (["guest"], [], True, ["create user openstack", "grant openstack all permissions on vhost /", "delete user guest"]),
    ],
)
def test_the_account_is_repaired_and_its_password_in_no_argument(run, monkeypatch, users, rights, right_password, actions):
    code, commands = load("rabbitmq_account"), []
    told = {code.VHOSTS: ["/"], code.USERS: users, code.RIGHTS: rights, code.TAGS: ["openstack\t"]}
    monkeypatch.setattr(code.rabbitmq, "rows", told.get)
    monkeypatch.setattr(code, "rabbitmqctl", lambda _module, *arguments: commands.append(arguments))
    monkeypatch.setattr(code, "login_works", lambda _params: right_password)
    monkeypatch.setattr(code.shutil, "chown", lambda *_arguments: None)
    monkeypatch.setattr(code, "DATA", os.curdir)
    monkeypatch.setattr(code, "listens", lambda _params: True)
    arguments = {"user": "openstack", "password": "canary-canary-canary", "host": "10.0.0.11"}
    assert run(code, check_mode=True, **arguments)["actions"] == actions
    assert commands == []
    assert run(code, **arguments)["actions"] == actions
    changes = {"import_definitions" if "guest" not in action else "delete_user" for action in actions}
    assert {command[0] for command in commands} == changes
    assert "canary" not in str(commands)


@pytest.fixture
def clients(tmp_path, monkeypatch):
    """Programs of RabbitMQ that print what the test says, first in PATH."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    def client(name, answer, status=0):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat > {tmp_path}/asked\nprintf '%b' '{answer}'\nexit {status}\n")
        (tmp_path / name).chmod(0o755)

    return client


def test_rabbitmq_is_asked_the_quick_way_and_the_long_way_when_that_says_nothing(clients):
    code = load("rabbitmq_account").rabbitmq
    clients("erl_call", f"one\\ntwo\\n{code.END}")
    assert code.rows("[]") == ["one", "two"]
    clients("erl_call", "one\\n")  # what an expression that fails has printed before
    clients("rabbitmqctl", f"one\\n{code.END}ok\\n")
    assert code.rows("[]") == ["one"]
    clients("rabbitmqctl", "no such node\\n", 69)
    with pytest.raises(RuntimeError, match="rabbitmqctl eval failed: no such node"):
        code.rows("[]")


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
