"""The floor: the same Node without anything of ours around or in it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.processes import pss_bytes
from benchmarks.systems import Failed

__all__ = ["Echo", "echo", "idle_bytes", "start_cpu_ms"]

_ECHO: Final = Path(__file__).parent / "echo.cjs"
_IDLE: Final = "process.stdout.write('.'); setInterval(() => {}, 1e9)"


class Echo:
    """A Node process that has been warm for long; see echo.cjs."""

    def __init__(self, end: socket.socket, pid: int) -> None:
        self._end = end
        self.pid = pid

    def ms(self, text: bytes) -> float:
        """How long it takes to answer."""
        start = time.perf_counter()
        self._end.sendall(len(text).to_bytes(4, "big") + text)
        left = int.from_bytes(self._read(4), "big")
        self._read(left)
        return (time.perf_counter() - start) * 1000

    def _read(self, length: int) -> bytes:
        content = bytearray()
        while len(content) < length:
            piece = self._end.recv(min(1024 * 1024, length - len(content)))
            if not piece:
                raise Failed("the bare Node ended")
            content += piece
        return bytes(content)


@contextmanager
def echo(node: Path) -> Iterator[Echo]:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            pid = os.posix_spawn(
                node,
                [str(node), str(_ECHO)],
                {},
                file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)],
            )
        yield Echo(ours, pid)
    os.waitpid(pid, 0)


def start_cpu_ms(node: Path) -> float:
    """What `node -e 0` takes of a processor, from its start to its end."""
    pid = os.posix_spawn(node, [str(node), "-e", "0"], {})
    _, _, used = os.wait4(pid, 0)
    return (used.ru_utime + used.ru_stime) * 1000


def idle_bytes(node: Path, count: int) -> float:
    """Proportional memory of one of so many that wait for nothing."""
    started: Sequence[subprocess.Popen[bytes]] = [
        subprocess.Popen([node, "-e", _IDLE], env={}, stdout=subprocess.PIPE) for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.read(1)
        return sum(pss_bytes(process.pid) for process in started) / count
    finally:
        for process in started:
            process.kill()
            process.communicate()
