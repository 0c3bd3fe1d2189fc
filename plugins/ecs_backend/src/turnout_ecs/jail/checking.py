"""Whether a jail is what its manifest says: nothing more, nothing less, root's, and read-only."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from turnout_ecs.jail.manifest import Entry, Manifest

__all__ = ["faults", "outdated"]

_DIRECTORY_MODE: Final = 0o555
_GRANTS: Final = frozenset({"security.capability", "system.posix_acl_access", "system.posix_acl_default"})
"""Extended attributes that give somebody more than the mode does."""


@dataclass(frozen=True, slots=True)
class _Found:
    path: str
    outside: str
    status: os.stat_result


def faults(root: Path, manifest: Manifest, *, contents: bool) -> Iterator[str]:
    """Each thing that is wrong with the tree at `root`, as a line that names the file. With `contents`, what is in the
    files is read too; without, a change of it is told from size and time alone. All have the same time, that of their
    making, which an image's layers may have rounded: what has another one was changed."""
    expected = {**dict.fromkeys(manifest.directories), **manifest.files}
    tree = {found.path: found for found in _walk(root)}
    yield from (f"{path} is missing" for path in expected if path not in tree)
    yield from (f"{path} does not belong there" for path in tree if path not in expected)
    made = Counter(found.status.st_mtime_ns for found in tree.values()).most_common(1)
    for path, found in tree.items():
        if path not in expected:
            continue
        entry = expected[path]
        wrong = [*_wrong_about(found.status, entry), *_granted(found.outside)]
        if not wrong and found.status.st_mtime_ns != made[0][0]:
            wrong.append("was changed after the jail was built")
        if contents and not wrong and entry is not None and _sha256(found.outside) != entry.sha256:
            wrong.append("has another content")
        yield from (f"{path} {fault}" for fault in wrong)


def outdated(manifest: Manifest) -> Iterator[str]:
    """Each file of the machine's that the jail has a copy of, and that has been renewed since: a library with a security
    fix. A file that is not there any more is none of them: an image may be without what its jail was built from."""
    for path, entry in manifest.files.items():
        if entry.source is None:
            continue
        try:
            status = Path(entry.source.path).stat()
        except OSError:
            continue
        if (status.st_size, int(status.st_mtime)) != (entry.source.size, entry.source.mtime):
            yield path


def _walk(root: Path) -> Iterator[_Found]:
    """Everything below `root` and itself, links not followed, a directory before what is in it."""
    try:
        yield _Found("/", str(root), root.lstat())
    except FileNotFoundError:
        return
    waiting = [(str(root), "")] if stat.S_ISDIR(root.lstat().st_mode) else []
    while waiting:
        directory, inside = waiting.pop()
        with os.scandir(directory) as entries:
            for entry in entries:
                path = f"{inside}/{entry.name}"
                yield _Found(path, entry.path, entry.stat(follow_symlinks=False))
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, path))


def _wrong_about(status: os.stat_result, entry: Entry | None) -> Iterator[str]:
    """What is wrong about a file; about a directory, where there is no entry."""
    kind = stat.S_ISDIR if entry is None else stat.S_ISREG
    if not kind(status.st_mode):
        yield f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}, not {'a directory' if entry is None else 'a file'}"
        return
    if (status.st_uid, status.st_gid) != (0, 0):
        yield f"belongs to {status.st_uid}:{status.st_gid}, not to root"
    mode = _DIRECTORY_MODE if entry is None else int(entry.mode, 8)
    if stat.S_IMODE(status.st_mode) != mode:
        yield f"has the mode {stat.S_IMODE(status.st_mode):04o}, not {mode:04o}"
    if entry is None:
        return
    if status.st_nlink != 1:
        yield "has a second name (a hard link) elsewhere"
    if status.st_size != entry.size:
        yield f"has {status.st_size} bytes, not {entry.size}"


_KINDS: Final = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFREG: "a file",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def _granted(outside: str) -> list[str]:
    try:
        names = os.listxattr(outside, follow_symlinks=False)
    except OSError:
        return []  # a file system without them
    return [f"has the extended attribute {name}" for name in names if name in _GRANTS]


def _sha256(file: str) -> str:
    with Path(file).open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
