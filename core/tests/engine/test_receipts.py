"""What stood around an execution's code is in its journal once it ends, is parked, waits or is handed back; and in its record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from turnout.connectors import ActionContext, Connector, Effect, Inputs
from turnout.engine.outcome import Finished, Suspended
from turnout.interfaces.sandbox import CodeBundle, Job, Limits, Outcome, SandboxHandle, Success
from turnout.model.events import Ended, Event, Isolated, Waiting
from turnout.model.execution import SandboxReceipt, Status
from turnout.model.payload import Encoded
from turnout.services.metadata import change_of

from .laboratory import Laboratory


class Handle(SandboxHandle):
    """Counts; what it does is in the module's name."""

    def __init__(self, sandbox: Receipts) -> None:
        self.sandbox = sandbox
        self.jobs = 0
        self.spent = False
        self.released = False

    @property
    def usable(self) -> bool:
        return not self.spent

    async def run(self, job: Job) -> Outcome:
        self.jobs += 1
        if self.sandbox.hangs:
            self.sandbox.begun.set()
            await asyncio.Event().wait()
        self.spent = self.sandbox.one_shot
        return Success(output=Encoded(json=b"1"), cpu_ms=0, network=False)

    @property
    def returns(self) -> bool:
        return self.sandbox.returns

    def receipt(self) -> SandboxReceipt:
        number = self.sandbox.handles.index(self)
        # What is known after its end is what counts.
        cpu_ms = 10.0 if self.released else 1.0
        return SandboxReceipt(
            sandbox="counted", uid=number, jobs=self.jobs, cpu_ms=cpu_ms, hosts=(f"{number % 3}.example:443",)
        )

    async def release(self) -> None:
        self.released = True


class Receipts:
    def __init__(self, *, one_shot: bool = False, hangs: bool = False, returns: bool = False) -> None:
        self.returns = returns
        self.handles: list[Handle] = []
        self.one_shot = one_shot
        self.hangs = hangs
        self.begun = asyncio.Event()

    async def acquire(self, tenant: str, bundle: CodeBundle, limits: Limits) -> SandboxHandle:
        self.handles.append(Handle(self))
        return self.handles[-1]


def receipts_in(events: Sequence[Event]) -> list[SandboxReceipt]:
    return [event.receipt for event in events if isinstance(event, Isolated)]


def lab_with(lab: Laboratory, sandbox: Any) -> Laboratory:
    lab.backends = replace(lab.backends, sandbox=sandbox)
    return lab


def flow(*steps: str) -> str:
    listed = "\n".join(f"      - {step}" for step in steps)
    return f"integration: i\nversion: 1.0.0\nflows:\n  main:\n    steps:\n{listed}\n"


CODE = "{id: %s, code: export default () => 1}"


async def test_the_receipt_is_written_with_the_end_and_observed(lab: Laboratory) -> None:
    lab_with(lab, Receipts())
    id = await lab.accept(flow(CODE % "a", CODE % "b"))

    await lab.again(id)

    *_, isolated, ended = await lab.history(id)
    assert isinstance(isolated, Isolated)
    assert isinstance(ended, Ended)
    assert (isolated.receipt.sandbox, isolated.receipt.jobs, isolated.receipt.cpu_ms) == ("counted", 2, 1.0)
    assert [event for _, event in lab.events if isinstance(event, Isolated)] == [isolated]


async def test_an_execution_without_code_has_none(lab: Laboratory) -> None:
    lab_with(lab, Receipts())
    id = await lab.accept(flow("{id: a, stop: {output: 1}}"))

    await lab.again(id)

    assert receipts_in(await lab.history(id)) == []


async def test_a_sandbox_that_is_spent_is_told_as_it_was_at_its_end(lab: Laboratory) -> None:
    lab_with(lab, Receipts(one_shot=True))
    id = await lab.accept(flow(CODE % "a", CODE % "b"))

    await lab.again(id)

    told = receipts_in(await lab.history(id))
    assert [(receipt.uid, receipt.jobs, receipt.cpu_ms) for receipt in told] == [(0, 1, 10.0), (1, 1, 10.0)]


