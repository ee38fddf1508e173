"""The module that takes a compute node out of the cloud, against APIs in memory."""

import types

import pytest
from harness import Failed, load

AUTH = {"auth_url": "http://x/v3", "password": "p" * 16}


class Reply:
    """What the adapters of openstacksdk return."""

    def __init__(self, data=None, status=200):
        self.data, self.status_code, self.text = data, status, str(data)

    def json(self):
        return self.data


class Cloud:
    """Two hosts, one of whose names begins with the other's; `instances` are (name, host)."""

    def __init__(self):
        names = ("compute1", "compute10")
        self.services = {name: {"id": f"service-of-{name}", "host": name, "status": "enabled"} for name in names}
        self.providers = {name: {"uuid": f"provider-of-{name}", "name": name, "parent_provider_uuid": None} for name in names}
        self.hypervisors = {name: name for name in names}
        self.agent_rows = {name: {"id": f"agent-of-{name}", "host": name, "agent_type": "Open vSwitch agent"} for name in names}
        self.cells = dict.fromkeys(names, "cell1")
        # consumer -> provider -> resources
        self.allocations, self.instances, self.migrations, self.writes = {}, [], [], []
        self.conflicts = 0
        self.compute = self.placement = self.network = self
        self.session = types.SimpleNamespace(session=types.SimpleNamespace(trust_env=True))

    def get(self, path, params=None, headers=None):
        params = params or {}
        if path == "/os-services":
            return Reply({"services": list(self.services.values())})
        if path == "/servers/detail":
            # By prefix, to be worse than Nova.
            rows = [] if params.get("marker") else self.instances
            return Reply(
                {"servers": [{"id": f"id-of-{name}", "name": name, "OS-EXT-SRV-ATTR:host": host} for name, host in rows]}
            )
        if path == "/os-migrations":
            return Reply({"migrations": self.migrations})
        if path == "/agents":
            return Reply({"agents": list(self.agent_rows.values())})
        if path == "/os-hypervisors/detail":
            return Reply(
                {
                    "hypervisors": [
                        {"hypervisor_hostname": name, "service": {"host": host}} for host, name in self.hypervisors.items()
                    ]
                }
            )
        if path == "/resource_providers":
            rows, root = list(self.providers.values()), params.get("in_tree")
            return Reply(
                {"resource_providers": [row for row in rows if root in (None, row["uuid"], row["parent_provider_uuid"])]}
            )
        if path.startswith("/allocations/"):
            held = self.allocations.get(path.split("/")[2], {})
            return Reply(
                {
                    "allocations": {uuid: {"resources": found, "generation": 7} for uuid, found in held.items()},
                    "project_id": "p",
                    "user_id": "u",
                    "consumer_generation": 3,
                }
            )
        uuid = path.split("/")[2]
        return Reply({"allocations": {consumer: {} for consumer, held in self.allocations.items() if uuid in held}})

    def put(self, path, json, headers, raise_exc=True):
        self.writes.append(path)
        if path.startswith("/allocations/"):
            assert headers == {"OpenStack-API-Version": "placement 1.28"}
            if self.conflicts:
                self.conflicts -= 1
                return Reply({"errors": "conflict"}, 409)
            assert {name: json[name] for name in json if name != "allocations"} == {
                "project_id": "p",
                "user_id": "u",
                "consumer_generation": 3,
            }
            self.allocations[path.split("/")[2]] = {uuid: row["resources"] for uuid, row in json["allocations"].items()}
            return Reply(status=204)
        next(one for one in self.services.values() if path.endswith("/" + one["id"])).update(json)

    def delete(self, path, **_options):
        self.writes.append(path)
        for rows in (self.services, self.providers, self.agent_rows):
            for name, row in list(rows.items()):
                if path.rpartition("/")[2] in (row.get("id"), row.get("uuid")):
                    del rows[name]
        return Reply(status=204)


@pytest.fixture
def remove(run, monkeypatch):
    """remove(cloud, host, state) returns the actions."""
    code = load("compute_removal")

    def removes(cloud, host, state, check_mode=False, **answer):
        monkeypatch.setattr(
            code,
            "openstack",
            types.SimpleNamespace(connect=lambda **_options: cloud, exceptions=types.SimpleNamespace(SDKException=OSError)),
        )
        monkeypatch.setattr(code.Host, "cell", lambda self: cloud.cells.get(self.name))
        monkeypatch.setattr(code.Host, "run", lambda self, *argv, user: cloud.cells.pop(argv[-1]))
        monkeypatch.setattr(code.shutil, "which", lambda _name: None)
        return run(code, check_mode, auth=AUTH, region="r", host=host, state=state, **answer)["actions"]

    return removes


