"""What is removed of an instance or a customer once nothing of it runs any more.

All of it is found by looking, and each step may be done again: whoever goes on after a process that died begins from the start, and
two at once do no harm.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import uuid4

from turnout.codec import decode_event
from turnout.errors import NotFound
from turnout.interfaces.catalog import Address, CatalogChange, CatalogStore
from turnout.interfaces.journal import Journal
from turnout.interfaces.payloads import PayloadStore
from turnout.interfaces.queue import Queue
from turnout.interfaces.records import ExecutionQuery, RecordStore
from turnout.interfaces.state import StateScope, StateStore
from turnout.model.events import Accepted
from turnout.model.execution import Status
from turnout.services.data_keys import KIND as DATA_KEYS
from turnout.services.instance_documents import Deployed, deployed_of
from turnout.services.instance_settings import KIND as SETTINGS
from turnout.services.versions import Versions

__all__ = ["Erasure", "ErasureParts"]

_PAGE: Final = 500
_ROWS: Final = 2000
_MOST_DEAD: Final = 100_000
_UNENDED: Final = tuple(status for status in Status if not status.final)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureParts:
    """`recorded` brings the records up to date. `others` each remove what is a customer's but is kept under no customer, and say how
    much that was."""

    catalog: CatalogStore
    queue: Queue
    journal: Journal
    records: RecordStore
    payloads: PayloadStore
    state: StateStore
    versions: Versions
    recorded: Callable[[], Awaitable[object]]
    others: Sequence[Callable[[str], Awaitable[int]]]


class Erasure:
    """Removes; that nothing runs, and that nothing new is taken in, is the caller's to see to."""

    def __init__(self, parts: ErasureParts) -> None:
        self._parts = parts
        self._instances = deployed_of(parts.catalog)

    async def instance(self, customer: str, name: str, deployed: Deployed) -> None:
        """Its state, its dead letters and its settings, as far as no other instance of the customer has the same."""
        flows, settings, ids = {"", *await self._flows(deployed.integration)}, set(_settings_of(deployed)), set[str]()
        query = ExecutionQuery(tenant=customer, instance=name, limit=_PAGE)
        while page := await self._parts.records.search(query):
            flows |= {record.info.flow for record in page}
            settings |= {record.info.settings for record in page}
            ids |= {record.info.id for record in page}
            query = replace(query, before=page[-1].info.id)
        for flow in flows:
            await self._empty(StateScope(tenant=customer, instance=name, flow=flow))
        for dead in await self._parts.queue.dead(limit=_MOST_DEAD):
            if dead.message.id in ids:
                await self._parts.queue.drop(dead.message.id)
        for digest in settings - await self._settings_in_use(customer, name):
            address = Address(kind=SETTINGS, tenant=customer, name=digest)
            await self._parts.catalog.write(CatalogChange(address=address, body=None))

    async def customer(self, customer: str) -> int:
        """Everything but the data keys and the customer itself; how many things were there to remove."""
        removed = await self._executions(customer)
        removed += await self._unrecorded(customer)
        for dead in await self._parts.queue.dead(limit=_MOST_DEAD):
            if dead.message.tenant == customer:
                removed += await self._parts.queue.drop(dead.message.id)
        removed += await self._parts.payloads.clear(customer)
        for forget in self._parts.others:
            removed += await forget(customer)
        for kind in await self._parts.catalog.kinds():
            if kind not in (DATA_KEYS, self._instances.kind):
                removed += await self._documents(kind, customer)
        return removed

    async def data_keys(self, customer: str) -> None:
        """From now on no copy of anything that was sealed for the customer opens, wherever it may be kept."""
        await self._documents(DATA_KEYS, customer)

    async def _executions(self, customer: str) -> int:
        """Queue, journal and record of each, the record last: as long as that is there, it is found again."""
        await self._parts.recorded()
        removed = 0
        while page := await self._parts.records.search(ExecutionQuery(tenant=customer, limit=_PAGE)):
            ids = [record.info.id for record in page]
            await self._forget(ids)
            await self._parts.records.remove(ids)
            removed += len(ids)
        return removed

    async def _unrecorded(self, customer: str) -> int:
        """Rows of executions whose records retention has removed, which wait for a consumer that is behind."""
        after, found = 0, list[str]()
        while entries := await self._parts.journal.entries(after=after, limit=_ROWS):
            after = entries[-1].position
            for entry in entries:
                if entry.row.kind != "accepted":
                    continue
                event = decode_event(entry.row.kind, entry.row.body)
                if isinstance(event, Accepted) and event.info.tenant == customer:
                    found.append(entry.execution)
        await self._forget(found)
        return len(found)

    async def _forget(self, ids: Sequence[str]) -> None:
        for id in ids:
            await self._parts.queue.drop(id)
        if ids:
            await self._parts.journal.forget(ids)

    async def _documents(self, kind: str, customer: str) -> int:
        catalog, removed = self._parts.catalog, 0
        while found := await catalog.entries(kind, tenant=customer, limit=_PAGE):
            for entry in found:
                await catalog.write(CatalogChange(address=entry.address, body=None))
            removed += len(found)
        return removed

    async def _empty(self, scope: StateScope) -> None:
        state = self._parts.state
        for key in await state.keys(scope):
            await state.delete(scope, key, operation=f"removal/{uuid4().hex}")

    async def _flows(self, integration: str) -> set[str]:
        """Those that any version ever had. One that cannot be loaded here is left to the records."""
        found: set[str] = set()
        for version in await self._parts.versions.of(integration):
            try:
                found |= (await self._parts.versions.bundle(version.bundle)).integration.flows.keys()
            except NotFound:
                continue
        return found

    async def _settings_in_use(self, customer: str, but: str) -> set[str]:
        used: set[str] = set()
        async for document in self._instances.all(tenant=customer):
            if document.name != but:
                used |= _settings_of(document.value)
        query = ExecutionQuery(tenant=customer, statuses=_UNENDED, limit=_PAGE)
        while page := await self._parts.records.search(query):
            used |= {record.info.settings for record in page}
            query = replace(query, before=page[-1].info.id)
        return used


def _settings_of(deployed: Deployed) -> set[str]:
    return {release.settings for release in (deployed.current, deployed.previous) if release is not None}
