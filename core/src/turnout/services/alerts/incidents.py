"""What an alert is, as a value: what was seen of one thing under one rule, and the incident that goes on. Nothing here waits, reads
or sends: state and what was seen go in, the new state and what has to be said come out.

What was seen is a set of marks in the order of their times, so that it does not matter in which order, how often or by which
process they are handed in: the same marks come to the same state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from turnout.config import AlertKind, AlertRule, Resolve, Severity
from turnout.interfaces.notifier import Phase
from turnout.services.alerts.harmless import harmless
from turnout.services.alerts.quiet import quiet_until

__all__ = ["Alert", "Incident", "Mark", "Past", "Saying", "Scope", "advance", "close_by_hand", "next_look", "observe"]

_KEPT: Final = 64
_KEPT_DEAD: Final = 250
_FORGOTTEN_S: Final = 30 * 86400.0
_NOTES: Final = 16
_PAST: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an alert is about: a flow of a customer's instance, or a connection of a customer."""

    customer: str = ""
    integration: str = ""
    instance: str = ""
    flow: str = ""
    connection: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Mark:
    """Something that was seen, `bad` or good, at a time; `cause` is the same when it is seen again. `note` is for people. What is
    `going_on` holds until the same cause is seen again, whatever else is seen meanwhile."""

    at: float
    cause: str
    bad: bool = field(compare=False)
    note: str = field(default="", compare=False)
    execution: str = field(default="", compare=False)
    going_on: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """Goes on. `announce_at` is when it may be told at the earliest, `announced` whether it has been; `fresh` counts what is bad
    and was not told yet, `count` all of it; `seen_at` is when the newest came in. `told` are the channels that heard of it, `kind`
    and `severity` the rule's when it began."""

    number: int
    key: str
    opened_at: float
    seen_at: float
    announce_at: float
    last: Mark
    announced: bool = False
    count: int = 0
    fresh: int = 0
    told: tuple[str, ...] = ()
    kind: AlertKind = AlertKind.FAILED
    severity: Severity = Severity.ERROR


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An incident that is over, for people: `why` it is, and how many channels heard of it."""

    number: int
    opened_at: float
    closed_at: float
    why: str
    count: int
    told: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What is known of one thing under one rule. `cleared` is the newest mark that an incident which is over has used up.
    `expected_at` is when an overdue flow should run next, by `schedule`. `said` counts messages. `left_at` is since when no rule is
    about it. `past` are the last incidents that are over, the newest last."""

    rule: str
    scope: Scope
    marks: tuple[Mark, ...] = ()
    cleared: Mark | None = None
    incident: Incident | None = None
    number: int = 0
    said: int = 0
    told_at: float | None = None
    closed_at: float | None = None
    past: tuple[Past, ...] = ()
    left_at: float | None = None
    expected_at: float | None = None
    schedule: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """Something to be told of an incident, not before `at`, through `channels`. `number` rises with each that is told of the same
    thing."""

    number: int
    phase: Phase
    at: float
    incident: Incident
    channels: tuple[str, ...]
    why: str = ""


def observe(alert: Alert, rule: AlertRule, marks: Iterable[Mark], now: float) -> tuple[Alert, tuple[Saying, ...]]:
    """Take marks in, those that are known already without effect, and go on with what follows at `now`."""
    said: list[Saying] = []
    for mark in sorted(marks, key=lambda mark: (mark.at, mark.cause, mark.bad)):
        before = alert
        alert = _with(alert, mark, rule, now)
        if alert is not before:
            alert, more = advance(alert, rule, now)
            said += more
    return alert, tuple(said)


def advance(alert: Alert, rule: AlertRule, now: float) -> tuple[Alert, tuple[Saying, ...]]:
    """What follows at `now` from what is known: an incident begins, is told, told again, or is over. Doing it again changes
    nothing."""
    if alert.incident is None:
        if not _holds(alert, rule):
            return alert, ()
        alert = _opened(alert, rule, now)
    assert alert.incident is not None
    match rule.resolution:
        case Resolve.RECOVERY if not _holds(alert, rule):
            return _closed(alert, rule, now, "recovered")
        case Resolve.TIME if alert.incident.announced and now >= _time_up(alert, rule):
            return _closed(alert, rule, now, "nothing new came")
        case _:
            return _told(alert, rule, now)


def close_by_hand(alert: Alert, rule: AlertRule, now: float, who: str) -> tuple[Alert, tuple[Saying, ...]]:
    """The incident is over because somebody says so: what was seen so far does not begin another."""
    return (alert, ()) if alert.incident is None else _closed(alert, rule, now, who)


def next_look(alert: Alert, rule: AlertRule) -> float | None:
    """When `advance` would do something without anything new; None: never. An alert of which nothing was seen for a month and
    that has no incident may be forgotten then."""
    incident = alert.incident
    if incident is None:
        newest = alert.marks[-1].at if alert.marks else alert.closed_at
        return None if newest is None else newest + _FORGOTTEN_S
    looks = []
    if not incident.announced:
        looks.append(incident.announce_at)
    elif incident.fresh:
        looks.append(_again_at(alert, rule))
    if rule.resolution is Resolve.TIME and incident.announced:
        looks.append(_time_up(alert, rule))
    return min(looks, default=None)


def _time_up(alert: Alert, rule: AlertRule) -> float:
    assert alert.incident is not None
    return max(alert.incident.seen_at, alert.told_at or 0.0) + rule.resolve_after_s


