"""What no event tells: executions that run on, flows that do not run, connections that break, dead letters that are taken away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from turnout.config import AlertKind, AlertRule, Resolve
from turnout.interfaces.records import RecordBatch
from turnout.model.definition import Flow, Integration, Trigger
from turnout.model.execution import ErrorInfo, Status
from turnout.services.alerts.watch import ConnectionHealth
from turnout.services.submission import Instance
from turnout.testing import records
from turnout.testing.clock import ManualClock

from core.tests.services.alerts.alert_yard import AlertYard, ended, info_of

SLOW = AlertRule(kind=AlertKind.DURATION, longer_than_s=600, channels=("ops",), throttle_s=0)
OVERDUE = AlertRule(kind=AlertKind.OVERDUE, channels=("ops",), grace_s=300)
CONNECTION = AlertRule(kind=AlertKind.CONNECTION, channels=("ops",))
DEAD = AlertRule(kind=AlertKind.DEAD_LETTER, channels=("ops",))


def yard_of(rule: AlertRule, clock: ManualClock | None = None) -> AlertYard:
    return AlertYard(rules={"rule": rule}, clock=clock or ManualClock())


class Ran:
    """Records of executions, as the metadata service writes them."""

    def __init__(self, yard: AlertYard) -> None:
        self._yard = yard
        self._position = 0

    async def write(self, id: str, status: Status, *, at: float | None = None, **more: Any) -> None:
        at = self._yard.clock.now() if at is None else at
        self._position += 1
        batch = RecordBatch(
            position=self._position, executions=(records.created(info_of(id, at, **more), status=status),)
        )
        await self._yard.records.apply(batch)

    async def end(self, id: str) -> None:
        now = self._yard.clock.now()
        self._position += 1
        await self._yard.records.apply(RecordBatch(position=self._position, executions=(records.ended(id, at=now),)))


async def quick(yard: AlertYard, id: str) -> None:
    now = yard.clock.now()
    await yard.give(ended(info_of(id, now - 1), now))


@pytest.mark.parametrize("status", [Status.RUNNING, Status.WAITING, Status.QUEUED])
async def test_an_execution_that_goes_on_for_too_long_is_told_before_it_ends(status: Status) -> None:
    yard = yard_of(SLOW)
    await Ran(yard).write("slow", status)

    yard.clock.advance(600)
    await yard.look()
    assert yard.ops.phases == []

    yard.clock.advance(60)
    await yard.look()
    await yard.look()

    assert yard.ops.phases == ["opened"]
    assert "has been going on for longer than 600 s" in yard.ops.sent[0].text
    assert yard.ops.sent[0].details["execution"] == "slow"


async def test_quick_executions_beside_one_that_hangs_do_not_make_it_right() -> None:
    yard = yard_of(SLOW)
    ran = Ran(yard)
    began = yard.clock.now()
    await ran.write("hangs", Status.RUNNING)
    for minute in range(30):
        yard.clock.advance(60)
        await quick(yard, f"quick{minute}")
        await yard.look()
    assert yard.ops.phases == ["opened"]

    yard.clock.advance(1)
    await ran.end("hangs")
    await yard.give(ended(info_of("hangs", began), yard.clock.now()))
    await yard.look()
    assert yard.ops.phases == ["opened", "repeated"]  # it took too long: the next one says whether that is over

    yard.clock.advance(60)
    await quick(yard, "last")
    await yard.look()
    assert yard.ops.phases == ["opened", "repeated", "resolved"]


async def test_one_that_hangs_is_held_however_many_end_quickly() -> None:
    yard = yard_of(SLOW)
    await Ran(yard).write("hangs", Status.RUNNING)
    yard.clock.advance(700)
    await yard.look()

    for number in range(300):
        yard.clock.advance(1)
        await quick(yard, f"quick{number}")
    await yard.look()

    assert yard.ops.phases == ["opened"]


async def test_the_end_of_one_that_somebody_ended_the_incident_of_does_not_begin_another() -> None:
    yard = yard_of(replace(SLOW, resolve=Resolve.MANUAL))
    began = yard.clock.now()
    await Ran(yard).write("slow", Status.RUNNING)
    yard.clock.advance(700)
    await yard.look()
    [document] = [document async for document in yard.book.every()]
    await yard.book.resolve(document, "ada")

    yard.clock.advance(60)
    await yard.look()
    await yard.give(ended(info_of("slow", began), yard.clock.now()))
    await yard.look()

    assert yard.ops.phases == ["opened", "resolved"]


async def test_an_end_that_is_heard_of_before_the_look_is_not_undone_by_it() -> None:
    """The record of an execution may be older than the event that it has ended."""
    yard = yard_of(SLOW)
    began = yard.clock.now()
    await Ran(yard).write("slow", Status.RUNNING)
    yard.clock.advance(700)
    await yard.give(ended(info_of("slow", began), yard.clock.now()))
    yard.clock.advance(10)
    await quick(yard, "quick")

    await yard.look()

    assert yard.ops.phases == ["opened", "resolved"]


async def test_one_that_is_cancelled_in_time_says_nothing() -> None:
    yard = yard_of(SLOW)
    await yard.give(ended(info_of("slow", yard.clock.now() - 601), yard.clock.now()))
    await yard.give(
        ended(info_of("gone", yard.clock.now()), yard.clock.now() + 1, status=Status.CANCELLED),
    )
    await yard.look()

    assert yard.ops.phases == ["opened"]


def instance_of(options: Mapping[str, Any], customer: str = "acme", type: str = "schedule") -> Instance:
    flows = {"import": Flow(name="import", trigger=Trigger(type=type, options=dict(options)))}
    integration = Integration(name="orders", version="1.0.0", flows=flows)
    return Instance(name="acme-orders", tenant=customer, bundle="b", settings="s", integration=integration)


async def test_a_flow_that_did_not_run_by_its_interval_is_told_and_over_when_it_ran() -> None:
    yard = yard_of(OVERDUE)
    ran = Ran(yard)
    yard.instances = [instance_of({"every": "1h"})]
    await yard.look()

    yard.clock.advance(3600 + 299)
    await yard.look()
    assert yard.ops.phases == []
    yard.clock.advance(2)
    await yard.look()
    assert yard.ops.phases == ["opened"]
    assert "nothing ran in time" in yard.ops.sent[0].text

    await ran.write("e1", Status.RUNNING)
    yard.clock.advance(60)
    await yard.look()
    assert yard.ops.phases == ["opened", "resolved"]
    assert yard.caught_up > 0


async def test_a_flow_that_runs_at_every_tick_of_its_cron_is_not_overdue_also_as_clocks_are_set() -> None:
    """Each day at seven in Berlin, over both nights in which that is not a day after the last."""
    for start in ("2026-03-27 06:00", "2026-10-23 06:00"):
        begin = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
        yard = yard_of(OVERDUE, ManualClock(begin))
        ran = Ran(yard)
        yard.instances = [instance_of({"cron": "0 7 * * *", "timezone": "Europe/Berlin"})]
        for half_hour in range(4 * 48):
            wall = datetime.fromtimestamp(yard.clock.now(), ZoneInfo("Europe/Berlin"))
            if (wall.hour, wall.minute) == (7, 0):
                await ran.write(f"e{half_hour}", Status.SUCCEEDED)
            await yard.look()
            yard.clock.advance(1800)

        assert yard.ops.phases == []


async def test_a_tick_of_a_cron_that_was_left_out_is_told() -> None:
    """A control of the one above: the same days, without the run after clocks were set."""
    begin = datetime.fromisoformat("2026-03-28 06:00").replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    yard = yard_of(OVERDUE, ManualClock(begin))
    yard.instances = [instance_of({"cron": "0 7 * * *", "timezone": "Europe/Berlin"})]
    await yard.look()
    yard.clock.advance(3600)
    await Ran(yard).write("e1", Status.SUCCEEDED)
    yard.clock.advance(300)
    await yard.look()

    yard.clock.advance(23 * 3600 - 300 + 299)
    await yard.look()
    assert yard.ops.phases == []
    yard.clock.advance(61)
    await yard.look()
    assert yard.ops.phases == ["opened"]


async def test_where_it_has_to_succeed_a_run_that_fails_does_not_do() -> None:
    yard = yard_of(replace(OVERDUE, expect_s=3600, succeeded=True))
    ran = Ran(yard)
    yard.instances = [instance_of({}, type="webhook")]
    await yard.look()
    yard.clock.advance(1800)
    await ran.write("bad", Status.FAILED)
    yard.clock.advance(2200)
    await yard.look()
    assert yard.ops.phases == ["opened"]
    assert "nothing succeeded in time" in yard.ops.sent[0].text

    await ran.write("good", Status.SUCCEEDED)
    yard.clock.advance(60)
    await yard.look()
    assert yard.ops.phases == ["opened", "resolved"]


@pytest.mark.parametrize("then", [[], [instance_of({"every": "10h"})]])
async def test_a_flow_that_is_not_expected_any_more_is_not_overdue(then: list[Instance]) -> None:
    """Its instance is paused or removed, or its schedule another."""
    yard = yard_of(OVERDUE)
    yard.instances = [instance_of({"every": "1h"})]
    await yard.look()
    yard.clock.advance(2 * 3600)
    yard.instances = then
    await yard.look()
    yard.clock.advance(3600)
    await yard.look()

    assert yard.ops.phases in ([], ["opened", "resolved"])
    assert all(alert.incident is None for alert in await yard.alerts())


async def test_other_customers_runs_do_not_make_up_for_one_that_is_missing() -> None:
    yard = yard_of(OVERDUE)
    yard.instances = [instance_of({"every": "1h"}), instance_of({"every": "1h"}, "globex")]
    await yard.look()
    yard.clock.advance(3600)
    await Ran(yard).write("e1", Status.SUCCEEDED, tenant="globex")
    yard.clock.advance(400)

    await yard.look()

    assert [one.details["customer"] for one in yard.ops.sent] == ["acme"]


async def test_a_connection_that_breaks_is_told_and_told_again_and_over_when_it_is_connected() -> None:
    yard = yard_of(CONNECTION)
    healthy = ConnectionHealth(customer="acme", name="erp")
    yard.connections = [healthy]
    await yard.look()
    assert await yard.alerts() == []

    yard.connections = [replace(healthy, broken="reconnect it")]
    for _ in range(61):
        await yard.look()
        yard.clock.advance(60)
    assert yard.ops.phases == ["opened", "repeated"]
    assert "reconnect it" in yard.ops.sent[0].text
    assert yard.ops.sent[0].details["connection"] == "erp"

    yard.connections = [healthy]
    await yard.look()
    assert yard.ops.phases == ["opened", "repeated", "resolved"]


async def test_a_connection_that_is_connected_again_is_over_also_where_the_clock_was_set_back() -> None:
    yard = yard_of(CONNECTION)
    healthy = ConnectionHealth(customer="acme", name="erp")
    yard.connections = [replace(healthy, broken="reconnect it")]
    await yard.look()
    earlier = AlertYard(
        rules=yard.rules, catalog=yard.catalog, told=yard.told, clock=ManualClock(yard.clock.now() - 3600)
    )
    earlier.connections = [healthy]

    await earlier.look()
    await yard.send()

    assert yard.ops.phases == ["opened", "resolved"]


async def test_a_connection_that_is_removed_is_over() -> None:
    yard = yard_of(CONNECTION)
    yard.connections = [ConnectionHealth(customer="acme", name="erp", broken="reconnect it")]
    await yard.look()

    yard.connections = []
    await yard.look()

    assert yard.ops.phases == ["opened", "resolved"]


async def test_connections_of_the_same_name_of_two_customers_are_told_of_apart() -> None:
    yard = yard_of(CONNECTION)
    broken = ConnectionHealth(customer="acme", name="erp", broken="reconnect it")
    yard.connections = [broken, replace(broken, customer="globex")]
    await yard.look()

    yard.connections = [broken, replace(broken, customer="globex", broken="")]
    await yard.look()

    assert [(one.details["customer"], one.phase.value) for one in yard.ops.sent] == [
        ("acme", "opened"),
        ("globex", "opened"),
        ("globex", "resolved"),
    ]


async def bury(yard: AlertYard, id: str) -> None:
    await yard.bury(id)
    now = yard.clock.now()
    await yard.give(ended(info_of(id, now), now, error=ErrorInfo(kind="dead_letter", message="given up")))


@pytest.mark.parametrize("how", ["revive", "drop"])
async def test_a_dead_letter_that_somebody_takes_out_of_the_queue_is_over(how: str) -> None:
    yard = yard_of(DEAD)
    await bury(yard, "e1")
    await bury(yard, "e2")
    await yard.look()
    yard.clock.advance(60)
    await yard.look()
    assert yard.ops.phases == ["opened"]

    await getattr(yard.queue, how)("e1")
    yard.clock.advance(60)
    await yard.look()
    assert yard.ops.phases == ["opened"]

    await getattr(yard.queue, how)("e2")
    yard.clock.advance(60)
    await yard.look()
    assert yard.ops.phases == ["opened", "resolved"]
