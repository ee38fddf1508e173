"""Build the tiny guest: Debian's cloud kernel, busybox and dropbear on a disk that a BIOS starts.

Needs apt and dpkg, and neither root nor installed tools: packages are downloaded and unpacked, and the archive, the
partition table and the disk format are simple enough to be written here. Standard library only, because it runs before
anything else is installed:

    python3 kilonova/guest/image.py --files roles/guest_image/files/guest --cache ~/.cache/kilonova/guest
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import lzma
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

ARCHITECTURE = "amd64"
KERNEL_PACKAGE = "linux-image-cloud-amd64"
GUEST_PACKAGES = ("busybox-static", "dropbear-bin")
TOOL_PACKAGES = ("e2fsprogs", "mtools", "syslinux", "syslinux-common")

# Drivers for the devices that Nova gives a guest. Their dependencies follow; built-in ones are left out.
MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_scsi",
    "virtio_rng",
    "virtio_balloon",
    "virtio_console",
    "sd_mod",
    "sr_mod",
    "ata_piix",
    "ahci",
    "e1000",
    "e1000e",
    "8139cp",
    "button",
    "evdev",
    "ext4",
    "isofs",
    "vfat",
    "nls_cp437",
    "nls_ascii",
    "nls_iso8859_1",
    "nls_utf8",
)
# Without one of these no guest starts; of the others a kernel may lack some.
REQUIRED_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "ext4")

# A guest without hardware underneath: no timer calibration against devices that are emulated, no self-tests.
KERNEL_OPTIONS = (
    "console=tty0 console=ttyS0,115200n8 quiet loglevel=4 panic=10 no_timer_check mitigations=off "
    "cryptomgr.notests random.trust_cpu=on"
)
BOOT_MENU = f"""DEFAULT guest
PROMPT 0
TIMEOUT 0
LABEL guest
KERNEL /vmlinuz
INITRD /initrd.img
APPEND {KERNEL_OPTIONS}
"""

DIRECTORIES = (
    "bin",
    "dev",
    "etc",
    "etc/acpi",
    "home",
    "home/cirros",
    "lib",
    "lib64",
    "mnt",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/lib",
    "usr/sbin",
    "usr/share",
    "var",
    "var/lib",
    "var/log",
)
LINKS = {
    "etc/dropbear": "/var/lib/dropbear",
    "etc/mtab": "/proc/mounts",
    "usr/bin/mkfs.ext2": "mkfs",
    "usr/bin/mkfs.ext3": "mkfs",
    "usr/bin/mkfs.ext4": "mkfs",
    "var/run": "/run",
}

SECTOR = 512
FIRST_SECTOR = 2048
# The partition whose content outlives a reboot, see files/guest/lib/kilonova/state.
STATE_SECTORS = 40 * 2048
# It has a journal, because guests are reset without a warning; nothing in it needs more of the kernel than that.
STATE_FEATURES = "none,has_journal,extent,filetype,sparse_super"
DISK_SIGNATURE = b"KILO"
# Nothing in the image tells when it was built, so the same parts make the same image.
EPOCH = 1_700_000_000
# Images in the cache that were not used for this long are removed.
KEEP_SECONDS = 30 * 24 * 3600


class BuildError(Exception):
    """The image cannot be built here; the text says what to do."""


# -- the initial file system: an archive in cpio's "newc" form ------------------------------------------------------


def cpio_entry(number: int, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)) -> bytes:
    """Return one file of a newc archive. Everything belongs to root, whichever user builds."""
    encoded = name.encode() + b"\0"
    fields = (number, mode, 0, 0, 2 if stat.S_ISDIR(mode) else 1, EPOCH, len(data), 0, 0, *device, len(encoded), 0)
    header = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(header + encoded) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


@dataclass(frozen=True)
class Node:
    """A file of the guest: its mode with type, and its content or the target of a link."""

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio_archive(nodes: dict[str, Node]) -> bytes:
    """Return a newc archive of the files, parents before their children."""
    parts = [
        cpio_entry(number, name, node.mode, node.data, node.device)
        for number, (name, node) in enumerate(sorted(nodes.items()), start=1)
    ]
    parts.append(cpio_entry(0, "TRAILER!!!", 0))
    return b"".join(parts)


# -- kernel modules -------------------------------------------------------------------------------------------------


def modinfo(content: bytes, field: str) -> list[str]:
    """Return the values of a field of a kernel module's .modinfo section."""
    pattern = rb"(?:^|\0)" + field.encode() + rb"=([^\0]*)\0"
    # The strings of a section follow each other, each ended by one zero byte.
    return [value.decode() for value in re.findall(pattern, content.replace(b"\0", b"\0\0"))]


