"""The launch of the first instance: what a person reads when it fails."""

import importlib.util
from types import SimpleNamespace

import pytest

from kilonova.config.config_files import ROLES

_SPEC = importlib.util.spec_from_file_location("library_launch_instance", ROLES.parent / "library" / "launch_instance.py")
launch_instance = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(launch_instance)

ID = "3d54ab34-32b3-4c65-b8e9-a6ebf0ba472c"
# As nova-conductor 31.0.0 wrote it, with fewer frames.
LINE = (
    "2026-11-25 18:42:16.322 11069 ERROR nova.scheduler.utils [None req-5e464555 - - default default] [instance: {id}] Error "
    "from last host: {host} (node {host}.example.org): ['Traceback (most recent call last):\\n', '  File \"manager.py\", line "
    "2755, in _build_and_run_instance\\n    raise exception.RescheduledException(\\n            instance_uuid=instance.uuid, "
    "reason=str(e))\\n', {error}]\n"
)
CORE = "internal error: Process exited prior to exec: libvirt:  error : cannot limit core file size of process 8985: Operation"


def reason(text, instance=ID):
    return repr(f"nova.exception.RescheduledException: Build of instance {instance} was re-scheduled: {text}\n")


@pytest.fixture
def log(tmp_path):
    """Write a log; returns its path."""

    def write(*lines):
        path = tmp_path / "nova-conductor.log"
        path.write_text("".join(lines))
        return str(path)

    return write


@pytest.mark.parametrize("text", [CORE, "Unable to mount '/dev/vda'", 'no "spice" here', "short"])
def test_the_last_hosts_own_words(log, text):
    path = log(LINE.format(id=ID, host="compute1", error=reason(text)))
    assert launch_instance.last_host_fault(ID, path) == f"compute1: {text}"


def test_the_last_of_several_hosts_and_no_other_instances_words(log):
    other = ID.replace("3d54", "aaaa")
    path = log(
        LINE.format(id=ID, host="compute1", error=reason("first")),
        LINE.format(id=ID, host="compute2", error=reason("second")),
        LINE.format(id=other, host="compute3", error=reason("third", other)),
        f"[instance: {ID}] something else\n",
    )
    assert launch_instance.last_host_fault(ID, path) == "compute2: second"
    assert launch_instance.last_host_fault(ID.replace("3d54", "bbbb"), path) is None


def test_only_the_end_of_a_long_log_is_read(log):
    path = log("x" * launch_instance.LOG_END, "\n", LINE.format(id=ID, host="compute1", error=reason("at the end")))
    assert launch_instance.last_host_fault(ID, path) == "compute1: at the end"


def test_a_log_that_is_a_link_or_missing_or_a_pipe_says_nothing(log, tmp_path):
    path = log(LINE.format(id=ID, host="compute1", error=reason("secret")))
    (tmp_path / "link").symlink_to(path)
    assert launch_instance.last_host_fault(ID, str(tmp_path / "link")) is None
    assert launch_instance.last_host_fault(ID, str(tmp_path / "none")) is None


@pytest.fixture
def launch(monkeypatch):
    """A launch whose server goes through `states`, (status, task state) each; the last stays."""

    def made(*states, check_mode=False):
        states = list(states)
        servers = [SimpleNamespace(id=ID, name="first", status=status, task_state=task) for status, task in states]
        started = []
        compute = SimpleNamespace(
            get_server=lambda _id: servers.pop(0) if len(servers) > 1 else servers[0], start_server=started.append
        )
        module = SimpleNamespace(params={"name": "first", "timeout": 60}, check_mode=check_mode)
        monkeypatch.setattr(launch_instance.time, "sleep", lambda _seconds: None)
        found = launch_instance.Launch(module, SimpleNamespace(compute=compute))
        found.started = started
        return found

    return made


def test_an_instance_that_is_shut_off_is_started_once(launch):
    found = launch(("SHUTOFF", None), ("SHUTOFF", "powering-on"), ("ACTIVE", None))
    assert found.launched(SimpleNamespace(id=ID)).status == "ACTIVE"
    assert (found.started, found.actions) == ([ID], ["start instance first"])


def test_an_instance_that_is_active_is_left_alone(launch):
    found = launch(("ACTIVE", None))
    assert found.launched(SimpleNamespace(id=ID)).status == "ACTIVE"
    assert (found.started, found.actions) == ([], [])


def test_a_plan_starts_no_instance_and_waits_for_none(launch):
    found = launch(("SHUTOFF", None), check_mode=True)
    assert found.launched(SimpleNamespace(id=ID)) is None
    assert (found.started, found.actions) == ([], ["start instance first"])
