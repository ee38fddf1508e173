"""Overrides: one rule for every file that is written by layers, in the actions, in digests and in the generator."""

import os
import pwd
import re

import pytest
import yaml
from test_generate import ONE, TWO, inventory, run

from kilonova.config import config_files, inventories, overrides
from kilonova.config.checking import complaints
from kilonova.config.overrides import with_overrides
from kilonova.run import variables

DEBUG = {"DEFAULT": {"debug": True}}


@pytest.mark.parametrize("variable", overrides.files_of())
def test_every_variable_of_overrides_is_a_roles_and_documented(variable):
    role = variable.removesuffix("_overrides").removesuffix("_host")
    assert inventories.variables_of(role, "defaults")[variable] == {}
    assert variables.specs()[role][variable]["type"] == "dict"


@pytest.mark.parametrize("groups", [ONE, TWO])
@pytest.mark.parametrize("release", ["zed", "hibiscus"])
@pytest.mark.parametrize("backend", ["ovn", "openvswitch"])
def test_every_file_of_layers_takes_overrides_of_each_kind(groups, release, backend):
    """Each kind is stronger than the one before; a null leaves the option out."""

    def written(**given):
        source = inventory(groups, release=release, openstack_network_backend=backend, **given)
        return {(host, entry["path"]): entry for host in source.hosts() for entry in source.host(host).files()}

    looked = 0
    for (host, path), entry in written().items():
        if entry.get("layers") is None:
            continue
        looked += 1
        name = path.rpartition("/")[2]
        given = {}
        for variable in overrides.variables_of(entry["role"]):
            assert name in overrides.files_of()[variable]
            given[variable] = {name: {"DEFAULT": {"x": variable}}}
            found = config_files.sections_of(written(**given)[host, path])["DEFAULT"]["x"]
            assert found[0] == variable and found[1].startswith(f"overrides of {variable}")
        given[variable] = {name: {"DEFAULT": {"x": None}}}
        assert "x" not in config_files.sections_of(written(**given)[host, path])["DEFAULT"]
    assert looked > 10


