"""A proxy in front of a server that counts round trips: how often an answer came to what was asked since the last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Tally", "tallied"]


class Tally:
    """`trips` so far, over all connections. What goes out together, and what is answered together, is one."""

    def __init__(self, port: int) -> None:
        self.trips = 0
        self._to = port
        self._asked = False
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _accept(self, requests: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        answers, server = await asyncio.open_connection("127.0.0.1", self._to)
        for source, sink, is_answer in ((requests, server, False), (answers, client, True)):
            pump = asyncio.ensure_future(self._pump(source, sink, is_answer=is_answer))
            self._pumps.add(pump)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool) -> None:
        try:
            while data := await source.read(2**20):
                if is_answer and self._asked:
                    self.trips += 1
                self._asked = not is_answer
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()


@asynccontextmanager
async def tallied(port: int) -> AsyncIterator[Tally]:
    tally = Tally(port)
    await tally.start()
    try:
        yield tally
    finally:
        await tally.close()
