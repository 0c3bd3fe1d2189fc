"""`turnout alerts`: what goes on and what was, ended by hand; a channel tried."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import click

from turnout.cli.faults import printable
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.tenants import in_platform
from turnout.cli.wording import clock_time, one_line
from turnout.errors import UserError
from turnout.interfaces.notifier import Notification, Phase
from turnout.local.platform import Platform
from turnout.services.alerts.incidents import Alert, Incident, Scope
from turnout.services.alerts.messages import Message
from turnout.services.documents import Document
from turnout.services.record_json import time_text

__all__ = ["command"]


@click.group("alerts")
def command() -> None:
    """Show what goes on and what was, end it by hand, try a channel."""


@command.command("list")
@json_option
@environment_option
def list_alerts(*, as_json: bool, environment: str | None) -> None:
    """List the incidents that go on: the rule, what it is about, since when, how often."""
    found = in_platform(environment, _open_alerts)
    if as_json:
        emit([_data(document) for document in found], as_json=True)
        return
    rows = []
    for document in found:
        incident = document.value.incident
        assert incident is not None
        rows.append(
            (
                document.name,
                _about(document.value.scope),
                clock_time(incident.opened_at),
                f"{incident.count:,}",
                one_line(incident.last.note) or "-",
            )
        )
    print_table(("ALERT", "ABOUT", "SINCE", "TIMES", "LAST"), rows)


@command.command("show")
@click.argument("name")
@json_option
@environment_option
def show(*, name: str, as_json: bool, environment: str | None) -> None:
    """Show a rule with all that is known under it, or one alert: what goes on, what was, and which messages wait. NAME is a rule's,
    or an alert as `turnout alerts list` has it, or its beginning."""

    async def work(platform: Platform) -> list[dict[str, Any]]:
        book, outbox = platform.alerting.book, platform.alerting.outbox
        found = [document async for document in book.every(name) if _is_called(document, name, platform)]
        if not found and name not in platform.alerting.rules:
            raise UserError(f"neither a rule nor an alert begins with {name!r}: there are {_listed(platform)}")
        waiting: dict[tuple[str, str], list[Message]] = {}
        async for message in outbox.waiting():
            key = (message.rule, repr(message.scope))
            waiting.setdefault(key, []).append(message)
        return [
            _history(document, waiting.get((document.value.rule, repr(document.value.scope)), ())) for document in found
        ]

    found = in_platform(environment, work)
    if as_json:
        emit(found, as_json=True)
        return
    if not found:
        click.echo(f"{printable(name)}: nothing has happened yet")
    for number, one in enumerate(found):
        if number:
            click.echo()
        _print_history(one)


@command.command("resolve")
@click.argument("alert")
@click.option("--who", default="somebody at the command line", show_default=True, help="Who says that it is over.")
@json_option
@environment_option
def resolve(*, alert: str, who: str, as_json: bool, environment: str | None) -> None:
    """End an incident; its channels hear that it is over. ALERT is as `turnout alerts list` has it, or its beginning."""

    async def work(platform: Platform) -> str:
        found = [document for document in await _open_alerts(platform) if document.name.startswith(alert)]
        if len(found) != 1:
            what = f"{len(found)} alerts begin" if found else "nothing goes on that begins"
            raise UserError(f"{what} with {alert!r}: `turnout alerts list` shows what goes on")
        await platform.alerting.book.resolve(found[0], who)
        return found[0].name

    name = in_platform(environment, work)
    emit({"resolved": name}, as_json=as_json)


@command.command("test")
@click.argument("channel")
@json_option
@environment_option
def test(*, channel: str, as_json: bool, environment: str | None) -> None:
    """Send a test message through a channel of `[alerts.channels]`, and print what the other side said."""

    async def work(platform: Platform) -> str:
        now = platform.stores.clock.now()
        number = secrets.token_hex(8)
        message = Notification(
            id=f"test-{number}",
            incident=f"test-{number}",
            phase=Phase.TEST,
            severity="info",
            at=now,
            opened_at=now,
            subject=f"A test of {platform.settings.name[:100]}",
            text="This channel works. Nothing is wrong.",
        )
        try:
            return await platform.alerting.channels.send(channel, message)
        finally:
            await platform.alerting.channels.close()

    said = in_platform(environment, work)
    if as_json:
        emit({"channel": channel, "answer": said}, as_json=True)
    else:
        click.echo(printable(one_line(said)))


async def _open_alerts(platform: Platform) -> list[Document[Alert]]:
    found = [document async for document in platform.alerting.book.every() if document.value.incident is not None]
    return sorted(found, key=lambda document: document.value.incident.opened_at if document.value.incident else 0.0)


def _is_called(document: Document[Alert], name: str, platform: Platform) -> bool:
    """A rule's name is all of its alerts' and no other rule's, whose name may begin alike."""
    return document.value.rule == name if name in platform.alerting.rules else document.name.startswith(name)


def _listed(platform: Platform) -> str:
    return ", ".join(platform.alerting.rules) or "no rules"


def _about(scope: Scope) -> str:
    parts = (scope.customer, scope.instance, scope.flow or scope.connection)
    return one_line("/".join(part for part in parts if part)) or "-"


def _data(document: Document[Alert]) -> dict[str, Any]:
    incident = document.value.incident
    assert incident is not None
    return {**_of(document), **_going_on(incident)}


def _of(document: Document[Alert]) -> dict[str, Any]:
    scope = document.value.scope
    return {
        "name": document.name,
        "rule": document.value.rule,
        "customer": scope.customer,
        "integration": scope.integration,
        "instance": scope.instance,
        "flow": scope.flow or None,
        "connection": scope.connection or None,
    }


def _going_on(incident: Incident) -> dict[str, Any]:
    return {
        "since": time_text(incident.opened_at),
        "times": incident.count,
        "last": {
            "at": time_text(incident.last.at),
            "note": incident.last.note,
            "execution": incident.last.execution or None,
        },
    }


def _history(document: Document[Alert], waiting: Sequence[Message]) -> dict[str, Any]:
    incident = document.value.incident
    return {
        **_of(document),
        "incident": None if incident is None else {**_going_on(incident), "told": list(incident.told)},
        "past": [
            {
                "since": time_text(past.opened_at),
                "until": time_text(past.closed_at),
                "why": past.why,
                "times": past.count,
                "told": list(past.told),
                "note": past.note,
            }
            for past in reversed(document.value.past)
        ],
        "messages": [
            {
                "channel": message.channel,
                "phase": message.phase.value,
                "tries": message.tries,
                "error": message.error or None,
                "given_up": message.given_up,
            }
            for message in waiting
        ],
    }


def _print_history(data: Mapping[str, Any]) -> None:
    about = "/".join(part for part in (data["customer"], data["instance"], data["flow"] or data["connection"]) if part)
    print_table(("ALERT", "RULE", "ABOUT"), [(data["name"], data["rule"], one_line(about) or "-")])
    rows = [
        (one["since"], one.get("until") or "-", f"{one['times']:,}", ", ".join(one["told"]) or "nobody", _why(one))
        for one in (*([data["incident"]] if data["incident"] else []), *data["past"])
    ]
    print_table(("SINCE", "UNTIL", "TIMES", "TOLD", "WHY"), rows)
    for message in data["messages"]:
        state = "given up" if message["given_up"] else f"waits, {message['tries']} tries"
        click.echo(one_line(f"{message['channel']}: {message['phase']} {state} {message['error'] or ''}".rstrip()))


def _why(one: Mapping[str, Any]) -> str:
    return one_line(one.get("why") or one["last"]["note"]) or "-"
