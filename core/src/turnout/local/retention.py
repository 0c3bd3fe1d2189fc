"""Retention: history and content that nobody needs any more make room, so that they never fill the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from turnout.config import RetentionSettings
from turnout.engine.history import History
from turnout.interfaces.records import ExecutionQuery
from turnout.interfaces.service import Invocation, Needs, Service, Timer
from turnout.local.stores import Stores
from turnout.model.execution import Status
from turnout.services.metadata import Metadata

__all__ = ["Retention"]

_DAY_S = 86_400.0
_PAGE = 500
_YOUNG_S = 3600.0
"""Content younger than this is never removed: an execution may be about to name it."""


class Retention(Service):
    """Prunes every `every_s`."""

    name = "retention"
    needs = Needs(call_s=300.0)

    def __init__(
        self, stores: Stores, metadata: Metadata, settings: RetentionSettings, *, every_s: float = 600.0
    ) -> None:
        self._stores = stores
        self._metadata = metadata
        self._settings = settings
        self._every_s = every_s

    def timers(self) -> Sequence[Timer]:
        return [Timer(name="retention", every_s=self._every_s, handle=self._prune)]

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def prune(self) -> int:
        """Remove records beyond the settings, then content that nothing names; how many executions went."""
        await self._metadata.catch_up()
        now = self._stores.clock.now()
        days = self._settings.days
        removed = await self._stores.records.prune(
            ended_before=None if days is None else now - days * _DAY_S, keep_bytes=self._settings.size_bytes
        )
        for id in removed:
            await self._stores.queue.drop(id)  # its dead letter, if it was given up
        await self._sweep(now)
        return len(removed)

    async def _sweep(self, now: float) -> None:
        named = await self._stores.records.references() | await self._in_hand()
        named |= await self._stores.bundles.references()
        async for tenant, ref in self._stores.payloads.listing(older_than=now - _YOUNG_S):
            if (tenant, ref.sha256) not in named:
                await self._stores.payloads.delete(tenant, ref.sha256)

    async def _in_hand(self) -> set[tuple[str, str]]:
        """Content that executions name in their journals that may go on."""
        named: set[tuple[str, str]] = set()
        for id in (*await self._stores.journal.unfinished(), *await self._parked()):
            history = History.of(await self._stores.journal.rows(id))
            if history.info is not None:
                named |= {(history.info.tenant, sha256) for sha256 in history.payloads()}
        return named

    async def _parked(self) -> list[str]:
        """Executions that wait for a person; their journals' last row is an end."""
        found: list[str] = []
        query = ExecutionQuery(statuses=(Status.PARKED,), limit=_PAGE)
        while page := await self._stores.records.search(query):
            found += [record.info.id for record in page]
            query = replace(query, before=page[-1].info.id)
        return found

    async def _prune(self, call: Invocation) -> None:
        await self.prune()
