"""What a compute node may do on another one with its key of Nova: the program that sshd starts, alone and behind a real sshd."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import struct
import subprocess
import time

import pytest

from kilonova.config import config_files

UUID = "0f3b2c64-8d0e-4f0c-9d5c-2b1f6a7e9c11"
OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
PROBE = "0123456789abcdef0123456789abcdef.tmp"
SFTP = "/usr/lib/openssh/sftp-server"
HELPER = "sh -c 'virt-ssh-helper 'qemu:///system''"


def program(directory, libvirt=True):
    """The program for instances below a directory, with a helper of libvirt's that tells what it got."""
    helper = directory / "helper"
    helper.write_text('#!/bin/sh\necho "$@"; env\n')
    helper.chmod(0o755)
    variables = {"instances": str(directory / "instances"), "libvirt": str(helper) if libvirt else ""}
    script = directory / "command"
    script.write_text(config_files.render({"path": "/x", "template": "nova-migration-command.j2", "variables": variables}))
    script.chmod(0o755)
    return script


class Peer:
    """Another compute node, as far as the program on this one goes."""

    def __init__(self, directory):
        self.directory, self.instances, self.script = directory, directory / "instances", program(directory)
        (self.instances / UUID).mkdir(parents=True)
        (self.instances / OTHER).mkdir()
        (self.instances / OTHER / "disk").write_text("another guest's")
        (self.instances / "_base").mkdir()
        (self.instances / "_base/abcdef").write_text("an image")
        (directory / "nova.conf").write_text("password = canary")

    def run(self, command, data=b"", **environment):
        """What becomes of a command."""
        environment = {"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": command, **environment}
        return subprocess.run([str(self.script)], env=environment, input=data, capture_output=True, check=False)

    def state(self):
        """Every file below the directory, with what is in it."""
        return {
            str(path): os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else path.lstat().st_mode
            for path in sorted(self.directory.rglob("*"))
        }


@pytest.fixture
def peer(tmp_path):
    """A host with two instances, and a secret beside them."""
    return Peer(tmp_path)


# ------------------------------------------------------------------------------------------------------------ commands


def test_exactly_what_nova_sends_is_done(peer):
    """nova/virt/libvirt/volume/remotefs.py, SshDriver, and driver.py, of Nova 26.2 and 31.0."""
    new = peer.instances / "11111111-2222-3333-4444-555555555555"
    assert peer.run(f"touch {new}/{PROBE}").returncode == 1  # no directory: not shared
    assert peer.run(f"mkdir -p {new}").returncode == 0
    assert peer.run(f"mkdir -p {new}").returncode == 0
    assert stat.S_IMODE(new.stat().st_mode) == 0o755
    assert peer.run(f"touch {new}/{PROBE}").returncode == 0
    assert (new / PROBE).read_text() == ""
    assert peer.run(f"rm {new}/{PROBE}").returncode == 0
    assert list(new.iterdir()) == []
    (new / "swtpm/x/tpm2").mkdir(parents=True)
    (new / "swtpm/x/tpm2/.lock").touch()
    (new / "disk").write_text("x")
    assert peer.run(f"rm -rf {new}").returncode == 0
    assert not new.exists()
    assert peer.run(f"rm -rf {new}").returncode == 0
    assert (peer.instances / OTHER / "disk").exists()


def test_libvirt_gets_its_helper_and_nothing_of_the_environment(peer):
    done = peer.run(HELPER, LIBVIRT_DEBUG="1", PYTHONPATH="/tmp", EVIL="x")
    assert done.stdout.decode().splitlines()[0] == "qemu:///system"
    for name in ("LIBVIRT_DEBUG", "PYTHONPATH", "EVIL", "SSH_ORIGINAL_COMMAND"):
        assert name not in done.stdout.decode()
    program(peer.directory, libvirt=False)
    assert peer.run(HELPER).returncode == 126


