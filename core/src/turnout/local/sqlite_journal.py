"""The journal in SQLite.

Every row of every execution stands in one table under a position that SQLite never uses twice; since one writer commits at
a time, positions become visible in their order. A second table has each execution's fence and whether it has ended, so that
neither a write nor `unfinished` has to look through rows. A third has the names begun with `unique_s`.

Without `full` a write is a commit on the event loop: 25-40 µs, less than the hop to a thread. With `full` all writes go
through the database's group commit: `append` only sends, `barrier` waits.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, Final, Self

from turnout.errors import BackendError, Fenced
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.journal import Journal, JournalEntry, Row
from turnout.interfaces.opening import Opening
from turnout.local.database import Database
from turnout.local.project_database import project_database
from turnout.model.durability import Durability

__all__ = ["SQLiteJournal"]

_MIGRATIONS: Final = (
    (
        """CREATE TABLE journal_executions (
            key INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            fence INTEGER NOT NULL DEFAULT 0,
            first INTEGER,
            ended INTEGER NOT NULL DEFAULT 0
        )""",
        "CREATE INDEX journal_unfinished ON journal_executions (first) WHERE ended = 0 AND first IS NOT NULL",
        """CREATE TABLE journal_rows (
            position INTEGER PRIMARY KEY AUTOINCREMENT,
            execution INTEGER NOT NULL,
            kind TEXT NOT NULL,
            body BLOB NOT NULL
        )""",
        "CREATE INDEX journal_by_execution ON journal_rows (execution)",
    ),
    (
        "CREATE TABLE journal_names (id TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID",
        "CREATE INDEX journal_expiries ON journal_names (until)",
    ),
)

_FENCE = """INSERT INTO journal_executions (id, fence) VALUES (?, ?)
    ON CONFLICT (id) DO UPDATE SET fence = excluded.fence WHERE excluded.fence > fence"""
_EXECUTION = "SELECT key, fence, first, ended FROM journal_executions WHERE id = ?"
_INSERT = "INSERT INTO journal_rows (execution, kind, body) VALUES (?, ?, ?)"
_ROWS = """SELECT kind, body FROM journal_rows WHERE execution = (SELECT key FROM journal_executions WHERE id = ?)
    ORDER BY position"""
_ENTRIES = """SELECT position, id, kind, body FROM journal_rows CROSS JOIN journal_executions ON key = execution
    WHERE position > ? ORDER BY position LIMIT ?"""
_UNFINISHED = "SELECT id FROM journal_executions WHERE ended = 0 AND first IS NOT NULL ORDER BY first"

_EXPIRED_NAMES = "SELECT id FROM journal_names WHERE until <= ? ORDER BY until LIMIT 100"
_NAME = "SELECT 1 FROM journal_names WHERE id = ? AND until > ?"
_REFUSED = """SELECT 1 FROM journal_names WHERE id = ? AND until > ?
    UNION ALL SELECT 1 FROM journal_executions WHERE id = ? AND first IS NOT NULL"""

_UNACKNOWLEDGED_BYTES: Final = 32 * 1024 * 1024
"""With group commit: above this, `append` waits for the disk, so that a slow one does not fill the memory."""

_FAILED: Final = 10_000
"""Executions of which a failure is remembered, so that nothing is written after a gap; beyond, the earliest is forgotten."""


class SQLiteJournal(Journal):
    """Implements `Journal`. `process` durable, or `host` durable on a database opened with `full`."""

    on_this_machine: ClassVar[bool] = True

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        database.migrate("journal", _MIGRATIONS)
        self._database = database
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._sent_bytes = 0
        self._failed: dict[str, dict[int, BaseException]] = {}

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        return cls(project_database(opening), clock=opening.clock)

    @property
    def durability(self) -> Durability:
        return self._database.durability

    async def begin(self, execution: str, rows: Sequence[Row], *, unique_s: float = 0.0) -> bool:
        if unique_s <= 0:
            return await self._database.write(partial(_begin, execution=execution, rows=rows))
        now = self._clock.now()
        begin = partial(_begin_once, execution=execution, rows=rows, now=now, until=now + unique_s)
        return await self._database.write(begin)

    async def remembered(self, executions: Sequence[str]) -> Sequence[str]:
        now = self._clock.now()
        return [id for id in executions if self._database.query(_REFUSED, (id, now, id))]

    async def open(self, execution: str, token: int) -> Sequence[Row]:
        # Not `durable`: a loss of power ends every owner, so there is nobody left to fence.
        await self._database.write(partial(_take_ownership, execution=execution, token=token), durable=False)
        with self._lock:
            self._failed.pop(execution, None)
        return await self.rows(execution)

    async def append(self, execution: str, token: int, rows: Sequence[Row]) -> None:
        if not self._database.full:
            with self._database.transaction() as connection:
                _append(connection, execution, token, rows)
            return
        self._raise_failure(execution, token)
        size = sum(len(row.body) for row in rows)
        with self._lock:
            self._sent_bytes += size
            crowded = self._sent_bytes > _UNACKNOWLEDGED_BYTES
        self._database.group.send(
            partial(self._append_after, execution=execution, token=token, rows=rows),
            partial(self._acknowledge, execution, token, size),
        )
        if crowded:
            await self.barrier(execution, token)

    async def barrier(self, execution: str, token: int) -> None:
        if not self._database.full:
            _check_owner(self._database.query(_EXECUTION, (execution,)), execution, token)
            return
        # Rows sent earlier are in this transaction or in one before it: its own commit has nothing to wait for.
        await self._database.write(partial(_owned, execution=execution, token=token), durable=False)
        self._raise_failure(execution, token)

    async def fence(self, execution: str, token: int) -> None:
        await self._database.write(lambda connection: connection.execute(_FENCE, (execution, token)), durable=False)

    async def signal(self, execution: str, row: Row) -> bool:
        return await self._database.write(partial(_signal, execution=execution, row=row))

    async def rows(self, execution: str) -> Sequence[Row]:
        return [Row(kind, body) for kind, body in self._database.query(_ROWS, (execution,))]

    async def entries(self, *, after: int, limit: int) -> Sequence[JournalEntry]:
        return [
            JournalEntry(position=position, execution=execution, row=Row(kind, body))
            for position, execution, kind, body in self._database.query(_ENTRIES, (after, limit))
        ]

    async def unfinished(self) -> Sequence[str]:
        return [execution for (execution,) in self._database.query(_UNFINISHED)]

    async def forget(self, executions: Sequence[str], *, through: int | None = None) -> None:
        for execution in executions:  # one transaction each: removing a long history does not hold up the others
            await self._database.write(partial(_forget, execution=execution, through=through))
            await asyncio.sleep(0)
        while self._database.reclaim():
            await asyncio.sleep(0)

    async def close(self) -> None:
        """As promised; the database stays open, it belongs to the caller."""
        if self._database.full:
            await self._database.write(lambda connection: None)

    def _append_after(self, connection: sqlite3.Connection, execution: str, token: int, rows: Sequence[Row]) -> None:
        """Append unless an earlier append of this owner failed: a gap would be worse than a missing end."""
        self._raise_failure(execution, token)
        _append(connection, execution, token, rows)

    def _acknowledge(self, execution: str, token: int, size: int, result: Any, error: BaseException | None) -> None:
        with self._lock:
            self._sent_bytes -= size
            if error is not None:
                self._failed.setdefault(execution, {}).setdefault(token, error)
                if len(self._failed) > _FAILED:
                    del self._failed[next(iter(self._failed))]

    def _raise_failure(self, execution: str, token: int) -> None:
        with self._lock:
            failure = self._failed.get(execution, {}).get(token)
        if isinstance(failure, Fenced):
            raise Fenced(execution, token=token, current=failure.current)
        if failure is not None:
            raise BackendError(f"execution {execution}: rows sent earlier were not written: {failure}") from failure


def _begin(connection: sqlite3.Connection, execution: str, rows: Sequence[Row]) -> bool:
    connection.execute(_FENCE, (execution, 0))
    key, _, first, ended = connection.execute(_EXECUTION, (execution,)).fetchone()
    if first is not None:
        return False
    _write(connection, (key, first, ended), rows)
    return True


def _begin_once(
    connection: sqlite3.Connection, execution: str, rows: Sequence[Row], *, now: float, until: float
) -> bool:
    """Begin an execution whose name is remembered. Removes some of the names that are over: more than one comes to be."""
    if connection.execute(_NAME, (execution, now)).fetchone() is not None or not _begin(connection, execution, rows):
        return False
    connection.execute(f"DELETE FROM journal_names WHERE id IN ({_EXPIRED_NAMES})", (now,))  # noqa: S608 - made of constants
    connection.execute("REPLACE INTO journal_names VALUES (?, ?)", (execution, until))
    return True


def _take_ownership(connection: sqlite3.Connection, execution: str, token: int) -> None:
    known = connection.execute(_EXECUTION, (execution,)).fetchone()
    if known is not None and known[1] > token:
        raise Fenced(execution, token=token, current=known[1])
    connection.execute(_FENCE, (execution, token))


def _owned(connection: sqlite3.Connection, execution: str, token: int) -> tuple[int, int | None, int]:
    """The execution's key, first position and whether it has ended, if `token` may write."""
    return _check_owner(connection.execute(_EXECUTION, (execution,)).fetchall(), execution, token)


