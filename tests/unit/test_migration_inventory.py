"""Migration as the inventory has it: who is let in, at which addresses and ports, where instances are, and what it costs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter

import jinja2
import pytest
import yaml
from ansible.module_utils.kilonova import migration as kilonova_migration

from kilonova.config import checking, config_files, generate, inventories, migration, once
from kilonova.config.catalogue import grammar
from kilonova.run import answers, authorities, variables

KEYS = {n: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + f"{n}".rjust(43, "A") for n in range(100)}
HOST_KEYS = {n: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + f"{n}".rjust(43, "B") for n in range(100)}


def inventory(computes=2, everywhere=(), **of_hosts):
    """An inventory of a controller and some compute nodes; compute1={...} has more variables."""
    every = {
        **{name: f"{word}-long-enough" for name, word in generate.placeholders().items()},
        "openstack_release": "zed",
        **dict(everywhere),
    }
    names = {f"compute{n}": f"10.1.{n // 250}.{n % 250 + 1}" for n in range(1, computes + 1)}
    found = {
        name: {**every, "openstack_management_address": address, **of_hosts.get(name, {})}
        for name, address in {"controller": "10.0.0.11", **names}.items()
    }
    groups = {"controllers": ["controller"], "computes": [*names, *of_hosts.get("more", ())]}
    return with_certificates(found, groups)


def with_certificates(found, groups):
    """An inventory with what `make secrets` adds to it."""
    source = inventories.Inventory(found, groups)
    held, wanted = variables.certificates_of({name: source.host(name) for name in source.hosts()})
    made = authorities.complete(held, wanted)[0].variables()
    return inventories.Inventory({name: {**given, **made} for name, given in found.items()}, groups)


def files(of, host):
    """Path -> text of a host's files."""
    return {file.path: file.text for file in generate.files(of, [host])}


def problems(of):
    """What the inventory's check says of migrations."""
    return list(map(str, migration.check_inventory({name: of.host(name) for name in of.groups["computes"]})))


COMMAND, SSHD, SSH = "/etc/ssh/nova-migration/command", *kilonova_migration.DROP_INS


# -------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(("computes", "wanted"), [(1, None), (2, None), (1, True), (2, True), (2, False), (3, "no")])
def test_files_of_ssh_are_complete_or_missing(computes, wanted):
    found = files(inventory(computes, {} if wanted is None else {"nova_compute_migration": wanted}), "compute1")
    there = computes > 1 if wanted is None else wanted is True
    assert {path in found for path in (COMMAND, SSHD, SSH)} == {there}
    assert ("live_migration_uri" in found["/etc/nova/nova-compute.conf"]) == there
    if there:
        assert found[SSH].splitlines()[1:] == [
            "Match user nova",
            "  GlobalKnownHostsFile /etc/ssh/nova-migration/known_hosts /etc/ssh/ssh_known_hosts",
            "  Port 22",
            "Match all",
        ]


@pytest.mark.skipif(not shutil.which("ssh"), reason="needs ssh")
@pytest.mark.parametrize("computes", [1, 2, 300])
def test_real_ssh_reads_its_file_for_nova_alone(tmp_path, computes):
    """Whatever the number of nodes: with one of them, an earlier version wrote `Host` without a word."""
    (tmp_path / "config").write_text(
        files(inventory(computes, {"nova_compute_migration": True, "nova_compute_migration_port": 2222}), "compute1")[SSH]
        + "Host *\n  Compression yes\n"
    )

    def options(who):
        command = ["ssh", "-G", "-F", str(tmp_path / "config"), who]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    for who in ("nova@10.1.0.2", "nova@node2"):
        assert {"port 2222", "compression yes"} <= set(options(who))
        assert "globalknownhostsfile /etc/ssh/nova-migration/known_hosts /etc/ssh/ssh_known_hosts" in options(who)
    other = options("admin@10.1.0.2")
    assert {"port 22", "compression yes"} <= set(other)
    assert "nova-migration" not in "\n".join(other)


