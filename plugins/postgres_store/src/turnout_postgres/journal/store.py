"""The journal on PostgreSQL.

Every row of every execution stands in one table under a position. Who writes holds one lock from before the positions are
drawn until the commit is visible, so that positions become visible in their order; what is sent while another commit is
under way shares the next one, so that this costs little. `append` only sends, `barrier` waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, Self

from turnout.errors import BackendError, Fenced
from turnout.interfaces.clock import Clock
from turnout.interfaces.journal import Journal, JournalEntry, Row
from turnout.interfaces.opening import Opening
from turnout.model.durability import Durability

from turnout_postgres.database import Database, Session
from turnout_postgres.journal.writer import ABSENT, Verb, Write, Writer
from turnout_postgres.plain_text import original, plain

__all__ = ["PostgresJournal"]

_OPEN: Final = "SELECT current, kinds, bodies FROM {s}.journal_open($1::text, $2::bigint)"
_FENCE: Final = """
    INSERT INTO {s}.journal_executions (id, fence) VALUES ($1, $2)
    ON CONFLICT (id) DO UPDATE SET fence = excluded.fence WHERE excluded.fence > journal_executions.fence
"""
_ROWS: Final = """
    SELECT kind, body FROM {s}.journal_rows
    WHERE execution = (SELECT key FROM {s}.journal_executions WHERE id = $1) ORDER BY position
"""
_ENTRIES: Final = """
    SELECT position, id, kind, body
    FROM (SELECT * FROM {s}.journal_rows WHERE position > $1 ORDER BY position LIMIT $2) AS page
    JOIN {s}.journal_executions ON key = execution ORDER BY position
"""
_UNFINISHED: Final = "SELECT id FROM {s}.journal_executions WHERE first IS NOT NULL AND NOT ended ORDER BY first"

_REMEMBERED: Final = """
    SELECT asked FROM unnest($1::text[]) WITH ORDINALITY AS given (asked, n)
    WHERE EXISTS (SELECT FROM {s}.journal_executions WHERE id = asked AND first IS NOT NULL) OR EXISTS (
        SELECT FROM {s}.journal_names
        WHERE id = asked AND until > coalesce($2::float8, extract(epoch FROM clock_timestamp())::float8)
    )
    ORDER BY n
