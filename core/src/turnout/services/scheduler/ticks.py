"""The times at which a schedule is due.

Cron is Debian's, as `cronsim` has it: with fixed hours and minutes a run that summer time would leave out comes when the clock
has jumped, and one that winter time would repeat comes once; with `*` in one of them it goes by the time that passes. Where both
days are given without `*`, either is enough. An interval counts from a fixed moment, not from the run before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from turnout.model.schedule import Schedule

__all__ = ["latest_tick", "moment", "next_tick", "offset_s", "same_moment", "ticks"]

_SOONEST_S: Final = 1.0


def next_tick(schedule: Schedule, after: float, *, since: float) -> float | None:
    """The first tick later than `after`; None if there is none any more. Intervals count from `since`."""
    return next(ticks(schedule, after, since=since), None)


def ticks(schedule: Schedule, after: float, *, since: float) -> Iterator[float]:
    """The ticks later than `after`, in order."""
    if schedule.at is not None:
        if schedule.at > after:
            yield schedule.at
    elif schedule.every_s is not None:
        number = math.floor((after - since) / schedule.every_s) - 1  # rounding may be off by one
        while True:
            if (tick := since + number * schedule.every_s) > after:
                yield tick
            number += 1
    else:
        for found in CronSim(schedule.cron, _local(schedule, after)):
            yield found.timestamp()


def latest_tick(schedule: Schedule, after: float, until: float, *, since: float) -> float | None:
    """The last tick later than `after` and not later than `until`; None if there is none."""
    if schedule.at is not None:
        found: float | None = schedule.at
    elif schedule.every_s is not None:
        number = math.floor((until - since) / schedule.every_s) + 1
        while (found := since + number * schedule.every_s) > until:
            number -= 1
    else:
        start = _local(schedule, math.floor(until) + _SOONEST_S)
        found = next((one.timestamp() for one in CronSim(schedule.cron, start, reverse=True)), None)
    return found if found is not None and after < found <= until else None


def moment(schedule: Schedule, at: float) -> str:
    """A time as the schedule's zone writes it (ISO 8601, with the offset)."""
    return datetime.fromtimestamp(at, ZoneInfo(schedule.timezone)).isoformat()


def offset_s(schedule: Schedule, whose: str) -> float:
    """How much later than its time a tick of the schedule of that customer, instance and flow comes: up to `jitter_s`, always the same."""
    if not schedule.jitter_s:
        return 0.0
    share = int.from_bytes(hashlib.sha256(whose.encode("utf-8", "surrogatepass")).digest()[:8]) / 2**64
    return share * schedule.jitter_s


def _local(schedule: Schedule, at: float) -> datetime:
    zone = UTC if schedule.timezone == "UTC" else ZoneInfo(schedule.timezone)
    return datetime.fromtimestamp(at, zone)


def same_moment(written: str, at: float) -> bool:
    """Whether what `moment` wrote is that time."""
    try:
        return abs(datetime.fromisoformat(written).timestamp() - at) < 0.001
    except ValueError:
        return False
