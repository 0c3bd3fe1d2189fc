"""The part of the queue's contract that is about limits by key: how many at once, and how many within a time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from turnout.errors import Unsupported
from turnout.interfaces.queue import Concurrency, Debounce, Lease, Message, Queue, QueueCapability, Rate
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import LEASE_S, MAX_ATTEMPTS, QueueFixtures, message, needs, order, taken

__all__ = ["LimitContract"]

_ONE = (Concurrency(key="erp", most=1),)
_TWO = (Concurrency(key="erp", most=2),)
_RATE = (Rate(key="mail", most=2, window_s=10.0),)

_LIMITED = {
    "concurrency": message("e1", concurrency=_ONE),
    "rates": message("e1", rates=_RATE),
    "order": message("e1", order="crm"),
    "debounce": message("e1", debounce=Debounce(key="crm", wait_s=5)),
}


async def _end(queue: Queue, lease: Lease, how: str) -> None:
    match how:
        case "complete":
            await queue.complete(lease)
        case "drop":
            await queue.drop(lease.message.id)
        case "release for later":
            await queue.release(lease, delay_s=1000)
        case "release until woken":
            await queue.release(lease, delay_s=None)
        case _:
            await queue.fail(lease, reason="no network", delay_s=1000)


class LimitContract(QueueFixtures):
    """What a queue that declares `LIMITS` promises about concurrency and rates, and what one does that does not declare
    it; part of `turnout.testing.queue.QueueContract`."""

    @pytest.mark.parametrize("limited", _LIMITED.values(), ids=_LIMITED)
    async def test_a_message_with_a_limit_is_refused_where_limits_are_not_kept(
        self, queue: Queue, limited: Message
    ) -> None:
        if QueueCapability.LIMITS in queue.capabilities:
            assert await queue.put(limited) is True
            return

        with pytest.raises(Unsupported):
            await queue.put(limited)

        assert list(await queue.missing(["e1"])) == ["e1"]

    @needs(QueueCapability.LIMITS)
    async def test_a_message_comes_back_with_its_limits(self, queue: Queue, clock: ManualClock) -> None:
        whole = message(
            "e1",
            priority=1,
            concurrency=(*_ONE, Concurrency(key="crm", most=3)),
            rates=(*_RATE, Rate(key="crm", most=1, window_s=0.5)),
            order="crm",
            debounce=Debounce(key="crm", wait_s=5, longest_s=60.5),
        )
        await queue.put(whole)
        clock.advance(5.1)

        lease = await taken(queue)
        await queue.fail(lease, reason="broken")
        for _ in range(MAX_ATTEMPTS - 1):
            again = await taken(queue)
            await queue.fail(again, reason="broken")

        assert lease.message == again.message == whole
        assert [letter.message for letter in await queue.dead()] == [whole]

    @needs(QueueCapability.LIMITS)
    async def test_no_more_of_a_key_are_leased_at_once_than_allowed(self, queue: Queue) -> None:
        for n in range(4):
            await queue.put(message(f"e{n}", concurrency=_TWO))
        await queue.put(message("free"))

        assert sorted(await order(queue)) == ["e0", "e1", "free"]

    @needs(QueueCapability.LIMITS)
    async def test_many_taken_at_once_keep_to_the_limit(self, queue: Queue) -> None:
        for n in range(4):
            await queue.put(message(f"e{n}", concurrency=_TWO))

        leases = list(await queue.take_many("host:1:a", limit=4, wait_s=0))
        while (lease := await queue.take("host:1:a", wait_s=0)) is not None:
            leases.append(lease)

        assert [lease.message.id for lease in leases] == ["e0", "e1"]

    @needs(QueueCapability.LIMITS)
    @pytest.mark.parametrize(
        "how", ["complete", "drop", "release for later", "release until woken", "fail for later"], ids=str
    )
    async def test_a_waiting_taker_gets_the_next_of_a_key_once_a_lease_has_ended(
        self, queue: Queue, clock: ManualClock, how: str
    ) -> None:
        await queue.put(message("e1", concurrency=_ONE))
        lease = await taken(queue)
        await queue.put(message("e2", concurrency=_ONE))
        taking = asyncio.create_task(queue.take("host:2:b", wait_s=60))
        await clock.settle()
        early = taking.done()

        await _end(queue, lease, how)
        other = await asyncio.wait_for(taking, timeout=self.patience_s)

        assert early is False
        assert other is not None
        assert other.message.id == "e2"

    @needs(QueueCapability.LIMITS)
    async def test_the_place_of_one_that_died_is_free(self, queue: Queue) -> None:
        await queue.put(message("e1", concurrency=_ONE))
        for _ in range(MAX_ATTEMPTS - 1):
            await queue.fail(await taken(queue), reason="broken")
        lease = await taken(queue)
        await queue.put(message("e2", concurrency=_ONE))

        await queue.fail(lease, reason="broken")

        assert await order(queue) == ["e2"]

    @needs(QueueCapability.LIMITS)
    async def test_a_released_message_waits_for_its_limit_again(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1", concurrency=_ONE))
        await queue.release(await taken(queue), delay_s=5)
        await queue.put(message("e2", concurrency=_ONE))
        other = await taken(queue)

        clock.advance(5.1)
        full = await queue.take("host:1:a", wait_s=0)
        await queue.complete(other)

        assert other.message.id == "e2"
        assert full is None
        assert await order(queue) == ["e1"]

    @needs(QueueCapability.LIMITS)
    async def test_an_expired_message_keeps_its_place_within_the_limit(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1", concurrency=_ONE))
        await taken(queue)
        await queue.put(message("e2", concurrency=_ONE))
        clock.advance(LEASE_S + 0.1)

        assert await order(queue) == ["e1"]

    @needs(QueueCapability.LIMITS)
    async def test_a_reaped_message_keeps_its_place_within_the_limit(self, queue: Queue) -> None:
        await queue.put(message("e1", concurrency=_ONE))
        await taken(queue, worker="host:1:dead")
        await queue.put(message("e2", priority=9, concurrency=_ONE))

        await queue.reap(workers=["host:1:dead"])

        assert await order(queue) == ["e1"]

    @needs(QueueCapability.LIMITS)
    async def test_those_who_wait_come_by_priority_and_then_by_the_time_they_were_due(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1", concurrency=_ONE))
        lease = await taken(queue)
        for id, priority, delay_s in (("late", 0, 3), ("low", -1, 0), ("early", 0, 1), ("high", 5, 4)):
            await queue.put(message(id, priority=priority, concurrency=_ONE), delay_s=delay_s)
        clock.advance(5)

        ids = []
        for _ in range(4):
            await queue.complete(lease)
            lease = await taken(queue)
            ids.append(lease.message.id)

        expected = ["early", "late"]
        if QueueCapability.PRIORITY in queue.capabilities:
            assert ids == ["high", *expected, "low"]
        else:
            assert [id for id in ids if id in expected] == expected

    @needs(QueueCapability.LIMITS)
    async def test_keys_of_two_tenants_are_never_the_same(self, queue: Queue, clock: ManualClock) -> None:
        limits: dict[str, Any] = {
            "concurrency": _ONE,
            "rates": (Rate(key="erp", most=1, window_s=1000),),
            "order": "erp",
        }
        for tenant in ("a", "b"):
            for limit, value in limits.items():
                await queue.put(message(f"{tenant} {limit}", tenant=tenant, **{limit: value}))
            debounced = message(f"{tenant} debounce", tenant=tenant, debounce=Debounce(key="erp", wait_s=1))
            await queue.put(debounced)
        clock.advance(1.1)

        leases = {lease.message.id: lease for _ in range(8) if (lease := await queue.take("host:1:a", wait_s=0))}

        assert len(leases) == 8
        assert {lease.superseded_by for lease in leases.values()} == {""}

    @needs(QueueCapability.LIMITS)
    async def test_keys_of_two_kinds_are_never_the_same(self, queue: Queue) -> None:
        await queue.put(message("concurrency", concurrency=_ONE))
        await queue.put(message("rate", rates=(Rate(key="erp", most=1, window_s=1000),)))
        await queue.put(message("order", order="erp"))

        assert sorted(await order(queue)) == ["concurrency", "order", "rate"]

    @needs(QueueCapability.LIMITS)
    async def test_a_message_that_waits_for_one_limit_holds_no_other(self, queue: Queue) -> None:
        erp, crm = Concurrency(key="erp", most=1), Concurrency(key="crm", most=1)
        await queue.put(message("e1", concurrency=(erp,)))
        lease = await taken(queue)
        await queue.put(message("crm first", concurrency=(crm, erp)))
        await queue.put(message("erp first", concurrency=(erp, crm)))
        waiting = await queue.take("host:1:a", wait_s=0)

        await queue.put(message("crm only", concurrency=(crm,)))
        free = await taken(queue)
        await queue.complete(lease)
        still = await queue.take("host:1:a", wait_s=0)
        await queue.complete(free)

        assert (waiting, free.message.id, still) == (None, "crm only", None)
        assert await order(queue) == ["crm first"]

    @needs(QueueCapability.LIMITS)
    async def test_a_place_that_the_first_in_line_cannot_use_goes_to_the_next(self, queue: Queue) -> None:
        erp, crm = Concurrency(key="erp", most=1), Concurrency(key="crm", most=1)
        await queue.put(message("e1", concurrency=(erp,)))
        await queue.put(message("e2", concurrency=(crm,)))
        erp_lease, crm_lease = await taken(queue), await taken(queue)
        await queue.put(message("both", priority=1, concurrency=(erp, crm)))
        await queue.put(message("erp too", concurrency=(erp,)))
        await queue.put(message("crm too", concurrency=(crm,)))

        await queue.complete(erp_lease)
        first = await order(queue)
        await queue.drop("both")
        await queue.complete(crm_lease)

        assert first == ["erp too"]
        assert await order(queue) == ["crm too"]

    @needs(QueueCapability.LIMITS)
    async def test_a_claim_ignores_limits_and_counts_all_the_same(self, queue: Queue) -> None:
        if QueueCapability.CLAIM not in queue.capabilities:
            return
        for n in range(3):
            await queue.put(message(f"e{n}", concurrency=_ONE))
        first = await taken(queue)

        second = await queue.claim("host:2:b", "e1")
        await queue.complete(first)
        full = await queue.take("host:1:a", wait_s=0)

        assert second is not None
        assert full is None
        await queue.complete(second)
        assert await order(queue) == ["e2"]

    @needs(QueueCapability.LIMITS)
    async def test_what_a_limit_holds_back_can_be_cancelled_and_dropped(self, queue: Queue) -> None:
        for n in range(4):
            await queue.put(message(f"e{n}", concurrency=_ONE))
        lease = await taken(queue)

        cancelled, woken, dropped = await queue.cancel("e1"), await queue.wake("e2"), await queue.drop("e1")
        held = await queue.take("host:1:a", wait_s=0)
        await queue.complete(lease)

        assert (cancelled, woken, dropped, held) == (True, True, True, None)
        assert await order(queue) == ["e2"]

    @needs(QueueCapability.LIMITS)
    async def test_stats_count_what_a_limit_holds_back(self, queue: Queue, clock: ManualClock) -> None:
        for n in range(3):
            await queue.put(message(f"e{n}", concurrency=_ONE))
        await queue.put(message("later", concurrency=_ONE), delay_s=1000)
        await taken(queue)
        await queue.take("host:1:a", wait_s=0)
        await queue.put(message("free"))
        clock.advance(7)

        stats = await queue.stats()

        assert (stats.ready, stats.held, stats.delayed, stats.leased) == (1, 2, 1, 1)
        assert dict(stats.tenants) in ({}, {"acme": 3})

    @needs(QueueCapability.LIMITS)
    async def test_no_more_of_a_key_are_handed_out_within_the_window(self, queue: Queue, clock: ManualClock) -> None:
        for n in range(4):
            await queue.put(message(f"e{n}", rates=_RATE))
        await queue.put(message("free"))
        first = sorted(await order(queue))

        clock.advance(9.9)
        early = await order(queue)
        clock.advance(0.2)

        assert (first, early) == (["e0", "e1", "free"], [])
        assert await order(queue) == ["e2", "e3"]

    @needs(QueueCapability.LIMITS)
    async def test_the_window_slides(self, queue: Queue, clock: ManualClock) -> None:
        for n in range(4):
            await queue.put(message(f"e{n}", rates=_RATE))
        await taken(queue)
        clock.advance(6)
        await taken(queue)

        clock.advance(4.1)
        at_10 = await order(queue)
        clock.advance(5.8)
        at_15 = await order(queue)
        clock.advance(0.2)

        assert (at_10, at_15) == (["e2"], [])
        assert await order(queue) == ["e3"]

    @needs(QueueCapability.LIMITS)
    async def test_the_window_counts_from_when_messages_were_handed_out(self, queue: Queue, clock: ManualClock) -> None:
        for n in range(4):
            await queue.put(message(f"e{n}", rates=_RATE))
        clock.advance(100)

        assert await order(queue) == ["e0", "e1"]

    @needs(QueueCapability.LIMITS)
    async def test_only_the_first_time_that_a_message_is_handed_out_counts(self, queue: Queue) -> None:
        rate = (Rate(key="mail", most=1, window_s=10),)
        await queue.put(message("e1", rates=rate))
        await queue.release(await taken(queue))
        again = await taken(queue)
        await queue.fail(again, reason="no network")

        third = await taken(queue)
        await queue.put(message("e2", rates=rate))

        assert (third.message.id, third.attempt) == ("e1", 2)
        assert await order(queue) == []

    @needs(QueueCapability.LIMITS)
    async def test_a_waiting_taker_gets_the_next_of_a_key_once_the_window_has_passed(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        for n in range(3):
            await queue.put(message(f"e{n}", rates=_RATE))
        await order(queue)
        taking = asyncio.create_task(queue.take("host:2:b", wait_s=60))

        await clock.run(9.9, step=3.3)
        early = taking.done()
        await clock.run(0.3)
        lease = await asyncio.wait_for(taking, timeout=self.patience_s)

        assert early is False
        assert lease is not None
        assert lease.message.id == "e2"

    @needs(QueueCapability.LIMITS)
    async def test_a_claim_counts_within_the_window(self, queue: Queue) -> None:
        if QueueCapability.CLAIM not in queue.capabilities:
            return
        for n in range(3):
            await queue.put(message(f"e{n}", rates=_RATE))
        for n in range(2):
            await queue.claim("host:1:a", f"e{n}")

        assert await order(queue) == []

    @needs(QueueCapability.LIMITS)
    async def test_what_waits_for_a_rate_holds_no_place_of_a_concurrency(self, queue: Queue) -> None:
        rate = (Rate(key="mail", most=1, window_s=10),)
        await queue.put(message("e1", rates=rate))
        await taken(queue)
        await queue.put(message("e2", rates=rate, concurrency=_ONE))
        held = await queue.take("host:1:a", wait_s=0)

        await queue.put(message("e3", concurrency=_ONE))

        assert held is None
        assert await order(queue) == ["e3"]
