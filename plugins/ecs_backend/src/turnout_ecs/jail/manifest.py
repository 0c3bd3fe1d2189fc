"""The record of a jail, which lies beside its tree and never in it."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from turnout.errors import BackendError

__all__ = ["Entry", "Manifest", "Source"]


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a file that belongs to the machine was copied from, and what it was then: `mtime` in whole seconds, which
    the layers of an image keep."""

    path: str
    size: int
    mtime: int


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file as it must be: `mode` in octal, as `ls` counts."""

    sha256: str
    mode: str
    size: int
    source: Source | None = None


class Manifest(msgspec.Struct, frozen=True):
    """What a jail is. `data_base_bytes` is what a Node that has booted in it has in its data segment, from which
    RLIMIT_DATA is counted, and `python_data_base_bytes` the same of Python (0 without it). `directories` and `files` are all
    there is, by absolute paths inside."""

    recipe: str
    architecture: str
    languages: tuple[str, ...]
    node: str
    turnout: str
    data_base_bytes: int
    directories: tuple[str, ...]
    files: dict[str, Entry]
    python_data_base_bytes: int = 0

    @classmethod
    def read(cls, file: Path) -> Manifest:
        """`FileNotFoundError` where there is none; `BackendError` for what is no manifest or that others may write to."""
        with file.open("rb") as opened:
            stat = os.fstat(opened.fileno())
            if stat.st_uid != 0 or stat.st_mode & 0o022:
                raise BackendError(f"{file}: it must belong to root, and nobody else may write to it")
            content = opened.read()
        try:
            return msgspec.json.decode(content, type=cls)
        except msgspec.DecodeError as error:
            raise BackendError(f"{file}: it is no manifest of this version: {error}") from error

    def encoded(self) -> bytes:
        """As it is written to its file."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"
