#!/usr/bin/python
"""Launch an instance: image, flavor, networks, router, security rules, instance and floating address, then ask it."""

import os
import re
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, result
from ansible.module_utils.kilonova.auth import AUTH
from ansible.module_utils.kilonova.http import NoAnswer, ask, connect

try:
    import openstack
except ImportError:  # check mode on a fresh host: the package comes with this very run
    openstack = None

DOCUMENTATION = r"""
module: launch_instance
short_description: The guide's last page, Launch an instance, in one openstacksdk connection
description:
  - Creates what is missing of the image, the flavor, the provider and the self-service network, the router, the rules that admit
    ICMP, SSH and HTTP, the instance and its floating address; changes nothing that exists.
  - Starts an instance that is SHUTOFF, as it is after a restart of its host.
  - Waits until the instance is ACTIVE, says on its console that it has an address and its metadata, and answers HTTP at its
    floating address.
options:
  auth: {type: dict, required: true, description: 'auth_url, username, password, project_name and domain names.'}
  region: {type: str, required: true, description: Region of the services.}
  name: {type: str, required: true, description: Name of the instance.}
  image: {type: dict, required: true, description: 'name, path (file on this host), disk_format.'}
  flavor: {type: dict, required: true, description: 'name, ram (MiB), disk (GiB), vcpus.'}
  provider: {type: dict, required: true, description: 'network, physical_network, subnet (CIDR), gateway, pool (first and last).'}
  selfservice: {type: dict, required: true, description: 'network, subnet (CIDR), router.'}
  console_pattern: {type: str, description: What the console must show (regular expression).}
  port: {type: int, default: 80, description: Port that must answer at the floating address; 0 asks none.}
  timeout: {type: int, default: 300, description: Seconds for each thing that is waited for.}
"""

RULES = (("icmp", None), ("tcp", 22), ("tcp", 80))
# Where Nova's conductor writes what the last host said that could not start an instance. The API has only its own summary.
CONDUCTOR_LOG = "/var/log/nova/nova-conductor.log"
LOG_END = 1 << 20


def last_host_fault(server_id, path=CONDUCTOR_LOG):
    """The last host that tried to start the instance, and what it said ("compute1: ..."); None when no log has it."""
    try:
        # Not by a link: the directory is Nova's own.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_END))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    said = [line for line in lines if server_id in line and "Error from last host: " in line]
    if not said:
        return None
    host = said[-1].split("Error from last host: ", 1)[1].split(" ", 1)[0]
    # A traceback, as Python prints a list of its lines; the last one is the exception.
    error = re.sub(r"(?:\\n)?['\"]\]\s*$", "", said[-1]).replace("\\n", "\n").splitlines()[-1].strip()
    return "%s: %s" % (host, re.sub(r"^.* was re-scheduled: ", "", error))


