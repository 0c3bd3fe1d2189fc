"""A service: a unit of placement, written without knowing where it runs.

Its handlers are called by whatever its target has: an HTTP server or a gateway, timers or a cloud's scheduler, readers of the
event stream or a queue. Between two calls nothing can be counted on: neither the process, nor its disk, nor a global.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self, TypeVar

from pydantic import BaseModel

from turnout.errors import Unsupported
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.opening import read_options
from turnout.interfaces.payloads import PayloadStore
from turnout.interfaces.records import RecordStore
from turnout.interfaces.secrets import Secret
from turnout.interfaces.state import StateStore
from turnout.model.events import Event
from turnout.model.execution import ExecutionInfo
from turnout.values import Value

__all__ = [
    "Consumer",
    "Delivery",
    "Invocation",
    "Needs",
    "Request",
    "Response",
    "Route",
    "Service",
    "ServiceOpening",
    "Starting",
    "Timer",
]

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request without a server. Header names are lower case; `query` and `path` values are decoded.

    `body` streams; read it once. `client` is the address that it came from, empty where that is not known.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: AsyncIterator[bytes]
    url: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP answer; a body that is a stream is sent in chunks."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """`path` may hold parameters: `/hooks/{instance}/{flow}`."""

    method: str
    path: str
    handle: Callable[[Request], Awaitable[Response]]


def _unbounded() -> float:
    return math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """One call of a handler. `remaining_s` says how long it may still take: after that, the target may end it anywhere.

    To a consumer `dropped` says of how many executions it will not get every event, since it last heard of that: it did not
    read for so long that the journal could not keep them (`storage.unread`)."""

    remaining_s: Callable[[], float] = _unbounded
    dropped: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timer:
    """Called every `every_s`, as near to that as the target can, by one process or several at once; a call that takes
    longer is not joined by another in the same process. What it raises is told, and the next call comes as ever.

    `soon` returns when there is something to do already, which this process has learned of: where a process lives on between
    calls, the next call then comes without waiting for its time, unless the last one failed."""

    name: str
    every_s: float
    handle: Callable[[Invocation], Awaitable[None]]
    soon: Callable[[], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event of an execution. `id` is the same each time the event is delivered, and no other's."""

    id: str
    info: ExecutionInfo
    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """Reads the event stream after the fact. `name` stands for how far it has come: it must not change, and is no other's.

    `handle` gets up to `most` deliveries of the kinds in `events` (names of `turnout.model.events.EVENTS`), and returns the ids
    of those that failed: they come again, later, as do all if it raises. Every event comes at least once; an execution's come
    in their order unless one failed. A call without deliveries only tells what was `dropped`.
    """

    name: str
    events: frozenset[str]
    handle: Callable[[Sequence[Delivery], Invocation], Awaitable[Sequence[str]]]
    most: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What a service asks of the place where it runs: `call_s` is the longest that a call of a handler takes, `bodies` whether
    it takes requests as large as `limits.request` allows, `long_lived` whether it works on between calls, and `in_calls` whether
    it can do the same in calls of `work`, where no process lives on."""

    call_s: float = 30.0
    bodies: bool = False
    long_lived: bool = False
    in_calls: bool = False


class Starting(Protocol):
    """Starts a flow of a customer's instance with `trigger` as its trigger's value; the execution's id, once nothing can lose
    it. The same `deduplication_id` is one execution for a day. `NotFound` if there is no such instance or flow."""

    async def __call__(
        self, tenant: str, instance: str, flow: str, trigger: Value, *, deduplication_id: str = ""
    ) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceOpening:
    """What a plugin's service is made with. `options` is its table `[services.<name>.options]`, as written; `read` checks it.
    `secret` resolves a reference in it (`env:TOKEN`). What it must remember belongs into the `catalog`, under kinds that begin
    with its name: nothing in its process lasts."""

    name: str
    options: Mapping[str, Any]
    clock: Clock
    secret: Callable[[str], Awaitable[Secret]]
    catalog: CatalogStore
    records: RecordStore
    payloads: PayloadStore
    state: StateStore
    start: Starting

    def read(self, model: type[M]) -> M:
        """The options as a pydantic model of the service's. `SettingsError` names each that is wrong, missing or unknown,
        and never a value."""
        return read_options(self.options, model, "services", self.name, "options")


class Service(ABC):
    """Handlers for HTTP routes, timers and the event stream, and work of its own between `start` and `stop`.

    Each sentence is a promise and a test in `turnout.testing.service`.
    """

    name: str
    needs: ClassVar[Needs] = Needs()

    @classmethod
    async def connect(cls, opening: ServiceOpening) -> Self:  # noqa: ARG003 - the interface
        """Make it, for a project that has the plugin which provides it. `SettingsError` names a setting that is missing, wrong
        or unknown; `BackendError` says what cannot be reached. Nothing goes on yet: `start` begins."""
        raise Unsupported(cls.__name__, "connect")

    def routes(self) -> Sequence[Route]:
        """What it answers over HTTP, the same at any time; nothing by default. No two routes have the same method and path.
        A handler answers what it does not know, or cannot read, with a status of 400 to 499 and does not raise."""
        return ()

    def timers(self) -> Sequence[Timer]:
        """What is to be done again and again, the same at any time; nothing by default. No two have the same name."""
        return ()

    def consumers(self) -> Sequence[Consumer]:
        """What it reads of the event stream, the same at any time; nothing by default."""
        return ()

    async def work(self, call: Invocation) -> None:
        """Where no process lives on, and instead of `start`: do what it does between calls, for as long as there is something
        to do and the call has time; what is not done by then is left to others, or to the next call."""
        raise Unsupported(type(self).__name__, "work")

    @abstractmethod
    async def start(self) -> None:
        """Begin. Returns once it serves; what goes on runs in tasks of its own."""

    @abstractmethod
    async def stop(self) -> None:
        """Finish what is in hand, or hand it back, and end: no task of its own goes on. Idempotent; nothing happens to a
        service that was not started."""
