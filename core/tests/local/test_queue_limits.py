"""What the embedded queues add to the promises about limits: cost, other processes, restarts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from turnout.interfaces.queue import Concurrency, Debounce, Message, Queue, Rate
from turnout.local.database import Database
from turnout.local.memory_queue import MemoryQueue
from turnout.local.sqlite_lines import MIGRATIONS
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.model.tenancy import Policies, TenantPolicy
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import message, taken

ONE = (Concurrency(key="erp", most=1),)
Limited = Callable[[str], Message]

LIMITED: dict[str, Limited] = {
    "concurrency": lambda id: message(id, concurrency=ONE),
    "order": lambda id: message(id, order="crm"),
    "rate": lambda id: message(id, rates=(Rate(key="mail", most=1, window_s=1.0),)),
    "two limits": lambda id: message(id, concurrency=(*ONE, Concurrency(key="crm", most=2)), order="crm"),
}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "queue.db")
    yield opened
    opened.close()


async def work(queue: Queue, clock: ManualClock, times: int) -> None:
    """Take and complete so often, and look in vain for another each time."""
    for _ in range(times):
        lease = await taken(queue)
        assert await queue.take("host:2:b", wait_s=0) is None
        await queue.complete(lease)
        clock.advance(1)


async def count_calls(work: Callable[[], Any]) -> int:
    """How many functions are called meanwhile."""
    calls = 0

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        await work()
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("limited", LIMITED.values(), ids=LIMITED)
async def test_what_waits_behind_a_limit_costs_a_take_in_memory_nothing(clock: ManualClock, limited: Limited) -> None:
    costs = []
    for waiting in (100, 10_000):
        queue = MemoryQueue(clock=clock)
        for n in range(waiting):
            await queue.put(limited(f"e{n}"))
        costs.append(await count_calls(partial(work, queue, clock, 20)))

    few, many = costs
    assert many < few * 1.5


@pytest.mark.parametrize("limited", LIMITED.values(), ids=LIMITED)
async def test_what_waits_behind_a_limit_costs_a_take_in_sqlite_nothing(
    tmp_path: Path, clock: ManualClock, limited: Limited
) -> None:
    costs = []
    for waiting in (50, 2_000):
        database = Database(tmp_path / f"{waiting}.db")
        queue = SQLiteQueue(database, clock=clock)
        for n in range(waiting):
            await queue.put(limited(f"e{n}"))
        costs.append(await count_steps(database, partial(work, queue, clock, 20)))
        database.close()

    few, many = costs
    assert many < few * 1.5


async def count_steps(database: Database, work: Callable[[], Any]) -> int:
    """How many hundreds of instructions SQLite runs meanwhile."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    database._connection.set_progress_handler(count, 100)
    try:
        await work()
    finally:
        database._connection.set_progress_handler(None, 0)
    return steps


async def test_what_a_tenant_has_waiting_behind_a_limit_costs_another_nothing(clock: ManualClock) -> None:
    costs = []
    for waiting in (100, 10_000):
        queue = MemoryQueue(clock=clock)
        for n in range(waiting):
            await queue.put(message(f"e{n}", tenant="stuck", concurrency=ONE))
        for n in range(20):
            await queue.put(message(f"m{n}", tenant="modest"))
        stuck = await taken(queue)
        costs.append(await count_calls(partial(work_all, queue)))
        assert stuck.message.tenant == "stuck"

    few, many = costs
    assert many < few * 1.5


async def work_all(queue: Queue) -> None:
    while (lease := await queue.take("host:1:a", wait_s=0)) is not None:
        await queue.complete(lease)


async def test_limits_hold_across_processes_and_restarts(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "queue.db"
    first, second = Database(path), Database(path)
    here, there = SQLiteQueue(first, clock=clock), SQLiteQueue(second, clock=clock)
    for n in range(3):
        await here.put(message(f"e{n}", concurrency=ONE))
    lease = await taken(there)
    held = await here.take("host:1:a", wait_s=0)
    first.close()
    second.close()

    again = Database(path)
    queue = SQLiteQueue(again, clock=clock)
    still = await queue.take("host:1:a", wait_s=0)
    await queue.complete(lease)
    freed = await taken(queue)
    again.close()

    assert (held, still) == (None, None)
    assert freed.message.id == "e1"


async def test_a_taker_sees_a_limit_that_another_process_frees(database: Database, clock: ManualClock) -> None:
    other = database.another()
    here, there = SQLiteQueue(database, clock=clock), SQLiteQueue(other, clock=clock)
    for n in range(2):
        await there.put(message(f"e{n}", concurrency=ONE))
    lease = await taken(there)
    taking = asyncio.create_task(here.take("host:1:a", wait_s=60))
    await clock.settle()

    await there.complete(lease)
    await clock.run(0.1)
    freed = await asyncio.wait_for(taking, timeout=20)
    other.close()

    assert freed is not None
    assert freed.message.id == "e1"


async def test_nothing_is_left_of_limits_once_their_messages_are_gone(database: Database, clock: ManualClock) -> None:
    queue = SQLiteQueue(database, clock=clock)
    for n in range(30):
        limits = (Concurrency(key=f"k{n}", most=1),), (Rate(key=f"k{n}", most=1, window_s=1.0),)
        debounce = Debounce(key=f"k{n}", wait_s=0)
        await queue.put(message(f"e{n}", concurrency=limits[0], rates=limits[1], order=f"k{n}", debounce=debounce))
        await queue.complete(await taken(queue))
        clock.advance(2)

    tables = ("messages", "lanes", "places", "newest", "gates")
    rows = {table: database.query(f"SELECT COUNT(*) FROM queue_{table}")[0][0] for table in tables}
    hand_outs = database.query("SELECT COUNT(*) FROM queue_hand_outs")[0][0]

    assert rows == dict.fromkeys(tables, 0)
    assert hand_outs <= 2


async def test_nothing_is_left_of_tenants_in_memory_once_their_messages_are_gone(clock: ManualClock) -> None:
    policies = Policies(default=TenantPolicy(in_flight=1, capacity=5))
    queue = MemoryQueue(clock=clock, policies=policies)
    for n in range(30):
        debounce = Debounce(key="sync", wait_s=0)
        await queue.put(message(f"e{n}", tenant=f"t{n}", concurrency=ONE, order="crm", debounce=debounce))
        await queue.complete(await taken(queue))

    assert (queue._lines, dict(queue._ring), queue._entries) == ({}, {}, {})


async def test_messages_that_were_queued_by_an_older_version_go_on(tmp_path: Path, clock: ManualClock) -> None:
    old = Database(tmp_path / "queue.db")
    old.migrate("queue", MIGRATIONS[:1])
    columns = "id, tenant, priority, state, at, rank, token, worker"
    for row in (
        ("waiting", "acme", 0, "ready", clock.now(), 0, 0, ""),
        ("leased", "acme", 0, "leased", clock.now() + 10, 0, 7, "host:1:old"),
    ):
        old.execute(f"INSERT INTO queue_messages ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    old.execute("INSERT INTO queue_ring VALUES ('acme', 1)")
    old.close()

    database = Database(tmp_path / "queue.db")
    queue = SQLiteQueue(database, clock=clock)
    lease = await taken(queue)
    (ended,) = await queue.reap(workers=["host:1:old"])
    database.close()

    assert (lease.message, ended.message) == (message("waiting"), message("leased"))
