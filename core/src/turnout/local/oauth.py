"""The service `oauth` of a platform, and its tokens behind the platform's connections."""

from __future__ import annotations

from turnout.config import Settings
from turnout.local.stores import Stores
from turnout.services.connections import Connections
from turnout.services.oauth.endpoint import TokenEndpoint
from turnout.services.oauth.kept import KeptConnections, KeptTokens
from turnout.services.oauth.registration import Registrations
from turnout.services.oauth.renewal import Renewals
from turnout.services.oauth.service import OAuth, OAuthParts
from turnout.services.oauth.tokens import Tokens

__all__ = ["oauth_of"]


def oauth_of(settings: Settings, stores: Stores, connections: Connections, public_url: str) -> OAuth:
    """Close it with the platform: renewals that are under way are waited for."""
    registrations = Registrations(settings.oauth.clients, stores.references.resolve)
    book, endpoint = KeptConnections(connections, registrations), TokenEndpoint(stores.clock)
    renewals = Renewals(Tokens(stores.catalog, stores.vault), book, endpoint, stores.catalog, stores.clock)
    connections.tokens = KeptTokens(renewals, registrations)
    return OAuth(
        OAuthParts(
            book=book,
            renewals=renewals,
            endpoint=endpoint,
            vault=stores.vault,
            catalog=stores.catalog,
            clock=stores.clock,
            key=stores.keys.derive("oauth"),
            public_url=public_url,
            return_urls=settings.oauth.return_urls,
            project=settings.name,
        )
    )
