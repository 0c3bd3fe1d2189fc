"""How the command line says things about executions: statuses, times, durations, values. Never by colour alone.

Names, messages and logs come from customers and their counterparts: all text passes `one_line` or `lines`, so that
nothing of it can move the cursor, change colours, or pretend to be a line of ours.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from turnout.cli.faults import printable
from turnout.model.execution import ErrorInfo, Status, StepStatus
from turnout.model.payload import Encoded
from turnout.values import Value

__all__ = [
    "Mark",
    "clock_time",
    "cut",
    "duration",
    "error_line",
    "lines",
    "mark",
    "megabytes",
    "one_line",
    "plural",
    "preview",
    "speaks_unicode",
    "stack_lines",
]


class Mark(NamedTuple):
    """A status for the eye: a sign of one cell, and the style of what belongs to it."""

    sign: str
    style: str


_MARKS: dict[str, tuple[str, str, str]] = {
    "succeeded": ("✓", "+", "green"),
    "failed": ("✗", "x", "red"),
    "cancelled": ("⊘", "/", "yellow"),
    "parked": ("‖", "!", "magenta"),
    "waiting": ("◷", "~", "cyan"),
    "running": ("▸", ">", "blue"),
    "queued": ("·", ".", "dim"),
    "skipped": ("–", "-", "dim"),
}

_KEPT = 4000
"""Characters of a message that are looked at before it is cut to what fits."""


def mark(status: Status | StepStatus, *, unicode: bool) -> Mark:
    """The sign and style of a status. Its word stands beside it wherever it is shown."""
    sign, plain, style = _MARKS[status.value]
    return Mark(sign if unicode else plain, style)


def speaks_unicode(console: Console) -> bool:
    """Whether the console can show signs beyond ASCII."""
    return console.encoding.lower().replace("-", "").startswith("utf")


def duration(milliseconds: float | None) -> str:
    """At most eight characters: `0.4 ms`, `120 ms`, `1.23 s`, `2m 05s`, `3h 02m`, `12d 04h`; `-` where there is none."""
    if milliseconds is None:
        return "-"
    if milliseconds < 9.95:
        return f"{max(milliseconds, 0):.1f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02}h"


def clock_time(at: float | None, *, precise: bool = False) -> str:
    """In UTC: `2026-11-23 18:40:00`, with milliseconds if `precise`; `-` where there is none."""
    if at is None:
        return "-"
    return datetime.fromtimestamp(at, UTC).isoformat(" ", timespec="milliseconds" if precise else "seconds")[:-6]


def megabytes(size: int) -> str:
    """`43 MB`; below one, `0.4 MB`."""
    count = size / 1_000_000
    return f"{count:.1f} MB" if 0 < count < 0.95 else f"{count:.0f} MB"


def plural(count: int, word: str) -> str:
    """`1 item`, `5,000 items`."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def one_line(text: str) -> str:
    """Foreign text on one line, control characters visible."""
    cutoff = text[:_KEPT]
    return printable(cutoff.replace("\r\n", "\n")).replace("\n", "\\n").replace("\t", " ")


def lines(text: str, *, limit: int) -> list[str]:
    """Foreign text of several lines, control characters visible, at most `limit` lines and a word on the rest."""
    found = printable(text[: _KEPT * 4].replace("\r\n", "\n")).replace("\t", "    ").split("\n")
    if len(found) <= limit:
        return found
    return [*found[: limit - 1], f"({plural(len(found) - limit + 1, 'more line')})"]


def cut(text: str, width: int, *, unicode: bool) -> str:
    """Text cut to `width` cells, with an ellipsis where it was longer."""
    if cell_len(text) <= width:
        return text
    ellipsis = "…" if unicode else "..."
    return (set_cell_size(text, max(width - len(ellipsis), 0)).rstrip() + ellipsis)[: max(width, 0)]


def error_line(error: ErrorInfo) -> str:
    """`kind: message` on one line."""
    return f"{one_line(error.kind)}: {one_line(error.message)}"


def stack_lines(error: ErrorInfo, *, limit: int) -> list[str]:
    """The customer's own stack, without the line that says again what `error_line` says."""
    if not error.stack:
        return []
    said = error_line(error)
    return [line.strip() for line in lines(error.stack, limit=limit) if line.strip() and line.strip() not in said]


def preview(output: Encoded, *, width: int) -> str:
    """A value on one line of about `width` cells: files by name and size, large content by its size alone."""
    if output.stored is not None:
        return f"({output.stored.size:,} bytes of JSON in the payload store)"
    file = Value.from_encoded(output).file
    if file is not None:
        return f"(file {one_line(file.name) or 'without a name'}, {file.size:,} bytes)"
    text = output.json[: width * 4 + 4].decode(errors="ignore")
    files = f" (and {plural(len(output.files), 'file')})" if output.files else ""
    return one_line(text) + files
