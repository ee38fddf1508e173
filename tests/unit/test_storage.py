"""Ceph and volumes: keys, addresses, sections of backends, and what preflight refuses."""

import base64
import json
import struct

import pytest
from harness import load

from kilonova.config import declared, storage
from kilonova.config.inventories import Inventory
from kilonova.run import volumes

PRINTED = "AQAVJHRnAAAAABAAHJq1X6VQ0kPzjMVuHqfKzg=="
VALUES = {name: f"the value of {name}" for name in declared.secrets()}
FSID = "5b2c1d3e-0000-4000-8000-000000000001"
KEYS = dict.fromkeys(("glance", "cinder", "cinder-backup", "nova"), PRINTED)
OUTSIDE = {"fsid": FSID, "mons": ["10.0.0.51"], "keyrings": KEYS}


# ---------------------------------------------------------------------------------------------------------------- data


@pytest.mark.parametrize("text", ["a", "p@ss:w/ord%41$x'#\"", " lead trail ", "ü€😀", PRINTED[:-1], "A" * 40])
def test_any_text_becomes_a_key_and_the_same_one_each_time(text):
    key = storage.ceph_key(text)
    raw = base64.b64decode(key)
    assert (len(key), len(raw)) == (40, 28)
    assert struct.unpack_from("<HIIH", raw) == (1, 1, 0, 16)
    assert storage.ceph_key(text) == key != storage.ceph_key(text + "x")
    assert text not in key


def test_a_key_as_ceph_prints_it_is_taken_as_it_is():
    assert storage.ceph_key(PRINTED) == PRINTED
    made = storage.ceph_key("some text")
    assert storage.ceph_key(made) == made


def test_addresses_of_monitors():
    assert storage.ceph_mons(["10.0.0.1", "10.0.0.2"]) == "10.0.0.1,10.0.0.2"
    assert storage.ceph_mons(["10.0.0.1", "fd00::1"], "v2") == "v2:10.0.0.1:3300,v2:[fd00::1]:3300"
    assert storage.ceph_mons(["fd00::1", "10.0.0.1:6789", "v2:10.0.0.1:3300"]) == "[fd00::1],10.0.0.1:6789,v2:10.0.0.1:3300"


def test_sections_of_backends():
    drivers = {"rbd": {"names": {"pool": "rbd_pool"}, "options": {"volume_driver": "R", "rbd_user": "cinder"}}}
    backends = {"fast": {"driver": "rbd", "pool": "ssd", "options": {"rbd_user": "other"}}}
    assert storage.backend_sections(backends, drivers) == {
        "fast": {"volume_driver": "R", "rbd_user": "other", "volume_backend_name": "fast", "rbd_pool": "ssd"}
    }
    assert storage.volume_types(backends) == {"fast": {"volume_backend_name": "fast"}}


def cloud(groups=(), **chosen):
    """A cloud with a host of Ceph, unless `groups` says otherwise."""
    groups = {"controllers": ["c"], "computes": ["n"], **(dict(groups) or {"storage": ["s"], "volumes": ["c"]})}
    hosts = {"c": 11, "n": 31, "s": 51, "t": 52}
    common = {**VALUES, "openstack_tls": False, **chosen}
    hosts = {name: {"openstack_management_address": f"10.0.0.{at}", **common} for name, at in hosts.items()}
    return Inventory(hosts, groups)


def problems(groups=(), **chosen):
    """What preflight says of it."""
    source = cloud(groups, **chosen)
    return [str(one) for one in volumes.check_inventory({name: source.host(name) for name in source.hosts()}, source.groups)]


def files(host):
    """Path -> entry."""
    return {entry["path"]: entry for entry in host.files()}


def test_our_own_cluster_and_an_operators_are_one_variable():
    source = cloud()
    ours = source.host("c").find("openstack_ceph")
    assert ours["mons"] == ["v2:10.0.0.51:3300"] and set(ours["keyrings"]) == set(KEYS)
    assert source.host("n").find("openstack_ceph") == ours
    groups = {"volumes": ["c"]}
    theirs = cloud(groups, openstack_ceph=OUTSIDE)
    written = files(theirs.host("c"))
    assert written["/etc/ceph/openstack.client.glance.keyring"]["variables"]["key"] == PRINTED
    assert "mon_host = 10.0.0.51" in written["/etc/ceph/openstack.conf"]["variables"]["lines"]
    assert problems(groups, openstack_ceph=OUTSIDE) == []


