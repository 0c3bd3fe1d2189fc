"""The metadata service: makes records, for people, out of the journal's stream of events.

It reads after the fact and keeps its place in the record store itself, so that a crash neither loses nor doubles
anything. What it has recorded to the end is forgotten by the journal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import assert_never

from turnout.codec import decode_event
from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal, JournalEntry
from turnout.interfaces.records import ExecutionChange, RecordBatch, RecordStore
from turnout.interfaces.service import Service
from turnout.model.events import (
    Accepted,
    Attempted,
    Began,
    CancelRequested,
    Decided,
    Ended,
    Event,
    Intended,
    Logged,
    Resumed,
    Signalled,
    StepEnded,
    StepRunning,
    Waiting,
)
from turnout.model.execution import LogLine, Status, StepRecord, StepStatus

__all__ = ["Metadata", "batch_of"]

_BATCH = 2000
_log = logging.getLogger("turnout.metadata")


class Metadata(Service):
    """Applies events to the record store soon after `nudge`, and at least every `poll_s` for other processes' events."""

    name = "metadata"

    def __init__(
        self, journal: Journal, records: RecordStore, clock: Clock, *, gather_s: float = 0.05, poll_s: float = 1.0
    ) -> None:
        self._journal = journal
        self._records = records
        self._clock = clock
        self._gather_s = gather_s
        self._poll_s = poll_s
        self._nudged = asyncio.Event()
        self._one = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def nudge(self) -> None:
        """Say that there is something new."""
        self._nudged.set()

    async def start(self) -> None:
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.catch_up()

    async def catch_up(self) -> None:
        """Record everything that the journal has now. `BackendError` if a store fails; the next call goes on.

        What is written meanwhile is left to the next call: following a busy loop row by row would slow it.
        """
        async with self._one:
            while True:
                after = await self._records.position()
                entries = await self._journal.entries(after=after, limit=_BATCH)
                if not entries:
                    return
                batch = batch_of(entries)
                await self._records.apply(batch)
                ended = [change.id for change in batch.executions if change.status is not None and change.status.final]
                if ended:
                    await self._journal.forget(ended)
                if len(entries) < _BATCH:
                    return

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._nudged.wait(), timeout=self._poll_s)
                # A moment's wait gathers the rows of many steps into one transaction.
                await self._clock.sleep(self._gather_s)
            except TimeoutError:
                pass
            self._nudged.clear()
            try:
                await self.catch_up()
            except BackendError as error:
                _log.warning("records are behind, trying again: %s", error)
                await self._clock.sleep(self._poll_s)


def batch_of(entries: Sequence[JournalEntry]) -> RecordBatch:
    """What a stretch of the stream changes. Several changes of one thing become one: the newest state counts."""
    gathered = _Gathered()
    for entry in entries:
        gathered.add(entry.execution, decode_event(entry.row.kind, entry.row.body))
    return gathered.batch(entries[-1].position)


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
                self._steps[id, event.path] = step_of(event)
            case Waiting() if event.path:
                self._steps[id, event.path] = step_of(event)
            case Accepted() | Began() | Waiting() | Ended() | Resumed():
                self._changes.setdefault(id, []).append(change_of(id, event))
                if isinstance(event, Resumed):
                    self._drop(id, event.drop)
            case _:
                assert_never(event)

    def _drop(self, id: str, paths: Iterable[str]) -> None:
        for path in paths:
            for key in [key for key in self._steps if key[0] == id and _below(key[1], path)]:
                del self._steps[key]


def _below(path: str, ancestor: str) -> bool:
    return path == ancestor or path.startswith((f"{ancestor}.", f"{ancestor}["))


def change_of(id: str, event: Accepted | Began | Waiting | Ended | Resumed) -> ExecutionChange:
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
