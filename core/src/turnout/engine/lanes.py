"""The sandboxes of one execution: acquired when a code step needs one, never shared with another execution."""

from __future__ import annotations

import asyncio

from turnout.interfaces.sandbox import CodeBundle, Job, Limits, Outcome, Sandbox, SandboxHandle

__all__ = ["Lanes"]


class Lanes:
    """At most `most` handles, each running one job at a time; further jobs wait for a free one."""

    def __init__(self, sandbox: Sandbox, tenant: str, bundle: CodeBundle, limits: Limits, most: int) -> None:
        self._sandbox = sandbox
        self._tenant = tenant
        self._bundle = bundle
        self._limits = limits
        self._free: list[SandboxHandle] = []
        self._all: set[SandboxHandle] = set()
        self._slots = asyncio.Semaphore(most)

    async def run(self, job: Job) -> Outcome:
        """Run the job in a free sandbox. Cancelling ends the sandbox at once."""
        async with self._slots:
            handle = self._free.pop() if self._free else await self._acquire()
            try:
                outcome = await handle.run(job)
            except BaseException:
                await self._discard(handle)
                raise
            if handle.usable:
                self._free.append(handle)
            else:
                await self._discard(handle)
            return outcome

    async def _acquire(self) -> SandboxHandle:
        handle = await self._sandbox.acquire(self._tenant, self._bundle, self._limits)
        self._all.add(handle)
        return handle

    async def _discard(self, handle: SandboxHandle) -> None:
        self._all.discard(handle)
        await handle.release()

    async def release(self) -> None:
        """End every sandbox."""
        handles, self._all, self._free = list(self._all), set(), []
        for handle in handles:
            await handle.release()
