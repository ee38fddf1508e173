"""What is on a host before us, asked of programs that answer as the real ones do."""

import hashlib
import importlib
import json

import pytest

from kilonova.onhost import foreign


@pytest.fixture
def there(monkeypatch):
    """The module, afresh, on a host without any program or file."""
    module = importlib.reload(foreign)
    module.files, module.answers = {}, {}
    monkeypatch.setattr(module, "read", lambda path: module.files.get(path, ""))
    monkeypatch.setattr(module, "command", lambda *argv, **_more: module.answers.get(" ".join(argv), (None, "", "")))
    monkeypatch.setattr(module, "is_packages_own", lambda _path: False)
    monkeypatch.setattr(module.shutil, "which", lambda _name: None)
    return module


# ------------------------------------------------------------------------------------------------------------ network


def test_interfaces_with_what_they_are_a_part_of(there, tmp_path):
    for name in ("eth0", "eth1", "bond0"):
        (tmp_path / name).mkdir()
    (tmp_path / "bonding_masters").touch()
    (tmp_path / "eth1" / "master").symlink_to("../bond0")
    assert there.interfaces(str(tmp_path)) == {"bond0": "", "eth0": "", "eth1": "bond0"}


def test_what_interfaces_are(there):
    links = [
        {"ifname": "eth0"},
        {"ifname": "bond0", "linkinfo": {"info_kind": "bond"}},
        {"ifname": "br-int", "linkinfo": {"info_kind": "tun"}},
    ]
    there.answers = {"ip -json -details link show": (0, json.dumps(links), "")}
    assert there.kinds() == {"eth0": "", "bond0": "bond", "br-int": "tun"}
    there.answers = {"ip -json -details link show": (1, 'Option "-json" is unknown', "")}
    assert there.kinds() == {}


def test_interfaces_of_default_routes(there):
    there.answers = {
        "ip -oneline -4 route show default": (
            0,
            "default via 10.0.0.1 dev eth0 proto dhcp\ndefault \\\tnexthop via 10.1.0.1 dev eth1 weight 1 \\\tnexthop dev eth2\n",
            "",
        ),
        "ip -oneline -6 route show default": (0, "default via fe80::1 dev eth0 proto ra metric 1024\n", ""),
    }
    assert there.default_routes() == ["eth0", "eth1", "eth2"]


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("nova-common:\n  Installed: (none)\n  Candidate: 2:26.2.2-1~deb12u3\n", "2:26.2.2-1~deb12u3"),
        ("nova-common:\n  Installed: (none)\n  Candidate: (none)\n", ""),
        ("", ""),
    ],
)
def test_the_version_that_apt_would_install(there, said, version):
    there.answers = {"apt-cache policy nova-common": (0, said, "")}
    assert there.candidate("nova-common") == version


# ----------------------------------------------------------------------------------------------------------- evidence


def test_a_file_is_its_packages_own(tmp_path, monkeypatch):
    module = importlib.reload(foreign)
    path = tmp_path / "haproxy.cfg"
    path.write_text("global\n")
    digest = hashlib.md5(b"global\n", usedforsecurity=False).hexdigest()
    answers = {"--search": f"haproxy: {path}\n", "--show": f" /etc/other 123\n {path} {digest}\n"}
    monkeypatch.setattr(module, "command", lambda *argv: (0, answers[argv[1]], ""))
    assert module.is_packages_own(str(path))
    path.write_text("global\nlisten shop\n")
    assert not module.is_packages_own(str(path))
    answers["--search"] = ""
    assert not module.is_packages_own(str(path))
    assert not module.is_packages_own(str(tmp_path / "none"))


