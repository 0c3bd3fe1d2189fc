"""State stores that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, cast

import pytest
from turnout.interfaces.clock import Clock
from turnout.interfaces.state import StateScope
from turnout.local.memory_state import MemoryState, T, _Operation
from turnout.model.payload import Encoded
from turnout.testing.clock import ManualClock
from turnout.testing.state import StateStoreContract

from .contract_runs import run_contract


class LosesFiles(MemoryState):
    async def get(self, scope: StateScope, key: str) -> Encoded | None:
        value = await super().get(scope, key)
        return value and replace(value, files=())


class InventsNull(MemoryState):
    async def get(self, scope: StateScope, key: str) -> Encoded | None:
        return await super().get(scope, key) or Encoded()


class KeepsTheFirst(MemoryState):
    async def set(self, scope: StateScope, key: str, value: Encoded, *, operation: str) -> None:
        if await self.get(scope, key) is None:
            await super().set(scope, key, value, operation=operation)


class IgnoresCase(MemoryState):
    def _scope(self, scope: StateScope) -> dict[str, Encoded]:
        return cast("dict[str, Encoded]", _Folded(super()._scope(scope)))


class _Folded:
    def __init__(self, values: dict[str, Encoded]) -> None:
        self.values = values

    def get(self, key: str, default: Encoded | None = None) -> Encoded | None:
        return self.values.get(key.casefold(), default)

    def update(self, values: Mapping[str, Encoded]) -> None:
        self.values.update({key.casefold(): value for key, value in values.items()})

    def __iter__(self) -> Iterator[str]:
        return iter(self.values)


class ForgetsTheFlow(MemoryState):
    def _scope(self, scope: StateScope) -> dict[str, Encoded]:
        return super()._scope(replace(scope, flow=""))


class SharesTenants(MemoryState):
    def _scope(self, scope: StateScope) -> dict[str, Encoded]:
        return super()._scope(replace(scope, tenant=""))


class RepeatsOperations(MemoryState):
    def _once(self, operation: _Operation, change: Callable[[], T]) -> T:
        return change()


class ConfusesOperations(MemoryState):
    def _once(self, operation: _Operation, change: Callable[[], T]) -> T:
        return super()._once((StateScope(tenant="", instance=""), "", "", operation[-1]), change)


class RemembersForever(MemoryState):
    def __init__(self, clock: Clock | None) -> None:
        super().__init__(ManualClock())


class ForgetsAfterAnHour(MemoryState):
    def _once(self, operation: _Operation, change: Callable[[], T]) -> T:
        while self._made and self._made[0][0] <= self._clock.now() - 3600:
            del self._answers[self._made.popleft()[1]]
        return super()._once(operation, change)


class AddsInBinary(MemoryState):
    async def increment(self, scope: StateScope, key: str, by: Decimal, *, operation: str) -> Decimal:
        return Decimal(float(await super().increment(scope, key, by, operation=operation)))


class CountsFromZero(MemoryState):
    async def increment(self, scope: StateScope, key: str, by: Decimal, *, operation: str) -> Decimal:
        if not (await self.get(scope, key) or Encoded(json=b"1")).json.strip()[:1].isdigit():
            await super().set(scope, key, Encoded(json=b"0"), operation=operation)
        return await super().increment(scope, key, by, operation=operation)


class StoresWhatItRefuses(MemoryState):
    async def increment(self, scope: StateScope, key: str, by: Decimal, *, operation: str) -> Decimal:
        try:
            return await super().increment(scope, key, by, operation=operation)
        except Exception:
            await super().set(scope, key, Encoded(json=b"0"), operation=operation)
            raise


class AlwaysRemoves(MemoryState):
    async def delete(self, scope: StateScope, key: str, *, operation: str) -> bool:
        await super().delete(scope, key, operation=operation)
        return True


class ListsBackwards(MemoryState):
    async def keys(self, scope: StateScope, prefix: str = "") -> list[str]:
        return sorted(await super().keys(scope, prefix), reverse=True)


class IgnoresPrefixes(MemoryState):
    async def keys(self, scope: StateScope, prefix: str = "") -> list[str]:
        return await super().keys(scope)


class LosesUpdates(MemoryState):
    async def increment(self, scope: StateScope, key: str, by: Decimal, *, operation: str) -> Decimal:
        before = await self.get(scope, key)
        total = await super().increment(scope, key, by, operation=operation)
        if before and operation.endswith("-7"):
            self._scope(scope)[key] = before
        return total


CAUGHT = {
    LosesFiles: ["a_value_comes_back_as_it_was_set"],
    InventsNull: ["an_absent_key_is_none"],
    KeepsTheFirst: ["setting_replaces"],
    IgnoresCase: ["keys_stay_apart"],
    ForgetsTheFlow: ["scopes_never_see_each_other"],
    SharesTenants: ["scopes_never_see_each_other"],
    RepeatsOperations: [
        "the_same_set_is_made_once",
        "the_same_increment_is_made_once_and_answers_what_it_answered_first",
        "the_same_delete_is_made_once_and_answers_what_it_answered_first",
    ],
    ConfusesOperations: ["an_operation_names_a_change_of_one_key"],
    RemembersForever: ["a_change_is_remembered_for_a_day"],
    ForgetsAfterAnHour: ["a_change_is_remembered_for_a_day"],
    AddsInBinary: ["increments_are_exact"],
    CountsFromZero: ["what_is_not_a_number_cannot_be_incremented"],
    StoresWhatItRefuses: ["what_is_not_a_number_cannot_be_incremented", "what_cannot_be_kept_exactly_is_refused"],
    AlwaysRemoves: ["deleting_says_whether_it_was_there"],
    ListsBackwards: ["keys_come_in_order_by_prefix"],
    IgnoresPrefixes: ["keys_come_in_order_by_prefix"],
    LosesUpdates: ["changes_are_atomic"],
}


def fixtures(store_class: type[MemoryState]) -> Mapping[str, Any]:
    clock = ManualClock()
    store = store_class(clock)
    return {"store": store, "another": store, "clock": clock, "operations": map(str, itertools.count())}


@pytest.mark.parametrize(
    ("broken", "name"),
    [(broken, name) for broken, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
async def test_the_contract_catches(broken: type[MemoryState], name: str) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await run_contract(StateStoreContract, name, lambda: fixtures(broken))


@pytest.mark.parametrize("name", sorted({name for names in CAUGHT.values() for name in names}))
async def test_a_whole_store_passes_where_a_broken_one_fails(name: str) -> None:
    await run_contract(StateStoreContract, name, lambda: fixtures(MemoryState))


def test_every_promise_has_a_broken_store() -> None:
    promises = {name.removeprefix("test_") for name in dir(StateStoreContract) if name.startswith("test_")}

    assert promises - {name for names in CAUGHT.values() for name in names} == set()
