"""Logs to a file: a line of JSON each, a new file when one is large enough."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self
from urllib.parse import quote

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from turnout.config.readers import size as read_size
from turnout.errors import BackendError
from turnout.interfaces.log_lines import fields_of, fitted
from turnout.interfaces.log_sink import LogEntry, LogSink, Shipped
from turnout.interfaces.opening import Opening

__all__ = ["FileLogs"]

_CUSTOMER: Final = "{customer}"
_NOBODY: Final = "platform"
"""The customer of what belongs to none."""
_LINE_BYTES: Final = 8_000_000
_LONGEST_NAME: Final = 100


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    path: str = Field(default="logs/turnout.jsonl", min_length=1)
    size: Annotated[int, BeforeValidator(read_size)] = 100_000_000
    keep: int = Field(default=5, ge=0, le=1000)


class FileLogs(LogSink):
    """Appends to `path`, synced to the disk; relative paths begin at the storage directory. `{customer}` in it is the customer's
    name, so that each has a file of its own. A file that would get larger than `size` becomes `<path>.1`, that `<path>.2`, and so on
    to `keep`. One process at a time writes; a line that one died at is not joined to another."""

    on_this_machine: ClassVar[bool] = True

    def __init__(self, directory: Path, options: _Options) -> None:
        self._directory = directory
        self._options = options

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        return cls(opening.directory, opening.read(_Options))

    def describe(self) -> str:
        return f"logs to {self._directory / self._options.path}"

    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        lines: Mapping[Path, list[bytes]] = defaultdict(list)
        for entry in entries:
            lines[self._path(entry.tenant)].append(_line(entry))
        for path, added in lines.items():
            await asyncio.to_thread(self._append, path, added)
        return Shipped()

    async def close(self) -> None:
        """No file is kept open."""

    def _path(self, tenant: str) -> Path:
        # A name is one part of the path, whatever it is.
        name = quote(tenant or _NOBODY, safe="").replace(".", "%2E")[:_LONGEST_NAME]
        return self._directory / self._options.path.replace(_CUSTOMER, name)

    def _append(self, path: Path, lines: Sequence[bytes]) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            start = 0
            while start < len(lines):
                start += self._append_some(path, lines[start:])
        except OSError as error:
            raise BackendError(f"{path}: logs cannot be written there: {error.strerror}") from error

    def _append_some(self, path: Path, lines: Sequence[bytes]) -> int:
        """As many lines as have room, at least one; how many."""
        with path.open("a+b") as file:
            there = file.seek(0, os.SEEK_END)
            room = self._options.size - there
            taken = total = 0
            while taken < len(lines) and (total + len(lines[taken]) <= room or (not there and not taken)):
                total += len(lines[taken])
                taken += 1
            if taken:
                file.write((b"\n" if _is_torn(file, there) else b"") + b"".join(lines[:taken]))
                file.flush()
                os.fsync(file.fileno())
                return taken
        self._rotate(path)
        return 0

    def _rotate(self, path: Path) -> None:
        keep = self._options.keep
        if not keep:
            path.unlink()
            return
        for number in range(keep - 1, 0, -1):
            older = Path(f"{path}.{number}")
            if older.exists():
                older.replace(f"{path}.{number + 1}")
        path.replace(f"{path}.1")


def _line(entry: LogEntry) -> bytes:
    fields = fields_of(entry)
    return fitted(entry.message, lambda message: {**fields, "message": message}, _LINE_BYTES) + b"\n"


def _is_torn(file: Any, size: int) -> bool:
    """Whether the file's last line has no end: a process died in it."""
    if not size:
        return False
    file.seek(-1, os.SEEK_END)
    return bool(file.read(1) != b"\n")
