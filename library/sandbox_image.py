#!/usr/bin/python
# Copyright: the Kilonova authors
# SPDX-License-Identifier: Apache-2.0
"""Provide the base image of the sandbox's containers."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import platform
import shlex
import shutil
import tempfile

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
---
module: sandbox_image
short_description: Provide the base image of the sandbox's containers
description:
  - Builds a small Debian with systemd by mmdebstrap, imports it into podman and keeps it as an archive, from which
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
  rolling:
    description: Whether the distribution is its own updates, as testing and unstable are.
    type: bool
    default: false
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


class Image:
    def __init__(self, module: AnsibleModule):
        self.module = module
        self.params = module.params
        self.archives = os.path.join(self.params["cache_dir"], "images")

    def run(self, *argv: str, check: bool = True) -> tuple[int, str]:
        code, out, err = self.module.run_command(list(argv))
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
    def build(self, parts: dict, archive: str) -> None:
        """Make the distribution's root file system and write it to the archive."""
        packages = os.path.join(self.params["cache_dir"], "apt", parts["distribution"], "image", "archives")
        for path in (self.archives, packages):
            os.makedirs(path, mode=0o755, exist_ok=True)
        options = dict(parts["apt_options"])
        if parts["apt_proxy"]:
            options["Acquire::http::Proxy"] = parts["apt_proxy"]
        keyring = next((path for path in (f"{KEYRING}.gpg", f"{KEYRING}.pgp") if os.path.exists(path)), f"{KEYRING}.gpg")
        debs = shlex.quote(packages)
        # Not under the cache: a home directory may be mounted without devices.
        work = tempfile.mkdtemp(prefix="kilonova-image-", dir="/var/tmp")
        new = os.path.join(work, "image.tar.zst")
        try:
            sources = os.path.join(work, "debian.sources")
            with open(sources, "w", encoding="utf-8") as stream:
                stream.write(image_sources(parts, keyring))
            self.run(
                "env",
                f"TMPDIR={work}",
                "mmdebstrap",
                "--variant=minbase",
                # Without user namespaces: this is root, and owners stay as they are.
                "--mode=root",
                f"--include={','.join(parts['packages'])}",
                *(f'--aptopt={name} "{value}"' for name, value in sorted(options.items())),
                # Packages that were downloaded once are taken from the cache, and what came new is added to it.
                "--skip=essential/unlink",
                f'--setup-hook=cd "$1"; mkdir -p var/cache/apt/archives; cp -t var/cache/apt/archives {debs}/*.deb || :',
                f'--customize-hook=cp --no-clobber -t {debs} "$1"/var/cache/apt/archives/*.deb',
                f"--customize-hook={FINISH}",
                parts["distribution"],
                new,
                sources,
            )
            shutil.move(new, f"{archive}.partial")
            os.replace(f"{archive}.partial", archive)
        finally:
            # Never across a mount that a killed mmdebstrap may have left.
            self.run("rm", "--recursive", "--force", "--one-file-system", work, check=False)

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
        source = "archive" if os.path.exists(path) else "mmdebstrap"
        if not self.module.check_mode:
            if source == "mmdebstrap":
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
            "rolling": {"type": "bool", "default": False},
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
