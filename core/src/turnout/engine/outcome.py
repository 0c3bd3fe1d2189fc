"""How an execution leaves the engine other than by an error of a step."""

from __future__ import annotations

from dataclasses import dataclass

from turnout.model.execution import ErrorInfo, Status
from turnout.values import Value

__all__ = ["Finished", "Outcome", "Paused", "Stopped", "Suspended"]


class Paused(Exception):
    """The execution cannot go on now. `until` is when it can (None: when it is woken); `parked` says a person decides."""

    def __init__(self, *, until: float | None = None, parked: ErrorInfo | None = None) -> None:
        self.until = until
        self.parked = parked
        super().__init__("parked" if parked else f"until {until}")

    def joined(self, other: Paused) -> Paused:
        """Two arms paused at the same time: a parked one parks all, else the earlier wakes all."""
        if self.parked or other.parked:
            return Paused(parked=self.parked or other.parked)
        times = [pause.until for pause in (self, other) if pause.until is not None]
        return Paused(until=min(times) if times else None)


class Stopped(Exception):
    """A `stop` step was reached."""

    def __init__(self, output: Value) -> None:
        self.output = output
        super().__init__("stopped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The execution has its end, which is durable; or it is parked."""

    status: Status
    output: Value | None = None
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspended:
    """The execution waits: hand it back until then (None: until it is woken)."""

    until: float | None


Outcome = Finished | Suspended
