"""Which message of a tenant is next, in memory: lanes of messages with the same limits, and the gates that close them.

Messages with the same limits stand in one *lane*; only its first can be next. A lane whose limit is reached is parked at
that limit's *gate*, so what stands behind a closed gate costs a take nothing. It holds no place at the limits that it has
passed. When a gate opens it calls its best lane; whoever leaves the front of a lane, in whatever way, makes the gates of
that lane call the next: so an open gate never has a lane parked that could be better than those that stand open.
"""

from __future__ import annotations

import heapq
import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from turnout.interfaces.queue import Concurrency, Message, Rate
from turnout.model.tenancy import TenantPolicy

__all__ = ["WAITING", "Entry", "Place", "TenantLine", "drop_stale"]

WAITING: Final = ("ready", "held", "delayed")
"""The states of a message that is neither leased nor dead."""

Limit = Concurrency | Rate
Limits = tuple[Limit, ...]
Alarm = Callable[[float, Callable[[float], None]], None]


@dataclass(slots=True, eq=False)
class Entry:
    """A message and where it stands. `state` is `ready` (in a lane), `held` (behind another of its order), `delayed`,
    `leased` or `dead`; `at` is when it is (or became) due, runs out or died. `version` rises with each change of place, so
    that older places in heaps are known as stale."""

    message: Message
    order: int
    state: str = "new"
    at: float = 0.0
    rank: float = 0.0
    version: int = 0
    attempts: int = 0
    token: int = 0
    worker: str = ""
    woken: bool = False
    cancelled: bool = False
    reason: str = ""
    handed_out: bool = False
    superseded_by: str = ""
    since: float = 0.0
    """When the first of those that it replaced was put."""
    turn: int = 0
    """Its place in its order."""
    lane: _Lane | None = None

    @property
    def limits(self) -> Limits:
        """Those that it has yet to pass: a rate only once, none if another has taken its place."""
        if self.superseded_by:
            return ()
        return (*self.message.concurrency, *(() if self.handed_out else self.message.rates))

    @property
    def sequence(self) -> str:
        """The order that it keeps to, if any."""
        return "" if self.superseded_by else self.message.order


Place = tuple[float, float, int, int, Entry]
"""What heaps sort by: rank, time, order; then the version of the entry that took this place."""


@dataclass(slots=True, eq=False)
class _Lane:
    """`parked` is the gate at which it waits, as `known_by` this first place."""

    limits: Limits
    places: list[Place] = field(default_factory=list)
    parked: _Gate | None = None
    known_by: Place | None = None


@dataclass(slots=True, eq=False)
class _Gate:
    limit: Limit
    parked: list[tuple[Place, _Lane]] = field(default_factory=list)
    watched: bool = False


@dataclass(slots=True, eq=False)
class _Key:
    """What is counted of one key: the leases of a concurrency, or the times of hand-outs of a rate. Messages may differ in
    how many they allow: each such limit has a gate."""

    leased: int = 0
    times: list[float] = field(default_factory=list)
    most: int = 0
    window_s: float = 0.0
    gates: dict[Limit, _Gate] = field(default_factory=dict)

    def over(self, now: float) -> bool:
        """Whether nothing is to be remembered of it."""
        late = not self.times or self.times[-1] + self.window_s <= now
        return late and not self.leased and not any(gate.parked for gate in self.gates.values())


@dataclass(slots=True, eq=False)
class _Order:
    members: list[tuple[int, Entry]] = field(default_factory=list)
    leased: int = 0


