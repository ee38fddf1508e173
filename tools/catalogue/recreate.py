"""Re-create the option catalogues of all releases from the released packages, or check the stored ones.

    python tools/catalogue/recreate.py                    write nova.json and services.json of kilonova/config/catalogue/data
    python tools/catalogue/recreate.py --check ocata 34   compare these releases with them; exit 1 on a difference

Needs Python 3.11 or newer with pip, PyYAML and oslo.config; takes about three minutes with an empty cache and a
minute with a full one. Versions and hashes are pinned in pins/, so the result depends on neither date nor machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from kilonova.config.catalogue import store  # noqa: E402 - found by the line above
from kilonova.config.releases import RELEASES, Release, find  # noqa: E402 - found by the line above


def wanted(name: str) -> bool:
    """Say whether a package's file is needed: not its tests and translations, three quarters of Nova's bulk."""
    unwanted = {"tests", "locale", "releasenotes", "doc", "api-guide", "api-ref"}
    return not name.endswith("/") and unwanted.isdisjoint(name.split("/"))


def unpack(package: Path, target: Path) -> None:
    """Unpack a wheel or a source archive into the directory `target`, so that it can be imported from there.

    Raises ValueError when the archive tries to write outside of it.
    """

    def put(name: str, data: bytes) -> None:
        file = (target / name).resolve()
        if not file.is_relative_to(target.resolve()):
            raise ValueError(f"{package.name}: {name} points outside")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)

    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as archive:
            for name in filter(wanted, archive.namelist()):
                put(name, archive.read(name))
    else:
        # the first directory is the distribution's own name
        with tarfile.open(package) as archive:
            for member in archive:
                _, _, name = member.name.partition("/")
                if member.isfile() and wanted(name):
                    put(name, archive.extractfile(member).read())


def packages(pins: Path, cache: Path) -> Path:
    """Return a directory with the packages of the file `pins` unpacked, downloading what the cache lacks.

    Raises subprocess.CalledProcessError when pip cannot get a package of exactly the pinned version and hash.
    """
    key = hashlib.sha256(pins.read_bytes() + sys.version.encode()).hexdigest()[:12]
    target = cache / f"{pins.stem}-{key}"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=cache) as work:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        # the packages name older Pythons than ours; nothing of them is executed but option definitions
        pip += ["--no-deps", "--ignore-requires-python", "--dest", work, "--requirement", str(pins)]
        subprocess.run(pip, check=True)
        unpacked = Path(work) / "unpacked"
        for package in sorted(Path(work).iterdir()):
            unpack(package, unpacked)
        unpacked.rename(target)
    return target


def options(release: Release, cache: Path) -> store.Options:
    """Return Nova's options of `release`, read from its packages in a process of its own."""
    return _extracted("extract.py", release, cache, [release.name, "base"])["options"]


def services(release: Release, cache: Path) -> dict[str, store.Options]:
    """Return part -> the other services' options of `release`."""
    return _extracted("extract_services.py", release, cache, [f"{release.name}-services", release.name, "base"])["parts"]


def _extracted(script: str, release: Release, cache: Path, pins: list[str]) -> dict:
    path = os.pathsep.join(str(packages(HERE / "pins" / f"{name}.txt", cache)) for name in pins)
    # a clean environment: some defaults are taken from it
    env = {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
    # -S: nothing of this Python's own packages, which differ from machine to machine
    command = [sys.executable, "-W", "ignore", "-S", str(HERE / script), release.name]
    done = subprocess.run(command, env=env, cwd=cache, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{release.title}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def nova_of(release: Release) -> str:
    """Return the pinned Nova package of `release`, "nova==31.3.1"."""
    lines = (HERE / "pins" / f"{release.name}.txt").read_text().splitlines()
    return next(line.split()[0] for line in lines if line.startswith("nova=="))


def services_of(release: Release) -> dict[str, str]:
    """Return package -> its pinned version, of the other services of `release`; empty before the first that is known."""
    pins = HERE / "pins" / f"{release.name}-services.txt"
    lines = pins.read_text().splitlines() if pins.exists() else []
    return dict(line.split()[0].split("==") for line in lines if not line.startswith("#"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the stored catalogue, write nothing")
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kilonova-catalogue"
    parser.add_argument("--cache", type=Path, default=default, help="downloaded packages (default: %(default)s)")
    parser.add_argument("--output", type=Path, default=store.FILE)
    parser.add_argument("release", nargs="*", help="names or numbers; all without, and only with --check some")
    args = parser.parse_args()
    if args.release and not args.check:
        parser.error("the catalogue is written for all releases together; name releases with --check only")
    args.cache.mkdir(parents=True, exist_ok=True)

    releases = [find(r) for r in args.release] or RELEASES
    fresh = {r.nova: options(r, args.cache) for r in releases}
    others = {r.nova: services(r, args.cache) for r in releases if services_of(r)}
    if not args.check:
        store.write(store.merge(fresh), {r.nova: nova_of(r) for r in releases}, args.output)
        parts = sorted({part for found in others.values() for part in found})
        histories = {part: store.merge({nova: found.get(part, {}) for nova, found in others.items()}) for part in parts}
        beside = args.output.with_name(store.SERVICES.name)
        store.write_services(histories, {nova: services_of(find(nova)) for nova in others}, beside)
        for file in (args.output, beside):
            print(f"{file}: {file.stat().st_size} bytes")
        return 0
    history, _ = store.read(args.output)
    stored, _ = store.read_services(args.output.with_name(store.SERVICES.name))
    wrong = [r for r in releases if store.dump(fresh[r.nova]) != store.dump(store.at(history, r.nova))]
    wrong += [find(nova) for nova, found in others.items() if store.dump(found) != store.dump(store.parts_at(stored, nova))]
    for release in releases:
        print(f"{release.title}: {'differs from the stored catalogue' if release in wrong else 'identical'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
