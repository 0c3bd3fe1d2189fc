"""Documents of one kind in the catalog, as values of a type: read, written whole, changed under a revision."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from turnout.errors import BackendError
from turnout.interfaces.catalog import ANY_REVISION, Address, CatalogChange, CatalogEntry, CatalogStore

__all__ = ["Document", "Documents"]

T = TypeVar("T")

_ATTEMPTS: Final = 20
_PAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Generic[T]):
    """A document as it was read: `revision` says which writing of it."""

    tenant: str
    name: str
    revision: int
    value: T
    due: float | None = None


class Documents(Generic[T]):
    """Documents of `kind`, of type `model` (a frozen dataclass or a `msgspec.Struct`), as JSON."""

    def __init__(self, catalog: CatalogStore, kind: str, model: type[T]) -> None:
        self._catalog = catalog
        self.kind = kind
        self._decoder = msgspec.json.Decoder(model)

    def address(self, name: str, *, tenant: str = "") -> Address:
        return Address(kind=self.kind, tenant=tenant, name=name)

    async def get(self, name: str, *, tenant: str = "") -> Document[T] | None:
        entry = await self._catalog.get(self.address(name, tenant=tenant))
        return None if entry is None else self._document(entry)

    async def page(
        self, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[Document[T]]:
        """As `CatalogStore.entries`."""
        found = await self._catalog.entries(self.kind, tenant=tenant, prefix=prefix, after=after, limit=limit)
        return [self._document(entry) for entry in found]

    async def all(self, *, tenant: str = "", prefix: str = "") -> AsyncIterator[Document[T]]:
        """Every document of one tenant, in the order of their names, however many there are."""
        after = ""
        while found := await self.page(tenant=tenant, prefix=prefix, after=after, limit=_PAGE):
            for document in found:
                yield document
            after = found[-1].name

    async def due(self, before: float, *, limit: int = 1000) -> Sequence[Document[T]]:
        """As `CatalogStore.due`."""
        return [self._document(entry) for entry in await self._catalog.due(self.kind, before, limit=limit)]

    def change(
        self, name: str, value: T | None, *, tenant: str = "", due: float | None = None, expected: int = ANY_REVISION
    ) -> CatalogChange:
        """One part of a `CatalogStore.write`; None removes the document."""
        body = None if value is None else msgspec.json.encode(value)
        return CatalogChange(address=self.address(name, tenant=tenant), body=body, due=due, expected=expected)

    async def create(self, name: str, value: T, *, tenant: str = "", due: float | None = None) -> bool:
        """Write a new document; False if there is one of that name."""
        return await self._catalog.write(self.change(name, value, tenant=tenant, due=due, expected=0))

    async def put(self, name: str, value: T, *, tenant: str = "", due: float | None = None) -> None:
        """Write a document, whatever is there."""
        await self._catalog.write(self.change(name, value, tenant=tenant, due=due))

    async def replace(self, document: Document[T], value: T, *, due: float | None = None) -> bool:
        """Write a document anew that was read; False if somebody has written it since."""
        changed = self.change(document.name, value, tenant=document.tenant, due=due, expected=document.revision)
        return await self._catalog.write(changed)

    async def update(
        self,
        name: str,
        change: Callable[[T | None], T | None],
        *,
        tenant: str = "",
        due_of: Callable[[T], float | None] | None = None,
    ) -> T | None:
        """Change a document as it is at that moment, and return what was written. `change` gets it, or None, and returns
        the new one, or None to remove it; it may be called again when somebody else writes meanwhile. `due` becomes what
        `due_of` says of the new one, and stays without it."""
        for _ in range(_ATTEMPTS):
            found = await self.get(name, tenant=tenant)
            value = change(None if found is None else found.value)
            if value is None and found is None:
                return None
            revision, due = (0, None) if found is None else (found.revision, found.due)
            if due_of is not None and value is not None:
                due = due_of(value)
            if await self._catalog.write(self.change(name, value, tenant=tenant, due=due, expected=revision)):
                return value
        raise BackendError(f"{self.kind} {name!r} is written by others again and again: try later")

    async def remove(self, name: str, *, tenant: str = "", expected: int = ANY_REVISION) -> bool:
        """Remove it; False if it is another revision than `expected`."""
        return await self._catalog.write(self.change(name, None, tenant=tenant, expected=expected))

    def _document(self, entry: CatalogEntry) -> Document[T]:
        address = entry.address
        try:
            value: Any = self._decoder.decode(entry.body)
        except msgspec.DecodeError as error:
            raise BackendError(
                f"the catalog's {self.kind} {address.name!r} cannot be read: a newer Turnout may have written it"
            ) from error
        return Document(tenant=address.tenant, name=address.name, revision=entry.revision, value=value, due=entry.due)
