"""`turnout alerts`: what goes on, ended by hand; a channel tried."""

from __future__ import annotations

import secrets
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
from turnout.services.alerts.incidents import Alert, Scope
from turnout.services.documents import Document
from turnout.services.record_json import time_text

__all__ = ["command"]


@click.group("alerts")
def command() -> None:
    """Show what goes on, end it by hand, try a channel."""


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


def _about(scope: Scope) -> str:
    parts = (scope.customer, scope.instance, scope.flow or scope.connection)
    return one_line("/".join(part for part in parts if part)) or "-"


def _data(document: Document[Alert]) -> dict[str, Any]:
    alert = document.value
    incident = alert.incident
    assert incident is not None
    scope = alert.scope
    return {
        "name": document.name,
        "rule": alert.rule,
        "customer": scope.customer,
        "integration": scope.integration,
        "instance": scope.instance,
        "flow": scope.flow or None,
        "connection": scope.connection or None,
        "since": time_text(incident.opened_at),
        "times": incident.count,
        "last": {
            "at": time_text(incident.last.at),
            "note": incident.last.note,
            "execution": incident.last.execution or None,
        },
    }
