"""A sandbox whose processes come from a pool: all of it but how a process is started."""

from __future__ import annotations

import contextlib
import os
from abc import abstractmethod
from pathlib import Path
from typing import ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field

from turnout.errors import BackendError, Unsupported
from turnout.interfaces.clock import Clock
from turnout.interfaces.sandbox import CodeBundle, Limits, Sandbox, SandboxHandle, SandboxStats
from turnout.sandbox.code_view import CodeSource, OnDisk
from turnout.sandbox.handle import Guard, ProcessHandle
from turnout.sandbox.launch import Launch
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.module_map import SoundMaps
from turnout.sandbox.pool import Pool, PoolSizes
from turnout.sandbox.process import NodeProcess

__all__ = ["PoolOptions", "PooledSandbox"]

_IDLE_BYTES: Final = 25 * 1024 * 1024
_MOST_IDLE: Final = 16


class PoolOptions(BaseModel):
    """`warm_floor` processes wait ready, more where they are asked for, at most `warm_ceiling` (up to 16, as memory allows: one
    that has loaded its code holds some 25 MB); at most `max_processes` run at once, and who comes then waits, tenants taking
    turns. Sizes come from the number of processors where they are not given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    warm_floor: int = Field(default=2, ge=0, le=1000)
    warm_ceiling: int | None = Field(default=None, ge=1, le=1000)
    max_processes: int | None = Field(default=None, ge=1, le=10_000)

    def sizes(self) -> PoolSizes:
        processors = os.cpu_count() or 2
        ceiling = _fitting() if self.warm_ceiling is None else self.warm_ceiling
        return PoolSizes(
            floor=self.warm_floor,
            ceiling=max(self.warm_floor + 1, ceiling),
            running=16 * processors if self.max_processes is None else self.max_processes,
            makers=processors,
        )


class PooledSandbox(Sandbox):
    """One process for one execution, from the pool; with `uses` above 1 a process serves that many executions of one tenant
    and bundle, one after another, with its modules evaluated anew for each.

    A subclass gives `name`, `isolates` and `languages`, and starts processes.
    """

    name: ClassVar[str]

    def __init__(
        self,
        sizes: PoolSizes,
        *,
        clock: Clock | None = None,
        source: CodeSource | None = None,
        guard: Guard | None = None,
        uses: int = 1,
    ) -> None:
        self._sizes = sizes
        self._clock = clock
        self._source = source or OnDisk()
        self._guard = guard or Guard()
        self._uses = uses
        self._maps = SoundMaps()
        self._lifeline: Lifeline | None = None
        self._pools: dict[str, Pool] = {}

    @abstractmethod
    def launch(self, language: str = "javascript") -> Launch:
        """How the next process of one of `languages` is started and ended. `BackendError` where none can be."""

    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> SandboxHandle:
        if bundle.language not in self.languages:
            raise Unsupported(f"the sandbox {self.name!r}", f"code in {bundle.language}")
        pool = self._open(bundle.language)
        mapped = await self._maps.has(bundle)
        process = await pool.acquire(tenant, bundle, limits)
        return ProcessHandle(self.name, process, bundle, pool, mapped=mapped, guard=self._guard)

    async def warm_up(self) -> None:
        """Fill the shelf of JavaScript; another language's fills when it is first asked for. `BackendError` if the first
        process does not start."""
        await self._open("javascript").warm_up()

    def stats(self) -> SandboxStats | None:
        all_stats = [pool.stats() for pool in self._pools.values()]
        if not all_stats:
            return None
        return SandboxStats(
            idle=sum(stats.idle for stats in all_stats),
            busy=sum(stats.busy for stats in all_stats),
            waiting=sum(stats.waiting for stats in all_stats),
        )

    async def close(self) -> None:
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.close()
        if self._lifeline:
            self._lifeline.close()
            self._lifeline = None

    def _open(self, language: str) -> Pool:
        """The pool of that language; its sizes hold for each."""
        pool = self._pools.get(language)
        if pool is None:
            lifeline = self._lifeline = self._lifeline or Lifeline()

            async def make(limits: Limits) -> NodeProcess:
                try:
                    launch = self.launch(language)
                except OSError as error:
                    raise BackendError(f"a process cannot be started: {error}") from error
                return await NodeProcess.start(limits, lifeline, launch, self._source)

            renew = self._renew if self._uses > 1 else None
            pool = self._pools[language] = Pool(self._sizes, make, self._prepare, self._clock, renew=renew)
        return pool

    async def _prepare(self, process: NodeProcess, bundle: CodeBundle) -> None:
        await process.prepare(bundle, mapped=await self._maps.has(bundle))

    async def _renew(self, process: NodeProcess) -> bool:
        return process.renewals + 1 < self._uses and await process.renew()


def _fitting() -> int:
    """How many idle processes take no more than a sixteenth of the memory."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # a container's own limit, where there is one
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return min(_MOST_IDLE, max(4, memory // 16 // _IDLE_BYTES))
