"""`turnout executions watch`: one execution, or all, as they run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from turnout.cli.faults import printable
from turnout.cli.live import LiveView
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import console
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.cli.stream_view import StreamView
from turnout.cli.tailing import Which, tail, which_options
from turnout.codec import decode_event, encode_event
from turnout.errors import NotFound
from turnout.interfaces.records import ExecutionQuery
from turnout.interfaces.service import Delivery
from turnout.model.events import EVENTS, Ended, Event
from turnout.model.execution import ExecutionInfo, ExecutionRecord, Status

if TYPE_CHECKING:
    from turnout.config import Settings
    from turnout.local.platform import Platform

__all__ = ["watch"]

_NAMES = {kind: name for name, kind in EVENTS.items()}
_UNDER_WAY = (Status.QUEUED, Status.RUNNING, Status.WAITING)
_SHOWN = 200


@click.command("watch")
@click.argument("id", default="", metavar="[ID]")
@which_options
@json_option
@environment_option
def watch(*, id: str, customer: str, instance: str, flow: str, as_json: bool, environment: str | None) -> int:
    """Watch an execution until it ends, or without ID all of them until Ctrl-C. As JSON, one event a line; of all, `watching` first.

    With ID the exit status says whether it succeeded.
    """
    settings = load_project(environment=environment)
    which = Which(customer=customer, instance=instance, flow=flow, execution=id)
    return run_async(_watch(settings, which, as_json=as_json))


async def _watch(settings: Settings, which: Which, *, as_json: bool) -> int:
    if which.execution and not settings.storage_directory.exists():
        raise _nothing(which.execution)
    async with platform_of(settings) as platform:
        if which.execution:
            return await _one(platform, which, as_json=as_json)
        await _all(platform, which, as_json=as_json)
    return 0


async def _all(platform: Platform, which: Which, *, as_json: bool) -> None:
    async with tail(platform, which) as batches:
        if as_json:
            click.echo(json.dumps({"event": "watching"}))
            async for batch in batches:
                for delivery in batch:
                    _emit(delivery.info, delivery.event)
            return
        with StreamView(console(), now=platform.stores.clock.now) as view:
            for record in await _under_way(platform, which):
                view.going(record.info, record.status, record.started_at or record.info.created_at)
            async for batch in batches:
                for delivery in batch:
                    view.feed(delivery)


async def _one(platform: Platform, which: Which, *, as_json: bool) -> int:
    async with tail(platform, which) as batches:
        record = await platform.stores.records.get(which.execution)
        if record is None or not which.has(record.info):
            raise _nothing(which.execution)
        if record.status not in _UNDER_WAY:
            return _told(record.info.id, record.status, as_json=as_json)
        view = None if as_json else LiveView(console(), now=platform.stores.clock.now)
        with view or nullcontext():
            async for event in _events(platform, record.info.id, batches):
                if view is None:
                    _emit(record.info, event)
                else:
                    view.feed(event)
                if isinstance(event, Ended):
                    return _told(record.info.id, event.status, as_json=as_json)
    return 1


async def _events(platform: Platform, id: str, batches: AsyncIterator[Sequence[Delivery]]) -> AsyncIterator[Event]:
    """What the execution has done, then what it does."""
    known: Counter[tuple[str, bytes]] = Counter()
    for row in await platform.stores.journal.rows(id):
        known[row.kind, row.body] += 1
        yield decode_event(row.kind, row.body)
    async for batch in batches:
        for delivery in batch:
            # The stream begins somewhere in what is known.
            row_of = encode_event(delivery.event)
            if known[row_of] > 0:
                known[row_of] -= 1
            else:
                yield delivery.event


async def _under_way(platform: Platform, which: Which) -> Sequence[ExecutionRecord]:
    query = ExecutionQuery(
        tenant=which.customer, instance=which.instance, flow=which.flow, statuses=_UNDER_WAY, limit=_SHOWN
    )
    return await platform.stores.records.search(query)


def _told(id: str, status: Status, *, as_json: bool) -> int:
    if not as_json:
        click.echo(f"{printable(id)} {status.value}")
    return 0 if status is Status.SUCCEEDED else 1


def _emit(info: ExecutionInfo, event: Event) -> None:
    """One line of JSON, without values, which may be large: `turnout executions show` has them."""
    from turnout.services.record_json import time_text

    data: dict[str, object] = {
        "event": _NAMES[type(event)],
        "at": time_text(event.at),
        "execution": info.id,
        "customer": info.tenant,
        "instance": info.instance,
        "flow": info.flow,
    }
    for name in ("path", "kind", "status", "attempt", "attempts", "duration_ms", "level", "message", "worker"):
        if (value := getattr(event, name, None)) not in (None, ""):
            data[name] = value
    error = getattr(event, "error", None)
    if error is not None:
        data["error"] = {"kind": error.kind, "message": error.message, "step": error.step}
    click.echo(json.dumps(data))


def _nothing(id: str) -> NotFound:
    return NotFound("execution", id, hint="`turnout executions list` shows those that are kept")
