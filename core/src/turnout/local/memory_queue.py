"""The queue in memory: for tests and for `turnout run`, where nothing need outlive the process."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from turnout.errors import Unsupported
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.queue import DeadMessage, Lease, LeaseState, Message, Queue, QueueCapability, QueueStats
from turnout.local.takers import Takers
from turnout.model.durability import Durability
from turnout.model.tenancy import Policies

__all__ = ["MemoryQueue"]

_HEAD: Final = -math.inf
"""The rank of a message whose lease was ended by `reap`: before every priority."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A message and where it stands. `state` is `ready`, `delayed`, `leased` or `dead`; `at` is when it is (or became)
    due, runs out or died. `version` rises with each change of place, so that older places in heaps are known as stale."""

    message: Message
    order: int
    state: str = "ready"
    at: float = 0.0
    rank: float = 0.0
    version: int = 0
    attempts: int = 0
    token: int = 0
    worker: str = ""
    woken: bool = False
    cancelled: bool = False
    reason: str = ""


_Place = tuple[float, float, int, int, _Entry]


class MemoryQueue(Queue):
    """Implements `Queue` for one event loop of one process. Takes O(log n)."""

    capabilities: ClassVar[frozenset[QueueCapability]] = frozenset(QueueCapability) - {QueueCapability.LIMITS}

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
        self._entries: dict[str, _Entry] = {}
        self._lines: OrderedDict[str, list[_Place]] = OrderedDict()
        self._delayed: list[_Place] = []
        self._leased: dict[str, _Entry] = {}
        self._expiries: list[_Place] = []  # of the leases that `take` may take over
        self._takers = Takers(self._clock, next_due=self._next_due)

    @property
    def durability(self) -> Durability:
        return Durability.MEMORY

    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        if message.concurrency or message.rates or message.order or message.debounce:
            raise Unsupported(type(self).__name__, QueueCapability.LIMITS)
        if message.id in self._entries:
            return False
        entry = self._entries[message.id] = _Entry(message, next(self._order))
        self._line_up(entry, self._clock.now() + max(delay_s, 0.0))
        return True

    async def room(self, tenant: str) -> int | None:
        return None

    async def missing(self, ids: Sequence[str]) -> Sequence[str]:
        return [id for id in ids if id not in self._entries]

    async def take(self, worker: str, *, wait_s: float) -> Lease | None:
        return await self._takers.take(lambda: self._try_to_take(worker), wait_s=wait_s)

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
        states = [entry.state for entry in self._entries.values()]
        oldest = min((entry.at for entry in self._entries.values() if entry.state == "ready"), default=now)
        return QueueStats(
            ready=states.count("ready"),
            delayed=states.count("delayed"),
            leased=states.count("leased"),
            dead=states.count("dead"),
            oldest_ready_s=now - oldest,
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

    async def _try_to_take(self, worker: str) -> Lease | None:
        _drop_stale(self._expiries)
        if self._expiries and self._expiries[0][1] <= self._clock.now():
            return self._lease(self._expiries[0][-1], worker)
        self._promote(self._clock.now())
        while self._lines:
            tenant, line = next(iter(self._lines.items()))
            _drop_stale(line)
            if line:
                self._lines.move_to_end(tenant)
                return self._lease(line[0][-1], worker)
            del self._lines[tenant]
        return None

    def _takes_over(self, entry: _Entry) -> bool:
        """Whether a lease has run out and its message has attempts left; one without is for `reap` to bury."""
        return entry.state == "leased" and entry.at <= self._clock.now() and entry.attempts < self._max_attempts

    def _lease(self, entry: _Entry, worker: str) -> Lease:
        expires_at = self._clock.now() + self._lease_s
        entry.worker, entry.token, entry.woken = worker, next(self._tokens), False
        entry.attempts += 1
        self._hold(entry, expires_at)
        self._takers.expect(expires_at)
        return self._describe(entry)

    def _hold(self, entry: _Entry, expires_at: float) -> None:
        self._move(entry, "leased", expires_at)
        self._leased[entry.message.id] = entry
        if entry.attempts < self._max_attempts:
            heapq.heappush(self._expiries, (0.0, expires_at, entry.order, entry.version, entry))

    def _describe(self, entry: _Entry) -> Lease:
        return Lease(
            message=entry.message,
            worker=entry.worker,
            token=entry.token,
            attempt=entry.attempts,
            expires_at=entry.at,
        )

    def _held(self, lease: Lease) -> _Entry | None:
        entry = self._entries.get(lease.message.id)
        return entry if entry is not None and entry.state == "leased" and entry.token == lease.token else None

    def _extend_one(self, lease: Lease) -> LeaseState:
        entry = self._held(lease)
        if entry is None:
            return LeaseState.LOST
        self._hold(entry, self._clock.now() + self._lease_s)
        return LeaseState.CANCELLED if entry.cancelled else LeaseState.HELD

    def _end_leases(self, entries: Sequence[_Entry]) -> Sequence[Lease]:
        ended = []
        for entry in reversed(entries):  # the last one moved to the head is the first
            entry.token = next(self._tokens)
            ended.append(self._describe(entry))
            if entry.attempts >= self._max_attempts:
                self._bury(entry, f"its worker was lost {entry.attempts} times, the last was {entry.worker}")
            else:
                self._line_up(entry, min(entry.at, self._clock.now()), rank=_HEAD)
                self._lines.move_to_end(entry.message.tenant, last=False)
        ended.reverse()
        return ended

    def _bury(self, entry: _Entry, reason: str) -> None:
        self._move(entry, "dead", self._clock.now())
        entry.reason = reason

    def _line_up(self, entry: _Entry, due_at: float, *, rank: float | None = None) -> None:
        """Put a message into its tenant's line, or among the delayed until then."""
        entry.rank = -entry.message.priority if rank is None else rank
        if due_at > self._clock.now():
            self._move(entry, "delayed", due_at)
            heapq.heappush(self._delayed, (0.0, due_at, entry.order, entry.version, entry))
            self._takers.expect(due_at)
            return
        self._move(entry, "ready", due_at)
        line = self._lines.setdefault(entry.message.tenant, [])
        heapq.heappush(line, (entry.rank, due_at, entry.order, entry.version, entry))
        self._takers.wake()

    def _move(self, entry: _Entry, state: str, at: float) -> None:
        self._leased.pop(entry.message.id, None)
        entry.state, entry.at = state, at
        entry.version += 1

    def _promote(self, now: float) -> None:
        """Move what has become due into the lines, in the order of the times."""
        _drop_stale(self._delayed)
        while self._delayed and self._delayed[0][1] <= now:
            due_at, entry = self._delayed[0][1], self._delayed[0][-1]
            self._line_up(entry, due_at)
            _drop_stale(self._delayed)

    def _next_due(self) -> float:
        _drop_stale(self._delayed)
        _drop_stale(self._expiries)
        return min((places[0][1] for places in (self._delayed, self._expiries) if places), default=math.inf)


def _drop_stale(places: list[_Place]) -> None:
    while places and places[0][3] != places[0][4].version:
        heapq.heappop(places)
