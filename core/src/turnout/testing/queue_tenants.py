"""The part of the queue's contract that is about tenants: how much of each may wait, and how they share the workers."""

from __future__ import annotations

import asyncio

import pytest

from turnout.errors import Overloaded
from turnout.interfaces.queue import Queue, QueueCapability
from turnout.model.tenancy import TenantPolicy
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import LEASE_S, QueueFixtures, message, needs, order, taken, under

__all__ = ["TenantContract"]


class TenantContract(QueueFixtures):
    """What every queue promises about tenants; part of `turnout.testing.queue.QueueContract`."""

    @under(TenantPolicy(capacity=2))
    async def test_a_capped_put_is_refused_when_as_many_wait_as_the_tenant_may_have(self, queue: Queue) -> None:
        added = [await queue.put(message(f"e{n}"), capped=True) for n in range(2)]

        with pytest.raises(Overloaded):
            await queue.put(message("one too many"), capped=True)

        assert added == [True, True]
        assert list(await queue.missing(["one too many"])) == ["one too many"]
        assert (await queue.stats()).ready == 2

    @under(TenantPolicy(capacity=1))
    async def test_a_put_that_is_not_capped_is_accepted_whatever_waits(self, queue: Queue) -> None:
        for n in range(3):
            assert await queue.put(message(f"e{n}")) is True

        with pytest.raises(Overloaded):
            await queue.put(message("e3"), capped=True)
        assert await queue.room("acme") == 0

    @under(TenantPolicy(capacity=1), roomy=TenantPolicy(capacity=3), boundless=TenantPolicy())
    async def test_each_tenant_has_the_capacity_of_its_own_policy(self, queue: Queue) -> None:
        for tenant, expected in (("acme", 1), ("roomy", 3), ("boundless", None)):
            assert await queue.room(tenant) == expected
        for n in range(3):
            await queue.put(message(f"r{n}", tenant="roomy"), capped=True)
            await queue.put(message(f"b{n}", tenant="boundless"), capped=True)

        await queue.put(message("a0"), capped=True)

        assert [await queue.room(tenant) for tenant in ("acme", "roomy", "boundless")] == [0, 0, None]

    @under(TenantPolicy(capacity=3))
    async def test_what_is_delayed_waits_as_well(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        await queue.put(message("e2"), delay_s=1000)

        assert await queue.room("acme") == 1

    @under(TenantPolicy(capacity=3))
    async def test_what_is_leased_or_dead_does_not_wait(self, queue: Queue, clock: ManualClock) -> None:
        await self.kill(queue, "dead")
        await queue.put(message("e1"))
        lease = await taken(queue)
        leased = await queue.room("acme")
        await queue.release(lease, delay_s=1000)
        released = await queue.room("acme")
        await queue.wake("e1")
        await taken(queue)
        clock.advance(LEASE_S + 0.1)
        await queue.reap()
        reaped = await queue.room("acme")
        await queue.drop("e1")

        assert (leased, released, reaped, await queue.room("acme")) == (3, 2, 2, 3)

    async def test_a_tenant_without_a_capacity_has_room_for_any_number(self, queue: Queue) -> None:
        await queue.put(message("e1"), capped=True)

        assert await queue.room("acme") is None

    async def test_stats_know_how_many_of_each_tenant_are_due(self, queue: Queue) -> None:
        for n in range(3):
            await queue.put(message(f"a{n}", tenant="a"))
        await queue.put(message("b", tenant="b"))
        await queue.put(message("later", tenant="c"), delay_s=1000)
        lease = await taken(queue)

        tenants = (await queue.stats()).tenants

        expected = {"a": 3, "b": 1}
        expected[lease.message.tenant] -= 1
        assert dict(tenants) in ({}, {tenant: count for tenant, count in expected.items() if count})

    @needs(QueueCapability.FAIRNESS)
    @under(heavy=TenantPolicy(weight=3))
    async def test_tenants_take_turns_by_their_weights(self, queue: Queue) -> None:
        for n in range(12):
            await queue.put(message(f"l{n}", tenant="light"))
        for n in range(12):
            await queue.put(message(f"h{n}", tenant="heavy"))

        tenants = [(await taken(queue)).message.tenant for _ in range(8)]

        assert (tenants.count("heavy"), tenants.count("light")) == (6, 2)

    @needs(QueueCapability.FAIRNESS)
    @under(heavy=TenantPolicy(weight=3))
    async def test_a_weight_that_is_not_used_up_is_not_saved(self, queue: Queue) -> None:
        for n in range(2):
            await queue.put(message(f"h{n}", tenant="heavy"))
            await order(queue)
        for n in range(12):
            await queue.put(message(f"l{n}", tenant="light"))
        for n in range(2, 14):
            await queue.put(message(f"h{n}", tenant="heavy"))

        turns = "".join([(await taken(queue)).message.tenant[0] for _ in range(10)])

        assert max(len(run) for run in turns.split("l")) == 3
        assert turns.count("h") >= 6

    @needs(QueueCapability.FAIRNESS)
    @under(capped=TenantPolicy(in_flight=2))
    async def test_a_tenant_at_its_cap_is_passed_over(self, queue: Queue) -> None:
        for n in range(4):
            await queue.put(message(f"c{n}", tenant="capped"))
        for n in range(2):
            await queue.put(message(f"f{n}", tenant="free"))

        leases = list(await queue.take_many("host:1:a", limit=2, wait_s=0))
        while (lease := await queue.take("host:1:a", wait_s=0)) is not None:
            leases.append(lease)

        assert sorted(lease.message.id for lease in leases) == ["c0", "c1", "f0", "f1"]

    @needs(QueueCapability.FAIRNESS)
    @pytest.mark.parametrize("end", ["complete", "release", "fail", "drop"])
    @under(TenantPolicy(in_flight=1))
    async def test_a_waiting_taker_gets_the_next_once_a_lease_of_a_tenant_at_its_cap_ends(
        self, queue: Queue, clock: ManualClock, end: str
    ) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)
        await queue.put(message("e2"))
        taking = asyncio.create_task(queue.take("host:2:b", wait_s=60))
        await clock.settle()
        early = taking.done()

        match end:
            case "complete":
                await queue.complete(lease)
            case "release":
                await queue.release(lease, delay_s=1000)
            case "fail":
                await queue.fail(lease, reason="no network", delay_s=1000)
            case _:
                await queue.drop("e1")
        other = await asyncio.wait_for(taking, timeout=self.patience_s)

        assert early is False
        assert other is not None
        assert other.message.id == "e2"

    @needs(QueueCapability.FAIRNESS)
    @under(TenantPolicy(in_flight=1))
    async def test_a_reaped_lease_frees_its_place_in_flight_and_a_claimed_one_takes_one(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        await queue.put(message("e2"))
        if QueueCapability.CLAIM in queue.capabilities:
            await queue.claim("host:1:a", "e1")
        else:
            await taken(queue)
        full = await queue.take("host:2:b", wait_s=0)

        await queue.reap(workers=["host:1:a"])

        assert full is None
        assert await order(queue) == ["e1"]
