"""How many specialised processes wait: more where nothing was found, fewer where nothing was touched, never beyond the ceiling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle, Limits
from turnout.local.process_launch import ProcessLaunch
from turnout.sandbox.frames import FrameType
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.pool import Pool, PoolSizes
from turnout.sandbox.process import NodeProcess
from turnout.testing.clock import ManualClock
from turnout.testing.sandbox import bundle_of

LIMITS = Limits()
LOOK_S = 10.0


class Workshop:
    """A pool of real processes, with a count of those that were started and a gate before each is prepared."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.lifeline = Lifeline()
        self.gate = asyncio.Event()
        self.gate.set()
        self.made = 0
        self.prepared: list[NodeProcess] = []
        self.broken = False
        self.pools: list[Pool] = []

    def pool(self, *, ceiling: int, floor: int = 0, renews: bool = False) -> Pool:
        sizes = PoolSizes(floor=floor, ceiling=ceiling, running=16, makers=2, patience_s=0.0, look_s=LOOK_S)
        self.pools.append(Pool(sizes, self.make, self.prepare, self.clock, renew=NodeProcess.renew if renews else None))
        return self.pools[-1]

    async def make(self, limits: Limits) -> NodeProcess:
        self.made += 1
        return await NodeProcess.start(limits, self.lifeline, ProcessLaunch())

    async def prepare(self, process: NodeProcess, bundle: CodeBundle) -> None:
        await self.gate.wait()
        if self.broken:
            process.kill()
            raise BackendError("the code could not be loaded ahead of time")
        await process.prepare(bundle, mapped=False)
        self.prepared.append(process)

    async def close(self) -> None:
        for pool in self.pools:
            await pool.close()
        self.lifeline.close()


@pytest.fixture
async def workshop() -> AsyncIterator[Workshop]:
    workshop = Workshop()
    yield workshop
    await workshop.close()


@pytest.fixture
def bundle(tmp_path: Path) -> CodeBundle:
    return bundle_of(tmp_path / "bundle", {"step.js": "export default () => 1"})


async def first_use(workshop: Workshop, pool: Pool, bundle: CodeBundle, *, at_once: int, tenant: str = "acme") -> None:
    """Acquire that many before any is prepared, release them, and let the pool make what it wants."""
    workshop.gate.clear()
    processes = [await pool.acquire(tenant, bundle, LIMITS) for _ in range(at_once)]
    workshop.gate.set()
    for process in processes:
        pool.release(process)
    await pool.settle()


async def use(pool: Pool, bundle: CodeBundle) -> None:
    """Acquire one, release it, and let the pool make what it wants."""
    pool.release(await pool.acquire("acme", bundle, LIMITS))
    await pool.settle()


@pytest.mark.parametrize(("at_once", "depth"), [(1, 1), (2, 2), (3, 4), (4, 6)])
async def test_the_depth_doubles_when_nothing_is_found(
    workshop: Workshop, bundle: CodeBundle, at_once: int, depth: int
) -> None:
    pool = workshop.pool(ceiling=7)

    await first_use(workshop, pool, bundle, at_once=at_once)

    assert pool.warm == depth


@pytest.mark.parametrize("renews", [True, False])
async def test_what_comes_back_is_not_made_beside(workshop: Workshop, bundle: CodeBundle, renews: bool) -> None:
    pool = workshop.pool(ceiling=7, renews=renews)

    processes = [await pool.acquire("acme", bundle, LIMITS) for _ in range(3)]
    for process in processes:
        pool.release(process, sound=True)
    await pool.settle()
    again = [await pool.acquire("acme", bundle, LIMITS) for _ in range(3)]

    assert (workshop.made == 3) == renews
    assert (set(again) == set(processes)) == renews


async def test_the_one_used_last_is_used_again_first(workshop: Workshop, bundle: CodeBundle) -> None:
    pool = workshop.pool(ceiling=7, renews=True)
    processes = [await pool.acquire("acme", bundle, LIMITS) for _ in range(2)]
    for process in processes:
        pool.release(process, sound=True)
        await pool.settle()

    taken = [await pool.acquire("acme", bundle, LIMITS) for _ in range(2)]

    assert taken == processes[::-1]


