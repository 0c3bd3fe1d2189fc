"""The logs service: reads the event stream after the fact, and ships what executions log to each sink, at least once.

Each sink is a consumer of its own: one that is down holds up no other, and nothing that runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from turnout.config import LogSettings
from turnout.interfaces.clock import Clock
from turnout.interfaces.log_sink import LogEntry, LogSink, Shipped
from turnout.interfaces.service import Consumer, Delivery, Invocation, Service
from turnout.services.logs.counts import LogCounts
from turnout.services.logs.entries import EVENTS_OF, at_least, entry_of
from turnout.services.logs.own import OwnLogs

__all__ = ["Logs"]

_MOST: Final = 1000
_log = logging.getLogger("turnout.logs")


class Logs(Service):
    """Ships to `sinks`, each of which `open_sink` opens by its name, once in a process, and at the start, so that what is wrong
    with it is said then."""

    name = "logs"

    def __init__(
        self,
        sinks: Mapping[str, LogSettings],
        open_sink: Callable[[str], Awaitable[LogSink]],
        counts: LogCounts,
        clock: Clock,
    ) -> None:
        self._sinks = sinks
        self._open_sink = open_sink
        self._counts = counts
        self._clock = clock
        self._opened: dict[str, LogSink] = {}
        self._opening = asyncio.Lock()
        self.own = OwnLogs(sinks, self.write, clock)

    def consumers(self) -> Sequence[Consumer]:
        return [
            Consumer(
                name=f"logs/{name}",
                events=frozenset().union(*(EVENTS_OF[source] for source in sink.sources)),
                handle=partial(self._ship, name),
                most=_MOST,
            )
            for name, sink in self._sinks.items()
            if any(EVENTS_OF[source] for source in sink.sources)
        ]

    async def start(self) -> None:
        for name in self._sinks:
            await self._sink(name)
        await self.own.start()

    async def stop(self) -> None:
        await self.own.stop()
        for sink in self._opened.values():
            await sink.close()
        self._opened.clear()

    async def write(self, name: str, entries: Sequence[LogEntry]) -> Shipped:
        """Give a sink entries; what it refuses is counted and told."""
        shipped = await (await self._sink(name)).write(entries) if entries else Shipped()
        if shipped.refused:
            await self._counts.refused(name, shipped.refused)
            _log.warning(
                "log sink %s refused %d entries: %s", name, shipped.refused, shipped.reason or "it does not say why"
            )
        return shipped

    async def _ship(self, name: str, deliveries: Sequence[Delivery], call: Invocation) -> Sequence[str]:
        if call.remaining_s() <= 0:
            return [delivery.id for delivery in deliveries]
        entries = [entry for delivery in deliveries if (entry := self._entry(self._sinks[name], delivery)) is not None]
        if call.dropped:
            entries.append(self._dropped(name, call.dropped))
        return [id for id in (await self.write(name, entries)).failed if not id.startswith("dropped:")]

    def _entry(self, sink: LogSettings, delivery: Delivery) -> LogEntry | None:
        if sink.customers and delivery.info.tenant not in sink.customers:
            return None
        entry = entry_of(delivery)
        if entry is None or entry.source not in sink.sources or not at_least(entry.level, sink.level):
            return None
        return entry

    def _dropped(self, name: str, executions: int) -> LogEntry:
        now = self._clock.now()
        return LogEntry(
            id=f"dropped:{name}:{now}",
            at=now,
            level="error",
            source="platform",
            message=f"the logs of {executions} executions were dropped unshipped: {name} was behind for too long",
            attributes={"dropped_executions": executions, "sink": name},
        )

    async def _sink(self, name: str) -> LogSink:
        async with self._opening:
            if name not in self._opened:
                self._opened[name] = await self._open_sink(name)
            return self._opened[name]
