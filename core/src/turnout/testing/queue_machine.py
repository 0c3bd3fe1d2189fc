"""A queue against a model: Hypothesis makes up what happens and looks for a sequence in which the two differ.

    TestMyQueue = queue_machine(lambda clock: MyQueue(clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)).TestCase

The model is a dictionary; what the contract leaves open (which tenant's turn it is, ties) it leaves open, too.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from turnout.interfaces.queue import Lease, LeaseState, Message, Queue
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import LEASE_S, MAX_ATTEMPTS

__all__ = ["queue_machine"]

_T = TypeVar("_T")
_IDS = st.sampled_from(["e1", "e2", "e3", "e4", "e5"])
_DELAYS = st.sampled_from([0, 0, 1, 5, 40])


@dataclass(slots=True)
class _Modelled:
    message: Message
    state: str
    at: float
    head: bool = False
    attempts: int = 0
    token: int = 0
    woken: bool = False
    cancelled: bool = False

    def give_back(self, due_at: float, now: float) -> None:
        self.state = "ready" if due_at <= now else "delayed"
        self.at, self.head = due_at, False


class _QueueMachine(RuleBasedStateMachine):
    """See `queue_machine`."""

    make_queue: Callable[[ManualClock], Queue]
    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(start=1000.0)
        self.queue = type(self).make_queue(self.clock)
        self.model: dict[str, _Modelled] = {}
        self.last_token = 0

    def teardown(self) -> None:
        self.run(self.queue.close())
        self.loop.close()

    def run(self, awaitable: Awaitable[_T]) -> _T:
        async def wait() -> _T:
            return await awaitable

        return self.loop.run_until_complete(wait())

    @rule(id=_IDS, tenant=st.sampled_from("abc"), priority=st.integers(-1, 1), delay_s=_DELAYS)
    def put(self, id: str, tenant: str, priority: int, delay_s: int) -> None:
        message = Message(id=id, tenant=tenant, priority=priority)

        added = self.run(self.queue.put(message, delay_s=delay_s))

        assert added == (id not in self.model)
        if added:
            self.model[id] = _Modelled(message, "", 0)
            self.model[id].give_back(self.clock.now() + delay_s, self.clock.now())

    @rule(target=leases, worker=st.sampled_from(["host:1:a", "host:2:b"]))
    def take(self, worker: str) -> Any:
        lease = self.run(self.queue.take(worker, wait_s=0))

        candidates = self._candidates()
        assert (lease is None) == (not candidates)
        if lease is None:
            return None
        assert lease.message.id in candidates
        return self._leased(lease)

    @rule(target=leases, id=_IDS)
    def claim(self, id: str) -> Any:
        lease = self.run(self.queue.claim("host:3:c", id))

        entry = self.model.get(id)
        free = entry is not None and (entry.state in ("ready", "delayed") or self._expired(entry))
        assert (lease is not None) == free
        return None if lease is None else self._leased(lease)

    @rule(lease=leases)
    def extend(self, lease: Lease | None) -> None:
        if lease is None:
            return
        (state,) = self.run(self.queue.extend([lease]))

        entry = self._held(lease)
        if entry is None:
            assert state is LeaseState.LOST
            return
        assert state is (LeaseState.CANCELLED if entry.cancelled else LeaseState.HELD)
        entry.at = self.clock.now() + LEASE_S

    @rule(lease=consumes(leases))
    def complete(self, lease: Lease | None) -> None:
        if lease is None:
            return
        completed = self.run(self.queue.complete(lease))

        assert completed == (self._held(lease) is not None)
        if completed:
            del self.model[lease.message.id]

    @rule(lease=leases, delay_s=st.one_of(st.none(), _DELAYS))
    def release(self, lease: Lease | None, delay_s: int | None) -> None:
        if lease is None:
            return
        released = self.run(self.queue.release(lease, delay_s=delay_s))

        entry, now = self._held(lease), self.clock.now()
        assert released == (entry is not None)
        if entry is not None:
            at_once = entry.woken or entry.cancelled
            entry.attempts = 0
            entry.give_back(now if at_once else math.inf if delay_s is None else now + delay_s, now)

    @rule(lease=leases, delay_s=_DELAYS)
    def fail(self, lease: Lease | None, delay_s: int) -> None:
        if lease is None:
            return
        failed = self.run(self.queue.fail(lease, reason="made up", delay_s=delay_s))

        entry, now = self._held(lease), self.clock.now()
        assert failed == (entry is not None)
        if entry is not None and entry.attempts >= MAX_ATTEMPTS:
            entry.state = "dead"
        elif entry is not None:
            entry.give_back(now if entry.cancelled else now + delay_s, now)

    @rule(id=_IDS, cancel=st.booleans())
    def wake_or_cancel(self, id: str, cancel: bool) -> None:
        there = self.run(self.queue.cancel(id) if cancel else self.queue.wake(id))

        entry = self.model.get(id)
        assert there == (entry is not None)
        if entry is None:
            return
        entry.cancelled = entry.cancelled or cancel
        if entry.state == "leased":
            entry.woken = True
        elif entry.state == "delayed":
            entry.give_back(min(entry.at, self.clock.now()), self.clock.now())

    @rule()
    def reap(self) -> None:
        ended = self.run(self.queue.reap())

        expired = [e for e in self.model.values() if e.state == "leased" and e.at <= self.clock.now()]
        assert sorted(lease.message.id for lease in ended) == sorted(entry.message.id for entry in expired)
        for lease in ended:
            entry = self.model[lease.message.id]
            self._rises(lease)
            entry.token = lease.token
            entry.state, entry.head = ("dead", False) if entry.attempts >= MAX_ATTEMPTS else ("ready", True)

    @rule(id=_IDS)
    def revive(self, id: str) -> None:
        revived = self.run(self.queue.revive(id))

        entry = self.model.get(id)
        assert revived == (entry is not None and entry.state == "dead")
        if entry is not None and revived:
            entry.attempts = 0
            entry.give_back(self.clock.now(), self.clock.now())

    @rule(id=_IDS)
    def drop(self, id: str) -> None:
        assert self.run(self.queue.drop(id)) == (self.model.pop(id, None) is not None)

    @rule(seconds=st.sampled_from([1, 5, LEASE_S / 2, LEASE_S, 100]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def the_counts_agree(self) -> None:
        stats = self.run(self.queue.stats())
        self._come_due()
        states = [entry.state for entry in self.model.values()]
        counted = (stats.ready, stats.delayed, stats.leased, stats.dead)
        assert counted == tuple(states.count(state) for state in ("ready", "delayed", "leased", "dead"))

    def _come_due(self) -> None:
        for entry in self.model.values():
            if entry.state == "delayed" and entry.at <= self.clock.now():
                entry.state = "ready"

    def _candidates(self) -> set[str]:
        """The ids that a take may hand out now."""
        self._come_due()
        expired = [entry for entry in self.model.values() if self._expired(entry)]
        if expired:
            return {entry.message.id for entry in expired}
        ready = [entry for entry in self.model.values() if entry.state == "ready"]
        best: dict[str, tuple[float, ...]] = {}
        for entry in ready:
            tenant = entry.message.tenant
            best[tenant] = min(best.get(tenant, self._place(entry)), self._place(entry))
        return {entry.message.id for entry in ready if self._place(entry) == best[entry.message.tenant]}

    def _place(self, entry: _Modelled) -> tuple[float, ...]:
        return (0, 0, 0) if entry.head else (1, -entry.message.priority, entry.at)

    def _expired(self, entry: _Modelled) -> bool:
        return entry.state == "leased" and entry.at <= self.clock.now() and entry.attempts < MAX_ATTEMPTS

    def _held(self, lease: Lease) -> _Modelled | None:
        entry = self.model.get(lease.message.id)
        return entry if entry is not None and entry.state == "leased" and entry.token == lease.token else None

    def _leased(self, lease: Lease) -> Lease:
        entry = self.model[lease.message.id]
        self._rises(lease)
        entry.state, entry.at, entry.token = "leased", lease.expires_at, lease.token
        entry.woken, entry.head = False, False
        entry.attempts += 1
        assert (lease.message, lease.attempt) == (entry.message, entry.attempts)
        assert lease.expires_at == self.clock.now() + LEASE_S
        return lease

    def _rises(self, lease: Lease) -> None:
        entry = self.model[lease.message.id]
        assert lease.token > entry.token


def queue_machine(make_queue: Callable[[ManualClock], Queue]) -> type[RuleBasedStateMachine]:
    """A state machine that tests the queues that `make_queue` makes; each must be empty and have `LEASE_S` and
    `MAX_ATTEMPTS`. It needs `CLAIM`."""
    return type("QueueMachine", (_QueueMachine,), {"make_queue": staticmethod(make_queue)})
