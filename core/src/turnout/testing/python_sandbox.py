"""The contract of a `Sandbox` that has `python` among its languages: subclass `PythonSandboxContract`, override the fixture
`sandbox`, and every promise is a test, as in `turnout.testing.sandbox`.

Code is Python, written into a bundle of its own for each test.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from turnout.interfaces.sandbox import CodeBundle, Failure, Limits, Outcome, Sandbox, SandboxHandle, Success
from turnout.model.execution import LogLine
from turnout.model.payload import Encoded
from turnout.testing.sandbox import MemoryFiles, bundle_of, job

__all__ = ["PythonSandboxContract", "python_bundle"]


def python_bundle(directory: Path, source: str, **others: str) -> CodeBundle:
    """A bundle whose one entry is `step.py`, with other modules by their names."""
    modules = {"step.py": source} | {f"{name}.py": text for name, text in others.items()}
    bundle = bundle_of(directory, modules)
    return CodeBundle(hash=bundle.hash, directory=bundle.directory, modules=("step.py",), language="python")


class PythonSandboxContract:
    """What every sandbox that runs Python promises. Tests take a started `sandbox` and a `tmp_path`."""

    limits = Limits(
        memory_bytes=64 * 1024 * 1024, result_bytes=1024 * 1024, files=20, files_bytes=8_000_000, log_bytes=10_000
    )

    @pytest.fixture
    def sandbox(self) -> Sandbox:
        raise NotImplementedError("override the fixture `sandbox` with a started one of yours")

    async def _handle(self, sandbox: Sandbox, tmp_path: Path, source: str, **others: str) -> SandboxHandle:
        return await sandbox.acquire("acme", python_bundle(tmp_path / "bundle", source, **others), self.limits)

    async def _run(self, sandbox: Sandbox, tmp_path: Path, source: str, data: Any = None, **fields: Any) -> Outcome:
        handle = await self._handle(sandbox, tmp_path, source)
        try:
            return await handle.run(job("step.py", data, **fields))
        finally:
            await handle.release()

    async def test_python_is_declared(self, sandbox: Sandbox) -> None:
        assert "python" in sandbox.languages

    async def test_main_is_called_with_input_and_context(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "def main(input, context): return {'got': input, 'execution': context.execution}"

        outcome = await self._run(sandbox, tmp_path, source, {"a": [1, "ü", None, 1.5, True]})

        assert _value(outcome) == {"got": {"a": [1, "ü", None, 1.5, True]}, "execution": "e1"}

    @pytest.mark.parametrize("header", ["def main(input):", "def main():", "def main(*given):"])
    async def test_main_may_take_less(self, sandbox: Sandbox, tmp_path: Path, header: str) -> None:
        assert _value(await self._run(sandbox, tmp_path, f"{header}\n    return 7")) == 7

    async def test_an_async_main_is_waited_for(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "import asyncio\nasync def main(input, context):\n  await asyncio.sleep(0.005)\n  return 7"

        assert _value(await self._run(sandbox, tmp_path, source)) == 7

    async def test_integers_keep_every_digit(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "def main(input, context): return {'same': input['big'], 'next': input['big'] + 1, 'large': 10 ** 400}"

        outcome = await self._run(sandbox, tmp_path, source, {"big": 12345678901234567890})

        assert isinstance(outcome, Success), outcome
        same = b'{"same":12345678901234567890,"next":12345678901234567891,"large":1' + b"0" * 400 + b"}"
        assert outcome.output.json == same

    async def test_log_lines_come_in_order_with_their_level(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = """import logging, sys
def main(input, context):
    print('a', {'b': 1})
    logging.getLogger('lib').debug('not shown')
    logging.info('c')
    context.logger.debug('d %s', 1)
    print('e', file=sys.stderr)
    logging.warning('f')
    print('g', end='')
