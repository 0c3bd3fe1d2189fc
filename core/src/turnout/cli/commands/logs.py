"""`turnout logs`."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from turnout.cli.log_lines import print_line
from turnout.cli.options import environment_option, json_option
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.cli.tailing import Which, since, tail, which_options
from turnout.errors import NotFound
from turnout.interfaces.log_sink import LEVELS
from turnout.interfaces.records import ExecutionQuery
from turnout.model.events import Logged
from turnout.model.execution import ExecutionInfo, ExecutionRecord, LogLine

if TYPE_CHECKING:
    from turnout.config import Settings
    from turnout.local.platform import Platform

__all__ = ["command"]

_PAGE = 1000
_BEGAN_BEFORE_S = 24 * 3600.0
"""A line of a time may be of an execution that was made so long before."""
_OVERLAP_S = 10.0
_Line = tuple[float, int, ExecutionInfo, LogLine]
_Key = tuple[str, LogLine]


@click.command("logs")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@which_options
@click.option("--execution", default="", metavar="ID", help="Of this execution.")
@click.option("--level", default="debug", type=click.Choice(LEVELS), help="Of this level and above.")
@click.option("--since", callback=since, metavar="AGE|TIME", help="Since: 90m, 2d, or an ISO 8601 time in UTC.")
@click.option(
    "--lines",
    "most",
    default=100,
    type=click.IntRange(0, 100_000),
    show_default=True,
    help="At most so many of the past.",
)
@json_option
@environment_option
def command(
    *,
    follow: bool,
    customer: str,
    instance: str,
    flow: str,
    execution: str,
    level: str,
    since: float | None,
    most: int,
    as_json: bool,
    environment: str | None,
) -> None:
    """Print what flows log, of all executions, the newest lines last. As JSON, one object a line."""
    settings = load_project(environment=environment)
    which = Which(customer=customer, instance=instance, flow=flow, execution=execution)
    run_async(_Logs(which, level, since, most, as_json=as_json).run(settings, follow=follow))


class _Logs:
    def __init__(self, which: Which, level: str, since: float | None, most: int, *, as_json: bool) -> None:
        self._which = which
        self._levels = LEVELS[LEVELS.index(level) :]
        self._since = since
        self._most = most
        self._as_json = as_json

    async def run(self, settings: Settings, *, follow: bool) -> None:
        if not settings.storage_directory.exists() and not follow:
            return
        async with platform_of(settings) as platform:
            if not follow:
                await platform.metadata.catch_up()
                await self._past(platform)
                return
            began = platform.stores.clock.now()
            async with tail(platform, self._which) as batches:
                # What was written meanwhile is in both.
                known = {key for key in await self._past(platform) if key[1].at > began - _OVERLAP_S}
                async for batch in batches:
                    for delivery in batch:
                        if isinstance(event := delivery.event, Logged):
                            line = LogLine(at=event.at, level=event.level, message=event.message, path=event.path)
                            if (delivery.info.id, line) not in known:
                                self._print(delivery.info, line)

    async def _past(self, platform: Platform) -> set[_Key]:
        """Print the newest lines that there are, the oldest of them first."""
        newest: list[_Line] = []
        number = 0
        for record in await self._records(platform):
            after = 0
            while page := await platform.stores.records.logs(record.info.id, after=after, limit=_PAGE):
                after = page[-1][0]
                for _, line in page:
                    if self._since is None or line.at >= self._since:
                        number += 1
                        self._keep(newest, (line.at, number, record.info, line))
        for _, _, info, line in sorted(newest):
            self._print(info, line)
        return {(info.id, line) for _, _, info, line in newest}

    def _keep(self, newest: list[_Line], line: _Line) -> None:
        if line[3].level not in self._levels or not self._most:
            return
        if len(newest) < self._most:
            heapq.heappush(newest, line)
        else:
            heapq.heappushpop(newest, line)

    async def _records(self, platform: Platform) -> Sequence[ExecutionRecord]:
        """The executions whose lines may be among the newest, the oldest first."""
        which, records = self._which, platform.stores.records
        if which.execution:
            record = await records.get(which.execution)
            if record is None or not which.has(record.info):
                raise NotFound("execution", which.execution, hint="`turnout executions list` shows those that are kept")
            return [record]
        earliest = None if self._since is None else self._since - _BEGAN_BEFORE_S
        query = ExecutionQuery(
            tenant=which.customer, instance=which.instance, flow=which.flow, since=earliest, limit=_PAGE
        )
        found: list[ExecutionRecord] = []
        while page := await records.search(query):
            found += page
            # Each has lines or not: without a time, twice as many as lines are asked for are looked through.
            if self._since is None and len(found) >= max(2 * self._most, _PAGE):
                break
            query = replace(query, before=page[-1].info.id)
        return found[::-1]

    def _print(self, info: ExecutionInfo, line: LogLine) -> None:
        if line.level in self._levels and (self._since is None or line.at >= self._since):
            print_line(line, as_json=self._as_json, info=info)