HERE = "{0}/" + UUID
REFUSED = [
    "",
    "sh",
    "id",
    "env",
    f"env rm -rf {HERE}",
    f"X=1 rm -rf {HERE}",
    f"sh -c 'touch {HERE}/{PROBE}'",
    # scp of old, in whatever form: today's asks for SFTP.
    f"scp -t {HERE}",
    f"scp -r -t {HERE}/disk",
    f"scp -f {HERE}/disk",
    f"scp -t -f /etc/nova/nova.conf {HERE}",
    f"scp -oProxyCommand=sh${{IFS}}-c${{IFS}}id h:x -t {HERE}",
    f"scp -S {HERE}/e h:x -t {HERE}",
    f"scp -F {HERE}/e h:x -t {HERE}",
    f"scp -J x h:x -t {HERE}",
    f"scp /etc/passwd -t {HERE}",
    f"scp -D {HERE}/e h:x -t {HERE}",
    # What is removed is one instance's directory.
    "rm -rf {0}",
    "rm -rf {0}/",
    "rm -rf {0}//",
    "rm -rf {0}/.",
    "rm -rf {0}/..",
    "rm -rf {0}/*",
    "rm -rf {0}/_base",
    "rm -rf /",
    f"rm -rf {HERE}/",
    f"rm -rf {HERE}/.",
    f"rm -rf {HERE}/../{OTHER}",
    f"rm -rf {{0}}//{UUID}",
    f"rm -rf {HERE} {HERE}",
    f"rm -rf {HERE}/disk",
    f"rm -fr {HERE}",
    f"rm -r -f {HERE}",
    f"rm  -rf {HERE}",
    f"rm -rf  {HERE}",
    f"rm -rf {HERE} ",
    f" rm -rf {HERE}",
    f"rm -rf -- {HERE}",
    f"rm -rf --no-preserve-root {HERE}",
    f"rm -rf {HERE}\n",
    f"rm -rf {HERE}\nid",
    f"rm -rf {HERE[:-1]}?",
    f"rm -rf {HERE[:-1]}[0-9]",
    f"rm -rf {HERE.upper()}",
    "rm -rf {0}/{{a,b}}",
    f"rm -rf {HERE}\t",
    f"rm {HERE}",
    f"rm {HERE}/disk",
    f"rm {{0}}/{OTHER}/disk",
    f"rm {HERE}/{PROBE} {HERE}/disk",
    f"rm -f {HERE}/{PROBE}",
    # What is made is an instance's directory, or the probe in it.
    "mkdir -p {0}/x",
    f"mkdir {HERE}",
    f"mkdir -p {HERE} /tmp/y",
    f"mkdir -p -m 777 {HERE}",
    f"mkdir -p {HERE}/x",
    "mkdir -p /etc/x",
    "touch /etc/passwd",
    f"touch {HERE}",
    f"touch {HERE}/disk",
    f"touch {HERE}/../{PROBE}",
    f"touch {{0}}/{PROBE}",
    f"touch {HERE}/{PROBE};id",
    f"touch {HERE}/{PROBE} $(id)",
    f"touch {HERE}/{PROBE}`id`",
    f"touch -r /etc/passwd {HERE}/{PROBE}",
    # libvirt's helper, in its one form.
    "virt-ssh-helper qemu:///system",
    "virt-ssh-helper qemu:///session",
    "sh -c 'virt-ssh-helper 'qemu:///session''",
    "sh -c 'virt-ssh-helper -r 'qemu:///system''",
    HELPER + ";id",
    HELPER + "\n",
    "sh -c 'nc -U /run/libvirt/libvirt-sock'",
    f"{SFTP} -d /",
    f"{SFTP} -P x",
    f"{SFTP};id",
    f"{SFTP}\nid",
    "/tmp/sftp-server",
    "sftp-server",
    f"{SFTP} {HERE}",
    f"{SFTP} ",
]


@pytest.mark.parametrize("command", REFUSED)
def test_nothing_else_is(peer, command):
    (peer.instances / UUID / "disk").write_text("x")
    before = peer.state()
    done = peer.run(command.replace("{{", "{").replace("}}", "}").replace("{0}", str(peer.instances)))
    assert (done.returncode, done.stdout) == (126, b"")
    assert done.stderr.decode() == "refused: this key is for migrations of Nova\n"
    assert peer.state() == before


