"""What is published is heard, and does not stand in the way of anything else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address
from turnout_ecs.testing.servers import RedisServer, running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    with running(tmp_path / "redis") as server:
        yield server


@pytest_asyncio.fixture
async def connection(own_server: RedisServer) -> AsyncIterator[Connection]:
    connection = Connection(replace(Address.parse(own_server.url), timeout_s=2.0))
    yield connection
    await connection.aclose()


async def heard_again(connection: Connection, messages: asyncio.Queue[bytes]) -> bytes:
    """Publish until somebody listens; what was heard."""
    while not await connection.call("PUBLISH", "channel", "again"):
        await asyncio.sleep(0.01)
    return await messages.get()


async def test_long_replies_do_not_end_a_connection_that_listens(
    connection: Connection, own_server: RedisServer
) -> None:
    await connection.call("SET", "key", b"x" * 256 * 1024)
    messages: asyncio.Queue[bytes] = asyncio.Queue()
    await connection.listen(b"key", b"channel", messages.put_nowait)

    # More than a server keeps for one who listens: 32 MB, as `client-output-buffer-limit` is where nobody has changed it.
    replies = await asyncio.gather(*(connection.call("GET", "key") for _ in range(400)))
    await connection.call("PUBLISH", "channel", "hello")

    assert {len(reply) for reply in replies} == {256 * 1024}
    assert await messages.get() == b"hello"


async def test_what_is_published_is_heard_again_after_the_connection_was_lost(
    connection: Connection, own_server: RedisServer
) -> None:
    messages: asyncio.Queue[bytes] = asyncio.Queue()
    await connection.listen(b"key", b"channel", messages.put_nowait)

    assert own_server.command("CLIENT", "KILL", "TYPE", "pubsub") == 1

    async with asyncio.timeout(10):
        assert await heard_again(connection, messages) == b"again"


async def test_what_is_published_is_heard_again_after_the_server_was_away(
    connection: Connection, own_server: RedisServer
) -> None:
    messages: asyncio.Queue[bytes] = asyncio.Queue()
    await connection.listen(b"key", b"channel", messages.put_nowait)

    own_server.restart(crash=True)

    async with asyncio.timeout(10):
        assert await heard_again(connection, messages) == b"again"
