"""Many executions for people: a table that fits the terminal, with the reason below each that is not well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from turnout.cli.wording import clock_time, cut, duration, error_line, mark, one_line
from turnout.model.execution import ExecutionRecord, Status

__all__ = ["executions_table"]

_ID, _STATUS, _TIME = 26, 11, 8
_GAP = "  "


def executions_table(records: Sequence[ExecutionRecord], *, width: int, unicode: bool) -> Iterator[Text]:
    """Lines of at most `width` cells; where it is narrow the times go first. The id is never cut: it is to be copied."""
    left = width - (_ID + _STATUS + 2 * len(_GAP))
    started_width = 19 if left >= 60 else 11
    times = started_width + _TIME + 2 * len(_GAP)
    times = times if left >= times + 12 else 0
    flow = max(left - times, 0)
    wanted = max([cell_len(_flow(record)) for record in records], default=4)
    flow = min(flow, max(wanted, 4))
    titles = ["EXECUTION".ljust(_ID), "STATUS".ljust(_STATUS), "FLOW".ljust(flow)[:flow]]
    titles += ["STARTED UTC".ljust(started_width), "TIME".rjust(_TIME)] if times else []
    yield Text(_GAP.join(titles).rstrip(), style="dim")
    for record in records:
        sign, style = mark(record.status, unicode=unicode)
        line = Text.assemble(one_line(record.info.id).ljust(_ID), _GAP)
        line.append(f"{sign} {record.status.value}".ljust(_STATUS), style=style)
        line.append(_GAP + set_cell_size(cut(_flow(record), flow, unicode=unicode), flow))
        if times:
            started = clock_time(record.started_at or record.info.created_at)
            shown = started if started_width == len(started) else started[5:16]
            line.append(f"{_GAP}{shown}{_GAP}{duration(record.duration_ms).rjust(_TIME)}")
        line.rstrip()
        yield line
        if record.error is not None and record.status is not Status.SUCCEEDED:
            yield Text(cut(f"    {error_line(record.error)}", width, unicode=unicode), style="dim")


def _flow(record: ExecutionRecord) -> str:
    info = record.info
    return one_line(info.flow if info.instance == info.flow else f"{info.instance}/{info.flow}")
