#!/usr/bin/python
"""The guide's last steps: `openstack compute service list` and `network agent list`, until they show all of every host up."""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova.auth import AUTH
from ansible.module_utils.kilonova.http import connect

try:
    import openstack
    from keystoneauth1.exceptions import ClientException
except ImportError:  # check mode on a fresh host: the package comes with this very run
    openstack = ClientException = None

DOCUMENTATION = r"""
module: compute_services
short_description: Wait until openstack compute service list and network agent list show everything expected up
description:
  - Reads only. Fails with the list when a service or agent is missing or down after C(timeout) seconds, or has disabled itself
    because it cannot work. One that an operator disabled, for maintenance, is a warning. Check mode waits for nothing.
options:
  auth: {type: dict, required: true, description: 'auth_url, username, password, project_name and domain names.'}
  region: {type: str, required: true, description: Region of the Compute service.}
  expected: {type: dict, required: true, description: Binary to the list of its hosts.}
  agents: {type: dict, default: {}, description: 'The same for agents of the Networking service, which is asked only for these.'}
  timeout: {type: int, default: 120, description: Seconds to wait for all of them.}
"""


def table(services):
    """The lines of `openstack compute service list`."""
    rows = [("Binary", "Host", "Zone", "Status", "State")]
    rows += sorted((s["binary"], s["host"], s["zone"], s["status"], s["state"]) for s in services)
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def disabled(services):
    """(binary, host) of services that an operator disabled; nova-compute gives a reason of this form when it does so itself."""
    return {
        (s["binary"], s["host"])
        for s in services
        if s["status"] == "disabled" and not (s.get("disabled_reason") or "").startswith("AUTO:")
    }


def missing(services, wanted):
    """Services of `wanted` that do not exist, are down, or have disabled themselves."""
    up = {(s["binary"], s["host"]) for s in services if s["state"] == "up" and s["status"] == "enabled"}
    idle = {(s["binary"], s["host"]) for s in services if s["state"] == "up"} & disabled(services)
    return sorted(wanted - up - idle)


def as_services(agents):
    """Agents of the Networking service as rows of the same table."""
    return [
        {
            "binary": agent["binary"],
            "host": agent["host"],
            "zone": agent.get("availability_zone") or "-",
            "status": "enabled" if agent["admin_state_up"] else "disabled",
            "state": "up" if agent["alive"] else "down",
        }
        for agent in agents
    ]


def pairs(expected):
    """(binary, host) of each."""
    return {(binary, host) for binary, hosts in expected.items() for host in hosts}


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "auth": AUTH,
            "region": {"type": "str", "required": True},
            "expected": {"type": "dict", "required": True},
            "agents": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    p = module.params
    if module.check_mode:
        # A plan waits for nothing, and which services are up is not for it to say.
        module.exit_json(changed=False)
    connection = connect(openstack, auth=p["auth"], region_name=p["region"], compute_api_version="2")
    agents = pairs(p["agents"])
    wanted = pairs(p["expected"]) | agents
    deadline = time.monotonic() + p["timeout"]
    services, problem = [], ""
    while True:
        try:
            services = connection.compute.get("/os-services").json()["services"]
            if agents:
                services += as_services(connection.network.get("/agents").json()["agents"])
            left = missing(services, wanted)
            if not left:
                for binary, host in sorted(wanted & disabled(services)):
                    enable = "openstack compute service set --enable %s %s" % (host, binary)
                    if (binary, host) in agents:
                        enable = "openstack network agent set --enable, with its ID of `openstack network agent list`"
                    module.warn("%s on %s is disabled; %s" % (binary, host, enable))
                module.exit_json(changed=False, table=table(services))
            problem = "not enabled and up: %s" % ", ".join("%s on %s" % pair for pair in left)
        # Keystone's client has errors of its own.
        except (openstack.exceptions.SDKException, ClientException, KeyError) as error:
            problem = str(error)
        if time.monotonic() > deadline:
            break
        time.sleep(0.5)
    module.fail_json(msg="after %d s %s" % (p["timeout"], problem), table=table(services))


if __name__ == "__main__":
    main()
