"""Customers' connections and what they rest on, without a platform: a catalog in memory and a connector with two types."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from turnout.connectors import ActionContext, Connector, Effect, Inputs
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.connector import ConnectionType
from turnout.interfaces.secrets import Secret
from turnout.local.keys import Keys
from turnout.local.local_key_wrapper import LocalKeyWrapper
from turnout.local.memory_catalog import MemoryCatalog
from turnout.services.connections import Connections, TokenSource
from turnout.services.vault import Vault
from turnout.testing.clock import ManualClock


class Basic(ConnectionType):
    url: str
    user: str
    password: SecretStr


class Token(ConnectionType):
    token: SecretStr
    size: int = 1


ERP = Connector("erp", description="An ERP.")
ERP.connection("basic", Basic)
ERP.connection("token", Token)


class Nothing(Inputs):
    pass


@ERP.action(effect=Effect.READ)
def whoami(context: ActionContext, inputs: Nothing) -> str:
    """Say as whom it was called."""
    connection = context.connection
    assert isinstance(connection, Basic)
    return connection.user


KNOWN = {"env:ERP_TOKEN": "token-from-the-environment"}


async def looked_up(written: str) -> Secret:
    return Secret(KNOWN.get(written, written))


class CustomersYard:
    def __init__(self, directory: Path) -> None:
        self.clock = ManualClock()
        self.catalog: CatalogStore = MemoryCatalog()
        self.wrapper = LocalKeyWrapper(Keys(directory, environment={}))
        self.connections = self.another()

    def another(self, tokens: TokenSource | None = None) -> Connections:
        """As another process has them."""
        vault = Vault(self.catalog, self.wrapper, clock=self.clock)
        return Connections(
            self.catalog,
            vault,
            self.clock,
            {"erp": ERP},
            schemes=("env", "secret"),
            secret=looked_up,
            tokens=tokens,
        )


class Renewing:
    """A token source that counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.forgotten: list[tuple[object, ...]] = []

    def renews(self, kind: type[ConnectionType]) -> bool:
        return kind is Token

    async def fresh(self, tenant: str, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append((tenant, name))
        return {**fields, "token": Secret("env:ERP_TOKEN")}

    async def forget(
        self, tenant: str, name: str, connector: str, kind: type[ConnectionType], fields: Mapping[str, Any]
    ) -> None:
        self.forgotten.append((tenant, name, connector, kind, fields))
