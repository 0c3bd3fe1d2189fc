"""Cancel, resume, decide and replay: on the real stores, with time in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from turnout.connectors import StepError
from turnout.engine.outcome import Suspended
from turnout.errors import NotFound, UserError
from turnout.interfaces.records import ExecutionQuery
from turnout.model.execution import Status, StepStatus
from turnout.values import Value

from core.tests.engine.laboratory import Died
from core.tests.local.office import Office, office_in

THREE = """
  main:
    trigger: {webhook: {}}
    steps:
      - {id: a, action: world.put, with: {value: a}}
      - {id: b, action: world.keyed, with: {value: "${{ trigger.body }}"}}
      - {id: c, action: world.put, with: {value: c}}
      - {id: done, stop: {output: ["${{ steps.a.value }}", "${{ steps.b.value }}", "${{ steps.c.value }}"]}}
"""
LOOP = """
  main:
    trigger: {webhook: {}}
    steps:
      - id: each
        loop:
          over: [1, 2, 3, 4]
          collect: "${{ steps.put.value }}"
          steps: [{id: put, action: world.put, with: {value: "${{ item }}"}}]
      - {id: done, stop: {output: "${{ steps.each }}"}}
"""
HELD = """
  main:
    trigger: {webhook: {}}
    steps: [{id: a, action: world.put, with: {value: a}}, {id: hold, action: world.hold}, {id: c, action: world.put}]
"""
WAITS = """
  main:
    trigger: {webhook: {}}
    steps: [{id: answer, wait: {callback: true}}]
"""
CALLS_WAITING = """
  main:
    trigger: {webhook: {}}
    steps: [{id: ask, call: {flow: other}}]
  other:
    steps: [{id: answer, wait: {callback: true}}]
"""
PARKS = """
  main:
    trigger: {webhook: {}}
    steps:
      - {id: note, action: world.note, with: {value: 1}}
      - {id: done, stop: {output: "${{ steps.note }}"}}
"""
CALLS_PARKING = """
  main:
    trigger: {webhook: {}}
    steps:
      - {id: ask, call: {flow: other}}
      - {id: done, stop: {output: "${{ steps.ask }}"}}
  other:
    steps:
      - {id: note, action: world.note, with: {value: 1}}
      - {id: back, stop: {output: "${{ steps.note }}"}}
