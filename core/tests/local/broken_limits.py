"""Queues that each break a promise about limits, and the tests of the contract that must notice it."""

# Breaking a queue takes putting other things in its places.
# mypy: disable-error-code="method-assign,assignment"

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from turnout.errors import Unsupported
from turnout.interfaces.queue import Concurrency, Debounce, Lease, Message, QueueCapability, QueueStats
from turnout.local.memory_lines import Entry, TenantLine, _Key, drop_stale
from turnout.local.memory_queue import MemoryQueue

__all__ = ["CAUGHT"]

LIMIT_OF_ONE = (Concurrency(key="erp", most=1),)


class Altering(MemoryQueue):
    """Puts another message than it was given; otherwise whole."""

    def altered(self, message: Message) -> Message:
        return message

    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        return await super().put(self.altered(message), delay_s=delay_s, capped=capped)


class IgnoresLimitsSilently(MemoryQueue):
    capabilities = frozenset(QueueCapability) - {QueueCapability.LIMITS}


class RefusesAfterPutting(MemoryQueue):
    capabilities = frozenset(QueueCapability) - {QueueCapability.LIMITS}

    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        await super().put(message, delay_s=delay_s, capped=capped)
        raise Unsupported(type(self).__name__, QueueCapability.LIMITS)


class LosesLimits(MemoryQueue):
    def _describe(self, entry: Entry) -> Lease:
        return replace(super()._describe(entry), message=Message(id=entry.message.id, tenant=entry.message.tenant))


class IgnoresConcurrency(Altering):
    def altered(self, message: Message) -> Message:
        return replace(message, concurrency=())


