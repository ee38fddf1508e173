"""The guest image: the formats that kilonova.guest.image writes itself, and the scripts that run inside."""

from __future__ import annotations

import json
import os
import shutil
import stat
import struct
import subprocess
import zlib
from pathlib import Path

import pytest

from kilonova.guest import image as guest_image
from kilonova.guest.image import Node

FILES = Path(__file__).parents[2] / "roles/guest_image/files/guest"


def read_cpio(archive: bytes) -> dict[str, tuple[int, int, bytes]]:
    """Read a newc archive: name -> mode, owner, content."""
    found = {}
    at = 0
    while True:
        assert archive[at : at + 6] == b"070701"
        fields = [int(archive[at + 6 + 8 * index : at + 14 + 8 * index], 16) for index in range(13)]
        name_at = at + 110
        name = archive[name_at : name_at + fields[11] - 1].decode()
        data_at = name_at + fields[11] + -(name_at + fields[11]) % 4
        if name == "TRAILER!!!":
            return found
        found[name] = (fields[1], fields[2], archive[data_at : data_at + fields[6]])
        at = data_at + fields[6] + -fields[6] % 4


def read_qcow2(image: bytes) -> bytes:
    """Read a qcow2 image as the format's specification says, and check its reference counts."""
    magic, version, _back, _size, bits, size, _crypt, l1_size, l1_offset, table, _clusters, _n, _snap = struct.unpack(
        ">4sIQIIQIIQQIIQ", image[:72]
    )
    assert (magic, version) == (b"QFI\xfb", 2)
    cluster = 1 << bits
    used: dict[int, int] = {0: 1, table // cluster: 1, l1_offset // cluster: 1}
    (block,) = struct.unpack(">Q", image[table : table + 8])
    used[block // cluster] = 1
    raw = bytearray(size)
    for index in range(l1_size):
        (entry,) = struct.unpack_from(">Q", image, l1_offset + 8 * index)
        l2_offset = entry & 0x00FFFFFFFFFFFE00
        used[l2_offset // cluster] = 1
        for position, value in enumerate(struct.unpack_from(f">{cluster // 8}Q", image, l2_offset)):
            start = (index * (cluster // 8) + position) * cluster
            if value >> 62 & 1:
                shift = 62 - (bits - 8)
                offset = value & (1 << shift) - 1
                length = ((value & (1 << 62) - 1) >> shift) * 512 + 512 - offset % 512
                data = zlib.decompressobj(-12).decompress(image[offset : offset + length])[:cluster]
                last = min(offset + length, len(image)) - 1
                for number in {offset // cluster, last // cluster}:
                    used[number] = used.get(number, 0) + 1
            elif value:
                offset = value & 0x00FFFFFFFFFFFE00
                data = image[offset : offset + cluster]
                used[offset // cluster] = used.get(offset // cluster, 0) + 1
            else:
                continue
            raw[start : start + cluster] = data[: max(0, size - start)]
    counts = struct.unpack_from(f">{len(image) // cluster}H", image, block)
    # Sectors are counted whole here; a cluster may be counted where only the tail of a sector lies in it.
    assert all(counts[number] <= used.get(number, 0) for number in range(len(counts)))
    assert all(count > 0 for count in counts)
    return bytes(raw)


def test_archive_holds_every_kind_of_file_as_root() -> None:
    archive = guest_image.cpio_archive(
        {
            "bin/sh": Node(stat.S_IFLNK | 0o777, b"busybox"),
            "bin": Node(stat.S_IFDIR | 0o755),
            "bin/busybox": Node(stat.S_IFREG | 0o755, b"12345"),
            "dev": Node(stat.S_IFDIR | 0o755),
            "dev/console": Node(stat.S_IFCHR | 0o600, device=(5, 1)),
        }
    )
    found = read_cpio(archive)
    assert list(found) == ["bin", "bin/busybox", "bin/sh", "dev", "dev/console"]
    assert found["bin/busybox"] == (stat.S_IFREG | 0o755, 0, b"12345")
    assert found["bin/sh"][2] == b"busybox"
    assert b"0000000500000001" in archive


@pytest.mark.skipif(not shutil.which("cpio"), reason="cpio is not installed")
def test_archive_is_read_by_cpio() -> None:
    archive = guest_image.cpio_archive({"a": Node(stat.S_IFREG | 0o644, b"x" * 7), "b": Node(stat.S_IFDIR | 0o755)})
    result = subprocess.run(["cpio", "--list", "--quiet"], input=archive, capture_output=True, check=True)
    assert result.stdout.split() == [b"a", b"b"]


def test_partition_table() -> None:
    sector = guest_image.partition_table(b"\xfa" * 440, 2048, 40960)
    assert len(sector) == 512
    assert sector[440:444] == b"KILO"
    assert sector[446] == 0x80
    assert sector[450] == 0x06
    assert struct.unpack("<II", sector[454:462]) == (2048, 40960)
    assert (sector[462], sector[466]) == (0, 0x83)
    assert struct.unpack("<II", sector[470:478]) == (2048 + 40960, guest_image.STATE_SECTORS)
    assert sector[478:510] == bytes(32)
    assert sector[510:] == b"\x55\xaa"


def test_boot_code_must_leave_the_partition_table_alone() -> None:
    with pytest.raises(guest_image.BuildError, match="does not fit"):
        guest_image.partition_table(bytes(441), 2048, 40960)


@pytest.mark.parametrize("content", [0, 5 << 20, 17 << 20, 60 << 20])
def test_partition_has_room_and_is_fat16(content: int) -> None:
    sectors = guest_image.partition_sectors(content)
    assert sectors * 512 > content + 2 * (sectors // 4) * 2
    assert sectors % 2048 == 0
    assert 4085 < sectors // 4 < 65525


def noise(length: int) -> bytes:
    """Return bytes that do not compress, the same ones every time."""
    out = bytearray()
    value = 1
    while len(out) < length:
        value = value * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        out += struct.pack(">Q", value ^ value >> 29)
    return bytes(out[:length])


def test_qcow2_gives_back_the_disk() -> None:
    raw = bytes(65536) + b"abc" * 50000 + noise(200000) + bytes(300000) + b"end" + bytes(509)
    raw += bytes(-len(raw) % 512)
    image = guest_image.qcow2(raw)
    assert len(image) < len(raw)
    assert read_qcow2(image) == raw


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="qemu-img is not installed")
def test_qcow2_is_accepted_by_qemu(tmp_path: Path) -> None:
    raw = noise(3 * 65536) + b"abc" * 400000 + bytes(1 << 20)
    raw += bytes(-len(raw) % 512)
    (tmp_path / "disk.qcow2").write_bytes(guest_image.qcow2(raw))
    subprocess.run(["qemu-img", "check", "disk.qcow2"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run(["qemu-img", "convert", "-O", "raw", "disk.qcow2", "disk.raw"], cwd=tmp_path, check=True)
    assert (tmp_path / "disk.raw").read_bytes() == raw


def test_modinfo() -> None:
    content = b"\x7fELF\0license=GPL\0depends=virtio,virtio-ring\0alias=virtio:d1v*\0alias=virtio:d2v*\0"
    assert guest_image.modinfo(content, "alias") == ["virtio:d1v*", "virtio:d2v*"]
    assert guest_image.modinfo(content, "depends") == ["virtio,virtio-ring"]
    assert guest_image.modinfo(content, "parm") == []


def test_modules_come_after_what_they_need() -> None:
    depends = {"net": ["failover", "core"], "failover": ["core"], "core": [], "disk": ["core"]}
    assert guest_image.select_modules(["net", "disk"], depends, set()) == ["core", "failover", "net", "disk"]


def test_modules_that_are_built_in_or_unknown_are_left_out() -> None:
    depends = {"disk": ["core"], "core": []}
    assert guest_image.select_modules(["disk", "e1000"], depends, {"core"}) == ["disk"]


@pytest.fixture
def module_tree(tmp_path: Path) -> Path:
    tree = tmp_path / "6.1.0-test"
    (tree / "kernel").mkdir(parents=True)
    for name, needs in {"virtio": "", "virtio_pci": "virtio", "virtio_net": "virtio", "virtio-rng": "virtio"}.items():
        content = f"\0depends={needs}\0alias=virtio:{name}\0".encode()
        (tree / "kernel" / f"{name}.ko").write_bytes(content)
    (tree / "modules.builtin").write_text("kernel/fs/ext4/ext4.ko\nkernel/drivers/block/virtio_blk.ko\n")
    return tree


def test_module_files(module_tree: Path) -> None:
    nodes = guest_image.module_files(module_tree)
    table = nodes["lib/modules/6.1.0-test/modules.dep"].data.decode()
    assert "virtio_pci.ko: virtio.ko\n" in table
    assert "virtio.ko:\n" in table
    assert b"alias virtio:virtio-rng virtio_rng\n" in nodes["lib/modules/6.1.0-test/modules.alias"].data
    assert "lib/modules/6.1.0-test/virtio_rng.ko" in nodes


def test_kernel_without_a_needed_driver_is_refused(module_tree: Path) -> None:
    (module_tree / "kernel/virtio_net.ko").unlink()
    with pytest.raises(guest_image.BuildError, match="lacks virtio_net"):
        guest_image.module_files(module_tree)


def test_dependencies_of() -> None:
    text = "dropbear-bin\n  Depends: libc6\n |Depends: a\n  Depends: <virtual>\n    b\nlibc6\n<virtual>\n"
    assert guest_image.dependencies_of(text) == ["dropbear-bin", "libc6"]


def test_kernel_in_one_package() -> None:
    names = guest_image.kernel_packages(
        "linux-image-cloud-amd64\n  Depends: linux-image-6.1.0-5-cloud-amd64\n",
        lambda _name: "linux-image-6.1.0-5-cloud-amd64\n  Depends: kmod\n",
    )
    assert names == ["linux-image-6.1.0-5-cloud-amd64"]


def test_kernel_split_into_packages() -> None:
    text = "x\n  PreDepends: linux-base\n |Depends: dracut\n  Depends: linux-binary-7.2+deb\n  Depends: linux-modules-7.2+deb\n"
    names = guest_image.kernel_packages(
        "x\n  Depends: linux-base-cloud\n  Depends: linux-image-7.2+deb\n", {"linux-image-7.2+deb": text}.__getitem__
    )
    assert names == ["linux-image-7.2+deb", "linux-binary-7.2+deb", "linux-modules-7.2+deb"]


def test_metapackage_without_a_kernel_is_refused() -> None:
    with pytest.raises(guest_image.BuildError, match="names no kernel"):
        guest_image.kernel_packages("linux-image-cloud-amd64\n", lambda _name: "")


def test_recipe_follows_the_files(tmp_path: Path) -> None:
    (tmp_path / "init").write_text("one")
    first = guest_image.recipe_of(tmp_path)
    assert guest_image.recipe_of(tmp_path) == first
    (tmp_path / "init").write_text("two")
    second = guest_image.recipe_of(tmp_path)
    (tmp_path / "init").rename(tmp_path / "init2")
    assert len({first, second, guest_image.recipe_of(tmp_path)}) == 3


def test_cached_image_is_taken_without_building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, cache = tmp_path / "files", tmp_path / "cache"
    files.mkdir()
    (files / "init").write_text("#!/bin/sh\n")
    cache.mkdir()
    made = {"kernel": "6.1", "sha256": "0", "packages": []}

    def build(_files: Path, _cache: Path, target: Path) -> dict[str, object]:
        target.write_text("image")
        return made

    monkeypatch.setattr(guest_image, "build", build)
    monkeypatch.setattr(guest_image.shutil, "which", lambda _name: None)
    assert guest_image.provide(files, cache, check=True)["changed"]
    assert not list(cache.glob("*.json"))
    first = guest_image.provide(files, cache)
    assert first["changed"] and first["kernel"] == "6.1"
    assert sorted(path.suffix for path in cache.iterdir()) == [".json", ".qcow2"]
    assert guest_image.provide(files, cache) == {**first, "changed": False}
    assert guest_image.provide(files, cache, rebuild=True)["changed"]


def test_images_of_other_recipes_go_when_long_unused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, cache = tmp_path / "files", tmp_path / "cache"
    files.mkdir()
    (files / "init").write_text("#!/bin/sh\n")

    def build(_files: Path, _cache: Path, target: Path) -> dict[str, object]:
        target.parent.mkdir(exist_ok=True)
        target.write_text("image")
        return {"kernel": "6.1", "sha256": "0", "packages": []}

    monkeypatch.setattr(guest_image, "build", build)
    monkeypatch.setattr(guest_image.shutil, "which", lambda _name: None)

    def provide_another(text: str) -> Path:
        (files / "init").write_text(text)
        return Path(str(guest_image.provide(files, cache)["path"]))

    first = provide_another("#!/bin/sh\n# first\n")
    month_ago = guest_image.time.time() - guest_image.KEEP_SECONDS - 60
    os.utime(first, (month_ago, month_ago))
    assert provide_another("#!/bin/sh\n# first\n") == first
    second = provide_another("#!/bin/sh\n# second\n")
    assert first.exists(), "it was used a moment ago"
    os.utime(first, (month_ago, month_ago))
    provide_another("#!/bin/sh\n# second\n")
    assert first.exists(), "a run that builds nothing removes nothing"
    provide_another("#!/bin/sh\n# third\n")
    assert second.exists() and not first.exists()


def test_missing_program_names_the_remedy() -> None:
    with pytest.raises(guest_image.BuildError, match="guest_image_url"):
        guest_image.run("no-such-program-of-kilonova")


def test_own_files_are_executable_where_they_are_scripts() -> None:
    nodes = guest_image.own_files(FILES)
    assert nodes["init"].mode == stat.S_IFREG | 0o755
    assert nodes["etc/passwd"].mode == stat.S_IFREG | 0o644
    assert nodes["usr/share/udhcpc/default.script"].mode == stat.S_IFREG | 0o755


def awk(document: object) -> dict[str, str]:
    result = subprocess.run(
        ["awk", "-f", str(FILES / "lib/kilonova/json.awk")],
        input=json.dumps(document),
        text=True,
        capture_output=True,
        check=True,
    )
    return dict(line.split("\t", 1) for line in result.stdout.splitlines())


@pytest.mark.skipif(not shutil.which("awk"), reason="awk is not installed")
def test_guest_reads_metadata() -> None:
    key = 'ssh-rsa AAAA+/== a\\b "c"\nssh-ed25519 BBBB'
    found = awk(
        {
            "meta": {"hostname": "not this", "x": '{"y": [1, 2]}'},
            "public_keys": {"my.key": key},
            "hostname": "vm.novalocal",
            "devices": [],
            "list": [1, {"deep": None}],
            "yes": True,
            "empty": "",
        }
    )
    assert found["hostname"] == "vm.novalocal"
    assert found["meta.hostname"] == "not this"
    assert found["meta.x"] == '{"y": [1, 2]}'
    assert found["public_keys.my.key"] == 'ssh-rsa AAAA+/== a\\b "c"\\nssh-ed25519 BBBB'
    assert (found["list.0"], found["list.1.deep"], found["yes"], found["empty"]) == ("1", "null", "true", "")
