"""The `process` sandbox: customer JavaScript in a Node process of its own for each execution."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field

from turnout.interfaces.clock import Clock
from turnout.interfaces.opening import Opening
from turnout.interfaces.sandbox import (
    CodeBundle,
    Isolation,
    Limits,
    Sandbox,
    SandboxHandle,
    SandboxStats,
)
from turnout.local.process_launch import ProcessLaunch
from turnout.sandbox.handle import ProcessHandle
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.module_map import SoundMaps
from turnout.sandbox.node import node_binary
from turnout.sandbox.pool import Pool, PoolSizes
from turnout.sandbox.process import NodeProcess

__all__ = ["ProcessSandbox"]

_IDLE_BYTES: Final = 25 * 1024 * 1024
_NOTES: Final = (
    "the process sandbox isolates nothing but the process: each execution has its own, so globals never meet,",
    "but code can read this machine's files and processes and reach its network;",
    "time, memory, output and results are limited. For development and for one customer only.",
)


class _Options(BaseModel):
    """The table `[backends.process]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warm_floor: int = Field(default=2, ge=0, le=1000)
    warm_ceiling: int | None = Field(default=None, ge=1, le=1000)
    max_processes: int | None = Field(default=None, ge=1, le=10_000)


class ProcessSandbox(Sandbox):
    """Warm one-shot Node processes, without isolation from the machine.

    `warm_floor` processes wait ready, more where they are asked for, at most `warm_ceiling` (up to 16, as memory allows: one
    that has loaded its code holds some 25 MB); at most `max_processes` run at once, and who comes
    then waits, tenants taking turns. Sizes come from the number of processors where they are not given.
    """

    # Memory is limited, not isolated: a process may read another's of the same user through /proc.
    isolates: ClassVar[frozenset[Isolation]] = frozenset()
    languages: ClassVar[frozenset[str]] = frozenset({"javascript"})

    def __init__(
        self,
        *,
        warm_floor: int = 2,
        warm_ceiling: int | None = None,
        max_processes: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        processors = os.cpu_count() or 2
        self._sizes = PoolSizes(
            floor=warm_floor,
            ceiling=max(warm_floor + 1, _fitting(16) if warm_ceiling is None else warm_ceiling),
            running=max(1, 16 * processors if max_processes is None else max_processes),
            makers=processors,
        )
        self._clock = clock
        self._maps = SoundMaps()
        self._lifeline: Lifeline | None = None
        self._pool: Pool | None = None

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        """Its sizes are options, by the names that they have here."""
        options = opening.read(_Options)
        return cls(
            warm_floor=options.warm_floor,
            warm_ceiling=options.warm_ceiling,
            max_processes=options.max_processes,
            clock=opening.clock,
        )

    async def start(self) -> Sequence[str]:
        node_binary()
        await self._open().warm_up()
        return _NOTES

    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> SandboxHandle:
        pool = self._open()
        mapped = await self._maps.has(bundle)
        process = await pool.acquire(tenant, bundle, limits)
        return ProcessHandle("process", process, bundle, pool, mapped=mapped)

    def stats(self) -> SandboxStats | None:
        return None if self._pool is None else self._pool.stats()

    async def close(self) -> None:
        if self._pool:
            await self._pool.close()
        if self._lifeline:
            self._lifeline.close()
        self._pool = self._lifeline = None

    def _open(self) -> Pool:
        if self._pool is None:
            lifeline = self._lifeline = Lifeline()

            async def make(limits: Limits) -> NodeProcess:
                return await NodeProcess.start(limits, lifeline, ProcessLaunch())

            async def prepare(process: NodeProcess, bundle: CodeBundle) -> None:
                await process.prepare(bundle, mapped=await self._maps.has(bundle))

            self._pool = Pool(self._sizes, make, prepare, self._clock)
        return self._pool


def _fitting(most: int) -> int:
    """How many idle processes take no more than a sixteenth of the memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # a container's own limit, where there is one
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(most, max(4, memory // 16 // _IDLE_BYTES))
