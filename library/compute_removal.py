#!/usr/bin/python
"""Take a compute node out of Nova, Placement and Neutron, without a trace and only when it is empty."""

import shutil
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, database, lock, result
from ansible.module_utils.kilonova.auth import AUTH
from ansible.module_utils.kilonova.http import connect

try:
    import openstack
except ImportError:
    openstack = None

DOCUMENTATION = r"""
module: compute_removal
short_description: Take a compute node out of the cloud, when no instance is there
description:
  - C(vacated) refuses while there are instances or unfinished migrations, and disables the compute service.
  - C(absent) deletes the compute service, the Networking agents, the host mapping, the resource provider and the allocations
    that nobody needs any more; the host's own services must have been stopped before, or they report themselves again.
  - Hosts are compared by their whole names. A name that nobody knows is refused while its host runs nova-compute, or while Nova
    knows a name that differs in case or domain only. So an inventory's name that is not Nova's protects no instance less.
  - Allocations lose this provider only. What an evacuated instance has on another host stays.
options:
  auth: {type: dict, required: true, description: 'auth_url, username, password, project_name and domain names.'}
  region: {type: str, required: true, description: Region of the cloud.}
  host: {type: str, required: true, description: Name of the host as Nova knows it.}
  hostname: {type: str, default: '', description: What the host calls itself. Empty when it does not answer.}
  runs: {type: bool, default: false, description: Whether the host answers and nova-compute runs there or starts with it.}
  state: {type: str, choices: [vacated, absent], required: true, description: What to reach.}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: MariaDB's local socket.}
  login: {type: dict, description: 'host, port, user and password of an external server; without it, the local socket.'}
"""

# Services have UUIDs since 2.53.
VERSION = {"OpenStack-API-Version": "compute 2.53"}
# A consumer has a generation since 1.28, and is gone when it has no allocation left.
PLACEMENT = {"OpenStack-API-Version": "placement 1.28"}
TRIES = 5
FINISHED = ("done", "completed", "confirmed", "reverted", "error", "failed", "cancelled", "finished-by-revert")
MAPPING = (
    "SELECT cell_mappings.uuid FROM nova_api.host_mappings JOIN nova_api.cell_mappings ON cell_mappings.id = cell_id"
    " WHERE host = %s"
)