def test_links_lead_nowhere(peer):
    link = "22222222-2222-3333-4444-555555555555"
    (peer.instances / link).symlink_to(peer.directory)
    (peer.instances / UUID / PROBE).symlink_to(peer.directory / "made")
    before = peer.state()
    for command in (
        f"rm -rf {peer.instances}/{link}",
        f"mkdir -p {peer.instances}/{link}",
        f"touch {peer.instances}/{link}/{PROBE}",
        f"touch {peer.instances}/{UUID}/{PROBE}",
        f"rm {peer.instances}/{link}/{PROBE}",
    ):
        assert peer.run(command).returncode == 1
    assert peer.state() == before
    # In a directory that is removed, it is the link that goes.
    (peer.instances / UUID / "out").symlink_to(peer.directory)
    assert peer.run(f"rm -rf {peer.instances}/{UUID}").returncode == 0
    assert (peer.directory / "nova.conf").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_directory_of_a_guest_that_runs_is_not_removed(peer):
    """libvirt gives its disks to QEMU's user, and the console's log is root's."""
    os.chown(peer.instances / OTHER / "disk", 64055, 64055)
    assert peer.run(f"rm -rf {peer.instances}/{OTHER}").returncode == 126
    assert (peer.instances / OTHER / "disk").exists()


# ---------------------------------------------------------------------------------------------------------------- SFTP


class Raw:
    """A client that sends whatever it likes: raw(type, fields) returns (type, content) of the reply."""

    def __init__(self, peer):
        environment = {"PATH": os.environ["PATH"], "SSH_ORIGINAL_COMMAND": SFTP}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([str(peer.script)], env=environment, stdin=pipe, stdout=pipe, stderr=pipe)
        self.send(struct.pack(">BI", 1, 3))
        assert self.receive() == struct.pack(">BI", 2, 3)
        self.number = 0

    def send(self, packet):
        self.process.stdin.write(struct.pack(">I", len(packet)) + packet)
        self.process.stdin.flush()

    def receive(self):
        return self.process.stdout.read(struct.unpack(">I", self.process.stdout.read(4))[0])

    def __call__(self, kind, *fields):
        """Texts with their length, numbers as given: ("I", 1)."""
        self.number += 1
        packed = b"".join(
            struct.pack(">" + f[0], f[1]) if isinstance(f, tuple) else struct.pack(">I", len(f)) + f for f in fields
        )
        self.send(struct.pack(">BI", kind, self.number) + packed)
        reply = self.receive()
        assert struct.unpack(">I", reply[1:5])[0] == self.number
        return reply[0], reply[5:]

    def status(self, kind, *fields):
        """The status, 0 for whatever is none."""
        found, content = self(kind, *fields)
        return struct.unpack(">I", content[:4])[0] if found == 101 else 0

    def open(self, path, flags):
        return self.status(3, os.fsencode(path), ("I", flags), ("I", 0))


@pytest.fixture
def raw(peer):
    """A client of the SFTP server."""
    client = Raw(peer)
    yield client
    client.process.stdin.close()
    assert client.process.wait(10) == 0
    client.process.stdout.close()
    client.process.stderr.close()


READ, WRITE, CREATE, TRUNCATE = 1, 2, 8, 16
MISSING, DENIED, FAILED, UNSUPPORTED = 2, 3, 4, 8


def bad_paths(peer):
    """Paths that are not below one instance's directory, or not in plain words."""
    inside, out = f"{peer.instances}/{UUID}", str(peer.directory / "nova.conf")
    return [
        out,
        "/etc/passwd",
        "",
        ".",
        "..",
        "nova.conf",
        f"{inside}/../../nova.conf",
        f"{inside}/../../../etc/passwd",
        f"{inside}/./disk",
        f"{inside}//disk",
        f"{inside}/disk/",
        f"{peer.instances}//{UUID}/disk",
        f"{peer.instances}/_base/../../nova.conf",
        f"{peer.instances}/nova.conf",
        f"{peer.instances}/{UUID}_resize/disk",
        f"{inside}/di*k",
        f"{inside}/disk\n",
        f"{inside}/disk\0",
        f"{inside}/disk\0/../../nova.conf",
        f"{inside}/~",
        f"~/{UUID}",
        f"{inside}/dïsk",
        f"{inside}/a b",
        f"{inside}x/disk",
        f"/{inside}/disk",
        f"{inside}/..",
        f"{inside}/x/..",
        f"{peer.instances}/_base/a/b",
        f"{peer.instances}/{UUID.upper()}/disk",
    ]


