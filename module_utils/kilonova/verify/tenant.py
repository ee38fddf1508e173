"""The project that a run makes for itself, and its complete removal, also of one that an interrupted run left."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from urllib.parse import urlencode

from .cloud import ApiError, Cloud
from .engine import Failure

PREFIX = "kilonova-verify-"
REMOVAL_LIMIT = 180


def describe(limit: int) -> str:
    """A project's description: it tells other runs whether this one may still be going on."""
    return json.dumps({"kilonova": "verify", "host": socket.gethostname(), "pid": os.getpid(), "until": int(time.time()) + limit})


def abandoned(description: str, now: float, host: str, alive) -> bool:
    """Whether the run that wrote the description is over: `alive(pid)` tells of processes of this host."""
    try:
        data = json.loads(description)
        until, pid, where = float(data["until"]), int(data["pid"]), str(data["host"])
    except (ValueError, KeyError, TypeError):
        return True
    return now > until or (where == host and not alive(pid))


def process_alive(pid: int) -> bool:
    """Whether such a process runs here and is a Python program (numbers are given again)."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return b"python" in stream.read()
    except OSError:
        return False


class Tenant:
    """A project, a user that is its member, and flavors that only it sees."""

    def __init__(self, admin: Cloud, name: str):
        """Nothing is made yet."""
        self.admin, self.name = admin, name
        self.project_id = self.user_id = ""
        self.flavors: dict[str, str] = {}

    def create(self, limit: int, role: str) -> dict:
        """Make project and user; returns what the user authenticates with. Its password lives in this process only."""
        admin, password = self.admin, secrets.token_urlsafe(24)
        project = {"name": self.name, "domain_id": "default", "description": describe(limit)}
        self.project_id = admin.post("identity", "/projects", {"project": project})["project"]["id"]
        user = {"name": self.name, "domain_id": "default", "password": password, "default_project_id": self.project_id}
        self.user_id = admin.post("identity", "/users", {"user": user})["user"]["id"]
        # By name: the Identity service may cut its lists ([role] list_limit).
        found = admin.get("identity", f"/roles?{urlencode({'name': role})}")["roles"]
        if not found:
            raise Failure(f"the Identity service has no role {role}")
        admin.call("identity", "PUT", f"/projects/{self.project_id}/users/{self.user_id}/roles/{found[0]['id']}")
        return {
            "username": self.name,
            "password": password,
            "project_name": self.name,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }

    def find(self) -> str:
        """The project's id, also when its making was answered but the answer never arrived."""
        if not self.project_id:
            projects = self.admin.get("identity", f"/projects?name={self.name}")["projects"]
            self.project_id = projects[0]["id"] if projects else ""
        return self.project_id

    def flavor(self, kind: str, size: dict) -> str:
        """Make a flavor that only this project sees; returns its id."""
        name = f"{self.name}-{kind}"
        body = {
            "name": name,
            "ram": size["ram"],
            "disk": size["disk"],
            "vcpus": size["vcpus"],
            "os-flavor-access:is_public": False,
        }
        flavor = self.admin.post("compute", "/flavors", {"flavor": body})["flavor"]
        self.flavors[kind] = flavor["id"]
        if size.get("extra_specs"):
            self.admin.post("compute", f"/flavors/{flavor['id']}/os-extra_specs", {"extra_specs": size["extra_specs"]})
        access = {"addTenantAccess": {"tenant": self.project_id}}
        self.admin.post("compute", f"/flavors/{flavor['id']}/action", access)
        return flavor["id"]


