"""What commands print: JSON for programs, tables and colour for people, colour on a terminal alone."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, is_dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from turnout.cli.faults import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["console", "emit", "print_table"]


def console(*, stderr: bool = False) -> Console:
    """A rich console on stdout or stderr: coloured on a terminal only, and not where NO_COLOR is set. Text that is not
    ours must go through `printable`, and be printed with `markup=False` or as `rich.text.Text`."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=True)


def emit(data: object, *, as_json: bool) -> None:
    """Print a result: as indented JSON, or as text, a mapping's members and a list's items one a line."""
    if as_json:
        encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
        click.echo(json.dumps(data, indent=2, ensure_ascii=not encoding.startswith("utf"), default=_plain))
    elif isinstance(data, dict):
        for key, value in data.items():
            click.echo(printable(f"{key}: {value}"))
    elif isinstance(data, list | tuple):
        for item in data:
            click.echo(printable(str(item)))
    else:
        click.echo(printable(str(data)))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under headings, as wide as the terminal allows; into a pipe, one unwrapped line a row."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    lines = [[printable(cell) for cell in row] for row in rows]
    if not out.is_terminal:
        widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
        for line in (headings, *lines):
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    out.print(table, soft_wrap=False)


def _plain(data: object) -> Any:
    match data:
        case Path():
            return str(data)
        case Enum():
            return data.value
        case set() | frozenset():
            return sorted(data)
        case _ if is_dataclass(data) and not isinstance(data, type):
            return asdict(data)
    raise TypeError(f"{type(data).__name__} cannot be printed as JSON")
