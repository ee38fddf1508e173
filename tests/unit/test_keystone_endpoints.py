"""What is registered in Keystone, by a program that answers as it does."""

import json
import os
from pathlib import Path

import openstack
import pytest
from fake_keystone import Keystone
from harness import Failed, load

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")  # of openstacksdk about itself


PASSWORD = "p@ss:w/ord%41$x'#\""
REGION = "RegionOne"


def service(name="glance", kind="image", port=9292, **user):
    """One entry of keystone_endpoints_services."""
    endpoints = {interface: f"http://10.0.0.11:{port}" for interface in ("public", "internal", "admin")}
    user = {"name": name, "password": PASSWORD, "roles": ["admin", "service"], **user}
    return {"name": name, "type": kind, "description": f"OpenStack {kind.capitalize()}", "endpoints": endpoints, "user": user}


CREATE = [
    "create project service",
    "create region RegionOne",
    "create user glance",
    "add role admin to user glance in project service",
    "create role service",
    "add role service to user glance in project service",
    "create service glance",
    *(f"create endpoint image {interface} http://10.0.0.11:9292" for interface in ("public", "internal", "admin")),
]


@pytest.fixture
def keystone():
    """A Keystone that was bootstrapped and knows nothing else."""
    with Keystone("admin-password") as listening:
        yield listening


@pytest.fixture
def register(run):
    """register(keystone, services, check_mode) returns the actions."""
    code = load("keystone_endpoints")

    def registers(keystone, *services, check_mode=False, password="admin-password"):
        auth = {"auth_url": keystone.url, "password": password}
        return run(code, check_mode, auth=auth, region=REGION, services=list(services))["actions"]

    return registers


def test_an_empty_keystone_gets_everything_once(keystone, register):
    assert register(keystone, service()) == CREATE
    assert len(keystone.writes) == len(CREATE)
    glance = keystone.find("users", name="glance")
    assert keystone.passwords[glance["id"]] == PASSWORD
    assert len(keystone.roles_of) == 3
    assert keystone.find("endpoints", interface="public")["service_id"] == keystone.find("services", name="glance")["id"]
    keystone.writes.clear()
    assert register(keystone, service()) == []
    assert keystone.writes == []


def test_check_mode_predicts_everything_and_performs_nothing(keystone, register):
    before = keystone.state()
    assert register(keystone, service(), check_mode=True) == CREATE
    assert (keystone.writes, keystone.state()) == ([], before)


def test_a_second_service_shares_project_region_and_roles(keystone, register):
    register(keystone, service())
    actions = register(keystone, service(), service("nova", "compute", 8774))
    own = CREATE[2:4] + CREATE[5:]
    assert actions == [line.replace("glance", "nova").replace("image", "compute").replace("9292", "8774") for line in own]


def drifted(keystone, plural, _changes=None, **attributes):
    """Change an object behind the installer's back."""
    keystone.find(plural, **attributes).update(_changes or {})


def lose_role(keystone):
    """Take the role `service` from glance."""
    role, user = keystone.find("roles", name="service")["id"], keystone.find("users", name="glance")["id"]
    keystone.roles_of = {row for row in keystone.roles_of if row[1:] != (user, role)}


DRIFT = {
    "url": (
        lambda k: drifted(k, "endpoints", {"url": "http://old"}, interface="public"),
        "correct url of endpoint image public http://10.0.0.11:9292",
    ),
    "endpoint": (
        lambda k: drifted(k, "endpoints", {"enabled": False}, interface="admin"),
        "correct enabled of endpoint image admin http://10.0.0.11:9292",
    ),
    "description": (
        lambda k: drifted(k, "services", {"description": "x"}, name="glance"),
        "correct description of service glance",
    ),
    "service": (lambda k: drifted(k, "services", {"enabled": False}, name="glance"), "correct enabled of service glance"),
    "user": (lambda k: drifted(k, "users", {"enabled": False}, name="glance"), "correct enabled of user glance"),
    "project": (lambda k: drifted(k, "projects", {"enabled": False}, name="service"), "correct enabled of project service"),
    "password": (lambda k: k.passwords.update({k.find("users", name="glance")["id"]: "old"}), "set the password of user glance"),
    "role": (lose_role, "add role service to user glance in project service"),
}


