"""What the spans of an execution need to know of the events before theirs, folded as they come: which attempt runs, what is open."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from turnout.engine.history import History, is_below
from turnout.model.events import Attempted, Began, StepEnded
from turnout.model.execution import StepStatus
from turnout.model.span import Attribute, SpanEvent

__all__ = ["Fold", "shown_path"]

_ITEMS: Final = (100, 10, 1)
"""How many items of a loop have spans, of a loop inside a loop, and of one further inside: a loop may have 100,000."""
_ITEM: Final = re.compile(r"\[([0-9]+)\]")


def shown_path(path: str) -> str:
    """The path, or that of the loop around it whose item has no spans."""
    for depth, item in enumerate(_ITEM.finditer(path)):
        if int(item[1]) >= _ITEMS[min(depth, len(_ITEMS) - 1)]:
            return path[: item.start()]
    return path


class Fold:
    """What the events so far say that later spans need. `attempted` and `ended` take them in order.

    `open` are the steps and items that something ended in and which have not ended, with the earliest start inside them.
    `parent` is the path of what a step or item is in.
    """

    def __init__(self, history: History, parent: Callable[[str], str]) -> None:
        self.attempts = history.attempts
        self.begins: tuple[SpanEvent, ...] = ()
        self.waits = dict(history.waits)
        self.open: dict[str, float] = {}
        self._parent = parent
        self._tries = dict(history.tries)
        self._failed: dict[str, int] = {}
        self._items: dict[str, int] = {}
        for end in history.ends.values():
            self.ended(end)
        # Of an execution that was put back, ends do not come in their order, and items have none.
        for path in [path for path in self.open if any(step in history.ends for step in self._and_around(path))]:
            del self.open[path]

    def began(self, event: Began) -> None:
        self.attempts = event.attempt
        attributes: dict[str, Attribute] = {"turnout.worker": event.worker, "turnout.attempt": event.attempt}
        self.begins = (*self.begins, SpanEvent(name="began", at=event.at, attributes=attributes))

    def attempt_of(self, path: str) -> int:
        """The number of the attempt that runs, or of the last where the step has failed and what deals with it runs."""
        if path in self._failed:
            return self._failed[path]
        return self._tries[path].attempt + 1 if path in self._tries else 1

    def attempted(self, event: Attempted) -> None:
        if event.restart:
            for table in (self._tries, self._failed, self._items, self.open, self.waits):
                for path in [path for path in table if is_below(path, event.path)]:
                    del table[path]
        self._tries[event.path] = event
        self._inside(event)

    def ended(self, event: StepEnded) -> None:
        for path in self.open_below(event.path) if event.kind == "loop" else ():
            del self.open[path]
        for table in (self.waits, self._items, self.open):
            table.pop(event.path, None)
        self._inside(event)
        if event.kind == "item":
            loop = self._parent(event.path)
            self._items[loop] = self._items.get(loop, 0) + 1
        elif event.status is StepStatus.FAILED:
            self._failed[event.path] = self.attempt_of(event.path) if event.path in self._tries else event.attempts
        else:
            self._tries.pop(event.path, None)

    def open_below(self, path: str) -> list[str]:
        """The open ones inside a step, or all for an empty path; those further inside first."""
        return sorted(
            (one for one in self.open if not path or (one != path and is_below(one, path))), key=len, reverse=True
        )

    def started_at(self, event: StepEnded | Attempted) -> float:
        """When the attempt began: after the pause that followed the last one. What an earlier process began, began there."""
        last = self._tries.get(event.path)
        started = event.started_at or event.at
        if last is not None:
            return max(started, last.next_at)
        wait = self.waits.get(event.path)
        if wait is not None and wait.started_at:
            started = min(started, wait.started_at)
        return min(started, self.open.get(event.path, started))

    def about_loop(self, event: StepEnded | Attempted) -> dict[str, Attribute]:
        """Of how many items a loop's attempt saw the end, and how many have no spans."""
        if event.kind != "loop":
            return {}
        items = self._items.get(event.path, 0)
        depth = len(_ITEM.findall(event.path))
        dropped = max(0, items - _ITEMS[min(depth, len(_ITEMS) - 1)])
        return {"turnout.loop.items": items, "turnout.loop.items_without_spans": dropped}

    def _inside(self, event: StepEnded | Attempted) -> None:
        """What is around a step that did something has begun by then. What deals with a failure is in a step that has ended."""
        shown = shown_path(event.path)
        around = self._parent(shown) if shown == event.path else shown
        self.begun(around, event.started_at or event.at)

    def begun(self, path: str, at: float) -> None:
        """A step or an item, and what is around it, has begun by then."""
        for step in self._and_around(path):
            if step not in self._failed:
                self.open[step] = min(self.open.get(step, at), at)

    def _and_around(self, path: str) -> Iterator[str]:
        while path:
            yield path
            path = self._parent(path)
