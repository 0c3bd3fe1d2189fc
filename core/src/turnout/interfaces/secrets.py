"""The secret store: credentials by name. A value leaves it only as a `Secret`, which prints as `***`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar

from turnout.errors import Unsupported

__all__ = ["Secret", "SecretCapability", "SecretStore"]


class SecretCapability(StrEnum):
    WRITE = "write"
    """`set` and `delete` work."""
    LIST = "list"
    """`names` works."""


class Secret:
    """Text that must not be shown. `reveal()` is the one way to it; printing, formatting and pickling do not show it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be pickled")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)


class SecretStore(ABC):
    """Named secrets. `scheme` is the prefix by which settings refer to it: `env:ERP_TOKEN`.

    Each sentence is a promise and a test in `turnout.testing.secrets`. No error ever contains a value.
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
