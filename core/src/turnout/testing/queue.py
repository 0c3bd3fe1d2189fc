"""The contract of `turnout.interfaces.queue.Queue`: a test for each promise of its docstrings.

To test an implementation, subclass `QueueContract` in a test module and override `make_queue`:

    class TestMyQueue(QueueContract):
        @pytest.fixture
        def make_queue(self, tmp_path):
            return lambda clock, policies: MyQueue(
                clock=clock, policies=policies, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS
            )

All queues of one test that a factory makes share their messages if the implementation is durable. Needs
`asyncio_mode = "auto"` of pytest-asyncio. Nothing in here sleeps: the clock is moved by hand.
"""

from __future__ import annotations

import asyncio

import pytest

from turnout.errors import Unsupported
from turnout.interfaces.queue import Lease, LeaseState, Queue, QueueCapability
from turnout.model.durability import Durability
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import LEASE_S, MAX_ATTEMPTS, MakeQueue, message, needs, order, taken
from turnout.testing.queue_leases import LeaseContract
from turnout.testing.queue_limits import LimitContract
from turnout.testing.queue_order import OrderContract
from turnout.testing.queue_tenants import TenantContract

__all__ = ["LEASE_S", "MAX_ATTEMPTS", "MakeQueue", "QueueContract"]