"""
        lines: list[LogLine] = []

        await self._run(sandbox, tmp_path, source, log=lines.append)

        told = [(line.level, line.message) for line in lines]
        assert told == [
            ("info", "a {'b': 1}"),
            ("info", "c"),
            ("debug", "d 1"),
            ("error", "e"),
            ("warning", "f"),
            ("info", "g"),
        ]

    async def test_a_log_without_end_is_cut(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "def main(input, context):\n  for n in range(20000): print('x' * 100)\n  return 1"
        lines: list[LogLine] = []

        outcome = await self._run(sandbox, tmp_path, source, log=lines.append)

        assert _value(outcome) == 1
        assert sum(len(line.message) for line in lines) < 2 * self.limits.log_bytes

    async def test_an_exception_has_its_name_and_the_customers_frames(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "def look(x):\n    return x['y']\ndef main(input, context):\n    return look({})\n"

        failure = _failure(await self._run(sandbox, tmp_path, source))

        assert (failure.kind, failure.message) == ("KeyError", "'y'")
        assert failure.stack.splitlines() == [
            "KeyError: 'y'",
            "    at look (step.py:2:12)",
            "    at main (step.py:4:12)",
        ]

    @pytest.mark.parametrize(
        ("source", "part"),
        [
            ("def main(:\n  pass", "step.py:1"),
            ("import no_such_package", "no_such_package"),
            ("import broken\ndef main(): ...", "broken.py:2"),
            ("raise ValueError('at the top')", "at the top"),
        ],
    )
    async def test_code_that_cannot_be_loaded_fails_with_import(
        self, sandbox: Sandbox, tmp_path: Path, source: str, part: str
    ) -> None:
        handle = await self._handle(sandbox, tmp_path, source, broken="x = 1\n)")

        failure = _failure(await handle.run(job("step.py")))
        await handle.release()

        assert failure.kind == "import"
        assert failure.message.startswith("step.py cannot be loaded: ")
        assert part in failure.message

    @pytest.mark.parametrize("source", ["x = 1", "main = 1"])
    async def test_a_missing_main_is_named(self, sandbox: Sandbox, tmp_path: Path, source: str) -> None:
        failure = _failure(await self._run(sandbox, tmp_path, source))

        assert failure.kind == "no_main"
        assert "def main(input, context)" in failure.message

    async def test_a_neighbour_and_the_standard_library_can_be_imported(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = """import csv, decimal, io, xml.etree.ElementTree, zoneinfo
import neighbour
def main(input, context): return [neighbour.twice(4), list(csv.reader(io.StringIO('a,b')))]
"""
        handle = await self._handle(sandbox, tmp_path, source, neighbour="def twice(x): return 2 * x")

        outcome = await handle.run(job("step.py"))
        await handle.release()

        assert _value(outcome) == [8, [["a", "b"]]]

    async def test_a_module_imported_late_is_found(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "def main(input, context):\n  import late, wave, colorsys\n  return late.x"
        handle = await self._handle(sandbox, tmp_path, source, late="x = 5")

        outcome = await handle.run(job("step.py"))
        await handle.release()

        assert _value(outcome) == 5

    @pytest.mark.parametrize(
        "result", ["object()", "{1, 2}", "float('nan')", "(lambda a: (a.append(a), a)[1])([])", "main", "{(1, 2): 3}"]
    )
    async def test_a_result_that_is_not_json_fails(self, sandbox: Sandbox, tmp_path: Path, result: str) -> None:
        source = f"def main(input, context): return {result}"

        assert _failure(await self._run(sandbox, tmp_path, source)).kind == "not_json"

    async def test_a_result_beyond_the_limit_fails(self, sandbox: Sandbox, tmp_path: Path) -> None:
        failure = _failure(await self._run(sandbox, tmp_path, "def main(i, c): return 'x' * 2 * 1024 * 1024"))

        assert failure.kind == "result_too_large"

    async def test_a_busy_loop_is_ended_at_the_time_out(self, sandbox: Sandbox, tmp_path: Path) -> None:
        handle = await self._handle(sandbox, tmp_path, "def main(i, c):\n  while True: pass")

        failure = _failure(await asyncio.wait_for(handle.run(job("step.py", timeout_s=0.3)), 10))

        assert failure.kind == "timeout"
        assert not handle.usable
        await handle.release()

    @pytest.mark.parametrize("grow", ["all.append([len(all)] * 1000)", "all.append(bytes(10_000_000))"])
    async def test_memory_is_limited(self, sandbox: Sandbox, tmp_path: Path, grow: str) -> None:
        source = f"def main(i, c):\n  all = []\n  while True: {grow}"

        failure = _failure(await self._run(sandbox, tmp_path, source, timeout_s=60.0))

        assert failure.kind == "memory"
        assert "64 MB" in failure.message

    async def test_ending_the_process_is_a_failure_and_the_handle_is_spent(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        handle = await self._handle(sandbox, tmp_path, "import os\ndef main(i, c): os._exit(0)")

        failure = _failure(await handle.run(job("step.py")))

        assert failure.kind == "crashed"
        assert not handle.usable
        await handle.release()

    async def test_jobs_of_one_handle_share_globals_and_no_other_sees_them(
        self, sandbox: Sandbox, tmp_path: Path
    ) -> None:
        source = "count = 0\ndef main(i, c):\n  global count\n  count += 1\n  return count"
        handle = await self._handle(sandbox, tmp_path, source)

        values = [_value(await handle.run(job("step.py"))) for _ in range(3)]
        await handle.release()
        others = [_value(await self._run(sandbox, tmp_path, source)) for _ in range(4)]

        assert values == [1, 2, 3]
        assert others == [1, 1, 1, 1]

    async def test_cancelling_ends_the_job_at_once(self, sandbox: Sandbox, tmp_path: Path) -> None:
        handle = await self._handle(sandbox, tmp_path, "def main(i, c):\n  print('on')\n  while True: pass")
        started = asyncio.Event()
        running = asyncio.ensure_future(handle.run(job("step.py", timeout_s=60.0, log=lambda line: started.set())))
        await asyncio.wait_for(started.wait(), 10)

        running.cancel()

        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(running, 5)
        assert not handle.usable
        await handle.release()

    async def test_files_are_read_and_made(self, sandbox: Sandbox, tmp_path: Path) -> None:
        files = MemoryFiles()
        content = bytes(range(256)) * 20_000
        given = Encoded(json=b'{"doc":null}', files=(("/doc", files.add(content, "in.bin", "text/x")),))
        source = """import io
