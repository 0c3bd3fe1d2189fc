"""Timers on one machine."""

from __future__ import annotations

import asyncio

import pytest
from turnout.errors import BackendError
from turnout.interfaces.service import Invocation, Timer
from turnout.local.timers import Timers
from turnout.testing.clock import ManualClock


class Calls:
    def __init__(self, clock: ManualClock, *failures: Exception) -> None:
        self.at: list[float] = []
        self._clock = clock
        self._failures = list(failures)
        self.hold: asyncio.Event | None = None
        self.ended = 0

    async def handle(self, call: Invocation) -> None:
        assert call.remaining_s() > 0
        self.at.append(self._clock.now())
        if self.hold is not None:
            await self.hold.wait()
        self.ended += 1
        if self._failures:
            raise self._failures.pop(0)

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.at) < count:
                await asyncio.sleep(0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


async def test_a_timer_is_called_at_once_and_then_at_its_interval(clock: ManualClock) -> None:
    calls = Calls(clock)
    timers = Timers([Timer(name="tick", every_s=10.0, handle=calls.handle)], clock)

    timers.start()
    await calls.reach(1)
    for count in (2, 3):
        await clock.run(10.0, step=1.0)
        await calls.reach(count)
    await timers.stop()

    assert [round(at - calls.at[0]) for at in calls.at] == [0, 10, 20]


@pytest.mark.parametrize("failure", [ValueError("ours"), BackendError("the store is away")])
async def test_what_a_call_raises_is_told_and_the_next_one_comes(
    clock: ManualClock, failure: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls(clock, failure)
    timers = Timers([Timer(name="tick", every_s=10.0, handle=calls.handle)], clock)

    timers.start()
    await calls.reach(1)
    await clock.run(10.0, step=1.0)
    await calls.reach(2)
    await timers.stop()

    assert f"timer tick: {failure}" in caplog.text


async def test_stopping_waits_for_the_call_under_way(clock: ManualClock) -> None:
    calls = Calls(clock)
    calls.hold = asyncio.Event()
    timers = Timers([Timer(name="tick", every_s=10.0, handle=calls.handle)], clock)
    timers.start()
    await calls.reach(1)

    stopping = asyncio.create_task(timers.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    calls.hold.set()
    await stopping

    assert calls.ended == 1
    assert len(calls.at) == 1


async def test_stopping_again_or_without_a_start_changes_nothing(clock: ManualClock) -> None:
    timers = Timers([Timer(name="tick", every_s=10.0, handle=Calls(clock).handle)], clock)

    await timers.stop()
    timers.start()
    await timers.stop()

    await timers.stop()


async def test_a_timer_that_has_something_to_do_is_called_before_its_time(clock: ManualClock) -> None:
    calls, news = Calls(clock), asyncio.Event()

    async def soon() -> None:
        await news.wait()
        news.clear()

    timers = Timers([Timer(name="tick", every_s=10.0, handle=calls.handle, soon=soon)], clock)
    timers.start()
    await calls.reach(1)
    await clock.settle()

    news.set()
    await calls.reach(2)
    await clock.settle()
    await clock.run(10.0, step=1.0)
    await calls.reach(3)
    await timers.stop()

    assert [round(at - calls.at[0]) for at in calls.at] == [0, 0, 10]


async def test_after_a_failure_a_timer_waits_for_its_time_whatever_there_is_to_do(clock: ManualClock) -> None:
    calls = Calls(clock, BackendError("the store is away"))

    async def soon() -> None: ...

    timers = Timers([Timer(name="tick", every_s=10.0, handle=calls.handle, soon=soon)], clock)
    timers.start()
    await calls.reach(1)
    await clock.settle()
    assert len(calls.at) == 1

    await clock.run(10.0, step=1.0)
    await calls.reach(2)
    await timers.stop()

    assert round(calls.at[1] - calls.at[0]) == 10
