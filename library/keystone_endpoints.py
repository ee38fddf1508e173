#!/usr/bin/python
"""Register services in Keystone: users, roles, services and endpoints, compared and repaired in one process."""

import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from urllib.parse import parse_qsl, quote, urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova import database, lock, result
from ansible.module_utils.kilonova.auth import AUTH
from ansible.module_utils.kilonova.http import connect

# keystoneauth1 would import the profiler and eventlet with it, which takes longer than a registration.
sys.modules.setdefault("osprofiler", None)
try:
    import openstack
    from keystoneauth1 import exceptions
except ImportError:  # check mode on a fresh host: the package comes with this very run
    openstack = None

DOCUMENTATION = r"""
module: keystone_endpoints
short_description: Service users, their roles, services and endpoints (the guide's openstack user/role/service/endpoint create)
description:
  - One openstacksdk connection reads what is there, compares, and creates or repairs what differs - a changed URL, password,
    description, e-mail-less user, a disabled object or a missing role. It never deletes.
  - Names are the same when Keystone's database says so, which ignores case; such a name is left as it is.
  - Refuses if a service of the same type has another name, because it may not be ours.
options:
  auth:
    type: dict
    required: true
    description: auth_url, username, password, project_name, user_domain_name, project_domain_name.
  region: {type: str, required: true, description: Region of the endpoints.}
  project: {type: str, default: service, description: Project of the service users.}
  roles: {type: list, elements: str, default: [], description: Roles that must exist in addition to those that a service's user
  gets.}
  unix_socket: {type: path, default: /run/mysqld/mysqld.sock, description: 'MariaDB''s local socket, asked in check mode only.'}
  login: {type: dict, description: 'host, port, user and password of an external server; without it, the local socket.'}
  services:
    type: list
    elements: dict
    required: true
    description: >-
      name, type, description, endpoints (interface to URL), and optionally user (name, password, roles, and the variable that has
      the password).
"""


class Registry:
    """What Keystone knows, read once, and the changes that were made to it."""

    def __init__(self, identity, check_mode):
        """Take openstacksdk's identity adapter."""
        self.identity, self.check_mode, self.actions = identity, check_mode, []

    def get(self, resource, **query):
        """All objects of a kind, page by page where Keystone sends pages; not all when it cuts its lists ([identity] list_limit).

        Not every kind knows the marker that its link to the next page has: then the same page comes again.
        """
        found, page = {}, query
        while page is not None:
            reply = self.identity.get("/%s" % resource, params=page, raise_exc=True).json()
            new = {item.get("id", str(item)): item for item in reply[resource]}
            following = (reply.get("links") or {}).get("next") if new.keys() - found.keys() else None
            page = dict(parse_qsl(urlsplit(following).query)) if following else None
            found.update(new)
        return list(found.values())

    def matching(self, resource, objects, **attributes):
        """Objects of `objects` with these attributes, else those that Keystone's own comparison finds."""
        found = [item for item in objects if all(item.get(name) == value for name, value in attributes.items())]
        if found or "(new)" in attributes.values():
            return found
        rows = self.get(resource, **attributes)
        return [item for item in rows if all(alike(item.get(name), value) for name, value in attributes.items())]

    def change(self, action, method, path, body=None):
        """Do and record one change; return the object's new form."""
        self.actions.append(action)
        if self.check_mode:
            return {}
        reply = self.identity.request(path, method, json=body, raise_exc=True)
        return next(iter(reply.json().values())) if reply.content else {}

    def region(self, name, regions):
        """The id, which is its name, that Keystone has for a region; None when it has none."""
        if any(region["id"] == name for region in regions):
            return name
        reply = self.identity.get("/regions/%s" % quote(name, safe=""), raise_exc=False)
        return reply.json()["region"]["id"] if reply.status_code == 200 else None

    def ensure(self, kind, shown, existing, wanted):
        """Create an object or correct the attributes of `wanted` that differ."""
        plural = kind + "s"
        if existing is None:
            made = self.change("create %s %s" % (kind, shown), "POST", "/%s" % plural, {kind: wanted})
            return {**wanted, "id": "(new)", **made}
        wrong = {
            name: value
            for name, value in wanted.items()
            if existing.get(name) != value and not (name == "name" and alike(existing.get(name), value))
        }
        if wrong:
            action = "correct %s of %s %s" % (", ".join(sorted(wrong)), kind, shown)
            self.change(action, "PATCH", "/%s/%s" % (plural, existing["id"]), {kind: wrong})
            return dict(existing, **wrong)
        return existing


class Refused(Exception):
    """Keystone has an object that may not be ours."""


