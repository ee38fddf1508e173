#!/usr/bin/python
"""A tenant's day on the cloud, row by row, in one process; everything that it makes is removed again."""

import json
import os
import re
import shutil
import signal
import time

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import files
from ansible.module_utils.kilonova.masking import mask_log
from ansible.module_utils.kilonova.verify import atlas, context, engine, rows, tenant
from ansible.module_utils.kilonova.verify.cloud import Calls, Cloud

try:
    import keystoneauth1.exceptions
    import openstack
    import yaml
except ImportError:
    openstack = None

DOCUMENTATION = r"""
module: verify_cloud
short_description: Use the cloud as a tenant would, and say of each thing whether it worked
description:
  - Makes a project, a user, flavors, networks and instances of its own, whose names begin with kilonova-verify-, runs the
    rows of docs/verify.md side by side where they are independent of each other, and removes everything, also after a failure, at
    the end of its time and when it is told to end (SIGTERM).
  - Removes first what an interrupted run has left.
  - Never fails for a row; the result has them all. Where the administrator gets no token, it has the rows C(tls) and C(login).
options:
  clouds:
    type: path
    default: /etc/openstack/clouds.yaml
    description: >-
      Where the administrator's login is, on this host. It is not an argument, because a program in the background has its
      arguments in files.
  cloud: {type: str, default: admin, description: Name of the cloud in that file.}
  region: {type: str, required: true, description: Region of the endpoints.}
  name: {type: str, required: true, description: kilonova-verify- and eight hexadecimal digits.}
  rows: {type: list, elements: str, default: [], description: Rows to run with what they need; all where none is named.}
  directory: {type: path, required: true, description: Where the run keeps its state while it goes on; root's alone.}
  image: {type: str, required: true, description: Name or id of the image of the instances.}
  external_network: {type: str, default: '', description: Name or id of the external network; the first one where empty.}
  flavor: {type: dict, required: true, description: 'ram (MiB), disk (GiB), vcpus, extra_specs.'}
  larger: {type: dict, default: {}, description: What the flavor of a resize has otherwise.}
  subnet: {type: str, required: true, description: Addresses of the run's own network.}
  second_subnet: {type: str, required: true, description: Addresses of the network that is attached later.}
  console: {type: dict, required: true, description: 'Patterns boot, lease, metadata, new_interface; {address} is the address.'}
  ssh_user: {type: str, default: '', description: User that the key pair lets in; empty where the guest has no ssh.}
  port: {type: int, default: 80, description: Port of the guest that answers HTTP.}
  picture: {type: bool, default: true, description: Wait for a browser's picture of the console.}
  picture_limit: {type: int, default: 150, description: Seconds to wait for it.}
  image_check_limit: {type: int, default: 256, description: MiB up to which the image's data is read.}
  soft_reboot_limit: {type: int, default: 115, description: Seconds; Nova waits 120 before it uses force.}
  timeout: {type: int, default: 240, description: Seconds for each thing that is waited for.}
  limit: {type: int, default: 1800, description: Seconds for the whole run.}
  threads: {type: int, default: 8, description: Rows side by side.}
  role: {type: str, default: member, description: Role that makes a user a member of a project.}
  nova_conf: {type: path, default: /etc/nova/nova.conf, description: Where allow_resize_to_same_host is read.}
  consoles: {type: list, elements: str, default: [novnc], description: Kinds of consoles that the cloud has.}
  dashboard: {type: str, default: '', description: URL of the dashboard; empty where there is none.}
  serial:
    type: dict
    default: {}
    description: 'What is typed at a serial console, and the answer: command (empty: nothing), answer (a regular expression).'
  cacert: {type: str, default: '', description: 'File of certificate authorities, where the endpoints need one.'}
  tls:
    type: list
    elements: dict
    default: []
    description: Servers that are asked by TLS, as module_utils/kilonova/verify/trust.py takes them.
"""


class State:
    """The file in which the run says how far it is: root's alone, because a console's address opens the console."""

    def __init__(self, directory):
        """Make the directory."""
        self.path = os.path.join(directory, "state.json")
        os.makedirs(directory, mode=0o700)

    def write(self, **content):
        """Replace the file."""
        text = json.dumps({"pid": os.getpid(), **content})
        files.write(self.path, text.encode(), os.geteuid(), os.getegid(), 0o600)


def login(module):
    """The administrator's login, as the role keystone has written it on this host."""
    path, cloud = module.params["clouds"], module.params["cloud"]
    try:
        with files.Place(path) as place:
            auth = yaml.safe_load(place.read()[0] or b"")["clouds"][cloud]["auth"]
            return {"user_domain_name": "Default", "project_domain_name": "Default", "auth_url": auth["auth_url"], **auth}
    except (files.Refused, OSError) as error:
        module.fail_json(msg=str(error))
    except (yaml.YAMLError, KeyError, TypeError, AttributeError):  # whose words may show what is in the file
        module.fail_json(msg="%s: has no login of a cloud %s; run site.yml, which writes it" % (path, cloud))


def remove(admin, calls, found, title, name):
    """Remove projects with all that is in them; returns its row."""
    start = time.monotonic()
    removals = [tenant.Removal(admin, item["name"], item["project_id"]).run() for item in found]
    problems = [problem for removal in removals for problem in removal.problems]
    count = sum(len(removal.removed) for removal in removals)
    detail = "%d things of %s" % (count, ", ".join(item["name"] for item in found)) if found else "there was nothing"
    row = engine.Outcome(
        name,
        title,
        engine.FAILED if problems else engine.PASSED,
        time.monotonic() - start,
        0.0,
        detail,
        mask_log("; ".join(problems)),
    ).as_dict()
    if problems:
        row.update(requests=calls.kept(), look_at=["`openstack --os-cloud admin project list`, and what the message names"])
    return row


