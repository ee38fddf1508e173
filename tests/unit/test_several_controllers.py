"""Three controllers: what is generated for them, who signs what, who does what the cloud has once, and what is refused."""

import contextlib
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest
from harness import load
from test_generate import inventory
from test_tls import made, parsed, with_tls, written

from kilonova.config import addresses, checking, galera, listening
from kilonova.onhost import foreign, proxy
from kilonova.run import authorities, certificates, preflight, variables
from kilonova.run.instrument import OfTheCloud

VIP = "10.0.0.10"
HOSTS = {"c1": "10.0.0.11", "c2": "10.0.0.12", "c3": "10.0.0.13", "n1": "10.0.0.31"}
THREE = {
    "controllers": {name: {"openstack_management_address": HOSTS[name]} for name in ("c1", "c2", "c3")},
    "computes": {"n1": {"openstack_management_address": HOSTS["n1"]}},
}
GIVEN = {"openstack_vip": VIP, "glance_store": {"type": "file", "shared": True}, "release": "epoxy"}


@pytest.fixture(scope="module")
def three():
    return with_tls(THREE, **GIVEN)


def test_everybody_asks_the_common_address(three):
    for host in three.hosts():
        files = written(three, host)
        nova = parsed(files["/etc/nova/nova.conf"])
        assert nova["DEFAULT"]["transport_url"].endswith(f"@{VIP}:5671/quorum")
        assert nova["keystone_authtoken" if host != "n1" else "placement"]["auth_url"] == f"https://{VIP}:5000/v3"
        assert nova["oslo_messaging_rabbit"]["rabbit_quorum_queue"] == "true"
        if host != "n1":
            assert f"@{VIP}:3306/nova_api?" in nova["api_database"]["connection"]
    assert not [one for one in checking.complaints(three) if one.level == "error"]


def test_preflight_takes_them_and_warns(three):
    problems, warnings = variables.check_inventory(three)
    assert problems == []
    assert warnings[0] == variables.YOUNG and "docs/controllers.md" in variables.YOUNG


def test_haproxy_leads_from_it_to_all_and_asks_them(three):
    files = written(three, "c2")
    front = files[f"{listening.PROXY_DIRECTORY}/8774.cfg"]
    own, virtual = front.split("listen 8774-virtual\n")
    assert (
        "    bind 10.0.0.12:8774 ssl " in own and "monitor fail if !works" in own and "server local 127.0.0.1:8774 check" in own
    )
    assert "acl leads_here src 10.0.0.11 10.0.0.13\n" in own
    assert f"    bind {VIP}:8774 ssl " in virtual and " transparent\n" in virtual
    assert "server c2 127.0.0.1:8774 track 8774/local" in virtual
    assert re.findall(r"server (c[13]) (\S+) verifyhost (\S+)", virtual) == [
        ("c1", "10.0.0.11:8774", "c1"),
        ("c3", "10.0.0.13:8774", "c3"),
    ]
    assert "ssl verify required ca-file /etc/ssl/certs/openstack-authority.pem" in virtual
    # Each Keystone has a cache of its own, and two databases that are written at a time have deadlocks.
    assert {path.rpartition("/")[2] for path, text in files.items() if "stick on int(1)" in text} == {"5000.cfg", "3306.cfg"}
    database = files[f"{listening.PROXY_DIRECTORY}/3306.cfg"]
    # When it is gone, all who come at once go to the same next one, and the sessions that it had end.
    assert "balance first\n" in database and "balance first\n" in files[f"{listening.PROXY_DIRECTORY}/5000.cfg"]
    assert "lua-load /etc/haproxy/sessions.lua\n" in files["/etc/haproxy/haproxy.cfg"] and "/etc/haproxy/sessions.lua" in files
    assert not [path for path, text in files.items() if "on-marked-down" in text and path.endswith(".cfg")]
    assert f"bind {VIP}:3306 transparent" in database and "server c1 10.0.0.11:3306 check port 9200\n" in database


PROXY = """
global
    lua-load {lua}
defaults
    mode tcp
    timeout connect 2s
    timeout client 10m
    timeout server 10m
listen {way}
    bind unix@{front}
    server a unix@{back} check inter 500ms fall 2
"""


