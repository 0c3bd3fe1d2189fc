"""Quiet periods: by the clock on the wall of their zone, over midnight, in the nights in which clocks are set; and what happens at
their end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turnout.config import AlertRule, QuietPeriod, Resolve
from turnout.services.alerts.quiet import quiet_until
from turnout.testing.clock import ManualClock

from core.tests.services.alerts.alert_yard import AlertYard, ended, failed, info_of, runs

BERLIN = QuietPeriod(start=22 * 60, end=7 * 60, timezone="Europe/Berlin")
NIGHTLY = AlertRule(channels=("ops",), quiet=BERLIN, throttle_s=600)


def at(text: str, zone: str = "Europe/Berlin") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def yard_at(text: str, rule: AlertRule = NIGHTLY) -> AlertYard:
    return AlertYard(rules={"rule": rule}, clock=ManualClock(at(text)))


async def fail(yard: AlertYard, id: str, **more: str) -> None:
    now = yard.clock.now()
    await yard.give(ended(info_of(id, now, **more), now, error=failed(f"number {id}")))


async def work(yard: AlertYard, id: str) -> None:
    await yard.give(ended(info_of(id, yard.clock.now()), yard.clock.now()))


async def go_to(yard: AlertYard, text: str) -> None:
    while yard.clock.now() < at(text):
        yard.clock.advance(min(1800.0, at(text) - yard.clock.now()))
        await yard.look()


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-06-10 21:59", "2026-06-10 21:59"),
        ("2026-06-10 22:00", "2026-06-11 07:00"),
        ("2026-06-11 03:00", "2026-06-11 07:00"),
        ("2026-06-11 07:00", "2026-06-11 07:00"),
        ("2026-03-28 23:00", "2026-03-29 07:00"),  # an hour is left out of this night
        ("2026-10-24 23:00", "2026-10-25 07:00"),  # an hour comes twice in this one
    ],
)
def test_the_end_is_by_the_clock_on_the_wall(now: str, until: str) -> None:
    assert quiet_until(BERLIN, at(now)) == at(until)


def test_the_nights_in_which_clocks_are_set_are_shorter_and_longer() -> None:
    """Without this the cases above would not tell a zone from a fixed offset."""
    assert at("2026-03-29 07:00") - at("2026-03-28 23:00") == 7 * 3600
    assert at("2026-10-25 07:00") - at("2026-10-24 23:00") == 9 * 3600


def test_an_end_that_the_wall_never_shows_is_when_clocks_have_been_set() -> None:
    gap = QuietPeriod(start=60, end=150, timezone="Europe/Berlin")

    assert quiet_until(gap, at("2026-03-29 01:30")) in (at("2026-03-29 03:00"), at("2026-03-29 03:30"))


def test_days_are_those_on_which_it_begins() -> None:
    weekend = QuietPeriod(start=18 * 60, end=18 * 60, days=(4, 5), timezone="Europe/Berlin")  # Friday and Saturday

    assert quiet_until(weekend, at("2026-06-12 17:59")) == at("2026-06-12 17:59")
    assert quiet_until(weekend, at("2026-06-12 18:00")) == at("2026-06-14 18:00")  # one goes on as the other ends
    assert quiet_until(weekend, at("2026-06-14 18:00")) == at("2026-06-14 18:00")


PERIODS = st.builds(
    QuietPeriod,
    start=st.integers(0, 1439),
    end=st.integers(0, 1439),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    days=st.sets(st.integers(0, 6), min_size=1).map(lambda days: tuple(sorted(days))),
).filter(lambda period: not period.endless)


def on_the_wall(period: QuietPeriod, moment: float) -> bool:
    """Whether it is quiet, by what the clock shows and the calendar says alone."""
    wall = datetime.fromtimestamp(moment, ZoneInfo(period.timezone))
    minute, today = wall.hour * 60 + wall.minute, wall.weekday()
    if period.end > period.start:
        return today in period.days and period.start <= minute < period.end
    return (today in period.days and minute >= period.start) or ((today - 1) % 7 in period.days and minute < period.end)


@given(PERIODS, st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC)))
def test_it_is_quiet_as_the_clock_on_the_wall_says_and_ends_when_it_ends(period: QuietPeriod, when: datetime) -> None:
    now = when.replace(second=0, microsecond=0).timestamp()
    zone = ZoneInfo(period.timezone)

    until = quiet_until(period, now)

    offsets = {
        (datetime.fromtimestamp(moment, zone) + timedelta(hours=shift)).utcoffset()
        for moment in (now, until)
        for shift in (-26, 0, 26)
    }
    assert quiet_until(period, until) == until
    if len(offsets) == 1:  # where clocks are set between them, the cases above say what happens
        assert (until > now) == on_the_wall(period, now)
        assert not on_the_wall(period, until)
        step = max(60.0, (until - now) // 7 // 60 * 60)
        assert all(on_the_wall(period, now + step * number) for number in range(7) if now + step * number < until)


async def test_what_fails_at_night_and_is_right_by_morning_wakes_nobody_and_is_told_to_nobody() -> None:
    yard = yard_at("2026-06-10 23:00")
    await fail(yard, "e1")
    await go_to(yard, "2026-06-11 02:00")
    await work(yard, "e2")

    await go_to(yard, "2026-06-11 12:00")

    assert yard.ops.sent == []
    [alert] = await yard.alerts()
    assert [(past.count, past.told) for past in alert.past] == [(1, ())]  # it can be looked up all the same


async def test_what_still_fails_in_the_morning_is_told_once_with_all_that_happened() -> None:
    yard = yard_at("2026-06-10 23:00")
    for number in range(5):
        await fail(yard, f"e{number}")
        await yard.look()
        yard.clock.advance(600)
    await go_to(yard, "2026-06-11 06:59")
    assert yard.ops.sent == []

    await go_to(yard, "2026-06-11 07:00")
    await go_to(yard, "2026-06-11 12:00")

    assert yard.ops.phases == ["opened"]
    assert "Executions fail, 5 times" in yard.ops.sent[0].text
    assert "number e4" in yard.ops.sent[0].text
    assert yard.ops.sent[0].at == at("2026-06-11 07:00")


async def test_each_thing_that_still_fails_in_the_morning_has_a_message_of_its_own() -> None:
    yard = yard_at("2026-06-10 23:00")
    await fail(yard, "e1", flow="import")
    await fail(yard, "e2", flow="export")

    await go_to(yard, "2026-06-11 08:00")

    assert sorted(one.details["flow"] for one in yard.ops.sent) == ["export", "import"]


async def test_what_was_told_in_the_evening_and_is_right_at_night_is_over_in_the_morning() -> None:
    yard = yard_at("2026-06-10 21:00")
    await fail(yard, "e1")
    await yard.look()
    await go_to(yard, "2026-06-11 02:00")
    await work(yard, "e2")
    await fail(yard, "e3")
    await work(yard, "e4")
    await go_to(yard, "2026-06-11 06:30")
    assert yard.ops.phases == ["opened"]

    await go_to(yard, "2026-06-11 08:00")

    assert yard.ops.phases == ["opened", "resolved"]


async def test_what_began_in_the_evening_and_goes_on_at_night_is_told_again_in_the_morning() -> None:
    yard = yard_at("2026-06-10 21:55")
    await fail(yard, "e1")
    await yard.look()
    await go_to(yard, "2026-06-10 22:30")
    await fail(yard, "e2")

    await go_to(yard, "2026-06-11 08:00")

    assert yard.ops.phases == ["opened", "repeated"]
    assert yard.ops.sent[1].at == at("2026-06-11 07:00")


async def test_time_that_resolves_counts_from_the_morning_for_what_was_held_back() -> None:
    """Nobody shall miss what happened at night because an hour has passed by the morning."""
    yard = yard_at("2026-06-10 23:00", replace(NIGHTLY, resolve=Resolve.TIME, resolve_after_s=3600))
    await fail(yard, "e1")

    await go_to(yard, "2026-06-11 07:30")
    assert yard.ops.phases == ["opened"]

    await go_to(yard, "2026-06-11 08:30")
    assert yard.ops.phases == ["opened", "resolved"]


async def test_a_channel_that_is_down_as_a_long_quiet_period_ends_is_tried_for_a_day_from_then() -> None:
    """What waits for the end of a weekend is written a day and more before it is sent for the first time."""
    weekend = QuietPeriod(start=18 * 60, end=17 * 60, days=(4, 5, 6), timezone="Europe/Berlin")
    yard = yard_at("2026-06-12 17:30", replace(NIGHTLY, quiet=weekend))
    await fail(yard, "e1")
    await yard.look()
    await go_to(yard, "2026-06-13 17:30")
    await fail(yard, "e2")
    await go_to(yard, "2026-06-13 18:30")
    await work(yard, "e3")
    [message] = [message async for message in yard.outbox.waiting()]
    assert message.at > message.written_at

    yard.ops.broken = OSError("no route")
    await go_to(yard, "2026-06-14 20:00")
    yard.ops.broken = None
    await go_to(yard, "2026-06-14 22:00")

    assert yard.ops.phases[-1] == "resolved"


async def test_a_service_that_was_down_as_it_became_quiet_looks_in_the_morning_and_not_all_night() -> None:
    yard = yard_at("2026-06-10 21:30", replace(NIGHTLY, throttle_s=1200))
    await yard.give(*runs([False, True, False], yard.clock.now()))  # within the throttle: to be told at 21:50
    yard.clock.advance(3600)
    await yard.look()

    due = await yard.book.due(10)
    [document] = [document async for document in yard.book.every()]

    assert due == []
    assert document.due is not None
    assert document.due > yard.clock.now() + 500
