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
            await asyncio.wait_for(connection.call("GET", "key"), timeout=20)

        assert "geheim" not in str(caught.value)
        await connection.aclose()


async def test_a_slot_that_moves_and_is_back_at_once_holds_nothing_up() -> None:
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A node of a cluster that says once that another has a slot, which is itself."""
        nonlocal asked
        port = writer.get_extra_info("sockname")[1]
        while line := await reader.readline():
            match line.strip().upper():
                case b"HELLO":
                    writer.write(b"%2\r\n+version\r\n+7.0.0\r\n+mode\r\n+cluster\r\n")
                case b"CLUSTER":
                    writer.write(b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n+127.0.0.1\r\n:%d\r\n" % port)
                case b"GET":
                    asked += 1
                    writer.write(b"-MOVED 15495 127.0.0.1:%d\r\n" % port if asked == 1 else b"+%d\r\n" % asked)
        writer.close()
        ended.set()

    ended = asyncio.Event()
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = Connection(Address(host="127.0.0.1", port=port, timeout_s=0.3))
        calls = connection.call("GET", "a"), connection.call("GET", "a")

        answers = tuple(await asyncio.wait_for(asyncio.gather(*calls), timeout=20))

        await connection.aclose()
        await ended.wait()

    assert answers == (b"3", b"2")


async def test_a_host_whose_name_cannot_be_one_is_an_error_and_no_hang() -> None:
    connection = Connection(Address.parse("redis://redis..example:6379"))

    with pytest.raises(BackendError, match=r"redis\.\.example:6379 cannot be reached"):
        await asyncio.wait_for(connection.call("PING"), timeout=20)

    await connection.aclose()


async def test_a_command_that_the_server_does_not_know_is_told_without_its_content(connection: Connection) -> None:
    with pytest.raises(BackendError, match="unknown command") as caught:
        await connection.call("SETT", "key", "body of a customer")

    assert "customer" not in str(caught.value)
