#!/usr/bin/python
"""Collect what a host's logs, journal, database and message queue say of one launch. Changes nothing."""

import contextlib
import glob
import hashlib
import json
import os
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, database, files
from ansible.module_utils.kilonova.masking import mask_log

DOCUMENTATION = r"""
module: trace_evidence
short_description: Lines of a host that belong to one launch
description:
  - Without C(since), returns where every log ends now (C(mark)).
  - With C(since), returns the lines written after that mark which hold one of C(words) or match C(access), the same from the
    journal, the rows of the databases and RabbitMQ's queues. Tokens and passwords are masked on the host.
options:
  logs: {type: list, elements: str, required: true, description: Patterns of log files.}
  since: {type: dict, description: What an earlier call returned as C(mark).}
  words: {type: list, elements: str, default: [], description: 'Request ids, the instance, its ports, hardware and IP addresses.'}
  access: {type: list, elements: str, default: [], description: Regular expressions of access log lines without a request id.}
  instance: {type: str, description: Id of the instance, for the databases.}
  databases:
    type: dict
    description: 'host, port, cacert (of its authority) and accounts (user, password) of an external database.'
  domain: {type: str, description: Name of the instance at the hypervisor.}
  image: {type: str, description: Id of the image, for the image cache of nova-compute.}
  state_path: {type: str, default: /var/lib/nova, description: C(state_path) of nova.conf.}
  limit: {type: int, default: 4000, description: Lines at most.}
"""

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Cells: an instance that no host could take is in cell0.
CELL_QUERIES = """
SELECT JSON_OBJECT('table', '{db}.instances', 'created_at', created_at, 'launched_at', launched_at, 'vm_state', vm_state,
  'task_state', task_state, 'host', host) FROM {db}.instances WHERE uuid = '{id}';
SELECT JSON_OBJECT('table', '{db}.instance_actions', 'action', action, 'request_id', request_id, 'start_time', start_time)
  FROM {db}.instance_actions WHERE instance_uuid = '{id}';
SELECT JSON_OBJECT('table', '{db}.instance_actions_events', 'event', e.event, 'start_time', e.start_time,
  'finish_time', e.finish_time, 'result', e.result, 'host', e.host)
  FROM {db}.instance_actions_events e JOIN {db}.instance_actions a ON a.id = e.action_id WHERE a.instance_uuid = '{id}';
SELECT JSON_OBJECT('table', '{db}.instance_faults', 'code', code, 'message', message, 'created_at', created_at, 'host', host)
  FROM {db}.instance_faults WHERE instance_uuid = '{id}';
"""
QUERIES = """
SELECT JSON_OBJECT('table', 'nova_api.request_specs', 'created_at', created_at)
  FROM nova_api.request_specs WHERE instance_uuid = '{id}';
SELECT JSON_OBJECT('table', 'nova_api.build_requests', 'created_at', created_at)
  FROM nova_api.build_requests WHERE instance_uuid = '{id}';
SELECT JSON_OBJECT('table', 'nova_api.instance_mappings', 'created_at', m.created_at, 'updated_at', m.updated_at, 'cell', c.name)
  FROM nova_api.instance_mappings m LEFT JOIN nova_api.cell_mappings c ON c.id = m.cell_id WHERE m.instance_uuid = '{id}';
SELECT JSON_OBJECT('table', 'placement.allocations', 'created_at', a.created_at, 'provider', p.name, 'resource_class', r.name,
  'used', a.used) FROM placement.allocations a JOIN placement.resource_providers p ON p.id = a.resource_provider_id
  LEFT JOIN placement.resource_classes r ON r.id = a.resource_class_id WHERE a.consumer_id = '{id}';
SELECT JSON_OBJECT('table', 'neutron.ports', 'id', p.id, 'created_at', s.created_at, 'status', p.status, 'mac', p.mac_address,
  'host', b.host, 'vif_type', b.vif_type) FROM neutron.ports p JOIN neutron.standardattributes s ON s.id = p.standard_attr_id
  LEFT JOIN neutron.ml2_port_bindings b ON b.port_id = p.id WHERE p.device_id = '{id}';
"""


def clean(line):
    """One line as it may leave the host."""
    return mask_log(COLOUR.sub("", line.rstrip()))[:1000]


def marks(patterns):
    """Path -> [inode, size] of every log."""
    found = {}
    for pattern in patterns:
        for path in glob.glob(pattern):
            status = os.stat(path)
            found[path] = [status.st_ino, status.st_size]
    return found


def new_lines(path, mark):
    """The lines that were written after the mark; all of a log that was begun since."""
    inode, size = mark or (0, 0)
    try:
        with files.stream(path) as stream:
            if os.fstat(stream.fileno()).st_ino == inode:
                stream.seek(size)
            else:
                # logrotate moved the marked one aside between the two calls.
                rotated = path + ".1"
                if inode and os.path.exists(rotated) and os.stat(rotated).st_ino == inode:
                    with files.stream(rotated) as old:
                        old.seek(size)
                        yield from old.read().decode("utf-8", "replace").splitlines()
            yield from stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return


