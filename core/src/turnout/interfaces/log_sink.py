"""A log sink: where the logs service ships what executions and the platform log: a file, Datadog, a collector, CloudWatch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from turnout.interfaces.opening import Openable

__all__ = ["LEVELS", "LogEntry", "LogSink", "Shipped"]

LEVELS: Final = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line. `id` is the same each time it is shipped, and no other's. `at` is seconds since the epoch, `level` one of
    `LEVELS`, `source` one of `log` (a flow's own), `steps`, `executions` and `platform`. What does not belong to an execution
    leaves `tenant` and all after it empty. It has no secrets: they are masked where a line is written."""

    id: str
    at: float
    level: str
    source: str
    message: str
    tenant: str = ""
    instance: str = ""
    integration: str = ""
    version: str = ""
    flow: str = ""
    execution: str = ""
    step: str = ""
    trace_id: str = ""
    span_id: str = ""
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """What came of entries: `failed` are the ids of those to be shipped again later; `refused` counts those that the other side
    will never take, for the `reason`, which has no secrets."""

    failed: tuple[str, ...] = ()
    refused: int = 0
    reason: str = ""


class LogSink(Openable, ABC):
    """Takes entries, in any order, of several executions and customers at once.

    Each sentence is a promise and a test in `turnout.testing.log_sink`.
    """

    @abstractmethod
    async def write(self, entries: Sequence[LogEntry]) -> Shipped:
        """Once this has returned, all entries are the other side's, but for those that failed or were refused. Any number of
        entries of any size is taken: what is too large for the other side is cut, and says so. Text comes out as it went in,
        whatever it holds, but for lone surrogates. If the other side takes nothing at all now, `BackendError` is raised, which is
        `Overloaded` where it said when to try again; no error shows a credential. Shipping an entry again is harmless. No entries:
        nothing happens."""

    @abstractmethod
    async def close(self) -> None:
        """Idempotent."""