def main(input, context):
    doc = input['doc']
    with doc.open() as file:
        start = file.read(3)
    made = context.file('text', name='a.txt', type='text/plain')
    return {'name': doc.name, 'size': doc.size, 'type': doc.type, 'same': doc, 'start': list(start),
            'made': [doc.read()[::-1]], 'stream': io.BytesIO(b'io'), 'a/b~c': made}
"""

        outcome = await self._run(sandbox, tmp_path, source, input=given, files=files.access)

        assert isinstance(outcome, Success), outcome
        made = dict(outcome.output.files)
        about = {"name": "in.bin", "size": len(content), "type": "text/x", "start": [0, 1, 2]}
        assert json.loads(outcome.output.json) == about | {"same": None, "made": [None], "stream": None, "a/b~c": None}
        assert made["/same"] == given.files[0][1]
        assert files.contents[made["/made/0"].sha256] == content[::-1]
        assert files.contents[made["/stream"].sha256] == b"io"
        assert (made["/a~1b~0c"].name, made["/a~1b~0c"].content_type) == ("a.txt", "text/plain")

    async def test_files_beyond_their_number_fail(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "def main(count, context): return [b'%d' % n for n in range(count)]"
        most, kept = self.limits.files, MemoryFiles()

        allowed = await self._run(sandbox, tmp_path, source, most, files=MemoryFiles().access)
        failure = _failure(await self._run(sandbox, tmp_path, source, most + 1, files=kept.access))

        assert isinstance(allowed, Success), allowed
        assert len(allowed.output.files) == most
        assert len(kept.contents) <= most
        assert failure.kind == "result_too_large"
        assert f"{most} files" in failure.message

    async def test_files_beyond_their_size_fail(self, sandbox: Sandbox, tmp_path: Path) -> None:
        source = "def main(sizes, context): return [bytes(size) for size in sizes]"
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

        seen = _value(await self._run(sandbox, tmp_path, "import os\ndef main(i, c): return dict(os.environ)"))

        assert "hunter2" not in seen.values()

    async def test_a_job_without_a_connection_says_so(self, sandbox: Sandbox, tmp_path: Path) -> None:
        outcome = await self._run(sandbox, tmp_path, "async def main(i, c): return 1")

        assert isinstance(outcome, Success)
        assert not outcome.network
        assert outcome.cpu_ms >= 0


def _value(outcome: Outcome) -> Any:
    assert isinstance(outcome, Success), outcome
    return json.loads(outcome.output.json)


def _failure(outcome: Outcome) -> Failure:
    assert isinstance(outcome, Failure), outcome
    return outcome
