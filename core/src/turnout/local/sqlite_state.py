"""The state store in SQLite."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable
from decimal import Decimal
from typing import ClassVar, Final, Self

import msgspec

from turnout.codec import pack, unpack
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.opening import Opening
from turnout.interfaces.state import StateScope, StateStore
from turnout.interfaces.state_numbers import add
from turnout.local.database import Database, Migration
from turnout.local.project_database import project_database
from turnout.model.payload import Encoded

__all__ = ["SQLiteState"]

_REMEMBERED_S: Final = 24 * 3600.0

_PRUNED: Final = 20
"""Operations forgotten with each change at most: more than are added, few enough not to be felt."""

_MIGRATIONS: Final[tuple[Migration, ...]] = (
    (
        # Scope and key are bytes (see `_place`): a prefix is a range, and no text is too strange to be a key.
        """CREATE TABLE state (
            scope BLOB NOT NULL,
            key BLOB NOT NULL,
            value BLOB NOT NULL,
            PRIMARY KEY (scope, key)
        ) WITHOUT ROWID""",
        """CREATE TABLE state_operations (
            id BLOB PRIMARY KEY,
            at REAL NOT NULL,
            answer TEXT NOT NULL
        ) WITHOUT ROWID""",
        "CREATE INDEX state_operations_by_time ON state_operations (at)",
    ),
)


class SQLiteState(StateStore):
    """Values in `database`, which several processes may have open. The caller closes the database."""

    on_this_machine: ClassVar[bool] = True

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        database.migrate("state", _MIGRATIONS)

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        return cls(project_database(opening), opening.clock)

    async def get(self, scope: StateScope, key: str) -> Encoded | None:
        rows = self._database.query("SELECT value FROM state WHERE scope = ? AND key = ?", _place(scope, key))
        return unpack(rows[0][0]) if rows else None

    async def set(self, scope: StateScope, key: str, value: Encoded, *, operation: str) -> None:
        place, body = _place(scope, key), pack(value)

        def change(connection: sqlite3.Connection) -> str:
            connection.execute("REPLACE INTO state VALUES (?, ?, ?)", (*place, body))
            return ""

        await self._once("set", place, operation, change)

    async def increment(self, scope: StateScope, key: str, by: Decimal, *, operation: str) -> Decimal:
        place = _place(scope, key)

        def change(connection: sqlite3.Connection) -> str:
            row = connection.execute("SELECT value FROM state WHERE scope = ? AND key = ?", place).fetchone()
            total, value = add(key, unpack(row[0]) if row else None, by)
            connection.execute("REPLACE INTO state VALUES (?, ?, ?)", (*place, pack(value)))
            return str(total)

        return Decimal(await self._once("increment", place, operation, change))

    async def delete(self, scope: StateScope, key: str, *, operation: str) -> bool:
        place = _place(scope, key)

        def change(connection: sqlite3.Connection) -> str:
            removed = connection.execute("DELETE FROM state WHERE scope = ? AND key = ?", place).rowcount
            return "removed" if removed else ""

        return bool(await self._once("delete", place, operation, change))

    async def keys(self, scope: StateScope, prefix: str = "") -> list[str]:
        start = _bytes(prefix)
        rows = self._database.query(
            "SELECT key FROM state WHERE scope = ? AND key >= ? AND substr(key, 1, ?) = ? ORDER BY key",
            (_scope(scope), start, len(start), start),
        )
        return [row[0].decode("utf-8", "surrogatepass") for row in rows]

    async def close(self) -> None:
        """The database belongs to the caller."""

    async def _once(
        self, verb: str, place: tuple[bytes, bytes], operation: str, change: Callable[[sqlite3.Connection], str]
    ) -> str:
        """Make the change, unless it was made within a day; what it answered first."""
        id_ = hashlib.sha256(msgspec.msgpack.encode((verb, *place, _bytes(operation)))).digest()
        now = self._clock.now()

        def write(connection: sqlite3.Connection) -> str:
            row = connection.execute(
                "SELECT answer FROM state_operations WHERE id = ? AND at > ?", (id_, now - _REMEMBERED_S)
            ).fetchone()
            if row:
                return str(row[0])
            answer = change(connection)
            connection.execute("REPLACE INTO state_operations VALUES (?, ?, ?)", (id_, now, answer))
            connection.execute(
                "DELETE FROM state_operations WHERE id IN (SELECT id FROM state_operations WHERE at <= ? LIMIT ?)",
                (now - _REMEMBERED_S, _PRUNED),
            )
            return answer

        return await self._database.write(write)


def _place(scope: StateScope, key: str) -> tuple[bytes, bytes]:
    return _scope(scope), _bytes(key)


def _scope(scope: StateScope) -> bytes:
    """Tenant, instance and flow, each with its length, so that no two scopes are written the same."""
    return msgspec.msgpack.encode((_bytes(scope.tenant), _bytes(scope.instance), _bytes(scope.flow)))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
