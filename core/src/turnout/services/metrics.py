"""A worker's metrics, as Prometheus reads them: what its runner does, how the queue stands, what its sandboxes hold.

No label holds a customer's or an instance's name: their number has no bound, and that of time series must have one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from turnout.errors import BackendError
from turnout.interfaces.queue import Queue, QueueStats
from turnout.interfaces.sandbox import Sandbox
from turnout.model.events import Ended, Event, StepEnded
from turnout.model.execution import ExecutionInfo, Status, parent_id
from turnout.services.behind import Behind, Readings
from turnout.services.runner import Runner

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_ASK_S: Final = 2.0
_FAST: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_SLOW: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True, slots=True)
class _QueueState:
    """How the queue stands; None where it could not be asked in time."""

    stats: QueueStats | None = None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class _StreamState:
    """How far readers of the event stream are behind, and what log sinks refused; None where it could not be asked in time."""

    behind: Mapping[str, Behind] | None = None
    refused: Mapping[str, int] | None = None


class Metrics(Collector):
    """Give `observe` to the platform and itself to the runner as its watch; then `attach` what it reads at each scrape."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._ended = Counter(
            "turnout_executions_ended", "Executions that ended here, by status.", ["status"], registry=registry
        )
        self._failures = Counter(
            "turnout_worker_failures",
            "Failures that are not a customer's: of the queue, or of an execution's attempt.",
            ["of"],
            registry=registry,
        )
        self._dispatch = Histogram(
            "turnout_dispatch_latency_seconds",
            "From an execution's acceptance to its first start, by the clocks of both machines.",
            buckets=_FAST,
            registry=registry,
        )
        self._executions = Histogram(
            "turnout_execution_duration_seconds",
            "From an execution's acceptance to its end, waits included.",
            ["status"],
            buckets=_SLOW,
            registry=registry,
        )
        self._steps = Histogram(
            "turnout_step_duration_seconds",
            "Of a step from its start to its end, attempts and pauses between them included.",
            ["kind", "status"],
            buckets=_FAST,
            registry=registry,
        )
        for status in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.PARKED):
            self._ended.labels(status.value)
        for store in ("queue", "execution"):
            self._failures.labels(store)
        ProcessCollector(registry=registry)
        self._queue: Queue | None = None
        self._runner: Runner | None = None
        self._sandbox: Sandbox | None = None
        self._readings: Readings | None = None
        self._state = _QueueState()
        self._stream = _StreamState()

    def attach(self, queue: Queue, runner: Runner, sandbox: Sandbox, readings: Readings | None = None) -> None:
        """What is read at each scrape."""
        self._queue, self._runner, self._sandbox, self._readings = queue, runner, sandbox, readings
        self._registry.register(self)

    def observe(self, execution: str, event: Event) -> None:
        match event:
            case Ended() if not parent_id(execution):
                self._ended.labels(event.status.value).inc()
            case StepEnded() if event.kind != "item" and not event.again:
                self._steps.labels(event.kind, event.status.value).observe(max(0.0, event.duration_ms / 1000))
            case _:
                pass

    def dispatched(self, waited_s: float) -> None:
        self._dispatch.observe(waited_s)

    def ended(self, info: ExecutionInfo, status: Status, took_s: float) -> None:
        self._executions.labels(status.value).observe(took_s)

    def failed(self, of: str) -> None:
        self._failures.labels(of).inc()

    async def scrape(self) -> bytes:
        """All metrics in Prometheus' text format. A queue, or a store, that does not answer makes its own metrics absent."""
        self._state, self._stream = await asyncio.gather(self._ask_queue(), self._ask_stream())
        return generate_latest(self._registry)

    async def _ask_queue(self) -> _QueueState:
        if self._queue is None:
            return _QueueState()
        try:
            async with asyncio.timeout(_ASK_S):
                return _QueueState(await self._queue.stats(), len(await self._queue.workers()))
        except (BackendError, TimeoutError):
            self.failed("queue")
            return _QueueState()

    async def _ask_stream(self) -> _StreamState:
        if self._readings is None:
            return _StreamState()
        try:
            async with asyncio.timeout(_ASK_S):
                return _StreamState(await self._readings.behind(), await self._readings.refused())
        except (BackendError, TimeoutError):
            return _StreamState()

    def collect(self) -> Iterator[Metric]:
        yield from self._of_queue()
        yield from self._of_stream()
        yield from self._of_runner()
        yield from self._of_sandbox()

    def _of_queue(self) -> Iterator[Metric]:
        stats, workers = self._state.stats, self._state.workers
        yield GaugeMetricFamily("turnout_queue_up", "1 if the queue answered in time.", value=0 if stats is None else 1)
        if stats is None or workers is None:
            return
        shards: Mapping[str, QueueStats] = stats.shards or {"0": stats}
        messages = GaugeMetricFamily(
            "turnout_queue_messages", "Messages in the queue, by shard and state.", labels=["shard", "state"]
        )
        oldest = GaugeMetricFamily(
            "turnout_queue_oldest_ready_seconds", "How long the oldest message has been due.", labels=["shard"]
        )
        for name, shard in shards.items():
            for state in ("ready", "delayed", "held", "leased", "dead"):
                messages.add_metric([name, state], getattr(shard, state))
            oldest.add_metric([name], shard.oldest_ready_s)
        yield messages
        yield oldest
        yield GaugeMetricFamily("turnout_queue_workers", "Workers that hold a lease.", value=workers)
        yield GaugeMetricFamily(
            "turnout_queue_backlog_per_worker",
            "Messages that are due, for each worker that holds a lease: what to scale by.",
            value=stats.ready / max(1, workers),
        )

    def _of_stream(self) -> Iterator[Metric]:
        behind, refused = self._stream.behind, self._stream.refused
        if behind is None or refused is None:
            return
        age = GaugeMetricFamily(
            "turnout_consumer_behind_seconds",
            "How old the first event is that a reader of the event stream has not come past; 0 if there is none.",
            labels=["consumer"],
        )
        failed = GaugeMetricFamily(
            "turnout_consumer_failed_events", "Events that a consumer is to be given again.", labels=["consumer"]
        )
        dropped = CounterMetricFamily(
            "turnout_consumer_dropped_executions",
            "Executions of which a consumer has not got every event: it was away for too long.",
            labels=["consumer"],
        )
        for name, reader in behind.items():
            age.add_metric([name], reader.behind_s)
            failed.add_metric([name], reader.failed)
            dropped.add_metric([name], reader.dropped)
        sinks = CounterMetricFamily(
            "turnout_log_entries_refused", "Entries that a log sink refused for good.", labels=["sink"]
        )
        for name, count in refused.items():
            sinks.add_metric([name], count)
        yield from (age, failed, dropped, sinks)

    def _of_runner(self) -> Iterator[Metric]:
        runner = self._runner
        if runner is None:
            return
        beat = runner.heartbeat
        for name, help, value in (
            ("turnout_worker_executions_running", "Executions that run in this worker.", runner.running),
            ("turnout_worker_concurrency", "Executions that it runs at once at most.", runner.options.concurrency),
            ("turnout_worker_leases_held", "Leases that it renews.", beat.holds),
            ("turnout_worker_draining", "1 if it takes nothing more.", int(runner.draining)),
            ("turnout_worker_heartbeat_lag_seconds", "Since its leases were last renewed.", beat.lag_s),
        ):
            yield GaugeMetricFamily(name, help, value=value)
        yield CounterMetricFamily(
            "turnout_worker_heartbeat_failures", "Times that leases could not be renewed.", value=beat.failures
        )

    def _of_sandbox(self) -> Iterator[Metric]:
        stats = None if self._sandbox is None else self._sandbox.stats()
        if stats is None:
            return
        pool = GaugeMetricFamily("turnout_sandbox_processes", "Processes of the sandbox's pool.", labels=["state"])
        pool.add_metric(["idle"], stats.idle)
        pool.add_metric(["busy"], stats.busy)
        yield pool
        yield GaugeMetricFamily(
            "turnout_sandbox_waiting", "Code steps that wait for a sandbox's process.", value=stats.waiting
        )
