"""The broker's end of a process's egress descriptor: streams out of frames, with back-pressure in both directions."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Final, cast

from turnout_ecs.egress.frames import (
    LARGEST_PAYLOAD,
    WINDOW_BYTES,
    Frame,
    FrameKind,
    FrameParser,
    NotAFrame,
    credit,
    frame,
)

__all__ = ["Link", "Stream", "StreamGone"]

_GRANT_BYTES: Final = WINDOW_BYTES // 4


class StreamGone(Exception):
    """The process closed the stream, or is gone itself."""


class Stream:
    """What the code sees as one connection. One reader and one writer at a time."""

    __slots__ = (
        "_arrived",
        "_credit",
        "_ended",
        "_gone",
        "_link",
        "_owed",
        "_wake_read",
        "_wake_write",
        "number",
        "on_gone",
        "opening",
    )

    def __init__(self, link: Link, number: int, opening: bytes) -> None:
        self.number = number
        self.opening = opening
        self.on_gone: Callable[[], object] = lambda: None
        """Called when the process closes the stream or is gone."""
        self._link = link
        self._arrived = bytearray()
        self._owed = 0
        self._credit = WINDOW_BYTES
        self._ended = False
        self._gone = False
        self._wake_read: asyncio.Future[None] | None = None
        self._wake_write: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        """What came next, empty at the end. `StreamGone`."""
        while not self._arrived:
            if self._gone:
                raise StreamGone
            if self._ended:
                return b""
            self._wake_read = asyncio.get_running_loop().create_future()
            await self._wake_read
        data = bytes(self._arrived)
        self._arrived.clear()
        self._owed += len(data)
        if self._owed >= _GRANT_BYTES and not self._gone:
            self._link.put(credit(self.number, self._owed))
            self._owed = 0
        return data

    async def write(self, data: bytes) -> None:
        """Send it as the process takes it in. `StreamGone`."""
        view = memoryview(data)
        while view:
            while not (self._credit and self._link.writable) and not self._gone:
                self._wake_write = asyncio.get_running_loop().create_future()
                await self._wake_write
            if self._gone:
                raise StreamGone
            count = min(len(view), self._credit, LARGEST_PAYLOAD)
            self._credit -= count
            self._link.put(frame(FrameKind.DATA, self.number, view[:count]))
            view = view[count:]

    def accept(self) -> None:
        """Tell the process that the stream is open."""
        self._link.put(frame(FrameKind.OPENED, self.number))

    def end(self) -> None:
        """Tell the process that no more comes. It closes the stream then."""
        if not self._gone:
            self._link.put(frame(FrameKind.END, self.number))

    def refuse(self, code: str, message: str) -> None:
        """End the stream with an error that the code gets to see. Idempotent."""
        if not self._gone:
            said = json.dumps({"code": code, "message": message[:2000]}).encode()
            self._link.put(frame(FrameKind.REFUSED, self.number, said))
            self._link.forget(self)

    def close(self) -> None:
        """Drop the stream. Idempotent."""
        if not self._gone:
            self._link.put(frame(FrameKind.CLOSE, self.number))
            self._link.forget(self)

    def take(self, incoming: Frame) -> None:
        """A frame of this stream. `NotAFrame` for one that an honest process does not send."""
        match incoming.kind:
            case FrameKind.DATA:
                self._arrived += incoming.payload
                if self._ended or len(self._arrived) + self._owed > WINDOW_BYTES:
                    raise NotAFrame("more data than the window has room for, or after the end")
            case FrameKind.END:
                self._ended = True
            case FrameKind.CREDIT:
                self._credit += incoming.credit
                if self._credit > WINDOW_BYTES:
                    raise NotAFrame("more credit than was used")
            case _:
                raise NotAFrame(f"a frame {incoming.kind.name} within a stream")
        self.wake()

    def lose(self) -> None:
        """The stream is gone: who reads or writes is told."""
        self._gone = True
        self._arrived.clear()
        self.wake()

    def wake(self) -> None:
        for waiter in (self._wake_read, self._wake_write):
            if waiter and not waiter.done():
                waiter.set_result(None)


class Link(asyncio.Protocol):
    """One process's connection to the broker. `opened` is called with each stream that the process opens.

    What is held is bounded: by the window of each of at most `streams` streams, and, as nothing is read while the process
    does not take in what was written, by the transport's buffer. A process that breaks the protocol loses the connection.
    """

    def __init__(self, opened: Callable[[Stream], None], streams: int) -> None:
        self._opened = opened
        self._most_streams = streams
        self._streams: dict[int, Stream] = {}
        self._parser = FrameParser()
        self._transport: asyncio.Transport | None = None
        self._last_number = 0
        self.writable = True
        self.broken = ""
        """What the process said that it must not, if it did."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @classmethod
    async def open(cls, end: socket.socket, opened: Callable[[Stream], None], streams: int) -> Link:
        link = cls(opened, streams)
        end.settimeout(0)
        await asyncio.get_running_loop().create_unix_connection(lambda: link, sock=end)
        return link

    @property
    def streams(self) -> int:
        return len(self._streams)

    def put(self, data: bytes) -> None:
        """Write a frame, without waiting."""
        if self._transport and not self._transport.is_closing():
            self._transport.write(data)

    def forget(self, stream: Stream) -> None:
        """The stream is over: what the process still sends of it is dropped."""
        self._streams.pop(stream.number, None)
        stream.lose()

    def close(self) -> None:
        """Drop the connection and all streams. Idempotent; `closed` is done some turns of the event loop later."""
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance

    def data_received(self, data: bytes) -> None:
        try:
            for incoming in self._parser.feed(data):
                self._take(incoming)
        except NotAFrame as error:
            self.broken = str(error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for stream in tuple(self._streams.values()):
            self.forget(stream)
            stream.on_gone()
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self.writable = False
        if self._transport:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.writable = True
        if self._transport:
            self._transport.resume_reading()
        for stream in tuple(self._streams.values()):
            stream.wake()

    def _take(self, incoming: Frame) -> None:
        if incoming.kind is FrameKind.OPEN:
            self._open(incoming)
            return
        stream = self._streams.get(incoming.stream)
        if stream is None:
            if incoming.stream > self._last_number:
                raise NotAFrame(f"stream {incoming.stream} was never opened")
        elif incoming.kind is FrameKind.CLOSE:
            self.forget(stream)
            stream.on_gone()
        else:
            stream.take(incoming)

    def _open(self, incoming: Frame) -> None:
        if incoming.stream <= self._last_number:
            raise NotAFrame(f"stream {incoming.stream} is not a new one")
        self._last_number = incoming.stream
        stream = Stream(self, incoming.stream, incoming.payload)
        self._streams[stream.number] = stream
        if len(self._streams) > self._most_streams:
            stream.refuse(
                "EMFILE", f"the code has {self._most_streams} connections open, as many as it may: close some"
            )
        else:
            self._opened(stream)
