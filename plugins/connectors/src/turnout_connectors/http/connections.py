"""How requests prove who sends them: nothing, a bearer token, user and password, an API key, or OAuth 2.0."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from turnout.connectors import ClientAuthentication, ConnectionType, Grant, OAuth2, OAuth2Provider

__all__ = ["Account", "ApiKey", "Basic", "Bearer", "ClientAccount", "HttpConnection", "NoCredentials", "header_text"]


class HttpConnection(ConnectionType):
    """What all types share.

    With a `base_url`, relative URLs are appended to it and credentials are sent to its origin alone. Without one they are
    sent to the origin that a step's `url` names. They never follow a redirect or a next page to another origin.
    """

    base_url: str | None = Field(
        default=None, description="URL that relative ones are appended to, and whose origin alone gets the credentials"
    )

    @field_validator("base_url")
    @classmethod
    def _is_base(cls, url: str | None) -> str | None:
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be an http:// or https:// URL without query and fragment")
        if "@" in parts.netloc:
            raise ValueError("must not hold credentials: use the type `basic`")
        return url

    def headers(self) -> Sequence[tuple[str, str]]:
        """Names and values of the headers with the credentials."""
        return ()

    def parameters(self) -> Sequence[tuple[str, str]]:
        """Names and values of the query parameters with the credentials."""
        return ()


class NoCredentials(HttpConnection):
    """A base URL alone."""


class Bearer(HttpConnection):
    """A token in the header `Authorization: Bearer …` (RFC 6750)."""

    token: SecretStr = Field(description="The token")

    def headers(self) -> Sequence[tuple[str, str]]:
        return (("Authorization", f"Bearer {self.token.get_secret_value()}"),)

    @field_validator("token")
    @classmethod
    def _fits(cls, token: SecretStr) -> SecretStr:
        return header_text(token)


class Basic(HttpConnection):
    """User and password in the header `Authorization: Basic …` (RFC 7617)."""

    username: str = Field(description="The user's name, without a colon")
    password: SecretStr = Field(description="The password")

    def headers(self) -> Sequence[tuple[str, str]]:
        return (("Authorization", f"Basic {self._encoded()}"),)

    def secrets(self) -> tuple[str, ...]:
        return (*super().secrets(), self._encoded())

    def _encoded(self) -> str:
        return b64encode(f"{self.username}:{self.password.get_secret_value()}".encode()).decode()

    @field_validator("username")
    @classmethod
    def _has_no_colon(cls, username: str) -> str:
        if ":" in username:
            raise ValueError("must not hold a colon (RFC 7617)")
        return username


class ApiKey(HttpConnection):
    """A key in a header or a query parameter."""

    key: SecretStr = Field(description="The key")
    name: str = Field(default="X-API-Key", description="Name of the header or parameter", pattern=r"^[!-9;-~]+$")
    location: Literal["header", "query"] = Field(
        default="header", alias="in", description="Where it goes: `header` or `query` (a header is seldom logged)"
    )

    def headers(self) -> Sequence[tuple[str, str]]:
        return ((self.name, self.key.get_secret_value()),) if self.location == "header" else ()

    def parameters(self) -> Sequence[tuple[str, str]]:
        return ((self.name, self.key.get_secret_value()),) if self.location == "query" else ()

    @field_validator("key")
    @classmethod
    def _fits(cls, key: SecretStr) -> SecretStr:
        return header_text(key)


class _OAuth2(HttpConnection, OAuth2):
    token_url: str = Field(
        description="The provider's token endpoint", examples=["https://login.example.com/oauth2/token"]
    )
    revocation_url: str = Field(default="", description="The provider's revocation endpoint (RFC 7009)")
    scopes: str = Field(default="", description="What is asked for, with spaces between")
    authentication: ClientAuthentication = Field(
        default=ClientAuthentication.BASIC, description="How the client proves who it is at the token endpoint"
    )
    token_parameters: dict[str, str] = Field(default_factory=dict, description="Further parameters of token requests")

    @model_validator(mode="after")
    def _has_a_provider(self) -> Self:
        self.provider_of(self.model_dump())
        return self

    def hosts(self) -> tuple[str, ...]:
        """The token is for the API; the provider does not see it again."""
        return NoCredentials(base_url=self.base_url).hosts()

    def headers(self) -> Sequence[tuple[str, str]]:
        return (("Authorization", f"Bearer {self.access_token.get_secret_value()}"),)


class Account(_OAuth2):
    """An account that a customer connects in a browser (OAuth 2.0, authorization code); its token is renewed in time."""

    authorization_url: str = Field(
        description="The provider's page where a customer signs in",
        examples=["https://login.example.com/oauth2/authorize"],
    )
    issuer: str = Field(
        default="", description="The provider's issuer identifier; answers that name another are refused"
    )
    pkce: bool = Field(default=True, description="False for providers that refuse a code challenge")
    authorize_parameters: dict[str, str] = Field(
        default_factory=dict, description="Further parameters of the authorization request"
    )

    @classmethod
    def provider_of(cls, fields: Mapping[str, Any]) -> OAuth2Provider:
        return OAuth2Provider(
            **_shared(fields),
            authorization_url=str(fields.get("authorization_url", "")),
            issuer=str(fields.get("issuer", "")),
            pkce=fields.get("pkce", True) in (True, "true"),
            authorize=dict(fields.get("authorize_parameters", {})),
        )


class ClientAccount(_OAuth2):
    """A client that stands for itself (OAuth 2.0, client credentials); its token is renewed in time."""

    @classmethod
    def provider_of(cls, fields: Mapping[str, Any]) -> OAuth2Provider:
        return OAuth2Provider(**_shared(fields), grant=Grant.CLIENT_CREDENTIALS)


def _shared(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "token_url": str(fields.get("token_url", "")),
        "revocation_url": str(fields.get("revocation_url", "")),
        "scopes": tuple(str(fields.get("scopes", "")).split()),
        "authentication": ClientAuthentication(fields.get("authentication", ClientAuthentication.BASIC)),
        "token": dict(fields.get("token_parameters", {})),
    }


def header_text(secret: SecretStr) -> SecretStr:
    """The secret, if it may stand in a header; `ValueError` otherwise."""
    text = secret.get_secret_value()
    if not text or not all("!" <= character <= "~" for character in text):
        raise ValueError("must be visible ASCII characters without spaces or line breaks")
    return secret
