"""The instance that the installation launched: its console, its metadata, a hard reboot, and its answer."""

import time

import pytest


def wait_for(ask, what, timeout=240):
    """The first true answer of `ask`; fails with its last answer."""
    deadline = time.monotonic() + timeout
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(1)
    return answer


@pytest.fixture(scope="module")
def server(cloud):
    """The instance."""
    return cloud.compute.find_server("first", ignore_missing=False)


@pytest.fixture
def outside(cloud, server):
    """An instance on the provider network itself."""
    network = cloud.network.find_network("provider", ignore_missing=False)
    flavor = cloud.compute.find_flavor("m1.tiny", ignore_missing=False)
    made = cloud.compute.create_server(
        name="outside", image_id=server.image.id, flavor_id=flavor.id, networks=[{"uuid": network.id}]
    )
    yield made
    cloud.compute.delete_server(made)
    cloud.compute.wait_for_delete(made)


@pytest.fixture(scope="module")
def floating(cloud, server):
    """Its floating address."""
    port = next(cloud.network.ports(device_id=server.id))
    return next(cloud.network.ips(port_id=port.id)).floating_ip_address


def console(cloud, server):
    """What it wrote on its serial console since its last start."""
    return cloud.compute.get_server_console_output(server.id)["output"] or ""


def test_metadata_is_on_the_console(cloud, server):
    """It had an address, and the metadata service told it who it is."""
    text = wait_for(lambda: "boot complete" in (text := console(cloud, server)) and text, "the end of its boot")
    assert "metadata-ok from the service" in text
    assert f'"uuid": "{server.id}"' in text


def test_it_answers(get, floating):
    """HTTP through the router and the floating address: checksums, segments and security groups are right."""
    assert "hello from first" in get(f"http://{floating}/")[1]


def test_a_closed_port_is_closed(get, floating):
    """The security group admits what was asked for, and no more."""
    assert get(f"http://{floating}:81/")[0] == 0


def test_it_survives_a_hard_reboot(cloud, server, get, floating):
    """The network is plugged again; nothing hangs (Linux bridge agents did)."""
    cloud.compute.reboot_server(server.id, "HARD")
    wait_for(lambda: cloud.compute.get_server(server.id).status == "HARD_REBOOT" or None, "the reboot to begin", 30)
    wait_for(lambda: cloud.compute.get_server(server.id).status == "ACTIVE", "the instance to be ACTIVE again")
    wait_for(lambda: "boot complete" in console(cloud, server), "the end of its second boot")
    assert "hello from first" in wait_for(lambda: (reply := get(f"http://{floating}/"))[0] == 200 and reply[1], "its answer")


def test_an_instance_on_the_provider_network_answers(cloud, outside, get):
    """Every compute node carries the provider network, with its addresses and metadata."""
    cloud.compute.wait_for_server(outside, wait=240)
    address = next(cloud.network.ports(device_id=outside.id)).fixed_ips[0]["ip_address"]
    text = wait_for(lambda: "boot complete" in (text := console(cloud, outside)) and text, "the end of its boot")
    assert "metadata-ok from the service" in text
    assert "hello from outside" in wait_for(lambda: (reply := get(f"http://{address}/"))[0] == 200 and reply[1], "its answer")
