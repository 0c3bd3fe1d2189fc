"""The times at which a schedule is due.

Cron is Debian's: with fixed hours and minutes a run that summer time would leave out comes when the clock has jumped, and one
that winter time would repeat comes once; with `*` in one of them it goes by the time that passes. Where both days are given
without `*`, either is enough. `cronsim` says which times of the wall clock are meant; which moments those are is said here, the
same whether one asks forward, backward or from within the hour that comes twice. An interval counts from a fixed moment, not from
the run before.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from turnout.model.schedule import Schedule

__all__ = ["latest_tick", "moment", "next_tick", "offset_s", "same_moment", "ticks"]

_AROUND_S: Final = 3 * 3600.0
"""No clock is set back by more."""
_WINDOW_S: Final = 120.0
_WIDER: Final = 8


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
        yield from _cron_ticks(schedule, after)


def latest_tick(schedule: Schedule, after: float, until: float, *, since: float) -> float | None:
    """The last tick later than `after` and not later than `until`; None if there is none."""
    if schedule.at is not None:
        found: float | None = schedule.at
    elif schedule.every_s is not None:
        number = math.floor((until - since) / schedule.every_s) + 1
        while (found := since + number * schedule.every_s) > until:
            number -= 1
    else:
        found = _latest_of_cron(schedule, after, until)
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


def _latest_of_cron(schedule: Schedule, after: float, until: float) -> float | None:
    """Looked for forward, in ever longer times before `until`: there is one notion of what comes after what."""
    window = _WINDOW_S
    while True:
        start = max(after, until - window)
        found = None
        for tick in ticks(schedule, start, since=0.0):
            if tick > until:
                break
            found = tick
        if found is not None or start <= after:
            return found
        window *= _WIDER


def _cron_ticks(schedule: Schedule, after: float) -> Iterator[float]:
    """The moments later than `after` at which a clock on the wall shows what the expression says."""
    zone = UTC if schedule.timezone == "UTC" else ZoneInfo(schedule.timezone)
    minute, hour, *_ = schedule.cron.split()
    by_the_clock = not minute.startswith("*") and not hour.startswith("*")
    second: list[float] = []  # moments of times that the clock shows twice, once it has shown the first
    last = after
    for wall in CronSim(schedule.cron, _wall_before(after, zone)):
        moments = _moments(wall, zone, by_the_clock=by_the_clock)
        come = [tick for tick in second if moments and tick < moments[0]]
        for tick in (*come, *moments[:1]):
            if tick > last:
                yield (last := tick)
        second = second[len(come) :] + moments[1:]


def _wall_before(after: float, zone: tzinfo) -> datetime:
    """Where the wall clock is looked at from: earlier, where it is set soon before or after, since it shows times twice then."""
    here = datetime.fromtimestamp(after, zone)
    early, late = (datetime.fromtimestamp(after + by, zone) for by in (-_AROUND_S, _AROUND_S))
    start = here if early.utcoffset() == here.utcoffset() == late.utcoffset() else early
    return start.replace(tzinfo=None, fold=0)


def _moments(wall: datetime, zone: tzinfo, *, by_the_clock: bool) -> list[float]:
    """When the clock shows that: once, twice, or never; one that goes by fixed times then has the first, or the next there is."""
    while _is_skipped(wall, zone):
        if not by_the_clock:
            return []
        wall += timedelta(minutes=1)
    first, second = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return [first] if by_the_clock or first == second else [first, second]


def _is_skipped(wall: datetime, zone: tzinfo) -> bool:
    return datetime.fromtimestamp(wall.replace(tzinfo=zone).timestamp(), zone).replace(tzinfo=None, fold=0) != wall


def same_moment(written: str, at: float) -> bool:
    """Whether what `moment` wrote is that time."""
    try:
        return abs(datetime.fromisoformat(written).timestamp() - at) < 0.001
    except ValueError:
        return False
