"""What a batch changes, gathered by execution and written as the tables have it, before a transaction begins."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from turnout.codec import pack, pack_error, pack_info, pack_receipts
from turnout.interfaces.records import MOST_SANDBOXES, ExecutionChange, RecordBatch
from turnout.model.execution import ErrorInfo, ExecutionInfo, LogLine, SandboxReceipt, StepRecord
from turnout.model.payload import Encoded

from turnout_postgres.plain_text import plain

__all__ = ["Change", "Changes", "StepRow", "gathered", "searchable"]


@dataclass(slots=True)
class Change:
    """All changes of one execution in a batch, as one. None keeps what is stored; after `reopened`, nothing is kept of the
    end."""

    info: ExecutionInfo | None = None
    packed_info: bytes = b""
    trigger_payloads: str | None = None
    status: str | None = None
    attempts: int | None = None
    started_at: float | None = None
    ended_at: float | None = None
    output: bytes | None = None
    output_payloads: str | None = None
    error: bytes | None = None
    error_text: str | None = None
    error_payloads: str | None = None
    reopened: bool = False
    dropped: list[str] = field(default_factory=list)
    receipts: list[SandboxReceipt] = field(default_factory=list)

    def add(self, change: ExecutionChange) -> None:
        """A later change."""
        if change.info is not None and self.info is None:
            self.info, self.packed_info = change.info, pack_info(change.info)
            self.trigger_payloads = payloads(change.info.trigger)
        if change.reopened:
            self.reopened = True
            self.ended_at = self.output = self.output_payloads = None
            self.error = self.error_text = self.error_payloads = None
        self.dropped += [plain(path) for path in change.dropped]
        self.receipts += change.sandboxes
        if change.status is not None:
            self.status = change.status.value
        if change.attempts is not None:
            self.attempts = change.attempts
        if self.started_at is None:
            self.started_at = change.started_at
        if change.ended_at is not None:
            self.ended_at = change.ended_at
        if change.output is not None:
            self.output, self.output_payloads = pack(change.output), payloads(change.output)
        if change.error is not None:
            self.error, self.error_payloads = pack_error(change.error), payloads(change.error)
            self.error_text = searchable(change.error.message)

    @property
    def sandboxes(self) -> str | None:
        """The receipts as they are stored."""
        return pack_receipts(self.receipts[:MOST_SANDBOXES]) or None

    @property
    def is_update(self) -> bool:
        """Whether it says anything but what the execution is and which steps to drop."""
        values = (self.status, self.attempts, self.started_at, self.ended_at, self.output, self.error)
        return self.reopened or bool(self.receipts) or any(value is not None for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRow:
    """A step's record."""

    path: str
    kind: str
    status: str
    attempts: int
    started_at: float
    duration_ms: float
    payloads: str | None
    output: bytes | None
    error: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """A batch by execution; names are as they are stored."""

    position: int
    executions: dict[str, Change]
    steps: dict[str, dict[str, StepRow]]
    logs: dict[str, list[LogLine]]

    @property
    def ids(self) -> list[str]:
        """All executions that it says something of."""
        return list(dict.fromkeys((*self.executions, *self.steps, *self.logs)))


def gathered(batch: RecordBatch) -> Changes:
    """The batch by execution. What cannot be written raises here, before anything is changed."""
    changes = Changes(position=batch.position, executions={}, steps={}, logs={})
    for change in batch.executions:
        changes.executions.setdefault(plain(change.id), Change()).add(change)
    for execution, step in batch.steps:
        changes.steps.setdefault(plain(execution), {})[plain(step.path)] = _step_row(step)
    for execution, line in batch.logs:
        changes.logs.setdefault(plain(execution), []).append(line)
    return changes


def searchable(text: str) -> str:
    """An error's message as searches compare it: without case."""
    return plain(text.casefold())


def payloads(*values: Encoded | ErrorInfo | None) -> str | None:
    """The hashes of all content that these values name and do not carry themselves, with spaces between; None: there is
    none."""
    return " ".join(sorted(set(_named(values)))) or None


def _named(values: Iterable[Encoded | ErrorInfo | None]) -> Iterable[str]:
    for value in values:
        encoded = value.details if isinstance(value, ErrorInfo) else value
        if encoded is not None:
            yield from (file.sha256 for _, file in encoded.files if file.data is None)
            if encoded.stored is not None and encoded.stored.data is None:
                yield encoded.stored.sha256


def _step_row(step: StepRecord) -> StepRow:
    return StepRow(
        path=plain(step.path),
        kind=plain(step.kind),
        status=step.status.value,
        attempts=step.attempts,
        started_at=step.started_at,
        duration_ms=step.duration_ms,
        payloads=payloads(step.output, step.error),
        output=None if step.output is None else pack(step.output),
        error=None if step.error is None else pack_error(step.error),
    )
