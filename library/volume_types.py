#!/usr/bin/python
"""Types of volumes and their properties, in one connection."""

import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import lock, result
from ansible.module_utils.kilonova.auth import AUTH
from ansible.module_utils.kilonova.http import connect

try:
    import openstack
    from keystoneauth1.exceptions import ClientException
except ImportError:  # check mode on a fresh host: the package comes with this very run
    openstack = ClientException = None

DOCUMENTATION = r"""
module: volume_types
short_description: Types of volumes (openstack volume type create --property)
description:
  - Creates types that are missing, and adds and corrects their properties. No type and no property is removed.
options:
  auth: {type: dict, required: true, description: 'auth_url, username, password, project_name and domain names.'}
  region: {type: str, required: true, description: Region of the Block Storage service.}
  types: {type: dict, required: true, description: Type to its properties.}
  timeout: {type: int, default: 180, description: Seconds until the service must answer.}
"""


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "auth": AUTH,
            "region": {"type": "str", "required": True},
            "types": {"type": "dict", "required": True},
            "timeout": {"type": "int", "default": 180},
        },
        supports_check_mode=True,
    )
    lock.take(module)
    p, actions = module.params, []
    wanted = {name: {key: str(value) for key, value in (found or {}).items()} for name, found in p["types"].items()}
    if openstack is None:
        if module.check_mode:
            result.leave(module, [line for name, found in wanted.items() for line in steps(name, found, None)])
        module.fail_json(msg="python3-openstacksdk is missing on this host; the role keystone installs it")
    connection = connect(openstack, auth=p["auth"], region_name=p["region"], block_storage_api_version="3")
    try:
        known = there(connection, 0 if module.check_mode else p["timeout"])
    except (openstack.exceptions.SDKException, ClientException) as error:
        if not module.check_mode:
            module.fail_json(msg="the Block Storage service does not answer after %d s: %s" % (p["timeout"], error))
        known = {}
    planned = {name: steps(name, found, known.get(name)) for name, found in wanted.items()}
    if module.check_mode:
        result.leave(module, [line for lines in planned.values() for line in lines])
    with result.doing(module, actions):
        for name, lines in planned.items():
            actions += lines
            if lines:
                try:
                    put(connection.block_storage, name, wanted[name], known.get(name))
                except openstack.exceptions.SDKException as error:
                    module.fail_json(msg="volume type %s: %s" % (name, error))
    result.leave(module, actions)


def there(connection, timeout):
    """Return name -> type of all types, once the service answers."""
    until = time.monotonic() + timeout
    while True:
        try:
            answer = connection.block_storage.get("/types?is_public=None")
            openstack.exceptions.raise_from_response(answer)
            return {one["name"]: one for one in answer.json()["volume_types"]}
        except (openstack.exceptions.SDKException, ClientException):
            if time.monotonic() > until:
                raise
        time.sleep(0.5)


def steps(name, wanted, known):
    """What is done for a type, for people."""
    if known is None:
        return ["create volume type %s" % name]
    differing = [key for key, value in wanted.items() if (known.get("extra_specs") or {}).get(key) != value]
    return ["set %s of volume type %s" % (", ".join(differing), name)] if differing else []


def put(proxy, name, wanted, known):
    """Create a type, or correct its properties."""
    if known is None:
        answer = proxy.post("/types", json={"volume_type": {"name": name, "extra_specs": wanted}})
    else:
        answer = proxy.post("/types/%s/extra_specs" % known["id"], json={"extra_specs": wanted})
    openstack.exceptions.raise_from_response(answer)


if __name__ == "__main__":
    main()
