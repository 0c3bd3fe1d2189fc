"""The proxy does to a connection what its methods say, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import Proxy, proxied


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that says everything twice."""

    async def double(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                writer.write(data * 2)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(double, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with proxied(host, port) as proxy:
        yield proxy
    server.close()
    await server.wait_closed()


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def to(cls, proxy: Proxy) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection(*proxy.address)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self, size: int) -> bytes:
        """That many bytes, or what there was when the connection ended; a reset reads as an end."""
        try:
            return await asyncio.wait_for(self.reader.readexactly(size), timeout=10)
        except asyncio.IncompleteReadError as ended:
            return ended.partial
        except ConnectionError:
            return b""


async def test_it_forwards_both_ways(proxy: Proxy) -> None:
    async with Client.to(proxy) as client:
        client.send(b"one")

        assert await client.receive(6) == b"oneone"


async def test_a_cut_ends_connections_and_new_ones_are_served(proxy: Proxy) -> None:
    async with Client.to(proxy) as client:
        client.send(b"one")
        await client.receive(6)

        proxy.cut()

        assert await client.receive(1) == b""
        async with Client.to(proxy) as again:
            again.send(b"two")
            assert await again.receive(6) == b"twotwo"


async def test_while_it_refuses_nobody_gets_through(proxy: Proxy) -> None:
    async with proxy.refusing(), Client.to(proxy) as client:
        client.send(b"one")
        assert await client.receive(1) == b""

    async with Client.to(proxy) as again:
        again.send(b"two")
        assert await again.receive(6) == b"twotwo"


async def test_in_silence_connections_stay_and_are_cut_at_its_end(proxy: Proxy) -> None:
    async with Client.to(proxy) as client:
        client.send(b"one")
        await client.receive(6)

        async with proxy.silent():
            client.send(b"lost")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.reader.read(1), timeout=0.1)

        assert await client.receive(1) == b""


async def test_an_answer_can_be_cut_in_the_middle(proxy: Proxy) -> None:
    async with Client.to(proxy) as client:
        client.send(b"one")
        await client.receive(6)

        proxy.cut_in_reply(after_bytes=4)
        client.send(b"two")

        assert await client.receive(6) in (b"twot", b"")  # a reset may overtake what was sent before it


async def test_half_closed_the_server_is_silent_and_still_hears(proxy: Proxy) -> None:
    async with Client.to(proxy) as client:
        client.send(b"one")
        await client.receive(6)

        proxy.half_close()

        assert await client.receive(1) == b""
        assert proxy.open_connections == 1


async def test_it_delays_each_piece(proxy: Proxy) -> None:
    async with Client.to(proxy) as client:
        async with proxy.slow(0.05):
            began = time.monotonic()
            client.send(b"one")
            await client.receive(6)

        assert time.monotonic() - began >= 0.1
