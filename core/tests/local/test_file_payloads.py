"""The payload store in a folder keeps its contract, and nothing half-written survives."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.interfaces.payloads import PayloadStore
from turnout.local.file_payloads import FilePayloads
from turnout.model.durability import Durability
from turnout.testing.clock import ManualClock
from turnout.testing.payloads import PayloadStoreContract


class TestFilePayloads(PayloadStoreContract):
    @pytest.fixture
    async def store(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[PayloadStore]:
        store = FilePayloads(tmp_path / "payloads", clock=clock)
        yield store
        await store.close()


class TestSyncedFilePayloads(PayloadStoreContract):
    @pytest.fixture
    async def store(self, clock: ManualClock, tmp_path: Path) -> AsyncIterator[PayloadStore]:
        store = FilePayloads(tmp_path / "payloads", clock=clock, sync=True)
        yield store
        await store.close()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "name"]


def test_durability_follows_from_flushing(tmp_path: Path) -> None:
    assert FilePayloads(tmp_path).durability is Durability.PROCESS
    assert FilePayloads(tmp_path, sync=True).durability is Durability.HOST


async def test_nothing_leaves_the_folder_and_nobody_else_may_look_in(tmp_path: Path) -> None:
    store = FilePayloads(tmp_path / "store")

    await store.put("../../outside", b"content")

    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "store", *(tmp_path / "store").iterdir()))


async def test_content_put_while_the_folders_vanish_is_stored(tmp_path: Path) -> None:
    store = FilePayloads(tmp_path)
    await store.put("acme", b"first")
    for path in sorted(tmp_path.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()

    ref = await store.put("acme", b"second")

    assert await store.read("acme", ref.sha256, limit=10) == b"second"


@pytest.mark.parametrize("written", [0, 300_000, 3_000_000])
async def test_a_cancelled_put_leaves_nothing(tmp_path: Path, written: int) -> None:
    store = FilePayloads(tmp_path)
    reached = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield bytes(written)
        reached.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(store.put("acme", stalling()))
    await reached.wait()
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting

    assert files(tmp_path) == []


CRASHING = """
import asyncio, os, signal, sys
from turnout.local.file_payloads import FilePayloads

async def stream():
    for _ in range(30):
        yield bytes(100_000)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(FilePayloads(sys.argv[1]).put("acme", stream()))
"""


async def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", CRASHING, tmp_path], check=False)
    assert process.returncode == -signal.SIGKILL
    [left] = files(tmp_path)
    os.utime(left, (left.stat().st_mtime - 120,) * 2)

    FilePayloads(tmp_path)

    assert files(tmp_path) == []


async def test_what_another_process_is_writing_is_not_swept(tmp_path: Path) -> None:
    store = FilePayloads(tmp_path)

    async def slow() -> AsyncIterator[bytes]:
        for number in range(40):
            if number == 20:
                for path in files(tmp_path):
                    os.utime(path, (0, 0))
                FilePayloads(tmp_path)
            yield bytes([number]) * 100_000

    ref = await store.put("acme", slow())

    assert ref.size == 4_000_000
    assert await store.exists("acme", ref.sha256)


FILLING = """
import asyncio, resource, sys
from turnout.errors import BackendError
from turnout.local.file_payloads import FilePayloads

async def stream():
    for _ in range(60):
        yield bytes(100_000)

resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
store = FilePayloads(sys.argv[1])
for content in (stream(), bytes(5_000_000)):
    try:
        asyncio.run(store.put("acme", content))
    except BackendError as error:
        print(error)
"""


def test_a_full_disk_is_a_clear_error_with_nothing_left_behind(tmp_path: Path) -> None:
    process = subprocess.run([sys.executable, "-c", FILLING, tmp_path], capture_output=True, text=True, check=True)

    assert process.stdout == f"payload store {tmp_path}: the disk is full: free some space\n" * 2
    assert files(tmp_path) == []


async def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BackendError, match="file/payloads: Not a directory"):
        FilePayloads(tmp_path / "file" / "payloads")


async def test_processes_that_put_the_same_content_at_once_store_it_once(tmp_path: Path) -> None:
    stores = [FilePayloads(tmp_path) for _ in range(8)]

    refs = await asyncio.gather(*(store.put("acme", bytes(2_000_000)) for store in stores))

    assert len(set(refs)) == 1
    assert [path.name for path in files(tmp_path)] == [refs[0].sha256]
