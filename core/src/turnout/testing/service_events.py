"""What a service does with timers and the event stream, promised and tested: a part of `turnout.testing.service`."""

from __future__ import annotations

import asyncio
import inspect
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final

import pytest

from turnout.interfaces.service import Consumer, Delivery, Invocation, Service
from turnout.model.events import (
    EVENTS,
    Accepted,
    Attempted,
    Began,
    CancelRequested,
    Decided,
    Ended,
    Event,
    Intended,
    Isolated,
    Logged,
    Resumed,
    Signalled,
    StepEnded,
    StepRunning,
    Waiting,
)
from turnout.model.execution import ErrorInfo, ExecutionInfo, SandboxReceipt, Status, StepStatus
from turnout.model.payload import Encoded

__all__ = ["ConsumerContract", "Effects", "deliveries", "sample_events"]

Effects = Callable[[], Awaitable[object]]

_HEAVY: Final = ("aiohttp", "asyncpg", "authlib", "boto3", "botocore", "httpx", "moto", "psycopg", "redis")
_ERROR: Final = ErrorInfo(kind="http_503", message="the ERP is closed", step="post")
_ONE: Final = Encoded(json=b"1")
_NAMES: Final = {kind: name for name, kind in EVENTS.items()}


def sample_events(info: ExecutionInfo) -> Sequence[Event]:
    """An execution that saw every kind of event, and failed."""
    at = info.created_at
    return (
        Accepted(at=at, info=info),
        Began(at=at + 1, worker="w", token=1, attempt=1),
        StepEnded(
            at=at + 2, path="read", kind="action", status=StepStatus.SUCCEEDED, started_at=at + 1, duration_ms=1000.0
        ),
        Logged(at=at + 2, level="info", message="read 1 order", path="read"),
        Decided(at=at + 2, path="when", value=_ONE),
        Waiting(at=at + 3, path="sign", until=None, callback=True, started_at=at + 3),
        Signalled(at=at + 4, path="sign", value=_ONE),
        Intended(at=at + 5, path="post", attempt=1, key="k"),
        StepRunning(at=at + 5, path="post", kind="action", started_at=at + 5),
        Attempted(at=at + 6, path="post", attempt=1, error=_ERROR, next_at=at + 7, kind="action", started_at=at + 5),
        Logged(at=at + 7, level="error", message="cannot post: Straße\n\0🚂", path="post"),
        StepEnded(
            at=at + 8,
            path="post",
            kind="action",
            status=StepStatus.FAILED,
            started_at=at + 5,
            duration_ms=3000.0,
            error=_ERROR,
        ),
        Isolated(at=at + 8, receipt=SandboxReceipt(sandbox="process", layers=(), jobs=1)),
        Resumed(
            at=at + 9,
            drop=("post",),
            inside=(StepRunning(at=at + 9, path="each", kind="loop", started_at=at + 1),),
        ),
        CancelRequested(at=at + 10, reason="enough"),
        Ended(at=at + 11, status=Status.FAILED, error=_ERROR),
    )


def deliveries(info: ExecutionInfo, first: int = 1) -> Sequence[Delivery]:
    """Of an execution that saw every kind of event; ids count from `first`."""
    events = enumerate(sample_events(info), start=first)
    return [Delivery(id=str(number), info=info, event=event) for number, event in events]


