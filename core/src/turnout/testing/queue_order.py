"""The part of the queue's contract that is about messages in their order, and about those that take another's place."""

from __future__ import annotations

import asyncio

import pytest

from turnout.interfaces.queue import Debounce, Message, Queue, QueueCapability
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import LEASE_S, MAX_ATTEMPTS, QueueFixtures, message, needs, order, taken

__all__ = ["OrderContract"]


def _burst(id: str, *, wait_s: float = 10.0, longest_s: float | None = None) -> Message:
    return message(id, debounce=Debounce(key="sync", wait_s=wait_s, longest_s=longest_s))


class OrderContract(QueueFixtures):
    """What a queue that declares `LIMITS` promises about order and debounce; part of
    `turnout.testing.queue.QueueContract`."""

    @needs(QueueCapability.LIMITS)
    async def test_messages_of_one_order_are_handed_out_one_at_a_time_as_they_were_put(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("first", order="crm"), delay_s=3)
        await queue.put(message("second", order="crm", priority=9))
        await queue.put(message("third", order="crm", priority=99))
        await queue.put(message("other", order="erp"))
        early = await order(queue)
        clock.advance(3.1)

        ids = []
        while (lease := await queue.take("host:1:a", wait_s=0)) is not None:
            ids.append(lease.message.id)
            assert await order(queue) == []
            await queue.complete(lease)

        assert (early, ids) == (["other"], ["first", "second", "third"])

    @needs(QueueCapability.LIMITS)
    async def test_a_message_is_handed_out_when_it_is_due_although_its_turn_in_the_order_has_come(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("first", order="crm"))
        await queue.put(message("second", order="crm"), delay_s=5)
        await queue.complete(await taken(queue))

        early = await order(queue)
        clock.advance(5.1)

        assert early == []
        assert await order(queue) == ["second"]

    @needs(QueueCapability.LIMITS)
    @pytest.mark.parametrize("how", ["release for later", "release until woken", "fail for later", "expire", "reap"])
    async def test_while_one_waits_those_behind_it_in_the_order_wait_as_well(
        self, queue: Queue, clock: ManualClock, how: str
    ) -> None:
        for id in ("first", "second"):
            await queue.put(message(id, order="crm"))
        lease = await taken(queue)

        match how:
            case "release for later":
                await queue.release(lease, delay_s=5)
            case "release until woken":
                await queue.release(lease, delay_s=None)
            case "fail for later":
                await queue.fail(lease, reason="no network", delay_s=5)
            case "expire":
                clock.advance(LEASE_S + 0.1)
            case _:
                await queue.reap(workers=["host:1:a"])
        waiting = await order(queue) if "later" in how or "woken" in how else []
        clock.advance(5.1)
        await queue.wake("first")

        assert waiting == []
        assert await order(queue) == ["first"]

    @needs(QueueCapability.LIMITS)
    @pytest.mark.parametrize("how", ["complete", "drop", "die"])
    async def test_a_waiting_taker_gets_the_next_in_order_once_the_one_before_has_ended(
        self, queue: Queue, clock: ManualClock, how: str
    ) -> None:
        for id in ("first", "second"):
            await queue.put(message(id, order="crm"))
        for _ in range(MAX_ATTEMPTS - 1):
            await queue.fail(await taken(queue), reason="broken")
        lease = await taken(queue)
        taking = asyncio.create_task(queue.take("host:2:b", wait_s=60))
        await clock.settle()
        early = taking.done()

        match how:
            case "complete":
                await queue.complete(lease)
            case "drop":
                await queue.drop("first")
            case _:
                await queue.fail(lease, reason="broken")
        following = await asyncio.wait_for(taking, timeout=self.patience_s)

        assert early is False
        assert following is not None
        assert following.message.id == "second"

    @needs(QueueCapability.LIMITS)
    async def test_one_that_is_dropped_from_the_middle_of_an_order_leaves_the_others_in_theirs(
        self, queue: Queue
    ) -> None:
        for id in ("first", "second", "third"):
            await queue.put(message(id, order="crm"))
        lease = await taken(queue)

        await queue.drop("second")
        held = await order(queue)
        await queue.complete(lease)

        assert held == []
        assert await order(queue) == ["third"]

    @needs(QueueCapability.LIMITS)
    async def test_one_that_is_claimed_out_of_order_counts_as_handed_out(self, queue: Queue) -> None:
        if QueueCapability.CLAIM not in queue.capabilities:
            return
        for id in ("first", "second", "third"):
            await queue.put(message(id, order="crm"))
        first = await taken(queue)
        second = await queue.claim("host:2:b", "second")
        assert second is not None

        await queue.complete(first)
        held = await order(queue)
        await queue.complete(second)

        assert held == []
        assert await order(queue) == ["third"]

    @needs(QueueCapability.LIMITS)
    async def test_a_revived_message_stands_behind_the_others_of_its_order(self, queue: Queue) -> None:
        for id in ("first", "second", "third"):
            await queue.put(message(id, order="crm"))
        for _ in range(MAX_ATTEMPTS):
            await queue.fail(await taken(queue), reason="broken")
        await queue.revive("first")

        ids = []
        for _ in range(3):
            lease = await taken(queue)
            ids.append(lease.message.id)
            await queue.complete(lease)

        assert ids == ["second", "third", "first"]

    @needs(QueueCapability.LIMITS)
    async def test_a_debounced_message_is_due_after_its_wait(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(_burst("e1"))

        clock.advance(9.9)
        early = await order(queue)
        clock.advance(0.2)
        lease = await taken(queue)

        assert early == []
        assert (lease.message.id, lease.superseded_by) == ("e1", "")

    @needs(QueueCapability.LIMITS)
    async def test_a_newer_message_takes_the_place_of_one_that_was_never_handed_out(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(_burst("old"))
        clock.advance(6)
        await queue.put(_burst("new"))

        replaced = await taken(queue)
        await queue.complete(replaced)
        clock.advance(9.9)
        early = await order(queue)
        clock.advance(0.2)
        lease = await taken(queue)

        assert (replaced.message.id, replaced.superseded_by) == ("old", "new")
        assert early == []
        assert (lease.message.id, lease.superseded_by) == ("new", "")

    @needs(QueueCapability.LIMITS)
    async def test_one_that_is_due_and_was_never_handed_out_is_replaced_as_well(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(_burst("old"))
        clock.advance(20)
        await queue.put(_burst("new"))

        replaced = await taken(queue)

        assert (replaced.message.id, replaced.superseded_by) == ("old", "new")
        assert await order(queue) == []

    @needs(QueueCapability.LIMITS)
    async def test_a_waiting_taker_gets_the_one_replaced_at_once(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(_burst("old"))
        taking = asyncio.create_task(queue.take("host:2:b", wait_s=60))
        await clock.settle()

        await queue.put(_burst("new"))
        replaced = await asyncio.wait_for(taking, timeout=self.patience_s)

        assert replaced is not None
        assert (replaced.message.id, replaced.superseded_by) == ("old", "new")

    @needs(QueueCapability.LIMITS)
    async def test_one_that_was_handed_out_is_not_replaced(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(_burst("old"))
        clock.advance(10.1)
        lease = await taken(queue)
        await queue.release(lease, delay_s=1)

        await queue.put(_burst("new"))
        clock.advance(10.1)
        leases = {lease.message.id: lease.superseded_by for lease in [await taken(queue), await taken(queue)]}

        assert leases == {"old": "", "new": ""}

    @needs(QueueCapability.LIMITS)
    async def test_one_that_was_dropped_is_not_replaced(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(_burst("old", longest_s=15))
        await queue.drop("old")
        clock.advance(9)
        await queue.put(_burst("new", longest_s=15))

        clock.advance(9.9)
        early = await order(queue)
        clock.advance(0.2)

        assert early == []
        assert await order(queue) == ["new"]

    @needs(QueueCapability.LIMITS)
    async def test_replacing_does_not_put_off_longer_than_allowed_after_the_first(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        for n in range(4):
            await queue.put(_burst(f"e{n}", longest_s=25))
            clock.advance(8)
        replaced = [await taken(queue) for _ in range(3)]
        again = await taken(queue)

        assert {lease.message.id: lease.superseded_by for lease in replaced} == {"e0": "e1", "e1": "e2", "e2": "e3"}
        assert (again.message.id, again.superseded_by) == ("e3", "")  # due at 25, and 34 without

    @needs(QueueCapability.LIMITS)
    async def test_who_was_replaced_says_so_at_every_lease(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(_burst("old"))
        await queue.put(_burst("new"))
        replaced = await taken(queue)

        (ended,) = await queue.reap(workers=[replaced.worker])
        again = await taken(queue)

        assert (ended.superseded_by, again.superseded_by) == ("new", "new")

    @needs(QueueCapability.LIMITS)
    async def test_a_message_that_is_there_already_replaces_nothing(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(_burst("e1"))
        clock.advance(6)

        added = await queue.put(_burst("e1"))
        clock.advance(4.1)
        lease = await taken(queue)

        assert (added, lease.superseded_by) == (False, "")

    @needs(QueueCapability.LIMITS)
    async def test_messages_of_different_debounce_keys_do_not_replace_each_other(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        for key in ("sync", "mail"):
            await queue.put(message(key, debounce=Debounce(key=key, wait_s=1)))
        clock.advance(1.1)

        leases = [await taken(queue) for _ in range(2)]

        assert [(lease.message.id, lease.superseded_by) for lease in leases] == [("sync", ""), ("mail", "")]
