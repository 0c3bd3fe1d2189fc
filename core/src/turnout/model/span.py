"""A finished span, as a plain value: what the engine hands to whoever exports traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from turnout.model.trace import TraceContext

__all__ = ["Attribute", "Span", "SpanEvent", "SpanKind"]

Attribute = str | bool | int | float


class SpanKind(StrEnum):
    """As OpenTelemetry names them."""

    INTERNAL = "internal"
    CLIENT = "client"
    """It asks another program, and waits for the answer."""
    CONSUMER = "consumer"
    """It was asked for earlier, and nobody waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """A moment of a span. `at` is seconds since the epoch."""

    name: str
    at: float
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What took from `started_at` to `ended_at`, seconds since the epoch. No payload and no secret is in it.

    `parent` is the span that it is a part of, `remote` where that was made by another program. `failure` is why it failed,
    None where it did not. `links` are spans of other traces that it has to do with.
    """

    context: TraceContext
    parent: TraceContext | None
    remote: bool = False
    name: str
    kind: SpanKind = SpanKind.INTERNAL
    started_at: float
    ended_at: float
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    failure: str | None = None
    events: tuple[SpanEvent, ...] = ()
    links: tuple[TraceContext, ...] = ()
