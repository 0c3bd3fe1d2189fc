"""The payload store in a folder: one file for each content of each tenant, named by its hash.

    DIRECTORY/<hash of the tenant's name>/name            the tenant's name
    DIRECTORY/<…>/<first two digits of the hash>/<hash>   the content; last put at its modification time
    DIRECTORY/<…>/incoming/<random>                       being written, locked by its writer

A tenant's name is hashed, so that none can leave the folder or meet another's. Content is written beside its place and
renamed into it, so that what carries a hash's name is whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, Self

from turnout.errors import BackendError, PayloadMissing
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.opening import NoOptions, Opening
from turnout.interfaces.payloads import PayloadRef, PayloadStore
from turnout.local.durable_files import flush
from turnout.model.durability import Durability

__all__ = ["FilePayloads"]

_INLINE_BYTES: Final = 256 * 1024
"""Up to this, writing to the page cache takes less time than a hop to a thread."""

_BUFFER_BYTES: Final = 1024 * 1024
"""A stream's chunks are gathered to this size, so that small ones do not cost a hop each."""

_LEFTOVER_S: Final = 60.0
"""An incoming file of this age whose writer does not hold its lock was left by a crash."""

_INCOMING: Final = "incoming"
_NAME: Final = "name"
_HASH: Final = re.compile("[0-9a-f]{64}")


class FilePayloads(PayloadStore):
    """Payloads below `directory`, which is made if absent, readable by its owner alone. Safe for several processes.

    With `sync` content is flushed to the disk before `put` returns. What a crash left half-written is removed when a
    store is opened and by `listing`.
    """

    on_this_machine: ClassVar[bool] = True

    def __init__(self, directory: str | Path, *, clock: Clock | None = None, sync: bool = False) -> None:
        self._directory = Path(directory)
        self._clock = clock or SystemClock()
        self._sync = sync
        with self._translating():
            self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._sweep()

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        opening.read(NoOptions)
        sync = opening.durability is Durability.HOST
        return cls(opening.directory / "payloads", clock=opening.clock, sync=sync)

    @property
    def durability(self) -> Durability:
        return Durability.HOST if self._sync else Durability.PROCESS

    async def put(self, tenant: str, chunks: AsyncIterator[bytes] | bytes) -> PayloadRef:
        if not isinstance(chunks, bytes):
            return await self._put_stream(tenant, chunks)
        if len(chunks) <= _INLINE_BYTES and not self._sync:
            return self._put_whole(tenant, chunks)
        return await asyncio.to_thread(self._put_whole, tenant, chunks)

    async def open(self, tenant: str, sha256: str, *, chunk_bytes: int = 256 * 1024) -> AsyncIterator[bytes]:
        with self._opened(tenant, sha256) as (file, size):
            while True:
                with self._translating():
                    chunk = await _quickly(size, lambda: file.read(chunk_bytes))
                if not chunk:
                    return
                yield chunk

    async def read(self, tenant: str, sha256: str, *, limit: int) -> bytes:
        with self._opened(tenant, sha256) as (file, size):
            if size > limit:
                raise BackendError(f"the payload {sha256} has {size} bytes, more than the {limit} allowed: stream it")
            with self._translating():
                return await _quickly(size, file.read)

    async def exists(self, tenant: str, sha256: str) -> bool:
        path = self._path(tenant, sha256)
        with self._translating():
            return path is not None and path.is_file()

    async def delete(self, tenant: str, sha256: str) -> None:
        path = self._path(tenant, sha256)
        if path is not None:
            with self._translating():
                path.unlink(missing_ok=True)

    async def listing(self, *, older_than: float) -> AsyncIterator[tuple[str, PayloadRef]]:
        with self._translating():
            await asyncio.to_thread(self._sweep)
            folders = sorted(self._directory.iterdir())
        for folder in folders:
            with self._translating():
                tenant, found = await asyncio.to_thread(_old_contents, folder, older_than)
            for ref in found:
                yield tenant, ref

    async def clear(self, tenant: str) -> int:
        """With the folder, in which the tenant's name is, and with what is being written at this moment, which fails."""

        def remove() -> int:
            folder = self._folder(tenant)
            count = sum(1 for _ in folder.glob("[0-9a-f][0-9a-f]/*"))
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(folder)
            return count

        with self._translating():
            return await asyncio.to_thread(remove)

    async def close(self) -> None:
        """Nothing is held open between calls."""

    async def _put_stream(self, tenant: str, chunks: AsyncIterator[bytes]) -> PayloadRef:
        pieces: list[bytes] = []
        held = 0
        async for chunk in chunks:
            pieces.append(chunk)
            held += len(chunk)
            if held > _INLINE_BYTES:
                break
        else:
            return await self.put(tenant, b"".join(pieces))
        writing = _Writing(self, tenant)
        try:
            async for chunk in chunks:
                if held >= _BUFFER_BYTES:
                    await asyncio.to_thread(writing.write, pieces)
                    pieces, held = [], 0
                pieces.append(chunk)
                held += len(chunk)
            await asyncio.to_thread(writing.write, pieces)
            return await asyncio.to_thread(writing.finish)
        finally:
            writing.discard()

    def _put_whole(self, tenant: str, content: bytes) -> PayloadRef:
        ref = PayloadRef(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        with self._translating():
            if self._renewed(tenant, ref.sha256):
                return ref
        writing = _Writing(self, tenant)
        try:
            writing.write([content])
            return writing.finish()
        finally:
            writing.discard()

    def _renewed(self, tenant: str, sha256: str) -> bool:
        """Make content that is there young; False if it is not there."""
        path = self._folder(tenant) / sha256[:2] / sha256
        now = self._clock.now()
        try:
            os.utime(path, (now, now))
            if self._sync:  # a store without `sync` may have written it
                flush(path)
        except FileNotFoundError:
            return False
        return True

    def _begin(self, tenant: str) -> BinaryIO:
        """A new incoming file, locked, in the tenant's folder."""
        path = self._folder(tenant) / _INCOMING / secrets.token_hex(8)
        try:
            file = path.open("xb")
        except FileNotFoundError:
            self._make_folder(tenant)
            file = path.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return file

    def _make_folder(self, tenant: str) -> None:
        """The tenant's folder; its name is in it before any content can be."""
        folder = self._folder(tenant)
        folder.mkdir(exist_ok=True, mode=0o700)
        (folder / _INCOMING).mkdir(exist_ok=True, mode=0o700)
        name = folder / _INCOMING / secrets.token_hex(8)
        with name.open("xb") as file:
            file.write(tenant.encode("utf-8", "surrogatepass"))
            file.flush()
            if self._sync:
                os.fsync(file.fileno())
        name.replace(folder / _NAME)
        if self._sync:
            flush(folder)
            flush(self._directory)

    def _keep(self, file: BinaryIO, tenant: str, sha256: str) -> None:
        """Give the incoming file its place."""
        now = self._clock.now()
        os.utime(file.fileno(), (now, now))
        if self._sync:
            os.fsync(file.fileno())
        shard = self._folder(tenant) / sha256[:2]
        try:
            Path(file.name).replace(shard / sha256)
        except FileNotFoundError:
            shard.mkdir(mode=0o700, exist_ok=True)
            Path(file.name).replace(shard / sha256)
            if self._sync:
                flush(shard.parent)
        if self._sync:
            flush(shard)

    def _sweep(self) -> None:
        """Remove incoming files that no living process writes."""
        for path in self._directory.glob(f"*/{_INCOMING}/*"):
            with contextlib.suppress(FileNotFoundError, BlockingIOError), path.open("rb") as file:
                if self._clock.now() - os.fstat(file.fileno()).st_mtime > _LEFTOVER_S:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()

    @contextlib.contextmanager
    def _opened(self, tenant: str, sha256: str) -> Iterator[tuple[BinaryIO, int]]:
        """The content's file and size."""
        path = self._path(tenant, sha256)
        if path is None:
            raise PayloadMissing(sha256)
        with self._translating():
            try:
                file = path.open("rb")
            except FileNotFoundError as error:
                raise PayloadMissing(sha256) from error
        with file:
            yield file, os.fstat(file.fileno()).st_size

    def _folder(self, tenant: str) -> Path:
        return self._directory / hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:40]

    def _path(self, tenant: str, sha256: str) -> Path | None:
        """Where the content would be; None for what is no hash."""
        return self._folder(tenant) / sha256[:2] / sha256 if _HASH.fullmatch(sha256) else None

    @contextlib.contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            reason = "the disk is full: free some space" if full else error.strerror or str(error)
            raise BackendError(f"payload store {self._directory}: {reason}") from error