def module_name(path: str) -> str:
    """Return a module's name as the kernel writes it."""
    return Path(path).name.split(".ko")[0].replace("-", "_")


def module_content(path: Path) -> bytes:
    """Return a module uncompressed, whichever way the distribution packs it."""
    raw = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(raw)
    if path.suffix == ".gz":
        return gzip.decompress(raw)
    if path.suffix == ".ko":
        return raw
    raise BuildError(f"The kernel's modules are packed as {path.suffix}, which cannot be unpacked here")


def select_modules(wanted: Iterable[str], depends: dict[str, list[str]], builtin: set[str]) -> list[str]:
    """Return the wanted modules and those they need, each after what it needs.

    Names that the kernel has built in, or does not have at all, are left out.
    """
    chosen: list[str] = []

    def add(name: str) -> None:
        if name in chosen or name in builtin or name not in depends:
            return
        for needed in depends[name]:
            add(needed)
        chosen.append(name)

    for name in wanted:
        add(name)
    return chosen


def module_files(tree: Path) -> dict[str, Node]:
    """Return the guest's modules directory: the drivers, and the tables by which modprobe finds them."""
    version = tree.name
    paths = {module_name(path.name): path for path in sorted(tree.rglob("*.ko*"))}
    builtin = {module_name(line) for line in (tree / "modules.builtin").read_text().split()}
    missing = [name for name in REQUIRED_MODULES if name not in paths and name not in builtin]
    if missing:
        raise BuildError(f"The kernel {version} lacks {', '.join(missing)}")
    contents: dict[str, bytes] = {}
    depends: dict[str, list[str]] = {}
    pending = [name for name in MODULES if name in paths]
    while pending:
        name = pending.pop()
        if name in contents:
            continue
        contents[name] = module_content(paths[name])
        needed = [module_name(item) for text in modinfo(contents[name], "depends") for item in text.split(",") if item]
        depends[name] = needed
        pending.extend(item for item in needed if item in paths)

    base = f"lib/modules/{version}"
    nodes = {base: Node(stat.S_IFDIR | 0o755)}
    order = select_modules(MODULES, depends, builtin)
    table, aliases = [], []
    for name in order:
        nodes[f"{base}/{name}.ko"] = Node(stat.S_IFREG | 0o644, contents[name])
        # modprobe loads a line's dependencies from its end, so the deepest come last.
        needed = select_modules(depends[name], depends, builtin)
        table.append(f"{name}.ko:" + "".join(f" {item}.ko" for item in reversed(needed)))
        aliases += [f"alias {alias} {name}" for alias in modinfo(contents[name], "alias")]
    for name, lines in (("modules.dep", table), ("modules.alias", aliases), ("modules.symbols", [])):
        nodes[f"{base}/{name}"] = Node(stat.S_IFREG | 0o644, "".join(f"{line}\n" for line in lines).encode())
    return nodes


# -- the disk -------------------------------------------------------------------------------------------------------


