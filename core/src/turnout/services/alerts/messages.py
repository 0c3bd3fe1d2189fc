"""What is said of an incident: templates over harmless text. Names of customers and texts of errors are anybody's words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from turnout.config import AlertKind, AlertRule, Severity
from turnout.config.templates import rendered
from turnout.interfaces.notifier import LONGEST_SUBJECT, LONGEST_TEXT, Notification, Phase
from turnout.services.alerts.harmless import harmless
from turnout.services.alerts.incidents import Scope

__all__ = ["Message", "notification_of"]

_log = logging.getLogger("turnout.alerts")
_SUBJECT: Final = (
    "{% if phase == 'resolved' %}Resolved: {% elif phase == 'repeated' %}Again: {% endif %}"
    "{{ what }}{% if flow %}: {{ flow }}{% endif %}{% if connection %}: {{ connection }}{% endif %}"
    "{% if customer %} ({{ customer }}){% endif %}"
)
_TEXT: Final = """\
{{ what }}{% if phase == 'resolved' %}: this is over{% if why %}, {{ why }}{% endif %}{% elif count > 1 %}, {{ count }} times{% endif %}.

{% if error %}{{ error }}

{% endif %}customer: {{ customer }}
{% if integration %}integration: {{ integration }}
{% endif %}{% if instance %}instance: {{ instance }}
{% endif %}{% if flow %}flow: {{ flow }}
{% endif %}{% if connection %}connection: {{ connection }}
{% endif %}since: {{ opened_at }}
rule: {{ rule }}
{% if execution %}turnout executions show {{ execution }}
{% endif %}"""
_WHAT: Final[Mapping[AlertKind, str]] = {
    AlertKind.FAILED: "Executions fail",
    AlertKind.DURATION: "An execution takes too long",
    AlertKind.OVERDUE: "A flow did not run when it should",
    AlertKind.LOG: "A flow logs what should not be",
    AlertKind.DEAD_LETTER: "An execution was given up",
    AlertKind.CONNECTION: "A connection is broken",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message as it waits to be sent: what is known, and no text yet. `kind` and `severity` are those of its rule when the
    incident began, should the rule be gone; `why` says what ended the incident. `tries` counts those that failed; `error` is the
    last's, `given_up` says that there will be none more."""

    id: str
    channel: str
    rule: str
    scope: Scope
    incident: str
    phase: Phase
    at: float
    opened_at: float
    written_at: float
    kind: AlertKind = AlertKind.FAILED
    severity: Severity = Severity.ERROR
    why: str = ""
    count: int = 1
    note: str = ""
    execution: str = ""
    tries: int = 0
    error: str = ""
    given_up: bool = False


def notification_of(message: Message, rule: AlertRule | None, project: str) -> Notification:
    """What leaves; `rule` is None if there is none of its name any more. A template that fails leaves Turnout's own text in its
    place: a message must not be lost to it."""
    rule = rule or AlertRule(kind=message.kind, severity=message.severity)
    words = _words(message, rule, project)
    subject = _rendered(rule.subject, _SUBJECT, words, 2 * LONGEST_SUBJECT)
    text = _rendered(rule.message, _TEXT, words, 2 * LONGEST_TEXT)
    names = (
        "project",
        "rule",
        "kind",
        "customer",
        "integration",
        "instance",
        "flow",
        "connection",
        "error",
        "execution",
    )
    return Notification(
        id=message.id,
        incident=message.incident,
        phase=message.phase,
        severity=rule.severity.value,
        at=message.at,
        opened_at=message.opened_at,
        subject=harmless(subject, LONGEST_SUBJECT),
        text=harmless(text, LONGEST_TEXT, lines=True).strip(),
        details={name: str(words[name]) for name in names if words[name]},
    )


def _words(message: Message, rule: AlertRule, project: str) -> Mapping[str, str | int]:
    scope = message.scope
    given = {
        "project": project,
        "rule": message.rule,
        "kind": rule.kind.value,
        "severity": rule.severity.value,
        "phase": message.phase.value,
        "customer": scope.customer,
        "integration": scope.integration,
        "instance": scope.instance,
        "flow": scope.flow,
        "connection": scope.connection,
        "opened_at": _time(message.opened_at),
        "at": _time(message.at),
        "error": message.note,
        "why": message.why,
        "execution": message.execution,
        "incident": message.incident,
        "what": "A test: this channel works" if message.phase is Phase.TEST else _WHAT[rule.kind],
        "channel": message.channel,
    }
    return {**{name: harmless(text) for name, text in given.items()}, "count": message.count}


def _rendered(template: str, own: str, words: Mapping[str, str | int], most: int) -> str:
    if template:
        try:
            return rendered(template, words, most=most)
        except ValueError as error:
            _log.warning(
                "alerts: Turnout's own words take the place of a template of rule %s: %s", words["rule"], error
            )
    return rendered(own, words, most=most)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
