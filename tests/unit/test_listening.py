"""Where services listen, who may write what they unpickle, and what they are told of who asks them."""

import pytest
from test_generate import ONE, TWO, inventory, texts

from kilonova.config import checking, conf, listening
from kilonova.run import preflight

TOLD = {
    "addresses": {"127.0.0.1": "lo", "10.0.0.11": "eth0", "203.0.113.5": "eth1", "fd00::11": "eth0", "10.255.255.1": "lo"},
    "hostname": "ctl",
    "resolved": {
        "cloud.example.org": ["203.0.113.5"],
        "ctl.example.org": ["127.0.1.1", "10.0.0.11"],
        "lb.example.org": ["192.0.2.9"],
    },
}
API_FILES = [
    "/etc/keystone/keystone.conf",
    "/etc/glance/glance-api.conf",
    "/etc/placement/placement.conf",
    "/etc/nova/nova.conf",
    "/etc/neutron/neutron.conf",
]
PORTS = {
    "/etc/default/keystone": 5000,
    "/etc/default/nova-api": 8774,
    "/etc/default/nova-api-metadata": 8775,
    "/etc/default/placement-api": 8778,
    "/etc/default/neutron-server": 9696,
}


@pytest.mark.parametrize(
    ("hosts", "told", "right"),
    [
        ([], None, ["10.0.0.11"]),
        (["10.0.0.11"], TOLD, ["10.0.0.11"]),
        (["203.0.113.5"], TOLD, ["10.0.0.11", "203.0.113.5"]),
        (["203.0.113.5"], None, ["10.0.0.11"]),  # before the host said anything
        (["203.0.113.6"], TOLD, ["10.0.0.11"]),  # a load balancer's
        (["cloud.example.org"], TOLD, ["10.0.0.11", "203.0.113.5"]),
        (["ctl.example.org", "cloud.example.org"], TOLD, ["10.0.0.11", "203.0.113.5"]),
        (["lb.example.org", "unknown.example.org"], TOLD, ["10.0.0.11"]),
        (["127.0.0.1", "localhost"], TOLD, ["10.0.0.11"]),
        (["10.255.255.1"], TOLD, ["10.0.0.11", "10.255.255.1"]),  # an address that is routed to the host
        (["FD00:0::11"], TOLD, ["10.0.0.11", "fd00::11"]),
    ],
)
def test_own_addresses(hosts, told, right):
    assert listening.own_addresses("10.0.0.11", hosts, told) == right


@pytest.mark.parametrize(
    ("host", "told", "right"),
    [
        ("10.0.0.11", None, True),
        ("controller", None, True),
        ("Controller.", None, True),
        ("localhost", None, True),
        ("127.0.0.1", None, True),
        ("10.0.0.12", None, False),
        ("cloud.example.org", None, False),
        ("ctl", TOLD, True),
        ("cloud.example.org", TOLD, True),
        ("ctl.example.org", TOLD, True),
        ("lb.example.org", TOLD, False),
        ("203.0.113.5", TOLD, True),
        ("::1", None, True),
        ("10.0.0.110", TOLD, False),
    ],
)
def test_is_own(host, told, right):
    names = ["controller"] + (["ctl"] if told else [])
    assert listening.is_own(host, "10.0.0.11", names, told) is right


def test_arguments_of_uwsgi():
    assert listening.sockets(["10.0.0.11"], 5000) == "--http-socket 10.0.0.11:5000"
    assert listening.sockets(["fd00::11", "203.0.113.5"], 80) == "--http-socket [fd00::11]:80 --http-socket 203.0.113.5:80"
    assert listening.one_address(["10.0.0.11"]) == "10.0.0.11"
    assert listening.one_address(["10.0.0.11", "203.0.113.5"]) == "0.0.0.0"
    assert listening.one_address(["fd00::11", "203.0.113.5"]) == "::"


@pytest.mark.parametrize(
    ("one", "other", "right"),
    [
        ("10.0.0.11", "10.0.0.11", True),
        ("10.0.0.11", "203.0.113.5", False),
        ("*", "10.0.0.11", True),
        ("0.0.0.0", "x", True),
        ("[::]", "10.0.0.11", True),
        ("[fd00::11]", "fd00:0::11", True),
        ("127.0.0.1%lo", "127.0.0.1", True),
        ("127.0.0.53%lo", "127.0.0.1", False),
    ],
)
def test_sockets_that_exclude_each_other(one, other, right):
    assert listening.overlap(one, other) is right
    assert listening.overlap(other, one) is right