@pytest.mark.parametrize("case", DRIFT)
def test_what_drifted_is_repaired_and_nothing_else(keystone, register, case):
    register(keystone, service())
    right = keystone.state()
    drift, action = DRIFT[case]
    drift(keystone)
    assert keystone.state() != right
    keystone.writes.clear()
    assert register(keystone, service()) == [action]
    assert len(keystone.writes) == 1
    assert keystone.state() == right


@pytest.mark.parametrize("case", DRIFT)
def test_check_mode_names_the_repair_and_performs_none(keystone, register, case):
    register(keystone, service())
    drift, action = DRIFT[case]
    drift(keystone)
    before = keystone.state()
    keystone.writes.clear()
    actions = register(keystone, service(), check_mode=True)
    assert (keystone.writes, keystone.state()) == ([], before)
    assert actions == [action]


@pytest.mark.parametrize(("limit", "pages"), [(1, False), (1, True), (2, False), (2, True), (3, True)])
def test_lists_that_keystone_cuts(keystone, register, limit, pages):
    """[DEFAULT] list_limit: what is not on the list is asked for by its name."""
    for name in ("a", "b", "z"):
        keystone.add("user", name=name, password="p")
        keystone.add("role", name=name)
        keystone.add("project", name=name)
        keystone.add("service", name=name, type=name)
        keystone.add("region", id=name)
    keystone.limit, keystone.pages = limit, pages
    assert register(keystone, service()) == CREATE
    right = keystone.state()
    assert register(keystone, service(), check_mode=True) == []
    assert register(keystone, service(), service("glance", "image", 9292)) == []
    assert keystone.state() == right


@pytest.mark.parametrize(
    ("plural", "name", "there"),
    [
        ("users", "glance", "Glance"),
        ("projects", "service", "SERVICE"),
        ("roles", "service", "Service"),
        ("services", "glance", "GLANCE"),
        ("domains", "Default", "default"),
    ],
)
def test_names_are_compared_as_the_database_does(keystone, register, plural, name, there):
    """Another one could not be made (409); the name stays as somebody wrote it."""
    register(keystone, service())
    keystone.find(plural, name=name)["name"] = there
    before = keystone.state()
    assert register(keystone, service(), check_mode=True) == []
    assert register(keystone, service()) == []
    assert keystone.state() == before
    # What differs in it is put right all the same.
    if plural == "users":
        keystone.find("users", name=there)["enabled"] = False
        assert register(keystone, service()) == ["correct enabled of user glance"]
        assert keystone.find("users", name=there)["enabled"]


@pytest.mark.parametrize(
    ("one", "other", "right"),
    [
        ("Nova", "nova", True),
        ("nóva", "NOVA", True),
        ("nova ", "nova", True),
        ("nova", "nova2", False),
        (" nova", "nova", False),
        (None, None, True),
        (True, True, True),
        (None, "nova", False),
    ],
)
def test_what_is_alike_to_mariadb(one, other, right):
    """utf8mb3_general_ci."""
    assert load("keystone_endpoints").alike(one, other) is right


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("limit", [None, 1])
def test_a_service_of_another_name_is_not_taken_over(keystone, register, check_mode, limit):
    theirs = keystone.add("service", name="images-of-old", type="image")
    keystone.limit = limit
    before = keystone.objects["services"][theirs["id"]].copy()
    with pytest.raises(Failed) as failed:
        register(keystone, service(), check_mode=check_mode)
    said = failed.value.args[0]["msg"]
    assert f"service images-of-old of type image is there (ID {theirs['id']}), which the install guide calls glance" in said
    assert f"`openstack service set --name glance {theirs['id']}`" in said
    assert keystone.objects["services"] == {theirs["id"]: before}
    # Both may be there: then it is clear which is meant.
    keystone.add("service", name="glance", type="image", description=service()["description"])
    assert not any("service glance" in line for line in register(keystone, service(), check_mode=check_mode))
    assert keystone.objects["services"][theirs["id"]] == before