def _check_owner(rows: Sequence[tuple[Any, ...]], execution: str, token: int) -> tuple[int, int | None, int]:
    if not rows:
        raise BackendError(f"execution {execution} is not in the journal: it was forgotten, or never opened")
    key, fence, first, ended = rows[0]
    if fence > token:
        raise Fenced(execution, token=token, current=fence)
    return key, first, ended


def _append(connection: sqlite3.Connection, execution: str, token: int, rows: Sequence[Row]) -> None:
    _write(connection, _owned(connection, execution, token), rows)


def _signal(connection: sqlite3.Connection, execution: str, row: Row) -> bool:
    known = connection.execute(_EXECUTION, (execution,)).fetchone()
    if known is None or known[2] is None:
        return False
    key, _, first, ended = known
    _write(connection, (key, first, ended), [row])
    return True


def _write(connection: sqlite3.Connection, known: tuple[int, int | None, int], rows: Sequence[Row]) -> None:
    if not rows:
        return
    key, first, ended = known
    position = connection.execute(_INSERT, (key, rows[0].kind, rows[0].body)).lastrowid
    if len(rows) > 1:
        connection.executemany(_INSERT, [(key, row.kind, row.body) for row in rows[1:]])
    ends = rows[-1].kind == "ended"
    if first is None or ends != bool(ended):
        sql = "UPDATE journal_executions SET first = COALESCE(first, ?), ended = ? WHERE key = ?"
        connection.execute(sql, (position, ends, key))


def _forget(connection: sqlite3.Connection, execution: str, through: int | None) -> None:
    known = connection.execute(_EXECUTION, (execution,)).fetchone()
    if known is None:
        return
    if through is not None:
        last = connection.execute("SELECT MAX(position) FROM journal_rows WHERE execution = ?", known[:1]).fetchone()[0]
        if last is not None and last > through:
            return
    connection.execute("DELETE FROM journal_rows WHERE execution = ?", known[:1])
    connection.execute("DELETE FROM journal_executions WHERE key = ?", known[:1])
