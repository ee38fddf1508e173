"""The dashboard: it runs, answers under its own names, and reads no session that it has not written itself."""

from __future__ import annotations

import base64

import pytest

from kilonova.onhost.verify.dashboard import Dashboard

UNIT = "horizon"


@pytest.fixture(scope="module")
def authority(controller, tmp_path_factory):
    """File of the cloud's authority, on this machine."""
    path = tmp_path_factory.mktemp("authority") / "authority.pem"
    path.write_text(controller.file("/etc/ssl/certs/openstack-authority.pem").content_string)
    return str(path)


@pytest.fixture(autouse=True)
def dashboard(controller):
    """There is one."""
    if not controller.file("/etc/openstack-dashboard").exists:
        pytest.skip("this cloud has no dashboard")


def test_it_runs_as_its_own_user(controller):
    assert controller.service(UNIT).is_running and controller.service(UNIT).is_enabled
    assert controller.check_output("ps -o user= -C uwsgi-core | sort -u | grep -c '^horizon$'") == "1"
    assert controller.check_output("dpkg-query -W -f '${Status}' apache2 2>/dev/null || true") in ("", "unknown ok not-installed")


def test_nothing_of_the_package_is_edited(controller):
    """Of its files; owners and modes of those in /etc are ours (config_rights)."""
    wrong = controller.check_output("dpkg --verify openstack-dashboard python3-django-horizon || true").splitlines()
    assert [line for line in wrong if "__pycache__" not in line] == []


def test_it_lets_nobody_in(addresses, authority):
    seen = Dashboard(f"https://{addresses['controller']}/", authority).look("admin")
    assert "a wrong password and another host's name are refused" in seen


def test_a_session_that_somebody_else_wrote_is_none(controller, addresses, authority):
    """Whoever can write to memcached cannot make it run something."""
    browser = Dashboard(f"https://{addresses['controller']}/", authority)
    evil = b"cos\nsystem\n(S'touch /tmp/it-was-run'\ntR."  # a pickle that runs a command
    program = (
        "import socket,sys\n"
        "data=sys.stdin.buffer.read()\n"
        "to=socket.create_connection(('127.0.0.1',11211))\n"
        "for key in sys.argv[1:]:\n"
        " to.sendall(b'set %s 1 600 %d\\r\\n%s\\r\\n' % (key.encode(),len(data),data)); print(to.recv(100))\n"
    )
    session = "0123456789abcdefghijklmnopqrstuv"
    key = f":1:django.contrib.sessions.cache{session}"
    text = controller.check_output(f"echo %s | base64 -d | python3 -c %s {key}", base64.b64encode(evil).decode(), program)
    assert "STORED" in text
    status, _headers, _text = browser.ask("/project/instances/", Cookie=f"sessionid={session}")
    assert status == 200, "it answers with the login page"
    assert not controller.file("/tmp/it-was-run").exists
