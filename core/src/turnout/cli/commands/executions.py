"""`turnout executions`: look at what ran, and change its course."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from turnout.cli.commands.execution_changes import cancel, replay, resume
from turnout.cli.commands.executions_watch import watch
from turnout.cli.executions_table import executions_table
from turnout.cli.log_lines import print_line
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import console, emit, print_table
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.cli.tailing import since
from turnout.cli.watching import print_record
from turnout.cli.wording import clock_time, duration, error_line, one_line, speaks_unicode
from turnout.errors import NotFound
from turnout.interfaces.records import ExecutionQuery
from turnout.model.execution import ExecutionRecord, Status

if TYPE_CHECKING:
    from turnout.config import Settings
    from turnout.local.platform import Platform

__all__ = ["command"]

_LOG_PAGE = 1000
_FOLLOW_S = 0.5


@click.group("executions")
def command() -> None:
    """List, show, watch, cancel, resume and replay executions."""


for _other in (cancel, resume, replay, watch):
    command.add_command(_other)


@command.command("list")
@click.option(
    "--status", "statuses", multiple=True, type=click.Choice([status.value for status in Status]), help="Only these."
)
@click.option("--instance", default="", metavar="NAME", help="Of this instance.")
@click.option("--integration", default="", metavar="NAME", help="Of this integration.")
@click.option("--flow", default="", metavar="NAME", help="Of this flow.")
@click.option("--since", callback=since, metavar="AGE|TIME", help="Made since: 90m, 2d, or an ISO 8601 time in UTC.")
@click.option("--text", default="", metavar="TEXT", help="With this in the error's message.")
@click.option("--before", default="", metavar="ID", help="The page after this execution.")
@click.option("--limit", default=20, type=click.IntRange(1, 1000), show_default=True, help="At most so many.")
@json_option
@environment_option
def list_executions(*, statuses: Sequence[str], as_json: bool, environment: str | None, **filters: Any) -> None:
    """List executions, newest first."""
    query = ExecutionQuery(statuses=tuple(Status(status) for status in statuses), **filters)
    run_async(_list(load_project(environment=environment), query, as_json=as_json))


@command.command("show")
@click.argument("id", default="", metavar="[ID]")
@click.option("--outputs", is_flag=True, help="Show what each step gave.")
@json_option
@environment_option
def show(*, id: str, outputs: bool, as_json: bool, environment: str | None) -> None:
    """Draw the timeline of an execution; of the newest one without ID."""
    run_async(_show(load_project(environment=environment), id, outputs=outputs, as_json=as_json))


@command.command("logs")
@click.argument("id", default="", metavar="[ID]")
@click.option("--follow", "-f", is_flag=True, help="Go on until the execution has ended.")
@click.option("--step", default="", metavar="PATH", help="Of this step, and the steps in it.")
@json_option
@environment_option
def logs(*, id: str, follow: bool, step: str, as_json: bool, environment: str | None) -> None:
    """Print the log of an execution; of the newest one without ID. As JSON, one object a line."""
    run_async(_logs(load_project(environment=environment), id, follow=follow, step=step, as_json=as_json))


async def _list(settings: Settings, query: ExecutionQuery, *, as_json: bool) -> None:
    found: Sequence[ExecutionRecord] = ()
    listed: list[dict[str, Any]] = []
    if settings.storage_directory.exists():
        async with platform_of(settings) as platform:
            await platform.metadata.catch_up()
            found = await platform.stores.records.search(query)
            if as_json:
                listed = await _as_data(found, platform)
    if as_json:
        emit(listed, as_json=True)
    elif not found:
        click.echo("no executions" + (" match" if query != ExecutionQuery(limit=query.limit) else " yet"))
    else:
        _print_list(found, query)


async def _as_data(records: Sequence[ExecutionRecord], platform: Platform) -> list[dict[str, Any]]:
    """Records without their steps and sandboxes, which a search does not look up."""
    from turnout.services.record_json import record_json

    listed = [await record_json(record, platform.stores.payloads) for record in records]
    return [{key: item for key, item in one.items() if key not in ("steps", "sandboxes")} for one in listed]


def _print_list(found: Sequence[ExecutionRecord], query: ExecutionQuery) -> None:
    out = console()
    if not out.is_terminal:
        print_table(
            ("EXECUTION", "STATUS", "INSTANCE", "FLOW", "STARTED_UTC", "TIME", "ERROR"), [_cells(one) for one in found]
        )
        return
    for line in executions_table(found, width=out.width, unicode=speaks_unicode(out)):
        out.print(line, soft_wrap=True)
    if len(found) == query.limit:
        out.print(f"more: turnout executions list --before {found[-1].info.id}", markup=False, style="dim")


def _cells(record: ExecutionRecord) -> tuple[str, ...]:
    info, error = record.info, record.error
    return (
        one_line(info.id),
        record.status.value,
        one_line(info.instance),
        one_line(info.flow),
        clock_time(record.started_at).replace(" ", "T"),
        duration(record.duration_ms).replace(" ", ""),
        error_line(error) if error is not None else "-",
    )


async def _show(settings: Settings, id: str, *, outputs: bool, as_json: bool) -> None:
    _require_storage(settings, id)
    async with platform_of(settings) as platform:
        record = await _record(platform, id)
        if as_json:
            from turnout.services.record_json import record_json

            emit(await record_json(record, platform.stores.payloads), as_json=True)
        else:
            print_record(record, now=platform.stores.clock.now(), outputs=outputs)


async def _logs(settings: Settings, id: str, *, follow: bool, step: str, as_json: bool) -> None:
    _require_storage(settings, id)
    async with platform_of(settings) as platform:
        id = (await _record(platform, id)).info.id
        seen = 0
        while True:
            record = await _record(platform, id)
            while page := await platform.stores.records.logs(id, after=seen, limit=_LOG_PAGE):
                seen = page[-1][0]
                for _, line in page:
                    if not step or line.path == step or line.path.startswith((f"{step}.", f"{step}[")):
                        print_line(line, as_json=as_json)
            if not follow or record.status.final:
                return
            await platform.stores.clock.sleep(_FOLLOW_S)


async def _record(platform: Platform, id: str) -> ExecutionRecord:
    """The record of that id, or the newest one. `NotFound` says how to list them."""
    await platform.metadata.catch_up()
    if not id:
        newest = await platform.stores.records.search(ExecutionQuery(limit=1, parent=""))
        if not newest:
            raise _nothing(id)
        id = newest[0].info.id
    record = await platform.stores.records.get(id)
    if record is None:
        raise _nothing(id)
    return record


def _require_storage(settings: Settings, id: str) -> None:
    """Looking does not make a storage directory where none is."""
    if not settings.storage_directory.exists():
        raise _nothing(id, hint=f"nothing has run yet in {settings.root}")


def _nothing(id: str, *, hint: str = "`turnout executions list` shows those that are kept") -> NotFound:
    return NotFound("execution", id or "at all", hint=hint)
