"""Partitions: made when they are needed, dropped when all in them is removed, whatever the clocks say."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from turnout.interfaces.records import ExecutionChange, ExecutionQuery, RecordBatch
from turnout.model.execution import LogLine, Status
from turnout.testing.records import created, ended, execution, step
from turnout_postgres.database import Database
from turnout_postgres.records import PostgresRecords
from turnout_postgres.records.partitions import partition_of, partitions
from turnout_postgres.standins.server import PostgresServer

DAY_S = 86_400.0
NOON = 1_790_000_000.0 // DAY_S * DAY_S + DAY_S / 2
"""A noon, from which tests count days."""


@pytest.fixture
def store(database: Database) -> PostgresRecords:
    return PostgresRecords(database)


async def suffixes(database: Database) -> list[str]:
    return [partition.suffix for partition in await database.run(partitions)]


async def fill(store: PostgresRecords, *days: int, status: Status = Status.SUCCEEDED) -> None:
    """An execution of each day, `e<day>`, with a step and a line, that ended a minute later."""
    infos = [execution(f"e{day}", at=NOON + day * DAY_S) for day in days]
    ends = {} if not status.final else {"ended_at": 60.0}
    changes = tuple(
        created(info, status=status, **{name: info.created_at + after for name, after in ends.items()})
        for info in infos
    )
    steps = tuple((info.id, step("a")) for info in infos)
    logs = tuple((info.id, LogLine(at=1.0, level="info", message="hello")) for info in infos)
    await store.apply(RecordBatch(position=await store.position() + 1, executions=changes, steps=steps, logs=logs))


async def names(store: PostgresRecords) -> list[str]:
    return [record.info.id for record in await store.search(ExecutionQuery())]


async def test_each_day_has_a_partition_made_as_it_is_needed(store: PostgresRecords, database: Database) -> None:
    await fill(store, 0, 1, 3)

    wanted = [partition_of(NOON + day * DAY_S).suffix for day in (0, 1, 3)]
    assert await suffixes(database) == wanted
    assert await names(store) == ["e3", "e1", "e0"]


@pytest.mark.parametrize(
    "at", [-1e300, -1.0, 0.0, 946_684_799.9, 7_258_118_400.0, 1e300, math.inf, -math.inf, math.nan]
)
async def test_no_clock_is_too_wrong(store: PostgresRecords, at: float) -> None:
    await store.apply(RecordBatch(position=1, executions=(created(execution(at=at)),), steps=(("e1", step("a")),)))

    record = await store.get("e1")
    assert record is not None
    assert record.info.created_at == at or math.isnan(at)
    assert [found.path for found in record.steps] == ["a"]
    assert await names(store) == ["e1"]


async def test_the_partitions_of_the_next_days_are_made_ahead(store: PostgresRecords, database: Database) -> None:
    made = await store.make_partitions(days=3)

    assert len(made) == 4
    assert await store.make_partitions(days=3) == []
    assert await suffixes(database) == sorted(made)


async def test_two_writers_that_need_the_same_partition_make_it_once(database: Database) -> None:
    stores = [PostgresRecords(database) for _ in range(4)]

    await asyncio.gather(
        *(store.make_partitions(days=2) for store in stores), *(fill(store, 0) for store in stores[:1])
    )

    assert len(await suffixes(database)) == 4


async def test_retention_drops_partitions_and_deletes_no_row(store: PostgresRecords, database: Database) -> None:
    await fill(store, 0, 1, 2, 3)

    removed = await store.prune(ended_before=NOON + 2 * DAY_S)

    assert sorted(removed) == ["e0", "e1"]
    assert await names(store) == ["e3", "e2"]
    kept = {partition_of(NOON + day * DAY_S).suffix for day in (2, 3)}
    assert kept <= set(await suffixes(database))
    assert partition_of(NOON).suffix not in await suffixes(database)
    assert await deleted(database) == 0


async def test_within_the_oldest_day_what_is_old_is_gone_although_its_rows_are_there(
    store: PostgresRecords, database: Database
) -> None:
    late = created(execution("late", at=NOON), status=Status.SUCCEEDED, ended_at=NOON + 3600)
    await fill(store, 0)
    await store.apply(RecordBatch(position=9, executions=(late,)))

    assert await store.prune(ended_before=NOON + 600) == ["e0"]
    assert await store.prune(ended_before=NOON + 700) == []

    assert await names(store) == ["late"]
    assert (await store.get("e0"), await store.logs("e0")) == (None, [])
    assert await rows(database, "executions") == 2


async def test_what_waits_for_a_person_keeps_its_partition_and_nothing_else_in_it(
    store: PostgresRecords, database: Database
) -> None:
    await fill(store, 0)
    parked = created(execution("parked", at=NOON), status=Status.PARKED)
    await store.apply(RecordBatch(position=9, executions=(parked,), steps=(("parked", step("a")),)))

    await store.prune(ended_before=NOON + 5 * DAY_S)

    assert await names(store) == ["parked"]
    assert [await rows(database, table) for table in ("executions", "steps", "logs", "record_ids")] == [1, 1, 0, 1]


async def test_an_execution_that_was_removed_may_come_again(store: PostgresRecords) -> None:
    late = created(execution("late", at=NOON), status=Status.SUCCEEDED, ended_at=NOON + 3600)
    await fill(store, 0)
    await store.apply(RecordBatch(position=9, executions=(late,)))
    await store.prune(ended_before=NOON + 600)

    again = created(execution("e0", at=NOON + 5, flow="again"), status=Status.SUCCEEDED, ended_at=NOON + 10)
    await store.apply(RecordBatch(position=10, executions=(again,)))

    record = await store.get("e0")
    assert record is not None
    assert (record.info.flow, record.steps) == ("again", ())
    assert await store.prune(ended_before=NOON + 600) == ["e0"]


async def test_what_changes_after_retention_came_is_there(store: PostgresRecords) -> None:
    await fill(store, 0, status=Status.RUNNING)
    assert await store.prune(ended_before=NOON + DAY_S) == []

    await store.apply(RecordBatch(position=9, executions=(ended("e0", at=NOON + 60),)))

    assert await names(store) == ["e0"]
    assert await store.prune(ended_before=NOON + DAY_S) == ["e0"]


async def test_an_earlier_time_after_a_later_one_removes_what_came_between(store: PostgresRecords) -> None:
    await store.prune(ended_before=NOON + 10 * DAY_S)
    await fill(store, 0, 1)

    assert await store.prune(ended_before=NOON + DAY_S) == ["e0"]

    assert await names(store) == ["e1"]


async def test_what_is_said_of_an_execution_whose_partition_was_dropped_is_left_out(store: PostgresRecords) -> None:
    await fill(store, 0)
    await store.prune(ended_before=NOON + 2 * DAY_S)

    late = ExecutionChange(id="e0", status=Status.QUEUED, reopened=True)
    assert await store.apply(RecordBatch(position=9, executions=(late,), steps=(("e0", step("b")),)))

    assert await store.get("e0") is None


async def test_by_size_the_oldest_partitions_go_first(store: PostgresRecords, database: Database) -> None:
    for day in range(5):
        infos = [execution(f"e{day}-{number:03}", at=NOON + day * DAY_S + number) for number in range(200)]
        changes = tuple(created(info, status=Status.SUCCEEDED, ended_at=info.created_at) for info in infos)
        steps = tuple((info.id, step(f"s{n}")) for info in infos for n in range(5))
        await store.apply(RecordBatch(position=day + 1, executions=changes, steps=steps))
    full = await store.size_bytes()

    removed = await store.prune(keep_bytes=full * 2 // 5)

    assert await store.size_bytes() <= full * 2 // 5
    assert {id[:2] for id in removed[:600]} == {"e0", "e1", "e2"}
    assert len(removed) < 750
    assert partition_of(NOON + 2 * DAY_S).suffix not in await suffixes(database)


async def test_a_partition_that_somebody_reads_is_dropped_the_next_time_and_no_id_is_lost(
    server: PostgresServer, schema: str, make_database: Any
) -> None:
    database = make_database(server, schema, timeout=1)
    await database.open()
    store = PostgresRecords(database)
    await fill(store, 0, 5)
    suffix = partition_of(NOON).suffix

    async with database._pool.connection() as reading, reading.transaction():
        await reading.execute(b"SET LOCAL idle_in_transaction_session_timeout TO 0")
        await reading.execute(f'SELECT * FROM "{schema}"."executions_{suffix}"'.encode())
        removed = await store.prune(ended_before=NOON + 2 * DAY_S)
        while_read = await suffixes(database)
    again = await store.prune(ended_before=NOON + 2 * DAY_S)

    assert (removed, again) == (["e0"], [])
    assert (suffix in while_read, suffix in await suffixes(database)) == (True, False)


async def test_by_size_what_has_not_ended_is_left_as_it_is(store: PostgresRecords, database: Database) -> None:
    await fill(store, 0, 1, status=Status.RUNNING)
    nodes = "SELECT relfilenode FROM pg_class WHERE relname LIKE 'executions%' ORDER BY oid"
    before = await database.run(lambda session: session.rows(nodes))

    assert await store.prune(keep_bytes=0) == []

    after = await database.run(lambda session: session.rows(nodes))
    assert after[: len(before)] == before  # not written anew for nothing
    assert await names(store) == ["e1", "e0"]


async def deleted(database: Database) -> int:
    """Rows deleted in the partitions that are there, as PostgreSQL counts them."""
    row = await database.run(
        lambda session: session.one(
            """SELECT coalesce(sum(pg_stat_get_tuples_deleted(oid) + pg_stat_get_xact_tuples_deleted(oid)), 0)::bigint
            FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relname ~ '^(executions|steps|logs)_'""",
            session.schema,
        )
    )
    assert row is not None
    return int(row[0])


async def rows(database: Database, table: str) -> int:
    row = await database.run(lambda session: session.naming(table=table).one("SELECT count(*) FROM {s}.{table}"))
    assert row is not None
    return int(row[0])