def test_sftp_reaches_nothing_outside_of_an_instances_directory(peer, raw):
    before = peer.state()
    for path in bad_paths(peer):
        for flags in (READ, WRITE | CREATE | TRUNCATE, WRITE, READ | WRITE, WRITE | 4 | CREATE):
            assert raw.open(path, flags) == DENIED, path
        for kind in (7, 17):
            assert raw.status(kind, os.fsencode(path)) == DENIED, path
        assert raw.status(14, os.fsencode(path), ("I", 0)) == DENIED, path  # MKDIR
        assert raw.status(9, os.fsencode(path), ("I", 4), ("I", 0o777)) == DENIED, path  # SETSTAT
        assert raw.status(16, os.fsencode(path)) == (0 if path == "." else DENIED), path  # REALPATH
    assert peer.state() == before


def test_sftp_reads_images_and_what_nova_fetches_and_no_disk(peer, raw):
    for name in ("disk.config", "kernel", "ramdisk", "disk", "disk.info", "console.log"):
        (peer.instances / UUID / name).write_text("x")
        allowed = name in ("disk.config", "kernel", "ramdisk")
        assert raw.open(f"{peer.instances}/{UUID}/{name}", READ) == (0 if allowed else DENIED)
    assert raw.open(f"{peer.instances}/_base/abcdef", READ) == 0
    assert raw.open(f"{peer.instances}/_base/abcdef", WRITE) == DENIED
    assert raw.open(f"{peer.instances}/_base/new", WRITE | CREATE) == DENIED


def test_sftp_lists_renames_removes_and_links_nothing(peer, raw):
    (peer.instances / UUID / "disk").write_text("x")
    inside, before = os.fsencode(peer.instances / UUID), peer.state()
    for kind, *fields in (
        (11, inside),
        (13, inside + b"/disk"),
        (15, inside),
        (19, inside + b"/disk"),
        (18, inside + b"/disk", inside + b"/other"),
        (20, b"/etc/passwd", inside + b"/link"),
        (20, inside + b"/link", b"/etc/passwd"),
        (200, b"hardlink@openssh.com", b"/etc/passwd", inside + b"/link"),
        (200, b"posix-rename@openssh.com", inside + b"/disk", inside + b"/other"),
        (200, b"copy-data"),
        (255, b""),
        (0, b""),
    ):
        assert raw.status(kind, *fields) == UNSUPPORTED
    assert peer.state() == before


def test_sftp_follows_no_link_and_opens_no_second_name(peer, raw):
    inside = peer.instances / UUID
    (inside / "disk").symlink_to(peer.directory / "nova.conf")
    (inside / "kernel").symlink_to(peer.directory / "nova.conf")
    (inside / "out").symlink_to(peer.directory)
    (peer.instances / "_base/link").symlink_to(peer.directory / "nova.conf")
    os.link(peer.directory / "nova.conf", inside / "ramdisk")
    os.link(peer.directory / "nova.conf", peer.instances / "_base/second")
    os.mkfifo(inside / "disk.config")
    before = peer.state()
    for path in ("disk", "out/nova.conf", "ramdisk", "disk.config"):
        assert raw.open(inside / path, WRITE | CREATE | TRUNCATE) in (DENIED, FAILED), path
        assert raw.status(9, os.fsencode(inside / path), ("I", 4), ("I", 0o777)) in (DENIED, FAILED), path
    for path in (f"{UUID}/kernel", f"{UUID}/ramdisk", f"{UUID}/disk.config", "_base/link", "_base/second"):
        assert raw.open(peer.instances / path, READ) in (DENIED, FAILED), path
    assert raw.status(14, os.fsencode(inside / "out/new"), ("I", 0)) == FAILED
    assert raw.status(17, os.fsencode(inside / "out/nova.conf")) == FAILED
    assert peer.state() == before


