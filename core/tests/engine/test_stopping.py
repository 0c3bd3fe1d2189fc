"""Stopping at the worst moment: nothing that was noted is lost, nothing ends in a way that nobody decided."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest
from pydantic import field_validator
from turnout.codec import decode_event
from turnout.connectors import ActionContext, ConnectionType, Connector, Effect, Inputs
from turnout.engine.backends import Backends
from turnout.engine.engine import Engine
from turnout.engine.outcome import Finished, Suspended
from turnout.engine.pen import Pen
from turnout.engine.resources import Resources
from turnout.engine.running import Running
from turnout.errors import BackendError, NotFound, StepError
from turnout.interfaces.journal import Row
from turnout.local.memory_journal import MemoryJournal
from turnout.model.events import Ended, Event, Logged, StepEnded, Waiting
from turnout.model.execution import Status, StepStatus

from core.tests.engine.laboratory import Died, Laboratory
from core.tests.engine.test_going_on import flow


def line(message: str) -> Logged:
    return Logged(at=1.0, level="info", message=message)


async def open_pen(journal: MemoryJournal, seen: list[Event] | None = None) -> Pen:
    await journal.begin("e", [Row("accepted", b"{}")])
    await journal.open("e", 1)
    return Pen(journal, "e", 1, observe=lambda _, event: seen.append(event) if seen is not None else None)


async def messages(journal: MemoryJournal) -> list[str]:
    events = [decode_event(row.kind, row.body) for row in (await journal.rows("e"))[1:]]
    return [event.message for event in events if isinstance(event, Logged)]


async def test_rows_are_not_lost_with_a_writer_that_is_cancelled_while_content_is_stored() -> None:
    journal = MemoryJournal()
    pen = await open_pen(journal)
    storing: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
    pen.note(line("first"))
    pen.note(storing)
    writer = asyncio.ensure_future(pen.send(line("third")))
    await asyncio.sleep(0)

    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    storing.set_result(line("second"))
    await pen.barrier()

    assert await messages(journal) == ["first", "second", "third"]


async def test_content_that_cannot_be_stored_fails_every_later_write_not_just_the_first() -> None:
    journal = MemoryJournal()
    pen = await open_pen(journal)
    storing: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
    storing.set_exception(BackendError("the disk is full"))
    pen.note(storing)

    for _ in range(2):
        with pytest.raises(BackendError, match="the disk is full"):
            await pen.barrier()
    await pen.close()

    assert await messages(journal) == []


async def test_observers_hear_of_each_event_once_although_two_barriers_wait_at_the_same_time() -> None:
    seen: list[Event] = []
    pen = await open_pen(MemoryJournal(), seen)

    await asyncio.gather(*(pen.barrier(line(str(number))) for number in range(5)))

    assert [event.message for event in seen if isinstance(event, Logged)] == ["0", "1", "2", "3", "4"]


async def test_a_full_disk_fails_the_run_and_no_effect_is_told_what_was_not_stored(lab: Laboratory) -> None:
    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(lab.payloads, name)

        async def put(self, tenant: str, chunks: Any) -> Any:
            raise BackendError("the disk is full")

    id = await lab.accept(
        flow("""
- {id: large, action: world.compute, with: {value: "${{ trigger.body }}"}}
- id: both
  parallel:
    left: [{id: twice, action: world.compute, with: {value: ["${{ steps.large }}", 1]}}]
    right: [{id: thrice, action: world.compute, with: {value: ["${{ steps.large }}", 2]}}]
- {id: post, action: world.keyed, with: {value: 1}}
"""),
        "x" * 300_000,
    )
    full: Any = Full()

    with pytest.raises(BackendError, match="the disk is full"):
        await lab.again(id, change=lambda backends: replace(backends, payloads=full))

    assert lab.world.count("keyed") == 0


DEEP = """
- {id: first, call: {flow: middle}}
- {id: done, stop: {output: fine}}
"""
MIDDLE = """  middle:
    steps: [{id: second, call: {flow: inner}}]
  inner:
    steps: [{id: spin, code: 'export default (input) => { while (input) {} }', with: %s}]
