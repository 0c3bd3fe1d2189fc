"""Takers that wait miss nothing, whenever it comes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from turnout.interfaces.queue import Lease
from turnout.local.takers import Takers
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import message

LEASE = Lease(message=message("e1"), worker="host:1:a", token=1, attempt=1, expires_at=0.0)


async def test_what_comes_while_a_taker_looks_is_not_missed() -> None:
    clock = ManualClock()
    takers = Takers(clock, next_due=lambda: math.inf)
    looking, looked = asyncio.Event(), asyncio.Event()
    there: list[Lease] = []

    async def look() -> Sequence[Lease]:
        found = list(there)
        looking.set()
        await looked.wait()
        return found

    taking = asyncio.create_task(takers.take(look, wait_s=60))
    await looking.wait()
    there.append(LEASE)
    takers.wake()  # nobody waits yet: the only one has looked already
    looked.set()

    assert await asyncio.wait_for(taking, timeout=20) == [LEASE]


async def test_what_another_process_writes_while_a_taker_looks_is_not_missed() -> None:
    clock = ManualClock()
    written = 0
    takers = Takers(clock, next_due=lambda: math.inf, changed=lambda: written, poll_s=1.0)
    there: list[Lease] = []

    async def look() -> Sequence[Lease]:
        nonlocal written
        found = list(there)
        if not written:
            written += 1
            there.append(LEASE)
        return found

    assert await asyncio.wait_for(takers.take(look, wait_s=60), timeout=20) == [LEASE]


async def test_a_taker_that_does_not_wait_looks_once() -> None:
    looks = 0

    async def look() -> Sequence[Lease]:
        nonlocal looks
        looks += 1
        return []

    assert list(await Takers(ManualClock(), next_due=lambda: math.inf).take(look, wait_s=0)) == []
    assert looks == 1
