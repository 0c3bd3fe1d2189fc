"""When schedules are due: time zones, the two nights a year, intervals, one moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout.model.schedule import Schedule
from turnout.services.scheduler.ticks import latest_tick, moment, next_tick, offset_s, same_moment, ticks

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = "UTC") -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).timestamp()


def first(schedule: Schedule, after: str, count: int = 3) -> list[str]:
    start = at(after, schedule.timezone)
    return [moment(schedule, tick) for tick in islice(ticks(schedule, start, since=start), count)]


def test_a_cron_is_read_in_its_zone() -> None:
    found = first(Schedule(cron="0 6 * * 1-5", timezone=BERLIN), "2026-12-04T07:00", 2)

    assert found == ["2026-12-07T06:00:00+01:00", "2026-12-08T06:00:00+01:00"]


def test_an_hour_that_summer_time_leaves_out_comes_when_the_clock_has_jumped() -> None:
    found = first(Schedule(cron="30 2 * * *", timezone=BERLIN), "2026-03-28T03:00", 2)

    assert found == ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]


def test_an_hour_that_winter_time_repeats_comes_once() -> None:
    found = first(Schedule(cron="30 2 * * *", timezone=BERLIN), "2026-10-24T03:00", 2)

    assert found == ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]


def test_every_half_hour_goes_by_the_time_that_passes_in_both_nights() -> None:
    every = Schedule(cron="*/30 * * * *", timezone=BERLIN)

    for evening in ("2026-03-29T01:00+01:00", "2026-10-25T01:00+02:00"):
        found = list(islice(ticks(every, at(evening), since=0.0), 8))
        assert {later - earlier for earlier, later in pairwise(found)} == {1800.0}


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 0 L * *", "2026-02-01T00:00", "2026-02-28T00:00:00+00:00"),
        ("0 9 * * 5L", "2026-12-01T00:00", "2026-12-25T09:00:00+00:00"),
        ("0 9 * * mon#2", "2026-12-01T00:00", "2026-12-14T09:00:00+00:00"),
        ("0 0 29 2 *", "2026-12-01T00:00", "2028-02-29T00:00:00+00:00"),
        ("0 0 13 * 5", "2026-12-01T00:00", "2026-12-04T00:00:00+00:00"),
    ],
)
def test_what_cron_can_say(cron: str, after: str, expected: str) -> None:
    assert first(Schedule(cron=cron), after, 1) == [expected]


def test_an_interval_counts_from_one_moment_whenever_it_is_asked() -> None:
    schedule = Schedule(every_s=7.5)

    assert [next_tick(schedule, after, since=100.0) for after in (100.0, 103.0, 107.5, 1000.0)] == [
        107.5,
        107.5,
        115.0,
        1007.5,
    ]


def test_one_moment_comes_once() -> None:
    schedule = Schedule(at=500.0)

    assert next_tick(schedule, 499.0, since=0.0) == 500.0
    assert next_tick(schedule, 500.0, since=0.0) is None
    assert latest_tick(schedule, 0.0, 600.0, since=0.0) == 500.0
    assert latest_tick(schedule, 500.0, 600.0, since=0.0) is None


SCHEDULES = st.one_of(
    st.builds(Schedule, every_s=st.floats(1.0, 100_000.0)),
    st.builds(
        Schedule,
        cron=st.sampled_from(["* * * * *", "*/7 * * * *", "15 3 * * *", "0 */5 * * *", "30 2 * * 0", "0 0 1 * *"]),
        timezone=st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
    ),
)


ZONES = [
    "UTC",
    BERLIN,
    "America/New_York",
    "America/Santiago",
    "Africa/Cairo",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
]
CLOCK_SET = {
    BERLIN: ["2025-03-30T01:00+00:00", "2025-10-26T01:00+00:00"],
    "America/New_York": ["2025-03-09T07:00+00:00", "2025-11-02T06:00+00:00"],
    "America/Santiago": ["2023-09-03T04:00+00:00", "2024-04-07T03:00+00:00"],
    "Africa/Cairo": ["2025-04-24T22:00+00:00", "2025-10-30T21:00+00:00"],
    "Africa/Casablanca": ["2025-02-23T02:00+00:00", "2025-04-06T02:00+00:00"],
    "Australia/Lord_Howe": ["2025-04-05T15:00+00:00", "2025-10-04T15:30+00:00"],
    "UTC": ["2025-03-30T01:00+00:00"],
}
CRONS = st.tuples(
    st.sampled_from(["0", "30", "59", "0,30", "*/15", "*", "*/7"]),
    st.sampled_from(["*", "0", "1", "2", "3", "0,1,2,3", "*/2", "23", "1-3"]),
    st.sampled_from(["*", "1", "L", "6-9"]),
    st.just("*"),
    st.sampled_from(["*", "0", "1-5", "0L"]),
).map(" ".join)


def shown(cron: str, zone: str, after: float, until: float) -> list[float]:
    """The moments of a cron minute by minute: those at which the clock shows it, for a fixed time the first alone, and the
    next there is for one that the clock leaves out."""
    fixed, found, info = not any(part.startswith("*") for part in cron.split()[:2]), set(), ZoneInfo(zone)
    minute = after // 60 * 60 - 86_400
    known = datetime.fromtimestamp(minute - 60, info).replace(tzinfo=None)
    seen: set[datetime] = set()
    while minute <= until:
        wall = datetime.fromtimestamp(minute, info).replace(tzinfo=None, fold=0)
        means = next(CronSim(cron, wall - timedelta(seconds=1))) == wall
        left_out = fixed and wall - known > timedelta(minutes=1) and next(CronSim(cron, known)) < wall
        if (means and not (fixed and wall in seen)) or left_out:
            found.add(minute)
        seen.add(wall)
        known, minute = wall, minute + 60
    return sorted(tick for tick in found if after < tick <= until)


@settings(deadline=None)
@given(CRONS, st.sampled_from(ZONES), st.integers(0, 1), st.integers(-6 * 3600, 3 * 3600), st.integers(0, 8 * 3600))
def test_the_nights_in_which_the_clock_is_set(cron: str, zone: str, which: int, begin: int, seconds: int) -> None:
    set_at = CLOCK_SET[zone][which % len(CLOCK_SET[zone])]
    schedule, after = Schedule(cron=cron, timezone=zone), at(set_at) + begin
    until = after + seconds

    came = list(takewhile(lambda tick: tick <= until, ticks(schedule, after, since=0.0)))

    assert came == shown(cron, zone, after, until)
    assert latest_tick(schedule, after, until, since=0.0) == (came[-1] if came else None)


@given(SCHEDULES, st.integers(1_700_000_000, 1_900_000_000), st.floats(0.0, 200_000.0))
def test_the_latest_is_the_last_of_those_that_came(schedule: Schedule, after: int, seconds: float) -> None:
    until = after + seconds
    came = []
    for tick in ticks(schedule, after, since=1_600_000_000.0):
        if tick > until:
            break
        came.append(tick)

    assert came == sorted(set(came))
    assert all(tick > after for tick in came)
    assert latest_tick(schedule, after, until, since=1_600_000_000.0) == (came[-1] if came else None)


@given(SCHEDULES, st.integers(1_700_000_000, 1_900_000_000))
def test_asking_from_tick_to_tick_misses_none(schedule: Schedule, after: int) -> None:
    listed = list(islice(ticks(schedule, after, since=1_600_000_000.0), 20))
    walked = [float(after)]
    for _ in listed:
        following = next_tick(schedule, walked[-1], since=1_600_000_000.0)
        assert following is not None
        walked.append(following)

    assert walked[1:] == listed


def test_a_spread_is_each_schedules_own_and_never_moves() -> None:
    schedule = Schedule(every_s=60.0, jitter_s=30.0)
    offsets = [offset_s(schedule, f"shop-{number}/sync") for number in range(200)]

    assert offsets == [offset_s(schedule, f"shop-{number}/sync") for number in range(200)]
    assert all(0 <= offset < 30 for offset in offsets)
    assert max(offsets) - min(offsets) > 25
    assert offset_s(Schedule(every_s=60.0), "shop/sync") == 0.0


def test_a_written_moment_is_known_again() -> None:
    schedule = Schedule(cron="30 2 * * *", timezone=BERLIN)

    assert same_moment(moment(schedule, 1_793_000_000.5), 1_793_000_000.5)
    assert not same_moment(moment(schedule, 1_793_000_000.0), 1_793_000_060.0)
    assert not same_moment("yesterday", 0.0)