def test_the_copy_that_a_packages_script_makes_is_the_packages_own(tmp_path, monkeypatch):
    module = importlib.reload(foreign)
    copy, shipped = tmp_path / "memcached.conf", tmp_path / "memcached.conf.default"
    monkeypatch.setattr(module, "COPIES", {str(copy): str(shipped)})
    copy.write_text("-m 64\n")
    assert not module.is_packages_own(str(copy))  # the package is gone
    shipped.write_text("-m 64\n")
    assert module.is_packages_own(str(copy))
    copy.write_text("-m 4096\n")
    assert not module.is_packages_own(str(copy))


# ----------------------------------------------------------------------------------------------------------- backends

MARIADB_FILE = "/etc/mysql/mariadb.conf.d/99-openstack.cnf"


@pytest.fixture
def server(there, monkeypatch):
    """MariaDB's answers by a word of the statement."""
    rows = {
        "mysql.user": [["mariadb.sys", "localhost"], ["mysql", "localhost"], ["root", "localhost"]],
        "schemata": [["information_schema"], ["mysql"], ["performance_schema"], ["sys"]],
        "bind_address": [["127.0.0.1"]],
    }
    monkeypatch.setattr(there, "ask_mariadb", lambda text: (next(found for word, found in rows.items() if word in text), ""))
    return there, rows


def test_a_new_mariadb_is_nobodys(server):
    there, _rows = server
    assert there.mariadb({}) == {"foreign": [], "by_name": [], "refused": ""}


def test_what_somebody_has_in_mariadb(server):
    there, rows = server
    rows["mysql.user"] += [["backup", "vault.example.org"], ["root", "%"], ["wiki", "10.0.0.%"]]
    rows["schemata"] += [["nova"], ["wiki"]]
    rows["bind_address"] = [["0.0.0.0"]]
    assert there.mariadb({}) == {
        "foreign": [
            "database nova",
            "database wiki",
            "account backup@vault.example.org",
            "account root@%",
            "account wiki@10.0.0.%",
            "bind-address 0.0.0.0",
        ],
        "by_name": ["backup@vault.example.org"],
        "refused": "",
    }


@pytest.mark.parametrize(
    "evidence",
    [
        {"files": {MARIADB_FILE: "; Written by Kilonova from the variables\n[mysqld]\n"}},
        {"state": {"mariadb"}},
        {"state": {MARIADB_FILE}},
    ],
)
def test_a_mariadb_of_ours(server, evidence):
    """The mark of a version before, a run that started it, or one that wrote the file and was killed."""
    there, rows = server
    rows["schemata"] += [["nova"], ["wiki"]]
    rows["mysql.user"] += [["nova", "10.0.0.11"], ["backup", "vault"]]
    there.files = evidence.get("files", {})
    assert there.mariadb(evidence.get("state", set())) == {"foreign": [], "by_name": ["backup@vault"], "refused": ""}


def test_a_mariadb_that_is_stopped_is_told_by_its_directory(there, tmp_path, monkeypatch):
    for name in ("mysql", "performance_schema", "wiki", "#rocksdb"):
        (tmp_path / name).mkdir()
    (tmp_path / "ibdata1").touch()
    monkeypatch.setattr(there.database, "DATA", (str(tmp_path),))
    assert there.mariadb({})["foreign"] == ["database wiki"]


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ("ERROR 1045 (28000): Access denied for user 'root'@'localhost' (using password: NO)\n", "1045"),
        ("ERROR 1698 (28000): Access denied for user 'root'@'localhost'\n", "1698"),
        ("ERROR 1130 (HY000): Host 'localhost' is not allowed to connect\n", "1130"),
        ("ERROR 2002 (HY000): Can't connect to local server\n", ""),
    ],
)
def test_root_is_refused(there, tmp_path, monkeypatch, errors, code):
    (tmp_path / "sock").touch()
    monkeypatch.setattr(there.database, "socket", lambda: str(tmp_path / "sock"))
    monkeypatch.setattr(there.shutil, "which", lambda name: "/usr/bin/mariadb" if name == "mariadb" else None)
    monkeypatch.setattr(there, "command", lambda *_argv: (1, "", errors))
    assert there.ask_mariadb("SELECT 1") == (None, code)
    assert there.mariadb({"mariadb"})["refused"] == code
    assert there.compute_nodes() is None


