"""What the scripts count: after any sequence of calls it is what counting anew from the messages alone comes to."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant, run_state_machine_as_test
from turnout.interfaces.queue import Debounce, Message
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS
from turnout.testing.queue_machine import queue_machine
from turnout_ecs.connection import Connection
from turnout_ecs.options import Address
from turnout_ecs.queue.queue import RedisQueue
from turnout_ecs.testing.servers import RedisServer

from .recount import faults


@pytest.fixture
def queue(connection: Connection, prefix: str) -> RedisQueue:
    return RedisQueue(connection, prefix=prefix)


class _OwnConnection(RedisQueue):
    """The machine makes a queue and an event loop for each example."""

    def __init__(self, connection: Connection, prefix: str, clock: ManualClock, policies: Policies) -> None:
        self.own = connection
        super().__init__(
            connection, prefix=prefix, clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS, policies=policies
        )

    async def close(self) -> None:
        await super().close()
        await self.own.aclose()


def test_nothing_is_misplaced_miscounted_or_forgotten(redis_server: RedisServer, prefix: str) -> None:
    numbers = itertools.count()
    machine = queue_machine(
        lambda clock, policies: _OwnConnection(
            Connection(Address.parse(redis_server.url)), f"{prefix}-{next(numbers)}", clock, policies
        )
    )

    class Recounted(machine):  # type: ignore[valid-type, misc]  # made by a function
        @invariant()
        def the_recount_agrees(self) -> None:
            (shard,) = self.queue._shards.all
            assert faults(redis_server, shard, self.clock.now()) == []

    run_state_machine_as_test(Recounted, settings=settings(max_examples=12, stateful_step_count=50, deadline=None))


async def test_none_of_an_order_is_handed_out_while_one_claimed_out_of_its_turn_runs(queue: RedisQueue) -> None:
    for id in ("e1", "e2", "e3"):
        await queue.put(Message(id=id, tenant="acme", order="one"))
    claimed = await queue.claim("host:1:a", "e2")
    assert claimed is not None

    meanwhile = await queue.take("host:2:b", wait_s=0)
    await queue.release(claimed, delay_s=60)
    after = await queue.take("host:2:b", wait_s=0)

    assert meanwhile is None
    assert after is not None
    assert after.message.id == "e1"


async def test_one_that_was_replaced_does_not_hold_up_the_others_of_its_order(queue: RedisQueue) -> None:
    debounce = Debounce(key="sync", wait_s=60)
    await queue.put(Message(id="e1", tenant="acme", order="one", debounce=debounce))
    await queue.put(Message(id="e2", tenant="acme", order="one"))

    await queue.put(Message(id="e3", tenant="acme", order="one", debounce=debounce))
    leases = await queue.take_many("host:1:a", limit=3, wait_s=0)

    assert {lease.message.id: lease.superseded_by for lease in leases} == {"e1": "e3", "e2": ""}
