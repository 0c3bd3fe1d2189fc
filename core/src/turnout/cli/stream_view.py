"""All executions as they run: on a terminal those that run now are redrawn below what has ended; into a pipe each change is a line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from turnout.cli.wording import clock_time, cut, duration, error_line, mark, one_line, plural, speaks_unicode
from turnout.interfaces.service import Delivery
from turnout.model.events import Accepted, Attempted, Began, Ended, Intended, Resumed, StepEnded, StepRunning, Waiting
from turnout.model.execution import ExecutionInfo, Status

__all__ = ["StreamView"]

_FLOW = 30


@dataclass(slots=True)
class _Going:
    info: ExecutionInfo
    status: Status
    since: float
    step: str = ""


class StreamView:
    """A context manager; `feed` it deliveries in their order. `now` is the clock of the events."""

    def __init__(self, console: Console, *, now: Callable[[], float]) -> None:
        self._console = console
        self._now = now
        self._unicode = speaks_unicode(console)
        self._going: dict[str, _Going] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._region, console=self._console, refresh_per_second=4, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def going(self, info: ExecutionInfo, status: Status, since: float) -> None:
        """One that was under way before."""
        self._going[info.id] = _Going(info, status, since)

    def feed(self, delivery: Delivery) -> None:
        """Show what the event changes. Never raises for what an event contains."""
        info, event = delivery.info, delivery.event
        match event:
            case Accepted():
                self._going[info.id] = _Going(info, Status.QUEUED, event.at)
                self._tell(info, Status.QUEUED, event.at)
            case Began():
                self._going[info.id] = _Going(info, Status.RUNNING, event.at)
                self._tell(info, Status.RUNNING, event.at, f"attempt {event.attempt}" if event.attempt > 1 else "")
            case Resumed():
                self._going[info.id] = _Going(info, Status.QUEUED, event.at)
                self._tell(info, Status.QUEUED, event.at, "resumed")
            case Waiting(path=""):
                self._going[info.id] = _Going(info, Status.WAITING, event.at)
                self._tell(info, Status.WAITING, event.at)
            case Ended():
                self._going.pop(info.id, None)
                why = "" if event.error is None else error_line(event.error)
                self._line(info, event.status, event.at, duration(1000 * (event.at - info.created_at)), why)
            case StepRunning() | Intended() | Attempted() | StepEnded() | Waiting():
                if info.id in self._going:
                    self._going[info.id].step = event.path
            case _:
                pass

    def _tell(self, info: ExecutionInfo, status: Status, at: float, note: str = "") -> None:
        """A change that a terminal shows below, and a pipe as a line."""
        if self._live is None:
            self._line(info, status, at, "", note)

    def _line(self, info: ExecutionInfo, status: Status, at: float, took: str, note: str) -> None:
        line = self._text(info, status, took, clock_time(at, precise=True)[11:])
        if note:
            line.append(f"  {note}", style="dim")
        line.rstrip()
        if self._live is not None:
            line.truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)

    def _text(self, info: ExecutionInfo, status: Status, took: str, at: str = "") -> Text:
        sign, style = mark(status, unicode=self._unicode)
        flow = cut(f"{one_line(info.instance)}/{one_line(info.flow)}", _FLOW, unicode=self._unicode)
        return Text.assemble(
            f"{at} " if at else "",
            (sign, style),
            f" {one_line(info.id):<26} {flow:<{_FLOW}} ",
            (f"{status.value:<9}", style),
            f" {took:>8}",
        )

    def _region(self) -> Text:
        """Those under way, the longest first, at most as many as fit."""
        now, room = self._now(), max(self._console.height - 3, 1)
        going = sorted(self._going.values(), key=lambda one: one.since)
        rows = []
        for one in going[:room]:
            row = self._text(one.info, one.status, duration(1000 * max(now - one.since, 0.0)))
            row.append(f"  {one_line(one.step)}", style="dim")
            row.truncate(self._console.width)
            rows.append(row)
        rows.append(Text(f"{plural(len(going), 'execution')} under way (Ctrl-C ends watching)", style="dim"))
        return Text("\n").join(rows)
