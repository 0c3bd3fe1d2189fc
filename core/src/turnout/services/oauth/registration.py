"""The client that a connection is connected with: a provider, and our id and secret there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from pydantic import SecretStr

from turnout.config import OAuthClientSettings
from turnout.errors import NotFound, SettingsError
from turnout.interfaces.oauth import ClientAuthentication, OAuth2, OAuth2Provider
from turnout.interfaces.secrets import Secret

__all__ = ["PLATFORMS_OWN", "Registration", "Registrations"]

PLATFORMS_OWN: Final = frozenset({"client_secret", "access_token"})
"""Fields that no step gets as they were written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What requests to the provider are made with. `secret` prints as `***`."""

    provider: OAuth2Provider
    client_id: str
    secret: Secret

    @property
    def fingerprint(self) -> str:
        """Of whom a browser is sent to, and who gets codes and refresh tokens: a connection may be changed in between."""
        provider = self.provider
        text = "\0".join((provider.authorization_url, provider.token_url, provider.issuer, self.client_id))
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Registrations:
    """Finds the registration of a connection. `clients` is `[oauth.clients]`; `resolve` looks up references."""

    def __init__(self, clients: Mapping[str, OAuthClientSettings], resolve: Callable[[str], Awaitable[Secret]]) -> None:
        self._clients = clients
        self._resolve = resolve

    async def of(self, connector: str, kind: type[OAuth2], fields: Mapping[str, Any]) -> Registration:
        """That of a connection with these fields, as they were written. What the connection says goes before the
        organisation's. `SettingsError` and `NotFound` say what is missing, and show no secret."""
        try:
            provider = kind.provider_of(fields)
        except ValueError as error:
            raise SettingsError(f"connector {connector!r}: its OAuth 2.0 provider cannot be used: {error}") from error
        written = _text(fields.get("client_id"))
        if written:
            return await self._made(connector, provider, written, _text(fields.get("client_secret")))
        shared = self._clients.get(connector) if kind.shares_client() else None
        if shared is None or not shared.client_id:
            where = f", or the organisation's in [oauth.clients.{connector}]" if kind.shares_client() else ""
            raise SettingsError(f"connector {connector!r}: the connection needs a `client_id`{where}", setting="oauth")
        return await self._made(connector, provider, shared.client_id, shared.client_secret)

    async def _made(self, connector: str, provider: OAuth2Provider, client_id: str, secret: str) -> Registration:
        try:
            found = await self._resolve(secret) if secret else Secret("")
            client = (await self._resolve(client_id)).reveal()
        except NotFound as error:
            raise SettingsError(f"connector {connector!r}: the OAuth 2.0 client: {error}", setting="oauth") from error
        public = provider.authentication is ClientAuthentication.NONE
        if not found and not public:
            raise SettingsError(
                f"connector {connector!r}: the OAuth 2.0 client {client!r} needs a `client_secret`", setting="oauth"
            )
        return Registration(provider=provider, client_id=client, secret=found)


def _text(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value or "")
