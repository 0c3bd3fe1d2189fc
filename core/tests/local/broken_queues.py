"""Queues that each break a promise about messages and leases, and the tests of the contract that must notice it."""

# Breaking a queue takes putting other things in its places.
# mypy: disable-error-code="method-assign,assignment"

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import Any

from turnout.interfaces.queue import DeadMessage, Lease, LeaseState, Message, QueueStats
from turnout.local.memory_lines import Entry
from turnout.local.memory_queue import MemoryQueue
from turnout.model.durability import Durability
from turnout.testing.queue import LEASE_S

__all__ = ["CAUGHT"]


class HandsOutTwice(MemoryQueue):
    async def take(self, worker: str, *, wait_s: float) -> Lease | None:
        lease = await super().take(worker, wait_s=wait_s)
        if lease is not None:
            self._line_up(self._entries[lease.message.id], self._clock.now())
        return lease


class AddsAgain(MemoryQueue):
    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        await self.drop(message.id)
        return await super().put(message, delay_s=delay_s, capped=capped)


class ForgetsTokens(MemoryQueue):
    async def complete(self, lease: Lease) -> bool:
        self._tokens = itertools.count(1)
        return await super().complete(lease)


class KeepsTokens(MemoryQueue):
    def _lease(self, entry: Entry, worker: str) -> Lease:
        self._tokens = iter([7])
        return super()._lease(entry, worker)

    def _end_leases(self, entries: Sequence[Entry]) -> Sequence[Lease]:
        self._tokens = iter([8] * len(entries))
        return super()._end_leases(entries)


class KeepsTokensAtReap(MemoryQueue):
    def _end_leases(self, entries: Sequence[Entry]) -> Sequence[Lease]:
        self._tokens = iter([entry.token for entry in entries])
        return super()._end_leases(entries)


class IgnoresDelays(MemoryQueue):
    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        return await super().put(message)

    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        return await super().release(lease)

    async def fail(self, lease: Lease, *, reason: str, delay_s: float = 0.0) -> bool:
        return await super().fail(lease, reason=reason)


class WakesNobody(MemoryQueue):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._takers.wake = lambda: None


class WakesTheFirstOnly(MemoryQueue):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        wakes = [self._takers.wake]
        self._takers.wake = lambda: wakes and wakes.pop()()


class SwallowsWakeUps(MemoryQueue):
    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        added = await super().put(message, delay_s=delay_s)
        self._takers.wake = lambda: None  # the taker that was woken and is cancelled cannot pass it on
        return added


class ForgetsAlarms(MemoryQueue):
    def _next_due(self) -> float:
        return float("inf")


class WaitsTooLong(MemoryQueue):
    async def take(self, worker: str, *, wait_s: float) -> Lease | None:
        return await super().take(worker, wait_s=wait_s * 100)


class GivesUpEarly(MemoryQueue):
    async def take_many(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        return await super().take_many(worker, limit=limit, wait_s=wait_s / 2)


class LastInFirstOut(MemoryQueue):
    def _line_up(self, entry: Entry, due_at: float, *, rank: float | None = None) -> None:
        super()._line_up(entry, due_at, rank=-entry.order if rank is None else rank)


class NeverTakesOver(MemoryQueue):
    def _hold(self, entry: Entry, expires_at: float) -> None:
        super()._hold(entry, expires_at)
        self._expiries.clear()


class LeasesTooLong(MemoryQueue):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "lease_s": LEASE_S * 3})


class DoesNotRenew(MemoryQueue):
    def _extend_one(self, lease: Lease) -> LeaseState:
        entry = self._held(lease)
        at, hold = (entry.at if entry else 0), self._hold
        self._hold = lambda entry, expires_at: hold(entry, at)
        return super()._extend_one(lease)


class AnswersInItsOwnOrder(MemoryQueue):
    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        return sorted(await super().extend(leases))


class NeverLosesALease(MemoryQueue):
    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        return [LeaseState.HELD if state is LeaseState.LOST else state for state in await super().extend(leases)]


class KeepsCompleted(MemoryQueue):
    async def complete(self, lease: Lease) -> bool:
        return self._held(lease) is not None


class CountsReleases(MemoryQueue):
    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        entry = self._held(lease)
        attempts = entry.attempts if entry else 0
        released = await super().release(lease, delay_s=delay_s)
        if entry is not None:
            entry.attempts = attempts
        return released