def partition_table(boot_code: bytes, first: int, sectors: int) -> bytes:
    """Return the disk's first sector: boot code, the image's signature, an active FAT16 partition and the one of the state."""
    if len(boot_code) > 440:
        raise BuildError("The boot code does not fit before the partition table")
    # LBA only: the fields of cylinders say "too large to tell".
    entries = b"".join(
        struct.pack("<B3sB3sII", active, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", start, length)
        for active, kind, start, length in ((0x80, 0x06, first, sectors), (0, 0x83, first + sectors, STATE_SECTORS))
    )
    return boot_code.ljust(440, b"\0") + DISK_SIGNATURE + b"\0\0" + entries.ljust(64, b"\0") + b"\x55\xaa"


def partition_sectors(content_bytes: int) -> int:
    """Return the size of a FAT16 partition for this much content, with room for its tables, in whole MiB."""
    mebibytes = -(-(content_bytes * 21 // 20 + 512 * 1024) // (1024 * 1024))
    # Below 4085 clusters of 2 KiB it would be FAT12.
    return max(mebibytes, 10) * 2048


QCOW2_CLUSTER_BITS = 16
QCOW2_CLUSTER = 1 << QCOW2_CLUSTER_BITS
QCOW2_COMPRESSED = 1 << 62
QCOW2_COPIED = 1 << 63


def qcow2(raw: bytes) -> bytes:
    """Return a disk as a compressed qcow2 image (version 2 of the format)."""
    cluster = QCOW2_CLUSTER
    entries_per_table = cluster // 8
    count = -(-len(raw) // cluster)
    tables = -(-count // entries_per_table)
    # Header, refcount table, one refcount block, L1 table, L2 tables, data.
    l1_offset = 3 * cluster
    data_offset = (4 + tables) * cluster
    l2 = [0] * (tables * entries_per_table)
    blocks: list[tuple[int, bytes]] = []
    references: dict[int, int] = dict.fromkeys(range(4 + tables), 1)
    at = data_offset
    size_shift = 62 - (QCOW2_CLUSTER_BITS - 8)
    for index in range(count):
        data = raw[index * cluster : (index + 1) * cluster].ljust(cluster, b"\0")
        if not data.strip(b"\0"):
            continue
        packer = zlib.compressobj(9, zlib.DEFLATED, -12)
        packed = packer.compress(data) + packer.flush()
        if len(packed) < cluster:
            # The entry counts sectors beyond the first that the data touches.
            sectors = (at % SECTOR + len(packed) - 1) // SECTOR
            l2[index] = QCOW2_COMPRESSED | sectors << size_shift | at
        else:
            packed, at = data, -(-at // cluster) * cluster
            l2[index] = QCOW2_COPIED | at
        blocks.append((at, packed))
        # Sectors are read whole, so what is compressed refers to every cluster that its sectors touch.
        last = at + len(packed) - 1
        for number in range(at // cluster, last // cluster + 1):
            references[number] = references.get(number, 0) + 1
        at += len(packed)
    end = -(-at // cluster) * cluster
    if end // cluster > cluster // 2:
        raise BuildError("The disk is larger than one refcount block counts")
    image = bytearray(end)
    struct.pack_into(
        ">4sIQIIQIIQQIIQ", image, 0, b"QFI\xfb", 2, 0, 0, QCOW2_CLUSTER_BITS, len(raw), 0, tables, l1_offset, cluster, 1, 0, 0
    )
    struct.pack_into(">Q", image, cluster, 2 * cluster)
    for number, value in references.items():
        struct.pack_into(">H", image, 2 * cluster + number * 2, value)
    for index in range(tables):
        struct.pack_into(">Q", image, l1_offset + index * 8, QCOW2_COPIED | (4 + index) * cluster)
    struct.pack_into(f">{len(l2)}Q", image, 4 * cluster, *l2)
    for offset, packed in blocks:
        image[offset : offset + len(packed)] = packed
    return bytes(image)


# -- packages -------------------------------------------------------------------------------------------------------


def dependencies_of(text: str) -> list[str]:
    """Return the real packages in the answer of `apt-cache depends --recurse`."""
    return [line.strip() for line in text.splitlines() if line and line[0] not in " |<"]


def kernel_packages(metapackage: str, depends: Callable[[str], str]) -> list[str]:
    """Return the packages of the kernel that a metapackage depends on. Newer releases split it into several."""
    found = re.search(r"Depends: linux-image-(\S+)", metapackage)
    if not found:
        raise BuildError(f"{KERNEL_PACKAGE} names no kernel")
    version = re.escape(found[1])
    image = f"linux-image-{found[1]}"
    return [image, *re.findall(rf"^ *Depends: (linux-[a-z]+-{version})$", depends(image), re.MULTILINE)]


def run(*argv: str, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a program; say what it said when it fails."""
    try:
        result = subprocess.run(
            argv,
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    except FileNotFoundError as error:
        raise BuildError(
            f"{argv[0]} is not installed. Building the guest needs Debian's apt and dpkg; set "
            "guest_image_url and guest_image_checksum to download an image instead"
        ) from error
    if result.returncode != 0:
        raise BuildError(f"{' '.join(argv[:3])} … failed: {result.stderr.decode(errors='replace').strip()}")
    return result.stdout.decode(errors="replace")


class Packages:
    """Debian's packages by this machine's own sources, downloaded into a directory and unpacked, never installed."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.options: list[str] = ["-o", "APT::Sandbox::User="]

    def download(self) -> tuple[list[Path], list[Path]]:
        """Return the packages of the kernel and the others. Lists that are missing or old are fetched, but not to /."""
        self.directory.mkdir(parents=True, exist_ok=True)
        try:
            return self._download()
        except BuildError:
            state = self.directory / "lists"
            (state / "partial").mkdir(parents=True, exist_ok=True)
            self.options += ["-o", f"Dir::State::lists={state}", "-o", f"Dir::Cache={state}"]
            run("apt-get", *self.options, "update")
            return self._download()

    def _download(self) -> tuple[list[Path], list[Path]]:
        kernel = kernel_packages(self._depends(KERNEL_PACKAGE), self._depends)
        # The file system's maker comes with its libraries: the others run with those that every Debian has.
        others = list(dict.fromkeys((*TOOL_PACKAGES, *dependencies_of(self._depends("--recurse", *GUEST_PACKAGES, "e2fsprogs")))))
        run("apt-get", *self.options, "download", *kernel, *others, cwd=self.directory)
        found: dict[str, Path] = {}
        for path in sorted(self.directory.glob("*.deb"), key=lambda path: path.stat().st_mtime):
            found[path.name.split("_")[0]] = path
        for path in self.directory.glob("*.deb"):
            if path not in found.values() or path.name.split("_")[0] not in (*kernel, *others):
                path.unlink()
        return [found[name] for name in kernel], [found[name] for name in others]

    def _depends(self, *arguments: str) -> str:
        quiet = [f"--no-{kind}" for kind in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
        return run("apt-cache", *self.options, "depends", *quiet, *arguments)


def loader_of(root: Path) -> list[str]:
    """Return the command before a program that lets it run with the libraries of the unpacked packages."""
    places = [str(path) for path in root.glob("**/x86_64-linux-gnu") if path.is_dir()]
    return [str(next(root.glob("**/ld-linux-x86-64.so.2")).resolve()), "--library-path", ":".join(places)]


def library_paths(program: Path, root: Path) -> list[Path]:
    """Return the libraries that a program needs, among the unpacked packages, its loader included."""
    loader = loader_of(root)
    listing = run(*loader, "--list", str(program))
    return [Path(loader[0]), *(Path(path) for path in re.findall(r"=> (/\S+)", listing))]


# -- the image ------------------------------------------------------------------------------------------------------


def recipe_of(files: Path) -> str:
    """Return a digest of what the image is made by: this program and the guest's own files.

    Versions of packages are not in it, so that an image stays the same until a new one is requested.
    """
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in sorted(path for path in files.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(files)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def own_files(files: Path) -> dict[str, Node]:
    """Return the guest's own files. Scripts are executable here, whatever modes the checkout has."""
    nodes: dict[str, Node] = {}
    for path in sorted(files.rglob("*")):
        name = str(path.relative_to(files))
        if path.is_dir():
            nodes[name] = Node(stat.S_IFDIR | 0o755)
        else:
            data = path.read_bytes()
            nodes[name] = Node(stat.S_IFREG | (0o755 if data.startswith(b"#!") else 0o644), data)
    return nodes


def initial_file_system(files: Path, root: Path, modules: Path) -> bytes:
    """Return the guest's whole file system as a compressed archive."""
    nodes = {name: Node(stat.S_IFDIR | 0o755) for name in DIRECTORIES}
    nodes["tmp"] = Node(stat.S_IFDIR | 0o1777)
    nodes["root"] = Node(stat.S_IFDIR | 0o700)
    # The kernel opens the console before anything could make it.
    nodes["dev/console"] = Node(stat.S_IFCHR | 0o600, device=(5, 1))
    nodes["lib/modules"] = Node(stat.S_IFDIR | 0o755)
    nodes |= module_files(modules)

    own = own_files(files)
    busybox = next(path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.exists())
    nodes["bin/busybox"] = Node(stat.S_IFREG | 0o755, busybox.read_bytes())
    # Some busybox have a program of their own for what the guest's files provide, in another directory.
    replaced = {Path(name).name for name in own if name.startswith("usr/bin/")} | {"busybox"}
    for applet in run(str(busybox), "--list-full").split():
        directory, _slash, name = applet.rpartition("/")
        if name not in replaced and directory in DIRECTORIES:
            nodes[applet] = Node(stat.S_IFLNK | 0o777, b"/bin/busybox")

    libraries: dict[str, Path] = {}
    for name in ("usr/sbin/dropbear", "usr/bin/dropbearkey"):
        path = root / name
        nodes[name] = Node(stat.S_IFREG | 0o755, path.read_bytes())
        libraries |= {library.name: library for library in library_paths(path, root)}
    for name, path in libraries.items():
        place = "lib64" if name.startswith("ld-") else "usr/lib"
        nodes[f"{place}/{name}"] = Node(stat.S_IFREG | 0o755, path.read_bytes())
    loader = next(name for name in libraries if name.startswith("ld-"))
    if loader != "ld-linux-x86-64.so.2":
        nodes["lib64/ld-linux-x86-64.so.2"] = Node(stat.S_IFLNK | 0o777, loader.encode())

    nodes |= own
    nodes |= {name: Node(stat.S_IFLNK | 0o777, target.encode()) for name, target in LINKS.items()}
    return gzip.compress(cpio_archive(nodes), compresslevel=9, mtime=0)


def state_file_system(work: Path, root: Path) -> bytes:
    """Return an empty file system of the size of the state's partition."""
    path = work / "state.raw"
    with path.open("wb") as stream:
        stream.truncate(STATE_SECTORS * SECTOR)
    maker = next(place / "mke2fs" for place in (root / "sbin", root / "usr/sbin") if (place / "mke2fs").exists())
    # Nothing of this machine's configuration or clock is in it.
    number = "6b696c6f-6e6f-7661-0000-000000000000"
    run(
        *loader_of(root),
        str(maker),
        "-q",
        "-F",
        "-t",
        "ext4",
        "-O",
        STATE_FEATURES,
        "-b",
        "1024",
        "-I",
        "256",
        "-m",
        "0",
        "-J",
        "size=4",
        "-U",
        number,
        "-E",
        f"hash_seed={number},lazy_itable_init=0",
        str(path),
        env={"MKE2FS_CONFIG": "/dev/null", "E2FSPROGS_FAKE_TIME": str(EPOCH)},
    )
    return path.read_bytes()


def bootable_disk(work: Path, root: Path, kernel: bytes, initrd: bytes) -> bytes:
    """Return a disk with a boot loader, the kernel and the initial file system in a FAT partition."""
    menu = BOOT_MENU.encode()
    sectors = partition_sectors(len(kernel) + len(initrd) + len(menu))
    total = FIRST_SECTOR + sectors + STATE_SECTORS
    disk = work / "disk.raw"
    with disk.open("wb") as stream:
        stream.write(partition_table((root / "usr/lib/syslinux/mbr/mbr.bin").read_bytes(), FIRST_SECTOR, sectors))
        stream.seek((total - STATE_SECTORS) * SECTOR)
        stream.write(state_file_system(work, root))
    for name, data in (("vmlinuz", kernel), ("initrd.img", initrd), ("syslinux.cfg", menu)):
        (work / name).write_bytes(data)
        os.utime(work / name, (EPOCH, EPOCH))
    tools = {
        "PATH": f"{root / 'usr/bin'}:{os.environ['PATH']}",
        "MTOOLS_SKIP_CHECK": "1",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(EPOCH),
    }
    offset = FIRST_SECTOR * SECTOR
    partition = f"{disk}@@{offset}"
    run(
        str(root / "usr/bin/mformat"),
        "-i",
        partition,
        "-T",
        str(sectors),
        "-h",
        "255",
        "-s",
        "63",
        "-c",
        "4",
        "-H",
        str(FIRST_SECTOR),
        "-N",
        DISK_SIGNATURE.hex(),
        "-v",
        "KILONOVA",
        "::",
        env=tools,
    )
    run(str(root / "usr/bin/mcopy"), "-m", "-i", partition, "vmlinuz", "initrd.img", "syslinux.cfg", "::/", cwd=work, env=tools)
    run(str(root / "usr/bin/syslinux"), "--install", "--offset", str(offset), str(disk), env=tools)
    return disk.read_bytes()


def build(files: Path, cache: Path, target: Path) -> dict[str, object]:
    """Build the image and write it to the target. Returns its recipe."""
    kernel_parts, others = Packages(cache / "packages").download()
    with tempfile.TemporaryDirectory(prefix="kilonova-guest-") as directory:
        work = Path(directory)
        root = work / "root"
        for place, paths in ((work / "kernel", kernel_parts), (root, others)):
            for path in paths:
                run("dpkg-deb", "--extract", str(path), str(place))
        modules = next((work / "kernel").glob("**/modules/*/modules.builtin")).parent
        kernel = next(path for path in (modules / "vmlinuz", work / f"kernel/boot/vmlinuz-{modules.name}") if path.exists())
        initrd = initial_file_system(files, root, modules)
        image = qcow2(bootable_disk(work, root, kernel.read_bytes(), initrd))
    target.parent.mkdir(parents=True, exist_ok=True)
    # A unique name, because a concurrent run may build the same image.
    partial = target.with_suffix(f".{os.getpid()}")
    partial.write_bytes(image)
    partial.replace(target)
    return {
        "kernel": modules.name,
        "sha256": hashlib.sha256(image).hexdigest(),
        "packages": sorted(path.name.removesuffix(".deb").replace("%3a", ":") for path in kernel_parts + others),
    }


def provide(files: Path, cache: Path, rebuild: bool = False, check: bool = False) -> dict[str, object]:
    """Return the image of these files, building it when there is none yet."""
    if not files.is_dir():
        raise BuildError(f"There is no directory {files}")
    recipe = recipe_of(files)
    target = cache / f"kilonova-guest-{recipe}.qcow2"
    manifest = target.with_suffix(".json")
    if target.exists() and manifest.exists() and not rebuild:
        if not check:
            for path in (target, manifest):
                path.touch()
        return {"changed": False, "path": str(target), **json.loads(manifest.read_text())}
    if check:
        return {"changed": True, "path": str(target), "kernel": "", "sha256": "", "packages": []}
    if shutil.which("dpkg") and run("dpkg", "--print-architecture").strip() != ARCHITECTURE:
        raise BuildError(f"The guest is built on {ARCHITECTURE} only. Set guest_image_url and guest_image_checksum")
    made_of = build(files, cache, target)
    manifest.write_text(json.dumps(made_of, indent=2) + "\n")
    # A concurrent run, or another checkout, may use an image of another recipe; images that were long unused are removed.
    for old in cache.glob("kilonova-guest-*"):
        if old.stat().st_mtime < time.time() - KEEP_SECONDS:
            old.unlink(missing_ok=True)
    return {"changed": True, "path": str(target), **made_of}


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the tiny guest image, or find it in the cache.")
    parser.add_argument("--files", type=Path, required=True, help="the guest's own files")
    parser.add_argument("--cache", type=Path, required=True, help="directory for the image and the packages")
    parser.add_argument("--rebuild", action="store_true", help="build again, of the packages of today")
    parser.add_argument("--check", action="store_true", help="only say whether it would be built")
    arguments = parser.parse_args()
    try:
        print(json.dumps(provide(arguments.files, arguments.cache, arguments.rebuild, arguments.check)))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
