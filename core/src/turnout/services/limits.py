"""A flow's limits, evaluated for one execution as it is accepted. Nothing that somebody sent refuses an execution: an expression
that fails on it is told of in the execution's log, and the limit is kept to as well as can be.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from typing import Any, Final

from turnout.definition.grammar import MOST, PRIORITY
from turnout.definition.shapes import Number
from turnout.engine.backends import Backends
from turnout.engine.content import Content
from turnout.engine.frame import Frame, Renderer
from turnout.errors import BackendError, ExpressionError, PayloadMissing, StepError, TurnoutError
from turnout.expressions import compile_template
from turnout.model.execution import ExecutionInfo
from turnout.model.limits import (
    Concurrency,
    ConcurrencyLimit,
    Debounce,
    DebounceLimit,
    ExecutionLimits,
    FlowLimits,
    OrderLimit,
    Per,
    Rate,
    RateLimit,
)
from turnout.model.payload import File
from turnout.services.ids import id_text
from turnout.values import Value

__all__ = ["Settled", "common_id", "settle"]

_SHOWN: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a flow's limits come to. `same` is what others that are the same execution have as well, for `unique_s`; empty
    where none are. `notes` say which expressions gave nothing, and what was done instead."""

    limits: ExecutionLimits | None = None
    same: str = ""
    unique_s: float = 0.0
    notes: tuple[str, ...] = ()