@pytest.mark.parametrize(
    ("there", "is_wrong"),
    [
        ({"address": "0.0.0.0", "unit": "squatter.service"}, True),
        ({"address": "*", "unit": ""}, True),
        ({"address": "10.0.0.11", "unit": "haproxy.service"}, True),
        ({"address": "10.0.0.11", "unit": "nova-api.service"}, False),
        # Who ends TLS at the public address.
        ({"address": "203.0.113.5", "unit": "haproxy.service"}, False),
        ({"address": "127.0.0.1", "unit": "x.service"}, False),
    ],
)
def test_a_port_is_somebody_elses_at_our_address_only(there, is_wrong):
    seen = {"masked": [], "listening": [{"port": 8774, "name": "x", "pid": 7, **there}]}
    assert bool(preflight.check_units("a", seen, {"nova-api": ("10.0.0.11", 8774)})) is is_wrong


def test_a_masked_socket():
    (problem,) = preflight.check_units("a", {"masked": ["epmd.socket"], "listening": []}, {"epmd.socket": None, "epmd": None})
    assert str(problem) == "a: unit = epmd.socket: is masked; run `systemctl unmask epmd.socket` on this host"


# ------------------------------------------------------------------------------------------------------------- the files


@pytest.mark.parametrize("release", ["zed", "epoxy", "gazpacho", "hibiscus"])
@pytest.mark.parametrize("groups", [ONE, TWO], ids=["one host", "two hosts"])
def test_every_api_listens_on_the_management_address(groups, release):
    made = texts(inventory(groups, release=release))
    controller = groups["controllers"][0]
    for path, port in PORTS.items():
        ini = {"neutron-server": "neutron-api"}.get(path.rpartition("/")[2], path.rpartition("/")[2]) + "-uwsgi.ini"
        (line,) = [line for line in made[controller, path].splitlines() if line.startswith("DAEMON_ARGS")]
        assert line.startswith(f'DAEMON_ARGS="--http-socket 10.0.0.11:{port} --ini /etc/')
        assert line.endswith(f'/{ini}"')
        assert (controller, line.rpartition(" ")[2].strip('"')) in made
    assert conf.read(made[controller, "/etc/nova/nova.conf"]).values("vnc", "novncproxy_host") == ["10.0.0.11"]
    # Under uwsgi since 2026.2, a server of its own before.
    glance = conf.read(made[controller, "/etc/glance/glance-api.conf"]).values("DEFAULT", "bind_host")
    assert glance == ([] if release == "hibiscus" else ["10.0.0.11"])
    assert ("--http-socket 10.0.0.11:9292 " in made.get((controller, "/etc/default/glance-api"), "")) is (not glance)


def test_a_public_address_of_the_controller():
    """It is listened on as well; by nobody where TLS is, because another one has the port there. Metadata is not public."""
    told = {"openstack_host": TOLD, "openstack_public_host": "cloud.example.org"}
    made = texts(inventory(release="epoxy", hosts={"controller": told}))
    assert "--http-socket 10.0.0.11:8774 --http-socket 203.0.113.5:8774 " in made["controller", "/etc/default/nova-api"]
    assert "203.0.113.5" not in made["controller", "/etc/default/nova-api-metadata"]
    assert conf.read(made["controller", "/etc/glance/glance-api.conf"]).values("DEFAULT", "bind_host") == ["0.0.0.0"]
    made = texts(inventory(release="epoxy", hosts={"controller": {**told, "openstack_public_scheme": "https"}}))
    assert "203.0.113.5" not in "".join(made[row] for row in made if row[1] in PORTS)
    chosen = {"openstack_api_addresses": ["10.0.0.11", "192.0.2.4"]}
    made = texts(inventory(release="epoxy", **chosen))
    assert "--http-socket 192.0.2.4:5000 " in made["controller", "/etc/default/keystone"]


def test_an_internal_address_of_the_controller_is_asked_for_metadata():
    told = {"openstack_host": TOLD, "openstack_internal_host": "10.255.255.1"}
    made = texts(inventory(release="epoxy", hosts={"controller": told}))
    assert "--http-socket 10.255.255.1:8775 " in made["controller", "/etc/default/nova-api-metadata"]


