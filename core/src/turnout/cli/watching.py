"""Running one execution before a person's eyes, and its record as they see it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

import click

from turnout.cli.live import LiveView
from turnout.cli.output import console, emit
from turnout.cli.timeline import Layout, timeline
from turnout.cli.wording import speaks_unicode
from turnout.errors import NotFound
from turnout.interfaces.clock import SystemClock
from turnout.model.events import Event
from turnout.model.execution import ExecutionRecord, Status

if TYPE_CHECKING:
    from turnout.local.platform import Platform

__all__ = ["Watch", "print_record", "telling_of_interruption"]

_PIPED_COLUMNS = 80


class Watch:
    """Runs one execution to its end and shows it: live unless the output is JSON, then its timeline or its record.

    Give `observe` to the platform before it is opened.
    """

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._id = ""
        self._view = None if as_json else LiveView(console(), now=SystemClock().now)

    def observe(self, execution: str, event: Event) -> None:
        if self._view is not None and execution == self._id:
            self._view.feed(event)

    async def follow(self, platform: Platform, id: str) -> int:
        """Run the queued execution here until it ends or is parked, and show it; the exit status, 0 if it succeeded.

        If another process runs it already, wait for that.
        """
        self._id = id
        for warning in await platform.start_sandbox():
            click.echo(warning, err=True)
        await platform.runner.start_beating()
        with telling_of_interruption([id]), self._view or nullcontext():
            await platform.follow(id)
        return await self.finish(platform, id)

    async def finish(self, platform: Platform, id: str) -> int:
        """Show the record as it is now; the exit status."""
        record = await platform.record(id)
        if record is None:
            raise NotFound("execution", id, hint="its record was removed by retention")
        if self._as_json:
            from turnout.services.record_json import record_json

            emit(await record_json(record, platform.stores.payloads), as_json=True)
        else:
            click.echo()
            print_record(record, now=platform.stores.clock.now())
        return 0 if record.status is Status.SUCCEEDED else 1


@contextmanager
def telling_of_interruption(ids: Sequence[str]) -> Iterator[None]:
    """Where Ctrl-C ends what runs inside, say what becomes of the execution, the first of `ids`."""
    try:
        yield
    except asyncio.CancelledError:
        if ids:
            click.echo(f"interrupted: execution {ids[0]} is kept as it is; `turnout resume` goes on with it", err=True)
        raise


def print_record(record: ExecutionRecord, *, now: float, outputs: bool = False) -> None:
    """The timeline on stdout, as wide as the terminal; 80 columns into a pipe."""
    out = console()
    width = min(out.width, 160) if out.is_terminal else _PIPED_COLUMNS
    layout = Layout(width=width, unicode=speaks_unicode(out), outputs=outputs, now=now)
    for line in timeline(record, layout):
        out.print(line, soft_wrap=True)
    for hint in _next_steps(record):
        out.print(hint, markup=False, style="dim", soft_wrap=True)


def _next_steps(record: ExecutionRecord) -> tuple[str, ...]:
    """What a person can do now."""
    id = record.info.id
    match record.status:
        case Status.PARKED:
            return (
                "",
                "Whether the parked step took effect is not known. Look on the other side, then",
                f"  turnout executions resume {id}",
                "    --repeat         to run the step again, or",
                "    --output JSON    because it happened, with this output",
            )
        case Status.FAILED if not record.info.parent:
            return ("", f"go on from the failed step: turnout executions resume {id}")
        case _:
            return ()
