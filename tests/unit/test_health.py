"""What is a problem, what is a warning, and what is well: of a host, of what hosts share, and of a host that is not there."""

import datetime
from types import SimpleNamespace

import pytest
from harness import load
from keystoneauth1.exceptions import ConnectFailure
from openstack.exceptions import SDKException

from kilonova.onhost import clusters
from kilonova.proof import health
from kilonova.run import certificates


def found(rows, *states):
    return [row["what"] for row in rows if row["state"] in states]


# -------------------------------------------------------------------------------------------------------------- a host


def systemd(monkeypatch, code, **units):
    """`output` as systemctl's, for units with these properties: "ActiveState UnitFileState Result NRestarts"."""
    blocks = []
    for words in units.values():
        state, enabled, result, restarts, *load_state = words.split()
        names = ("ActiveState", "UnitFileState", "Result", "NRestarts", "SubState", "LoadState")
        values = (state, enabled, result, restarts, "auto-restart", *(load_state or ["loaded"]))
        blocks.append("\n".join(f"{name}={value}" for name, value in zip(names, values, strict=True)))
    monkeypatch.setattr(code, "output", lambda *argv: "\n\n".join(blocks))
    return code.services(code.shown(list(units)))


def test_services_that_do_not_run_are_problems(monkeypatch):
    code = load("host_health")
    rows = systemd(
        monkeypatch,
        code,
        well="active enabled success 0",
        stopped="inactive enabled success 0",
        failed="failed enabled exit-code 5",
        starting="activating enabled success 0",
        dying="active enabled success 3",
        once="active enabled success 2",
        disabled="active disabled success 0",
        off="inactive disabled success 0",
        gone="inactive - success 0 not-found",
    )
    assert found(rows, "ok") == ["4 of 9 run"]
    assert found(rows, "problem") == [
        "stopped is inactive (success)",
        "failed is failed (exit-code)",
        "gone does not exist on this host any more",
    ]
    assert found(rows, "warning") == [
        "starting is activating (auto-restart)",
        "dying died 3 times, and systemd started it again",
        "disabled does not start with the host",
        "off is switched off: it does not run, nor start with the host",
    ]
    assert code.services({}) == []


def test_what_must_answer_is_asked(monkeypatch):
    code = load("host_health")
    monkeypatch.setattr(code, "answer", lambda target: None if target == "h:1" else "no answer: refused")
    assert code.answers({"a": "h:1", "b": "h:2"}) == [
        {"about": "answers", "state": "ok", "what": "1 of 2 answer"},
        {"about": "answers", "state": "problem", "what": "b (h:2): no answer: refused"},
    ]


def test_failed_units_of_others_are_a_warning(monkeypatch):
    code = load("host_health")
    monkeypatch.setattr(
        code, "output", lambda *argv: "theirs.service loaded failed failed X\nnova-api.service loaded failed failed Y\n"
    )
    assert found(code.others({"nova-api": {}}), "warning") == ["failed: theirs.service"]
    assert code.others({"nova-api": {}, "theirs": {}}) == []


@pytest.mark.parametrize(
    ("mib", "of", "inodes", "state"),
    [(50000, 100000, 90, "ok"), (9000, 100000, 90, "warning"), (900, 5000, 90, "warning"), (1500, 100000, 90, "problem"),
     (150, 1000, 90, "problem"), (50000, 100000, 5, "warning"), (50000, 100000, 1, "problem")],
)  # fmt: skip
def test_disks_that_fill_up(monkeypatch, tmp_path, mib, of, inodes, state):
    code = load("host_health")
    space = SimpleNamespace(f_bavail=mib, f_blocks=of, f_frsize=2**20, f_favail=inodes, f_files=100)
    monkeypatch.setattr(code.os, "statvfs", lambda path: space)
    (tmp_path / "same").mkdir()
    # One row for each file system, and none for what is not there.
    [row] = code.disks([str(tmp_path), str(tmp_path / "same"), str(tmp_path / "absent")])
    assert row["state"] == state and f"{mib} MiB free" in row["what"]
    assert ("inodes" in row["what"]) is (inodes < 10)


def test_memory_that_is_left(tmp_path):
    path = tmp_path / "meminfo"
    for available, state in ((400, "warning"), (6000, "ok")):
        path.write_text(f"MemTotal: 10000 kB\nMemAvailable: {available} kB\nHugePages_Total: 0\n\n")
        assert load("host_health").memory(path)["state"] == state


