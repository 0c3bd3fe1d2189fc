"""What runs for as long as its process: a fault that nobody foresaw costs one round, and is told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from turnout.engine.engine import Engine
from turnout.interfaces.clock import SystemClock
from turnout.local.timers import Timers
from turnout.services.health import Health
from turnout.services.metadata import Metadata
from turnout.services.metrics import Metrics
from turnout.services.recovery import Recovery
from turnout.services.runner import Runner
from turnout.services.submission import message_of
from turnout.testing.clock import ManualClock

from core.tests.engine.test_going_on import flow
from core.tests.services.yard import Yard

LOOK = flow("- {id: look, action: world.look, with: {value: 1}}")


class Tripping:
    """A store whose method fails once as none of ours does, and is as ever from then on."""

    def __init__(self, store: Any, method: str) -> None:
        self._store = store
        self._method = method
        self.tripped = False

    def __getattr__(self, name: str) -> Any:
        if name != self._method or self.tripped:
            return getattr(self._store, name)
        return self._trip

    async def _trip(self, *_: Any, **__: Any) -> Any:
        self.tripped = True
        raise LookupError("what nobody foresaw")


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.002)


async def test_records_are_kept_after_a_fault(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    records: Any = Tripping(yard.stores.records, "apply")
    metadata = Metadata(yard.stores.journal, records, SystemClock(), poll_s=0.01)
    timers = Timers(metadata.timers(), SystemClock())
    timers.start()
    id = await yard.lab.accept(LOOK)
    await yard.run(id)

    metadata.nudge()
    await until(lambda: records.tripped)
    async with asyncio.timeout(10):
        while await yard.stores.records.get(id) is None:
            await asyncio.sleep(0.002)

    assert "what nobody foresaw" in caplog.text
    await timers.stop()


async def test_leases_are_taken_back_after_a_fault(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    queue: Any = Tripping(yard.stores.queue, "workers")
    recovery = Recovery(queue, yard.stores.journal, SystemClock(), message_of=message_of, beat_s=0.01)
    id = await yard.lab.accept(LOOK)
    assert await yard.stores.queue.claim("w", id)
    yard.lab.clock.at += 3600

    await recovery.start()
    async with asyncio.timeout(10):
        while await yard.stores.queue.workers():
            await asyncio.sleep(0.002)

    assert queue.tripped
    assert "what nobody foresaw" in caplog.text
    await recovery.stop()


async def test_work_is_taken_after_a_fault(yard: Yard, caplog: pytest.LogCaptureFixture) -> None:
    queue: Any = Tripping(yard.stores.queue, "take_many")
    clock = ManualClock()
    runner = Runner(Engine(yard.lab.backends), queue, yard.stores.journal, clock, worker="w")
    id = await yard.lab.accept(LOOK)

    await runner.start()
    await until(lambda: queue.tripped)
    await clock.run(1.0, step=1.0)
    async with asyncio.timeout(10):
        while not await yard.stores.queue.missing([id]):
            await asyncio.sleep(0.002)

    assert "what nobody foresaw" in caplog.text
    await runner.stop()


async def test_a_worker_whose_stores_had_a_fault_is_ready_again(yard: Yard) -> None:
    journal: Any = Tripping(yard.stores.journal, "rows")
    health = Health(yard.stores.queue, journal, yard.runner, Metrics(), look_s=0.01)
    health.ready = True
    await health.start()

    at_first = health.reasons()
    await until(lambda: not health.reasons())

    assert at_first == ["the journal does not answer: LookupError"]
    await health.stop()