def test_what_was_opened_to_be_read_is_not_written(peer, raw):
    kind, content = raw(3, os.fsencode(peer.instances / "_base/abcdef"), ("I", READ), ("I", 0))
    assert kind == 102
    handle = content[4:]
    assert raw.status(6, handle, ("Q", 0), b"x") == FAILED
    assert raw.status(10, handle, ("I", 1), ("Q", 0)) == FAILED  # FSETSTAT of the size
    assert raw(5, handle, ("Q", 0), ("I", 100)) == (103, struct.pack(">I", 8) + b"an image")
    assert raw.status(5, handle, ("Q", 8), ("I", 100)) == 1
    assert raw.status(4, handle) == 0


@pytest.mark.parametrize(
    "packet",
    [
        struct.pack(">IBI", 2**31, 3, 1),
        struct.pack(">IBII", 9, 3, 1, 500),
        struct.pack(">IBI", 5, 5, 1),
        struct.pack(">I", 0),
        struct.pack(">IBII", 10, 4, 1, 1) + b"9",
    ],
)
def test_what_no_client_sends_ends_the_connection(peer, packet):
    done = peer.run(SFTP, struct.pack(">IBI", 5, 1, 3) + packet)
    assert done.returncode == 126
    assert done.stderr == b"refused: this key is for migrations of Nova\n"


# ----------------------------------------------------------------------------------------------------------- real SSH


def tools():
    """sshd, scp and what they need, or why there is no trial with them."""
    for name in ("ssh", "scp", "ssh-keygen"):
        if not shutil.which(name):
            return f"needs {name}"
    return "" if os.access("/usr/sbin/sshd", os.X_OK) else "needs sshd"


@pytest.fixture
def ssh(peer, privileged):
    """A real sshd on the loopback that has our program as ForceCommand; ssh(program, *arguments) runs a client's program."""
    if tools():
        pytest.skip(tools())
    here = peer.directory
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(here / name)], check=True)
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    (here / "authorized").write_text(f'from="127.0.0.1",restrict {(here / "key.pub").read_text()}')
    (here / "sshd_config").write_text(
        "\n".join(
            [
                f"Port {port}",
                "ListenAddress 127.0.0.1",
                f"HostKey {here}/host",
                f"AuthorizedKeysFile {here}/authorized",
                "StrictModes no",
                "UsePAM no",
                "PermitRootLogin yes",
                "PidFile none",
                f"Subsystem sftp {SFTP}",
                f"ForceCommand {peer.script}",
            ]
        )
    )
    (here / "known").write_text(f"[127.0.0.1]:{port} {(here / 'host.pub').read_text()}")
    (here / "ssh_config").write_text(
        "\n".join(
            [
                f"Port {port}",
                f"IdentityFile {here}/key",
                "IdentitiesOnly yes",
                f"UserKnownHostsFile {here}/known",
                "BatchMode yes",
            ]
        )
    )
    daemon = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(here / "sshd_config")], stderr=subprocess.PIPE)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)

    def client(name, *arguments):
        return subprocess.run([name, "-F", str(here / "ssh_config"), *arguments], capture_output=True, timeout=60, check=False)

    yield client
    daemon.terminate()
    daemon.wait(10)
    daemon.stderr.close()