class WakesByItself(MemoryQueue):
    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        return await super().release(lease, delay_s=1000 if delay_s is None else delay_s)


class IgnoresWakes(MemoryQueue):
    async def wake(self, id: str) -> bool:
        return True


class RemembersWakesForEver(MemoryQueue):
    def _lease(self, entry: Entry, worker: str) -> Lease:
        woken = entry.woken
        lease = super()._lease(entry, worker)
        entry.woken = woken
        return lease


class ForgetsFailures(MemoryQueue):
    async def fail(self, lease: Lease, *, reason: str, delay_s: float = 0.0) -> bool:
        return await self.release(lease, delay_s=delay_s)


class LosesReasons(MemoryQueue):
    def _bury(self, entry: Entry, reason: str) -> None:
        super()._bury(entry, "failed")


class OldestDeadFirst(MemoryQueue):
    async def dead(self, *, limit: int = 100) -> Sequence[DeadMessage]:
        return list(reversed(await super().dead()))


class RevivesTired(MemoryQueue):
    async def revive(self, id: str) -> bool:
        attempts = self._entries[id].attempts
        revived = await super().revive(id)
        self._entries[id].attempts = attempts
        return revived


class RevivesTheLiving(MemoryQueue):
    async def revive(self, id: str) -> bool:
        await super().revive(id)
        return True


class CancelsNothing(MemoryQueue):
    async def cancel(self, id: str) -> bool:
        return True


class CancelsOneLease(MemoryQueue):
    def _lease(self, entry: Entry, worker: str) -> Lease:
        entry.cancelled = False
        return super()._lease(entry, worker)


class CancelsOnceOnly(MemoryQueue):
    def _extend_one(self, lease: Lease) -> LeaseState:
        state = super()._extend_one(lease)
        self._entries[lease.message.id].cancelled = False
        return state


class DropsCancelledLeases(MemoryQueue):
    def _extend_one(self, lease: Lease) -> LeaseState:
        entry = self._held(lease)
        if entry is not None and entry.cancelled:
            return LeaseState.CANCELLED
        return super()._extend_one(lease)


class CancelsLater(MemoryQueue):
    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        cancelled, self._entries[lease.message.id].cancelled = self._entries[lease.message.id].cancelled, False
        released = await super().release(lease, delay_s=delay_s)
        self._entries[lease.message.id].cancelled = cancelled
        return released

    async def cancel(self, id: str) -> bool:
        entry = self._entries.get(id)
        if entry is not None:
            entry.cancelled = True
        return entry is not None


class ReapsAgain(MemoryQueue):
    ended = ()

    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        self.ended = [*self.ended, *await super().reap(workers=workers)]
        return self.ended


class ReapsTheLiving(MemoryQueue):
    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        return self._end_leases(list(self._leased.values()))


class ReapsToTheTail(MemoryQueue):
    def _line_up(self, entry: Entry, due_at: float, *, rank: float | None = None) -> None:
        super()._line_up(entry, due_at, rank=1000 if rank is not None else None)


class NeverBuries(MemoryQueue):
    def _bury(self, entry: Entry, reason: str) -> None:
        self._line_up(entry, self._clock.now())


class DropsTheWaitingOnly(MemoryQueue):
    async def drop(self, id: str) -> bool:
        entry = self._entries.get(id)
        return entry is not None and entry.state in ("ready", "delayed") and await super().drop(id)


