"""A proxy that loses answers: what a client asks is done, and the connection breaks before it hears of it."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

__all__ = ["CuttingProxy"]


class CuttingProxy:
    """Before the server on `port` of 127.0.0.1; listens on `self.port`."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._cut: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.cuts = 0

    def cut_after(self, request: bytes) -> None:
        """Pass on the next request that holds these bytes, and break its connection in the place of the answer."""
        self._cut = request

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._behind)
        lost = asyncio.Event()
        self._writers |= {writer, server_writer}
        await asyncio.gather(
            self._requests(reader, server_writer, lost),
            self._answers(server_reader, writer, lost),
            return_exceptions=True,
        )
        for ending in (writer, server_writer):
            self._writers.discard(ending)
            ending.close()
            with contextlib.suppress(OSError):
                await ending.wait_closed()

    async def _requests(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await reader.read(65536):
            if self._cut is not None and self._cut in data:
                self._cut = None
                lost.set()
            server.write(data)
            await server.drain()
        server.close()

    async def _answers(self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, lost: asyncio.Event) -> None:
        while data := await server.read(65536):
            if lost.is_set():
                self.cuts += 1
                break
            writer.write(data)
            await writer.drain()
        writer.close()
