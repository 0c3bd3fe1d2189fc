"""Lines of executions' logs as commands print them: for people, or an object of JSON each."""

from __future__ import annotations

import json

import click

from turnout.cli.wording import clock_time, lines, one_line
from turnout.model.execution import ExecutionInfo, LogLine

__all__ = ["print_line"]

_MOST_LINES = 200


def print_line(line: LogLine, *, as_json: bool, info: ExecutionInfo | None = None) -> None:
    """With `info` it says whose line it is."""
    if as_json:
        from turnout.services.record_json import time_text

        data = {"at": time_text(line.at), "level": line.level, "message": line.message, "path": line.path}
        if info is not None:
            data |= {"execution": info.id, "customer": info.tenant, "instance": info.instance, "flow": info.flow}
        click.echo(json.dumps(data))
        return
    at = clock_time(line.at, precise=True)[11:]
    first, *others = lines(line.message, limit=_MOST_LINES)
    of = "" if info is None else f"{one_line(info.instance)}/{one_line(info.flow)} {one_line(info.id)} "
    where = f"{one_line(line.path)}: " if line.path else ""
    click.echo(f"{at} {one_line(line.level)[:8]:<8}{of}{where}{first}")
    for other in others:
        click.echo(" " * 21 + other)
