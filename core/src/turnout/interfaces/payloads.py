"""The payload store: content too large for a row, by its hash, streamed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass

from turnout.interfaces.opening import Openable
from turnout.model.durability import Durability

__all__ = ["PayloadRef", "PayloadStore"]

_LATER_THAN_ANY = 253_402_300_799.0
"""The last second of the year 9999."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadRef:
    """The SHA-256 of the content in lower-case hex, and its size in bytes."""

    sha256: str
    size: int


class PayloadStore(Openable, ABC):
    """Content by tenant and hash. One tenant can neither read nor find out about another's content.

    Each sentence is a promise and a test in `turnout.testing.payloads`.
    """

    @property
    @abstractmethod
    def durability(self) -> Durability:
        """What content survives once `put` has returned."""

    @abstractmethod
    async def put(self, tenant: str, chunks: AsyncIterator[bytes] | bytes) -> PayloadRef:
        """Store the content and return its reference. The same content twice is stored once. Never holds more than a
        few chunks of a stream in memory. If the stream or the store fails, nothing is left behind and the error
        (the stream's own, or `BackendError`, for a full disk say) is raised."""

    @abstractmethod
    def open(self, tenant: str, sha256: str, *, chunk_bytes: int = 256 * 1024) -> AsyncIterator[bytes]:
        """The content in order, in chunks of at most `chunk_bytes`. `PayloadMissing` on the first chunk if absent."""

    @abstractmethod
    async def read(self, tenant: str, sha256: str, *, limit: int) -> bytes:
        """The whole content. `PayloadMissing` if absent; `BackendError` naming the size if it is above `limit`."""

    @abstractmethod
    async def exists(self, tenant: str, sha256: str) -> bool: ...

    @abstractmethod
    async def delete(self, tenant: str, sha256: str) -> None:
        """Remove the content; nothing happens if it is absent. A reader that has begun may finish or fail clearly."""

    @abstractmethod
    def listing(self, *, older_than: float) -> AsyncIterator[tuple[str, PayloadRef]]:
        """Tenant and reference of all content last put before `older_than` (seconds since the epoch); putting again
        makes it young."""

    async def clear(self, tenant: str) -> int:
        """Remove all content of a tenant, however young, and nothing of another's; how many contents there were."""
        removed = 0
        async for owner, ref in self.listing(older_than=_LATER_THAN_ANY):
            if owner == tenant:
                await self.delete(tenant, ref.sha256)
                removed += 1
        return removed

    @abstractmethod
    async def close(self) -> None: ...
