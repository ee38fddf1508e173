"""A service is declared once, in its own role: what serves all services has it from there."""

import json
import os
import shutil
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import yaml

from kilonova.config import declared
from kilonova.config.config_files import ROLES
from kilonova.config.inventories import Inventory
from kilonova.run import variables
from kilonova.run.consistency import OTHER_PORTS

TREE = ROLES.parent
SHARED = ROLES / "openstack" / "vars" / "main"
DECLARED = declared.services()
MAIN = yaml.safe_load((SHARED / "main.yml").read_text())
ON_COMPUTES = MAIN["openstack_services_on_computes"]
VALUES = {name: f"the value of {name}" for name in declared.secrets()}


class Loader(yaml.SafeLoader):
    """A value that is marked as no template, as it is."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
HOSTS = {
    "c": {**VALUES, "openstack_management_address": "10.0.0.11"},
    "n": {**VALUES, "openstack_management_address": "10.0.0.31"},
}


@pytest.fixture(scope="module")
def inventory():
    """A controller and a compute node."""
    return Inventory(HOSTS, {"controllers": ["c"], "computes": ["n"]})


def test_every_role_that_declares_a_service_is_known_to_every_play(inventory):
    assert inventory.host("n").find("openstack_services") == list(DECLARED)
    files = {path.parts[-4]: path for path in ROLES.glob("*/vars/main/service.yml")}
    assert sorted(files) == sorted(declared.declarations())
    assert {role for role, path in files.items() if f"\n{role}_service:" in path.read_text()} == set(DECLARED)
    links = {path.stem: path.resolve() for path in (SHARED / "services").iterdir() if path.is_symlink()}
    assert links == {role: files[role] for role in DECLARED}


@pytest.mark.parametrize("role", DECLARED)
def test_a_declaration_is_complete(role):
    found = DECLARED[role]
    assert set(found) == {"service", "account", "identity", "ports"}
    assert set(found["service"]) == {"directory", "units", "secrets"}
    # Every password that the role declares is one of its secrets, named beside it.
    used = {login["variable"]: login["password"] for login in (found["account"], found["identity"].get("user")) if login}
    assert set(used) == set(found["service"]["secrets"])
    assert all(password == f"{{{{ {variable} }}}}" for variable, password in used.items())


def test_a_rotation_tries_every_login_that_a_role_declares(inventory):
    controller, compute = inventory.host("c"), inventory.host("n")
    accounts = {account["variable"]: account["user"] for account in controller.find("openstack_database_logins")["accounts"]}
    assert accounts == {found["account"]["variable"]: found["account"]["user"] for found in DECLARED.values()}
    users = {role: found["identity"]["user"] for role, found in DECLARED.items() if "user" in found["identity"]}
    tried = {user["variable"]: user["name"] for user in controller.find("openstack_identity_logins")["users"]}
    assert tried == {"openstack_admin_pass": "admin", **{user["variable"]: user["name"] for user in users.values()}}
    on_computes = {users[role]["variable"] for role in ON_COMPUTES}
    assert {user["variable"] for user in compute.find("openstack_identity_logins")["users"]} == on_computes
    # What logs in, besides RabbitMQ and the keys of memcached and of the metadata service: nothing is forgotten.
    others = {"openstack_rabbit_pass", "openstack_memcache_secret", "openstack_metadata_secret"}
    assert {*accounts, *tried} == set(declared.secrets()) - others


def test_a_compute_node_needs_no_secret_of_the_controllers():
    assert declared.on_computes() == {f"openstack_{name}_pass" for name in ("rabbit", "placement", "nova", "neutron")}


def test_whose_configuration_a_host_has(inventory):
    assert [found["path"] for found in inventory.host("n").find("openstack_host_config_directories")] == [
        "/etc/nova",
        "/etc/neutron",
    ]
    units = inventory.host("c").find("openstack_units")
    assert {unit for found in DECLARED.values() for unit in found["service"]["units"]} < set(units)


# -------------------------------------------------------------------------------------------------------------- ports

WORDS = {"port", "kind", "service", "host", "at", "by", "login", "sometimes", "backends"}
# What Open vSwitch has on the loopback interface; no unit of ours answers there.
OPEN_VSWITCH = {"ovn": {6640}, "openvswitch": {6640, 6633}, "linuxbridge": set()}


@pytest.mark.parametrize("role", declared.declarations())
def test_ports_are_declared_in_one_shape(role):
    assert declared.declarations()[role]["ports"]
    for row in declared.declarations()[role]["ports"]:
        assert WORDS - {"kind", "host", "sometimes", "backends"} <= set(row) <= WORDS - {"backends"}, row
        assert row["at"] in ("management", "api", "loopback", "any") and row.get("kind", "udp") == "udp", row


def test_a_role_is_asked_for_its_ports_where_it_is():
    found = {(row["port"], row["host"], *row.get("backends", ())) for row in declared.ports()}
    assert len(found) == len(declared.ports()) == sum(len(role["ports"]) for role in declared.declarations().values())
    assert {
        (3306, "controller"),
        (6642, "controller", "ovn"),
        (6640, "every", "ovn", "openvswitch"),
        (4789, "every", "linuxbridge"),
        ("5900-6923", "compute node"),
        (22, "every"),
    } <= found


@pytest.mark.parametrize(("release", "backend"), [("zed", "linuxbridge"), ("zed", "openvswitch"), ("epoxy", "ovn")])
def test_what_units_answer_at_is_what_roles_declare(release, backend):
    """And so is what preflight knows besides; nothing else is declared."""
    chosen = {"openstack_release": release, "openstack_network_backend": backend}
    hosts = {name: {**given, **chosen} for name, given in HOSTS.items()}
    source = Inventory(hosts, {"controllers": ["c"], "computes": ["n"]})
    rows = [row for row in declared.ports() if row.get("kind") != "udp" and backend in row.get("backends", [backend])]
    for name, kinds, others in (
        ("c", ("controller", "every"), set(OTHER_PORTS)),
        ("n", ("compute node", "every"), {22, "5900-6923", "49152-49215"}),
    ):
        host = source.host(name)
        known = {row["port"]: row["at"] for row in rows if row["host"] in kinds}
        units = [there for there in variables.units(host).values() if there]
        assert {port for _address, port in units} | others | OPEN_VSWITCH[backend] == set(known)
        for address, port in units:
            wanted = {"loopback": "127.0.0.1", "any": "*"}.get(known[port], host.find("openstack_management_address"))
            assert address == wanted, port


def test_endpoints_and_fixed_options_have_the_ports_that_roles_declare(inventory):
    for role, entry in zip(DECLARED, inventory.host("c").find("openstack_identities"), strict=True):
        ports = {row["port"] for row in DECLARED[role]["ports"] if row["at"] == "api"}
        assert {urlsplit(url).port for url in entry["endpoints"].values()} <= ports
    fixed = yaml.safe_load((ROLES / "preflight" / "vars" / "main.yml").read_text())["__preflight_kept_twice"]
    found = {row["default"] for row in fixed if any(name.endswith("_port") and row.get("default") for name in row["names"])}
    assert found and found <= {row["port"] for row in declared.ports()}


# ------------------------------------------------------------------------------------------------------ a made-up service

ROLE = {
    "tasks/main.yml": """---