async def test_who_is_served_from_the_shelf_leaves_it_as_deep(workshop: Workshop, bundle: CodeBundle) -> None:
    pool = workshop.pool(ceiling=7)

    await first_use(workshop, pool, bundle, at_once=1)
    for _ in range(2):
        await use(pool, bundle)

    assert pool.warm == 1
    assert workshop.made == 4


async def test_what_nobody_touches_is_halved_and_at_last_forgotten(workshop: Workshop, bundle: CodeBundle) -> None:
    pool = workshop.pool(ceiling=7)
    await first_use(workshop, pool, bundle, at_once=3)
    seen = []

    for _ in range(6):
        await workshop.clock.run(LOOK_S, step=LOOK_S)
        await pool.settle()
        seen.append(pool.warm)

    assert seen == [4, 2, 1, 1, 1, 0]


async def test_a_new_tenant_finds_room_on_a_full_shelf(workshop: Workshop, bundle: CodeBundle) -> None:
    pool = workshop.pool(ceiling=3)
    await first_use(workshop, pool, bundle, at_once=4)
    await first_use(workshop, pool, bundle, at_once=1, tenant="beta")
    await first_use(workshop, pool, bundle, at_once=1, tenant="gamma")

    assert pool.warm == 3
    assert await pool.acquire("gamma", bundle, LIMITS) in workshop.prepared


async def test_who_comes_takes_the_process_that_is_being_prepared(workshop: Workshop, bundle: CodeBundle) -> None:
    pool = workshop.pool(ceiling=2)
    await first_use(workshop, pool, bundle, at_once=1)
    workshop.gate.clear()
    pool.release(await pool.acquire("acme", bundle, LIMITS))
    await workshop.clock.settle()
    made = workshop.made

    coming = asyncio.ensure_future(pool.acquire("acme", bundle, LIMITS))
    await workshop.clock.settle()
    assert workshop.made == made
    workshop.gate.set()

    assert await coming is workshop.prepared[1]


async def test_code_that_cannot_be_prepared_is_let_be_for_a_while(workshop: Workshop, bundle: CodeBundle) -> None:
    pool = workshop.pool(ceiling=3)
    workshop.broken = True
    await first_use(workshop, pool, bundle, at_once=1)
    made = workshop.made
    workshop.broken = False

    for _ in range(3):
        await use(pool, bundle)
    assert workshop.made == made + 3
    assert not workshop.prepared

    for _ in range(7):
        await workshop.clock.run(LOOK_S, step=LOOK_S)
        await use(pool, bundle)
    assert workshop.prepared


async def test_a_process_that_died_on_the_shelf_is_passed_over(workshop: Workshop, bundle: CodeBundle) -> None:
    pool = workshop.pool(ceiling=2)
    await first_use(workshop, pool, bundle, at_once=1)
    await workshop.prepared[0].end()

    process = await pool.acquire("acme", bundle, LIMITS)

    assert process.alive


async def test_when_a_process_has_ended_its_socket_is_closed(workshop: Workshop) -> None:
    process = await workshop.make(LIMITS)

    await process.end()

    assert process.channel.closed.done()


async def test_a_process_that_computes_while_it_waits_is_ended_and_not_made_again_at_once(
    workshop: Workshop, tmp_path: Path
) -> None:
    forged = f"Buffer.from([{FrameType.PREPARED:d}, ...Array(16).fill(0)])"
    source = f"import fs from 'node:fs'; fs.writeSync(3, {forged}); for (;;);"
    busy = bundle_of(tmp_path / "busy", {"step.js": source})
    pool = workshop.pool(ceiling=4)
    await first_use(workshop, pool, busy, at_once=1)
    (process,) = workshop.prepared
    async with asyncio.timeout(30):
        while process.cpu_ms < 1500:
            await asyncio.sleep(0.01)

    workshop.clock.advance(LOOK_S)
    async with asyncio.timeout(30):
        await process.exited
    await pool.settle()

    assert pool.warm == 0
    assert workshop.prepared == [process]
