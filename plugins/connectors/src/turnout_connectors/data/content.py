"""What the actions of `data` read and write: text or files in, files out, worked on in a thread and beside memory."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Callable
from tempfile import SpooledTemporaryFile
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, Field
from turnout.connectors import ActionContext, File, StepError

__all__ = [
    "MEMORY_BYTES",
    "Content",
    "Encoding",
    "Spool",
    "faulty",
    "in_thread",
    "new_spool",
    "spooled",
    "stored",
    "text_of",
]

MEMORY_BYTES: Final = 64 * 1024 * 1024
"""Largest content that becomes JSON in memory."""
_SPOOL_BYTES: Final = 1024 * 1024
_CHUNK_BYTES: Final = 256 * 1024

T = TypeVar("T")
Spool = SpooledTemporaryFile[bytes]
"""Content that can be read from any place: in memory while it is small, in a temporary file beyond that."""


def _codec(name: str) -> str:
    try:
        "".encode(name)  # refuses what Python calls a codec but is none of text: `base64`, `zlib`
    except LookupError as error:
        raise ValueError(f"{name!r} is not an encoding of text") from error
    return codecs.lookup(name).name


Content = Annotated[str | File, Field(description="Text or a file")]
Encoding = Annotated[
    str,
    AfterValidator(_codec),
    Field(description="Encoding of a file: `utf-8` (with or without a byte order mark), `cp1252`"),
]


async def text_of(context: ActionContext, content: str | File, encoding: str = "utf-8") -> str:
    """The text. `StepError` of kind `encoding`, or where a file is larger than `MEMORY_BYTES`."""
    if isinstance(content, str):
        return content
    data = await context.files.read(content, limit=MEMORY_BYTES)
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        raise faulty(
            "encoding", f"{content.name or 'the file'} is not {encoding}: {error.reason} at byte {error.start}"
        ) from error


async def spooled(context: ActionContext, content: str | File) -> Spool:
    """The content in a spool, at its beginning. The caller closes it."""
    spool = new_spool()
    try:
        if isinstance(content, str):
            spool.write(content.encode())
        else:
            async for chunk in context.files.open(content):
                await in_thread(spool.write, chunk)
        spool.seek(0)
    except BaseException:
        spool.close()
        raise
    return spool


def new_spool() -> Spool:
    """An empty spool. The caller closes it."""
    return SpooledTemporaryFile(max_size=_SPOOL_BYTES)


async def stored(context: ActionContext, spool: Spool, *, name: str, content_type: str) -> File:
    """A file of the spool's whole content."""

    async def chunks() -> AsyncIterator[bytes]:
        spool.seek(0)
        while chunk := await in_thread(spool.read, _CHUNK_BYTES):
            yield chunk

    return await context.files.create(chunks(), name=name, content_type=content_type)


async def in_thread(function: Callable[..., T], *arguments: object) -> T:
    """Work that may take long, without keeping other executions of the worker waiting."""
    return await asyncio.to_thread(function, *arguments)


def faulty(kind: str, message: str) -> StepError:
    """The same inputs fail again: not to be retried."""
    return StepError(message, kind=kind, retryable=False)
