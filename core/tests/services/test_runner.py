"""The runner under leases: it takes as much as it has room for, hands back what it cannot finish, and lets go of the lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from turnout.connectors import ActionContext, Connector, Effect, Inputs
from turnout.engine.engine import Engine
from turnout.engine.history import History
from turnout.interfaces.clock import SystemClock
from turnout.interfaces.queue import Lease
from turnout.interfaces.service import Invocation
from turnout.model.execution import ExecutionInfo, Status
from turnout.services.runner import Runner, RunnerOptions

from core.tests.engine.test_going_on import flow
from core.tests.services.yard import Yard

LOOK = flow("- {id: look, action: world.look, with: {value: 1}}")
HOLD = flow("- {id: sum, action: world.compute, with: {value: 1}}\n- {id: hold, action: gate.hold}")


class Nothing(Inputs):
    pass


class Gate:
    """An action that waits until `open` is set; with `stubborn` it does not stop when it is told to."""

    def __init__(self, yard: Yard) -> None:
        self.open, self.entered, self.stubborn = asyncio.Event(), 0, False
        connector = Connector("gate", connection_required=False)

        async def hold(context: ActionContext, inputs: Nothing) -> Any:
            """Hold."""
            self.entered += 1
            while True:
                try:
                    await self.open.wait()
                    return {"held": True}
                except asyncio.CancelledError:
                    if not self.stubborn:
                        raise

        hold.__annotations__ = {"context": ActionContext, "inputs": Nothing, "return": Any}
        connector.action(effect=Effect.READ, name="hold")(hold)
        yard.lab.connectors["gate"] = connector


class Seen:
    def __init__(self) -> None:
        self.waits: list[float] = []
        self.ends: list[Status] = []

    def dispatched(self, waited_s: float) -> None:
        self.waits.append(waited_s)

    def ended(self, info: ExecutionInfo, status: Status, took_s: float) -> None:
        self.ends.append(status)

    def failed(self, of: str) -> None:
        raise AssertionError(of)


def worker(yard: Yard, *, name: str = "w", watch: Seen | None = None, **options: Any) -> Runner:
    """A worker on the yard's stores, its clock the machine's."""
    engine, stores = Engine(yard.lab.backends), yard.stores
    return Runner(
        engine,
        stores.queue,
        stores.journal,
        SystemClock(),
        worker=name,
        options=RunnerOptions(**options),
        watch=watch,
    )


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.001)


async def test_it_takes_no_more_than_it_has_room_for(yard: Yard) -> None:
    gate, runner = Gate(yard), worker(yard, concurrency=3, drain_s=30)
    for _ in range(5):
        await yard.lab.accept(HOLD)

    await runner.start()
    await until(lambda: gate.entered == 3)
    stats = await yard.stores.queue.stats()
    gate.open.set()
    await until(lambda: gate.entered == 5)
    await runner.stop()

    assert (stats.leased, stats.ready) == (3, 2)
    assert (await yard.stores.queue.stats()).ready == 0


async def test_what_is_handed_back_has_its_progress_in_the_journal(yard: Yard) -> None:
    gate, runner = Gate(yard), worker(yard, drain_s=0)
    id = await yard.lab.accept(HOLD)
    await runner.start()
    await until(lambda: gate.entered == 1)

    await runner.stop()

    ends = History.of(await yard.stores.journal.rows(id)).ends
    assert list(ends) == ["sum"]
    assert runner.handed_back == 1
    assert (await yard.stores.queue.stats()).ready == 1
    gate.open.set()
    await yard.run(id)
    assert (await yard.record(id)).status is Status.SUCCEEDED
    assert yard.lab.world.count("compute") == 1


async def test_what_does_not_stop_is_handed_back_all_the_same(yard: Yard) -> None:
    gate, runner = Gate(yard), worker(yard, drain_s=0)
    gate.stubborn = True
    id = await yard.lab.accept(HOLD)
    await runner.start()
    await until(lambda: gate.entered == 1)

    await runner.stop()

    lease = await yard.stores.queue.take("other", wait_s=0)
    assert lease is not None
    assert lease.message.id == id
    gate.stubborn = False
    gate.open.set()


async def test_somebody_who_hurries_ends_the_drain(yard: Yard) -> None:
    gate, runner = Gate(yard), worker(yard, drain_s=3600)
    await yard.lab.accept(HOLD)
    await runner.start()
    await until(lambda: gate.entered == 1)
    stopping = asyncio.ensure_future(runner.stop())
    await until(lambda: runner.draining)

    runner.hurry()
    async with asyncio.timeout(30):
        await stopping

    assert runner.handed_back == 1


async def test_what_is_waited_for_and_what_ends_is_told_once(yard: Yard) -> None:
    seen = Seen()
    runner = worker(yard, watch=seen)
    id = await yard.lab.accept(flow("- {id: answer, wait: {callback: true}}"))
    for _ in range(2):
        lease = await yard.stores.queue.claim("w", id)
        assert lease is not None
        await runner.run(lease)
    quick = await yard.stores.queue.claim("w", await yard.lab.accept(LOOK))
    assert quick is not None
    await runner.run(quick)

    assert len(seen.waits) == 2
    assert seen.ends == [Status.SUCCEEDED]


async def test_a_lost_lease_stops_what_ran_under_it_and_not_what_runs_under_the_next(yard: Yard) -> None:
    gate, runner = Gate(yard), worker(yard)
    id = await yard.lab.accept(HOLD)
    leases: list[Lease] = []
    runs = []
    for count in (1, 2):
        yard.lab.clock.at += 60
        lease = await yard.stores.queue.claim("w", id)
        assert lease is not None
        leases.append(lease)
        runs.append(asyncio.ensure_future(runner.run(lease)))
        await until(lambda count=count: gate.entered == count)  # type: ignore[misc]

    runner._lost(leases[0])
    first = await runs[0]
    gate.open.set()
    second = await runs[1]

    assert first is None
    assert second is not None
    assert (await yard.record(id)).status is Status.SUCCEEDED


async def test_of_those_that_may_kill_their_worker_one_runs_at_a_time_and_the_others_lose_no_attempt(
    yard: Yard,
) -> None:
    gate, runner = Gate(yard), worker(yard, suspect_attempt=3, drain_s=30)
    for _ in range(3):
        await yard.lab.accept(HOLD)
    fresh = await yard.lab.accept(LOOK)
    for _ in range(2):
        for lease in await yard.stores.queue.take_many("died", limit=3, wait_s=0):
            await yard.stores.queue.fail(lease, reason="its worker died")

    await runner.start()
    await until(lambda: gate.entered == 1 and yard.lab.world.count("look") == 1 and runner.running == 1)
    stats = await yard.stores.queue.stats()
    while stats.leased > 1:  # what it may not run beside another it is just handing back
        await asyncio.sleep(0)
        stats = await yard.stores.queue.stats()
    gate.open.set()
    await until(lambda: not runner.running)
    await runner.stop()

    assert (stats.leased, stats.ready + stats.delayed) == (1, 2)
    assert (await yard.record(fresh)).status is Status.SUCCEEDED
    assert (await yard.stores.queue.stats()).dead == 0


async def test_a_call_runs_what_the_queue_has_and_ends_with_it(yard: Yard) -> None:
    ids = [await yard.lab.accept(LOOK) for _ in range(40)]
    runner = worker(yard, concurrency=3)

    await runner.work(Invocation(remaining_s=lambda: 900.0))

    assert [(await yard.record(id)).status for id in ids] == [Status.SUCCEEDED] * 40
    stats = await yard.stores.queue.stats()
    assert (stats.ready, stats.leased, runner.running) == (0, 0, 0)


async def test_a_call_that_is_given_leases_takes_no_more(yard: Yard) -> None:
    mine, others = await yard.lab.accept(LOOK), await yard.lab.accept(LOOK)
    lease = await yard.stores.queue.claim("w", mine)
    assert lease is not None
    runner = worker(yard)

    await runner.work(Invocation(remaining_s=lambda: 900.0), [lease])
    await runner.work(Invocation(remaining_s=lambda: 900.0), [])

    assert (await yard.record(mine)).status is Status.SUCCEEDED
    assert [one.message.id for one in await yard.stores.queue.take_many("other", limit=5, wait_s=0)] == [others]


async def test_what_a_call_has_no_time_for_goes_on_in_the_next_from_where_it_was(yard: Yard) -> None:
    gate, runner = Gate(yard), worker(yard)
    id = await yard.lab.accept(HOLD)
    left_s = 900.0
    calling = asyncio.ensure_future(runner.work(Invocation(remaining_s=lambda: left_s)))
    await until(lambda: gate.entered == 1)

    left_s = 5.0
    async with asyncio.timeout(30):
        await calling

    assert runner.handed_back == 1
    stats = await yard.stores.queue.stats()
    assert (stats.ready, stats.leased) == (1, 0)
    gate.open.set()
    await runner.work(Invocation(remaining_s=lambda: 900.0))
    assert (await yard.record(id)).status is Status.SUCCEEDED
    assert yard.lab.world.count("compute") == 1


async def test_a_call_without_time_takes_nothing(yard: Yard) -> None:
    await yard.lab.accept(LOOK)

    await worker(yard).work(Invocation(remaining_s=lambda: 1.0))

    assert (await yard.stores.queue.stats()).ready == 1


async def test_recovery_in_calls_takes_back_what_a_dead_worker_held(yard: Yard) -> None:
    id = await yard.lab.accept(LOOK)
    assert await yard.stores.queue.claim("died", id) is not None
    yard.lab.clock.at += 60

    await yard.recovery.work(Invocation())

    assert (await yard.stores.queue.stats()).ready == 1
    await yard.run(id)
    assert (await yard.record(id)).status is Status.SUCCEEDED
