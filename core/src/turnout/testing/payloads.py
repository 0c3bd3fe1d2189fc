"""The promises of `turnout.interfaces.payloads`, one test each. Subclass `PayloadStoreContract` and give `store`.

    class TestMyPayloads(PayloadStoreContract):
        @pytest.fixture
        async def store(self, clock): ...

`clock` is the `ManualClock` that the store should go by. A store with a clock of its own (S3) overrides `pause`, which
lets a little of the store's time pass, and `now`.
"""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from turnout.errors import BackendError, PayloadMissing
from turnout.interfaces.payloads import PayloadRef, PayloadStore
from turnout.model.durability import Durability
from turnout.testing.clock import ManualClock

__all__ = ["PayloadStoreContract"]

_SMALL = b"<order id='1'/>"
_HOSTILE = ("../x", "..", ".", "", "a/b", "/etc", "A", "a", "x" * 300, "ü\0ñ", "*")
_CHUNK = 256 * 1024


class PayloadStoreContract:
    """Each test is one sentence of the interface."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def store(self, clock: ManualClock) -> Any:
        raise NotImplementedError("override the fixture `store`")

    async def pause(self, clock: ManualClock) -> None:
        clock.advance(10)

    def now(self, clock: ManualClock) -> float:
        return clock.now()

    def test_it_names_its_durability(self, store: PayloadStore) -> None:
        assert isinstance(store.durability, Durability)

    @pytest.mark.parametrize("size", [0, 1, _CHUNK, _CHUNK + 1, 3_000_000])
    async def test_content_comes_back_as_it_was_put(self, store: PayloadStore, size: int) -> None:
        content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

        ref = await store.put("acme", content)

        assert ref == PayloadRef(sha256=hashlib.sha256(content).hexdigest(), size=size)
        assert await store.read("acme", ref.sha256, limit=size) == content
        assert b"".join([chunk async for chunk in store.open("acme", ref.sha256)]) == content

    @pytest.mark.parametrize("count", [0, 1, 5, 40_000])
    async def test_a_stream_is_stored_as_one_content(self, store: PayloadStore, count: int) -> None:
        ref = await store.put("acme", _stream(b"some bytes, ", count))

        assert ref.sha256 == hashlib.sha256(b"some bytes, " * count).hexdigest()
        assert await store.read("acme", ref.sha256, limit=12 * count) == b"some bytes, " * count

    async def test_chunks_are_as_large_as_asked_for_at_most(self, store: PayloadStore) -> None:
        content = bytes(3_000_000)
        ref = await store.put("acme", content)

        chunks = [chunk async for chunk in store.open("acme", ref.sha256, chunk_bytes=100_000)]

        assert max(map(len, chunks)) <= 100_000
        assert all(chunks)
        assert b"".join(chunks) == content

    async def test_a_stream_is_never_held_in_memory(self, store: PayloadStore) -> None:
        tracemalloc.start()
        try:
            ref = await store.put("acme", _stream(bytes(_CHUNK), 200))
            async for _ in store.open("acme", ref.sha256):
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert ref.size == 200 * _CHUNK
        assert peak < 40 * _CHUNK

    async def test_the_same_content_twice_is_stored_once(self, store: PayloadStore, clock: ManualClock) -> None:
        first = await store.put("acme", _SMALL)
        second = await store.put("acme", _stream(_SMALL, 1))
        await self.pause(clock)

        assert first == second
        assert [found async for found in store.listing(older_than=self.now(clock))] == [("acme", first)]

    @pytest.mark.parametrize("chunks", [0, 1, 40])
    async def test_a_failing_stream_raises_its_own_error_and_leaves_nothing(
        self, store: PayloadStore, clock: ManualClock, chunks: int
    ) -> None:
        with pytest.raises(ConnectionResetError, match="the other side is gone"):
            await store.put("acme", _failing(chunks))
        await self.pause(clock)

        assert [found async for found in store.listing(older_than=self.now(clock))] == []

    async def test_a_tenant_cannot_read_or_find_out_about_anothers_content(self, store: PayloadStore) -> None:
        ref = await store.put("acme", _SMALL)

        assert not await store.exists("globex", ref.sha256)
        with pytest.raises(PayloadMissing):
            await store.read("globex", ref.sha256, limit=100)
        with pytest.raises(PayloadMissing):
            await anext(store.open("globex", ref.sha256))

    async def test_a_tenant_cannot_delete_anothers_content(self, store: PayloadStore) -> None:
        ref = await store.put("acme", _SMALL)

        await store.delete("globex", ref.sha256)

        assert await store.exists("acme", ref.sha256)

    async def test_tenants_of_any_name_stay_apart(self, store: PayloadStore, clock: ManualClock) -> None:
        refs = {tenant: await store.put(tenant, tenant.encode() + _SMALL) for tenant in _HOSTILE}
        await self.pause(clock)

        assert {tenant: ref async for tenant, ref in store.listing(older_than=self.now(clock))} == refs
        for tenant, ref in refs.items():
            assert await store.read(tenant, ref.sha256, limit=1000) == tenant.encode() + _SMALL
            assert [other for other in _HOSTILE if await store.exists(other, ref.sha256)] == [tenant]

    async def test_absent_content_is_payload_missing_with_its_hash(self, store: PayloadStore) -> None:
        absent = hashlib.sha256(b"never put").hexdigest()

        with pytest.raises(PayloadMissing) as read:
            await store.read("acme", absent, limit=10)
        with pytest.raises(PayloadMissing) as opened:
            await anext(store.open("acme", absent))

        assert read.value.sha256 == opened.value.sha256 == absent

    @pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "name", "A" * 64, "a" * 63, "\0" * 64])
    async def test_what_is_no_hash_is_absent(self, store: PayloadStore, name: str) -> None:
        await store.put("acme", _SMALL)

        await store.delete("acme", name)

        assert not await store.exists("acme", name)
        with pytest.raises(PayloadMissing):
            await store.read("acme", name, limit=100)

    async def test_reading_above_the_limit_names_the_size(self, store: PayloadStore) -> None:
        ref = await store.put("acme", b"x" * 1001)

        with pytest.raises(BackendError, match="1001"):
            await store.read("acme", ref.sha256, limit=1000)

    async def test_it_says_what_exists(self, store: PayloadStore) -> None:
        ref = await store.put("acme", _SMALL)

        assert await store.exists("acme", ref.sha256)
        assert not await store.exists("acme", hashlib.sha256(b"").hexdigest())

    async def test_deleted_content_is_gone_and_deleting_again_does_nothing(self, store: PayloadStore) -> None:
        ref = await store.put("acme", _SMALL)

        await store.delete("acme", ref.sha256)
        await store.delete("acme", ref.sha256)

        assert not await store.exists("acme", ref.sha256)
        with pytest.raises(PayloadMissing):
            await store.read("acme", ref.sha256, limit=100)

    async def test_clearing_removes_all_of_one_tenant_however_young(self, store: PayloadStore) -> None:
        refs = [await store.put("acme", content) for content in (_SMALL, bytes(1_000_000))]
        other = await store.put("globex", _SMALL)

        assert await store.clear("acme") == 2
        assert await store.clear("acme") == 0

        assert [await store.exists("acme", ref.sha256) for ref in refs] == [False, False]
        assert await store.read("globex", other.sha256, limit=100) == _SMALL
        again = await store.put("acme", _SMALL)
        assert await store.exists("acme", again.sha256)

    async def test_a_reader_of_deleted_content_finishes_or_fails_clearly(self, store: PayloadStore) -> None:
        content = bytes(range(250)) * 8000
        ref = await store.put("acme", content)
        chunks = store.open("acme", ref.sha256, chunk_bytes=1000)
        seen = await anext(chunks)

        await store.delete("acme", ref.sha256)
        try:
            seen += b"".join([chunk async for chunk in chunks])
        except BackendError:
            assert content.startswith(seen)
        else:
            assert seen == content

    async def test_the_listing_has_what_was_last_put_before_a_time(
        self, store: PayloadStore, clock: ManualClock
    ) -> None:
        old = await store.put("acme", b"old")
        await self.pause(clock)
        between = self.now(clock)
        await self.pause(clock)
        await store.put("acme", b"new")
        await self.pause(clock)

        assert [found async for found in store.listing(older_than=between)] == [("acme", old)]

    @pytest.mark.parametrize("size", [3, 1_000_000])
    async def test_putting_again_makes_content_young(self, store: PayloadStore, clock: ManualClock, size: int) -> None:
        await store.put("acme", bytes(size))
        await self.pause(clock)
        between = self.now(clock)
        await self.pause(clock)

        await store.put("acme", _stream(bytes(size), 1))

        assert [found async for found in store.listing(older_than=between)] == []


async def _stream(chunk: bytes, count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield chunk


async def _failing(count: int) -> AsyncIterator[bytes]:
    async for chunk in _stream(b"x" * 100_000, count):
        yield chunk
    raise ConnectionResetError("the other side is gone")
