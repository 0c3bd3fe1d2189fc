"""A TCP proxy that misbehaves on demand, for whatever stands behind it: it cuts, refuses, delays, falls silent.

Bytes that were swallowed never come back, and a stream with a gap in it is not TCP's: a connection that met a silence is cut
at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

__all__ = ["Proxy", "proxied"]

_CHUNK_BYTES = 64 * 1024
_RESET = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    tainted: bool = False
    reply_bytes_left: int | None = None

    def cut(self) -> None:
        """End both sides with a reset, as a machine that has gone does."""
        for writer in (self.client, self.server):
            raw = writer.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()


@dataclass(eq=False)
class Proxy:
    """Forwards connections to `host:port`, from a loopback port of its own.

    `delay_s` is what each piece of data waits in both directions; `accepted` how many connections came in.
    """

    host: str
    port: int
    delay_s: float = 0.0
    accepted: int = 0
    _refusing: bool = False
    _silent: bool = False
    _connections: set[_Connection] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect."""
        assert self._server is not None, "the proxy has not been started"
        host, port = self._server.sockets[0].getsockname()[:2]
        return str(host), int(port)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    def cut(self) -> None:
        """Reset every connection. New ones are served."""
        for connection in list(self._connections):
            connection.cut()

    def cut_in_reply(self, after_bytes: int) -> None:
        """Let that many more bytes of the server's answers through on each connection, then reset it."""
        for connection in self._connections:
            connection.reply_bytes_left = after_bytes

    def half_close(self) -> None:
        """Tell each client that its server sends no more, while its own requests go on arriving there."""
        for connection in self._connections:
            connection.tainted = True
            with contextlib.suppress(OSError, RuntimeError):
                connection.client.write_eof()

    @asynccontextmanager
    async def refusing(self) -> AsyncIterator[None]:
        """Unreachable: everything is cut, and whoever connects is cut at once."""
        self._refusing = True
        self.cut()
        try:
            yield
        finally:
            self._refusing = False

    @asynccontextmanager
    async def silent(self) -> AsyncIterator[None]:
        """Unreachable without a word: connections stay, and nothing arrives any more, in neither direction."""
        self._silent = True
        try:
            yield
        finally:
            self._silent = False
            for connection in [one for one in self._connections if one.tainted]:
                connection.cut()

    @asynccontextmanager
    async def slow(self, delay_s: float) -> AsyncIterator[None]:
        self.delay_s = delay_s
        try:
            yield
        finally:
            self.delay_s = 0.0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if self._refusing:
                writer.transport.abort()
                return
            try:
                answers, requests = await asyncio.open_connection(self.host, self.port)
            except OSError:
                writer.transport.abort()
                return
            connection = _Connection(writer, requests, tainted=self._silent)
            self._connections.add(connection)
            try:
                await self._serve(connection, reader, answers)
            finally:
                self._connections.discard(connection)
                connection.cut()
        except asyncio.CancelledError:
            writer.transport.abort()

    async def _serve(
        self, connection: _Connection, requests: asyncio.StreamReader, answers: asyncio.StreamReader
    ) -> None:
        both = {
            asyncio.ensure_future(self._pump(requests, connection.server, connection, is_answer=False)),
            asyncio.ensure_future(self._pump(answers, connection.client, connection, is_answer=True)),
        }
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in both:
                pump.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, connection: _Connection, *, is_answer: bool
    ) -> None:
        """Until one side ends or the connection is cut."""
        with contextlib.suppress(OSError, RuntimeError):
            while data := await source.read(_CHUNK_BYTES):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self._silent:
                    connection.tainted = True
                    continue
                if is_answer and connection.reply_bytes_left is not None:
                    data = data[: connection.reply_bytes_left]
                    connection.reply_bytes_left -= len(data)
                sink.write(data)
                await sink.drain()
                if is_answer and connection.reply_bytes_left == 0:
                    return


@asynccontextmanager
async def proxied(host: str, port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(host, port)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()
