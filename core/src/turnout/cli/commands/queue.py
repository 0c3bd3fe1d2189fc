"""`turnout queue`: how it stands, emptying it for maintenance, its dead letters."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from turnout.cli.commands.dead_letters import dead
from turnout.cli.faults import FAILED
from turnout.cli.options import environment_option, json_option
from turnout.cli.output import console, emit, print_table
from turnout.cli.project import load_project
from turnout.cli.session import platform_of, run_async
from turnout.cli.wording import duration, one_line, plural
from turnout.interfaces.queue import QueueStats
from turnout.model.duration import parse_duration

if TYPE_CHECKING:
    from turnout.config import Settings
    from turnout.local.platform import Platform

__all__ = ["command"]

_LOOK_S = 0.5
_WATCH_S = 1.0
_STATES = (
    ("ready", "due"),
    ("held", "due, held back by a limit"),
    ("delayed", "not yet due: wait for their time or a callback"),
    ("leased", "running"),
    ("dead", "given up: `turnout queue dead list`"),
)


@click.group("queue")
def command() -> None:
    """Show how the queue stands, wait until it is empty, retry dead letters."""


command.add_command(dead)


@dataclass(frozen=True, slots=True)
class _Now:
    """How the queue stands, and the workers that hold a lease."""

    stats: QueueStats
    workers: tuple[str, ...]

    @property
    def busy(self) -> int:
        """How many are due, held back or running."""
        return self.stats.ready + self.stats.held + self.stats.leased


@command.command("stats")
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C; as JSON, an object a line.")
@json_option
@environment_option
def stats(*, watch: bool, as_json: bool, environment: str | None) -> None:
    """Show how many executions are due, wait, run and were given up, and how old the oldest is."""
    run_async(_stats(load_project(environment=environment), watch=watch, as_json=as_json))


def _timeout(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    try:
        return None if value is None else parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@command.command("drain")
@click.option("--timeout", "timeout_s", callback=_timeout, metavar="TIME", help="Give up after it, with status 1.")
@json_option
@environment_option
def drain(*, timeout_s: float | None, as_json: bool, environment: str | None) -> int:
    """Wait until nothing is due or running, for maintenance: the workers do the work.

    Stop what fills the queue first. What waits for its time or a callback stays; it is in the journal as well.
    """
    return run_async(_drain(load_project(environment=environment), timeout_s, as_json=as_json))


async def _look(platform: Platform) -> _Now:
    queue = platform.stores.queue
    return _Now(await queue.stats(), tuple(await queue.workers()))


async def _stats(settings: Settings, *, watch: bool, as_json: bool) -> None:
    async with platform_of(settings) as platform:
        if not watch:
            now = await _look(platform)
            if as_json:
                emit(_data(now), as_json=True)
            else:
                _print(now)
            return
        terminal = not as_json and console().is_terminal
        while True:
            now = await _look(platform)
            if as_json:
                click.echo(json.dumps(_data(now)))
            elif terminal:
                click.clear()
                _print(now)
            else:
                click.echo(_line(now))
            await platform.stores.clock.sleep(_WATCH_S)


def _data(now: _Now) -> dict[str, object]:
    stats = now.stats
    return {
        **{state: getattr(stats, state) for state, _ in _STATES},
        "oldest_ready_s": round(stats.oldest_ready_s, 3),
        "workers": list(now.workers),
        "tenants": dict(stats.tenants),
        "shards": {
            name: {**{state: getattr(shard, state) for state, _ in _STATES}, "oldest_ready_s": shard.oldest_ready_s}
            for name, shard in stats.shards.items()
        },
    }


def _print(now: _Now) -> None:
    stats = now.stats
    print_table(
        ("STATE", "COUNT", "MEANING"), [(state, f"{getattr(stats, state):,}", means) for state, means in _STATES]
    )
    if stats.ready:
        click.echo(f"the oldest has been due for {duration(stats.oldest_ready_s * 1000)}")
    if stats.tenants:
        most = sorted(stats.tenants.items(), key=lambda item: -item[1])[:5]
        click.echo("most wait of: " + ", ".join(f"{one_line(tenant)} ({count:,})" for tenant, count in most))
    for worker in now.workers:
        click.echo(f"worker {one_line(worker)}")


def _line(now: _Now) -> str:
    return "  ".join(f"{state} {getattr(now.stats, state)}" for state, _ in _STATES)


async def _drain(settings: Settings, timeout_s: float | None, *, as_json: bool) -> int:
    began, said = time.monotonic(), -1
    async with platform_of(settings) as platform:
        while (now := await _look(platform)).busy:
            if timeout_s is not None and time.monotonic() - began > timeout_s:
                break
            if now.busy != said and not as_json:
                click.echo(f"{now.stats.ready + now.stats.held:,} due, {now.stats.leased:,} running", err=True)
                if not now.workers:
                    click.echo("no worker runs anything: start `turnout worker`, or `turnout resume` here", err=True)
            said = now.busy
            await platform.stores.clock.sleep(_LOOK_S)
    if as_json:
        emit({"drained": not now.busy, **_data(now)}, as_json=True)
    elif now.busy:
        click.echo(f"not drained: {plural(now.busy, 'execution')} left")
    else:
        click.echo(f"drained: nothing is due or running; {now.stats.delayed:,} wait for their time or a callback")
    return FAILED if now.busy else 0
