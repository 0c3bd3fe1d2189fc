"""Cancelling, resuming and deciding with real stores: sub-executions go along, and no record or row is lost."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from turnout.connectors import StepError
from turnout.engine.running import Running
from turnout.errors import BackendError, Fenced, UserError
from turnout.interfaces.journal import Row
from turnout.interfaces.queue import Message
from turnout.local.operations import Operations
from turnout.model.execution import Status
from turnout.services.metadata import Metadata
from turnout.values import Value

from core.tests.engine.laboratory import Died
from core.tests.engine.test_going_on import flow
from core.tests.services.yard import Yard

CALLS = "- {id: ask, call: {flow: other}}"
POSTS = """  other:
    steps:
      - {id: first, action: world.note, with: {value: first}}
      - {id: second, action: world.note, with: {value: second}}
"""


async def parked(yard: Yard, steps: str = CALLS, more: str = POSTS, timeout: str = "") -> str:
    """An execution whose process died in the middle of an effect, and that was tried again."""
    yard.lab.world.failures["note"] = [Died()]
    id = await yard.lab.accept(flow(steps, timeout) + more)
    lease = await yard.stores.queue.claim("w", id)
    assert lease is not None
    with pytest.raises(Died):
        await yard.runner.run(lease)
    yard.lab.clock.at += 60
    await yard.run(id)
    return id


async def test_cancelling_a_parked_execution_ends_the_flows_that_it_called(yard: Yard) -> None:
    id = await parked(yard)
    assert [child.status for child in await yard.children(id)] == [Status.PARKED]

    assert await yard.operations.cancel(id)

    assert (await yard.record(id)).status is Status.CANCELLED
    assert [child.status for child in await yard.children(id)] == [Status.CANCELLED]
    assert list(await yard.stores.journal.entries(after=0, limit=10)) == []


async def test_resuming_a_caller_of_what_is_parked_names_what_to_resume(yard: Yard) -> None:
    id = await parked(yard)
    (child,) = await yard.children(id)

    with pytest.raises(UserError, match=child.info.id):
        await yard.operations.resume(id, repeat=True)


async def test_the_time_that_a_person_takes_to_decide_does_not_count(yard: Yard) -> None:
    id = await parked(yard, timeout="1h")
    (child,) = await yard.children(id)
    yard.lab.clock.at += 7200

    assert await yard.operations.resume(child.info.id, output=Value({"value": "first"})) == id
    await yard.run(id)

    assert (await yard.record(id)).status is Status.SUCCEEDED
    assert yard.lab.world.calls == [("note", "first"), ("note", "second")]


async def test_resuming_goes_on_inside_the_called_flow_that_failed(yard: Yard) -> None:
    yard.lab.world.failures["note"] = [None, StepError("no"), StepError("still no")]
    id = await yard.lab.accept(flow(CALLS) + POSTS)
    await yard.run(id)
    assert (await yard.record(id)).status is Status.FAILED

    for _ in range(2):
        await yard.operations.resume(id)
        await yard.run(id)

    assert yard.lab.world.calls == [("note", "first"), ("note", "second")]
    (child,) = await yard.children(id)
    record = await yard.record(child.info.id)
    assert (await yard.record(id)).status is record.status is Status.SUCCEEDED
    assert record.error is None
    assert [step.path for step in record.steps] == ["first", "second"]


async def test_a_called_flow_keeps_its_rows_until_its_caller_has_ended(yard: Yard) -> None:
    """Or else a caller whose process dies before it wrote what came of it would run it again."""
    id = await yard.lab.accept(flow(CALLS + "\n- {id: large, action: world.note, with: {value: last}}") + POSTS)
    yard.lab.world.failures["note"] = [None, None, Died()]
    lease = await yard.stores.queue.claim("w", id)
    assert lease is not None
    with pytest.raises(Died):
        await yard.runner.run(lease)

    (child,) = await yard.children(id)
    assert child.status is Status.SUCCEEDED
    assert await yard.stores.journal.rows(child.info.id)
    yard.lab.clock.at += 60
    await yard.run(id)
    await yard.operations.resume(id, repeat=True)
    await yard.run(id)

    assert (await yard.record(id)).status is Status.SUCCEEDED
    assert list(await yard.stores.journal.entries(after=0, limit=10)) == []


async def test_what_is_resumed_while_its_end_is_being_recorded_is_not_forgotten(yard: Yard) -> None:
    yard.lab.world.failures["look"] = [StepError("no")]
    id = await yard.lab.accept(flow("- {id: look, action: world.look, with: {value: 1}}"))
    await yard.run(id)
    forget = yard.stores.journal.forget
    resumed = False

    async def slow(executions: Any, *, through: int | None = None) -> None:
        nonlocal resumed
        if not resumed:
            resumed = True
            other = Operations(yard.stores, yard.operations._submission, fresh, yard.runner)
            await other.resume(id)
        await forget(executions, through=through)

    fresh = Metadata(yard.stores.journal, yard.stores.records, yard.lab.clock)
    yard.stores.journal.forget = slow  # type: ignore[method-assign]
    await yard.metadata.catch_up()
    yard.stores.journal.forget = forget  # type: ignore[method-assign]
    await yard.run(id)

    assert (await yard.record(id)).status is Status.SUCCEEDED


async def test_a_callback_that_comes_after_the_end_leaves_nothing_behind(yard: Yard) -> None:
    id = await yard.lab.accept(flow("- {id: look, action: world.look, with: {value: 1}}"))
    await yard.run(id)
    rows = [Row("cancel", b"\x81\xa2at\xcb?\xf0\x00\x00\x00\x00\x00\x00")]
    await yard.stores.journal.signal(id, rows[0])

    await yard.metadata.catch_up()

    assert list(await yard.stores.journal.entries(after=0, limit=10)) == []
    assert (await yard.record(id)).status is Status.SUCCEEDED


async def test_a_message_whose_execution_was_recorded_and_forgotten_is_done_with(yard: Yard) -> None:
    await yard.stores.queue.put(Message(id="gone", tenant="t"))

    await yard.run("gone")

    stats = await yard.stores.queue.stats()
    assert (stats.ready, stats.delayed, stats.leased, stats.dead) == (0, 0, 0, 0)


async def test_cancelling_whoever_runs_an_execution_is_not_swallowed(yard: Yard) -> None:
    id = await yard.lab.accept(flow("- {id: spin, code: 'export default () => { for (;;); }'}"))
    lease = await yard.stores.queue.claim("w", id)
    assert lease is not None
    task = asyncio.ensure_future(yard.runner.run(lease))
    while not any(running.steps for _, running in yard.runner._held.values()):
        await asyncio.sleep(0.01)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await yard.stores.queue.stats()).ready == 1


async def test_stopping_the_metadata_service_tells_of_a_store_that_fails_and_goes_on(
    yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(**_: Any) -> Any:
        raise BackendError("the disk is full")

    yard.stores.journal.entries = fail  # type: ignore[method-assign]

    await yard.metadata.stop()

    assert "the disk is full" in caplog.text


async def test_cancelling_an_execution_just_as_it_leaves_to_wait_is_not_lost(yard: Yard) -> None:
    id = await yard.lab.accept(flow("- {id: answer, wait: {callback: true}}"))
    release = yard.stores.queue.release

    async def late(lease: Any, **options: Any) -> bool:
        yard.runner._held[id] = (lease, running)
        await yard.operations.cancel(id)
        del yard.runner._held[id]
        return await release(lease, **options)

    lease = await yard.stores.queue.claim("w", id)
    assert lease is not None
    running = Running()
    yard.stores.queue.release = late  # type: ignore[method-assign]
    await yard.runner.run(lease)
    yard.stores.queue.release = release  # type: ignore[method-assign]

    again = await yard.stores.queue.take("w", wait_s=0)
    assert again is not None
    await yard.runner.run(again)
    assert (await yard.record(id)).status is Status.CANCELLED


async def test_whoever_lost_a_lease_can_write_to_sub_executions_no_more(yard: Yard) -> None:
    id = await yard.lab.accept(flow(CALLS) + POSTS)
    yard.lab.world.failures["note"] = [None, Died()]
    zombie = await yard.stores.queue.claim("w", id)
    assert zombie is not None
    with pytest.raises(Died):
        await yard.runner.run(zombie)
    (child,) = await yard.children(id)
    yard.lab.clock.at += 60

    await yard.recovery.reap()

    for execution in (id, child.info.id):
        with pytest.raises(Fenced):
            await yard.stores.journal.barrier(execution, zombie.token)
