"""A server without memory left takes nothing new, and lets go on what it has: only that gives memory back."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import Overloaded
from turnout.interfaces.journal import Row
from turnout.interfaces.opening import Opening
from turnout.interfaces.queue import Message
from turnout.interfaces.state import StateScope
from turnout.model.payload import Encoded
from turnout_ecs.journal.journal import RedisJournal
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.state.state import RedisState
from turnout_ecs.testing.servers import RedisServer

SCOPE = StateScope(tenant="acme", instance="i")


@pytest.fixture
def full(server: RedisServer) -> Any:
    yield lambda: server.command("CONFIG", "SET", "maxmemory", "1")
    server.command("CONFIG", "SET", "maxmemory", "0")


async def test_work_that_is_there_is_done_by_a_worker_that_comes_then(
    tmp_path: Path, server: RedisServer, full: Any
) -> None:
    sender = Opening(directory=tmp_path, name="redis", options={"url": server.url})
    queue, journal = await RedisQueue.connect(sender), await RedisJournal.connect(sender)
    for id in ("e1", "e2"):
        await journal.begin(id, [Row("accepted", b"x")])
        await queue.put(Message(id=id, tenant="acme"))
    full()

    worker = Opening(directory=tmp_path, name="redis", options={"url": server.url})
    queue, journal = await RedisQueue.connect(worker), await RedisJournal.connect(worker)
    state = await RedisState.connect(worker)
    for lease in await queue.take_many("host:1:a", limit=2, wait_s=0):
        await journal.open(lease.message.id, lease.token)
        await journal.append(lease.message.id, lease.token, [Row("step", b"y" * 500)])
        await state.set(SCOPE, lease.message.id, Encoded(), operation=lease.message.id)
        await state.increment(SCOPE, "runs", Decimal(1), operation=f"{lease.message.id}+")
        await journal.barrier(lease.message.id, lease.token)
        await queue.extend([lease])
        assert await queue.complete(lease)
    recorded = [entry.row.kind for entry in await journal.entries(after=0, limit=10)]
    await journal.forget(["e1", "e2"])

    assert sorted(recorded) == ["accepted", "accepted", "step", "step"]
    assert list(await journal.unfinished()) == []
    assert (await queue.stats()).leased == 0
    for opening in (sender, worker):
        await opening.shared.aclose()


async def test_what_fails_waits_dies_and_is_retried_then_is_not_lost(
    tmp_path: Path, server: RedisServer, full: Any
) -> None:
    opening = Opening(directory=tmp_path, name="redis", options={"url": server.url}, max_attempts=2)
    queue = await RedisQueue.connect(opening)
    await queue.put(Message(id="e1", tenant="acme"))
    full()

    for _ in range(2):
        lease = await queue.take("host:1:a", wait_s=0)
        assert lease is not None
        await queue.fail(lease, reason="no luck")
    assert await queue.revive("e1")
    lease = await queue.take("host:1:a", wait_s=0)
    assert lease is not None
    assert await queue.release(lease, delay_s=None)
    assert await queue.wake("e1")
    lease = await queue.take("host:1:a", wait_s=0)
    assert lease is not None
    await queue.reap(workers=["host:1:a"])

    assert (await queue.stats()).ready == 1
    await opening.shared.aclose()


async def test_nothing_new_is_taken_then(tmp_path: Path, server: RedisServer, full: Any) -> None:
    opening = Opening(directory=tmp_path, name="redis", options={"url": server.url})
    queue, journal = await RedisQueue.connect(opening), await RedisJournal.connect(opening)
    full()

    with pytest.raises(Overloaded, match="out of memory"):
        await queue.put(Message(id="e1", tenant="acme"))
    with pytest.raises(Overloaded, match="out of memory"):
        await journal.begin("e1", [Row("accepted", b"x")])
    await opening.shared.aclose()
