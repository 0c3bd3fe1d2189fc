"""The zygote's client: processes that are born warm, whose end is noticed at once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Life", "Nursery", "nursery"]

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, eq=False)
class Life:
    """One process, from its birth to its end; `ended` has its exit status, negative for a signal. `dies_at` is the point that
    it was told to die at, `born_at` when it was born, by the monotonic clock."""

    name: str
    pid: int
    ended: asyncio.Future[int]
    dies_at: tuple[str, int] | None = None
    born_at: float = field(default_factory=time.monotonic)

    @property
    def age_s(self) -> float:
        return time.monotonic() - self.born_at

    @property
    def alive(self) -> bool:
        return not self.ended.done()

    def send(self, number: signal.Signals) -> None:
        """Nothing happens to who has ended."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Nursery:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._births: deque[tuple[dict[str, Any], asyncio.Future[Life]]] = deque()
        self._lives: dict[int, Life] = {}
        self._orphans: deque[asyncio.Future[list[int]]] = deque()
        self._listening = asyncio.ensure_future(self._listen())

    async def spawn(self, spec: dict[str, Any]) -> Life:
        """Fork a process that plays `spec["role"]`; returns once it is born, not ready."""
        born: asyncio.Future[Life] = asyncio.get_running_loop().create_future()
        self._births.append((spec, born))
        self._say({"spawn": spec})
        return await born

    async def orphans(self) -> list[int]:
        """Processes that outlived the one which started them."""
        found: asyncio.Future[list[int]] = asyncio.get_running_loop().create_future()
        self._orphans.append(found)
        self._say({"orphans": True})
        return await found

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._listening

    def _say(self, command: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            match json.loads(line):
                case {"event": "born", "pid": pid}:
                    spec, born = self._births.popleft()
                    ended = asyncio.get_running_loop().create_future()
                    life = self._lives[pid] = Life(spec["life"], pid, ended, spec.get("dies_at"))
                    born.set_result(life)
                case {"event": "died", "pid": pid, "status": status}:
                    self._lives.pop(pid).ended.set_result(status)
                case {"event": "orphans", "pids": pids}:
                    self._orphans.popleft().set_result(pids)


@asynccontextmanager
async def nursery() -> AsyncIterator[Nursery]:
    """A warmed zygote; whatever it gave birth to ends with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.zygote", cwd=ROOT, stdin=-1, stdout=-1, limit=1_000_000
    )
    assert process.stdout is not None
    assert await process.stdout.readline(), "the zygote did not start; it has said why"
    opened = Nursery(process)
    try:
        yield opened
    finally:
        await opened.close()
