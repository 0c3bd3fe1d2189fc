"""What PostgreSQL adds to the record store: hostile text, several processes, connections that break, searches that stay quick."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.records import ExecutionQuery, RecordBatch
from turnout.model.execution import ErrorInfo, LogLine, Status
from turnout.model.payload import Encoded
from turnout.testing.records import created, execution, step
from turnout_postgres.database import Database, Session
from turnout_postgres.records import PostgresRecords, reading, writing
from turnout_postgres.records.changes import gathered
from turnout_postgres.standins.server import PostgresServer

HOSTILE = (
    "nul\0",
    "\x1a0",
    "\x1a",
    "half\ud800",
    "'; DROP TABLE executions; --",
    "x" * 5000,
    "ü" * 3000,
    "{s}",
    "$1",
    "%s",
)


@pytest.fixture
def store(database: Database) -> PostgresRecords:
    return PostgresRecords(database)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_no_text_is_too_strange(store: PostgresRecords, text: str) -> None:
    names: dict[str, Any] = {"tenant": text, "instance": text, "integration": text, "flow": text, "parent": text}
    error = ErrorInfo(kind="e", message=text)
    change = created(execution(**names), status=Status.FAILED, error=error)
    line = LogLine(at=1.0, level="info", message=text, path=text)
    found = step(text, error=error, output=Encoded(json=json.dumps(text).encode()))

    await store.apply(RecordBatch(position=1, executions=(change,), steps=(("e1", found),), logs=(("e1", line),)))

    record = await store.get("e1")
    assert record is not None
    assert [kept.path for kept in record.steps] == [text]
    assert await store.logs("e1") == [(1, line)]
    given: Any = text
    other: Any = f"{text}."
    for name in names:
        assert len(await store.search(replace(ExecutionQuery(), **{name: given}))) == 1
        assert await store.search(replace(ExecutionQuery(), **{name: other})) == []
    assert len(await store.search(ExecutionQuery(text=text))) == 1
    assert await store.get(text) is None
    assert await store.search(ExecutionQuery(before=text)) == []


async def test_of_two_that_apply_the_same_batch_at_once_one_does(database: Database) -> None:
    stores = [PostgresRecords(database) for _ in range(5)]
    batch = RecordBatch(
        position=5, executions=(created(execution()),), logs=(("e1", LogLine(at=1.0, level="info", message="once")),)
    )

    applied = await asyncio.gather(*(store.apply(batch) for store in stores))

    assert sorted(applied) == [False, False, False, False, True]
    assert len(await stores[0].logs("e1")) == 1


async def test_two_services_that_follow_the_same_journal_record_everything_once(
    server: PostgresServer, database: Database, schema: str, make_database: Any
) -> None:
    other = make_database(server, schema)
    await other.open()
    batches = [
        RecordBatch(
            position=position,
            executions=(created(execution(f"e{position}", at=float(position))),),
            logs=((f"e{position}", LogLine(at=1.0, level="info", message="once")),),
        )
        for position in range(1, 31)
    ]

    async def follow(store: PostgresRecords) -> int:
        return sum([await store.apply(batch) for batch in batches])

    counts = await asyncio.gather(follow(PostgresRecords(database)), follow(PostgresRecords(other)))

    assert sum(counts) == 30
    store = PostgresRecords(database)
    assert [len(await store.logs(f"e{position}")) for position in range(1, 31)] == [1] * 30


async def test_a_batch_that_is_sent_again_since_nobody_knows_what_became_of_it_counts_as_applied(
    store: PostgresRecords, database: Database
) -> None:
    batch = RecordBatch(position=1, executions=(created(execution()),))
    times = 0

    async def commit_then_break(session: Session) -> bool:
        nonlocal times
        times += 1
        async with session.transaction():
            applied = await writing.apply(session, changes, call)
        if times == 1:
            await session.rows("SELECT pg_terminate_backend(pg_backend_pid())")
        return applied

    changes, call = gathered(batch), (await database.run(lambda session: session.one("SELECT gen_random_uuid()")))[0]  # type: ignore[index]

    assert await database.run(commit_then_break) is True
    assert times == 2
    assert await store.apply(batch) is False


async def test_a_restarted_server_delays_what_is_asked_and_loses_nothing(make_database: Any, schema: str) -> None:
    with PostgresServer() as server:
        database = make_database(server, schema)
        await database.open()
        store = PostgresRecords(database)

        async def restart() -> None:
            for crash in (True, False):
                await asyncio.to_thread(server.restart, crash=crash)

        async def write() -> None:
            for position in range(1, 101):
                info = execution(f"e{position}", at=float(position))
                assert await store.apply(RecordBatch(position=position, executions=(created(info),)))
                await store.search(ExecutionQuery(limit=3))

        await asyncio.gather(restart(), write())

        assert len(await store.search(ExecutionQuery(limit=200))) == 100
        await database.aclose()


async def test_a_server_that_hangs_is_given_up_in_time(schema: str, make_database: Any) -> None:
    with PostgresServer() as server:
        database = make_database(server, schema, timeout=0.5)
        await database.open()
        store = PostgresRecords(database)
        server.pause()

        with pytest.raises(BackendError):
            await asyncio.wait_for(store.position(), 20)

        server.go_on()
        assert await store.position() == 0
        await database.aclose()


async def test_a_large_batch_takes_tens_of_milliseconds(store: PostgresRecords) -> None:
    async def apply(position: int) -> float:
        infos = [execution(f"e{position}-{number}", at=1_790_000_000.0 + number) for number in range(300)]
        changes = tuple(created(info, status=Status.SUCCEEDED, ended_at=info.created_at) for info in infos)
        steps = tuple((info.id, step(f"s{n}", output=Encoded(json=b"[1]"))) for info in infos for n in range(6))
        started = time.perf_counter()
        await store.apply(RecordBatch(position=position, executions=changes, steps=steps))
        return time.perf_counter() - started

    took = [await apply(position) for position in range(1, 6)]

    assert min(took) < 0.5  # 50 ms on a quiet machine


@pytest.fixture
async def large(database: Database) -> AsyncIterator[Session]:
    """A hundred thousand executions over fifty days, one in a hundred failed, of a hundred instances."""
    store = PostgresRecords(database)
    at = [1_790_000_000.0 + day * 86_400 for day in range(51)]
    await store.apply(
        RecordBatch(position=1, executions=tuple(created(execution(f"d{n}", at=day)) for n, day in enumerate(at)))
    )

    async def fill(session: Session) -> None:
        await session.script(
            """
            INSERT INTO {s}.executions (
                number, created_at, id, tenant, instance, integration, flow, parent, status, attempts, changed, error_text, info
            )
            SELECT 1000 + n, 1790000000 + n * 43.2, 'e' || lpad(n::text, 6, '0'), 't' || n % 10, 'i' || n % 100, 'orders',
                'import', '', CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'succeeded' END, 1, 1,
                CASE WHEN n % 100 = 0 THEN 'connection refused' END, (SELECT info FROM {s}.executions LIMIT 1)
            FROM generate_series(0, 99998) AS n;
            INSERT INTO {s}.record_ids (id, created_at) SELECT id, created_at FROM {s}.executions WHERE id LIKE 'e%';
            ANALYZE {s}.executions;
            """
        )

    await database.run(fill)
    await store.make_partitions(days=2)
    async with database._pool.connection() as connection:
        yield database._session(connection)


QUERIES = (
    ExecutionQuery(),
    ExecutionQuery(before="e000300"),
    ExecutionQuery(tenant="t3", before="e000300"),
    ExecutionQuery(instance="i7"),
    ExecutionQuery(instance="i7", statuses=(Status.FAILED,)),
    ExecutionQuery(tenant="t0", statuses=(Status.FAILED, Status.PARKED)),
    ExecutionQuery(statuses=(Status.PARKED,)),
    ExecutionQuery(statuses=(Status.FAILED, Status.RUNNING), before="e050000"),
    ExecutionQuery(integration="none"),
    ExecutionQuery(flow="none"),
    ExecutionQuery(parent="none"),
    ExecutionQuery(parent=""),
    ExecutionQuery(since=1_790_000_000.0, until=1_790_000_100.0),
    ExecutionQuery(text="nowhere"),
    ExecutionQuery(text="refused", limit=20),
)


async def test_no_search_of_a_large_store_reads_a_table(large: Session) -> None:
    plans: list[tuple[ExecutionQuery, list[Any]]] = []

    class Explaining(Session):
        """Has the plan of each search made before it runs."""

        async def rows(self, statement: str, *parameters: Any, prepare: bool | None = None) -> list[tuple[Any, ...]]:
            if "FROM ({pages})" in statement:
                explained = f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}"
                plans.append((query, (await super().rows(explained, *parameters, prepare=prepare))[0][0]))
            return await super().rows(statement, *parameters, prepare=prepare)

        def naming(self, **names: str) -> Session:
            return Explaining(self._connection, self.schema, self._settings, {**names, **self._names})

    session = Explaining(large._connection, large.schema, large._settings, large._names)
    for query in QUERIES:
        await reading.search(session, query)

    assert {asked for asked, _ in plans} == set(QUERIES)
    for asked, plan in plans:
        read = [node for node in nodes(plan[0]["Plan"]) if node["Actual Loops"]]
        tables = [node for node in read if node["Node Type"] == "Seq Scan" and node["Actual Rows"] > 1]
        visited = sum(
            node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) for node in read
        )
        assert tables == [], asked
        assert visited < 5000, asked


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan's node and all below."""
    return [plan, *(node for inner in plan.get("Plans", ()) for node in nodes(inner))]
