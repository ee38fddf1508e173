#!/usr/bin/python
# Copyright: the Kilonova authors
# SPDX-License-Identifier: Apache-2.0
"""Provide the base image of the sandbox's containers."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kilonova.packaging import EXCLUDED, EXCLUSIONS, PYTHON_MODULES

DOCUMENTATION = r"""
---
module: sandbox_image
short_description: Provide the base image of the sandbox's containers
description:
  - Builds a small Debian with systemd by mmdebstrap, imports it into podman and keeps it as an archive, from which
    the next call reloads it in seconds.
  - A label records the recipe of the image. When it changes, the image is built again.
  - With O(hosts), makes an image for each different set of packages instead. It has them installed and compiled, and nothing in
    it that a host has for itself (keys, databases, identities). Units that match O(hold) are enabled, but do not start before the
    first boot is done. It is built again when the archive has other versions of its packages.
options:
  name:
    description: Name of the image in podman's storage.
    type: str
    required: true
  state:
    description: Whether the image shall be there. V(absent) also removes its archive.
    type: str
    choices: [present, absent]
    default: present
  pull:
    description: Take the image as it is, and pull it when it is missing, instead of building one.
    type: bool
    default: false
  distribution:
    description: Code name of the Debian distribution.
    type: str
    required: true
  rolling:
    description: Whether the distribution is its own updates, as testing and unstable are.
    type: bool
    default: false
  packages:
    description: Packages beyond the essential ones.
    type: list
    elements: str
    default: []
  hosts:
    description: Packages of each host in addition to O(packages).
    type: dict
    default: {}
  hold:
    description: Shell patterns of the units that start by nothing but their configuration.
    type: list
    elements: str
    default: []
  mirror:
    description: Address of the archive. Empty means this machine's own package source.
    type: str
    default: ""
  security_mirror:
    description: Address of the security updates. Empty means this machine's own.
    type: str
    default: ""
  apt_proxy:
    description: HTTP proxy for apt.
    type: str
    default: ""
  cache_dir:
    description: Directory that keeps archives and packages.
    type: path
    required: true
author:
  - The Kilonova authors
"""

EXAMPLES = r"""
- name: Provide the base image
  sandbox_image:
    name: localhost/kilonova-bookworm
    distribution: bookworm
    packages: [systemd, systemd-sysv, python3]
    cache_dir: /var/cache/kilonova
"""

RETURN = r"""
image:
  description: Name of the image.
  type: str
  returned: always
images:
  description: Name of the image of each host in O(hosts).
  type: dict
  returned: state is present
source:
  description: Where the image came from (storage, archive, mmdebstrap or pull).
  type: str
  returned: state is present
