"""What is to be run in a month: how many executions, when they come, how long each keeps a worker busy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from turnout.deploy.flows import busy_s
from turnout.errors import UserError
from turnout.interfaces.records import ExecutionQuery, RecordStore
from turnout.model.execution import ExecutionRecord
from turnout.model.payload import Encoded

__all__ = ["DAY_S", "MONTH_DAYS", "OFFICE_DAY", "Workload", "quantile", "recorded_workload"]

DAY_S: Final = 86_400.0
MONTH_DAYS: Final = 30
OFFICE_DAY: Final = (1, 1, 1, 1, 1, 1, 2, 4, 8, 10, 10, 9, 8, 9, 10, 9, 8, 6, 4, 3, 2, 2, 1, 1)
"""How much comes in each hour of a day where nothing is recorded: ten times as much at work as at night."""

_ARRIVALS: Final = 20_000
_LOOKED_INTO: Final = 300
_PAGE: Final = 500
_MESSAGE_BYTES: Final = 1024 * 1024
"""The most that a message on SQS holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """`durations_s` are samples of how long an execution is busy, waits aside; `hours` the weights of a day's hours (UTC);
    `burst` the share of each hour that comes in its first minute, as schedules make it. `arrivals_s`, where it was recorded, is
    a day's or more to be replayed as it was, from 0."""

    executions_per_month: float
    durations_s: tuple[float, ...]
    steps: int
    payload_bytes: int = 1024
    hours: tuple[float, ...] = OFFICE_DAY
    burst: float = 0.05
    arrivals_s: tuple[float, ...] = ()
    recorded: int = 0

    @property
    def mean_s(self) -> float:
        return sum(self.durations_s) / len(self.durations_s)

    def rate(self, at_s: float) -> float:
        """Executions a second that come at a second of the day."""
        hour, into_s = int(at_s % DAY_S // 3600), at_s % 3600
        of_hour = self.executions_per_month / MONTH_DAYS * self.hours[hour] / sum(self.hours)
        return of_hour * self.burst / 60 if into_s < 60 else of_hour * (1 - self.burst) / 3540


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of them do not exceed; 0 if there are none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


async def recorded_workload(records: RecordStore) -> Workload:
    """The workload that the newest executions were: the time they came at, and, of the newest that have ended, how long they were
    busy. A history shorter than a day counts as a day. `UserError` if none has ended."""
    found: list[ExecutionRecord] = []
    before = ""
    while len(found) < _ARRIVALS:
        page = await records.search(ExecutionQuery(before=before, limit=_PAGE))
        found += page
        if len(page) < _PAGE:
            break
        before = page[-1].info.id
    ended = [one.info.id for one in found if one.duration_ms is not None][:_LOOKED_INTO]
    whole = [record for id in ended if (record := await records.get(id)) is not None]
    if not whole:
        raise UserError(
            "no execution has ended here yet: run some, or say what is to be run by --executions-per-month, --seconds and --steps"
        )
    first = min(one.info.created_at for one in found)
    offsets = tuple(sorted(one.info.created_at - first for one in found))
    span_s = max(offsets[-1], DAY_S)
    hours = [0.0] * 24
    for one in found:
        hours[int(one.info.created_at % DAY_S // 3600)] += 1
    return Workload(
        executions_per_month=len(found) / span_s * DAY_S * MONTH_DAYS,
        durations_s=tuple(max(0.001, busy_s(one)) for one in whole),
        steps=max(1, round(sum(_steps(one) for one in whole) / len(whole))),
        payload_bytes=max(_payload_bytes(one.info.trigger) for one in whole),
        hours=tuple(hours),
        burst=1 / 60,
        arrivals_s=offsets,
        recorded=len(found),
    )


def _payload_bytes(payload: Encoded) -> int:
    """Of a message that carries it; what is larger than a message may be travels by reference."""
    return min(_MESSAGE_BYTES, len(payload.json) if payload.stored is None else payload.stored.size)


def _steps(record: ExecutionRecord) -> int:
    return sum(1 for step in record.steps if step.kind not in ("wait", "stop"))