def test_certificates_that_end(tmp_path):
    code = load("host_health")
    authority = certificates.new_authority("ours")
    pair = certificates.issue(authority, "c", ["c"], ["server"])
    paths = [tmp_path / name for name in ("both.pem", "key.pem", "nova.conf", "gone.pem")]
    for path, text in zip(paths, (pair.certificate + pair.key, pair.key, pair.certificate), strict=False):
        path.write_text(text)
    paths = list(map(str, paths))
    end = code.end_of(code.x509.load_pem_x509_certificate(pair.certificate.encode()))
    for before, state in ((400, "ok"), (29.5, "warning"), (-1, "problem")):
        [row] = code.certificates(paths, 400 if before == 400 else 30, end - datetime.timedelta(days=before))
        assert (row["state"], "both.pem" in row["what"]) == (state, state != "ok")
    assert "-" not in found(code.certificates(paths, 1), "ok")[0]
    code.x509 = None
    assert code.certificates(paths, 30) == []


# -------------------------------------------------------------------------------------------------- what hosts share


AUTH = {"auth_url": "http://c:5000/v3", "username": "admin", "password": "x", "project_name": "admin"}


class Cloud:
    """As much of openstacksdk's connection as is used."""

    def __init__(self, services, agents, servers=()):
        answers = {"/os-services": {"services": services}, "/agents": {"agents": agents}}

        def get(url):
            return SimpleNamespace(json=lambda: answers.get(url, {"servers": list(servers)}))

        self.compute = self.network = SimpleNamespace(get=get)


def test_services_and_agents_that_are_down():
    def service(host, status, state, reason=None):
        same = {"binary": "nova-compute", "updated_at": "now"}
        return {**same, "host": host, "status": status, "state": state, "disabled_reason": reason}

    def agent(host, admin, alive):
        return {"binary": "ovn", "host": host, "admin_state_up": admin, "alive": alive, "heartbeat_timestamp": "now"}

    services = [service("a", "enabled", "up"), service("b", "enabled", "down"), service("c", "disabled", "up", "disk")]
    cloud = Cloud(services, [agent("a", True, True), agent("b", True, False), agent("c", False, True)])
    rows = load("cloud_health").services(cloud, ["a", "b", "c", "d"])
    assert found(rows, "ok") == ["2 of 3 are up", "2 of 3 are up"]
    assert found(rows, "warning") == ["nova-compute on c is disabled: disk", "ovn on c is disabled"]
    assert found(rows, "problem") == [
        "nova-compute on b is down, last heard of at now",
        "nova-compute on d has never reported",
        "ovn on b is down, last heard of at now",
    ]


def test_instances_in_error():
    code = load("cloud_health")
    assert code.instances(Cloud([], []))["state"] == "ok"
    row = code.instances(Cloud([], [], [{"id": str(n)} for n in range(5)]))
    assert (row["state"], row["what"]) == ("warning", "5 in ERROR: 0, 1, 2")


def test_queues_in_which_messages_wait():
    lines = ["well\t99\t0", "busy\t999\t1", "idle\t100\t0", "lost\t1000\t2"]
    rows = load("cloud_health").queues(lines, ["{resource_limit,disk,rabbit@c}"])
    assert found(rows, "ok") == ["4 queues, 2198 messages wait"]
    assert found(rows, "warning") == ["100 messages wait in idle, which has 0 consumers"]
    assert found(rows, "problem") == [
        "1000 messages wait in lost, which has 2 consumers",
        "RabbitMQ takes no messages: {resource_limit,disk,rabbit@c}",
    ]


@pytest.mark.parametrize(("used", "state"), [("79", "ok"), ("80", "warning")])
def test_connections_that_are_left(monkeypatch, used, state):
    code = load("cloud_health")
    monkeypatch.setattr(code.database, "ask", lambda _module, _statement: ((used, 100),))
    assert code.connections(None)["state"] == state