class _Writing:
    """Content on its way in. Whatever happens, `discard` ends it; after `finish` it finds nothing to remove."""

    def __init__(self, store: FilePayloads, tenant: str) -> None:
        self._store = store
        self._tenant = tenant
        self._digest = hashlib.sha256()
        self._size = 0
        with store._translating():
            self._file = store._begin(tenant)

    def write(self, pieces: list[bytes]) -> None:
        with self._store._translating():
            for piece in pieces:
                self._digest.update(piece)
                self._size += len(piece)
                self._file.write(piece)

    def finish(self) -> PayloadRef:
        ref = PayloadRef(sha256=self._digest.hexdigest(), size=self._size)
        with self._store._translating():
            self._file.flush()
            if not self._store._renewed(self._tenant, ref.sha256):
                self._store._keep(self._file, self._tenant, ref.sha256)
        return ref

    def discard(self) -> None:
        with contextlib.suppress(OSError):
            Path(self._file.name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # what was still buffered on a full disk is not wanted any more
            self._file.close()


async def _quickly(size: int, read: Callable[[], bytes]) -> bytes:
    """Read here what is small, on a thread what is large."""
    return read() if size <= _INLINE_BYTES else await asyncio.to_thread(read)


def _old_contents(folder: Path, older_than: float) -> tuple[str, list[PayloadRef]]:
    """A tenant's name and its content last put before `older_than`."""
    try:
        tenant = (folder / _NAME).read_bytes().decode("utf-8", "surrogatepass")
    except (FileNotFoundError, NotADirectoryError):
        return "", []
    found = []
    for path in sorted(folder.glob("[0-9a-f][0-9a-f]/*")):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if status.st_mtime < older_than and _HASH.fullmatch(path.name):
                found.append(PayloadRef(sha256=path.name, size=status.st_size))
    return tenant, found