"""


async def test_handing_an_execution_back_does_not_end_the_flows_that_its_flows_call(lab: Laboratory) -> None:
    id = await lab.accept(flow(DEEP) + MIDDLE % "true")
    task = asyncio.ensure_future(lab.again(id))
    while not any(row.row.kind == "accepted" and row.execution.count("-") == 2 for row in await entries(lab)):
        await asyncio.sleep(0.01)

    assert lab.running is not None
    lab.running.leave()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not [row for row in await entries(lab) if row.row.kind == "ended"]


async def entries(lab: Laboratory) -> Any:
    return await lab.journal.entries(after=0, limit=10_000)


async def test_an_execution_that_is_let_go_before_it_began_does_not_begin(lab: Laboratory) -> None:
    id = await lab.accept(flow("- {id: post, action: world.note, with: {value: 1}}"))
    running = Running()
    running.leave()

    with pytest.raises(asyncio.CancelledError):
        await Engine(lab.backends).run(id, token=1, attempt=1, worker="w", running=running)

    assert lab.world.calls == []


async def test_cancelling_while_the_end_is_written_does_not_change_it(lab: Laboratory) -> None:
    id = await lab.accept(flow("- {id: look, action: world.look, with: {value: 1}}"))
    running = Running()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(lab.journal, name)

        async def barrier(self, execution: str, token: int) -> None:
            running.cancel("too late")
            await asyncio.sleep(0)
            await lab.journal.barrier(execution, token)

    journal: Any = Slow()
    engine = Engine(replace(lab.backends, journal=journal))
    outcome = await engine.run(id, token=1, attempt=1, worker="w", running=running)

    assert isinstance(outcome, Finished)
    assert outcome.status is Status.SUCCEEDED
    assert [event.status for event in await lab.history(id) if isinstance(event, Ended)] == [Status.SUCCEEDED]


async def test_what_a_called_flow_was_told_is_durable_before_it_runs(lab: Laboratory) -> None:
    rolls = iter(range(100))
    dice = Connector("dice", connection_required=False)

    @dice.action(effect=Effect.PURE)
    async def roll(context: ActionContext, inputs: Inputs) -> Any:
        """Another number each time."""
        return next(rolls)

    lab.connectors["dice"] = dice
    text = flow("""
- {id: number, action: dice.roll}
- {id: tell, call: {flow: teller, with: "${{ steps.number }}"}}
- {id: again, action: world.keyed, with: {value: "${{ steps.number }}"}}
""")
    teller = '  teller:\n    steps: [{id: post, action: world.keyed, with: {value: "${{ trigger.body }}"}}]\n'
    lab.world.failures["keyed"] = [Died()]
    id = await lab.accept(text + teller)
    with pytest.raises(Died):
        await lab.again(id)

    await lab.again(id)

    assert {value for name, value in lab.world.calls if name == "keyed"} == {0}


async def test_a_step_that_calls_a_waiting_flow_keeps_its_time_out(lab: Laboratory) -> None:
    text = flow("- {id: ask, timeout: 1h, call: {flow: asker}}")
    id = await lab.accept(text + "  asker:\n    steps: [{id: answer, wait: {callback: true}}]\n")
    begun = lab.clock.at

    suspended = await lab.again(id)
    assert suspended == Suspended(until=begun + 3600)
    lab.clock.at += 1800
    assert await lab.again(id) == Suspended(until=begun + 3600)
    lab.clock.at += 1800
    outcome = await lab.again(id)

    assert isinstance(outcome, Finished)
    assert outcome.error is not None
    assert outcome.error.kind == "timeout"
    children = [event for execution, event in lab.events if execution != id and isinstance(event, Ended)]
    assert [ended.status for ended in children] == [Status.CANCELLED]


async def test_each_attempt_of_a_step_with_steps_inside_has_the_whole_time_out(lab: Laboratory) -> None:
    lab.world.failures["look"] = [StepError("not yet")]

    outcome = await lab.run(
        flow("""
- id: each
  timeout: 3s
  retry: {attempts: 2, delay: 5s, backoff: constant, jitter: 0}
  loop:
    over: [1]
    steps: [{id: look, action: world.look, with: {value: 1}}]
""")
    )

    assert outcome.status is Status.SUCCEEDED


async def test_flows_called_by_called_flows_end_with_the_first(lab: Laboratory) -> None:
    text = flow("""
- id: both
  parallel:
    wait: [{id: first, call: {flow: middle}}]
    fail:
      - {id: short, wait: {for: 1s}}
      - {id: bad, stop: {error: broken}}
