"""The service `oauth` by itself, on a catalog in memory: its parts, a customer's connections, and a browser of few words."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import SecretStr
from turnout.connectors import ClientAuthentication, Grant, OAuth2Provider
from turnout.errors import BackendError, NotFound
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.secrets import Secret
from turnout.interfaces.service import Invocation, Request, Response
from turnout.local.keys import VARIABLE, Keys
from turnout.local.local_key_wrapper import LocalKeyWrapper
from turnout.local.memory_catalog import MemoryCatalog
from turnout.services.oauth.endpoint import TokenEndpoint
from turnout.services.oauth.registration import Registration
from turnout.services.oauth.renewal import Renewals
from turnout.services.oauth.service import OAuth, OAuthParts
from turnout.services.oauth.tokens import Tokens
from turnout.services.vault import Vault
from turnout.testing.clock import ManualClock

from tests.oauth.server import Provider

__all__ = ["PUBLIC_URL", "Bench", "Book", "Browser", "registration"]

PUBLIC_URL = "http://127.0.0.1:8400"
_KEY = b64encode(b"k" * 32).decode()


def registration(provider: Provider, client: str = "shop", **changes: Any) -> Registration:
    """Of a client that the provider knows."""
    given: dict[str, Any] = {
        "authorization_url": f"{provider.issuer}/auth",
        "token_url": f"{provider.issuer}/token",
        "revocation_url": f"{provider.issuer}/token/revocation",
        "issuer": provider.issuer,
        "names_issuer": True,
        "scopes": ("openid", "orders"),
    }
    match client:
        case "poster":
            given["authentication"] = ClientAuthentication.POST
        case "public":
            given["authentication"] = ClientAuthentication.NONE
        case "robot":
            given |= {"grant": Grant.CLIENT_CREDENTIALS, "scopes": ()}
    secret = "" if client == "public" else f"{client}-secret-of-the-client"
    return Registration(provider=OAuth2Provider(**{**given, **changes}), client_id=client, secret=Secret(secret))


@dataclass
class Book:
    """Connections as the service sees them, and what it said of them."""

    connections: dict[tuple[str, str], Registration] = field(default_factory=dict)
    marks: list[tuple[str, str, str, str]] = field(default_factory=list)
    failing: bool = False

    async def registration(self, tenant: str, name: str) -> Registration:
        if (tenant, name) not in self.connections:
            raise NotFound("connection", name)
        return self.connections[tenant, name]

    async def mark(self, tenant: str, name: str, state: str, reason: str) -> None:
        if self.failing:
            raise BackendError("the catalog does not answer")
        self.marks.append((tenant, name, state, reason))


class Bench:
    """One process's service. `other` is another's, on the same catalog and clock."""

    def __init__(
        self,
        provider: Provider,
        *,
        catalog: CatalogStore | None = None,
        clock: ManualClock | None = None,
        book: Book | None = None,
        public_url: str = PUBLIC_URL,
    ) -> None:
        self.provider = provider
        self.catalog = catalog or MemoryCatalog()
        self.clock = clock or ManualClock()
        self.book = book or Book({("acme", "erp"): registration(provider)})
        self.vault = Vault(self.catalog, LocalKeyWrapper(Keys("/", environment={VARIABLE: _KEY})), clock=self.clock)
        self.tokens = Tokens(self.catalog, self.vault)
        self.endpoint = TokenEndpoint(self.clock)
        self.renewals = Renewals(self.tokens, self.book, self.endpoint, self.catalog, self.clock)
        self.service = OAuth(
            OAuthParts(
                book=self.book,
                renewals=self.renewals,
                endpoint=self.endpoint,
                vault=self.vault,
                catalog=self.catalog,
                clock=self.clock,
                key=b"k" * 32,
                public_url=public_url,
                return_urls=("https://app.example/settings",),
                project="shop",
            )
        )

    def other(self) -> Bench:
        return Bench(self.provider, catalog=self.catalog, clock=self.clock, book=self.book)

    async def close(self) -> None:
        await self.service.stop()
        await self.endpoint.close()

    async def connected(self, name: str = "erp") -> None:
        """What a person does who connects."""
        browser = Browser(self.service)
        link = self.service.link("acme", name)
        answer = await self.provider.authorize(await browser.leave(link))
        page = await browser.callback(answer)
        assert page.status == 303, page.body

    async def token(self, name: str = "erp", fields: Mapping[str, Any] | None = None) -> str:
        """The access token that a step gets now."""
        given = await self.renewals.fresh("acme", name, {} if fields is None else fields)
        token: SecretStr = given["access_token"]
        return token.get_secret_value()

    async def revoke(self, name: str = "erp") -> None:
        """What a person does at the provider who takes the access back."""
        found = await self.tokens.get("acme", name)
        assert found is not None
        tokens = await self.tokens.open(found)
        await self.endpoint.revoke(self.book.connections["acme", name], tokens.refresh_token, within_s=20)

    async def tick(self) -> None:
        """What a target does now and then."""
        [timer] = self.service.timers()
        await timer.handle(Invocation())


class Browser:
    """Keeps cookies, follows what pages say."""

    def __init__(self, service: OAuth) -> None:
        self._routes = {(route.method, route.path): route.handle for route in service.routes()}
        self.cookies: dict[str, str] = {}

    async def open(self, link: str) -> Response:
        """The page of a link."""
        return await self._send(
            "GET", "/connect/{link}", urlsplit(link).path, {"link": urlsplit(link).path.rpartition("/")[2]}
        )

    async def press(self, link: str, page: Response) -> Response:
        """The page's button."""
        check = re.search(r'name="check" value="([^"]*)"', _text(page))
        form = {"check": check[1]} if check else {}
        parameters = {"link": urlsplit(link).path.rpartition("/")[2]}
        return await self._send(
            "POST", "/connect/{link}", urlsplit(link).path, parameters, body=urlencode(form).encode()
        )

    async def leave(self, link: str) -> str:
        """The provider's address that a link leads to."""
        answer = await self.press(link, await self.open(link))
        target = re.search(r'http-equiv="refresh" content="0;url=([^"]*)"', _text(answer))
        assert target, _text(answer)
        return unescape(target[1])

    async def callback(self, given: Mapping[str, str] | str) -> Response:
        """The way back from the provider."""
        query = given if isinstance(given, str) else urlencode(given)
        return await self._send("GET", "/oauth/callback", "/oauth/callback", {}, query=query)

    async def _send(
        self, method: str, route: str, path: str, parameters: Mapping[str, str], *, query: str = "", body: bytes = b""
    ) -> Response:
        headers = (
            {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        )
        request = Request(
            method=method,
            path=path,
            headers=headers,
            query=dict(parse_qsl(query, keep_blank_values=True)),
            parameters=parameters,
            body=_stream(body),
            url=f"{PUBLIC_URL}{path}?{query}" if query else f"{PUBLIC_URL}{path}",
        )
        response = await self._routes[method, route](request)
        if cookie := response.headers.get("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response


def _text(response: Response) -> str:
    assert isinstance(response.body, bytes)
    return response.body.decode()


async def _stream(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body
