"""Ends sandboxed processes that hold more memory than they may, whatever it is that they hold: a heap's limit and RLIMIT_DATA
do not count shared mappings, and cgroups are not to be had everywhere."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from turnout.interfaces.clock import Clock
from turnout.sandbox.process import NodeProcess

__all__ = ["MemoryWatch"]

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class MemoryWatch:
    """Looks every `every_s` at what runs code, and at nothing while nothing does."""

    def __init__(self, clock: Clock, *, slack_bytes: int, every_s: float = 0.05) -> None:
        self._clock = clock
        self._slack_bytes = slack_bytes
        self._every_s = every_s
        self._watched: set[NodeProcess] = set()
        self._task: asyncio.Task[None] | None = None

    def add(self, process: NodeProcess) -> None:
        """It may hold its limit and the slack that Node needs itself."""
        self._watched.add(process)
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._look())

    def discard(self, process: NodeProcess) -> None:
        """It runs nothing any more. Idempotent."""
        self._watched.discard(process)

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
                if _resident(process.worker) > process.limits.memory_bytes + self._slack_bytes:
                    process.end_for_memory()
                    self._watched.discard(process)
            await self._clock.sleep(self._every_s)


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_bytes().split(b" ", 2)[1]) * _PAGE
    except OSError:
        return 0