@pytest.mark.parametrize("error", [ConnectFailure, SDKException, KeyError])
def test_one_part_that_cannot_be_asked_hides_no_other(run, monkeypatch, error):
    code = load("cloud_health")

    def refuse(*_arguments, **_options):
        raise error("no route to the APIs")

    monkeypatch.setattr(code, "connect", lambda *_arguments, **_options: Cloud([], []))
    monkeypatch.setattr(code, "services", refuse)
    monkeypatch.setattr(code.rabbitmq, "rows", lambda _statement: [])
    monkeypatch.setattr(code.database, "ask", lambda _module, _statement: ((1, 100),))
    rows = run(code, auth=AUTH, region="RegionOne")["found"]
    assert [what.strip("'") for what in found(rows, "problem")] == ["no route to the APIs"]
    assert [row["about"] for row in rows] == ["APIs", "instances", "message queue", "database"]
    rows = run(code, auth=AUTH, region="RegionOne", queue=False, database=False)["found"]
    assert [row["about"] for row in rows] == ["APIs", "instances"]


# --------------------------------------------------------------------------------------------------- several controllers

WSREP = {
    "wsrep_cluster_status": "Primary", "wsrep_ready": "ON", "wsrep_local_state_comment": "Synced", "wsrep_cluster_size": "3",
    "wsrep_local_recv_queue": "0",
}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "rows"),
    [
        ({}, ["ok: 3 of 3 nodes, Synced"]),
        ({"wsrep_cluster_size": "2"}, ["warning: 2 of 3 nodes, Synced"]),
        ({"wsrep_local_state_comment": "Donor/Desynced"}, ["ok: 3 of 3 nodes, Donor/Desynced",
         "warning: MariaDB here is Donor/Desynced: nobody is led to it"]),
        ({"wsrep_local_recv_queue": "100"}, ["ok: 3 of 3 nodes, Synced", "warning: 100 changes of other nodes wait here"]),
        ({"wsrep_cluster_status": "non-Primary", "wsrep_local_state_comment": "Initialized"},
         ["problem: MariaDB here is no part of the cluster (non-Primary, Initialized)"]),
        ({"wsrep_ready": "OFF"}, ["problem: MariaDB here is no part of the cluster (Primary, Synced)"]),
        (None, ["problem: MariaDB does not answer here: 2002"]),
    ],
)  # fmt: skip
def test_a_node_of_galera(monkeypatch, said, rows):
    answer = (None, "2002") if said is None else ([[*pair] for pair in {**WSREP, **said}.items()], "")
    monkeypatch.setattr(clusters.foreign, "ask_mariadb", lambda _statement: answer)
    assert [f"{row['state']}: {row['what']}" for row in clusters.galera(3)] == rows


RAFT = """\
5d2b
Name: OVN_Northbound
Status: {status}
Role: {role}
Term: 3
Leader: {leader}
Connections: ->0000 ->77f1 <-77f1
Servers:
    5d2b (5d2b at ssl:10.0.0.11:6643) (self) next_index=2 match_index=9
    77f1 (77f1 at ssl:[fd00::2]:6643) last msg 33 ms ago
"""


@pytest.mark.parametrize(
    ("size", "said", "expected"),
    [
        (2, {}, "ok: leader of 2 of 2"),
        (3, {"role": "follower", "leader": "77f1"}, "warning: follower of 2 of 3"),
        (3, {"role": "candidate", "leader": "unknown"}, "problem: here: cluster member, its leader is unknown"),
        (3, {"status": "joining cluster"}, "problem: here: joining cluster, its leader is self"),
    ],
)
def test_a_member_of_ovn(monkeypatch, size, said, expected):
    output = RAFT.format(**{"status": "cluster member", "role": "leader", "leader": "self", **said})
    monkeypatch.setattr(clusters.command, "run", lambda *_argv, **_options: clusters.command.Done(0, output))
    assert [f"{row['state']}: {row['what']}" for row in clusters.raft("nb", size)] == [expected]


def test_a_member_of_ovn_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(clusters.command, "run", lambda *_argv, **_options: clusters.command.Done(1, "", "warning\nno such file"))
    assert clusters.raft("sb", 3) == [
        {"about": "OVN_Southbound", "state": "problem", "what": "does not answer here: no such file"}
    ]


