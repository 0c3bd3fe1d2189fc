"""Limits of messages in SQLite: lanes of messages with the same limits, and the gates that close them.

The messages of one tenant with the same limits stand in one *lane*; only its first can be next, and is `ready` as long as
the lane is not parked. The others are `held`, so what stands behind a closed gate costs a take nothing. A lane whose limit
is reached is parked at that limit's *gate* and holds no place at the limits that it has passed. When a gate opens it calls
its best lane; whoever leaves the front of a lane, in whatever way, makes the gates of that lane call the next: so an open
gate never has a lane parked that could be better than those that are not. Lanes and gates are named by their limits as
JSON. Every query is an index look-up.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from turnout.interfaces.queue import Concurrency, Debounce, Message, Rate

__all__ = ["GATE_DUE", "MIGRATION", "NEXT_GATE", "Gates", "decode_limits", "encode_limits", "name_lane"]

MIGRATION: Final = (
    """CREATE TABLE queue_lanes (
        tenant TEXT NOT NULL,
        lane TEXT NOT NULL,
        rank INTEGER NOT NULL,
        at REAL NOT NULL,
        seq INTEGER NOT NULL,
        parked TEXT,
        PRIMARY KEY (tenant, lane)
    ) WITHOUT ROWID""",
    "CREATE INDEX queue_parked ON queue_lanes (tenant, parked, rank, at, seq) WHERE parked IS NOT NULL",
    """CREATE TABLE queue_places (
        tenant TEXT NOT NULL, key TEXT NOT NULL, leased INTEGER NOT NULL, PRIMARY KEY (tenant, key)
    ) WITHOUT ROWID""",
    """CREATE TABLE queue_hand_outs (
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        number INTEGER NOT NULL,
        at REAL NOT NULL,
        until REAL NOT NULL,
        PRIMARY KEY (tenant, key, number)
    ) WITHOUT ROWID""",
    "CREATE INDEX queue_hand_outs_over ON queue_hand_outs (until)",
    "CREATE TABLE queue_gates (tenant TEXT, gate TEXT, opens_at REAL, PRIMARY KEY (tenant, gate)) WITHOUT ROWID",
    "CREATE INDEX queue_gates_due ON queue_gates (opens_at)",
)

GATE_DUE: Final = "SELECT tenant, gate FROM queue_gates WHERE opens_at <= ? ORDER BY opens_at LIMIT ?"
NEXT_GATE: Final = "SELECT opens_at FROM queue_gates ORDER BY opens_at LIMIT 1"

HEAD: Final = "SELECT rank, at, seq, parked FROM queue_lanes WHERE tenant = ? AND lane = ?"
FOLLOWING: Final = """SELECT rank, at, seq FROM queue_messages WHERE tenant = ? AND lane = ? AND state = 'held'
    ORDER BY rank, at, seq LIMIT 1"""
BEST: Final = "SELECT lane, seq FROM queue_lanes WHERE tenant = ? AND parked = ? ORDER BY rank, at, seq LIMIT 1"
NEXT_PARKED: Final = """SELECT parked FROM queue_lanes WHERE tenant = ? AND parked > ? AND parked < ?
    ORDER BY parked LIMIT 1"""
PLACES: Final = "SELECT leased FROM queue_places WHERE tenant = ? AND key = ?"
_OCCUPY = """INSERT INTO queue_places VALUES (?, ?, 1) ON CONFLICT (tenant, key) DO UPDATE SET leased = leased + 1"""
_VACATE = "UPDATE queue_places SET leased = leased - 1 WHERE tenant = ? AND key = ? RETURNING leased"
LAST_NUMBER: Final = "SELECT MAX(number) FROM queue_hand_outs WHERE tenant = ? AND key = ?"
HANDED_OUT_AT: Final = "SELECT at FROM queue_hand_outs WHERE tenant = ? AND key = ? AND number = ?"
_HAND_OUT = """INSERT INTO queue_hand_outs SELECT ?1, ?2, COALESCE(MAX(number), 0) + 1, ?3, ?4 FROM queue_hand_outs
    WHERE tenant = ?1 AND key = ?2"""
OVER: Final = "SELECT tenant, key, number FROM queue_hand_outs WHERE until <= ? ORDER BY until LIMIT 10"

_Limit = Sequence[Any]
"""`["c", key, most]` or `["r", key, most, window_s]`."""


def encode_limits(message: Message) -> str:
    """The limits as text; empty if there are none."""
    if not (message.concurrency or message.rates or message.order or message.debounce):
        return ""
    debounce = message.debounce
    return _text(
        [
            [[one.key, one.most] for one in message.concurrency],
            [[one.key, one.most, one.window_s] for one in message.rates],
            message.order,
            None if debounce is None else [debounce.key, debounce.wait_s, debounce.longest_s],
        ]
    )


def decode_limits(text: str, *, id: str, tenant: str, priority: int) -> Message:
    """The message with its limits as `encode_limits` wrote them."""
    if not text:
        return Message(id=id, tenant=tenant, priority=priority)
    concurrency, rates, order, debounce = json.loads(text)
    return Message(
        id=id,
        tenant=tenant,
        priority=priority,
        concurrency=tuple(Concurrency(key=key, most=most) for key, most in concurrency),
        rates=tuple(Rate(key=key, most=most, window_s=window_s) for key, most, window_s in rates),
        order=order,
        debounce=None if debounce is None else Debounce(key=debounce[0], wait_s=debounce[1], longest_s=debounce[2]),
    )


def name_lane(message: Message, *, handed_out: bool) -> str:
    """The lane of a message: a rate is to be passed only once. Empty if nothing can hold it back."""
    limits: list[_Limit] = [["c", one.key, one.most] for one in message.concurrency]
    if not handed_out:
        limits += [["r", one.key, one.most, one.window_s] for one in message.rates]
    return _text(limits) if limits else ""


class Gates:
    """The lanes and gates within one transaction. `shown` is called with the tenant of which a message has become ready;
    `opens_at` is when the next of the gates opens that were closed meanwhile."""

    def __init__(self, connection: sqlite3.Connection, now: float, shown: Callable[[str], None]) -> None:
        self._run = connection.execute
        self._now = now
        self._shown = shown
        self.opens_at = math.inf

    def add(self, tenant: str, lane: str, place: tuple[int, float, int]) -> None:
        """A message is due that nothing but its lane's limits holds back."""
        head = self._run(HEAD, (tenant, lane)).fetchone()
        if head is not None and head[:3] < place:
            self._set_state(place[2], "held")
            return
        if head is not None and head[3] is None:
            self._set_state(head[2], "held")
        self._run("REPLACE INTO queue_lanes VALUES (?, ?, ?, ?, ?, NULL)", (tenant, lane, *place))
        if (closed := self.closed(lane, tenant)) is None:
            self._show(tenant, place[2])
        else:
            self._set_state(place[2], "held")
            self.park(tenant, lane, closed)

    def left(self, tenant: str, lane: str, seq: int) -> None:
        """A message is in its lane no more."""
        head = self._run(HEAD, (tenant, lane)).fetchone()
        if head is None or head[2] != seq:
            return
        following = self._run(FOLLOWING, (tenant, lane)).fetchone()
        if following is None:
            self._run("DELETE FROM queue_lanes WHERE tenant = ? AND lane = ?", (tenant, lane))
        else:
            sql = "UPDATE queue_lanes SET rank = ?, at = ?, seq = ? WHERE tenant = ? AND lane = ?"
            self._run(sql, (*following, tenant, lane))
            if head[3] is None:
                self._show(tenant, following[2])
        self._call_all(tenant, lane)

    def closed(self, lane: str, tenant: str) -> _Limit | None:
        """The first limit that holds the lane back."""
        return next((limit for limit in json.loads(lane) if not self._is_open(tenant, limit)), None)

    def park(self, tenant: str, lane: str, limit: _Limit) -> None:
        """The lane's limit is reached; its first is `held`."""
        self._run("UPDATE queue_lanes SET parked = ? WHERE tenant = ? AND lane = ?", (_text(limit), tenant, lane))
        self._watch(tenant, limit)
        self._call_all(tenant, lane)

    def occupy(self, message: Message, *, first: bool) -> None:
        """The message is leased, for the first time or not."""
        for concurrency in message.concurrency:
            self._run(_OCCUPY, (message.tenant, concurrency.key))
        for rate in message.rates if first else ():
            self._run(_HAND_OUT, (message.tenant, rate.key, self._now, self._now + rate.window_s))
        if first and message.rates:
            for over in self._run(OVER, (self._now,)).fetchall():
                self._run("DELETE FROM queue_hand_outs WHERE tenant = ? AND key = ? AND number = ?", over)

    def vacate(self, message: Message) -> None:
        """The message's lease has ended."""
        for concurrency in message.concurrency:
            place = (message.tenant, concurrency.key)
            (leased,) = self._run(_VACATE, place).fetchone()
            if leased <= 0:
                self._run("DELETE FROM queue_places WHERE tenant = ? AND key = ?", place)
            self._call_key(message.tenant, ["c", concurrency.key])

    def open_in_time(self, tenant: str, gate: str) -> None:
        """The time has come at which a rate's gate was to open."""
        self._run("DELETE FROM queue_gates WHERE tenant = ? AND gate = ?", (tenant, gate))
        self._call(tenant, gate)

    def free(self, tenant: str, lane: str) -> int:
        """How many more of this lane could be leased now."""
        return min(self._free(tenant, limit) for limit in json.loads(lane))

    def _show(self, tenant: str, seq: int) -> None:
        self._set_state(seq, "ready")
        self._shown(tenant)

    def _set_state(self, seq: int, state: str) -> None:
        self._run("UPDATE queue_messages SET state = ? WHERE seq = ?", (state, seq))

    def _call_all(self, tenant: str, lane: str) -> None:
        for limit in json.loads(lane):
            self._call_key(tenant, limit[:2])

    def _call_key(self, tenant: str, key: _Limit) -> None:
        """Let the gates of a key call: one for each number that messages allow, so one as a rule."""
        for gate in self._gates(tenant, _text(key)[:-1] + ","):
            self._call(tenant, gate)

    def _gates(self, tenant: str, prefix: str) -> Iterator[str]:
        after, before = prefix, prefix + "\U0010ffff"
        while found := self._run(NEXT_PARKED, (tenant, after, before)).fetchone():
            after = found[0]
            yield after

    def _call(self, tenant: str, gate: str) -> None:
        """Let the gate's best lane come out, if it is open; one that another gate holds back is parked there."""
        limit = json.loads(gate)
        while best := self._run(BEST, (tenant, gate)).fetchone():
            if not self._is_open(tenant, limit):
                self._watch(tenant, limit)
                return
            lane, seq = best
            closed = self.closed(lane, tenant)
            parked = None if closed is None else _text(closed)
            self._run("UPDATE queue_lanes SET parked = ? WHERE tenant = ? AND lane = ?", (parked, tenant, lane))
            if closed is None:
                self._show(tenant, seq)
                return
            self._watch(tenant, closed)

    def _watch(self, tenant: str, limit: _Limit) -> None:
        if limit[0] == "r":
            opens_at = self._opens_at(tenant, limit)
            self._run("REPLACE INTO queue_gates VALUES (?, ?, ?)", (tenant, _text(limit), opens_at))
            self.opens_at = min(self.opens_at, opens_at)

    def _is_open(self, tenant: str, limit: _Limit) -> bool:
        if limit[0] == "c":
            return self._free(tenant, limit) > 0
        return self._opens_at(tenant, limit) <= self._now

    def _opens_at(self, tenant: str, limit: _Limit) -> float:
        _, key, most, window_s = limit
        (last,) = self._run(LAST_NUMBER, (tenant, key)).fetchone()
        at = None if last is None else self._run(HANDED_OUT_AT, (tenant, key, last - most + 1)).fetchone()
        return -math.inf if at is None else at[0] + window_s

    def _free(self, tenant: str, limit: _Limit) -> int:
        key, most = limit[1:3]
        if limit[0] == "c":
            row = self._run(PLACES, (tenant, key)).fetchone()
            return int(most) - (row[0] if row else 0)
        sql = "SELECT COUNT(*) FROM queue_hand_outs WHERE tenant = ? AND key = ? AND at > ?"
        return int(most) - int(self._run(sql, (tenant, key, self._now - limit[3])).fetchone()[0])


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
