"""gzip and zip, with bounds on what small content may become and on where names may lead."""

from __future__ import annotations

import gzip as gzip_format
import zipfile
import zlib
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Annotated, Final, Protocol

from pydantic import Field
from turnout.connectors import ActionContext, Effect, File, Inputs
from typing_extensions import TypedDict

from turnout_connectors.data.connector import connector
from turnout_connectors.data.content import Content, Spool, faulty, in_thread, new_spool, spooled, stored

__all__: list[str] = []

_CHUNK_BYTES: Final = 256 * 1024
_BOMB_BYTES: Final = 64 * 1024 * 1024
_BOMB_RATIO: Final = 200
_ENTRIES: Final = 10_000
_METHODS: Final = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}

_MaxBytes = Annotated[int, Field(ge=1, description="Most that may come out, in bytes; 1 GiB by default")]


class Gzip(Inputs):
    content: Content
    name: str = Field(default="", description="Name of the file; by default the content's own with `.gz`")


class Gunzip(Inputs):
    content: File = Field(description="A file")
    name: str = Field(default="", description="Name of the file; by default the content's own without `.gz`")
    content_type: str = Field(default="application/octet-stream", description="Content type of what comes out")
    max_bytes: _MaxBytes = 1024**3


class Zip(Inputs):
    files: dict[str, Content] = Field(description="Files or texts by their path in the archive")
    name: str = Field(default="archive.zip", description="Name of the file")


class Unzip(Inputs):
    content: File = Field(description="A file")
    select: str = Field(default="*", description="Take only paths that match: `*.csv`, `in/*`")
    max_bytes: _MaxBytes = 1024**3


class Unzipped(TypedDict):
    files: Annotated[list[File], Field(description="Files in the archive's order; `name` is the path in it")]


@connector.action(effect=Effect.PURE)
async def gzip(context: ActionContext, inputs: Gzip) -> File:
    """Compress with gzip."""
    own = inputs.content.name if isinstance(inputs.content, File) else ""
    with await spooled(context, inputs.content) as spool, new_spool() as out:
        await in_thread(_compress, spool, out)
        return await stored(context, out, name=inputs.name or f"{own or 'data'}.gz", content_type="application/gzip")


@connector.action(effect=Effect.PURE)
async def gunzip(context: ActionContext, inputs: Gunzip) -> File:
    """Decompress gzip."""
    if inputs.content.size == 0:
        raise faulty("not_gzip", "not gzip: the file is empty")
    name = inputs.name or inputs.content.name.removesuffix(".gz") or "data"
    with await spooled(context, inputs.content) as spool, new_spool() as out:
        await in_thread(_decompress, spool, out, _Bound(inputs.max_bytes, inputs.content.size))
        return await stored(context, out, name=name, content_type=inputs.content_type)


@connector.action(effect=Effect.PURE, name="zip")
async def make_zip(context: ActionContext, inputs: Zip) -> File:
    """Pack files into a zip archive.

    The same files give the same archive, byte for byte.
    """
    with new_spool() as out:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in inputs.files.items():
                with await spooled(context, content) as spool:
                    await in_thread(_pack, archive, _safe(path), spool)
        return await stored(context, out, name=inputs.name, content_type="application/zip")


@connector.action(effect=Effect.PURE)
async def unzip(context: ActionContext, inputs: Unzip) -> Unzipped:
    """Unpack a zip archive.

    Paths that lead out of the archive, encrypted files, and archives that inflate beyond all reason are refused.
    """
    bound = _Bound(inputs.max_bytes, inputs.content.size)
    files = []
    with await spooled(context, inputs.content) as spool, _opened(spool) as archive:
        for entry in _entries(archive, inputs.select):
            with new_spool() as out:
                await in_thread(_unpack, archive, entry, out, bound)
                files.append(
                    await stored(context, out, name=_safe(entry.filename), content_type="application/octet-stream")
                )
    return {"files": files}


class _Bound:
    """How much may come out of an archive altogether."""

    def __init__(self, most: int, packed: int) -> None:
        self._most = most
        self._packed = packed
        self._out = 0

    def add(self, size: int) -> None:
        """`StepError` of kind `too_large` above the bound, or above any honest ratio."""
        self._out += size
        if self._out > self._most:
            raise faulty(
                "too_large", f"more than {self._most} bytes come out of {self._packed}: raise max_bytes if you trust it"
            )
        if self._out > _BOMB_BYTES and self._out > self._packed * _BOMB_RATIO:
            raise faulty("too_large", f"{self._packed} bytes inflate more than {_BOMB_RATIO} times: refused")


def _compress(spool: Spool, out: Spool) -> None:
    with gzip_format.GzipFile(filename="", fileobj=out, mode="wb", mtime=0) as packed:
        while chunk := spool.read(_CHUNK_BYTES):
            packed.write(chunk)


def _decompress(spool: Spool, out: Spool, bound: _Bound) -> None:
    try:
        with gzip_format.GzipFile(fileobj=spool, mode="rb") as packed:
            _copy(packed, out, bound)
    except (OSError, EOFError, zlib.error) as error:
        raise faulty("not_gzip", f"not gzip, or damaged: {error}") from error


def _pack(archive: zipfile.ZipFile, path: str, spool: Spool) -> None:
    entry = zipfile.ZipInfo(path)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    with archive.open(entry, "w", force_zip64=True) as packed:
        while chunk := spool.read(_CHUNK_BYTES):
            packed.write(chunk)


def _opened(spool: Spool) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(spool)
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise faulty("not_zip", f"not a zip archive, or damaged: {error}") from error


def _entries(archive: zipfile.ZipFile, select: str) -> list[zipfile.ZipInfo]:
    entries = archive.infolist()
    if len(entries) > _ENTRIES:
        raise faulty("too_large", f"the archive has {len(entries)} entries; at most {_ENTRIES} are taken")
    chosen = [entry for entry in entries if not entry.is_dir() and fnmatchcase(_safe(entry.filename), select)]
    for entry in chosen:
        if entry.flag_bits & 1:
            raise faulty("encrypted", f"{entry.filename!r} is encrypted")
        if entry.compress_type not in _METHODS:
            raise faulty("not_zip", f"{entry.filename!r} is packed by a method other than deflate")
    return chosen


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, out: Spool, bound: _Bound) -> None:
    try:
        with archive.open(entry) as packed:
            _copy(packed, out, bound)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise faulty("not_zip", f"{entry.filename!r} is damaged: {error}") from error


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _copy(packed: _Readable, out: Spool, bound: _Bound) -> None:
    while chunk := packed.read(_CHUNK_BYTES):
        bound.add(len(chunk))
        out.write(chunk)


def _safe(path: str) -> str:
    """The path if it stays inside; `StepError` of kind `unsafe_path` if it is absolute, has a drive, or climbs."""
    parts = PurePosixPath(path.replace("\\", "/"))
    climbs = parts.is_absolute() or ".." in parts.parts
    if not parts.parts or climbs or ":" in parts.parts[0] or not path.isprintable():
        raise faulty("unsafe_path", f"the path {path!r} leads out of the archive or cannot be a file's name")
    return str(parts)
