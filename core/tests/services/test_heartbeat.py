"""The heartbeat keeps the leases of a worker whose loop is busy, and lets go of those of one that hangs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError
from turnout.interfaces.clock import SystemClock
from turnout.interfaces.queue import Lease, LeaseState, Message, Queue
from turnout.local.database import Database
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.services.heartbeat import Heartbeat
from turnout.testing.clock import ManualClock

_PATIENCE_S = 30.0
LEASE = Lease(message=Message(id="e1", tenant="t"), worker="w", token=1, attempt=1, expires_at=0.0)


class Scripted:
    """Stands in the thread for a queue: `answer` decides each beat, `beats` counts them, `after` waits for one."""

    def __init__(self, answer: Callable[[int], LeaseState | Exception]) -> None:
        self.answer = answer
        self.beats = 0
        self._changed = threading.Condition()

    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        with self._changed:
            self.beats += 1
            self._changed.notify_all()
        answer = self.answer(self.beats)
        if isinstance(answer, Exception):
            raise answer
        return [answer] * len(leases)

    def after(self, beats: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.beats >= beats, _PATIENCE_S)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Any]:
        yield self


@dataclass
class Told:
    """What the worker is told, in order."""

    events: list[tuple[str, int]] = field(default_factory=list)

    def lost(self, lease: Lease) -> None:
        self.events.append(("lost", lease.token))

    def cancelled(self, lease: Lease) -> None:
        self.events.append(("cancelled", lease.token))

    async def until(self, *events: tuple[str, int]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while self.events != list(events):
            assert time.monotonic() < deadline, self.events
            await asyncio.sleep(0.001)


class Machine:
    """A monotonic clock that a test moves, read from two threads."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.reads = 0
        self._changed = threading.Condition()

    def __call__(self) -> float:
        with self._changed:
            self.reads += 1
            self._changed.notify_all()
            return self.at

    def after(self, reads: int) -> None:
        with self._changed:
            goal = self.reads + reads
            assert self._changed.wait_for(lambda: self.reads >= goal, _PATIENCE_S)


def beating(scripted: Scripted, told: Told, **options: Any) -> Heartbeat:
    queue: Any = scripted
    options = {"beat_s": 0.001, "open_queue": scripted.opened, **options}
    return Heartbeat(queue, SystemClock(), lost=told.lost, cancelled=told.cancelled, **options)


async def test_a_loop_that_is_blocked_for_longer_than_a_lease_keeps_its_leases(tmp_path: Path) -> None:
    """The queue's clock stands still until a lease was renewed, so that no machine is too slow for this."""
    clock, lease_s, renewals = ManualClock(), 30.0, threading.Condition()
    database = Database(tmp_path / "q.db")
    queue = SQLiteQueue(database, clock=clock, lease_s=lease_s)
    renewed_at: list[float] = []

    class Watched(SQLiteQueue):
        async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
            began = clock.now()
            states = await super().extend(leases)
            with renewals:
                renewed_at.append(began)
                renewals.notify_all()
            return states

    @asynccontextmanager
    async def open_queue() -> AsyncIterator[Queue]:
        another = database.another()
        yield Watched(another, clock=clock, lease_s=lease_s)
        another.close()

    def renewed() -> bool:
        with renewals:
            return renewals.wait_for(lambda: renewed_at[-1:] == [clock.now()], _PATIENCE_S)

    told = Told()
    heartbeat = Heartbeat(
        queue, clock, lost=told.lost, cancelled=told.cancelled, lease_s=lease_s, beat_s=0.001, open_queue=open_queue
    )
    await queue.put(Message(id="e1", tenant="t"))
    await heartbeat.start()
    lease = await queue.take("w", wait_s=0)
    assert lease is not None
    heartbeat.hold(lease)

    for _ in range(4):
        assert renewed()  # the loop stands still meanwhile
        clock.advance(lease_s * 0.9)
    reaped = await queue.reap()
    heartbeat.let_go(lease)
    held = await queue.complete(lease)

    await heartbeat.stop()
    await queue.close()
    database.close()
    assert (list(reaped), held, told.events) == ([], True, [])


