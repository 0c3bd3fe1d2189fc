"""Counts everything that the scripts keep about a queue anew, from its messages alone, and says where they are wrong."""

from __future__ import annotations

import json
import math
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from turnout_ecs.queue.records import Record, read_record
from turnout_ecs.queue.shards import Shard
from turnout_ecs.testing.servers import RedisServer

__all__ = ["faults"]

_PLACE_BYTES: Final = 21
_CANCELLED, _STARTED, _FIRST = 2, 4, 8


@dataclass(frozen=True, slots=True)
class _Gate:
    """As `gates.lua` has it: `kind` is `c` or `w`."""

    name: bytes
    most: int
    kind: str


@dataclass(slots=True)
class _Kept:
    """All that a shard keeps."""

    messages: dict[bytes, Record]
    lines: set[bytes]
    counts: dict[bytes, bytes]
    sets: dict[str, dict[bytes, float]] = field(default_factory=dict)

    @classmethod
    def read(cls, server: RedisServer, shard: Shard) -> _Kept:
        def key(name: str) -> str:
            return f"{shard.tag}:{name}"

        messages, counts = (_pairs(server.command("HGETALL", key(name))) for name in ("messages", "counts"))
        kept = cls(
            {id: read_record(packed) for id, packed in messages.items()},
            set(server.command("ZRANGE", key("lines"), 0, -1)),
            counts,
        )
        for name in ("ring", "delayed", "timers", "leases", "last_leases", "dead"):
            scored = _pairs(server.command("ZRANGE", key(name), 0, -1, "WITHSCORES"))
            kept.sets[name] = {member: float(score) for member, score in scored.items()}
        return kept

    def count(self, field: bytes) -> int:
        return int(self.counts.get(field, 0))

    def of(self, *states: str) -> Iterator[tuple[bytes, Record]]:
        return ((id, record) for id, record in self.messages.items() if record.state in states)


def faults(server: RedisServer, shard: Shard, now: float) -> list[str]:
    """What does not agree; empty if all does."""
    kept = _Kept.read(server, shard)
    return [*_misplaced(kept), *_miscounted(kept), *_stuck(kept, now)]


def _misplaced(kept: _Kept) -> Iterator[str]:
    """Every message stands where its state says, and nothing else stands anywhere."""
    expected: set[bytes] = set()
    for id, record in kept.messages.items():
        if record.state == "r":
            expected.add(b"r" + _whole(record.tenant) + _place(record) + id)
        if record.state == "h":
            expected.add(b"h" + record.gate.encode() + _place(record) + id)
        if _order(record) and record.state != "x":
            expected.add(_order_line(record) + struct.pack(">d", record.seq) + id)
    stand = {member for member in kept.lines if not member.startswith(b"t")}
    if stand != expected:
        yield f"lines: {stand - expected} too many, {expected - stand} missing"
    for states, names in (("d", ("delayed",)), ("lp", ("leases", "last_leases")), ("x", ("dead",))):
        there = [id for name in names for id in kept.sets[name]]
        ids = [id for id, _ in kept.of(*states)]
        if sorted(there) != sorted(ids):
            yield f"{names}: {there} and not {ids}"


def _miscounted(kept: _Kept) -> Iterator[str]:
    expected: Counter[bytes] = Counter()
    for _, record in kept.of("r", "h", "d"):
        expected[b"W" + record.tenant.encode()] += 1
    for _, record in kept.of("l", "p"):
        expected[b"I" + record.tenant.encode()] += 1
        expected.update(b"A" + gate.name for gate in _gates(record) if gate.kind == "c")
        expected.update([b"A" + _gate_name(record.tenant, "o" + _order(record))] if _order(record) else [])
    for _, record in kept.of("r"):
        expected.update(b"L" + gate.name for gate in _gates(record))
    counted = {name: int(value) for name, value in kept.counts.items() if name[:1] in b"WIAL"}
    if counted != dict(expected):
        yield f"counts: {counted} and not {dict(expected)}"
    newest = sum(name.startswith(b"D") for name in kept.counts)
    waits = sum(
        bool(_limits(record).get("debounce")) and not record.flags & _STARTED and not record.newer
        for record in kept.messages.values()
    )
    if newest != waits:
        yield f"debounced: {newest} and not {waits}"


def _stuck(kept: _Kept, now: float) -> Iterator[str]:
    """Whoever waits has something that will wake them."""
    for tenant in {record.tenant.encode() for _, record in kept.of("r")} - set(kept.sets["ring"]):
        yield f"ring: {tenant!r} has something in line and no turn"
    gates: dict[bytes, list[tuple[bytes, bytes, Record]]] = {}
    for id, record in kept.of("h"):
        gates.setdefault(record.gate.encode(), []).append((_place(record), id, record))
    for name, waiting in gates.items():
        _, id, first = min(waiting)
        timed = kept.sets["timers"].get(name, math.inf)
        for gate in _gates(first):
            if gate.name != name:
                continue
            taken = kept.count(b"A" + name) if gate.kind == "c" else _handed_out(kept, name, now)
            if gate.most - taken > kept.count(b"L" + name) and timed > now:
                yield f"gate {name!r}: {id!r} waits, {gate.most} pass, {taken} have, {kept.count(b'L' + name)} may"
            if gate.kind == "w" and taken and timed == math.inf and not kept.count(b"L" + name):
                yield f"gate {name!r}: {id!r} waits, and nobody looks"
            break
        else:
            yield from _not_next(kept, name, waiting)


def _not_next(kept: _Kept, name: bytes, waiting: list[tuple[bytes, bytes, Record]]) -> Iterator[str]:
    """Of those who wait for others of their order, none is the first of it while none of it is leased."""
    for _, id, record in waiting:
        line = _order_line(record)
        first = min((member for member in kept.lines if member.startswith(line)), default=b"")
        if first[len(line) + 8 :] == id and not kept.count(b"A" + name):
            yield f"order {name!r}: {id!r} is first, and waits"


def _handed_out(kept: _Kept, name: bytes, now: float) -> int:
    """How many hand-outs still count for a rate."""
    prefix = b"t" + name
    times = (struct.unpack_from(">d", member, len(prefix))[0] for member in kept.lines if member.startswith(prefix))
    return sum(until > now for until in times)


def _gates(record: Record) -> list[_Gate]:
    if record.newer:
        return []
    limits = _limits(record)
    gates = [_Gate(_gate_name(record.tenant, "c" + key), most, "c") for key, most in limits.get("concurrency", ())]
    if not record.flags & _STARTED:
        for key, most, window_s in limits.get("rates", ()):
            gates.append(_Gate(_gate_name(record.tenant, f"w{window_s:.14g} {key}"), most, "w"))
    return gates


def _order(record: Record) -> str:
    return "" if record.newer else _limits(record).get("order", "")


def _order_line(record: Record) -> bytes:
    return b"o" + _whole(record.tenant) + _whole(_order(record))


def _limits(record: Record) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(record.limits) if record.limits else {}
    return found


def _gate_name(tenant: str, key: str) -> bytes:
    return _whole(tenant) + _whole(key)


def _whole(name: str) -> bytes:
    return b"%d:%s" % (len(name.encode()), name.encode())


def _place(record: Record) -> bytes:
    if record.flags & _FIRST:
        return struct.pack(">BIdd", 0, 0, record.at, record.seq)
    return struct.pack(">BIdd", 1, 2147483648 - record.priority, record.at, record.seq)


def _pairs(flat: list[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
