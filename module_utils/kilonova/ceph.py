"""Ceph's monitors, asked by librados in one process: no key is in an argv, and none in a file."""

import errno
import json

try:
    import rados
except ImportError:  # check mode on a fresh host: the package comes with this very run
    rados = None

# How a module is told of a cluster.
CLUSTER = {
    "type": "dict",
    "required": True,
    "options": {
        "fsid": {"type": "str", "required": True},
        "name": {"type": "str"},
        "monitors": {"type": "dict", "required": True},
        "secure": {"type": "bool", "default": True},
        "admin_key": {"type": "str", "required": True, "no_log": True},
        "monitor_key": {"type": "str", "no_log": True},
    },
}
MISSING = "python3-rados is missing on this host; the role that needs it installs it"


class Failure(Exception):
    """The cluster cannot be asked, or refuses; the text says what and why, and has no key in it."""


class Cluster:
    """A connection: `with Cluster(monitors, "client.admin", key) as cluster`."""

    def __init__(self, addresses, user, key, secure=True, timeout=10):
        """`addresses` is mon_host; `timeout` in seconds, for the connection and for each answer."""
        mode = {"ms_client_mode": "secure", "ms_mon_client_mode": "secure"} if secure else {}
        self.user = user
        self.settings = {
            "mon_host": addresses,
            "key": key,
            "keyring": "/dev/null",
            "client_mount_timeout": str(timeout),
            "rados_mon_op_timeout": str(timeout),
            "rados_osd_op_timeout": str(timeout),
            "log_to_stderr": "false",
            "log_file": "/dev/null",
            **mode,
        }
        self.timeout = timeout
        self.rados = None

    def __enter__(self):
        """Log in; Failure says what hinders it."""
        if rados is None:
            raise Failure(MISSING)
        # No file is read: what a host's own ceph.conf says may be of another cluster.
        self.rados = rados.Rados(name=self.user, conffile="/dev/null", conf=self.settings)
        try:
            self.rados.connect(timeout=self.timeout)
        except rados.Error as error:
            raise Failure(f"{self.user} cannot log in at {self.settings['mon_host']}: {reason(error)}") from error
        return self

    def __exit__(self, *_error):
        """Log out."""
        self.rados.shutdown()

    def ask(self, prefix, text="", missing=False, **arguments):
        """Return what a command of `ceph` says, as data; None for what is not there, if it may be `missing`."""
        command = json.dumps({"prefix": prefix, "format": "json", **arguments})
        status, output, said = self.rados.mon_command(command, text.encode(), timeout=self.timeout)
        if missing and status == -errno.ENOENT:
            return None
        if status:
            raise Failure(f"ceph {prefix}: {said or errno.errorcode.get(-status, status)}")
        try:
            return json.loads(output) if output.strip() else {}
        except ValueError:
            return output.decode("utf-8", "replace")


def reason(error):
    """Return what an error of librados means to whom reads it."""
    number = abs(getattr(error, "errno", 0) or 0)
    if number in (errno.EACCES, errno.EPERM):
        return "its key is another one, or it has no right to the monitors"
    if number == errno.ENOENT:
        return "the cluster has no such user"
    if number == errno.ETIMEDOUT:
        return "no monitor answers there"
    return str(error)


def mon_host(monitors):
    """Return the addresses of monitors, name to address, as Ceph reads them."""
    return ",".join(f"v2:{f'[{one}]' if ':' in one else one}:3300" for one in monitors.values())
