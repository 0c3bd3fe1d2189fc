"""Files that a job makes are bounded by the supervisor, whatever the process sends, and nothing of half a file is left."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from turnout.engine.content import Content
from turnout.interfaces.sandbox import CodeBundle, Failure, FileAccess, Limits, Outcome, Success
from turnout.local.file_payloads import FilePayloads
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.payload import Encoded, File
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.frames import Frame, FrameType
from turnout.sandbox.stored import StoredFiles, TooMuch
from turnout.testing.sandbox import MemoryFiles, bundle_of, job

from .test_forged_results import Forger

Said = tuple[FrameType, object, bytes]
BEGIN: Said = (FrameType.STORE, {"name": "a", "type": ""}, b"")
END: Said = (FrameType.STORED, {}, b"")


class Teller(Forger):
    """A process that says what it was told to say, at any length, and hears no answer."""

    def __init__(self, said: Iterable[Said], limits: Limits) -> None:
        super().__init__(b"")
        self.limits = limits
        self.said = iter(said)

    async def next(self) -> Frame:
        await asyncio.sleep(0)
        kind, meta, body = next(self.said)
        return Frame(kind, self._nonce, json.dumps(meta).encode(), body)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "payloads"


@pytest.fixture
def access(directory: Path) -> FileAccess:
    """As the engine gives it to jobs."""
    content = Content(FilePayloads(directory), "acme")

    async def write(pieces: AsyncIterator[bytes], name: str, content_type: str) -> File:
        return await content.create(pieces, name=name, content_type=content_type)

    return FileAccess(read=content.open, write=write)


def contents(directory: Path) -> list[int]:
    """Sizes of all that lies in the store, half-written files included."""
    return [path.stat().st_size for path in directory.rglob("*") if path.is_file() and path.name != "name"]


async def told(said: Iterable[Said], access: FileAccess, **limits: Any) -> tuple[Outcome, Teller]:
    teller: Any = Teller(said, Limits(**limits))
    given = job("step.js", files=access)
    conversation = Conversation(teller, CodeBundle(hash="h", directory="/"), given, mapped=False)
    outcome = await conversation.run()
    assert not conversation.usable
    return outcome, teller


@pytest.mark.parametrize("piece", [1, 1000, 1_000_000])
async def test_a_file_without_end_is_ended_and_leaves_nothing(access: FileAccess, directory: Path, piece: int) -> None:
    chunks: Iterator[Said] = repeat((FrameType.CHUNK, {}, bytes(piece)))

    outcome, teller = await told(chain([BEGIN], chunks), access, files_bytes=20 * piece)

    assert isinstance(outcome, Failure)
    assert outcome.kind == "result_too_large"
    assert "limits.files_size" in outcome.message
    assert teller.killed
    assert contents(directory) == []


async def test_the_size_is_that_of_all_files_together(access: FileAccess, directory: Path) -> None:
    large: list[Said] = [BEGIN, (FrameType.CHUNK, {}, bytes(400_000)), END]

    outcome, _ = await told(large * 3, access, files_bytes=1_000_000)

    assert isinstance(outcome, Failure)
    assert outcome.kind == "result_too_large"
    assert contents(directory) == [400_000]


async def test_files_without_end_are_ended(access: FileAccess) -> None:
    endless = chain.from_iterable(repeat([BEGIN, END]))

    outcome, teller = await told(endless, access, files=7)

    assert isinstance(outcome, Failure)
    assert (outcome.kind, "limits.files`" in outcome.message) == ("result_too_large", True)
    assert teller.killed


@pytest.mark.parametrize("about", [{"name": "n" * 1025, "type": ""}, {"name": "", "type": "t" * 1025}])
async def test_a_long_name_is_not_kept(access: FileAccess, about: object) -> None:
    outcome, _ = await told([(FrameType.STORE, about, b""), END], access)

    assert isinstance(outcome, Failure)
    assert (outcome.kind, "1024 characters" in outcome.message) == ("result_too_large", True)


async def test_the_store_gets_no_tiny_pieces() -> None:
    sizes: list[int] = []

    async def write(content: AsyncIterator[bytes], name: str, content_type: str) -> File:
        sizes.extend([len(piece) async for piece in content])
        return File(sha256="0" * 64, size=sum(sizes))

    async def content() -> AsyncIterator[bytes]:
        for piece in chain(repeat(b"", 1000), repeat(b"x", 200_000), [bytes(1_000_000)], repeat(b"", 1000)):
            yield piece

    number = await StoredFiles(FileAccess(read=MemoryFiles().access.read, write=write), Limits()).add(content(), "", "")

    assert (number, sum(sizes)) == (0, 1_200_000)
    assert min(sizes[:-1]) >= 60_000
    assert 0 not in sizes


async def test_a_file_of_500_megabytes_passes_and_one_of_five_gigabytes_does_not() -> None:
    megabyte = bytes(1_000_000)

    async def write(content: AsyncIterator[bytes], name: str, content_type: str) -> File:
        return File(sha256="0" * 64, size=sum([len(piece) async for piece in content]))

    async def content(megabytes: int) -> AsyncIterator[bytes]:
        for _ in range(megabytes):
            yield megabyte

    stored = StoredFiles(FileAccess(read=MemoryFiles().access.read, write=write), Limits())

    assert await stored.add(content(500), "", "") == 0
    with pytest.raises(TooMuch):
        await stored.add(content(5000), "", "")
    assert [file.size for file in stored.files] == [500_000_000]


async def test_a_job_that_is_ended_in_the_middle_of_a_file_leaves_nothing(
    tmp_path: Path, access: FileAccess, directory: Path
) -> None:
    source = """export default () => new ReadableStream({
      pull: (controller) => { controller.enqueue(new Uint8Array(300_000)); console.log('more') }
    })"""
    sandbox = ProcessSandbox(warm_floor=0)
    bundle = bundle_of(tmp_path / "bundle", {"step.js": source})
    late, cancelled = [await sandbox.acquire("acme", bundle, Limits()) for _ in range(2)]
    begun = asyncio.Event()
    seen: list[list[int]] = []

    outcome = await late.run(
        job("step.js", files=access, timeout_s=0.5, log=lambda line: seen.append(contents(directory)))
    )
    running = asyncio.ensure_future(
        cancelled.run(job("step.js", files=access, log=lambda line: begun.set() if contents(directory) else None))
    )
    await asyncio.wait_for(begun.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await sandbox.close()

    assert isinstance(outcome, Failure)
    assert outcome.kind == "timeout"
    assert any(seen), "nothing was begun"
    assert contents(directory) == []


async def test_contents_that_were_not_read_to_their_end_are_closed() -> None:
    open_ones: set[int] = set()

    async def read(file: File) -> AsyncIterator[bytes]:
        number = len(open_ones)
        open_ones.add(number)
        try:
            for _ in range(9):
                yield b"x"
        finally:
            open_ones.discard(number)

    asked: list[Said] = [(FrameType.READ, {"file": 0, "stream": stream}, b"") for stream in range(5)]
    result: Said = (FrameType.RESULT, {"cpu_ms": 1.0, "network": False, "files": []}, b"1")
    teller: Any = Teller([*asked, result], Limits())
    given = job(
        "step.js",
        input=Encoded(files=(("", File(sha256="0" * 64, size=9)),)),
        files=FileAccess(read=read, write=MemoryFiles().access.write),
    )

    outcome = await Conversation(teller, CodeBundle(hash="h", directory="/"), given, mapped=False).run()

    assert isinstance(outcome, Success)
    assert open_ones == set()
