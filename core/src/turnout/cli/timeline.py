"""An execution for people: what it was, its steps as a waterfall, their errors below them, and its output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from turnout.cli.step_tree import Folded, Line, timeline_lines
from turnout.cli.wording import (
    clock_time,
    cut,
    duration,
    error_line,
    mark,
    megabytes,
    one_line,
    plural,
    preview,
    stack_lines,
)
from turnout.model.execution import ErrorInfo, ExecutionRecord, SandboxReceipt, StepStatus

__all__ = ["Layout", "timeline"]

_MAX_INDENT = 8
_STACK_LINES = 12
_SANDBOXES = 3
_HOSTS = 3
_STATUS, _TRIES, _START, _DURATION = 9, 4, 8, 8
_NARROWEST_BAR = 8
_CLOCK_SKEW_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What the timeline is drawn for. `now` is where what still runs is drawn to, in seconds since the epoch."""

    width: int = 80
    unicode: bool = True
    outputs: bool = False
    now: float = 0.0


@dataclass(frozen=True, slots=True)
class _Columns:
    """Widths, in cells; a column of width 0 is left out."""

    label: int
    tries: int
    start: int
    bar: int


def timeline(record: ExecutionRecord, layout: Layout) -> Iterator[Text]:
    """Lines without a line break, none wider than `layout.width`."""
    yield from _heading(record, layout)
    rows = list(timeline_lines(record.steps))
    if rows:
        yield Text()
        yield from _Waterfall(record, rows, layout).lines()
    told = {step.error.message for step in record.steps if step.error is not None}
    if record.error is not None and (record.error.message not in told or not rows):
        yield Text()
        yield from _error(record.error, 0, layout)
    if record.output is not None:
        yield Text()
        yield _cut(Text("output  ", style="bold") + Text(preview(record.output, width=layout.width)), layout)


def _heading(record: ExecutionRecord, layout: Layout) -> Iterator[Text]:
    info = record.info
    sign, style = mark(record.status, unicode=layout.unicode)
    took = f" in {duration(record.duration_ms)}" if record.duration_ms is not None else ""
    flow = one_line(f"{info.integration} {info.version} / {info.flow}")
    yield _cut(Text.assemble((f"{sign} {record.status.value}{took}", f"bold {style}"), "  ", (flow, "bold")), layout)
    facts = [f"execution {one_line(info.id)}"]
    if info.instance != info.integration:
        facts.append(f"instance {one_line(info.instance)}")
    if record.attempts > 1:
        facts.append(f"claimed {record.attempts} times")
    if info.parent:
        facts.append(f"called by {one_line(info.parent)} at {one_line(info.parent_path)}")
    if info.replay_of:
        facts.append(f"replay of {one_line(info.replay_of)}")
    started = record.started_at
    facts.append(f"started {clock_time(started)} UTC" if started is not None else "not started yet")
    told = (*_joined(facts, layout.width), *_sandboxes(record, layout))
    yield from (_cut(Text(line, style="dim"), layout) for line in told)


def _sandboxes(record: ExecutionRecord, layout: Layout) -> Iterator[str]:
    """A line for each of the first sandboxes, and how many more there were."""
    shown = record.sandboxes[:_SANDBOXES]
    dot = " · " if layout.unicode else ", "
    for receipt in shown:
        yield f"  {dot.join(_receipt_facts(receipt))}"
    if more := len(record.sandboxes) - len(shown):
        yield f"  and {more} more {'sandbox' if more == 1 else 'sandboxes'}"


def _receipt_facts(receipt: SandboxReceipt) -> Iterator[str]:
    yield f"sandbox {one_line(receipt.sandbox)}"
    if receipt.uid >= 0:
        yield f"uid {receipt.uid}"
    yield plural(len(receipt.layers), "layer")
    yield f"{megabytes(receipt.peak_memory_bytes)} of {megabytes(receipt.memory_bytes)}"
    yield f"{duration(receipt.cpu_ms)} CPU"
    if receipt.hosts:
        more = f" and {len(receipt.hosts) - _HOSTS} more" if len(receipt.hosts) > _HOSTS else ""
        yield f"{'host' if len(receipt.hosts) == 1 else 'hosts'} {one_line(' '.join(receipt.hosts[:_HOSTS]))}{more}"


def _joined(facts: list[str], width: int) -> Iterator[str]:
    """Facts joined by commas, as many a line as fit."""
    line = ""
    for fact in facts:
        longer = f"{line}, {fact}" if line else fact
        if line and cell_len(longer) > width - 3:
            yield f"  {line},"
            line = fact
        else:
            line = longer
    yield f"  {line}"


