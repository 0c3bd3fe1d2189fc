"""Payload stores that each break a promise, and the tests of the contract that must notice it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from turnout.errors import BackendError, PayloadMissing
from turnout.interfaces.payloads import PayloadRef
from turnout.local.file_payloads import FilePayloads
from turnout.testing.clock import ManualClock
from turnout.testing.payloads import PayloadStoreContract

from .contract_runs import run_contract


class NamesNoDurability(FilePayloads):
    durability = "solid"  # type: ignore[assignment]  # wrong on purpose


class CutsContent(FilePayloads):
    async def read(self, tenant: str, sha256: str, *, limit: int) -> bytes:
        return (await super().read(tenant, sha256, limit=limit))[: 256 * 1024]


class TakesOneChunk(FilePayloads):
    async def put(self, tenant: str, chunks: AsyncIterator[bytes] | bytes) -> PayloadRef:
        return await super().put(tenant, chunks if isinstance(chunks, bytes) else await anext(chunks, b""))


class HandsOutLargeChunks(FilePayloads):
    async def open(self, tenant: str, sha256: str, *, chunk_bytes: int = 0) -> AsyncIterator[bytes]:
        async for chunk in super().open(tenant, sha256, chunk_bytes=1_000_000):
            yield chunk


class HoldsStreams(FilePayloads):
    async def put(self, tenant: str, chunks: AsyncIterator[bytes] | bytes) -> PayloadRef:
        if not isinstance(chunks, bytes):
            chunks = b"".join([chunk async for chunk in chunks])
        return await super().put(tenant, chunks)


class StoresTwice(FilePayloads):
    async def listing(self, *, older_than: float) -> AsyncIterator[tuple[str, PayloadRef]]:
        async for found in super().listing(older_than=older_than):
            yield found
            yield found


class KeepsFailures(FilePayloads):
    async def put(self, tenant: str, chunks: AsyncIterator[bytes] | bytes) -> PayloadRef:
        try:
            return await super().put(tenant, chunks)
        except OSError:
            await super().put(tenant, b"the first half")
            raise


class HidesErrors(FilePayloads):
    async def put(self, tenant: str, chunks: AsyncIterator[bytes] | bytes) -> PayloadRef:
        try:
            return await super().put(tenant, chunks)
        except OSError as error:
            raise BackendError("something went wrong") from error


class SharesTenants(FilePayloads):
    def _folder(self, tenant: str) -> Path:
        return super()._folder("everybody")


class TellsOfOthers(FilePayloads):
    async def exists(self, tenant: str, sha256: str) -> bool:
        return any([sha256 == ref.sha256 async for _, ref in self.listing(older_than=1e12)])


class DeletesOthers(FilePayloads):
    async def delete(self, tenant: str, sha256: str) -> None:
        async for owner, ref in self.listing(older_than=1e12):
            if ref.sha256 == sha256:
                await super().delete(owner, sha256)


class FoldsNames(FilePayloads):
    def _folder(self, tenant: str) -> Path:
        return super()._folder(tenant.casefold())


class ReturnsNothing(FilePayloads):
    async def read(self, tenant: str, sha256: str, *, limit: int) -> bytes:
        return await super().read(tenant, sha256, limit=limit) if await self.exists(tenant, sha256) else b""


class NamesAnotherHash(FilePayloads):
    async def read(self, tenant: str, sha256: str, *, limit: int) -> bytes:
        if not await self.exists(tenant, sha256):
            raise PayloadMissing("")
        return await super().read(tenant, sha256, limit=limit)


class TakesAnyPath(FilePayloads):
    def _path(self, tenant: str, sha256: str) -> Path | None:
        return self._folder(tenant) / (sha256 if len(sha256) < 64 else f"{sha256[:2]}/{sha256}").replace("\0", "0")

    async def exists(self, tenant: str, sha256: str) -> bool:
        path = self._path(tenant, sha256)
        return path is not None and path.exists()


class IgnoresTheLimit(FilePayloads):
    async def read(self, tenant: str, sha256: str, *, limit: int) -> bytes:
        return await super().read(tenant, sha256, limit=10**9)


class DeniesEverything(FilePayloads):
    async def exists(self, tenant: str, sha256: str) -> bool:
        return False


class ClearsWhatIsOld(FilePayloads):
    async def clear(self, tenant: str) -> int:
        old = [ref async for owner, ref in self.listing(older_than=self._clock.now() - 60) if owner == tenant]
        for ref in old:
            await self.delete(tenant, ref.sha256)
        return len(old)


class ClearsAll(FilePayloads):
    async def clear(self, tenant: str) -> int:
        await super().clear("globex")
        return await super().clear(tenant)


class DeletesNothing(FilePayloads):
    async def delete(self, tenant: str, sha256: str) -> None:
        pass


class RaisesOnAbsence(FilePayloads):
    async def delete(self, tenant: str, sha256: str) -> None:
        if not await self.exists(tenant, sha256):
            raise AssertionError("nothing there")
        await super().delete(tenant, sha256)


class EndsEarly(FilePayloads):
    async def open(self, tenant: str, sha256: str, *, chunk_bytes: int = 256 * 1024) -> AsyncIterator[bytes]:
        async for chunk in super().open(tenant, sha256, chunk_bytes=chunk_bytes):
            if not await self.exists(tenant, sha256):
                return
            yield chunk


class ListsTheYoung(FilePayloads):
    async def listing(self, *, older_than: float) -> AsyncIterator[tuple[str, PayloadRef]]:
        async for found in super().listing(older_than=1e12):
            yield found


class StaysOld(FilePayloads):
    async def put(self, tenant: str, chunks: AsyncIterator[bytes] | bytes) -> PayloadRef:
        content = chunks if isinstance(chunks, bytes) else b"".join([chunk async for chunk in chunks])
        sha256 = hashlib.sha256(content).hexdigest()
        if await self.exists(tenant, sha256):
            return PayloadRef(sha256=sha256, size=len(content))
        return await super().put(tenant, content)


CAUGHT = {
    ClearsWhatIsOld: ["clearing_removes_all_of_one_tenant_however_young"],
    ClearsAll: ["clearing_removes_all_of_one_tenant_however_young"],
    NamesNoDurability: ["it_names_its_durability"],
    CutsContent: ["content_comes_back_as_it_was_put"],
    TakesOneChunk: ["a_stream_is_stored_as_one_content"],
    HandsOutLargeChunks: ["chunks_are_as_large_as_asked_for_at_most"],
    HoldsStreams: ["a_stream_is_never_held_in_memory"],
    StoresTwice: ["the_same_content_twice_is_stored_once"],
    KeepsFailures: ["a_failing_stream_raises_its_own_error_and_leaves_nothing"],
    HidesErrors: ["a_failing_stream_raises_its_own_error_and_leaves_nothing"],
    SharesTenants: [
        "a_tenant_cannot_read_or_find_out_about_anothers_content",
        "a_tenant_cannot_delete_anothers_content",
    ],
    TellsOfOthers: ["a_tenant_cannot_read_or_find_out_about_anothers_content"],
    DeletesOthers: ["a_tenant_cannot_delete_anothers_content"],
    FoldsNames: ["tenants_of_any_name_stay_apart"],
    ReturnsNothing: ["absent_content_is_payload_missing_with_its_hash"],
    NamesAnotherHash: ["absent_content_is_payload_missing_with_its_hash"],
    TakesAnyPath: ["what_is_no_hash_is_absent"],
    IgnoresTheLimit: ["reading_above_the_limit_names_the_size"],
    DeniesEverything: ["it_says_what_exists"],
    DeletesNothing: ["deleted_content_is_gone_and_deleting_again_does_nothing"],
    RaisesOnAbsence: ["deleted_content_is_gone_and_deleting_again_does_nothing"],
    EndsEarly: ["a_reader_of_deleted_content_finishes_or_fails_clearly"],
    ListsTheYoung: ["the_listing_has_what_was_last_put_before_a_time"],
    StaysOld: ["putting_again_makes_content_young"],
}


MakeFixtures = Callable[[type[FilePayloads]], Mapping[str, Any]]


@pytest.fixture
def fixtures(tmp_path_factory: pytest.TempPathFactory) -> MakeFixtures:
    def of(store_class: type[FilePayloads]) -> Mapping[str, Any]:
        clock = ManualClock()
        return {"store": store_class(tmp_path_factory.mktemp("payloads"), clock=clock), "clock": clock}

    return of


@pytest.mark.parametrize(
    ("broken", "name"),
    [(broken, name) for broken, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
async def test_the_contract_catches(fixtures: MakeFixtures, broken: type[FilePayloads], name: str) -> None:
    with pytest.raises((AssertionError, BackendError, OSError, pytest.fail.Exception)):
        await run_contract(PayloadStoreContract, name, lambda: fixtures(broken))


@pytest.mark.parametrize("name", sorted({name for names in CAUGHT.values() for name in names}))
async def test_a_whole_store_passes_where_a_broken_one_fails(fixtures: MakeFixtures, name: str) -> None:
    await run_contract(PayloadStoreContract, name, lambda: fixtures(FilePayloads))


def test_every_promise_has_a_broken_store() -> None:
    promises = {name.removeprefix("test_") for name in dir(PayloadStoreContract) if name.startswith("test_")}

    assert promises - {name for names in CAUGHT.values() for name in names} == set()
