"""The handle of a sandbox whose processes come from a pool."""

from __future__ import annotations

from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle, Failure, Job, Outcome, SandboxHandle
from turnout.model.execution import SandboxReceipt
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.pool import Pool
from turnout.sandbox.process import NodeProcess

__all__ = ["ProcessHandle"]


class ProcessHandle(SandboxHandle):
    """One process of a pool for one execution. `sandbox` is the sandbox's name."""

    def __init__(self, sandbox: str, process: NodeProcess, bundle: CodeBundle, pool: Pool, *, mapped: bool) -> None:
        self._sandbox = sandbox
        self._process = process
        self._bundle = bundle
        self._mapped = mapped
        self._pool = pool
        self._sound = True
        self._busy = False
        self._jobs = 0

    @property
    def usable(self) -> bool:
        return self._sound and self._process.alive

    async def run(self, job: Job) -> Outcome:
        if self._busy:
            raise BackendError("a sandbox handle runs one job at a time: acquire another")
        if not self.usable:
            self._sound = False
            return Failure(kind="crashed", message="the process has ended: acquire another sandbox")
        self._busy = True
        self._jobs += 1
        conversation = Conversation(self._process, self._bundle, job, mapped=self._mapped)
        try:
            return await conversation.run()
        finally:
            self._sound = conversation.usable
            self._busy = False

    def receipt(self) -> SandboxReceipt:
        usage = self._process.usage
        return SandboxReceipt(
            sandbox=self._sandbox,
            layers=self._process.launch.layers,
            uid=self._process.launch.uid,
            memory_bytes=self._process.limits.memory_bytes,
            peak_memory_bytes=usage.peak_bytes,
            cpu_ms=usage.cpu_ms,
            jobs=self._jobs,
        )

    async def release(self) -> None:
        self._sound = False
        self._pool.release(self._process)
        await self._process.end()
