"""Providers that asked for fewer requests: until when nothing is sent to them, whichever connection it would be for."""

from __future__ import annotations

from hashlib import sha256

import msgspec

from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.services.documents import Documents
from turnout.services.oauth.endpoint import Unavailable
from turnout.services.oauth.registration import Registration

__all__ = ["Pauses"]


class _Pause(msgspec.Struct, frozen=True, kw_only=True):
    until: float


class Pauses:
    """One document for each client at a provider: limits are counted by those."""

    def __init__(self, catalog: CatalogStore, clock: Clock) -> None:
        self._documents: Documents[_Pause] = Documents(catalog, "oauth-pause", _Pause)
        self._clock = clock

    async def begin(self, registration: Registration, for_s: float) -> None:
        until = self._clock.now() + for_s
        await self._documents.put(_name(registration), _Pause(until=until), due=until)

    async def check(self, registration: Registration) -> None:
        """`Unavailable` says how long to wait still."""
        found, now = await self._documents.get(_name(registration)), self._clock.now()
        if found is not None and found.value.until > now:
            raise Unavailable("the provider asked for fewer requests", retry_after_s=found.value.until - now)

    async def sweep(self) -> None:
        """Forget those that are over."""
        for found in await self._documents.due(self._clock.now()):
            await self._documents.remove(found.name, expected=found.revision)


def _name(registration: Registration) -> str:
    return sha256(f"{registration.provider.token_url}\0{registration.client_id}".encode()).hexdigest()
