"""The part of the queue's contract that is about leases: how they are held, lost, given back, cancelled and reaped."""

from __future__ import annotations

import pytest

from turnout.interfaces.queue import LeaseState, Queue, QueueCapability
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import LEASE_S, MAX_ATTEMPTS, QueueFixtures, message, needs, taken

__all__ = ["LeaseContract"]


class LeaseContract(QueueFixtures):
    """What every queue promises of its leases; part of `turnout.testing.queue.QueueContract`."""

    async def test_a_lease_says_when_it_runs_out(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1"))

        lease = await taken(queue)

        assert lease.expires_at == pytest.approx(clock.now() + LEASE_S, abs=0.1)

    async def test_tokens_rise_with_every_lease(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1"))
        first = await taken(queue)
        await queue.release(first)
        second = await taken(queue)
        clock.advance(LEASE_S + 0.1)
        third = await taken(queue)

        assert first.token < second.token < third.token

    async def test_extend_renews_a_lease_from_now(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)
        clock.advance(LEASE_S - 1)

        states = await queue.extend([lease])
        clock.advance(LEASE_S - 1)

        assert list(states) == [LeaseState.HELD]
        assert await queue.take("host:2:b", wait_s=0) is None

    async def test_extend_answers_in_the_order_of_the_leases(self, queue: Queue) -> None:
        for id in ("held", "gone", "cancelled"):
            await queue.put(message(id))
        held, gone, cancelled = [await taken(queue) for _ in range(3)]
        await queue.complete(gone)
        await queue.cancel("cancelled")

        states = await queue.extend([cancelled, gone, held])

        assert list(states) == [LeaseState.CANCELLED, LeaseState.LOST, LeaseState.HELD]

    async def test_a_lease_is_lost_once_its_message_was_leased_again(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1"))
        old = await taken(queue)
        clock.advance(LEASE_S + 0.1)
        new = await taken(queue, worker="host:2:b")

        await self.assert_lost(queue, old)

        assert list(await queue.extend([new])) == [LeaseState.HELD]

    async def test_a_lease_is_lost_once_it_was_reaped_and_stays_so(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)
        clock.advance(LEASE_S + 0.1)
        await queue.reap()

        await self.assert_lost(queue, lease)

        assert (await taken(queue)).message.id == "e1"

    async def test_a_lease_is_lost_once_its_message_was_dropped(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)
        await queue.drop("e1")

        await self.assert_lost(queue, lease)

    async def test_a_lease_is_lost_once_its_message_was_completed(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)
        completed = await queue.complete(lease)
        await queue.put(message("e1"))

        await self.assert_lost(queue, lease)

        assert completed is True

    async def test_a_released_message_is_due_after_its_delay_and_its_attempts_start_over(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"))
        await queue.fail(await taken(queue), reason="once")
        released = await queue.release(await taken(queue), delay_s=10)

        early = await queue.take("host:1:a", wait_s=0)
        clock.advance(10.1)
        lease = await taken(queue)

        assert (released, early, lease.attempt) == (True, None, 1)

    async def test_a_declined_message_is_due_after_its_delay_and_the_attempt_does_not_count(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"))
        await queue.fail(await taken(queue), reason="once")
        declined = await queue.decline(await taken(queue), delay_s=10)

        early = await queue.take("host:1:a", wait_s=0)
        clock.advance(10.1)
        lease = await taken(queue)

        assert (declined, early, lease.attempt) == (True, None, 2)

    async def test_a_message_that_was_woken_during_its_lease_is_due_at_once_when_it_is_declined(
        self, queue: Queue
    ) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)
        await queue.wake("e1")

        await queue.decline(lease, delay_s=1000)

        assert (await taken(queue)).attempt == 1

    async def test_a_message_released_without_a_time_waits_until_it_is_woken(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"))
        await queue.release(await taken(queue), delay_s=None)

        clock.advance(10_000_000)
        asleep = await queue.take("host:1:a", wait_s=0)
        woken = await queue.wake("e1")

        assert (asleep, woken) == (None, True)
        assert (await taken(queue)).message.id == "e1"

    async def test_wake_makes_a_delayed_message_due(self, queue: Queue) -> None:
        await queue.put(message("e1"), delay_s=1000)

        await queue.wake("e1")

        assert (await taken(queue)).message.id == "e1"

    async def test_a_message_woken_during_its_lease_is_due_at_once_when_it_is_released(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)
        await queue.wake("e1")
        await queue.release(lease, delay_s=None)

        again = await taken(queue)
        await queue.release(again, delay_s=None)

        assert await queue.take("host:1:a", wait_s=0) is None

    async def test_a_message_cancelled_during_its_lease_is_due_at_once_when_it_is_released(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)
        await queue.cancel("e1")

        await queue.release(lease, delay_s=None)

        assert (await taken(queue)).message.id == "e1"

    async def test_wake_says_whether_the_message_is_there(self, queue: Queue) -> None:
        await queue.put(message("e1"))

        assert (await queue.wake("e1"), await queue.wake("unknown")) == (True, False)

    async def test_a_failed_message_is_due_after_its_delay_and_its_attempt_counts(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"))
        failed = await queue.fail(await taken(queue), reason="no network", delay_s=10)

        early = await queue.take("host:1:a", wait_s=0)
        clock.advance(10.1)
        lease = await taken(queue)

        assert (failed, early, lease.attempt) == (True, None, 2)

    async def test_after_its_last_attempt_a_failed_message_is_a_dead_letter(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await self.kill(queue, "e1", reason="it broke")

        dead = list(await queue.dead())

        assert [(letter.message, letter.attempts, letter.reason) for letter in dead] == [
            (message("e1"), MAX_ATTEMPTS, "it broke")
        ]
        assert dead[0].died_at == pytest.approx(clock.now(), abs=0.1)
        assert await queue.take("host:1:a", wait_s=0) is None

    async def test_dead_letters_come_newest_first_and_no_more_than_asked_for(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        for id in ("oldest", "middle", "newest"):
            await self.kill(queue, id)
            clock.advance(1)

        assert [letter.message.id for letter in await queue.dead(limit=2)] == ["newest", "middle"]

    async def test_a_revived_message_is_due_and_its_attempts_start_over(self, queue: Queue) -> None:
        await self.kill(queue, "e1")

        revived = await queue.revive("e1")
        lease = await taken(queue)

        assert (revived, lease.attempt, list(await queue.dead())) == (True, 1, [])

    async def test_only_a_dead_message_can_be_revived(self, queue: Queue) -> None:
        await queue.put(message("e1"))

        assert (await queue.revive("e1"), await queue.revive("unknown")) == (False, False)

    async def test_cancel_reaches_the_holder_of_the_lease(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)

        cancelled = await queue.cancel("e1")

        assert cancelled is True
        assert list(await queue.extend([lease])) == [LeaseState.CANCELLED]
        assert list(await queue.extend([lease])) == [LeaseState.CANCELLED]

    async def test_cancel_extends_to_later_leases(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1"))
        await taken(queue)
        await queue.cancel("e1")
        clock.advance(LEASE_S + 0.1)

        later = await taken(queue, worker="host:2:b")

        assert list(await queue.extend([later])) == [LeaseState.CANCELLED]

    async def test_a_cancelled_lease_is_still_renewed(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("e1"))
        lease = await taken(queue)
        await queue.cancel("e1")
        clock.advance(LEASE_S - 1)

        await queue.extend([lease])
        clock.advance(LEASE_S - 1)

        assert await queue.take("host:2:b", wait_s=0) is None

    async def test_a_cancelled_message_that_waits_is_due_at_once(self, queue: Queue) -> None:
        await queue.put(message("e1"), delay_s=1000)

        await queue.cancel("e1")
        lease = await taken(queue)

        assert list(await queue.extend([lease])) == [LeaseState.CANCELLED]

    async def test_cancel_of_an_unknown_message_is_false(self, queue: Queue) -> None:
        assert await queue.cancel("unknown") is False

    async def test_reap_returns_each_expired_lease_once_with_a_raised_token(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"))
        await queue.put(message("e2"))
        lost = await taken(queue)
        clock.advance(LEASE_S / 2)
        held = await taken(queue)
        clock.advance(LEASE_S / 2 + 0.1)

        ended = list(await queue.reap())
        again = list(await queue.reap())

        assert [(lease.message.id, lease.worker) for lease in ended] == [(lost.message.id, lost.worker)]
        assert ended[0].token > lost.token
        assert again == []
        assert list(await queue.extend([held])) == [LeaseState.HELD]

    async def test_a_claim_after_a_reap_has_a_token_above_the_raised_one(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"))
        await taken(queue)
        clock.advance(LEASE_S + 0.1)
        ended = list(await queue.reap())

        lease = await taken(queue)

        assert lease.token > ended[0].token
        assert lease.attempt == 2

    @needs(QueueCapability.FIRST_DUE)
    async def test_a_reaped_message_goes_to_the_head_of_its_tenants_line(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"))
        await taken(queue)
        await queue.put(message("e2"))
        await queue.put(message("e3", priority=9))
        clock.advance(LEASE_S + 0.1)

        await queue.reap()

        assert (await taken(queue)).message.id == "e1"

    async def test_reap_sends_a_message_without_attempts_left_to_the_dead_letters(
        self, queue: Queue, clock: ManualClock
    ) -> None:
        await queue.put(message("e1"))
        for _ in range(MAX_ATTEMPTS):
            await taken(queue)
            clock.advance(LEASE_S + 0.1)

        unavailable = await queue.take("host:1:a", wait_s=0)
        ended = list(await queue.reap())
        dead = list(await queue.dead())

        assert unavailable is None
        assert [lease.message.id for lease in ended] == ["e1"]
        assert [(letter.message.id, letter.attempts) for letter in dead] == [("e1", MAX_ATTEMPTS)]

    async def test_reap_ends_the_leases_of_dead_workers_before_they_run_out(self, queue: Queue) -> None:
        for id, worker in (("e1", "host:1:dead"), ("e2", "host:2:alive"), ("e3", "host:1:dead"), ("e4", "host:3:dead")):
            await queue.put(message(id))
            newest = await taken(queue, worker=worker)

        ended = list(await queue.reap(workers=["host:1:dead", "host:3:dead", "host:4:unknown"]))
        again = list(await queue.reap(workers=["host:1:dead", "host:3:dead"]))

        assert sorted((lease.message.id, lease.worker) for lease in ended) == [
            ("e1", "host:1:dead"),
            ("e3", "host:1:dead"),
            ("e4", "host:3:dead"),
        ]
        assert newest.token < max(lease.token for lease in ended if lease.message.id == "e4")
        assert again == []
        assert sorted([(await taken(queue)).message.id for _ in range(3)]) == ["e1", "e3", "e4"]
        assert await queue.take("host:1:a", wait_s=0) is None

    async def test_reap_of_dead_workers_ends_what_has_expired_as_well(self, queue: Queue, clock: ManualClock) -> None:
        await queue.put(message("expired"))
        await taken(queue, worker="host:1:a")
        clock.advance(LEASE_S - 1)
        for id, worker in (("lost", "host:2:b"), ("held", "host:3:c")):
            await queue.put(message(id))
            held = await taken(queue, worker=worker)
        clock.advance(1.1)

        ended = await queue.reap(workers=["host:2:b"])

        assert sorted(lease.message.id for lease in ended) == ["expired", "lost"]
        assert list(await queue.extend([held])) == [LeaseState.HELD]

    async def test_the_lease_of_a_dead_worker_on_its_last_attempt_is_a_dead_letter(self, queue: Queue) -> None:
        await queue.put(message("e1"))
        for _ in range(MAX_ATTEMPTS):
            await taken(queue)
            await queue.reap(workers=["host:1:a"])

        assert [(letter.message.id, letter.attempts) for letter in await queue.dead()] == [("e1", MAX_ATTEMPTS)]
        assert await queue.take("host:1:a", wait_s=0) is None

    async def test_workers_are_those_who_hold_a_lease_each_once(self, queue: Queue, clock: ManualClock) -> None:
        for id in ("e1", "e2", "e3", "e4"):
            await queue.put(message(id))
        one, two, three = [await taken(queue, worker=worker) for worker in ("host:1:a", "host:1:a", "host:2:b")]
        before = sorted(await queue.workers())
        await queue.complete(three)
        await queue.release(one)
        clock.advance(LEASE_S + 0.1)
        expired = list(await queue.workers())

        await queue.reap()

        assert before == ["host:1:a", "host:2:b"]
        assert expired == [two.worker]
        assert list(await queue.workers()) == []
