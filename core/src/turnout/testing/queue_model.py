"""A queue that is too simple to be wrong: a dictionary, and rules that look at all of it. `queue_machine` compares with it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from turnout.interfaces.queue import Concurrency, Lease, Message, Rate
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import LEASE_S, MAX_ATTEMPTS

__all__ = ["Modelled", "QueueModel"]


@dataclass(slots=True)
class Modelled:
    """A message. `state` is `waiting` (due at `at`), `leased` (until then) or `dead`."""

    message: Message
    at: float
    since: float
    turn: int
    state: str = "waiting"
    head: bool = False
    attempts: int = 0
    token: int = 0
    worker: str = ""
    woken: bool = False
    cancelled: bool = False
    handed_out: bool = False
    claimed: bool = False
    superseded_by: str = ""

    @property
    def place(self) -> tuple[float, ...]:
        return (0, 0, 0) if self.head else (1, -self.message.priority, self.at)

    @property
    def limited(self) -> bool:
        has_some = self.message.concurrency or self.message.rates or self.message.order
        return bool(has_some) and not self.superseded_by


@dataclass(slots=True)
class QueueModel:
    """What the queue's promises allow. The contract leaves open which tenant's turn it is, ties, and, while a claim takes
    more than a limit allows, whether the limit counts it: `may_be_taken` allows both, `must_be_takable` neither."""

    clock: ManualClock
    policies: Policies
    entries: dict[str, Modelled] = field(default_factory=dict)
    hand_outs: list[tuple[str, str, float, bool]] = field(default_factory=list)
    turns: int = 0

    def put(self, message: Message, delay_s: float) -> None:
        now = self.clock.now()
        entry = Modelled(message, now + delay_s, now, self.next_turn())
        debounce = message.debounce
        if debounce is not None:
            for older in self.entries.values():
                theirs = older.message.debounce
                same = theirs is not None and theirs.key == debounce.key and older.message.tenant == message.tenant
                if same and not older.handed_out and not older.superseded_by:
                    entry.since = older.since
                    older.superseded_by, older.at = message.id, min(older.at, now)
            longest_s = math.inf if debounce.longest_s is None else debounce.longest_s
            entry.at = max(entry.at, min(now + debounce.wait_s, entry.since + longest_s))
        self.entries[message.id] = entry

    def next_turn(self) -> int:
        self.turns += 1
        return self.turns

    def lease(self, lease: Lease, *, claimed: bool) -> None:
        """The queue has handed this out."""
        entry = self.entries[lease.message.id]
        assert lease.token > entry.token
        if entry.state != "leased":
            entry.claimed = claimed
        if not entry.handed_out and not entry.superseded_by:
            tenant = entry.message.tenant
            self.hand_outs += [(tenant, rate.key, self.clock.now(), claimed) for rate in entry.message.rates]
        entry.state, entry.at, entry.token, entry.worker = "leased", lease.expires_at, lease.token, lease.worker
        entry.woken, entry.head, entry.handed_out = False, False, True
        entry.attempts += 1
        expected = (entry.message, entry.attempts, entry.superseded_by, self.clock.now() + LEASE_S)
        assert (lease.message, lease.attempt, lease.superseded_by, lease.expires_at) == expected

    def give_back(self, entry: Modelled, due_at: float) -> None:
        entry.state, entry.at, entry.head = "waiting", due_at, False

    def end_lease(self, entry: Modelled, token: int) -> None:
        assert token > entry.token
        entry.token = token
        if entry.attempts >= MAX_ATTEMPTS:
            entry.state = "dead"
        else:
            self.give_back(entry, min(entry.at, self.clock.now()))
            entry.head = True

    def held(self, lease: Lease) -> Modelled | None:
        entry = self.entries.get(lease.message.id)
        return entry if entry is not None and entry.state == "leased" and entry.token == lease.token else None

    def lost(self, workers: Collection[str]) -> set[str]:
        """The ids whose leases a reap ends."""
        now = self.clock.now()
        leased = [entry for entry in self.entries.values() if entry.state == "leased"]
        return {entry.message.id for entry in leased if entry.at <= now or entry.worker in workers}

    def waiting(self, tenant: str) -> int:
        return sum(entry.state == "waiting" and entry.message.tenant == tenant for entry in self.entries.values())

    def due(self) -> list[Modelled]:
        return [entry for entry in self.entries.values() if entry.state == "waiting" and entry.at <= self.clock.now()]

    def expired(self, entry: Modelled) -> bool:
        return entry.state == "leased" and entry.at <= self.clock.now() and entry.attempts < MAX_ATTEMPTS

    def may_be_taken(self, *, first_due: bool) -> list[Modelled]:
        """Those that a take may hand out now; `first_due`: what has expired before the others."""
        expired = [entry for entry in self.entries.values() if self.expired(entry)]
        if expired and first_due:
            return expired
        return expired + [entry for entry in self.due() if self._passes(entry, counting_claims=False)]

    def must_be_takable(self) -> list[Modelled]:
        """Those of which a take must hand out one: if it hands out none, there is none."""
        expired = [entry for entry in self.entries.values() if self.expired(entry)]
        return expired or [entry for entry in self.due() if self._passes(entry, counting_claims=True)]

    def _passes(self, entry: Modelled, *, counting_claims: bool) -> bool:
        tenant = entry.message.tenant
        leased = [other for other in self.entries.values() if other.state == "leased"]
        leased = [other for other in leased if other.message.tenant == tenant]
        in_flight = self.policies.of(tenant).in_flight
        if in_flight is not None and len(leased) >= in_flight:
            return False
        if entry.superseded_by:
            return True
        counted = [other for other in leased if counting_claims or not other.claimed]
        return (
            all(self._has_place(one, counted) for one in entry.message.concurrency)
            and (entry.handed_out or all(self._in_rate(one, tenant, counting_claims) for one in entry.message.rates))
            and (not entry.message.order or self._is_next_in_order(entry, counted))
        )

    def _has_place(self, concurrency: Concurrency, leased: list[Modelled]) -> bool:
        keys = [one.key for other in leased if not other.superseded_by for one in other.message.concurrency]
        return keys.count(concurrency.key) < concurrency.most

    def _in_rate(self, rate: Rate, tenant: str, counting_claims: bool) -> bool:
        times = [
            at
            for theirs, key, at, claimed in self.hand_outs
            if (theirs, key) == (tenant, rate.key) and (counting_claims or not claimed)
        ]
        return sum(at + rate.window_s > self.clock.now() for at in times) < rate.most

    def _is_next_in_order(self, entry: Modelled, leased: list[Modelled]) -> bool:
        first = min(self._same_order(entry), key=lambda other: other.turn)
        return first is entry and not any(other in leased for other in self._same_order(entry))

    def _same_order(self, entry: Modelled) -> Iterator[Modelled]:
        wanted = (entry.message.tenant, entry.message.order)
        for other in self.entries.values():
            there = other.state != "dead" and not other.superseded_by
            if there and (other.message.tenant, other.message.order) == wanted:
                yield other
