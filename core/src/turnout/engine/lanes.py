"""The sandboxes of one execution: acquired when a code step needs one, never shared with another execution."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from turnout.interfaces.sandbox import CodeBundle, Job, Limits, Outcome, Sandbox, SandboxHandle
from turnout.model.definition import language_of_file
from turnout.model.execution import SandboxReceipt

__all__ = ["Lanes"]

_MOST_RECEIPTS: Final = 20
_MOST_HOSTS: Final = 100


class Lanes:
    """At most `most` handles in use, each running one job at a time; further jobs wait. A handle is for one language."""

    def __init__(self, sandbox: Sandbox, tenant: str, bundle: CodeBundle, limits: Limits, most: int) -> None:
        self._sandbox = sandbox
        self._tenant = tenant
        self._bundle = bundle
        self._limits = limits
        self._free: dict[str, list[SandboxHandle]] = {}
        self._all: dict[SandboxHandle, None] = {}
        self._receipts: list[SandboxReceipt] = []
        self._told = False
        self._slots = asyncio.Semaphore(most)

    async def run(self, job: Job) -> Outcome:
        """Run the job in a free sandbox. Cancelling ends the sandbox at once."""
        async with self._slots:
            language = language_of_file(job.module)
            free = self._free.setdefault(language, [])
            handle = free.pop() if free else await self._acquire(language)
            try:
                outcome = await handle.run(job)
            except BaseException:
                await self._discard(handle)
                raise
            if handle.usable:
                free.append(handle)
            else:
                await self._discard(handle)
            return outcome

    def receipts(self) -> Sequence[SandboxReceipt]:
        """Of every sandbox that ran something, each told once: no job may follow. Of very many, the last stands for the rest."""
        self._note()
        self._told = True
        receipts, self._receipts = self._receipts, []
        return receipts

    @property
    def returns(self) -> bool:
        """Whether others wait for what is in here."""
        return any(handle.returns for handle in self._all)

    async def release(self) -> None:
        """Let go of every sandbox. Idempotent."""
        self._note()
        handles, self._all, self._free = list(self._all), {}, {}
        for handle in handles:
            await handle.release()

    def _note(self) -> None:
        """While they are still this execution's."""
        if not self._told:
            for handle in self._all:
                self._add(handle.receipt())

    async def _acquire(self, language: str) -> SandboxHandle:
        handle = await self._sandbox.acquire(self._tenant, self._bundle.of(language), self._limits)
        self._all[handle] = None
        return handle

    async def _discard(self, handle: SandboxHandle) -> None:
        self._all.pop(handle, None)
        try:
            await handle.release()
        finally:
            self._add(handle.receipt())

    def _add(self, receipt: SandboxReceipt) -> None:
        if not receipt.jobs:
            return
        if len(self._receipts) < _MOST_RECEIPTS:
            self._receipts.append(receipt)
        else:
            self._receipts[-1] = _together(self._receipts[-1], receipt)


def _together(one: SandboxReceipt, other: SandboxReceipt) -> SandboxReceipt:
    """Of several sandboxes: a layer counts where all had it."""
    return SandboxReceipt(
        sandbox=one.sandbox,
        layers=tuple(layer for layer in one.layers if layer in other.layers),
        memory_bytes=max(one.memory_bytes, other.memory_bytes),
        peak_memory_bytes=max(one.peak_memory_bytes, other.peak_memory_bytes),
        cpu_ms=one.cpu_ms + other.cpu_ms,
        jobs=one.jobs + other.jobs,
        hosts=tuple(dict.fromkeys((*one.hosts, *other.hosts)))[:_MOST_HOSTS],
    )
