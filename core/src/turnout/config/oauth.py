"""OAuth 2.0: our clients at providers, and where customers may be sent back to once they have connected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from turnout.config.readers import base_url, text
from turnout.config.shapes import Named, Section, leaf

__all__ = ["OAUTH", "OAuthClientSettings", "OAuthSettings"]

_REFERENCE = re.compile(r"[a-z][a-z0-9-]*:\S+")


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthClientSettings:
    """The client that all connections of a connector use which have none of their own. `client_secret` is a reference."""

    client_id: str = ""
    client_secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuthSettings:
    """`clients` by the connector's name. `return_urls` are base URLs of pages that a customer may come from and go back to."""

    clients: Mapping[str, OAuthClientSettings] = field(default_factory=dict)
    return_urls: tuple[str, ...] = ()


def _reference(given: object) -> str:
    if not isinstance(given, str) or not _REFERENCE.fullmatch(given):
        raise ValueError('a reference is expected, "env:NAME" or "secret:NAME", and no value')
    return given


def _urls(given: object) -> tuple[str, ...]:
    if not isinstance(given, list):
        raise ValueError('a list of base URLs is expected, ["https://app.example.com"]')
    return tuple(base_url(item) for item in given)


OAUTH = Section(
    make=OAuthSettings,
    keys={
        "clients": Named(
            field="clients",
            section=Section(
                make=OAuthClientSettings,
                keys={
                    "client_id": leaf("client_id", text, "The client's id at the provider of that connector."),
                    "client_secret": leaf(
                        "client_secret", _reference, "A reference to the client's secret.", private=True
                    ),
                },
            ),
            description="Tables `[oauth.clients.<connector>]`: the OAuth 2.0 client that the organisation has there.",
        ),
        "return_urls": leaf(
            "return_urls", _urls, "Where a customer may be sent back to after connecting: base URLs of your own pages."
        ),
    },
)