@pytest.mark.skipif(not shutil.which("haproxy"), reason="HAProxy is not installed here; molecule's scenario has it on its hosts")
def test_sessions_of_a_server_that_is_gone_end(three, tmp_path):
    """HAProxy itself, a server that takes no new connections, and a client that waits for its answer."""
    (tmp_path / "s.lua").write_text(written(three, "c1")["/etc/haproxy/sessions.lua"])
    front, back = tmp_path / "front", tmp_path / "back"
    text = PROXY.format(lua=tmp_path / "s.lua", way="3306-virtual", front=front, back=back)
    (tmp_path / "proxy.cfg").write_text(text)
    taken, server = [], socket.socket(socket.AF_UNIX)
    server.bind(str(back))
    server.listen()

    def greet():
        with contextlib.suppress(OSError):
            while True:
                taken.append(server.accept()[0])
                # A check may be gone already.
                with contextlib.suppress(BrokenPipeError):
                    taken[-1].sendall(b"hello")

    threading.Thread(target=greet, daemon=True).start()
    with subprocess.Popen(["haproxy", "-db", "-f", tmp_path / "proxy.cfg"], stdin=subprocess.DEVNULL) as running:
        try:
            deadline = time.monotonic() + 30
            while not front.exists():
                assert running.poll() is None and time.monotonic() < deadline
                time.sleep(0.1)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(str(front))
                assert client.recv(5) == b"hello"
                back.unlink()
                assert client.recv(1) == b""
        finally:
            running.kill()
            server.close()


def test_the_common_address_is_nothing_that_a_service_listens_on(three):
    for name in ("c1", "c2", "c3"):
        for path, text in written(three, name).items():
            if path.startswith("/etc/default/") or path.endswith(("99-openstack.cnf", "rabbitmq.conf")):
                assert VIP not in text, path


def test_clusters_know_each_other_by_an_authority_of_their_own(three):
    found = made(THREE, **GIVEN)
    pairs = found[authorities.HOSTS]
    assert {use for host in ("c1", "c2", "c3") for use in pairs[host]} == {"server", "console", "ovn", "peer"}
    assert "peer" not in pairs["n1"]
    pair = certificates.Pair(**pairs["c2"]["peer"])
    reached, uses = ["c2", "10.0.0.12"], ["server", "client"]
    assert certificates.check(pair, found[authorities.PEERS], reached, uses, 30) == []
    [wrong] = certificates.check(pair, found[authorities.AUTHORITY], reached, uses, 30)
    assert "was not signed by the authority" in wrong.what
    files = written(three, "c2")
    for path in ("/etc/mysql/mariadb.conf.d/99-openstack.cnf", "/etc/rabbitmq/inter_node_tls.config"):
        assert "/etc/ssl/openstack-peers.pem" in files[path] and "openstack-peers" not in written(three, "n1")
    assert not [path for path in written(three, "n1") if "peer" in path]
    ovn = parsed(files["/etc/neutron/plugins/ml2/ml2_conf.ini"])["ovn"]
    assert ovn["ovn_nb_connection"] == "ssl:10.0.0.11:6641,ssl:10.0.0.12:6641,ssl:10.0.0.13:6641"
    # Open vSwitch's Python library has one of each for all connections of a process.
    for option in ("private_key", "certificate", "ca_cert"):
        assert ovn[f"ovn_nb_{option}"] == ovn[f"ovn_sb_{option}"]
    assert "peer" in ovn["ovn_sb_certificate"] and files[ovn["ovn_nb_ca_cert"]].count("BEGIN CERTIFICATE") == 2


def test_the_keys_of_authorities_reach_no_host(three):
    keys = [three.host("c1").find(name) for name in (authorities.KEY, authorities.PEERS_KEY)]
    for host in three.hosts():
        for path, text in written(three, host).items():
            assert not any(key.split("\n")[1] in text for key in keys), path


