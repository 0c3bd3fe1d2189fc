"""`turnout worker`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from turnout.cli.durability import durability_lines
from turnout.cli.faults import printable
from turnout.cli.options import environment_option, json_option, unsafe_sandbox_option
from turnout.cli.project import load_project, load_registry
from turnout.cli.session import run_async
from turnout.errors import SettingsError
from turnout.model.duration import parse_duration

if TYPE_CHECKING:
    from turnout.config import Settings
    from turnout.local.platform import Platform

__all__ = ["command"]


def _drain(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    from turnout.config import LONGEST_DRAIN_S

    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not 0 <= seconds <= LONGEST_DRAIN_S:
        raise click.BadParameter(f"{value} is not between 0s and {LONGEST_DRAIN_S:g}s: ECS kills after 120 s at most")
    return seconds


def _address(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, int] | None:
    return None if value is None else address_of(value)


def address_of(text: str) -> tuple[str, int]:
    """`HOST:PORT`, an IPv6 address in brackets."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{text!r} is not HOST:PORT, such as 127.0.0.1:9400 or [::]:9400")
    return host.strip("[]"), int(port)


@click.command("worker")
@click.option(
    "--concurrency", type=click.IntRange(1, 10000), help="Executions that run at once; `runner.concurrency` without it."
)
@click.option(
    "--drain",
    "drain_s",
    callback=_drain,
    metavar="TIME",
    help="How long executions may finish after SIGTERM, 110s at most; `runner.drain` without it.",
)
@click.option(
    "--health",
    "health",
    callback=_address,
    metavar="HOST:PORT",
    help="Where /healthz, /readyz and /metrics are served; `runner.health` without it. Port 0 takes a free one.",
)
@unsafe_sandbox_option
@json_option
@environment_option
def command(
    *,
    concurrency: int | None,
    drain_s: float | None,
    health: tuple[str, int] | None,
    allow_unsafe_sandbox: bool,
    as_json: bool,
    environment: str | None,
) -> int:
    """Take executions from the queue and run them, until SIGTERM; then drain.

    SIGTERM or Ctrl-C: nothing more is taken, and what runs may finish for --drain. What takes longer, or a second signal,
    is handed back with its progress: another worker goes on with it.
    """
    settings = load_project(environment=environment, allow_unsafe_sandbox=allow_unsafe_sandbox)
    runner = settings.runner
    settings = replace(settings, runner=replace(runner, concurrency=concurrency or runner.concurrency))
    worker = _Worker(settings, as_json=as_json)
    address = health or (address_of(runner.health) if runner.health else None)
    return run_async(worker.run(runner.drain_s if drain_s is None else drain_s, address))


class _Worker:
    """Says what the process does: a line for people, an object a line for programs."""

    def __init__(self, settings: Settings, *, as_json: bool) -> None:
        self._settings = settings
        self._as_json = as_json

    async def run(self, drain_s: float, address: tuple[str, int] | None) -> int:
        from prometheus_client import disable_created_metrics

        from turnout.local.platform import Platform
        from turnout.local.worker import WorkerProcess
        from turnout.services.metrics import Metrics

        # They would be a series for each series, which says when the process began.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        metrics = Metrics()
        platform = await Platform.open(
            self._settings,
            load_registry(self._settings),
            public_url=self._settings.project.url or "http://127.0.0.1:8400",
            observers=(metrics.observe,),
            drain_s=drain_s,
            watch=metrics,
        )
        try:
            self._begin(platform)
            await WorkerProcess(platform, metrics, address=address, tell=self._tell).run()
        finally:
            await platform.close(record=False)  # draining does not wait for history: `metadata` makes the records
        return 0

    def _begin(self, platform: Platform) -> None:
        stores = platform.stores
        if stores.queue.durability.value == "memory":
            raise SettingsError(
                "stores.queue: a worker cannot share a queue in memory with those who fill it: choose another",
                setting="stores.queue",
            )
        lines = durability_lines(platform)
        if self._as_json:
            self._tell("opened", {"stores": lines})
        for line in () if self._as_json else lines:
            click.echo(line)

    def _tell(self, event: str, data: dict[str, object]) -> None:
        if self._as_json:
            click.echo(json.dumps({"event": event, **data}, default=list))
            return
        for line in _lines(event, data):
            click.echo(printable(line))


def _lines(event: str, data: dict[str, object]) -> list[str]:
    match event:
        case "listening":
            return [f"health and metrics: serving on {data['url']}"]
        case "ready":
            notes = data["notes"]
            return [*(notes if isinstance(notes, tuple) else ()), f"worker {data['worker']} takes executions"]
        case "draining":
            return [f"draining: {data['running']} executions run (a second signal hands them back now)"]
        case "stopped":
            return [f"stopped: {data['handed_back']} executions handed back"]
        case _:
            return []
