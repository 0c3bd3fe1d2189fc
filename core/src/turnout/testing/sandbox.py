"""The contract of `Sandbox`: subclass `SandboxContract`, override the fixture `sandbox`, and every promise is a test.

    class TestMySandbox(SandboxContract):
        @pytest.fixture
        async def sandbox(self):
            sandbox = MySandbox()
            await sandbox.start()
            yield sandbox
            await sandbox.close()

Code is JavaScript, written into a bundle of its own for each test.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from turnout.interfaces.sandbox import (
    CodeBundle,
    Failure,
    FileAccess,
    Isolation,
    Job,
    Limits,
    Outcome,
    Sandbox,
    SandboxHandle,
    Success,
)
from turnout.model.execution import LogLine
from turnout.model.payload import Encoded, File

__all__ = ["MemoryFiles", "SandboxContract", "bundle_of", "job"]


class MemoryFiles:
    """File content in memory, for jobs under test."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}

    def add(self, content: bytes, name: str = "", content_type: str = "application/octet-stream") -> File:
        digest = hashlib.sha256(content).hexdigest()
        self.contents[digest] = content
        return File(sha256=digest, size=len(content), name=name, content_type=content_type)

    @property
    def access(self) -> FileAccess:
        return FileAccess(read=self._read, write=self._write)

    async def _read(self, file: File) -> AsyncIterator[bytes]:
        content = self.contents[file.sha256]
        for at in range(0, len(content), 100_000):
            yield content[at : at + 100_000]

    async def _write(self, content: AsyncIterator[bytes], name: str, content_type: str) -> File:
        return self.add(b"".join([piece async for piece in content]), name, content_type)


