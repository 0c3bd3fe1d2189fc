"""The metadata service: makes records, for people, out of the journal's stream of events.

It reads after the fact and keeps its place in the record store itself, so that a crash neither loses nor doubles
anything. What it has recorded to the end is forgotten by the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence
from typing import assert_never

from turnout.codec import decode_event
from turnout.engine.history import History, is_below
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
    Isolated,
    Logged,
    Resumed,
    Signalled,
    StepEnded,
    StepRunning,
    Waiting,
)
from turnout.model.execution import LogLine, Status, StepRecord, StepStatus, parent_id
from turnout.services.roots import below

__all__ = ["Metadata", "batch_of"]

_BATCH = 2000
_FINISH_S = 5.0
_FROM_OUTSIDE = ("signalled", "cancel")
_log = logging.getLogger("turnout.metadata")


class Metadata(Service):
    """Applies events to the record store soon after `nudge`, and at least every `poll_s` for other processes' events."""

    name = "metadata"

    def __init__(
        self, journal: Journal, records: RecordStore, clock: Clock, *, gather_s: float = 0.2, poll_s: float = 1.0
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
        await self._forget_recorded()
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                # Not between recording an end and forgetting its rows, unless a store does not answer.
                async with asyncio.timeout(_FINISH_S), self._one:
                    self._task.cancel()
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.finish()

    async def finish(self) -> None:
        """As `catch_up`, but a store that does not answer is waited for some seconds only: the next start goes on."""
        try:
            async with asyncio.timeout(_FINISH_S):
                await self.catch_up()
        except (BackendError, TimeoutError) as error:
            _log.warning("records are behind; the next start goes on: %s", str(error) or "a store does not answer")

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
                if not await self._records.apply(batch):
                    # Another process was quicker. What it recorded is its to forget: a person may have resumed it since.
                    continue
                await self._forget(batch, entries)
                if len(entries) < _BATCH:
                    return

    async def _forget(self, batch: RecordBatch, entries: Sequence[JournalEntry]) -> None:
        """Let the journal forget what has been recorded to its end. A sub-execution's rows stay until its root's go: until
        its caller has written what came of it, it would begin again without them."""
        ended = {change.id for change in batch.executions if change.status is not None and change.status.final}
        for entry in entries:
            # A callback, or the wish to cancel, may come after the end.
            if (
                entry.row.kind in _FROM_OUTSIDE
                and entry.execution not in ended
                and await self._is_over(entry.execution)
            ):
                ended.add(entry.execution)
        for root in ended:
            if not parent_id(root):
                called = [record.info.id for record in await below(self._records, root)]
                await self._journal.forget([*called, root], through=batch.position)

    async def _forget_recorded(self) -> None:
        """Finish what a process died at that had recorded ends and had not yet forgotten their rows."""
        position, after = await self._records.position(), 0
        while after < position:
            entries = await self._journal.entries(after=after, limit=_BATCH)
            if not entries:
                return
            after = entries[-1].position
            for entry in entries:
                if (
                    entry.position <= position
                    and entry.row.kind == "ended"
                    and await self._is_unneeded(entry.execution)
                ):
                    await self._journal.forget([entry.execution], through=position)

    async def _is_unneeded(self, execution: str) -> bool:
        """Whether it is over and its root is over as well, or gone: then nobody goes on with either."""
        root = execution
        while parent_id(root):
            root = parent_id(root)
        if not await self._is_over(execution):
            return False
        return root == execution or not await self._journal.rows(root) or await self._is_over(root)

    async def _is_over(self, execution: str) -> bool:
        ended = History.of(await self._journal.rows(execution)).ended
        return ended is not None and ended.status.final

    async def _run(self) -> None:
        while True:
            try:
                # Not `wait_for`: before Python 3.12 it forgets that it was cancelled if the nudge comes at that moment.
                async with asyncio.timeout(self._poll_s):
                    await self._nudged.wait()
                # A moment's wait gathers the rows of many steps into one transaction.
                await self._clock.sleep(self._gather_s)
            except TimeoutError:
                pass
            self._nudged.clear()
            try:
                await self.catch_up()
            except Exception as error:  # whatever it is, nobody else would tell, and the next try may do better
                unknown = not isinstance(error, BackendError)
                _log.warning("records are behind, trying again: %s", error, exc_info=unknown)
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