- name: Create the moon database
  service_database:
    accounts: ["{{ moon_account }}"]
- name: Install the packages
  openstack_packages:
    names: "{{ __moon_packages | for_release(openstack_release) }}"
- name: Configure the service
  config_files:
    files: "{{ __moon_files }}"
- name: Start the service with its configuration
  service_units:
    units: "{{ __moon_units }}"
    files: "{{ __moon_files }}"
""",
    "meta/main.yml": "---\ndependencies:\n  - role: openstack\n",
    "vars/main/packages.yml": "---\n__moon_packages:\n  zed: [moon-api]\n",
    "vars/main/service.yml": """---
moon_service:
  directory: {path: /etc/moon, owner: root, group: moon, package: moon-common}
  units: [moon-*]
  secrets: {openstack_moon_dbpass: MOON_DBPASS, openstack_moon_pass: MOON_PASS}
moon_account: {user: moon, password: "{{ openstack_moon_dbpass }}", variable: openstack_moon_dbpass, databases: [moon]}
moon_identity:
  name: moon
  type: lunar
  description: OpenStack Moon
  user: {name: moon, password: "{{ openstack_moon_pass }}", variable: openstack_moon_pass, roles: [service]}
  endpoints: {public: "http://{{ openstack_public_host | host_port(9999) }}"}
""",
    "vars/main/main.yml": """---
__moon_units:
  - name: moon-api
__moon_files:
  - path: {place}/moon.conf
    layers:
      the guide:
        database:
          connection: "{{ 'moon' | service_url('mysql+pymysql', openstack_database_host, 3306, 'moon', openstack_moon_dbpass) }}"
""",
}
SPECS = """      openstack_moon_{0}:
        type: str
        no_log: true
        description: MOON_{1}, password of the moon.
