"""The event stream on one machine: a task for each consumer, which reads soon after something is new here, and looks again and
again for what is new elsewhere."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from typing import Final

from turnout.errors import BackendError, Overloaded
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal
from turnout.interfaces.service import Consumer
from turnout.services.consumers import Consumers
from turnout.services.consuming import Came, EventSource, Reading

__all__ = ["EventStream"]

_FINISH_S: Final = 10.0
_SLOWEST_S: Final = 60.0
_log = logging.getLogger("turnout.consumers")


class EventStream:
    """Drives consumers from `start` to `stop`. One that fails is tried again, later each time, and holds up no other."""

    def __init__(
        self,
        journal: Journal,
        consumers: Consumers,
        clock: Clock,
        *,
        owner: str,
        is_alive: Callable[[str], bool] = lambda owner: True,
        gather_s: float = 0.2,
        poll_s: float = 1.0,
    ) -> None:
        self._source = EventSource(journal)
        self._consumers = consumers
        self._clock = clock
        self._owner = owner
        self._is_alive = is_alive
        self._gather_s = gather_s
        self._poll_s = poll_s
        self._nudged: dict[asyncio.Task[None], asyncio.Event] = {}
        self._readings: list[Reading] = []
        self._idle: set[asyncio.Task[None]] = set()
        self._stopping = False

    def nudge(self) -> None:
        """Say that there is something new. Costs nothing where nobody reads."""
        for nudged in self._nudged.values():
            nudged.set()

    def start(self, consumers: Iterable[Consumer]) -> None:
        self._stopping = False
        for consumer in consumers:
            nudged = asyncio.Event()
            reading = self._reading(consumer)
            task = asyncio.create_task(self._run(reading, nudged), name=f"consumer {consumer.name}")
            self._nudged[task] = nudged
            self._readings.append(reading)

    async def stop(self) -> None:
        """Let the calls under way end, for some seconds, then cancel them. Idempotent."""
        self._stopping = True
        tasks = set(self._nudged)
        for task in self._idle & tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_FINISH_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._nudged.clear()
        for reading in self._readings:
            await self._release(reading)
        self._readings.clear()

    async def catch_up(
        self, consumers: Iterable[Consumer], *, remaining_s: Callable[[], float] = lambda: math.inf
    ) -> None:
        """Give them everything there is now, or what can be given in the time that remains, in this call. What a handler raises
        is raised."""
        for consumer in consumers:
            reading = self._reading(consumer)
            try:
                while remaining_s() > reading.handle_s and await reading.advance() is Came.ON:
                    pass
            finally:
                await self._release(reading)

    def _reading(self, consumer: Consumer) -> Reading:
        return Reading(
            consumer=consumer,
            source=self._source,
            consumers=self._consumers,
            clock=self._clock,
            owner=self._owner,
            is_alive=self._is_alive,
        )

    async def _run(self, reading: Reading, nudged: asyncio.Event) -> None:
        failures, came = 0, Came.ON
        while not self._stopping:
            if came is not Came.ON:
                await self._wait(nudged)
            try:
                came = await reading.advance()
                failures = 0
            except Exception as error:  # whatever it is, nobody else would tell, and the next try may do better
                unknown = not isinstance(error, BackendError | TimeoutError)
                _log.warning("consumer %s is behind: %s", reading.consumer.name, error, exc_info=unknown)
                failures, came = failures + 1, Came.ON
                asked_s = error.retry_after_s if isinstance(error, Overloaded) else 0.0
                await self._pause(max(asked_s, min(_SLOWEST_S, self._poll_s * 2 ** min(failures - 1, 10))))

    async def _wait(self, nudged: asyncio.Event) -> None:
        """Until something is new here, or it is time to look for what is new elsewhere."""
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        try:
            async with asyncio.timeout(self._poll_s):
                await nudged.wait()
            # A moment's wait gathers the rows of many steps into one call.
            await self._clock.sleep(self._gather_s)
        except TimeoutError:
            pass
        finally:
            self._idle.discard(task)
        nudged.clear()

    async def _pause(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._idle.add(task)
        await self._clock.sleep(seconds)
        self._idle.discard(task)

    async def _release(self, reading: Reading) -> None:
        try:
            await reading.release()
        except BackendError as error:
            _log.warning("consumer %s: nobody else reads for a while: %s", reading.consumer.name, error)