def test_one_controller_has_nothing_of_it():
    one = {"controllers": {"c1": THREE["controllers"]["c1"]}, "computes": THREE["computes"]}
    source = with_tls(one, release="epoxy")
    files = written(source, "c1")
    words = ("virtual", "wsrep", "quorum", "lua-load", "keepalive_time")
    assert not [path for path, text in files.items() if "peer" in path or any(word in text for word in words)]
    assert {"galera", "keepalived"}.isdisjoint(source.host("c1").roles())
    assert authorities.PEERS not in made(one, release="epoxy")


def test_a_second_controller_makes_what_is_missing_and_leaves_the_rest():
    one = {"controllers": {"c1": THREE["controllers"]["c1"]}, "computes": THREE["computes"]}
    before, wanted = authorities.Held.of_variables(made(one, release="epoxy")), {}
    for host, uses in {"c1": ("console", "peer"), "n1": ("qemu",)}.items():
        wanted[host] = {
            use: authorities.Wanted([host], ["client" if use == "console" else "server"], use == "peer") for use in uses
        }
    after, lines = authorities.complete(before, wanted)
    assert lines == ["the controllers' authority among themselves: new", "c1: peer: made, because there was none"]
    assert after.hosts["n1"]["qemu"] == before.hosts["n1"]["qemu"] and after.authority == before.authority
    again, lines = authorities.complete(authorities.Held.of_variables(after.variables()), wanted)
    assert (again, lines) == (after, [])
    # Of hosts' certificates, a renewal makes this one by its own authority as well.
    renewed, _lines = authorities.renew(after, wanted, authorities.OF_HOSTS, 30)
    assert certificates.check(renewed.hosts["c1"]["peer"], after.peers.certificate, ["c1"], ["server"], 30) == []


def test_without_its_authority_a_certificate_is_refused(three):
    found = {name: three.host("c1").find(name) for name in (authorities.AUTHORITY, authorities.HOSTS)}
    uses = authorities.wanted(three.host("c1").find("openstack_certificates"))
    problems, _soon = authorities.problems("c1", found, uses, 30)
    assert [str(problem) for problem in problems] == [
        "c1: openstack_tls_peers_authority: is not set, and there are several controllers; " + authorities.REMEDY
    ]


@pytest.mark.parametrize(("first", "asks"), [("c1", {"c1"}), ("c2", {"c2"})])
def test_what_the_cloud_has_once_one_controller_does(first, asks):
    class Action(OfTheCloud):
        def __init__(self, host, groups):
            self.variables = {"inventory_hostname": host, "groups": groups}

        def shared(self, name):
            assert name == "openstack_first_controller"
            return first

    groups = {"controllers": ["c1", "c2", "c3"], "computes": ["n1"]}
    assert {host for host in groups["controllers"] if Action(host, groups).must_ask({})} == asks
    # It is delegated to a controller there.
    assert Action("n1", groups).must_ask({})
    assert Action("c9", {"controllers": ["c9"]}).must_ask({})


@pytest.mark.parametrize(
    ("count", "what"),
    [
        (2, "2 controllers survive no more losses than 1; have one, three or five"),
        (4, "4 controllers survive no more losses than 3; have one, three or five"),
        (7, "with 7 controllers each change of the databases waits for all of them; have one, three or five"),
    ],
)
def test_a_number_of_controllers_that_helps_nobody(count, what):
    names = [f"c{number}" for number in range(count)]
    [problem] = preflight.check_groups({"controllers": names, "computes": ["n1"]})
    assert str(problem) == f"inventory: controllers = {', '.join(names)}: {what}"


