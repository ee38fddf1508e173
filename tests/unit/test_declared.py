"""A service is declared once, in its own role: what serves all services has it from there."""

import difflib
import json
import os
import shutil
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest
import yaml
from fake_keystone import Keystone
from harness import load

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

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


class Loader(yaml.SafeLoader):
    """A value that is marked as no template, as it is."""


Loader.add_constructor("!unsafe", lambda loader, node: loader.construct_scalar(node))
HOSTS = {
    "c": {**VALUES, "openstack_tls": False, "openstack_management_address": "10.0.0.11"},
    "n": {**VALUES, "openstack_tls": False, "openstack_management_address": "10.0.0.31"},
    "s": {**VALUES, "openstack_tls": False, "openstack_management_address": "10.0.0.51"},
}


@pytest.fixture(scope="module")
def inventory():
    """A controller, a compute node and a host of Ceph: all services that there are."""
    return Inventory(HOSTS, {"controllers": ["c"], "computes": ["n"], "storage": ["s"], "volumes": ["c"], "dashboards": ["c"]})


def test_what_an_optional_group_has_is_there_with_it_alone():
    usual = Inventory(HOSTS, {"controllers": ["c"], "computes": ["n"]}).host("c")
    left = [role for role in DECLARED if role not in ("ceph", "cinder_controller", "horizon")]
    assert usual.find("openstack_services") == left
    assert not [role for role in usual.roles() if role.startswith(("ceph", "cinder"))]
    assert not [unit for unit in usual.find("openstack_units") if unit.startswith(("ceph", "cinder", "nvmf"))]
    assert not [name for name in declared.needed_secrets(usual.inventory.groups) if "cinder" in name or "ceph" in name]
    # A group that has no hosts is as none.
    empty = {"controllers": ["c"], "computes": ["n"], "storage": [], "volumes": []}
    assert declared.needed_secrets(empty) == declared.needed_secrets({})
    assert declared.needed_secrets({"storage": ["s"], "volumes": ["c"], "dashboards": ["c"]}) == declared.secrets()


def test_every_role_that_declares_a_service_is_known_to_every_play(inventory):
    assert inventory.host("n").find("openstack_services") == list(DECLARED)
    files = {path.parts[-4]: path for path in ROLES.glob("*/vars/main/service.yml")}
    assert sorted(files) == sorted(declared.declarations())
    assert {role for role, path in files.items() if f"\n{role}_service:" in path.read_text()} == set(DECLARED)
    links = {path.stem: path.resolve() for path in (SHARED / "services").iterdir() if path.is_symlink()}
    # HAProxy leads to the last two from the common address of several controllers.
    assert links == {role: files[role] for role in (*DECLARED, "mysql", "rabbitmq")}


# They have neither a database nor a user in Keystone; Ceph is no service of OpenStack's, whose packages own its directory.
ALONE = {"horizon": {"directory", "units", "secrets"}, "ceph": {"units", "secrets", "keeps"}}
LOGGING_IN = {role: found for role, found in DECLARED.items() if role not in ALONE}


@pytest.mark.parametrize("role", ALONE)
def test_a_service_without_logins_declares_the_rest(role):
    assert set(DECLARED[role]) == {"service", "ports"}
    assert set(DECLARED[role]["service"]) == ALONE[role]


@pytest.mark.parametrize("role", LOGGING_IN)
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
    assert accounts == {found["account"]["variable"]: found["account"]["user"] for found in LOGGING_IN.values()}
    users = {role: found["identity"]["user"] for role, found in LOGGING_IN.items() if "user" in found["identity"]}
    tried = {user["variable"]: user["name"] for user in controller.find("openstack_identity_logins")["users"]}
    assert tried == {"openstack_admin_pass": "admin", **{user["variable"]: user["name"] for user in users.values()}}
    on_computes = {users[role]["variable"] for role in ON_COMPUTES}
    assert {user["variable"] for user in compute.find("openstack_identity_logins")["users"]} == on_computes
    # What logs in, besides RabbitMQ and the keys of memcached, of the metadata service, of Ceph and of the dashboard.
    others = {"openstack_rabbit_pass", "openstack_memcache_secret", "openstack_metadata_secret", "openstack_horizon_secret_key"}
    others |= set(DECLARED["ceph"]["service"]["secrets"])
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

