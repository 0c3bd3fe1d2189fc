"""The catalog on PostgreSQL.

A write is a transaction under advisory locks of its addresses, always taken in the same order, so that those who write at once
follow each other and never block each other for good. A write whose answer was lost is found again by the id of its transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
from turnout.interfaces.catalog import (
    ANY_REVISION,
    REVISIONS_KEPT_S,
    Address,
    CatalogChange,
    CatalogEntry,
    CatalogStore,
    check_changes,
)
from turnout.interfaces.clock import Clock
from turnout.interfaces.opening import Opening
from turnout.model.durability import Durability

from turnout_postgres.database import Database, Session
from turnout_postgres.plain_text import original, plain

__all__ = ["PostgresCatalog"]

_PRUNED: Final = 20
"""Removed entries forgotten with each write at most: more than are added, few enough not to be felt."""

_GET: Final = "SELECT kind, tenant, name, revision, due, body FROM {s}.catalog WHERE place = $1 AND body IS NOT NULL"
_ENTRIES: Final = """
    SELECT kind, tenant, name, revision, due, body FROM {s}.catalog
    WHERE {of} = $1 AND name >= $2 AND name > $3 AND name < $4 AND body IS NOT NULL
    ORDER BY name, tenant LIMIT $5
"""
_DUE: Final = """
    SELECT kind, tenant, name, revision, due, body FROM {s}.catalog
    WHERE of_kind = $1 AND due <= $2 AND due IS NOT NULL AND body IS NOT NULL ORDER BY due LIMIT $3
"""
_NEXT_DUE: Final = """
    SELECT due FROM {s}.catalog WHERE of_kind = $1 AND due IS NOT NULL AND body IS NOT NULL ORDER BY due LIMIT 1
"""
# Jumps from one kind to the next instead of reading all entries.
_KINDS: Final = """
    WITH RECURSIVE found AS (
        (SELECT of_kind, kind FROM {s}.catalog WHERE body IS NOT NULL ORDER BY of_kind LIMIT 1)
        UNION ALL
        SELECT later.of_kind, later.kind FROM found CROSS JOIN LATERAL (
            SELECT of_kind, kind FROM {s}.catalog
            WHERE of_kind > found.of_kind AND body IS NOT NULL ORDER BY of_kind LIMIT 1
        ) later
    )
    SELECT kind FROM found
"""
_LOCK: Final = "SELECT pg_advisory_xact_lock(lock) FROM unnest($1::bigint[]) WITH ORDINALITY AS t (lock, n) ORDER BY n"
_BEGUN: Final = "SELECT pg_current_xact_id()::text, coalesce($1::float8, extract(epoch FROM clock_timestamp())::float8)"
_COMMITTED: Final = "SELECT 1 WHERE pg_xact_status($1::text::xid8) = 'committed'"
_REVISIONS: Final = "SELECT place, revision, body IS NOT NULL FROM {s}.catalog WHERE place = ANY($1)"
_WRITE: Final = """
    INSERT INTO {s}.catalog (place, of_tenant, of_kind, kind, tenant, name, revision, due, body, removed)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (place) DO UPDATE SET
        revision = excluded.revision, due = excluded.due, body = excluded.body, removed = excluded.removed
"""
# Those that another transaction is about to forget, or to write anew, are left to it.
_FORGET: Final = """
    DELETE FROM {s}.catalog WHERE place IN (
        SELECT place FROM {s}.catalog WHERE removed <= $1 ORDER BY removed LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""


class PostgresCatalog(CatalogStore):
    """Entries in `database`, which the caller closes. For how long a removed entry's revision is remembered goes by `clock`,
    or by the database's own time, which is the same for all processes."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        return cls(await Database.of(opening))

    @property
    def durability(self) -> Durability:
        return self._database.durability

    async def get(self, address: Address) -> CatalogEntry | None:
        row = await self._database.run(lambda session: session.one(_GET, _place(address)))
        return _entry(row) if row else None

    async def kinds(self) -> Sequence[str]:
        rows = await self._database.run(lambda session: session.rows(_KINDS))
        return sorted(original(kind) for (kind,) in rows)

    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        start, of = _bytes(prefix), "of_kind" if tenant is None else "of_tenant"
        where = _digest(_bytes(kind)) if tenant is None else _digest(_bytes(kind), _bytes(tenant))
        # No byte of UTF-8 is the largest, so that a beginning is a range.
        end = start[:-1] + bytes([start[-1] + 1]) if start else b"\xff"
        rows = await self._database.run(
            lambda session: session.naming(of=of).rows(_ENTRIES, where, start, _bytes(after), end, limit)
        )
        return [_entry(row) for row in rows]

    async def due(self, kind: str, before: float, *, limit: int = 1000) -> Sequence[CatalogEntry]:
        of_kind = _digest(_bytes(kind))
        rows = await self._database.run(lambda session: session.rows(_DUE, of_kind, before, limit))
        return [_entry(row) for row in rows]

    async def next_due(self, kind: str) -> float | None:
        of_kind = _digest(_bytes(kind))
        row = await self._database.run(lambda session: session.one(_NEXT_DUE, of_kind))
        return row[0] if row else None

    async def write(self, *changes: CatalogChange) -> bool:
        check_changes(changes)
        places = [_place(change.address) for change in changes]
        locks = sorted({int.from_bytes(place[:8], signed=True) for place in places})
        begun: list[str] = []

        async def write(session: Session) -> bool:
            await session.rows(_LOCK, locks)
            for transaction in begun:  # of which the answer was lost: with our locks held it has ended
                if await session.one(_COMMITTED, transaction):
                    return True
            row = await session.one(_BEGUN, None if self._clock is None else self._clock.now())
            assert row is not None
            begun.append(row[0])
            return await _written(session, changes, places, now=row[1])

        return await self._database.transact(write)

    def describe(self) -> str:
        return self._database.describe()

    async def close(self) -> None:
        """The database belongs to the caller."""


async def _written(session: Session, changes: Sequence[CatalogChange], places: Sequence[bytes], *, now: float) -> bool:
    found = {place: (revision, there) for place, revision, there in await session.rows(_REVISIONS, list(places))}
    for change, place in zip(changes, places, strict=True):
        revision, there = found.get(place, (0, False))
        if change.expected not in (ANY_REVISION, revision if there else 0):
            return False
    for change, place in zip(changes, places, strict=True):
        revision, there = found.get(place, (0, False))
        if change.body is None and not there:
            continue
        due, removed = (change.due, None) if change.body is not None else (None, now)
        await session.change(_WRITE, *_columns(change.address), revision + 1, due, change.body, removed)
    await session.change(_FORGET, now - REVISIONS_KEPT_S, _PRUNED)
    return True


def _columns(address: Address) -> tuple[bytes | str, ...]:
    kind, tenant, name = _bytes(address.kind), _bytes(address.tenant), _bytes(address.name)
    return _place(address), _digest(kind, tenant), _digest(kind), plain(address.kind), tenant, name


def _place(address: Address) -> bytes:
    return _digest(_bytes(address.kind), _bytes(address.tenant), _bytes(address.name))


def _digest(*parts: bytes) -> bytes:
    """Of the parts each with its length, so that no two lists of parts are written the same."""
    return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()


def _entry(row: tuple[Any, ...]) -> CatalogEntry:
    kind, tenant, name, revision, due, body = row
    address = Address(kind=original(kind), tenant=_text(tenant), name=_text(name))
    return CatalogEntry(address=address, revision=revision, body=body, due=due)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")
