"""Messages as Redis keeps them: a packed array, which the scripts read and write as well (`kept.lua` names its places)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from turnout.errors import BackendError
from turnout.interfaces.queue import Concurrency, DeadMessage, Debounce, Lease, Message, Rate

__all__ = ["Record", "dead_message", "lease_of", "limits_text", "read_record"]


class Record(msgspec.Struct, array_like=True, frozen=True):
    """The places of `kept.lua`, in its order. `limits` is JSON, empty for none."""

    state: str
    tenant: str
    priority: int
    at: float
    seq: int
    attempts: int
    token: int
    worker: str
    flags: int
    reason: str
    limits: str
    gate: str
    newer: str


class _Limits(msgspec.Struct, frozen=True):
    concurrency: tuple[tuple[str, int], ...] = ()
    rates: tuple[tuple[str, int, float], ...] = ()
    order: str = ""
    debounce: tuple[str, float, float | bool] | None = None


_RECORD: Final = msgspec.msgpack.Decoder(Record)
_LIMITS: Final = msgspec.json.Decoder(_Limits)


def limits_text(message: Message) -> bytes:
    """The limits of a message as the scripts read them; empty if it has none."""
    if not (message.concurrency or message.rates or message.order or message.debounce):
        return b""
    limits: dict[str, Any] = {
        "concurrency": [(one.key, one.most) for one in message.concurrency],
        "rates": [(one.key, one.most, one.window_s) for one in message.rates],
        "order": message.order,
    }
    if (debounce := message.debounce) is not None:
        longest_s = False if debounce.longest_s is None else debounce.longest_s
        limits["debounce"] = (debounce.key, debounce.wait_s, longest_s)
    return msgspec.json.encode(limits)


def read_record(packed: bytes) -> Record:
    try:
        return _RECORD.decode(packed)
    except msgspec.DecodeError as error:
        raise BackendError(f"the queue in Redis has a message that this version cannot read: {error}") from error


def lease_of(id: bytes, record: Record, *, expires_at: float) -> Lease:
    return Lease(
        message=_message(id, record),
        worker=record.worker,
        token=record.token,
        attempt=record.attempts,
        expires_at=expires_at,
        superseded_by=record.newer,
    )


def dead_message(id: bytes, record: Record) -> DeadMessage:
    return DeadMessage(message=_message(id, record), attempts=record.attempts, reason=record.reason, died_at=record.at)


def _message(id: bytes, record: Record) -> Message:
    if not record.limits:
        return Message(id=id.decode(), tenant=record.tenant, priority=record.priority)
    limits = _LIMITS.decode(record.limits)
    debounce = None
    if limits.debounce is not None:
        key, wait_s, longest_s = limits.debounce
        debounce = Debounce(key=key, wait_s=wait_s, longest_s=None if longest_s is False else float(longest_s))
    return Message(
        id=id.decode(),
        tenant=record.tenant,
        priority=record.priority,
        concurrency=tuple(Concurrency(key=key, most=most) for key, most in limits.concurrency),
        rates=tuple(Rate(key=key, most=most, window_s=window_s) for key, most, window_s in limits.rates),
        order=limits.order,
        debounce=debounce,
    )
