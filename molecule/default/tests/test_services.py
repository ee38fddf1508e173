"""Every service runs, is enabled, listens where it should and nowhere else, and reports itself up."""

import backend
import pytest

CONTROLLER_UNITS = [
    "mariadb",
    "rabbitmq-server",
    "memcached",
    "haproxy",
    "keystone",
    "glance-api",
    "placement-api",
    "nova-api",
    "nova-api-metadata",
    "nova-conductor",
    "nova-scheduler",
    "nova-novncproxy",
    "neutron-api",
    "neutron-rpc-server",
    "openvswitch-switch",
    "openstack-bridges",
    *backend.CONTROLLER_UNITS,
]
COMPUTE_UNITS = ["libvirtd", "nova-compute", "openvswitch-switch", "openstack-bridges", *backend.COMPUTE_UNITS]


@pytest.mark.parametrize("unit", CONTROLLER_UNITS)
def test_unit_of_the_controller(controller, unit):
    """Up now and after a restart of the host."""
    assert controller.service(unit).is_running
    assert controller.service(unit).is_enabled


@pytest.mark.parametrize("unit", COMPUTE_UNITS)
def test_unit_of_the_compute_node(compute1, unit):
    """Up now and after a restart of the host."""
    assert compute1.service(unit).is_running
    assert compute1.service(unit).is_enabled


@pytest.mark.skipif(backend.BACKEND != "ovn", reason="nothing brings haproxy")
def test_only_the_agent_starts_haproxy(compute1):
    """The package's own unit would serve nothing."""
    assert not compute1.service("haproxy").is_enabled
    assert not compute1.service("haproxy").is_running


@pytest.mark.parametrize("host", ["controller", "compute1"])
def test_no_unit_failed(host, request):
    """Nothing that we installed has failed."""
    assert request.getfixturevalue(host).check_output("systemctl --failed --plain --no-legend") == ""


@pytest.mark.parametrize(
    ("port", "status", "word"),
    [
        (5000, 300, "v3"),
        (9292, 300, "v2"),
        (8778, 200, "v1.0"),
        (8774, 200, "v2.1"),
        (9696, 200, "v2.0"),
        (8775, 200, "latest"),
        (6080, 200, ""),
    ],
)
def test_port_answers(get, addresses, port, status, word):
    """Each API answers with its list of versions, the console proxy with its page."""
    path = "/vnc_lite.html" if port == 6080 else "/"
    code, text = get(f"https://{addresses['controller']}:{port}{path}")
    assert (code, word in text) == (status, True), text


@pytest.mark.parametrize("path", [":8774/v2.1/servers", ":9292/v2/images", ":9696/v2.0/networks", ":8778/resource_providers"])
def test_no_answer_without_a_token(get, addresses, path):
    """The Identity service is asked."""
    assert get(f"https://{addresses['controller']}{path}")[0] == 401


def test_guest_is_gone(controller):
    """RabbitMQ has the account openstack and no other."""
    assert controller.check_output("rabbitmqctl --quiet list_users").splitlines()[1:] == ["openstack\t[]"]


def test_every_compute_service_is_enabled_and_up(cloud):
    """The guide's last step: openstack compute service list."""
    services = {(s.binary, s.host): (s.status, s.state) for s in cloud.compute.services()}
    assert services == {
        ("nova-conductor", "controller"): ("enabled", "up"),
        ("nova-scheduler", "controller"): ("enabled", "up"),
        ("nova-compute", "compute1"): ("enabled", "up"),
    }


def test_every_network_agent_is_alive(cloud):
    """Neutron hears from each of its agents."""
    agents = {(agent.binary, agent.host): agent.is_alive for agent in cloud.network.agents()}
    assert agents == dict.fromkeys(backend.AGENTS, True)


def test_upgrade_check(controller):
    """Nova's own judgement of its databases, cells and configuration."""
    done = controller.run("runuser -u nova -- nova-status upgrade check")
    assert done.rc == 0, done.stdout