class QueueContract(LeaseContract, TenantContract, LimitContract, OrderContract):
    """What every queue promises. Tests of a capability run where it is declared; elsewhere its absence is tested."""

    async def test_a_message_is_handed_out_to_one_worker_at_a_time(self, queue: Queue) -> None:
        await queue.put(message("e1"))

        lease = await taken(queue, worker="host:1:a")

        assert (lease.message, lease.worker, lease.attempt) == (message("e1"), "host:1:a", 1)
        assert await queue.take("host:2:b", wait_s=0) is None

    async def test_a_message_that_is_there_already_is_not_added_again(self, queue: Queue) -> None:
        await queue.put(message("e1"))

        waiting = await queue.put(message("e1", tenant="other"))
        lease = await taken(queue)
        leased = await queue.put(message("e1"))

        assert (waiting, leased) == (False, False)
        assert lease.message.tenant == "acme"
        assert (await queue.stats()).ready == 0

    async def test_a_dead_message_is_not_added_again(self, queue: Queue) -> None:
        await self.kill(queue, "e1")

        assert await queue.put(message("e1")) is False

    async def test_a_completed_message_can_be_put_again_and_its_token_still_rises(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        first = await taken(queue)
        await queue.complete(first)

        added = await queue.put(message("e1"))
        second = await taken(queue)

        assert added is True
        assert second.token > first.token
        assert second.attempt == 1

    async def test_a_delayed_message_is_handed_out_when_due_and_not_before(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"), delay_s=10)

        clock.advance(9.9)
        early = await queue.take("host:1:a", wait_s=0)
        clock.advance(0.2)

        assert early is None
        assert (await taken(queue)).message.id == "e1"

    async def test_a_waiting_taker_gets_a_message_as_soon_as_it_is_put(self, queue: Queue, clock: ManualClock) -> None:
        taking = asyncio.create_task(queue.take("host:1:a", wait_s=60))
        await clock.settle()

        await queue.put(message("e1"))
        lease = await asyncio.wait_for(taking, timeout=self.patience_s)

        assert lease is not None
        assert lease.message.id == "e1"

    async def test_each_of_several_waiting_takers_gets_one(self, queue: Queue, clock: ManualClock) -> None:
        takers = [asyncio.create_task(queue.take(f"host:{n}:a", wait_s=60)) for n in range(3)]
        await clock.settle()

        for n in range(3):
            await queue.put(message(f"e{n}"))
        leases = await asyncio.wait_for(asyncio.gather(*takers), timeout=self.patience_s)

        assert sorted(lease.message.id for lease in leases if lease) == ["e0", "e1", "e2"]

    async def test_a_taker_that_gives_up_does_not_swallow_a_message(self, queue: Queue, clock: ManualClock) -> None:
        leaving, staying = (asyncio.create_task(queue.take(f"host:{n}:a", wait_s=60)) for n in range(2))
        await clock.settle()

        putting = asyncio.create_task(queue.put(message("e1")))
        await asyncio.sleep(0)
        leaving.cancel()
        await putting
        outcomes = await asyncio.gather(leaving, return_exceptions=True)
        if isinstance(outcomes[0], Lease):
            await queue.release(outcomes[0])
        lease = await asyncio.wait_for(staying, timeout=self.patience_s)

        assert lease is not None

    async def test_a_waiting_taker_gets_a_delayed_message_when_it_is_due(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"), delay_s=10)
        taking = asyncio.create_task(queue.take("host:1:a", wait_s=60))

        await clock.run(9.9, step=3.3)
        early = taking.done()
        await clock.run(0.3)
        lease = await asyncio.wait_for(taking, timeout=self.patience_s)

        assert early is False
        assert lease is not None

    async def test_take_returns_none_after_its_waiting_time(self, queue: Queue, clock: ManualClock) -> None:
        taking = asyncio.create_task(queue.take("host:1:a", wait_s=5))

        await clock.run(4.9, step=0.7)
        early = taking.done()
        await clock.run(0.3)

        assert early is False
        assert await asyncio.wait_for(taking, timeout=self.patience_s) is None

    @needs(QueueCapability.FIRST_DUE)
    async def test_of_one_tenant_the_message_due_first_comes_first(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("third"), delay_s=3)
        await queue.put(message("first"))
        await queue.put(message("second"), delay_s=2)

        clock.advance(5)
        await queue.put(message("fourth"))

        assert await order(queue) == ["first", "second", "third", "fourth"]

    @needs(QueueCapability.FIRST_DUE)
    async def test_an_expired_message_comes_before_those_waiting(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1"))
        await taken(queue)
        await queue.put(message("e2", priority=9))
        await queue.put(message("e3", tenant="other"))

        clock.advance(LEASE_S + 0.1)
        again = await taken(queue)

        assert (again.message.id, again.attempt) == ("e1", 2)

    async def test_whatever_comes_next_all_that_is_due_comes(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("expired"))
        await taken(queue)
        await queue.put(message("delayed"), delay_s=5)
        await queue.put(message("waiting"))
        await queue.put(message("not yet"), delay_s=1000)

        clock.advance(LEASE_S + 0.1)

        assert sorted(await order(queue)) == ["delayed", "expired", "waiting"]

    async def test_complete_removes_the_message(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        await queue.complete(await taken(queue))

        stats = await queue.stats()

        assert (stats.ready, stats.delayed, stats.leased, stats.dead) == (0, 0, 0, 0)

    @needs(QueueCapability.FIRST_DUE)
    async def test_many_are_taken_at_once_in_the_order_of_take_and_no_more_than_asked_for(self, queue: Queue) -> None:
        for n in range(5):
            await queue.put(message(f"e{n}"))

        leases = await queue.take_many("host:1:a", limit=3, wait_s=0)
        rest = await queue.take_many("host:2:b", limit=1, wait_s=0)

        assert [lease.message.id for lease in [*leases, *rest]][: len(leases)] == ["e0", "e1", "e2"][: len(leases)]
        assert 1 <= len(leases) <= 3
        assert len(rest) == 1
        assert len({lease.token for lease in [*leases, *rest]}) == len(leases) + 1

    async def test_taking_many_waits_for_the_first_only(self, queue: Queue, clock: ManualClock) -> None:
        taking = asyncio.create_task(queue.take_many("host:1:a", limit=3, wait_s=60))
        await clock.settle()

        await queue.put(message("e1"))
        leases = await asyncio.wait_for(taking, timeout=self.patience_s)

        assert [(lease.message.id, lease.worker) for lease in leases] == [("e1", "host:1:a")]

    async def test_taking_many_returns_nothing_after_its_waiting_time(self, queue: Queue, clock: ManualClock) -> None:
        taking = asyncio.create_task(queue.take_many("host:1:a", limit=3, wait_s=5))

        await clock.run(4.9, step=0.7)
        early = taking.done()
        await clock.run(0.3)

        assert early is False
        assert list(await asyncio.wait_for(taking, timeout=self.patience_s)) == []

    async def test_missing_are_the_ids_that_are_nowhere_in_their_order(self, queue: Queue) -> None:
        await self.kill(queue, "dead")
        await queue.put(message("leased"))
        await taken(queue)
        await queue.put(message("ready"))
        await queue.put(message("delayed"), delay_s=10)
        await queue.put(message("dropped"))
        await queue.drop("dropped")

        missing = await queue.missing(["z", "leased", "dropped", "ready", "dead", "a", "delayed"])

        assert list(missing) == ["z", "dropped", "a"]
        assert list(await queue.missing([])) == []

    async def test_drop_removes_a_message_wherever_it_is(self, queue: Queue) -> None:
        await self.kill(queue, "dead")
        await queue.put(message("leased"))
        await taken(queue)
        await queue.put(message("ready"))
        await queue.put(message("delayed"), delay_s=10)

        dropped = [await queue.drop(id) for id in ("dead", "leased", "ready", "delayed", "unknown")]
        stats = await queue.stats()

        assert dropped == [True, True, True, True, False]
        assert (stats.ready, stats.delayed, stats.leased, stats.dead) == (0, 0, 0, 0)

    async def test_stats_count_and_know_the_age_of_the_oldest_that_is_due(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await self.kill(queue, "dead")
        await queue.put(message("leased"))
        await taken(queue)
        await queue.put(message("ready"))
        await queue.put(message("due"), delay_s=5)
        await queue.put(message("delayed"), delay_s=100)
        clock.advance(20)

        stats = await queue.stats()

        assert (stats.ready, stats.delayed, stats.leased, stats.dead) == (2, 1, 1, 1)
        assert stats.oldest_ready_s == pytest.approx(20, abs=0.5)

    async def test_an_empty_queue_has_nothing_to_tell(self, queue: Queue) -> None:
        stats = await queue.stats()

        assert (stats.ready, stats.delayed, stats.leased, stats.dead, stats.oldest_ready_s) == (0, 0, 0, 0, 0.0)

    async def test_close_wakes_takers_and_may_be_called_twice(self, queue: Queue, clock: ManualClock) -> None:
        taking = asyncio.create_task(queue.take("host:1:a", wait_s=60))
        await clock.settle()

        await queue.close()
        await queue.close()

        assert await asyncio.wait_for(taking, timeout=self.patience_s) is None

    async def test_a_durable_queue_shows_its_messages_to_another_one(
        self, queue: Queue, make_queue: MakeQueue, clock: ManualClock
    ) -> None:
        other = make_queue(clock, Policies())
        shared = queue.durability is not Durability.MEMORY
        await queue.put(message("e1"))

        lease = await other.take("host:2:b", wait_s=0)
        await other.close()

        assert (lease is not None) == shared

    async def test_tenants_take_turns_whatever_each_has_waiting(self, queue: Queue) -> None:
        if QueueCapability.FAIRNESS not in queue.capabilities:
            return
        for n in range(20):
            await queue.put(message(f"a{n}", tenant="greedy"))
        for n in range(2):
            await queue.put(message(f"b{n}", tenant="modest", priority=-1))

        tenants = [(await taken(queue)).message.tenant for _ in range(4)]

        assert sorted(tenants[:2]) == sorted(tenants[2:]) == ["greedy", "modest"]

    async def test_a_tenant_cannot_get_ahead_by_putting_one_at_a_time(self, queue: Queue) -> None:
        if QueueCapability.FAIRNESS not in queue.capabilities:
            return
        for n in range(4):
            await queue.put(message(f"b{n}", tenant="modest"))

        tenants = []
        for n in range(6):
            await queue.put(message(f"a{n}", tenant="eager"))
            tenants.append((await taken(queue)).message.tenant)

        assert tenants.count("modest") >= 2

    async def test_within_a_tenant_a_higher_priority_comes_first(self, queue: Queue) -> None:
        if QueueCapability.PRIORITY not in queue.capabilities:
            return
        for id, priority in (("low", -1), ("normal", 0), ("high", 5), ("normal too", 0)):
            await queue.put(message(id, priority=priority))

        assert await order(queue) == ["high", "normal", "normal too", "low"]

    async def test_a_message_can_be_claimed_by_its_id_due_or_not(self, queue: Queue) -> None:
        if QueueCapability.CLAIM not in queue.capabilities:
            with pytest.raises(Unsupported):
                await queue.claim("host:1:a", "e1")
            return
        await queue.put(message("other"))
        await queue.put(message("e1"), delay_s=1000)

        lease = await queue.claim("host:1:a", "e1")

        assert lease is not None
        assert (lease.message.id, lease.worker, lease.attempt) == ("e1", "host:1:a", 1)
        assert list(await queue.extend([lease])) == [LeaseState.HELD]

    async def test_a_leased_dead_or_unknown_message_cannot_be_claimed(self, queue: Queue) -> None:
        if QueueCapability.CLAIM not in queue.capabilities:
            with pytest.raises(Unsupported):
                await queue.claim("host:1:a", "e1")
            return
        await self.kill(queue, "dead")
        await queue.put(message("e1"))
        await taken(queue)

        assert await queue.claim("host:2:b", "e1") is None
        assert await queue.claim("host:2:b", "dead") is None
        assert await queue.claim("host:2:b", "unknown") is None
