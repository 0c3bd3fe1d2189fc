"""The steps of a record as a tree, its loops folded: what the timeline draws, line by line.

A record lists steps by path (`each[3].post`). Items of loops and arms of `parallel` have no record of their own; here they
get a line whose status and times are made from what is inside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from turnout.cli.wording import plural
from turnout.model.execution import StepRecord, StepStatus

__all__ = ["FIRST_ITEMS", "Folded", "Line", "timeline_lines"]

FIRST_ITEMS = 3
"""Items of a loop that are shown however they ended."""
TROUBLED_ITEMS = 5
"""Items shown beyond them because they did not succeed."""

_INDEX = re.compile(r"\[(\d+)\]")
_GRAVEST = (
    StepStatus.FAILED,
    StepStatus.PARKED,
    StepStatus.CANCELLED,
    StepStatus.RUNNING,
    StepStatus.WAITING,
    StepStatus.SUCCEEDED,
    StepStatus.SKIPPED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One step, item or arm. Times are seconds since the epoch; `ended_at` is None while it is going on."""

    depth: int
    label: str
    status: StepStatus
    started_at: float
    ended_at: float | None
    record: StepRecord | None
    note: str = ""

    @property
    def duration_ms(self) -> float | None:
        if self.record is not None and self.ended_at is not None:
            return self.record.duration_ms
        return None if self.ended_at is None else (self.ended_at - self.started_at) * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Items that have no line of their own."""

    depth: int
    text: str


@dataclass(slots=True)
class _Node:
    record: StepRecord | None = None
    children: dict[str, _Node] = field(default_factory=dict)
    """By id, or by `[index]` for an item."""

    @property
    def items(self) -> dict[int, _Node]:
        return {int(label[1:-1]): child for label, child in self.children.items() if label.startswith("[")}

    def descendants(self) -> Iterator[StepRecord]:
        """The records in and below it, without recursion: a path may have any depth."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            if node.record is not None:
                yield node.record
            waiting.extend(node.children.values())


def timeline_lines(steps: Sequence[StepRecord]) -> Iterator[Line | Folded]:
    """The lines of the timeline from top to bottom, in the order of the steps' starts."""
    top = _Node()
    for record in steps:
        node = top
        for label in _labels(record.path):
            node = node.children.setdefault(label, _Node())
        node.record = record
    for label, node in top.children.items():
        yield from _lines(label, node, 0)


def _labels(path: str) -> Iterator[str]:
    """`each[3].post` is below `each` and `[3]`."""
    for part in path.split("."):
        found = _INDEX.findall(part)
        name = part[: part.index("[")] if found else part
        yield name
        yield from (f"[{index}]" for index in found)


def _lines(label: str, node: _Node, depth: int) -> Iterator[Line | Folded]:
    while node.record is None and len(node.children) == 1:
        (inner, node) = next(iter(node.children.items()))
        label = f"{label}{inner}" if inner.startswith("[") else f"{label}.{inner}"
    items = node.items
    yield _line(label, node, depth, note=plural(len(items), "item") if items else "")
    for inner, child in node.children.items():
        if not inner.startswith("["):
            yield from _lines(inner, child, depth + 1)
    if items:
        yield from _item_lines(items, depth + 1)


def _item_lines(items: dict[int, _Node], depth: int) -> Iterator[Line | Folded]:
    """The first items, those in trouble, and a count of the others."""
    statuses = {index: _status(node) for index, node in items.items()}
    order = sorted(items)
    shown = set(order[:FIRST_ITEMS])
    troubled = [index for index in order if statuses[index] not in (StepStatus.SUCCEEDED, StepStatus.SKIPPED)]
    shown.update(troubled[:TROUBLED_ITEMS])
    for index in sorted(shown):
        yield from _lines(f"[{index}]", items[index], depth)
    counts = Counter(statuses[index].value for index in order if index not in shown)
    if counts:
        told = ", ".join(f"{count:,} {status}" for status, count in counts.most_common())
        yield Folded(depth=depth, text=f"{plural(counts.total(), 'more item')}: {told}")


def _line(label: str, node: _Node, depth: int, *, note: str) -> Line:
    record = node.record
    if record is not None:
        going_on = record.status in (StepStatus.RUNNING, StepStatus.WAITING, StepStatus.PARKED)
        ended = None if going_on else record.started_at + record.duration_ms / 1000
        return Line(
            depth=depth,
            label=label,
            status=record.status,
            started_at=record.started_at,
            ended_at=ended,
            record=record,
            note=note,
        )
    inside = list(node.descendants())
    status = _status(node)
    ended = max(one.started_at + one.duration_ms / 1000 for one in inside)
    return Line(
        depth=depth,
        label=label,
        status=status,
        started_at=min(one.started_at for one in inside),
        ended_at=None if status in (StepStatus.RUNNING, StepStatus.WAITING, StepStatus.PARKED) else ended,
        record=None,
        note=note,
    )


def _status(node: _Node) -> StepStatus:
    """Of a step its own; of an item or an arm the gravest of the steps directly in it, which have dealt with theirs."""
    if node.record is not None:
        return node.record.status
    return min((_status(child) for child in node.children.values()), key=_GRAVEST.index)
