"""The service `oauth`: the pages by which customers connect, and the timer that renews tokens before they expire."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, quote, urlsplit

from turnout.errors import BackendError, UserError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.oauth import Grant
from turnout.interfaces.service import Invocation, Request, Response, Route, Service, Timer
from turnout.services.oauth.authorization import CALLBACK, Authorizations, NotConnected
from turnout.services.oauth.endpoint import TokenEndpoint
from turnout.services.oauth.links import LINK_S, Link, Links
from turnout.services.oauth.pages import connect_page, connected_page, leaving_page, trouble_page
from turnout.services.oauth.registration import Registration
from turnout.services.oauth.renewal import ConnectionBook, Renewals
from turnout.services.vault import Vault

__all__ = ["OAuth", "OAuthParts"]

_EVERY_S: Final = 15.0
_FORM_BYTES: Final = 4096
_COOKIE_S: Final = 3600
_log = logging.getLogger("turnout.oauth")
_COOKIE: Final = "turnout-connect"


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthParts:
    """What the service works with. `key` signs links; `public_url` is where browsers reach us."""

    book: ConnectionBook
    renewals: Renewals
    endpoint: TokenEndpoint
    vault: Vault
    catalog: CatalogStore
    clock: Clock
    key: bytes
    public_url: str
    return_urls: tuple[str, ...] = ()
    project: str = ""


class OAuth(Service):
    """Pages under `/connect/` and `/oauth/callback`."""

    name = "oauth"

    def __init__(self, parts: OAuthParts) -> None:
        self._parts = parts
        self._links = Links(parts.key, parts.clock, parts.return_urls)
        self._authorizations = Authorizations(parts, self._links, parts.catalog, parts.clock, parts.public_url)
        self._secure = urlsplit(parts.public_url).scheme == "https"

    async def invite(self, tenant: str, connection: str, *, return_to: str = "", valid_s: float = LINK_S) -> str:
        """As `link`, for a connection that somebody can connect: `NotFound`, `SettingsError` and `UserError` say why not."""
        registration = await self._parts.book.registration(tenant, connection)
        if registration.provider.grant is not Grant.AUTHORIZATION_CODE:
            raise UserError(f"connection {connection!r} needs nobody to connect it: its client stands for itself")
        return self.link(tenant, connection, return_to=return_to, valid_s=valid_s)

    def link(self, tenant: str, connection: str, *, return_to: str = "", valid_s: float = LINK_S) -> str:
        """An address by which somebody of the customer connects."""
        text = self._links.make(tenant, connection, return_to=return_to, valid_s=valid_s)
        return f"{self._parts.public_url.rstrip('/')}{_path(text)}"

    async def forget(self, tenant: str) -> int:
        """As a customer is deleted: nothing that it has begun can be finished any more; how much that was."""
        return await self._authorizations.forget(tenant)

    def routes(self) -> Sequence[Route]:
        return (
            Route(method="GET", path="/connect/{link}", handle=partial(_told, self._show)),
            Route(method="POST", path="/connect/{link}", handle=partial(_told, self._leave)),
            Route(method="GET", path=CALLBACK, handle=partial(_told, self._come_back)),
        )

    def timers(self) -> Sequence[Timer]:
        return (Timer(name="oauth-renewal", every_s=_EVERY_S, handle=self._renew),)

    async def start(self) -> None:
        """Nothing runs of its own."""

    async def stop(self) -> None:
        await self._parts.renewals.stop()

    async def close(self) -> None:
        """Wait for renewals that are under way, and let go of connections to providers."""
        await self._parts.renewals.stop()
        await self._parts.endpoint.close()

    async def _renew(self, invocation: Invocation) -> None:
        await self._authorizations.sweep()
        await self._parts.renewals.renew_due(invocation.remaining_s())

    async def _show(self, request: Request) -> Response:
        link, registration = await self._authorizations.open(request.parameters["link"])
        provider = _provider(registration)
        if await self._authorizations.is_used(link):
            return connected_page(provider=provider, return_to=link.return_to)
        browser = next(iter(self._browsers(request)), None) or secrets.token_urlsafe(32)
        page = connect_page(self._facts(link, registration), provider=provider, check=self._check(browser, request))
        return Response(
            status=page.status, headers={**page.headers, "set-cookie": self._cookie(browser)}, body=page.body
        )

    def _facts(self, link: Link, registration: Registration) -> Sequence[tuple[str, str | Sequence[str]]]:
        facts: list[tuple[str, str | Sequence[str]]] = [("For", link.tenant), ("Connection", link.connection)]
        if self._parts.project:
            facts.append(("Used by", self._parts.project))
        if registration.provider.scopes:
            facts.append(("Asks for", registration.provider.scopes))
        return facts

    async def _leave(self, request: Request) -> Response:
        """The form comes from our page, in the browser that we showed it to, or it is none."""
        given = dict(parse_qsl((await _body(request)).decode("ascii", "replace"), max_num_fields=10))
        check = given.get("check", "")
        for browser in self._browsers(request):
            if hmac.compare_digest(check.encode(), self._check(browser, request).encode()):
                break
        else:
            what = "Open the link again, and continue from there. Cookies have to be allowed."
            raise NotConnected("Please begin again", what, status=403, link=request.parameters["link"])
        url = await self._authorizations.begin(request.parameters["link"], browser)
        _, registration = await self._authorizations.open(request.parameters["link"])
        return leaving_page(url, provider=_provider(registration), cookie=self._cookie(browser))

    async def _come_back(self, request: Request) -> Response:
        query = urlsplit(request.url).query if request.url else ""
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=50) or list(request.query.items())
        if any(count > 1 for count in Counter(name for name, _ in pairs).values()):
            raise NotConnected("The provider's answer cannot be read", "Open the link that you were sent again.")
        link = await self._authorizations.finish(dict(pairs), self._browsers(request))
        # The code is left behind: neither history nor the next page has it.
        return Response(
            status=303, headers={"location": _path(link), "cache-control": "no-store", "referrer-policy": "no-referrer"}
        )

    def _check(self, browser: str, request: Request) -> str:
        text = f"form\0{browser}\0{request.parameters['link']}"
        return hmac.digest(self._parts.key, text.encode("utf-8", "surrogatepass"), sha256).hex()

    @property
    def _cookie_name(self) -> str:
        """With the prefix, no other host under our domain can set it (RFC 6265bis, 4.1.3.2)."""
        return f"__Host-{_COOKIE}" if self._secure else _COOKIE

    def _cookie(self, browser: str) -> str:
        secure = "; Secure" if self._secure else ""
        return f"{self._cookie_name}={browser}; Path=/; Max-Age={_COOKIE_S}; HttpOnly; SameSite=Lax{secure}"

    def _browsers(self, request: Request) -> tuple[str, ...]:
        """The secret of this browser. There may be others of the same name, which somebody else has set."""
        pairs = (part.strip().partition("=") for part in request.headers.get("cookie", "").split(";"))
        return tuple(value for name, _, value in pairs if name == self._cookie_name and 20 <= len(value) <= 100)[:5]


async def _told(handle: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    """Whatever did not work is a page."""
    try:
        return await handle(request)
    except NotConnected as error:
        link = _path(error.link) if error.link else ""
        return trouble_page(error.title, error.what, status=error.status, link=link)
    except BackendError as error:
        _log.warning("%s of a page of OAuth 2.0 is answered with 503: %s", request.method, error)
        what = "Something of ours does not answer. Open the link that you were sent again in a minute."
        return trouble_page("This does not work at the moment", what, status=503, link="")
    except ValueError:
        return trouble_page("This cannot be read", "Open the link that you were sent again.", status=400, link="")


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.body:
        body += chunk
        if len(body) > _FORM_BYTES:
            raise NotConnected("This form is none of ours", "Open the link that you were sent again.", status=413)
    return body


def _provider(registration: Registration) -> str:
    return urlsplit(registration.provider.authorization_url).netloc


def _path(link: str) -> str:
    return f"/connect/{quote(link, safe='')}"