RIGHT = {"openstack_vip": VIP, "openstack_tls": True, "openstack_network_backend": "ovn", "is_shared": True}
FREE = "set it to a free address of the management network"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, []),
        ({"openstack_vip": ""}, [f"openstack_vip: is not set, and there are several controllers; {FREE}"]),
        ({"openstack_vip": "10.0.0"}, [f"openstack_vip = 10.0.0: is not an IP address; {FREE}"]),
        ({"openstack_vip": "10.0.0.31"}, [f"openstack_vip = 10.0.0.31: is the address of n1; {FREE}"]),
        ({"openstack_vip": "127.0.0.1"}, [f"openstack_vip = 127.0.0.1: is not an address that other hosts can reach; {FREE}"]),
        (
            {"openstack_vip": "fd00::10"},
            [f"openstack_vip = fd00::10: is not of the same family (IPv4, IPv6) as the hosts' management addresses; {FREE}"],
        ),
        (
            {"openstack_tls": False, "openstack_network_backend": "openvswitch", "is_shared": False},
            [
                "openstack_tls = false: several controllers trust each other by certificates; set it to true, or have one "
                "controller",
                "openstack_network_backend = openvswitch: with several controllers, only OVN goes on when one of them is gone; "
                "set ovn, or have one controller",
                "glance_store: each controller would have images of its own; have them in Ceph, or mount one directory at "
                "/var/lib/glance/images of all, and set {type: file, shared: true}",
            ],
        ),
    ],
)
def test_what_several_controllers_need(given, said):
    found = preflight.check_cluster({**RIGHT, **given}, HOSTS)
    assert [str(problem) for problem in found] == [f"controllers: {line}" for line in said]


NEW = {"uuid": "", "members": 0, "databases": []}
LIVES = {"uuid": "72b0b211", "members": 3, "databases": ["keystone"]}


def vars_of(*facts):
    """hostvars of controllers with these facts; None: it has not reported."""
    names = ("c1", "c2", "c3")
    return {name: {} if one is None else {"openstack_host": {"galera": one}} for name, one in zip(names, facts, strict=True)}


@pytest.mark.parametrize(
    ("facts", "founder"),
    [
        ((NEW, NEW, NEW), "c1"),
        ((LIVES, LIVES, NEW), ""),
        ((NEW, NEW, None), ""),
        # The first has lost its disk, and MariaDB is stopped on the others: they would get its empty databases.
        ((NEW, {**LIVES, "members": 0}, {**LIVES, "members": 0}), ""),
        ((NEW, {**NEW, "databases": ["keystone"]}, NEW), ""),
    ],
)
def test_who_founds_the_cluster_of_databases(facts, founder):
    assert galera.founder(["c1", "c2", "c3"], vars_of(*facts)) == founder


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ((NEW, NEW, NEW), []),
        ((LIVES, LIVES, NEW), []),
        ((LIVES, None, LIVES), []),
        (
            ({**NEW, "databases": ["keystone", "nova"]}, NEW, NEW),
            [
                "c1: controllers: has databases (keystone, nova) that are in no cluster, and would get those of the others "
                "instead; leave it the only controller, or take another host: a cloud cannot get more controllers yet "
                "(docs/controllers.md)"
            ],
        ),
        (
            (LIVES, LIVES, {**LIVES, "uuid": "11111111", "members": 0}),
            [
                "c3: Galera = 11111111: is the cluster that its databases were in, and the other controllers have another; take "
                "it out of the group, or move its databases (/var/lib/mysql) away, which it then gets from the others"
            ],
        ),
        (
            (NEW, {**LIVES, "members": 0}, {**LIVES, "members": 0}),
            [
                "controllers: Galera = c2, c3: have been a cluster, and none of their MariaDBs runs as a part of it; start the "
                "one with the newest databases first (docs/controllers.md, galera_recovery), then run again"
            ],
        ),
        (
            (LIVES, {**LIVES, "uuid": "11111111"}, LIVES),
            ["controllers: Galera = 11111111, 72b0b211: are two clusters; leave the hosts of one in the group"],
        ),
        (
            (NEW, NEW, None),
            [
                "controllers: Galera = c3: have not been reached, and a cluster of databases begins with all controllers; make "
                "them reachable, and run without --limit"
            ],
        ),
    ],
)
def test_no_databases_are_lost_to_those_of_others(facts, said):
    names = ["c1", "c2", "c3"]
    assert [str(problem) for problem in galera.check(galera.told(names, vars_of(*facts)))] == said


