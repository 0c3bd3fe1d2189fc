"""The catalog in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, ClassVar, Final, Self

from turnout.interfaces.catalog import (
    ANY_REVISION,
    REVISIONS_KEPT_S,
    Address,
    CatalogChange,
    CatalogEntry,
    CatalogStore,
    check_changes,
)
from turnout.interfaces.clock import Clock, SystemClock
from turnout.interfaces.opening import Opening
from turnout.local.database import Database, Migration
from turnout.local.project_database import project_database
from turnout.model.durability import Durability

__all__ = ["SQLiteCatalog"]

_MIGRATIONS: Final[tuple[Migration, ...]] = (
    (
        # Text is kept as bytes: their order is that of code points, and no text is too strange to be a name.
        # A removed entry leaves its revision behind, with no body.
        """CREATE TABLE catalog (
            kind BLOB NOT NULL,
            tenant BLOB NOT NULL,
            name BLOB NOT NULL,
            revision INTEGER NOT NULL,
            due REAL,
            body BLOB,
            PRIMARY KEY (kind, tenant, name)
        ) WITHOUT ROWID""",
        "CREATE INDEX catalog_by_name ON catalog (kind, name, tenant) WHERE body IS NOT NULL",
        "CREATE INDEX catalog_by_due ON catalog (kind, due) WHERE due IS NOT NULL",
    ),
    (
        # When an entry was removed, so that what is left behind goes as well in the end.
        "ALTER TABLE catalog ADD COLUMN removed REAL",
        "UPDATE catalog SET removed = CAST(strftime('%s', 'now') AS REAL) WHERE body IS NULL",
        "CREATE INDEX catalog_by_removal ON catalog (removed) WHERE removed IS NOT NULL",
    ),
)
_COLUMNS: Final = "kind, tenant, name, revision, due, body"
_PRUNED: Final = 20
"""Removed entries forgotten with each write at most: more than are added, few enough not to be felt."""

# Each jumps from one kind to the next instead of reading all entries.
_KINDS: Final = """
    WITH RECURSIVE found (kind) AS (
        SELECT min(kind) FROM catalog WHERE body IS NOT NULL
        UNION ALL
        SELECT (SELECT min(kind) FROM catalog WHERE kind > found.kind AND body IS NOT NULL) FROM found WHERE kind IS NOT NULL
    )
    SELECT kind FROM found WHERE kind IS NOT NULL
"""


class SQLiteCatalog(CatalogStore):
    """Entries in `database`, which several processes may have open. The caller closes the database."""

    on_this_machine: ClassVar[bool] = True

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        database.migrate("catalog", _MIGRATIONS)

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        return cls(project_database(opening), opening.clock)

    @property
    def durability(self) -> Durability:
        return self._database.durability

    async def get(self, address: Address) -> CatalogEntry | None:
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM catalog WHERE kind = ? AND tenant = ? AND name = ? AND body IS NOT NULL",  # noqa: S608 - columns are constants
            _place(address),
        )
        return _entry(rows[0]) if rows else None

    async def kinds(self) -> Sequence[str]:
        return [_text(kind) for (kind,) in self._database.query(_KINDS)]

    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        where, given = _range(kind, tenant, _bytes(prefix), _bytes(after))
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM catalog WHERE {where} ORDER BY name, tenant LIMIT ?",  # noqa: S608 - the text is ours
            (*given, limit),
        )
        return [_entry(row) for row in rows]

    async def due(self, kind: str, before: float, *, limit: int = 1000) -> Sequence[CatalogEntry]:
        rows = self._database.query(
            f"SELECT {_COLUMNS} FROM catalog WHERE kind = ? AND due <= ? ORDER BY due LIMIT ?",  # noqa: S608 - columns are constants
            (_bytes(kind), before, limit),
        )
        return [_entry(row) for row in rows]

    async def next_due(self, kind: str) -> float | None:
        rows = self._database.query(
            "SELECT due FROM catalog WHERE kind = ? AND due IS NOT NULL ORDER BY due LIMIT 1", (_bytes(kind),)
        )
        return float(rows[0][0]) if rows else None

    async def write(self, *changes: CatalogChange) -> bool:
        check_changes(changes)

        def write(connection: sqlite3.Connection) -> bool:
            revisions = [_revision(connection, change.address) for change in changes]
            if not all(map(_holds, changes, revisions)):
                return False
            now = self._clock.now()
            for change, (revision, there) in zip(changes, revisions, strict=True):
                if change.body is None and not there:
                    continue
                due, removed = (change.due, None) if change.body is not None else (None, now)
                connection.execute(
                    "REPLACE INTO catalog (kind, tenant, name, revision, due, body, removed) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (*_place(change.address), revision + 1, due, change.body, removed),
                )
            _forget(connection, now - REVISIONS_KEPT_S)
            return True

        return await self._database.write(write)

    async def close(self) -> None:
        """The database belongs to the caller."""


def _range(kind: str, tenant: str | None, start: bytes, after: bytes) -> tuple[str, list[Any]]:
    """What an index finds: a beginning is a range of names, since no byte of UTF-8 is the largest."""
    where, given = "kind = ?", [_bytes(kind)]
    if tenant is not None:
        where, given = f"{where} AND tenant = ?", [*given, _bytes(tenant)]
    where, given = (
        (f"{where} AND name > ?", [*given, after]) if after >= start else (f"{where} AND name >= ?", [*given, start])
    )
    if start:
        where, given = f"{where} AND name < ?", [*given, start[:-1] + bytes([start[-1] + 1])]
    return f"{where} AND body IS NOT NULL", given


def _forget(connection: sqlite3.Connection, before: float) -> None:
    """Let go of what entries left behind that were removed before then."""
    old = connection.execute(
        "SELECT kind, tenant, name FROM catalog WHERE removed <= ? ORDER BY removed LIMIT ?", (before, _PRUNED)
    ).fetchall()
    connection.executemany("DELETE FROM catalog WHERE kind = ? AND tenant = ? AND name = ?", old)


def _revision(connection: sqlite3.Connection, address: Address) -> tuple[int, bool]:
    """The last revision of an address, 0 if it never was there, and whether there is an entry."""
    row = connection.execute(
        "SELECT revision, body IS NOT NULL FROM catalog WHERE kind = ? AND tenant = ? AND name = ?", _place(address)
    ).fetchone()
    return (0, False) if row is None else (int(row[0]), bool(row[1]))


def _holds(change: CatalogChange, found: tuple[int, bool]) -> bool:
    revision, there = found
    return change.expected in (ANY_REVISION, revision if there else 0)


def _place(address: Address) -> tuple[bytes, bytes, bytes]:
    return _bytes(address.kind), _bytes(address.tenant), _bytes(address.name)


def _entry(row: tuple[Any, ...]) -> CatalogEntry:
    kind, tenant, name, revision, due, body = row
    address = Address(kind=_text(kind), tenant=_text(tenant), name=_text(name))
    return CatalogEntry(address=address, revision=revision, body=body, due=due)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
