"""The metadata service: makes records, for people, out of the journal's stream of events.

It reads after the fact and keeps its place in the record store itself, so that a crash neither loses nor doubles
anything. What it has recorded to the end is forgotten by the journal, once every consumer has read it (`sweep`).
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import assert_never

from turnout.codec import decode_event
from turnout.engine.history import is_below
from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal, JournalEntry
from turnout.interfaces.records import ExecutionChange, KeptEvents, RecordBatch, RecordStore
from turnout.interfaces.service import Invocation, Needs, Service, Timer
from turnout.model.events import (
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
from turnout.model.execution import LogLine, Status, StepRecord, StepStatus
from turnout.services.sweep import Readers, Sweep

__all__ = ["Metadata", "batch_of"]

_BATCH = 2000
_FINISH_S = 5.0
_ADDED = frozenset({"log", "isolated"})
"""What a record gets another one of each time; anything else is said anew."""
_BATCH_S = 5.0
"""What is left of a call's time must suffice for a batch, so that none is cut off in the middle."""
_log = logging.getLogger("turnout.metadata")


class Metadata(Service):
    """Applies events to the record store every `poll_s`, and soon after `nudge` where its process lives on."""

    name = "metadata"
    needs = Needs(call_s=60.0)

    def __init__(
        self,
        journal: Journal,
        records: RecordStore,
        clock: Clock,
        *,
        readers: Readers | None = None,
        gather_s: float = 0.2,
        poll_s: float = 1.0,
    ) -> None:
        self._journal = journal
        self._records = records
        self._clock = clock
        self._sweep = Sweep(journal, records, clock, readers)
        self._gather_s = gather_s
        self._poll_s = poll_s
        self._nudged = asyncio.Event()
        self._one = asyncio.Lock()

    def nudge(self) -> None:
        """Say that there is something new."""
        self._nudged.set()

    def timers(self) -> Sequence[Timer]:
        return [Timer(name="records", every_s=self._poll_s, handle=self._record, soon=self._soon)]

    async def start(self) -> None:
        # Finish what a process died at that had recorded ends and had not yet forgotten their rows.
        async with self._one:
            await self._sweep.run(await self._records.position())

    async def stop(self) -> None:
        await self.finish()

    async def finish(self) -> None:
        """As `catch_up`, but a store that does not answer is waited for some seconds only: the next start goes on."""
        try:
            async with asyncio.timeout(_FINISH_S):
                await self.catch_up()
        except (BackendError, TimeoutError) as error:
            _log.warning("records are behind; the next start goes on: %s", str(error) or "a store does not answer")

    async def catch_up(self, *, remaining_s: Callable[[], float] = lambda: math.inf) -> None:
        """Record everything that the journal has now, or as much as can be in the time that remains. `BackendError` if a
        store fails; the next call goes on.

        What is written meanwhile is left to the next call: following a busy loop row by row would slow it.
        """
        async with self._one:
            while remaining_s() > _BATCH_S:
                after = await self._records.position()
                entries = await self._journal.entries(after=after, limit=_BATCH)
                if not entries:
                    # What was held for consumers may go now.
                    await self._sweep.run(after)
                    return
                batch = batch_of(entries)
                if not await self._records.apply(batch):
                    continue  # another process was quicker
                self._sweep.note(after, entries)
                await self._sweep.run(batch.position)
                if len(entries) < _BATCH:
                    return

    async def record(self, entries: Sequence[JournalEntry]) -> None:
        """Record events as a queue delivers them: in any order, late, any number of times. In the end the records are what they
        would be had each come once and in order. Beside the stream, which `catch_up` reads: what that has read is known."""
        while kept := await self._records.keep(entries):
            if await self._records.record(kept, batch_of([entry for one in kept for entry in _told(one)])):
                return

    async def _record(self, call: Invocation) -> None:
        await self.catch_up(remaining_s=call.remaining_s)

    async def _soon(self) -> None:
        await self._nudged.wait()
        self._nudged.clear()
        # A moment's wait gathers the rows of many steps into one transaction.
        await self._clock.sleep(self._gather_s)


