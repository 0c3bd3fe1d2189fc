"""The handle of a sandbox whose processes come from a pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle, Failure, Job, Outcome, SandboxHandle
from turnout.model.execution import SandboxReceipt
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.pool import Pool
from turnout.sandbox.process import NodeProcess

__all__ = ["Guard", "ProcessHandle"]


class Guard:
    """What a sandbox does around each job; this one does nothing."""

    def enter(self, process: NodeProcess, job: Job) -> None:
        """The job is about to run in the process."""

    def leave(self, process: NodeProcess) -> Sequence[str]:
        """The job has its outcome: the hosts that it contacted, as `host:port`, as far as that is known from outside."""
        return ()


_NO_GUARD: Final = Guard()


class ProcessHandle(SandboxHandle):
    """One process of a pool for one execution. `sandbox` is the sandbox's name."""

    def __init__(
        self,
        sandbox: str,
        process: NodeProcess,
        bundle: CodeBundle,
        pool: Pool,
        *,
        mapped: bool,
        guard: Guard = _NO_GUARD,
    ) -> None:
        self._sandbox = sandbox
        self._guard = guard
        self._hosts: dict[str, None] = {}
        self._process = process
        self._bundle = bundle
        self._mapped = mapped
        self._pool = pool
        self._sound = True
        self._busy = False
        self._jobs = 0
        self._kept: bool | None = None
        self._cpu_ms = process.cpu_ms

    @property
    def usable(self) -> bool:
        return self._sound and self._process.alive

    @property
    def returns(self) -> bool:
        return self._pool.renews

    async def run(self, job: Job) -> Outcome:
        if self._busy:
            raise BackendError("a sandbox handle runs one job at a time: acquire another")
        if not self.usable:
            self._sound = False
            return Failure(kind="crashed", message="the process has ended: acquire another sandbox")
        self._busy = True
        self._jobs += 1
        conversation = Conversation(self._process, self._bundle, job, mapped=self._mapped)
        hosts: Sequence[str] = ()
        self._guard.enter(self._process, job)
        try:
            outcome = await conversation.run()
        finally:
            self._sound = conversation.usable
            self._busy = False
            hosts = self._guard.leave(self._process)
            self._hosts |= dict.fromkeys(hosts)
        return replace(outcome, network=True) if hosts and not outcome.network else outcome

    def receipt(self) -> SandboxReceipt:
        process = self._process
        return SandboxReceipt(
            sandbox=self._sandbox,
            layers=process.launch.layers,
            uid=process.launch.uid,
            memory_bytes=process.limits.memory_bytes,
            peak_memory_bytes=process.peak_bytes,
            cpu_ms=max(0.0, process.cpu_ms - self._cpu_ms),
            jobs=self._jobs,
            hosts=tuple(self._hosts),
        )

    async def release(self) -> None:
        if self._kept is None:
            sound, self._sound = self.usable and not self._busy, False
            self._kept = self._pool.release(self._process, sound=sound)
        if not self._kept:
            await self._process.end()