@pytest.mark.parametrize("returns", [True, False])
async def test_a_sandbox_that_serves_others_is_let_go_of_after_the_last_code(lab: Laboratory, returns: bool) -> None:
    sandbox = Receipts(returns=returns)
    seen: list[bool] = []
    connector = Connector("eyes", connection_required=False)

    @connector.action(effect=Effect.PURE)
    async def look(context: ActionContext, inputs: Inputs) -> None:
        """Look."""
        await asyncio.sleep(0.01)
        seen.append(sandbox.handles[-1].released)

    lab.connectors["eyes"] = connector
    lab_with(lab, sandbox)
    inner = "{id: b, loop: {while: 'index < `1`', limit: 3, steps: [%s]}}" % (CODE % "c")
    id = await lab.accept(flow(CODE % "a", "{id: d, action: eyes.look}", inner, "{id: e, action: eyes.look}"))

    await lab.again(id)

    assert seen == [False, returns]
    [told] = receipts_in(await lab.history(id))
    assert (told.jobs, told.cpu_ms) == (2, 1.0)


async def test_each_part_of_an_execution_that_waits_has_its_own(lab: Laboratory) -> None:
    sandbox = Receipts()
    lab_with(lab, sandbox)
    id = await lab.accept(flow(CODE % "a", "{id: nap, wait: 1h}", CODE % "b"))

    assert isinstance(await lab.again(id), Suspended)
    *_, isolated, waiting = await lab.history(id)
    lab.clock.at += 3601
    await lab.again(id)

    assert isinstance(isolated, Isolated)
    assert isinstance(waiting, Waiting)
    assert [receipt.uid for receipt in receipts_in(await lab.history(id))] == [0, 1]


async def test_an_execution_that_is_cancelled_tells_of_the_sandbox_that_was_killed(lab: Laboratory) -> None:
    sandbox = Receipts(hangs=True)
    lab_with(lab, sandbox)
    id = await lab.accept(flow(CODE % "a"))
    running = asyncio.ensure_future(lab.again(id))
    await asyncio.wait_for(sandbox.begun.wait(), 10)

    assert lab.running is not None
    lab.running.cancel("enough")

    assert (await running).status is Status.CANCELLED
    [told] = receipts_in(await lab.history(id))
    assert (told.jobs, told.cpu_ms) == (1, 10.0)


async def test_what_is_handed_back_tells_of_its_sandboxes(lab: Laboratory) -> None:
    sandbox = Receipts(hangs=True)
    lab_with(lab, sandbox)
    id = await lab.accept(flow(CODE % "a"))
    running = asyncio.ensure_future(lab.again(id))
    await asyncio.wait_for(sandbox.begun.wait(), 10)

    assert lab.running is not None
    lab.running.hand_back()

    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(receipts_in(await lab.history(id))) == 1


async def test_of_very_many_sandboxes_the_last_receipt_stands_for_the_rest(lab: Laboratory) -> None:
    lab_with(lab, Receipts(one_shot=True))
    each = "{id: each, loop: {while: 'index < `25`', limit: 30, steps: [%s]}}" % (CODE % "a")
    id = await lab.accept(flow(each))

    outcome = await lab.again(id)

    assert isinstance(outcome, Finished)
    told = receipts_in(await lab.history(id))
    assert len(told) == 20
    assert sum(receipt.jobs for receipt in told) == 25
    assert sum(receipt.cpu_ms for receipt in told) == 250.0
    assert told[-1].uid == -1
    assert set(told[-1].hosts) == {"0.example:443", "1.example:443", "2.example:443"}


def test_the_record_gets_the_receipt() -> None:
    receipt = SandboxReceipt(sandbox="chroot", jobs=1)

    assert change_of("e1", Isolated(at=1.0, receipt=receipt)).sandboxes == (receipt,)


async def test_the_real_sandbox_is_measured(lab: Laboratory) -> None:
    id = await lab.accept(flow(CODE % "a", CODE % "b"))

    await lab.again(id)

    [told] = receipts_in(await lab.history(id))
    assert (told.sandbox, told.jobs, told.memory_bytes) == ("process", 2, lab.engine.limits.memory_bytes)
    assert told.peak_memory_bytes > 20_000_000
    assert told.cpu_ms > 0
