"""The event stream of an execution: what the journal keeps, observers see, and records are made from.

One closed union, `Event`. Times are seconds since the epoch. `EVENTS` maps each event's stable name, which journals
store, to its class; a name is never reused for another meaning.
"""

from __future__ import annotations

from dataclasses import dataclass

from turnout.model.execution import ErrorInfo, ExecutionInfo, SandboxReceipt, Status, StepStatus
from turnout.model.payload import Encoded

__all__ = [
    "EVENTS",
    "Accepted",
    "Attempted",
    "Began",
    "CancelRequested",
    "Decided",
    "Ended",
    "Event",
    "Intended",
    "Isolated",
    "Logged",
    "Resumed",
    "Signalled",
    "StepEnded",
    "StepRunning",
    "Waiting",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The execution exists and will run: written before anything can refuse it.

    With `again` a person put it back after its journal was forgotten: whoever reads the stream has had this before.
    """

    at: float
    info: ExecutionInfo
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """A worker claimed the execution with `token`; `attempt` counts claims, from 1."""

    at: float
    worker: str
    token: int
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """An effect is about to happen. If no `StepEnded` or `Attempted` follows, nobody knows whether it did."""

    at: float
    path: str
    attempt: int
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempted:
    """An attempt of a step failed and another follows, not before `next_at`.

    With `restart` the step has steps inside it (a loop, a branch), which all begin anew: their ends are forgotten.
    """

    at: float
    path: str
    attempt: int
    error: ErrorInfo
    next_at: float
    kind: str = ""
    started_at: float = 0.0
    restart: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """The value of a control step's volatile expression (one that asks for the time), so that it never changes."""

    at: float
    path: str
    value: Encoded


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRunning:
    """A step has been running for a while: for people only, the engine does not need it."""

    at: float
    path: str
    kind: str
    started_at: float
    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEnded:
    """A step has its end. `path` names it with its loop items: `each[3].post`.

    With `again` it is the end that it had before the execution was put back: whoever reads the stream has had it.
    """

    at: float
    path: str
    kind: str
    status: StepStatus
    started_at: float
    duration_ms: float
    attempts: int = 1
    output: Encoded | None = None
    error: ErrorInfo | None = None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A step waits until `until` (None: without end), for a callback when `callback` is set.

    Without a `path` the whole execution waits: nothing in it can go on, and it has left its worker.
    """

    at: float
    path: str
    until: float | None
    callback: bool = False
    started_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Signalled:
    """A callback arrived for the waiting step `path`. Written from outside, without a token. `traceparent` (W3C) is the
    sender's span, where it named one."""

    at: float
    path: str
    value: Encoded
    traceparent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """Somebody asked to cancel. Written from outside, without a token."""

    at: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """A person let a failed or parked execution go on. `drop` are the paths whose ends are forgotten (and all below), `inside`
    the steps that go on with what is in them: their own ends are forgotten, and none below.

    For a parked step, `output` decides it: set, the effect is taken to have happened with that output; None, it is run
    again. `deadline` replaces the execution's, where it has one: the time that the person took does not count.
    `children` pairs the path of a call with the sub-execution that it goes on with.
    """

    at: float
    drop: tuple[str, ...] = ()
    inside: tuple[StepRunning, ...] = ()
    decide: str = ""
    output: Encoded | None = None
    deadline: float | None = None
    children: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A line for the execution's log, without secrets."""

    at: float
    level: str
    message: str
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolated:
    """Customers' code ran in a sandbox that is left now: what stood around it, and what it used. For people only."""

    at: float
    receipt: SandboxReceipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The execution has its end, or, with `parked`, waits for a person."""

    at: float
    status: Status
    output: Encoded | None = None
    error: ErrorInfo | None = None


Event = (
    Accepted
    | Began
    | Intended
    | Attempted
    | Decided
    | StepRunning
    | StepEnded
    | Waiting
    | Signalled
    | CancelRequested
    | Resumed
    | Logged
    | Isolated
    | Ended
)

EVENTS: dict[str, type[Event]] = {
    "accepted": Accepted,
    "began": Began,
    "intended": Intended,
    "attempted": Attempted,
    "decided": Decided,
    "running": StepRunning,
    "step": StepEnded,
    "waiting": Waiting,
    "signalled": Signalled,
    "cancel": CancelRequested,
    "resumed": Resumed,
    "log": Logged,
    "isolated": Isolated,
    "ended": Ended,
}
