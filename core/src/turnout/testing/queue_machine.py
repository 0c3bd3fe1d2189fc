"""A queue against a model: Hypothesis makes up what happens and looks for a sequence in which the two differ.

    TestMyQueue = queue_machine(
        lambda clock, policies: MyQueue(clock=clock, policies=policies, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
    ).TestCase

The model is a dictionary; what the contract leaves open (which tenant's turn it is, ties) it leaves open, too.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from turnout.errors import Overloaded
from turnout.interfaces.queue import Concurrency, Debounce, Lease, LeaseState, Message, Queue, QueueCapability, Rate
from turnout.model.tenancy import Policies, TenantPolicy
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import LEASE_S, MAX_ATTEMPTS, MakeQueue
from turnout.testing.queue_model import QueueModel

__all__ = ["queue_machine"]

_T = TypeVar("_T")
_IDS = st.sampled_from(["e1", "e2", "e3", "e4", "e5", "e6"])
_DELAYS = st.sampled_from([0, 0, 1, 5, 40])
_WORKERS = ["host:1:a", "host:2:b"]
_POLICIES: Final = Policies(
    default=TenantPolicy(capacity=4), tenants={"b": TenantPolicy(weight=2), "c": TenantPolicy(in_flight=2)}
)
_ERP, _CRM = Concurrency(key="erp", most=1), Concurrency(key="crm", most=2)
_MAIL = Rate(key="mail", most=1, window_s=5.0)
_SYNC = Debounce(key="sync", wait_s=5.0, longest_s=8.0)
_LIMITS: Final[list[dict[str, Any]]] = [
    {},
    {},
    {"concurrency": (_ERP,)},
    {"concurrency": (_CRM, _ERP)},
    {"concurrency": (_ERP, _CRM)},
    {"rates": (_MAIL,)},
    {"rates": (_MAIL,), "concurrency": (_ERP,)},
    {"order": "one"},
    {"order": "one", "concurrency": (_CRM,)},
    {"debounce": _SYNC},
    {"debounce": _SYNC, "order": "one", "concurrency": (_ERP,)},
]


class _QueueMachine(RuleBasedStateMachine):
    """See `queue_machine`."""

    make_queue: MakeQueue
    make_clock: Callable[[], ManualClock]
    exact: ClassVar[bool] = False
    leases: Bundle[Lease] = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = type(self).make_clock()
        self.queue: Queue = type(self).make_queue(self.clock, _POLICIES)
        self.model = QueueModel(self.clock, _POLICIES)

    def teardown(self) -> None:
        self.run(self.queue.close())
        self.loop.close()

    def run(self, awaitable: Awaitable[_T]) -> _T:
        async def wait() -> _T:
            return await awaitable

        return self.loop.run_until_complete(wait())

    @rule(
        id=_IDS,
        tenant=st.sampled_from("abc"),
        priority=st.integers(-1, 1),
        delay_s=_DELAYS,
        limits=st.sampled_from(_LIMITS),
        capped=st.booleans(),
    )
    def put(self, id: str, tenant: str, priority: int, delay_s: int, limits: dict[str, Any], capped: bool) -> None:
        if limits and QueueCapability.LIMITS not in self.queue.capabilities:
            limits = {}
        message = Message(id=id, tenant=tenant, priority=priority, **limits)
        there, capacity = id in self.model.entries, _POLICIES.of(tenant).capacity
        full = capacity is not None and self.model.waiting(tenant) >= capacity

        try:
            added = self.run(self.queue.put(message, delay_s=delay_s, capped=capped))
        except Overloaded:
            assert capped
            assert full
            return

        assert added == (not there)
        assert there or not (capped and full)
        if added:
            self.model.put(message, delay_s)

    @rule(target=leases, worker=st.sampled_from(_WORKERS))
    def take(self, worker: str) -> Any:
        lease = self.run(self.queue.take(worker, wait_s=0))

        if lease is None:
            assert self.model.must_be_takable() == []
            return None
        return self._taken(lease)

    @rule(worker=st.sampled_from(_WORKERS), limit=st.integers(1, 4))
    def take_many(self, worker: str, limit: int) -> None:
        leases = self.run(self.queue.take_many(worker, limit=limit, wait_s=0))

        assert len(leases) <= limit
        for lease in leases:
            self._taken(lease)
        if not leases:
            assert self.model.must_be_takable() == []

    @rule(target=leases, id=_IDS)
    def claim(self, id: str) -> Any:
        lease = self.run(self.queue.claim("host:3:c", id))

        entry = self.model.entries.get(id)
        free = entry is not None and (entry.state == "waiting" or self.model.expired(entry))
        assert (lease is not None) == free
        if lease is not None:
            self.model.lease(lease, claimed=True)
        return lease

    @rule(lease=leases)
    def extend(self, lease: Lease | None) -> None:
        if lease is None:
            return
        (state,) = self.run(self.queue.extend([lease]))

        entry = self.model.held(lease)
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

        assert completed == (self.model.held(lease) is not None)
        if completed:
            del self.model.entries[lease.message.id]

    @rule(lease=leases, delay_s=st.one_of(st.none(), _DELAYS))
    def release(self, lease: Lease | None, delay_s: int | None) -> None:
        if lease is None:
            return
        released = self.run(self.queue.release(lease, delay_s=delay_s))

        entry, now = self.model.held(lease), self.clock.now()
        assert released == (entry is not None)
        if entry is not None:
            at_once = entry.woken or entry.cancelled
            entry.attempts = 0
            self.model.give_back(entry, now if at_once else math.inf if delay_s is None else now + delay_s)

    @rule(lease=leases, delay_s=_DELAYS)
    def decline(self, lease: Lease | None, delay_s: int) -> None:
        if lease is None:
            return
        declined = self.run(self.queue.decline(lease, delay_s=delay_s))

        entry, now = self.model.held(lease), self.clock.now()
        assert declined == (entry is not None)
        if entry is not None:
            entry.attempts -= 1
            self.model.give_back(entry, now if entry.woken or entry.cancelled else now + delay_s)

    @rule(lease=leases, delay_s=_DELAYS)
    def fail(self, lease: Lease | None, delay_s: int) -> None:
        if lease is None:
            return
        failed = self.run(self.queue.fail(lease, reason="made up", delay_s=delay_s))

        entry, now = self.model.held(lease), self.clock.now()
        assert failed == (entry is not None)
        if entry is not None and entry.attempts >= MAX_ATTEMPTS:
            entry.state = "dead"
        elif entry is not None:
            self.model.give_back(entry, now if entry.cancelled else now + delay_s)

    @rule(id=_IDS, cancel=st.booleans())
    def wake_or_cancel(self, id: str, cancel: bool) -> None:
        there = self.run(self.queue.cancel(id) if cancel else self.queue.wake(id))

        entry = self.model.entries.get(id)
        assert there == (entry is not None)
        if entry is None:
            return
        entry.cancelled = entry.cancelled or cancel
        entry.woken = True
        if entry.state == "waiting":
            entry.at = min(entry.at, self.clock.now())

    @rule(workers=st.lists(st.sampled_from([*_WORKERS, "host:4:d"]), max_size=2))
    def reap(self, workers: list[str]) -> None:
        lost = self.model.lost(workers)

        ended = self.run(self.queue.reap(workers=workers))

        assert sorted(lease.message.id for lease in ended) == sorted(lost)
        for lease in ended:
            self.model.end_lease(self.model.entries[lease.message.id], lease.token)

    @rule(id=_IDS)
    def revive(self, id: str) -> None:
        revived = self.run(self.queue.revive(id))

        entry = self.model.entries.get(id)
        assert revived == (entry is not None and entry.state == "dead")
        if entry is not None and revived:
            entry.attempts, entry.turn = 0, self.model.next_turn()
            self.model.give_back(entry, self.clock.now())

    @rule(id=_IDS)
    def drop(self, id: str) -> None:
        assert self.run(self.queue.drop(id)) == (self.model.entries.pop(id, None) is not None)

    @rule(seconds=st.sampled_from([1, 3, 5, LEASE_S / 2, LEASE_S, 100]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def the_counts_agree(self) -> None:
        stats = self.run(self.queue.stats())
        entries, due = self.model.entries.values(), self.model.due()
        states = [entry.state for entry in entries]
        expected = (len(due), states.count("waiting") - len(due), states.count("leased"), states.count("dead"))
        assert (stats.ready + stats.held, stats.delayed, stats.leased, stats.dead) == expected
        assert 0 <= stats.held <= sum(entry.limited for entry in due)
        assert dict(stats.tenants) in ({}, Counter(entry.message.tenant for entry in due))

    @invariant()
    def nothing_is_missing(self) -> None:
        ids = ["e1", "e2", "e3", "e4", "e5", "e6"]
        assert list(self.run(self.queue.missing(ids))) == [id for id in ids if id not in self.model.entries]
        holders = {entry.worker for entry in self.model.entries.values() if entry.state == "leased"}
        assert sorted(self.run(self.queue.workers())) == sorted(holders)

    @invariant()
    def the_room_agrees(self) -> None:
        for tenant in "abc":
            capacity = _POLICIES.of(tenant).capacity
            room = None if capacity is None else max(capacity - self.model.waiting(tenant), 0)
            assert self.run(self.queue.room(tenant)) == room

    def _taken(self, lease: Lease) -> Lease:
        entry = self.model.entries[lease.message.id]
        first_due = QueueCapability.FIRST_DUE in self.queue.capabilities
        assert entry in self.model.may_be_taken(first_due=first_due)
        if entry.state != "leased" and first_due:
            for other in self.model.must_be_takable():
                comparable = self.exact or not (entry.limited or other.limited)
                if other.message.tenant == entry.message.tenant and comparable:
                    assert entry.place <= other.place
        self.model.lease(lease, claimed=False)
        return lease


def queue_machine(
    make_queue: MakeQueue,
    *,
    exact: bool = False,
    make_clock: Callable[[], ManualClock] = lambda: ManualClock(start=1000.0),
) -> type[RuleBasedStateMachine]:
    """A state machine that tests the queues that `make_queue` makes; each must be empty and have `LEASE_S`, `MAX_ATTEMPTS`
    and the policies that it is given. It needs `CLAIM`.

    `exact`: the best of those that their limits let go is always taken first; otherwise the queue may choose who goes
    next within a limit some time before. `make_clock` is for queues whose server has to go by the clock as well.
    """
    parts = {"make_queue": staticmethod(make_queue), "make_clock": staticmethod(make_clock), "exact": exact}
    return type("QueueMachine", (_QueueMachine,), parts)
