#!/usr/bin/python
"""Boot one instance with a request id of our own, or remove it again."""

import datetime
import re
import time
import uuid

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova.auth import AUTH
from ansible.module_utils.kilonova.http import connect as connect_to

try:
    import openstack
    from keystoneauth1 import exceptions as keystone_exceptions
except ImportError:
    openstack = None

DOCUMENTATION = r"""
module: trace_launch
short_description: Boot one instance that can be followed through every service
description:
  - Logs in again, so that no service has seen the token, and creates an instance with a global
    C(X-Openstack-Request-Id). Waits until it is ACTIVE and, when asked, until its console shows a pattern.
  - A leftover of that name is removed first.
  - A launch that fails is a result, not a failure of the module; the answer of the cloud is in C(launch.problem).
  - With C(state=absent), removes the instance and waits until it is gone.
options:
  auth: {type: dict, required: true, description: 'auth_url, username, password, project_name and domain names.'}
  region: {type: str, required: true, description: Region of the endpoints.}
  state: {type: str, choices: [present, absent], default: present, description: C(absent) removes the instance.}
  launched:
    type: dict
    description: >-
      What the action trace_dashboard returned: the instance exists, and this module adds what it would know had it made it.
  name: {type: str, required: true, description: Name of the instance.}
  image: {type: str, description: Name or id.}
  flavor: {type: str, description: Name or id.}
  network: {type: str, description: Name or id.}
  volume: {type: bool, default: false, description: Whether it boots from a volume that is made of the image.}
  timeout: {type: int, default: 300, description: Seconds for ACTIVE, and for the removal.}
  console_pattern: {type: str, default: "", description: Regular expression; empty waits for nothing.}
  console_timeout: {type: int, default: 60, description: Seconds for the pattern; not finding it is not a failure.}
"""


def now():
    """The moment, in UTC with microseconds."""
    return datetime.datetime.now(datetime.UTC).isoformat()


def connect(parameters):
    """A connection with a session of its own."""
    return connect_to(
        openstack,
        auth=parameters["auth"],
        region_name=parameters["region"],
        compute_api_version="2",
        image_api_version="2",
        network_api_version="2",
    )


def reply_problem(reply):
    """What the cloud says was wrong: the message inside of `badRequest`, `forbidden`, `computeFault` ..."""
    try:
        body = reply.json()
        message = next((value.get("message") for value in body.values() if isinstance(value, dict)), None)
    except ValueError:
        message = None
    return "HTTP %d: %s" % (reply.status_code, message or reply.text[:200])


def launch(cloud, parameters):
    """Create the instance and say what happened, and when."""
    launched = parameters["launched"]
    if not launched:
        remove(cloud, parameters)
    image = cloud.image.find_image(parameters["image"], ignore_missing=False)
    flavor = cloud.compute.find_flavor(parameters["flavor"], ignore_missing=False)
    network = cloud.network.find_network(parameters["network"], ignore_missing=False)
    catalogue = {service["type"] for service in cloud.session.auth.get_access(cloud.session).service_catalog.catalog}
    result = {
        "name": parameters["name"],
        "global_request_id": "" if launched else "req-%s" % uuid.uuid4(),
        "image_id": image.id,
        "image": image.name,
        "flavor": flavor.name,
        "network_id": network.id,
        "project_id": cloud.current_project_id,
        "volume": parameters["volume"],
        "volume_service": bool(catalogue & {"volumev3", "block-storage"}),
        "ports": [],
        "status": "",
        "problem": "",
        "fault": {},
    }
    if launched:
        result.update(launched, http_status=202, request_id=creation(cloud, launched["id"]))
        return followed(cloud, result, parameters)
    tenant = connect(parameters)
    result["token_asked"] = now()
    tenant.session.get_token()
    result["token_given"] = now()
    wanted = {"name": parameters["name"], "imageRef": image.id, "flavorRef": flavor.id, "networks": [{"uuid": network.id}]}
    if parameters["volume"]:
        disk = {"uuid": wanted.pop("imageRef"), "source_type": "image", "destination_type": "volume", "volume_size": 1}
        wanted["block_device_mapping_v2"] = [{**disk, "boot_index": 0, "delete_on_termination": True}]
    # The endpoint comes from the administrator's session: with the traced token, the first request is the one that matters.
    url = cloud.compute.get_endpoint().rstrip("/") + "/servers"
    headers = {"X-OpenStack-Request-ID": result["global_request_id"]}
    result["asked"] = now()
    reply = tenant.session.post(url, json={"server": wanted}, headers=headers, raise_exc=False, connect_retries=0)
    result["answered"] = now()
    result["http_status"] = reply.status_code
    result["request_id"] = reply.headers.get("X-Compute-Request-Id") or reply.headers.get("X-Openstack-Request-Id", "")
    if reply.status_code != 202:
        result["problem"] = reply_problem(reply)
        return result
    result["id"] = reply.json()["server"]["id"]
    return followed(cloud, result, parameters)