def test_health_questions_go_to_the_host_itself():
    """Not to a load balancer, which would answer for somebody else."""
    behind = {"openstack_internal_host": "lb.example.org", "openstack_internal_scheme": "https"}
    host = inventory(release="epoxy", **behind).host("controller")
    asked = {
        unit["name"]: unit["answers"]
        for role in ("keystone", "glance", "placement", "nova_controller", "neutron_controller")
        for unit in host.find(f"__{role}_units")
        if unit.get("answers")
    }
    assert {name: target.split("/")[2] for name, target in asked.items() if target.startswith("http")} == {
        "keystone": "10.0.0.11:5000",
        "glance-api": "10.0.0.11:9292",
        "placement-api": "10.0.0.11:8778",
        "nova-api": "10.0.0.11:8774",
        "nova-api-metadata": "10.0.0.11:8775",
        "neutron-api": "10.0.0.11:9696",
    }
    assert not [target for target in asked.values() if target.startswith("https")]


# ------------------------------------------------------------------------------------------------- caches that are unpickled


@pytest.mark.parametrize("groups", [ONE, TWO], ids=["one host", "two hosts"])
def test_no_cache_is_reached_from_another_host(groups):
    made = texts(inventory(groups, release="epoxy"))
    said = {
        (path, section, name, value)
        for (_host, path), text in made.items()
        if path.endswith(".conf") and "\n[" in text
        for section in ("cache", "keystone_authtoken")
        for name in ("memcache_servers", "memcached_servers")
        for value in conf.read(text).values(section, name)
    }
    assert {value for *_rest, value in said} == {"127.0.0.1:11211"}
    assert {path for path, *_rest in said} == set(API_FILES)
    assert "\n-l 127.0.0.1:11211\n" in made[groups["controllers"][0], "/etc/memcached.conf"]


def test_a_compute_node_knows_no_cache_and_no_key_of_it():
    made = texts(inventory(release="epoxy"))
    for (host, _path), text in made.items():
        if host == "compute1":
            assert "memcache" not in text
            assert "key-of" not in text


@pytest.mark.parametrize(
    ("options", "is_open"),
    [
        ({"memcache_servers": "127.0.0.1:11211"}, False),
        ({"memcache_servers": ["127.0.0.1:11211", "127.1.2.3:1"]}, False),
        ({"memcache_servers": "localhost:11211"}, False),
        ({"memcache_servers": "inet6:[::1]:11211"}, False),
        ({"memcache_servers": "unix:/run/memcached/memcached.sock"}, False),
        ({"memcache_servers": "/run/m.sock"}, False),
        ({"memcached_servers": None}, False),
        ({}, False),
        ({"memcache_servers": "10.0.0.11:11211"}, True),
        ({"memcached_servers": "127.0.0.1:11211, controller:11211"}, True),
        ({"memcache_servers": ["127.0.0.1:11211", "[fd00::11]:11211"]}, True),
        ({"memcached_servers": "inet6:[fd00::1]:1"}, True),
        ({"memcache_servers": "127.0.0.1.example.org:11211"}, True),
        ({"memcache_servers": "10.0.0.11"}, True),
        ({"memcache_servers": "10.0.0.11:11211", "memcache_sasl_enabled": True}, False),
        ({"backend_argument": "url:10.0.0.11:11211"}, True),
        ({"backend_argument": ["memcached_expire_time:60", "url:127.0.0.1:11211,controller:11211"]}, True),
        ({"backend_argument": "url:redis://10.0.0.11:6379/0"}, True),
        ({"backend_argument": "url:redis://:secret@10.0.0.11:6379/0"}, False),
        ({"backend_argument": ["url:127.0.0.1:11211", "distributed_lock:true"]}, False),
        ({"backend_argument": "url:10.0.0.11:11211", "memcache_sasl_enabled": "true"}, False),
        ({"redis_server": "10.0.0.11:6379"}, True),
        ({"redis_sentinels": ["127.0.0.1:26379", "10.0.0.11:26379"]}, True),
        ({"redis_server": "localhost:6379"}, False),
        ({"redis_server": "10.0.0.11:6379", "redis_password": "x"}, False),
    ],
)
@pytest.mark.parametrize("section", ["cache", "keystone_authtoken", "filter:authtoken"])
def test_caches_that_others_write(section, options, is_open):
    assert bool(listening.open_caches({section: options})) is is_open


