"""The frames between Turnout and a sandboxed process, and the parser of what the process sends.

A frame is its type (1 byte), a nonce (8), the length of its meta (4), the length of its body (4), the meta (UTF-8) and the
body. JSON text travels as a body, so that nothing here ever writes or reads it again. `bootstrap/channel.cjs` is the other side.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

__all__ = ["NO_NONCE", "Frame", "FrameParser", "FrameType", "ProtocolBroken", "head"]

NO_NONCE: Final = bytes(8)
_HEAD: Final = struct.Struct(">B8sII")
_LARGEST_META: Final = 2 * 1024 * 1024
"""What it says is decoded here, into objects that take some fifty times as much."""


class FrameType(IntEnum):
    READY = 1
    LOG = 2
    RESULT = 3
    ERROR = 4
    READ = 5
    STORE = 6
    CHUNK = 7
    STORED = 8
    PREPARED = 9
    FETCH = 10
    INDEX = 11
    RENEWED = 12
    JOB = 32
    PREPARE = 33
    CONTENT = 34
    REFUSED = 35
    ENTER = 36
    RENEW = 37


class ProtocolBroken(Exception):
    """The process sent what is no frame of the running job: customer code wrote to the descriptor by itself."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. Positional, for speed: thousands a second."""

    type: FrameType
    nonce: bytes
    meta: bytes
    body: bytes


def head(kind: FrameType, nonce: bytes, meta: bytes, body_bytes: int) -> bytes:
    """What goes before the body."""
    return _HEAD.pack(kind, nonce, len(meta), body_bytes) + meta


class FrameParser:
    """Makes frames of pieces as they come. `largest_body` bounds what is gathered for one frame."""

    __slots__ = ("_buffer", "largest_body")

    def __init__(self, largest_body: int) -> None:
        self.largest_body = largest_body
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. `ProtocolBroken` where it cannot be the beginning of one."""
        buffer = self._buffer
        buffer += data
        frames = []
        at = 0
        while len(buffer) - at >= _HEAD.size:
            kind, nonce, meta_bytes, body_bytes = _HEAD.unpack_from(buffer, at)
            if kind not in _FROM_PROCESS or meta_bytes > _LARGEST_META or body_bytes > self.largest_body:
                raise ProtocolBroken(f"a frame of type {kind} with {meta_bytes} + {body_bytes} bytes")
            meta_at = at + _HEAD.size
            body_at = meta_at + meta_bytes
            end = body_at + body_bytes
            if len(buffer) < end:
                break
            with memoryview(buffer) as view:
                frames.append(Frame(FrameType(kind), nonce, bytes(view[meta_at:body_at]), bytes(view[body_at:end])))
            at = end
        if at:
            del buffer[:at]
        return frames


_FROM_PROCESS: Final = frozenset(kind.value for kind in FrameType if kind < FrameType.JOB)
