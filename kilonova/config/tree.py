"""Write generated files below a directory of this machine, and say what differs from the last time."""

from __future__ import annotations

import difflib
import functools
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kilonova.config import config_files, generate, inventories
from kilonova.problems import some

# -------------------------------------------------------------------------------------------------------------- writing

MANIFEST = "manifest.json"


@dataclass(slots=True)
class Written:
    """What a run wrote, and what differs from the run before."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    diffs: dict[str, list[str]] = field(default_factory=dict)
    """Diff, secrets masked, to the files that it is the same for."""
    all: list[dict[str, str]] = field(default_factory=list)
    """Each file with host, path on it, owner, group and mode."""


def write(generated: Iterable[generate.File], out: Path, check_mode: bool = False) -> Written:
    """Write the files to `out`/<host>/<path>; files that no longer belong there are removed. `check_mode` writes nothing.

    Only what an earlier run's manifest names is ever removed. A file that others may not read on its host has mode 0600 here.
    """
    done = Written()
    _see_that_it_is_a_directory(out)
    base = os.path.normpath(out)
    directories: dict[str, bool] = {}
    for file in generated:
        below, path = _place(file.path)
        if "/" in file.host or file.host in (".", "..") or not path:
            raise inventories.GenerateError(f"{file.path} is not a valid path for a file", file.host)
        name, path, directory = f"{file.host}{file.path}", f"{base}/{file.host}{path}", f"{base}/{file.host}{below}"
        owner, group, mode = str(file.entry.get("owner", "root")), str(file.entry.get("group", "root")), file.mode
        done.all.append({"host": file.host, "path": file.path, "owner": owner, "group": group, "mode": f"{mode:04o}"})
        if not mode & stat.S_IROTH:
            mode &= 0o700
        # A file that is there needs no look at its directory.
        there = None if directories.get(directory) else _read(path)
        if there is None and _make(directory, directories, check_mode):
            done.new.append(name)
            if not check_mode:
                _write_new(path, file.text, mode)
            continue
        if there is None:
            _see_that_a_file_fits(path)
        if _differs(there, file.text, name, done):
            if not check_mode:
                _write_one(path, file.text, mode)
        elif not check_mode and there[1] != mode:
            os.chmod(path, mode)
    _see_that_a_file_fits(f"{out}/{MANIFEST}")
    present = {f"{row['host']}{row['path']}" for row in done.all}
    for name in sorted(_earlier(out) - present):
        if ".." not in Path(name).parts:
            done.removed.append(name)
            if not check_mode:
                (out / name).unlink(missing_ok=True)
    if not check_mode:
        os.makedirs(out, mode=0o755, exist_ok=True)
        _write_one(f"{out}/{MANIFEST}", _manifest(done.all), 0o644)
    return done


@functools.lru_cache(maxsize=1000)
def _place(path: str) -> tuple[str, str]:
    """Return the directory and the path of a file below its host's directory; empty if it is not a path for one."""
    if ".." in path.split("/") or not path.startswith("/"):
        return "", ""
    path = os.path.normpath(path)
    return os.path.dirname(path).rstrip("/"), path


def _manifest(rows: list[dict[str, str]]) -> str:
    """The rows as JSON, as an `indent` of 1 makes it, which Python does ten times as slowly as what needs none.

    A line break stands only between values: in one, JSON writes it as `\\n`.
    """
    text = json.dumps(rows, separators=(",\n  ", ": ")).removeprefix("[{").removesuffix("}]")
    text = text.replace("},\n  {", "\n },\n {\n  ")
    return f"[\n {{\n  {text}\n }}\n]\n" if rows else "[]\n"


def _see_that_it_is_a_directory(path: Path) -> None:
    """Raise GenerateError for what is there in the place of a directory, or of one above it."""
    if path.is_symlink() and not path.exists():
        raise inventories.GenerateError(
            f"{path} is a link to {os.readlink(path)}, which does not exist; remove it, or name another directory"
        )
    above = next(one for one in (path, *path.parents) if one.exists() or one.is_symlink())
    if not above.is_dir():
        raise inventories.GenerateError(f"{above} is not a directory; remove it, or name another directory")