def batch_of(entries: Sequence[JournalEntry]) -> RecordBatch:
    """What a stretch of the stream changes. Several changes of one thing become one: the newest state counts."""
    gathered = _Gathered()
    for entry in entries:
        gathered.add(entry.execution, decode_event(entry.row.kind, entry.row.body))
    return gathered.batch(entries[-1].position)


def _told(kept: KeptEvents) -> Sequence[JournalEntry]:
    """What a record is made of. One that cannot be made again, since the stream began it, gets no line twice."""
    if not kept.anew or any(entry.row.kind == "accepted" for entry in kept.entries):
        return kept.entries
    return [entry for entry in kept.entries if entry.row.kind not in _ADDED or entry.position in kept.lacking]


class _Gathered:
    def __init__(self) -> None:
        self._changes: dict[str, list[ExecutionChange]] = {}
        self._steps: dict[tuple[str, str], StepRecord] = {}
        self._logs: list[tuple[str, LogLine]] = []

    def batch(self, position: int) -> RecordBatch:
        return RecordBatch(
            position=position,
            executions=tuple(change for changes in self._changes.values() for change in changes),
            steps=tuple((execution, step) for (execution, _), step in self._steps.items()),
            logs=tuple(self._logs),
        )

    def add(self, id: str, event: Event) -> None:
        match event:
            case Logged():
                line = LogLine(at=event.at, level=event.level, message=event.message, path=event.path)
                self._logs.append((id, line))
            case StepEnded(kind="item") | Decided() | Signalled() | Intended() | CancelRequested():
                # Items of loops are not steps of their own: their steps tell.
                pass
            case StepEnded() | StepRunning() | Attempted():
                if isinstance(event, Attempted) and event.restart:
                    # What is inside begins anew: what it did before is no part of what it will have done.
                    self._changes.setdefault(id, []).append(ExecutionChange(id=id, dropped=(event.path,)))
                    self._drop(id, (event.path,))
                self._steps[id, event.path] = step_of(event)
            case Waiting() if event.path:
                self._steps[id, event.path] = step_of(event)
            case Accepted() | Began() | Waiting() | Isolated() | Ended() | Resumed():
                self._changes.setdefault(id, []).append(change_of(id, event))
                if isinstance(event, Resumed):
                    self._drop(id, event.drop)
                    self._steps |= {(id, step.path): step_of(step) for step in event.inside}
            case _:
                assert_never(event)

    def _drop(self, id: str, paths: Iterable[str]) -> None:
        for path in paths:
            for key in [key for key in self._steps if key[0] == id and is_below(key[1], path)]:
                del self._steps[key]


def change_of(id: str, event: Accepted | Began | Waiting | Isolated | Ended | Resumed) -> ExecutionChange:
    """What an event says of the execution as a whole."""
    match event:
        case Accepted():
            return ExecutionChange(id=id, info=event.info, status=Status.QUEUED)
        case Began():
            return ExecutionChange(id=id, status=Status.RUNNING, attempts=event.attempt, started_at=event.at)
        case Ended():
            return ExecutionChange(
                id=id, status=event.status, ended_at=event.at, output=event.output, error=event.error
            )
        case Resumed():
            return ExecutionChange(id=id, status=Status.QUEUED, reopened=True, dropped=event.drop)
        case Waiting():
            return ExecutionChange(id=id, status=Status.WAITING)
        case Isolated():
            return ExecutionChange(id=id, sandboxes=(event.receipt,))


def step_of(event: StepEnded | StepRunning | Attempted | Waiting) -> StepRecord:
    """A step as the event leaves it."""
    match event:
        case StepEnded():
            return StepRecord(
                path=event.path,
                kind=event.kind,
                status=event.status,
                attempts=event.attempts,
                started_at=event.started_at,
                duration_ms=event.duration_ms,
                output=event.output,
                error=event.error,
            )
        case StepRunning():
            return StepRecord(
                path=event.path,
                kind=event.kind,
                status=StepStatus.RUNNING,
                attempts=event.attempt,
                started_at=event.started_at,
            )
        case Waiting():
            return StepRecord(
                path=event.path, kind="wait", status=StepStatus.WAITING, started_at=event.started_at or event.at
            )
        case Attempted():
            return StepRecord(
                path=event.path,
                kind=event.kind,
                status=StepStatus.RUNNING,
                attempts=event.attempt,
                started_at=event.started_at,
                error=event.error,
            )
