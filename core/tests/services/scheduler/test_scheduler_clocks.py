"""Clocks that are set, by law or by mistake, and what is begun meanwhile: nothing turns in place, is lost or comes twice."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from turnout.config import Settings
from turnout.definition.loader import load_yaml_text
from turnout.errors import StepError
from turnout.interfaces.records import ExecutionQuery
from turnout.interfaces.service import Invocation
from turnout.local.platform import Platform
from turnout.plugins import load_plugins
from turnout.testing.clock import ManualClock
from turnout.values import Value

from core.tests.services.scheduler.test_scheduler import CALL, Died, Office, polling

START = 1_800_000_000.0
TEXT = """
integration: shop
version: 1.0.0
flows:
  sync: {trigger: {schedule: {every: 1h, missed: all}}, steps: [{id: done, stop: {}}]}
"""


class SetClock(ManualClock):
    def set(self, now: float) -> None:
        self._now = now


def office_at(now: float) -> tuple[Office, SetClock]:
    clock = SetClock(now)
    return Office(clock=clock), clock


def at(text: str, zone: str, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def rounds(most: int) -> tuple[Invocation, list[float]]:
    """A call that has time for so many rounds, and the rounds that it took."""
    taken: list[float] = []

    def remaining_s() -> float:
        taken.append(1.0)
        return 60.0 if len(taken) <= most else 0.0

    return Invocation(remaining_s=remaining_s), taken


async def test_what_is_deployed_in_the_hour_that_comes_twice_waits_for_the_next_day() -> None:
    office, clock = office_at(at("2025-10-26T02:10:00", "Europe/Berlin", 1))
    office.deploy("{cron: '30 2 * * *', timezone: Europe/Berlin}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    clock.advance(1.0)
    call, taken = rounds(20)

    await scheduler.look(call)

    [planned] = await scheduler.plans.page()
    assert planned.due == at("2025-10-27T02:30:00", "Europe/Berlin")
    assert (len(taken), office.ticks()) == (1, [])


async def test_the_first_hour_of_a_day_that_has_no_midnight_is_not_left_out() -> None:
    office, clock = office_at(at("2023-09-02T23:43:00", "America/Santiago"))
    office.deploy("{cron: '*/15 1 * * 0', timezone: America/Santiago, missed: all}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)

    clock.advance(6 * 3600.0)
    await scheduler.look(CALL)

    assert [trigger["scheduled_at"] for trigger in office.triggers] == [
        f"2023-09-03T01:{minute}:00-03:00" for minute in ("00", "15", "30", "45")
    ]


async def test_who_died_while_its_clock_was_a_year_ahead_holds_nothing_up() -> None:
    office, clock = office_at(START)
    office.deploy("{every: 60s, missed: all}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    clock.set(START + 365 * 86_400.0)
    office.faults = iter([None, None, None, Died()])
    with pytest.raises(Died):
        await scheduler.look(CALL)

    clock.set(START)
    for _ in range(30):
        clock.advance(60.0)
        await scheduler.sync(CALL)
        await scheduler.look(CALL)

    assert office.ticks() == [60.0 * number for number in range(1, 31)]


async def test_another_schedule_finishes_what_was_begun() -> None:
    office, clock = office_at(START)
    office.deploy("{every: 60s}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    clock.advance(60.0)
    office.faults = iter([None, None, None, Died()])
    with pytest.raises(Died):
        await scheduler.look(CALL)

    office.deploy("{every: 90s}", bundle="2")
    await scheduler.sync(CALL)
    for _ in range(4):
        clock.advance(31.0)
        await scheduler.look(CALL)

    assert office.ticks() == [60.0, 150.0]


async def test_another_policy_keeps_the_place() -> None:
    office, clock = office_at(START)
    office.deploy("{every: 60s, missed: all}")
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    clock.advance(150.0)

    office.deploy("{every: 60s, missed: all, jitter: 1ms}", bundle="2")
    await scheduler.sync(CALL)
    clock.advance(31.0)
    await scheduler.look(CALL)

    assert office.ticks() == [60.0, 120.0, 180.0]


async def test_who_asks_to_be_left_alone_is() -> None:
    office, clock = office_at(START)
    shelf = polling(office)
    shelf.failures = [StepError("slow down", kind="http_429", retry_after_s=900.0)]
    scheduler = office.scheduler()
    await scheduler.sync(CALL)
    clock.advance(60.0)

    await scheduler.look(CALL)
    await scheduler.sync(CALL)

    [planned] = await scheduler.plans.page()
    assert planned.due == clock.now() + 900.0


async def test_a_clock_that_was_days_ahead_doubles_nothing(tmp_path: Path) -> None:
    clock = SetClock(START)
    platform = await Platform.open(Settings(root=tmp_path), load_plugins(), clock=clock)
    await platform.deploy(load_yaml_text(TEXT, directory=str(tmp_path)), config={}, connections={})
    await platform.scheduler.sync(CALL)
    clock.set(START + 3 * 86_400.0)
    await platform.scheduler.look(CALL)

    clock.set(START)
    for _ in range(80):
        clock.advance(3600.0)
        await platform.scheduler.sync(CALL)
        await platform.scheduler.look(CALL)

    await platform.metadata.catch_up()
    found = await platform.stores.records.search(ExecutionQuery(limit=1000))
    times = [Value.from_encoded(record.info.trigger).load() for record in found]
    await platform.close()
    moments = sorted(str(time["scheduled_at"]) for time in times if isinstance(time, dict))
    assert len(moments) == len(set(moments)) == 80
