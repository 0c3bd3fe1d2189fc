"""A clock that stands still until a test moves it, so that tests of what waits need not sleep."""

from __future__ import annotations

import asyncio
import heapq
import itertools

__all__ = ["ManualClock"]


class ManualClock:
    """Implements `turnout.interfaces.clock.Clock`. Time moves by `advance` alone. For use from one event loop."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once `advance` has moved the clock by `seconds`; at once (after a turn of the loop) if not positive."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        wakened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), wakened))
        await wakened

    def advance(self, seconds: float) -> None:
        """Move the clock by `seconds` and wake everybody whose sleep is over, in the order of their wake-up times.

        They run when the caller next gives way to the event loop.
        """
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            wakened = heapq.heappop(self._sleepers)[2]
            if not wakened.done():
                wakened.set_result(None)

    async def run(self, seconds: float, *, step: float = 0.05) -> None:
        """Advance by `seconds` in steps, letting everything that is ready run before each step and at the end.

        For code that sleeps again and again; with one large `advance` it would sleep only once.
        """
        left = seconds
        await self.settle()
        while left > 0:
            self.advance(min(step, left))
            left -= step
            await self.settle()

    async def settle(self, turns: int = 10) -> None:
        """Let what is ready run: `turns` turns of the event loop."""
        for _ in range(turns):
            await asyncio.sleep(0)

    @property
    def sleeping(self) -> int:
        """How many sleep now."""
        return sum(not wakened.done() for _, _, wakened in self._sleepers)