class TakesMoreThanAskedFor(MemoryQueue):
    async def take_many(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        return await super().take_many(worker, limit=limit + 1, wait_s=wait_s)


class WaitsForAll(MemoryQueue):
    async def take_many(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        batches = [await super(WaitsForAll, self).take_many(worker, limit=1, wait_s=wait_s) for _ in range(limit)]
        return [lease for batch in batches for lease in batch]


class MissesInItsOwnOrder(MemoryQueue):
    async def missing(self, ids: Sequence[str]) -> Sequence[str]:
        return sorted(await super().missing(ids))


class BelievesInEveryWorker(MemoryQueue):
    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        return await super().reap()


class ReapsWorkersOnly(MemoryQueue):
    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        return self._end_leases([entry for entry in self._leased.values() if entry.worker in workers])


class NamesAWorkerForEachLease(MemoryQueue):
    async def workers(self) -> Sequence[str]:
        return [entry.worker for entry in self._leased.values()]


class CountsNothing(MemoryQueue):
    async def stats(self) -> QueueStats:
        return QueueStats(ready=1, delayed=1, leased=1, dead=1, oldest_ready_s=1)


class ClosesQuietly(MemoryQueue):
    async def close(self) -> None:
        pass


class OnlySaysItIsDurable(MemoryQueue):
    durability = Durability.PROCESS


class ServesTheFirstTenant(MemoryQueue):
    def _lease(self, entry: Entry, worker: str) -> Lease:
        self._ring.move_to_end(entry.message.tenant, last=False)
        return super()._lease(entry, worker)


class ServesWhoPutLast(MemoryQueue):
    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        added = await super().put(message, delay_s=delay_s)
        self._ring.move_to_end(message.tenant, last=False)
        return added


class IgnoresPriorities(MemoryQueue):
    def _line_up(self, entry: Entry, due_at: float, *, rank: float | None = None) -> None:
        super()._line_up(entry, due_at, rank=0 if rank is None else rank)


class ClaimsUndeclared(MemoryQueue):
    capabilities = frozenset()


class ClaimsTheDueOnly(MemoryQueue):
    async def claim(self, worker: str, id: str) -> Lease | None:
        return await super().claim(worker, id) if self._entries[id].state == "ready" else None


class ClaimsTheLeased(MemoryQueue):
    async def claim(self, worker: str, id: str) -> Lease | None:
        return self._lease(self._entries[id], worker) if id in self._entries else None


class CountsDeclined(MemoryQueue):
    async def decline(self, lease: Lease, *, delay_s: float = 0.0) -> bool:
        return await self.fail(lease, reason="declined", delay_s=delay_s)


class ForgetsAttemptsWhenDeclined(MemoryQueue):
    async def decline(self, lease: Lease, *, delay_s: float = 0.0) -> bool:
        return await self.release(lease, delay_s=delay_s)


class DeclinesForALongTime(MemoryQueue):
    async def decline(self, lease: Lease, *, delay_s: float = 0.0) -> bool:
        entry = self._held(lease)
        if entry is not None:
            entry.woken = False
        return await super().decline(lease, delay_s=delay_s)


CAUGHT: dict[type[MemoryQueue], list[str]] = {
    CountsDeclined: ["a_declined_message_is_due_after_its_delay_and_the_attempt_does_not_count"],
    ForgetsAttemptsWhenDeclined: ["a_declined_message_is_due_after_its_delay_and_the_attempt_does_not_count"],
    DeclinesForALongTime: ["a_message_that_was_woken_during_its_lease_is_due_at_once_when_it_is_declined"],
    HandsOutTwice: [
        "a_message_is_handed_out_to_one_worker_at_a_time",
        "extend_renews_a_lease_from_now",
        "a_cancelled_lease_is_still_renewed",
    ],
    AddsAgain: ["a_message_that_is_there_already_is_not_added_again", "a_dead_message_is_not_added_again"],
    ForgetsTokens: ["a_completed_message_can_be_put_again_and_its_token_still_rises"],
    KeepsTokens: ["tokens_rise_with_every_lease", "a_claim_after_a_reap_has_a_token_above_the_raised_one"],
    KeepsTokensAtReap: ["reap_returns_each_expired_lease_once_with_a_raised_token"],
    IgnoresDelays: [
        "a_delayed_message_is_handed_out_when_due_and_not_before",
        "a_waiting_taker_gets_a_delayed_message_when_it_is_due",
        "a_released_message_is_due_after_its_delay_and_its_attempts_start_over",
        "a_failed_message_is_due_after_its_delay_and_its_attempt_counts",
    ],
    WakesNobody: ["a_waiting_taker_gets_a_message_as_soon_as_it_is_put"],
    WakesTheFirstOnly: ["each_of_several_waiting_takers_gets_one"],
    SwallowsWakeUps: ["a_taker_that_gives_up_does_not_swallow_a_message"],
    ForgetsAlarms: ["a_waiting_taker_gets_a_delayed_message_when_it_is_due"],
    WaitsTooLong: ["take_returns_none_after_its_waiting_time"],
    GivesUpEarly: ["take_returns_none_after_its_waiting_time"],
    LastInFirstOut: ["of_one_tenant_the_message_due_first_comes_first"],
    NeverTakesOver: [
        "an_expired_message_comes_before_those_waiting",
        "whatever_comes_next_all_that_is_due_comes",
    ],
    LeasesTooLong: ["a_lease_says_when_it_runs_out"],
    DoesNotRenew: ["extend_renews_a_lease_from_now"],
    AnswersInItsOwnOrder: ["extend_answers_in_the_order_of_the_leases"],
    NeverLosesALease: [
        "a_lease_is_lost_once_its_message_was_leased_again",
        "a_lease_is_lost_once_it_was_reaped_and_stays_so",
        "a_lease_is_lost_once_its_message_was_dropped",
        "a_lease_is_lost_once_its_message_was_completed",
    ],
    KeepsCompleted: ["complete_removes_the_message"],
    CountsReleases: ["a_released_message_is_due_after_its_delay_and_its_attempts_start_over"],
    WakesByItself: ["a_message_released_without_a_time_waits_until_it_is_woken"],
    IgnoresWakes: [
        "wake_makes_a_delayed_message_due",
        "wake_says_whether_the_message_is_there",
        "a_message_woken_during_its_lease_is_due_at_once_when_it_is_released",
    ],
    RemembersWakesForEver: ["a_message_woken_during_its_lease_is_due_at_once_when_it_is_released"],
    ForgetsFailures: [
        "a_failed_message_is_due_after_its_delay_and_its_attempt_counts",
        "after_its_last_attempt_a_failed_message_is_a_dead_letter",
    ],
    LosesReasons: ["after_its_last_attempt_a_failed_message_is_a_dead_letter"],
    OldestDeadFirst: ["dead_letters_come_newest_first_and_no_more_than_asked_for"],
    RevivesTired: ["a_revived_message_is_due_and_its_attempts_start_over"],
    RevivesTheLiving: ["only_a_dead_message_can_be_revived"],
    CancelsNothing: ["cancel_reaches_the_holder_of_the_lease", "cancel_of_an_unknown_message_is_false"],
    CancelsOneLease: ["cancel_extends_to_later_leases"],
    CancelsOnceOnly: ["cancel_reaches_the_holder_of_the_lease"],
    DropsCancelledLeases: ["a_cancelled_lease_is_still_renewed"],
    CancelsLater: [
        "a_cancelled_message_that_waits_is_due_at_once",
        "a_message_cancelled_during_its_lease_is_due_at_once_when_it_is_released",
    ],
    ReapsAgain: ["reap_returns_each_expired_lease_once_with_a_raised_token"],
    ReapsTheLiving: ["reap_returns_each_expired_lease_once_with_a_raised_token"],
    ReapsToTheTail: ["a_reaped_message_goes_to_the_head_of_its_tenants_line"],
    NeverBuries: ["reap_sends_a_message_without_attempts_left_to_the_dead_letters"],
    DropsTheWaitingOnly: ["drop_removes_a_message_wherever_it_is"],
    TakesMoreThanAskedFor: ["many_are_taken_at_once_in_the_order_of_take_and_no_more_than_asked_for"],
    WaitsForAll: [
        "taking_many_waits_for_the_first_only",
        "taking_many_returns_nothing_after_its_waiting_time",
    ],
    MissesInItsOwnOrder: ["missing_are_the_ids_that_are_nowhere_in_their_order"],
    BelievesInEveryWorker: [
        "reap_ends_the_leases_of_dead_workers_before_they_run_out",
        "the_lease_of_a_dead_worker_on_its_last_attempt_is_a_dead_letter",
    ],
    ReapsWorkersOnly: ["reap_of_dead_workers_ends_what_has_expired_as_well"],
    NamesAWorkerForEachLease: ["workers_are_those_who_hold_a_lease_each_once"],
    CountsNothing: [
        "stats_count_and_know_the_age_of_the_oldest_that_is_due",
        "an_empty_queue_has_nothing_to_tell",
    ],
    ClosesQuietly: ["close_wakes_takers_and_may_be_called_twice"],
    OnlySaysItIsDurable: ["a_durable_queue_shows_its_messages_to_another_one"],
    ServesTheFirstTenant: ["tenants_take_turns_whatever_each_has_waiting"],
    ServesWhoPutLast: ["a_tenant_cannot_get_ahead_by_putting_one_at_a_time"],
    IgnoresPriorities: ["within_a_tenant_a_higher_priority_comes_first"],
    ClaimsUndeclared: ["a_message_can_be_claimed_by_its_id_due_or_not"],
    ClaimsTheDueOnly: ["a_message_can_be_claimed_by_its_id_due_or_not"],
    ClaimsTheLeased: ["a_leased_dead_or_unknown_message_cannot_be_claimed"],
}
