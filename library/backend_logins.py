#!/usr/bin/python3
"""Log in to database, message queue, Identity service and cache as the services do, and say exactly what is wrong."""

import json
import socket
import ssl

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import database, rabbitmq
from ansible.module_utils.kilonova.address import host_port, split
from ansible.module_utils.kilonova.database import AGAIN, port_answers, problem
from ansible.module_utils.kilonova.http import NoAnswer, ask, trusting

try:
    import amqp
except ImportError:  # a fresh host: then only the port is tried
    amqp = None

DOCUMENTATION = r"""
module: backend_logins
short_description: Whether the backends of a service can be used with the inventory's addresses and passwords
description:
  - Changes nothing. Returns C(problems), each with variable, value, what and remedy; a password is never part of one.
  - Where the host has no client library yet, only the port is tried.
options:
  database:
    type: dict
    description: >-
      host, port, cacert (of its authority), accounts (user, password, variable, databases), external (whether the server is not
      ours), and hosts, where accounts come from.
  queue: {type: dict, description: 'host, port, cacert (of its authority), user, password, vhost, external.'}
  identity: {type: dict, description: 'auth_url, cacert (of its authority), region, users (name, password, variable, project).'}
  cache: {type: str, description: 'Memcached servers, host:port with commas between.'}
  timeout: {type: int, default: 5, description: Seconds that each may take to answer.}
"""

CORRECT = "start it, or correct openstack_%(what)s_host and openstack_%(what)s_port"


def queue(params, timeout):
    """A login to RabbitMQ and to the virtual host."""
    host, port, external = params["host"], int(params["port"]), params["external"]
    where = "RabbitMQ at %s" % host_port(host, port)
    silent = port_answers(host, port, timeout)
    if silent:
        what = "%s does not answer (%s)" % (where, silent)
        return [problem("openstack_rabbit_host", host, what, CORRECT % {"what": "rabbit"})]
    if amqp is None:
        return []
    connection = rabbitmq.connection(amqp, params, timeout)
    try:
        connection.connect()
        connection.close()
    except amqp.exceptions.AccessRefused:
        what = "%s refuses the password of account %s (403)" % (where, params["user"])
        return [problem("openstack_rabbit_pass", "", what, "give it the account's password" + ("" if external else ", " + AGAIN))]
    except amqp.exceptions.NotAllowed:
        what = "%s does not let account %s use the virtual host %s (530)" % (where, params["user"], params["vhost"])
        remedy = "run `rabbitmqctl set_permissions`" + (" there" if external else ", " + AGAIN)
        return [problem("openstack_rabbit_user", params["user"], what, remedy)]
    except (amqp.exceptions.AMQPError, OSError) as error:
        return [problem("openstack_rabbit_host", host, "%s: %s" % (where, error), "look at its log")]
    return []


def identity(params, timeout):
    """A token for each user, and the region in the catalog that comes with it."""
    problems, url = [], params["auth_url"].rstrip("/")
    where = "Keystone at %s" % url
    for user in params["users"]:
        scope = {"project": {"name": user["project"], "domain": {"name": "Default"}}}
        who = {"name": user["name"], "domain": {"name": "Default"}, "password": user["password"]}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": who}}, "scope": scope}}
        try:
            status, reply = ask(
                url + "/auth/tokens",
                timeout,
                data=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                context=trusting(params.get("cacert")),
            )
        except NoAnswer as error:
            if isinstance(error.cause, ssl.SSLError):
                what = "%s does not speak TLS as this host wants it (%s)" % (where, error.cause.reason or error)
                remedy = "correct openstack_internal_scheme, or have this host trust the certificate"
            else:
                what, remedy = "%s does not answer (%s)" % (where, error), "start it, or correct openstack_internal_host"
            return [problem("openstack_auth_url", params["auth_url"], what, remedy)]
        if status == 401:
            what = "%s refuses the password of user %s (401)" % (where, user["name"])
            problems.append(problem(user["variable"], "", what, "give it the user's password, " + AGAIN))
            continue
        catalog = catalog_of(reply) if status < 300 else None
        if catalog is None:
            remedy = "correct the URL; it ends in :5000/v3, or in /identity/v3 behind a proxy"
            if status not in (404, 200, 201):
                remedy = "look at Keystone's log"
            what = "%s answers with status %d%s" % (where, status, " and no token" if status < 300 else "")
            return [problem("openstack_auth_url", params["auth_url"], what, remedy)]
        regions = sorted({endpoint["region_id"] for service in catalog for endpoint in service["endpoints"]})
        if regions and params["region"] not in regions:
            what = "is not in the catalog of %s" % where
            return [problem("openstack_region", params["region"], what, "set one of: %s" % ", ".join(regions))]
    return problems


def catalog_of(reply):
    """The catalog that came with a token; None when none did, because something else answered."""
    try:
        return json.loads(reply)["token"].get("catalog", [])
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def cache(servers, timeout):
    """Every memcached server tells its version."""
    problems = []
    for server in servers.split(","):
        try:
            with socket.create_connection(split(server), timeout=timeout) as connection:
                connection.sendall(b"version\r\n")
                reply = connection.recv(64)
            said = None if reply.startswith(b"VERSION") else "answers, but is not a memcached"
        except OSError as error:
            said = "does not answer (%s)" % (error.strerror or error)
        if said:
            what = "memcached at %s %s" % (server.strip(), said)
            problems.append(problem("openstack_memcached_servers", servers, what, "start it, or correct the address"))
    return problems


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "database": {
                "type": "dict",
                "options": {
                    "host": {"type": "str", "required": True},
                    "port": {"type": "int", "required": True},
                    "cacert": {"type": "str", "default": ""},
                    "external": {"type": "bool", "default": False},
                    "hosts": {"type": "list", "elements": "str", "default": []},
                    "accounts": {
                        "type": "list",
                        "elements": "dict",
                        "required": True,
                        "options": {
                            "user": {"type": "str", "required": True},
                            "password": {"type": "str", "required": True, "no_log": True},
                            "variable": {"type": "str", "required": True},
                            "databases": {"type": "list", "elements": "str", "default": []},
                        },
                    },
                },
            },
            "queue": {"type": "dict", "options": rabbitmq.LOGIN},
            "identity": {
                "type": "dict",
                "options": {
                    "auth_url": {"type": "str", "required": True},
                    "cacert": {"type": "str", "default": ""},
                    "region": {"type": "str", "required": True},
                    "users": {
                        "type": "list",
                        "elements": "dict",
                        "required": True,
                        "options": {
                            "name": {"type": "str", "required": True},
                            "password": {"type": "str", "required": True, "no_log": True},
                            "variable": {"type": "str", "required": True},
                            "project": {"type": "str", "default": "service"},
                            # Of the declaration of a service; a login needs none.
                            "roles": {"type": "list", "elements": "str"},
                        },
                    },
                },
            },
            "cache": {"type": "str"},
            "timeout": {"type": "int", "default": 5},
        },
        supports_check_mode=True,
    )
    asks = {"database": database.problems, "queue": queue, "identity": identity, "cache": cache}
    problems = []
    for name, wrong in asks.items():
        if module.params[name]:
            problems += wrong(module.params[name], module.params["timeout"])
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
