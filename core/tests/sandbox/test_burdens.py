"""What code may lay on the process that runs it and everybody else's: memory, time and errors of the supervisor itself."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from turnout.errors import BackendError
from turnout.interfaces.sandbox import CodeBundle, Failure, Isolation, Limits, Success
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.execution import LogLine
from turnout.model.payload import Encoded, File
from turnout.sandbox.bundle_files import BundleFiles
from turnout.sandbox.channel import Channel
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.frames import NO_NONCE, FrameParser, FrameType, ProtocolBroken, head
from turnout.sandbox.launch import Launch
from turnout.sandbox.output import LogBudget, Printed
from turnout.sandbox.pooled import PooledSandbox, PoolOptions
from turnout.testing.sandbox import bundle_of, job

from .test_forged_results import Forger

MEGABYTE = 1024 * 1024


async def test_frames_that_nobody_takes_are_held_to_a_bound_also_if_all_is_in_their_meta() -> None:
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    ours.settimeout(0)
    channel = await Channel.open(ours, MEGABYTE)
    frames = 64 * head(FrameType.LOG, NO_NONCE, b"x" * MEGABYTE, 0)
    sent, stuck = 0, 0
    with theirs:
        while sent < len(frames) and stuck < 1000:
            try:
                sent += theirs.send(frames[sent : sent + MEGABYTE])
                stuck = 0
            except BlockingIOError:
                stuck += 1
            await asyncio.sleep(0)
    channel.close()
    await channel.closed

    assert sent < 16 * MEGABYTE


def test_no_frame_says_more_than_its_decoding_may_take() -> None:
    with pytest.raises(ProtocolBroken):
        FrameParser(MEGABYTE).feed(head(FrameType.ERROR, NO_NONCE, b"", 0)[:9] + (3 * MEGABYTE).to_bytes(4) + bytes(4))


async def test_an_error_made_of_many_large_ones_is_told_without_them(tmp_path: Path) -> None:
    source = """
        const large = (n) => Object.assign(new Error('x'.repeat(60000)), n ? { errors: Array.from({ length: 10 }, () => large(n - 1)) } : {});
        export default () => { throw Object.assign(new Error('the outermost'), { errors: [large(2)] }) }"""
    sandbox = ProcessSandbox()
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"step.mjs": source}), Limits())
    outcome = await handle.run(job("step.mjs"))
    await handle.release()
    await sandbox.close()

    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.message) == ("Error", "the outermost")


@pytest.mark.parametrize(("values", "kind"), [(900_000, Success), (1_100_000, Failure)])
async def test_a_result_with_files_is_built_only_if_it_has_few_values(values: int, kind: type) -> None:
    forger: Any = Forger(b"[null" + b",[]" * (values // 2) + b"]", [["/0", {"input": 0}]])
    given = job("step.js", input=Encoded(files=(("", File(sha256="0" * 64, size=1, data=b"x")),)))

    outcome = await Conversation(forger, CodeBundle(hash="h", directory="/"), given, mapped=False).run()

    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Failure) or outcome.kind == "result_too_large"


def test_a_flood_of_lines_that_count_for_nothing_is_not_read_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bytes] = []
    line = Printed._line

    def look(self: Printed, text: bytes) -> None:
        looked.append(text)
        line(self, text)

    monkeypatch.setattr(Printed, "_line", look)
    printed = Printed("error", LogBudget(1000))
    for _ in range(10):
        printed.feed(b"\n" * 60_000)
    printed.feed(b"FATAL ERROR: JavaScript heap out of memory\n")

    assert len(looked) < 100_000
    assert printed.out_of_memory


def test_lines_after_the_end_of_the_log_are_not_read_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[LogLine] = []
    budget = LogBudget(1000)
    budget.attach(lines.append)
    printed = Printed("info", budget)
    printed.feed(b"a\n" * 1000)
    added: list[tuple[str, bytes]] = []
    monkeypatch.setattr(budget, "add", lambda *line: added.append(line))
    printed.feed(b"a\n" * 30_000)

    assert len(lines) < 100
    assert len(added) <= 100


def test_folders_too_deep_are_a_fault_of_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "/".join("a" * 202)).mkdir(parents=True)

    assert "too deep" in BundleFiles(str(tmp_path)).fault


def test_names_that_are_not_text_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "step.js").write_text("")
    os.close(os.open(os.fsencode(tmp_path) + b"/\xff.js", os.O_CREAT | os.O_WRONLY))

    files = BundleFiles(str(tmp_path))

    assert (files.fault, files.index) == ("", b'{"files":{"step.js":0},"packages":{}}')


class Bare(PooledSandbox):
    """On a machine without descriptors to give."""

    name = "bare"
    isolates: ClassVar[frozenset[Isolation]] = frozenset()
    languages: ClassVar[frozenset[str]] = frozenset({"javascript"})
    tries = 0

    def launch(self, language: str = "javascript") -> Launch:
        self.tries += 1
        raise OSError(24, "Too many open files")

    async def start(self) -> tuple[str, ...]:
        return ()


@pytest.fixture
async def bare() -> AsyncIterator[Bare]:
    sandbox = Bare(PoolOptions(warm_floor=0, warm_ceiling=1).sizes())
    yield sandbox
    await sandbox.close()


async def test_who_waits_for_a_process_that_cannot_be_launched_is_told(bare: Bare, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="Too many open files"):
        async with asyncio.timeout(20):
            await bare.acquire("acme", bundle_of(tmp_path, {"step.mjs": ""}), Limits())
    assert bare.tries < 5