class IgnoresConcurrencyInBatches(MemoryQueue):
    async def take_many(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        if limit == 1:
            return await super().take_many(worker, limit=1, wait_s=wait_s)
        claimed = [await self.claim(worker, id) for id, entry in list(self._entries.items()) if entry.state != "dead"]
        return [lease for lease in claimed if lease][:limit]


class CallsNobody(MemoryQueue):
    """Opens a gate, and lets nobody out who waits there."""

    def _line(self, tenant: str) -> TenantLine:
        line = super()._line(tenant)
        line._call = lambda gate, now: None
        return line


class LetsTheFirstOutOnly(MemoryQueue):
    """Lets the best out of a gate, and nobody else if that one has to go elsewhere."""

    def _line(self, tenant: str) -> TenantLine:
        line = super()._line(tenant)

        def call(gate: Any, now: float) -> None:
            if gate.parked and line._is_open(gate.limit, now):
                lane = heapq.heappop(gate.parked)[1]
                lane.parked = None
                drop_stale(lane.places)
                if not lane.places:
                    return
                closed = line._closed(lane, now)
                line._show(lane) if closed is None else line._park(lane, closed)

        line._call = call
        return line


class HoldsWhatItPasses(MemoryQueue):
    """A message that waits for one limit holds the places of those before it."""

    def _line(self, tenant: str) -> TenantLine:
        line = super()._line(tenant)
        park = TenantLine._park

        def hold(lane: Any, limit: Any) -> None:
            for passed in lane.limits[: lane.limits.index(limit)]:
                line._places.setdefault(passed.key, _Key()).leased = 1000
            park(line, lane, limit)

        line._park = hold
        return line


class KeepsThePlacesOfTheDead(MemoryQueue):
    def _bury(self, entry: Entry, reason: str) -> None:
        super()._bury(entry, reason)
        for concurrency in entry.message.concurrency:
            self._line(entry.message.tenant)._places.setdefault(concurrency.key, _Key()).leased += 1


class LimitsTheFirstTimeOnly(MemoryQueue):
    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        entry = self._held(lease)
        released = await super().release(lease, delay_s=delay_s)
        if entry is not None:
            entry.message = replace(entry.message, concurrency=())
        return released


class FreesTheExpired(MemoryQueue):
    def _next(self) -> Entry | None:
        for entry in self._leased.values():
            if entry.at <= self._clock.now():
                entry.message = replace(entry.message, concurrency=())
                line = self._line(entry.message.tenant)
                for key in line._places.values():
                    key.leased = 0
                line._call_all(LIMIT_OF_ONE, self._clock.now())
        return super()._next()


class ReapsBehindPriorities(MemoryQueue):
    def _line_up(self, entry: Entry, due_at: float, *, rank: float | None = None) -> None:
        super()._line_up(entry, due_at, rank=0 if rank is not None else None)


class IgnoresPrioritiesOfTheLimited(MemoryQueue):
    def _line_up(self, entry: Entry, due_at: float, *, rank: float | None = None) -> None:
        super()._line_up(entry, due_at, rank=0 if entry.message.concurrency else rank)


class SharesKeysAmongTenants(MemoryQueue):
    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        if message.tenant == "b":
            message = replace(message, tenant="a")
        return await super().put(message, delay_s=delay_s, capped=capped)


class SharesKeysAmongKinds(Altering):
    def altered(self, message: Message) -> Message:
        return replace(message, order="", concurrency=LIMIT_OF_ONE)


class CountsNoClaims(MemoryQueue):
    async def claim(self, worker: str, id: str) -> Lease | None:
        entry = self._entries[id]
        entry.message = replace(entry.message, concurrency=(), rates=())
        return await super().claim(worker, id)


class ClaimsWithinLimits(MemoryQueue):
    async def claim(self, worker: str, id: str) -> Lease | None:
        entry = self._entries[id]
        line = self._line(entry.message.tenant)
        return await super().claim(worker, id) if line.free(entry.limits, self._clock.now()) > 0 else None


class HoldsOnToTheCancelled(MemoryQueue):
    async def drop(self, id: str) -> bool:
        return not self._entries[id].cancelled and await super().drop(id)


class CountsTheHeldAsReady(MemoryQueue):
    async def stats(self) -> QueueStats:
        stats = await super().stats()
        return replace(stats, ready=stats.ready + stats.held, held=0)


class IgnoresRates(Altering):
    def altered(self, message: Message) -> Message:
        return replace(message, rates=())


class CountsInFixedWindows(MemoryQueue):
    def _line(self, tenant: str) -> TenantLine:
        line = super()._line(tenant)
        line._opens_at = lambda rate: next(
            (key.times[0] + 10 for key in line._rates.values() if len(key.times) >= rate.most), -math.inf
        )
        return line


class CountsFromThePut(MemoryQueue):
    """A window counts from when messages were put."""

    def _lease(self, entry: Entry, worker: str) -> Lease:
        lease = super()._lease(entry, worker)
        for key in self._line(entry.message.tenant)._rates.values():
            key.times[-1] = entry.at - 60
        return lease


class CountsEveryTime(MemoryQueue):
    def _lease(self, entry: Entry, worker: str) -> Lease:
        entry.handed_out = False
        return super()._lease(entry, worker)

    def _line_up(self, entry: Entry, due_at: float, *, rank: float | None = None) -> None:
        entry.handed_out = False
        super()._line_up(entry, due_at, rank=rank)


class ForgetsWhenRatesOpen(MemoryQueue):
    def _alarm(self, at: float, call: Any) -> None:
        pass


class IgnoresOrders(Altering):
    def altered(self, message: Message) -> Message:
        return replace(message, order="")


class OrdersByTheTimeDue(Altering):
    """One at a time, in the order in which they are due."""

    def altered(self, message: Message) -> Message:
        return replace(message, order="", concurrency=LIMIT_OF_ONE) if message.order == "crm" else message


class PutsTheNextOfAnOrderAtOnce(MemoryQueue):
    async def complete(self, lease: Lease) -> bool:
        completed = await super().complete(lease)
        for id, entry in self._entries.items():
            if entry.state == "delayed":
                await self.wake(id)
        return completed


class LetsOthersPassInOrders(MemoryQueue):
    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        self._pass(lease)
        return await super().release(lease, delay_s=delay_s)

    def _pass(self, lease: Lease) -> None:
        line, entry = self._line(lease.message.tenant), self._entries[lease.message.id]
        line.leave(entry, self._clock.now())
        line.join(entry, next(self._turns))


class LetsOthersPassWhatFailed(LetsOthersPassInOrders):
    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        return await MemoryQueue.release(self, lease, delay_s=delay_s)

    async def fail(self, lease: Lease, *, reason: str, delay_s: float = 0.0) -> bool:
        self._pass(lease)
        return await super().fail(lease, reason=reason, delay_s=delay_s)


class NeverAdvancesOrders(MemoryQueue):
    def _line(self, tenant: str) -> TenantLine:
        line = super()._line(tenant)
        line._advance = lambda sequence, now: None
        return line


class DropsTheRestOfAnOrder(MemoryQueue):
    async def drop(self, id: str) -> bool:
        order = self._entries[id].message.order
        for other in [other for other, entry in self._entries.items() if order and entry.message.order == order]:
            if self._entries[other].state != "leased":
                await super().drop(other)
        return True


class ForgetsTheOrderOfClaims(MemoryQueue):
    async def claim(self, worker: str, id: str) -> Lease | None:
        entry = self._entries[id]
        line = self._line(entry.message.tenant)
        line.leave(entry, self._clock.now())
        entry.message = replace(entry.message, order="")
        return await super().claim(worker, id)


class RevivesToTheHeadOfTheOrder(MemoryQueue):
    async def revive(self, id: str) -> bool:
        self._turns = itertools.count(0)
        return await super().revive(id)


class DebouncesNothing(Altering):
    def altered(self, message: Message) -> Message:
        return replace(message, debounce=None)


class DebouncesOnlyTheSecond(MemoryQueue):
    def _take_the_place(self, line: TenantLine, entry: Entry, debounce: Debounce, now: float) -> float:
        older = line.newest.get(debounce.key)
        due_at = super()._take_the_place(line, entry, debounce, now)
        return now if older is None else due_at


class ReplacesWhatIsNotDueOnly(MemoryQueue):
    def _take_the_place(self, line: TenantLine, entry: Entry, debounce: Debounce, now: float) -> float:
        older = line.newest.get(debounce.key)
        if older is not None and older.at <= now:
            del line.newest[debounce.key]
        return super()._take_the_place(line, entry, debounce, now)


class ReplacesLater(MemoryQueue):
    def _take_the_place(self, line: TenantLine, entry: Entry, debounce: Debounce, now: float) -> float:
        older = line.newest.get(debounce.key)
        due_at = super()._take_the_place(line, entry, debounce, now)
        if older is not None:
            self._line_up(older, now + 5)
        return due_at


class ReplacesWhatWasHandedOut(MemoryQueue):
    def _lease(self, entry: Entry, worker: str) -> Lease:
        newest = self._line(entry.message.tenant).newest
        before = dict(newest)
        lease = super()._lease(entry, worker)
        newest.update(before)
        return lease


class RemembersWhatWasDropped(MemoryQueue):
    async def drop(self, id: str) -> bool:
        self.dropped = self._entries[id]
        return await super().drop(id)

    def _take_the_place(self, line: TenantLine, entry: Entry, debounce: Debounce, now: float) -> float:
        due_at = super()._take_the_place(line, entry, debounce, now)
        return due_at if not hasattr(self, "dropped") else self.dropped.since + (debounce.longest_s or 0)


class PutsOffForEver(Altering):
    def altered(self, message: Message) -> Message:
        return replace(message, debounce=message.debounce and replace(message.debounce, longest_s=None))


class SaysOnceThatItWasReplaced(MemoryQueue):
    def _lease(self, entry: Entry, worker: str) -> Lease:
        lease = super()._lease(entry, worker)
        entry.superseded_by = ""
        return lease


class ReplacesItself(MemoryQueue):
    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        if message.id in self._entries and message.debounce is not None:
            self._entries[message.id].superseded_by = message.id
        return await super().put(message, delay_s=delay_s, capped=capped)


class HasOneDebounceKey(Altering):
    def altered(self, message: Message) -> Message:
        return replace(message, debounce=message.debounce and replace(message.debounce, key="all"))


CAUGHT: dict[type[MemoryQueue], list[str]] = {
    IgnoresLimitsSilently: ["a_message_with_a_limit_is_refused_where_limits_are_not_kept"],
    RefusesAfterPutting: ["a_message_with_a_limit_is_refused_where_limits_are_not_kept"],
    LosesLimits: ["a_message_comes_back_with_its_limits"],
    IgnoresConcurrency: ["no_more_of_a_key_are_leased_at_once_than_allowed"],
    IgnoresConcurrencyInBatches: ["many_taken_at_once_keep_to_the_limit"],
    CallsNobody: [
        "a_waiting_taker_gets_the_next_of_a_key_once_a_lease_has_ended",
        "a_waiting_taker_gets_the_next_of_a_key_once_the_window_has_passed",
    ],
    LetsTheFirstOutOnly: ["a_place_that_the_first_in_line_cannot_use_goes_to_the_next"],
    HoldsWhatItPasses: [
        "a_message_that_waits_for_one_limit_holds_no_other",
        "what_waits_for_a_rate_holds_no_place_of_a_concurrency",
    ],
    KeepsThePlacesOfTheDead: ["the_place_of_one_that_died_is_free"],
    LimitsTheFirstTimeOnly: ["a_released_message_waits_for_its_limit_again"],
    FreesTheExpired: ["an_expired_message_keeps_its_place_within_the_limit"],
    ReapsBehindPriorities: ["a_reaped_message_keeps_its_place_within_the_limit"],
    IgnoresPrioritiesOfTheLimited: ["those_who_wait_come_by_priority_and_then_by_the_time_they_were_due"],
    SharesKeysAmongTenants: ["keys_of_two_tenants_are_never_the_same"],
    SharesKeysAmongKinds: ["keys_of_two_kinds_are_never_the_same"],
    CountsNoClaims: [
        "a_claim_ignores_limits_and_counts_all_the_same",
        "a_claim_counts_within_the_window",
    ],
    ClaimsWithinLimits: ["a_claim_ignores_limits_and_counts_all_the_same"],
    HoldsOnToTheCancelled: ["what_a_limit_holds_back_can_be_cancelled_and_dropped"],
    CountsTheHeldAsReady: ["stats_count_what_a_limit_holds_back"],
    IgnoresRates: ["no_more_of_a_key_are_handed_out_within_the_window"],
    CountsInFixedWindows: ["the_window_slides"],
    CountsFromThePut: ["the_window_counts_from_when_messages_were_handed_out"],
    CountsEveryTime: ["only_the_first_time_that_a_message_is_handed_out_counts"],
    ForgetsWhenRatesOpen: ["a_waiting_taker_gets_the_next_of_a_key_once_the_window_has_passed"],
    IgnoresOrders: ["messages_of_one_order_are_handed_out_one_at_a_time_as_they_were_put"],
    OrdersByTheTimeDue: [
        "messages_of_one_order_are_handed_out_one_at_a_time_as_they_were_put",
        "while_one_waits_those_behind_it_in_the_order_wait_as_well",
    ],
    PutsTheNextOfAnOrderAtOnce: ["a_message_is_handed_out_when_it_is_due_although_its_turn_in_the_order_has_come"],
    LetsOthersPassInOrders: ["while_one_waits_those_behind_it_in_the_order_wait_as_well"],
    LetsOthersPassWhatFailed: ["while_one_waits_those_behind_it_in_the_order_wait_as_well"],
    NeverAdvancesOrders: ["a_waiting_taker_gets_the_next_in_order_once_the_one_before_has_ended"],
    DropsTheRestOfAnOrder: ["one_that_is_dropped_from_the_middle_of_an_order_leaves_the_others_in_theirs"],
    ForgetsTheOrderOfClaims: ["one_that_is_claimed_out_of_order_counts_as_handed_out"],
    RevivesToTheHeadOfTheOrder: ["a_revived_message_stands_behind_the_others_of_its_order"],
    DebouncesNothing: [
        "a_debounced_message_is_due_after_its_wait",
        "a_newer_message_takes_the_place_of_one_that_was_never_handed_out",
    ],
    DebouncesOnlyTheSecond: ["a_debounced_message_is_due_after_its_wait"],
    ReplacesWhatIsNotDueOnly: ["one_that_is_due_and_was_never_handed_out_is_replaced_as_well"],
    ReplacesLater: ["a_waiting_taker_gets_the_one_replaced_at_once"],
    ReplacesWhatWasHandedOut: ["one_that_was_handed_out_is_not_replaced"],
    RemembersWhatWasDropped: ["one_that_was_dropped_is_not_replaced"],
    PutsOffForEver: ["replacing_does_not_put_off_longer_than_allowed_after_the_first"],
    SaysOnceThatItWasReplaced: ["who_was_replaced_says_so_at_every_lease"],
    ReplacesItself: ["a_message_that_is_there_already_replaces_nothing"],
    HasOneDebounceKey: ["messages_of_different_debounce_keys_do_not_replace_each_other"],
}
