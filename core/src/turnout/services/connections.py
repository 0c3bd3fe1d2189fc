"""Connections of customers: made, changed, tested and removed by people, and resolved live for every step that uses one.

A customer's instances share them by name. Fields are in the catalog, sealed by the vault for that customer and that name.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, get_args

from pydantic import SecretStr

from turnout.definition.nearest import hint_for
from turnout.engine.connections import field_faults, resolved_connection, type_named
from turnout.errors import BackendError, Changed, NotFound, SettingsError, StepError, UserError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.interfaces.connector import ConnectionType, Connector
from turnout.interfaces.oauth import OAuth2
from turnout.interfaces.secrets import Secret
from turnout.services.connection_documents import (
    Connection,
    ConnectionState,
    ConnectionView,
    NewConnection,
    TokenSource,
)
from turnout.services.customers import Customer, CustomerState
from turnout.services.documents import Document, Documents
from turnout.services.ids import new_execution_id
from turnout.services.instance_documents import Deployed, deployed_of
from turnout.services.names import check_name
from turnout.services.vault import Vault

__all__ = [
    "Connection",
    "ConnectionState",
    "ConnectionView",
    "Connections",
    "NewConnection",
    "TokenSource",
]

_REFERENCE: Final = re.compile(r"[a-z][a-z0-9+.-]*:(?!//)\S*")
_CREDENTIALS_IN_URL: Final = re.compile(r"://[^/?#]*@")
_MOST_BYTES: Final = 128 * 1024
_FRESH_S: Final = 1.0
"""How long a process works with what it has read: a change elsewhere is seen within that."""
_REMEMBERED: Final = 10_000
_HIDDEN: Final = "***"


@dataclass(frozen=True, slots=True)
class _Read:
    """A connection as this process has read it, and when."""

    at: float
    sealed: str
    connection: Connection
    fields: Mapping[str, Any]


class Connections:
    """`schemes` are those of references; `secret` looks references up. `tokens` may be set once, before the first use."""

    def __init__(
        self,
        catalog: CatalogStore,
        vault: Vault,
        clock: Clock,
        connectors: Mapping[str, Connector],
        *,
        schemes: Sequence[str],
        secret: Callable[[str], Awaitable[Secret]],
        tokens: TokenSource | None = None,
    ) -> None:
        self._vault = vault
        self._clock = clock
        self._connectors = connectors
        self._schemes = frozenset(schemes)
        self._secret = secret
        self.tokens = tokens
        self.documents: Documents[Connection] = Documents(catalog, "connection", Connection)
        self._instances: Documents[Deployed] = deployed_of(catalog)
        self._customers: Documents[Customer] = Documents(catalog, "customer", Customer)
        self._read: dict[tuple[str, str], _Read] = {}

    async def create(self, tenant: str, name: str, new: NewConnection) -> Connection:
        """Keep a new connection. `SettingsError` says all that is wrong with it, `UserError` that there is one of that name, or
        that the customer is being deleted."""
        check_name("connection", name)
        owner = await self._customers.get(tenant)
        if owner is not None and owner.value.state is CustomerState.DELETING:
            raise UserError(f"customer {tenant!r} is being deleted")
        connection = await self._made(tenant, name, new, before=None)
        if not await self.documents.create(name, connection, tenant=tenant):
            raise UserError(
                f"customer {tenant!r} has a connection {name!r} already: change that one, or choose another name"
            )
        return connection

    async def update(
        self,
        tenant: str,
        name: str,
        fields: Mapping[str, Any],
        *,
        unset: Sequence[str] = (),
        references: bool = True,
        expected: int | None = None,
    ) -> Connection:
        """Change some fields, leaving out those in `unset`: every instance that names the connection works with them from
        its next step. `SettingsError` as `create`; `Changed` if somebody else changes it at the same moment, or it has another
        revision than `expected`.

        Who may make no `references` may not change a connection either of which any stays: its secret would go to whatever host
        the other fields then name.
        """
        document = await self._document(tenant, name)
        before = document.value
        if expected is not None and document.revision != expected:
            raise _changed(name)
        if not references and (others := set(before.references) - {*fields, *unset}):
            raise UserError(
                f"connection {name!r} uses secrets of the organisation in {', '.join(sorted(others))}: "
                "give these fields values of your own as well, or ask the organisation to change it"
            )
        values = {**await self._opened(tenant, name, before), **fields}
        for field in unset:
            if field not in values:
                raise SettingsError(
                    f"connection {name!r} has no field {field!r} set ({hint_for(field, values)})", setting=field
                )
            del values[field]
        if not references:
            self._refuse_references(name, fields)
        new = NewConnection(connector=before.connector, type=before.type, fields=values)
        changed = await self._made(tenant, name, new, before=before)
        if not await self.documents.replace(document, changed):
            raise _changed(name)
        self._read.pop((tenant, name), None)
        return changed

    async def get(self, tenant: str, name: str) -> Connection:
        """`NotFound` names the nearest."""
        return (await self._document(tenant, name)).value

    async def written(self, tenant: str, name: str) -> tuple[Connection, type[ConnectionType], Mapping[str, Any]]:
        """A connection, its type, and its fields as they were written, without a token. `NotFound`, `StepError`."""
        connection = await self.get(tenant, name)
        return connection, self._kind(connection), await self._opened(tenant, name, connection)

    async def all(self, tenant: str) -> AsyncIterator[tuple[str, Connection]]:
        """The customer's, by name."""
        async for document in self.documents.all(tenant=tenant):
            yield document.name, document.value

    async def view(self, tenant: str, name: str) -> ConnectionView:
        """What people may see of it."""
        document = await self._document(tenant, name)
        connection = document.value
        values = await self._opened(tenant, name, connection)
        kind = self._kind(connection)
        hidden = {field for field, value in values.items() if _hides(kind, field, value)}
        shown = {
            field: connection.references.get(field) or (_HIDDEN if field in hidden else value)
            for field, value in values.items()
        }
        secrets = {field: field in values for field in sorted({*_secret_fields(kind, values), *hidden})}
        return ConnectionView(
            name=name,
            connection=connection,
            shown=shown,
            secrets=secrets,
            used_by=await self.used_by(tenant, name),
            revision=document.revision,
        )

    async def used_by(self, tenant: str, name: str) -> tuple[str, ...]:
        """The customer's instances that name it."""
        found = [
            document.name
            async for document in self._instances.all(tenant=tenant)
            if name in document.value.current.connections.values()
        ]
        return tuple(found)

    async def remove(self, tenant: str, name: str) -> None:
        """Remove it with its fields. `UserError` names the instances that use it."""
        document = await self._document(tenant, name)
        if used := await self.used_by(tenant, name):
            raise UserError(
                f"connection {name!r} is used by {', '.join(used)}: give these another one, or delete them, first"
            )
        connection = document.value
        values = await self._opened_or_lost(tenant, name, connection)
        if not await self.documents.remove(name, tenant=tenant, expected=document.revision):
            raise _changed(name)
        self._read.pop((tenant, name), None)
        connector = self._connectors.get(connection.connector)
        kind = None if connector is None else connector.connections.get(connection.type)
        if self.tokens is not None and kind is not None:
            await self.tokens.forget(tenant, name, connection.connector, kind, values)

    async def test(self, tenant: str, name: str) -> Connection:
        """Make it as a step would, references looked up and a token fetched where it has one, and say in its state how that
        went. The connection as it is afterwards."""
        connection = await self.get(tenant, name)
        try:
            self._read.pop((tenant, name), None)
            values = await self.fields(tenant, name)
            await resolved_connection(name, self._kind(connection), self._secret, values)
        except StepError as error:
            state = (await self.get(tenant, name)).state
            pending = state is ConnectionState.PENDING
            await self.mark(tenant, name, state if pending else ConnectionState.BROKEN, error.message)
        else:
            await self.mark(tenant, name, ConnectionState.OK)
        return await self.get(tenant, name)

    async def mark(self, tenant: str, name: str, state: ConnectionState, reason: str = "") -> None:
        """Say how it is. `reason` is shown to people, and has no secrets. Nothing happens where there is no such
        connection, or it is known to be so."""

        def marked(found: Connection | None) -> Connection | None:
            if found is None:
                return None
            return replace(found, state=state, reason=reason, marked_at=self._clock.now())

        found = await self.documents.get(name, tenant=tenant)
        if found is not None and (found.value.state, found.value.reason) != (state, reason):
            await self.documents.update(name, marked, tenant=tenant, due_of=_due_of)

    async def broken(self, limit: int) -> Sequence[Document[Connection]]:
        """Those of all customers that are broken, at most so many, the last to break first. Reads no others."""
        return await self.documents.due(0.0, limit=limit)

    async def fields(self, tenant: str, name: str) -> Mapping[str, Any]:
        """As `Instances.fields`: the values as they are now, at most a second old, with an access token where the
        connection's type wants one."""
        read = self._read.get((tenant, name))
        if read is None or not 0 <= self._clock.now() - read.at < _FRESH_S:
            read = await self._read_again(tenant, name, read)
        if self.tokens is not None and self.tokens.renews(self._kind(read.connection)):
            return await self.tokens.fresh(tenant, name, read.fields)
        return read.fields

    async def _read_again(self, tenant: str, name: str, before: _Read | None) -> _Read:
        document = await self.documents.get(name, tenant=tenant)
        if document is None:
            self._read.pop((tenant, name), None)
            raise StepError(
                f"customer {tenant!r} has no connection {name!r}: make one of that name",
                kind="connection",
                retryable=False,
            )
        connection = document.value
        if before is not None and before.sealed == connection.sealed:
            fields = before.fields
        else:
            fields = await self._opened(tenant, name, connection)
            if before is not None and before.fields == fields:
                fields = before.fields
        read = _Read(self._clock.now(), connection.sealed, connection, fields)
        if len(self._read) >= _REMEMBERED:
            self._read.clear()
        self._read[(tenant, name)] = read
        return read

    async def _made(self, tenant: str, name: str, new: NewConnection, *, before: Connection | None) -> Connection:
        if not new.references:
            self._refuse_references(name, new.fields)
        kind_name, kind = self._chosen(name, new)
        references = self._references(new.fields)
        if faults := field_faults(kind, new.fields, frozenset(references)):
            raise SettingsError(f"connection {name!r}: {'; '.join(faults)}", setting=name)
        plain = json.dumps(dict(new.fields), ensure_ascii=False, sort_keys=True).encode()
        if len(plain) > _MOST_BYTES:
            raise SettingsError(f"connection {name!r}: its fields are larger than {_MOST_BYTES:,} bytes", setting=name)
        sealed = await self._vault.seal(tenant, _purpose(name), plain)
        now = self._clock.now()
        pending = self.tokens is not None and self.tokens.renews(kind) and before is None
        return Connection(
            id=new_execution_id(now) if before is None else before.id,
            connector=new.connector,
            type=kind_name,
            sealed=base64.b64encode(sealed).decode(),
            fields=tuple(sorted(new.fields)),
            references=references,
            state=_state_after(before, pending=pending),
            reason="nobody has connected it yet" if pending else "",
            created_at=now if before is None else before.created_at,
            changed_at=now,
            marked_at=now,
        )

    def _chosen(self, name: str, new: NewConnection) -> tuple[str, type[ConnectionType]]:
        connector = self._connectors.get(new.connector)
        if connector is None:
            hint = hint_for(new.connector, sorted(self._connectors))
            raise SettingsError(f"connection {name!r}: there is no connector {new.connector!r} ({hint})", setting=name)
        if not connector.connections:
            raise SettingsError(f"the connector {new.connector!r} has no connections", setting=name)
        if new.type and new.type not in connector.connections:
            hint = hint_for(new.type, connector.connections)
            raise SettingsError(
                f"connection {name!r}: {new.connector!r} has no type {new.type!r} ({hint})", setting=name
            )
        if not new.type and len(connector.connections) > 1:
            try:
                chosen = type_named(name, connector.connections, "", new.fields)
            except SettingsError:
                listed = ", ".join(connector.connections)
                raise SettingsError(f"connection {name!r}: say its type, one of {listed}", setting=name) from None
            return chosen, connector.connections[chosen]
        chosen = new.type or next(iter(connector.connections))
        return chosen, connector.connections[chosen]

    def _references(self, fields: Mapping[str, Any]) -> dict[str, str]:
        return {
            field: value
            for field, value in fields.items()
            if isinstance(value, str) and _REFERENCE.fullmatch(value) and value.partition(":")[0] in self._schemes
        }

    def _refuse_references(self, name: str, fields: Mapping[str, Any]) -> None:
        if found := sorted(
            field
            for field, value in fields.items()
            if isinstance(value, str) and value.partition(":")[0] in self._schemes and ":" in value
        ):
            raise SettingsError(
                f"connection {name!r}: {', '.join(found)} would refer to a secret of the organisation: give the value itself",
                setting=found[0],
            )

    def _kind(self, connection: Connection) -> type[ConnectionType]:
        connector = self._connectors.get(connection.connector)
        kind = None if connector is None else connector.connections.get(connection.type)
        if kind is None:
            raise StepError(
                f"the connection type {connection.connector}.{connection.type} is not installed here: install its plugin",
                kind="connection",
                retryable=False,
            )
        return kind

    async def _opened(self, tenant: str, name: str, connection: Connection) -> Mapping[str, Any]:
        try:
            plain = await self._vault.open(tenant, _purpose(name), base64.b64decode(connection.sealed))
        except BackendError as error:
            raise StepError(f"connection {name!r} cannot be used: {error}", kind="connection") from error
        values: Mapping[str, Any] = json.loads(plain)
        return values

    async def _opened_or_lost(self, tenant: str, name: str, connection: Connection) -> Mapping[str, Any]:
        """Also what does not open any more can be removed."""
        try:
            return await self._opened(tenant, name, connection)
        except StepError:
            return {}

    async def _document(self, tenant: str, name: str) -> Document[Connection]:
        document = await self.documents.get(name, tenant=tenant)
        if document is None:
            known = [found.name for found in await self.documents.page(tenant=tenant)]
            raise NotFound("connection", name, hint=hint_for(name, known) or f"customer {tenant!r} has none")
        return document


