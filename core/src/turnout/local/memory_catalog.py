"""The catalog in memory, for tests and for one process."""

from __future__ import annotations

from collections.abc import Sequence

from turnout.interfaces.catalog import (
    ANY_REVISION,
    Address,
    CatalogChange,
    CatalogEntry,
    CatalogStore,
    check_changes,
)
from turnout.model.durability import Durability

__all__ = ["MemoryCatalog"]


class MemoryCatalog(CatalogStore):
    """Entries in a dictionary; nothing survives the process."""

    def __init__(self) -> None:
        self._entries: dict[Address, CatalogEntry] = {}
        self._revisions: dict[Address, int] = {}

    @property
    def durability(self) -> Durability:
        return Durability.MEMORY

    async def get(self, address: Address) -> CatalogEntry | None:
        return self._entries.get(address)

    async def kinds(self) -> Sequence[str]:
        return sorted({address.kind for address in self._entries})

    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        found = [
            entry
            for address, entry in self._entries.items()
            if address.kind == kind
            and tenant in (None, address.tenant)
            and address.name.startswith(prefix)
            and address.name > after
        ]
        return sorted(found, key=lambda entry: (entry.address.name, entry.address.tenant))[:limit]

    async def due(self, kind: str, before: float, *, limit: int = 1000) -> Sequence[CatalogEntry]:
        waiting = [entry for entry in self._waiting(kind) if entry.due is not None and entry.due <= before]
        return sorted(waiting, key=lambda entry: entry.due or 0.0)[:limit]

    async def next_due(self, kind: str) -> float | None:
        return min((entry.due for entry in self._waiting(kind) if entry.due is not None), default=None)

    async def write(self, *changes: CatalogChange) -> bool:
        check_changes(changes)
        for change in changes:
            there = self._entries.get(change.address)
            if change.expected not in (ANY_REVISION, 0 if there is None else there.revision):
                return False
        for change in changes:
            revision = self._revisions[change.address] = self._revisions.get(change.address, 0) + 1
            if change.body is None:
                self._entries.pop(change.address, None)
                continue
            self._entries[change.address] = CatalogEntry(
                address=change.address, revision=revision, body=change.body, due=change.due
            )
        return True

    async def close(self) -> None:
        """Nothing is held open."""

    def _waiting(self, kind: str) -> list[CatalogEntry]:
        return [entry for entry in self._entries.values() if entry.address.kind == kind and entry.due is not None]
