"""Keystone in memory, on loopback: the part of its API that registering services uses.

Status codes, bodies and defaults are those of a real Keystone 22 (2022.2), recorded by GETs and one refused password.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from urllib.parse import parse_qsl, urlencode, urlsplit

# What each kind of object has when nobody says otherwise.
NEW = {
    "domain": {"description": "", "enabled": True, "tags": [], "options": {}},
    "project": {
        "description": "",
        "enabled": True,
        "domain_id": "default",
        "parent_id": "default",
        "is_domain": False,
        "tags": [],
        "options": {},
    },
    "role": {"domain_id": None, "description": None, "options": {}},
    "user": {"domain_id": "default", "enabled": True, "password_expires_at": None, "options": {}},
    "service": {"name": "", "enabled": True},
    "endpoint": {"enabled": True},
    "region": {"description": "", "parent_region_id": None},
}


class Keystone:
    """A bootstrapped Keystone: domain Default, project, role and user admin. Use as a context manager."""

    def __init__(self, password):
        """Take the administrator's password."""
        self.objects = {f"{kind}s": {} for kind in NEW}
        self.passwords, self.roles_of = {}, set()
        self.writes = []
        # [DEFAULT] list_limit, and whether the next page has a link (from 2025.1 on).
        self.limit, self.pages = None, False
        self._ids = count(1)
        self.add("domain", id="default", name="Default")
        project, role = self.add("project", name="admin"), self.add("role", name="admin")
        user = self.add("user", name="admin", password=password)
        self.roles_of.add((project["id"], user["id"], role["id"]))

    def __enter__(self):
        """Listen; `url` is what OS_AUTH_URL would be."""
        keystone = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_arguments):
                pass

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                status, reply = keystone.answer(self.command, self.path, self.headers, body)
                text = b"" if reply is None else json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                if status == 201 and "token" in reply:
                    self.send_header("X-Subject-Token", "token-of-" + reply["token"]["user"]["id"])
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = do_PATCH = do_PUT = answer

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v3"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_error):
        """Stop listening."""
        self.server.shutdown()
        self.server.server_close()

    def add(self, kind, **attributes):
        """Create an object as POST does."""
        made = {"id": f"{kind}-{next(self._ids)}", **NEW[kind], **attributes}
        if "password" in made:
            self.passwords[made["id"]] = made.pop("password")
        if kind == "endpoint":
            made["region"] = made["region_id"]
        self.objects[f"{kind}s"][made["id"]] = made
        return made

    def find(self, plural, **attributes):
        """The only object with these attributes."""
        (found,) = [o for o in self.objects[plural].values() if attributes.items() <= o.items()]
        return found

    def state(self):
        """Everything that a change would change."""
        return json.dumps([self.objects, self.passwords, sorted(self.roles_of)], sort_keys=True)

    # --------------------------------------------------------------------------------------------------------- requests

    def answer(self, method, target, headers, body):
        """Status and JSON of the reply."""
        parts = urlsplit(target)
        path, query = parts.path.removeprefix("/v3").strip("/").split("/"), dict(parse_qsl(parts.query))
        if path == [""]:
            links = [{"rel": "self", "href": self.url + "/"}]
            return 200, {"version": {"id": "v3.14", "status": "stable", "updated": "2020-04-07T00:00:00Z", "links": links}}
        if path == ["auth", "tokens"]:
            return self.token(body["auth"])
        if not headers.get("X-Auth-Token"):
            return refused(401, "The request you have made requires authentication.", "Unauthorized")
        if method == "GET":
            if len(path) > 1:
                found = next((o for o in self.objects[path[0]].values() if same(o["id"], path[1])), None)
                kind = path[0].removesuffix("s")
                return (200, {kind: self.shown(kind, found)}) if found else refused(404, "Could not find it.", "Not Found")
            return self.listing(path[0], query)
        self.writes.append(f"{method} {'/'.join(path)}")
        if method == "PUT":  # projects/P/users/U/roles/R
            _, project, _, user, _, role = path
            if any(id not in self.objects[plural] for plural, id in zip(path[::2], path[1::2], strict=True)):
                return refused(404, f"Could not find role: {role}.", "Not Found")
            self.roles_of.add((project, user, role))
            return 204, None
        kind = path[0].removesuffix("s")
        if method == "POST":
            taken = [o.get("id" if kind == "region" else "name") for o in self.objects[path[0]].values()]
            new = body[kind].get("id" if kind == "region" else "name")
            if kind not in ("service", "endpoint") and any(same(new, name) for name in taken):
                return refused(409, f"Conflict occurred attempting to store {kind}.", "Conflict")
            return 201, {kind: self.shown(kind, self.add(kind, **body[kind]))}
        known = self.objects[path[0]].get(path[1])
        if known is None:
            return refused(404, f"Could not find {kind}: {path[1]}.", "Not Found")
        changes = dict(body[kind])
        if "password" in changes:
            self.passwords[known["id"]] = changes.pop("password")
        known.update(changes)
        return 200, {kind: self.shown(kind, known)}

    def token(self, auth):
        """A token for a user by id or by name; scoped when a project is asked for."""
        asked = auth["identity"]["password"]["user"]
        users = self.objects["users"].values()
        user = next((u for u in users if asked.get("id") == u["id"] or same(asked.get("name"), u["name"])), None)
        if user is None or not user["enabled"] or self.passwords[user["id"]] != asked["password"]:
            return refused(401, "The request you have made requires authentication.", "Unauthorized")
        domain = {"id": "default", "name": "Default"}
        token = {
            "methods": ["password"],
            "audit_ids": ["x"],
            "expires_at": "2999-01-01T00:00:00.000000Z",
            "issued_at": "2026-01-01T00:00:00.000000Z",
            "user": {"id": user["id"], "name": user["name"], "domain": domain, "password_expires_at": None},
        }
        if "scope" in auth:
            project = self.find("projects", name=auth["scope"]["project"]["name"])
            token["project"] = {"id": project["id"], "name": project["name"], "domain": domain}
            token |= {"is_domain": False, "roles": [{"id": "x", "name": "admin"}], "catalog": []}
        return 201, {"token": token}

    def listing(self, plural, query):
        """GET of a collection, filtered as asked."""
        if plural == "role_assignments":
            rows = [
                {"scope": {"project": {"id": project}}, "user": {"id": user}, "role": {"id": role}, "links": {}}
                for project, user, role in sorted(self.roles_of)
                if (query["scope.project.id"], query["user.id"]) == (project, user)
            ]
        else:
            kind = plural.removesuffix("s")
            marker, asked = query.pop("marker", None), {n: v for n, v in query.items() if n != "limit"}
            # The name of a service is not in a column of its own.
            rows = [
                self.shown(kind, o)
                for o in self.objects[plural].values()
                if all(o.get(n) == v if (kind, n) == ("service", "name") else same(o.get(n), v) for n, v in asked.items())
            ]
            if self.limit and len(rows) > self.limit:
                # Services, endpoints and regions know no marker.
                at = [row["id"] for row in rows].index(marker) + 1 if marker and kind in ("user", "project", "role") else 0
                rows, left = rows[at : at + self.limit], len(rows) > at + self.limit
                more = f"{self.url}/{plural}?" + urlencode({**asked, "limit": self.limit, "marker": rows[-1]["id"]})
                links = {"next": more if left and self.pages else None, "self": f"{self.url}/{plural}", "previous": None}
                return 200, {plural: rows, "links": links, **({"truncated": True} if left else {})}
        return 200, {plural: rows, "links": {"next": None, "self": f"{self.url}/{plural}", "previous": None}}

    def shown(self, kind, known):
        """An object as it is replied, with the link to itself."""
        return {**known, "links": {"self": f"{self.url}/{kind}s/{known['id']}"}}


def same(one, other):
    """As MariaDB compares texts."""
    return one.lower() == other.lower() if isinstance(one, str) and isinstance(other, str) else one == other


def refused(code, message, title):
    """An error as Keystone words it."""
    return code, {"error": {"code": code, "message": message, "title": title}}
