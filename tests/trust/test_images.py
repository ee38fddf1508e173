"""Images that have packages in them have nothing else of a host: no secret, database, key or identity; none starts a service."""

from __future__ import annotations

import fnmatch
import subprocess
from pathlib import Path

import pytest
import yaml
from deployment import INVENTORY, PROJECT, Deployment

from kilonova.config import declared
from kilonova.run import secrets

# What is one host's own, as shell patterns below the root. A directory's name ends with a slash; an empty file is nothing.
FORBIDDEN = (
    "etc/ssh/ssh_host_*",
    "etc/ssl/private/*",
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "*.erlang.cookie",
    "var/lib/mysql/mysql/*",
    "var/lib/mysql/ib*",
    "var/lib/mysql/*.pem",
    "*.sqlite",
    "etc/openvswitch/system-id.conf",
    "*conf.db",
    "var/lib/ovn/*.db",
    "etc/keystone/*-keys/*",
    "var/lib/keystone/*-keys/*",
    "var/lib/nova/compute_id",
    "var/lib/libvirt/secrets/*",
    "var/cache/debconf/passwords.dat",
    "var/log/*",
    "root/*openrc",
)


@pytest.fixture(scope="module")
def made():
    """A sandbox whose containers come from images that have packages in them, as `make cloud` makes them; nothing is deployed."""
    found = Deployment("images", "10.28", images="on")
    try:
        found.create()
        yield found
    finally:
        found.destroy()


def images(of: Deployment) -> list[str]:
    """The images of the sandbox's containers."""
    names = [of.container(host) for host in of.hosts]
    found = subprocess.run(
        ["podman", "inspect", "--format", "{{.ImageName}}", *names], capture_output=True, text=True, check=True
    )
    return sorted(set(found.stdout.split()))


def own(root: Path) -> list[str]:
    """What is one host's own below `root`: files that are not empty."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and path.stat().st_size]
    names = [str(path.relative_to(root)) for path in files]
    return [name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in FORBIDDEN)]


def held() -> list[str]:
    """The units that start by nothing but their configuration, as shell patterns."""
    shared = yaml.safe_load((PROJECT / "roles/openstack/vars/main/main.yml").read_text(encoding="utf-8"))
    services = [unit for role in declared.services().values() for unit in role["service"]["units"]]
    return services + shared["openstack_backend_units"]


def starts(root: Path) -> list[str]:
    """The links that start a service of ours at boot."""
    links = [*root.glob("etc/systemd/system/*.wants/*"), *root.glob("etc/rc?.d/S*")]
    names = [f"{start}{unit}" for unit in held() for start in ("", "S[0-9][0-9]")]
    return [str(link) for link in links if any(fnmatch.fnmatch(link.name, name) for name in names)]


def told(root: Path, known: list[bytes]) -> list[str]:
    """Files that have a secret of this sandbox in them."""
    files = [path for name in ("etc", "root", "var") for path in (root / name).rglob("*") if path.is_file()]
    small = [path for path in files if not path.is_symlink() and path.stat().st_size < 2**20]
    return [str(path) for path in small if any(value in path.read_bytes() for value in known)]


def test_nothing_of_a_host_is_in_an_image(made):
    known = [value.encode() for value in secrets.values(INVENTORY).values()]
    assert len(images(made)) == len(made.hosts)
    for image in images(made):
        root = Path(
            subprocess.run(["podman", "image", "mount", image], capture_output=True, text=True, check=True).stdout.strip()
        )
        try:
            assert (root / "usr/bin/nova-compute").exists() or (root / "usr/bin/nova-api").exists(), image
            assert (own(root), starts(root), told(root, known)) == ([], [], []), image
            left = ("usr/sbin/policy-rc.d", "usr/share/python3/bcep/kilonova")
            assert [name for name in left if (root / name).exists()] == []
        finally:
            subprocess.run(["podman", "image", "unmount", image], capture_output=True, check=True)


def test_a_new_host_is_its_own_and_runs_nothing_of_ours(made):
    """What an image does not have, the first boot makes: other keys and names on each host. No service starts unconfigured."""
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        found = [made.sh(host, f"cat {path} 2>/dev/null || true") for host in made.hosts]
        assert len({text for text in found if text}) == len([text for text in found if text]), path
    patterns = " ".join(f"'{unit}'" for unit in held())
    for host in made.hosts:
        assert (
            made.sh(host, f"systemctl list-units --type=service --state=active,activating --plain --no-legend {patterns}") == ""
        )
        assert made.sh(host, "systemctl --failed --plain --no-legend") == ""
        assert made.sh(host, "ls -A /var/lib/kilonova-sandbox 2>/dev/null || true") == ""


def test_a_host_of_this_sandbox_would_be_found(sandbox):
    """The same look at a host that is deployed finds its databases, keys and services: what is looked for is what there is."""
    mounted = subprocess.run(
        ["podman", "mount", sandbox.container("controller")], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        found = own(Path(mounted))
        assert {"var/lib/rabbitmq/.erlang.cookie", "etc/keystone/fernet-keys/0"} <= set(found)
        # In /etc or in /var/lib, which the other one is a link to.
        assert any(name.endswith("/openvswitch/conf.db") for name in found)
        assert any(name.startswith("var/lib/mysql/") for name in found)
        assert starts(Path(mounted))
    finally:
        subprocess.run(["podman", "unmount", sandbox.container("controller")], capture_output=True, check=True)