@pytest.mark.skipif(not os.access("/usr/sbin/sshd", os.X_OK) or not shutil.which("ssh-keygen"), reason="needs sshd")
def test_real_sshd_reads_its_file_for_nova_alone(tmp_path, privileged):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    (tmp_path / "config").write_text(f"HostKey {tmp_path}/key\n{files(inventory(2), 'compute1')[SSHD]}X11Forwarding yes\n")

    def options(user):
        command = ["/usr/sbin/sshd", "-T", "-f", str(tmp_path / "config"), "-C", f"user={user},host=x,addr=10.1.0.2"]
        return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())

    assert options("nova") >= {
        "forcecommand /etc/ssh/nova-migration/command",
        "authorizedkeysfile /etc/ssh/nova-migration/authorized_keys",
        "authenticationmethods publickey",
        "disableforwarding yes",
        "permittty no",
        "x11forwarding yes",
    }
    assert options("root") >= {"forcecommand none", "disableforwarding no", "permittty yes", "x11forwarding yes"}


def test_a_network_and_a_port_of_its_own():
    address = {"nova_compute_migration_address": "192.168.7.1"}
    found = files(inventory(2, {"nova_compute_migration_port": 2222}, compute1=address), "compute1")
    conf = found["/etc/nova/nova-compute.conf"]
    for line in (
        "my_ip = 192.168.7.1",
        "my_block_storage_ip = 10.1.0.2",
        "live_migration_inbound_addr = 192.168.7.1",
        "server_listen = 10.1.0.2",
        "server_proxyclient_address = 10.1.0.2",
    ):
        assert line in conf.splitlines()
    assert "  Port 2222" in found[SSH].splitlines()
    usual = files(inventory(2), "compute1")["/etc/nova/nova-compute.conf"]
    assert "my_ip" not in usual
    assert "server_listen" not in usual
    assert "live_migration_inbound_addr = 10.1.0.2" in usual.splitlines()


