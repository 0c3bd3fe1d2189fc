"""How many executions wait for how many workers, published for what scales them.

Workers say in the catalog that they are there; a service that is none of them counts and publishes. So there is a number where no
worker runs, which a worker could not publish.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from turnout.errors import BackendError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.metric_sink import EVERY_S, MetricSink, QueueGauges
from turnout.interfaces.queue import Queue
from turnout.interfaces.service import Invocation, Service, Timer
from turnout.services.documents import Documents

__all__ = ["Backlog", "Presence", "Presences"]

_SEEN_S: Final = 30.0
"""A worker that has said nothing for so long is none."""
_log = logging.getLogger("turnout.backlog")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """That a worker takes executions, as of `at`."""

    at: float


class Presences:
    """Which workers are there, in the catalog."""

    def __init__(self, catalog: CatalogStore, clock: Clock) -> None:
        self._documents = Documents(catalog, "backlog-worker", Seen)
        self._clock = clock

    async def enter(self, worker: str) -> None:
        now = self._clock.now()
        await self._documents.put(worker, Seen(at=now), due=now + _SEEN_S)

    async def leave(self, worker: str) -> None:
        await self._documents.remove(worker)

    async def count(self) -> int:
        """Those who entered within 30 seconds and did not leave; others are forgotten."""
        for gone in await self._documents.due(self._clock.now()):
            await self._documents.remove(gone.name, expected=gone.revision)
        count = 0
        async for _ in self._documents.all():
            count += 1
        return count


class Presence(Service):
    """Part of a worker: says that it is there, until it stops. That it could not say so is logged, and stops nothing."""

    name = "presence"

    def __init__(self, presences: Presences, worker: str, clock: Clock) -> None:
        self._presences = presences
        self._worker = worker
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._stay(), name="presence")

    async def _stay(self) -> None:
        while True:
            try:
                await self._presences.enter(self._worker)
            except BackendError as error:
                _log.warning("this worker is not counted: %s", error)
            await self._clock.sleep(EVERY_S)

    async def stop(self) -> None:
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        try:
            await self._presences.leave(self._worker)
        except BackendError as error:
            _log.warning("this worker is counted for some seconds more: %s", error)


class Backlog(Service):
    """Publishes to the sink that `open_sink` opens, which is called once. Any number of processes may: each says the same."""

    name = "backlog"

    def __init__(
        self,
        deployment: str,
        queue: Queue,
        presences: Presences,
        clock: Clock,
        open_sink: Callable[[], Awaitable[MetricSink]],
    ) -> None:
        self._deployment = deployment
        self._queue = queue
        self._presences = presences
        self._clock = clock
        self._open = open_sink
        self._sink: MetricSink | None = None

    def timers(self) -> Sequence[Timer]:
        return [Timer(name="backlog", every_s=EVERY_S, handle=self._publish)]

    async def start(self) -> None:
        """`SettingsError` says what is wrong with the sink's settings."""
        await self._opened()

    async def stop(self) -> None:
        if self._sink is not None:
            sink, self._sink = self._sink, None
            await sink.close()

    async def _opened(self) -> MetricSink:
        if self._sink is None:
            self._sink = await self._open()
        return self._sink

    async def _publish(self, call: Invocation) -> None:
        sink = await self._opened()
        stats = await self._queue.stats()
        gauges = QueueGauges(
            deployment=self._deployment,
            at=self._clock.now(),
            backlog=stats.ready + stats.leased,
            workers=await self._presences.count(),
            oldest_due_s=stats.oldest_ready_s,
            dead=stats.dead,
        )
        await sink.publish(gauges)