class _Waterfall:
    def __init__(self, record: ExecutionRecord, rows: list[Line | Folded], layout: Layout) -> None:
        self._rows = rows
        self._layout = layout
        steps = [row for row in rows if isinstance(row, Line)]
        # Steps that an earlier run of a resumed execution, or the origin of a replay, made lie before the start.
        self._from = min([step.started_at for step in steps], default=0.0)
        if record.started_at is not None:
            self._from = record.started_at
        ends = [layout.now if step.ended_at is None else step.ended_at for step in steps]
        self._until = max([record.ended_at or 0.0, *ends])
        self._columns = _columns(steps, layout)
        self._shown = {step.record.path for step in steps if step.record is not None}

    def lines(self) -> Iterator[Text]:
        yield self._titles()
        for row in self._rows:
            if isinstance(row, Folded):
                ellipsis = "…" if self._layout.unicode else "..."
                yield _cut(Text(f"{_indent(row.depth)}{ellipsis} {row.text}", style="dim"), self._layout)
                continue
            yield self._line(row)
            if row.record is not None:
                yield from self._below(row)

    def _titles(self) -> Text:
        columns = self._columns
        line = "  " + _fit("STEP", columns.label) + " " + "STATUS".ljust(_STATUS) + " " * columns.tries
        if columns.start:
            line += " " + "START".rjust(columns.start)
        return Text((line + " " + "TIME".rjust(_DURATION)).rstrip(), style="dim")

    def _line(self, row: Line) -> Text:
        columns, unicode = self._columns, self._layout.unicode
        sign, style = mark(row.status, unicode=unicode)
        indent = _indent(row.depth)
        label = cut(_label(row), columns.label - len(indent), unicode=unicode)
        line = Text.assemble(f"{indent}", (sign, style), " ", _fit(label, columns.label - len(indent)), " ")
        line.append(row.status.value.ljust(_STATUS), style=style)
        if columns.tries:
            tried = row.record.attempts if row.record is not None else 1
            line.append(f" x{tried}".ljust(columns.tries) if tried > 1 else " " * columns.tries)
        if columns.start:
            line.append(" " + self._offset(row).rjust(columns.start), style="dim")
        line.append(" " + _took(row, self._layout.now).rjust(_DURATION))
        if columns.bar:
            line.append("  ")
            line.append(self._bar(row, columns.bar), style=style)
        line.rstrip()
        return line

    def _offset(self, row: Line) -> str:
        if row.status is StepStatus.SKIPPED:
            return ""
        if self._before(row):
            return "earlier"
        return f"+{duration((row.started_at - self._from) * 1000)}"

    def _before(self, row: Line) -> bool:
        return row.started_at < self._from - _CLOCK_SKEW_S

    def _bar(self, row: Line, width: int) -> str:
        """Where in the execution's time the step lies; every step has at least one cell."""
        if row.status is StepStatus.SKIPPED or self._before(row):
            return ""
        span = max(self._until - self._from, 0.000_001)
        ended = self._layout.now if row.ended_at is None else row.ended_at
        left = min(max(int((row.started_at - self._from) / span * width), 0), width - 1)
        right = min(max(int((ended - self._from) / span * width), left + 1), width)
        full, waiting = ("█", "░") if self._layout.unicode else ("#", ".")
        return " " * left + (waiting if row.status is StepStatus.WAITING else full) * (right - left)

    def _below(self, row: Line) -> Iterator[Text]:
        """The error of a step with the customer's stack, unless a step inside tells it; its output where that is asked for."""
        record = row.record
        assert record is not None
        error = record.error
        if error is not None and (error.step in ("", record.path) or error.step not in self._shown):
            yield from _error(error, row.depth + 1, self._layout)
        if self._layout.outputs and record.output is not None:
            arrow = "→" if self._layout.unicode else "->"
            shown = f"{_indent(row.depth + 1)}{arrow} {preview(record.output, width=self._layout.width)}"
            yield _cut(Text(shown, style="dim"), self._layout)


def _columns(steps: list[Line], layout: Layout) -> _Columns:
    """Widths that fill the line: the label gets what it needs up to two fifths, the bar the rest; where the terminal is
    narrow the bar goes first, then the start."""
    tries = _TRIES if any(step.record is not None and step.record.attempts > 1 for step in steps) else 0
    wanted = max([cell_len(_label(step)) + len(_indent(step.depth)) for step in steps], default=4)
    label = max(min(wanted, layout.width * 2 // 5), 4)
    start = _START
    bar = layout.width - (2 + label + 1 + _STATUS + tries + 1 + start + 1 + _DURATION + 2)
    if bar < _NARROWEST_BAR:
        bar = 0
    if layout.width < 2 + label + 1 + _STATUS + tries + 1 + start + 1 + _DURATION:
        start = 0
        label = max(layout.width - (2 + 1 + _STATUS + tries + 1 + _DURATION), 8)
    return _Columns(label=label, tries=tries, start=start, bar=min(bar, 100))


def _label(row: Line) -> str:
    return one_line(row.label) + (f" ({row.note})" if row.note else "")


def _took(row: Line, now: float) -> str:
    if row.status is StepStatus.SKIPPED:
        return ""
    return duration((now - row.started_at) * 1000 if row.ended_at is None else row.duration_ms)


def _error(error: ErrorInfo, depth: int, layout: Layout) -> Iterator[Text]:
    """The error on as many lines as it needs, then the stack, cut to the width."""
    indent = _indent(depth + 1)
    for part in _wrapped(error_line(error), layout.width - len(indent)):
        yield Text(indent + part, style="red")
    for line in stack_lines(error, limit=_STACK_LINES):
        yield _cut(Text(f"{indent}  {line}", style="dim"), layout)


def _wrapped(text: str, width: int, *, limit: int = 6) -> list[str]:
    """Words on lines of at most `width` cells; at most `limit` lines."""
    found = [""]
    for word in text.split(" "):
        rest = word
        while rest:
            joined = f"{found[-1]} {rest}" if found[-1] else rest
            if cell_len(joined) <= width:
                found[-1], rest = joined, ""
            elif found[-1]:
                found.append("")
            else:
                found[-1] = set_cell_size(rest, width).rstrip()
                rest = rest[len(found[-1]) :]
                found.append("")
    found = [line for line in found if line] or [""]
    return found if len(found) <= limit else [*found[: limit - 1], "..."]


def _indent(depth: int) -> str:
    return "  " * min(depth, _MAX_INDENT)


def _fit(text: str, width: int) -> str:
    return set_cell_size(text, max(width, 0))


def _cut(line: Text, layout: Layout) -> Text:
    if cell_len(line.plain) > layout.width:
        line.truncate(layout.width - (1 if layout.unicode else 3))
        line.append("…" if layout.unicode else "...")
    return line