def test_the_page_has_every_role_with_its_files():
    page = (config_files.ROLES.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([^|`]+) \|$", page, re.MULTILINE)
    found = {f"{role}_overrides": set(files.split(", ")) for role, files in rows}
    declared = {name: set(files) for name, files in overrides.files_of().items() if not name.endswith("_host_overrides")}
    all_roles = declared.pop(overrides.OF_ALL)
    assert found == declared
    assert set().union(*found.values()) == all_roles


@pytest.mark.parametrize(
    ("variable", "file", "role"),
    [
        ("keystone_overrides", "clouds.yaml", "keystone"),
        ("nova_controller_host_overrides", "nova-api", "nova_controller"),
        ("nova_compute_overrides", "qemu.conf", "nova_compute"),
        ("openstack_overrides", "qemu.conf", "nova_compute"),
        ("openstack_overrides", "ovn-central", ""),  # its role has no variables of its own
    ],
)
def test_a_file_that_variables_make_whole_takes_no_overrides(variable, file, role):
    remedy = f"set variables of {role} instead (roles/{role}/defaults/main.yml)" if role else "remove it"
    source = inventory(TWO, **{variable: {file: DEBUG}})
    assert [str(problem) for problem in variables.check_overrides(source, source.hosts())] == [
        f"controller, compute1: {variable} = {file}: is a file that takes no overrides, as variables make it whole; {remedy}"
    ]


@pytest.mark.parametrize("variable", ["openstack_overrides", "nova_compute_overrides", "nova_compute_host_overrides"])
@pytest.mark.parametrize("given", [False, [], "", 0, True, ["x"], "x"])
def test_a_file_whose_overrides_are_no_mapping(variable, given):
    found = [str(complaint) for complaint in complaints(inventory(TWO, **{variable: {"nova.conf": given}}))]
    what = f"overrides of {variable}: the file is {type(given).__name__}, not a mapping; write e.g. DEFAULT: {{debug: true}}"
    assert f"compute1: /etc/nova/nova.conf: {what}" in found


def test_files_that_another_roles_tasks_read_say_whose_they_are():
    host = inventory(ONE, release="epoxy", openstack_network_backend="ovn").host("allinone")
    read = [host.find("__nova_controller_nova_conf_file"), *host.find("__neutron_controller_read_by_agents")]
    assert [entry["role"] for entry in read] == ["nova_controller", "neutron_controller", "neutron_controller"]
    assert host.find("__neutron_compute_neutron_file")["role"] == "neutron_compute"


def test_the_guides_files_have_no_empty_layers():
    entry = {"path": "/etc/x.conf", "layers": {"the guide": {}}}
    given = {"openstack_overrides": {"x.conf": {}}, "a_overrides": {}, "a_host_overrides": None}
    assert with_overrides("a", entry, given.get) == {**entry, "role": "a"}
    other = {"path": "/etc/x.conf", "variables": {}}
    assert with_overrides("a", other, {"a_overrides": {"x.conf": DEBUG}}.get) is other


@pytest.mark.parametrize("given", [["x.conf"], "x.conf", True])
def test_a_variable_that_is_no_mapping(given):
    with pytest.raises(ValueError, match="a_overrides is not a mapping"):
        with_overrides("a", {"path": "/etc/x.conf", "layers": {}}, {"a_overrides": given}.get)


def test_the_actions_add_overrides_of_the_role_whose_task_it_is(tmp_path):
    """The real actions in a role of a play."""
    role = tmp_path / "roles" / "site" / "tasks"
    role.mkdir(parents=True)
    owner = {"owner": pwd.getpwuid(os.getuid()).pw_name, "group": str(os.getgid())}
    own = {"path": str(tmp_path / "own.conf"), **owner, "layers": {"the guide": {"DEFAULT": {"a": 1, "b": 1, "c": 1, "d": 1}}}}
    other = {**own, "path": str(tmp_path / "other.conf"), "role": "elsewhere"}
    files = [own, other]
    (role / "main.yml").write_text(yaml.safe_dump([{"name": "Write", "config_files": {"files": files}}]), encoding="utf-8")
    given = {
        "openstack_overrides": {name: {"DEFAULT": {"a": "{{ 1 + 1 }}", "b": 2, "c": 2}} for name in ("own.conf", "other.conf")},
        "site_overrides": {name: {"DEFAULT": {"b": 3, "c": 3}} for name in ("own.conf", "other.conf")},
        "site_host_overrides": {"own.conf": {"DEFAULT": {"c": None}}},
        "elsewhere_overrides": {"other.conf": {"DEFAULT": {"d": 5}}},
    }
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "roles": ["site"], "vars": given}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    done = run("-i", "localhost,", tmp_path / "play.yml", "--check", "--diff", ANSIBLE_ROLES_PATH=str(tmp_path / "roles"))
    said = done.stdout + done.stderr
    assert "+# overrides of openstack_overrides\n+a = 2\n+# overrides of site_overrides\n+b = 3\n+d = 1\n" in said, said
    theirs = "+a = 2\n+# overrides of openstack_overrides\n+b = 2\n+# overrides of openstack_overrides\n+c = 2\n"
    assert f"{theirs}+# overrides of elsewhere_overrides\n+d = 5\n" in said
    # Digests are made of the same: what keeps a file from being made keeps them from being made.
    units = {"units": [{"name": "kilonova-nowhere", "reads": [own["path"]]}], "files": files, "timeout": 1, "settle": 0}
    (role / "main.yml").write_text(yaml.safe_dump([{"name": "Start", "service_units": units}]), encoding="utf-8")
    wrong = {"openstack_services_timeout": 1, "openstack_services_settle": 0, "site_overrides": {"own.conf": {"a": 1}}}
    play = {**play, "vars": wrong}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]), encoding="utf-8")
    done = run("-i", "localhost,", tmp_path / "play.yml", "--check", ANSIBLE_ROLES_PATH=str(tmp_path / "roles"))
    assert "overrides of site_overrides: section [a] is int, not a mapping" in done.stdout + done.stderr


def test_overrides_of_all_roles_are_checked_as_a_roles_own_are():
    def said(**given):
        return " | ".join(str(complaint) for complaint in complaints(inventory(TWO, release="epoxy", **given)))

    assert "compute1: /etc/nova/nova.conf [DEFAULT] debgu" in said(openstack_overrides={"nova.conf": {"DEFAULT": {"debgu": 1}}})
    assert "section [debug] is bool" in said(openstack_overrides={"nova.conf": {"debug": True}})
    kept_twice = said(openstack_overrides={"nova.conf": {"DEFAULT": {"my_ip": "10.9.9.9"}}})
    assert "controller: /etc/nova/nova.conf [DEFAULT] my_ip = 10.9.9.9: " in kept_twice and "compute1: " in kept_twice
    lost = said(openstack_overrides={"nova.conf": {"libvirt": {"virt_type": "lxc"}}})
    assert "of openstack_overrides: is lost: " in lost and "write it under nova-compute.conf in openstack_overrides" in lost
    # A role's own are stronger, and lose to what all roles have in a file that is read later.
    strong = {"nova_compute_overrides": {"nova-compute.conf": {"DEFAULT": {"debug": False}}}}
    assert said(openstack_overrides={"nova.conf": DEBUG}, **strong) == ""
    weak = {"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"debug": False}}}}
    assert "of nova_compute_overrides: is lost" in said(openstack_overrides={"nova-compute.conf": DEBUG}, **weak)