async def test_a_loop_that_hangs_is_not_renewed_for_and_loses_its_executions() -> None:
    told, machine = Told(), Machine()
    scripted = Scripted(lambda beat: LeaseState.HELD)
    heartbeat = beating(scripted, told, monotonic=machine, lease_s=30, stall_s=60)
    heartbeat.hold(LEASE)
    await heartbeat.start()

    # The loop stands still from here on: nothing is awaited. It is asked again while it does.
    scripted.after(scripted.beats + 3)
    machine.at += 61
    machine.after(20)  # several beats later: the one that was on its way has renewed
    beats = scripted.beats
    machine.at += 31
    machine.after(20)
    renewed_for_a_hanging_loop = scripted.beats - beats

    await told.until(("lost", 1))
    await heartbeat.stop()
    assert renewed_for_a_hanging_loop == 0


async def test_while_the_queue_cannot_be_reached_work_goes_on_until_the_lease_has_run_out() -> None:
    told, machine = Told(), Machine()
    scripted = Scripted(lambda beat: LeaseState.HELD if beat == 1 else BackendError("connection lost"))
    heartbeat = beating(scripted, told, monotonic=machine, lease_s=30)
    heartbeat.hold(LEASE)
    await heartbeat.start()

    await asyncio.to_thread(scripted.after, 4)
    machine.at += 29
    await asyncio.to_thread(scripted.after, scripted.beats + 3)
    before, lag_s = list(told.events), heartbeat.lag_s
    machine.at += 2
    await told.until(("lost", 1))

    await heartbeat.stop()
    assert before == []
    assert heartbeat.failures > 2
    assert lag_s >= 29


async def test_a_queue_that_is_back_in_time_renews_as_if_nothing_had_been() -> None:
    told, machine = Told(), Machine()
    scripted = Scripted(lambda beat: BackendError("connection lost") if beat < 3 else LeaseState.HELD)
    heartbeat = beating(scripted, told, monotonic=machine, lease_s=30)
    heartbeat.hold(LEASE)
    await heartbeat.start()

    await asyncio.to_thread(scripted.after, 5)
    machine.at += 29
    await asyncio.to_thread(scripted.after, scripted.beats + 2)
    machine.at += 29
    await asyncio.to_thread(scripted.after, scripted.beats + 2)

    await heartbeat.stop()
    assert told.events == []


async def test_a_lease_that_is_lost_is_told_once_and_renewed_no_more() -> None:
    told = Told()
    scripted = Scripted(lambda beat: LeaseState.LOST)
    heartbeat = beating(scripted, told)
    heartbeat.hold(LEASE)
    await heartbeat.start()

    await told.until(("lost", 1))

    await heartbeat.stop()
    assert heartbeat.holds == 0


async def test_a_cancellation_is_told_once_and_the_lease_kept() -> None:
    told = Told()
    scripted = Scripted(lambda beat: LeaseState.CANCELLED)
    heartbeat = beating(scripted, told)
    heartbeat.hold(LEASE)
    await heartbeat.start()

    await asyncio.to_thread(scripted.after, 5)
    await told.until(("cancelled", 1))

    await heartbeat.stop()
    assert heartbeat.holds == 1


async def test_letting_go_of_an_old_lease_keeps_the_new_one_of_the_same_execution() -> None:
    newer = Lease(message=LEASE.message, worker="w", token=2, attempt=2, expires_at=0.0)
    heartbeat = beating(Scripted(lambda beat: LeaseState.HELD), Told())
    heartbeat.hold(LEASE)
    heartbeat.hold(newer)

    heartbeat.let_go(LEASE)

    assert heartbeat.holds == 1


async def test_a_queue_that_cannot_be_opened_again_is_an_error_of_the_start() -> None:
    told = Told()

    @asynccontextmanager
    async def closed() -> AsyncIterator[Any]:
        if told.events == []:
            raise BackendError("no more connections")
        yield

    heartbeat = beating(Scripted(lambda beat: LeaseState.HELD), told, open_queue=closed)

    with pytest.raises(BackendError, match="no more connections"):
        await heartbeat.start()
    await heartbeat.stop()


async def test_without_a_thread_it_beats_on_the_loop() -> None:
    told = Told()
    heartbeat = beating(Scripted(lambda beat: LeaseState.LOST), told, open_queue=None)
    heartbeat.hold(LEASE)
    await heartbeat.start()

    await told.until(("lost", 1))

    await heartbeat.stop()
