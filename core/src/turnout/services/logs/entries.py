"""What a log sink is told of an event: at most one line."""

from __future__ import annotations

from typing import Final

from turnout.interfaces.log_sink import LEVELS, LogEntry
from turnout.interfaces.service import Delivery
from turnout.model.events import Accepted, Attempted, Began, Ended, Logged, Resumed, StepEnded
from turnout.model.execution import Status, StepStatus
from turnout.model.trace import execution_context

__all__ = ["EVENTS_OF", "at_least", "entry_of"]

EVENTS_OF: Final = {
    "log": frozenset({"log"}),
    "steps": frozenset({"step", "attempted"}),
    "executions": frozenset({"accepted", "began", "resumed", "ended"}),
    "platform": frozenset[str](),
}
"""The kinds of events that each source is made of."""

_LONG: Final = 2000
"""Characters of an error's message: the record has all of it."""


def entry_of(delivery: Delivery) -> LogEntry | None:
    """The line of an event; None where it has none. Times are those of the events, and ids those of the deliveries."""
    said = _said(delivery)
    if said is None:
        return None
    source, level, message, step, attributes = said
    info = delivery.info
    trace = execution_context(info)
    return LogEntry(
        id=delivery.id,
        at=delivery.event.at,
        level=level if level in LEVELS else "info",
        source=source,
        message=message,
        tenant=info.tenant,
        instance=info.instance,
        integration=info.integration,
        version=info.version,
        flow=info.flow,
        execution=info.id,
        step=step,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        attributes=attributes,
    )


def at_least(level: str, least: str) -> bool:
    return LEVELS.index(level) >= LEVELS.index(least)


_Said = tuple[str, str, str, str, dict[str, str | int | float | bool]]


def _said(delivery: Delivery) -> _Said | None:
    match delivery.event:
        case Logged() as event:
            return "log", event.level, event.message, event.path, {}
        case StepEnded(kind="item"):
            return None  # an item of a loop is no step of its own
        case StepEnded() as event:
            return _step_ended(event)
        case Attempted() as event:
            message = f"step {event.path} failed, and is tried again: {_cut(event.error.message)}"
            return "steps", "warning", message, event.path, {"attempt": event.attempt, "error": event.error.kind}
        case Accepted():
            return "executions", "info", "execution accepted", "", {"status": "queued"}
        case Began() as event:
            attributes: dict[str, str | int | float | bool] = {"status": "running", "attempt": event.attempt}
            return "executions", "info", f"execution began, attempt {event.attempt}", "", attributes
        case Resumed():
            return "executions", "info", "execution resumed", "", {"status": "queued"}
        case Ended() as event:
            return _ended(event, delivery.info.created_at)
        case _:
            return None


def _step_ended(event: StepEnded) -> _Said:
    attributes: dict[str, str | int | float | bool] = {
        "status": event.status.value,
        "kind": event.kind,
        "duration_ms": event.duration_ms,
        "attempts": event.attempts,
    }
    message = f"step {event.path} {event.status.value}"
    if event.error is not None:
        attributes["error"] = event.error.kind
        message += f": {_cut(event.error.message)}"
    level = "info" if event.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED) else "error"
    return "steps", level, message, event.path, attributes


def _ended(event: Ended, created_at: float) -> _Said:
    attributes: dict[str, str | int | float | bool] = {
        "status": event.status.value,
        "duration_ms": round(1000 * (event.at - created_at), 3),
    }
    message, step = f"execution {event.status.value}", ""
    if event.error is not None:
        attributes["error"] = event.error.kind
        message, step = f"{message}: {_cut(event.error.message)}", event.error.step
    level = {Status.FAILED: "error", Status.PARKED: "error", Status.CANCELLED: "warning"}.get(event.status, "info")
    return "executions", level, message, step, attributes


def _cut(text: str) -> str:
    return text if len(text) <= _LONG else f"{text[:_LONG]}…"
