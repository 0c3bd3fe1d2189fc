"""Watching an execution: its events as they come. On a terminal what runs is redrawn below what has ended; into a pipe
each step that ended is one line. Loops are shown by their first items, their troubles, and a count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from turnout.cli.step_tree import FIRST_ITEMS
from turnout.cli.wording import cut, duration, error_line, lines, mark, one_line, plural, speaks_unicode, stack_lines
from turnout.model.events import (
    Accepted,
    Attempted,
    Began,
    Ended,
    Event,
    Intended,
    Logged,
    Resumed,
    StepEnded,
    StepRunning,
    Waiting,
)
from turnout.model.execution import StepStatus

__all__ = ["LiveView"]

_LABEL = 34
_REDRAW_S = 0.1
_LOG_LINES = 3
"""Lines of one message; the log itself keeps them all."""
_SHOWN_LOGS = 200
"""Messages of one execution that are shown as they come."""


@dataclass(slots=True)
class _Going:
    status: StepStatus
    started_at: float
    note: str = ""


class LiveView:
    """A context manager; `feed` it the events of one execution in their order. `now` is the clock of the events."""

    def __init__(self, console: Console, *, now: Callable[[], float]) -> None:
        self._console = console
        self._now = now
        self._unicode = speaks_unicode(console)
        self._going: dict[str, _Going] = {}
        self._items: Counter[str] = Counter()
        self._failed = ("", "")
        self._first = ""
        self._follower: dict[str, str] = {}
        self._logs = 0
        self._drawn_at = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._region, console=self._console, refresh_per_second=8, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._going.clear()
        if self._live is not None:
            self._live.stop()

    def expect(self, steps: Sequence[str]) -> None:
        """The ids of the flow's own steps in their order, so that the one that must be running can be shown: the engine
        announces only slow steps and effects."""
        self._follower = dict(pairwise(steps))
        self._first = steps[0] if steps else ""

    def feed(self, event: Event) -> None:  # noqa: C901 - one arm an event
        """Show what the event changes. Never raises for what an event contains."""
        match event:
            case StepRunning():
                self._going[event.path] = _Going(StepStatus.RUNNING, event.started_at)
            case Intended():
                self._going.setdefault(event.path, _Going(StepStatus.RUNNING, event.at))
            case Waiting() if event.path:
                note = "for a callback" if event.callback else ""
                self._going[event.path] = _Going(StepStatus.WAITING, event.started_at or event.at, note)
            case Attempted():
                self._going[event.path] = _Going(StepStatus.RUNNING, event.next_at, f"attempt {event.attempt + 1}")
            case StepEnded(kind="item"):
                self._items[event.path.rpartition("[")[0]] += 1
            case StepEnded():
                self._ended(event)
            case Logged():
                self._logged(event)
            case Began(attempt=1):
                self._going.clear()
                self._begin(self._first, event.at)
            case Resumed() | Accepted() | Ended():
                self._going.clear()
            case Began():
                self._going.clear()
                self._print(Text(f"claimed again by a worker (attempt {event.attempt}), going on", style="dim"))
            case _:
                pass
        # Drawing costs more than running a step: in between, the view draws itself a few times a second.
        if self._live is not None and self._now() - self._drawn_at >= _REDRAW_S:
            self._redraw(self._live)

    def _begin(self, path: str, at: float) -> None:
        if path:
            self._going[path] = _Going(StepStatus.RUNNING, at)

    def _ended(self, event: StepEnded) -> None:
        for path in [
            path for path in self._going if path == event.path or path.startswith((f"{event.path}.", f"{event.path}["))
        ]:
            del self._going[path]
        if event.status in (StepStatus.SUCCEEDED, StepStatus.SKIPPED):
            self._begin(self._follower.get(event.path, ""), event.at)
        if event.status is StepStatus.SUCCEEDED and _beyond_first_items(event.path):
            return
        items = self._items.pop(event.path, 0)
        note = f"({plural(items, 'item')})" if items else ""
        took = "" if event.status is StepStatus.SKIPPED else duration(event.duration_ms)
        self._print(self._line(event.path, event.status, took, note=note, attempts=event.attempts))
        error = event.error
        if error is not None and self._failed != (error.step, error.message):
            self._failed = (error.step, error.message)
            self._print(Text(f"    {error_line(error)}", style="red"))
            for line in stack_lines(error, limit=8):
                self._print(Text(f"      {line}", style="dim"))

    def _logged(self, event: Logged) -> None:
        self._logs += 1
        if self._logs > _SHOWN_LOGS:
            if self._logs == _SHOWN_LOGS + 1:
                self._print(Text("    more is logged; `turnout executions logs` shows all of it", style="dim"))
            return
        style = {"error": "red", "warning": "yellow", "debug": "dim"}.get(event.level, "")
        first, *others = lines(event.message, limit=_LOG_LINES)
        where = f"{one_line(event.path)}: " if event.path else ""
        self._print(Text.assemble("    ", (f"{one_line(event.level)[:8]:<8}", style), where, first))
        for line in others:
            self._print(Text(f"            {line}"))

    def _line(self, path: str, status: StepStatus, took: str, *, note: str = "", attempts: int = 1) -> Text:
        sign, style = mark(status, unicode=self._unicode)
        label = cut(one_line(path), _LABEL, unicode=self._unicode)
        line = Text.assemble((sign, style), f" {label:<{_LABEL}} ", (f"{status.value:<9}", style), f" {took:>8}")
        if attempts > 1:
            line.append(f"  {attempts} attempts")
        if note:
            line.append(f"  {note}", style="dim")
        return line

    def _region(self) -> Text:
        """What goes on now, at most as many lines as fit."""
        now, room = self._now(), max(self._console.height - 2, 1)
        shown = list(self._going.items())[:room]
        rows = [
            self._line(path, going.status, duration(max(now - going.started_at, 0) * 1000), note=going.note)
            for path, going in shown
        ]
        rows += [
            Text(f"  {one_line(path)}: {plural(done, 'item')} done", style="dim")
            for path, done in list(self._items.items())
        ]
        for row in rows:
            row.truncate(self._console.width)
        return Text("\n").join(rows[:room])

    def _redraw(self, live: Live) -> None:
        self._drawn_at = self._now()
        live.refresh()

    def _print(self, line: Text) -> None:
        line.rstrip()
        if self._live is not None:
            # The lines below are drawn again with each print: they must not show what has just ended.
            self._redraw(self._live)
            line.truncate(self._console.width, overflow="ellipsis")
        self._console.print(line, soft_wrap=True)


def _beyond_first_items(path: str) -> bool:
    """Whether the path goes through an item that is not one of the first of its loop."""
    numbers = [part.partition("]")[0] for part in path.split("[")[1:]]
    return any(number.isdigit() and int(number) >= FIRST_ITEMS for number in numbers)