def test_what_a_host_says_of_its_cluster(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign.database, "DATA", (str(tmp_path), "/nowhere"))
    status = [["wsrep_cluster_size", "3"], ["wsrep_cluster_status", "Primary"]]
    monkeypatch.setattr(foreign, "ask_mariadb", lambda _statement: (status, ""))
    for name in ("keystone", "mysql", "sys"):
        (tmp_path / name).mkdir()
    (tmp_path / "ibdata1").write_text("")
    assert foreign.galera() == {"uuid": "", "members": 0, "databases": ["keystone"]}
    (tmp_path / "grastate.dat").write_text("# GALERA saved state\nversion: 2.1\nuuid:    72b0b211-eab7\nseqno:   -1\n")
    assert foreign.galera() == {"uuid": "72b0b211-eab7", "members": 3, "databases": ["keystone"]}
    status[1][1] = "non-Primary"
    assert foreign.galera()["members"] == 0
    (tmp_path / "grastate.dat").write_text("uuid:    00000000-0000-0000-0000-000000000000\n")
    assert foreign.galera()["uuid"] == ""


def test_controllers_are_called_as_the_inventory_calls_them():
    assert preflight.check_cluster_hosts({"c1": "c1", "c2.example.org": "c2"}) == []
    [problem] = preflight.check_cluster_hosts({"c1": "node7"})
    assert str(problem) == (
        "c1: hostname = node7: is not the name in the inventory, by which the other controllers' RabbitMQ knows the host; run "
        "`hostnamectl set-hostname c1` on this host"
    )


def test_erlang_writes_addresses_as_numbers():
    assert addresses.erlang_address("10.0.0.11") == "{10,0,0,11}"
    assert addresses.erlang_address("fd00::11") == "{64768,0,0,0,0,0,0,17}"
    with pytest.raises(ValueError, match="'c1' is not an IP address"):
        addresses.erlang_address("c1")


def test_ovn_finds_its_databases_on_all_controllers():
    assert listening.ovn_remotes(["10.0.0.11", "fd00::12"], "ssl", 6642) == "ssl:10.0.0.11:6642,ssl:[fd00::12]:6642"


# ---------------------------------------------------------------------------------------------- files that all must have


KEYS = {"directory": "", "names": "[0-9]*", "owner": "root", "group": "root", "mode": "0600", "generated": False}


@pytest.fixture
def shared(monkeypatch):
    return load("shared_files")


class Module:
    """What the functions of the module use of AnsibleModule."""

    def __init__(self, check_mode=False):
        self.check_mode, self.warnings = check_mode, []

    def warn(self, text):
        self.warnings.append(text)

    def fail_json(self, msg):
        raise AssertionError(msg)


def test_keys_become_those_of_the_first_controller(shared, tmp_path):
    first, second = ({**KEYS, "directory": str(tmp_path / name / "fernet-keys")} for name in ("first", "second"))
    for directory in ("first/fernet-keys", "second"):
        (tmp_path / directory).mkdir(parents=True)
    for name, text in {"0": "next", "1": "old", "2": "signs", "README": "not one"}.items():
        (tmp_path / "first/fernet-keys" / name).write_text(text)
    said = []
    found = shared.read(Module(), first, said)
    assert set(found) == {"0", "1", "2"} and said == []
    shared.copy(Module(check_mode=True), second, found, said)
    assert (
        said == [f"copy {second['directory']}/[0-9]* of the first controller"] and not (tmp_path / "second/fernet-keys").exists()
    )
    shared.copy(Module(), second, found, said)
    copies = tmp_path / "second/fernet-keys"
    assert {path.name: path.read_text() for path in copies.iterdir()} == {"0": "next", "1": "old", "2": "signs"}
    assert copies.stat().st_mode & 0o777 == 0o700 and (copies / "2").stat().st_mode & 0o777 == 0o600
    original = (tmp_path / "first/fernet-keys/2").stat().st_mtime_ns
    assert (copies / "2").stat().st_mtime_ns == original
    said.clear()
    shared.copy(Module(), second, found, said)
    assert said == []
    # After a rotation, what is gone there goes here.
    (tmp_path / "first/fernet-keys/1").unlink()
    shared.copy(Module(), second, shared.read(Module(), first, []), said)
    assert len(said) == 1 and sorted(path.name for path in copies.iterdir()) == ["0", "2"]


