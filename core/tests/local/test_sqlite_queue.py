"""What the SQLite queue adds to the promises: other processes, restarts, indexes, cost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.interfaces.queue import LeaseState
from turnout.local import sqlite_gates as gates
from turnout.local import sqlite_lines as lines
from turnout.local import sqlite_queue as queue_sql
from turnout.local.database import Database
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.model.durability import Durability
from turnout.testing.clock import ManualClock
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS
from turnout.testing.queue_fixtures import message, taken


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "queue.db")
    yield opened
    opened.close()


@pytest.fixture
def other_database(database: Database) -> Iterator[Database]:
    opened = database.another()
    yield opened
    opened.close()


def make(database: Database, clock: ManualClock) -> SQLiteQueue:
    return SQLiteQueue(database, clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)


async def test_durability_is_that_of_the_database(database: Database, tmp_path: Path, clock: ManualClock) -> None:
    full = Database(tmp_path / "full.db", full=True)
    levels = [make(db, clock).durability for db in (database, full)]
    full.close()

    assert levels == [Durability.PROCESS, Durability.HOST]


async def test_a_taker_sees_what_another_process_put_at_its_next_look(
    database: Database, other_database: Database, clock: ManualClock
) -> None:
    here, there = make(database, clock), make(other_database, clock)
    taking = asyncio.create_task(here.take("host:1:a", wait_s=60))
    await clock.settle()

    await there.put(message("e1"))
    await clock.settle()
    before = taking.done()
    await clock.run(0.1)
    lease = await asyncio.wait_for(taking, timeout=20)

    assert lease
    assert (before, lease.message.id) == (False, "e1")


async def test_a_taker_sees_what_another_queue_on_the_same_database_put(database: Database, clock: ManualClock) -> None:
    here, there = make(database, clock), make(database, clock)
    taking = asyncio.create_task(here.take("host:1:a", wait_s=60))
    await clock.settle()

    await there.put(message("e1"))
    await clock.run(0.1)

    lease = await asyncio.wait_for(taking, timeout=20)
    assert lease
    assert lease.message.id == "e1"


async def test_a_taker_takes_over_a_lease_when_it_runs_out(
    database: Database, other_database: Database, clock: ManualClock
) -> None:
    here, there = make(database, clock), make(other_database, clock)
    await there.put(message("e1"))
    await taken(there)
    taking = asyncio.create_task(here.take("host:1:a", wait_s=60))

    await clock.run(LEASE_S + 0.1, step=0.5)
    lease = await asyncio.wait_for(taking, timeout=20)

    assert lease
    assert lease.attempt == 2


async def test_a_cancel_survives_a_restart(database: Database, clock: ManualClock) -> None:
    queue = make(database, clock)
    await queue.put(message("e1"))
    await queue.cancel("e1")
    await queue.close()
    database.close()

    reopened = Database(database.path)
    queue = make(reopened, clock)
    states = await queue.extend([await taken(queue)])
    reopened.close()

    assert list(states) == [LeaseState.CANCELLED]


@pytest.mark.parametrize(
    "text",
    [
        *(lines.FIRST, lines.EXPIRED, lines.DUE, lines.ANYTHING, lines.TURN, lines.WAITING, lines.IN_FLIGHT),
        *(lines.ORDER_HEAD, lines.ORDER_LEASED),
        *(gates.HEAD, gates.FOLLOWING, gates.BEST, gates.NEXT_PARKED, gates.GATE_DUE, gates.NEXT_GATE),
        *(gates.PLACES, gates.LAST_NUMBER, gates.HANDED_OUT_AT, gates.OVER),
        *(queue_sql._NEXT_DELAYED, queue_sql._NEXT_EXPIRY, queue_sql._LEASED),
    ],
)
async def test_every_lookup_uses_an_index(database: Database, clock: ManualClock, text: str) -> None:
    make(database, clock)

    plan = [row[3] for row in database.query(f"EXPLAIN QUERY PLAN {text}", [0] * text.count("?"))]

    assert [
        step
        for step in plan
        if "TEMP B-TREE" in step or ("SCAN queue" in step and "INDEX" not in step and "ring" not in step)
    ] == []


async def test_what_one_tenant_has_waiting_costs_another_nothing(database: Database, clock: ManualClock) -> None:
    queue = make(database, clock)
    with database.transaction() as connection:
        rows = [(f"g{n}", "greedy", 0, "ready", 1.0, 0, "", "") for n in range(10_000)]
        connection.executemany(lines.INSERT, rows)
        connection.execute(lines.JOIN_RING, ("greedy",))
    for n in range(5):
        await queue.put(message(f"m{n}", tenant="modest"))
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    database._connection.set_progress_handler(count, 100)
    tenants = [(await taken(queue)).message.tenant for _ in range(10)]
    database._connection.set_progress_handler(None, 0)

    assert tenants.count("modest") == 5
    assert steps < 200  # 2,000 instructions of SQLite's a take; a scan would need 10,000s


async def test_a_full_queue_hands_the_message_back_when_its_taker_is_cancelled_meanwhile(
    tmp_path: Path, clock: ManualClock
) -> None:
    full = Database(tmp_path / "full.db", full=True)
    queue = make(full, clock)
    await queue.put(message("e1"))
    await queue.fail(await taken(queue), reason="its first attempt")
    blocker = full.another()

    with blocker.transaction():  # the committing thread waits for its turn to write
        taking = asyncio.create_task(queue.take("host:1:a", wait_s=0))
        await clock.settle()
        taking.cancel()
        await clock.settle()
    outcome = (await asyncio.gather(taking, return_exceptions=True))[0]
    lease = await taken(queue)
    blocker.close()
    full.close()

    assert isinstance(outcome, asyncio.CancelledError)
    assert lease.attempt == 2


async def test_waiting_takers_cost_next_to_no_cpu(database: Database) -> None:
    queue = SQLiteQueue(database)
    takers = [asyncio.create_task(queue.take(f"host:{n}:a", wait_s=60)) for n in range(20)]
    await asyncio.sleep(0)

    before = time.process_time()
    await asyncio.wait(takers, timeout=1)
    used = time.process_time() - before
    await queue.close()
    leases = await asyncio.gather(*takers)

    assert used < 0.1
    assert leases == [None] * 20


async def test_a_waiting_taker_hears_of_a_database_that_fails(database: Database, clock: ManualClock) -> None:
    queue = make(database, clock)
    taking = asyncio.create_task(queue.take("host:1:a", wait_s=60))
    await clock.settle()

    database.close()
    await clock.run(0.1)

    with pytest.raises(BackendError, match="it is closed"):
        await asyncio.wait_for(taking, timeout=20)


async def test_more_messages_due_at_once_than_one_take_moves_come_in_their_order(
    database: Database, clock: ManualClock
) -> None:
    queue = make(database, clock)
    with database.transaction() as connection:
        rows = [(f"e{n}", "acme", 0, "delayed", clock.now() + 1 + n / 1e6, 0, "", "") for n in range(2500)]
        connection.executemany(lines.INSERT, rows)
    clock.advance(10)

    ids = [(await taken(queue)).message.id for _ in range(2500)]

    assert ids == [f"e{n}" for n in range(2500)]
