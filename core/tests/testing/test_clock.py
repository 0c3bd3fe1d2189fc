"""The manual clock: time passes when a test says so, and everything that sleeps sees it."""

from __future__ import annotations

import asyncio

import pytest
from turnout.testing.clock import ManualClock


async def test_a_sleep_ends_when_the_clock_has_moved_far_enough_and_not_before() -> None:
    clock = ManualClock(start=100.0)
    sleep = asyncio.create_task(clock.sleep(5))
    await clock.settle()

    clock.advance(4.9)
    await clock.settle()
    early = sleep.done()
    clock.advance(0.1)
    await clock.settle()

    assert (early, sleep.done(), clock.now()) == (False, True, 105.0)


async def test_sleepers_wake_in_the_order_of_their_times() -> None:
    clock = ManualClock()
    woken: list[str] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append(name)

    tasks = [asyncio.create_task(sleeper(name, s)) for name, s in (("late", 3), ("early", 1), ("middle", 2))]
    await clock.settle()
    clock.advance(10)
    await asyncio.gather(*tasks)

    assert woken == ["early", "middle", "late"]


async def test_run_gives_code_that_sleeps_again_each_of_its_turns() -> None:
    clock = ManualClock()
    ticks = 0

    async def ticker() -> None:
        nonlocal ticks
        while True:
            await clock.sleep(1)
            ticks += 1

    task = asyncio.create_task(ticker())
    await clock.run(5, step=0.5)
    task.cancel()

    assert ticks == 5


async def test_a_cancelled_sleep_is_not_counted_and_harms_nothing() -> None:
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.settle()

    task.cancel()
    await clock.settle()
    clock.advance(2)

    assert clock.sleeping == 0


def test_time_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)
