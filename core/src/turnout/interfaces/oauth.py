"""OAuth 2.0 connections: what a connector's author says of a provider, so that customers connect with a page and steps find
an access token that is valid.

    class Account(OAuth2):
        provider = OAuth2Provider(
            authorization_url="https://crm.example/oauth/authorize",
            token_url="https://crm.example/oauth/token",
            scopes=("contacts.read",),
        )

        def hosts(self) -> tuple[str, ...]:
            return ("api.crm.example",)

    crm.connection("account", Account)

An action uses `context.connection.access_token`. Who asks for tokens, keeps, renews and revokes them is the platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from turnout.interfaces.connector import ConnectionType

__all__ = ["ClientAuthentication", "Grant", "OAuth2", "OAuth2Provider"]

_OURS: Final = frozenset(
    {
        "client_id",
        "client_secret",
        "code",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "grant_type",
        "redirect_uri",
        "refresh_token",
        "response_type",
        "scope",
        "state",
    }
)
"""Parameters that the platform sets: none of them may be an extra one."""
_THIS_MACHINE: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Grant(StrEnum):
    """How an access token is come by (RFC 6749)."""

    AUTHORIZATION_CODE = "authorization_code"
    """A person of the customer connects once, in a browser."""
    CLIENT_CREDENTIALS = "client_credentials"
    """The client's own id and secret are enough; nobody has to connect."""


class ClientAuthentication(StrEnum):
    """How the client proves who it is at the token endpoint, by the names of RFC 7591."""

    BASIC = "client_secret_basic"
    POST = "client_secret_post"
    NONE = "none"
    """A public client: it has no secret, and PKCE alone keeps others from using its codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2Provider:
    """What there is to know of an authorization server. `ValueError` says what does not fit.

    `issuer` is its identifier (RFC 8414): an answer that names another one is refused, and where `names_issuer` says that the
    provider always names it (RFC 9207) an answer that does not as well. Without `issuer`, an answer that names one must name
    the host of `authorization_url`. `authorize` and `token` are further parameters of the two requests, such as
    `{"access_type": "offline"}`. `pkce=False` is for providers that refuse a request with a code challenge.
    """

    token_url: str
    authorization_url: str = ""
    revocation_url: str = ""
    issuer: str = ""
    names_issuer: bool = False
    grant: Grant = Grant.AUTHORIZATION_CODE
    scopes: tuple[str, ...] = ()
    scope_separator: str = " "
    pkce: bool = True
    authentication: ClientAuthentication = ClientAuthentication.BASIC
    authorize: Mapping[str, str] = field(default_factory=dict)
    token: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_url("token_url", self.token_url)
        for name, url in (("revocation_url", self.revocation_url), ("issuer", self.issuer)):
            if url:
                _check_url(name, url)
        if self.grant is Grant.AUTHORIZATION_CODE:
            _check_url("authorization_url", self.authorization_url)
            if self.authentication is ClientAuthentication.NONE and not self.pkce:
                raise ValueError("a client without a secret needs PKCE")
        elif self.authentication is ClientAuthentication.NONE:
            raise ValueError("client credentials need a client secret")
        if self.names_issuer and not self.issuer:
            raise ValueError("`names_issuer` needs the `issuer` that is to be named")
        for extra in (self.authorize, self.token):
            if taken := sorted(_OURS & set(extra)):
                raise ValueError(f"{', '.join(taken)}: set by the platform, and no extra parameter")
        object.__setattr__(self, "authorize", MappingProxyType(dict(self.authorize)))
        object.__setattr__(self, "token", MappingProxyType(dict(self.token)))

    @property
    def scope(self) -> str:
        """All scopes in one text, as requests have them."""
        return self.scope_separator.join(self.scopes)


class OAuth2(ConnectionType):
    """Base of connection types whose access token the platform gets and renews.

    `client_id` and `client_secret` are the client's at the provider: written with a connection, or, for all connections of a
    connector, in `[oauth.clients.<connector>]` of `turnout.toml`. A step's connection has the `access_token`, and not the
    client's secret. `hosts` must say whom the token is sent to.
    """

    provider: ClassVar[OAuth2Provider | None] = None
    """The provider, where it is the same for all connections."""

    client_id: str = Field(default="", description="The client's id at the provider, unless `[oauth.clients]` has it")
    client_secret: SecretStr = Field(
        default=SecretStr(""), description="The client's secret, unless `[oauth.clients]` has it"
    )
    access_token: SecretStr = Field(
        default=SecretStr(""), description="The access token. It is put there when the connection is used: leave it out"
    )

    @classmethod
    def provider_of(cls, fields: Mapping[str, Any]) -> OAuth2Provider:  # noqa: ARG003 - for those that override it
        """The provider of a connection with these fields, as they were written. A type whose URLs depend on the fields
        overrides it, and says in `shares_client` whether the organisation's client may be used with them.

        `ValueError` if the fields make no provider; its text is shown and must hold no secret.
        """
        if cls.provider is None:
            raise ValueError("the connector's author names no `provider`")
        return cls.provider

    @classmethod
    def shares_client(cls) -> bool:
        """Whether the client of `[oauth.clients.<connector>]` may be used. Its secret is sent to the token URL: never say so
        where a customer chooses that."""
        return cls.provider is not None

    def secrets(self) -> tuple[str, ...]:
        return tuple(secret for secret in super().secrets() if secret)


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        fits = bool(parts.hostname) and not parts.fragment and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{name}: a URL without credentials and fragment is expected")
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _THIS_MACHINE):
        raise ValueError(f"{name}: https:// is expected (http:// for this machine alone)")
