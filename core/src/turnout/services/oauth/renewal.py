"""Access tokens that are valid when they are used: one renewal at a time for a connection, whoever asks and wherever.

In a process, all who need the same token wait for one renewal. Among processes a lease in the token's document decides. A new
token set is durable before anybody uses it. A renewal that ended with its process is noticed by the lease that it left: the
refresh token may have been used, and is tried again at once, since providers that allow it at all do so for seconds.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol

import msgspec
from pydantic import SecretStr

from turnout.errors import BackendError, NotFound, SettingsError, StepError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.oauth import Grant
from turnout.services.documents import Document
from turnout.services.oauth.endpoint import Refused, TokenEndpoint, Unavailable
from turnout.services.oauth.pauses import Pauses
from turnout.services.oauth.registration import PLATFORMS_OWN, Registration
from turnout.services.oauth.timing import backoff_s, due, is_valid, margin_s
from turnout.services.oauth.tokens import Lease, TokenDocument, Tokens, TokenSet

__all__ = ["LEASE_S", "ConnectionBook", "Renewals"]

LEASE_S: Final = 15.0
_REQUEST_S: Final = 10.0
_SAFETY_S: Final = 2.0
"""No request begins so shortly before its lease ends."""
_WAIT_S: Final = 45.0
"""Who needs a token waits for it at most so long."""
_POLL_S: Final = 0.1
_KEEP_TRYING_S: Final = 300.0
"""How long a new token set that cannot be written is held on to."""
_REFUSED_S: Final = 60.0
_AT_ONCE: Final = 8
_REMEMBERED: Final = 10_000
_log = logging.getLogger("turnout.oauth")

_Found = Document[TokenDocument]
_Key = tuple[str, str]


class ConnectionBook(Protocol):
    """The connections that customers keep, as far as OAuth 2.0 needs them."""

    async def registration(self, tenant: str, name: str) -> Registration:
        """The client of an OAuth 2.0 connection. `NotFound` if there is no such connection, `SettingsError` if its client
        cannot be used."""

    async def mark(self, tenant: str, name: str, state: str, reason: str) -> None:
        """Say that a connection is `ok` or `broken`, and why; done twice it is as done once."""


@dataclass(frozen=True, slots=True)
class _Remembered:
    sealed: bytes
    fields: Mapping[str, Any]
    merged: Mapping[str, Any]


class Renewals:
    """Gives valid tokens, and renews those that are due."""

    def __init__(
        self, tokens: Tokens, book: ConnectionBook, endpoint: TokenEndpoint, catalog: CatalogStore, clock: Clock
    ) -> None:
        self._tokens = tokens
        self._book = book
        self._endpoint = endpoint
        self._clock = clock
        self._pauses = Pauses(catalog, clock)
        self._holder = secrets.token_hex(8)
        self._flights: dict[_Key, asyncio.Task[_Found]] = {}
        self._known: dict[_Key, _Remembered] = {}

    async def fresh(self, tenant: str, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """A connection's fields with an `access_token` that does not expire at once, and without the client's secret. The same
        object as before where nothing has changed. `StepError` of kind `connection` says what is wrong."""
        found = await self._tokens.get(tenant, name)
        if found is None or not self._lasts(found.value):
            found = await self._renewed(tenant, name, found)
        return await self._merged(found, fields)

    async def renew_due(self, within_s: float) -> int:
        """Renew what is due, for at most about `within_s` seconds; how many were."""
        now = self._clock.now()
        await self._pauses.sweep()
        limit, renewed = asyncio.Semaphore(_AT_ONCE), 0

        async def renew(found: _Found) -> None:
            nonlocal renewed
            async with limit:
                if self._clock.now() + LEASE_S > now + within_s or _is_leased(found.value, self._clock.now()):
                    return
                renewed += await self._looked_after(found)

        async with asyncio.TaskGroup() as group:
            for found in await self._tokens.documents.due(now, limit=1000):
                group.create_task(renew(found))
        return renewed

    async def stored(self, tenant: str, name: str, registration: Registration, tokens: TokenSet) -> None:
        """Keep the tokens of a connection that a person has connected just now; whatever was there is over."""
        for _ in range(20):
            found = await self._tokens.get(tenant, name)
            if await self._write(tenant, name, found, registration, tokens, marked=True):
                await self._say_ok(tenant, name)
                return
        raise BackendError(f"the tokens of connection {name!r} are written by others again and again: try again")

    async def forget(self, tenant: str, name: str, registration: Registration | None) -> None:
        """A connection is gone: so are its tokens, and at the provider they are revoked, if it can be reached."""
        found = await self._tokens.get(tenant, name)
        if found is None:
            return
        tokens = await self._tokens.open(found) if found.value.sealed and registration is not None else None
        await self._tokens.documents.remove(name, tenant=tenant)
        if tokens is None or registration is None or found.value.registration != registration.fingerprint:
            return
        try:
            await self._endpoint.revoke(registration, tokens.refresh_token or tokens.access_token, within_s=_REQUEST_S)
        except BackendError as error:
            _log.warning("the token of connection %r of customer %r is not revoked: %s", name, tenant, error)

    async def stop(self) -> None:
        """Wait for renewals that are under way: what a provider answers now must be kept."""
        if self._flights:
            await asyncio.wait(self._flights.values(), timeout=_REQUEST_S)

    # What is there already

    def _lasts(self, document: TokenDocument) -> bool:
        return not document.broken and is_valid(document, self._clock.now(), for_s=margin_s(document))

    async def _merged(self, found: _Found, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        key = (found.tenant, found.name)
        known = self._known.get(key)
        if known is not None and known.sealed == found.value.sealed and known.fields == fields:
            return known.merged
        if not found.value.used or found.value.marked:
            await self._noted(found)
        tokens = await self._tokens.open(found)
        own = {field: value for field, value in fields.items() if field not in PLATFORMS_OWN}
        # A `SecretStr`: what a provider gave us is no reference, whatever it looks like.
        merged = {**own, "access_token": SecretStr(tokens.access_token)}
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[key] = _Remembered(found.value.sealed, dict(fields), merged)
        return merged

    async def _noted(self, found: _Found) -> None:
        """Note that a step has these tokens, which work as far as is known. Somebody else's writing goes first."""
        if found.value.marked and not found.value.failures:
            await self._book.mark(found.tenant, found.name, "ok", "")
        used = msgspec.structs.replace(found.value, used=True, marked=bool(found.value.failures and found.value.marked))
        when = due(used, found.name) if used.lease is None and not used.failures else found.due
        await self._tokens.documents.replace(found, used, due=when)

    # One renewal in a process

    async def _renewed(self, tenant: str, name: str, found: _Found | None) -> _Found:
        """The document once it is renewed; as it is where that fails and its token is still valid."""
        try:
            return await self._together(tenant, name, _generation(found))
        except (BackendError, SettingsError, NotFound, StepError) as error:
            if found is not None and not found.value.broken and is_valid(found.value, self._clock.now()):
                return found
            raise _unusable(name, error) from error

    async def _together(self, tenant: str, name: str, seen: int) -> _Found:
        """The document once it has a newer generation than was `seen`."""
        key = (tenant, name)
        flight = self._flights.get(key)
        if flight is None:
            flight = asyncio.create_task(self._renew(tenant, name, seen), name=f"oauth {tenant} {name}")
            self._flights[key] = flight
            flight.add_done_callback(lambda done: self._landed(key, done))
        bound = asyncio.create_task(self._clock.sleep(_WAIT_S))
        try:
            # Who waits may be cancelled; the renewal goes on.
            await asyncio.wait((flight, bound), return_when=asyncio.FIRST_COMPLETED)
        finally:
            bound.cancel()
        if not flight.done():
            raise Unavailable(f"its new token is not there after {_WAIT_S:.0f} s")
        return flight.result()

    def _landed(self, key: _Key, done: asyncio.Task[_Found]) -> None:
        self._flights.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever waited has it; nobody may have

    # One renewal among processes

    async def _renew(self, tenant: str, name: str, seen: int) -> _Found:
        deadline = self._clock.now() + _WAIT_S
        while True:
            found, now = await self._tokens.get(tenant, name), self._clock.now()
            value = TokenDocument() if found is None else found.value
            if found is not None and value.generation != seen and self._lasts(value):
                return found
            if value.broken:
                raise _Reconnect(tenant, name, value.broken)
            if value.retry_at > now:
                raise Unavailable(value.trouble, retry_after_s=value.retry_at - now)
            if not _is_leased(value, now):
                taken = await self._take(tenant, name, found)
                if taken is not None:
                    return await self._ask(*taken)
            elif now >= deadline:
                raise Unavailable("another process renews it for too long", retry_after_s=LEASE_S)
            await self._clock.sleep(_POLL_S)

    async def _take(self, tenant: str, name: str, found: _Found | None) -> tuple[_Found, Registration] | None:
        """Take the lease, in which everybody sees that the refresh token may be used from now on. None if another was quicker."""
        registration = await self._book.registration(tenant, name)
        value = TokenDocument() if found is None else found.value
        if registration.provider.grant is Grant.AUTHORIZATION_CODE and not value.renewable:
            if found is None:
                raise _Reconnect(tenant, name, "nobody has connected it yet")
            await self._lapsed(found)
        if found is not None and value.registration != registration.fingerprint:
            await self._changed_hands(found, registration)
        await self._pauses.check(registration)
        now = self._clock.now()
        leased = msgspec.structs.replace(
            value,
            lease=Lease(holder=self._holder, until=now + LEASE_S),
            interrupted=value.interrupted or bool(value.lease),
        )
        revision = 0 if found is None else found.revision
        change = self._tokens.documents.change(name, leased, tenant=tenant, due=now + LEASE_S, expected=revision)
        if not await self._tokens.write(change):
            return None
        after = await self._tokens.get(tenant, name)
        return None if after is None or after.value.lease != leased.lease else (after, registration)

    async def _lapsed(self, found: _Found) -> NoReturn:
        """The token is over, or nearly, and there is nothing to renew it with."""
        if not is_valid(found.value, self._clock.now()):
            await self._break(found, "its access token has expired, and the provider gave no refresh token")
        raise Unavailable("it has no refresh token")

    async def _changed_hands(self, found: _Found, registration: Registration) -> None:
        """A refresh token is shown to nobody but the provider that gave it."""
        if registration.provider.grant is Grant.AUTHORIZATION_CODE:
            await self._break(found, "its provider or client was changed")

    async def _ask(self, found: _Found, registration: Registration) -> _Found:
        lease = found.value.lease
        assert lease is not None
        tokens = await self._tokens.open(found) if found.value.sealed else None
        left = lease.until - self._clock.now()
        if left < _SAFETY_S + 1:
            raise Unavailable("this process was too slow to renew it", retry_after_s=LEASE_S)
        within_s = min(_REQUEST_S, left - _SAFETY_S)
        try:
            if registration.provider.grant is Grant.CLIENT_CREDENTIALS:
                new = await self._endpoint.claim(registration, within_s=within_s)
            else:
                assert tokens is not None
                new = await self._endpoint.renew(registration, tokens.refresh_token, within_s=within_s)
        except Refused as error:
            return await self._refused(found, registration, error)
        except Unavailable as error:
            await self._failed(found, registration, error)
            raise
        return await self._keep(found, registration, new)

    async def _keep(self, found: _Found, registration: Registration, new: TokenSet) -> _Found:
        """Write the new tokens, whatever it takes: with a refresh token that rotates, the old one is worth nothing any more."""
        until, generation, current = self._clock.now() + _KEEP_TRYING_S, found.value.generation, found
        marked = found.value.marked or generation == 0
        while True:
            try:
                written = await self._write(found.tenant, found.name, current, registration, new, marked=marked)
                after = await self._tokens.get(found.tenant, found.name)
                if after is None:
                    raise NotFound("connection", found.name, hint="it was removed while its token was renewed")
                if written or after.value.generation != generation:
                    break
                current = after
            except BackendError as error:
                if self._clock.now() >= until:
                    raise
                _log.warning("connection %r: its new tokens are not written yet: %s", found.name, error)
                await self._clock.sleep(1.0)
        if marked:
            await self._say_ok(found.tenant, found.name)
        return after

    async def _say_ok(self, tenant: str, name: str) -> None:
        """Say that the connection works. It is said again at its next use if it cannot be said now."""
        try:
            await self._book.mark(tenant, name, "ok", "")
            found = await self._tokens.get(tenant, name)
            if found is not None and found.value.marked and not found.value.failures and not found.value.broken:
                value = msgspec.structs.replace(found.value, marked=False)
                await self._tokens.documents.replace(found, value, due=found.due)
        except BackendError as error:
            _log.warning("connection %r of customer %r works again, which cannot be written: %s", name, tenant, error)

    async def _write(
        self,
        tenant: str,
        name: str,
        found: _Found | None,
        registration: Registration,
        tokens: TokenSet,
        *,
        marked: bool,
    ) -> bool:
        """A new generation; False if somebody has written meanwhile."""
        value = TokenDocument(
            generation=_generation(found) + 1,
            sealed=await self._tokens.seal(tenant, name, tokens),
            obtained_at=tokens.obtained_at,
            expires_at=tokens.expires_at,
            registration=registration.fingerprint,
            marked=marked,
            renewable=bool(tokens.refresh_token) or registration.provider.grant is Grant.CLIENT_CREDENTIALS,
        )
        revision = 0 if found is None else found.revision
        change = self._tokens.documents.change(name, value, tenant=tenant, due=due(value, name), expected=revision)
        return await self._tokens.write(change)

    # What goes wrong

    async def _refused(self, found: _Found, registration: Registration, error: Refused) -> _Found:
        """`invalid_grant` ends a connection, unless somebody else has stored newer tokens meanwhile; anything else is wrong
        with our client, and may be put right."""
        current = await self._tokens.get(found.tenant, found.name)
        if current is None or current.value.lease != found.value.lease:
            return await self._renew(found.tenant, found.name, found.value.generation)
        if error.code == "invalid_grant" and registration.provider.grant is Grant.AUTHORIZATION_CODE:
            why = f"the provider does not accept its refresh token any more: {error}"
            if found.value.interrupted:
                why += "; a renewal before was interrupted, so that its answer, with the next refresh token, was lost"
            await self._break(current, why)
        reason = f"the provider refuses the client: {error}"
        await self._delay(current, reason, max(_REFUSED_S, backoff_s(current.value.failures, None)), marked=True)
        await self._book.mark(found.tenant, found.name, "broken", reason)
        raise error

    async def _break(self, found: _Found, why: str) -> None:
        """Say durably that a person must connect again; then to whoever watches connections. It raises `StepError`."""
        # Due at once: if this process ends here, the timer says it.
        if await self._change(found, self._clock.now(), broken=why, marked=True):
            await self._tell(found.tenant, found.name, why)
        raise _Reconnect(found.tenant, found.name, why)

    async def _tell(self, tenant: str, name: str, why: str) -> None:
        await self._book.mark(tenant, name, "broken", why)
        found = await self._tokens.get(tenant, name)
        if found is not None and found.value.broken:
            await self._tokens.documents.replace(found, found.value, due=None)

    async def _failed(self, found: _Found, registration: Registration, error: Unavailable) -> None:
        wait_s = backoff_s(found.value.failures, error.retry_after_s)
        if error.limited:
            await self._pauses.begin(registration, wait_s)
        await self._delay(found, str(error), wait_s, interrupted=found.value.interrupted or error.unknown)

    async def _delay(self, found: _Found, trouble: str, wait_s: float, **changes: bool) -> None:
        _log.warning(
            "connection %r of customer %r: %s; next attempt in %.0f s", found.name, found.tenant, trouble, wait_s
        )
        retry_at, failures = self._clock.now() + wait_s, found.value.failures + 1
        await self._change(found, retry_at, failures=failures, retry_at=retry_at, trouble=trouble, **changes)

    async def _change(self, found: _Found, when: float, **changes: Any) -> bool:
        """Change a document and end its lease; False if it has another by now, or other tokens."""
        current: _Found | None = found
        while current is not None and (current.value.generation, current.value.lease) == (
            found.value.generation,
            found.value.lease,
        ):
            value = msgspec.structs.replace(current.value, lease=None, **changes)
            if await self._tokens.documents.replace(current, value, due=when):
                return True
            current = await self._tokens.get(found.tenant, found.name)  # a step may have begun to use the token
        return False

    async def _looked_after(self, found: _Found) -> bool:
        """What the timer does with a document that is due; whether it was renewed."""
        tenant, name, value = found.tenant, found.name, found.value
        try:
            if value.broken:
                await self._tell(tenant, name, value.broken)
                return False
            return (await self._together(tenant, name, value.generation)).value.generation > value.generation
        except NotFound:
            await self._tokens.documents.remove(name, tenant=tenant, expected=found.revision)
        except (BackendError, SettingsError, StepError) as error:
            _log.info("connection %r of customer %r is not renewed: %s", name, tenant, error)
            # Unless the attempt has said when to look again: others must not wait behind what cannot be renewed.
            later = error.retry_after_s if isinstance(error, Unavailable) else None
            await self._tokens.documents.replace(found, value, due=self._clock.now() + (later or _REFUSED_S))
        return False


class _Reconnect(StepError):
    """A person must connect it (again)."""

    def __init__(self, tenant: str, name: str, why: str) -> None:
        message = (
            f"connection {name!r}: {why}: the customer must connect it again; "
            f"`turnout connections connect {tenant} {name}` gives the link"
        )
        super().__init__(message, kind="connection", retryable=False)


def _is_leased(document: TokenDocument, now: float) -> bool:
    return document.lease is not None and document.lease.until > now


def _unusable(name: str, error: Exception) -> StepError:
    if isinstance(error, StepError):
        return error
    passing = isinstance(error, BackendError) and not isinstance(error, Refused)
    after = error.retry_after_s if isinstance(error, Unavailable) else None
    return StepError(
        f"connection {name!r}: it has no valid access token, and a new one was not to be had: {error}",
        kind="connection",
        retryable=passing,
        retry_after_s=after,
    )


def _generation(found: _Found | None) -> int:
    return 0 if found is None else found.value.generation
