"""The state store in Redis.

The values of one scope are a hash; a value above 16 KB is a key of its own, which no script copies. What a change answered
is a key that expires after a day, by the server's clock: a change that is sent again is seen, so a lost connection only
delays.

Sums are made here, exactly, and written if the value is still the one that they were made from.
"""

from __future__ import annotations

import asyncio
import secrets
from decimal import Decimal
from typing import Any, Final, Self
from weakref import WeakValueDictionary

from turnout.codec import pack, unpack
from turnout.errors import BackendError
from turnout.interfaces.opening import Opening
from turnout.interfaces.state import StateScope, StateStore
from turnout.interfaces.state_numbers import add
from turnout.model.payload import Encoded

from turnout_ecs.connection import Connection
from turnout_ecs.scripts import load
from turnout_ecs.server import Server
from turnout_ecs.state.places import Place, field_of, key_of, values_of

__all__ = ["RedisState"]

_PATIENCE_S: Final = 30.0
"""How long a change waits for a server that cannot be reached."""

_REMEMBERED_MS: Final = 24 * 3600 * 1000
_LARGE_BYTES: Final = 16 * 1024
_STAGED_MS: Final = 600_000
"""How long a large value waits for the script that takes it: longer than it is sent again."""

_LARGE: Final = b"@"
"""Stands in the hash for a value that has a key of its own; no packed value is this."""

_NO_NUMBER: Final = Encoded(json=b'""')
"""What a large value is to a sum: numbers that can be kept exactly are short."""

_ASK: Final = b"?"
_TRIES: Final = 5


class RedisState(StateStore):
    """Implements `StateStore`, for one event loop. The connection belongs to the caller."""

    def __init__(self, connection: Connection, *, prefix: str = "turnout", patience_s: float = _PATIENCE_S) -> None:
        self._connection = connection
        self._prefix = prefix
        self._patience_s = patience_s
        self._adding: WeakValueDictionary[tuple[bytes, bytes], asyncio.Lock] = WeakValueDictionary()

    @classmethod
    async def connect(cls, opening: Opening) -> Self:
        server = await Server.of(opening)
        return cls(server.connection, prefix=server.options.prefix)

    async def get(self, scope: StateScope, key: str) -> Encoded | None:
        place = Place(self._prefix, scope, key)
        body = await self._call("HGET", place.values, place.field)
        if body == _LARGE:
            body = await self._call("GET", place.large)
            if body is None:  # between the two it was replaced or removed
                body = await self._run("find", (place.values, place.large), (place.field,))
                if body == _LARGE:
                    raise BackendError(f"state {key!r}: the value above 16 KB that stands there is missing")
        return None if body is None else unpack(body)

    async def set(self, scope: StateScope, key: str, value: Encoded, *, operation: str) -> None:
        place, body = Place(self._prefix, scope, key), pack(value)
        done = place.done("set", operation)
        if len(body) <= _LARGE_BYTES:
            await self._run("set", (place.values, done, place.large), (place.field, body, _REMEMBERED_MS))
            return
        for _ in range(_TRIES):
            staged = place.staged(secrets.token_hex(12))
            _, reply = await asyncio.gather(
                self._call("SET", staged, body, "PX", _STAGED_MS),
                self._run("set", (place.values, done, place.large, staged), (place.field, _LARGE, _REMEMBERED_MS)),
            )
            if reply != b"expired":
                return
        raise BackendError(f"state {key!r}: a value above 16 KB could not be stored; nothing was changed")

    async def increment(self, scope: StateScope, key: str, by: Decimal, *, operation: str) -> Decimal:
        place = Place(self._prefix, scope, key)
        keys = place.values, place.done("increment", operation)
        async with self._adding.setdefault((place.values, place.field), asyncio.Lock()):
            expected, value, total = _ASK, b"", ""
            while True:
                args = (place.field, expected, value, total, _REMEMBERED_MS)
                word, found = await self._run("replace", keys, args)
                if word == b"answered":
                    return Decimal(found.decode())
                expected = found
                number, sum_ = add(key, _stored(found), by)
                value, total = pack(sum_), str(number)

    async def delete(self, scope: StateScope, key: str, *, operation: str) -> bool:
        place = Place(self._prefix, scope, key)
        keys = (place.values, place.done("delete", operation), place.large)
        return bool(await self._run("delete", keys, (place.field, _REMEMBERED_MS)) == b"removed")

    async def keys(self, scope: StateScope, prefix: str = "") -> list[str]:
        start = field_of(prefix)
        fields = await self._call("HKEYS", values_of(self._prefix, scope))
        return [key_of(field) for field in sorted(fields) if field.startswith(start)]

    async def close(self) -> None:
        """The connection belongs to the caller, and nothing is left to send."""

    async def _run(self, script: str, keys: tuple[bytes, ...], args: tuple[str | bytes | int, ...]) -> Any:
        return await self._connection.run(load(f"state/{script}.lua"), keys, args, patience_s=self._patience_s)

    async def _call(self, *words: str | bytes | int) -> Any:
        return await self._connection.call(*words, safe=True, patience_s=self._patience_s)


def _stored(found: bytes) -> Encoded | None:
    """What a sum is added to: the value of a reply of replace.lua."""
    if found == _LARGE:
        return _NO_NUMBER
    return unpack(found) if found else None
