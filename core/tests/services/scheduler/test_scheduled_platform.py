"""Schedules on a whole platform: real stores, real submissions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from turnout.config import Settings
from turnout.definition.loader import load_yaml_text
from turnout.errors import SettingsError
from turnout.interfaces.records import ExecutionQuery
from turnout.interfaces.service import Invocation
from turnout.local.platform import LOCAL_TENANT, Platform
from turnout.model.execution import ExecutionRecord
from turnout.plugins import load_plugins
from turnout.services.scheduler.started import RecordedStarts
from turnout.services.submission import Instance
from turnout.testing.clock import ManualClock

CALL = Invocation()
TEXT = """
integration: shop
version: 1.0.0
config: {when: {type: string, default: "*/5 * * * *"}}
flows:
  sync:
    trigger: {schedule: {cron: "${{ config.when }}", timezone: Europe/Berlin, missed: all%s}}
    steps: [%s{id: done, stop: {output: "${{ trigger.scheduled_at }}"}}]
"""


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
async def platform(tmp_path: Path, clock: ManualClock) -> AsyncIterator[Platform]:
    platform = await Platform.open(Settings(root=tmp_path), load_plugins(), clock=clock)
    yield platform
    await platform.close()


async def deployed(platform: Platform, more: str = "", steps: str = "", **config: str) -> Instance:
    integration = load_yaml_text(TEXT % (more, steps), directory=str(platform.settings.root))
    instance = await platform.deploy(integration, config=config, connections={})
    await platform.scheduler.sync(CALL)
    return instance


async def records(platform: Platform) -> list[ExecutionRecord]:
    await platform.metadata.catch_up()
    return list(await platform.stores.records.search(ExecutionQuery(limit=100)))


async def test_each_tick_is_an_execution_that_knows_its_time(platform: Platform, clock: ManualClock) -> None:
    await deployed(platform)

    clock.advance(600.0)
    await platform.scheduler.look(CALL)
    await platform.scheduler.look(CALL)
    found = await records(platform)
    for record in found:
        await platform.follow(record.info.id)

    outputs = sorted(record.output.json.decode() for record in await records(platform) if record.output)
    assert outputs == ['"2027-01-15T09:05:00+01:00"', '"2027-01-15T09:10:00+01:00"']


async def test_a_tick_is_left_out_while_the_one_before_it_runs(platform: Platform, clock: ManualClock) -> None:
    await deployed(platform, ", overlap: skip", "{id: rest, wait: {for: 1h}}, ")
    clock.advance(300.0)
    await platform.scheduler.look(CALL)

    clock.advance(300.0)
    await platform.scheduler.look(CALL)

    [document] = await platform.scheduler.plans.page()
    assert len(await records(platform)) == 1
    assert document.value.skipped == 1


async def test_a_start_that_was_begun_long_ago_is_found_in_the_records(platform: Platform, clock: ManualClock) -> None:
    instance = await deployed(platform)
    clock.advance(300.0)
    await platform.scheduler.look(CALL)
    [record] = await records(platform)
    tick, starts = 1_800_000_300.0, RecordedStarts(platform.stores.records, clock)
    begun = clock.now()

    soon = await starts.find(LOCAL_TENANT, instance.name, "sync", tick, since=begun)
    clock.advance(2 * 86_400.0)
    found = await starts.find(LOCAL_TENANT, instance.name, "sync", tick, since=begun)
    other = await starts.find(LOCAL_TENANT, instance.name, "sync", tick + 300.0, since=begun)

    assert (soon, found, other) == ("", record.info.id, "")


async def test_who_died_two_days_ago_had_started_its_tick(platform: Platform, clock: ManualClock) -> None:
    """The process was killed between the start and its note, and nothing came back for longer than an id is remembered."""
    await deployed(platform)
    [before] = await platform.scheduler.plans.page()
    clock.advance(300.0)
    await platform.scheduler.look(CALL)
    [record] = await records(platform)
    await platform.follow(record.info.id)
    await records(platform)
    [after] = await platform.scheduler.plans.page()
    unnoted = replace(before.value, pending=after.value.started, pending_since=clock.now())
    await platform.scheduler.plans.put(before.name, unnoted, tenant=before.tenant, due=clock.now())

    clock.advance(2 * 86_400.0)
    await platform.scheduler.look(CALL)

    [noted] = await platform.scheduler.plans.page()
    await platform.metadata.catch_up()
    started = await platform.stores.records.search(ExecutionQuery(until=record.info.created_at + 3600.0))
    assert [one.info.id for one in started] == [record.info.id]
    assert noted.value.pending is None or noted.value.pending > (after.value.started or 0.0)


async def test_config_that_makes_no_schedule_is_refused_when_it_is_deployed(platform: Platform) -> None:
    with pytest.raises(SettingsError, match="'61' is not a minute"):
        await deployed(platform, when="61 * * * *")
