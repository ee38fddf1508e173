"""The cloud at a glance: what an administrator would ask first."""

from __future__ import annotations

from .cloud import Cloud
from .engine import Failure


def describe(admin: Cloud) -> dict:
    """Services, agents, compute nodes, networks, images, endpoints and API versions; a part that cannot be had is left out."""
    parts = {
        "services": services,
        "agents": agents,
        "computes": computes,
        "networks": networks,
        "images": images,
        "endpoints": endpoints,
        "apis": apis,
        "count": count,
    }
    found: dict = {}
    for name, part in parts.items():
        try:
            found[name] = part(admin)
        except (Failure, KeyError) as error:
            found.setdefault("unknown", []).append(f"{name}: {error}")
    return found


def services(admin: Cloud) -> list[dict]:
    """Compute services."""
    listed = admin.get("compute", "/os-services")["services"]
    return [{key: item[key] for key in ("binary", "host", "zone", "status", "state")} for item in listed]


def agents(admin: Cloud) -> list[dict]:
    """Network agents."""
    listed = admin.get("network", "/agents")["agents"]
    return [
        {"binary": item["binary"], "host": item["host"], "alive": item["alive"], "enabled": item["admin_state_up"]}
        for item in listed
    ]


def computes(admin: Cloud) -> list[dict]:
    """Compute nodes with their room, as the scheduler sees it."""
    result = []
    hypervisors = {item["hypervisor_hostname"]: item for item in admin.get("compute", "/os-hypervisors/detail")["hypervisors"]}
    for provider in admin.get("placement", "/resource_providers")["resource_providers"]:
        path = f"/resource_providers/{provider['uuid']}"
        inventories = admin.get("placement", f"{path}/inventories")["inventories"]
        used = admin.get("placement", f"{path}/usages")["usages"]
        hypervisor = hypervisors.get(provider["name"], {})
        result.append(
            {
                "name": provider["name"],
                "type": hypervisor.get("hypervisor_type", ""),
                "version": hypervisor_version(hypervisor.get("hypervisor_version")),
                "state": hypervisor.get("state", ""),
                "resources": {
                    kind: {"total": int((item["total"] - item["reserved"]) * item["allocation_ratio"]), "used": used.get(kind, 0)}
                    for kind, item in sorted(inventories.items())
                },
            }
        )
    return sorted(result, key=lambda item: item["name"])


def hypervisor_version(number: int | None) -> str:
    """7002022 is 7.2.22."""
    return f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}" if number else ""


def networks(admin: Cloud) -> list[dict]:
    """Networks that are shared or external, and how many others there are are left to `count`."""
    subnets: dict[str, list] = {}
    for item in admin.get("network", "/subnets")["subnets"]:
        subnets.setdefault(item["network_id"], []).append(item["cidr"])
    listed = admin.get("network", "/networks")["networks"]
    return [
        {
            "name": item["name"],
            "type": item.get("provider:network_type") or "",
            "physical": item.get("provider:physical_network") or "",
            "external": item.get("router:external", False),
            "shared": item["shared"],
            "mtu": item.get("mtu"),
            "subnets": sorted(subnets.get(item["id"], [])),
        }
        for item in sorted(listed, key=lambda item: item["name"])
        if not item["name"].startswith("kilonova-verify-")
    ]


def images(admin: Cloud) -> list[dict]:
    """Images."""
    listed = admin.get("image", "/images?limit=100")["images"]
    keys = ("name", "status", "size", "disk_format", "visibility")
    return [{key: item.get(key) for key in keys} for item in listed if not (item["name"] or "").startswith("kilonova-verify-")]


def endpoints(admin: Cloud) -> list[dict]:
    """The catalogue."""
    session = admin.connection.session
    catalogue = session.auth.get_access(session).service_catalog.catalog
    return [
        {"service": entry["name"], "type": entry["type"], **{item["interface"]: item["url"] for item in entry["endpoints"]}}
        for entry in sorted(catalogue, key=lambda entry: entry["type"])
    ]


def apis(admin: Cloud) -> list[dict]:
    """Microversions."""
    result = []
    for service in ("compute", "placement"):
        data = getattr(admin.connection, service).get_endpoint_data()
        result.append({"service": service, "oldest": shown(data.min_microversion), "newest": shown(data.max_microversion)})
    return result


def shown(version) -> str:
    """(2, 93) is 2.93."""
    return ".".join(str(part) for part in version) if version else ""


def count(admin: Cloud) -> dict:
    """How much there is, without the run's own."""
    servers = admin.get("compute", "/servers?all_tenants=1")["servers"]
    return {"servers": len([item for item in servers if not item["name"].startswith("kilonova-verify-")])}