@pytest.mark.parametrize(
    ("host", "by_name"),
    [
        ("localhost", False),
        ("%", False),
        ("10.0.0.%", False),
        ("10.0.0.0/255.255.255.0", False),
        ("fd00::1", False),
        ("vault", True),
        ("%.example.org", True),
        ("cafe.de", True),
        ("", False),
    ],
)
def test_accounts_by_host_name(there, host, by_name):
    assert there.is_by_name(host) is by_name


@pytest.fixture
def queue(there, tmp_path, monkeypatch):
    """RabbitMQ with users and virtual hosts."""
    (tmp_path / "rabbit@a").mkdir()
    monkeypatch.setattr(there, "RABBIT_DATA", str(tmp_path))
    monkeypatch.setattr(there.shutil, "which", lambda name: name)
    rows = {there.rabbitmq.USERS: ["guest"], there.rabbitmq.VHOSTS: ["/"]}
    monkeypatch.setattr(there.rabbitmq, "rows", rows.__getitem__)
    return there, rows


def test_what_somebody_has_in_rabbitmq(queue):
    there, rows = queue
    assert there.rabbit({}) == {"foreign": []}
    rows[there.rabbitmq.USERS], rows[there.rabbitmq.VHOSTS] = ["shop", "guest", "ops"], ["/", "shop"]
    there.files = {"/etc/rabbitmq/rabbitmq.conf": "# mine\nlisteners.tcp.default = 5673\n"}
    assert there.rabbit({}) == {"foreign": ["/etc/rabbitmq/rabbitmq.conf", "user ops", "user shop", "vhost shop"]}
    assert there.rabbit({"rabbitmq-server"}) == {"foreign": []}
    there.files = {"/etc/rabbitmq/rabbitmq.conf": "# Written by Kilonova from the variables of this host.\nheartbeat = 60\n"}
    assert there.rabbit({}) == {"foreign": []}


def test_a_stopped_rabbitmq_that_was_at_work(queue, monkeypatch):
    there, _rows = queue

    def silent(_statement):
        raise RuntimeError

    monkeypatch.setattr(there.rabbitmq, "rows", silent)
    assert there.rabbit({}) == {"foreign": [f"{there.RABBIT_DATA} (stopped)"]}


@pytest.mark.parametrize(
    ("text", "own", "foreign"),
    [
        ("", False, []),
        ("# nothing\n", False, []),
        ("-m 64\n-l 127.0.0.1\n", True, []),
        ("-m 4096\n-l 0.0.0.0\n", False, ["/etc/memcached.conf"]),
        ("# Written by Kilonova\n-m 64\n", False, []),
    ],
)
def test_memcached(there, monkeypatch, text, own, foreign):
    there.files = {"/etc/memcached.conf": text}
    monkeypatch.setattr(there, "is_packages_own", lambda _path: own)
    assert there.memcached({}) == {"foreign": foreign}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("clouds:\n  work:\n    auth: {username: x}\n  'my home':\n    auth:\n      username: y\n", ["work", "my home"]),
        (
            '# Clouds\n---\ncache: {}\nclouds:\n    admin: {auth: {}}\n    "b-2":\n        region_name: x\nclient:\n  x: y\n',
            ["admin", "b-2"],
        ),
        ("clouds: {work: {auth: {username: x}}, home: {auth: {}}}\n", ["work", "home"]),
        ("", []),
        ("clouds: {}\n", []),
        ("cache:\n  work:\n", []),
    ],
)
def test_clouds(there, text, names):
    there.files = {"/etc/openstack/clouds.yaml": text}
    assert there.clouds({}) == {"foreign": [f"cloud {name}" for name in names]}
    assert there.clouds({"/etc/openstack/clouds.yaml"}) == {"foreign": []}
    there.files = {"/etc/openstack/clouds.yaml": "# Clouds for openstacksdk. Written by Kilonova.\n" + text}
    assert there.clouds({}) == {"foreign": []}


