"""What the queue costs the server: round trips, keys that stay, memory."""

from __future__ import annotations

import asyncio
import re
from importlib.resources import files

import pytest
from turnout.errors import Overloaded
from turnout.interfaces.queue import Concurrency, Debounce, Message, Rate
from turnout.model.tenancy import Policies, TenantPolicy
from turnout.testing.clock import ManualClock
from turnout_ecs.connection import Connection
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.scripts import load
from turnout_ecs.testing.servers import RedisServer

SCRIPTS = sorted(file.name for file in files("turnout_ecs").joinpath("queue").iterdir() if file.name.endswith(".lua"))


def calls(server: RedisServer) -> int:
    """How many scripts clients have called."""
    stats: bytes = server.command("INFO", "commandstats")
    found = re.search(rb"cmdstat_evalsha:calls=(\d+)", stats)
    return int(found[1]) if found else 0


async def test_a_put_is_one_round_trip_and_many_that_end_together_are_one(
    server: RedisServer, connection: Connection
) -> None:
    queue = RedisQueue(connection)
    await queue.stats()
    before = calls(server)

    await queue.put(Message(id="e0", tenant="acme"))
    put = calls(server) - before
    await asyncio.gather(*(queue.put(Message(id=f"e{n}", tenant=f"t{n % 3}")) for n in range(1, 20)))
    leases = await queue.take_many("host:1:a", limit=20, wait_s=0)
    taken = calls(server) - before
    completed = await asyncio.gather(*(queue.complete(lease) for lease in leases))

    assert (put, taken, calls(server) - before) == (1, 21, 22)
    assert completed == [True] * 20


async def test_counting_for_many_tenants_lets_others_have_the_server_in_between(
    server: RedisServer, connection: Connection
) -> None:
    clock = ManualClock()
    queue = RedisQueue(connection, clock=clock)
    limited = (Concurrency(key="c", most=1),)
    await queue.put(Message(id="l0", tenant="t7", concurrency=limited))
    await queue.take("host:1:a", wait_s=0)
    await queue.put(Message(id="oldest", tenant="t349", priority=-1))
    clock.advance(10)
    await asyncio.gather(*(queue.put(Message(id=f"e{n}", tenant=f"t{n}", priority=n % 3)) for n in range(350)))
    await asyncio.gather(*(queue.put(Message(id=f"l{n}", tenant="t7", concurrency=limited)) for n in (1, 2)))
    before = calls(server)

    stats = await queue.stats()

    assert calls(server) - before >= 4
    assert stats.tenants == {f"t{n}": 1 for n in range(350)} | {"t349": 2, "t7": 3}
    assert (stats.ready, stats.held, stats.leased, stats.oldest_ready_s) == (351, 2, 1, 10.0)


async def test_nothing_stays_once_everything_has_ended(server: RedisServer, connection: Connection) -> None:
    clock = ManualClock()
    policies = Policies(default=TenantPolicy(in_flight=3, weight=2))
    queue = RedisQueue(connection, clock=clock, policies=policies)
    for n in range(30):
        message = Message(
            id=f"e{n}",
            tenant=f"t{n % 4}",
            priority=n % 3,
            concurrency=(Concurrency(key="c", most=2),),
            rates=(Rate(key="r", most=3, window_s=5.0),),
            order="o" if n % 2 else "",
            debounce=Debounce(key=f"d{n % 3}", wait_s=1.0) if n % 5 == 0 else None,
        )
        await queue.put(message, delay_s=n % 2)

    ended = 0
    while ended < 30:
        leases = await queue.take_many("host:1:a", limit=7, wait_s=0)
        await asyncio.gather(*(queue.complete(lease) for lease in leases))
        ended += len(leases)
        clock.advance(1)
    clock.advance(100)
    await queue.take("host:1:a", wait_s=0)

    assert sorted(server.command("KEYS", "*")) == [b"{turnout:queue:0}:counts", b"{turnout:queue:0}:policies"]
    assert server.command("HKEYS", "{turnout:queue:0}:counts") == [b"number"]


async def test_a_message_that_waits_takes_less_than_half_a_kilobyte(
    server: RedisServer, connection: Connection
) -> None:
    queue = RedisQueue(connection)
    before = used_bytes(server)

    await asyncio.gather(*(queue.put(Message(id=f"{n:032d}", tenant=f"t{n % 50}")) for n in range(5000)))

    assert (used_bytes(server) - before) / 5000 < 500