def leftovers(admin: Cloud, own: str, now: float | None = None) -> list[dict]:
    """Projects and flavors of runs that are over: [{name, project_id}]."""
    now = time.time() if now is None else now
    listed = admin.get("identity", f"/projects?name__startswith={PREFIX}")["projects"]
    projects = {item["name"]: item for item in listed if item["name"].startswith(PREFIX)}
    running = {
        name
        for name, item in projects.items()
        if not abandoned(item.get("description") or "", now, socket.gethostname(), process_alive)
    }
    names = set(projects)
    # A removal that broke off may have left a user or a flavor without its project.
    users = admin.get("identity", f"/users?name__startswith={PREFIX}")["users"]
    names |= {item["name"] for item in users if item["name"].startswith(PREFIX)}
    for item in admin.get("compute", "/flavors?is_public=None")["flavors"]:
        if item["name"].startswith(PREFIX):
            names.add("-".join(item["name"].split("-")[:3]))
    return [{"name": name, "project_id": projects.get(name, {}).get("id", "")} for name in sorted(names - running - {own})]


class Removal:
    """Remove everything of a project, asking until it is gone; keeps on after an error and says at the end what stayed."""

    def __init__(self, admin: Cloud, name: str, project_id: str, limit: int = REMOVAL_LIMIT):
        """Name and project of the run to remove."""
        self.admin, self.name, self.project_id, self.limit = admin, name, project_id, limit
        self.removed: list[str] = []
        self.problems: list[str] = []
        self.server_ids: list[str] = []

    def attempt(self, what: str, action, *arguments) -> None:
        """Do one thing; a refusal is a problem to report, not the end of the removal."""
        try:
            action(*arguments)
            self.removed.append(what)
        except Failure as error:
            self.problems.append(f"{what}: {error}")

    def listed(self, service: str, path: str, key: str) -> list[dict]:
        """A list, or an empty one where the service refuses."""
        try:
            return self.admin.get(service, path)[key]
        except Failure as error:
            self.problems.append(f"list of {key}: {error}")
            return []

    def servers(self) -> list[dict]:
        """The project's servers."""
        return self.listed("compute", f"/servers?all_tenants=1&project_id={self.project_id}", "servers")

    def run(self) -> Removal:
        """Everything, what depends on another thing first."""
        if self.project_id:
            self.remove_servers()
            self.remove_volumes()
            self.remove_images()
            self.remove_networks()
        self.remove_account()
        return self

    def remove_servers(self) -> None:
        """Delete the servers and wait until Nova does not know them any more; then their groups."""
        admin = self.admin
        for server in self.servers():
            self.server_ids.append(server["id"])
            self.attempt(f"server {server['name']}", admin.delete, "compute", f"/servers/{server['id']}")
        deadline = time.monotonic() + self.limit
        forced = False
        while self.server_ids and (left := self.servers()):
            if time.monotonic() > deadline:
                self.problems.append(f"waited {self.limit} s for servers to be gone: {', '.join(item['id'] for item in left)}")
                break
            if not forced and time.monotonic() > deadline - self.limit / 2:
                forced = True
                for server in left:
                    self.attempt(
                        f"server {server['name']}, by force",
                        admin.post,
                        "compute",
                        f"/servers/{server['id']}/action",
                        {"forceDelete": None},
                    )
            time.sleep(1)
        for group in self.listed("compute", "/os-server-groups?all_projects=true", "server_groups"):
            if group.get("project_id") == self.project_id:
                self.attempt(f"server group {group['name']}", admin.delete, "compute", f"/os-server-groups/{group['id']}")

    def remove_volumes(self) -> None:
        """Volumes, where there is a volume service."""
        endpoint = volume_service(self.admin)
        if not endpoint:
            return
        connection = self.admin.connection
        for volume in (
            connection.block_storage.get(f"/volumes/detail?all_tenants=1&project_id={self.project_id}").json().get("volumes", [])
        ):
            connection.block_storage.delete(f"/volumes/{volume['id']}?cascade=true")
            self.removed.append(f"volume {volume['name']}")

    def remove_images(self) -> None:
        """Snapshots."""
        for image in self.listed("image", f"/images?owner={self.project_id}", "images"):
            if image["owner"] == self.project_id:
                self.attempt(f"image {image['name']}", self.admin.delete, "image", f"/images/{image['id']}")

    def remove_networks(self) -> None:
        """Floating addresses, routers, ports, networks, security groups."""
        admin, mine = self.admin, f"?project_id={self.project_id}"
        for item in self.listed("network", f"/floatingips{mine}", "floatingips"):
            self.attempt(f"floating address {item['floating_ip_address']}", admin.delete, "network", f"/floatingips/{item['id']}")
        for router in self.listed("network", f"/routers{mine}", "routers"):
            for port in self.listed("network", f"/ports?device_id={router['id']}", "ports"):
                if port["device_owner"].startswith("network:") and "gateway" not in port["device_owner"]:
                    self.attempt(
                        f"interface of router {router['name']}",
                        admin.call,
                        "network",
                        "PUT",
                        f"/routers/{router['id']}/remove_router_interface",
                        {"port_id": port["id"]},
                    )
            self.attempt(f"router {router['name']}", admin.delete, "network", f"/routers/{router['id']}")
        for port in self.listed("network", f"/ports{mine}", "ports"):
            if not port["device_owner"].startswith("network:"):
                self.attempt(f"port {port['id']}", admin.delete, "network", f"/ports/{port['id']}")
        for network in self.listed("network", f"/networks{mine}", "networks"):
            self.attempt(f"network {network['name']}", admin.delete, "network", f"/networks/{network['id']}")
        # Neutron makes a group `default` for every project that asks for one, and keeps it when the project goes.
        for group in self.listed("network", f"/security-groups{mine}", "security_groups"):
            self.attempt(f"security group {group['name']}", admin.delete, "network", f"/security-groups/{group['id']}")

    def remove_account(self) -> None:
        """Flavors, key pairs, user and project."""
        admin = self.admin
        for flavor in self.listed("compute", "/flavors?is_public=None", "flavors"):
            if flavor["name"].startswith(self.name + "-"):
                self.attempt(f"flavor {flavor['name']}", admin.delete, "compute", f"/flavors/{flavor['id']}")
        for user in self.listed("identity", f"/users?name={self.name}", "users"):
            for pair in self.listed("compute", f"/os-keypairs?user_id={user['id']}", "keypairs"):
                key = pair["keypair"]["name"]
                self.attempt(f"key pair {key}", admin.delete, "compute", f"/os-keypairs/{key}?user_id={user['id']}")
            self.attempt(f"user {self.name}", admin.delete, "identity", f"/users/{user['id']}")
        if self.project_id and not self.problems:
            # Last, and only when nothing of it is left: without its project, what stayed could not be found again.
            self.attempt(f"project {self.name}", admin.delete, "identity", f"/projects/{self.project_id}")


def volume_service(cloud: Cloud) -> str:
    """The endpoint of a volume service that the catalogue lists, or nothing."""
    try:
        catalogue = cloud.connection.session.auth.get_access(cloud.connection.session).service_catalog.catalog or []
    except (AttributeError, ApiError):
        return ""
    for entry in catalogue:
        if entry.get("type") in ("block-storage", "volumev3", "block-store"):
            return next((endpoint["url"] for endpoint in entry.get("endpoints", [])), "")
    return ""


def residue(admin: Cloud, project_id: str, server_ids: list[str]) -> list[str]:
    """What Nova, Neutron and Placement still know of the servers: nothing, if all is well."""
    left = []
    for server in admin.get("compute", f"/servers?all_tenants=1&project_id={project_id}")["servers"]:
        left.append(f"Nova: server {server['id']} ({server['name']})")
    for server_id in server_ids:
        for port in admin.get("network", f"/ports?device_id={server_id}")["ports"]:
            left.append(f"Neutron: port {port['id']} of server {server_id}")
        allocations = admin.get("placement", f"/allocations/{server_id}")["allocations"]
        for provider, allocation in allocations.items():
            left.append(f"Placement: allocation of {server_id} on provider {provider}: {allocation['resources']}")
    return left