def test_live_migration_can_be_left_out():
    found = files(inventory(2, {"nova_compute_migration_live": False}), "compute1")
    assert 'LIBVIRT = ""' in found[COMMAND]
    assert "live_migration" not in found["/etc/nova/nova-compute.conf"]
    assert 'LIBVIRT = "/usr/bin/virt-ssh-helper"' in files(inventory(2), "compute1")[COMMAND]


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({}, "/var/lib/nova/instances"),
        (
            {"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"instances_path": "/srv/nova/instances"}}}},
            "/srv/nova/instances",
        ),
        ({"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"instances_path": "/srv/nova/"}}}}, "/srv/nova"),
        (
            {
                "nova_compute_host_overrides": {"nova.conf": {"DEFAULT": {"instances_path": "/srv/one"}}},
                "nova_compute_overrides": {"nova.conf": {"DEFAULT": {"instances_path": "/srv/all"}}},
            },
            "/srv/one",
        ),
        (
            {
                "nova_compute_overrides": {
                    "nova-compute.conf": {"DEFAULT": {"instances_path": "/srv/b"}},
                    "nova.conf": {"DEFAULT": {"instances_path": "/srv/a"}},
                }
            },
            "/srv/b",
        ),
        ({"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"state_path": "/srv/state"}}}}, "/srv/state/instances"),
        (
            {"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"state_path": "/s", "instances_path": "${state_path}/i"}}}},
            "/s/i",
        ),
        ({"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"instances_path": None}}}}, "/var/lib/nova/instances"),
    ],
)
def test_peers_are_let_in_where_nova_has_its_instances(variables, path):
    of = inventory(2, compute1=variables)
    assert f'INSTANCES = "{path}"' in files(of, "compute1")[COMMAND].splitlines()
    assert problems(of) == []
    assert 'INSTANCES = "/var/lib/nova/instances"' in files(of, "compute2")[COMMAND]


@pytest.mark.parametrize(
    "path", ["/srv/a b", "instances", "/srv/../etc", "/", "/srv//x", '/srv/"x', "/srv/$my_ip", "/srv/x\ny", ""]
)
def test_a_path_that_cannot_be_guarded_is_refused(path):
    of = inventory(2, compute1={"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"instances_path": path}}}})
    (problem,) = problems(of)
    assert problem.startswith(f"compute1: nova_compute_overrides = [DEFAULT] instances_path: {path}: is not a path that")
    assert problem.endswith("; write an absolute path of letters, digits and . _ + @ -, or set nova_compute_migration to false")
    of = inventory(
        2,
        {"nova_compute_migration": False},
        compute1={"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"instances_path": path}}}},
    )
    assert problems(of) == []


@pytest.mark.parametrize("variable", ["openstack_overrides", "nova_compute_host_overrides"])
def test_the_variable_that_has_the_path_is_named(variable):
    given = {variable: {"nova.conf": {"DEFAULT": {"instances_path": "instances"}}}, "nova_compute_overrides": {}}
    (problem,) = problems(inventory(2, compute1=given))
    assert problem.startswith(f"compute1: {variable} = [DEFAULT] instances_path: instances: is not a path that")


def test_a_controller_that_is_a_compute_node_has_one_place_for_instances():
    both = {"nova.conf": {"DEFAULT": {"instances_path": "/srv/i"}}}
    of = inventory(1, {"nova_controller_overrides": both}, more=["controller"])
    assert problems(of) == [
        "controller: nova_controller_overrides = [DEFAULT] instances_path: /srv/i: migrations would look for the instances in "
        "/var/lib/nova/instances; also set it in nova_compute_overrides['nova.conf']"
    ]
    (problem,) = problems(inventory(1, {"nova_controller_host_overrides": both}, more=["controller"]))
    assert problem.startswith("controller: nova_controller_host_overrides = [DEFAULT] instances_path: /srv/i: migrations would")
    assert problems(inventory(1, {"nova_controller_overrides": both, "nova_compute_overrides": both}, more=["controller"])) == []
    assert problems(inventory(1, {"openstack_overrides": both}, more=["controller"])) == []


def test_one_port_for_all():
    assert problems(inventory(2, {"nova_compute_migration_port": 2222})) == []
    assert problems(inventory(3, compute2={"nova_compute_migration_port": 2222})) == [
        "compute2: nova_compute_migration_port = 2222: compute1 has 22; set one for all compute nodes, in group_vars/computes"
    ]
    # One that takes no part.
    assert problems(inventory(3, compute2={"nova_compute_migration_port": 2222, "nova_compute_migration": False})) == []


@pytest.mark.parametrize(
    ("variables", "listening", "said"),
    [
        ({}, [("0.0.0.0", 22)], []),
        ({}, [("*", 22)], []),
        # sshd's own socket of IPv6 takes no IPv4.
        (
            {},
            [("[::]", 22)],
            ["compute1: nova_compute_migration_address = 10.1.0.2: sshd listens on :: alone at port 22 of this host"],
        ),
        ({"nova_compute_migration_address": "fd00::1"}, [("[::]", 22)], []),
        ({}, [("10.1.0.2", 22)], []),
        ({}, [], []),
        ({}, [("0.0.0.0", 2222)], ["compute1: nova_compute_migration_port = 22: sshd listens on 2222 of this host"]),
        ({"nova_compute_migration_port": 2222}, [("0.0.0.0", 22), ("0.0.0.0", 2222)], []),
        (
            {"nova_compute_migration_port": 2222},
            [],
            ["compute1: nova_compute_migration_port = 2222: sshd listens on no port of this host"],
        ),
        (
            {"nova_compute_migration_port": 2222},
            [("0.0.0.0", 22)],
            ["compute1: nova_compute_migration_port = 2222: sshd listens on 22 of this host"],
        ),
        (
            {"nova_compute_migration_address": "192.168.7.1"},
            [("10.1.0.2", 22), ("127.0.0.1", 22)],
            [
                "compute1: nova_compute_migration_address = 192.168.7.1: sshd listens on 10.1.0.2, 127.0.0.1 alone at port 22 "
                "of this host"
            ],
        ),
        ({"nova_compute_migration_address": "192.168.7.1"}, [("10.1.0.2", 22), ("192.168.7.1", 22)], []),
        ({"nova_compute_migration_address": "fd00::1"}, [("[fd00:0::1]", 22)], []),
        ({"nova_compute_migration": False}, [("0.0.0.0", 2222)], []),
    ],
)
def test_sshd_listens_where_the_others_look_for_it(variables, listening, said):
    seen = {"listening": [{"address": a, "port": p, "name": "sshd", "unit": "ssh.service"} for a, p in listening]}
    found = migration.check_host("compute1", seen, inventory(2, compute1=variables).host("compute1"))
    assert [str(problem).partition("; ")[0] for problem in found] == said


# -------------------------------------------------------------------------------------------------------------- lists


class HostVars(dict):
    """Ansible's, counting what is asked of it."""

    def __init__(self, data):
        super().__init__(data)
        self.asked = Counter()

    def raw_get(self, name):
        self.asked["raw"] += 1
        return super().__getitem__(name)

    def __getitem__(self, name):
        self.asked["resolved"] += 1
        return super().__getitem__(name)


def hostvars(count, missing=(), **more):
    """Of so many compute nodes that made their keys, but for those that the run left out."""
    found = {}
    for n in range(1, count + 1):
        found[f"compute{n}"] = {"openstack_management_address": f"10.1.0.{n}", "openstack_host": {"hostname": f"node{n}"}}
        if n not in missing:
            peer = {"addresses": [f"10.1.0.{n}"] * 2, "port": 22, "key": KEYS[n % 100], "host_key": HOST_KEYS[n % 100]}
            found[f"compute{n}"]["made"] = {"changed": False, "peer": peer}
        found[f"compute{n}"].update(more.get(f"compute{n}", {}))
    return HostVars(found)


def gathered(of):
    """The lists for these nodes."""
    return migration.lists(node for node in (migration.node(name, of, "made") for name in of) if node)


def test_every_node_gets_the_same_lists():
    found = gathered(hostvars(2))
    assert json.loads(found["lists"]) == {
        "authorized_keys": [
            ["10.1.0.1", f'from="10.1.0.1",restrict {KEYS[1]}'],
            ["10.1.0.2", f'from="10.1.0.2",restrict {KEYS[2]}'],
        ],
        "known_hosts": [["10.1.0.1", f"10.1.0.1,node1 {HOST_KEYS[1]}"], ["10.1.0.2", f"10.1.0.2,node2 {HOST_KEYS[2]}"]],
    }
    text = f'from="10.1.0.1",restrict {KEYS[1]}\nfrom="10.1.0.2",restrict {KEYS[2]}\n'
    assert found["digests"]["authorized_keys"] == kilonova_migration.digest(text)


def test_a_network_of_its_own_and_a_port_are_in_the_lists():
    peer = {"addresses": ["192.168.7.1", "10.1.0.1"], "port": 2222, "key": KEYS[1], "host_key": HOST_KEYS[1]}
    rows = json.loads(gathered(hostvars(1, compute1={"made": {"peer": peer}}))["lists"])
    assert rows["authorized_keys"] == [["192.168.7.1", f'from="192.168.7.1,10.1.0.1",restrict {KEYS[1]}']]
    assert rows["known_hosts"] == [["192.168.7.1", f"[192.168.7.1]:2222,[10.1.0.1]:2222,[node1]:2222 {HOST_KEYS[1]}"]]
    for name, ((address, line),) in rows.items():
        assert kilonova_migration.known(line + "\n") == {address: line}, name


def test_who_takes_no_part_is_in_no_list():
    of = hostvars(
        4,
        missing=(2, 3, 4),
        compute2={"made": {"skipped": True}},
        compute3={"nova_compute_migration": "no"},
        compute4={"nova_compute_migration_address": "192.168.7.4"},
    )
    found = gathered(of)
    first, last = json.loads(found["lists"])["authorized_keys"]
    assert (first, last) == (["10.1.0.1", f'from="10.1.0.1",restrict {KEYS[1]}'], ["192.168.7.4", ""])
    # Of one that was not asked, what the host knows is kept: it must be asked for it.
    assert found["digests"] == {"authorized_keys": None, "known_hosts": None}


def test_a_key_that_is_not_made_yet_is_to_come():
    unmade = {"made": {"peer": {"addresses": ["10.1.0.1"], "port": 22, "key": "", "host_key": HOST_KEYS[1]}}}
    found = gathered(hostvars(1, compute1=unmade))
    assert json.loads(found["lists"])["authorized_keys"] == [["10.1.0.1", None]]
    assert found["digests"]["authorized_keys"] is None
    assert found["digests"]["known_hosts"] is not None


# --------------------------------------------------------------------------------------------------------------- cost

NOVA_CONF = {"path": "/etc/nova/nova.conf", "catalogue": {"release": "zed"}}


def work(count):
    """What generating and checking all files of so many compute nodes takes: how often the parts of the work are done."""
    # Another override for each count, so that no part was done before, by another test neither.
    once.forget()
    given = {"nova_compute_overrides": {"nova.conf": {"DEFAULT": {"reserved_host_memory_mb": count}}}}
    of, counted, names, texts = inventory(count, given), Counter(), set(), set()

    def counting(name, original):
        def called(*arguments, **options):
            is_section = name == "Template.render" and arguments[0].name == config_files.SECTION_TEMPLATE
            counted["sections" if is_section else name] += 1
            return original(*arguments, **options)

        return called

    patch = pytest.MonkeyPatch()
    for where, name in (
        (inventories.Host, "find"),
        (inventories.Host, "render"),
        (inventories.Host, "_layer_of"),
        (inventories.Host, "_different"),
        (inventories.Inventory, "combined"),
        (inventories.Host, "_rendered"),
        (inventories.Host, "_files_of"),
        (config_files, "sections_of"),
        (jinja2.Template, "render"),
        (checking, "_resolved_layers"),
        (grammar, "doubtful"),
        (type(config_files.catalogue_of(NOVA_CONF)), "resolve"),
    ):
        patch.setattr(where, name, counting(f"{where.__name__}.{name}", getattr(where, name)))
    try:
        for file in checking.Checked(generate.files(of, of.groups["computes"])):
            names.add(file.path)
            texts.add((file.path, file.text))
            counted["bytes"] += len(file.text)
    finally:
        patch.undo()
    return counted, len(names), texts


def test_generating_for_more_hosts_costs_each_no_more():
    (few, _names, _texts), (many, names, texts) = work(20), work(80)
    for what, times in many.items():
        # The first hosts have less to compare with, by a few per cent; a list of all others would double it.
        assert times <= 4 * few[what] * 1.1, (what, few, many)
    # What is the same on many hosts is made once, and so are the files; what was asked before may be forgotten once.
    # A host has six files with a certificate of its own, or the key.
    own = [path for path, _text in texts if path.endswith(".pem")]
    assert len(texts) - len(own) < 80 * 5 < 80 * names
    assert len(own) <= 80 * 6 + 3, Counter(own)
    assert many["Template.render"] <= len(texts) + 2 * names
    for what in ("kilonova.config.checking._resolved_layers", "kilonova.config.catalogue.grammar.doubtful", "Catalogue.resolve"):
        assert few[what] and many[what] <= 2 * few[what], (what, few, many)
    for what in ("Host._rendered", "Host._files_of", "sections"):
        # On each host only what has its address: of about fifty templates, ten lists of files and fifty sections.
        assert many[what] - few[what] <= 60 * 10, (what, few, many)


def test_letting_in_more_hosts_costs_each_no_more():
    """The lists take each node once, for all hosts; then a host is compared by one digest, whatever the number of nodes."""
    for count in (10, 80):
        of = hostvars(count)
        found = gathered(of)
        assert of.asked == {"raw": count}
        told = {"openstack_host": {"migration": dict(found["digests"])}}
        asked = Counter()

        class Digests(dict):
            def items(self, asked=asked):
                for pair in super().items():
                    asked["digests"] += 1
                    yield pair

        assert answers.lets_in(Digests(found["digests"]), told)
        assert asked == {"digests": 2}
        assert isinstance(found["lists"], str)  # Ansible looks into data on every host


def test_no_task_of_the_role_asks_for_all_hosts_on_each():
    """A template over `groups` or `hostvars` in the role's data or tasks is evaluated once for each host."""
    role = inventories.TREE / "roles/nova_compute"
    for path in (*role.glob("vars/**/*.yml"), *role.glob("tasks/*.yml")):
        assert "hostvars" not in path.read_text(), path
    text = yaml.safe_dump([yaml.safe_load(path.read_text()) for path in role.glob("vars/**/*.yml")])
    assert "groups['computes']" not in text
