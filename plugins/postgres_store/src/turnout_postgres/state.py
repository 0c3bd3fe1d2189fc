"""The state store on PostgreSQL.

Every change is a transaction under an advisory lock of its key, so that changes of one key follow each other, in all
processes, and those of others do not wait. The name of the change is written with its answer in the same transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

import msgspec
from turnout.codec import pack, unpack
from turnout.interfaces.clock import Clock
from turnout.interfaces.opening import Opening
from turnout.interfaces.state import StateScope, StateStore
from turnout.interfaces.state_numbers import add
from turnout.model.payload import Encoded

from turnout_postgres.database import Database, Session
from turnout_postgres.plain_text import plain

__all__ = ["PostgresState"]

_REMEMBERED_S: Final = 24 * 3600.0

_PRUNED: Final = 20
"""Operations forgotten with each change at most: more than are added, few enough not to be felt."""

# An operation is looked for only once the lock is held: another statement, so that it sees what was written meanwhile.
_LOCK: Final = "SELECT pg_advisory_xact_lock($1), coalesce($2::float8, extract(epoch FROM clock_timestamp())::float8)"
_MADE: Final = "SELECT answer FROM {s}.state_operations WHERE id = $1 AND at > $2"
_REMEMBER: Final = """
    INSERT INTO {s}.state_operations (id, at, answer) VALUES ($1, $2, $3)
    ON CONFLICT (id) DO UPDATE SET at = excluded.at, answer = excluded.answer
"""
# Those that another transaction is about to forget are left to it.
_FORGET: Final = """
    DELETE FROM {s}.state_operations WHERE id IN (
        SELECT id FROM {s}.state_operations WHERE at <= $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED
    )
"""
_GET: Final = "SELECT value FROM {s}.state WHERE place = $1"
_SET: Final = """
    INSERT INTO {s}.state (place, scope, key, tenant, instance, flow, value) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (place) DO UPDATE SET value = excluded.value
"""
_DELETE: Final = "DELETE FROM {s}.state WHERE place = $1"
_KEYS: Final = """
    SELECT key FROM {s}.state
    WHERE scope = $1 AND substr(key, 1, 500) >= substr($2::bytea, 1, 500) AND substr(key, 1, $3) = $2 ORDER BY key
"""


@dataclass(frozen=True, slots=True)
class _Place:
    """A key of a scope, and the digests that find it."""

    scope: StateScope
    key: str

    @property
    def digest(self) -> bytes:
        return _digest(_scope(self.scope), _bytes(self.key))

    @property
    def columns(self) -> tuple[bytes | str, ...]:
        names = (plain(name) for name in (self.scope.tenant, self.scope.instance, self.scope.flow))
        return self.digest, _scope(self.scope), _bytes(self.key), *names


class PostgresState(StateStore):
    """Values in `database`, which the caller closes. For how long a change is remembered goes by `clock`, or by the
    database's own time, which is the same for all processes."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        return cls(await Database.of(opening))

    async def get(self, scope: StateScope, key: str) -> Encoded | None:
        place = _Place(scope, key).digest
        row = await self._database.run(lambda session: session.one(_GET, place))
        return unpack(row[0]) if row else None

    async def set(self, scope: StateScope, key: str, value: Encoded, *, operation: str) -> None:
        place, body = _Place(scope, key), pack(value)

        async def change(session: Session) -> str:
            await session.change(_SET, *place.columns, body)
            return ""

        await self._once("set", place, operation, change)

    async def increment(self, scope: StateScope, key: str, by: Decimal, *, operation: str) -> Decimal:
        place = _Place(scope, key)

        async def change(session: Session) -> str:
            row = await session.one(_GET, place.digest)
            total, value = add(key, unpack(row[0]) if row else None, by)
            await session.change(_SET, *place.columns, pack(value))
            return str(total)

        return Decimal(await self._once("increment", place, operation, change))

    async def delete(self, scope: StateScope, key: str, *, operation: str) -> bool:
        place = _Place(scope, key)

        async def change(session: Session) -> str:
            return "removed" if await session.change(_DELETE, place.digest) else ""

        return bool(await self._once("delete", place, operation, change))

    async def keys(self, scope: StateScope, prefix: str = "") -> list[str]:
        start = _bytes(prefix)
        rows = await self._database.run(lambda session: session.rows(_KEYS, _scope(scope), start, len(start)))
        return [key.decode("utf-8", "surrogatepass") for (key,) in rows]

    def describe(self) -> str:
        return self._database.describe()

    async def close(self) -> None:
        """The database belongs to the caller."""

    async def _once(self, verb: str, place: _Place, operation: str, change: Callable[[Session], Awaitable[str]]) -> str:
        """Make the change, unless it was made within a day; what it answered first. What a broken connection left undecided
        is done again under the same name: so it is done once, whatever became of the first time."""
        id_ = _digest(verb.encode(), place.digest, _bytes(operation))
        lock = int.from_bytes(place.digest[:8], signed=True)

        async def write(session: Session) -> str:
            locked = await session.one(_LOCK, lock, None if self._clock is None else self._clock.now())
            assert locked is not None
            now: float = locked[1]
            made = await session.one(_MADE, id_, now - _REMEMBERED_S)
            if made:
                return str(made[0])
            answer = await change(session)
            await session.change(_REMEMBER, id_, now, answer)
            await session.change(_FORGET, now - _REMEMBERED_S, _PRUNED)
            return answer

        return await self._database.transact(write)


def _scope(scope: StateScope) -> bytes:
    return _digest(_bytes(scope.tenant), _bytes(scope.instance), _bytes(scope.flow))


def _digest(*parts: bytes) -> bytes:
    """Of the parts each with its length, so that no two lists of parts are written the same."""
    return hashlib.sha256(msgspec.msgpack.encode(parts)).digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
