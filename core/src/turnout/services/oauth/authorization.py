"""The authorization code flow (RFC 6749, 4.1; RFC 7636; RFC 9207; RFC 9700): to the provider and back, with nobody in between.

An authorization that is under way is a document: its name is the hash of `state`, and it knows the browser that began, the
provider that was asked, and the verifier that makes the code worthless to anybody else. It is used once.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import secrets
from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from turnout.errors import NotFound, SettingsError, StepError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.oauth import Grant, OAuth2Provider
from turnout.services.documents import Documents
from turnout.services.oauth.endpoint import Refused, TokenEndpoint, Unavailable
from turnout.services.oauth.links import Link, Links
from turnout.services.oauth.protocol import authorization_url
from turnout.services.oauth.registration import Registration
from turnout.services.oauth.renewal import ConnectionBook, Renewals
from turnout.services.vault import Vault

__all__ = ["CALLBACK", "Authorizations", "NotConnected"]

CALLBACK: Final = "/oauth/callback"
_PENDING_S: Final = 1800.0
_REQUEST_S: Final = 20.0
_SWEPT: Final = 500
_log = logging.getLogger("turnout.oauth")


class NotConnected(Exception):
    """Why it did not work, in the words of the page that says so: what happened, and what to do."""

    def __init__(self, title: str, what: str, *, status: int = 400, link: str = "") -> None:
        self.title, self.what, self.status, self.link = title, what, status, link
        super().__init__(title)


class _Pending(msgspec.Struct, frozen=True, kw_only=True):
    link: str
    browser: str
    registration: str
    redirect_uri: str
    verifier: bytes
    expires_at: float


class _UsedLink(msgspec.Struct, frozen=True, kw_only=True):
    at: float


class _Parts(Protocol):
    """What an authorization needs of the platform."""

    @property
    def book(self) -> ConnectionBook: ...
    @property
    def renewals(self) -> Renewals: ...
    @property
    def endpoint(self) -> TokenEndpoint: ...
    @property
    def vault(self) -> Vault: ...


class Authorizations:
    """Begins and finishes them. `public_url` is where browsers reach us."""

    def __init__(self, parts: _Parts, links: Links, catalog: CatalogStore, clock: Clock, public_url: str) -> None:
        self._parts = parts
        self._links = links
        self._clock = clock
        self.redirect_uri = f"{public_url.rstrip('/')}{CALLBACK}"
        self._pending: Documents[_Pending] = Documents(catalog, "oauth-state", _Pending)
        self._used: Documents[_UsedLink] = Documents(catalog, "oauth-link", _UsedLink)

    async def open(self, text: str) -> tuple[Link, Registration]:
        """The link, and the client of its connection. `NotConnected` if it leads nowhere."""
        link = self._links.read(text)
        if link is None:
            raise NotConnected("This link is not complete", "Open the link again as you got it.", status=404)
        if self._links.is_over(link):
            raise NotConnected("This link has expired", _NEW_LINK, status=410)
        try:
            registration = await self._parts.book.registration(link.tenant, link.connection)
        except NotFound:
            raise NotConnected("There is nothing to connect any more", _NEW_LINK, status=410) from None
        except (SettingsError, StepError) as error:
            _log.warning("connection %r of customer %r: %s", link.connection, link.tenant, error)
            raise NotConnected("This cannot be connected yet", _OURS, status=503) from None
        if registration.provider.grant is not Grant.AUTHORIZATION_CODE:
            raise NotConnected("There is nothing to do", "This connection needs nobody to connect it.")
        return link, registration

    async def is_used(self, link: Link) -> bool:
        """Whether somebody has connected by this link."""
        return await self._used.get(link.id, tenant=link.tenant) is not None

    async def begin(self, text: str, browser: str) -> str:
        """The provider's address that this browser, known by a secret of its own, is to go to. `NotConnected`."""
        link, registration = await self.open(text)
        if await self.is_used(link):
            raise NotConnected("This link has been used", _NEW_LINK, status=410)
        state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        name, now = _hash(state), self._clock.now()
        pending = _Pending(
            link=text,
            browser=_hash(browser),
            registration=registration.fingerprint,
            redirect_uri=self.redirect_uri,
            verifier=await self._parts.vault.seal(link.tenant, f"oauth-state/{name}", verifier.encode()),
            expires_at=now + _PENDING_S,
        )
        await self._pending.put(name, pending, due=pending.expires_at)
        return authorization_url(registration, redirect_uri=self.redirect_uri, state=state, verifier=verifier)

    async def finish(self, given: Mapping[str, str], browsers: tuple[str, ...]) -> str:
        """What the provider sent a browser back with, which shows these secrets: the text of the link that is connected by it
        now. `NotConnected`."""
        name = _hash(given.get("state", ""))
        found = await self._pending.get(name)
        if found is None or found.value.expires_at <= self._clock.now():
            raise NotConnected("This was begun too long ago, or is finished already", _AGAIN)
        pending = found.value
        if not any(hmac.compare_digest(pending.browser, _hash(browser)) for browser in browsers):
            # Not used up: whoever was led here by somebody else must not end what that person has begun.
            raise NotConnected("This was begun in another browser", f"{_AGAIN} Cookies have to be allowed.", status=403)
        if not await self._pending.remove(name, expected=found.revision):
            raise NotConnected("This is finished already", _AGAIN)
        link, registration = await self.open(pending.link)
        _check_answer(given, pending, registration)
        verifier = await self._parts.vault.open(link.tenant, f"oauth-state/{name}", pending.verifier)
        await self._redeem(link, registration, pending, given["code"], verifier.decode())
        return pending.link

    async def _redeem(
        self, link: Link, registration: Registration, pending: _Pending, code: str, verifier: str
    ) -> None:
        try:
            tokens = await self._parts.endpoint.redeem(
                registration,
                code=code,
                verifier=verifier if registration.provider.pkce else "",
                redirect_uri=pending.redirect_uri,
                within_s=_REQUEST_S,
            )
        except (Refused, Unavailable, SettingsError) as error:
            _log.warning("connection %r of customer %r is not connected: %s", link.connection, link.tenant, error)
            what = (
                "It did not answer as it should." if isinstance(error, Unavailable) else "It did not accept the answer."
            )
            raise NotConnected(
                "The provider gave no access", f"{what} {_AGAIN}", status=502, link=pending.link
            ) from None
        await self._parts.renewals.stored(link.tenant, link.connection, registration, tokens)
        used = _UsedLink(at=self._clock.now())
        await self._used.put(link.id, used, tenant=link.tenant, due=link.expires_at)

    async def forget(self, tenant: str) -> int:
        """Give up what a customer has begun; how many there were. Nobody who comes back from a provider finds it any more."""
        forgotten = 0
        async for pending in self._pending.all():
            link = self._links.read(pending.value.link)
            if link is not None and link.tenant == tenant:
                forgotten += await self._pending.remove(pending.name, expected=pending.revision)
        return forgotten

    async def sweep(self) -> None:
        """Forget authorizations that nobody finished in time, and used links that are over."""
        now = self._clock.now()
        for pending in await self._pending.due(now, limit=_SWEPT):
            await self._pending.remove(pending.name, expected=pending.revision)
        for used in await self._used.due(now, limit=_SWEPT):
            await self._used.remove(used.name, tenant=used.tenant, expected=used.revision)


