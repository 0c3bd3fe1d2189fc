"""Liveness, readiness and metrics of a worker, with stores that answer, fail and fall silent."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from turnout.codec import encode_event
from turnout.errors import BackendError
from turnout.interfaces.journal import Row
from turnout.interfaces.queue import QueueStats
from turnout.interfaces.sandbox import SandboxStats
from turnout.interfaces.service import Request
from turnout.model.events import Accepted
from turnout.services.behind import Readings
from turnout.services.consumers import Consumers, ConsumerState, Failed
from turnout.services.health import Health
from turnout.services.logs.counts import LogCounts
from turnout.services.metrics import Metrics
from turnout.testing.records import execution

from core.tests.services.yard import Yard

METRICS = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


ASKED = Request(method="GET", path="/", body=_nothing())


class Time:
    at = 0.0

    def __call__(self) -> float:
        return self.at


class Pooled:
    def stats(self) -> SandboxStats:
        return SandboxStats(idle=2, busy=1, waiting=0)


async def asked(handle: Any) -> tuple[int, Any]:
    response = await handle(ASKED)
    return response.status, json.loads(response.body)


@pytest.fixture
def time() -> Time:
    return Time()


def readings(yard: Yard) -> Readings:
    async def names() -> tuple[str, ...]:
        return ("logs/all", "alerts")

    stores = yard.stores
    return Readings(
        journal=stores.journal,
        records=stores.records,
        consumers=Consumers(stores.catalog),
        counts=LogCounts(stores.catalog),
        clock=stores.clock,
        names=names,
        sinks=("all",),
    )


@pytest.fixture
def health(yard: Yard, time: Time) -> Health:
    stores, metrics = yard.stores, Metrics()
    sandbox: Any = Pooled()
    metrics.attach(stores.queue, yard.runner, sandbox, readings(yard))
    return Health(stores.queue, stores.journal, yard.runner, metrics, monotonic=time)


async def test_it_is_ready_once_it_has_started_and_its_stores_have_answered(health: Health) -> None:
    starting = await asked(health.readyz)
    health.ready = True
    unasked = await asked(health.readyz)
    await health.look()
    ready = await asked(health.readyz)

    assert (starting[0], starting[1]["status"]) == (503, "starting")
    assert (unasked[0], len(unasked[1]["reasons"])) == (503, 2)
    assert ready == (200, {"status": "ready", "reasons": []})


@pytest.mark.parametrize("store", ["queue", "journal"])
async def test_a_store_that_fails_for_some_looks_is_a_reason_until_it_answers(
    yard: Yard, health: Health, time: Time, store: str
) -> None:
    async def fail(_: Any) -> Any:
        raise BackendError("connection refused")

    health.ready = True
    await health.look()
    target: Any = yard.stores.queue if store == "queue" else yard.stores.journal
    name = "missing" if store == "queue" else "rows"
    works = getattr(target, name)
    setattr(target, name, fail)
    time.at = 2
    await health.look()
    once = await asked(health.readyz)
    time.at = 10
    await health.look()
    broken = await asked(health.readyz)
    setattr(target, name, works)
    await health.look()

    assert once[0] == 200
    if store == "queue":
        assert broken[1]["reasons"] == ["the queue does not answer: connection refused"]
    assert broken[0] == 503
    assert any(store in reason for reason in broken[1]["reasons"])
    assert (await asked(health.readyz))[0] == 200


async def test_a_store_that_falls_silent_is_not_waited_for(yard: Yard, time: Time) -> None:
    async def hang(_: Any) -> Any:
        await asyncio.Event().wait()

    stores = yard.stores
    health = Health(stores.queue, stores.journal, yard.runner, Metrics(), look_s=0.01, monotonic=time)
    health.ready = True
    stores.journal.rows = hang  # type: ignore[method-assign, assignment]

    await health.look()

    assert (await asked(health.readyz))[1]["reasons"] == ["the journal does not answer: no answer within 0.01 s"]


async def test_a_draining_worker_is_not_ready_and_alive(yard: Yard, health: Health) -> None:
    health.ready = True
    await health.look()

    yard.runner.refuse_more()

    status, body = await asked(health.readyz)
    assert (status, body["status"]) == (503, "draining")
    assert (await asked(health.healthz))[0] == 200


async def test_a_heartbeat_that_no_longer_runs_is_not_alive(yard: Yard, health: Health) -> None:
    health.ready = True
    before = await asked(health.healthz)

    yard.runner.heartbeat._seen_at -= 1000

    assert before[0] == 200
    assert (await asked(health.healthz))[0] == 503


async def test_the_reference_lists_every_metric_there_is(health: Health) -> None:
    families = list(text_string_to_metric_families((await health.metrics(ASKED)).body.decode()))  # type: ignore[union-attr]
    exposed = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in families
        if family.name.startswith("turnout_") and not family.name.endswith("_created")
    }
    listed = set(re.findall(r"^\| `(turnout_\w+)` \|", METRICS.read_text(), flags=re.MULTILINE))

    assert exposed == listed


async def test_a_queue_of_several_shards_is_told_shard_by_shard(yard: Yard, health: Health) -> None:
    async def stats() -> QueueStats:
        shard = QueueStats(ready=2, delayed=0, leased=0, dead=0, oldest_ready_s=7)
        return QueueStats(ready=4, delayed=0, leased=0, dead=0, oldest_ready_s=7, shards={"a": shard, "b": shard})

    yard.stores.queue.stats = stats  # type: ignore[method-assign]
    text = (await health.metrics(ASKED)).body.decode()  # type: ignore[union-attr]

    assert 'turnout_queue_messages{shard="a",state="ready"} 2.0' in text
    assert 'turnout_queue_oldest_ready_seconds{shard="b"} 7.0' in text
    assert "turnout_queue_backlog_per_worker 4.0" in text


async def test_a_queue_that_does_not_answer_leaves_the_other_metrics(yard: Yard, health: Health) -> None:
    async def fail() -> QueueStats:
        raise BackendError("connection refused")

    yard.stores.queue.stats = fail  # type: ignore[method-assign]
    text = (await health.metrics(ASKED)).body.decode()  # type: ignore[union-attr]

    assert "turnout_queue_up 0.0" in text
    assert "turnout_queue_messages" not in text
    assert 'turnout_worker_failures_total{of="queue"} 1.0' in text
    assert 'turnout_sandbox_processes{state="busy"} 1.0' in text


async def test_readers_of_the_event_stream_tell_how_far_they_are_behind_and_what_was_lost(
    yard: Yard, health: Health
) -> None:
    stores, consumers = yard.stores, Consumers(yard.stores.catalog)
    info = execution("e1", at=stores.clock.now())
    await stores.journal.begin("e1", [Row(*encode_event(Accepted(at=info.created_at, info=info)))])
    [entry] = await stores.journal.entries(after=0, limit=1)
    waiting = Failed(position=1, execution="e0", since=0.0, attempts=1, due=1e12)
    await consumers.put("alerts", ConsumerState(position=entry.position, failed=(waiting,)))
    await consumers.count_dropped("logs/all", 3)
    await LogCounts(stores.catalog).refused("all", 7)
    yard.lab.clock.at += 90

    text = (await health.metrics(ASKED)).body.decode()  # type: ignore[union-attr]

    for line in (
        'turnout_consumer_behind_seconds{consumer="records"} 90.0',
        'turnout_consumer_behind_seconds{consumer="logs/all"} 90.0',
        'turnout_consumer_behind_seconds{consumer="alerts"} 0.0',
        'turnout_consumer_failed_events{consumer="alerts"} 1.0',
        'turnout_consumer_dropped_executions_total{consumer="logs/all"} 3.0',
        'turnout_consumer_dropped_executions_total{consumer="alerts"} 0.0',
        'turnout_log_entries_refused_total{sink="all"} 7.0',
    ):
        assert line in text


async def test_a_journal_that_does_not_answer_leaves_the_other_metrics(yard: Yard, health: Health) -> None:
    async def fail(**_: Any) -> Any:
        raise BackendError("connection refused")

    yard.stores.journal.entries = fail  # type: ignore[method-assign]
    text = (await health.metrics(ASKED)).body.decode()  # type: ignore[union-attr]

    assert "turnout_consumer_behind_seconds" not in text
    assert "turnout_queue_up 1.0" in text