"""

LABEL = "kilonova.recipe"
# Raised when the steps below change, so that images built by older steps are not taken for current ones.
RECIPE = 2
# The host's own opinion on how old an archive's signature may be applies to the same archive inside the containers.
APT_OPTIONS = ("Acquire::Check-Valid-Until", "Acquire::Check-Date")

# Under either name, on this machine and in the image: later releases have another.
KEYRING = "/usr/share/keyrings/debian-archive-keyring"

HOSTS = """127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
"""

# The last step, with the new root as $1. A container shares the host's devices: replaying the "add" event of every one of them at
# boot is the host's business; udevd itself runs and applies .link files to the interfaces that appear in the container. Every
# container gets an identity of its own at its first start: podman offers one, and systemd takes it when neither file holds
# another. D-Bus's copy would come before podman's.
FINISH = """set -e; cd "$1"
mv etc/apt/sources.list.d/*debian.sources etc/apt/sources.list.d/debian.sources
test -e .%(keyring)s.gpg || sed -i 's|%(keyring)s.gpg|%(keyring)s.pgp|' etc/apt/sources.list.d/debian.sources
ln -s /dev/null etc/systemd/system/systemd-udev-trigger.service
printf '%(hosts)s' > etc/hosts
rm -f etc/apt/sources.list etc/hostname etc/resolv.conf var/lib/dbus/machine-id; : > etc/machine-id
""" % {"keyring": KEYRING, "hosts": HOSTS.replace("\n", "\\n")}


# Where an image with packages keeps what its hosts need once; it goes with their first boot.
FIRST_BOOT = "var/lib/kilonova-sandbox"
# Put off while packages are installed, then done for all of them at once, as the module openstack_packages does.
PUT_OFF = f"""mkdir -p "$1{os.path.dirname(EXCLUSIONS)}"
echo '{EXCLUDED}' > "$1{EXCLUSIONS}"
"""
COMPILE = f"""chroot "$1" python3 -m compileall -qq -j 0 {PYTHON_MODULES} || test $? = 1
rm "$1{EXCLUSIONS}"
"""
# What packages' scripts make for one host: keys, databases, identities, passwords, logs.
SCRUB = """set -e; cd "$1"
[ ! -d var/lib/mysql ] || find var/lib/mysql -mindepth 1 ! -name 'debian-*.flag' -delete
rm -rf etc/ssh/ssh_host_* etc/ssl/private/* etc/ssl/certs/ssl-cert-snakeoil.pem
rm -rf etc/openvswitch/conf.db* etc/openvswitch/.conf.db* etc/openvswitch/system-id.conf var/lib/openvswitch/* var/lib/ovn/*.db
rm -rf root/.erlang.cookie var/lib/rabbitmq/.erlang.cookie var/lib/rabbitmq/mnesia
rm -rf etc/keystone/*-keys var/lib/keystone/*-keys var/lib/nova/compute_id var/lib/libvirt/secrets/*
rm -rf var/lib/systemd/random-seed var/lib/systemd/credential.secret var/cache/debconf/*-old
for name in keystone glance placement nova neutron; do
  [ ! -d var/lib/$name ] || find var/lib/$name '(' -name '*.sqlite*' -o -name '*.db' ')' -delete
done
: > var/cache/debconf/passwords.dat
find var/log -type f -delete
"""
# Done in a new container before anything else: what Debian's scripts make for each host, and the units that had to wait for it.
FIRST_BOOT_SCRIPT = """set -e
if [ -x /usr/bin/mariadb-install-db ] && [ ! -d /var/lib/mysql/mysql ]; then
  TMPDIR= mariadb-install-db --rpm --cross-bootstrap --user=mysql --disable-log-bin --skip-test-db >/dev/null
fi
[ ! -x /usr/bin/ssh-keygen ] || ssh-keygen -A >/dev/null
[ ! -x /usr/sbin/make-ssl-cert ] || make-ssl-cert generate-default-snakeoil
tar --extract --directory=/etc --file=/%(directory)s/enabled.tar
systemctl daemon-reload
rm -r /%(directory)s
""" % {"directory": FIRST_BOOT}


def hold_script(patterns: list[str]) -> str:
    """Return the script that puts aside what starts units at boot: links that their packages have enabled them by."""
    names = " -o ".join(f"-name {shlex.quote(prefix + pattern)}" for pattern in patterns for prefix in ("", "S[0-9][0-9]"))
    return f"""set -e; cd "$1"; mkdir -p {FIRST_BOOT}; cd etc
find systemd/system rc?.d -type l '(' {names} ')' > ../{FIRST_BOOT}/links
tar --create --file=../{FIRST_BOOT}/enabled.tar --remove-files --files-from=../{FIRST_BOOT}/links
printf %s {shlex.quote(FIRST_BOOT_SCRIPT)} > ../{FIRST_BOOT}/run
"""


def first_address(uri: str) -> str:
    """Return the address itself; a mirror list stands for its first entry."""
    if not uri.startswith("mirror+file:"):
        return uri
    path = uri[len("mirror+file:") :]
    with open("/" + path.lstrip("/"), encoding="utf-8") as stream:
        for line in stream:
            if line.strip() and not line.startswith("#"):
                return line.split()[0]
    return ""


def choose_mirrors(sources: list[tuple[str, str]], codename: str) -> tuple[str, str]:
    """Return the addresses of the archive and of the security updates among a Debian host's sources."""
    usable = [(uri, suite) for uri, suite in sources if not uri.startswith("cdrom:")]
    names = [codename, "stable", "testing", "unstable", "sid"]
    archive = next((uri for name in names for uri, suite in usable if suite == name), "")
    security = next((uri for uri, suite in usable if suite.endswith(("-security", "/updates"))), "")
    return archive, security


def image_sources(parts: dict, keyring: str) -> str:
    """Return the image's apt sources in deb822 form."""
    name = parts["distribution"]
    stanzas = [(parts["mirror"], name if parts["rolling"] else f"{name} {name}-updates")]
    if parts["security_mirror"] and not parts["rolling"]:
        stanzas.append((parts["security_mirror"], f"{name}-security"))
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {suites}\nComponents: main\nSigned-By: {keyring}\n" for uri, suites in stanzas
    )


def recipe_of(parts: dict) -> str:
    """Return a short digest of everything that the image is made of."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Failed(Exception):
    """What the module fails with."""


class Image:
    def __init__(self, module: AnsibleModule, **instead: object):
        self.module = module
        self.params = {**module.params, **instead}
        self.archives = os.path.join(self.params["cache_dir"], "images")

    def run(self, *argv: str, check: bool = True, errors: int = subprocess.PIPE) -> tuple[int, str]:
        # Not by the module's run_command: several images are made at once.
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, errors="replace", check=False
        )
        if check and done.returncode != 0:
            tail = "\n".join((done.stdout + (done.stderr or "")).splitlines()[-15:])
            raise Failed(f"{' '.join(argv[:3])} … failed with {done.returncode}:\n{tail}")
        return done.returncode, done.stdout

    def recipe_in_storage(self) -> str | None:
        """Return the recipe of the image in podman's storage, None when there is no such image."""
        if not shutil.which("podman"):
            return None
        code, out = self.run("podman", "image", "inspect", self.params["name"], check=False)
        if code != 0:
            return None
        return (json.loads(out)[0].get("Labels") or {}).get(LABEL, "")

    def archive_path(self, recipe: str = "*") -> str:
        name = self.params["name"].rpartition("/")[2].removeprefix("kilonova-")
        return os.path.join(self.archives, f"{name}@{recipe}.tar.zst")

    # -- what the host uses ---------------------------------------------------------------------------------------
    def host_mirrors(self) -> tuple[str, str]:
        release = platform.freedesktop_os_release()
        if release["ID"] != "debian":
            return "", ""
        _code, out = self.run("apt-get", "indextargets", "--format=$(SITE) $(RELEASE)", "Created-By: Packages")
        sources = [tuple(line.rsplit(" ", 1)) for line in out.splitlines()]
        archive, security = choose_mirrors(sources, release.get("VERSION_CODENAME", ""))
        return first_address(archive), first_address(security)

    def apt_options(self) -> dict[str, str]:
        _code, out = self.run("apt-config", "dump", "--format", "%F=%V%n")
        values = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        return {name: values[name] for name in APT_OPTIONS if values.get(name)}

    # -- building -------------------------------------------------------------------------------------------------
    def mmdebstrap(self, parts: dict, work: str, target: str, *more: str) -> str:
        """Run mmdebstrap; returns what it says."""
        options = dict(parts["apt_options"])
        if parts["apt_proxy"]:
            options["Acquire::http::Proxy"] = parts["apt_proxy"]
        keyring = next((path for path in (f"{KEYRING}.gpg", f"{KEYRING}.pgp") if os.path.exists(path)), f"{KEYRING}.gpg")
        sources = os.path.join(work, "debian.sources")
        with open(sources, "w", encoding="utf-8") as stream:
            stream.write(image_sources(parts, keyring))
        aptopts = [f'--aptopt={name} "{value}"' for name, value in sorted(options.items())]
        # Root as it is, without user namespaces: owners stay as they are.
        usual = ["--mode=root", "--variant=minbase", f"--include={','.join(parts['packages'])}", *aptopts]
        argv = ("env", f"TMPDIR={work}", "mmdebstrap", *usual, *more, parts["distribution"], target, sources)
        return self.run(*argv, errors=subprocess.STDOUT)[1]  # all that apt says is among its errors

    def build(self, parts: dict, archive: str) -> None:
        """Make the distribution's root file system and write it to the archive."""
        packages = os.path.join(self.params["cache_dir"], "apt", parts["distribution"], "image", "archives")
        for path in (self.archives, packages):
            os.makedirs(path, mode=0o755, exist_ok=True)
        debs = shlex.quote(packages)
        hooks = [
            # Packages that were downloaded once come from the cache; new ones are added to it.
            "--skip=essential/unlink",
            f'--setup-hook=cd "$1"; mkdir -p var/cache/apt/archives; cp -t var/cache/apt/archives {debs}/*.deb || :',
            f'--customize-hook=cp --no-clobber -t {debs} "$1"/var/cache/apt/archives/*.deb',
            f"--customize-hook={FINISH}",
        ]
        if parts["hold"]:
            hooks.append(f"--essential-hook={PUT_OFF}")
            hooks += [f"--customize-hook={script}" for script in (COMPILE, hold_script(parts["hold"]), SCRUB)]
        with self.work() as work:
            new = os.path.join(work, "image.tar.zst")
            self.mmdebstrap(parts, work, new, *hooks)
            shutil.move(new, f"{archive}.partial")
            os.replace(f"{archive}.partial", archive)

    @contextlib.contextmanager
    def work(self) -> Iterator[str]:
        """A directory that goes away. Not under the cache: a home directory may be mounted without devices."""
        path = tempfile.mkdtemp(prefix="kilonova-image-", dir="/var/tmp")
        try:
            yield path
        finally:
            # Never across a mount that a killed mmdebstrap may have left.
            self.run("rm", "--recursive", "--force", "--one-file-system", path, check=False)

    def versions(self, parts: dict) -> str:
        """Return a digest of what apt would install now, or what was found last where the archive has not changed since."""
        recorded = os.path.join(self.archives, os.path.basename(self.archive_path("versions")).replace(".tar.zst", ".json"))
        try:
            with open(recorded, encoding="utf-8") as stream:
                last = json.load(stream)
        except (OSError, ValueError):
            last = {}
        suites = re.findall(r"^URIs: (\S+)\nSuites: (.+)$", image_sources(parts, ""), re.MULTILINE)
        proxies = {"http": parts["apt_proxy"]} if parts["apt_proxy"] else None
        opener = urllib.request.build_opener(*([urllib.request.ProxyHandler(proxies)] if proxies else []))
        digest = hashlib.sha256(recipe_of(parts).encode())
        try:
            for address, suite in [(address, suite) for address, names in suites for suite in names.split()]:
                with opener.open(f"{address.rstrip('/')}/dists/{suite}/InRelease", timeout=10) as answer:
                    digest.update(answer.read())
        except OSError:
            # Without a network, what was made before is the newest there is.
            if last.get("recipe") == recipe_of(parts):
                return last["versions"]
            raise
        if last.get("archive") == digest.hexdigest():
            return last["versions"]
        if self.module.check_mode and not shutil.which("mmdebstrap"):
            return ""  # it would be installed, and an image made
        with self.work() as work:
            said = self.mmdebstrap(parts, work, "/dev/null", "--simulate", "--verbose")
        would = sorted(re.findall(r"^Inst .*$", said, re.MULTILINE))
        if not would:
            raise Failed("mmdebstrap does not say which packages it would install; look at its output with --simulate --verbose")
        versions = hashlib.sha256("\n".join(would).encode()).hexdigest()
        if not self.module.check_mode:
            os.makedirs(self.archives, mode=0o755, exist_ok=True)
            with open(recorded, "w", encoding="utf-8") as stream:
                json.dump({"recipe": recipe_of(parts), "archive": digest.hexdigest(), "versions": versions}, stream)
        return versions

    def load(self, archive: str, recipe: str) -> None:
        self.run(
            "podman",
            "import",
            "--quiet",
            "--change",
            'CMD ["/sbin/init"]',
            "--change",
            f"LABEL {LABEL}={recipe}",
            archive,
            self.params["name"],
        )

    # -- states ---------------------------------------------------------------------------------------------------
    def pulled(self) -> dict:
        name = self.params["name"]
        if self.recipe_in_storage() is not None:
            return {"changed": False, "source": "storage"}
        if not self.module.check_mode:
            self.run("podman", "pull", "--quiet", name)
        return {"changed": True, "source": "pull"}

    def present(self) -> dict:
        archive, security = self.host_mirrors()
        parts = {
            "recipe": RECIPE,
            "distribution": self.params["distribution"],
            "rolling": self.params["rolling"],
            "packages": sorted(self.params["packages"]),
            "mirror": self.params["mirror"] or archive,
            "security_mirror": self.params["security_mirror"] or security,
            "apt_proxy": self.params["apt_proxy"],
            "apt_options": self.apt_options(),
            "hold": self.params["hold"],
        }
        if not parts["mirror"]:
            raise Failed(
                "sandbox_mirror is empty and this machine's apt sources name no Debian archive to build from. Set "
                "sandbox_mirror to the address of a Debian mirror, or sandbox_image to a ready image."
            )
        if parts["hold"]:
            parts["scripts"] = COMPILE + SCRUB + FIRST_BOOT_SCRIPT
            parts["versions"] = self.versions(parts)
        recipe = recipe_of(parts)
        if self.recipe_in_storage() == recipe:
            return {"changed": False, "source": "storage"}
        path = self.archive_path(recipe)
        source = "archive" if os.path.exists(path) else "mmdebstrap"
        if not self.module.check_mode:
            if source == "mmdebstrap":
                self.build(parts, path)
            self.load(path, recipe)
            for old in glob.glob(self.archive_path()):
                if old != path:
                    os.unlink(old)
            # What had the name before, unless containers still need it.
            self.run("podman", "image", "prune", "--force", f"--filter=label={LABEL}", check=False)
        return {"changed": True, "source": source}

    def absent(self) -> dict:
        names = [self.params["name"]]
        if shutil.which("podman"):
            _code, out = self.run("podman", "image", "ls", "--format={{.Repository}}", f"--filter=reference={names[0]}-*")
            names += sorted(set(out.split()))
        base = self.archive_path().partition("@")[0]
        paths = [path for start in (f"{base}@*", f"{base}-*@*") for path in glob.glob(os.path.join(self.archives, start))]
        stored = [name for name in names if Image(self.module, name=name).recipe_in_storage() is not None]
        if not self.module.check_mode:
            if stored:
                self.run("podman", "image", "rm", *stored)
            for path in paths:
                os.unlink(path)
        return {"changed": bool(stored or paths)}


def with_packages(module: AnsibleModule) -> dict:
    """Provide the images of all hosts, those of different packages at once."""
    sets = {host: tuple(sorted({*module.params["packages"], *names})) for host, names in module.params["hosts"].items()}
    images = {
        packages: Image(module, packages=packages, name=f"{module.params['name']}-{recipe_of({'packages': packages})[:8]}")
        for packages in dict.fromkeys(sets.values())
    }
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(Image.present, images.values()))
    return {
        "changed": any(result["changed"] for result in results),
        "source": ", ".join(sorted({result["source"] for result in results})),
        "images": {host: images[packages].params["name"] for host, packages in sets.items()},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "pull": {"type": "bool", "default": False},
            "distribution": {"type": "str", "required": True},
            "rolling": {"type": "bool", "default": False},
            "packages": {"type": "list", "elements": "str", "default": []},
            "hosts": {"type": "dict", "default": {}},
            "hold": {"type": "list", "elements": "str", "default": []},
            "mirror": {"type": "str", "default": ""},
            "security_mirror": {"type": "str", "default": ""},
            "apt_proxy": {"type": "str", "default": ""},
            "cache_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    image = Image(module, hold=[])
    try:
        if module.params["state"] == "absent":
            result = image.absent()
        elif module.params["hosts"]:
            result = with_packages(module)
        else:
            result = image.pulled() if module.params["pull"] else image.present()
    except (Failed, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(image=module.params["name"], **result)


if __name__ == "__main__":
    main()
