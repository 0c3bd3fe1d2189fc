"""Rotation: data keys wrapped anew, customers given new ones, and what was sealed with the old sealed anew.

All of it may run while others read and write, and may be cut short anywhere: a key that is in the catalog opens what it sealed,
before and after, and what is done is seen from the keys themselves, so that whoever begins again does the rest.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from turnout.errors import BackendError, NotFound
from turnout.interfaces.catalog import CatalogChange, CatalogEntry, CatalogStore
from turnout.services.data_keys import KIND, DataKeys, DoesNotOpen, KeyRing, ring_name
from turnout.services.documents import Document, Documents
from turnout.services.vault import MAGIC, Vault, key_and_purpose

__all__ = ["Progress", "Renewal", "Rotation"]

_PAGE: Final = 200
_PASSES: Final = 5
"""How often a customer's documents are gone through for values that somebody sealed with the old key meanwhile."""
_ATTEMPTS: Final = 20
_SEALED: Final = re.compile(re.escape(base64.b64encode(MAGIC)) + rb"[A-Za-z0-9+/]*={0,2}")

_IsOld = Callable[[bytes], bool]
Progress = Callable[[str, int], None]
"""Told after each customer: its name, and how many customers are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pass:
    """A rotation of data keys that is under way: what it is called, and the last ring that it has done."""

    rotation: str
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """What became of a rotation of data keys: `customers` have a new one, `values` were sealed anew, and `unreadable` names those
    that do not open, which stay as they are. `resumed`: it went on with one that had been cut short."""

    customers: int
    values: int
    unreadable: tuple[str, ...] = ()
    resumed: bool = False


@dataclass(slots=True)
class _Resealed:
    values: int = 0
    unreadable: dict[str, None] = field(default_factory=dict)


class Rotation:
    """Rotates the keys of `vault`, which are in `catalog`."""

    def __init__(self, catalog: CatalogStore, vault: Vault) -> None:
        self._catalog = catalog
        self._vault = vault
        self._keys: DataKeys = vault.keys
        self._passes: Documents[_Pass] = Documents(catalog, "key-rotation", _Pass)

    async def outdated(self) -> int:
        """How many customers have a data key that is wrapped by another key than the one that wraps now."""
        return sum([not all(map(self._keys.is_current, ring.value.keys)) async for ring in self._rings()])

    async def rewrap(self, progress: Progress) -> int:
        """Wrap every data key with the key that wraps now; of how many customers. Keys that others make meanwhile with the
        old one are found as well."""
        total = 0
        for _ in range(_PASSES):
            done = 0
            async for ring in self._rings():
                if await self._rewrapped(ring.tenant):
                    done += 1
                    progress(ring.tenant, total + done)
            total += done
            if not done:
                break
        return total

    async def renew(self, progress: Progress, *, tenant: str | None = None) -> Renewal:
        """Give every customer, or one, a new data key, and seal anew with it what was sealed with older ones. Those stay, to
        open what somebody writes with them at this moment, and what a backup has. `NotFound`: the customer has none."""
        started = await self._begun(tenant)
        under_way, resumed = started
        done, sealed = 0, _Resealed()
        async for ring in self._rings(under_way.after) if tenant is None else self._ring_of(tenant):
            await self._new_key(ring.tenant, under_way.rotation)
            await self._reseal(ring.tenant, sealed)
            done += 1
            await self._passes.put(_name(tenant), replace(under_way, after=ring.name), tenant=tenant or "")
            progress(ring.tenant, done)
        await self._passes.remove(_name(tenant), tenant=tenant or "")
        return Renewal(customers=done, values=sealed.values, unreadable=tuple(sealed.unreadable), resumed=resumed)

    async def _begun(self, tenant: str | None) -> tuple[_Pass, bool]:
        """The pass that is under way, or a new one; whether it was there."""
        if tenant is not None and await self._keys.rings.get(ring_name(tenant), tenant=tenant) is None:
            raise NotFound("data key of customer", tenant, hint="nothing of theirs has been encrypted yet")
        new = _Pass(rotation=secrets.token_hex(8))
        if await self._passes.create(_name(tenant), new, tenant=tenant or ""):
            return new, False
        found = await self._passes.get(_name(tenant), tenant=tenant or "")
        return (new, False) if found is None else (found.value, True)

    async def _rings(self, after: str = "") -> AsyncIterator[Document[KeyRing]]:
        """All rings, in the order of their names: no two customers' have the same."""
        while page := await self._keys.rings.page(after=after, limit=_PAGE):
            for ring in page:
                yield ring
            after = page[-1].name

    async def _ring_of(self, tenant: str) -> AsyncIterator[Document[KeyRing]]:
        yield await self._keys.ring(tenant)

    async def _rewrapped(self, tenant: str) -> bool:
        """Whether there was anything to wrap anew."""
        for _ in range(_ATTEMPTS):
            ring = await self._keys.rings.get(ring_name(tenant), tenant=tenant)
            if ring is None or all(map(self._keys.is_current, ring.value.keys)):
                return False
            keys = [
                key if self._keys.is_current(key) else await self._keys.rewrapped(tenant, key)
                for key in ring.value.keys
            ]
            if await self._keys.rings.replace(ring, KeyRing(keys=tuple(keys))):
                return True
        raise BackendError(f"the data keys of customer {tenant!r} are written by others again and again: try later")

    async def _new_key(self, tenant: str, rotation: str) -> None:
        for _ in range(_ATTEMPTS):
            ring = await self._keys.ring(tenant)
            if any(key.rotation == rotation for key in ring.value.keys):
                return
            new = await self._keys.made(tenant, rotation=rotation)
            if await self._keys.rings.replace(ring, KeyRing(keys=(new, *ring.value.keys))):
                return
        raise BackendError(f"the data keys of customer {tenant!r} are written by others again and again: try later")

    async def _reseal(self, tenant: str, sealed: _Resealed) -> None:
        newest, *old = [bytes.fromhex(key.id) for key in (await self._keys.ring(tenant)).value.keys]

        def is_old(key_id: bytes) -> bool:
            """Among what belongs to the whole organisation may stand what is a customer's for a moment: that is left alone."""
            return key_id != newest if tenant else key_id in old

        for _ in range(_PASSES):
            before = sealed.values
            for kind in await self._catalog.kinds():
                if kind != KIND:
                    await self._reseal_kind(kind, tenant, is_old, sealed)
            if sealed.values == before:
                return

    async def _reseal_kind(self, kind: str, tenant: str, is_old: _IsOld, sealed: _Resealed) -> None:
        after = ""
        while page := await self._catalog.entries(kind, tenant=tenant, after=after, limit=_PAGE):
            for entry in page:
                await self._reseal_entry(entry, is_old, sealed)
            after = page[-1].address.name

    async def _reseal_entry(self, found: CatalogEntry, is_old: _IsOld, sealed: _Resealed) -> None:
        """Where a document is written by somebody else meanwhile, it is read again."""
        entry: CatalogEntry | None = found
        address = found.address
        for _ in range(_ATTEMPTS):
            old = [] if entry is None else [text for text in _sealed_in(entry.body) if _needs(text, is_old)]
            if entry is None or not old:
                return
            try:
                body = await self._body(address.tenant, entry.body, old)
            except DoesNotOpen:
                sealed.unreadable[f"{address.kind} {address.name!r} of customer {address.tenant!r}"] = None
                return
            change = CatalogChange(address=address, body=body, due=entry.due, expected=entry.revision)
            if await self._catalog.write(change):
                sealed.values += len(old)
                return
            entry = await self._catalog.get(address)
        raise BackendError(f"{address.kind} {address.name!r} is written by others again and again: try later")

    async def _body(self, tenant: str, body: bytes, old: list[bytes]) -> bytes:
        for text in old:
            plain = text if body.startswith(MAGIC) else base64.b64decode(text)
            _, purpose = key_and_purpose(plain) or (b"", "")
            new = await self._vault.seal(tenant, purpose, await self._vault.open(tenant, purpose, plain))
            body = new if body.startswith(MAGIC) else body.replace(text, base64.b64encode(new))
        return body


def _sealed_in(body: bytes) -> list[bytes]:
    """The sealed values in a document, as they stand there: it is one, or they are text in base64."""
    return [body] if body.startswith(MAGIC) else list(dict.fromkeys(_SEALED.findall(body)))


def _needs(text: bytes, is_old: _IsOld) -> bool:
    """Whether it is a sealed value that needs an older key."""
    try:
        found = key_and_purpose(text if text.startswith(MAGIC) else base64.b64decode(text, validate=True))
    except binascii.Error:
        return False
    return found is not None and is_old(found[0])


def _name(tenant: str | None) -> str:
    return "all" if tenant is None else "one"
