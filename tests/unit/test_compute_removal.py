"""The module that takes a compute node out of the cloud, against APIs in memory."""

import types

import pytest
from test_modules import Failed, load, run  # noqa: F401  (run is a fixture)

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
        self.providers = {name: {"uuid": f"provider-of-{name}", "name": name} for name in names}
        self.agent_rows = {name: {"id": f"agent-of-{name}", "host": name, "agent_type": "Open vSwitch agent"} for name in names}
        self.cells = dict.fromkeys(names, "cell1")
        self.allocations, self.instances, self.migrations, self.writes = {}, [], [], []
        self.compute = self.placement = self.network = self

    def get(self, path, params=None, headers=None):
        params = params or {}
        if path == "/os-services":
            return Reply({"services": list(self.services.values())})
        if path == "/servers/detail":
            # By prefix, to be worse than Nova.
            rows = [] if params.get("marker") else self.instances
            return Reply({"servers": [
                {"id": f"id-of-{name}", "name": name, "OS-EXT-SRV-ATTR:host": host} for name, host in rows
            ]})
        if path == "/os-migrations":
            return Reply({"migrations": self.migrations})
        if path == "/agents":
            return Reply({"agents": list(self.agent_rows.values())})
        if path == "/resource_providers":
            return Reply({"resource_providers": list(self.providers.values())})
        return Reply({"allocations": self.allocations.get(path.split("/")[2], {})})

    def put(self, path, json, headers):
        self.writes.append(path)
        next(one for one in self.services.values() if path.endswith("/" + one["id"])).update(json)

    def delete(self, path, **_options):
        self.writes.append(path)
        for rows in (self.services, self.providers, self.agent_rows):
            for name, row in list(rows.items()):
                if path.rpartition("/")[2] in (row.get("id"), row.get("uuid")):
                    del rows[name]
        return Reply(status=204)


@pytest.fixture
def remove(run, monkeypatch):  # noqa: F811
    """remove(cloud, host, state) returns the actions."""
    code = load("compute_removal")

    def removes(cloud, host, state, check_mode=False):
        monkeypatch.setattr(code, "openstack", types.SimpleNamespace(
            connect=lambda **_options: cloud, exceptions=types.SimpleNamespace(SDKException=OSError),
        ))
        monkeypatch.setattr(code.Host, "cell", lambda self: cloud.cells.get(self.name))
        monkeypatch.setattr(code.Host, "run", lambda self, *argv: cloud.cells.pop(argv[-1]))
        monkeypatch.setattr(code.shutil, "which", lambda _name: None)
        return run(code, check_mode, auth=AUTH, region="r", host=host, state=state)["actions"]

    return removes


def test_one_host_goes_and_the_other_stays(remove):
    cloud = Cloud()
    cloud.allocations["provider-of-compute1"] = {"orphan": {}}
    assert remove(cloud, "compute1", "vacated", check_mode=True) == ["disable nova-compute of compute1"]
    assert cloud.writes == []
    assert remove(cloud, "compute1", "vacated") == ["disable nova-compute of compute1"]
    assert (cloud.services["compute1"]["status"], cloud.services["compute10"]["status"]) == ("disabled", "enabled")
    things = ("compute service", "host mapping", "resource provider", "Open vSwitch agent")
    wanted = [f"delete {thing} of compute1" for thing in things]
    assert remove(cloud, "compute1", "absent", check_mode=True) == wanted
    assert remove(cloud, "compute1", "absent") == wanted
    assert "/allocations/orphan" in cloud.writes
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