def _make(directory: str, known: dict[str, bool], check_mode: bool) -> bool:
    """Make a directory where there is none, and those above it. Returns whether it is new: nothing is in it but what this run
    writes. `known` has the answers of earlier calls, so that no directory is looked at twice.
    """
    if directory in known:
        return known[directory]
    above = os.path.dirname(directory)
    is_new = above not in ("", directory) and _make(above, known, check_mode)
    if not is_new and os.path.isdir(directory):
        known[directory] = False
        return False
    try:
        if not check_mode:
            os.mkdir(directory, 0o755)
        elif not is_new:
            _see_that_it_is_a_directory(Path(directory))
    except OSError:
        _see_that_it_is_a_directory(Path(directory))
        raise
    known[directory] = True
    return True


def _see_that_a_file_fits(path: str) -> None:
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        _see_that_it_is_a_directory(Path(directory))
    if os.path.isdir(path) and not os.path.islink(path):
        raise inventories.GenerateError(f"{path} is a directory where a file belongs; remove it, or name another directory")


def _earlier(out: Path) -> set[str]:
    try:
        return {f"{row['host']}{row['path']}" for row in json.loads((out / MANIFEST).read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError, KeyError):
        return set()


def _read(path: str) -> tuple[bytes, int] | None:
    """Content and mode of a file; None where there is none, or something else that a file can replace."""
    try:
        # Without a stream, which asks the system twice as much.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            there = os.fstat(descriptor)
            # One more than there is, so that what is whole needs no second look.
            content = os.read(descriptor, there.st_size + 1)
            while len(content) > there.st_size and (more := os.read(descriptor, 1 << 20)):
                content += more
            return content, stat.S_IMODE(there.st_mode)
        finally:
            os.close(descriptor)
    except OSError:
        return None


def _differs(there: tuple[bytes, int] | None, text: str, name: str, done: Written) -> bool:
    """Whether the file has to be written; says so in `done`."""
    if there is None:
        done.new.append(name)
    elif there[0] == text.encode():
        done.unchanged.append(name)
        return False
    else:
        done.changed.append(name)
        done.diffs.setdefault(_difference(there[0].decode("utf-8", "replace"), text), []).append(name)
    return True


def _write_new(path: str, text: str, mode: int) -> None:
    left = memoryview(text.encode())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        while left:
            left = left[os.write(descriptor, left) :]
        if mode != 0o600:
            os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)


def _write_one(path: str, text: str, mode: int) -> None:
    """Replace a file, as kilonova.onhost.files does it but for what that costs thousands of files: waiting for the disk, and a
    look at each directory on the way. No service owns one of these, and a killed run only generates again.
    """
    directory, _slash, name = path.rpartition("/")
    part = f"{directory}/.{name}.part"
    Path(part).unlink(missing_ok=True)
    _write_new(part, text, mode)
    os.replace(part, path)


def _difference(old: str, new: str) -> str:
    """A diff of two versions of a file, secrets masked, without its header."""
    lines = difflib.unified_diff(config_files.mask(old).splitlines(), config_files.mask(new).splitlines(), n=1, lineterm="")
    return "\n".join(list(lines)[2:]) or "(only the values of hidden secrets)"


def report(done: Written, out: Path, most: int = 100) -> list[str]:
    """Lines for people: what was written, and what differs from the run before."""
    lines: list[str] = []
    names = {
        **dict.fromkeys(done.new, "new"),
        **dict.fromkeys(done.changed, "changed"),
        **dict.fromkeys(done.unchanged, "unchanged"),
    }
    if len(done.all) <= most:
        lines += [f"{names[row['host'] + row['path']]:<9}  {row['mode']}  {out}/{row['host']}{row['path']}" for row in done.all]
    else:
        paths: dict[tuple[str, str], list[str]] = {}
        for row in done.all:
            paths.setdefault((row["path"], row["mode"]), []).append(names[row["host"] + row["path"]])
        for (path, mode), states in paths.items():
            counts = ", ".join(f"{states.count(state)} {state}" for state in ("new", "changed", "unchanged") if state in states)
            lines.append(f"{len(states):>6} hosts  {mode}  {path} ({counts})")
    lines += [f"removed    {out}/{name}" for name in done.removed]
    for difference, where in done.diffs.items():
        lines += ["", f"--- {some(where)}", *difference.splitlines()]
    states = ("new", "changed", "unchanged", "removed")
    total = ", ".join(f"{len(getattr(done, state))} {state}" for state in states)
    hosts = len({row["host"] for row in done.all})
    return [*lines, "", f"{len(done.all)} files of {hosts} hosts in {out}: {total}.", f"Owner, group and mode: {out}/{MANIFEST}."]
