"""Building a jail: beside the one in use, and put in its place in one step. Safe to repeat, to interrupt and to race."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import os
import platform
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Final

from turnout.errors import BackendError, SettingsError

from turnout_ecs.jail.baseline import NODE, PYTHON, measure
from turnout_ecs.jail.contents import Part, all_parts, recipe
from turnout_ecs.jail.manifest import Entry, Manifest, Source
from turnout_ecs.jail.places import must_be_root, private
from turnout_ecs.jail.tree import DEFAULT_LANGUAGES, SETTING, Jail, manifest_of, verify

__all__ = ["Built", "build", "prune"]

_MADE_AT: Final = 315532800
"""The time that every file gets, 1980-01-01: the same parts make the same tree, and what is changed later stands out."""
_NEW: Final = ".new-"
_OLD: Final = ".old-"
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """`fresh` is False where there was nothing to do: the jail that was there is whole and up to date."""

    jail: Jail
    fresh: bool


def build(directory: Path, *, languages: Sequence[str] = DEFAULT_LANGUAGES, again: bool = False) -> Built:
    """The jail of this version in `directory`, made if it is not there, not whole, or older than the machine's libraries;
    with `again`, in any case. Sandboxes that run in one that is replaced go on in it.

    `SettingsError` where somebody other than root could change it, or nothing there could be run; `BackendError` where a
    part is missing or Node does not boot in it, and for anybody but root.
    """
    must_be_root("turnout jail build")
    directory = private(directory, setting=SETTING, make=True)
    if os.statvfs(directory).f_flag & os.ST_NOEXEC:
        raise SettingsError(
            f"{SETTING}: {directory} is on a file system mounted noexec, from which no program can be started: "
            "choose another directory",
            setting=SETTING,
        )
    with _alone(directory):
        _sweep(directory)
        if not again:
            with contextlib.suppress(BackendError):
                jail = verify(directory, languages=languages)
                if not jail.outdated:
                    return Built(jail=jail, fresh=False)
        new = directory / f"{_NEW}{secrets.token_hex(6)}"
        try:
            manifest = _make(new, languages)
            _put(directory / f"jail-{manifest.recipe}", new, manifest)
        finally:
            _remove(new)
        _sweep(directory)
        return Built(jail=verify(directory, languages=languages), fresh=True)


def prune(directory: Path, *, languages: Sequence[str] = DEFAULT_LANGUAGES) -> Sequence[str]:
    """Remove the jails of other versions that nobody uses: no process holds them and none is locked into them. Their names."""
    must_be_root("turnout jail prune")
    directory = private(directory, setting=SETTING, make=True)
    own = f"jail-{recipe(languages)}"
    with _alone(directory):
        others = [root for root in sorted(directory.glob("jail-*")) if root.suffix != ".json" and root.name != own]
        removed = [root.name for root in others if _put_aside(root)]
        _sweep(directory)
    return removed


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One builder at a time; who comes second waits and then finds the work done."""
    fd = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _make(root: Path, languages: Sequence[str]) -> Manifest:
    """The tree at `root`, complete and closed, and what is in it."""
    parts = all_parts(languages)
    root.mkdir(mode=0o700)
    directories = sorted({"/", *(str(parent) for part in parts for parent in PurePosixPath(part.path).parents)})
    for directory in directories[1:]:
        (root / directory[1:]).mkdir()
    files = {part.path: _copy(part, root / part.path[1:]) for part in parts}
    for directory in reversed(directories):
        _close(root / directory[1:], 0o555)
    return Manifest(
        recipe=recipe(languages),
        architecture=platform.machine(),
        languages=tuple(languages),
        node=_node_version(root / "node"),
        turnout=metadata.version("turnout-ecs"),
        data_base_bytes=measure(root, NODE),
        python_data_base_bytes=measure(root, PYTHON) if "python" in languages else 0,
        directories=tuple(directories),
        files=files,
    )