class Launch:
    """What is there, and what has to be made."""

    def __init__(self, module, cloud):
        """Take the module's parameters and a connection."""
        self.module, self.cloud, self.p = module, cloud, module.params
        self.actions, self.last = [], {}

    def make(self, action, existing, create):
        """Return what exists, or create it; None in check mode."""
        if existing:
            return existing
        self.actions.append(action)
        return None if self.module.check_mode else create()

    def image(self):
        """Guide: create an image."""
        image = self.p["image"]

        def create():
            if not os.path.exists(image["path"]):
                self.module.fail_json(msg="image file %(path)s is not on this host" % image)
            path, kind = image["path"], image["disk_format"]
            if image.get("raw") and kind != "raw":
                path, kind = self.raw(path, kind), "raw"
            return self.cloud.create_image(
                image["name"],
                filename=path,
                disk_format=kind,
                container_format="bare",
                visibility="public",
                wait=True,
                timeout=self.p["timeout"],
            )

        return self.make("create image %(name)s" % image, self.cloud.image.find_image(image["name"]), create)

    def raw(self, path, kind):
        """Return a copy of an image in the form of which Ceph makes clones; of any other one, each disk would be a copy."""
        copy = path + ".raw"
        done = command.run("qemu-img", "convert", "-f", kind, "-O", "raw", path, copy)
        if done.status:
            result.fail(self.module, "qemu-img cannot convert %s: %s" % (path, done.output.strip()[-300:]), self.actions)
        return copy

    def flavor(self):
        """Guide: create a flavor."""
        flavor = self.p["flavor"]
        existing = self.cloud.compute.find_flavor(flavor["name"])
        return self.make("create flavor %(name)s" % flavor, existing, lambda: self.cloud.compute.create_flavor(**flavor))

    def provider(self):
        """Guide: create the provider network."""
        network, provider = self.cloud.network, self.p["provider"]
        outside = self.make(
            "create provider network %(network)s" % provider,
            network.find_network(provider["network"]),
            lambda: network.create_network(
                name=provider["network"],
                is_shared=True,
                is_router_external=True,
                provider_network_type="flat",
                provider_physical_network=provider["physical_network"],
            ),
        )
        self.make(
            "create subnet %(subnet)s of %(network)s" % provider,
            network.find_subnet(provider["network"]),
            lambda: self.served(
                network.create_subnet(
                    name=provider["network"],
                    network_id=outside.id,
                    ip_version=4,
                    cidr=provider["subnet"],
                    gateway_ip=provider["gateway"],
                    allocation_pools=[{"start": provider["pool"][0], "end": provider["pool"][1]}],
                )
            ),
        )
        return outside

    def selfservice(self):
        """Guide: create the self-service network."""
        network, own = self.cloud.network, self.p["selfservice"]
        inside = self.make(
            "create self-service network %(network)s" % own,
            network.find_network(own["network"]),
            lambda: network.create_network(name=own["network"]),
        )
        subnet = self.make(
            "create subnet %(subnet)s of %(network)s" % own,
            network.find_subnet(own["network"]),
            lambda: self.served(
                network.create_subnet(name=own["network"], network_id=inside.id, ip_version=4, cidr=own["subnet"])
            ),
        )

        return inside, subnet

    def router(self, outside, subnet):
        """Guide: create a router between the two."""
        network, own = self.cloud.network, self.p["selfservice"]

        def create():
            router = network.create_router(name=own["router"], external_gateway_info={"network_id": outside.id})
            network.add_interface_to_router(router, subnet_id=subnet.id)
            return router

        self.make("create router %(router)s" % own, network.find_router(own["router"]), create)

    def has_dhcp_agents(self):
        """Whether agents answer DHCP. OVN does it itself."""
        return any(agent.is_alive for agent in self.cloud.network.agents(agent_type="DHCP agent"))

    def served(self, subnet):
        """Return the subnet when its DHCP port is there, so that one network is plugged after the other.

        Open vSwitch 3.1 in userspace loses ports that are plugged at the same moment; the DHCP agent tries again after minutes.
        """
        network = self.cloud.network
        if self.has_dhcp_agents():
            self.wait(
                "the DHCP port of subnet %s" % subnet.cidr,
                lambda: any(
                    port.status == "ACTIVE" for port in network.ports(network_id=subnet.network_id, device_owner="network:dhcp")
                ),
            )
        return subnet

    def rules(self, project_id):
        """Guide: add security group rules (and HTTP, which the instance answers)."""
        network = self.cloud.network
        group = next(network.security_groups(name="default", project_id=project_id))
        present = {
            (rule.protocol, rule.port_range_min)
            for rule in network.security_group_rules(security_group_id=group.id, direction="ingress")
        }
        for protocol, port in RULES:
            self.make(
                "admit %s%s" % (protocol, " port %d" % port if port else ""),
                (protocol, port) in present,
                lambda protocol=protocol, port=port: network.create_security_group_rule(
                    security_group_id=group.id,
                    direction="ingress",
                    ether_type="IPv4",
                    protocol=protocol,
                    port_range_min=port,
                    port_range_max=port,
                ),
            )

    def server(self, image, flavor, inside):
        """Guide: launch an instance on the self-service network."""
        compute = self.cloud.compute
        return self.make(
            "launch instance %(name)s" % self.p,
            compute.find_server(self.p["name"]),
            lambda: compute.create_server(
                name=self.p["name"], image_id=image.id, flavor_id=flavor.id, networks=[{"uuid": inside.id}]
            ),
        )

    def launched(self, server):
        """The server once it is ACTIVE."""
        if server and self.module.check_mode:
            return self.active(server.id)
        return server and self.wait("instance %(name)s to be ACTIVE" % self.p, lambda: self.active(server.id))

    def active(self, server_id):
        """The server when it is ACTIVE; starts it when it is SHUTOFF, and fails at once when it never will be ACTIVE."""
        server = self.cloud.compute.get_server(server_id)
        if server.status == "ERROR":
            fault = server.fault or {}
            message = "instance %s: %s" % (server.name, fault.get("message", "no fault given"))
            said = last_host_fault(server_id)
            message = "%s The last host that tried it said: %s" % (message, said) if said else message
            result.fail(self.module, message, self.actions)
        self.last = {"status": server.status}
        if server.status == "SHUTOFF" and not server.task_state:
            self.make("start instance %(name)s" % self.p, None, lambda: self.cloud.compute.start_server(server_id))
        return server if server.status == "ACTIVE" else None

    def floating_address(self, server, outside):
        """Guide: create a floating IP address and associate it with the instance."""
        port = next(self.cloud.network.ports(device_id=server.id))
        existing = next(self.cloud.network.ips(port_id=port.id), None)
        created = self.make(
            "associate a floating address",
            existing,
            lambda: self.cloud.network.create_ip(floating_network_id=outside.id, port_id=port.id),
        )
        return port.fixed_ips[0]["ip_address"], created and created.floating_ip_address

    def wait(self, what, ask):
        """The first true answer, or a failure that says what was waited for."""
        deadline = time.monotonic() + self.p["timeout"]
        while True:
            answer = ask()
            if answer:
                return answer
            if time.monotonic() > deadline:
                result.fail(self.module, "waited %d s for %s" % (self.p["timeout"], what), self.actions, **self.last)
            time.sleep(1)

    def console(self, server):
        """The lines of the console once it shows the pattern."""

        def ask():
            try:
                output = self.cloud.compute.get_server_console_output(server.id)["output"] or ""
            except openstack.exceptions.NotFoundException:
                # It ended with its host, and Nova counts it as ACTIVE until it compares the two.
                self.active(server.id)
                return None
            self.last = {"console": output.splitlines()[-30:]}
            return output if re.search(self.p["console_pattern"], output) else None

        return self.wait("the console of %s to show %r" % (server.name, self.p["console_pattern"]), ask)

    def http(self, address):
        """What the instance answers."""

        url = "http://%s:%d/" % (address, self.p["port"])

        def answer():
            try:
                status, body = ask(url, timeout=5, most=200)
            except NoAnswer as error:
                self.last = {"last_error": str(error)}
                return None
            self.last = {"last_error": "HTTP status %d" % status}
            return (body.decode("utf-8", "replace").strip() or "(an empty page)") if status < 400 else None

        return self.wait("an answer of %s" % url, answer)


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "auth": AUTH,
            "region": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "image": {"type": "dict", "required": True},
            "flavor": {"type": "dict", "required": True},
            "provider": {"type": "dict", "required": True},
            "selfservice": {"type": "dict", "required": True},
            "console_pattern": {"type": "str"},
            "port": {"type": "int", "default": 80},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    p = module.params
    if openstack is None:
        if module.check_mode:
            result.leave(module, ["launch instance %(name)s" % p])
        module.fail_json(msg="python3-openstacksdk is missing on this host; the role keystone installs it")
    cloud = connect(
        openstack,
        auth=p["auth"],
        region_name=p["region"],
        compute_api_version="2",
        image_api_version="2",
        network_api_version="2",
    )
    launch = Launch(module, cloud)
    found = {}
    try:
        image, flavor = launch.image(), launch.flavor()
        # The instance needs its own network only: the rest is made while it starts, unless ports are plugged one after the other.
        outside = launch.provider() if launch.has_dhcp_agents() else None
        inside, subnet = launch.selfservice()
        server = launch.server(image, flavor, inside)
        outside = outside or launch.provider()
        launch.router(outside, subnet)
        launch.rules(cloud.current_project_id)
        server = launch.launched(server)
        if server:
            fixed, floating = launch.floating_address(server, outside)
            found = {"server": {"id": server.id, "name": server.name, "fixed_address": fixed, "floating_address": floating}}
            if p["console_pattern"]:
                launch.console(server)
            if p["port"] and floating:
                found["answer"] = launch.http(floating)
    except openstack.exceptions.SDKException as error:
        if not module.check_mode:
            result.fail(module, str(error), launch.actions)
        launch.actions.append("launch instance %(name)s" % p)
    result.leave(module, launch.actions, **found)


if __name__ == "__main__":
    main()
