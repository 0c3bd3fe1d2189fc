"""Alerts: `[alerts.rules.<name>]` says what somebody should hear of, `[alerts.channels.<name>]` how."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from turnout.config.readers import count, flag, one_of, text, texts
from turnout.config.shapes import Named, Section, leaf
from turnout.config.templates import checked_template
from turnout.model.duration import parse_duration

__all__ = [
    "ALERTS",
    "TEMPLATE_NAMES",
    "AlertKind",
    "AlertRule",
    "AlertSettings",
    "QuietPeriod",
    "Resolve",
    "Severity",
    "alert_faults",
]

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_YEAR_S: Final = 366 * 86400.0

TEMPLATE_NAMES: Final = frozenset(
    [
        "project",
        "rule",
        "kind",
        "severity",
        "phase",
        "customer",
        "integration",
        "instance",
        "flow",
        "connection",
        "count",
        "opened_at",
        "at",
        "error",
        "execution",
        "incident",
        "what",
        "why",
        "channel",
    ]
)
"""What a rule's `subject` and `text` may name."""


class AlertKind(StrEnum):
    """What a rule looks at."""

    FAILED = "failed"
    DURATION = "duration"
    OVERDUE = "overdue"
    LOG = "log"
    DEAD_LETTER = "dead_letter"
    CONNECTION = "connection"


class Severity(StrEnum):
    """How bad it is, in the words of PagerDuty's events."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Resolve(StrEnum):
    """What ends an incident: `recovery` (what was wrong is right again), `time` (nothing new for a while), `manual`."""

    RECOVERY = "recovery"
    TIME = "time"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietPeriod:
    """Each day in `days` (0 is Monday) from `start` to `end`, minutes after midnight in `timezone`; an `end` that is not after
    the `start` is on the next day."""

    start: int = 22 * 60
    end: int = 7 * 60
    timezone: str = "UTC"
    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    @property
    def endless(self) -> bool:
        return self.start == self.end and len(self.days) == len(_DAYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRule:
    """What to hear of. `customers`, `integrations`, `instances`, `flows` are globs, one of which has to fit each.

    `at_least` of the last `of` executions have to have failed. `longer_than_s` is of `duration`; `expect_s` of `overdue`, where
    None stands for the flow's own schedule, `grace_s` what it may be late, `succeeded` whether it has to have succeeded.
    `level` is the least level of `log`. `throttle_s` is the least time between two messages of one thing, `resolve_after_s`
    how long nothing new must come where time resolves. `subject` and `message` are templates; empty: Turnout's own.
    """

    kind: AlertKind = AlertKind.FAILED
    channels: tuple[str, ...] = ()
    severity: Severity = Severity.ERROR
    customers: tuple[str, ...] = ("*",)
    integrations: tuple[str, ...] = ("*",)
    instances: tuple[str, ...] = ("*",)
    flows: tuple[str, ...] = ("*",)
    at_least: int = 1
    of: int = 1
    longer_than_s: float | None = None
    expect_s: float | None = None
    grace_s: float = 300.0
    succeeded: bool = False
    level: str = "error"
    throttle_s: float = 3600.0
    resolve: Resolve | None = None
    resolve_after_s: float = 3600.0
    quiet: QuietPeriod | None = None
    subject: str = ""
    message: str = ""

    @property
    def resolution(self) -> Resolve:
        """`resolve`, or what suits the kind: log lines do not get better by themselves."""
        if self.resolve is not None:
            return self.resolve
        return Resolve.TIME if self.kind is AlertKind.LOG else Resolve.RECOVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """`channels` has each channel's table as written: `kind` names what sends, which reads the others."""

    rules: Mapping[str, AlertRule] = field(default_factory=dict)
    channels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _period(least_s: float, most_s: float, expected: str) -> Callable[[object], float]:
    def read(given: object) -> float:
        try:
            seconds = parse_duration(given)
        except ValueError:
            seconds = -1.0
        if not least_s <= seconds <= most_s:
            raise ValueError(f"a duration {expected} is expected")
        return seconds

    return read


def _time(given: object) -> int:
    match = _TIME.fullmatch(given) if isinstance(given, str) else None
    if match is None:
        raise ValueError('a time of day is expected, "22:00"')
    return int(match[1]) * 60 + int(match[2])


def _zone(given: object) -> str:
    try:
        if not isinstance(given, str) or not given:
            raise ValueError
        ZoneInfo(given)
    except (ValueError, OSError, KeyError):
        raise ValueError('a time zone is expected, "Europe/Berlin"') from None
    return given


def _days(given: object) -> tuple[int, ...]:
    if not isinstance(given, list) or not given or not all(day in _DAYS for day in given):
        raise ValueError('a list of days is expected, ["mon", "tue"] (mon, tue, wed, thu, fri, sat, sun)')
    return tuple(sorted({_DAYS.index(day) for day in given}))


def _some(given: object) -> tuple[str, ...]:
    found = texts(given)
    if not found:
        raise ValueError('at least one is expected, ["*"]')
    return found


def _template(given: object) -> str:
    """A template that names nothing but what a message has."""
    written = text(given)
    checked_template(written, TEMPLATE_NAMES)
    return written


