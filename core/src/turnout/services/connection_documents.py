"""What is kept of a customer's connection, and what is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from turnout.interfaces.connector import ConnectionType

__all__ = ["Connection", "ConnectionState", "ConnectionView", "NewConnection", "TokenSource"]


class ConnectionState(StrEnum):
    """`pending`: somebody has to connect it first. `broken`: it was tried, and does not work."""

    OK = "ok"
    BROKEN = "broken"
    PENDING = "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The document `connection`. `sealed` is base64 of the fields as JSON, which the vault sealed for the purpose
    `connection/<name>`; references stand in it as they were written, and in `references` by field, for people. `fields`
    are the names of all. `id` is another one when a connection of the same name is made again: what belonged to the one
    before, such as its tokens, is not this one's. Times are seconds since the epoch."""

    id: str
    connector: str
    type: str
    sealed: str = field(repr=False)
    fields: tuple[str, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    state: ConnectionState = ConnectionState.OK
    reason: str = ""
    created_at: float = 0.0
    changed_at: float = 0.0
    marked_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewConnection:
    """What somebody wants a connection to be. `type` may be empty where the connector has one, or the values tell.

    Text such as `env:NAME` among the values is a reference, which is looked up when the connection is used. Who may not
    name secrets of the organisation, a customer itself, has `references` false: such text is refused then.
    """

    connector: str
    type: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)
    references: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionView:
    """A connection as people see it: `shown` has its fields, `***` for each that is or may be secret; `secrets` says of each of
    these, and of each that its type has, whether it is set. `used_by` are the customer's instances that name it, `revision` is
    that of its document."""

    name: str
    connection: Connection
    shown: Mapping[str, Any]
    secrets: Mapping[str, bool] = field(default_factory=dict)
    used_by: tuple[str, ...] = ()
    revision: int = 0


class TokenSource(Protocol):
    """Who gets access tokens for connections whose type wants one."""

    def renews(self, kind: type[ConnectionType]) -> bool:
        """Whether connections of that type are its own."""

    async def fresh(self, tenant: str, name: str, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """The fields of the connection with an access token that does not expire at once; the same object as before where
        nothing has changed. `StepError` of kind `connection` says what is wrong. Text that came from outside is a `Secret`
        where it could be mistaken for a reference."""

    async def forget(
        self, tenant: str, name: str, connector: str, kind: type[ConnectionType], fields: Mapping[str, Any]
    ) -> None:
        """The connection, of these fields, is gone: nothing is kept for it, and whatever token it had ends."""
