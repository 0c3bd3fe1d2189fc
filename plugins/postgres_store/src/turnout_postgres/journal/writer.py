"""Group commit: all that executions of this process want to write while a commit is under way goes into the next one.

A batch is one call of a function in the database: one round trip, one transaction. Batches are numbered, and the last one's
number and answers are kept with what it wrote: a batch that is sent again, since the connection broke before the answer
came, is answered from there.
"""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Final
from uuid import uuid4

from turnout.errors import BackendError
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Row

from turnout_postgres.database import Database, Session
from turnout_postgres.plain_text import plain

__all__ = ["ABSENT", "REFUSED", "Done", "Verb", "Write", "Writer"]

_MOST: Final = 500
"""Writes in one batch at most: a bound on how long the others wait for the first."""

_MOST_BYTES: Final = 8 * 1024 * 1024

REFUSED: Final = -1
"""The answer to a begin of what exists, to a signal of what has no rows."""
ABSENT: Final = -2
"""The answer of an execution that is not in the journal. Above 0 an answer is the fence; 0: it was done."""

_WRITE: Final = """
    SELECT {s}.journal_write(
        $1::uuid, $2::bigint, $3::float8, $4::text[], $5::text[], $6::bigint[], $7::float8[], $8::int[], $9::text[],
        $10::bytea[]
    )
"""

_log = logging.getLogger("turnout.postgres")

Done = Callable[[int, BackendError | None], None]


class Verb(StrEnum):
    BEGIN = "begin"
    APPEND = "append"
    SIGNAL = "signal"
    OWNER = "owner"
    """Writes nothing: asks whether the token is still the owner's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One wish; its rows are written all or none."""

    verb: Verb
    execution: str
    token: int = 0
    unique_s: float = 0.0
    rows: Sequence[Row] = ()

    @property
    def size(self) -> int:
        return sum(len(row.body) for row in self.rows)


class Writer:
    """Writes in the order sent. What is sent from one event loop's tasks before any of them waits shares a batch."""

    def __init__(self, database: Database, clock: Clock | None) -> None:
        self._database = database
        self._clock = clock
        self._id = uuid4()
        self._batch = 0
        self._sent: collections.deque[tuple[Write, Done]] = collections.deque()
        self._open: collections.Counter[str] = collections.Counter()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self.unacknowledged_bytes = 0
        self.is_in_doubt = False
        """Whether a batch was given up of which it is not known what became."""

    def send(self, write: Write, done: Done) -> None:
        """Send it; `done` is called with the answer once it is committed, or with the error."""
        if self._closed:
            raise BackendError("the journal is closed")
        self._sent.append((write, done))
        self._open[write.execution] += 1
        self.unacknowledged_bytes += write.size
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._commit_all())

    async def run(self, write: Write) -> int:
        """Send it and wait for the answer. If the caller is cancelled it is written all the same."""
        outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def done(answer: int, error: BackendError | None) -> None:
            if outcome.done():
                return
            if error is None:
                outcome.set_result(answer)
            else:
                outcome.set_exception(error)

        self.send(write, done)
        return await outcome

    async def settle(self, execution: str) -> None:
        """Wait until nothing of this execution is under way, and no ghost of a batch that was given up can come after."""
        while self._open[execution] and self._task is not None:
            await asyncio.shield(self._task)
        if self.is_in_doubt:
            await self.run(
                Write(verb=Verb.SIGNAL, execution="")
            )  # of an execution that is not there: a batch all the same

    async def close(self) -> None:
        """Write what was sent. Idempotent."""
        self._closed = True
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _commit_all(self) -> None:
        await asyncio.sleep(0)  # what others are about to send now comes along
        while self._sent:
            batch = self._next()
            try:
                answers, error = await self._commit([write for write, _ in batch]), None
            except Exception as failure:  # whatever it is, those who wait must hear of it
                answers = [0] * len(batch)
                error = failure if isinstance(failure, BackendError) else _unforeseen(failure)
            for (write, done), answer in zip(batch, answers, strict=True):
                self.unacknowledged_bytes -= write.size
                self._open[write.execution] -= 1
                if not self._open[write.execution]:
                    del self._open[write.execution]
                done(answer, error)

    def _next(self) -> list[tuple[Write, Done]]:
        batch = [self._sent.popleft()]
        size = batch[0][0].size
        while self._sent and len(batch) < _MOST and size + self._sent[0][0].size <= _MOST_BYTES:
            batch.append(self._sent.popleft())
            size += batch[-1][0].size
        return batch

    async def _commit(self, writes: list[Write]) -> list[int]:
        numbered = 0
        if any(write.verb is not Verb.OWNER for write in writes):
            self._batch += 1
            numbered = self._batch
        moment = None if self._clock is None else self._clock.now()
        parameters = (self._id, numbered, moment, *_columns(writes))
        try:
            row = await self._database.run(partial(_write, parameters=parameters))
        except BackendError:
            self.is_in_doubt = self.is_in_doubt or numbered > 0
            raise
        if row is None or row[0] is None:
            raise BackendError("the journal was written to by a batch of this process that was thought to be lost")
        self.is_in_doubt = self.is_in_doubt and numbered == 0
        answers: list[int] = row[0]
        return answers


def _unforeseen(failure: Exception) -> BackendError:
    _log.error("the journal cannot be written", exc_info=failure)
    return BackendError(f"the journal cannot be written: {type(failure).__name__}")


async def _write(session: Session, *, parameters: tuple[Any, ...]) -> tuple[Any, ...] | None:
    return await session.one(_WRITE, *parameters)


def _columns(writes: list[Write]) -> tuple[list[Any], ...]:
    rows = [row for write in writes for row in write.rows]
    return (
        [write.verb.value for write in writes],
        [plain(write.execution) for write in writes],
        [write.token for write in writes],
        [write.unique_s for write in writes],
        [len(write.rows) for write in writes],
        [plain(row.kind) for row in rows],
        [row.body for row in rows],
    )