def test_a_cold_migration_by_real_ssh_and_scp(peer, ssh):
    """In Nova's order and words: is it shared, make the directory, copy disks, disk.info and the TPM's directory."""
    new = peer.instances / "11111111-2222-3333-4444-555555555555"
    source = peer.directory / "source"
    (source / "swtpm" / new.name / "tpm2").mkdir(parents=True)
    (source / "disk").write_bytes(os.urandom(3_000_001))
    (source / "disk").chmod(0o644)
    (source / "disk.info").write_text("{}")
    (source / "swtpm" / new.name / "tpm2/.lock").touch()
    (source / "swtpm" / new.name / "tpm2/tpm2-00.permall").write_bytes(b"x" * 5000)
    assert ssh("ssh", "127.0.0.1", "touch", f"{new}/{PROBE}").returncode == 1
    assert ssh("ssh", "127.0.0.1", "mkdir", "-p", str(new)).returncode == 0
    for name, target in (("disk", "disk"), ("disk.info", "disk.info"), ("swtpm", "")):
        done = ssh("scp", "-C", "-r", str(source / name), f"127.0.0.1:{new}/{target}".rstrip("/"))
        assert done.returncode == 0, done.stderr
    compared = subprocess.run(["diff", "-r", str(source), str(new)], capture_output=True, check=False)
    assert (compared.returncode, compared.stdout) == (0, b"")
    assert stat.S_IMODE((new / "disk").stat().st_mode) == 0o644
    # A second try over what is there, and the clean-up after a failure.
    (source / "disk").write_bytes(b"shorter")
    assert ssh("scp", "-r", str(source / "disk"), f"127.0.0.1:{new}/disk").returncode == 0
    assert (new / "disk").read_bytes() == b"shorter"
    assert ssh("ssh", "127.0.0.1", "rm", "-rf", str(new)).returncode == 0
    assert not new.exists()


def test_nova_fetches_an_image_and_a_config_drive_by_real_scp(peer, ssh):
    (peer.instances / UUID / "disk.config").write_bytes(b"iso" * 100_000)
    for remote in (peer.instances / "_base/abcdef", peer.instances / UUID / "disk.config"):
        done = ssh("scp", "-C", "-r", f"127.0.0.1:{remote}", str(peer.directory / "fetched"))
        assert done.returncode == 0, done.stderr
        assert (peer.directory / "fetched").read_bytes() == remote.read_bytes()


def test_libvirt_reaches_its_helper_by_real_ssh(ssh):
    done = ssh("ssh", "-T", "-e", "none", "--", "127.0.0.1", HELPER)
    assert done.stdout.decode().splitlines()[0] == "qemu:///system"


def test_real_clients_get_nothing_else(peer, ssh):
    secret = peer.directory / "nova.conf"
    got = peer.directory / "got"
    before = peer.state()
    inside = f"{peer.instances}/{UUID}"
    for name, *arguments in (
        ("ssh", "127.0.0.1", f"scp -t -f {secret} {inside}"),
        ("ssh", "127.0.0.1", f"scp -oProxyCommand=sh${{IFS}}-c${{IFS}}'touch${{IFS}}{got}' h:x -t {inside}"),
        ("ssh", "127.0.0.1"),
        ("ssh", "127.0.0.1", "cat", str(secret)),
        ("ssh", "-tt", "127.0.0.1"),
        ("ssh", "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:22", "127.0.0.1"),
        ("scp", f"127.0.0.1:{secret}", str(got)),
        ("scp", "-r", f"127.0.0.1:{peer.instances}", str(got)),
        ("scp", f"127.0.0.1:{inside}/../../nova.conf", str(got)),
        ("scp", f"127.0.0.1:{peer.instances}/*/disk", str(got)),
        ("scp", str(secret), f"127.0.0.1:{peer.directory}/planted"),
        ("scp", str(secret), f"127.0.0.1:{peer.instances}/planted"),
        ("scp", "-O", str(secret), f"127.0.0.1:{inside}/disk"),
        ("scp", "-O", f"127.0.0.1:{secret}", str(got)),
    ):
        assert ssh(name, *arguments).returncode != 0, (name, arguments)
        assert peer.state() == before, (name, arguments)


def test_real_sftp_cannot_link_list_rename_or_remove(peer, ssh):
    (peer.instances / UUID / "disk").write_text("x")
    before, inside = peer.state(), f"{peer.instances}/{UUID}"
    for line in (
        f"symlink /etc/passwd {inside}/link",
        f"ln /etc/passwd {inside}/link",
        f"ls {inside}",
        f"ls {peer.instances}",
        f"rename {inside}/disk {inside}/other",
        f"rm {inside}/disk",
        f"rmdir {inside}",
        f"get {peer.directory}/nova.conf",
        f"get {inside}/disk",
        f"chmod 4777 {peer.directory}/nova.conf",
    ):
        batch = peer.directory.parent / "batch"
        batch.write_text(line + "\n")
        assert ssh("sftp", "-b", str(batch), "127.0.0.1").returncode != 0, line
        assert peer.state() == before, line
