"""An event loop for a process without sockets: it wakes itself through a pipe. Imported with asyncio, and not before."""

from __future__ import annotations

import asyncio
import os
import selectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["new_loop"]


class _End:
    """One end of a pipe, as the loop sees its sockets."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)

    def fileno(self) -> int:
        return self._fd

    def send(self, data: bytes) -> int:
        return os.write(self._fd, data)

    def recv(self, size: int) -> bytes:
        return os.read(self._fd, size)

    def close(self) -> None:
        os.close(self._fd)


class _Loop(asyncio.SelectorEventLoop):
    def _make_self_pipe(self) -> None:
        this: Any = self
        read, write = os.pipe()
        this._ssock, this._csock = _End(read), _End(write)
        this._internal_fds += 1
        this._add_reader(read, this._read_from_self)


def new_loop() -> asyncio.AbstractEventLoop:
    """For `asyncio.Runner`."""
    return _Loop(selectors.SelectSelector())
