"""Questions inside of the cloud: no proxy of the environment sees one, and what is no HTTP is said in words."""

import ast
import socketserver
import threading
from pathlib import Path

import openstack
import pytest
from ansible.module_utils.kilonova import http
from fake_keystone import Keystone
from harness import load

PROJECT = Path(__file__).resolve().parents[2]
ON_HOSTS = sorted([*(PROJECT / "library").glob("*.py"), *(PROJECT / "module_utils").rglob("*.py")])
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
GARBAGE = {
    "a bad status line": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "an empty answer": b"",
    "a line without end": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000,
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200,
    "a body that is cut": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    "chunks that are none": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nshort",
    "an error's body that is cut": b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nshort",
    "a redirection to nowhere": b"HTTP/1.1 302 Found\r\nLocation: gopher://x/\r\nContent-Length: 0\r\n\r\n",
    "a version of the future": b"HTTP/9.9 200 OK\r\n\r\n",
}
NO_HTTP = [
    "a bad status line",
    "an empty answer",
    "a line without end",
    "headers without end",
    "chunks that are none",
    "a version of the future",
]


class Server(socketserver.ThreadingTCPServer):
    """Answers everybody with the same bytes, and keeps what was asked."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, answer):
        self.answer, self.asked = answer, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()


class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        self.server.asked.append(self.request.recv(65536))
        self.request.sendall(self.server.answer)


@pytest.fixture
def serve():
    """serve(bytes) returns a server."""
    servers = []

    def start(answer):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def proxy(serve, monkeypatch):
    """A proxy in the login's environment, which refuses everything with 403."""
    refusing = serve(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    for name in PROXIES:
        monkeypatch.setenv(name, refusing.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return refusing


@pytest.mark.parametrize("case", NO_HTTP)
def test_garbage_is_no_answer(serve, case):
    with pytest.raises(http.NoAnswer, match=r"speaks no HTTP|closed|reset") as failed:
        http.ask(serve(GARBAGE[case]).url)
    assert "xxx" not in str(failed.value)


@pytest.mark.parametrize("case", GARBAGE)
def test_health_questions_meet_garbage(serve, case):
    """In words, or an answer; never a traceback."""
    said = load("service_units").answer(serve(GARBAGE[case]).url)
    assert said is None or said.startswith("no answer: ")
    assert said or case not in NO_HTTP or case == "chunks that are none"  # the status was there


@pytest.mark.parametrize("case", GARBAGE)
def test_logins_meet_garbage(serve, case):
    """One problem that names the variable, never a traceback."""
    user = {"name": "nova", "password": "canary-of-nova", "variable": "openstack_nova_pass", "project": "service"}
    url = serve(GARBAGE[case]).url + "v3"
    (problem,) = load("backend_logins").identity({"auth_url": url, "region": "R", "users": [user]}, 5)
    assert problem["variable"] == "openstack_auth_url"
    assert problem["what"].startswith(f"Keystone at {url} ")
    assert "canary" not in str(problem)


@pytest.mark.parametrize("body", [b"hello", b"[]", b"{}", b'{"token": 1}', b"\xff\xfe", b""])
def test_a_page_that_is_no_token(serve, body):
    """Something else at the address."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    user = {"name": "nova", "password": "p", "variable": "openstack_nova_pass", "project": "service"}
    url = serve(answer).url + "v3"
    (problem,) = load("backend_logins").identity({"auth_url": url, "region": "R", "users": [user]}, 5)
    assert problem["what"] == f"Keystone at {url} answers with status 200 and no token"


NO_URLS = ["http://", "http://[::1", "http://127.0.0.1:port/", "nonsense", "http://a b/", "http://" + "x" * 300]


@pytest.mark.parametrize("url", NO_URLS)
def test_no_url(url):
    with pytest.raises(http.NoAnswer):
        http.ask(url, timeout=1)


def test_no_proxy_sees_a_health_question(serve, proxy):
    """It would say 403 for a service that is dead, and so it would "answer"."""
    answer = load("service_units").answer
    living = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert answer(living.url) is None
    assert len(living.asked) == 1
    living.shutdown()
    living.server_close()
    assert "refused" in answer(living.url)
    assert proxy.asked == []


def test_no_proxy_sees_a_password(proxy):
    with Keystone("admin-password") as keystone:
        user = {"name": "admin", "password": "admin-password", "variable": "openstack_admin_pass", "project": "admin"}
        asked = {"auth_url": keystone.url, "region": "RegionOne", "users": [user]}
        assert load("backend_logins").identity(asked, 5) == []
        auth = {
            "auth_url": keystone.url,
            "username": "admin",
            "password": "admin-password",
            "project_name": "admin",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        }
        connection = http.connect(
            openstack, auth=auth, region_name="RegionOne", identity_api_version="3", identity_endpoint_override=keystone.url
        )
        assert [user["name"] for user in connection.identity.get("/users").json()["users"]] == ["admin"]
    assert proxy.asked == []


@pytest.mark.parametrize("path", ON_HOSTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_nothing_else_asks(path):
    """Modules that run on hosts ask by kilonova.http, which knows how."""
    if path.name in ("http.py", "sandbox_image.py"):  # the latter has an archive's packages fetched, by a proxy or not
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not names & {"urllib.request", "http.client", "requests", "ansible.module_utils.urls"}
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert "openstack.connect" not in calls
    assert "openstack.connection.Connection" not in calls
