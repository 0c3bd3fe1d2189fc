"""Timers on one machine: each called again and again by a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.service import Invocation, Timer

__all__ = ["Timers"]

_FINISH_S: Final = 10.0
_log = logging.getLogger("turnout.timers")


class Timers:
    """Calls `timers` from `start` to `stop`: at once, and then `every_s` after each call's begin, or as soon as it has ended;
    earlier where a timer's `soon` says so."""

    def __init__(self, timers: Sequence[Timer], clock: Clock) -> None:
        self._timers = tuple(timers)
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[None]] = set()
        self._stopping = False

    def start(self) -> None:
        self._stopping = False
        self._tasks = {asyncio.create_task(self._run(timer), name=f"timer {timer.name}") for timer in self._timers}

    async def stop(self) -> None:
        """Let the calls under way end, for some seconds, then cancel them. Idempotent."""
        self._stopping = True
        for task in self._idle & self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_FINISH_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = set()

    async def _run(self, timer: Timer) -> None:
        task = asyncio.current_task()
        assert task is not None
        while True:
            began, soon = self._clock.now(), timer.soon
            try:
                await timer.handle(Invocation())
            except Exception as error:  # whatever it is, nobody else would tell, and the next call may do better
                soon = None
                _log.warning("timer %s: %s", timer.name, error, exc_info=not isinstance(error, BackendError))
            if self._stopping:
                return
            self._idle.add(task)
            # The clock may have been set back meanwhile: never longer than the interval.
            await self._pause(min(timer.every_s, max(0.001, began + timer.every_s - self._clock.now())), soon)
            self._idle.discard(task)

    async def _pause(self, seconds: float, soon: Callable[[], Awaitable[None]] | None) -> None:
        if soon is None:
            await self._clock.sleep(seconds)
            return
        reasons = [asyncio.ensure_future(reason) for reason in (self._clock.sleep(seconds), soon())]
        try:
            await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for reason in reasons:
                reason.cancel()
            await asyncio.gather(*reasons, return_exceptions=True)
