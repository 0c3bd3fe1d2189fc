"""When messages wait until morning."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from turnout.config import QuietPeriod

__all__ = ["quiet_until"]

_LOOK_DAYS: Final = 9


def quiet_until(period: QuietPeriod | None, now: float) -> float:
    """`now`, or, within a quiet period, when that ends: by the clock on the wall, also where clocks are put forward or back."""
    if period is None:
        return now
    zone = ZoneInfo(period.timezone)
    today = datetime.fromtimestamp(now, zone).date()
    until = now
    for offset in range(-2, _LOOK_DAYS):  # in order: one that begins as another ends goes on with it
        begin, end = _on(period, today + timedelta(days=offset), zone)
        if (today + timedelta(days=offset)).weekday() in period.days and begin <= until < end:
            until = end
    return until


def _on(period: QuietPeriod, day: date, zone: ZoneInfo) -> tuple[float, float]:
    last = day + timedelta(days=1) if period.end <= period.start else day
    return _moment(day, period.start, zone), _moment(last, period.end, zone)


def _moment(day: date, minutes: int, zone: ZoneInfo) -> float:
    at = datetime.combine(day, time(minutes // 60, minutes % 60), zone)
    return at.astimezone(UTC).timestamp()
