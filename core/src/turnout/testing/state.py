"""The promises of `turnout.interfaces.state`, one test each. Subclass `StateStoreContract` and give `store`.

`clock` is the `ManualClock` that the store should go by. A store of several processes also gives `another`: the same state,
opened a second time.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from turnout.errors import StepError
from turnout.interfaces.state import StateScope, StateStore
from turnout.model.payload import Encoded, File
from turnout.testing.clock import ManualClock

__all__ = ["StateStoreContract"]

_SCOPE = StateScope(tenant="acme", instance="orders")
_OTHERS = (
    StateScope(tenant="globex", instance="orders"),
    StateScope(tenant="acme", instance="invoices"),
    StateScope(tenant="acme", instance="orders", flow="import"),
    StateScope(tenant="acmeorders", instance=""),
    StateScope(tenant="acme", instance="", flow="orders"),
)
_DAY_S = 24 * 3600.0
_FILE = File(sha256="ab" * 32, size=3, name="a.txt", content_type="text/plain", data=b"abc")
_VALUES = (
    Encoded(json=b"null"),
    Encoded(json=b'{"a": [1, "\xc3\xa9", 1e3]}'),
    Encoded(json=b'{"f": null}', files=(("/f", _FILE),)),
    Encoded(json=b"", stored=File(sha256="cd" * 32, size=10**6)),
    Encoded(json=b'"' + b"x" * 200_000 + b'"'),
)
_KEYS = ("", "a", "A", "cursor/ü", "a" * 1000, "%", "_", "a\0b", "../x")


class StateStoreContract:
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> Any:
        raise NotImplementedError("override the fixture `store`")

    @pytest.fixture
    def another(self, store: StateStore) -> Any:
        return store

    @pytest.fixture
    def operations(self) -> Iterator[str]:
        return (f"operation-{number}" for number in itertools.count())

    @pytest.mark.parametrize("value", _VALUES, ids=range(len(_VALUES)))
    async def test_a_value_comes_back_as_it_was_set(self, store: StateStore, value: Encoded) -> None:
        await store.set(_SCOPE, "key", value, operation="1")

        again = await store.get(_SCOPE, "key")

        assert again == value
        assert [file.data for _, file in again.files] == [file.data for _, file in value.files]

    async def test_an_absent_key_is_none(self, store: StateStore) -> None:
        assert await store.get(_SCOPE, "key") is None

    async def test_setting_replaces(self, store: StateStore) -> None:
        await store.set(_SCOPE, "key", Encoded(json=b"1"), operation="1")
        await store.set(_SCOPE, "key", Encoded(json=b"2"), operation="2")

        assert await store.get(_SCOPE, "key") == Encoded(json=b"2")

    async def test_keys_stay_apart(self, store: StateStore, operations: Iterator[str]) -> None:
        for key in _KEYS:
            await store.set(_SCOPE, key, Encoded(json=f'"{len(key)}{key[:1]}"'.encode()), operation=next(operations))

        for key in _KEYS:
            assert await store.get(_SCOPE, key) == Encoded(json=f'"{len(key)}{key[:1]}"'.encode())

    @pytest.mark.parametrize("other", _OTHERS, ids=str)
    async def test_scopes_never_see_each_other(self, store: StateStore, other: StateScope) -> None:
        await store.set(_SCOPE, "key", Encoded(json=b"1"), operation="1")

        assert await store.get(other, "key") is None
        assert await store.keys(other) == []
        assert await store.delete(other, "key", operation="2") is False
        assert await store.increment(other, "key", Decimal(5), operation="1") == 5
        assert await store.get(_SCOPE, "key") == Encoded(json=b"1")

    async def test_the_same_set_is_made_once(self, store: StateStore) -> None:
        await store.set(_SCOPE, "key", Encoded(json=b"1"), operation="1")
        await store.set(_SCOPE, "key", Encoded(json=b"2"), operation="2")
        await store.set(_SCOPE, "key", Encoded(json=b"1"), operation="1")

        assert await store.get(_SCOPE, "key") == Encoded(json=b"2")

    async def test_the_same_increment_is_made_once_and_answers_what_it_answered_first(self, store: StateStore) -> None:
        first = await store.increment(_SCOPE, "key", Decimal(1), operation="1")
        await store.increment(_SCOPE, "key", Decimal(10), operation="2")
        again = await store.increment(_SCOPE, "key", Decimal(1), operation="1")

        assert [first, again] == [Decimal(1), Decimal(1)]
        assert await store.get(_SCOPE, "key") == Encoded(json=b"11")

    async def test_the_same_delete_is_made_once_and_answers_what_it_answered_first(self, store: StateStore) -> None:
        await store.set(_SCOPE, "key", Encoded(json=b"1"), operation="1")

        first = await store.delete(_SCOPE, "key", operation="2")
        await store.set(_SCOPE, "key", Encoded(json=b"2"), operation="3")
        again = await store.delete(_SCOPE, "key", operation="2")

        assert (first, again) == (True, True)
        assert await store.get(_SCOPE, "key") == Encoded(json=b"2")

    async def test_an_operation_names_a_change_of_one_key(self, store: StateStore) -> None:
        for key in ("a", "b"):
            assert await store.increment(_SCOPE, key, Decimal(1), operation="1") == 1

        assert await store.delete(_SCOPE, "a", operation="1") is True

    async def test_a_change_is_remembered_for_a_day(self, store: StateStore, clock: ManualClock) -> None:
        await store.increment(_SCOPE, "key", Decimal(1), operation="1")

        clock.advance(_DAY_S - 60)
        await store.increment(_SCOPE, "other", Decimal(1), operation="2")
        within = await store.increment(_SCOPE, "key", Decimal(1), operation="1")
        clock.advance(120)
        after = await store.increment(_SCOPE, "key", Decimal(1), operation="1")

        assert [within, after] == [Decimal(1), Decimal(2)]

    @pytest.mark.parametrize(
        ("start", "by", "total"),
        [
            (None, "5", "5"),
            (b"0.1", "0.2", "0.3"),
            (b" -3 ", "1", "-2"),
            (b"1e2", "0.5", "100.5"),
            (b"9007199254740993", "1", "9007199254740994"),
            (
                b"123456789012345678901234567890",
                "0.000000000000000000001",
                "123456789012345678901234567890.000000000000000000001",
            ),
        ],
    )
    async def test_increments_are_exact(self, store: StateStore, start: bytes | None, by: str, total: str) -> None:
        if start is not None:
            await store.set(_SCOPE, "key", Encoded(json=start), operation="1")

        assert str(await store.increment(_SCOPE, "key", Decimal(by), operation="2")) == total
        assert await store.get(_SCOPE, "key") == Encoded(json=total.encode())

    @pytest.mark.parametrize(
        "value",
        [Encoded(json=b'"1"'), Encoded(json=b"true"), Encoded(json=b"null"), *_VALUES[1:4]],
        ids=lambda value: value.json[:9].decode("latin-1"),
    )
    async def test_what_is_not_a_number_cannot_be_incremented(self, store: StateStore, value: Encoded) -> None:
        await store.set(_SCOPE, "key", value, operation="1")

        with pytest.raises(StepError, match="not a number"):
            await store.increment(_SCOPE, "key", Decimal(1), operation="2")

        assert await store.get(_SCOPE, "key") == value

    @pytest.mark.parametrize("by", ["NaN", "Infinity", "1e999999999"])
    async def test_what_cannot_be_kept_exactly_is_refused(self, store: StateStore, by: str) -> None:
        await store.set(_SCOPE, "key", Encoded(json=b"1"), operation="1")

        with pytest.raises(StepError):
            await store.increment(_SCOPE, "key", Decimal(by), operation="2")

        assert await store.get(_SCOPE, "key") == Encoded(json=b"1")

    async def test_deleting_says_whether_it_was_there(self, store: StateStore) -> None:
        await store.set(_SCOPE, "key", Encoded(json=b"1"), operation="1")

        assert await store.delete(_SCOPE, "key", operation="2") is True
        assert await store.delete(_SCOPE, "key", operation="3") is False
        assert await store.get(_SCOPE, "key") is None

    async def test_keys_come_in_order_by_prefix(self, store: StateStore, operations: Iterator[str]) -> None:
        for key in ("b", "a/2", "a/1", "a", "a/ü", "A/1", "a%", "a_"):
            await store.set(_SCOPE, key, Encoded(), operation=next(operations))

        assert await store.keys(_SCOPE) == ["A/1", "a", "a%", "a/1", "a/2", "a/ü", "a_", "b"]
        assert await store.keys(_SCOPE, "a/") == ["a/1", "a/2", "a/ü"]
        assert await store.keys(_SCOPE, "%") == []

    async def test_changes_are_atomic(self, store: StateStore, another: StateStore) -> None:
        sums = await asyncio.gather(
            *(
                which.increment(_SCOPE, "key", Decimal("0.1"), operation=f"{name}-{number}")
                for number in range(50)
                for name, which in (("one", store), ("two", another))
            )
        )

        assert sorted(sums) == [Decimal(number) / 10 for number in range(1, 101)]
        assert await store.increment(_SCOPE, "key", Decimal(0), operation="last") == 10