def bundle_of(directory: Path, modules: Mapping[str, str]) -> CodeBundle:
    """A bundle with these sources by file name, all of them entry modules. Once made it is left alone: bundles never change."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, source in {"package.json": '{"type":"module"}', **modules}.items():
        if not (directory / name).exists():
            (directory / name).write_text(source)
    digest = hashlib.sha256(json.dumps(dict(modules), sort_keys=True).encode()).hexdigest()
    return CodeBundle(hash=digest, directory=str(directory), modules=tuple(modules))


def job(module: str, data: Any = None, **fields: Any) -> Job:
    """A job with JSON-like input; `fields` are those of `Job` that the test is about."""
    given = {"context": {"execution": "e1"}, "timeout_s": 20.0, "files": MemoryFiles().access, **fields}
    return Job(module=module, input=given.pop("input", Encoded(json=json.dumps(data).encode())), **given)


class SandboxContract:
    """What every sandbox promises. Tests take a started `sandbox` and a `tmp_path`."""

    limits = Limits(
        memory_bytes=64 * 1024 * 1024, result_bytes=1024 * 1024, files=20, files_bytes=8_000_000, log_bytes=10_000
    )

    @pytest.fixture
    def sandbox(self) -> Sandbox:
        raise NotImplementedError("override the fixture `sandbox` with a started one of yours")

    async def _handle(self, sandbox: Sandbox, tmp_path: Path, source: str, tenant: str = "acme") -> SandboxHandle:
        return await sandbox.acquire(tenant, bundle_of(tmp_path / "bundle", {"step.js": source}), self.limits)

    async def _run(self, sandbox: Sandbox, tmp_path: Path, source: str, data: Any = None, **fields: Any) -> Outcome:
        handle = await self._handle(sandbox, tmp_path, source)
        try:
            return await handle.run(job("step.js", data, **fields))
        finally:
            await handle.release()

    async def test_isolation_and_languages_are_declared(self, sandbox: Sandbox) -> None:
        assert all(isinstance(isolation, Isolation) for isolation in sandbox.isolates)
        assert "javascript" in sandbox.languages
        assert isinstance(sandbox.brokers, bool)
        assert Isolation.NETWORK in sandbox.isolates or not sandbox.brokers

    async def test_the_default_export_is_called_with_input_and_context(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default (input, context) => ({ got: input, execution: context.execution })"

        outcome = await self._run(sandbox, tmp_path, source, {"a": [1, "ü", None]})

        assert _value(outcome) == {"got": {"a": [1, "ü", None]}, "execution": "e1"}

    async def test_an_async_function_is_waited_for(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default async () => { await new Promise((done) => setTimeout(done, 5)); return 7 }"

        assert _value(await self._run(sandbox, tmp_path, source)) == 7

    async def test_undefined_becomes_null(self, sandbox: Sandbox, tmp_path: Path) -> None:
        assert _value(await self._run(sandbox, tmp_path, "export default () => {}")) is None

    async def test_integers_keep_every_digit(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default ({ big }) => ({ same: big, next: big + 1n })"

        outcome = await self._run(sandbox, tmp_path, source, {"big": 12345678901234567890})

        assert _value(outcome) == {"same": 12345678901234567890, "next": 12345678901234567891}

    async def test_log_lines_come_in_order_with_their_level(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default () => { console.debug('a'); console.log('b', { c: 1 }); console.warn('d'); console.error('e') }"
        lines: list[LogLine] = []

        await self._run(sandbox, tmp_path, source, log=lines.append)

        told = [(line.level, line.message) for line in lines]
        assert told == [("debug", "a"), ("info", "b { c: 1 }"), ("warning", "d"), ("error", "e")]

    async def test_a_log_without_end_is_cut(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default () => { for (let n = 0; n < 20000; n++) console.log('x'.repeat(100)); return 1 }"
        lines: list[LogLine] = []

        outcome = await self._run(sandbox, tmp_path, source, log=lines.append)

        assert _value(outcome) == 1
        assert sum(len(line.message) for line in lines) < 2 * self.limits.log_bytes

    async def test_a_thrown_error_has_its_name_and_the_customers_frames(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "function look(x) {\n  return x.y.z\n}\nexport default () => look({})\n"

        failure = _failure(await self._run(sandbox, tmp_path, source))

        assert failure.kind == "TypeError"
        assert "step.js:2:" in failure.stack
        assert "step.js:4:" in failure.stack
        assert str(tmp_path) not in failure.stack
        assert "node:" not in failure.stack

    async def test_a_thrown_text_is_a_failure_too(self, sandbox: Sandbox, tmp_path: Path) -> None:
        failure = _failure(await self._run(sandbox, tmp_path, "export default () => { throw 'no luck' }"))

        assert failure.kind == "Error"
        assert "no luck" in failure.message

    @pytest.mark.parametrize("source", ["export default () => {", "import x from 'no-such-package'; export default x"])
    async def test_code_that_cannot_be_loaded_fails_with_import(
        self, sandbox: Sandbox, tmp_path: Path, source: str
    ) -> None:
        failure = _failure(await self._run(sandbox, tmp_path, source))

        assert failure.kind == "import"
        assert "step.js" in failure.message

    async def test_a_missing_default_export_is_named(self, sandbox: Sandbox, tmp_path: Path) -> None:
        failure = _failure(await self._run(sandbox, tmp_path, "export const main = () => 1"))

        assert failure.kind == "no_default_export"

    @pytest.mark.parametrize("result", ["() => 1", "(() => { const a = {}; a.a = a; return a })()", "Symbol('s')"])
    async def test_a_result_that_is_not_json_fails(self, sandbox: Sandbox, tmp_path: Path, result: str) -> None:
        assert _failure(await self._run(sandbox, tmp_path, f"export default () => {result}")).kind == "not_json"

    async def test_a_result_beyond_the_limit_fails(self, sandbox: Sandbox, tmp_path: Path) -> None:
        failure = _failure(await self._run(sandbox, tmp_path, "export default () => 'x'.repeat(2 * 1024 * 1024)"))

        assert failure.kind == "result_too_large"

    async def test_a_busy_loop_is_ended_at_the_time_out(self, sandbox: Sandbox, tmp_path: Path) -> None:
        handle = await self._handle(sandbox, tmp_path, "export default () => { for (;;); }")

        failure = _failure(await asyncio.wait_for(handle.run(job("step.js", timeout_s=0.3)), 10))

        assert failure.kind == "timeout"
        assert not handle.usable
        await handle.release()

    async def test_a_promise_that_never_settles_does_not_wait_for_the_time_out(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        running = self._run(sandbox, tmp_path, "export default () => new Promise(() => {})", timeout_s=60.0)

        assert _failure(await asyncio.wait_for(running, 10)).kind in ("crashed", "timeout")

    async def test_memory_is_limited(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default () => { const all = []; for (;;) all.push(new Array(1000).fill(all.length)) }"

        assert _failure(await self._run(sandbox, tmp_path, source, timeout_s=60.0)).kind == "memory"

    async def test_ending_the_process_is_a_failure_and_the_handle_is_spent(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        handle = await self._handle(sandbox, tmp_path, "export default () => process.exit(0)")

        failure = _failure(await handle.run(job("step.js")))

        assert failure.kind == "crashed"
        assert not handle.usable
        await handle.release()

    async def test_jobs_of_one_handle_share_globals(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default () => (globalThis.count = (globalThis.count ?? 0) + 1)"
        handle = await self._handle(sandbox, tmp_path, source)

        values = [_value(await handle.run(job("step.js"))) for _ in range(3)]

        assert values == [1, 2, 3]
        assert handle.usable
        await handle.release()

    async def test_nothing_of_an_earlier_handle_can_be_seen(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default () => (globalThis.count = (globalThis.count ?? 0) + 1)"

        values = [_value(await self._run(sandbox, tmp_path, source)) for _ in range(6)]

        assert values == [1] * 6

    async def test_cancelling_ends_the_job_at_once(self, sandbox: Sandbox, tmp_path: Path) -> None:
        handle = await self._handle(sandbox, tmp_path, "export default () => { console.log('on'); for (;;); }")
        started = asyncio.Event()
        running = asyncio.ensure_future(handle.run(job("step.js", timeout_s=60.0, log=lambda line: started.set())))
        await asyncio.wait_for(started.wait(), 10)

        running.cancel()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 5)
        assert not handle.usable
        await handle.release()

    async def test_releasing_twice_is_releasing_once(self, sandbox: Sandbox, tmp_path: Path) -> None:
        handle = await self._handle(sandbox, tmp_path, "export default () => 1")

        await handle.release()
        await handle.release()

        assert not handle.usable

    async def test_closing_twice_is_closing_once(self, sandbox: Sandbox) -> None:
        await sandbox.close()
        await sandbox.close()

    async def test_files_are_read_and_made(self, sandbox: Sandbox, tmp_path: Path) -> None:
        files = MemoryFiles()
        content = bytes(range(256)) * 2000
        given = Encoded(json=b'{"doc":null}', files=(("/doc", files.add(content, "in.bin", "text/x")),))
        source = """export default async ({ doc }) => {
            const bytes = await doc.bytes()
            return { name: doc.name, size: doc.size, type: doc.type, same: doc, made: bytes.reverse() }
        }"""

        outcome = await self._run(sandbox, tmp_path, source, input=given, files=files.access)

        assert isinstance(outcome, Success), outcome
        made = dict(outcome.output.files)
        about = {"name": "in.bin", "size": len(content), "type": "text/x"}
        assert json.loads(outcome.output.json) == about | {"same": None, "made": None}
        assert made["/same"] == given.files[0][1]
        assert files.contents[made["/made"].sha256] == content[::-1]

    async def test_files_beyond_their_number_fail(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default (count) => Array.from({ length: count }, (_, n) => Buffer.from(`${n}`))"
        most, kept = self.limits.files, MemoryFiles()

        allowed = await self._run(sandbox, tmp_path, source, most, files=MemoryFiles().access)
        failure = _failure(await self._run(sandbox, tmp_path, source, most + 1, files=kept.access))

        assert isinstance(allowed, Success), allowed
        assert len(allowed.output.files) == most
        assert len(kept.contents) <= most
        assert failure.kind == "result_too_large"
        assert f"{most} files" in failure.message

    async def test_files_beyond_their_size_fail(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "export default (sizes) => sizes.map((size) => new Uint8Array(size))"
        most, kept = self.limits.files_bytes, MemoryFiles()

        allowed = await self._run(sandbox, tmp_path, source, [3, most - 3], files=MemoryFiles().access)
        failure = _failure(await self._run(sandbox, tmp_path, source, [4, most - 3], files=kept.access))

        assert isinstance(allowed, Success), allowed
        assert failure.kind == "result_too_large"
        assert f"{most} bytes" in failure.message
        assert sum(map(len, kept.contents.values())) <= most

    async def test_no_environment_of_ours_is_seen(
        self, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TURNOUT_TEST_SECRET", "hunter2")

        seen = _value(await self._run(sandbox, tmp_path, "export default () => JSON.stringify(process.env)"))

        assert "hunter2" not in seen

    async def test_a_job_without_a_connection_says_so(self, sandbox: Sandbox, tmp_path: Path) -> None:
        outcome = await self._run(sandbox, tmp_path, "export default () => 1")

        assert isinstance(outcome, Success)
        assert not outcome.network
        assert outcome.cpu_ms >= 0

    async def test_a_receipt_says_what_ran_where(self, sandbox: Sandbox, tmp_path: Path) -> None:
        handle = await self._handle(sandbox, tmp_path, "export default () => { throw new Error('no') }")
        fresh = handle.receipt()
        for _ in range(3):
            await handle.run(job("step.js"))
        used = handle.receipt()
        await handle.release()
        left = handle.receipt()

        assert fresh.sandbox
        assert (fresh.jobs, used.jobs, left.jobs) == (0, 3, 3)
        assert used.memory_bytes == self.limits.memory_bytes
        assert (used.sandbox, used.layers, used.uid) == (fresh.sandbox, fresh.layers, fresh.uid)
        assert (left.sandbox, left.layers, left.uid) == (fresh.sandbox, fresh.layers, fresh.uid)
        assert left.cpu_ms >= used.cpu_ms > 0
        assert left.peak_memory_bytes > 0

    async def test_a_receipt_is_measured_from_outside(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = """
            const nothing = { rss: 0, heapTotal: 0, heapUsed: 0, external: 0, arrayBuffers: 0, user: 0, system: 0, maxRSS: 0 }
            for (const name of ['memoryUsage', 'cpuUsage', 'resourceUsage']) process[name] = () => nothing
            process.hrtime.bigint = () => 0n
            performance.now = Date.now = () => 0
            export default ({ bytes, rounds }) => {
                globalThis.kept = new Uint8Array(bytes).fill(1)
                let sum = 0
                for (let n = 0; n < rounds; n++) sum += Math.sqrt(n)
                return sum > 0
            }"""
        handle = await self._handle(sandbox, tmp_path, source)
        await handle.run(job("step.js", {"bytes": 1, "rounds": 1}))
        little = handle.receipt()

        outcome = await handle.run(job("step.js", {"bytes": 40_000_000, "rounds": 200_000_000}))

        much = handle.receipt()
        await handle.release()
        assert _value(outcome) is True
        assert much.cpu_ms >= little.cpu_ms + 50
        assert much.peak_memory_bytes >= little.peak_memory_bytes + 30_000_000
        assert handle.receipt().peak_memory_bytes >= little.peak_memory_bytes + 30_000_000


def _value(outcome: Outcome) -> Any:
    assert isinstance(outcome, Success), outcome
    return json.loads(outcome.output.json)


def _failure(outcome: Outcome) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome
