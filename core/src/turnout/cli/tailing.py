"""Events of all executions as they come, for commands that watch: which of them, and from where on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from turnout.interfaces.service import Delivery
from turnout.model.execution import ExecutionInfo
from turnout.services.watching import Watcher

if TYPE_CHECKING:
    from turnout.local.platform import Platform

__all__ = ["Which", "since", "tail", "which_options"]

F = TypeVar("F", bound=Callable[..., Any])

_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """The executions that are meant: empty means any."""

    customer: str = ""
    instance: str = ""
    flow: str = ""
    execution: str = ""

    def has(self, info: ExecutionInfo) -> bool:
        return (
            self.customer in ("", info.tenant)
            and self.instance in ("", info.instance)
            and self.flow in ("", info.flow)
            and self.execution in ("", info.id)
        )


def which_options(function: F) -> F:
    """`--customer`, `--instance`, `--flow`: the command gets them for `Which`."""
    for name in ("flow", "instance", "customer"):
        function = click.option(f"--{name}", default="", metavar="NAME", help=f"Of this {name}.")(function)
    return function


def since(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    """Seconds since the epoch, of an age (`90m`, `2d`) or an ISO 8601 time, in UTC unless it says otherwise."""
    if value is None:
        return None
    number, unit = value[:-1], value[-1:]
    if number.isdecimal() and len(number) < 10 and unit in _AGES:
        return datetime.now(UTC).timestamp() - int(number) * _AGES[unit]
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither an age such as 90m or 2d nor an ISO 8601 time") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


@asynccontextmanager
async def tail(platform: Platform, which: Which) -> AsyncIterator[AsyncIterator[Sequence[Delivery]]]:
    """What comes from now on, in batches, without end. What was before is in the records when this is entered."""
    await platform.metadata.catch_up()
    position = await platform.stores.records.position()
    watcher = Watcher(platform.stores.journal, platform.consumers, platform.stores.clock)
    await watcher.start(position)

    async def chosen() -> AsyncIterator[Sequence[Delivery]]:
        async for batch in watcher.follow(position):
            yield [delivery for delivery in batch if which.has(delivery.info)]

    try:
        yield chosen()
    finally:
        await watcher.stop()
