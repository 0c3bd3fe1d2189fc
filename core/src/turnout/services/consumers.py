"""How far each consumer of the event stream has read, kept in the catalog: what those who drive consumers write, and what
the journal's sweep asks before it forgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from turnout.interfaces.catalog import CatalogStore
from turnout.services.documents import Document, Documents

__all__ = ["WATCHING", "ConsumerState", "Consumers", "Failed"]

WATCHING: Final = "watch/"
"""How the names of those begin who read for a while, as long as `until` says."""
_KIND: Final = "consumer"
_MOST_WATCHING: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A delivery that failed: the event's place in the journal, since when (of the first failure) and how often, and when
    it is to be tried again."""

    position: int
    execution: str
    since: float
    attempts: int
    due: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerState:
    """All events up to `position` have been given to the consumer; those in `failed` are to be given again. `owner` reads
    until `until`. `dropped` counts executions of which it did not get every event, `told` those it has been told of."""

    position: int = 0
    owner: str = ""
    until: float = 0.0
    failed: tuple[Failed, ...] = ()
    dropped: int = 0
    told: int = 0

    @property
    def hold(self) -> int:
        """The journal still has to keep what is above this position."""
        return min((self.position, *(failed.position - 1 for failed in self.failed)))


class Consumers:
    """The states of consumers, by their names."""

    def __init__(self, catalog: CatalogStore) -> None:
        self._documents = Documents(catalog, _KIND, ConsumerState)

    async def get(self, name: str) -> Document[ConsumerState]:
        """Of one that has never read: at position 0, with revision 0."""
        found = await self._documents.get(name)
        return found or Document(tenant="", name=name, revision=0, value=ConsumerState())

    async def replace(self, document: Document[ConsumerState], state: ConsumerState) -> Document[ConsumerState] | None:
        """Write a state in place of the one that was read; None if somebody has written it since."""
        if await self._documents.replace(document, state):
            return replace(document, revision=document.revision + 1, value=state)
        return None

    async def states(self, names: Sequence[str]) -> Mapping[str, ConsumerState]:
        return {name: (await self.get(name)).value for name in names}

    async def put(self, name: str, state: ConsumerState) -> None:
        """Write a state, whatever is there."""
        await self._documents.put(name, state)

    async def remove(self, name: str) -> None:
        await self._documents.remove(name)

    async def watching(self, now: float) -> int | None:
        """The least position of those who watch now; None if nobody does. Who was to be there until now is forgotten."""
        least: int | None = None
        for document in await self._documents.page(tenant="", prefix=WATCHING, limit=_MOST_WATCHING):
            if document.value.until <= now:
                await self._documents.remove(document.name, expected=document.revision)
            elif least is None or document.value.position < least:
                least = document.value.position
        return least

    async def count_dropped(self, name: str, executions: int) -> None:
        """Say that so many more executions were forgotten before the consumer had read them to their end."""
        await self._documents.update(
            name, lambda state: replace(state or ConsumerState(), dropped=(state.dropped if state else 0) + executions)
        )
