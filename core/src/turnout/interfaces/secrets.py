"""The secret store: credentials by name. A value leaves it only as a `Secret`, which prints as `***`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from turnout.errors import Unsupported
from turnout.interfaces.opening import Openable
from turnout.interfaces.secret import Secret

__all__ = ["Secret", "SecretCapability", "SecretStore"]


class SecretCapability(StrEnum):
    WRITE = "write"
    """`set` and `delete` work."""
    LIST = "list"
    """`names` works."""


class SecretStore(Openable, ABC):
    """Named secrets. `scheme` is the prefix by which settings refer to it: `env:ERP_TOKEN`.

    Each sentence is a promise and a test in `turnout.testing.secrets`. No error ever contains a value. One that a plugin provides is
    opened when a reference of its scheme is first looked up.
    """

    scheme: ClassVar[str]
    capabilities: ClassVar[frozenset[SecretCapability]]

    @abstractmethod
    async def get(self, name: str) -> Secret:
        """The secret; `NotFound` names it and says how to set it."""

    async def set(self, name: str, secret: Secret) -> None:
        """Store or replace it, durably. `Unsupported` without `WRITE`."""
        raise Unsupported(type(self).__name__, SecretCapability.WRITE)

    async def delete(self, name: str) -> bool:
        """Remove it; False if it was not there. `Unsupported` without `WRITE`."""
        raise Unsupported(type(self).__name__, SecretCapability.WRITE)

    async def names(self) -> Sequence[str]:
        """All names in order. `Unsupported` without `LIST`."""
        raise Unsupported(type(self).__name__, SecretCapability.LIST)

    @abstractmethod
    async def close(self) -> None: ...
