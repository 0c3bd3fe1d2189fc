"""Catalogs that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from turnout.interfaces.catalog import ANY_REVISION, Address, CatalogChange, CatalogEntry
from turnout.local.memory_catalog import MemoryCatalog
from turnout.model.durability import Durability
from turnout.testing.catalog import CatalogStoreContract
from turnout.testing.clock import ManualClock

from .contract_runs import run_contract


class LosesDue(MemoryCatalog):
    async def get(self, address: Address) -> CatalogEntry | None:
        entry = await super().get(address)
        return entry and replace(entry, due=None)


class CutsBodies(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        return await super().write(*(replace(change, body=change.body and change.body[:60_000]) for change in changes))


class FindsBeginnings(MemoryCatalog):
    async def get(self, address: Address) -> CatalogEntry | None:
        found = await self.entries(address.kind, tenant=address.tenant, prefix=address.name, limit=1)
        return found[0] if found else None


class RefusesToRead(MemoryCatalog):
    async def get(self, address: Address) -> CatalogEntry | None:
        if "\0" in address.name:
            raise ValueError("no NUL")
        return await super().get(address)


class KeepsDue(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        due = {address: entry.due for address, entry in self._entries.items()}
        return await super().write(
            *(replace(one, due=due.get(one.address) if one.due is None else one.due) for one in changes)
        )


class CountsAll(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        highest = max(self._revisions.values(), default=0)
        self._revisions.update({change.address: highest for change in changes if change.expected == ANY_REVISION})
        return await super().write(*changes)


class CountsAnew(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        made = await super().write(*changes)
        self._revisions = {address: entry.revision for address, entry in self._entries.items()}
        return made


class RemovesByHalves(MemoryCatalog):
    def _waiting(self, kind: str) -> list[CatalogEntry]:
        self._ever = {**getattr(self, "_ever", {}), **{entry.address: entry for entry in super()._waiting(kind)}}
        return list(self._ever.values())

    async def write(self, *changes: CatalogChange) -> bool:
        made = await super().write(*changes)
        for kind in {change.address.kind for change in changes}:
            self._waiting(kind)
        return made


class RefusesToRemoveNothing(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        if any(change.body is None and change.address not in self._entries for change in changes):
            return False
        return await super().write(*changes)


class IgnoresCase(MemoryCatalog):
    async def get(self, address: Address) -> CatalogEntry | None:
        return await super().get(replace(address, name=address.name.lower()))

    async def write(self, *changes: CatalogChange) -> bool:
        return await super().write(
            *(replace(one, address=replace(one.address, name=one.address.name.lower())) for one in changes)
        )


class Normalises(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        return await super().write(
            *(
                replace(one, address=replace(one.address, name=unicodedata.normalize("NFC", one.address.name)))
                for one in changes
            )
        )


class SharesTenants(MemoryCatalog):
    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        found = await super().entries(kind, prefix=prefix, after=after)
        return [entry for entry in found if entry.address.tenant.startswith(tenant or "")][:limit]


class EmptyTenantIsAll(MemoryCatalog):
    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        return await super().entries(kind, tenant=tenant or None, prefix=prefix, after=after, limit=limit)


class ChecksNothing(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        try:
            return await super().write(*changes)
        except ValueError:
            return True


class WritesBeforeItChecks(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        for change in changes[:-1]:
            await super().write(change)
        return await super().write(*changes)


class TakesTwice(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        return await super().write(*{change.address: change for change in changes}.values())


class RefusesNothing(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        return bool(changes) and await super().write(*changes)


class RemembersKinds(MemoryCatalog):
    async def kinds(self) -> Sequence[str]:
        return sorted({address.kind for address in self._revisions})


class UnorderedKinds(MemoryCatalog):
    async def kinds(self) -> Sequence[str]:
        return list(dict.fromkeys(address.kind for address in self._entries))


class OrdersByUse(MemoryCatalog):
    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        found = await super().entries(kind, tenant=tenant, prefix=prefix, after=after)
        return sorted(found, key=lambda entry: entry.address.name.casefold())[:limit]


class TakesPrefixesForPatterns(MemoryCatalog):
    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        wanted = prefix.replace("%", "").replace("_", "")
        return await super().entries(kind, tenant=tenant, prefix=wanted, after=after, limit=limit)


class StartsWithTheLast(MemoryCatalog):
    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        found = await super().entries(kind, tenant=tenant, prefix=prefix)
        return [entry for entry in found if entry.address.name >= after][:limit]


class OrdersByTenant(MemoryCatalog):
    async def entries(
        self, kind: str, *, tenant: str | None = None, prefix: str = "", after: str = "", limit: int = 1000
    ) -> Sequence[CatalogEntry]:
        found = await super().entries(kind, tenant=tenant, prefix=prefix, after=after)
        return sorted(found, key=lambda entry: (entry.address.tenant, entry.address.name))[:limit]


class IgnoresLimits(MemoryCatalog):
    async def due(self, kind: str, before: float, *, limit: int = 1000) -> Sequence[CatalogEntry]:
        return await super().due(kind, before)


class LatestFirst(MemoryCatalog):
    async def due(self, kind: str, before: float, *, limit: int = 1000) -> Sequence[CatalogEntry]:
        return list(reversed(await super().due(kind, before, limit=limit)))


class DueTooLate(MemoryCatalog):
    async def due(self, kind: str, before: float, *, limit: int = 1000) -> Sequence[CatalogEntry]:
        return [entry for entry in await super().due(kind, before, limit=limit) if entry.due != before]


class NextOfAnyKind(MemoryCatalog):
    async def next_due(self, kind: str) -> float | None:
        return min((entry.due for entry in self._entries.values() if entry.due is not None), default=None)


class ExpectsAtLeast(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        revisions = {change.address: getattr(self._entries.get(change.address), "revision", 0) for change in changes}
        return await super().write(
            *(
                replace(one, expected=ANY_REVISION) if 0 < one.expected <= revisions.get(one.address, 0) else one
                for one in changes
            )
        )


class ExpectsWhatIsGone(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        return await super().write(
            *(
                replace(one, expected=0)
                if one.address not in self._entries and one.expected == self._revisions.get(one.address)
                else one
                for one in changes
            )
        )


class WritesByHalves(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        return all([await super(WritesByHalves, self).write(change) for change in changes])


class ChecksThenWaits(MemoryCatalog):
    async def write(self, *changes: CatalogChange) -> bool:
        revisions = {change.address: getattr(self._entries.get(change.address), "revision", 0) for change in changes}
        if any(change.expected not in (ANY_REVISION, revisions[change.address]) for change in changes):
            return False
        await asyncio.sleep(0)
        return await super().write(*(replace(change, expected=ANY_REVISION) for change in changes))


class Forgets(MemoryCatalog):
    """Answers the first reader of an entry alone, as a cache does that nobody else's writes reach."""

    async def get(self, address: Address) -> CatalogEntry | None:
        self._seen: dict[Address, CatalogEntry | None] = getattr(self, "_seen", {})
        if address not in self._seen:
            self._seen[address] = await super().get(address)
        return self._seen[address]


