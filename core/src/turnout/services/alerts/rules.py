"""What rules look at: which executions and connections they are about, and what an event means under each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from turnout.config import AlertKind, AlertRule
from turnout.interfaces.service import Delivery
from turnout.model.events import Ended, Logged, Resumed
from turnout.model.execution import ErrorInfo, ExecutionInfo, Status
from turnout.services.alerts.incidents import Mark, Scope

__all__ = ["Watched", "concerns", "events_of", "fits", "marks_of", "scope_of"]

_LEVELS: Final = ("debug", "info", "warning", "error")
_EVENTS: Final[Mapping[AlertKind, frozenset[str]]] = {
    AlertKind.FAILED: frozenset({"ended"}),
    AlertKind.DURATION: frozenset({"ended"}),
    AlertKind.LOG: frozenset({"log"}),
    AlertKind.DEAD_LETTER: frozenset({"ended", "resumed"}),
    AlertKind.OVERDUE: frozenset(),
    AlertKind.CONNECTION: frozenset(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One thing under one rule, of which marks are."""

    rule: str
    scope: Scope


def events_of(rules: Iterable[AlertRule]) -> frozenset[str]:
    """The kinds of events that the rules have to be told of."""
    return frozenset().union(*(_EVENTS[rule.kind] for rule in rules))


def fits(rule: AlertRule, scope: Scope) -> bool:
    """Whether the rule is about it."""
    return all(
        any(fnmatchcase(name, glob) for glob in globs)
        for name, globs in (
            (scope.customer, rule.customers),
            (scope.integration, rule.integrations),
            (scope.instance, rule.instances),
            (scope.flow, rule.flows),
        )
    )


def concerns(rule: AlertRule, scope: Scope) -> bool:
    """Whether what is known of this under the rule is still the rule's: it has not become one of other things."""
    if rule.kind is not AlertKind.CONNECTION:
        return not scope.connection and fits(rule, scope)
    everything = ("*",)  # a connection belongs to a customer: of the rule's globs that of customers counts alone
    return bool(scope.connection) and fits(
        replace(rule, integrations=everything, instances=everything, flows=everything), scope
    )


def scope_of(info: ExecutionInfo) -> Scope:
    return Scope(customer=info.tenant, integration=info.integration, instance=info.instance, flow=info.flow)


def marks_of(rules: Mapping[str, AlertRule], delivery: Delivery) -> Iterator[tuple[Watched, Mark]]:
    """What an event says under each rule. Sub-executions say nothing of their own but their log: what fails in them fails their
    caller, unless it has an answer to it."""
    scope = scope_of(delivery.info)
    for name, rule in rules.items():
        if fits(rule, scope):
            mark = _mark(rule, delivery)
            if mark is not None:
                yield Watched(rule=name, scope=scope), mark


def _mark(rule: AlertRule, delivery: Delivery) -> Mark | None:
    info, event = delivery.info, delivery.event
    match rule.kind, event:
        case AlertKind.LOG, Logged():
            return _logged(rule, delivery.id, info, event)
        case AlertKind.FAILED, Ended() if not info.parent:
            return _failed(info, event)
        case AlertKind.DURATION, Ended() if not info.parent:
            return _lasted(rule, info, event)
        case AlertKind.DEAD_LETTER, Ended() | Resumed() if not info.parent:
            return _given_up(info, event)
        case _:
            return None


def _logged(rule: AlertRule, id: str, info: ExecutionInfo, event: Logged) -> Mark | None:
    level = event.level if event.level in _LEVELS else "info"
    if _LEVELS.index(level) < _LEVELS.index(rule.level):
        return None
    return Mark(at=event.at, cause=id, bad=True, note=f"{level}: {event.message}", execution=info.id)


def _failed(info: ExecutionInfo, event: Ended) -> Mark | None:
    """A cancelled execution says nothing; a parked one waits for a person, who has to hear of it."""
    if event.status is Status.CANCELLED:
        return None
    bad = event.status in (Status.FAILED, Status.PARKED)
    return Mark(at=event.at, cause=info.id, bad=bad, note=_said(event.error) if bad else "", execution=info.id)


def _lasted(rule: AlertRule, info: ExecutionInfo, event: Ended) -> Mark | None:
    """From when it was accepted: for who waits for it, time in the queue counts. One that somebody has cancelled in time says
    nothing."""
    assert rule.longer_than_s is not None
    if event.at <= info.created_at + rule.longer_than_s:
        return None if event.status is Status.CANCELLED else Mark(at=event.at, cause=info.id, bad=False)
    note = f"took longer than {rule.longer_than_s:g} s"
    return Mark(at=event.at, cause=info.id, bad=True, note=note, execution=info.id)


def _given_up(info: ExecutionInfo, event: Ended | Resumed) -> Mark:
    """Every end and every resume but that of a dead letter says that it is none (any more)."""
    error = event.error if isinstance(event, Ended) else None
    bad = error is not None and error.kind == "dead_letter"
    return Mark(at=event.at, cause=info.id, bad=bad, note=_said(error) if bad else "", execution=info.id)


def _said(error: ErrorInfo | None) -> str:
    if error is None:
        return ""
    place = f" in step {error.step}" if error.step else ""
    return f"{error.kind}{place}: {error.message}"
