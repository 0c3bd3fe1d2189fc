"""What the parts of the queue's contract share: the fixtures that an implementation overrides, and short names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import ClassVar, Final

import pytest
import pytest_asyncio

from turnout.interfaces.queue import Lease, LeaseState, Message, Queue
from turnout.testing.clock import ManualClock

__all__ = ["LEASE_S", "MAX_ATTEMPTS", "MakeQueue", "QueueFixtures", "message", "order", "taken"]

LEASE_S: Final = 30.0
"""The lease time that a factory gives its queues."""

MAX_ATTEMPTS: Final = 3
"""The attempts that a factory gives its queues."""

MakeQueue = Callable[[ManualClock], Queue]


def message(id: str, *, tenant: str = "acme", priority: int = 0) -> Message:
    """A message with little typing."""
    return Message(id=id, tenant=tenant, priority=priority)


async def taken(queue: Queue, *, worker: str = "host:1:a") -> Lease:
    """The lease of the next message; fails if there is none."""
    lease = await queue.take(worker, wait_s=0)
    assert lease is not None, "nothing to take"
    return lease


async def order(queue: Queue) -> list[str]:
    """Take everything due, and return the ids in the order taken."""
    ids = []
    while (lease := await queue.take("host:1:order", wait_s=0)) is not None:
        ids.append(lease.message.id)
    return ids


class QueueFixtures:
    """Fixtures, and checks that several tests need."""

    patience_s: ClassVar[float] = 5.0
    """Real seconds within which a waiting taker must be woken; a test that fails takes this long."""

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        """Override: a factory of queues with `LEASE_S` and `MAX_ATTEMPTS`."""
        raise NotImplementedError("override the fixture make_queue")

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest_asyncio.fixture
    async def queue(self, make_queue: MakeQueue, clock: ManualClock) -> AsyncIterator[Queue]:
        queue = make_queue(clock)
        yield queue
        await queue.close()

    async def assert_lost(self, queue: Queue, lease: Lease) -> None:
        before = await queue.stats()
        assert list(await queue.extend([lease])) == [LeaseState.LOST]
        assert await queue.complete(lease) is False
        assert await queue.release(lease) is False
        assert await queue.fail(lease, reason="zombie") is False
        after = await queue.stats()
        assert (before.ready, before.delayed, before.leased) == (after.ready, after.delayed, after.leased)

    async def kill(self, queue: Queue, id: str, *, reason: str = "broken") -> None:
        await queue.put(message(id))
        for _ in range(MAX_ATTEMPTS):
            await queue.fail(await taken(queue), reason=reason)