def test_a_region_in_other_letters_is_refused(keystone, register):
    """Keystone takes it for the same, and clients do not."""
    keystone.add("region", id="regionone")
    with pytest.raises(Failed, match="region regionone is there; set openstack_region to it"):
        register(keystone, service())


def test_a_domain_that_is_not_there(keystone, register):
    keystone.objects["domains"]["default"]["name"] = "Other"
    with pytest.raises(Failed, match="there is no domain Default"):
        register(keystone, service())


def test_a_wrong_administrators_password_stops_the_run_and_is_not_shown(keystone, register):
    with pytest.raises(Failed) as failed:
        register(keystone, service(), password="wrong-canary")
    message = failed.value.args[0]["msg"]
    assert message.startswith(f"Keystone at {keystone.url} (user admin): ")
    assert "canary" not in message


def test_no_keystone_is_an_error_but_not_in_check_mode(register):
    with Keystone("admin-password") as gone:
        pass
    with pytest.raises(Failed, match="Keystone at"):
        register(gone, service())
    predicted = register(gone, service(), check_mode=True)
    assert set(predicted) <= set(CREATE)
    assert {line for line in CREATE if line.split()[1] in ("user", "service", "endpoint")} <= set(predicted)


PRESENT = ("create project service", "create region RegionOne", "create role service")  # in every deployed cloud
# KILONOVA_KEYSTONE_URL=http://10.20.0.11:5000/v3 KILONOVA_KEYSTONE_PASSWORD_FILE=... : the same questions to a real one, in
# check mode only. A service that is there is taken as it is; what is then asked for differs from it in one thing.
REAL = os.environ.get("KILONOVA_KEYSTONE_URL")


@pytest.fixture(scope="module")
def real():
    """A running Keystone as the administrator sees it, with one of its services as we would ask for it."""
    password = Path(os.environ["KILONOVA_KEYSTONE_PASSWORD_FILE"]).read_text().strip()
    auth = {"auth_url": REAL, "username": "admin", "password": password, "project_name": "admin"}
    auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
    identity = openstack.connect(load_yaml_config=False, load_envvars=False, auth=auth, identity_endpoint_override=REAL).identity

    def asked_for():  # not everything: others may work with this cloud meanwhile
        found = {kind: identity.get(f"/{kind}").json()[kind] for kind in ("users", "roles", "services", "endpoints", "regions")}
        found["users"] = [user for user in found["users"] if user["name"] in ("glance", "new")]
        return found

    before = asked_for()
    there = next(item for item in before["services"] if item["type"] == "image")
    urls = {
        item["interface"]: item["url"]
        for item in before["endpoints"]
        if (item["service_id"], item["region_id"]) == (there["id"], REGION)
    }
    entry = {"name": there["name"], "type": "image", "description": there["description"], "endpoints": urls}
    yield type("Real", (), {"url": REAL, "password": password, "entry": entry})
    assert asked_for() == before


@pytest.mark.skipif(not REAL, reason="KILONOVA_KEYSTONE_URL names no running Keystone")
@pytest.mark.parametrize(
    ("change", "actions"),
    [
        (lambda entry: None, lambda entry: []),
        (
            lambda entry: entry["endpoints"].update(public="http://changed"),
            lambda entry: ["correct url of endpoint image public http://changed"],
        ),
        (lambda entry: entry.update(description="changed"), lambda entry: ["correct description of service glance"]),
        (
            lambda entry: entry.update(user={"name": "glance", "password": "not the password", "roles": ["admin", "reader"]}),
            lambda entry: ["set the password of user glance", "add role reader to user glance in project service"],
        ),
        (
            lambda entry: entry.update(service("new", "new")),
            lambda entry: [line.replace("glance", "new").replace("image", "new") for line in CREATE if line not in PRESENT],
        ),
    ],
)
def test_a_real_keystone_is_read_right_and_not_changed(real, register, change, actions):
    entry = json.loads(json.dumps(real.entry))
    change(entry)
    assert register(real, entry, check_mode=True, password=real.password) == actions(entry)
