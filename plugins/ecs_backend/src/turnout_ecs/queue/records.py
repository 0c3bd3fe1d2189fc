"""Messages as Redis keeps them: a packed array, which the scripts read and write as well (`kept.lua` names its places)."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from turnout.errors import BackendError
from turnout.interfaces.queue import Concurrency, DeadMessage, Debounce, Lease, Message, Rate

__all__ = ["Record", "dead_message", "lease_of", "limits_text", "lost_lease_of", "read_record", "token_of"]


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
_TOKEN_PLACE: Final = 6


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
    except msgspec.MsgspecError as error:
        raise _unreadable(error) from error


def token_of(packed: bytes) -> int | None:
    """The token of a record that this version cannot read otherwise: a newer one has the same places, and perhaps more."""
    try:
        token = msgspec.msgpack.decode(packed)[_TOKEN_PLACE]
    except (msgspec.MsgspecError, LookupError, TypeError):
        return None
    return token if isinstance(token, int) else None


def lease_of(id: bytes, record: Record, *, expires_at: float) -> Lease:
    return Lease(
        message=_message(id, record),
        worker=record.worker,
        token=record.token,
        attempt=record.attempts,
        expires_at=expires_at,
        superseded_by=record.newer,
    )


def lost_lease_of(id: bytes, record: Record, *, expires_at: float) -> Lease:
    """A lease that has ended, to be fenced by its id and token: without its limits if this version cannot read them."""
    return lease_of(id, _with_known_limits(record), expires_at=expires_at)


def dead_message(id: bytes, record: Record) -> DeadMessage:
    """A dead letter, to be shown and ended: without its limits if this version cannot read them."""
    message = _message(id, _with_known_limits(record))
    return DeadMessage(message=message, attempts=record.attempts, reason=record.reason, died_at=record.at)


def _with_known_limits(record: Record) -> Record:
    try:
        _LIMITS.decode(record.limits or b"{}")
    except msgspec.MsgspecError:
        return msgspec.structs.replace(record, limits="")
    return record


def _message(id: bytes, record: Record) -> Message:
    if not record.limits:
        return Message(id=id.decode(), tenant=record.tenant, priority=record.priority)
    try:
        limits = _LIMITS.decode(record.limits)
    except msgspec.MsgspecError as error:
        raise _unreadable(error) from error
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


def _unreadable(error: msgspec.MsgspecError) -> BackendError:
    return BackendError(f"the queue in Redis has a message that this version of turnout-ecs cannot read: {error}")
