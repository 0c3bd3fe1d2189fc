"""The promises of `turnout.interfaces.catalog`, one test each. Subclass `CatalogStoreContract` and give `store`.

`clock` is the `ManualClock` that the store should go by. A store of several processes also gives `another`: the same catalog,
opened a second time.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest

from turnout.interfaces.catalog import (
    LARGEST_ENTRY,
    LONGEST_NAME,
    REVISIONS_KEPT_S,
    Address,
    CatalogChange,
    CatalogEntry,
    CatalogStore,
)
from turnout.model.durability import Durability
from turnout.testing.clock import ManualClock

__all__ = ["CatalogStoreContract"]

_ODD = (
    "a",
    "A",
    "é",
    "e\u0301",
    "a/b",
    "a%",
    "a_",
    "a'b",
    "\x01",
    "\x1a",
    "\x1a0",
    "\x1ad800",
    "\ud800",
    "🚂",
    " ",
    "a ",
    "🚂" * LONGEST_NAME,
)
_BODIES = (b"", b"\x00\xff", b'{"a": 1}', b"x" * LARGEST_ENTRY)
_ADDRESS = Address(kind="instance", tenant="acme", name="orders")
_REFUSED = (
    CatalogChange(address=Address(kind="", name="a"), body=b""),
    CatalogChange(address=Address(kind="instance", name=""), body=b""),
    CatalogChange(address=Address(kind="k\0", name="a"), body=b""),
    CatalogChange(address=Address(kind="instance", tenant="\0", name="a"), body=b""),
    CatalogChange(address=Address(kind="instance", name="a\0b"), body=b""),
    CatalogChange(address=Address(kind="instance", name="a" * (LONGEST_NAME + 1)), body=b""),
    CatalogChange(address=Address(kind="instance", tenant="a" * (LONGEST_NAME + 1), name="a"), body=b""),
    CatalogChange(address=_ADDRESS, body=b"x" * (LARGEST_ENTRY + 1)),
    CatalogChange(address=_ADDRESS, body=b"", due=math.nan),
    CatalogChange(address=_ADDRESS, body=b"", due=math.inf),
)


def _put(name: str, body: bytes = b"", *, tenant: str = "acme", kind: str = "instance", **more: Any) -> CatalogChange:
    return CatalogChange(address=Address(kind=kind, tenant=tenant, name=name), body=body, **more)


def _removed(name: str, **more: Any) -> CatalogChange:
    return CatalogChange(address=Address(kind="instance", tenant="acme", name=name), body=None, **more)


def _names(entries: Sequence[CatalogEntry]) -> list[str]:
    return [entry.address.name for entry in entries]


class CatalogStoreContract:
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> Any:
        raise NotImplementedError("override the fixture `store`")

    @pytest.fixture
    def another(self, store: CatalogStore) -> Any:
        return store

    @pytest.mark.parametrize("due", [None, 0.0, -1.5, 1_700_000_000.125])
    @pytest.mark.parametrize("body", _BODIES, ids=range(len(_BODIES)))
    async def test_an_entry_comes_back_as_it_was_written(
        self, store: CatalogStore, body: bytes, due: float | None
    ) -> None:
        assert await store.write(CatalogChange(address=_ADDRESS, body=body, due=due)) is True

        expected = CatalogEntry(address=_ADDRESS, revision=1, body=body, due=due)
        assert await store.get(_ADDRESS) == expected
        assert await store.entries("instance") == [expected]
        assert await store.due("instance", 2e9) == ([] if due is None else [expected])

    async def test_an_absent_entry_is_none(self, store: CatalogStore) -> None:
        await store.write(_put("orders"))

        assert await store.get(Address(kind="instance", tenant="acme", name="order")) is None
        assert await store.get(Address(kind="instance", tenant="acme", name="orders/")) is None
        assert await store.get(Address(kind="schedule", tenant="acme", name="orders")) is None

    async def test_to_read_what_cannot_be_there_finds_nothing(self, store: CatalogStore) -> None:
        await store.write(_put("a"))

        for impossible in ("", "a\0", "a" * (LONGEST_NAME + 1)):
            assert await store.get(Address(kind="instance", tenant="acme", name=impossible)) is None
            assert await store.get(Address(kind="instance", tenant=impossible, name="a")) is None
            assert await store.get(Address(kind=impossible, tenant="acme", name="a")) is None
            assert await store.entries(impossible) == []
            assert await store.entries("instance", tenant=impossible) == []
        assert await store.entries("instance", prefix="a\0") == []
        assert await store.due("\0", 2e9) == []
        assert await store.next_due("\0") is None

    async def test_a_write_replaces_body_and_due(self, store: CatalogStore) -> None:
        await store.write(_put("orders", b"1", due=5.0))
        await store.write(_put("orders", b"2"))

        assert await store.get(_ADDRESS) == CatalogEntry(address=_ADDRESS, revision=2, body=b"2")
        assert await store.due("instance", 10.0) == []

    async def test_revisions_count_the_writes(self, store: CatalogStore) -> None:
        found = []
        for _ in range(3):
            await store.write(_put("orders"))
            await store.write(_put("other"))
            found.append(await store.get(_ADDRESS))

        assert [entry.revision for entry in found if entry] == [1, 2, 3]

    async def test_revisions_go_on_for_a_day_after_a_removal(self, store: CatalogStore, clock: ManualClock) -> None:
        await store.write(_put("orders", b"old"))
        await store.write(_removed("orders"))
        clock.advance(REVISIONS_KEPT_S - 1)
        for number in range(50):
            await store.write(_put(f"other-{number}"), _put("new"))

        await store.write(_put("orders", b"new"))

        assert await store.get(_ADDRESS) == CatalogEntry(address=_ADDRESS, revision=3, body=b"new")

    async def test_removing_takes_an_entry_away(self, store: CatalogStore) -> None:
        await store.write(_put("orders", b"1", due=5.0), _put("other"))

        assert await store.write(_removed("orders")) is True

        assert await store.get(_ADDRESS) is None
        assert _names(await store.entries("instance")) == ["other"]
        assert _names(await store.entries("instance", tenant="acme")) == ["other"]
        assert await store.due("instance", 10.0) == []
        assert await store.next_due("instance") is None

    async def test_what_is_not_there_can_be_removed(self, store: CatalogStore) -> None:
        assert await store.write(_removed("orders")) is True
        assert await store.write(_removed("orders", expected=0)) is True
        assert await store.write(_removed("orders", expected=1)) is False
        assert await store.write(_put("orders", expected=0)) is True

    async def test_any_text_is_a_place_of_its_own(self, store: CatalogStore) -> None:
        places = [
            Address(kind=kind, tenant=tenant, name=name)
            for kind, tenant, name in itertools.chain(
                ((odd, "acme", "a") for odd in _ODD),
                (("instance", odd, "b") for odd in ("", *_ODD)),
                (("instance", "acme", odd) for odd in _ODD),
                ((odd, odd, odd) for odd in _ODD[:-1]),
                [("ab", "c", "d"), ("a", "bc", "d"), ("a", "b", "cd"), (_ODD[-1],) * 3],
            )
        ]
        for number, address in enumerate(places):
            await store.write(CatalogChange(address=address, body=str(number).encode(), expected=0))

        found = [await store.get(address) for address in places]

        assert [(entry.address, entry.body) for entry in found if entry] == [
            (address, str(number).encode()) for number, address in enumerate(places)
        ]

    async def test_tenants_never_share_an_address(self, store: CatalogStore) -> None:
        for tenant in ("acme", "globex", "", "acm", "Acme"):
            assert await store.write(_put("orders", tenant.encode(), tenant=tenant, expected=0)) is True
        await store.write(_removed("orders"))

        assert [entry.body for entry in await store.entries("instance", tenant="globex")] == [b"globex"]
        assert await store.entries("instance", tenant="acme") == []
        assert await store.entries("instance", tenant="glob") == []
        assert [entry.body for entry in await store.entries("instance", tenant="")] == [b""]
        assert len(await store.entries("instance")) == 4

    @pytest.mark.parametrize("change", _REFUSED, ids=range(len(_REFUSED)))
    async def test_what_cannot_be_kept_is_refused_and_nothing_written(
        self, store: CatalogStore, change: CatalogChange
    ) -> None:
        with pytest.raises(ValueError, match=r"\w") as caught:
            await store.write(_put("fine"), change)

        assert "xxx" not in str(caught.value)
        assert await store.kinds() == []

    async def test_an_address_may_not_come_twice(self, store: CatalogStore) -> None:
        with pytest.raises(ValueError, match="two changes"):
            await store.write(_put("orders", b"1"), _put("other"), _put("orders", b"2"))

        assert await store.kinds() == []

    async def test_a_write_of_nothing_is_made(self, store: CatalogStore) -> None:
        assert await store.write() is True

    async def test_kinds_are_those_that_have_entries(self, store: CatalogStore) -> None:
        assert await store.kinds() == []
        for kind in ("schedule", "instance", "é", "a", "gone"):
            await store.write(_put("a", kind=kind), _put("b", kind=kind, tenant=""))
        await store.write(
            CatalogChange(address=Address(kind="gone", tenant="acme", name="a"), body=None),
            CatalogChange(address=Address(kind="gone", tenant="", name="b"), body=None),
            CatalogChange(address=Address(kind="a", tenant="acme", name="a"), body=None),
        )

        assert await store.kinds() == ["a", "instance", "schedule", "é"]

    async def test_entries_of_a_tenant_come_in_the_order_of_their_names(self, store: CatalogStore) -> None:
        names = ["b", "a/2", "a/1", "a", "é", "B", "a%", "a_", "🚂", "\uffff", "\ud800", "\x1a", "a/10"]
        for name in names:
            await store.write(_put(name), _put(name + "-other", tenant="globex"), _put(name, kind="schedule"))

        assert _names(await store.entries("instance", tenant="acme")) == sorted(names)

    async def test_entries_are_found_by_the_beginning_of_their_names(self, store: CatalogStore) -> None:
        names = ["a", "a/", "a/1", "a/2", "a0", "a%", "aé", "b", "🚂", "🚂1", "\U0010ffff", "\U0010ffff1"]
        for name in names:
            await store.write(_put(name))

        for prefix in ("", "a", "a/", "a%", "%", "_", "aé", "🚂", "\U0010ffff", "c", "a" * LONGEST_NAME):
            expected = sorted(name for name in names if name.startswith(prefix))
            assert _names(await store.entries("instance", tenant="acme", prefix=prefix)) == expected
            assert _names(await store.entries("instance", prefix=prefix)) == expected

    async def test_entries_are_found_after_a_name(self, store: CatalogStore) -> None:
        names = ["a", "a/1", "a/2", "b", "b/1"]
        for name in names:
            await store.write(_put(name))

        for prefix, after in itertools.product(("", "a", "a/", "b"), ("", "A", "a", "a/1", "a/2", "az", "b", "z")):
            expected = sorted(name for name in names if name.startswith(prefix) and name > after)
            found = await store.entries("instance", tenant="acme", prefix=prefix, after=after)
            assert _names(found) == expected

    async def test_entries_of_all_tenants_come_in_the_order_of_name_then_tenant(self, store: CatalogStore) -> None:
        places = list(itertools.product(("b", "a", "ab"), ("globex", "", "acme", "Zeta", "\ud800", "🚂")))
        for name, tenant in places:
            await store.write(_put(name, tenant=tenant))

        found = await store.entries("instance")
        after = await store.entries("instance", after="a", limit=7)

        assert [(entry.address.name, entry.address.tenant) for entry in found] == sorted(places)
        assert [(entry.address.name, entry.address.tenant) for entry in after] == sorted(places)[6:13]

    async def test_no_more_come_than_the_limit(self, store: CatalogStore) -> None:
        for number in range(5):
            await store.write(_put(str(number), due=float(number)))

        for limit in (0, 1, 4, 5, 6):
            expected = ["0", "1", "2", "3", "4"][:limit]
            assert _names(await store.entries("instance", limit=limit)) == expected
            assert _names(await store.entries("instance", tenant="acme", limit=limit)) == expected
            assert _names(await store.due("instance", 10.0, limit=limit)) == expected

    async def test_due_entries_come_the_earliest_first(self, store: CatalogStore) -> None:
        for name, due in (("c", 30.0), ("a", 10.0), ("later", 40.0), ("b", 20.0), ("never", None)):
            await store.write(_put(name, due=due, tenant=name), _put(name, due=1.0, kind="schedule"))

        assert _names(await store.due("instance", 30.0)) == ["a", "b", "c"]
        assert _names(await store.due("instance", 29.999)) == ["a", "b"]
        assert _names(await store.due("instance", 9.0)) == []
        assert await store.due("other", 100.0) == []

    async def test_the_next_that_is_due_is_known(self, store: CatalogStore) -> None:
        assert await store.next_due("instance") is None
        await store.write(
            _put("never"), _put("b", due=20.0, tenant="b"), _put("a", due=10.5), _put("a", kind="z", due=1.0)
        )

        assert await store.next_due("instance") == 10.5

    async def test_a_write_is_made_at_the_expected_revision_alone(self, store: CatalogStore) -> None:
        await store.write(_put("orders", b"1"))
        await store.write(_put("orders", b"2"))

        for expected in (0, 1, 3):
            assert await store.write(_put("orders", b"wrong", due=1.0, expected=expected)) is False
            assert await store.write(_removed("orders", expected=expected)) is False
        assert await store.get(_ADDRESS) == CatalogEntry(address=_ADDRESS, revision=2, body=b"2")

        assert await store.write(_put("orders", b"3", expected=2)) is True
        assert await store.write(_put("orders", b"4")) is True
        assert await store.write(_removed("orders", expected=4)) is True

    async def test_zero_expects_that_there_is_none(self, store: CatalogStore) -> None:
        assert await store.write(_put("orders", expected=1)) is False
        assert await store.write(_put("orders", expected=0)) is True
        assert await store.write(_put("orders", expected=0)) is False
        await store.write(_removed("orders"))
        assert await store.write(_put("orders", expected=2)) is False
        assert await store.write(_put("orders", expected=0)) is True

    async def test_changes_are_made_all_or_none(self, store: CatalogStore) -> None:
        await store.write(_put("a", b"1"), _put("b", b"1"), _put("c", b"1"))

        refused = await store.write(
            _put("a", b"2"), _removed("b"), _put("new", due=1.0), _put("c", b"2", expected=7), _put("d")
        )
        assert refused is False
        assert [
            (name, entry.body, entry.revision)
            for entry in await store.entries("instance")
            for name in [entry.address.name]
        ] == [
            ("a", b"1", 1),
            ("b", b"1", 1),
            ("c", b"1", 1),
        ]

        assert (
            await store.write(_put("a", b"2"), _removed("b"), _put("c", b"2", expected=1), _put("d", expected=0))
            is True
        )
        assert _names(await store.entries("instance")) == ["a", "c", "d"]

    async def test_one_of_those_who_write_at_once_is_first(self, store: CatalogStore, another: CatalogStore) -> None:
        for number in range(10):
            made = await asyncio.gather(
                *(which.write(_put(str(number), expected=0)) for which in (store, another) for _ in range(5))
            )
            assert sorted(made) == [False] * 9 + [True]

    async def test_nothing_is_lost_between_those_who_write_at_once(
        self, store: CatalogStore, another: CatalogStore
    ) -> None:
        """Each moves one from one account to the other, in whichever order it names them: the sum stays."""
        await store.write(_put("left", b"100"), _put("right", b"0"))

        async def move(which: CatalogStore, *, backwards: bool) -> None:
            for _ in range(10):
                while True:
                    left, right = [
                        await which.get(Address(kind="instance", tenant="acme", name=name))
                        for name in ("left", "right")
                    ]
                    assert left is not None
                    assert right is not None
                    changes = [
                        _put("left", b"%d" % (int(left.body) - 1), expected=left.revision),
                        _put("right", b"%d" % (int(right.body) + 1), expected=right.revision),
                    ]
                    if await which.write(*(reversed(changes) if backwards else changes)):
                        break

        await asyncio.gather(*(move(which, backwards=way) for which in (store, another) for way in (False, True)))

        assert [entry.body for entry in await store.entries("instance")] == [b"60", b"40"]

    async def test_what_is_written_holds_for_everybody(self, store: CatalogStore, another: CatalogStore) -> None:
        await store.write(_put("orders", b"1", due=1.0))

        assert await another.get(_ADDRESS) == CatalogEntry(address=_ADDRESS, revision=1, body=b"1", due=1.0)
        assert await another.next_due("instance") == 1.0
        await another.write(_removed("orders", expected=1))
        assert await store.get(_ADDRESS) is None

    async def test_it_says_what_a_change_survives(self, store: CatalogStore) -> None:
        assert isinstance(store.durability, Durability)

    async def test_it_can_be_closed_twice(self, store: CatalogStore) -> None:
        await store.close()
        await store.close()