""")
    inner = "  middle:\n    steps: [{id: second, call: {flow: inner}}]\n"
    inner += "  inner:\n    steps: [{id: answer, wait: {callback: true}}]\n"

    outcome = await lab.run(text + inner)

    assert outcome.status is Status.FAILED
    ends = {execution.count("-"): event.status for execution, event in lab.events if isinstance(event, Ended)}
    assert ends == {0: Status.FAILED, 1: Status.CANCELLED, 2: Status.CANCELLED}
    assert [event for execution, event in lab.events if execution.count("-") == 2 and isinstance(event, Waiting)]


async def test_whoever_waits_for_a_resource_makes_it_when_its_maker_is_cancelled() -> None:
    resources = Resources()
    never: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def hang() -> str:
        return await never

    async def make() -> str:
        return "made"

    async def close(_: str) -> None:
        return None

    maker = asyncio.ensure_future(resources.get("key", hang, close))
    await asyncio.sleep(0)
    waiter = asyncio.ensure_future(resources.get("key", make, close))
    await asyncio.sleep(0)

    maker.cancel()

    assert await waiter == "made"
    await resources.close()


async def test_details_that_are_no_json_do_not_hide_the_error(lab: Laboratory) -> None:
    lab.world.failures["look"] = [StepError("refused", kind="http_400", details=object())]

    outcome = await lab.run(flow("- {id: look, action: world.look, with: {value: 1}}"))

    assert outcome.error.kind == "http_400"
    ends = [event for event in (await lab.history(lab.events[0][0])) if isinstance(event, StepEnded)]
    assert [end.status for end in ends] == [StepStatus.FAILED]


async def test_a_called_flow_without_a_time_out_of_its_own_is_late_with_its_caller(lab: Laboratory) -> None:
    text = flow("- {id: ask, call: {flow: asker}}", timeout="1h")
    id = await lab.accept(text + "  asker:\n    steps: [{id: answer, wait: {callback: true}}]\n")
    await lab.again(id)
    child = next(execution for execution, _ in lab.events if execution != id)
    lab.clock.at += 3600
    backends: Backends = lab.backends

    outcome = await Engine(backends).run(child, token=9, attempt=1, worker="w", running=Running())

    assert isinstance(outcome, Finished)
    assert outcome.error is not None
    assert outcome.error.kind == "timeout"


async def test_what_a_connector_says_of_a_connection_it_refuses_does_not_show_its_values(lab: Laboratory) -> None:
    class Strict(ConnectionType):
        key: str

        @field_validator("key")
        @classmethod
        def check(cls, key: str) -> str:
            raise ValueError(f"{key!r} is no key of ours")

    shop = Connector("shop", connections={"key": Strict})

    @shop.action(effect=Effect.READ)
    async def look(context: ActionContext, inputs: Inputs) -> Any:
        """Look."""
        return context.connection.key

    lab.connectors["shop"] = shop
    lab.connections["shop"] = {"key": "hunter22-of-the-customer"}
    text = flow("- {id: look, action: shop.look, connection: shop}")

    outcome = await lab.run(text.replace("flows:", "connections: {shop: {connector: shop}}\nflows:"))

    assert outcome.error.kind == "connection"
    assert "is no key of ours" in outcome.error.message
    assert "hunter22" not in outcome.error.message


async def test_blocking_actions_that_hang_do_not_hold_up_the_stores() -> None:
    resources = Resources()
    release = threading.Event()
    hanging = [asyncio.ensure_future(resources.in_thread(release.wait)) for _ in range(40)]
    await asyncio.sleep(0)

    assert await asyncio.wait_for(asyncio.to_thread(lambda: "stored"), 10) == "stored"

    release.set()
    await asyncio.gather(*hanging)
    await resources.close()


@pytest.mark.parametrize("error", [NotFound("order", "7"), KeyError("7")])
async def test_any_error_that_an_action_raises_is_the_steps_failure(lab: Laboratory, error: Exception) -> None:
    lab.world.failures["look"] = [error]

    outcome = await lab.run(flow("- {id: look, action: world.look, with: {value: 1}}"))

    assert outcome.status is Status.FAILED
    assert outcome.error.kind == type(error).__name__
