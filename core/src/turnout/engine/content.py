"""Content of one tenant: values and files between memory and the payload store."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from turnout.errors import StepError
from turnout.interfaces.connector import Files
from turnout.interfaces.payloads import PayloadStore
from turnout.model.payload import INLINE_BYTES, Encoded, File
from turnout.values import Value

__all__ = ["Content"]

_SPILL_BYTES = 16 * 1024
_EXPRESSION_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content(Files):
    """Small content stays inside values; large content goes to the payload store under the tenant's name."""

    payloads: PayloadStore
    tenant: str

    def small(self, value: Value) -> Encoded | None:
        """The value ready for a row, if it is small enough to stand there."""
        encoded = value.encode()
        size = len(encoded.json) + sum(len(file.data or b"") for _, file in encoded.files)
        return encoded if size <= INLINE_BYTES else None

    async def pack(self, value: Value) -> Encoded:
        """The value ready for a row; what is too large is stored first."""
        encoded = self.small(value)
        if encoded is not None:
            return encoded
        encoded = value.encode()
        files = tuple([(pointer, await self._spill(file)) for pointer, file in encoded.files])
        if len(encoded.json) <= INLINE_BYTES:
            return Encoded(json=encoded.json, files=files)
        ref = await self.payloads.put(self.tenant, encoded.json)
        stored = File(sha256=ref.sha256, size=ref.size, content_type="application/json")
        return Encoded(json=b"", files=files, stored=stored)

    async def unpack(self, encoded: Encoded) -> Value:
        """The value of a row, fetched if it was stored. `PayloadMissing` if retention has removed it."""
        if encoded.stored is None:
            return Value.from_encoded(encoded)
        text = await self.payloads.read(self.tenant, encoded.stored.sha256, limit=encoded.stored.size)
        return Value.from_json(text, encoded.files)

    async def create(
        self, content: AsyncIterator[bytes] | bytes, *, name: str = "", content_type: str = "application/octet-stream"
    ) -> File:
        if isinstance(content, bytes):
            start, rest = content, None
        else:
            start, rest = await _first(content)
        if rest is None and len(start) <= INLINE_BYTES:
            digest = hashlib.sha256(start).hexdigest()
            return File(sha256=digest, size=len(start), name=name, content_type=content_type, data=start)
        ref = await self.payloads.put(self.tenant, start if rest is None else _joined(start, rest))
        return File(sha256=ref.sha256, size=ref.size, name=name, content_type=content_type)

    async def open(self, file: File) -> AsyncIterator[bytes]:
        if file.data is not None:
            yield file.data
            return
        async for chunk in self.payloads.open(self.tenant, file.sha256):
            yield chunk

    async def read(self, file: File, *, limit: int = _EXPRESSION_BYTES) -> bytes:
        if file.size > limit:
            raise StepError(
                f"the file {file.name or file.sha256[:12]!r} has {file.size:,} bytes, more than the {limit:,} that may "
                f"be read whole here; pass the file itself, and stream it",
                kind="too_large",
                retryable=False,
            )
        if file.data is not None:
            return file.data
        return await self.payloads.read(self.tenant, file.sha256, limit=limit)

    async def _spill(self, file: File) -> File:
        if file.data is None or len(file.data) <= _SPILL_BYTES:
            return file
        ref = await self.payloads.put(self.tenant, file.data)
        return File(sha256=ref.sha256, size=ref.size, name=file.name, content_type=file.content_type)


async def _first(content: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes] | None]:
    """What comes first, up to `INLINE_BYTES`; the rest, if there is more."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in content:
        chunks.append(chunk)
        size += len(chunk)
        if size > INLINE_BYTES:
            return b"".join(chunks), content
    return b"".join(chunks), None


async def _joined(start: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield start
    async for chunk in rest:
        yield chunk
