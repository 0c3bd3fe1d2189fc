"""Retention comes between two statements of a reader, or twice at once: nobody is told that tables are missing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from turnout.interfaces.records import RecordBatch
from turnout.model.execution import LogLine, Status
from turnout.testing.records import created, execution, step
from turnout_postgres.database import Database, Session
from turnout_postgres.records import PostgresRecords, reading
from turnout_postgres.standins.server import PostgresServer

MakeDatabase = Callable[..., Database]

DAY_S = 86_400.0
NOON = 1_790_000_000.0 // DAY_S * DAY_S + DAY_S / 2


@pytest.fixture
def store(database: Database) -> PostgresRecords:
    return PostgresRecords(database)


async def fill(store: PostgresRecords, days: int, *, a_day: int = 1, line: str = "hello") -> None:
    """Executions that have ended, `e0` the oldest, so many of each day."""
    infos = [execution(f"e{n}", at=NOON + n // a_day * DAY_S + n) for n in range(days * a_day)]
    changes = tuple(created(info, status=Status.SUCCEEDED, ended_at=info.created_at + 60) for info in infos)
    steps = tuple((info.id, step("a")) for info in infos)
    logs = tuple((info.id, LogLine(at=1.0, level="info", message=line)) for info in infos)
    await store.apply(RecordBatch(position=await store.position() + 1, executions=changes, steps=steps, logs=logs))


READS: list[tuple[Callable[[Session], Awaitable[object]], object]] = [
    (lambda session: reading.get(session, "e0"), None),
    (lambda session: reading.logs(session, "e0", 0, 10), []),
]


@pytest.mark.parametrize(("read", "nothing"), READS, ids=["get", "logs"])
async def test_a_reader_that_began_before_its_execution_was_dropped_finds_none(
    store: PostgresRecords, database: Database, read: Callable[[Session], Awaitable[object]], nothing: object
) -> None:
    await fill(store, 1)

    async def read_later(session: Session) -> object:
        await session.one("SELECT position FROM {s}.record_state")  # from here on it sees this moment
        await store.prune(ended_before=NOON + 7 * DAY_S)
        return await read(session)

    assert await database.transact(read_later, reading=True) == nothing


async def test_processes_that_prune_at_once_do_not_remove_twice_what_is_too_much(
    store: PostgresRecords, server: PostgresServer, schema: str, make_database: MakeDatabase
) -> None:
    line = "".join(map(chr, random.Random(1).choices(range(32, 0x3000), k=20_000)))
    await fill(store, 2, a_day=10, line=line)
    others = [make_database(server, schema) for _ in range(3)]
    for other in others:
        await other.open()
    keep_bytes = await store.size_bytes() * 3 // 4

    pruning = (records.prune(keep_bytes=keep_bytes) for records in (store, *map(PostgresRecords, others)))
    removed = await asyncio.gather(*pruning)

    gone = [id for ids in removed for id in ids]
    assert gone == [f"e{n}" for n in range(len(gone))]
    assert 4 <= len(gone) <= 7
