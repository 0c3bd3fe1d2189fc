"""The network of code that has no sockets: `http.client`, and what builds on it, over the broker at descriptor 5.

The broker speaks to servers, by TLS too: here an encrypted connection is one that the broker encrypts. Nothing here guards
anything: the broker does, and the kernel. Run when `http.client` is first imported, and not before. The frames are those of
`turnout_ecs/egress/frames.py`.
"""

from __future__ import annotations

import errno
import io
import json
import os
import select
import struct
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["set_up"]

_FD = 5
_HEAD = struct.Struct(">IIB")
_NUMBER = struct.Struct(">I")
_LARGEST = 64 * 1024
_WINDOW = 256 * 1024
_OPEN, _OPENED, _DATA, _END, _CLOSE, _CREDIT, _REFUSED = range(1, 8)


class _Broker:
    """The one stream of frames to the broker. Of the threads that wait, one reads for all."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._writing = threading.Lock()
        self._is_read = False
        self._rest = b""
        self._last = 0
        self._readable = select.poll()
        self._readable.register(_FD, select.POLLIN)
        self.streams: dict[int, _Stream] = {}

    def open(self, stream: _Stream, payload: bytes) -> int:
        """The stream's number; they rise in the order in which streams are opened."""
        with self._writing:
            self._last += 1
            self.streams[self._last] = stream
            self._write(_OPEN, self._last, payload)
            return self._last

    def send(self, kind: int, number: int, payload: bytes = b"") -> None:
        with self._writing:
            self._write(kind, number, payload)

    def _write(self, kind: int, number: int, payload: bytes) -> None:
        frame = memoryview(_HEAD.pack(len(payload), number, kind) + payload)
        while frame:
            frame = frame[os.write(_FD, frame) :]

    def wait(self, ready: Callable[[], bool], deadline: float | None) -> None:
        """Until `ready` says so. `TimeoutError` after the deadline."""
        while True:
            with self.changed:
                if ready():
                    return
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError("timed out")
                if self._is_read:
                    self.changed.wait(left)
                    continue
                self._is_read = True
            try:
                data = os.read(_FD, _LARGEST) if self._readable.poll(None if left is None else left * 1000) else None
            finally:
                with self.changed:
                    self._is_read = False
                    self.changed.notify_all()
            if data is not None:
                self._take(data)

    def _take(self, data: bytes) -> None:
        with self.changed:
            if not data:
                for stream in tuple(self.streams.values()):
                    stream.lose(
                        ConnectionResetError(errno.ECONNRESET, "the sandbox has lost its connection to the network")
                    )
            self._rest += data
            at = 0
            while len(self._rest) - at >= _HEAD.size:
                length, number, kind = _HEAD.unpack_from(self._rest, at)
                end = at + _HEAD.size + length
                if len(self._rest) < end:
                    break
                if (known := self.streams.get(number)) is not None:
                    known.take(kind, self._rest[at + _HEAD.size : end])
                at = end
            self._rest = self._rest[at:]
            self.changed.notify_all()


class _Stream:
    """One connection, with of a socket's methods those that `http.client` calls."""

    def __init__(self, host: str, port: int, timeout: float | None, *, encrypted: bool) -> None:
        self._timeout = timeout
        self._received: list[bytes] = []
        self._owed = 0
        self._credit = _WINDOW
        self._opened = self._ended = False
        self._error: OSError | None = None
        self._users = 1
        sys.audit("socket.connect", self, (host, port))
        wanted = {"host": host, "port": port, "tls": encrypted}
        self._number = _broker.open(self, json.dumps(wanted).encode())
        self._wait(lambda: self._opened)

    def take(self, kind: int, payload: bytes) -> None:
        if kind == _DATA:
            self._received.append(payload)
        elif kind == _CREDIT:
            self._credit += _NUMBER.unpack(payload)[0]
        elif kind == _OPENED:
            self._opened = True
        elif kind == _END:
            self._ended = True
        elif kind == _REFUSED:
            told = json.loads(payload)
            self.lose(OSError(getattr(errno, told["code"], errno.ECONNREFUSED), told["message"]))
        elif not self._ended:
            self.lose(ConnectionResetError(errno.ECONNRESET, "the connection was closed"))

    def lose(self, error: OSError) -> None:
        self._error = error
        _broker.streams.pop(self._number, None)

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        _broker.wait(lambda: self._error is not None or ready(), deadline)
        if self._error is not None and not ready():
            raise self._error

    def sendall(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        while view:
            self._wait(lambda: self._credit > 0)
            with _broker.changed:
                piece = view[: min(self._credit, _LARGEST)]
                self._credit -= len(piece)
            _broker.send(_DATA, self._number, bytes(piece))
            view = view[len(piece) :]

    def receive(self, buffer: Any) -> int:
        self._wait(lambda: bool(self._received) or self._ended)
        if not self._received:
            return 0
        piece = self._received[0]
        size = min(len(buffer), len(piece))
        buffer[:size] = piece[:size]
        self._received[:1] = [piece[size:]] if size < len(piece) else []
        self._owed += size
        if self._owed >= _WINDOW // 4 and self._number in _broker.streams:
            _broker.send(_CREDIT, self._number, _NUMBER.pack(self._owed))
            self._owed = 0
        return size

    def makefile(self, mode: str, *_: object, **__: object) -> io.BufferedReader:
        self._users += 1
        return io.BufferedReader(_Reader(self), _LARGEST)

    def settimeout(self, timeout: float | None) -> None:
        self._timeout = timeout

    def setsockopt(self, *_: object) -> None:
        """There is none to set."""

    def close(self) -> None:
        self._users -= 1
        if self._users == 0 and _broker.streams.pop(self._number, None) is not None:
            _broker.send(_CLOSE, self._number)


class _Reader(io.RawIOBase):
    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._stream.receive(buffer)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


_broker = _Broker()


def set_up(client: Any) -> None:
    """Give `http.client` its connections."""

    def connect(self: Any) -> None:
        timeout = self.timeout if isinstance(self.timeout, (int, float)) else None
        self.sock = _Stream(self.host, self.port, timeout, encrypted=isinstance(self, HTTPSConnection))

    class HTTPSConnection(client.HTTPConnection):  # type: ignore[misc]
        """Encrypted by the broker, which verifies the server's certificate: a context says nothing here."""

        default_port = client.HTTPS_PORT

        def __init__(self, host: str, port: int | None = None, *, context: object = None, **options: Any) -> None:
            known = ("timeout", "source_address", "blocksize")
            super().__init__(host, port, **{name: options[name] for name in known if name in options})

    client.HTTPConnection.connect = connect
    client.HTTPSConnection = HTTPSConnection
    client._create_https_context = lambda *_: None