"""


@pytest.fixture(scope="module")
def with_a_moon(tmp_path_factory):
    """A copy of the project with a service more: the folder of its role, and six edits elsewhere."""
    tree, place = tmp_path_factory.mktemp("copy") / "kilonova", tmp_path_factory.mktemp("etc")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TREE, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (TREE / name).exists() or (TREE / name).is_symlink():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / name, tree / name, follow_symlinks=False)
    for name, text in ROLE.items():
        path = tree / "roles" / "moon" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{place}", str(place)))

    def edit(name, old, new):
        text = (tree / name).read_text()
        assert text.count(old) == 1, (name, old)
        (tree / name).write_text(text.replace(old, new))

    shared = "roles/openstack/vars/main"
    (tree / shared / "moon.yml").symlink_to("../../../moon/vars/main/service.yml")
    edit(f"{shared}/main.yml", "neutron_controller]\nopenstack_decl", "neutron_controller, moon]\nopenstack_decl")
    edit(f"{shared}/main.yml", "memcached, keystone, glance,", "memcached, keystone, moon, glance,")
    edit(
        "roles/openstack/meta/argument_specs.yml",
        "      openstack_glance_dbpass:\n",
        SPECS.format("dbpass", "DBPASS") + SPECS.format("pass", "PASS") + "      openstack_glance_dbpass:\n",
    )
    (tree / "playbooks" / "moon.yml").write_text(
        "---\n- name: Moon\n  hosts: controllers\n  gather_facts: false\n  roles:\n    - role: moon\n      tags: [moon]\n"
    )
    edit(
        "playbooks/site.yml",
        "- name: Placement service\n",
        "- name: Moon\n  ansible.builtin.import_playbook: moon.yml\n- name: Placement service\n",
    )
    (tree / "hosts").mkdir()
    groups = {group: {"hosts": {name: {}}} for group, name in (("controllers", "c"), ("computes", "n"))}
    (tree / "hosts" / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    for name, number in (("c", 11), ("n", 31)):
        (tree / "hosts" / "host_vars").mkdir(exist_ok=True)
        variables = {"openstack_management_address": f"10.0.0.{number}", "ansible_connection": "local"}
        (tree / "hosts" / "host_vars" / f"{name}.yml").write_text(yaml.safe_dump(variables))
    return tree, place


def call(tree, *argv):
    """Run a program of the copy; returns what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "LC_ALL": "C.UTF-8"}
    path = f"{os.path.dirname(sys.executable)}:{environment['PATH']}"
    done = subprocess.run(
        argv, cwd=tree, env={**environment, "PATH": path}, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_made_up_service_is_generated_planned_and_rotated(with_a_moon):
    tree, place = with_a_moon
    call(tree, sys.executable, "-m", "kilonova.run.secrets", "hosts")
    secrets = tree / "hosts" / "group_vars" / "all" / "secrets.yml"
    before = yaml.load(secrets.read_text(), Loader)
    assert {"openstack_moon_dbpass", "openstack_moon_pass"} <= set(before)
    call(tree, "ansible-playbook", "-i", "hosts", "playbooks/config.yml", "-e", json.dumps({"config_out": str(place / "out")}))
    text = (place / "out" / "c" / str(place).lstrip("/") / "moon.conf").read_text()
    assert f"connection = mysql+pymysql://moon:{before['openstack_moon_dbpass']}@10.0.0.11:3306/moon" in text
    # What all services need, has it too.
    play = {
        "hosts": "controllers",
        "gather_facts": False,
        "vars": {"ansible_become": False},
        "roles": ["openstack"],
        "tasks": [
            {
                "name": "Record",
                "ansible.builtin.copy": {
                    "content": "{{ {'units': openstack_units, 'databases': openstack_database_logins.accounts,"
                    " 'users': openstack_identity_logins.users, 'services': openstack_identities,"
                    " 'packages': openstack_host_roles | role_packages(openstack_release),"
                    " 'directories': openstack_host_config_directories} | to_json }}",
                    "dest": str(place / "known.json"),
                    "mode": "0600",
                },
            }
        ],
    }
    (tree / "playbooks" / "known.yml").write_text(yaml.safe_dump([play]))
    call(tree, "ansible-playbook", "-i", "hosts", "playbooks/known.yml")
    known = json.loads((place / "known.json").read_text())
    assert "moon-*" in known["units"]
    assert "moon-api" in known["packages"]
    assert "/etc/moon" in [directory["path"] for directory in known["directories"]]
    assert "moon" in [account["user"] for account in known["databases"]]
    assert (
        {"moon"} == {user["name"] for user in known["users"]} & {"moon"} == {one["name"] for one in known["services"]} & {"moon"}
    )
    # A plan of its page, as far as it needs no host.
    planned = call(tree, "ansible-playbook", "-i", "hosts", "playbooks/site.yml", "--list-tasks", "--tags", "moon")
    assert "moon : Configure the service" in planned
    (tree / "playbooks" / "plan.yml").write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "controllers",
                    "gather_facts": False,
                    "vars": {"ansible_become": False},
                    "vars_files": ["../roles/moon/vars/main/main.yml"],
                    "roles": ["openstack"],
                    "tasks": [{"name": "Configure the service", "config_files": {"files": "{{ __moon_files }}"}}],
                }
            ]
        )
    )
    planned = call(tree, "ansible-playbook", "-i", "hosts", "playbooks/plan.yml", "--check")
    assert f"c: write {place}/moon.conf" in planned
    call(tree, sys.executable, "-m", "kilonova.run.secrets", "hosts", "--rotate", "moon_dbpass")
    after = yaml.load(secrets.read_text(), Loader)
    assert [name for name in before if after[name] != before[name]] == ["openstack_moon_dbpass"]