def _copy(part: Part, to: Path) -> Entry:
    """Copy the content alone: a hard link would leave the file in the hands of who owns the package it came with."""
    with part.source.open("rb") as source, to.open("xb+") as target:
        status = os.fstat(source.fileno())
        if part.made is None:
            _copy_content(source.fileno(), target.fileno(), status.st_size)
        else:
            target.write(part.made())
            target.flush()
        os.fsync(target.fileno())
        target.seek(0)
        digest = hashlib.file_digest(target, "sha256").hexdigest()
        size = os.fstat(target.fileno()).st_size
    _close(to, part.mode)
    origin = Source(str(part.source), status.st_size, int(status.st_mtime)) if part.system else None
    return Entry(sha256=digest, mode=f"{part.mode:04o}", size=size, source=origin)


def _copy_content(source: int, target: int, size: int) -> None:
    """In the kernel, which shares the blocks where the file system can."""
    done = 0
    try:
        while copied := os.copy_file_range(source, target, max(size - done, 1), done, done):
            done += copied
    except OSError:
        os.lseek(source, 0, os.SEEK_SET)
        os.ftruncate(target, 0)
        with open(source, "rb", closefd=False) as readable, open(target, "wb", closefd=False) as writable:
            shutil.copyfileobj(readable, writable, 1024 * 1024)


def _close(path: Path, mode: int) -> None:
    os.chown(path, 0, 0)
    path.chmod(mode)
    os.utime(path, (_MADE_AT, _MADE_AT))


def _node_version(node: Path) -> str:
    said = subprocess.run(  # noqa: S603 - the program that was copied
        [node, "--version"], env={}, capture_output=True, text=True, check=False, timeout=30
    )
    return said.stdout.strip().removeprefix("v")


def _put(root: Path, new: Path, manifest: Manifest) -> None:
    """Put the tree `new` at `root`, in the place of what is there, and then its manifest in the place of that."""
    written = new.with_suffix(".json")
    with written.open("xb") as file:
        file.write(manifest.encoded())
        file.flush()
        os.fchmod(file.fileno(), 0o444)
        os.fsync(file.fileno())
    if root.exists() or root.is_symlink():
        _exchange(root, new)
        new.rename(root.parent / f"{_OLD}{secrets.token_hex(6)}")
    else:
        new.rename(root)
    if manifest_of(root).is_dir():  # which no file can replace
        _remove(manifest_of(root))
    written.rename(manifest_of(root))
    fd = os.open(root.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _exchange(one: Path, other: Path) -> None:
    """Swap two names, so that there is no moment at which a sandbox that starts finds neither."""
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return
    between = other.with_name(f"{_OLD}{secrets.token_hex(6)}")  # a file system that cannot
    one.rename(between)
    other.rename(one)
    between.rename(other)


def _put_aside(root: Path) -> bool:
    """Take its name from a jail that nobody holds, here or in another container, and that no process is in; False if
    somebody uses it. Who comes to hold it at this moment finds its manifest gone."""
    with contextlib.ExitStack() as stack:
        try:
            fd = os.open(manifest_of(root), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass  # a build did not come to its end
        else:
            stack.callback(os.close, fd)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        if _is_inhabited(root):
            return False
        manifest_of(root).unlink(missing_ok=True)
        root.rename(root.parent / f"{_OLD}{secrets.token_hex(6)}")
        return True


def _sweep(directory: Path) -> None:
    """Remove what a build that was killed left, and replaced trees that no process is in any more."""
    for left in directory.glob(f"{_NEW}*"):
        _remove(left)
    for old in directory.glob(f"{_OLD}*"):
        if not _is_inhabited(old):
            _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        for directory, _, _ in os.walk(path):  # a root without DAC_OVERRIDE may not write to what is read-only either
            Path(directory).chmod(0o700)
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_inhabited(root: Path) -> bool:
    status = root.lstat()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                there = (process / "root").stat()
                if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
                    return True
    return False