def _with(alert: Alert, mark: Mark, rule: AlertRule, now: float) -> Alert:
    """The alert with one mark more; the very same where that tells nothing new."""
    known = next((one for one in alert.marks if one.cause == mark.cause), None)
    if known is not None and (known.at, known.bad) >= (mark.at, mark.bad):
        return alert
    if known is not None and known.going_on and not _counts(alert, known):
        mark = replace(mark, at=known.at)  # somebody has ended the incident by hand, and knows of it
    mark = replace(mark, note=harmless(mark.note))
    kept = [one for one in alert.marks if one is not known]
    most = max(_KEPT_DEAD if rule.kind is AlertKind.DEAD_LETTER else _KEPT, 2 * rule.of)
    marks = _newest([*kept, mark], rule, most)
    if mark not in marks:
        return alert
    incident = alert.incident
    if incident is not None and mark.bad and _counts(alert, mark):
        incident = replace(
            incident,
            count=incident.count + 1,
            fresh=incident.fresh + 1,
            seen_at=max(incident.seen_at, now),
            last=max(incident.last, mark),
        )
    return replace(alert, marks=_noted(marks), incident=incident)


def _noted(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """The newest with their notes, the others without: an entry of the catalog has to hold all."""
    return (*(replace(one, note="") if one.note else one for one in marks[:-_NOTES]), *marks[-_NOTES:])


def _newest(marks: Sequence[Mark], rule: AlertRule, most: int) -> tuple[Mark, ...]:
    """At most so many. What holds by itself goes last, dead letters and what is going on: runs that end well, however many, must
    not drive out one that is still there."""
    dead = rule.kind is AlertKind.DEAD_LETTER
    return tuple(sorted(sorted(marks, key=lambda mark: ((dead and mark.bad) or mark.going_on, mark))[-most:]))


def _counts(alert: Alert, mark: Mark) -> bool:
    return alert.cleared is None or mark > alert.cleared


def _counted(alert: Alert, rule: AlertRule) -> Sequence[Mark]:
    counted = [mark for mark in alert.marks if _counts(alert, mark)]
    if rule.kind in (AlertKind.LOG, AlertKind.DEAD_LETTER):
        return counted
    return [*(mark for mark in counted[: -rule.of] if mark.going_on), *counted[-rule.of :]]


def _holds(alert: Alert, rule: AlertRule) -> bool:
    return sum(mark.bad for mark in _counted(alert, rule)) >= rule.at_least


def _opened(alert: Alert, rule: AlertRule, now: float) -> Alert:
    bad = [mark for mark in _counted(alert, rule) if mark.bad]
    number = alert.number + 1
    incident = Incident(
        number=number,
        key=_key(alert, number, bad[0]),
        opened_at=bad[0].at,
        seen_at=now,
        announce_at=quiet_until(rule.quiet, _again_at(alert, rule, now)),
        last=bad[-1],
        count=len(bad),
        fresh=len(bad),
        kind=rule.kind,
        severity=rule.severity,
    )
    return replace(alert, incident=incident, number=number)


def _again_at(alert: Alert, rule: AlertRule, now: float = 0.0) -> float:
    """When the next message may come that does not end an incident."""
    return quiet_until(rule.quiet, now if alert.told_at is None else max(now, alert.told_at + rule.throttle_s))


def _told(alert: Alert, rule: AlertRule, now: float) -> tuple[Alert, tuple[Saying, ...]]:
    incident = alert.incident
    assert incident is not None
    if not incident.announced:
        phase, at = Phase.OPENED, quiet_until(rule.quiet, incident.announce_at)
    elif incident.fresh:
        phase, at = Phase.REPEATED, _again_at(alert, rule)
    else:
        return alert, ()
    if now < at or quiet_until(rule.quiet, now) > now:
        return alert, ()
    channels = tuple(dict.fromkeys(rule.channels))
    saying = Saying(number=alert.said + 1, phase=phase, at=now, incident=incident, channels=channels)
    told = replace(incident, announced=True, fresh=0, told=tuple(dict.fromkeys((*incident.told, *channels))))
    return replace(alert, incident=told, told_at=now, said=saying.number), (saying,)


def _closed(alert: Alert, rule: AlertRule, now: float, why: str) -> tuple[Alert, tuple[Saying, ...]]:
    """Without an incident. Whoever heard of it hears that it is over, also where the rule tells others now; who did not, hears
    nothing."""
    incident = alert.incident
    assert incident is not None
    cleared = max((mark for mark in alert.marks), default=alert.cleared)
    past = Past(
        number=incident.number,
        opened_at=incident.opened_at,
        closed_at=now,
        why=harmless(why),
        count=incident.count,
        told=incident.told,
        note=incident.last.note,
    )
    alert = replace(alert, incident=None, cleared=cleared, closed_at=now, past=(*alert.past, past)[-_PAST:])
    if not incident.announced:
        return alert, ()
    saying = Saying(
        number=alert.said + 1,
        phase=Phase.RESOLVED,
        at=quiet_until(rule.quiet, now),
        incident=incident,
        channels=incident.told,
        why=why,
    )
    return replace(alert, said=saying.number), (saying,)


def _key(alert: Alert, number: int, first: Mark) -> str:
    """The same in every process that opens this incident, and no other incident's."""
    scope = alert.scope
    parts = (
        alert.rule,
        scope.customer,
        scope.integration,
        scope.instance,
        scope.flow,
        scope.connection,
        str(number),
        first.cause,
        repr(first.at),
    )
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
