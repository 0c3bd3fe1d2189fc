"""What an execution is, and its record: the history that people read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum

from turnout.model.limits import ExecutionLimits
from turnout.model.payload import Encoded

__all__ = [
    "ErrorInfo",
    "ExecutionInfo",
    "ExecutionRecord",
    "LogLine",
    "SandboxReceipt",
    "Status",
    "StepRecord",
    "StepStatus",
    "parent_id",
]

_CHILD = re.compile(r"-[0-9a-f]{10}\Z")


def parent_id(id: str) -> str:
    """The id of the execution that called a sub-execution, whose own id is that, `-` and ten hex digits; else empty."""
    found = _CHILD.search(id)
    return id[: found.start()] if found else ""


class Status(StrEnum):
    """Of an execution. `parked` waits for a person, `waiting` for a time or a callback; both can go on."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PARKED = "parked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


class StepStatus(StrEnum):
    RUNNING = "running"
    WAITING = "waiting"
    PARKED = "parked"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """Why a step or an execution failed, without secrets. `step` is the path of the step it came from."""

    kind: str
    message: str
    step: str = ""
    stack: str = ""
    details: Encoded | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionInfo:
    """What an execution is from its first moment, never changed afterwards. Times are seconds since the epoch.

    `tenant` is the customer whom it belongs to; `instance` the deployment, `settings` the digest of the config and
    connections that it runs with; `bundle` the content hash of the code and definition. `deadline` is absolute or None.
    A sub-execution names its `parent` and the `parent_path` of the step that called it. An execution made by replay names its
    origin in `replay_of`. `limits` are those of its flow, as they came out for it; None where the flow has none.
    `traceparent` and `tracestate` (W3C) are the span that started it, a webhook's sender's or a calling step's;
    `replayed_span` is the `traceparent` of the execution that it repeats.
    """

    id: str
    tenant: str
    instance: str
    integration: str
    version: str
    bundle: str
    flow: str
    settings: str
    trigger: Encoded
    created_at: float
    deadline: float | None = None
    parent: str = ""
    parent_path: str = ""
    replay_of: str = ""
    limits: ExecutionLimits | None = None
    traceparent: str = ""
    tracestate: str = ""
    replayed_span: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step as people see it. `path` is the ids from the flow down, items in brackets: `each[3].post`."""

    path: str
    kind: str
    status: StepStatus
    attempts: int = 1
    started_at: float
    duration_ms: float = 0.0
    output: Encoded | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxReceipt:
    """What stood around the customer's code of one execution in one sandbox, and what the code used.

    `sandbox` is the sandbox's name, `layers` what was active, `uid` the process's user where it had one of its own (else -1).
    `memory_bytes` is its limit, `peak_memory_bytes` the most that was resident; `jobs` how many steps it ran; `hosts` those
    that it contacted, as `host:port`.
    """

    sandbox: str
    layers: tuple[str, ...] = ()
    uid: int = -1
    memory_bytes: int = 0
    peak_memory_bytes: int = 0
    cpu_ms: float = 0.0
    jobs: int = 0
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of an execution's log; `level` is debug, info, warning or error."""

    at: float
    level: str
    message: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """An execution's history. `duration_ms` runs from the first start to the end, waits included.

    `sandboxes` are those that its code ran in, in the order in which they were left.
    """

    info: ExecutionInfo
    status: Status
    attempts: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    output: Encoded | None = None
    error: ErrorInfo | None = None
    steps: tuple[StepRecord, ...] = field(default=())
    sandboxes: tuple[SandboxReceipt, ...] = field(default=())

    @property
    def duration_ms(self) -> float | None:
        if self.started_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.started_at) * 1000
