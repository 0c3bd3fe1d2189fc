"""The record store: the history of executions, for people."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from turnout.interfaces.journal import JournalEntry
from turnout.interfaces.opening import Openable
from turnout.model.execution import (
    ErrorInfo,
    ExecutionInfo,
    ExecutionRecord,
    LogLine,
    SandboxReceipt,
    Status,
    StepRecord,
)
from turnout.model.payload import Encoded

__all__ = ["MOST_SANDBOXES", "ExecutionChange", "ExecutionQuery", "KeptEvents", "RecordBatch", "RecordStore"]

MOST_SANDBOXES: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionChange:
    """The newest state of one execution; a field that is None keeps what is stored. `info` and `started_at` are set
    once: later ones change nothing, so that the start is the first worker's.

    `reopened` (after a resume) clears `ended_at`, `output` and `error` before the other fields are applied.
    `dropped` are step paths whose records, and all below, are removed. `sandboxes` are added behind those that are stored,
    which nothing removes; what comes after the first `MOST_SANDBOXES` of an execution is not kept.
    """

    id: str
    info: ExecutionInfo | None = None
    status: Status | None = None
    attempts: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    output: Encoded | None = None
    error: ErrorInfo | None = None
    reopened: bool = False
    dropped: tuple[str, ...] = ()
    sandboxes: tuple[SandboxReceipt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordBatch:
    """What a stretch of the event stream changes, up to and including `position`.

    `steps` and `logs` pair an execution's id with the record; a step's record replaces an earlier one of its path.
    """

    position: int
    executions: tuple[ExecutionChange, ...] = ()
    steps: tuple[tuple[str, StepRecord], ...] = ()
    logs: tuple[tuple[str, LogLine], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEvents:
    """Events of an execution in the order of their positions: those that its record lacks or, with `anew`, all that the store
    keeps of it, since one of them came late and the record has to be made again. `lacking` are the positions that the record
    lacks; `kept` is how many events the store keeps of the execution."""

    execution: str
    entries: tuple[JournalEntry, ...]
    lacking: frozenset[int]
    kept: int
    anew: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionQuery:
    """Filters, all of which must hold; empty means any. Times are seconds since the epoch, `since` inclusive, `until`
    exclusive, on the time of creation. `text` is looked for in the error's message, without case. `before` is the id
    after which a page goes on: the order is newest first, by creation and id."""

    tenant: str = ""
    instance: str = ""
    integration: str = ""
    flow: str = ""
    statuses: tuple[Status, ...] = ()
    since: float | None = None
    until: float | None = None
    text: str = ""
    parent: str | None = None
    before: str = ""
    limit: int = 50


class RecordStore(Openable, ABC):
    """Executions, their steps and their logs. Each sentence is a promise and a test in `turnout.testing.records`."""

    @abstractmethod
    async def apply(self, batch: RecordBatch) -> bool:
        """Apply a batch, all or nothing. False, and nothing changes, if its position is not above the last one
        applied: applying a batch twice is harmless."""

    @abstractmethod
    async def position(self) -> int:
        """The position of the last batch applied; 0 at first."""

    @abstractmethod
    async def keep(self, entries: Sequence[JournalEntry]) -> Sequence[KeptEvents]:
        """Keep events that come as they like: in any order, late, any number of times. What the records of their executions
        lack then, each execution once. An event is kept until its execution is pruned. One that is not above `position` is left
        out: the record has it."""

    @abstractmethod
    async def record(self, kept: Sequence[KeptEvents], batch: RecordBatch) -> bool:
        """Apply a batch that was made of these events, all or nothing, and note that the records have them; the position stays
        as it is. Executions whose events are `anew`, and of which the batch says what they are, are removed first. False, and
        nothing changes, if the store keeps other events of one of them by now, or the record lacks others."""

    @abstractmethod
    async def get(self, id: str) -> ExecutionRecord | None:
        """The execution with all its steps in the order of their start; None if unknown."""

    @abstractmethod
    async def search(self, query: ExecutionQuery) -> Sequence[ExecutionRecord]:
        """Matching executions, newest first, without their steps and sandboxes; at most `query.limit`."""

    @abstractmethod
    async def logs(self, id: str, *, after: int = 0, limit: int = 1000) -> Sequence[tuple[int, LogLine]]:
        """Log lines in order, each with its number (from 1, rising); those above `after`, at most `limit`."""

    @abstractmethod
    async def prune(self, *, ended_before: float | None = None, keep_bytes: int | None = None) -> Sequence[str]:
        """Remove final executions with steps and logs: those that ended before a time, then, while the store is larger
        than `keep_bytes`, the oldest. Executions that are not final are never removed. Returns their ids."""

    @abstractmethod
    async def remove(self, ids: Sequence[str]) -> None:
        """Remove these executions with steps and logs, whatever their status; the others stay as they are. Unknown ids are
        ignored. What a later batch says of one without its `info` does not bring it back."""

    @abstractmethod
    async def references(self) -> set[tuple[str, str]]:
        """Tenant and SHA-256 of every payload that a record still names."""

    @abstractmethod
    async def size_bytes(self) -> int:
        """What the records take in the store."""

    @abstractmethod
    async def close(self) -> None: ...
