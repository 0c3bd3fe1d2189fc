"""How many wait for how many workers: counted where workers come, go and die, published where none is left."""

from __future__ import annotations

from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.metric_sink import GAUGES, MetricSink, QueueGauges
from turnout.interfaces.queue import Message
from turnout.interfaces.service import Invocation
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.memory_queue import MemoryQueue
from turnout.services.backlog import Backlog, Presence, Presences
from turnout.testing.clock import ManualClock


class Kept(MetricSink):
    def __init__(self) -> None:
        self.published: list[QueueGauges] = []
        self.closed = False

    async def publish(self, gauges: QueueGauges) -> None:
        self.published.append(gauges)

    async def close(self) -> None:
        self.closed = True


class Yard:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.catalog = MemoryCatalog()
        self.queue = MemoryQueue(clock=self.clock)
        self.presences = Presences(self.catalog, self.clock)
        self.sink = Kept()
        self.opened = 0

    async def open_sink(self) -> MetricSink:
        self.opened += 1
        return self.sink

    def backlog(self) -> Backlog:
        return Backlog("shop-production", self.queue, self.presences, self.clock, self.open_sink)

    def worker(self, name: str) -> Presence:
        return Presence(self.presences, name, self.clock)


@pytest.fixture
def yard() -> Yard:
    return Yard()


async def tick(backlog: Backlog) -> None:
    [timer] = backlog.timers()
    await timer.handle(Invocation())


async def test_what_is_due_and_what_runs_is_divided_by_the_workers(yard: Yard) -> None:
    for number in range(7):
        await yard.queue.put(Message(id=f"e{number}", tenant="acme"))
    await yard.queue.put(Message(id="later", tenant="acme"), delay_s=60)
    assert await yard.queue.take("w1", wait_s=0) is not None
    workers = [yard.worker("w1"), yard.worker("w2")]
    for worker in workers:
        await worker.start()
    await yard.clock.settle()
    yard.clock.advance(5)

    await tick(yard.backlog())

    [gauges] = yard.sink.published
    assert (gauges.deployment, gauges.at) == ("shop-production", yard.clock.now())
    assert gauges.values() == {
        "Backlog": 7.0,
        "BacklogPerWorker": 3.5,
        "Workers": 2.0,
        "OldestDueSeconds": 5.0,
        "DeadLetters": 0.0,
    }
    assert gauges.values().keys() == GAUGES.keys()
    for worker in workers:
        await worker.stop()


async def test_where_nobody_works_it_is_what_waits(yard: Yard) -> None:
    for number in range(3):
        await yard.queue.put(Message(id=f"e{number}", tenant="acme"))

    await tick(yard.backlog())

    assert yard.sink.published[0].values()["BacklogPerWorker"] == 3.0
    assert yard.sink.published[0].workers == 0


async def test_a_worker_counts_until_it_stops(yard: Yard) -> None:
    worker = yard.worker("w1")
    await worker.start()
    await yard.clock.run(100, step=1.0)
    assert await yard.presences.count() == 1

    await worker.stop()
    await worker.stop()

    assert await yard.presences.count() == 0


async def test_a_worker_that_is_killed_counts_for_thirty_seconds(yard: Yard) -> None:
    await yard.presences.enter("w1")

    yard.clock.advance(29)
    assert await yard.presences.count() == 1
    yard.clock.advance(1)
    assert await yard.presences.count() == 0
    assert await yard.catalog.entries("backlog-worker") == [], "nothing is kept of it"


async def test_several_processes_publish_the_same(yard: Yard) -> None:
    await yard.presences.enter("w1")
    yard.clock.advance(31)

    for one in (yard.backlog(), yard.backlog()):
        await tick(one)

    first, second = yard.sink.published
    assert first == second


async def test_the_sink_is_opened_once_and_closed_at_the_end(yard: Yard) -> None:
    backlog = yard.backlog()

    await backlog.start()
    await tick(backlog)
    await backlog.stop()
    await backlog.stop()

    assert (yard.opened, yard.sink.closed) == (1, True)


async def test_a_catalog_that_is_away_does_not_end_a_worker(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written = yard.catalog.write

    async def away(*changes: Any) -> bool:
        raise BackendError("it is away")

    monkeypatch.setattr(yard.catalog, "write", away)
    worker = yard.worker("w1")
    await worker.start()
    await yard.clock.settle()
    assert "this worker is not counted: it is away" in caplog.text

    monkeypatch.setattr(yard.catalog, "write", written)
    await yard.clock.run(10, step=1.0)

    assert await yard.presences.count() == 1
    monkeypatch.setattr(yard.catalog, "write", away)
    await worker.stop()
    assert "this worker is counted for some seconds more" in caplog.text