class Host:
    """Everything that the cloud knows of one host."""

    def __init__(self, module, connection):
        """Take the administrator's connection."""
        self.module, self.name = module, module.params["host"]
        self.compute, self.placement, self.network = connection.compute, connection.placement, connection.network

    def services(self):
        """Every nova-compute."""
        return self.compute.get("/os-services", params={"binary": "nova-compute"}, headers=VERSION).json()["services"]

    def service(self):
        """Its nova-compute, or None."""
        return next((one for one in self.services() if one["host"] == self.name), None)

    def refuse_wrong_name(self):
        """Fail when the name is not the one by which Nova and Neutron know the host: nothing would protect its instances."""
        p = self.module.params
        names = sorted({one["host"] for one in self.services()} | {one["host"] for one in self.every_agent()})
        if p["hostname"] and p["hostname"] != self.name and p["hostname"] in names:
            self.module.fail_json(
                msg="remove_compute_host = %s: the host calls itself %s, and Nova knows it so; leave remove_compute_host out, or "
                "name the right compute node. Nothing was removed." % (self.name, p["hostname"])
            )
        if self.known():
            return
        near = [name for name in names if name.partition(".")[0].lower() == self.name.partition(".")[0].lower()]
        if near or p["runs"]:
            self.module.fail_json(
                msg="remove_compute_host = %s: Nova and Neutron know no such host; set it to one of: %s (as `openstack compute "
                "service list` shows it). Nothing was removed." % (self.name, ", ".join(near or names))
            )

    def instances(self):
        """'name (UUID)' of every instance on the host, whoever owns it."""
        found, marker = [], None
        while True:
            query = {"all_tenants": "1", "host": self.name, "limit": "500", **({"marker": marker} if marker else {})}
            page = self.compute.get("/servers/detail", params=query, headers=VERSION).json()["servers"]
            found += ["%(name)s (%(id)s)" % one for one in page if one["OS-EXT-SRV-ATTR:host"] == self.name]
            if not page:
                return found
            marker = page[-1]["id"]

    def migrations(self):
        """Instances that are on their way from or to the host, a resize that waits to be confirmed among them."""
        rows = self.compute.get("/os-migrations", params={"host": self.name}, headers=VERSION).json()["migrations"]
        return sorted({row["instance_uuid"] for row in rows if row["status"] not in FINISHED})

    def every_agent(self):
        """Every Networking agent."""
        return self.network.get("/agents").json()["agents"]

    def agents(self):
        """Its Networking agents."""
        return [one for one in self.every_agent() if one["host"] == self.name]

    def provider(self):
        """Its resource provider, or None. The hypervisor may call itself by the host's full name (libvirt does)."""
        rows = self.compute.get("/os-hypervisors/detail", headers=VERSION).json()["hypervisors"]
        others = {row["hypervisor_hostname"] for row in rows if row["service"]["host"] != self.name}
        found = self.placement.get("/resource_providers", headers=PLACEMENT).json()["resource_providers"]
        return next(
            (
                one
                for one in found
                if one["name"] not in others and (one["name"] == self.name or one["name"].startswith(self.name + "."))
            ),
            None,
        )

    def delete_provider(self, root):
        """Delete a resource provider with those below it, after everybody's allocations from them."""
        tree = self.placement.get("/resource_providers", params={"in_tree": root}, headers=PLACEMENT).json()["resource_providers"]
        parents = {one["uuid"]: one["parent_provider_uuid"] for one in tree}

        def depth(one):
            return 0 if one not in parents or one == root else 1 + depth(parents[one])

        for uuid in sorted(parents, key=depth, reverse=True):
            path = "/resource_providers/%s" % uuid
            for consumer in self.placement.get(path + "/allocations", headers=PLACEMENT).json()["allocations"]:
                self.release(consumer, uuid)
            self.placement.delete(path, headers=PLACEMENT, raise_exc=True)

    def release(self, consumer, provider):
        """Take this provider out of a consumer's allocations; what the consumer has elsewhere stays."""
        path, reply = "/allocations/%s" % consumer, None
        for _try in range(TRIES):
            held = self.placement.get(path, headers=PLACEMENT).json()
            if provider not in held["allocations"]:
                return
            left = {one: {"resources": row["resources"]} for one, row in held["allocations"].items() if one != provider}
            body = {name: held[name] for name in ("project_id", "user_id", "consumer_generation")}
            reply = self.placement.put(path, json={**body, "allocations": left}, headers=PLACEMENT, raise_exc=False)
            # 409: it was changed meanwhile.
            if reply.status_code != 409:
                break
        if reply.status_code != 204:
            self.module.fail_json(msg="Placement does not release %s from %s: %s" % (consumer, self.name, reply.text[:400]))

    def cell(self):
        """UUID of the cell that it is mapped to, or None."""
        rows = database.ask(self.module, MAPPING, (self.name,))
        return rows[0][0] if rows else None

    def known(self):
        """What the cloud has of the host, in words."""
        things = {"compute service": self.service(), "host mapping": self.cell(), "resource provider": self.provider()}
        words = [word for word, thing in things.items() if thing]
        return words + [agent["agent_type"] for agent in self.agents()]

    def refuse_while_needed(self):
        """Fail while the host is needed."""
        instances, migrations = self.instances(), self.migrations()
        if instances:
            self.module.fail_json(
                msg="%s has %d instances: %s; migrate or delete them, then run this again. Nothing was removed."
                % (self.name, len(instances), ", ".join(instances[:10]))
            )
        if migrations:
            self.module.fail_json(
                msg="%s takes part in unfinished migrations of %s; confirm, revert or wait for them, then run this again. "
                "Nothing was removed." % (self.name, ", ".join(migrations[:10]))
            )

    def enable(self, status):
        """Set the service's status."""
        self.compute.put("/os-services/%s" % self.service()["id"], json={"status": status}, headers=VERSION)

    def delete(self):
        """Delete it everywhere. Nova's own deletion takes mapping and provider along, where it gets that far."""
        if self.service():
            reply = self.compute.delete("/os-services/%s" % self.service()["id"], headers=VERSION, raise_exc=False)
            if reply.status_code != 204:
                self.module.fail_json(msg="Nova does not delete nova-compute of %s: %s" % (self.name, reply.text[:400]))
        provider = self.provider()
        if provider:
            self.delete_provider(provider["uuid"])
        cell = self.cell()
        if cell:
            mapping = ["--cell_uuid", cell, "--host", self.name]
            self.run("nova-manage", "cell_v2", "delete_host", *mapping, user="nova")
        self.delete_chassis()
        for agent in self.agents():
            # OVN's agents disappear with their chassis.
            self.network.delete("/agents/%s" % agent["id"], raise_exc=False)

    def delete_chassis(self):
        """Take the host out of OVN's southbound database, where there is one; one that was stopped properly is not there."""
        if not shutil.which("ovn-sbctl"):
            return
        found = self.run("ovn-sbctl", "--bare", "--columns=name", "find", "Chassis", "hostname=%s" % self.name)
        for chassis in found.split():
            private = self.run("ovn-sbctl", "--bare", "--columns=_uuid", "find", "Chassis_Private", "name=%s" % chassis)
            self.run("ovn-sbctl", "chassis-del", chassis)
            for row in private.split():
                self.run("ovn-sbctl", "--if-exists", "destroy", "Chassis_Private", row)

    def run(self, *argv, user="root"):
        """Output of a command; fails with it."""
        done = command.run(*argv, user=user)
        if done.status:
            self.module.fail_json(msg="%s: %s" % (" ".join(argv), done.output[-400:]))
        return done.output


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "auth": AUTH,
            "region": {"type": "str", "required": True},
            "host": {"type": "str", "required": True},
            "hostname": {"type": "str", "default": ""},
            "runs": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["vacated", "absent"], "required": True},
            **database.options(),
        },
        supports_check_mode=True,
    )
    lock.take(module)
    p = module.params
    connection = connect(openstack, auth=p["auth"], region_name=p["region"], compute_api_version="2")
    host = Host(module, connection)
    actions = []
    try:
        host.refuse_wrong_name()
        host.refuse_while_needed()
        service = host.service()
        if p["state"] == "vacated":
            if service and service["status"] == "enabled":
                actions.append("disable nova-compute of %(host)s" % p)
                if not module.check_mode:
                    with result.doing(module, actions):
                        host.enable("disabled")
                        # What was scheduled in between.
                        host.refuse_while_needed()
        else:
            actions = ["delete %s of %s" % (thing, p["host"]) for thing in host.known()]
            if actions and not module.check_mode:
                with result.doing(module, actions):
                    host.delete()
                    deadline = time.monotonic() + 30
                    left = host.known()
                    while left and time.monotonic() < deadline:
                        time.sleep(1)
                        left = host.known()
                    if left:
                        module.fail_json(msg="%s is still known: %s; do its services run?" % (p["host"], ", ".join(left)))
    except openstack.exceptions.SDKException as error:
        module.fail_json(msg="the cloud's answer: %s" % error)
    except database.Error as error:
        module.fail_json(msg="reading Nova's databases %s: %s" % (database.where(module), error))
    result.leave(module, actions)


if __name__ == "__main__":
    main()