NEEDED = {"port", "service", "at", "by", "login"}
OF_CLUSTERS = {"clustered", "one_at_a_time", "check"}
WORDS = NEEDED | OF_CLUSTERS | {"kind", "host", "sometimes", "proxied", "asks_for_others"}
# What Open vSwitch has on the loopback interface; no unit of ours answers there.
OPEN_VSWITCH = {"ovn": {6640}, "openvswitch": {6640, 6633}, "linuxbridge": set()}


def is_of_several(row):
    """Whether a port is open only where there are several controllers."""
    return "several controllers" in row.get("sometimes", "") or row.get("sometimes") in ("a node is new", "a node comes back")


@pytest.mark.parametrize("role", declared.declarations())
def test_ports_are_declared_in_one_shape(role):
    assert declared.declarations()[role]["ports"]
    for row in declared.declarations()[role]["ports"]:
        assert NEEDED <= set(row) <= WORDS, row
        assert not (row.get("clustered") and row.get("proxied")), row
        assert row["at"] in ("management", "api", "loopback", "any") and row.get("kind", "udp") == "udp", row


def test_a_role_is_asked_for_its_ports_where_it_is():
    found = {(row["port"], row["host"], *row.get("backends", ())) for row in declared.ports() if not is_of_several(row)}
    assert (
        len(found) + sum(map(is_of_several, declared.ports()))
        == len(declared.ports())
        == sum(len(role["ports"]) for role in declared.declarations().values())
    )
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
    chosen = {"openstack_release": release, "openstack_network_backend": backend, "nova_consoles": ["novnc", "spice", "serial"]}
    hosts = {name: {**given, **chosen} for name, given in HOSTS.items()}
    source = Inventory(hosts, {"controllers": ["c"], "computes": ["n"], "dashboards": ["c"]})
    rows = [row for row in declared.ports() if row.get("kind") != "udp" and backend in row.get("backends", [backend])]
    rows = [row for row in rows if "openstack_tls is on" not in row.get("sometimes", "") and not is_of_several(row)]
    for name, kinds, others in (
        ("c", ("controller", "every"), set(OTHER_PORTS)),
        ("n", ("compute node", "every"), {22, "5900-6923", "10000-19999", "49152-49215"}),
    ):
        host = source.host(name)
        known = {row["port"]: row["at"] for row in rows if row["host"] in kinds}
        units = [there for there in variables.units(host).values() if there]
        # Without TLS, as here, the dashboard has the port of plain HTTP.
        units = [(address, 443 if port == 80 else port) for address, port in units]
        assert {port for _address, port in units} | others | OPEN_VSWITCH[backend] == set(known)
        for address, port in units:
            wanted = {"loopback": "127.0.0.1", "any": "*"}.get(known[port], host.find("openstack_management_address"))
            assert address == wanted, port


def test_endpoints_and_fixed_options_have_the_ports_that_roles_declare(inventory):
    known = [role for role, found in DECLARED.items() if "identity" in found]
    for role, entry in zip(known, inventory.host("c").find("openstack_identities"), strict=True):
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

- name: Create the moon user, service and endpoints
  keystone_endpoints:
    services: ["{{ moon_identity }}"]

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
    "meta/argument_specs.yml": """---
argument_specs:
  main:
    short_description: Moon service
    description: [The Moon service.]
    options: {}
""",
    "vars/main/packages.yml": "---\n__moon_packages:\n  zed: [moon-api]\n",
    "vars/main/service.yml": """---
moon_service:
  directory: {path: /etc/moon, owner: root, group: moon, package: moon-common}
  units: [moon-*]
  secrets:
    openstack_moon_dbpass: MOON_DBPASS
    openstack_moon_pass: MOON_PASS
moon_account: {user: moon, password: "{{ openstack_moon_dbpass }}", variable: openstack_moon_dbpass, databases: [moon]}
moon_identity:
  name: moon
  type: lunar
  description: OpenStack Moon
  user: {name: moon, password: "{{ openstack_moon_pass }}", variable: openstack_moon_pass, roles: [service]}
  endpoints: {public: "http://{{ openstack_public_host | host_port(9999) }}"}
moon_ports:
  - {port: 9999, service: Moon, at: api, by: everybody, login: token}
""",
    "vars/main/main.yml": """---
__moon_units:
  - name: moon-api
    answers: "http://{{ openstack_api_addresses | first | host_port(9999) }}/"
__moon_files:
  - path: {place}/moon.conf
    layers:
      the guide:
        database:
          connection: "{{ 'moon' | service_url('mysql+pymysql', openstack_database_host, 3306, 'moon', openstack_moon_dbpass) }}"
""",
}
PLAYBOOK = """---
- name: Moon service
  hosts: controllers
  gather_facts: false
  tasks:
    - name: Moon service
      ansible.builtin.import_role:
        name: moon
        rolespec_validate: false
      tags: [moon]
"""
SPECS = """      openstack_moon_{0}:
        type: str
        no_log: true
        description: MOON_{1}, password of the moon.
"""
# Stands in for PyMySQL and MariaDB: a file has the passwords that each account may log in with. No socket answers.
PYMYSQL = """import json, os, types

class MySQLError(Exception):
    pass

def connect(user, password=b"", unix_socket=None, **_more):
    if unix_socket:
        raise MySQLError(2002, "no server")
    with open(os.environ["ACCOUNTS"], encoding="utf-8") as stream:
        if password.decode() not in json.load(stream)[user]:
            raise MySQLError(1045, "Access denied")
    return types.SimpleNamespace(close=lambda: None)
"""


