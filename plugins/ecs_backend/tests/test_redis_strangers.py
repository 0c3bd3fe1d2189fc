"""What answers where Redis should be, and is none, or an old one: an error at once, without what was sent in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from turnout.errors import BackendError
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address

OLD = b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `geheim`, \r\n"


@asynccontextmanager
async def answering(reply: bytes) -> AsyncIterator[int]:
    """A server that answers whatever comes first with this; its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply)
        await reader.read()  # until the other side has gone
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (OLD, "does not know HELLO; Turnout needs 6.2 or newer"),
        (b"+OK\r\n", "is no Redis"),
        (b"%1\r\n$6\r\nserver\r\n$5\r\nother\r\n", "is no Redis"),
        (b"%1\r\n$7\r\nversion\r\n$5\r\n5.0.9\r\n", "is version 5.0.9; Turnout needs 6.2 or newer"),
    ],
)
async def test_what_is_no_redis_of_today_is_said_at_once_and_nothing_that_was_sent(reply: bytes, told: str) -> None:
    async with answering(reply) as port:
        connection = Connection(Address.parse(f"redis://:geheim@127.0.0.1:{port}"))

        with pytest.raises(BackendError, match=told) as caught:
            await asyncio.wait_for(connection.call("GET", "key"), timeout=5)

        assert "geheim" not in str(caught.value)
        await connection.aclose()


async def test_a_host_whose_name_cannot_be_one_is_an_error_and_no_hang() -> None:
    connection = Connection(Address.parse("redis://redis..example:6379"))

    with pytest.raises(BackendError, match=r"redis\.\.example:6379 cannot be reached"):
        await asyncio.wait_for(connection.call("PING"), timeout=5)

    await connection.aclose()


async def test_a_command_that_the_server_does_not_know_is_told_without_its_content(connection: Connection) -> None:
    with pytest.raises(BackendError, match="unknown command") as caught:
        await connection.call("SETT", "key", "body of a customer")

    assert "customer" not in str(caught.value)
