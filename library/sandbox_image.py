#!/usr/bin/python
# Copyright: the Kilonova authors
# SPDX-License-Identifier: Apache-2.0
"""Provide the base image of the sandbox's containers."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: sandbox_image
short_description: Provide the base image of the sandbox's containers
description:
  - Builds a small Debian with systemd by debootstrap, imports it into podman and keeps it as an archive, from which
    the next call reloads it in seconds.
  - What the image is made of is recorded in a label. When that changes, the image is built anew.
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
  packages:
    description: Packages beyond the essential ones.
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
source:
  description: Where the image came from (storage, archive, debootstrap or pull).
  type: str
  returned: state is present
"""

LABEL = "kilonova.recipe"
# Raised when the steps below change, so that images built by older steps are not taken for current ones.
RECIPE = 1
# Testing and unstable are their own updates.
ROLLING = ("forky", "sid")
# The host's own opinion on how old an archive's signature may be applies to the same archive inside the containers.
APT_OPTIONS = ("Acquire::Check-Valid-Until", "Acquire::Check-Date")

HOSTS = """127.0.0.1 localhost
::1 localhost ip6-localhost ip6-loopback
"""

# A container shares the host's devices. Replaying the "add" event of every one of them at boot is the host's business;
# udevd itself runs and applies .link files to the interfaces that appear in the container.
MASKED_UNITS = ("systemd-udev-trigger.service",)


def parse_sources(text: str, deb822: bool) -> list[tuple[str, str]]:
    """Return (address, suite) of every enabled binary source in one of apt's source files."""
    found = []
    if not deb822:
        for line in text.splitlines():
            words = line.split("#", 1)[0].split()
            if len(words) < 3 or words[0] != "deb":
                continue
            rest = words[1:]
            if rest[0].startswith("["):
                while rest and not rest.pop(0).endswith("]"):
                    pass
            if len(rest) >= 2:
                found.append((rest[0], rest[1]))
        return found
    for stanza in text.replace("\r", "").split("\n\n"):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0] in " \t":
                fields[key] = fields.get(key, "") + " " + line.strip()
                continue
            key, _colon, value = line.partition(":")
            key = key.strip().lower()
            fields[key] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() == "no":
            continue
        for uri in fields.get("uris", "").split():
            found.extend((uri, suite) for suite in fields.get("suites", "").split())
    return found


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


def image_sources(distribution: str, archive: str, security: str, keyring: str) -> str:
    """Return the image's apt sources in deb822 form."""
    suites = [distribution]
    if distribution not in ROLLING:
        suites.append(f"{distribution}-updates")
    stanzas = [(archive, suites)]
    if security and distribution not in ROLLING:
        stanzas.append((security, [f"{distribution}-security"]))
    return "\n".join(
        f"Types: deb\nURIs: {uri}\nSuites: {' '.join(names)}\nComponents: main\nSigned-By: {keyring}\n" for uri, names in stanzas
    )


