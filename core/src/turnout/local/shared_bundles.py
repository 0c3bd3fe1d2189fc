"""Bundles where every process of a project finds them: archives in the payload store, by a document each in the catalog.

What is kept is a directory by its name below the storage directory, `bundles/<hash>`, `npm/<layer>` or `python/<layer>`, the same
on each machine; a bundle's links to its layers are in its document, for an archive holds no link that leads out of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from turnout.errors import BackendError, PayloadMissing
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.payloads import PayloadStore
from turnout.local.building import building
from turnout.services.documents import Documents

__all__ = ["SharedBundles", "within"]

_KIND: Final = "bundle"
_TENANT: Final = "_bundles"
"""No customer's: their names begin with a letter or a digit."""
_CHUNK: Final = 256 * 1024
_LEVEL: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """The document: the archive's hash and size, and what the directory links to, `code/node_modules` to `npm/<layer>/node_modules`."""

    sha256: str
    size: int
    links: Mapping[str, str] = field(default_factory=dict)


class SharedBundles:
    """Gives and takes directories below `root`, which never change once they are there."""

    def __init__(self, root: Path, payloads: PayloadStore, catalog: CatalogStore) -> None:
        self._root = root
        self._payloads = payloads
        self._documents = Documents(catalog, _KIND, Archived)
        self._given: set[str] = set()
        self._one = asyncio.Lock()

    async def give(self, name: str) -> None:
        """Keep the directory, and what it links to, for everybody; cheap if it is kept already. `BackendError` if a store fails."""
        if name in self._given:
            return
        if await self._documents.get(name) is None:
            links = await asyncio.to_thread(self._links, name)
            for leads_to in links.values():
                await self.give(_directory_of(leads_to))
            with tempfile.TemporaryDirectory(prefix="turnout-") as beside:
                archive = Path(beside) / "archive"
                await asyncio.to_thread(_pack, self._root / name, archive)
                ref = await self._payloads.put(_TENANT, _chunks(archive))
            await self._documents.put(name, Archived(sha256=ref.sha256, size=ref.size, links=links))
        self._given.add(name)

    async def take(self, name: str) -> bool:
        """Make the directory, and what it links to, as it was given; whether it was. `BackendError` if a store fails or does not give
        what was put."""
        async with self._one:
            return await self._take(name)

    async def references(self) -> set[tuple[str, str]]:
        """The content that is still needed, by tenant and hash."""
        return {(_TENANT, document.value.sha256) async for document in self._documents.all()}

    async def _take(self, name: str) -> bool:
        target = self._root / name
        if target.is_dir():
            return True
        document = await self._documents.get(name)
        if document is None:
            return False
        archived = document.value
        for leads_to in archived.links.values():
            if not await self._take(_directory_of(leads_to)):
                return False
        with tempfile.TemporaryDirectory(prefix="turnout-") as beside:
            archive = Path(beside) / "archive"
            await self._fetch(name, archived, archive)
            await asyncio.to_thread(self._unpack, archive, target, archived.links)
        return True

    async def _fetch(self, name: str, archived: Archived, archive: Path) -> None:
        digest = hashlib.sha256()
        try:
            with archive.open("wb") as file:
                async for chunk in self._payloads.open(_TENANT, archived.sha256):
                    digest.update(chunk)
                    await asyncio.to_thread(file.write, chunk)
        except PayloadMissing as error:
            raise BackendError(f"{name} is gone from the payload store: publish its version again") from error
        if digest.hexdigest() != archived.sha256:
            raise BackendError(f"the payload store gave something else for {name} than was put")

    def _links(self, name: str) -> dict[str, str]:
        directory = self._root / name
        found = {}
        for entry in os.scandir(directory / "code") if (directory / "code").is_dir() else ():
            if entry.is_symlink():
                leads_to = Path(os.path.normpath(directory / "code" / Path(entry.path).readlink()))
                found[f"code/{entry.name}"] = leads_to.relative_to(self._root.absolute()).as_posix()
        return found

    def _unpack(self, archive: Path, target: Path, links: Mapping[str, str]) -> None:
        with building(target, f"what was published elsewhere cannot be written to {target.parent}") as work:
            with tarfile.open(archive) as content:
                # Debian 12's Python has no filters yet.
                content.extraction_filter = getattr(tarfile, "data_filter", None)
                content.extractall(work, members=within(content))  # noqa: S202 - each member is looked at
            for link, leads_to in links.items():
                (work / link).symlink_to(os.path.relpath(self._root / leads_to, (target / link).parent))


def _directory_of(path: str) -> str:
    """`npm/<layer>` of `npm/<layer>/node_modules`."""
    return "/".join(path.split("/")[:2])


def _pack(directory: Path, archive: Path) -> None:
    """All but the links that lead out of it."""

    def inside(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        if entry.issym() and os.path.normpath(Path(entry.name).parent / entry.linkname).startswith(("..", "/")):
            return None
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry

    with tarfile.open(archive, "w:gz", compresslevel=_LEVEL) as content:
        content.add(directory, arcname=".", filter=inside)


def within(content: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members, of which none is written outside the directory that they are unpacked in."""
    links: set[Path] = set()
    for entry in content:
        path = Path(os.path.normpath(entry.name))
        leads_to = os.path.normpath(path.parent / entry.linkname) if entry.issym() else "."
        if (
            not (entry.isfile() or entry.isdir() or entry.issym())
            or os.path.normpath(entry.name).startswith(("..", "/"))
            or leads_to.startswith(("..", "/"))
            or links.intersection(path.parents)
        ):
            raise BackendError(f"{entry.name!r} is not what is published, and is not unpacked")
        if entry.issym():
            links.add(path)
        yield entry


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
