"""The contract of queues catches queues that break it."""

from __future__ import annotations

import pytest
from turnout.errors import Overloaded, Unsupported
from turnout.local.memory_queue import MemoryQueue
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS, QueueContract

from . import broken_limits, broken_queues, broken_tenants
from .contract_runs import run_contract

CAUGHT: dict[type[MemoryQueue], list[str]] = {**broken_queues.CAUGHT, **broken_tenants.CAUGHT, **broken_limits.CAUGHT}


class ImpatientContract(QueueContract):
    patience_s = 0.05


async def check(queue_class: type[MemoryQueue], name: str, contract: type[QueueContract] = QueueContract) -> None:
    """Run one test of the contract on a queue of this class."""
    queues = []

    def fixtures(policies: Policies | None = None) -> dict[str, object]:
        clock = ManualClock()

        def make_queue(clock: ManualClock, policies: Policies) -> MemoryQueue:
            queues.append(queue_class(clock=clock, policies=policies, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS))
            return queues[-1]

        return {"queue": make_queue(clock, policies or Policies()), "make_queue": make_queue, "clock": clock}

    try:
        await run_contract(contract, name, fixtures)
    finally:
        for queue in queues:
            await MemoryQueue.close(queue)


@pytest.mark.parametrize(
    ("broken", "name"),
    [(broken, name) for broken, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
async def test_the_contract_catches(broken: type[MemoryQueue], name: str) -> None:
    with pytest.raises((AssertionError, TimeoutError, pytest.fail.Exception, Unsupported, Overloaded)):
        await check(broken, name, ImpatientContract)


@pytest.mark.parametrize("name", sorted({name for names in CAUGHT.values() for name in names}))
async def test_a_whole_queue_passes_where_a_broken_one_fails(name: str) -> None:
    await check(MemoryQueue, name)


def test_every_promise_has_a_broken_queue() -> None:
    promises = {name.removeprefix("test_") for name in dir(QueueContract) if name.startswith("test_")}

    assert promises - {name for names in CAUGHT.values() for name in names} == set()