def used_bytes(server: RedisServer) -> int:
    memory: bytes = server.command("INFO", "memory")
    found = re.search(rb"used_memory_dataset:(\d+)", memory)
    assert found is not None
    return int(found[1])


async def test_a_server_without_memory_left_slows_senders_down_and_loses_nothing(
    server: RedisServer, connection: Connection
) -> None:
    queue = RedisQueue(connection)
    await queue.put(Message(id="e1", tenant="acme"))
    server.command("CONFIG", "SET", "maxmemory", "1")

    with pytest.raises(Overloaded, match="out of memory"):
        await queue.put(Message(id="e2", tenant="acme"))
    server.command("CONFIG", "SET", "maxmemory", "0")

    assert list(await queue.missing(["e1", "e2"])) == ["e2"]
    assert await queue.put(Message(id="e2", tenant="acme")) is True
    assert len(await queue.take_many("host:1:a", limit=3, wait_s=0)) == 2


async def test_tokens_rise_past_a_server_that_has_lost_everything(server: RedisServer, connection: Connection) -> None:
    queue = RedisQueue(connection)
    tokens = []
    for _ in range(2):
        await asyncio.gather(*(queue.put(Message(id=f"e{n}", tenant="acme")) for n in range(100)))
        tokens.append([lease.token for lease in await queue.take_many("host:1:a", limit=100, wait_s=0)])
        server.command("FLUSHALL")

    assert max(tokens[0]) < min(tokens[1])


async def test_a_lease_that_is_completed_twice_at_once_is_completed_once(
    server: RedisServer, connection: Connection
) -> None:
    queue = RedisQueue(connection)
    one: tuple[Concurrency, ...] = (Concurrency(key="c", most=1),)
    for limits in ((), one):
        await queue.put(Message(id="e1", tenant="acme", concurrency=limits))
        (lease,) = await queue.take_many("host:1:a", limit=1, wait_s=0)

        completed = await asyncio.gather(queue.complete(lease), queue.complete(lease))

        assert list(completed) == [True, False]


async def test_a_limit_with_many_who_wait_does_not_stop_the_others(server: RedisServer, connection: Connection) -> None:
    clock = ManualClock()
    queue = RedisQueue(connection, clock=clock)
    limited = (Concurrency(key="c", most=1),)
    await asyncio.gather(*(queue.put(Message(id=f"e{n}", tenant="a", concurrency=limited)) for n in range(1000)))
    first = await queue.take("host:1:a", wait_s=0)
    await queue.put(Message(id="free", tenant="a"))

    got = await queue.take("host:1:a", wait_s=0)

    assert first is not None
    assert got is not None
    assert got.message.id == "free"
    assert (await queue.stats()).held == 999


async def test_dead_letters_are_read_some_at_a_time(server: RedisServer, connection: Connection) -> None:
    queue = RedisQueue(connection, max_attempts=1)
    for first in range(0, 450, 50):
        for n in range(first, first + 50):
            await queue.put(Message(id=f"e{n}", tenant="acme"))
        for lease in await queue.take_many("host:1:a", limit=50, wait_s=0):
            await queue.fail(lease, reason="made up")
    before = calls(server)

    letters = await queue.dead(limit=100_000)
    asked = calls(server) - before

    assert [letter.message.id for letter in letters] == [f"e{n}" for n in reversed(range(450))]
    assert asked == 3
    assert [letter.message.id for letter in await queue.dead(limit=201)] == [f"e{n}" for n in range(449, 248, -1)]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_key_that_a_script_uses_is_declared(name: str) -> None:
    text = files("turnout_ecs").joinpath("queue", name).read_text("utf-8")
    declared = set(load("queue/put.lua").keys)

    used = re.findall(r"call\('(?!TIME|PUBLISH)[A-Z]+', ([^,)]+)", text)

    named = {"set_of", "last and last_leases or leases", "leases_for(record"}
    assert set(used) <= declared | named
    assert "KEYS" not in re.sub(r"--.*", "", text)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_says_what_it_does(name: str) -> None:
    header = files("turnout_ecs").joinpath("queue", name).read_text("utf-8").split("\n\n")[0]

    assert header.startswith("-- ")
    if "-- keys:" in header:
        assert "-- args: now lease_s max_attempts policed" in header
        assert "-- reply: " in header
