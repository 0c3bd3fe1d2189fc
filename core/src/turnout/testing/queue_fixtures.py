"""What the parts of the queue's contract share: the fixtures that an implementation overrides, and short names."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from typing import Any, ClassVar, Final, TypeVar, cast

import pytest
import pytest_asyncio

from turnout.interfaces.queue import Concurrency, Debounce, Lease, LeaseState, Message, Queue, QueueCapability, Rate
from turnout.model.tenancy import Policies, TenantPolicy
from turnout.testing.clock import ManualClock

__all__ = [
    "LEASE_S",
    "MAX_ATTEMPTS",
    "MakeQueue",
    "QueueFixtures",
    "bury",
    "message",
    "needs",
    "order",
    "taken",
    "under",
]

_Test = TypeVar("_Test", bound=Callable[..., Any])

LEASE_S: Final = 30.0
"""The lease time that a factory gives its queues."""

MAX_ATTEMPTS: Final = 3
"""The attempts that a factory gives its queues."""

MakeQueue = Callable[[ManualClock, Policies], Queue]


def message(
    id: str,
    *,
    tenant: str = "acme",
    priority: int = 0,
    concurrency: tuple[Concurrency, ...] = (),
    rates: tuple[Rate, ...] = (),
    order: str = "",
    debounce: Debounce | None = None,
) -> Message:
    """A message with little typing."""
    return Message(
        id=id,
        tenant=tenant,
        priority=priority,
        concurrency=concurrency,
        rates=rates,
        order=order,
        debounce=debounce,
    )


def needs(capability: QueueCapability) -> Callable[[_Test], _Test]:
    """A test of a capability: where it is not declared there is nothing to test but that (`Unsupported`)."""

    def decorate(test: _Test) -> _Test:
        @functools.wraps(test)
        async def run(self: Any, queue: Queue, **fixtures: Any) -> None:
            if capability in queue.capabilities:
                await test(self, queue=queue, **fixtures)

        return cast("_Test", run)

    return decorate


def under(default: TenantPolicy | None = None, /, **tenants: TenantPolicy) -> pytest.MarkDecorator:
    """A test whose queue has these policies."""
    policies = Policies(default=default or TenantPolicy(), tenants=tenants)
    return pytest.mark.parametrize("policies", [policies], ids=["policies"])


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


async def bury(queue: Queue, *, reason: str = "broken") -> None:
    """Let the next message fail until it is dead."""
    for _ in range(MAX_ATTEMPTS):
        await queue.fail(await taken(queue), reason=reason)


class QueueFixtures:
    """Fixtures, and checks that several tests need."""

    patience_s: ClassVar[float] = 20.0
    """Real seconds within which a waiting taker must be woken; a test that fails takes this long."""

    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        """Override: a factory of queues with `LEASE_S`, `MAX_ATTEMPTS` and the policies that it is given."""
        raise NotImplementedError("override the fixture make_queue")

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def policies(self) -> Policies:
        """Those of the test's queue: `under` gives others."""
        return Policies()

    @pytest_asyncio.fixture
    async def queue(self, make_queue: MakeQueue, clock: ManualClock, policies: Policies) -> AsyncIterator[Queue]:
        queue = make_queue(clock, policies)
        yield queue
        await queue.close()

    async def assert_lost(self, queue: Queue, lease: Lease) -> None:
        before = await queue.stats()
        assert list(await queue.extend([lease])) == [LeaseState.LOST]
        assert await queue.complete(lease) is False
        assert await queue.release(lease) is False
        assert await queue.decline(lease) is False
        assert await queue.fail(lease, reason="zombie") is False
        after = await queue.stats()
        assert (before.ready, before.delayed, before.leased) == (after.ready, after.delayed, after.leased)

    async def kill(self, queue: Queue, id: str, *, reason: str = "broken") -> None:
        await queue.put(message(id))
        await bury(queue, reason=reason)
