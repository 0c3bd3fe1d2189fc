"""Two customers with the same names, at the stores: whatever one does, the other has what it had, and sees nothing of it."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turnout.interfaces.catalog import Address, CatalogChange, CatalogEntry, CatalogStore
from turnout.interfaces.payloads import PayloadStore
from turnout.interfaces.state import StateScope, StateStore
from turnout.local.database import Database
from turnout.local.file_payloads import FilePayloads
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.memory_state import MemoryState
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.local.sqlite_state import SQLiteState
from turnout.model.payload import Encoded

CUSTOMERS, NAMES, CONTENTS = ("acme", "globex"), ("orders", "erp", "*"), (b"one", b"two")
Step = tuple[str, str, str, bytes]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(CUSTOMERS),
        st.sampled_from(("keep", "unset", "write", "remove", "put", "delete", "clear")),
        st.sampled_from(NAMES),
        st.sampled_from(CONTENTS),
    ),
    max_size=30,
)


@dataclass(frozen=True)
class Stores:
    state: StateStore
    catalog: CatalogStore
    payloads: PayloadStore


@dataclass
class Has:
    """What a customer has, by what it did itself."""

    state: dict[str, bytes] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)
    payloads: set[bytes] = field(default_factory=set)


async def _do(stores: Stores, has: Has, step: Step, operation: str) -> None:
    customer, verb, name, content = step
    scope, sha256 = StateScope(tenant=customer, instance=name), hashlib.sha256(content).hexdigest()
    address = Address(kind="connection", tenant=customer, name=name)
    match verb:
        case "keep":
            await stores.state.set(scope, "key", Encoded(json=b'"%b"' % content), operation=operation)
            has.state[name] = content
        case "unset":
            assert await stores.state.delete(scope, "key", operation=operation) is (name in has.state)
            has.state.pop(name, None)
        case "write":
            await stores.catalog.write(CatalogChange(address=address, body=content, due=1.0))
            has.documents[name] = content
        case "remove":
            await stores.catalog.write(CatalogChange(address=address, body=None))
            has.documents.pop(name, None)
        case "put":
            await stores.payloads.put(customer, content)
            has.payloads.add(content)
        case "delete":
            await stores.payloads.delete(customer, sha256)
            has.payloads.discard(content)
        case _:
            assert await stores.payloads.clear(customer) == len(has.payloads)
            has.payloads.clear()


async def _seen(stores: Stores, customer: str) -> Has:
    """What the customer has, by what the stores say."""
    state = {}
    for name in NAMES:
        value = await stores.state.get(StateScope(tenant=customer, instance=name), "key")
        if value is not None:
            state[name] = value.json.strip(b'"')
    entries = await stores.catalog.entries("connection", tenant=customer)
    due = await stores.catalog.due("connection", 2.0)
    assert {entry.address.name for entry in due if entry.address.tenant == customer} == {
        entry.address.name for entry in entries
    }
    payloads = {
        content for content in CONTENTS if await stores.payloads.exists(customer, hashlib.sha256(content).hexdigest())
    }
    return Has(state, {entry.address.name: entry.body for entry in entries}, payloads)


async def _check(stores: Stores, steps: list[Step]) -> None:
    has = {customer: Has() for customer in CUSTOMERS}
    numbers = itertools.count()
    for step in steps:
        await _do(stores, has[step[0]], step, str(next(numbers)))
        for customer in CUSTOMERS:
            assert await _seen(stores, customer) == has[customer]


class OneState(MemoryState):
    def _scope(self, scope: StateScope) -> dict[str, Encoded]:
        return super()._scope(replace(scope, tenant=""))


class OneFolder(FilePayloads):
    def _folder(self, tenant: str) -> Path:
        return super()._folder("everybody")


class AnybodysEntries(MemoryCatalog):
    async def entries(self, kind: str, *, tenant: str | None = None, **more: Any) -> list[CatalogEntry]:
        return list(await super().entries(kind, **more))


def _memory(directory: Path) -> Stores:
    return Stores(MemoryState(), MemoryCatalog(), FilePayloads(directory))


def _sqlite(directory: Path) -> Stores:
    database = Database(directory / "turnout.db")
    return Stores(SQLiteState(database), SQLiteCatalog(database), FilePayloads(directory / "payloads"))


BROKEN: dict[str, Callable[[Path], Stores]] = {
    "state": lambda directory: replace(_memory(directory), state=OneState()),
    "payloads": lambda directory: replace(_memory(directory), payloads=OneFolder(directory)),
    "catalog": lambda directory: replace(_memory(directory), catalog=AnybodysEntries()),
}


def _hold(make: Callable[[Path], Stores], steps: list[Step]) -> None:
    with TemporaryDirectory() as directory:
        asyncio.run(_check(make(Path(directory)), steps))


@pytest.mark.parametrize("make", [_memory, _sqlite])
def test_neither_of_two_customers_sees_or_affects_the_other(make: Callable[[Path], Stores]) -> None:
    @settings(max_examples=25, deadline=None)
    @given(STEPS)
    def holds(steps: list[Step]) -> None:
        _hold(make, steps)

    holds()


@pytest.mark.parametrize("broken", BROKEN)
def test_a_store_that_mixes_customers_up_is_caught(broken: str) -> None:
    @settings(max_examples=100, deadline=None, report_multiple_bugs=False, database=None)
    @given(STEPS)
    def holds(steps: list[Step]) -> None:
        _hold(BROKEN[broken], steps)

    with pytest.raises(AssertionError):
        holds()
