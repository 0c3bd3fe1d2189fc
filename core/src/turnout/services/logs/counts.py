"""How many entries each log sink has refused, kept in the catalog: for metrics, whichever process ships."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from turnout.interfaces.catalog import CatalogStore
from turnout.services.documents import Documents

__all__ = ["LogCounts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counted:
    refused: int = 0


class LogCounts:
    def __init__(self, catalog: CatalogStore) -> None:
        self._documents = Documents(catalog, "log-sink", _Counted)

    async def refused(self, sink: str, entries: int) -> None:
        """So many more."""

        def more(counted: _Counted | None) -> _Counted:
            counted = counted or _Counted()
            return replace(counted, refused=counted.refused + entries)

        await self._documents.update(sink, more)

    async def totals(self, sinks: Sequence[str]) -> Mapping[str, int]:
        found = {name: await self._documents.get(name) for name in sinks}
        return {name: 0 if document is None else document.value.refused for name, document in found.items()}