_AGAIN: Final = "Open the link that you were sent, and connect again."
_NEW_LINK: Final = "Ask whoever sent it to you for a new one."
_OURS: Final = "Something is missing on our side. Tell whoever sent you the link."


def _check_answer(given: Mapping[str, str], pending: _Pending, registration: Registration) -> None:
    if pending.registration != registration.fingerprint:
        raise NotConnected("The connection was changed meanwhile", _AGAIN, link=pending.link)
    if not _names_issuer(given.get("iss"), registration.provider):
        _log.warning("an authorization was answered by another issuer than was asked: it is refused (RFC 9207)")
        raise NotConnected("Somebody else answered for the provider", _AGAIN, link=pending.link)
    if given.get("error") == "access_denied":
        raise NotConnected("Access was not given", f"You, or the provider, said no. {_AGAIN}", link=pending.link)
    if "error" in given or not given.get("code"):
        raise NotConnected("The provider reports an error", f"It gave no access. {_AGAIN}", link=pending.link)


def _names_issuer(named: str | None, provider: OAuth2Provider) -> bool:
    """RFC 9207, 2.4. Without an issuer to compare with, it has to be where the browser was sent."""
    if named is None:
        return not provider.names_issuer
    if provider.issuer:
        return named == provider.issuer
    try:
        return urlsplit(named).netloc == urlsplit(provider.authorization_url).netloc
    except ValueError:
        return False


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
