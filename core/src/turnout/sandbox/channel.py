"""The asyncio end of a process's socketpair: frames out with backpressure, frames in, in order."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Final, cast

from turnout.sandbox.frames import Frame, FrameParser, FrameType, ProtocolBroken, head

__all__ = ["Channel", "ChannelClosed"]

_PIECE_BYTES: Final = 256 * 1024
_HELD_FRAMES: Final = 64
_HELD_BYTES: Final = 8 * 1024 * 1024


class ChannelClosed(Exception):
    """The other side is gone, or said what it must not (`broken` says what)."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        super().__init__(broken or "the process closed its channel")


class Channel(asyncio.Protocol):
    """One reader at a time. What is not yet taken is bounded: beyond, the process waits in its write.

    `closed` is done once the socket is gone, which is some turns of the event loop after `close`.
    """

    def __init__(self, largest_body: int) -> None:
        self._parser = FrameParser(largest_body)
        self._frames: deque[Frame] = deque()
        self._held_bytes = 0
        self._paused = False
        self._closed: ChannelClosed | None = None
        self._reader: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._transport: asyncio.Transport | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, end: socket.socket, largest_body: int) -> Channel:
        channel = cls(largest_body)
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=end)
        return channel

    async def send(self, kind: FrameType, nonce: bytes, meta: bytes, body: bytes = b"") -> None:
        """Send a frame; a large body goes in pieces as the other side takes them. `ChannelClosed` if it is gone."""
        start = head(kind, nonce, meta, len(body))
        if len(body) <= _PIECE_BYTES:
            await self._write(start + body)
            return
        await self._write(start)
        view = memoryview(body)
        for at in range(0, len(body), _PIECE_BYTES):
            await self._write(view[at : at + _PIECE_BYTES])

    async def next(self) -> Frame:
        """The next frame, waited for. `ChannelClosed` after the last one."""
        while not self._frames:
            if self._closed:
                raise self._closed
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        frame = self._frames.popleft()
        self._held_bytes -= len(frame.meta) + len(frame.body)
        if self._paused and not self._is_full() and self._transport:
            self._paused = False
            self._transport.resume_reading()
        return frame

    def close(self) -> None:
        """Drop the connection; who waits gets `ChannelClosed`. Idempotent."""
        self._end(ChannelClosed())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._parser.feed(data)
        except ProtocolBroken as error:
            self._end(ChannelClosed(str(error)))
            return
        self._frames.extend(frames)
        self._held_bytes += sum(len(frame.meta) + len(frame.body) for frame in frames)
        if self._is_full() and not self._paused and self._transport:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(ChannelClosed())
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        if self._writable and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    async def _write(self, data: bytes | memoryview) -> None:
        if self._closed or self._transport is None:
            raise self._closed or ChannelClosed()
        self._transport.write(data)
        if self._writable:
            await self._writable

    def _is_full(self) -> bool:
        return len(self._frames) > _HELD_FRAMES or self._held_bytes > _HELD_BYTES

    def _end(self, closed: ChannelClosed) -> None:
        if self._closed is None:
            self._closed = closed
            if self._transport:
                self._transport.abort()
        self.resume_writing()
        self._wake()

    def _wake(self) -> None:
        if self._reader and not self._reader.done():
            self._reader.set_result(None)
