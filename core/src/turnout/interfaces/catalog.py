"""The catalog: what people set up and services remember, as small documents: customers, versions, instances, connections,
API keys, schedules, alert rules, how far a service has read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from turnout.interfaces.opening import Openable
from turnout.model.durability import Durability

__all__ = [
    "ANY_REVISION",
    "LARGEST_ENTRY",
    "LONGEST_NAME",
    "REVISIONS_KEPT_S",
    "Address",
    "CatalogChange",
    "CatalogEntry",
    "CatalogStore",
    "check_changes",
]

LARGEST_ENTRY: Final = 256 * 1024
"""Bytes of a body."""
LONGEST_NAME: Final = 500
"""Characters of a kind, a tenant or a name."""
REVISIONS_KEPT_S: Final = 24 * 3600.0
"""For how long a removed entry's revision is remembered at least."""
ANY_REVISION: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where an entry is: of a kind (`instance`), of a customer (`tenant`; empty for what belongs to the whole organisation),
    under a name. Tenants never share an address."""

    kind: str
    tenant: str = ""
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A document. `revision` counts the writes to its address, from 1; a removal counts as well, and the counting goes on
    for a day after it at least. `due`, seconds since the epoch, is when somebody should look at it; None: never."""

    address: Address
    revision: int
    body: bytes
    due: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogChange:
    """Write `body` and `due` in place of what is there, or remove the entry where `body` is None. `expected` is the revision
    that must be stored: 0 for none, `ANY_REVISION` for whatever it is."""

    address: Address
    body: bytes | None
    due: float | None = None
    expected: int = ANY_REVISION


class CatalogStore(Openable, ABC):
    """Documents with revisions. Each sentence is a promise and a test in `turnout.testing.catalog`.

    Kinds, tenants and names are any text of at most `LONGEST_NAME` characters without NUL, kinds and names not empty; a body has
    at most `LARGEST_ENTRY` bytes; `due` is finite: `ValueError` otherwise, and nothing is written. To read what cannot be there
    finds nothing. What a call has returned holds for every process that uses the store.
    """

    @property
    @abstractmethod
    def durability(self) -> Durability:
        """What a change survives once `write` has returned."""

    @abstractmethod
    async def get(self, address: Address) -> CatalogEntry | None:
        """The entry, or None."""

    @abstractmethod
    async def kinds(self) -> Sequence[str]:
        """The kinds of which there are entries, in order, for who has to look at all there is."""

    @abstractmethod
    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        """Entries of a kind: of one tenant those whose name begins with `prefix` and comes after `after`, in the order of
        their names by code point. Of all tenants (`tenant` None) in the order of name, then tenant; `after` is a name there
        too, so names that several tenants have should not be paged through that way. At most `limit`."""

    @abstractmethod
    async def due(self, kind: str, before: float, *, limit: int = 1000) -> Sequence[CatalogEntry]:
        """Entries of a kind that are due at `before` or earlier, of all tenants, the earliest first. At most `limit`."""

    @abstractmethod
    async def next_due(self, kind: str) -> float | None:
        """When the next of that kind is due; None if none ever is."""

    @abstractmethod
    async def write(self, *changes: CatalogChange) -> bool:
        """Make all changes, or none: False, and nothing changes, if any address has another revision than is expected, also
        when somebody else writes at the same moment. No address may come twice (`ValueError`)."""

    @abstractmethod
    async def close(self) -> None: ...


def check_changes(changes: Sequence[CatalogChange]) -> None:
    """What every store refuses: `ValueError` says why, never with a body."""
    seen: set[Address] = set()
    for change in changes:
        if change.due is not None and not math.isfinite(change.due):
            raise ValueError("an entry is due at a moment, or never")
        address = change.address
        for text in (address.kind, address.tenant, address.name):
            if len(text) > LONGEST_NAME or "\0" in text:
                raise ValueError(f"a catalog's names have at most {LONGEST_NAME} characters and no NUL")
        if not address.kind or not address.name:
            raise ValueError("an entry needs a kind and a name")
        if change.body is not None and len(change.body) > LARGEST_ENTRY:
            raise ValueError(f"the entry {address.kind} {address.name!r} is larger than {LARGEST_ENTRY} bytes")
        if address in seen:
            raise ValueError(f"two changes of {address.kind} {address.name!r} at once")
        seen.add(address)