"""


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with office_in(tmp_path) as made:
        yield made


def fail(office: Office, action: str, *, after: int = 0) -> None:
    office.world.failures[action] = [*[None] * after, StepError("the other side is down", kind="down")]


async def parked(office: Office, flows: str) -> str:
    office.world.failures["note"] = [Died()]
    id = await office.accept(flows)
    await office.die(id)
    await office.turn(id)
    assert (await office.record(id)).status is Status.PARKED
    office.values()
    return id


async def child_of(office: Office, id: str) -> str:
    await office.platform.metadata.catch_up()
    [child] = await office.platform.stores.records.search(ExecutionQuery(parent=id))
    return child.info.id


async def nothing_is_left(office: Office) -> None:
    await office.platform.metadata.catch_up()
    stats = await office.platform.stores.queue.stats()
    assert (stats.ready, stats.delayed, stats.leased, stats.dead) == (0, 0, 0, 0)
    assert not await office.platform.stores.journal.entries(after=0, limit=10)


async def test_what_is_queued_is_cancelled_before_anything_ran(office: Office) -> None:
    id = await office.accept(THREE)

    assert await office.platform.operations.cancel(id, "not today")
    await office.turn(id)

    record = await office.record(id)
    assert (record.status, record.error and record.error.message) == (Status.CANCELLED, "not today")
    assert office.values() == []
    assert not await office.platform.operations.cancel(id)
    await nothing_is_left(office)


async def test_what_runs_is_cancelled_at_once(office: Office) -> None:
    id = await office.accept(HELD)
    turn = asyncio.ensure_future(office.turn(id))
    await office.entered.wait()

    assert await office.platform.operations.cancel(id)
    await turn

    assert (await office.record(id)).status is Status.CANCELLED
    assert await office.steps(id, StepStatus.CANCELLED) == {"hold"}
    assert office.values() == ["a"]
    await nothing_is_left(office)


@pytest.mark.parametrize("flows", [WAITS, CALLS_WAITING])
async def test_what_waits_is_cancelled_with_what_it_called(office: Office, flows: str) -> None:
    id = await office.accept(flows)
    assert isinstance(await office.turn(id), Suspended)
    assert (await office.record(id)).status is Status.WAITING

    assert await office.platform.operations.cancel(id)
    await office.turn(id)

    await office.platform.metadata.catch_up()
    found = await office.platform.stores.records.search(ExecutionQuery())
    assert {record.status for record in found} == {Status.CANCELLED}
    await nothing_is_left(office)


@pytest.mark.parametrize("flows", [PARKS, CALLS_PARKING])
async def test_what_is_parked_is_cancelled_with_what_it_called(office: Office, flows: str) -> None:
    id = await parked(office, flows)

    assert await office.platform.operations.cancel(id)

    await office.platform.metadata.catch_up()
    found = await office.platform.stores.records.search(ExecutionQuery())
    assert {record.status for record in found} == {Status.CANCELLED}
    assert office.values() == []
    await nothing_is_left(office)


async def test_a_failed_execution_goes_on_with_the_step_that_failed(office: Office) -> None:
    fail(office, "keyed")
    record = await office.ended(THREE, body="b")
    assert (record.status, office.values()) == (Status.FAILED, ["a"])

    assert await office.platform.operations.resume(record.info.id) == record.info.id
    await office.turn(record.info.id)

    again = await office.record(record.info.id)
    assert (again.status, again.error, again.output) == (Status.SUCCEEDED, None, Value(["a", "b", "c"]).encode())
    assert office.values() == ["b", "c"]
    assert await office.steps(record.info.id) == {"a", "b", "c", "done"}
    await nothing_is_left(office)


async def test_a_loop_goes_on_with_the_item_that_failed(office: Office) -> None:
    fail(office, "put", after=2)
    record = await office.ended(LOOP)
    assert office.values() == [1, 2]

    await office.platform.operations.resume(record.info.id)
    await office.turn(record.info.id)

    assert office.values() == [3, 4]
    assert (await office.record(record.info.id)).output == Value([1, 2, 3, 4]).encode()


async def test_a_failure_that_the_flow_dealt_with_is_not_tried_again(office: Office) -> None:
    flows = THREE.replace("{value: a}}", "{value: a}, on_error: continue}")
    office.world.failures["put"] = [StepError("a is down"), StepError("c is down")]
    record = await office.ended(flows, body="b")
    assert (record.error and record.error.step, office.values()) == ("c", ["b"])

    await office.platform.operations.resume(record.info.id)
    await office.turn(record.info.id)

    again = await office.record(record.info.id)
    assert (again.status, office.values()) == (Status.SUCCEEDED, ["c"])
    assert again.output == Value([None, "b", "c"]).encode()


async def test_a_failing_error_handler_goes_on_with_its_own_step(office: Office) -> None:
    flows = THREE.replace(
        "{value: a}}", "{value: a}, on_error: [{id: h, action: world.keyed}, {id: h2, action: world.keyed}]}"
    )
    office.world.failures["put"] = [StepError("a is down")]
    fail(office, "keyed", after=1)
    record = await office.ended(flows, body="b")
    assert (record.error and record.error.step, office.values()) == ("a.h2", [None])

    await office.platform.operations.resume(record.info.id)
    await office.turn(record.info.id)

    assert office.values() == [None, "b", "c"]
    assert await office.steps(record.info.id, StepStatus.FAILED) == {"a"}


async def test_the_record_of_a_loop_that_goes_on_keeps_its_items(office: Office) -> None:
    fail(office, "put", after=2)
    id = (await office.ended(LOOP)).info.id

    await office.platform.operations.resume(id)

    assert await office.steps(id) == {"each[0].put", "each[1].put"}
    assert await office.steps(id, StepStatus.RUNNING) == {"each"}
    await office.turn(id)
    assert await office.steps(id) == {"each", "done", *(f"each[{index}].put" for index in range(4))}


async def test_a_replay_from_a_step_keeps_failures_that_the_flow_dealt_with(office: Office) -> None:
    flows = THREE.replace("{value: a}}", "{value: a}, on_error: continue}")
    fail(office, "put")
    record = await office.ended(flows, body="b")
    office.values()

    id = await office.platform.operations.replay(record.info.id, step="c")
    await office.turn(id)

    assert office.values() == ["c"]
    assert (await office.record(id)).output == Value([None, "b", "c"]).encode()


async def test_a_cancelled_execution_can_go_on(office: Office) -> None:
    id = await office.accept(HELD)
    turn = asyncio.ensure_future(office.turn(id))
    await office.entered.wait()
    await office.platform.operations.cancel(id)
    await turn
    await office.record(id)
    office.release.set()
    office.values()

    await office.platform.operations.resume(id)
    await office.turn(id)

    assert ((await office.record(id)).status, office.values()) == (Status.SUCCEEDED, [None])


async def test_a_failed_execution_can_fail_and_be_resumed_again(office: Office) -> None:
    fail(office, "keyed")
    id = (await office.ended(THREE, body="b")).info.id
    fail(office, "keyed")
    await office.platform.operations.resume(id)
    await office.turn(id)
    assert (await office.record(id)).status is Status.FAILED

    await office.platform.operations.resume(id)
    await office.turn(id)

    assert ((await office.record(id)).status, office.values()) == (Status.SUCCEEDED, ["a", "b", "c"])


@pytest.mark.parametrize(
    ("decision", "values", "output"),
    [({"repeat": True}, [1], {"value": 1}), ({"output": Value("by hand")}, [], "by hand")],
)
@pytest.mark.parametrize("flows", [PARKS, CALLS_PARKING])
async def test_a_parked_effect_is_decided_by_a_person(
    office: Office, flows: str, decision: Any, values: list[int], output: Any
) -> None:
    root = await parked(office, flows)
    id = root if flows is PARKS else await child_of(office, root)

    assert await office.platform.operations.resume(id, **decision) == root
    await office.turn(root)

    record = await office.record(root)
    assert (record.status, record.output) == (Status.SUCCEEDED, Value(output).encode())
    assert office.values() == values
    await nothing_is_left(office)


async def test_a_parked_effect_needs_a_decision_that_names_it(office: Office) -> None:
    id = await parked(office, PARKS)

    with pytest.raises(UserError, match=r"'note'.*--repeat.*--output"):
        await office.platform.operations.resume(id)


async def test_what_calls_a_parked_flow_points_at_it(office: Office) -> None:
    id = await parked(office, CALLS_PARKING)

    with pytest.raises(UserError, match=await child_of(office, id)):
        await office.platform.operations.resume(id, repeat=True)


async def test_there_is_nothing_to_resume_in_what_succeeded_or_is_unknown(office: Office) -> None:
    record = await office.ended(THREE, body="b")

    with pytest.raises(UserError, match="succeeded"):
        await office.platform.operations.resume(record.info.id)
    with pytest.raises(NotFound, match="unknown"):
        await office.platform.operations.resume("unknown")


async def test_a_replay_runs_everything_again_under_another_id(office: Office) -> None:
    record = await office.ended(THREE, body="b")
    office.values()

    id = await office.platform.operations.replay(record.info.id)
    await office.turn(id)

    again = await office.record(id)
    assert (again.status, again.info.replay_of, again.output) == (Status.SUCCEEDED, record.info.id, record.output)
    assert office.values() == ["a", "b", "c"]
    assert (await office.record(record.info.id)).ended_at == record.ended_at


async def test_a_replay_from_a_step_takes_over_what_came_before(office: Office) -> None:
    record = await office.ended(THREE, body="b")
    office.values()

    id = await office.platform.operations.replay(record.info.id, step="c")
    await office.turn(id)

    assert office.values() == ["c"]
    assert (await office.record(id)).output == Value(["a", "b", "c"]).encode()
    assert await office.steps(id) == {"a", "b", "c", "done"}


async def test_a_replay_takes_another_trigger_and_a_newer_version(office: Office) -> None:
    record = await office.ended(THREE, body="b")
    office.values()
    newer = await office.deploy(THREE.replace("{value: c}", "{value: new}"), version="2.0.0")

    id = await office.platform.operations.replay(record.info.id, instance=newer, trigger=Value({"body": "other"}))
    await office.turn(id)

    again = await office.record(id)
    assert (again.info.version, again.output) == ("2.0.0", Value(["a", "other", "new"]).encode())
    assert office.values() == ["a", "other", "new"]


async def test_a_replay_from_a_step_that_is_not_there_names_those_that_are(office: Office) -> None:
    record = await office.ended(THREE, body="b")

    with pytest.raises(NotFound, match="a, b, c, done"):
        await office.platform.operations.replay(record.info.id, step="d")