_LONG = "up to a year"
_QUIET = Section(
    make=QuietPeriod,
    keys={
        "from": leaf("start", _time, "When messages begin to wait."),
        "to": leaf("end", _time, "When those that still matter are sent."),
        "timezone": leaf("timezone", _zone, "The time zone of both."),
        "days": leaf("days", _days, "The days on which it begins."),
    },
)


def _quiet(given: object) -> QuietPeriod:
    if not isinstance(given, dict):
        raise ValueError('a table is expected, { from = "22:00", to = "07:00", timezone = "Europe/Berlin" }')
    made = {}
    for key, value in given.items():
        one = _QUIET.keys.get(key)
        if one is None:
            raise ValueError(f"unknown setting {key!r}: there are {', '.join(_QUIET.keys)}")
        assert not isinstance(one, Section | Named)
        try:
            made[one.field] = one.read(value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    period = QuietPeriod(**made)
    if period.endless:
        raise ValueError("a quiet period that ends is expected")
    return period


_RULE = Section(
    make=AlertRule,
    keys={
        "kind": leaf("kind", one_of({kind.value: kind for kind in AlertKind}), "What the rule looks at."),
        "channels": leaf("channels", _some, "Who hears of it: names of `[alerts.channels.<name>]`."),
        "severity": leaf("severity", one_of({one.value: one for one in Severity}), "How bad it is."),
        "customers": leaf("customers", _some, "Of which customers; names with `*` and `?`."),
        "integrations": leaf("integrations", _some, "Of which integrations."),
        "instances": leaf("instances", _some, "Of which instances."),
        "flows": leaf("flows", _some, "Of which flows."),
        "at_least": leaf("at_least", count(1, 100), "`failed`: how many of the last executions have to have failed."),
        "of": leaf("of", count(1, 100), "`failed`: of how many."),
        "longer_than": leaf(
            "longer_than_s", _period(1.0, _YEAR_S, "from a second to a year"), "`duration`: how long one may take."
        ),
        "expect": leaf(
            "expect_s",
            _period(60.0, _YEAR_S, "from a minute to a year"),
            "`overdue`: how often it should run; as its schedule says without it.",
        ),
        "grace": leaf("grace_s", _period(0.0, _YEAR_S, _LONG), "`overdue`: how late it may be."),
        "succeeded": leaf("succeeded", flag, "`overdue`: it has to have succeeded, and not just to have begun."),
        "level": leaf("level", one_of({one: one for one in ("info", "warning", "error")}), "`log`: the least level."),
        "throttle": leaf(
            "throttle_s", _period(0.0, _YEAR_S, _LONG), "The least time between two messages of one thing."
        ),
        "resolve": leaf(
            "resolve",
            one_of({one.value: one for one in Resolve}),
            "What resolves it: `recovery`, `time` without anything new, or a person (`manual`).",
        ),
        "resolve_after": leaf("resolve_after_s", _period(1.0, _YEAR_S, _LONG), "How long, where `resolve` is `time`."),
        "quiet": leaf("quiet", _quiet, "When messages wait: `{ from, to, timezone, days }`."),
        "subject": leaf("subject", _template, "The subject, a template."),
        "text": leaf("message", _template, "The text, a template."),
    },
)

ALERTS = Section(
    make=AlertSettings,
    keys={
        "rules": Named(
            field="rules",
            section=_RULE,
            description="Tables `[alerts.rules.<name>]`: what somebody should hear of, and through which channels.",
        ),
        "channels": Named(
            field="channels",
            section=None,
            description="Tables `[alerts.channels.<name>]`: `kind` and its settings, as its documentation has them.",
        ),
    },
)


_OF_KIND: Final[Mapping[str, AlertKind]] = {
    "at_least": AlertKind.FAILED,
    "of": AlertKind.FAILED,
    "longer_than": AlertKind.DURATION,
    "expect": AlertKind.OVERDUE,
    "grace": AlertKind.OVERDUE,
    "succeeded": AlertKind.OVERDUE,
    "level": AlertKind.LOG,
}


def alert_faults(alerts: AlertSettings, written: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong between settings that are right by themselves, each with the keys that lead to it."""
    for name, channel in alerts.channels.items():
        if not isinstance(channel.get("kind"), str):
            yield ("channels", name, "kind"), 'text is expected, "smtp"'
    tables = written.get("rules", {})
    for name, rule in alerts.rules.items():
        yield from (((("rules", name, key)), fault) for key, fault in _rule_faults(rule, alerts, tables.get(name, {})))


def _rule_faults(rule: AlertRule, alerts: AlertSettings, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not rule.channels:
        yield "channels", "it must be set: a rule that tells nobody is none"
    for channel in rule.channels:
        if channel not in alerts.channels:
            known = ", ".join(alerts.channels) or "none"
            yield "channels", f"there is no channel {channel!r} in [alerts.channels]: there are {known}"
    if rule.at_least > rule.of:
        yield "at_least", f"{rule.at_least} of the last {rule.of} cannot fail: set `of` to {rule.at_least} or more"
    if rule.kind is AlertKind.DURATION and rule.longer_than_s is None:
        yield "longer_than", 'it must be set, "10m"'
    if rule.kind is AlertKind.LOG and rule.resolve is Resolve.RECOVERY:
        yield "resolve", "'time' or 'manual' is expected: nothing says that a log is right again"
    for key, kind in _OF_KIND.items():
        if key in table and rule.kind is not kind:
            yield key, f"it is for rules of kind {kind.value!r}, and this is {rule.kind.value!r}"
