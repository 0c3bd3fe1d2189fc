"""The record stores keep their contract; SQLite's is read while it is written, shrinks, and stays quick when large."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from turnout.codec import pack_info
from turnout.interfaces.records import ExecutionQuery, RecordBatch, RecordStore
from turnout.local.database import Database
from turnout.local.memory_records import MemoryRecords
from turnout.local.records.reading import search
from turnout.local.sqlite_records import SQLiteRecords
from turnout.model.execution import Status
from turnout.model.payload import Encoded
from turnout.testing.records import RecordStoreContract, created, execution, step


class TestMemoryRecords(RecordStoreContract):
    @pytest.fixture
    def store(self) -> RecordStore:
        return MemoryRecords()


class TestSQLiteRecords(RecordStoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[RecordStore]:
        store = SQLiteRecords(tmp_path / "records.db")
        yield store
        await store.close()


async def test_records_outlive_their_store(tmp_path: Path) -> None:
    first = SQLiteRecords(tmp_path / "records.db")
    await first.apply(RecordBatch(position=3, executions=(created(execution()),), steps=(("e1", step("a")),)))
    before = await first.get("e1")
    await first.close()

    second = SQLiteRecords(tmp_path / "records.db")

    assert (await second.position(), await second.get("e1")) == (3, before)
    await second.close()


WRITING = """
import asyncio, sys
from turnout.interfaces.records import RecordBatch
from turnout.local.sqlite_records import SQLiteRecords
from turnout.testing.records import created, execution, step

async def main(path):
    store = SQLiteRecords(path)
    for position in range(1, 31):
        steps = tuple((f"e{position}", step(f"s{number}")) for number in range(500))
        await store.apply(RecordBatch(position=position, executions=(created(execution(f"e{position}")),), steps=steps))
    await store.close()

asyncio.run(main(sys.argv[1]))
"""


async def test_another_process_reads_whole_batches_while_they_are_written(tmp_path: Path) -> None:
    store = SQLiteRecords(tmp_path / "records.db")
    writer = subprocess.Popen([sys.executable, "-c", WRITING, tmp_path / "records.db"])

    seen = set()
    while writer.poll() is None:
        for record in await store.search(ExecutionQuery(limit=1)):
            whole = await store.get(record.info.id)
            assert whole is not None
            seen.add(len(whole.steps))

    assert writer.returncode == 0
    assert seen <= {500}
    assert await store.position() == 30
    await store.close()


async def test_pruning_gives_the_space_back_to_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "records.db"
    store = SQLiteRecords(path)
    output = Encoded(json=b'"' + b"x" * 100_000 + b'"')
    for position in range(1, 11):
        infos = [execution(f"e{position}-{number}", at=float(position)) for number in range(40)]
        changes = tuple(created(info, status=Status.SUCCEEDED, ended_at=1.0, output=output) for info in infos)
        await store.apply(RecordBatch(position=position, executions=changes))
    before = sum(file.stat().st_size for file in tmp_path.iterdir())

    await store.prune(keep_bytes=10_000_000)

    after = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert before > 40_000_000
    assert after < 20_000_000
    await store.close()


async def test_a_batch_of_a_large_loop_is_quick(tmp_path: Path) -> None:
    store = SQLiteRecords(tmp_path / "records.db")
    output = Encoded(json=b'"' + b"x" * 200 + b'"')
    steps = tuple(("e1", step(f"each[{number}].post", output=output)) for number in range(15_000))

    started = time.process_time()
    await store.apply(RecordBatch(position=1, executions=(created(execution()),), steps=steps))
    applied = time.process_time()
    await store.get("e1")

    assert applied - started < 1.0
    assert time.process_time() - applied < 1.0
    await store.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Two hundred thousand executions, one in a hundred failed, of a hundred instances."""
    path = tmp_path_factory.mktemp("large") / "records.db"
    database = Database(path)
    SQLiteRecords(database)
    info = pack_info(execution())
    with database.transaction() as connection:
        connection.executemany(
            """
            INSERT INTO executions (id, tenant, instance, integration, flow, parent, status, created_at, info, error_text)
            VALUES (?, ?, ?, 'orders', 'import', '', ?, ?, ?, ?)
            """,
            (
                (
                    f"e{number:06}",
                    f"t{number % 10}",
                    f"i{number % 100}",
                    "failed" if number % 100 == 0 else "succeeded",
                    float(number // 5),
                    info,
                    "connection refused" if number % 100 == 0 else None,
                )
                for number in range(200_000)
            ),
        )
    yield database
    database.close()


@pytest.mark.parametrize(
    "query",
    [
        ExecutionQuery(),
        ExecutionQuery(before="e000300"),
        ExecutionQuery(tenant="t3", before="e000300"),
        ExecutionQuery(instance="i7"),
        ExecutionQuery(instance="i7", statuses=(Status.FAILED,)),
        ExecutionQuery(tenant="t0", statuses=(Status.FAILED, Status.PARKED)),
        ExecutionQuery(statuses=(Status.PARKED,)),
        ExecutionQuery(statuses=(Status.FAILED, Status.RUNNING), before="e100000"),
        ExecutionQuery(integration="none"),
        ExecutionQuery(flow="none"),
        ExecutionQuery(parent="none"),
        ExecutionQuery(since=20_000.0, until=20_010.0),
        ExecutionQuery(text="nowhere"),
    ],
    ids=repr,
)
def test_every_search_of_a_large_store_is_indexed(large: Database, query: ExecutionQuery) -> None:
    visited = 0

    def count() -> int:
        nonlocal visited
        visited += 1
        return 0

    with large.snapshot() as connection:
        connection.set_progress_handler(count, 1000)
        search(connection, query)
        connection.set_progress_handler(None, 0)

    assert visited * 1000 < 100_000  # steps of SQLite's machine; reading the whole table takes millions