def test_one_host_goes_and_the_other_stays(remove):
    cloud = Cloud()
    cloud.allocations = {"orphan": {"provider-of-compute1": {"VCPU": 1}}, "other": {"provider-of-compute10": {"VCPU": 1}}}
    assert remove(cloud, "compute1", "vacated", check_mode=True) == ["disable nova-compute of compute1"]
    assert cloud.writes == []
    assert remove(cloud, "compute1", "vacated") == ["disable nova-compute of compute1"]
    assert (cloud.services["compute1"]["status"], cloud.services["compute10"]["status"]) == ("disabled", "enabled")
    things = ("compute service", "host mapping", "resource provider", "Open vSwitch agent")
    wanted = [f"delete {thing} of compute1" for thing in things]
    assert remove(cloud, "compute1", "absent", check_mode=True) == wanted
    assert remove(cloud, "compute1", "absent") == wanted
    assert cloud.allocations == {"orphan": {}, "other": {"provider-of-compute10": {"VCPU": 1}}}
    for rows in (cloud.services, cloud.providers, cloud.agent_rows, cloud.cells):
        assert list(rows) == ["compute10"]
    assert remove(cloud, "compute1", "vacated") == remove(cloud, "compute1", "absent") == []


@pytest.mark.parametrize("state", ["vacated", "absent"])
@pytest.mark.parametrize(
    ("needed", "message"),
    [
        ({"instances": [("web", "compute1")]}, r"compute1 has 1 instances: web \(id-of-web\); migrate or delete them"),
        ({"migrations": [{"instance_uuid": "u", "status": "finished"}]}, "unfinished migrations of u; confirm, revert or wait"),
    ],
)
def test_a_host_that_is_needed_stays(remove, state, needed, message):
    cloud = Cloud()
    vars(cloud).update(needed)
    with pytest.raises(Failed, match=message):
        remove(cloud, "compute1", state)
    assert cloud.writes == []


def test_what_others_have_does_not_matter(remove):
    cloud = Cloud()
    cloud.instances = [("web", "compute10")]
    cloud.migrations = [{"instance_uuid": "u", "status": "confirmed"}]
    assert remove(cloud, "compute1", "vacated")


def test_an_evacuated_instance_keeps_what_it_has_elsewhere(remove):
    cloud = Cloud()
    both = {"provider-of-compute1": {"VCPU": 1}, "provider-of-compute10": {"VCPU": 1, "MEMORY_MB": 64}}
    cloud.allocations, cloud.conflicts = {"evacuated": both, "migration": {"provider-of-compute1": {"VCPU": 1}}}, 2
    remove(cloud, "compute1", "absent")
    assert cloud.allocations == {"evacuated": {"provider-of-compute10": {"VCPU": 1, "MEMORY_MB": 64}}, "migration": {}}
    assert list(cloud.providers) == ["compute10"]


def test_placement_that_refuses_is_told_and_the_provider_stays(remove):
    cloud = Cloud()
    cloud.allocations, cloud.conflicts = {"busy": {"provider-of-compute1": {"VCPU": 1}}}, 100
    with pytest.raises(Failed, match="Placement does not release busy from compute1"):
        remove(cloud, "compute1", "absent")
    assert list(cloud.providers) == ["compute1", "compute10"]


def test_providers_below_and_a_hypervisor_of_a_full_name(remove):
    cloud = Cloud()
    cloud.providers["compute1"]["name"] = cloud.hypervisors["compute1"] = "compute1.example.org"
    cloud.providers["gpu"] = {"uuid": "gpu", "name": "compute1_pci", "parent_provider_uuid": "provider-of-compute1"}
    cloud.allocations = {"web": {"gpu": {"VGPU": 1}, "provider-of-compute10": {"VCPU": 1}}}
    assert "delete resource provider of compute1" in remove(cloud, "compute1", "absent")
    assert cloud.allocations == {"web": {"provider-of-compute10": {"VCPU": 1}}}
    assert list(cloud.providers) == ["compute10"]


def test_a_full_name_that_is_another_hosts_hypervisor_stays(remove):
    cloud = Cloud()
    del cloud.providers["compute1"], cloud.hypervisors["compute1"]
    cloud.providers["compute10"]["name"] = cloud.hypervisors["compute10"] = "compute1.example.org"
    assert "delete resource provider of compute1" not in remove(cloud, "compute1", "absent")
    assert list(cloud.providers) == ["compute10"]


@pytest.mark.parametrize("state", ["vacated", "absent"])
@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("compute1.example.org", {}),
        ("Compute1", {}),
        ("COMPUTE1.example.org", {"hostname": "elsewhere"}),
        ("node7", {"hostname": "node7", "runs": True}),
    ],
)
def test_a_name_that_is_not_novas_is_refused(remove, state, host, answer):
    cloud = Cloud()
    cloud.instances = [("web", "compute1")]
    wanted = rf"remove_compute_host = {host}: Nova and Neutron know no such host; set it to one of: compute1"
    with pytest.raises(Failed, match=wanted):
        remove(cloud, host, state, **answer)
    assert cloud.writes == []


def test_a_name_that_is_another_hosts_is_refused(remove):
    cloud = Cloud()
    with pytest.raises(Failed, match="remove_compute_host = compute1: the host calls itself compute10, and Nova knows it so"):
        remove(cloud, "compute1", "vacated", hostname="compute10", runs=True)
    assert cloud.writes == []


def test_a_host_that_is_gone_already_is_no_work(remove):
    assert remove(Cloud(), "node7", "absent", hostname="node7") == []
