"""How far those are behind that read the event stream, and what was lost on the way: for metrics, asked by any process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from turnout.codec import decode_event
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal
from turnout.interfaces.records import RecordStore
from turnout.services.consumers import Consumers
from turnout.services.logs.counts import LogCounts

__all__ = ["Behind", "Readings"]

_RECORDS = "records"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """A reader of the event stream: how old the first event is that it has not come past (0: there is none), how many are to be
    given to it again, and of how many executions it has not got every event."""

    behind_s: float
    failed: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Of the consumers that `names` says now, and of the metadata service, which is called `records`."""

    journal: Journal
    records: RecordStore
    consumers: Consumers
    counts: LogCounts
    clock: Clock
    names: Callable[[], Awaitable[Sequence[str]]]
    sinks: Sequence[str]

    async def behind(self) -> Mapping[str, Behind]:
        """Each costs the journal a row. `BackendError` if a store does not answer."""
        found = {_RECORDS: Behind(behind_s=await self._since(await self.records.position()))}
        for name, state in (await self.consumers.states(await self.names())).items():
            since_s = await self._since(state.position)
            found[name] = Behind(behind_s=since_s, failed=len(state.failed), dropped=state.dropped)
        return found

    async def refused(self) -> Mapping[str, int]:
        """How many entries each log sink has refused."""
        return await self.counts.totals(self.sinks)

    async def _since(self, position: int) -> float:
        for entry in await self.journal.entries(after=position, limit=1):
            return max(0.0, self.clock.now() - decode_event(entry.row.kind, entry.row.body).at)
        return 0.0