class TenantLine:
    """The messages of one tenant that are due, the best of them first, as far as their limits let them.

    `opened` is called when something may be next now that was not; `alarm` takes the time at which a rate's gate opens,
    and what is to be called then.
    """

    def __init__(self, policy: TenantPolicy, *, opened: Callable[[], None], alarm: Alarm) -> None:
        self.policy = policy
        self.leased = 0
        self.waiting = 0
        self.left_in_turn = policy.weight
        self.newest: dict[str, Entry] = {}  # of each debounce key, while it was never handed out
        self._opened = opened
        self._alarm = alarm
        self._lanes: dict[Limits, _Lane] = {}
        self._open: list[tuple[Place, _Lane]] = []
        self._places: dict[str, _Key] = {}
        self._rates: OrderedDict[str, _Key] = OrderedDict()
        self._orders: dict[str, _Order] = {}

    @property
    def full(self) -> bool:
        """Whether as many are leased as may be."""
        return self.policy.in_flight is not None and self.leased >= self.policy.in_flight

    @property
    def idle(self) -> bool:
        """Whether there is nothing to remember of this tenant."""
        return not (self.leased or self.waiting or self._rates or self._orders)

    def join(self, entry: Entry, turn: int) -> None:
        """Take a place at the end of the message's order."""
        entry.turn = turn
        if entry.sequence:
            heapq.heappush(self._orders.setdefault(entry.sequence, _Order()).members, (turn, entry))

    def leave(self, entry: Entry, now: float) -> None:
        """The message has ended, or another has taken its place: the next of its order may come."""
        debounce = entry.message.debounce
        if debounce is not None and self.newest.get(debounce.key) is entry:
            del self.newest[debounce.key]
        entry.turn = 0
        self._advance(entry.message.order, now)

    def add(self, entry: Entry, now: float) -> None:
        """A message is due: into its lane, or behind the others of its order."""
        order = self._orders.get(entry.sequence)
        if order is not None and (order.leased or self._head(order) is not entry):
            entry.state = "held"
            return
        entry.state = "ready"
        lane = self._lanes.setdefault(limits := entry.limits, _Lane(limits))
        entry.lane = lane
        place = (entry.rank, entry.at, entry.order, entry.version, entry)
        heapq.heappush(lane.places, place)
        if lane.places[0] is not place:
            return
        if (closed := self._closed(lane, now)) is None:
            lane.parked = None
            self._show(lane)
        else:
            self._park(lane, closed)
            self._call_all(lane.limits, now)

    def next(self, now: float) -> Entry | None:
        """The best of those that nothing holds back. It stays where it is until it is leased."""
        while self._open:
            place, lane = self._open[0]
            entry = place[-1]
            if lane.parked is not None or place[3] != entry.version:
                heapq.heappop(self._open)
                continue
            closed = self._closed(lane, now)
            if closed is not None:
                heapq.heappop(self._open)
                self._park(lane, closed)
                self._call_all(lane.limits, now)
            elif entry.sequence and self._orders[entry.sequence].leased:  # another was claimed meanwhile
                entry.version += 1
                entry.state = "held"
                self.left(entry, now)
            else:
                return entry
        return None

    def left(self, entry: Entry, now: float) -> None:
        """A message is in its lane no more: its version has risen."""
        lane, entry.lane = entry.lane, None
        if lane is None:
            return
        drop_stale(lane.places)
        if lane.places:
            if lane.parked is None:
                self._show(lane)
        elif self._lanes.get(lane.limits) is lane:
            del self._lanes[lane.limits]
        self._call_all(lane.limits, now)

    def count(self, entry: Entry, now: float) -> None:
        """A message is leased."""
        self.leased += 1
        if entry.superseded_by:
            return
        for concurrency in entry.message.concurrency:
            self._places.setdefault(concurrency.key, _Key()).leased += 1
        if entry.sequence:
            self._orders[entry.sequence].leased += 1
        if not entry.handed_out:
            for rate in entry.message.rates:
                self._hand_out(rate, now)
            debounce = entry.message.debounce
            if debounce is not None and self.newest.get(debounce.key) is entry:
                del self.newest[debounce.key]
            entry.handed_out = True

    def uncount(self, entry: Entry, now: float) -> None:
        """A lease has ended; to be called before its message is added again or leaves its order."""
        self.leased -= 1
        if entry.superseded_by:
            return
        for concurrency in entry.message.concurrency:
            key = self._places[concurrency.key]
            key.leased -= 1
            for gate in list(key.gates.values()):
                self._call(gate, now)
            if key.over(now):
                del self._places[concurrency.key]
        if entry.sequence:
            self._orders[entry.sequence].leased -= 1
            self._advance(entry.sequence, now)

    def free(self, limits: Limits, now: float) -> float:
        """How many more with these limits could be leased now."""
        return min((self._free(limit, now) for limit in limits), default=math.inf)

    def _head(self, order: _Order) -> Entry | None:
        while order.members and order.members[0][0] != order.members[0][1].turn:
            heapq.heappop(order.members)
        return order.members[0][1] if order.members else None

    def _advance(self, sequence: str, now: float) -> None:
        order = self._orders.get(sequence)
        if order is None:
            return
        head = self._head(order)
        if head is None and not order.leased:
            del self._orders[sequence]
        elif head is not None and head.state == "held" and not order.leased:
            head.version += 1
            self.add(head, now)

    def _show(self, lane: _Lane) -> None:
        """The lane's first may be next."""
        heapq.heappush(self._open, (lane.places[0], lane))
        self._opened()

    def _park(self, lane: _Lane, limit: Limit) -> None:
        keys = self._places if isinstance(limit, Concurrency) else self._rates
        gate = keys.setdefault(limit.key, _Key()).gates.setdefault(limit, _Gate(limit))
        if lane.parked is gate and lane.known_by is lane.places[0]:
            return
        lane.parked, lane.known_by = gate, lane.places[0]
        heapq.heappush(gate.parked, (lane.known_by, lane))
        self._watch(gate)

    def _watch(self, gate: _Gate) -> None:
        if isinstance(gate.limit, Rate) and not gate.watched:
            gate.watched = True
            self._alarm(self._opens_at(gate.limit), partial(self._open_in_time, gate))

    def _open_in_time(self, gate: _Gate, now: float) -> None:
        gate.watched = False
        self._call(gate, now)

    def _call_all(self, limits: Limits, now: float) -> None:
        for limit in limits:
            keys = self._places if isinstance(limit, Concurrency) else self._rates
            for gate in list(keys[limit.key].gates.values()) if limit.key in keys else ():
                self._call(gate, now)

    def _call(self, gate: _Gate, now: float) -> None:
        """Let the gate's best lane come out, if it is open; one that another gate holds back is parked there."""
        while gate.parked and self._is_open(gate.limit, now):
            place, lane = heapq.heappop(gate.parked)
            drop_stale(lane.places)
            if lane.parked is not gate or lane.known_by is not place or not lane.places:
                continue
            if lane.places[0] is not place:  # its first has gone: the next may be worse than another lane's
                lane.known_by = lane.places[0]
                heapq.heappush(gate.parked, (lane.known_by, lane))
                continue
            lane.parked = None
            closed = self._closed(lane, now)
            if closed is None:
                self._show(lane)
                return
            self._park(lane, closed)
        if gate.parked:
            self._watch(gate)

    def _closed(self, lane: _Lane, now: float) -> Limit | None:
        return next((limit for limit in lane.limits if not self._is_open(limit, now)), None)

    def _is_open(self, limit: Limit, now: float) -> bool:
        if isinstance(limit, Concurrency):
            return limit.key not in self._places or self._places[limit.key].leased < limit.most
        return self._opens_at(limit) <= now

    def _opens_at(self, rate: Rate) -> float:
        times = self._rates[rate.key].times if rate.key in self._rates else []
        return times[-rate.most] + rate.window_s if len(times) >= rate.most else -math.inf

    def _free(self, limit: Limit, now: float) -> int:
        if isinstance(limit, Concurrency):
            return limit.most - (self._places[limit.key].leased if limit.key in self._places else 0)
        times = self._rates[limit.key].times if limit.key in self._rates else []
        return limit.most - sum(at + limit.window_s > now for at in times)

    def _hand_out(self, rate: Rate, now: float) -> None:
        key = self._rates.setdefault(rate.key, _Key())
        self._rates.move_to_end(rate.key)
        key.most, key.window_s = max(key.most, rate.most), max(key.window_s, rate.window_s)
        key.times.append(now)
        if len(key.times) > 2 * key.most:
            del key.times[: -key.most]
        while next(iter(self._rates.values())).over(now):
            self._rates.popitem(last=False)


def drop_stale(places: list[Place]) -> None:
    """Take away what is first, as long as its entry has moved on."""
    while places and places[0][3] != places[0][4].version:
        heapq.heappop(places)