def ask(pool, *argv, text=""):
    """A reading command in the background: what will be known of its end."""
    return pool.submit(command.run, *argv, text=text, apart=True, timeout=60)


def rabbitmq_queues(done):
    """Queue -> name, messages and consumers."""
    try:
        return {queue["name"]: queue for queue in json.loads("[]" if done.status else done.output or "[]")}
    except ValueError:
        return {}


def queries_of(instance):
    """Every query for an instance."""
    queries = QUERIES.format(id=instance)
    for name in ("nova", "nova_cell0"):
        queries += CELL_QUERIES.format(db=name, id=instance)
    return queries


def ask_databases(pool, instance):
    """Start the client as root over the socket, where the server is."""
    if not instance or not os.path.exists(database.socket()):
        return None
    # --force: a database that this cloud has not (another release, another name) does not end the others.
    return ask(pool, "mysql", "--batch", "--skip-column-names", "--raw", "--force", text=queries_of(instance))


def printed_elsewhere(instance, databases):
    """What an external server says: each query to whichever account may ask it."""
    lines = []
    for account in databases["accounts"] if instance else ():
        with contextlib.suppress(database.NoServer), database.opened(database.login({**databases, **account})) as connection:
            for query in queries_of(instance).split(";"):
                # A database of another account, or one that this cloud has not.
                with contextlib.suppress(database.Error):
                    lines += [row[0] for row in database.rows(connection, query)]
    return lines


def rows(lines):
    """The rows as mappings."""
    found = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        found.append({key: clean(value) if isinstance(value, str) else value for key, value in row.items()})
    return found


def image_cache(state_path, image):
    """The image as nova-compute keeps it: named by the digest of its id."""
    if not image:
        return {}
    path = os.path.join(state_path, "instances", "_base", hashlib.sha1(image.encode()).hexdigest())
    try:
        status = os.stat(path)
    except OSError:
        return {}
    # The time of the inode's birth is not everywhere; that of the content is.
    return {"path": path, "fetched": status.st_mtime, "size": status.st_size}


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "logs": {"type": "list", "elements": "str", "required": True},
            "since": {"type": "dict"},
            "words": {"type": "list", "elements": "str", "default": []},
            "access": {"type": "list", "elements": "str", "default": []},
            "instance": {"type": "str"},
            "databases": {
                "type": "dict",
                "options": {
                    "host": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "cacert": {"type": "str", "default": ""},
                    "accounts": {"type": "list", "elements": "dict", "required": True, "no_log": True},
                },
            },
            "domain": {"type": "str"},
            "image": {"type": "str"},
            "state_path": {"type": "str", "default": "/var/lib/nova"},
            "limit": {"type": "int", "default": 4000},
        },
        supports_check_mode=True,
    )
    p = module.params
    if p["since"] is None:
        module.exit_json(changed=False, mark={"logs": marks(p["logs"]), "time": time.time()})
    if p["instance"] and not UUID.fullmatch(p["instance"]):
        module.fail_json(msg="instance must be an id, not %r" % p["instance"])
    # Started first, read last: a look at RabbitMQ costs a second or two.
    pool = ThreadPoolExecutor()
    queues = ask(pool, "rabbitmqctl", "-q", "--formatter", "json", "list_queues", "name", "messages", "consumers")
    server = None if p["databases"] else ask_databases(pool, p["instance"])
    begin = "@%d" % p["since"]["time"]
    journal = ask(pool, "journalctl", "--no-pager", "--quiet", "--output", "short-iso-precise", "--since", begin)
    words = [word for word in p["words"] if word]
    access = [re.compile(pattern) for pattern in p["access"]]
    lines = []

    def keep(source, found):
        for line in found:
            if any(word in line for word in words) or any(pattern.search(line) for pattern in access):
                lines.append([source, clean(line)])

    for path in sorted(marks(p["logs"])):
        found = new_lines(path, p["since"]["logs"].get(path))
        if p["domain"] and os.path.basename(path) == p["domain"] + ".log":
            # QEMU's log: the first line has the time, the others are the command line.
            lines.extend([path, clean(line)] for line in found if re.match(r"\d{4}-\d\d-\d\d ", line))
        else:
            keep(path, found)
    # sudo prints the agents' commands into the journal, and Ansible the parameters of this very module: nothing of the launch.
    said = "" if journal.result().status else journal.result().output
    keep("journal", (line for line in said.splitlines() if not re.search(r" sudo\[| ansible-\S+ Invoked with ", line)))
    if p["databases"]:
        printed = printed_elsewhere(p["instance"], p["databases"])
    else:
        printed = server.result().output.splitlines() if server else []
    module.exit_json(
        changed=False,
        evidence={
            "host": socket.gethostname(),
            "utc_offset": time.localtime().tm_gmtoff,
            "lines": lines[: p["limit"]],
            "dropped": max(0, len(lines) - p["limit"]),
            "rows": rows(printed),
            "rabbitmq": {} if queues.result().status == command.MISSING else {"queues": rabbitmq_queues(queues.result())},
            "image_cache": image_cache(p["state_path"], p["image"]),
        },
    )


if __name__ == "__main__":
    main()
