"""W3C Trace Context as plain values: what came in by HTTP, and what goes out.

Source: https://www.w3.org/TR/trace-context-2/. Nothing here knows OpenTelemetry. Ids are functions of the execution and of
the place in it, so that whoever goes on with an execution after a crash goes on with its trace, and nothing is stored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from turnout.model.execution import ExecutionInfo

__all__ = ["TraceContext", "derived_span_id", "execution_context", "is_sampled", "trace_context"]

_TRACEPARENT: Final = re.compile(
    r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL
)
_SAMPLED: Final = 0x01
_RANDOM: Final = 0x02
_LONGEST_TRACEPARENT: Final = 1024
"""Characters: version 00 has 55, and what a later version appends is not read."""

_STATE_CHARACTERS: Final = 512
_STATE_MEMBERS: Final = 32
_LONGEST_STATE: Final = 8192
"""Characters; whoever sends more sends it to do harm."""
_LONG_MEMBER: Final = 128
_KEY: Final = r"[a-z0-9][a-z0-9_*/@-]{0,255}"
_MEMBER: Final = re.compile(rf"({_KEY})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{{0,255}}[\x21-\x2b\x2d-\x3c\x3e-\x7e]", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """One span of one trace, as other programs are told of it.

    `trace_id` is 32 and `span_id` 16 lower-case hex digits, neither all zero. `state` is a `tracestate` to pass on. `random`
    repeats what the maker of the trace id said of it.
    """

    trace_id: str
    span_id: str
    sampled: bool = True
    random: bool = False
    state: str = ""

    @property
    def traceparent(self) -> str:
        """The header, in version 00."""
        flags = self.sampled * _SAMPLED | self.random * _RANDOM
        return f"00-{self.trace_id}-{self.span_id}-{flags:02x}"

    @property
    def headers(self) -> Mapping[str, str]:
        """What a request carries: `traceparent`, and `tracestate` where there is one."""
        headers = {"traceparent": self.traceparent}
        if self.state:
            headers["tracestate"] = self.state
        return headers

    def at(self, span_id: str) -> TraceContext:
        """Another span of the same trace."""
        return replace(self, span_id=span_id)


def trace_context(traceparent: str, tracestate: str = "") -> TraceContext | None:
    """What the headers of a request say, or None where `traceparent` is not valid: then `tracestate` counts for nothing.

    Several `tracestate` headers are joined by commas before; one that is not valid is left out. A `tracestate` above 512
    characters loses members of more than 128 first, then the last ones.
    """
    if len(traceparent) > _LONGEST_TRACEPARENT:
        return None
    found = _TRACEPARENT.fullmatch(traceparent.strip(" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not (trace_id.strip("0") and span_id.strip("0")):
        return None
    bits = int(flags, 16)
    return TraceContext(
        trace_id=trace_id,
        span_id=span_id,
        sampled=bool(bits & _SAMPLED),
        random=bool(bits & _RANDOM),
        state=_state(tracestate),
    )


def _state(text: str) -> str:
    if len(text) > _LONGEST_STATE:
        return ""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    found = [_MEMBER.fullmatch(member) for member in members]
    keys = {match[1] for match in found if match is not None}
    if len(members) > _STATE_MEMBERS or len(keys) != len(members):
        return ""
    if len(",".join(members)) > _STATE_CHARACTERS:
        members = [member for member in members if len(member) <= _LONG_MEMBER]
    while len(",".join(members)) > _STATE_CHARACTERS:
        members.pop()
    return ",".join(members)


def execution_context(info: ExecutionInfo) -> TraceContext:
    """The execution's own span: in the trace that it was started in, else in one of its own, of which `sampled` says
    nothing yet."""
    span_id = derived_span_id("execution", info.id)
    outer = trace_context(info.traceparent, info.tracestate)
    if outer is not None:
        return outer.at(span_id)
    trace_id = hashlib.sha256(f"trace\0{info.id}".encode()).hexdigest()[:32]
    return TraceContext(trace_id=trace_id, span_id=span_id)


def derived_span_id(*what: object) -> str:
    """16 hex digits that stand for `what`, everywhere and always the same."""
    return hashlib.sha256("\0".join(map(str, ("span", *what))).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def is_sampled(trace_id: str, ratio: float) -> bool:
    """Whether a trace is among the `ratio` (0 to 1) of all that are kept; as OpenTelemetry's `TraceIdRatioBased` decides."""
    return int(trace_id[16:], 16) < round(ratio * 2**64)
