"""The connection when slots of a cluster move, and when a master is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import pytest_asyncio
from turnout.errors import BackendError
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address
from turnout_ecs.router import slot_of
from turnout_ecs.testing.clusters import RedisCluster


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisCluster]:
    with RedisCluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest_asyncio.fixture
async def connection(cluster: RedisCluster) -> AsyncIterator[Connection]:
    connection = Connection(replace(Address.parse(cluster.url), timeout_s=2.0))
    yield connection
    await connection.aclose()


def owner_of(cluster: RedisCluster, slot: int) -> int:
    """The number of the server that serves the slot."""
    ports = {
        first: place[1]
        for first, last, place, *_ in cluster.servers[0].command("CLUSTER", "SLOTS")
        if first <= slot <= last
    }
    return [server.port for server in cluster.servers].index(next(iter(ports.values())))


def move(cluster: RedisCluster, slot: int) -> None:
    """Give a slot without keys to another master."""
    target = cluster.servers[(owner_of(cluster, slot) + 1) % 3].command("CLUSTER", "MYID")
    cluster.everywhere("CLUSTER", "SETSLOT", slot, "NODE", target)


async def test_commands_follow_their_slot_and_keep_their_order(cluster: RedisCluster, connection: Connection) -> None:
    key = b"{moved}:list"
    await asyncio.gather(*(connection.call("GET", f"{n}") for n in range(50)))  # it is connected to all
    move(cluster, slot_of(key))

    calls = []
    for n in range(300):
        calls.append(connection.call("RPUSH", key, n))
        if n % 10 == 0:
            await asyncio.sleep(0)
    lengths = await asyncio.gather(*calls)

    assert lengths == list(range(1, 301))
    assert await connection.call("LRANGE", key, 0, -1) == [str(n).encode() for n in range(300)]


async def test_a_key_that_is_being_moved_is_found_where_it_is(cluster: RedisCluster, connection: Connection) -> None:
    key, slot = b"{asked}:key", slot_of(b"{asked}:key")
    source = cluster.servers[owner_of(cluster, slot)]
    target = cluster.servers[(owner_of(cluster, slot) + 1) % 3]
    target.command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.command("CLUSTER", "MYID"))
    source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.command("CLUSTER", "MYID"))

    await connection.call("SET", key, "value")

    assert await connection.call("GET", key) == b"value"
    assert target.command("CLUSTER", "COUNTKEYSINSLOT", slot) == 1


async def test_the_loss_of_a_master_is_an_error_in_time_and_its_return_is_noticed(
    cluster: RedisCluster, connection: Connection
) -> None:
    for server in cluster.servers:
        server.command("CONFIG", "SET", "cluster-require-full-coverage", "no")
    keys = [f"key{n}" for n in range(30)]
    await asyncio.gather(*(connection.call("SET", key, "1") for key in keys))
    lost = cluster.servers[1]

    await asyncio.to_thread(lost.kill)
    results = await asyncio.wait_for(
        asyncio.gather(*(connection.call("SET", key, "2") for key in keys), return_exceptions=True), timeout=10
    )
    await asyncio.to_thread(lost.start)
    again = await asyncio.wait_for(tried(connection, keys), timeout=30)

    failed = [result for result in results if result != b"OK"]
    assert 0 < len(failed) < 30
    assert all(isinstance(result, BackendError) for result in failed)
    assert again == [b"OK"] * 30


async def tried(connection: Connection, keys: list[str]) -> list[object]:
    """Set all keys; again, as long as the cluster has not come together."""
    while True:
        results: list[object] = await asyncio.gather(
            *(connection.call("SET", key, "3") for key in keys), return_exceptions=True
        )
        if all(result == b"OK" for result in results):
            return results
