"""Whether a tick has become an execution already: asked where nobody remembers, after a long outage."""

from __future__ import annotations

from typing import Final, Protocol

from turnout.interfaces.clock import Clock
from turnout.interfaces.records import ExecutionQuery, RecordStore
from turnout.services.scheduler.ticks import same_moment
from turnout.values import Value

__all__ = ["RecordedStarts", "Started"]

_REMEMBERED_S: Final = 12 * 3600.0
"""The id of a tick's execution makes it one for a day: no need to ask before half of it."""
_SOON_S: Final = 300.0
"""How long after it was begun a tick is started at the latest, unless who began it died."""


class Started(Protocol):
    async def find(self, tenant: str, instance: str, flow: str, tick: float, *, since: float) -> str:
        """The execution that the tick, whose start was begun at `since`, has become; empty if it has not."""


class RecordedStarts:
    """Looks into the records, where a start was begun so long ago that nothing else would notice a second one."""

    def __init__(self, records: RecordStore, clock: Clock) -> None:
        self._records = records
        self._clock = clock

    async def find(self, tenant: str, instance: str, flow: str, tick: float, *, since: float) -> str:
        if self._clock.now() - since < _REMEMBERED_S:
            return ""
        query = ExecutionQuery(
            tenant=tenant, instance=instance, flow=flow, since=since - 1.0, until=since + _SOON_S, limit=1000
        )
        for record in await self._records.search(query):
            trigger = record.info.trigger
            if trigger.stored is not None:
                continue
            at = Value.from_encoded(trigger).load()
            if isinstance(at, dict) and same_moment(str(at.get("scheduled_at", "")), tick):
                return record.info.id
        return ""