"""

_FORGOTTEN_AT_ONCE: Final = 50
"""Executions forgotten in one transaction: removing long histories does not hold up the others."""

_CLEARED: Final = 100

_UNACKNOWLEDGED_BYTES: Final = 32 * 1024 * 1024
"""Above this, `append` waits, so that a slow server does not fill the memory."""

_FAILED: Final = 10_000
"""Executions of which a failure is remembered, so that nothing is written after a gap; beyond, the earliest is forgotten."""


class PostgresJournal(Journal):
    """Implements `Journal` in `database`, which the caller closes. `clock` is for tests: the time of names that are
    remembered is the database's own."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock
        self._writer = Writer(database, clock)
        self._failed: dict[str, dict[int, BackendError]] = {}

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        return cls(await Database.of(opening))

    @property
    def durability(self) -> Durability:
        return self._database.durability

    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        write = Write(verb=Verb.BEGIN, execution=execution, rows=tuple(rows), unique_s=unique_s)
        return await self._writer.run(write) == 0

    async def remembered(self, executions: Sequence[str]) -> Sequence[str]:
        asked = [plain(execution) for execution in executions]
        rows = await self._database.run(lambda session: session.rows(_REMEMBERED, asked, self._now()))
        return [original(id) for (id,) in rows]

    async def open(self, execution: str, token: int) -> Sequence[Row]:
        await self._writer.settle(execution)
        row = await self._database.run(partial(_open, execution=execution, token=token))
        assert row is not None
        current, kinds, bodies = row
        if current > token:
            raise Fenced(execution, token=token, current=current)
        self._failed.pop(execution, None)
        return [Row(original(kind), body) for kind, body in zip(kinds or (), bodies or (), strict=True)]

    async def append(self, execution: str, token: int, rows: Sequence[Row]) -> None:
        self._raise_failure(execution, token)
        write = Write(verb=Verb.APPEND, execution=execution, token=token, rows=tuple(rows))
        self._writer.send(write, partial(self._acknowledge, execution, token))
        if self._writer.unacknowledged_bytes > _UNACKNOWLEDGED_BYTES:
            await self.barrier(execution, token)

    async def barrier(self, execution: str, token: int) -> None:
        self._raise_failure(execution, token)
        # It comes after all that was sent, in the same batch where that has not gone yet.
        answer = await self._writer.run(Write(verb=Verb.OWNER, execution=execution, token=token))
        self._raise_failure(execution, token)
        if answer:
            raise _failure(execution, token, answer)

    async def fence(self, execution: str, token: int) -> None:
        await self._database.run(lambda session: session.change(_FENCE, plain(execution), token))

    async def signal(self, execution: str, row: Row) -> bool:
        return await self._writer.run(Write(verb=Verb.SIGNAL, execution=execution, rows=(row,))) == 0

    async def rows(self, execution: str) -> Sequence[Row]:
        rows = await self._database.run(lambda session: session.rows(_ROWS, plain(execution)))
        return [Row(original(kind), body) for kind, body in rows]

    async def entries(self, *, after: int, limit: int) -> Sequence[JournalEntry]:
        rows = await self._database.run(lambda session: session.rows(_ENTRIES, after, limit))
        return [
            JournalEntry(position=position, execution=original(id), row=Row(original(kind), body))
            for position, id, kind, body in rows
        ]

    async def unfinished(self) -> Sequence[str]:
        rows = await self._database.run(lambda session: session.rows(_UNFINISHED))
        return [original(id) for (id,) in rows]

    async def forget(self, executions: Sequence[str], *, through: int | None = None) -> None:
        ids = [plain(execution) for execution in executions]
        for start in range(0, len(ids), _FORGOTTEN_AT_ONCE):
            some = ids[start : start + _FORGOTTEN_AT_ONCE]
            await self._database.run(partial(_forget, ids=some, through=through))
        if ids:
            await self._database.run(partial(_clear, now=self._now()))

    def describe(self) -> str:
        return self._database.describe()

    async def close(self) -> None:
        """As promised; the database stays open, it belongs to the caller."""
        await self._writer.close()

    def _now(self) -> float | None:
        return None if self._clock is None else self._clock.now()

    def _acknowledge(self, execution: str, token: int, answer: int, error: BackendError | None) -> None:
        if error is not None or answer:
            failures = self._failed.setdefault(execution, {})
            failures.setdefault(token, error or _failure(execution, token, answer))
            if len(self._failed) > _FAILED:
                del self._failed[next(iter(self._failed))]

    def _raise_failure(self, execution: str, token: int) -> None:
        failure = self._failed.get(execution, {}).get(token)
        if isinstance(failure, Fenced):
            raise Fenced(execution, token=token, current=failure.current)
        if failure is not None:
            raise BackendError(f"execution {execution}: rows sent earlier were not written: {failure}") from failure


def _failure(execution: str, token: int, answer: int) -> BackendError:
    if answer == ABSENT:
        return BackendError(f"execution {execution} is not in the journal: it was forgotten, or never opened")
    return Fenced(execution, token=token, current=answer)


async def _open(session: Session, *, execution: str, token: int) -> tuple[int, list[str], list[bytes]] | None:
    return await session.one(_OPEN, plain(execution), token)


async def _forget(session: Session, *, ids: list[str], through: int | None) -> None:
    await session.rows("SELECT {s}.journal_forget($1::text[], $2::bigint)", ids, through)


async def _clear(session: Session, *, now: float | None) -> None:
    await session.rows("SELECT {s}.journal_clear($1::float8, $2::int)", now, _CLEARED)
