"""What the queue in memory takes."""

from __future__ import annotations

import tracemalloc

from turnout.interfaces.queue import Message
from turnout.local.memory_queue import MemoryQueue
from turnout.testing.clock import ManualClock


async def test_leases_that_are_renewed_for_long_take_no_more_memory() -> None:
    clock = ManualClock()
    queue = MemoryQueue(clock=clock)
    for n in range(20):
        await queue.put(Message(id=f"e{n}", tenant="acme"))
    leases = await queue.take_many("host:1:a", limit=20, wait_s=0)

    async def renew(times: int) -> int:
        for _ in range(times):
            clock.advance(1.0)
            await queue.extend(leases)
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = await renew(100)
        after = await renew(1000)
    finally:
        tracemalloc.stop()

    assert after - before < 100_000
