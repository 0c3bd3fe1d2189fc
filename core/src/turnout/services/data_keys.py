"""Data keys: each customer's own keys, kept wrapped in the catalog, in the clear only in a process's memory and for minutes."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from turnout.errors import BackendError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.keys import KeyWrapper
from turnout.services.documents import Document, Documents

__all__ = ["CACHED_S", "KIND", "DataKey", "DataKeys", "DoesNotOpen", "KeyRing", "OpenWrapper", "ring_name"]

KIND: Final = "data-key"
CACHED_S: Final = 300.0
"""For how long a process may go on with a data key without asking the wrapping key again."""
_CACHED_KEYS: Final = 10_000
_ID_BYTES: Final = 8
_KEY_BYTES: Final = 32

_Place: TypeAlias = tuple[str, bytes]
OpenWrapper: TypeAlias = Callable[[str], Awaitable[KeyWrapper]]
"""Gives the key wrapper of that name, opened once."""


class DoesNotOpen(BackendError):
    """A value was not sealed for where it is, or was changed; not that a key is out of reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataKey:
    """A data key as it is kept: `wrapped` by the backend `by` with the key `wrapping`. `made` is seconds since the epoch;
    `rotation` names the rotation that made it, if one did."""

    id: str
    by: str
    wrapping: str
    wrapped: bytes
    made: float
    rotation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """A customer's data keys, the newest first: it seals, all open."""

    keys: tuple[DataKey, ...]

    def find(self, key_id: str) -> DataKey | None:
        return next((key for key in self.keys if key.id == key_id), None)


class DataKeys:
    """Data keys by customer. Processes that make a customer's first key at the same time agree on one."""

    def __init__(
        self, catalog: CatalogStore, wrapper: KeyWrapper, *, name: str, open_wrapper: OpenWrapper, clock: Clock
    ) -> None:
        self.rings: Documents[KeyRing] = Documents(catalog, KIND, KeyRing)
        self.name = name
        self._wrapper = wrapper
        self._open_wrapper = open_wrapper
        self._clock = clock
        self._plain = _Cache()
        self._making: dict[str, asyncio.Future[Document[KeyRing]]] = {}

    @property
    def wrapping(self) -> str:
        """Names the key that wraps now."""
        return self._wrapper.key_id

    async def newest(self, tenant: str) -> tuple[bytes, bytes]:
        """Id and key to seal with, as the catalog has them now; made if the customer has none."""
        key_id = bytes.fromhex((await self.ring(tenant)).value.keys[0].id)
        return key_id, await self.get(tenant, key_id)

    async def get(self, tenant: str, key_id: bytes) -> bytes:
        """The key of that id; `BackendError` if the customer has none such, or its wrapping key is out of reach."""
        cache, place, now = self._plain, (tenant, key_id), self._clock.now()
        if (plain := cache.get(place, now)) is not None:
            return plain
        if (asking := cache.asking.get(place)) is None:  # asked for once, however many want it at the same time
            asking = cache.asking[place] = asyncio.ensure_future(self._found(tenant, key_id))
            asking.add_done_callback(lambda done: cache.answered(place, done, now))
        return await asyncio.shield(asking)

    async def ring(self, tenant: str) -> Document[KeyRing]:
        """The customer's keys; the first is made if there is none."""
        found = await self.rings.get(ring_name(tenant), tenant=tenant)
        if found is not None:
            return found
        if (making := self._making.get(tenant)) is None:
            making = self._making[tenant] = asyncio.ensure_future(self._first(tenant))
            making.add_done_callback(lambda _: self._making.pop(tenant))
        return await asyncio.shield(making)

    async def made(self, tenant: str, *, rotation: str = "") -> DataKey:
        """A new data key, wrapped, not yet in the ring."""
        key_id = secrets.token_hex(_ID_BYTES)
        wrapping, wrapped = await self._wrap(tenant, key_id, secrets.token_bytes(_KEY_BYTES))
        made = self._clock.now()
        return DataKey(id=key_id, by=self.name, wrapping=wrapping, wrapped=wrapped, made=made, rotation=rotation)

    def is_current(self, key: DataKey) -> bool:
        """Whether it is wrapped by the backend and with the key that wrap now."""
        return (key.by, key.wrapping) == (self.name, self._wrapper.key_id)

    async def rewrapped(self, tenant: str, key: DataKey) -> DataKey:
        """The same key, wrapped by the backend and with the key that wrap now."""
        wrapping, wrapped = await self._wrap(tenant, key.id, await self._unwrapped(tenant, key))
        return replace(key, by=self.name, wrapping=wrapping, wrapped=wrapped)

    async def _found(self, tenant: str, key_id: bytes) -> bytes:
        found = await self.rings.get(ring_name(tenant), tenant=tenant)
        key = None if found is None else found.value.find(key_id.hex())
        if key is None:
            raise DoesNotOpen(
                f"customer {tenant!r} has no data key {key_id.hex()}: it was removed, or the value is another customer's"
            )
        return await self._unwrapped(tenant, key)

    async def _first(self, tenant: str) -> Document[KeyRing]:
        while (found := await self.rings.get(ring_name(tenant), tenant=tenant)) is None:
            await self.rings.create(ring_name(tenant), KeyRing(keys=(await self.made(tenant),)), tenant=tenant)
        return found

    async def _unwrapped(self, tenant: str, key: DataKey) -> bytes:
        wrapper = self._wrapper if key.by == self.name else await self._open_wrapper(key.by)
        try:
            return await wrapper.unwrap(key.wrapped, _context(tenant, key.id))
        except BackendError as error:
            raise BackendError(f"data key {key.id} of customer {tenant!r}: {error}") from error

    async def _wrap(self, tenant: str, key_id: str, plain: bytes) -> tuple[str, bytes]:
        wrapping = (
            self._wrapper.key_id
        )  # asked first: if it changes meanwhile, the key is wrapped once more than needed
        return wrapping, await self._wrapper.wrap(plain, _context(tenant, key_id))


class _Cache:
    """Bytes for a bounded time, a bounded number of them; those used last stay."""

    def __init__(self) -> None:
        self._kept: OrderedDict[_Place, tuple[float, bytes]] = OrderedDict()
        self.asking: dict[_Place, asyncio.Future[bytes]] = {}

    def answered(self, place: _Place, done: asyncio.Future[bytes], since: float) -> None:
        """Keep the answer, if there is one; who waits for it gets it, or the error, by themselves."""
        self.asking.pop(place, None)
        if not done.cancelled() and done.exception() is None:
            self.put(place, done.result(), since)

    def get(self, place: _Place, now: float) -> bytes | None:
        since, value = self._kept.get(place, (0.0, None))
        if value is None or not since <= now < since + CACHED_S:  # a clock that was put back ends it as well
            self._kept.pop(place, None)
            return None
        self._kept.move_to_end(place)
        return value

    def put(self, place: _Place, value: bytes, now: float) -> None:
        self._kept[place] = (now, value)
        while len(self._kept) > _CACHED_KEYS:
            self._kept.popitem(last=False)


def ring_name(tenant: str) -> str:
    """The name of a customer's ring: another for each, so that all rings can be paged through in the order of their names."""
    return hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()


def _context(tenant: str, key_id: str) -> str:
    return f"data-key/{key_id}/{tenant}"