class Copy:
    """A copy of the project with a service more: the folder of its role, and `edits` elsewhere; `place` is its /etc."""

    def __init__(self, directory):
        self.tree, self.place, self.hosts = (directory / name for name in ("kilonova", "etc", "hosts"))
        self.accounts, drivers = directory / "accounts.json", directory / "drivers"
        for path in (self.place, self.hosts / "host_vars", drivers):
            path.mkdir(parents=True)
        (drivers / "pymysql.py").write_text(PYMYSQL)
        (drivers / "amqp.py").write_text("raise ImportError\n")  # then only RabbitMQ's port is tried
        self.environment = {
            **os.environ,
            "PYTHONPATH": f"{drivers}:{self.tree}",
            "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ACCOUNTS": str(self.accounts),
        }
        # Database and message queue have a port that answers; where Keystone is, a test says.
        self.listening = socket.create_server(("127.0.0.1", 0))
        port = self.listening.getsockname()[1]
        self.given = {"openstack_tls": False, "ansible_become": False, "ansible_python_interpreter": sys.executable}
        self.given |= {"openstack_database_host": "127.0.0.1", "openstack_database_port": port}
        self.given |= {"openstack_rabbit_host": "127.0.0.1", "openstack_rabbit_port": port}
        # What a host reports; apt knows no such package.
        self.given |= {"openstack_host": {"packages": ["moon-api"]}}
        before = copied(self.tree)
        self.add_role()
        self.edits = edits(before, contents(self.tree))
        groups = {group: {"hosts": {name: {}}} for group, name in (("controllers", "c"), ("computes", "n"))}
        (self.hosts / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
        for name, number in (("c", 11), ("n", 31)):
            variables = {"openstack_management_address": f"10.0.0.{number}", "ansible_connection": "local"}
            (self.hosts / "host_vars" / f"{name}.yml").write_text(yaml.safe_dump(variables))

    def add_role(self):
        """Do what docs/development.md says."""
        for name, text in ROLE.items():
            path = self.tree / "roles" / "moon" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{place}", str(self.place)))
        shared = "roles/openstack/vars/main"
        (self.tree / shared / "services" / "moon.yml").symlink_to("../../../../moon/vars/main/service.yml")
        self.insert(f"{shared}/main.yml", "glance, placement, ", "moon, ")
        specs = SPECS.format("dbpass", "DBPASS") + SPECS.format("pass", "PASS")
        self.insert("roles/openstack/meta/argument_specs.yml", "      openstack_glance_dbpass:\n", specs)
        (self.tree / "playbooks" / "moon.yml").write_text(PLAYBOOK)
        imported = "- name: Moon service\n  ansible.builtin.import_playbook: moon.yml\n"
        self.insert("playbooks/site.yml", "- name: Image service\n", imported)
        row = "| 9999 | Moon | controller | `openstack_api_addresses` | everybody | token |\n"
        self.insert("docs/security.md", "| 9292 | Image |", row)

    def insert(self, name, before, text):
        """One edit, in front of what is there once."""
        old = (self.tree / name).read_text()
        assert old.count(before) == 1, (name, before)
        (self.tree / name).write_text(old.replace(before, text + before))

    def call(self, *argv, status=0):
        """Run a program of the copy; returns what it printed."""
        done = subprocess.run(
            argv, cwd=self.tree, env=self.environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def play(self, name, *arguments, status=0, **given):
        """ansible-playbook with a playbook of the copy."""
        words = ["-i", str(self.hosts), f"playbooks/{name}.yml", "-e", json.dumps({**self.given, **given}), *arguments]
        return self.call("ansible-playbook", *words, status=status)

    def write_play(self, name, roles, *tasks):
        """A playbook for the controller."""
        play = {"hosts": "controllers", "gather_facts": False, "roles": roles, "tasks": list(tasks)}
        (self.tree / "playbooks" / f"{name}.yml").write_text(yaml.safe_dump([play]))

    def secrets(self, ending=""):
        """What the inventory has now."""
        path = self.hosts / "group_vars" / "all" / f"secrets.yml{ending}"
        return yaml.load(path.read_text(), Loader) if path.exists() else None

    def configuration(self):
        """moon.conf, as `make config` writes it."""
        self.play("config", config_out=str(self.place / "out"))
        return (self.place / "out" / "c" / str(self.place).lstrip("/") / "moon.conf").read_text()


def copied(tree):
    """Copy the project's files; returns their contents."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=TREE, capture_output=True, check=True).stdout.decode().split("\0")
    for name in filter(None, listed):
        if (TREE / name).exists() or (TREE / name).is_symlink():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(TREE / name, tree / name, follow_symlinks=False)
    return contents(tree)


def contents(tree):
    """File -> its lines; of a link, where it leads."""
    found = {}
    for directory, directories, files in os.walk(tree):
        for name in (*files, *directories):
            path = os.path.join(directory, name)
            if os.path.islink(path):
                found[os.path.relpath(path, tree)] = [os.readlink(path)]
            elif name in files:
                with open(path, "rb") as stream:
                    found[os.path.relpath(path, tree)] = stream.readlines()
    return found


def edits(before, after):
    """Each place that differs outside of the role's folder; a new file is one."""
    found = []
    for name in sorted(name for name in {*before, *after} if not name.startswith("roles/moon/")):
        if name not in before or name not in after:
            found.append(name)
        elif before[name] != after[name]:
            places = difflib.SequenceMatcher(None, before[name], after[name], autojunk=False).get_opcodes()
            found += [f"{name}:{first + 1}" for what, first, *_rest in places if what != "equal"]
    return found


@pytest.fixture(scope="module")
def moon(tmp_path_factory):
    """The copy, with secrets, and what all services have of the moon once its role is there (moon.known)."""
    made = Copy(tmp_path_factory.mktemp("copy"))
    made.call(sys.executable, "-m", "kilonova.run.secrets", str(made.hosts))
    made.generated = made.secrets()
    parts = {
        "units": "openstack_units",
        "accounts": "openstack_database_logins.accounts",
        "users": "openstack_identity_logins.users",
        "services": "openstack_identities",
        "packages": "openstack_host_roles | role_packages(openstack_release)",
        "directories": "openstack_host_config_directories",
    }
    content = "{{ {" + ", ".join(f"'{name}': {value}" for name, value in parts.items()) + "} | to_json }}"
    written = {"content": content, "dest": str(made.place / "known.json"), "mode": "0600"}
    made.write_play("known", ["openstack"], {"name": "Record", "ansible.builtin.copy": written})
    made.play("known")
    made.known = json.loads((made.place / "known.json").read_text())
    yield made
    made.listening.close()


@pytest.fixture
def keystone(moon):
    """Keystone, by a program that answers as it does, with the users of all services but the moon."""
    with Keystone(moon.secrets()["openstack_admin_pass"]) as listening:
        listening.add("project", name="service")
        for user in moon.known["users"]:
            if user["name"] not in ("admin", "moon"):
                listening.add("user", name=user["name"], password=user["password"])
        yield listening


def test_a_made_up_service_is_a_role_and_six_edits(moon):
    assert len(moon.edits) <= 6, moon.edits
    files = [f"tests/unit/test_{name}.py" for name in ("declared", "roles", "security_document")]
    said = moon.call(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not made_up", *files)
    assert " passed" in said


def test_a_made_up_service_is_generated_and_what_all_services_need_has_it(moon):
    password = moon.secrets()["openstack_moon_dbpass"]
    assert f"connection = mysql+pymysql://moon:{password}@127.0.0.1:3306/moon" in moon.configuration()
    # Facts that its file shares with other services are not overridden there alone.
    said = moon.call(sys.executable, "-c", "from kilonova.config import checking; print(checking.service_directories())")
    assert "^/etc/moon/" in said
    assert "moon-*" in moon.known["units"]
    assert "moon-api" in moon.known["packages"]
    assert "/etc/moon" in [directory["path"] for directory in moon.known["directories"]]
    assert [one["databases"] for one in moon.known["accounts"] if one["user"] == "moon"] == [["moon"]]
    for part in ("users", "services"):
        assert [one["name"] for one in moon.known[part]].count("moon") == 1


def test_a_made_up_service_is_planned(moon, keystone):
    """Its whole page, as far as one that is not there can be planned on this machine."""
    planned = moon.play("site", "--list-tasks", "--tags", "moon")
    assert planned.count("moon : ") == 5
    state = keystone.state()
    planned = moon.play("moon", "--check", openstack_auth_url=keystone.url)
    account = "'moon'@'localhost'"
    for action in (
        "create database moon",
        f"create account {account}",
        f"grant all privileges on moon to {account}",
        "create user moon",
        "add role service to user moon in project service",
        "create service moon",
        "create endpoint lunar public http://10.0.0.11:9999",
        f"write {moon.place}/moon.conf",
        "start moon-api",
    ):
        assert f"c: {action}\n" in planned, action
    assert (keystone.writes, keystone.state()) == ([], state)
    assert not (moon.place / "moon.conf").exists()


def test_a_made_up_service_is_registered(moon, keystone, run):
    """As its page and the play for all services do it, with what they are given."""
    (service,) = [one for one in moon.known["services"] if one["name"] == "moon"]
    auth = {"auth_url": keystone.url, "password": moon.secrets()["openstack_admin_pass"]}
    code = load("keystone_endpoints")
    assert run(code, auth=auth, region="RegionOne", services=[service])["complete"] == ["moon"]
    registered = keystone.find("services", name="moon", type="lunar")
    assert keystone.find("endpoints", service_id=registered["id"])["url"] == "http://10.0.0.11:9999"
    assert keystone.passwords[keystone.find("users", name="moon")["id"]] == moon.generated["openstack_moon_pass"]
    assert run(code, auth=auth, region="RegionOne", services=[service])["actions"] == []


def test_a_made_up_service_is_rotated(moon, keystone):
    """New secrets are written, reach its file, must work, and the old ones must be refused before the rotation is complete."""
    rotated = ["openstack_moon_dbpass", "openstack_moon_pass"]
    old = moon.secrets()
    said = moon.call(sys.executable, "-m", "kilonova.run.secrets", str(moon.hosts), "--rotate", "moon_dbpass,moon_pass")
    new = moon.secrets()
    assert [name for name in old if new[name] != old[name]] == rotated
    assert ", ".join(rotated) in said and moon.secrets(".rotating") == old
    assert f"moon:{new['openstack_moon_dbpass']}@" in moon.configuration()

    moon.write_play("complete", ["rotate_secrets"])
    user = keystone.add("user", name="moon", password=old["openstack_moon_pass"])
    passwords = {account["user"]: [account["password"]] for account in moon.known["accounts"]}

    def complete(account, password, status):
        keystone.passwords[user["id"]] = password["openstack_moon_pass"]
        moon.accounts.write_text(json.dumps({**passwords, "moon": account}))
        given = {"rotate_secrets_only": ",".join(rotated), "openstack_auth_url": keystone.url}
        return moon.play("complete", "-v", status=status, **given)

    both = [side["openstack_moon_dbpass"] for side in (old, new)]
    said = complete(both[:1], old, 2)
    assert "A new secret does not work yet. " in said and all(f"{name}: " in said for name in rotated)
    assert "Still accepted with its old value: openstack_moon_dbpass. Run site.yml again." in complete(both, new, 2)
    assert (moon.secrets(".rotating"), moon.secrets(".old")) == (old, None)
    said = complete(both[1:], new, 0)
    for part in ("rotated", "refused"):
        assert f'"{part}": {json.dumps(rotated)}' in said
    assert (moon.secrets(), moon.secrets(".old"), moon.secrets(".rotating")) == (new, old, None)
