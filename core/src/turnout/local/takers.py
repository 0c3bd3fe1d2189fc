"""The workers of this process that wait in `take`: woken at once by a `put` here, by an alarm for everything else.

One task watches for all of them, and only while somebody waits: for the moment when a delayed message is due or a lease
runs out, for the takers' own time limits and, where other processes share the queue, for their writes.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.queue import Lease

__all__ = ["Takers"]


@dataclass(slots=True, eq=False)
class _Taker:
    wakened: asyncio.Future[None]
    deadline: float


class Takers:
    """A line of takers. Belongs to one event loop.

    `next_due` tells when something now unavailable becomes available (infinity: never). `changed` differs from its last
    answer when another process may have written; it is asked every `poll_s`, not at all if `poll_s` is None.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        next_due: Callable[[], float],
        changed: Callable[[], object] = lambda: None,
        poll_s: float | None = None,
    ) -> None:
        self._clock = clock
        self._next_due = next_due
        self._changed = changed
        self._poll_s = math.inf if poll_s is None else poll_s
        self._line: deque[_Taker] = deque()
        self._watch: asyncio.Task[None] | None = None
        self._alarm_at = math.inf
        self._closed = False
        self._wakes = 0

    async def take(self, attempt: Callable[[], Awaitable[Sequence[Lease]]], *, wait_s: float) -> Sequence[Lease]:
        """The leases of the first attempt that gets one, within `wait_s`. Attempts when there is reason to."""
        deadline = self._clock.now() + wait_s
        waited = False
        while not self._closed:
            news = self._news()
            if leases := await attempt():
                if waited:
                    self.wake()  # there may be more than one, and each wake-up reaches one taker
                return leases
            if self._clock.now() >= deadline:
                break
            if self._news() == news:  # else what came during the attempt may have come too late for it
                await self._wait(deadline)
                waited = True
        return []

    def wake(self) -> None:
        """There may be something to take now: the taker that has waited longest tries."""
        self._wakes += 1
        while self._line:
            taker = self._line.popleft()
            if not taker.wakened.done():
                taker.wakened.set_result(None)
                return

    def expect(self, at: float) -> None:
        """There may be something to take at this time."""
        if self._line and at < self._alarm_at:
            self._start_watch()

    def close(self) -> None:
        """Every taker returns None, later ones too. Idempotent."""
        self._closed = True
        while self._line:
            self.wake()
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _news(self) -> object:
        return self._wakes, self._changed()

    async def _wait(self, deadline: float) -> None:
        taker = _Taker(asyncio.get_running_loop().create_future(), deadline)
        self._line.append(taker)
        if self._watch is None or self._watch.done() or deadline < self._alarm_at:
            self._start_watch()
        try:
            await taker.wakened
        except asyncio.CancelledError:
            if taker in self._line:
                self._line.remove(taker)
            else:
                self.wake()  # it was woken for a message that it will not take
            raise

    def _start_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._alarm_at = -math.inf  # until the new task has found its time
        self._watch = asyncio.get_running_loop().create_task(self._watching(self._changed()), name="turnout-takers")

    async def _watching(self, mark: object) -> None:
        try:
            due_at = self._next_due()
            while self._line:
                now = self._clock.now()
                self._alarm_at = min(due_at, now + self._poll_s, *(taker.deadline for taker in self._line))
                await self._clock.sleep(max(self._alarm_at - now, 0.0))
                now = self._clock.now()
                seen = self._changed()
                if due_at <= now or seen != mark:
                    self.wake()
                    await asyncio.sleep(0)  # let it take, so that what it took is not due any more
                    mark, due_at = self._changed(), self._next_due()
                self._release_late(now)
        except BackendError as error:
            self._fail(error)

    def _release_late(self, now: float) -> None:
        for taker in [taker for taker in self._line if taker.deadline <= now]:
            self._line.remove(taker)
            if not taker.wakened.done():
                taker.wakened.set_result(None)

    def _fail(self, error: BackendError) -> None:
        while self._line:
            taker = self._line.popleft()
            if not taker.wakened.done():
                taker.wakened.set_exception(error)
