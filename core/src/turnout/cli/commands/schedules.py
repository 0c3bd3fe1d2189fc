"""`turnout schedules`."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from turnout.cli.options import environment_option, json_option
from turnout.cli.output import emit, print_table
from turnout.cli.project import load_project, load_registry
from turnout.cli.session import run_async
from turnout.cli.wording import clock_time, one_line
from turnout.config import Settings
from turnout.definition.nearest import hint_for
from turnout.errors import UserError
from turnout.local.stores import Stores
from turnout.model.schedule import Schedule
from turnout.services.documents import Document
from turnout.services.scheduler.plans import Planned, planned_in
from turnout.services.scheduler.ticks import moment, ticks

__all__ = ["command"]

_SHOWN = 5


@click.group("schedules")
def command() -> None:
    """Show when flows are started by the clock, and when they were."""


@command.command("list")
@click.option("--customer", default="", help="Of this customer alone.")
@json_option
@environment_option
def list_(*, customer: str, as_json: bool, environment: str | None) -> None:
    """List the schedules: when each is next, what it did last."""
    found = run_async(_read(load_project(environment=environment), customer))
    if as_json:
        emit([_as_data(document) for document in found], as_json=True)
        return
    rows = [
        (
            document.tenant,
            document.name,
            _written(document.value.schedule),
            "held" if document.value.held else _moment(document.value, document.value.next),
            _moment(document.value, document.value.started),
            one_line(document.value.trouble) or "-",
        )
        for document in found
    ]
    print_table(("CUSTOMER", "FLOW", "SCHEDULE", "NEXT", "LAST", "TROUBLE"), rows)


@command.command("show")
@click.argument("flow", metavar="INSTANCE/FLOW")
@click.option("--customer", default="local", show_default=True, help="Whose instance it is.")
@json_option
@environment_option
def show(*, flow: str, customer: str, as_json: bool, environment: str | None) -> None:
    """Show a schedule with its next times, in its time zone."""
    found = run_async(_read(load_project(environment=environment), customer))
    document = next((one for one in found if one.name == flow), None)
    if document is None:
        hint = hint_for(flow, [one.name for one in found]) or "`turnout schedules list` has those there are"
        raise UserError(f"customer {customer!r} has no schedule {flow!r}: {hint}")
    data = {**_as_data(document), "upcoming": _upcoming(document.value)}
    emit(data, as_json=as_json)


async def _read(settings: Settings, customer: str) -> list[Document[Planned]]:
    stores = await Stores.open(settings, load_registry(settings))
    try:
        found = await planned_in(stores.catalog).page(tenant=customer or None, limit=1_000_000)
        return sorted(found, key=lambda one: (one.tenant, one.name))
    finally:
        await stores.close()


def _upcoming(planned: Planned) -> list[str]:
    if planned.held or planned.next is None:
        return []
    found = ticks(planned.schedule, planned.last, since=planned.since)
    return [moment(planned.schedule, tick) for tick in islice(found, _SHOWN)]


def _moment(planned: Planned, at: float | None) -> str:
    return "-" if at is None else moment(planned.schedule, at)


def _written(schedule: Schedule) -> str:
    if schedule.at is not None:
        return f"at {clock_time(schedule.at)}"
    return f"every {schedule.every_s:g} s" if schedule.every_s is not None else f"{schedule.cron} {schedule.timezone}"


def _as_data(document: Document[Planned]) -> dict[str, Any]:
    planned = document.value
    return {
        "customer": document.tenant,
        "flow": document.name,
        "integration": planned.integration,
        "schedule": _written(planned.schedule),
        "missed": planned.schedule.missed.value,
        "overlap": planned.schedule.overlap.value,
        "held": planned.held,
        "next": None if planned.held or planned.next is None else moment(planned.schedule, planned.next),
        "last": None if planned.started is None else moment(planned.schedule, planned.started),
        "execution": planned.execution or None,
        "left_out": {"missed": planned.missed, "skipped": planned.skipped},
        "trouble": planned.trouble or None,
    }
