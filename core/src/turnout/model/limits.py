"""How fast executions may run: what a flow says (`FlowLimits`), and what that comes to for one execution (`ExecutionLimits`).

Limits delay executions and never drop one; `Deduplication` and `DebounceLimit` say which are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = [
    "Concurrency",
    "ConcurrencyLimit",
    "Debounce",
    "DebounceLimit",
    "Deduplication",
    "ExecutionLimits",
    "FlowLimits",
    "OrderLimit",
    "Per",
    "Rate",
    "RateLimit",
]


class Per(StrEnum):
    """Which executions count together."""

    FLOW = "flow"
    """Those of this flow of this instance."""
    INSTANCE = "instance"
    """Those of all flows of this instance that name the limit."""
    CUSTOMER = "customer"
    """Those of all instances of this customer whose flows name the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyLimit:
    """At most `most` at once. Where there is a `key`, those with an equal value of it count together, within `per`.

    `most` is a number or text with an expression that gives one; `key` is data with expressions, None where there is none.
    """

    most: int | str
    per: Per = Per.FLOW
    key: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """At most `most` starts within any `window_s`; otherwise as `ConcurrencyLimit`."""

    most: int | str
    window_s: float
    per: Per = Per.FLOW
    key: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderLimit:
    """One at a time, in the order in which they were accepted."""

    key: Any = None
    per: Per = Per.FLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class DebounceLimit:
    """Run only the newest of those that come within `wait_s` of each other, `longest_s` after the first at the latest."""

    wait_s: float
    longest_s: float | None = None
    key: Any = None
    per: Per = Per.FLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplication:
    """Those of one flow with an equal `key` within `window_s` are one execution."""

    key: Any
    window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowLimits:
    """The limits of a flow. `priority` is a number or text with an expression that gives one: higher runs first."""

    concurrency: tuple[ConcurrencyLimit, ...] = ()
    rate: tuple[RateLimit, ...] = ()
    order: OrderLimit | None = None
    debounce: DebounceLimit | None = None
    deduplicate: Deduplication | None = None
    priority: int | str = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """At most `most` messages of this key are leased at once; the others wait, the higher priority and the earlier due
    first. A message that was released and is not due does not count."""

    key: str
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """At most `most` messages of this key are handed out for the first time within any `window_s`; the others wait."""

    key: str
    most: int
    window_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Debounce:
    """Due `wait_s` after it was put. A message put while another of this key has never been handed out takes its place,
    due `wait_s` from then, but not later than `longest_s` after the first that was replaced was put. The one replaced is
    due at once, no limit holds it back, and its lease is `superseded_by` the newer: whoever takes it ends it without
    running it."""

    key: str
    wait_s: float
    longest_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionLimits:
    """The limits of one execution, as they were when it was accepted: every message that it is queued with has them.

    Keys are digests: equal where executions count together, telling nothing of the values. `debounce` concerns the first
    of its messages only: whoever queues it again wants it to run.
    """

    priority: int = 0
    concurrency: tuple[Concurrency, ...] = ()
    rates: tuple[Rate, ...] = ()
    order: str = ""
    debounce: Debounce | None = None
