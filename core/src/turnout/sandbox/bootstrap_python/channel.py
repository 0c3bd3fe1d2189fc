"""Frames on file descriptor 3, the only way in and out. See `turnout/sandbox/frames.py` for their form.

Everything waits: this side asks, the other answers. Each job brings a fresh nonce; a frame that customer code writes to the
descriptor by itself lacks it. Threads take turns. What a thread says after its job is over is dropped.
"""

from __future__ import annotations

import os
from _thread import RLock
from struct import Struct

__all__ = [
    "CHUNK",
    "CONTENT",
    "ENTER",
    "ERROR",
    "FETCH",
    "INDEX",
    "JOB",
    "LOG",
    "PREPARE",
    "PREPARED",
    "READ",
    "READY",
    "REFUSED",
    "RENEW",
    "RENEWED",
    "RESULT",
    "STORE",
    "STORED",
    "Refused",
    "ask",
    "end",
    "forked",
    "hello",
    "receive",
    "say",
    "send",
    "turn",
]

# From here to the other side
READY, LOG, RESULT, ERROR, READ, STORE, CHUNK, STORED, PREPARED, FETCH, INDEX, RENEWED = range(1, 13)
# From the other side
JOB, PREPARE, CONTENT, REFUSED, ENTER, RENEW = range(32, 38)

_CHANNEL = 3
_HEAD = Struct(">B8sII")
_pack, _unpack, _HEAD_BYTES = _HEAD.pack, _HEAD.unpack, _HEAD.size
_read, _write, _writev, _getpid, _exit = os.read, os.write, os.writev, os.getpid, os._exit
_OWN_PID = _getpid()
_MOST_AT_ONCE = 1024 * 1024

turn = RLock()
"""Held while something is said or asked."""


class _Order:
    """What is being worked on: its nonce, and whether its end has been told."""

    nonce = bytes(8)
    is_open = False


_order = _Order()


class Refused(Exception):
    """The other side does not give what was asked for; the message says why."""


def _fill(length: int) -> bytes:
    pieces = []
    while length:
        piece = _read(_CHANNEL, min(length, _MOST_AT_ONCE))
        if not piece:
            _exit(0)  # the other side is gone: nobody is left to work for
        pieces.append(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _frame() -> tuple[int, bytes, bytes, bytes]:
    kind, nonce, meta, body = _unpack(_fill(_HEAD_BYTES))
    return kind, nonce, _fill(meta), _fill(body)


def forked() -> bool:
    """Whether this is a copy of the process, which has nothing to say here."""
    return _getpid() != _OWN_PID


def hello() -> None:
    """Say that this process is ready."""
    _send(READY, b"", b"")


def receive() -> tuple[int, bytes, bytes]:
    """The next order, waited for: type, meta, body. From now on the channel is open, until `send` or `end`."""
    kind, nonce, meta, body = _frame()
    with turn:
        _order.nonce, _order.is_open = nonce, True
    return kind, meta, body


def end() -> None:
    """Nothing more is said until the next order."""
    with turn:
        _order.is_open = False


def say(kind: int, meta: bytes, body: bytes | memoryview = b"") -> None:
    """Send a frame of the order that is being worked on; nothing happens after its end."""
    with turn:
        if _order.is_open:
            _send(kind, meta, body)


def send(kind: int, meta: bytes, body: bytes = b"") -> None:
    """Send the frame that ends the order."""
    with turn:
        if _order.is_open:
            _send(kind, meta, body)
            end()


def ask(kind: int, meta: bytes) -> tuple[bytes, bytes]:
    """Ask and wait for the answer: meta and body. `Refused` says why there is none."""
    with turn:
        if not _order.is_open:
            raise Refused("the step has ended")
        _send(kind, meta, b"")
        answer, _, meta, body = _frame()
    if answer == REFUSED:
        raise Refused(meta.decode("utf-8", "replace"))
    return meta, body


def _send(kind: int, meta: bytes, body: bytes | memoryview) -> None:
    if _getpid() != _OWN_PID:
        _exit(0)
    head = _pack(kind, _order.nonce, len(meta), len(body)) + meta
    try:
        done = _writev(_CHANNEL, (head, body)) if body else _write(_CHANNEL, head)
        if done < len(head):
            head = head[done:]
            while head:
                head = head[_write(_CHANNEL, head) :]
            done = 0
        else:
            done -= len(head)
        view = memoryview(body)
        while done < len(view):
            done += _write(_CHANNEL, view[done : done + _MOST_AT_ONCE])
    except BrokenPipeError:
        _exit(0)
