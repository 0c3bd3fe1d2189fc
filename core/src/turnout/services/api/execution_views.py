"""What the HTTP API says of executions: the shapes of `turnout.services.record_json`, which makes them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from turnout.model.execution import Status, StepStatus

__all__ = ["Error", "Execution", "ExecutionPage", "ExecutionSummary", "LogPage", "Time"]

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]
Milliseconds = Annotated[float, msgspec.Meta(ge=0)]


class Error(msgspec.Struct, frozen=True, kw_only=True):
    """Why a step or an execution failed. `stack` is the customer's own, of code steps."""

    kind: str
    message: str
    step: str | None
    stack: str | None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A step: `path` is the ids from the flow down, items in brackets."""

    path: str
    status: StepStatus
    attempts: int
    started_at: Time | None
    duration_ms: Milliseconds | None
    error: Error | None
    kind: str


class Sandbox(msgspec.Struct, frozen=True, kw_only=True):
    """What stood around the customer's code, and what it used."""

    sandbox: str
    layers: list[str]
    uid: int | None
    memory_bytes: int
    peak_memory_bytes: int
    cpu_ms: float | None
    jobs: int
    hosts: list[str]


class ExecutionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An execution, without its steps."""

    id: str
    integration: str
    version: str
    flow: str
    status: Status
    output: Any
    error: Error | None
    started_at: Time | None
    duration_ms: float | None
    instance: str
    customer: str
    created_at: Time
    ended_at: Time | None
    attempts: int
    parent: str | None
    replay_of: str | None
    limits: dict[str, Any] | None
    trace_id: str


class Execution(ExecutionSummary, frozen=True, kw_only=True):
    """An execution with its steps and the sandboxes that its code ran in."""

    steps: list[Step]
    sandboxes: list[Sandbox]


class ExecutionPage(msgspec.Struct, frozen=True, kw_only=True):
    """Executions, the newest first; `next` is the `cursor` of the following page, null at the end."""

    items: list[ExecutionSummary]
    next: str | None


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line that an execution logged; `number` rises."""

    number: int
    at: Time
    level: str
    step: str
    message: str


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """Lines in their order; `next` is `after` for the following page, null where there is nothing more now."""

    items: list[LogLine]
    next: int | None