class SaysNothing(MemoryCatalog):
    @property
    def durability(self) -> Durability:
        return "for ever"  # type: ignore[return-value]


class ClosesOnce(MemoryCatalog):
    closed = False

    async def close(self) -> None:
        assert not self.closed
        self.closed = True


CAUGHT = {
    LosesDue: ["an_entry_comes_back_as_it_was_written"],
    CutsBodies: ["an_entry_comes_back_as_it_was_written"],
    FindsBeginnings: ["an_absent_entry_is_none"],
    RefusesToRead: ["to_read_what_cannot_be_there_finds_nothing"],
    KeepsDue: ["a_write_replaces_body_and_due"],
    CountsAll: ["revisions_count_the_writes"],
    CountsAnew: ["revisions_go_on_for_a_day_after_a_removal"],
    RemovesByHalves: ["removing_takes_an_entry_away"],
    RefusesToRemoveNothing: ["what_is_not_there_can_be_removed"],
    IgnoresCase: ["any_text_is_a_place_of_its_own"],
    Normalises: ["any_text_is_a_place_of_its_own"],
    SharesTenants: ["tenants_never_share_an_address"],
    EmptyTenantIsAll: ["tenants_never_share_an_address"],
    ChecksNothing: ["what_cannot_be_kept_is_refused_and_nothing_written"],
    WritesBeforeItChecks: ["what_cannot_be_kept_is_refused_and_nothing_written", "an_address_may_not_come_twice"],
    TakesTwice: ["an_address_may_not_come_twice"],
    RefusesNothing: ["a_write_of_nothing_is_made"],
    RemembersKinds: ["kinds_are_those_that_have_entries"],
    UnorderedKinds: ["kinds_are_those_that_have_entries"],
    OrdersByUse: ["entries_of_a_tenant_come_in_the_order_of_their_names"],
    TakesPrefixesForPatterns: ["entries_are_found_by_the_beginning_of_their_names"],
    StartsWithTheLast: ["entries_are_found_after_a_name"],
    OrdersByTenant: ["entries_of_all_tenants_come_in_the_order_of_name_then_tenant"],
    IgnoresLimits: ["no_more_come_than_the_limit"],
    LatestFirst: ["due_entries_come_the_earliest_first"],
    DueTooLate: ["due_entries_come_the_earliest_first"],
    NextOfAnyKind: ["the_next_that_is_due_is_known"],
    ExpectsAtLeast: ["a_write_is_made_at_the_expected_revision_alone"],
    ExpectsWhatIsGone: ["zero_expects_that_there_is_none"],
    WritesByHalves: ["changes_are_made_all_or_none"],
    ChecksThenWaits: [
        "one_of_those_who_write_at_once_is_first",
        "nothing_is_lost_between_those_who_write_at_once",
    ],
    Forgets: ["what_is_written_holds_for_everybody"],
    SaysNothing: ["it_says_what_a_change_survives"],
    ClosesOnce: ["it_can_be_closed_twice"],
}


def fixtures(store_class: type[MemoryCatalog]) -> Mapping[str, Any]:
    store = store_class()
    return {"store": store, "another": store, "clock": ManualClock()}


@pytest.mark.parametrize(
    ("broken", "name"),
    [(broken, name) for broken, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
async def test_the_contract_catches(broken: type[MemoryCatalog], name: str) -> None:
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        await run_contract(CatalogStoreContract, name, lambda: fixtures(broken))


@pytest.mark.parametrize("name", sorted({name for names in CAUGHT.values() for name in names}))
async def test_a_whole_catalog_passes_where_a_broken_one_fails(name: str) -> None:
    await run_contract(CatalogStoreContract, name, lambda: fixtures(MemoryCatalog))


def test_every_promise_has_a_broken_catalog() -> None:
    promises = {name.removeprefix("test_") for name in dir(CatalogStoreContract) if name.startswith("test_")}

    assert promises - {name for names in CAUGHT.values() for name in names} == set()