def creation(cloud, server_id):
    """The request id by which nova-api created an instance."""
    actions = cloud.compute.get("/servers/%s/os-instance-actions" % server_id).json()["instanceActions"]
    return next((action["request_id"] for action in actions if action["action"] == "create"), "")


def followed(cloud, result, parameters):
    """Add what is known of the instance once it is ACTIVE, or is not going to be."""
    server = wait_active(cloud, result, parameters["timeout"])
    result["seconds"] = round(time.time() - datetime.datetime.fromisoformat(result["asked"]).timestamp(), 1)
    for port in cloud.network.ports(device_id=result["id"]):
        result["ports"].append(
            {"id": port.id, "mac": port.mac_address, "addresses": [fixed["ip_address"] for fixed in port.fixed_ips or []]}
        )
    if server.get("status") == "ACTIVE" and parameters["console_pattern"]:
        result["console_seen"] = wait_console(cloud, result["id"], parameters)
    return result


def wait_active(cloud, result, timeout):
    """Ask until the instance is ACTIVE, is in ERROR or the time is over."""
    deadline = time.monotonic() + timeout
    while True:
        server = cloud.compute.get("/servers/%s" % result["id"]).json()["server"]
        result["status"] = server["status"]
        result["host"] = server.get("OS-EXT-SRV-ATTR:host") or ""
        result["domain"] = server.get("OS-EXT-SRV-ATTR:instance_name") or ""
        if server["status"] == "ACTIVE":
            result["active"] = now()
            return server
        if server["status"] == "ERROR":
            fault = server.get("fault") or {}
            result["fault"] = {key: str(fault.get(key, "")) for key in ("code", "message", "created")}
            result["problem"] = "the instance is in ERROR: %s" % (fault.get("message") or "Nova gives no fault")
            return server
        if time.monotonic() > deadline:
            state = "%s, task %s" % (server["status"], server.get("OS-EXT-STS:task_state"))
            result["problem"] = "the instance is not ACTIVE after %d s (%s)" % (timeout, state)
            return server
        time.sleep(0.5)


def wait_console(cloud, server_id, parameters):
    """When the console showed the pattern; empty when it did not in time."""
    deadline = time.monotonic() + parameters["console_timeout"]
    while time.monotonic() < deadline:
        reply = cloud.compute.post("/servers/%s/action" % server_id, json={"os-getConsoleOutput": {"length": 200}})
        if reply.status_code == 200 and re.search(parameters["console_pattern"], reply.json().get("output") or ""):
            return now()
        time.sleep(1)
    return ""


def remove(cloud, parameters):
    """Delete every instance of that name; true when there was one."""
    servers = list(cloud.compute.servers(details=False, name="^%s$" % re.escape(parameters["name"])))
    for server in servers:
        cloud.compute.delete_server(server, ignore_missing=True)
    deadline = time.monotonic() + parameters["timeout"]
    for server in servers:
        while cloud.compute.get("/servers/%s" % server.id).status_code != 404:
            if time.monotonic() > deadline:
                raise TimeoutError("instance %s (%s) is still there after %d s" % (server.name, server.id, parameters["timeout"]))
            time.sleep(0.5)
    return bool(servers)


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "auth": AUTH,
            "region": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "name": {"type": "str", "required": True},
            "image": {"type": "str"},
            "flavor": {"type": "str"},
            "network": {"type": "str"},
            "volume": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 300},
            "console_pattern": {"type": "str", "default": ""},
            "console_timeout": {"type": "int", "default": 60},
            "launched": {"type": "dict"},
        },
        required_if=[("state", "present", ("image", "flavor", "network"))],
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    if openstack is None:
        module.fail_json(msg="python3-openstacksdk is missing on this host; the role keystone installs it")
    try:
        cloud = connect(module.params)
        if module.params["state"] == "absent":
            module.exit_json(changed=remove(cloud, module.params))
        module.exit_json(changed=True, launch=launch(cloud, module.params))
    except (openstack.exceptions.SDKException, keystone_exceptions.ClientException, TimeoutError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