def alike(one, other):
    """Whether two values are the same to Keystone's database, in which case, accents and blanks at the end do not count."""
    if not (isinstance(one, str) and isinstance(other, str)):
        return one == other
    plain = [
        "".join(letter for letter in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(letter)).rstrip()
        for text in (one, other)
    ]
    return plain[0] == plain[1]


def first(objects):
    """The first object, or None."""
    return next(iter(objects), None)


def at_once(*questions):
    """The answers to questions that need not wait for each other."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        return list(pool.map(lambda ask: ask(), questions))


def password_works(connection, auth_url, user_id, password):
    """Whether the user's password is this one (an unscoped token is asked for and forgotten)."""
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": user_id, "password": password}}}}}
    reply = connection.session.post(
        auth_url.rstrip("/") + "/auth/tokens", json=body, authenticated=False, raise_exc=False, log=False
    )
    return reply.status_code == 201


def register(connection, registry, params):
    """Compare and repair everything that `params` names."""
    auth_url = params["auth"]["auth_url"]
    domain = first(registry.matching("domains", registry.get("domains"), name=params["auth"]["project_domain_name"]))
    if domain is None:
        raise Refused("there is no domain %s" % params["auth"]["project_domain_name"])
    projects, users, roles, services, endpoints, regions = at_once(
        partial(registry.get, "projects", domain_id=domain["id"]),
        partial(registry.get, "users", domain_id=domain["id"]),
        *(partial(registry.get, kind) for kind in ("roles", "services", "endpoints", "regions")),
    )
    project = registry.ensure(
        "project",
        params["project"],
        first(registry.matching("projects", projects, name=params["project"], domain_id=domain["id"])),
        {"name": params["project"], "domain_id": domain["id"], "enabled": True},
    )
    region = registry.region(params["region"], regions)
    if region not in (None, params["region"]):
        # Keystone would not make the other one, and clients, who compare letters, would not find it.
        raise Refused("region %s is there; set openstack_region to it" % region)
    if region is None:
        registry.change("create region %s" % params["region"], "POST", "/regions", {"region": {"id": params["region"]}})
    for name in params["roles"]:
        if not registry.matching("roles", roles, name=name):
            roles.append(registry.ensure("role", name, None, {"name": name}))
    log_in = partial(password_works, connection, auth_url)
    wanted = {entry["user"]["name"]: entry["user"]["password"] for entry in params["services"] if entry.get("user")}
    ids = {user["id"]: wanted[user["name"]] for user in users if user["enabled"] and user["name"] in wanted}
    # What costs Keystone most: it takes its time to compare a password with a hash.
    logged_in = dict(zip(ids, at_once(*(partial(log_in, *login) for login in ids.items())), strict=True))
    for entry in params["services"]:
        if entry.get("user"):
            ensure_user(log_in, logged_in, registry, entry, domain, project, roles, users)
        service = registry.ensure(
            "service",
            entry["name"],
            the_service(registry, services, entry),
            {"name": entry["name"], "type": entry["type"], "description": entry["description"], "enabled": True},
        )
        for interface, url in entry["endpoints"].items():
            where = {"service_id": service["id"], "interface": interface, "region_id": params["region"]}
            existing = first(registry.matching("endpoints", endpoints, **where))
            wanted = {"url": url, "enabled": True}
            if existing is None:
                wanted.update(where)
            registry.ensure("endpoint", "%s %s %s" % (entry["type"], interface, url), existing, wanted)


def the_service(registry, services, entry):
    """The service of this type and name, or None. Several of one type may be there; the guide's names tell which is meant."""
    name = entry["name"]
    of_type = registry.matching("services", services, type=entry["type"])
    named = first(item for item in of_type if alike(item.get("name"), name))
    if named is None and of_type:
        # A list that Keystone cut may lack it.
        named = first(registry.matching("services", of_type, type=entry["type"], name=name))
    if named is None and of_type:
        other = of_type[0]
        raise Refused(
            "service %s of type %s is there (ID %s), which the install guide calls %s; if it is this cloud's, run `openstack "
            "service set --name %s %s`, else delete it: clients find a service by its type"
            % (other.get("name") or "without a name", entry["type"], other["id"], name, name, other["id"])
        )
    return named