def test_a_host_has_the_keys_that_its_services_log_in_with_and_no_others():
    source = cloud(nova_compute_images="rbd")
    keyrings = {name: [path for path in files(source.host(name)) if path.endswith(".keyring")] for name in ("c", "n", "s")}
    assert keyrings == {
        "c": [f"/etc/ceph/openstack.client.{user}.keyring" for user in ("glance", "cinder", "cinder-backup")],
        "n": ["/etc/ceph/openstack.client.nova.keyring"],
        "s": ["/etc/ceph/ceph.client.admin.keyring"],
    }
    for name in ("c", "n"):
        assert all(entry["mode"] == "0640" for path, entry in files(source.host(name)).items() if path.endswith(".keyring"))


def test_without_the_groups_nothing_is_there():
    plain = cloud({"storage": [], "volumes": []})
    for name in ("c", "n"):
        assert not [path for path in files(plain.host(name)) if "ceph" in path or "cinder" in path]
    assert plain.host("n").find("__nova_compute_secrets") == []
    assert plain.host("c").find("openstack_nova_cinder") == {"os_region_name": "RegionOne"}
    assert problems({"storage": [], "volumes": []}) == []


# ----------------------------------------------------------------------------------------------------------- preflight

VOLUMES = {"volumes": ["c"]}
BOTH = {"storage": ["s"], "volumes": ["c"]}


@pytest.mark.parametrize(
    ("groups", "chosen", "said"),
    [
        ({"volumes": ["n"]}, {"openstack_ceph": OUTSIDE}, ["volumes = n: is in the group volumes, and is no controller"]),
        (BOTH, {"openstack_ceph": OUTSIDE}, ["openstack_ceph: is set, and the group storage has hosts"]),
        (
            {"volumes": []},
            {"nova_compute_images": "rbd"},
            ["n: nova_compute_images = rbd: keeps something in Ceph, and there is no"],
        ),
        ({"volumes": []}, {"glance_images": "rbd"}, ["c: glance_images = rbd: keeps something in Ceph, and there is no Ceph"]),
        (VOLUMES, {}, ["cinder_backends: is empty, and there is no Ceph"]),
        (
            VOLUMES,
            {"cinder_backends": {"a": {"driver": "rbd", "pool": "x"}}},
            ["cinder_backends.a.driver = rbd: keeps volumes in"],
        ),
        (BOTH, {"cinder_backends": {"a": {"driver": "nfs"}}}, ["cinder_backends.a.driver = nfs: must be one of rbd, lvm"]),
        (BOTH, {"cinder_backends": {"a": {"driver": "lvm"}}}, ["cinder_backends.a.volume_group: is not set, and the driver lvm"]),
        (BOTH, {"cinder_backends": {"a b": {"driver": "lvm", "volume_group": "v"}}}, ["is not a name that a section can have"]),
        (BOTH, {"cinder_backends": {"nova": {"driver": "lvm", "volume_group": "v"}}}, ["is a section of cinder.conf"]),
        (
            BOTH,
            {"cinder_backends": {name: {"driver": "rbd", "pool": "volumes"} for name in "ab"}},
            ["cinder_backends.b.pool = volumes: is also the pool of a"],
        ),
        (
            BOTH,
            {"cinder_backends": {"a": {"driver": "rbd", "pool": "volumes", "pol": 1}}},
            ["cinder_backends.a.pol: is not a part"],
        ),
        (
            BOTH,
            {"cinder_backends": {"a": {"driver": "rbd", "pool": "images"}}},
            ["= images: is also the pool of glance_images_pool"],
        ),
        (BOTH, {"cinder_backup_pool": "old"}, ["cinder_backup_pool = old: is not a pool of ceph_pools"]),
        (
            BOTH,
            {"cinder_default_volume_type": "gold"},
            ["cinder_default_volume_type = gold: is not a type of cinder_volume_types"],
        ),
        (
            BOTH,
            {"ceph_copies": 2, "ceph_osds": [{"id": 0, "size_gib": 9}, {"id": 0, "size_gib": 9}]},
            ["is also the id of an OSD"],
        ),
        ({"storage": ["s", "t"]}, {"ceph_copies": 3}, ["ceph_copies = 3: is more than the 2 hosts of the group storage"]),
        (VOLUMES, {"openstack_ceph": {**OUTSIDE, "fsid": "x"}}, ["openstack_ceph.fsid = x: is not the id of a cluster"]),
        (VOLUMES, {"openstack_ceph": {**OUTSIDE, "mons": []}}, ["openstack_ceph.mons: is not a list of addresses"]),
        (VOLUMES, {"openstack_ceph": {**OUTSIDE, "mons": ["a b"]}}, ["openstack_ceph.mons = a b: is not an address"]),
        (
            VOLUMES,
            {"openstack_ceph": {**OUTSIDE, "keyrings": {**KEYS, "cinder": "secret text of mine"}}},
            ["openstack_ceph.keyrings.cinder: is not a key in Ceph's own form"],
        ),
        (
            VOLUMES,
            {"openstack_ceph": {**OUTSIDE, "keyrings": {"cinder": PRINTED, "cinder-backup": PRINTED}}},
            ["openstack_ceph.keyrings.glance: is not set, and glance_images needs it"],
        ),
    ],
)
def test_what_cannot_work_is_refused(groups, chosen, said):
    found = " | ".join(problems(groups, **chosen))
    for part in said:
        assert part in found
    assert "secret text" not in found and PRINTED not in found


