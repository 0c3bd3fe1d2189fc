"""The record store in SQLite, in a file of its own, so that a large batch never holds up the journal.

Everything runs on threads. Reading has a connection of its own: it goes on while a batch is written, here and in other
processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from sqlite3 import Connection
from typing import ClassVar, Self, TypeVar

from turnout.interfaces.journal import JournalEntry
from turnout.interfaces.opening import NoOptions, Opening
from turnout.interfaces.records import ExecutionQuery, KeptEvents, RecordBatch, RecordStore
from turnout.local.database import Database
from turnout.local.records import events, reading, writing
from turnout.local.records.pruning import prune, remove
from turnout.local.records.schema import MIGRATIONS
from turnout.model.execution import ExecutionRecord, LogLine

__all__ = ["SQLiteRecords"]

T = TypeVar("T")


class SQLiteRecords(RecordStore):
    """Records in the SQLite file `path`, made if absent. Safe for several processes."""

    on_this_machine: ClassVar[bool] = True

    def __init__(self, path: str | Path | Database) -> None:
        """Of a path, or of a database, which then belongs to the store."""
        self._database = path if isinstance(path, Database) else Database(path)
        self._database.migrate("records", MIGRATIONS)
        self._reader = self._database.another()

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        opening.read(NoOptions)
        return cls(opening.directory / "records.db")

    async def apply(self, batch: RecordBatch) -> bool:
        return await self._write(lambda connection: writing.apply(connection, batch))

    async def keep(self, entries: Sequence[JournalEntry]) -> Sequence[KeptEvents]:
        return await self._write(lambda connection: events.keep(connection, entries))

    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        return await self._write(lambda connection: events.record(connection, kept, batch))

    async def position(self) -> int:
        return await self._read(lambda connection: _one(connection, "SELECT position FROM record_position"))

    async def get(self, id: str) -> ExecutionRecord | None:
        return await self._read(lambda connection: reading.get(connection, id))

    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        return await self._read(lambda connection: reading.search(connection, query))

    async def logs(self, id: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, LogLine]]:
        return await self._read(lambda connection: reading.logs(connection, id, after, limit))

    async def prune(self, *, ended_before: float | None = None, keep_bytes: int | None = None) -> Sequence[str]:
        return await asyncio.to_thread(prune, self._database, ended_before=ended_before, keep_bytes=keep_bytes)

    async def remove(self, ids: Sequence[str]) -> None:
        await asyncio.to_thread(remove, self._database, ids)

    async def references(self) -> set[tuple[str, str]]:
        return await self._read(reading.references)

    async def size_bytes(self) -> int:
        return await asyncio.to_thread(self._database.size_bytes)

    async def close(self) -> None:
        self._reader.close()
        self._database.close()

    async def _write(self, write: Callable[[Connection], T]) -> T:
        def written() -> T:
            with self._database.transaction() as connection:
                return write(connection)

        return await asyncio.to_thread(written)

    async def _read(self, read: Callable[[Connection], T]) -> T:
        def snapshot() -> T:
            with self._reader.snapshot() as connection:
                return read(connection)

        return await asyncio.to_thread(snapshot)


def _one(connection: Connection, sql: str) -> int:
    return int(connection.execute(sql).fetchone()[0])
