"""The queue in memory: for tests and for `turnout run`, where nothing need outlive the process."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import ClassVar, Final

from turnout.errors import Overloaded
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.queue import (
    DeadMessage,
    Debounce,
    Lease,
    LeaseState,
    Message,
    Queue,
    QueueCapability,
    QueueStats,
)
from turnout.local.memory_lines import WAITING, Entry, Place, TenantLine, drop_stale
from turnout.local.takers import Takers
from turnout.model.durability import Durability
from turnout.model.tenancy import Policies

__all__ = ["MemoryQueue"]

_HEAD: Final = -math.inf
"""The rank of a message whose lease was ended by `reap`: before every priority."""


class MemoryQueue(Queue):
    """Implements `Queue` for one event loop of one process. Takes O(log n)."""

    on_this_machine: ClassVar[bool] = True

    capabilities: ClassVar[frozenset[QueueCapability]] = frozenset(QueueCapability)

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        lease_s: float = 30.0,
        max_attempts: int = 5,
        policies: Policies | None = None,
    ) -> None:
        self._policies = policies or Policies()
        self._clock = clock or SystemClock()
        self._lease_s = lease_s
        self._max_attempts = max_attempts
        self._order = itertools.count(1)
        self._tokens = itertools.count(1)
        self._entries: dict[str, Entry] = {}
        self._turns = itertools.count(1)
        self._lines: dict[str, TenantLine] = {}
        self._ring: OrderedDict[str, TenantLine] = (
            OrderedDict()
        )  # of the tenants that have something due, whose turn it is first
        self._delayed: list[Place] = []
        self._alarms: list[tuple[float, int, Callable[[float], None]]] = []  # of rates whose time comes
        self._leased: dict[str, Entry] = {}
        self._expiries: list[Place] = []  # of the leases that `take` may take over
        self._takers = Takers(self._clock, next_due=self._next_due)

    @property
    def durability(self) -> Durability:
        return Durability.MEMORY

    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        if message.id in self._entries:
            return False
        if capped and await self.room(message.tenant) == 0:
            raise Overloaded(f"as many messages of tenant {message.tenant!r} wait as may wait: try again later")
        now = self._clock.now()
        entry = self._entries[message.id] = Entry(message, next(self._order), since=now)
        line = self._line(message.tenant)
        due_at = now + max(delay_s, 0.0)
        if message.debounce is not None:
            due_at = max(due_at, self._take_the_place(line, entry, message.debounce, now))
        line.join(entry, next(self._turns))
        self._line_up(entry, due_at)
        return True

    async def room(self, tenant: str) -> int | None:
        capacity = self._policies.of(tenant).capacity
        waiting = self._lines[tenant].waiting if tenant in self._lines else 0
        return None if capacity is None else max(capacity - waiting, 0)

    async def missing(self, ids: Sequence[str]) -> Sequence[str]:
        return [id for id in ids if id not in self._entries]

    async def take(self, worker: str, *, wait_s: float) -> Lease | None:
        leases = await self.take_many(worker, limit=1, wait_s=wait_s)
        return leases[0] if leases else None

    async def take_many(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        return await self._takers.take(partial(self._try_to_take, worker, limit), wait_s=wait_s)

    async def claim(self, worker: str, id: str) -> Lease | None:
        entry = self._entries.get(id)
        if entry is None or entry.state == "dead" or (entry.state == "leased" and not self._takes_over(entry)):
            return None
        return self._lease(entry, worker)

    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        return [self._extend_one(lease) for lease in leases]

    async def complete(self, lease: Lease) -> bool:
        if self._held(lease) is None:
            return False
        return await self.drop(lease.message.id)

    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        entry = self._held(lease)
        if entry is None:
            return False
        now = self._clock.now()
        entry.attempts = 0
        due_at = math.inf if delay_s is None else now + max(delay_s, 0.0)
        self._line_up(entry, now if entry.woken or entry.cancelled else due_at)
        return True

    async def decline(self, lease: Lease, *, delay_s: float = 0.0) -> bool:
        entry = self._held(lease)
        if entry is None:
            return False
        now = self._clock.now()
        entry.attempts -= 1
        self._line_up(entry, now if entry.woken or entry.cancelled else now + max(delay_s, 0.0))
        return True

    async def fail(self, lease: Lease, *, reason: str, delay_s: float = 0.0) -> bool:
        entry = self._held(lease)
        if entry is None:
            return False
        if entry.attempts >= self._max_attempts:
            self._bury(entry, reason)
        else:
            self._line_up(entry, self._clock.now() + (0.0 if entry.cancelled else max(delay_s, 0.0)))
        return True

    async def wake(self, id: str) -> bool:
        entry = self._entries.get(id)
        if entry is None:
            return False
        entry.woken = True
        if entry.state == "delayed":
            self._line_up(entry, self._clock.now())
        return True

    async def cancel(self, id: str) -> bool:
        if id not in self._entries:
            return False
        self._entries[id].cancelled = True
        return await self.wake(id)

    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        now, lost = self._clock.now(), frozenset(workers)
        ended = [entry for entry in self._leased.values() if entry.at <= now or entry.worker in lost]
        return self._end_leases(sorted(ended, key=lambda entry: entry.at))

    async def workers(self) -> Sequence[str]:
        return list(dict.fromkeys(entry.worker for entry in self._leased.values()))

    async def stats(self) -> QueueStats:
        now = self._clock.now()
        self._promote(now)
        states = Counter(entry.state for entry in self._entries.values())
        due = [entry for entry in self._entries.values() if entry.state in ("ready", "held")]
        held = states["held"]
        lanes = Counter((entry.message.tenant, entry.limits) for entry in due if entry.state == "ready")
        for (tenant, limits), count in lanes.items():
            held += int(max(count - max(self._lines[tenant].free(limits, now), 0), 0))
        return QueueStats(
            ready=len(due) - held,
            delayed=states["delayed"],
            leased=states["leased"],
            dead=states["dead"],
            oldest_ready_s=now - min((entry.at for entry in due), default=now),
            held=held,
            tenants=dict(Counter(entry.message.tenant for entry in due)),
        )

    async def dead(self, *, limit: int = 100) -> Sequence[DeadMessage]:
        entries = sorted(
            (entry for entry in self._entries.values() if entry.state == "dead"),
            key=lambda entry: (entry.at, entry.order),
            reverse=True,
        )
        return [
            DeadMessage(message=entry.message, attempts=entry.attempts, reason=entry.reason, died_at=entry.at)
            for entry in entries[:limit]
        ]

    async def revive(self, id: str) -> bool:
        entry = self._entries.get(id)
        if entry is None or entry.state != "dead":
            return False
        entry.attempts, entry.reason = 0, ""
        self._line(entry.message.tenant).join(entry, next(self._turns))
        self._line_up(entry, self._clock.now())
        return True

    async def drop(self, id: str) -> bool:
        entry = self._entries.pop(id, None)
        if entry is None:
            return False
        self._move(entry, "dropped", 0.0)
        return True

    async def close(self) -> None:
        self._takers.close()

    async def _try_to_take(self, worker: str, limit: int) -> Sequence[Lease]:
        leases: list[Lease] = []
        while len(leases) < limit and (entry := self._next()) is not None:
            leases.append(self._lease(entry, worker))
        return leases

    def _next(self) -> Entry | None:
        """What a take hands out now."""
        now = self._clock.now()
        drop_stale(self._expiries)
        if self._expiries and self._expiries[0][1] <= now:
            return self._expiries[0][-1]
        self._promote(now)
        while self._ring:
            tenant, line = next(iter(self._ring.items()))
            entry = None if line.full else line.next(now)
            if entry is None:
                del self._ring[tenant]
                continue
            line.left_in_turn -= 1
            if line.left_in_turn <= 0:
                line.left_in_turn = line.policy.weight
                self._ring.move_to_end(tenant)
            return entry
        return None

    def _takes_over(self, entry: Entry) -> bool:
        """Whether a lease has run out and its message has attempts left; one without is for `reap` to bury."""
        return entry.state == "leased" and entry.at <= self._clock.now() and entry.attempts < self._max_attempts

    def _lease(self, entry: Entry, worker: str) -> Lease:
        expires_at = self._clock.now() + self._lease_s
        entry.worker, entry.token, entry.woken = worker, next(self._tokens), False
        entry.attempts += 1
        self._hold(entry, expires_at)
        self._takers.expect(expires_at)
        return self._describe(entry)

    def _hold(self, entry: Entry, expires_at: float) -> None:
        self._move(entry, "leased", expires_at)
        self._leased[entry.message.id] = entry
        drop_stale(self._expiries)  # a worker that takes nothing more, and renews what it has, would fill the memory
        if entry.attempts < self._max_attempts:
            heapq.heappush(self._expiries, (0.0, expires_at, entry.order, entry.version, entry))

    def _describe(self, entry: Entry) -> Lease:
        return Lease(
            message=entry.message,
            worker=entry.worker,
            token=entry.token,
            attempt=entry.attempts,
            expires_at=entry.at,
            superseded_by=entry.superseded_by,
        )

    def _held(self, lease: Lease) -> Entry | None:
        entry = self._entries.get(lease.message.id)
        return entry if entry is not None and entry.state == "leased" and entry.token == lease.token else None

    def _extend_one(self, lease: Lease) -> LeaseState:
        entry = self._held(lease)
        if entry is None:
            return LeaseState.LOST
        self._hold(entry, self._clock.now() + self._lease_s)
        return LeaseState.CANCELLED if entry.cancelled else LeaseState.HELD

    def _end_leases(self, entries: Sequence[Entry]) -> Sequence[Lease]:
        ended = []
        for entry in reversed(entries):  # the last one moved to the head is the first
            entry.token = next(self._tokens)
            ended.append(self._describe(entry))
            if entry.attempts >= self._max_attempts:
                self._bury(entry, f"its worker was lost {entry.attempts} times, the last was {entry.worker}")
            else:
                self._line_up(entry, min(entry.at, self._clock.now()), rank=_HEAD)
                self._ring.move_to_end(entry.message.tenant, last=False)
        ended.reverse()
        return ended

    def _bury(self, entry: Entry, reason: str) -> None:
        self._move(entry, "dead", self._clock.now())
        entry.reason = reason

    def _line_up(self, entry: Entry, due_at: float, *, rank: float | None = None) -> None:
        """Put a message into its tenant's line, or among the delayed until then."""
        entry.rank = -entry.message.priority if rank is None else rank
        if due_at > (now := self._clock.now()):
            self._move(entry, "delayed", due_at)
            heapq.heappush(self._delayed, (0.0, due_at, entry.order, entry.version, entry))
            self._takers.expect(due_at)
            return
        self._move(entry, "held", due_at)
        self._lines[entry.message.tenant].add(entry, now)

    def _move(self, entry: Entry, state: str, at: float) -> None:
        """Take a message from where it is. What its going away lets others do is done, what it does itself is not."""
        now, before, line = self._clock.now(), entry.state, self._line(entry.message.tenant)
        entry.state, entry.at = state, at
        entry.version += 1
        line.waiting += (state in WAITING) - (before in WAITING)
        if state == "leased" and before != "leased":
            line.count(entry, now)
            self._leased[entry.message.id] = entry
        elif before == "leased" and state != "leased":
            del self._leased[entry.message.id]
            line.uncount(entry, now)
            self._stand_in_ring(entry.message.tenant)
        line.left(entry, now)
        if state in ("dead", "dropped"):
            line.leave(entry, now)
            if line.idle:
                del self._lines[entry.message.tenant]
                self._ring.pop(entry.message.tenant, None)

    def _take_the_place(self, line: TenantLine, entry: Entry, debounce: Debounce, now: float) -> float:
        """Supersede the one before that was never handed out; when the new one is due."""
        older = line.newest.get(debounce.key)
        if older is not None:
            entry.since = older.since
            older.superseded_by = entry.message.id
            line.leave(older, now)
            self._line_up(older, min(older.at, now))
        line.newest[debounce.key] = entry
        due_at = now + debounce.wait_s
        return due_at if debounce.longest_s is None else min(due_at, entry.since + debounce.longest_s)

    def _line(self, tenant: str) -> TenantLine:
        if tenant not in self._lines:
            opened = partial(self._stand_in_ring, tenant)
            self._lines[tenant] = TenantLine(self._policies.of(tenant), opened=opened, alarm=self._alarm)
        return self._lines[tenant]

    def _stand_in_ring(self, tenant: str) -> None:
        """A tenant may have something to hand out."""
        line = self._lines[tenant]
        if tenant not in self._ring:
            self._ring[tenant] = line
            line.left_in_turn = line.policy.weight
        self._takers.wake()

    def _promote(self, now: float) -> None:
        """Move what has become due into the lines, in the order of the times; let the rates whose time has come go on."""
        drop_stale(self._delayed)
        while self._delayed and self._delayed[0][1] <= now:
            due_at, entry = self._delayed[0][1], self._delayed[0][-1]
            self._line_up(entry, due_at)
            drop_stale(self._delayed)
        while self._alarms and self._alarms[0][0] <= now:
            heapq.heappop(self._alarms)[2](now)

    def _next_due(self) -> float:
        drop_stale(self._delayed)
        drop_stale(self._expiries)
        times = [places[0][1] for places in (self._delayed, self._expiries) if places]
        return min([*times, *(at for at, _, _ in self._alarms[:1])], default=math.inf)

    def _alarm(self, at: float, call: Callable[[float], None]) -> None:
        heapq.heappush(self._alarms, (at, next(self._order), call))
        self._takers.expect(at)
