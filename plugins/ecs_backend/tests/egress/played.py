"""A process that a test plays: it writes frames to the broker as it likes."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from turnout_ecs.egress.frames import LARGEST_PAYLOAD, FrameKind, frame

__all__ = ["Answer", "Played", "get"]


def get(host: str, path: str = "/echo", *headers: str, method: str = "GET", body: str = "") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers, "", body]
    return "\r\n".join(lines).encode()


@dataclass
class Answer:
    """What came on a stream until it ended, or as much of it as was waited for."""

    opened: bool = False
    data: bytearray = field(default_factory=bytearray)
    code: str = ""
    message: str = ""
    over: bool = False

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1]) if self.data else 0


@dataclass
class Played:
    """`grants`: it says at once that it took in what came."""

    end: socket.socket
    grants: bool = True
    answers: dict[int, Answer] = field(default_factory=dict)
    _buffer: bytes = b""
    _last: int = 0

    async def write(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.end, data)

    async def open(self, host: object, port: object, *, tls: object = False) -> int:
        self._last += 1
        self.answers[self._last] = Answer()
        said = json.dumps({"host": host, "port": port, "tls": tls}).encode()
        await self.write(frame(FrameKind.OPEN, self._last, said))
        return self._last

    async def send(self, stream: int, data: bytes) -> None:
        for at in range(0, len(data), LARGEST_PAYLOAD):
            await self.write(frame(FrameKind.DATA, stream, data[at : at + LARGEST_PAYLOAD]))

    async def frames(self) -> AsyncIterator[tuple[FrameKind, int, bytes]]:
        """What the broker says, to its end."""
        while True:
            while len(self._buffer) >= 9:
                length, stream, kind = struct.unpack_from(">IIB", self._buffer)
                if len(self._buffer) < 9 + length:
                    break
                payload, self._buffer = self._buffer[9 : 9 + length], self._buffer[9 + length :]
                yield FrameKind(kind), stream, payload
            data = await self._receive()
            if not data:
                return
            self._buffer += data

    async def _receive(self) -> bytes:
        try:
            return await asyncio.get_running_loop().sock_recv(self.end, 65536)
        except ConnectionError:
            return b""

    async def until(self, stream: int, *, has: bytes = b"\0never") -> Answer:
        """The answer on that stream, once it is over or has `has`."""
        answer = self.answers[stream]
        if answer.over or has in answer.data:
            return answer
        async with asyncio.timeout(20):
            async for kind, number, payload in self.frames():
                await self._take(kind, number, payload)
                if answer.over or has in answer.data[-len(payload) - len(has) :]:
                    return answer
        return answer

    async def ended(self) -> bool:
        """Whether the broker hung up."""
        async with asyncio.timeout(20):
            async for _ in self.frames():
                pass
        return True

    async def _take(self, kind: FrameKind, number: int, payload: bytes) -> None:
        answer = self.answers[number]
        match kind:
            case FrameKind.OPENED:
                answer.opened = True
            case FrameKind.DATA:
                answer.data += payload
                if self.grants:
                    await self.write(frame(FrameKind.CREDIT, number, struct.pack(">I", len(payload))))
            case FrameKind.REFUSED:
                said = json.loads(payload)
                answer.code, answer.message, answer.over = said["code"], said["message"], True
            case FrameKind.END | FrameKind.CLOSE:
                answer.over = True

    async def ask(self, host: str, port: int, request: bytes, *, tls: bool = False) -> Answer:
        """Open, send, and wait for the first answer's end (its headers and a body as short as `/echo`'s) or a refusal."""
        stream = await self.open(host, port, tls=tls)
        await self.send(stream, request)
        return await self.until(stream, has=b"}")
