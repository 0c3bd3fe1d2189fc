"""Did this process open a connection, or start something that could? In doubt yes, and the answer never goes back to no.

Python's own audit events tell it. An extension module that speaks to the kernel by itself is not heard.
"""

from __future__ import annotations

import sys

__all__ = ["used"]

_TELLING = frozenset(
    (
        "socket.connect",
        "socket.bind",
        "socket.sendto",
        "socket.sendmsg",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
        "socket.getnameinfo",
        "subprocess.Popen",
        "os.system",
        "os.fork",
        "os.forkpty",
        "os.exec",
        "os.spawn",
        "os.posix_spawn",
        "pty.spawn",
        "ctypes.dlopen",
    )
)


class _State:
    opened = False


_state = _State()


def _heard(event: str, _: tuple[object, ...]) -> None:
    if event in _TELLING:
        _state.opened = True


def used() -> bool:
    """True from the first connection on."""
    return _state.opened


sys.addaudithook(_heard)
