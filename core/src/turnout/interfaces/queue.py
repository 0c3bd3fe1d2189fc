"""The queue: who runs next. Each sentence of these docstrings is a promise and a test in `turnout.testing.queue`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

from turnout.errors import Unsupported
from turnout.interfaces.opening import Openable
from turnout.model.durability import Durability
from turnout.model.limits import Concurrency, Debounce, Rate

__all__ = [
    "Concurrency",
    "DeadMessage",
    "Debounce",
    "Lease",
    "LeaseState",
    "Message",
    "Queue",
    "QueueCapability",
    "QueueStats",
    "Rate",
]


class QueueCapability(StrEnum):
    FAIRNESS = "fairness"
    """Messages of different tenants are handed out in turn, by their weights, whatever each has waiting; a tenant at its
    `in_flight` cap is passed over until one of its leases ends."""
    PRIORITY = "priority"
    """Within a tenant a higher priority is handed out first."""
    FIRST_DUE = "first_due"
    """Of one tenant and priority the one due first is handed out first. An expired lease's message is handed out before those
    waiting, and a reaped one goes to the head of its tenant's line. Without it any message that is due may come next."""
    CLAIM = "claim"
    """A message can be claimed by its id, due or not."""
    LIMITS = "limits"
    """`Message.concurrency`, `rates`, `order` and `debounce` are kept to. Without it a message that has one of them is
    refused with `Unsupported`, so that no limit is silently ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One execution to run. `id` is the execution's id; `tenant` whose turn it takes.

    Limits delay and never drop. Their keys belong to the tenant: those of two tenants are never the same. Messages with
    the same `order` are handed out one at a time in the order in which they were put, each once the one before was
    completed, dropped or died; while that one waits, those behind it wait as well.
    """

    id: str
    tenant: str
    priority: int = 0
    concurrency: tuple[Concurrency, ...] = ()
    rates: tuple[Rate, ...] = ()
    order: str = ""
    debounce: Debounce | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to run an execution until `expires_at` (seconds since the epoch, by the queue's clock).

    `token` is larger than that of every earlier lease of the same id; `attempt` counts claims in a row that ended
    neither in `complete` nor in `release`, this one included. `superseded_by` is the id of the message that took its
    place (`Debounce`), else empty.
    """

    message: Message
    worker: str
    token: int
    attempt: int
    expires_at: float
    superseded_by: str = ""


class LeaseState(StrEnum):
    """What `extend` says of a lease."""

    HELD = "held"
    LOST = "lost"
    CANCELLED = "cancelled"
    """Held and extended, and somebody asked to cancel the execution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadMessage:
    """A message that used up its attempts; `reason` is the last failure's, without secrets."""

    message: Message
    attempts: int
    reason: str
    died_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueStats:
    """How many are due, not yet due, held back by a limit, leased and dead; the age in seconds of the oldest that is due.

    `tenants` has how many of each tenant are due or held back, where the queue knows; `shards` the same as here of each
    shard by its name, where the queue has several."""

    ready: int
    delayed: int
    leased: int
    dead: int
    oldest_ready_s: float
    held: int = 0
    tenants: Mapping[str, int] = field(default_factory=dict)
    shards: Mapping[str, QueueStats] = field(default_factory=dict)


class Queue(Openable, ABC):
    """Hands each message to one worker at a time, at least once, until it is completed.

    Safe to use from several processes where `durability` is not `memory`. All methods may raise `BackendError`.
    """

    capabilities: ClassVar[frozenset[QueueCapability]]

    @property
    @abstractmethod
    def durability(self) -> Durability:
        """What a message survives once `put` has returned."""

    @abstractmethod
    async def put(self, message: Message, *, delay_s: float = 0.0, capped: bool = False) -> bool:
        """Add a message, to be handed out after `delay_s`. False, and nothing changes, if its id is there already
        (waiting, leased or dead). A worker blocked in `take` gets a due message without polling delay.

        `Overloaded`, and nothing changes, if `capped` and as many of its tenant's messages wait as its policy's
        `capacity`."""

    @abstractmethod
    async def room(self, tenant: str) -> int | None:
        """How many more messages of the tenant fit below its `capacity`; None: any number."""

    @abstractmethod
    async def missing(self, ids: Sequence[str]) -> Sequence[str]:
        """Those of the ids that are not there (neither waiting, leased nor dead), in their order."""

    @abstractmethod
    async def take(self, worker: str, *, wait_s: float) -> Lease | None:
        """Lease the next due message, waiting at most `wait_s`; None if none came. An expired lease's message
        is due as well."""

    async def take_many(self, worker: str, *, limit: int, wait_s: float) -> Sequence[Lease]:
        """Up to `limit` leases at once, as by `take`; waits for the first only."""
        lease = await self.take(worker, wait_s=wait_s)
        return [] if lease is None else [lease]

    async def claim(self, worker: str, id: str) -> Lease | None:
        """Lease this message now, due or not and whatever its limits; None if it is not there, dead, or leased and not
        expired. Needs `CLAIM`."""
        raise Unsupported(type(self).__name__, QueueCapability.CLAIM)

    @abstractmethod
    async def extend(self, leases: Sequence[Lease]) -> Sequence[LeaseState]:
        """Renew each lease for the queue's lease time from now; the states come in the order of the leases. A lease
        whose message was leased again, reaped, completed or dropped is `LOST` and stays so."""

    @abstractmethod
    async def complete(self, lease: Lease) -> bool:
        """Remove the message. False, and nothing changes, if the lease is lost."""

    @abstractmethod
    async def release(self, lease: Lease, *, delay_s: float | None = 0.0) -> bool:
        """Give the message back, due after `delay_s`, or only when woken if None; its attempts start over. If `wake`
        or `cancel` was called during the lease it is due at once. False if the lease is lost."""

    @abstractmethod
    async def decline(self, lease: Lease, *, delay_s: float = 0.0) -> bool:
        """Give the message back untouched, due after `delay_s`: this attempt does not count, those before it still do. If
        `wake` or `cancel` was called during the lease it is due at once. False if the lease is lost."""

    @abstractmethod
    async def fail(self, lease: Lease, *, reason: str, delay_s: float = 0.0) -> bool:
        """Give the message back, due after `delay_s`, its attempt counted; after the queue's `max_attempts` it goes
        to the dead letters instead. False if the lease is lost."""

    @abstractmethod
    async def wake(self, id: str) -> bool:
        """Make a delayed message due now; a leased one is due at once when it is released. False if not there."""

    @abstractmethod
    async def cancel(self, id: str) -> bool:
        """Ask the holder of the message to stop: `extend` answers `CANCELLED` from now on, for this lease and any
        later one; a message that is waiting becomes due at once, so that a worker can end it. False if not there."""

    @abstractmethod
    async def reap(self, *, workers: Collection[str] = ()) -> Sequence[Lease]:
        """End every expired lease, and each that one of `workers` holds, who are known to be dead: its message is
        due at once, or, after `max_attempts`, among the dead letters. Returns the leases ended, each with
        a token raised past the lost one's, with which the caller fences the journal. Safe to call from many processes:
        each lease is returned once."""

    @abstractmethod
    async def workers(self) -> Sequence[str]:
        """Those who hold a lease, each once."""

    @abstractmethod
    async def stats(self) -> QueueStats: ...

    @abstractmethod
    async def dead(self, *, limit: int = 100) -> Sequence[DeadMessage]:
        """The dead letters, the newest first."""

    @abstractmethod
    async def revive(self, id: str) -> bool:
        """Make a dead message due again, its attempts starting over, behind the others of its `order`. False if it is not
        dead."""

    @abstractmethod
    async def drop(self, id: str) -> bool:
        """Remove a message wherever it is; a lease of it is lost. False if not there."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections and wake blocked takers, which return None. Idempotent."""
