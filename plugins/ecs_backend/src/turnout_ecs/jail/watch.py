"""Ends sandboxed processes that hold more memory than they may, whatever it is that they hold: a heap's limit and RLIMIT_DATA
do not count shared mappings, and cgroups are not to be had everywhere."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from turnout.interfaces.clock import Clock
from turnout.sandbox.process import NodeProcess

__all__ = ["MemoryWatch"]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_LARGEST: Final = 256


class MemoryWatch:
    """Looks every `every_s` at what has been given code, from then until it has ended: a thread of the code goes on between
    jobs, and before the first."""

    def __init__(self, clock: Clock, *, slack_bytes: int, every_s: float = 0.05) -> None:
        self._clock = clock
        self._slack_bytes = slack_bytes
        self._every_s = every_s
        self._watched: set[NodeProcess] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, process: NodeProcess) -> None:
        """It is about to be given code. It may hold its limit and the slack that Node needs itself. Idempotent."""
        self._watched.add(process)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._look())

    async def close(self) -> None:
        """Idempotent."""
        self._watched.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _look(self) -> None:
        while self._watched:
            for process in tuple(self._watched):
                if not process.alive:
                    self._watched.discard(process)
                elif _resident(process.worker) > process.limits.memory_bytes + self._slack_bytes:
                    process.end_for_memory()
                    self._watched.discard(process)
            await self._clock.sleep(self._every_s)


def _resident(pid: int) -> int:
    """0 where it has ended. `open` would take three times as long, and all are looked at twenty times a second."""
    try:
        fd = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        return int(os.read(fd, _LARGEST).split(b" ", 2)[1]) * _PAGE
    except (OSError, IndexError):
        return 0
    finally:
        os.close(fd)