def _state_after(before: Connection | None, *, pending: bool) -> ConnectionState:
    """Changed values may mend what was broken; only connecting ends what is pending."""
    if pending or (before is not None and before.state is ConnectionState.PENDING):
        return ConnectionState.PENDING
    return ConnectionState.OK


def _due_of(connection: Connection) -> float | None:
    """Nobody waits for a connection: that it is due is how the broken ones are found, and a time before all others, the later
    the earlier, puts the last to break first."""
    return -connection.marked_at if connection.state is ConnectionState.BROKEN else None


def _purpose(name: str) -> str:
    return f"connection/{name}"


def _changed(name: str) -> Changed:
    return Changed(f"connection {name!r} was changed by somebody else just now: look at it and try again")


def _hides(kind: type[ConnectionType], field: str, value: Any) -> bool:
    if not isinstance(value, str | int | float) or _is_secret(kind, field):
        return True
    return isinstance(value, str) and _CREDENTIALS_IN_URL.search(value) is not None


def _secret_fields(kind: type[ConnectionType], values: Mapping[str, Any]) -> set[str]:
    """By the names that are written: a field's own, where it was given under that, or its alias. An access token that the
    platform puts there is none of them."""
    ours = {"access_token"} if issubclass(kind, OAuth2) else set()
    return {
        name if name in values else info.alias or name
        for name, info in kind.model_fields.items()
        if name not in ours and _holds_secret(info.annotation)
    }


def _is_secret(kind: type[ConnectionType], field: str) -> bool:
    """Whether a field is secret by its type, or is none of the type's, of which nobody knows."""
    found = next((info for name, info in kind.model_fields.items() if field in (name, info.alias)), None)
    return found is None or _holds_secret(found.annotation)


def _holds_secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_holds_secret(part) for part in get_args(annotation))
