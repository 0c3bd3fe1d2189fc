"""The Dropbox stand-in's folder tree: paths without case, revisions, and the conflict rules of uploads.

Source: Dropbox's HTTP documentation of `/files/upload` (WriteMode) and of the content hash.
"""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Conflict", "Entry", "Tree", "WriteMode", "content_hash"]

_BLOCK_BYTES = 4 * 1024 * 1024
_MODIFIED = "2026-11-02T09:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, or a folder where `content` is None."""

    path: str
    id: str
    rev: str
    content: bytes | None

    @property
    def name(self) -> str:
        return posixpath.basename(self.path)

    def metadata(self, *, tag: bool = True) -> dict[str, Any]:
        """As Dropbox shows it; `tag` where it stands in a union (listings, moves), not for uploads and downloads."""
        shared = {"name": self.name, "path_lower": self.path.lower(), "path_display": self.path, "id": self.id}
        if self.content is None:
            return {".tag": "folder", **shared} if tag else shared
        file = {
            **shared,
            "client_modified": _MODIFIED,
            "server_modified": _MODIFIED,
            "rev": self.rev,
            "size": len(self.content),
            "is_downloadable": True,
            "content_hash": content_hash(self.content),
        }
        return {".tag": "file", **file} if tag else file


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteMode:
    """`add`, `overwrite`, or `update` with the revision that is to be replaced."""

    tag: str = "add"
    rev: str = ""
    autorename: bool = False


class Conflict(Exception):
    """Something else is at the path; `what` is `file` or `folder`."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


class Tree:
    """Entries by lower-case path. The root is not an entry."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._serial = 0

    def get(self, path: str) -> Entry | None:
        """By path, or by `id:…`."""
        if path.startswith("id:"):
            return next((entry for entry in self._entries.values() if entry.id == path), None)
        return self._entries.get(path.lower())

    def children(self, path: str, *, recursive: bool = False) -> list[Entry]:
        """What is in the folder ("" is the root), in the order of paths."""
        prefix = path.lower() + "/"
        return [
            entry
            for lower, entry in sorted(self._entries.items())
            if lower.startswith(prefix) and (recursive or "/" not in lower[len(prefix) :])
        ]

    def write(self, path: str, content: bytes, mode: WriteMode) -> Entry:
        """Write by Dropbox's rules: identical content is never a conflict, a folder at the path always is."""
        there = self.get(path)
        if there is not None and there.content == content:
            return there
        replaced = there is not None and (mode.tag == "overwrite" or (mode.tag == "update" and mode.rev == there.rev))
        if there is not None and (there.content is None or not replaced):
            if not mode.autorename:
                raise Conflict("folder" if there.content is None else "file")
            return self._put(self._free(path), content, there=None)
        return self._put(path, content, there=there)

    def make_folder(self, path: str) -> Entry:
        """Make it, and its parents; an existing folder is returned as it is."""
        there = self.get(path)
        return there if there is not None and there.content is None else self._put(path, None, there=None)

    def move(self, source: Entry, to_path: str, *, autorename: bool = False) -> Entry:
        """Rename the entry and all below it; ids stay."""
        if self.get(to_path) is not None and to_path.lower() != source.path.lower():
            if not autorename:
                raise Conflict("folder" if self._entries[to_path.lower()].content is None else "file")
            to_path = self._free(to_path)
        below = self.children(source.path, recursive=True)
        self._remove(source, *below)
        self._parents(to_path)
        for entry in (source, *below):
            moved = replace(entry, path=to_path + entry.path[len(source.path) :])
            self._entries[moved.path.lower()] = moved
        return self._entries[to_path.lower()]

    def delete(self, entry: Entry) -> None:
        """Remove the entry and all below it."""
        self._remove(entry, *self.children(entry.path, recursive=True))

    def _remove(self, *entries: Entry) -> None:
        for entry in entries:
            del self._entries[entry.path.lower()]

    def _put(self, path: str, content: bytes | None, *, there: Entry | None) -> Entry:
        self._parents(path)
        self._serial += 1
        identity = there.id if there is not None else f"id:{self._serial:022d}"
        entry = Entry(path=path, id=identity, rev=f"{self._serial:015x}", content=content)
        self._entries[path.lower()] = entry
        return entry

    def _parents(self, path: str) -> None:
        folder = posixpath.dirname(path)
        if folder not in {"", "/"} and self.get(folder) is None:
            self._put(folder, None, there=None)

    def _free(self, path: str) -> str:
        stem, extension = posixpath.splitext(path)
        number = 1
        while self.get(f"{stem} ({number}){extension}") is not None:
            number += 1
        return f"{stem} ({number}){extension}"


def content_hash(content: bytes) -> str:
    """Dropbox's content hash: SHA-256 over the SHA-256 of each block of 4 MiB, in hex."""
    blocks = (content[start : start + _BLOCK_BYTES] for start in range(0, len(content), _BLOCK_BYTES))
    return hashlib.sha256(b"".join(hashlib.sha256(block).digest() for block in blocks)).hexdigest()
