"""The journal in memory: for tests, and for executions that need not outlive the process."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from turnout.errors import BackendError, Fenced
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.journal import Journal, JournalEntry, Row
from turnout.model.durability import Durability

__all__ = ["MemoryJournal"]


@dataclass(slots=True)
class _Execution:
    fence: int = 0
    entries: list[JournalEntry] = field(default_factory=list)


class MemoryJournal(Journal):
    """Implements `Journal` for one process."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._names: dict[str, float] = {}  # begun with `unique_s`: until when each is remembered
        self._expiries: list[tuple[float, str]] = []
        self._executions: dict[str, _Execution] = {}
        self._entries: dict[int, JournalEntry] = {}
        self._position = 0

    @property
    def durability(self) -> Durability:
        return Durability.MEMORY

    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        if unique_s > 0 and self._remembered(execution):
            return False
        known = self._executions.setdefault(execution, _Execution())
        if known.entries:
            return False
        self._write(execution, known, rows)
        if unique_s > 0:
            self._names[execution] = self._clock.now() + unique_s
            heapq.heappush(self._expiries, (self._names[execution], execution))
        return True

    async def remembered(self, executions: Sequence[str]) -> Sequence[str]:
        return [id for id in executions if self._remembered(id) or await self.rows(id)]

    async def open(self, execution: str, token: int) -> Sequence[Row]:
        known = self._executions.setdefault(execution, _Execution())
        self._check(execution, known, token)
        known.fence = token
        return await self.rows(execution)

    async def append(self, execution: str, token: int, rows: Sequence[Row]) -> None:
        self._write(execution, self._owned(execution, token), rows)

    async def barrier(self, execution: str, token: int) -> None:
        self._owned(execution, token)

    async def fence(self, execution: str, token: int) -> None:
        known = self._executions.setdefault(execution, _Execution())
        known.fence = max(known.fence, token)

    async def signal(self, execution: str, row: Row) -> bool:
        known = self._executions.get(execution)
        if known is None or not known.entries:
            return False
        self._write(execution, known, [row])
        return True

    async def rows(self, execution: str) -> Sequence[Row]:
        known = self._executions.get(execution)
        return [entry.row for entry in known.entries] if known else []

    async def entries(self, *, after: int, limit: int) -> Sequence[JournalEntry]:
        found = [entry for position, entry in self._entries.items() if position > after]
        return found[:limit]

    async def unfinished(self) -> Sequence[str]:
        open_ended = [
            (known.entries[0].position, execution)
            for execution, known in self._executions.items()
            if known.entries and known.entries[-1].row.kind != "ended"
        ]
        return [execution for _, execution in sorted(open_ended)]

    async def forget(self, executions: Sequence[str], *, through: int | None = None) -> None:
        for execution in executions:
            known = self._executions.get(execution, _Execution())
            if through is not None and known.entries and known.entries[-1].position > through:
                continue
            self._executions.pop(execution, None)
            for entry in known.entries:
                del self._entries[entry.position]

    async def close(self) -> None:
        """Nothing is left to send."""

    def _remembered(self, execution: str) -> bool:
        now = self._clock.now()
        while self._expiries and self._expiries[0][0] <= now:
            del self._names[heapq.heappop(self._expiries)[1]]
        return execution in self._names

    def _owned(self, execution: str, token: int) -> _Execution:
        known = self._executions.get(execution)
        if known is None:
            raise BackendError(f"execution {execution} is not in the journal: it was forgotten, or never opened")
        self._check(execution, known, token)
        return known

    def _check(self, execution: str, known: _Execution, token: int) -> None:
        if known.fence > token:
            raise Fenced(execution, token=token, current=known.fence)

    def _write(self, execution: str, known: _Execution, rows: Sequence[Row]) -> None:
        for row in rows:
            self._position += 1
            entry = JournalEntry(position=self._position, execution=execution, row=row)
            known.entries.append(entry)
            self._entries[entry.position] = entry