def test_the_usual_cloud_with_ceph_is_accepted():
    assert problems(nova_compute_images="rbd") == []
    lvm = {"lvm": {"driver": "lvm", "volume_group": "v"}}
    assert problems({"volumes": ["c"]}, cinder_backends=lvm) == []
    assert problems(cinder_backends={"rbd": {"driver": "rbd", "pool": "volumes"}, **lvm}) == []


@pytest.mark.parametrize(("was", "wanted", "guests", "said"), [
    ("file", "rbd", 2, "would be changed from file, and 2 instances are on this host"),
    ("rbd", "file", 1, "would be changed from rbd, and an instance is on this host"),
    ("file", "rbd", 0, ""),
    ("rbd", "rbd", 3, ""),
    (None, "rbd", 3, ""),
])  # fmt: skip
def test_disks_do_not_change_their_place_under_instances(was, wanted, guests, said):
    found = " ".join(str(one) for one in volumes.check_images("n", {"images": was, "guests": guests}, wanted))
    assert (said in found) if said else found == ""


# ------------------------------------------------------------------------------------------------------------- modules


class Cluster:
    """A cluster's answers."""

    def __init__(self, pools=(), users=()):
        self.pools, self.users, self.asked = dict(pools), dict(users), []

    def ask(self, prefix, text="", missing=False, **arguments):
        self.asked.append((prefix, text, arguments))
        if prefix == "osd dump":
            return {"pools": [{"pool_name": name, "application_metadata": uses} for name, uses in self.pools.items()]}
        if prefix == "auth get":
            found = self.users.get(arguments["entity"])
            return None if found is None else [found]
        return {}


def test_pools_are_compared():
    code = load("ceph_pools")
    cluster = Cluster({"images": {"rbd": {}}, "volumes": {}})
    steps = code.pools(cluster, {"images": 16, "volumes": 16, "vms": 16}, 1)
    assert [action for action, _do in steps] == ["prepare pool volumes for RBD", "create pool vms"]
    with pytest.raises(code.ceph.Failure, match=r"pool images belongs to something else \(cephfs\)"):
        code.pools(Cluster({"images": {"cephfs": {}}}), {"images": 16}, 1)


def test_users_are_compared_and_no_key_is_an_argument():
    code = load("ceph_pools")
    wanted = {"client.a": {"key": PRINTED, "caps": {"mon": "profile rbd", "osd": "profile rbd pool=x"}}}
    right = {"key": PRINTED, "caps": {"mon": "profile rbd", "osd": "profile rbd pool=x"}}
    for known, said in (
        ({}, "create user client.a"),
        ({"client.a": {**right, "key": "other"}}, "set the key of client.a"),
        ({"client.a": {**right, "caps": {"mon": "allow *"}}}, "set the rights of client.a"),
        ({"client.a": right}, ""),
    ):
        cluster = Cluster(users=known)
        steps = code.users(cluster, wanted)
        assert [action for action, _do in steps] == ([said] if said else [])
        for _action, do in steps:
            do()
            prefix, text, arguments = cluster.asked[-1]
            assert prefix == "auth import" and PRINTED in text and PRINTED not in json.dumps(arguments)
            assert 'caps osd = "profile rbd pool=x"' in text
