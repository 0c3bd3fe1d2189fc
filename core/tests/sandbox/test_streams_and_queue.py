"""Large content passes in pieces; who waits for a place takes turns; a cancelled wait leaves no trace."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from turnout.interfaces.sandbox import FileAccess, Limits, Success
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.payload import Encoded, File
from turnout.testing.sandbox import MemoryFiles, bundle_of, job

PIECE = bytes(range(256)) * 4096
PIECES = 150


class Streaming:
    """A store that makes and hashes content as it goes by, and holds none."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.size = 0

    async def read(self, file: File) -> AsyncIterator[bytes]:
        for _ in range(PIECES):
            yield PIECE

    async def write(self, content: AsyncIterator[bytes], name: str, content_type: str) -> File:
        async for piece in content:
            self.digest.update(piece)
            self.size += len(piece)
        return File(sha256=self.digest.hexdigest(), size=self.size, name=name, content_type=content_type)


async def test_more_content_than_memory_streams_through(tmp_path: Path) -> None:
    source = """export default async ({ doc }) => doc.stream().pipeThrough(new TransformStream({
      transform(piece, out) { out.enqueue(piece) }
    }))"""
    sandbox = ProcessSandbox(warm_floor=0)
    store = Streaming()
    given = Encoded(json=b'{"doc":null}', files=(("/doc", File(sha256="0" * 64, size=PIECES * len(PIECE))),))
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"step.js": source}), Limits(memory_bytes=48 * 2**20))

    outcome = await handle.run(
        job("step.js", input=given, timeout_s=60.0, files=FileAccess(read=store.read, write=store.write))
    )
    await sandbox.close()

    assert isinstance(outcome, Success), outcome
    assert dict(outcome.output.files)[""].size == PIECES * len(PIECE)
    assert store.digest.hexdigest() == hashlib.sha256(PIECE * PIECES).hexdigest()


async def test_named_files_and_text_of_files(tmp_path: Path) -> None:
    source = """export default async (files) => {
      const [text, data] = await Promise.all([files[0].text(), files[1].json()])
      return { text, data, made: [new File(['héllo'], 'a.csv', { type: 'text/csv' }), new Uint8Array(0)] }
    }"""
    files = MemoryFiles()
    listed = (("/0", files.add("grüße".encode())), ("/1", files.add(b'{"a":[1]}')))
    sandbox = ProcessSandbox(warm_floor=0)
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"step.js": source}), Limits())

    outcome = await handle.run(job("step.js", input=Encoded(json=b"[null,null]", files=listed), files=files.access))
    await sandbox.close()

    assert isinstance(outcome, Success), outcome
    assert json.loads(outcome.output.json) == {"text": "grüße", "data": {"a": [1]}, "made": [None, None]}
    made = dict(outcome.output.files)
    assert (made["/made/0"].name, made["/made/0"].content_type) == ("a.csv", "text/csv")
    assert files.contents[made["/made/0"].sha256] == "héllo".encode()
    assert made["/made/1"].size == 0


async def test_bytes_of_any_class_become_files(tmp_path: Path) -> None:
    source = """export default () => [Buffer.from('hé'), { deep: [new Uint16Array([65]), new Uint8Array([66]).buffer] },
      new DataView(new Uint8Array([67]).buffer), JSON.parse(JSON.stringify(Buffer.from('D'))).data, 2n ** 64n]"""
    files = MemoryFiles()
    sandbox = ProcessSandbox(warm_floor=0)
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"step.js": source}), Limits())

    outcome = await handle.run(job("step.js", files=files.access))
    await sandbox.close()

    assert isinstance(outcome, Success), outcome
    assert json.loads(outcome.output.json) == [None, {"deep": [None, None]}, None, [68], 2**64]
    contents = {pointer: files.contents[file.sha256] for pointer, file in outcome.output.files}
    assert contents == {"/0": "hé".encode(), "/1/deep/0": b"A\0", "/1/deep/1": b"B", "/2": b"C"}


async def test_one_tenants_backlog_does_not_hold_up_another(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, {"step.js": "export default () => 1"})
    sandbox = ProcessSandbox(warm_floor=0, max_processes=1)
    served = []

    async def execute(tenant: str) -> None:
        handle = await sandbox.acquire(tenant, bundle, Limits())
        served.append(tenant)
        await handle.run(job("step.js"))
        await handle.release()

    await asyncio.gather(*(execute(tenant) for tenant in ["noisy"] * 6 + ["quiet"]))
    await sandbox.close()

    assert served.index("quiet") <= 2


async def test_a_wait_that_is_cancelled_gives_its_place_back(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, {"step.js": "export default () => 1"})
    sandbox = ProcessSandbox(warm_floor=0, max_processes=1)
    holder = await sandbox.acquire("acme", bundle, Limits())
    waiting = asyncio.ensure_future(sandbox.acquire("acme", bundle, Limits()))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await holder.release()

    next_one = await asyncio.wait_for(sandbox.acquire("acme", bundle, Limits()), 10)
    assert next_one.usable
    await sandbox.close()
