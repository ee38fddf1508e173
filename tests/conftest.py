"""What tests of several kinds need."""

import os
import shutil
import socketserver
import ssl
import subprocess
import threading
from pathlib import Path

import ansible.module_utils
import pytest

# Where Ansible looks for the project's own, which its modules import.
ansible.module_utils.__path__.append(str(Path(__file__).resolve().parents[1] / "module_utils"))
from ansible.module_utils.kilonova import lock, unit_state  # noqa: E402 - found by the line above


def pytest_configure():
    """No standard input: nobody is there to answer."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def pytest_runtest_setup():
    """ssh leaves the standard input that it shares with us unable to block, and Ansible refuses such a one."""
    os.set_blocking(0, True)


@pytest.fixture
def over_tls(tmp_path):
    """Serve by a handler over TLS, with a certificate that nobody knows: over_tls(handler) -> (URL, the certificate's file)."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    files = ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "ca.pem"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *names], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    servers = []

    def serve(handler):
        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True)
        # A client that does not trust it hangs up.
        server.handle_error = lambda *_arguments: None
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"https://localhost:{server.server_address[1]}", str(tmp_path / "ca.pem")

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def of_a_host(tmp_path_factory, monkeypatch):
    """Modules take the lock of a host of their own and keep their state there; nobody's stays behind."""
    host = tmp_path_factory.mktemp("host")
    monkeypatch.setattr(lock, "PATH", str(host / "kilonova.onhost.lock"))
    monkeypatch.setattr(unit_state, "DIRECTORY", str(host / "kilonova"))
    yield
    lock.release()


@pytest.fixture
def privileged():
    """The directory that sshd wants when root starts it, and that systemd makes for it."""
    directory = Path("/run/sshd")
    made = os.geteuid() == 0 and not directory.exists()
    if made:
        directory.mkdir(mode=0o755)
    yield
    if made:
        directory.rmdir()
