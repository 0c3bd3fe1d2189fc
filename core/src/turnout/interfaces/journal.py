"""The journal: an execution's append-only rows, from which it goes on after a crash."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from turnout.interfaces.opening import Openable
from turnout.model.durability import Durability

__all__ = ["Journal", "JournalEntry", "Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """One event, encoded by the engine: `kind` is its name in `turnout.model.events.EVENTS`; `body` is opaque here."""

    kind: str
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """A row with its place: `position` rises strictly with each row of the whole journal, in the order in which rows
    become visible, so that a reader that remembers the last one it saw misses none."""

    position: int
    execution: str
    row: Row


class Journal(Openable, ABC):
    """Append-only rows by execution, fenced by token, readable as one stream.

    Each sentence is a promise and a test in `turnout.testing.journal`. All methods may raise `BackendError`.
    """

    @property
    @abstractmethod
    def durability(self) -> Durability:
        """What a row survives once `barrier` (or `begin`, `signal`) has returned."""

    @abstractmethod
    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        """Write the first rows of a new execution, all or none, durably. False, and nothing changes, if it exists.

        With `unique_s` its name is remembered for so long, forgotten or not: beginning it again with `unique_s` within
        that time is False as well, and beginning it without is not."""

    @abstractmethod
    async def remembered(self, executions: Sequence[str]) -> Sequence[str]:
        """Those of the names that `begin` with `unique_s` would refuse now, in their order."""

    @abstractmethod
    async def open(self, execution: str, token: int) -> Sequence[Row]:
        """Take ownership: raise the execution's fence to `token` and return all its rows in the order written.

        `Fenced` if the fence is higher already. An execution without rows returns an empty sequence.
        """

    @abstractmethod
    async def append(self, execution: str, token: int, rows: Sequence[Row]) -> None:
        """Send rows, in order, all or none. They may be acknowledged later: `barrier` waits for that.

        `Fenced` here or at the next `barrier` if the fence is above `token`; the rows are then not written. To be called
        after `open`: a forgotten execution is not brought back (`BackendError`).
        """

    @abstractmethod
    async def barrier(self, execution: str, token: int) -> None:
        """Return once every row sent with this token is durable and the fence is still `token`; else `Fenced`."""

    @abstractmethod
    async def fence(self, execution: str, token: int) -> None:
        """Raise the fence to `token` if it is lower, so that an earlier owner can write no more. Never lowers it."""

    @abstractmethod
    async def signal(self, execution: str, row: Row) -> bool:
        """Write a row from outside, durably, whatever the fence. False, and nothing changes, if it has no rows."""

    @abstractmethod
    async def rows(self, execution: str) -> Sequence[Row]:
        """All rows in the order written, without taking ownership; empty if there is none."""

    @abstractmethod
    async def entries(self, *, after: int, limit: int) -> Sequence[JournalEntry]:
        """Up to `limit` rows of all executions with a position above `after`, in the order of their positions."""

    @abstractmethod
    async def unfinished(self) -> Sequence[str]:
        """Ids of executions with rows whose last row's kind is not `ended`, the oldest first."""

    @abstractmethod
    async def forget(self, executions: Sequence[str], *, through: int | None = None) -> None:
        """Remove all rows of these executions. Their positions are not used again. Unknown ids are ignored.

        With `through`, an execution that has a row with a higher position is left as it is: it goes on."""

    @abstractmethod
    async def close(self) -> None:
        """Send and acknowledge what is left, then let go of connections. Idempotent."""
