"""Customers: whom instances, connections and executions belong to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from turnout.definition.nearest import hint_for
from turnout.errors import Changed, NotFound, SettingsError, UserError
from turnout.interfaces.catalog import CatalogStore
from turnout.interfaces.clock import Clock
from turnout.services.documents import Document, Documents
from turnout.services.names import check_name
from turnout.services.recent import Recent

__all__ = ["LOCAL_TENANT", "Customer", "CustomerState", "Customers"]

LOCAL_TENANT: Final = "local"
"""The customer whom instances of the project's own files belong to. It is always there, and nobody else's name."""

_LONGEST_TITLE: Final = 200
_MOST_METADATA: Final = 50
_LONGEST_METADATA: Final = 1000
_FRESH_S: Final = 1.0


class CustomerState(StrEnum):
    """Nothing is taken in for a customer who is `suspended`, or who is being deleted; what runs goes on."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """The document `customer`. Its name is its address and never changes; `title` is for people, `metadata` for programs:
    an id in another system. Times are seconds since the epoch; `erased_at` is when all that was theirs was removed, of one that is
    being deleted."""

    title: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    state: CustomerState = CustomerState.ACTIVE
    created_at: float = 0.0
    erased_at: float | None = None


class Customers:
    """All customers of the organisation."""

    def __init__(self, catalog: CatalogStore, clock: Clock) -> None:
        self._clock = clock
        self.documents: Documents[Customer] = Documents(catalog, "customer", Customer)
        self._recent = Recent(clock, self.get, valid_s=_FRESH_S)

    async def create(self, name: str, *, title: str = "", metadata: Mapping[str, str] | None = None) -> Customer:
        """A new customer. `UserError` if the name is taken, or none."""
        check_name("customer", name)
        if name == LOCAL_TENANT:
            raise UserError(f"{name!r} is the customer of the project's own files: choose another name")
        _check(title, metadata or {})
        customer = Customer(title=title, metadata=dict(metadata or {}), created_at=self._clock.now())
        if not await self.documents.create(name, customer):
            raise UserError(f"there is a customer {name!r} already")
        return customer

    async def get(self, name: str) -> Customer:
        """`NotFound` names the nearest."""
        return (await self.document(name)).value

    async def recent(self, name: str) -> Customer:
        """As `get`, at most a second old."""
        return await self._recent.get(name)

    async def document(self, name: str) -> Document[Customer]:
        document = await self.documents.get(name)
        if document is None:
            known = [found.name for found in await self.documents.page()]
            hint = hint_for(name, known) or f"make it with `turnout customers create {name[:100]}`"
            raise NotFound("customer", name, hint=hint)
        return document

    async def page(self, *, after: str = "", limit: int = 100) -> Sequence[tuple[str, Customer]]:
        """By name, those after `after`."""
        found = await self.documents.page(tenant="", after=after, limit=limit)
        return [(document.name, document.value) for document in found]

    async def all(self) -> AsyncIterator[tuple[str, Customer]]:
        async for document in self.documents.all():
            yield document.name, document.value

    async def change(
        self,
        name: str,
        *,
        title: str | None = None,
        metadata: Mapping[str, str | None] | None = None,
        expected: int | None = None,
    ) -> Customer:
        """Change the title, or set metadata; None removes a key of it. What is not given stays. `SettingsError` names what is
        wrong. `Changed` if the document has another revision than `expected`."""

        def changed(before: Customer) -> Customer:
            merged = {**before.metadata, **(metadata or {})}
            kept = {key: value for key, value in merged.items() if value is not None}
            after = replace(before, title=before.title if title is None else title, metadata=kept)
            _check(after.title, after.metadata)
            return after

        return await self._update(name, changed, expected)

    async def suspend(self, name: str) -> Customer:
        """Take nothing more in for any of its instances, until `resume`."""
        return await self._set(name, CustomerState.SUSPENDED)

    async def resume(self, name: str) -> Customer:
        return await self._set(name, CustomerState.ACTIVE)

    async def _set(self, name: str, state: CustomerState) -> Customer:
        def changed(before: Customer) -> Customer:
            if before.state is CustomerState.DELETING:
                raise UserError(f"customer {name!r} is being deleted")
            return replace(before, state=state)

        return await self._update(name, changed)

    async def mark_deleting(self, name: str) -> Customer:
        """What no way leads back from. The document is due until `Removal` has removed it."""
        while True:
            document = await self.document(name)
            after = replace(document.value, state=CustomerState.DELETING)
            if await self.documents.replace(document, after, due=document.due or self._clock.now()):
                self._recent.forget(name)
                return after

    async def _update(self, name: str, change: Callable[[Customer], Customer], expected: int | None = None) -> Customer:
        document = await self.document(name)
        written: Customer | None
        if expected is None:
            written = await self.documents.update(name, lambda found: None if found is None else change(found))
        else:
            written = change(document.value)
            same = document.revision == expected
            if not same or not await self.documents.replace(document, written, due=document.due):
                raise Changed(f"customer {name!r} was changed by somebody else meanwhile: look at it and try again")
        self._recent.forget(name)
        if written is None:
            raise NotFound("customer", name, hint="it was deleted just now")
        return written


def _check(title: str, metadata: Mapping[str, str]) -> None:
    if len(title) > _LONGEST_TITLE or not title.isprintable():
        raise SettingsError(f"a customer's title is one line of at most {_LONGEST_TITLE} characters", setting="title")
    if len(metadata) > _MOST_METADATA:
        raise SettingsError(f"a customer has at most {_MOST_METADATA} metadata keys", setting="metadata")
    for key, value in metadata.items():
        try:
            check_name("metadata key", key)
        except UserError as error:
            raise SettingsError(str(error), setting="metadata") from None
        if len(value) > _LONGEST_METADATA:
            raise SettingsError(
                f"metadata {key!r}: a value has at most {_LONGEST_METADATA} characters", setting="metadata"
            )