def test_a_secret_that_is_missing_is_made_once(shared, tmp_path):
    cookie = {**KEYS, "directory": str(tmp_path), "names": ".erlang.cookie", "mode": "0400", "generated": True}
    said = []
    assert shared.read(Module(check_mode=True), cookie, said) is None
    assert said == [f"create {tmp_path}/.erlang.cookie"] and not list(tmp_path.iterdir())
    found = shared.read(Module(), cookie, [])
    assert re.fullmatch("[A-Z]{32}", (tmp_path / ".erlang.cookie").read_text())
    said.clear()
    assert shared.read(Module(), cookie, said) == found and said == []


def test_no_link_is_followed(shared, tmp_path):
    (tmp_path / "there").write_text("secret")
    (tmp_path / "keys").mkdir(mode=0o777)
    (tmp_path / "keys/0").symlink_to(tmp_path / "there")
    with pytest.raises(ValueError, match="is a symbolic link"):
        shared.read(Module(), {**KEYS, "directory": str(tmp_path / "keys")}, [])


def test_inventory_of_one_is_what_it_was():
    """openstack_controller_address of a single controller is its own."""
    one = {"controllers": {"c1": THREE["controllers"]["c1"]}, "computes": THREE["computes"]}
    source = inventory(one, release="epoxy")
    assert source.host("n1").find("openstack_controller_address") == "10.0.0.11"
    assert list(source.host("c1").find("openstack_database_grant_hosts")) == ["localhost", "10.0.0.11"]
    assert source.host("c1").find("openstack_rabbit_vhost") == "/"


# ------------------------------------------------------------------------------------------------------- led elsewhere


@pytest.fixture
def haproxy(tmp_path, monkeypatch):
    """The socket of a HAProxy's master: what it was told, and the requests that it says are being worked on."""
    path, told, busy = tmp_path / "master.sock", [], [2, 1, 0]
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()

    def serve():
        while True:
            try:
                client, _address = server.accept()
            except OSError:
                return
            with client, client.makefile("rw") as stream:
                line = stream.readline().strip()
                told.append(line)
                if "show stat" in line:
                    requests, between = busy.pop(0), "," * 12
                    rows = f"8774,local,0,0,{requests}{between},{'DOWN 1/2' if requests else 'UP'},\n"
                    stream.write(f"# pxname,svname,qcur,qmax,scur\n{rows}8775,local,0,0,7{between},DOWN,\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    monkeypatch.setattr(proxy.time, "sleep", lambda seconds: told.append(f"{seconds} s"))
    yield str(path), told
    server.close()


def test_nobody_is_led_to_a_service_that_restarts(haproxy):
    path, told = haproxy
    with proxy.elsewhere([8774], path):
        told.append("restarts")
    assert told == [
        "@1 set server 8774/local state maint",
        "5 s",
        "@1 show stat -1 4 -1",
        "0.2 s",
        "@1 show stat -1 4 -1",
        "0.2 s",
        "@1 show stat -1 4 -1",
        "restarts",
        "@1 set server 8774/local state ready",
        "5 s",
    ]


def test_a_service_that_does_not_start_is_led_to_again(haproxy):
    path, told = haproxy
    with pytest.raises(SystemExit), proxy.elsewhere([8774], path):
        raise SystemExit
    assert told[-2:] == ["@1 set server 8774/local state ready", "5 s"]


def test_a_service_that_started_is_led_to_before_the_next_step(haproxy):
    path, told = haproxy
    proxy.wait_until_led_to([8774, 9696], path)
    assert told == ["@1 show stat -1 4 -1", "0.2 s", "@1 show stat -1 4 -1", "0.2 s", "@1 show stat -1 4 -1"]


def test_without_haproxy_nothing_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(proxy.time, "sleep", lambda seconds: pytest.fail("it waits"))
    with proxy.elsewhere([8774], str(tmp_path / "none")):
        pass
    with proxy.elsewhere([], str(tmp_path / "none")):
        pass
    proxy.wait_until_led_to([8774], str(tmp_path / "none"))