@pytest.mark.parametrize("role", ["keystone", "glance", "placement", "nova_controller", "neutron_controller", "nova_compute"])
def test_an_override_that_opens_a_cache_is_refused(role):
    file = {"keystone": "keystone.conf", "glance": "glance-api.conf", "placement": "placement.conf"}.get(role)
    file = file or ("neutron.conf" if role == "neutron_controller" else "nova.conf")
    section, option = ("cache", "memcache_servers") if role == "keystone" else ("keystone_authtoken", "memcached_servers")
    given = {f"{role}_overrides": {file: {section: {option: "192.0.2.1:11211"}}}}
    errors = checking.lines(checking.complaints(inventory(release="epoxy", **given)), "error")
    # Another one may be that the variable is where to say it.
    (error,) = [line for line in errors if preflight.OPEN_CACHE in line]
    assert f"/{file} [{section}] {option} = 192.0.2.1:11211: {preflight.OPEN_CACHE}" in error


# ------------------------------------------------------------------------------------------------------------ TLS in front


@pytest.mark.parametrize("release", ["zed", "epoxy", "hibiscus"])
@pytest.mark.parametrize("path", API_FILES)
def test_links_have_the_scheme_that_was_asked_by(path, release):
    def told(**variables):
        text = texts(inventory(release=release, **variables))["controller", path]
        return conf.read(text).values("oslo_middleware", "enable_proxy_headers_parsing")

    assert told(openstack_public_scheme="https") == ["true"]
    assert told(openstack_internal_scheme="https", openstack_internal_host="lb.example.org") == ["true"]
    # Who asks without anybody in front could make the links lead anywhere.
    assert told() == []


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, ""),
        ({"openstack_internal_scheme": "https", "openstack_internal_host": "lb.example.org"}, ""),
        ({"openstack_internal_scheme": "https", "openstack_internal_host": "192.0.2.9"}, ""),
        *(
            ({"openstack_internal_scheme": "https", "openstack_internal_host": host}, "openstack_internal_scheme = https")
            for host in ("ctl.example.org", "203.0.113.5", "10.0.0.11", "controller", "localhost")
        ),
        ({"openstack_auth_url": "https://10.0.0.11:5000/v3"}, "openstack_auth_url = https://10.0.0.11:5000/v3"),
        ({"openstack_auth_url": "HTTPS://10.0.0.11:5000/v3"}, "openstack_auth_url = HTTPS://10.0.0.11:5000/v3"),
        ({"openstack_auth_url": "https://lb.example.org/identity/v3"}, ""),
        ({"openstack_auth_url": "https://["}, ""),  # another check's
        ({"openstack_public_scheme": "https"}, ""),
    ],
)
def test_who_is_asked_by_https(variables, problem):
    defaults = {"openstack_internal_scheme": "http", "openstack_internal_host": "10.0.0.11", "openstack_auth_url": "http://x/v3"}
    found = preflight.check_tls(
        {"a": {**defaults, **variables}}, lambda host: listening.is_own(host, "10.0.0.11", ["controller", "ctl"], TOLD)
    )
    assert [str(one).split(": ")[1] for one in found] == ([problem] if problem else [])


def test_metadata_is_asked_by_the_internal_scheme():
    variables = {"openstack_internal_scheme": "https", "openstack_internal_host": "lb.example.org"}
    made = texts(inventory(release="epoxy", **variables))
    agent = conf.read(made["compute1", "/etc/neutron/neutron_ovn_metadata_agent.ini"])
    assert agent.values("DEFAULT", "nova_metadata_protocol") == ["https"]
    assert agent.values("DEFAULT", "nova_metadata_host") == ["lb.example.org"]


# ---------------------------------------------------------------------------------------------------- application credentials


@pytest.mark.parametrize(
    ("release", "there"), [("stein", False), ("train", True), ("zed", True), ("epoxy", True), ("hibiscus", True)]
)
def test_services_know_their_type(release, there):
    """Access rules of an application credential name it; keystonemiddleware reads it since 7.0.0, of Train."""
    made = texts(inventory(release=release))
    types = {
        "/etc/glance/glance-api.conf": "image",
        "/etc/placement/placement.conf": "placement",
        "/etc/nova/nova.conf": "compute",
        "/etc/neutron/neutron.conf": "network",
    }
    for path, wanted in types.items():
        assert conf.read(made["controller", path]).values("keystone_authtoken", "service_type") == ([wanted] if there else [])
    assert conf.read(made["compute1", "/etc/nova/nova.conf"]).values("keystone_authtoken", "service_type") == ["compute"] * there


def test_regions_of_volumes():
    for (_host, path), text in texts(inventory(release="epoxy", openstack_region="Berlin")).items():
        if path == "/etc/nova/nova.conf":
            assert conf.read(text).values("cinder", "os_region_name") == ["Berlin"]