def ensure_user(log_in, logged_in, registry, entry, domain, project, roles, users):
    """The service user, its password and its roles in the service project.

    `log_in` tries a user's password; `logged_in` has the results of those that were tried, by the user's ID.
    """
    name, password = entry["user"]["name"], entry["user"]["password"]
    existing = first(registry.matching("users", users, name=name, domain_id=domain["id"]))
    wanted = {"name": name, "domain_id": domain["id"], "enabled": True}
    if existing is None:
        wanted["password"] = password
    user = registry.ensure("user", name, existing, wanted)
    # In check mode a disabled user stays disabled and cannot log in, so its password cannot be checked.
    can_log_in = existing is not None and (existing["enabled"] or not registry.check_mode)
    if can_log_in and not (logged_in[user["id"]] if user["id"] in logged_in else log_in(user["id"], password)):
        registry.change("set the password of user %s" % name, "PATCH", "/users/%s" % user["id"], {"user": {"password": password}})
    assigned = set()
    if existing is not None and project["id"] != "(new)":
        query = {"user.id": user["id"], "scope.project.id": project["id"]}
        assigned = {item["role"]["id"] for item in registry.get("role_assignments", **query) if "role" in item}
    for role_name in entry["user"]["roles"]:
        role = first(registry.matching("roles", roles, name=role_name))
        if role is None:
            role = registry.ensure("role", role_name, None, {"name": role_name})
            roles.append(role)
        if role["id"] not in assigned:
            path = "/projects/%s/users/%s/roles/%s" % (project["id"], user["id"], role["id"])
            registry.change("add role %s to user %s in project %s" % (role_name, name, project["name"]), "PUT", path)


def registered(module):
    """Types of the services that the Identity service's database has; None when its server cannot be asked.

    With the project among them, since both are made by the same call.
    """
    params = module.params
    try:
        if not database.ask(module, "SELECT 1 FROM keystone.project WHERE name = %s", (params["project"],)):
            return set()
        return {row[0] for row in database.ask(module, "SELECT type FROM keystone.service")}
    except database.NoServer:
        return None
    except database.Error:
        return set()


def foresee(module):
    """What a run does once there is a Keystone to ask: everything, where its database has nothing of it yet."""
    params = module.params
    known = registered(module)
    actions, guessed = [], []
    for entry in params["services"]:
        if entry["type"] in known if known is not None else database.on_disk(module, "keystone", "endpoint"):
            guessed.append(entry["name"])
            continue
        if entry["type"] == "identity":
            # The bootstrap makes service and endpoints, and gives no description.
            actions += ["create project %s" % params["project"], *["create role %s" % name for name in params["roles"]]]
            actions.append("correct description of service %s" % entry["name"])
            continue
        if entry.get("user"):
            where = "user %s in project %s" % (entry["user"]["name"], params["project"])
            actions.append("create user %(name)s" % entry["user"])
            actions += ["add role %s to %s" % (role, where) for role in entry["user"]["roles"]]
        actions.append("create service %s" % entry["name"])
        actions += ["create endpoint %s %s %s" % (entry["type"], kind, url) for kind, url in entry["endpoints"].items()]
    if guessed:
        module.warn("Keystone does not answer yet: what it has of %s cannot be compared and counts as right" % ", ".join(guessed))
    return actions


def main():
    """Entry point."""
    module = AnsibleModule(
        argument_spec={
            "auth": AUTH,
            "region": {"type": "str", "required": True},
            "project": {"type": "str", "default": "service"},
            "roles": {"type": "list", "elements": "str", "default": []},
            **database.options(),
            "services": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "type": {"type": "str", "required": True},
                    "description": {"type": "str", "required": True},
                    "endpoints": {"type": "dict", "required": True},
                    "user": {
                        "type": "dict",
                        "options": {
                            "name": {"type": "str", "required": True},
                            "password": {"type": "str", "required": True, "no_log": True},
                            "variable": {"type": "str", "default": ""},
                            "roles": {"type": "list", "elements": "str", "default": ["admin"]},
                        },
                    },
                },
            },
        },
        supports_check_mode=True,
    )
    lock.take(module)
    params = module.params
    actions = None
    if openstack is None:
        if not module.check_mode:
            module.fail_json(msg="python3-openstacksdk is missing on this host; the role keystone installs it")
        actions = foresee(module)
    else:
        try:
            connection = connect(
                openstack,
                auth=params["auth"],
                region_name=params["region"],
                identity_api_version="3",
                identity_endpoint_override=params["auth"]["auth_url"],
            )
            registry = Registry(connection.identity, module.check_mode)
            with result.doing(module, registry.actions):
                register(connection, registry, params)
            actions = registry.actions
        except Refused as error:
            module.fail_json(msg="Keystone at %s: %s" % (params["auth"]["auth_url"], error))
        except (exceptions.ClientException, openstack.exceptions.SDKException) as error:
            # In check mode, Keystone or the administrator's password may become right by this very run.
            if not (module.check_mode and isinstance(error, (exceptions.ConnectFailure, exceptions.Unauthorized))):
                module.fail_json(
                    msg="Keystone at %s (user %s): %s" % (params["auth"]["auth_url"], params["auth"]["username"], error)
                )
            actions = foresee(module)
    result.leave(module, actions, complete=[service["name"] for service in params["services"]])


if __name__ == "__main__":
    main()
