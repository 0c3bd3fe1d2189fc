"""The state store: small durable values that connectors keep for an instance or a flow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal

from turnout.interfaces.opening import Openable
from turnout.model.payload import Encoded

__all__ = ["StateScope", "StateStore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateScope:
    """Whose values: one tenant's, of one instance, and of one flow of it unless `flow` is empty."""

    tenant: str
    instance: str
    flow: str = ""


class StateStore(Openable, ABC):
    """Values by scope and key. Each sentence is a promise and a test in `turnout.testing.state`.

    `operation` names a change: the same change with the same name is made once, however often it is sent within a day, and answers what it answered first.
    Scopes never see each other. Changes are atomic across processes where the store is durable.
    """

    @abstractmethod
    async def get(self, scope: StateScope, key: str) -> Encoded | None:
        """The value, or None if the key is not there."""

    @abstractmethod
    async def set(self, scope: StateScope, key: str, value: Encoded, *, operation: str) -> None:
        """Store or replace the value."""

    @abstractmethod
    async def increment(self, scope: StateScope, key: str, by: Decimal, *, operation: str) -> Decimal:
        """Add `by` to a number (0 if the key is not there) and return the sum, exactly. `StepError` if the value is
        not a number."""

    @abstractmethod
    async def delete(self, scope: StateScope, key: str, *, operation: str) -> bool:
        """Remove the key; False if it was not there."""

    @abstractmethod
    async def keys(self, scope: StateScope, prefix: str = "") -> list[str]:
        """The keys that begin with `prefix`, in order."""

    @abstractmethod
    async def close(self) -> None: ...
