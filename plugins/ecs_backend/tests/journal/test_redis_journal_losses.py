"""Nothing lost, nothing twice, no gap: connections that are killed, servers that are away, writers that are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from turnout.errors import BackendError
from turnout.interfaces.journal import Row
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.options import Address
from turnout_ecs.testing.servers import RedisServer

CHILD = Path(__file__).with_name("appending_child.py")
LARGE = b"x" * 20_000


@pytest.fixture
def durable_server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that keeps what it has answered when it is killed."""
    with RedisServer(tmp_path, settings={"appendonly": "yes", "appendfsync": "always"}) as server:
        yield server


@pytest_asyncio.fixture
async def impatient(durable_server: RedisServer) -> AsyncIterator[RedisJournal]:
    connection = Connection(Address.parse(durable_server.url))
    yield RedisJournal(connection, patience_s=0.3)
    await connection.aclose()


def numbered(number: int) -> Row:
    body = f"{number}:".encode()
    return Row("step", body + LARGE if number % 5 == 0 else body)


async def numbers(journal: RedisJournal, execution: str) -> list[int]:
    return [int(row.body.partition(b":")[0]) for row in await journal.rows(execution)]


async def test_connections_that_are_killed_neither_lose_nor_repeat_nor_reorder_rows(
    server: RedisServer, connection: Connection
) -> None:
    journal = RedisJournal(connection)
    executions = [f"e{n}" for n in range(8)]

    async def write(execution: str) -> None:
        await journal.open(execution, 1)
        for number in range(120):
            await journal.append(execution, 1, [numbered(number)])
            if number % 10 == 9:
                await journal.barrier(execution, 1)

    async def kill() -> None:
        for _ in range(15):
            await asyncio.to_thread(server.command, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await asyncio.sleep(0.01)

    await asyncio.gather(kill(), *(write(execution) for execution in executions))

    assert [await numbers(journal, execution) for execution in executions] == [list(range(120))] * 8
    await journal.close()


async def test_executions_begun_and_signalled_while_connections_are_killed_are_so_once(
    server: RedisServer, connection: Connection
) -> None:
    journal = RedisJournal(connection)

    async def kill() -> None:
        for _ in range(10):
            await asyncio.to_thread(server.command, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    async def begin(n: int) -> bool:
        return await journal.begin(f"e{n}", [numbered(n)], unique_s=60) and await journal.signal(f"e{n}", numbered(n))

    _, *begun = await asyncio.gather(kill(), *(begin(n) for n in range(200)))

    assert begun == [True] * 200
    assert [await numbers(journal, f"e{n}") for n in range(200)] == [[n, n] for n in range(200)]


async def test_while_the_server_is_away_the_barrier_waits_and_then_all_is_there(durable_server: RedisServer) -> None:
    connection = Connection(Address.parse(durable_server.url))
    journal = RedisJournal(connection)
    await journal.begin("e1", [numbered(0)])
    await journal.open("e1", 1)
    durable_server.kill()

    for number in range(1, 12):
        await journal.append("e1", 1, [numbered(number)])
        await asyncio.sleep(0)
    barrier = asyncio.ensure_future(journal.barrier("e1", 1))
    await asyncio.wait([barrier], timeout=0.1)
    waited = not barrier.done()
    await asyncio.to_thread(durable_server.start)
    await barrier

    assert waited
    assert await numbers(journal, "e1") == list(range(12))
    await connection.aclose()


async def test_a_server_that_stays_away_fails_the_barrier_and_later_appends_of_that_owner(
    durable_server: RedisServer, impatient: RedisJournal
) -> None:
    await impatient.begin("e1", [numbered(0)])
    await impatient.open("e1", 1)
    durable_server.kill()

    await impatient.append("e1", 1, [numbered(1)])
    with pytest.raises(BackendError, match="not written"):
        await impatient.barrier("e1", 1)
    durable_server.start()
    with pytest.raises(BackendError, match="not written"):
        await impatient.append("e1", 1, [numbered(2)])

    assert [row.body for row in await impatient.open("e1", 2)] == [b"0:" + LARGE]
    await impatient.append("e1", 2, [numbered(1)])
    await impatient.barrier("e1", 2)
    assert await numbers(impatient, "e1") == [0, 1]


async def test_append_waits_while_much_is_unacknowledged_and_is_then_written(durable_server: RedisServer) -> None:
    connection = Connection(Address.parse(durable_server.url))
    journal = RedisJournal(connection)
    await journal.open("e1", 1)
    os.kill(durable_server.pid, signal.SIGSTOP)
    megabytes = [Row("step", bytes([n]) * 2**20) for n in range(40)]

    async def write() -> int:
        for row in megabytes:
            await journal.append("e1", 1, [row])
        return len(megabytes)

    writing = asyncio.ensure_future(write())
    await asyncio.wait([writing], timeout=0.2)
    waited = not writing.done()
    os.kill(durable_server.pid, signal.SIGCONT)
    await writing
    await journal.barrier("e1", 1)

    assert waited
    assert await journal.rows("e1") == megabytes
    await connection.aclose()


async def test_an_append_that_is_cancelled_while_it_waits_writes_nothing(durable_server: RedisServer) -> None:
    connection = Connection(Address.parse(durable_server.url))
    journal = RedisJournal(connection)
    await journal.open("e1", 1)
    os.kill(durable_server.pid, signal.SIGSTOP)
    await journal.append("e1", 1, [Row("step", b"x" * 2**25)])

    waiting = asyncio.ensure_future(journal.append("e1", 1, [Row("step", b"cancelled")]))
    await asyncio.wait([waiting], timeout=0.05)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    os.kill(durable_server.pid, signal.SIGCONT)
    await journal.append("e1", 1, [Row("step", b"after")])
    await journal.barrier("e1", 1)

    assert [len(row.body) for row in await journal.rows("e1")] == [2**25, len(b"after")]
    await connection.aclose()


@pytest.mark.parametrize("run", range(8))
async def test_what_was_acknowledged_to_a_writer_that_is_killed_is_there_without_a_gap(
    server: RedisServer, connection: Connection, run: int
) -> None:
    child = subprocess.Popen([sys.executable, str(CHILD), server.url, "e1"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    acknowledged = b""
    for _ in range(3 + run):
        acknowledged = await asyncio.to_thread(child.stdout.readline)
    child.kill()
    rest = await asyncio.to_thread(child.stdout.read)
    child.stdout.close()
    await asyncio.to_thread(child.wait)

    reader = RedisJournal(connection)
    await reader.open("e1", 2)  # what is still in the killed one's socket is fenced
    written = await numbers(reader, "e1")

    last = int([acknowledged, *rest.splitlines()][-1])
    assert written == list(range(1, len(written) + 1))
    assert len(written) >= last
