"""The frames between the broker and a sandboxed process, and the parser of what the process sends.

A frame is the length of its payload (4 bytes, big-endian), its stream (4), its kind (1) and the payload. A stream is what
the code sees as one connection; the process numbers it. `turnout/sandbox/bootstrap/egress.cjs` is the other side. Hostile
input: nothing here holds more than one frame, and what is no frame ends the connection.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

__all__ = ["LARGEST_PAYLOAD", "WINDOW_BYTES", "Frame", "FrameKind", "FrameParser", "NotAFrame", "credit", "frame"]

LARGEST_PAYLOAD: Final = 64 * 1024
WINDOW_BYTES: Final = 256 * 1024
"""How much of a stream's data each side may send before the other has said, by CREDIT, that it took some in."""
_LARGEST_OPEN: Final = 4096
_HEAD: Final = struct.Struct(">IIB")
_CREDIT: Final = struct.Struct(">I")


class FrameKind(IntEnum):
    OPEN = 1
    """From the process: `{"host": …, "port": …, "tls": …}`."""
    OPENED = 2
    DATA = 3
    END = 4
    """No more data in this direction."""
    CLOSE = 5
    """The stream is gone, both ways."""
    CREDIT = 6
    """4 bytes: how much more data may come."""
    REFUSED = 7
    """To the process: `{"code": …, "message": …}`; the stream is gone."""


_SIZES: Final = {
    FrameKind.OPEN: range(2, _LARGEST_OPEN + 1),
    FrameKind.DATA: range(1, LARGEST_PAYLOAD + 1),
    FrameKind.END: range(1),
    FrameKind.CLOSE: range(1),
    FrameKind.CREDIT: range(_CREDIT.size, _CREDIT.size + 1),
}
"""What the process may send, and how long it is."""


class Frame(NamedTuple):
    kind: FrameKind
    stream: int
    payload: bytes

    @property
    def credit(self) -> int:
        """Of a CREDIT frame."""
        (value,) = _CREDIT.unpack(self.payload)
        return int(value)


class NotAFrame(Exception):
    """The process sent what the protocol does not have."""


def frame(kind: FrameKind, stream: int, payload: bytes | memoryview = b"") -> bytes:
    """The bytes of a frame."""
    return _HEAD.pack(len(payload), stream, kind) + payload


def credit(stream: int, count: int) -> bytes:
    """The bytes of a CREDIT frame."""
    return frame(FrameKind.CREDIT, stream, _CREDIT.pack(count))


class FrameParser:
    """Makes frames of pieces as they come; what is left of a piece is less than one frame."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. `NotAFrame` where it cannot be the beginning of one."""
        buffer = self._buffer
        buffer += data
        frames = []
        at = 0
        while len(buffer) - at >= _HEAD.size:
            length, stream, number = _HEAD.unpack_from(buffer, at)
            kind = _kind(number)
            if length not in _SIZES[kind]:
                raise NotAFrame(f"a frame {kind.name} with {length} bytes")
            end = at + _HEAD.size + length
            if len(buffer) < end:
                break
            frames.append(Frame(kind, stream, bytes(buffer[at + _HEAD.size : end])))
            at = end
        del buffer[:at]
        return frames

    @property
    def held_bytes(self) -> int:
        """What waits for the rest of its frame."""
        return len(self._buffer)


def _kind(number: int) -> FrameKind:
    if number not in _SIZES:
        raise NotAFrame(f"a frame of kind {number}")
    return FrameKind(number)