def recipe_of(parts: dict) -> str:
    """Return a short digest of everything that the image is made of."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


class Image:
    def __init__(self, module: AnsibleModule):
        self.module = module
        self.params = module.params
        self.archives = os.path.join(self.params["cache_dir"], "images")

    def run(self, *argv: str, check: bool = True) -> tuple[int, str]:
        environment = {"DEBIAN_FRONTEND": "noninteractive"}
        if self.params["apt_proxy"]:
            environment["http_proxy"] = self.params["apt_proxy"]
        code, out, err = self.module.run_command(list(argv), environ_update=environment)
        if check and code != 0:
            tail = "\n".join((out + err).splitlines()[-15:])
            self.module.fail_json(msg=f"{' '.join(argv[:3])} … failed with {code}:\n{tail}")
        return code, out

    def recipe_in_storage(self) -> str | None:
        """Return the recipe of the image in podman's storage, None when there is no such image."""
        if not shutil.which("podman"):
            return None
        code, out = self.run("podman", "image", "inspect", self.params["name"], check=False)
        if code != 0:
            return None
        return (json.loads(out)[0].get("Labels") or {}).get(LABEL, "")

    def archive_path(self, recipe: str = "*") -> str:
        return os.path.join(self.archives, f"{self.params['distribution']}-{recipe}.tar.zst")

    # -- what the host uses ---------------------------------------------------------------------------------------
    def host_mirrors(self) -> tuple[str, str]:
        with open("/etc/os-release", encoding="utf-8") as stream:
            release = dict(line.rstrip().split("=", 1) for line in stream if "=" in line)
        if release.get("ID", "").strip('"') != "debian":
            return "", ""
        sources: list[tuple[str, str]] = []
        files = ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]
        for path in files:
            if path.endswith((".list", ".sources")) and os.path.isfile(path):
                with open(path, encoding="utf-8") as stream:
                    sources.extend(parse_sources(stream.read(), path.endswith(".sources")))
        archive, security = choose_mirrors(sources, release.get("VERSION_CODENAME", ""))
        return first_address(archive), first_address(security)

    def apt_options(self) -> dict[str, str]:
        _code, out = self.run("apt-config", "dump", "--format", "%F=%V%n")
        values = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        return {name: values[name] for name in APT_OPTIONS if values.get(name)}

    # -- building -------------------------------------------------------------------------------------------------
    def build(self, parts: dict, archive: str) -> None:
        """Make the distribution's root file system and write it to the archive."""
        distribution = parts["distribution"]
        packages_dir = os.path.join(self.params["cache_dir"], "apt", distribution, "image")
        archives, lists = os.path.join(packages_dir, "archives"), os.path.join(packages_dir, "lists")
        for path in (self.archives, archives, lists):
            os.makedirs(path, mode=0o755, exist_ok=True)
        script = f"/usr/share/debootstrap/scripts/{distribution}"
        if not os.path.exists(script):
            # An older debootstrap does not know the name of a newer release; all of them are made as unstable is.
            script = "/usr/share/debootstrap/scripts/sid"
        # Not under the cache: a home directory may be mounted without devices.
        work = tempfile.mkdtemp(prefix="kilonova-image-", dir="/var/tmp")
        root = os.path.join(work, "root")
        try:
            self.run(
                "debootstrap",
                "--variant=minbase",
                f"--cache-dir={archives}",
                f"--include={','.join(parts['packages'])}",
                distribution,
                root,
                parts["mirror"],
                script,
            )
            self.configure(root, parts)
            self.upgrade(root, archives, lists)
            partial = f"{archive}.partial"
            self.run(
                "tar",
                "--create",
                f"--file={partial}",
                f"--directory={root}",
                "--use-compress-program=zstd -3 -T0",
                "--one-file-system",
                "--numeric-owner",
                "--xattrs",
                "--exclude=./dev/*",
                "--exclude=./proc/*",
                "--exclude=./sys/*",
                "--exclude=./run/*",
                "--exclude=./tmp/*",
                ".",
            )
            os.replace(partial, archive)
        finally:
            # Never across a mount that a killed debootstrap may have left.
            self.run("rm", "--recursive", "--force", "--one-file-system", work, check=False)

    def configure(self, root: str, parts: dict) -> None:
        """Write the files that make the root file system a host of the sandbox."""
        keyrings = ("usr/share/keyrings/debian-archive-keyring.pgp", "usr/share/keyrings/debian-archive-keyring.gpg")
        keyring = next(name for name in keyrings if os.path.exists(os.path.join(root, name)))
        options = "".join(f'{name} "{value}";\n' for name, value in sorted(parts["apt_options"].items()))
        if parts["apt_proxy"]:
            options += f'Acquire::http::Proxy "{parts["apt_proxy"]}";\n'
        files = {
            "etc/apt/sources.list.d/debian.sources": image_sources(
                parts["distribution"], parts["mirror"], parts["security_mirror"], f"/{keyring}"
            ),
            "etc/apt/apt.conf.d/80sandbox": options,
            "etc/hosts": HOSTS,
        }
        for name, text in files.items():
            if text:
                with open(os.path.join(root, name), "w", encoding="utf-8") as stream:
                    stream.write(text)
        # Every container gets an identity of its own at its first start: podman offers one, and systemd takes it when
        # neither file holds another. D-Bus's copy would come before podman's.
        for name in ("etc/apt/sources.list", "etc/hostname", "var/lib/dbus/machine-id"):
            if os.path.lexists(os.path.join(root, name)):
                os.unlink(os.path.join(root, name))
        open(os.path.join(root, "etc/machine-id"), "w", encoding="utf-8").close()
        for unit in MASKED_UNITS:
            os.symlink("/dev/null", os.path.join(root, "etc/systemd/system", unit))

    def upgrade(self, root: str, archives: str, lists: str) -> None:
        """Bring the packages up to date, in namespaces of their own so that no mount outlives this call."""
        policy = os.path.join(root, "usr/sbin/policy-rc.d")
        with open(policy, "w", encoding="utf-8") as stream:
            stream.write("#!/bin/sh\nexit 101\n")
        os.chmod(policy, 0o755)
        script = (
            'set -e; cp /etc/resolv.conf "$1/etc/resolv.conf"; mount -t proc proc "$1/proc"; '
            'mount --bind /dev "$1/dev"; '
            'mount --bind "$2" "$1/var/cache/apt/archives"; mount --bind "$3" "$1/var/lib/apt/lists"; '
            'chroot "$1" apt-get --quiet update; '
            'chroot "$1" apt-get --quiet --yes --no-install-recommends dist-upgrade'
        )
        try:
            self.run("unshare", "--mount", "--pid", "--fork", "sh", "-c", script, "upgrade", root, archives, lists)
        finally:
            # Left behind, it would keep every service of a later installation from starting.
            os.unlink(policy)
        for name in ("var/lib/apt/lists", "var/cache/apt/archives", "var/log"):
            for path in glob.glob(os.path.join(root, name, "*")):
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        for name in ("etc/resolv.conf", "var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin"):
            if os.path.exists(os.path.join(root, name)):
                os.unlink(os.path.join(root, name))

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
            "packages": sorted(self.params["packages"]),
            "mirror": self.params["mirror"] or archive,
            "security_mirror": self.params["security_mirror"] or security,
            "apt_proxy": self.params["apt_proxy"],
            "apt_options": self.apt_options(),
        }
        if not parts["mirror"]:
            self.module.fail_json(
                msg=(
                    "sandbox_mirror is empty and this machine's apt sources name no Debian archive to build from. Set "
                    "sandbox_mirror to the address of a Debian mirror, or sandbox_image to a ready image."
                )
            )
        recipe = recipe_of(parts)
        if self.recipe_in_storage() == recipe:
            return {"changed": False, "source": "storage"}
        path = self.archive_path(recipe)
        source = "archive" if os.path.exists(path) else "debootstrap"
        if not self.module.check_mode:
            if source == "debootstrap":
                self.build(parts, path)
            self.load(path, recipe)
            for old in glob.glob(self.archive_path()):
                if old != path:
                    os.unlink(old)
        return {"changed": True, "source": source}

    def absent(self) -> dict:
        paths = glob.glob(self.archive_path())
        stored = self.recipe_in_storage() is not None
        if not self.module.check_mode:
            if stored:
                self.run("podman", "image", "rm", self.params["name"])
            for path in paths:
                os.unlink(path)
        return {"changed": stored or bool(paths)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "pull": {"type": "bool", "default": False},
            "distribution": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "default": []},
            "mirror": {"type": "str", "default": ""},
            "security_mirror": {"type": "str", "default": ""},
            "apt_proxy": {"type": "str", "default": ""},
            "cache_dir": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    image = Image(module)
    if module.params["state"] == "absent":
        result = image.absent()
    else:
        result = image.pulled() if module.params["pull"] else image.present()
    module.exit_json(image=module.params["name"], **result)


if __name__ == "__main__":
    main()
