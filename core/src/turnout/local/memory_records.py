"""The record store in memory: for tests, and for what nobody looks at afterwards."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from turnout.codec import pack_info, pack_receipts
from turnout.errors import BackendError
from turnout.interfaces.journal import JournalEntry
from turnout.interfaces.records import (
    MOST_SANDBOXES,
    ExecutionChange,
    ExecutionQuery,
    KeptEvents,
    RecordBatch,
    RecordStore,
)
from turnout.local.records.schema import packed, packed_error, payloads
from turnout.model.execution import ErrorInfo, ExecutionRecord, LogLine, Status, StepRecord
from turnout.model.payload import Encoded

__all__ = ["MemoryRecords"]


@dataclass(slots=True)
class _Held:
    record: ExecutionRecord
    steps: dict[str, StepRecord] = field(default_factory=dict)
    logs: list[LogLine] = field(default_factory=list)

    def parts(self) -> Iterator[ExecutionRecord | StepRecord]:
        yield self.record
        yield from self.steps.values()

    def values(self) -> Iterator[bytes | None]:
        yield pack_info(self.record.info)
        yield pack_receipts(self.record.sandboxes).encode()
        for part in self.parts():
            yield packed(part.output)
            yield packed_error(part.error)


@dataclass(slots=True)
class _Events:
    """What is kept of an execution, by position, and which of it the record has."""

    entries: dict[int, JournalEntry] = field(default_factory=dict)
    recorded: set[int] = field(default_factory=set)

    def lacking(self, execution: str) -> KeptEvents | None:
        lacking = self.entries.keys() - self.recorded
        if not lacking:
            return None
        anew = bool(self.recorded) and min(lacking) < max(self.recorded)
        entries = tuple(self.entries[at] for at in sorted(self.entries) if anew or at in lacking)
        return KeptEvents(
            execution=execution, entries=entries, lacking=frozenset(lacking), kept=len(self.entries), anew=anew
        )


class MemoryRecords(RecordStore):
    """Records of one process."""

    def __init__(self) -> None:
        self._executions: dict[str, _Held] = {}
        self._order: list[tuple[float, str]] = []
        self._position = 0
        self._events: dict[str, _Events] = {}
        self._closed = False

    async def apply(self, batch: RecordBatch) -> bool:
        self._check()
        if batch.position <= self._position:
            return False
        self._apply(batch)
        self._position = batch.position
        return True

    async def keep(self, entries: Sequence[JournalEntry]) -> Sequence[KeptEvents]:
        self._check()
        new = [entry for entry in entries if entry.position > self._position]
        for entry in new:
            self._events.setdefault(entry.execution, _Events()).entries[entry.position] = entry
        found = (self._events[id].lacking(id) for id in dict.fromkeys(entry.execution for entry in new))
        return [kept for kept in found if kept is not None]

    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        self._check()
        for one in kept:
            events = self._events.get(one.execution, _Events())
            if len(events.entries) != one.kept or events.entries.keys() - events.recorded != one.lacking:
                return False
        told = {change.id for change in batch.executions if change.info is not None}
        self._apply(batch, anew=[one.execution for one in kept if one.anew and one.execution in told])
        for one in kept:
            self._events[one.execution].recorded |= one.lacking
        return True

    def _apply(self, batch: RecordBatch, anew: Sequence[str] = ()) -> None:
        for change in batch.executions:
            _refuse_unkept(change.output, change.error)
        for _, step in batch.steps:
            _refuse_unkept(step.output, step.error)
        for id in anew:
            if id in self._executions:
                self._remove(id)
        for change in batch.executions:
            self._change(change)
        for id, step in batch.steps:
            if id in self._executions:
                self._executions[id].steps[step.path] = step
        for id, line in batch.logs:
            if id in self._executions:
                self._executions[id].logs.append(line)

    async def position(self) -> int:
        self._check()
        return self._position

    async def get(self, id: str) -> ExecutionRecord | None:
        self._check()
        held = self._executions.get(id)
        if held is None:
            return None
        return replace(held.record, steps=tuple(sorted(held.steps.values(), key=lambda step: step.started_at)))

    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        self._check()
        last = len(self._order)
        if query.before:
            if query.before not in self._executions:
                return []
            last = bisect.bisect_left(self._order, self._place(query.before))
        records = (self._executions[id].record for _, id in reversed(self._order[:last]))
        matching = (record for record in records if _matches(record, query))
        return [replace(record, sandboxes=()) for _, record in zip(range(query.limit), matching, strict=False)]

    async def logs(self, id: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, LogLine]]:
        self._check()
        held = self._executions.get(id)
        lines = list(enumerate(held.logs, start=1)) if held else []
        return lines[max(after, 0) :][: max(limit, 0)]

    async def prune(self, *, ended_before: float | None = None, keep_bytes: int | None = None) -> Sequence[str]:
        self._check()
        final = [id for _, id in self._order if self._executions[id].record.status.final]
        removed = [id for id in final if ended_before is not None and (self._ended(id) or 0) < ended_before]
        for id in removed:
            self._remove(id)
        size = await self.size_bytes()
        for id in final:
            if keep_bytes is not None and size > keep_bytes and id in self._executions:
                size -= _size(self._executions[id])
                self._remove(id)
                removed.append(id)
        self._forget_events(removed)
        return removed

    async def remove(self, ids: Sequence[str]) -> None:
        self._check()
        for id in ids:
            self._events.pop(id, None)
            if id in self._executions:
                self._remove(id)

    async def references(self) -> set[tuple[str, str]]:
        self._check()
        return {
            (held.record.info.tenant, sha256)
            for held in self._executions.values()
            for part in held.parts()
            for sha256 in payloads(held.record.info.trigger, part.output, part.error)
        }

    async def size_bytes(self) -> int:
        self._check()
        return sum(map(_size, self._executions.values()))

    async def close(self) -> None:
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise BackendError("the record store is closed")

    def _change(self, change: ExecutionChange) -> None:
        if change.info is not None and change.id not in self._executions:
            self._executions[change.id] = _Held(ExecutionRecord(info=change.info, status=Status.QUEUED))
            bisect.insort(self._order, self._place(change.id))
        held = self._executions.get(change.id)
        if held is None:
            return
        if change.reopened:
            held.record = replace(held.record, ended_at=None, output=None, error=None)
        for dropped in change.dropped:
            below = (f"{dropped}.", f"{dropped}[")
            held.steps = {
                path: step for path, step in held.steps.items() if path != dropped and not path.startswith(below)
            }
        names = ("status", "attempts", "started_at", "ended_at", "output", "error")
        changed = {name: getattr(change, name) for name in names if getattr(change, name) is not None}
        if held.record.started_at is not None:
            changed.pop("started_at", None)
        sandboxes = (*held.record.sandboxes, *change.sandboxes)[:MOST_SANDBOXES]
        held.record = replace(held.record, **changed, sandboxes=sandboxes)

    def _place(self, id: str) -> tuple[float, str]:
        return self._executions[id].record.info.created_at, id

    def _ended(self, id: str) -> float | None:
        return self._executions[id].record.ended_at

    def _forget_events(self, removed: Sequence[str]) -> None:
        """Of these, and of those before them that no record was made of: they were removed earlier, and came again."""
        there = [events for id in removed if (events := self._events.pop(id, None)) is not None]
        through = max((max(events.entries) for events in there), default=0)
        for id in [id for id, events in self._events.items() if id not in self._executions]:
            if max(self._events[id].entries) <= through:
                del self._events[id]

    def _remove(self, id: str) -> None:
        del self._order[bisect.bisect_left(self._order, self._place(id))]
        del self._executions[id]


def _refuse_unkept(output: Encoded | None, error: ErrorInfo | None) -> None:
    """Raise what a store that writes bytes would raise, before anything of the batch is applied."""
    packed(output)
    packed_error(error)


def _size(held: _Held) -> int:
    return sum(len(value) for value in held.values() if value) + sum(len(line.message) for line in held.logs)


def _matches(record: ExecutionRecord, query: ExecutionQuery) -> bool:
    info = record.info
    return (
        all(getattr(query, name) in ("", getattr(info, name)) for name in ("tenant", "instance", "integration", "flow"))
        and (not query.statuses or record.status in query.statuses)
        and (query.parent is None or info.parent == query.parent)
        and (query.since is None or info.created_at >= query.since)
        and (query.until is None or info.created_at < query.until)
        and (not query.text or (record.error is not None and query.text.casefold() in record.error.message.casefold()))
    )