class ConsumerContract:
    """Each test is one sentence of `Consumer`, `Timer` or of what a target asks of both. A service's suite may override `told`, the
    executions whose events it is given, and `effects`: what its handlers have brought about, as a value that can be compared."""

    @pytest.fixture
    def told(self) -> Sequence[ExecutionInfo]:
        from turnout.testing.records import execution

        return [execution("e1"), execution("e2", tenant="globex", instance="globex-orders")]

    @pytest.fixture
    def effects(self) -> Any:
        async def nothing() -> object:
            return None

        return nothing

    def test_no_two_timers_or_consumers_have_the_same_name(self, service: Service) -> None:
        for names in (
            [timer.name for timer in service.timers()],
            [consumer.name for consumer in service.consumers()],
        ):
            assert len(set(names)) == len(names)

    async def test_its_timers_and_consumers_are_the_same_before_and_after_it_started(self, service: Service) -> None:
        before = _handlers(service)
        await service.start()
        during = _handlers(service)
        await service.stop()

        assert before == during == _handlers(service)

    def test_its_consumers_want_events_that_there_are(self, service: Service) -> None:
        for consumer in service.consumers():
            assert consumer.events
            assert consumer.events <= set(EVENTS)
            assert consumer.most > 0

    def test_its_timers_have_an_interval_and_its_handlers_are_coroutines(self, service: Service) -> None:
        for timer in service.timers():
            assert timer.every_s > 0
            assert inspect.iscoroutinefunction(timer.handle)
        assert all(inspect.iscoroutinefunction(consumer.handle) for consumer in service.consumers())

    async def test_its_timers_may_be_called_again_and_at_once(self, service: Service) -> None:
        await service.start()
        for timer in service.timers():
            await timer.handle(Invocation())
            await asyncio.gather(timer.handle(Invocation()), timer.handle(Invocation()))
        await service.stop()

    async def test_events_that_come_again_change_nothing(
        self, service: Service, told: Sequence[ExecutionInfo], effects: Effects
    ) -> None:
        await service.start()
        for consumer, batch in _batches(service, told):
            assert await consumer.handle(batch, Invocation()) is not None
        once = await effects()
        for consumer, batch in _batches(service, told):
            await consumer.handle(batch, Invocation())
        twice = await effects()
        await service.stop()

        assert once == twice

    async def test_what_failed_is_among_what_was_given(self, service: Service, told: Sequence[ExecutionInfo]) -> None:
        await service.start()
        for consumer, batch in _batches(service, told):
            assert set(await consumer.handle(batch, Invocation())) <= {delivery.id for delivery in batch}
        await service.stop()

    async def test_a_part_that_comes_again_after_the_rest_changes_nothing(
        self, service: Service, told: Sequence[ExecutionInfo], effects: Effects
    ) -> None:
        await service.start()
        for consumer, batch in _batches(service, told):
            await consumer.handle(batch, Invocation())
        once = await effects()
        for consumer, batch in _batches(service, told):
            for delivery in batch[::3]:
                await consumer.handle([delivery], Invocation())
        again = await effects()
        await service.stop()

        assert once == again

    async def test_without_time_left_it_returns_soon_and_nothing_is_lost(
        self, service: Service, told: Sequence[ExecutionInfo], effects: Effects
    ) -> None:
        await service.start()
        for consumer, batch in _batches(service, told):
            failed = {delivery.id for delivery in batch}
            try:
                async with asyncio.timeout(10):
                    failed = set(await consumer.handle(batch, Invocation(remaining_s=lambda: 0.0)))
            except TimeoutError:
                pytest.fail(f"consumer {consumer.name} goes on although it has no time left")
            except Exception:  # noqa: S110 - then all of them come again
                pass
            await consumer.handle([delivery for delivery in batch if delivery.id in failed], Invocation())
        done = await effects()
        for consumer, batch in _batches(service, told):
            await consumer.handle(batch, Invocation())
        whole = await effects()
        await service.stop()

        assert done == whole

    async def test_a_call_that_only_tells_of_dropped_events_is_answered(self, service: Service) -> None:
        await service.start()
        for consumer in service.consumers():
            assert list(await consumer.handle([], Invocation(dropped=3))) == []
        await service.stop()

    def test_its_module_is_imported_without_what_is_heavy(self, service: Service) -> None:
        code = (
            f"import sys, json, {type(service).__module__};"
            f"print(json.dumps([name for name in {_HEAVY!r} if name in sys.modules]))"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - our own

        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == []


def _batches(service: Service, told: Sequence[ExecutionInfo]) -> Iterator[tuple[Consumer, Sequence[Delivery]]]:
    for consumer in service.consumers():
        every = [delivery for number, info in enumerate(told) for delivery in deliveries(info, 1 + 100 * number)]
        yield consumer, [delivery for delivery in every if _NAMES[type(delivery.event)] in consumer.events]


def _handlers(service: Service) -> list[tuple[str, object]]:
    return [
        *((timer.name, timer.every_s) for timer in service.timers()),
        *((consumer.name, consumer.events) for consumer in service.consumers()),
    ]