@pytest.fixture
def switch(there, monkeypatch):
    """Open vSwitch that runs."""
    monkeypatch.setattr(there.os.path, "exists", lambda path: path == "/run/openvswitch/db.sock")
    ask = "ovs-vsctl --timeout=5 "

    def say(identity="", remote="", managers="", bridges=""):
        there.answers = {
            ask + "--if-exists get Open_vSwitch . external_ids:system-id": (0, f'"{identity}"\n', ""),
            ask + "--if-exists get Open_vSwitch . external_ids:ovn-remote": (0, f'"{remote}"\n' if remote else "\n", ""),
            ask + "get-manager": (0, managers, ""),
            ask + "list-br": (0, bridges, ""),
        }

    return there, say


@pytest.mark.parametrize("identity", ["0b0b53b5-56e8-4a5b-9b0c-1c2d3e4f5a6b", "compute1", ""])
def test_open_vswitch_that_nobody_uses(switch, identity):
    there, say = switch
    say(identity)
    there.files = {"/etc/default/openvswitch-switch": "# OVS_CTL_OPTS: Extra options\n"}
    assert there.openvswitch({}, "compute1") == {"foreign": []}


def test_what_somebody_has_in_open_vswitch(switch):
    there, say = switch
    say("rack7", "tcp:192.0.2.1:6642", "ptcp:6640\nssl:192.0.2.2:6640\n", "br-int\nbr-lab\n")
    there.files = {"/etc/default/openvswitch-switch": "OVS_CTL_OPTS=--system-id=rack7\n"}
    assert there.openvswitch({}, "compute1") == {
        "foreign": [
            "/etc/default/openvswitch-switch",
            "system-id rack7",
            "ovn-remote tcp:192.0.2.1:6642",
            "manager ptcp:6640",
            "manager ssl:192.0.2.2:6640",
            "bridge br-int",
            "bridge br-lab",
        ]
    }
    assert there.openvswitch({"openvswitch-switch"}, "compute1") == {"foreign": []}


def test_only_backends_of_the_hosts_roles_are_asked(there):
    assert there.backends(["nova_compute", "openvswitch"], set(), "compute1") == {"openvswitch": {"foreign": []}}
    assert list(there.backends(["mysql", "rabbitmq", "memcached", "keystone"], set(), "a")) == [
        "mariadb",
        "rabbitmq",
        "memcached",
        "clouds.yaml",
    ]


def test_mariadb_is_asked_without_tls_by_its_socket(there, monkeypatch, tmp_path):
    """Its client verifies certificates from 11.4 on, even at the socket: preflight saw no database of a cloud with TLS."""
    path = tmp_path / "socket"
    path.touch()
    monkeypatch.setattr(there.database, "socket", lambda: str(path))
    monkeypatch.setattr(there.shutil, "which", lambda name: f"/usr/bin/{name}")
    asked = []
    monkeypatch.setattr(there, "command", lambda *argv, **_more: (asked.append(argv), (0, "a\tb\n", ""))[1])
    assert there.ask_mariadb("SELECT 1") == ([["a", "b"]], "")
    assert asked[0][:3] == ("mariadb", "--no-defaults", "--loose-skip-ssl")
    assert asked[0][-2:] == (f"--socket={path}", "--execute=SELECT 1")


def test_compute_nodes_of_novas_database(there, monkeypatch):
    monkeypatch.setattr(there, "ask_mariadb", lambda _text: ([["u1", "compute1", "10.0.0.21", "64"]], ""))
    assert there.compute_nodes() == [{"uuid": "u1", "host": "compute1", "address": "10.0.0.21", "version": "64"}]
