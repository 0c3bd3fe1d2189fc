"""Messages of a newer version's workers, which share the server with ours while they are rolled out."""

from __future__ import annotations

import asyncio
import json
import logging

import msgspec
import pytest
from turnout.interfaces.queue import Concurrency, Message
from turnout.testing.clock import ManualClock
from turnout_ecs.connection import Connection
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.testing.servers import RedisServer

LIMITED = (Concurrency(key="c", most=5),)
MESSAGES = "{turnout:queue:0}:messages"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(connection: Connection, clock: ManualClock) -> RedisQueue:
    return RedisQueue(connection, clock=clock)


async def put_newer(queue: RedisQueue, server: RedisServer, id: str, *, delay_s: float = 0.0) -> None:
    """Put a message that has a limit as only a newer version writes it."""
    await queue.put(Message(id=id, tenant="acme", concurrency=LIMITED), delay_s=delay_s)
    make_newer(server, id)


def make_newer(server: RedisServer, id: str) -> None:
    record = msgspec.msgpack.decode(server.command("HGET", MESSAGES, id))
    limits = json.loads(record[10])
    record[10] = json.dumps({**limits, "concurrency": [[*one, "per minute"] for one in limits["concurrency"]]})
    server.command("HSET", MESSAGES, id, msgspec.msgpack.encode(record))


async def test_the_others_of_a_batch_are_taken_and_the_unreadable_one_waits_for_who_can_read_it(
    server: RedisServer, queue: RedisQueue, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await put_newer(queue, server, "newer")
    await queue.put(Message(id="e1", tenant="acme"))

    with caplog.at_level(logging.WARNING, "turnout.redis"):
        (lease,) = await queue.take_many("host:1:a", limit=5, wait_s=0)
        for _ in range(7):  # more often than there are attempts
            clock.advance(5.1)
            await queue.extend([lease])
            assert list(await queue.take_many("host:1:a", limit=5, wait_s=0)) == []
    stats = await queue.stats()

    assert lease.message.id == "e1"
    assert (stats.delayed, stats.leased, stats.dead) == (1, 1, 0)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "message newer" in caplog.text


async def test_what_is_behind_an_unreadable_message_is_taken_at_once(server: RedisServer, queue: RedisQueue) -> None:
    await put_newer(queue, server, "newer")
    await queue.put(Message(id="e1", tenant="acme"))

    lease = await queue.take("host:1:a", wait_s=0)

    assert lease is not None
    assert lease.message.id == "e1"


async def test_a_worker_that_waits_is_handed_an_unreadable_message_and_keeps_its_connection(
    server: RedisServer, queue: RedisQueue, connection: Connection, clock: ManualClock
) -> None:
    await put_newer(queue, server, "newer", delay_s=60)
    lost: list[bool] = []
    taking = asyncio.create_task(queue.take("host:1:a", wait_s=300))
    await clock.settle(50)
    connection.on_loss(lambda: lost.append(True))

    await queue.wake("newer")
    await clock.settle(50)
    await queue.put(Message(id="e1", tenant="acme"))
    async with asyncio.timeout(20):
        lease = await taking

    assert lease is not None
    assert lease.message.id == "e1"
    assert lost == []
    assert (await queue.stats()).delayed == 1


async def test_the_lease_of_an_unreadable_message_can_be_ended_and_fenced(
    server: RedisServer, queue: RedisQueue, clock: ManualClock
) -> None:
    await queue.put(Message(id="newer", tenant="acme", concurrency=LIMITED))
    lease = await queue.take("host:1:a", wait_s=0)
    make_newer(server, "newer")

    clock.advance(60)
    (ended,) = await queue.reap()

    assert lease is not None
    assert ended.message.id == "newer"
    assert ended.token > lease.token


async def test_one_unreadable_dead_letter_hides_no_other(
    server: RedisServer, connection: Connection, clock: ManualClock
) -> None:
    queue = RedisQueue(connection, clock=clock, max_attempts=1)
    for id in ("newer", "e1"):
        await queue.put(Message(id=id, tenant="acme", concurrency=LIMITED))
        lease = await queue.take("host:1:a", wait_s=0)
        assert lease is not None
        await queue.fail(lease, reason="made up")
        clock.advance(1)
    make_newer(server, "newer")

    letters = await queue.dead()

    assert [letter.message.id for letter in letters] == ["e1", "newer"]
    assert letters[0].message.concurrency == LIMITED
