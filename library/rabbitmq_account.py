#!/usr/bin/python
"""The OpenStack account of RabbitMQ with its permissions, and no guest."""

import base64
import hashlib
import json
import os
import shutil
import socket
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import command, lock, rabbitmq, result
from ansible.module_utils.kilonova.rabbitmq import USERS, VHOSTS

try:
    import amqp
except ImportError:  # check mode on a fresh host: the package comes with this very run
    amqp = None

DOCUMENTATION = r"""
module: rabbitmq_account
short_description: The guide's rabbitmqctl add_user and set_permissions, repaired when they drift
description:
  - Logs in as the services do, to see whether the password works. C(rabbitmqctl) gets a file with the salted hash
    (import_definitions), because it would want the password itself in argv, or, since RabbitMQ 4, from a terminal.
  - Deletes the account C(guest), unless C(guest) says that it stays. Tags that the account has, it keeps.
options:
  user: {type: str, required: true, description: Name of the account.}
  password: {type: str, required: true, description: Any characters.}
  vhost: {type: str, default: /, description: Virtual host that the account may use; made when it is missing.}
  guest: {type: str, choices: [delete, keep], default: delete, description: What becomes of the account guest.}
  host: {type: str, required: true, description: Address that RabbitMQ listens on.}
  port: {type: int, default: 5672, description: TCP port that RabbitMQ listens on.}
  cacert: {type: str, default: '', description: 'File with the authority of the certificate; empty without TLS.'}
"""

PERMISSIONS = [".*", ".*", ".*"]
# Made at the server's first start.
DATA = "/var/lib/rabbitmq/mnesia"
# Lines of user and tags: a tab between the two, commas between tags.
TAGS = (
    "[[N, $\\t, lists:join($,, [atom_to_list(T) || T <- G])] || U <- rabbit_auth_backend_internal:list_users(),"
    " {user, N} <- U, {tags, G} <- U]"
)
# Lines of user, virtual host, and what it may configure, write and read, with tabs between them.
RIGHTS = (
    "[[U, $\\t, V, $\\t, C, $\\t, W, $\\t, R] || P <- rabbit_auth_backend_internal:list_permissions(),"
    " {user, U} <- P, {vhost, V} <- P, {configure, C} <- P, {write, W} <- P, {read, R} <- P]"
)


def rabbitmqctl(module, *arguments):
    """Run rabbitmqctl and return its output; fail with what it says."""
    done = command.run("rabbitmqctl", "--quiet", *arguments)
    if done.status:
        module.fail_json(msg="rabbitmqctl %s failed: %s" % (arguments[0], done.output.strip()[-400:]))
    return done.output


def password_hash(password, salt):
    """RabbitMQ's stored form (rabbit_password_hashing_sha256)."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def import_account(module, params, tags):
    """Create or correct the virtual host, the user and its permissions; its tags are what they were."""
    definitions = {
        "vhosts": [{"name": params["vhost"]}],
        "users": [
            {
                "name": params["user"],
                "password_hash": password_hash(params["password"], os.urandom(4)),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": tags,
            }
        ],
        "permissions": [
            dict(zip(("configure", "write", "read"), PERMISSIONS, strict=True), user=params["user"], vhost=params["vhost"])
        ],
    }
    with tempfile.NamedTemporaryFile("w", suffix=".json") as stream:
        json.dump(definitions, stream)
        stream.flush()
        # rabbitmqctl changes to its own user before it reads.
        shutil.chown(stream.name, "rabbitmq", "rabbitmq")
        rabbitmqctl(module, "import_definitions", stream.name)


def present_tags(user):
    """Tags of a user."""
    rows = dict(row.partition("\t")[::2] for row in rabbitmq.rows(TAGS))
    return [tag for tag in rows.get(user, "").split(",") if tag]


def listens(params):
    """Whether the server runs."""
    try:
        with socket.create_connection((params["host"], params["port"]), timeout=5):
            return True
    except OSError:
        return False


def login_works(params):
    """Whether a service could connect with the account now."""
    if amqp is None:
        return False
    connection = rabbitmq.connection(amqp, params)
    try:
        connection.connect()
        connection.close()
        return True
    except (amqp.exceptions.AMQPError, OSError):
        return False


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "vhost": {"type": "str", "default": "/"},
            "guest": {"type": "str", "choices": ["delete", "keep"], "default": "delete"},
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 5672},
            "cacert": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    lock.take(module)
    p = module.params
    if module.check_mode and not (os.path.isdir(DATA) and os.listdir(DATA)):
        # Not installed, or never started: this very run does so.
        users, permissions, vhosts = ["guest"], {}, ["/"]
    elif module.check_mode and not listens(p):
        module.warn("RabbitMQ does not answer yet: its users cannot be compared and count as what they were when it stopped")
        result.leave(module, [])
    else:
        try:
            vhosts, users = rabbitmq.rows(VHOSTS), rabbitmq.rows(USERS)
            rights = [row.split("\t") for row in rabbitmq.rows(RIGHTS)]
        except RuntimeError as error:
            module.fail_json(msg=str(error))
        permissions = {(user, vhost): row for user, vhost, *row in rights}
    actions = ["create vhost %(vhost)s" % p] if p["vhost"] not in vhosts else []
    if p["user"] not in users:
        actions.append("create user %(user)s" % p)
    elif not login_works(p):
        actions.append("set the password of user %(user)s" % p)
    if permissions.get((p["user"], p["vhost"])) != PERMISSIONS:
        actions.append("grant %(user)s all permissions on vhost %(vhost)s" % p)
    with result.doing(module, actions):
        if actions and not module.check_mode:
            import_account(module, p, present_tags(p["user"]) if p["user"] in users else [])
        if "guest" in users and p["guest"] == "delete" and p["user"] != "guest":
            actions.append("delete user guest")
            if not module.check_mode:
                rabbitmqctl(module, "delete_user", "guest")
    result.leave(module, actions)


if __name__ == "__main__":
    main()