@pytest.mark.parametrize(
    ("listed", "table", "expected"),
    [
        ("3: eth0    inet 10.0.0.10/32 scope global", "# table\n0x1: key=1 server_id=1 server_key=c2\n", (True, "c2")),
        ("3: eth0    inet 10.0.0.10/32 scope global", "# table: 3306-virtual, used:0\n", (True, "")),
        # Another address that begins alike.
        ("3: eth0    inet 10.0.0.100/24 scope global", "0x1: server_key=c2\n", (False, "")),
    ],
)
def test_who_has_the_common_address(monkeypatch, listed, table, expected):
    monkeypatch.setattr(clusters.command, "run", lambda *_argv: clusters.command.Done(0, listed))
    monkeypatch.setattr(clusters.proxy, "ask", lambda _line: table)
    assert tuple(clusters.common("10.0.0.10").values()) == expected


def test_rabbitmq_as_a_cluster():
    code = load("cloud_health")
    assert found(code.cluster(3, ["a", "b", "c"], [], []), "ok") == ["3 of 3 nodes run"]
    rows = code.cluster(3, ["a", "b"], ["c"], ["q4", "q1", "q2", "q3"])
    assert found(rows, "warning") == ["2 of 3 nodes run"]
    assert found(rows, "problem") == ["went on without this node: c", "4 queues without a majority of their copies: q1, q2, q3"]


@pytest.mark.parametrize("size", [1, 3])
def test_rabbitmq_is_asked_once(monkeypatch, size):
    code, asked = load("cloud_health"), []
    said = ["queue\tq1\t100\t0", "alarm\tdisk", "node\ta", "node\tb", "lost\tq1"]
    monkeypatch.setattr(code.rabbitmq, "rows", lambda statement: asked.append(statement) or said)
    rows = code.message_queue(size)
    assert len(asked) == 1 and ("list_running" in asked[0]) is (size > 1)
    assert found(rows, "warning") == [
        "100 messages wait in q1, which has 0 consumers",
        *(["2 of 3 nodes run"] if size > 1 else []),
    ]
    lost = ["1 queues without a majority of their copies: q1"] if size > 1 else []
    assert found(rows, "problem") == ["RabbitMQ takes no messages: disk", *lost]


@pytest.mark.parametrize(
    ("here", "state", "what"),
    [
        ([True, False], "ok", "one has it, and leads to the database of two"),
        ([True, True], "problem", "one and two have it"),
        ([False, False], "problem", "none of one, two has it"),
    ],
)
def test_one_controller_has_the_common_address(here, state, what):
    told = dict(zip(["one", "two"], here, strict=True))
    hosts = {
        name: {"host": {"clock_ahead": 0, "found": [], "common": {"here": one, "writer": "two"}}} for name, one in told.items()
    }
    # One that is out of reach may have it, and says nothing.
    rows = health.whole({**hosts, "three": {"unreachable": True}}, {"found": []})["rows"]
    assert rows[-1] == {"where": "(cloud)", "about": "common address", "state": state, "what": what}


# ------------------------------------------------------------------------------------------------------ put together

WELL = {"host": {"clock_ahead": 0.2, "found": [{"about": "memory", "state": "ok", "what": "much"}]}}


def test_everything_in_one_table():
    hosts = {
        "c": WELL,
        "n1": {"host": {"clock_ahead": -61.0, "found": []}},
        "n2": {"unreachable": True, "msg": "ssh: no route\nmore"},
        "n3": {"failed": True, "msg": "no python"},
        "n4": {"msg": " \n"},
    }
    whole = health.whole(hosts, {"found": [{"about": "instances", "state": "warning", "what": "1 in ERROR"}]})
    assert health.table(whole) == [
        "ok       c        memory     much",
        "ok       c        clock      right",
        "problem  n1       clock      61 s behind",
        "problem  n2       host       is out of reach: ssh: no route",
        "problem  n3       host       no python",
        "problem  n4       host       was not asked",
        "warning  (cloud)  instances  1 in ERROR",
        "ok: 2, warnings: 1, problems: 4",
    ]
    assert (whole["state"], whole["counts"]) == ("problem", {"ok": 2, "warning": 1, "problem": 4})


@pytest.mark.parametrize(
    ("cloud", "state"),
    [({"found": []}, "ok"), ({"found": [{"about": "x", "state": "warning", "what": "y"}]}, "warning"),
     ({"failed": True, "msg": "no library"}, "problem"), ({}, "problem")],
)  # fmt: skip
def test_the_worst_row_is_the_state(cloud, state):
    assert health.whole({"c": WELL}, cloud)["state"] == state
