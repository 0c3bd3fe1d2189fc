"""Messages that are handed straight to a worker that waits, and what becomes of them if it is not there any more."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import hiredis
import pytest
import pytest_asyncio
from turnout.interfaces.queue import LeaseState, Message
from turnout.testing.clock import ManualClock
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.queue.shards import Settings, Shards
from turnout_ecs.testing.servers import RedisServer


@pytest_asyncio.fixture
async def connection(redis_server: RedisServer) -> AsyncIterator[Connection]:
    connection = Connection(Address.parse(redis_server.url))
    yield connection
    await connection.aclose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def queue(connection: Connection, prefix: str, clock: ManualClock) -> RedisQueue:
    return RedisQueue(connection, prefix=prefix, clock=clock)


@pytest.fixture
def deaf(redis_server: RedisServer) -> Iterator[socket.socket]:
    """The socket of a worker that is stopped: it is subscribed, and reads nothing."""
    with socket.create_connection(("127.0.0.1", redis_server.port)) as connection:
        connection.sendall(hiredis.pack_command(("SUBSCRIBE", "deaf")))  # type: ignore[arg-type]
        connection.recv(4096)
        yield connection


async def wait_as(connection: Connection, prefix: str, clock: ManualClock, member: str) -> None:
    """Register a taker that waits, as a process would that ends right afterwards."""
    queue = RedisQueue(connection, prefix=prefix, clock=clock)
    settings = Settings(clock=clock, lease_s=30.0, max_attempts=5, policies=queue._settings.policies)
    (shard,) = Shards(connection, prefix, 1, settings).all
    await shard.run("take", "host:1:dead", 1, member, 3.0)


async def test_what_is_handed_to_a_worker_that_is_stopped_comes_back_soon_and_counts_no_attempt(
    connection: Connection, queue: RedisQueue, clock: ManualClock, prefix: str, deaf: socket.socket
) -> None:
    await wait_as(connection, prefix, clock, "deaf 1 host:1:dead")
    await queue.put(Message(id="e1", tenant="acme"))
    held = await queue.take("host:2:b", wait_s=0)

    clock.advance(1.1)
    lease = await queue.take("host:2:b", wait_s=0)

    assert held is None
    assert lease is not None
    assert (lease.message.id, lease.worker, lease.attempt) == ("e1", "host:2:b", 1)


async def test_what_a_stopped_worker_was_handed_is_reaped_without_an_attempt(
    connection: Connection, queue: RedisQueue, clock: ManualClock, prefix: str, deaf: socket.socket
) -> None:
    await wait_as(connection, prefix, clock, "deaf 1 host:1:dead")
    await queue.put(Message(id="e1", tenant="acme"))
    for _ in range(6):  # more than the attempts that there are
        await wait_as(connection, prefix, clock, "deaf 1 host:1:dead")
        clock.advance(1.1)
        (ended,) = await queue.reap()  # and handed to the next who does not hear it

    clock.advance(1.1)
    lease = await queue.take("host:2:b", wait_s=0)

    assert lease is not None
    assert (ended.message.id, lease.attempt) == ("e1", 1)
    assert lease.token > ended.token


async def test_what_would_go_to_a_worker_that_is_gone_goes_to_the_next_at_once(
    connection: Connection, queue: RedisQueue, clock: ManualClock, prefix: str
) -> None:
    await wait_as(connection, prefix, clock, "gone 1 host:1:dead")
    taking = asyncio.create_task(queue.take("host:2:b", wait_s=60))
    await clock.settle(50)

    await queue.put(Message(id="e1", tenant="acme"))
    lease = await asyncio.wait_for(taking, timeout=20)

    assert lease is not None
    assert (lease.worker, lease.attempt) == ("host:2:b", 1)


async def test_what_nobody_hears_of_stays_in_its_line(
    connection: Connection, queue: RedisQueue, clock: ManualClock, prefix: str
) -> None:
    await wait_as(connection, prefix, clock, "gone 1 host:1:dead")

    await queue.put(Message(id="e1", tenant="acme"))
    lease = await queue.take("host:2:b", wait_s=0)

    assert lease is not None
    assert lease.attempt == 1


async def test_a_hand_off_is_a_whole_lease_once_it_was_received(queue: RedisQueue, clock: ManualClock) -> None:
    taking = asyncio.create_task(queue.take("host:1:a", wait_s=60))
    await clock.settle(50)
    await queue.put(Message(id="e1", tenant="acme"))
    lease = await asyncio.wait_for(taking, timeout=20)
    assert lease is not None

    clock.advance(29)

    assert lease.expires_at == clock.now() + 1
    assert list(await queue.extend([lease])) == [LeaseState.HELD]
    assert await queue.take("host:2:b", wait_s=0) is None


async def test_a_delayed_message_of_another_process_reaches_a_worker_that_has_waited_since_before(
    connection: Connection, prefix: str, redis_server: RedisServer
) -> None:
    """Before it looks by itself, each second: at the latest the third time, on a machine that stood still meanwhile."""
    other = RedisQueue(connection, prefix=prefix)
    took_s: list[float] = []
    while len(took_s) < 3 and (not took_s or took_s[-1] >= 0.9):
        waiting = RedisQueue(connection, prefix=prefix)
        taking = asyncio.create_task(waiting.take("host:1:a", wait_s=60))
        while not await connection.call("EXISTS", f"{{{prefix}:queue:0}}:idle"):
            await asyncio.sleep(0)
        started = time.monotonic()

        await other.put(Message(id=f"e{len(took_s)}", tenant="acme"), delay_s=0.2)
        lease = await asyncio.wait_for(taking, timeout=20)

        took_s.append(time.monotonic() - started)
        assert lease is not None
        assert await other.complete(lease)

    assert 0.19 <= took_s[-1] < 0.9, took_s


async def test_a_worker_whose_clock_is_an_hour_off_changes_nothing(
    connection: Connection, prefix: str, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = float(redis_server.command("TIME")[0])
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    queue = RedisQueue(connection, prefix=prefix)

    await queue.put(Message(id="e1", tenant="acme"))
    await queue.put(Message(id="later", tenant="acme"), delay_s=60)
    lease = await queue.take("host:1:a", wait_s=0)

    assert lease is not None
    assert lease.expires_at == pytest.approx(now + 30, abs=10)
    assert await queue.take("host:1:a", wait_s=0) is None
    assert list(await queue.reap()) == []


class _Hasty(ManualClock):
    """Goes on at once when somebody is about to sleep."""

    def sleep(self, seconds: float) -> Coroutine[Any, Any, None]:
        asyncio.get_running_loop().call_soon(self.advance, 6.0)
        return super().sleep(seconds)


async def test_a_taker_does_not_sleep_longer_when_the_clock_goes_on_as_it_lies_down(
    connection: Connection, prefix: str
) -> None:
    queue = RedisQueue(connection, prefix=prefix, clock=_Hasty())

    async with asyncio.timeout(20):
        leases = [
            await queue.take("host:1:a", wait_s=5) for _ in range(2)
        ]  # the first is woken by its own connection too

    assert leases == [None, None]
    await queue.close()
