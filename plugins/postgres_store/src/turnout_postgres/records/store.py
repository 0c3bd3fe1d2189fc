"""The record store on PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self
from uuid import uuid4

from turnout.interfaces.journal import JournalEntry
from turnout.interfaces.opening import Opening
from turnout.interfaces.records import ExecutionQuery, KeptEvents, RecordBatch, RecordStore
from turnout.model.execution import ExecutionRecord, LogLine

from turnout_postgres.database import Database, Session
from turnout_postgres.records import events, pruning, reading
from turnout_postgres.records.changes import gathered
from turnout_postgres.records.partitions import DAY_S, make_missing, partition_of
from turnout_postgres.records.writing import apply, lock_state

__all__ = ["PostgresRecords"]

_DAYS_AHEAD = 2


class PostgresRecords(RecordStore):
    """Records in `database`, which the caller closes. Safe for several processes: of two that apply at once one waits."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        """As promised, with the partitions of today and the next days made."""
        store = cls(await Database.of(opening))
        await store.make_partitions(days=_DAYS_AHEAD)
        return store

    async def apply(self, batch: RecordBatch) -> bool:
        changes, call = gathered(batch), uuid4()
        return await self._database.transact(lambda session: apply(session, changes, call))

    async def keep(self, entries: Sequence[JournalEntry]) -> Sequence[KeptEvents]:
        return await self._database.transact(lambda session: events.keep(session, entries))

    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        """As promised. Where it is not known what became of a call, it is made again and says False: what is kept then tells."""
        changes = gathered(batch)
        return await self._database.transact(lambda session: events.record(session, kept, changes))

    async def position(self) -> int:
        row = await self._database.run(lambda session: session.one("SELECT position FROM {s}.record_state"))
        return int(row[0]) if row else 0

    async def get(self, id: str) -> ExecutionRecord | None:
        return await self._database.transact(lambda session: reading.get(session, id), reading=True)

    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        return await self._database.run(lambda session: reading.search(session, query))

    async def logs(self, id: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, LogLine]]:
        return await self._database.transact(lambda session: reading.logs(session, id, after, limit), reading=True)

    async def prune(self, *, ended_before: float | None = None, keep_bytes: int | None = None) -> Sequence[str]:
        """As promised. By size, up to a tenth of `keep_bytes` more may go, by a whole partition, and only one process prunes
        at a time: the others leave it to that one. Partitions of the next days are made as well: this is what runs
        regularly."""
        removed: list[str] = []
        await self.make_partitions(days=_DAYS_AHEAD)
        if ended_before is not None:
            removed += await pruning.prune_by_age(self._database, ended_before)
        if keep_bytes is not None:
            removed += await pruning.prune_by_size(self._database, keep_bytes)
        if removed:
            await self._database.transact(
                lambda session: events.forget(session, removed), patience_s=pruning.PATIENCE_S
            )
        return removed

    async def remove(self, ids: Sequence[str]) -> None:
        await pruning.remove(self._database, ids)

    async def references(self) -> set[tuple[str, str]]:
        return await self._database.transact(reading.references, patience_s=pruning.PATIENCE_S)

    async def size_bytes(self) -> int:
        return await self._database.run(pruning.size_bytes)

    async def make_partitions(self, *, days: int) -> list[str]:
        """Make today's partition and those of the next days, as far as they are not there; the names of those it made."""
        now = time.time()
        wanted = [partition_of(now + day * DAY_S) for day in range(days + 1)]

        async def make(session: Session) -> list[str]:
            await lock_state(session)
            return [partition.suffix for partition in await make_missing(session, wanted)]

        return await self._database.transact(make)

    def describe(self) -> str:
        return self._database.describe()

    async def close(self) -> None:
        """The database belongs to the caller."""
