"""OAuth 2.0 over the connections that customers keep: their clients, their states, their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnout.errors import SettingsError, StepError
from turnout.interfaces.connector import ConnectionType
from turnout.interfaces.oauth import OAuth2
from turnout.services.connections import Connections, ConnectionState
from turnout.services.oauth.registration import Registration, Registrations
from turnout.services.oauth.renewal import Renewals

__all__ = ["KeptConnections", "KeptTokens"]


class KeptConnections:
    """The `ConnectionBook` over `Connections`."""

    def __init__(self, connections: Connections, registrations: Registrations) -> None:
        self._connections = connections
        self._registrations = registrations

    async def registration(self, tenant: str, name: str) -> Registration:
        connection, kind, fields = await self._connections.written(tenant, name)
        if not issubclass(kind, OAuth2):
            raise SettingsError(f"connection {name!r} is none of OAuth 2.0: there is nothing to connect", setting=name)
        return await self._registrations.of(connection.connector, kind, fields)

    async def mark(self, tenant: str, name: str, state: str, reason: str) -> None:
        await self._connections.mark(tenant, name, ConnectionState(state), reason)


class KeptTokens:
    """The `TokenSource` of `Connections`."""

    def __init__(self, renewals: Renewals, registrations: Registrations) -> None:
        self._renewals = renewals
        self._registrations = registrations

    def renews(self, kind: type[ConnectionType]) -> bool:
        return issubclass(kind, OAuth2)

    async def fresh(self, tenant: str, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self._renewals.fresh(tenant, name, fields)

    async def forget(
        self, tenant: str, name: str, connector: str, kind: type[ConnectionType], fields: Mapping[str, Any]
    ) -> None:
        if not issubclass(kind, OAuth2):
            return
        try:
            registration = await self._registrations.of(connector, kind, fields)
        except (SettingsError, StepError):
            registration = None
        await self._renewals.forget(tenant, name, registration)