def without_login(shared, reason):
    """What can be said where the administrator gets no token: whether servers are trusted, and why there is none."""
    [tls] = [row for row in rows.ROWS if row.name == "tls"]
    login = engine.Outcome("login", "The administrator gets a token", engine.FAILED, reason=reason)
    return [outcome.as_dict() for outcome in (*engine.Runner([tls]).run(shared), login)]


def result_of(module, started, found, **more):
    """The result of a run that began at `started` and has `found` these rows; `more` where it got as far as a cloud."""
    calls = [call for row in found for key in ("requests", "actions") for call in row.get(key, [])]
    return {
        "name": module.params["name"],
        "begun": started,
        "seconds": round(time.time() - started, 1),
        "rows": found,
        "request_ids": sorted({call["request_id"] for call in calls if call["request_id"]}),
        **{"stopped": False, "servers": [], "cloud": {}, **more},
    }


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "clouds": {"type": "path", "default": "/etc/openstack/clouds.yaml"},
            "cloud": {"type": "str", "default": "admin"},
            "region": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "rows": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "path", "required": True},
            "image": {"type": "str", "required": True},
            "external_network": {"type": "str", "default": ""},
            "flavor": {"type": "dict", "required": True},
            "larger": {"type": "dict", "default": {}},
            "subnet": {"type": "str", "required": True},
            "second_subnet": {"type": "str", "required": True},
            "console": {"type": "dict", "required": True},
            "ssh_user": {"type": "str", "default": ""},
            "port": {"type": "int", "default": 80},
            "picture": {"type": "bool", "default": True},
            "picture_limit": {"type": "int", "default": 150},
            "image_check_limit": {"type": "int", "default": 256},
            "soft_reboot_limit": {"type": "int", "default": 115},
            "timeout": {"type": "int", "default": 240},
            "limit": {"type": "int", "default": 1800},
            "threads": {"type": "int", "default": 8},
            "role": {"type": "str", "default": "member"},
            "nova_conf": {"type": "path", "default": "/etc/nova/nova.conf"},
            "consoles": {"type": "list", "elements": "str", "default": ["novnc"]},
            "dashboard": {"type": "str", "default": ""},
            "serial": {"type": "dict", "default": {}},
            "cacert": {"type": "str", "default": ""},
            "tls": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=False,
    )
    p = module.params
    if openstack is None:
        module.fail_json(msg="python3-openstacksdk is missing on this host; the role keystone installs it")
    if not re.fullmatch(re.escape(tenant.PREFIX) + "[0-9a-f]{8}", p["name"]):
        module.fail_json(msg="name is %s and must be %s and eight hexadecimal digits" % (p["name"], tenant.PREFIX))
    try:
        chosen = engine.pick(rows.ROWS, p["rows"])
    except ValueError as error:
        module.fail_json(msg="verify_rows: %s" % error)

    p["auth"] = login(module)
    started, calls = time.time(), Calls()
    admin = Cloud(p["auth"], p["region"], calls, p["cacert"])
    shared = context.Context(p, p["name"], calls, admin)
    try:
        admin.warm_up()
    except (openstack.exceptions.SDKException, keystoneauth1.exceptions.ClientException, OSError) as error:
        found = without_login(shared, "at %s: %s" % (p["auth"]["auth_url"], mask_log(str(error))))
        module.exit_json(changed=False, **result_of(module, started, found))
    state = State(p["directory"])
    runner = engine.Runner(chosen, p["threads"])
    extra = []

    def publish(_runner=None):
        done = [runner.outcomes[name].as_dict() for name in list(runner.outcomes)]
        state.write(
            total=len(chosen) + 2,
            rows=extra[:1] + done + extra[1:],
            running=list(runner.running),
            picture=shared.picture,
            ended=False,
        )

    def stop(*_arguments):
        runner.stop.set()
        shared.stop.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, stop)
    signal.alarm(p["limit"])
    runner.on_change, shared.publish = publish, publish
    outcomes, overview = [], {}
    try:
        title = "Leftovers of interrupted runs are removed"
        try:
            found = tenant.leftovers(admin, p["name"])
            for item in found:
                # A killed run leaves its key here as well.
                shutil.rmtree(os.path.join(os.path.dirname(p["directory"]), item["name"]), ignore_errors=True)
            extra.append(remove(admin, calls, found, title, "leftovers"))
        except engine.Failure as error:
            extra.append(engine.Outcome("leftovers", title, engine.FAILED, reason=str(error)).as_dict())
        outcomes = runner.run(shared)
        overview = atlas.describe(admin)
    finally:
        # Not interrupted a second time: this is what the first signal asks for.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.alarm(0)
        title = "Everything that the run made is removed"
        try:
            own = [{"name": p["name"], "project_id": shared.tenant.find()}]
            extra.append(remove(admin, calls, own, title, "removal"))
        except engine.Failure as error:
            extra.append(engine.Outcome("removal", title, engine.FAILED, reason=str(error)).as_dict())
        state.write(ended=True, rows=[], running=[], picture=None)
        shutil.rmtree(p["directory"], ignore_errors=True)

    found = [*extra[:1], *(outcome.as_dict() for outcome in outcomes), *extra[1:]]
    servers = [server["id"] for server in shared.servers.values()]
    result = result_of(module, started, found, stopped=shared.stop.is_set(), servers=servers, cloud=overview)
    module.exit_json(changed=True, **result)


if __name__ == "__main__":
    main()