def common_id(key: bytes, info: ExecutionInfo, settled: Settled, *, ahead: int = 0) -> str:
    """The id of the execution that all are who have `settled.same`, made of the window that it was accepted in, or of one
    `ahead` of that. Nobody without the project's key can tell it beforehand.

    Windows are cut from time by their number, so that an execution accepted once the first one's is over has an id, and a
    record, of its own.
    """
    window = max(0, int(info.created_at // settled.unique_s) + ahead)
    what = "\0".join(("same", info.tenant, info.instance, info.flow, str(window), settled.same))
    digest = hmac.digest(key, what.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return id_text(window * settled.unique_s, int.from_bytes(digest[:10]))


async def settle(
    backends: Backends, info: ExecutionInfo, limits: FlowLimits, trigger: Value | None = None, *, by_hand: bool = False
) -> Settled:
    """The limits of an execution that begins with `trigger` (that of `info` unless given). One that a person asked for
    `by_hand` is neither debounced nor the same as another. `BackendError` if what they are made of cannot be read now."""
    if limits == FlowLimits():
        return Settled()
    evaluation = _Evaluation(backends, info, trigger)
    settled = ExecutionLimits(
        priority=await evaluation.number("priority", limits.priority, PRIORITY, otherwise=0),
        concurrency=tuple([await evaluation.concurrency(limit) for limit in limits.concurrency]),
        rates=tuple([await evaluation.rate(limit) for limit in limits.rate]),
        order="" if limits.order is None else await evaluation.order(limits.order),
        debounce=None if limits.debounce is None or by_hand else await evaluation.debounce(limits.debounce),
    )
    same, unique_s = "", 0.0
    if limits.deduplicate is not None and not by_hand:
        found = await evaluation.value("deduplicate", limits.deduplicate.key, "it is an execution of its own")
        same, unique_s = found or "", limits.deduplicate.window_s
    return Settled(limits=settled, same=same, unique_s=unique_s, notes=tuple(evaluation.notes))


class _Evaluation:
    """The expressions of one execution's limits. What they see is loaded when the first of them asks."""

    def __init__(self, backends: Backends, info: ExecutionInfo, trigger: Value | None) -> None:
        self.notes: list[str] = []
        self._backends = backends
        self._info = info
        self._trigger = trigger
        self._content = Content(backends.payloads, info.tenant)
        self._renderer = Renderer(self._content, backends.key, info.id, _no_callback)
        self._frame: Frame | None = None

    async def concurrency(self, limit: ConcurrencyLimit) -> Concurrency:
        most = await self.number("concurrency", limit.most, MOST, otherwise=1)
        return Concurrency(key=await self._together("concurrency", limit), most=most)

    async def rate(self, limit: RateLimit) -> Rate:
        most = await self.number("rate", limit.most, MOST, otherwise=1)
        return Rate(key=await self._together("rate", limit), most=most, window_s=limit.window_s)

    async def order(self, limit: OrderLimit) -> str:
        return await self._together("order", limit)

    async def debounce(self, limit: DebounceLimit) -> Debounce | None:
        value = ""
        if limit.key is not None:
            found = await self.value("debounce", limit.key, "it is not debounced")
            if found is None:
                return None
            value = found
        return Debounce(key=self._digest("debounce", limit.per, value), wait_s=limit.wait_s, longest_s=limit.longest_s)

    async def number(self, what: str, written: int | str, kind: Number, *, otherwise: int) -> int:
        """A number as it is written, or what its expression gives; `otherwise` where that is none within its bounds."""
        if isinstance(written, int):
            return written
        low, high = kind.minimum or 0, kind.maximum or 0
        try:
            gave = _canonical((await self._render(written)).load())
            if isinstance(gave, int) and not isinstance(gave, bool) and low <= gave <= high:
                return gave
            reason = f"gave {json.dumps(gave)[:_SHOWN]}, not a whole number from {low} to {high}"
        except TurnoutError as error:
            reason = _failed(error)
        self._note(what, written, reason, f"{otherwise} is taken")
        return otherwise

    async def value(self, what: str, written: Any, otherwise: str) -> str | None:
        """A key's value as canonical JSON; None where it gave nothing, which is noted with what is done then."""
        try:
            value = (await self._render(written)).load()
            if value is not None:
                return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))
            reason = "gave null"
        except TurnoutError as error:
            reason = _failed(error)
        self._note(what, written, reason, otherwise)
        return None

    async def _together(self, what: str, limit: ConcurrencyLimit | RateLimit | OrderLimit) -> str:
        """The key of those that count together. Executions without a value are held to the limit as well: together."""
        value: str | None = ""
        if limit.key is not None:
            value = await self.value(what, limit.key, "it counts with the others that have no value")
        window = f"{limit.window_s:g}" if isinstance(limit, RateLimit) else ""
        return self._digest(what, limit.per, "null" if value is None else value, window)

    def _digest(self, what: str, per: Per, value: str, window: str = "") -> str:
        """Flows count together where they say the same of it: `per`, the value, and of a rate the window."""
        info = self._info
        names = {Per.FLOW: (info.instance, info.flow), Per.INSTANCE: (info.instance,), Per.CUSTOMER: ()}[per]
        text = "\0".join(("limit", info.tenant, what, window, per, *names, value))
        return hmac.digest(self._backends.key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:32]

    async def _render(self, written: Any) -> Value:
        template = compile_template(written)
        if self._frame is None:
            given = self._trigger
            trigger = await self._content.unpack(self._info.trigger) if given is None else given
            settings = await self._backends.instances.settings(self._info.tenant, self._info.settings)
            self._frame = Frame({"trigger": trigger, "config": Value(dict(settings.config))}, {})
        return await self._renderer.render(template, self._frame, "limits", self._backends.clock.now())

    def _note(self, what: str, written: Any, reason: str, otherwise: str) -> None:
        shown = written if isinstance(written, str) else json.dumps(written)
        self.notes.append(f"limits: `{what}`: {shown[:_SHOWN]} {reason}; {otherwise}")


def _failed(error: TurnoutError) -> str:
    """Why there is no value. A store that does not answer is no reason: its error is raised, so that the sender comes again."""
    match error:
        case BackendError() if not isinstance(error, PayloadMissing):
            raise error
        case ExpressionError():
            return f"cannot be evaluated ({error.reason})"
        case StepError():
            return f"cannot be evaluated ({error.message})"
        case _:
            return f"cannot be evaluated ({type(error).__name__})"


def _canonical(data: Any) -> Any:
    """Equal for what is equal: 1 and 1.0 are, 1 and "1" and true are not. A file is its content."""
    match data:
        case float() if data.is_integer():
            return int(data)
        case File():
            return {"sha256": data.sha256}
        case dict():
            return {key: _canonical(item) for key, item in data.items()}
        case list():
            return [_canonical(item) for item in data]
        case _:
            return data


def _no_callback(_prefix: str, _id: str) -> str:
    raise ExpressionError("no step waits for a callback yet")
