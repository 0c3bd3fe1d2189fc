"""What hostile or clumsy Python can do to its own process, and cannot do to another's or to us."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from turnout.interfaces.sandbox import Failure, Limits, Outcome, Success
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.execution import LogLine
from turnout.model.payload import Encoded
from turnout.testing.python_sandbox import python_bundle
from turnout.testing.sandbox import job

from .process_states import runs


@pytest.fixture
async def sandbox() -> AsyncIterator[ProcessSandbox]:
    sandbox = ProcessSandbox(warm_floor=1, warm_ceiling=3)
    yield sandbox
    await sandbox.close()


Run = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def run(sandbox: ProcessSandbox, tmp_path: Path) -> Run:
    async def run(source: str, data: object = None, **fields: Any) -> Outcome:
        bundle = python_bundle(tmp_path / str(len(list(tmp_path.iterdir()))), source)
        handle = await sandbox.acquire("acme", bundle, Limits(memory_bytes=64 * 1024 * 1024))
        try:
            return await asyncio.wait_for(handle.run(job("step.py", data, **fields)), 30)
        finally:
            await handle.release()

    return run


def _output_of(outcome: Outcome) -> Any:
    assert isinstance(outcome, Success), outcome
    return json.loads(outcome.output.json)


HIJACKS = [
    "import builtins; builtins.len = builtins.isinstance = builtins.hasattr = lambda *a: 1 / 0",
    "import builtins; builtins.dict = builtins.str = builtins.enumerate = builtins.getattr = None",
    "import builtins; del builtins.__import__",
    "import json; json.dumps = json.loads = json.encoder.JSONEncoder.encode = lambda *a, **k: '\"forged\"'",
    "import os; os.read = os.write = os.writev = os._exit = lambda *a: 1 / 0",
    "import time; time.monotonic = time.process_time = lambda: 1 / 0",
    "import sys; sys.modules.clear()",
    "import sys; sys.stdout = sys.stderr = None",
    "import logging; logging.Handler.handle = logging.Logger.info = lambda *a: 1 / 0",
    "import importlib._bootstrap as b; b._find_and_load = lambda *a: 1 / 0",
    "import sys; sys.path[:] = []; sys.meta_path[:] = []",
    "import sys; sys.settrace(lambda *a: 1 / 0)",
    "import sys; sys.setprofile(lambda *a: 1 / 0)",
    "import struct; struct.Struct.pack = None",
]


@pytest.mark.parametrize("hijack", HIJACKS)
async def test_a_hijacked_builtin_changes_neither_results_nor_failures(
    sandbox: ProcessSandbox, tmp_path: Path, hijack: str
) -> None:
    source = f"""
def hijack():
    try:
        exec({hijack!r})
    except Exception:
        pass
def main(input, context):
    hijack()
    if input.get('fail'): raise TypeError('told')
    return {{'n': input['n']}}
"""
    handle = await sandbox.acquire("acme", python_bundle(tmp_path, source), Limits())

    first = await handle.run(job("step.py", {"n": 1}))
    second = await handle.run(job("step.py", {"n": 2}))
    third = await handle.run(job("step.py", {"fail": True}))
    await handle.release()

    assert [_output_of(first), _output_of(second)] == [{"n": 1}, {"n": 2}]
    assert isinstance(third, Failure)
    assert (third.kind, third.message) == ("TypeError", "told")


async def test_what_one_execution_replaced_another_has_whole(run: Run) -> None:
    poison = "import builtins, json\ndef main(i, c):\n  builtins.poison = json.poison = 1\n  return 'done'"
    probe = "import builtins, json\ndef main(i, c): return [hasattr(builtins, 'poison'), hasattr(json, 'poison')]"

    first = _output_of(await run(poison))
    second = _output_of(await run(probe))

    assert first == "done"
    assert second == [False, False]


async def test_control_in_one_process_it_is_seen(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    source = """import builtins
def main(input, context):
    before = hasattr(builtins, 'poison')
    builtins.poison = 1
    return before
"""
    handle = await sandbox.acquire("acme", python_bundle(tmp_path, source), Limits())

    seen = [_output_of(await handle.run(job("step.py"))) for _ in range(2)]
    await handle.release()

    assert seen == [False, True]


async def test_a_result_written_to_the_channel_by_the_code_itself_is_refused(run: Run) -> None:
    source = """import os, struct
def main(input, context):
    body, meta = b'"forged"', b'{"cpu_ms":0,"network":false,"files":[]}'
    os.write(3, struct.pack('>B8sII', 3, bytes(8), len(meta), len(body)) + meta + body)
    return 'honest'
"""

    outcome = await run(source)

    assert isinstance(outcome, Failure)
    assert outcome.kind == "crashed"
    assert "channel" in outcome.message


@pytest.mark.parametrize(
    ("body", "kind", "part"),
    [
        ("import sys; sys.exit(3)", "crashed", "sys.exit(3)"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("import os; os._exit(3)", "crashed", "exit status 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "crashed", "signal 9"),
        ("import ctypes; ctypes.string_at(0)", "crashed", "signal 11"),
        ("undefined", "NameError", "undefined"),
        ("f = lambda: f(); f()", "RecursionError", "maximum recursion"),
        ("class E(Exception):\n    __str__ = lambda s: 1 / 0\n  raise E", "E", "cannot be shown"),
        ("import os; os.close(3)", "crashed", "before the code returned"),
        ("return bytes(10 ** 12)", "memory", "64 MB"),
        ("return 'x' * 10 ** 12", "memory", "64 MB"),
    ],
)
async def test_what_goes_wrong_is_told_by_kind(run: Run, body: str, kind: str, part: str) -> None:
    outcome = await run(f"def main(input, context):\n  {body}")

    assert isinstance(outcome, Failure), outcome
    assert outcome.kind == kind
    assert part in outcome.message


async def test_a_deep_result_is_told(run: Run) -> None:
    outcome = await run("def main(i, c):\n  a = []\n  for n in range(100_000): a = [a]\n  return a")

    assert isinstance(outcome, Failure)
    assert outcome.kind == "not_json"


async def test_a_fork_has_nothing_to_say(run: Run) -> None:
    outcome = await run("import os\ndef main(i, c):\n  os.fork()\n  return 'once'")

    assert isinstance(outcome, Success)
    assert outcome.network
    assert json.loads(outcome.output.json) == "once"


async def test_a_thread_that_goes_on_disturbs_no_later_job(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    source = """import threading
def talk():
    while True: print('still here')
def main(input, context):
    if input == 0: threading.Thread(target=talk).start()
    return input
"""
    handle = await sandbox.acquire("acme", python_bundle(tmp_path, source), Limits(log_bytes=20_000))

    values = [_output_of(await handle.run(job("step.py", n))) for n in range(20)]
    await handle.release()

    assert values == list(range(20))


async def test_what_the_code_started_ends_with_it(run: Run) -> None:
    source = """import subprocess
def main(input, context):
    return [subprocess.Popen(['sleep', '1000'], start_new_session=detached).pid for detached in (False, True)]
"""

    outcome = await run(source)

    assert isinstance(outcome, Success)
    assert outcome.network
    for pid in _output_of(outcome):
        for _ in range(100):
            if not runs(pid):
                break
            await asyncio.sleep(0.01)
        assert not runs(pid)


@pytest.mark.parametrize(
    ("body", "network"),
    [
        ("import http.client, urllib.request, asyncio", False),
        ("import socket; socket.socket().connect_ex(('127.0.0.1', 9))", True),
        ("import socket; socket.socket(type=socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))", True),
        ("import os; os.system('true')", True),
        ("import ctypes; ctypes.CDLL(None)", True),
    ],
)
async def test_whether_code_used_the_network_is_known(run: Run, body: str, network: bool) -> None:
    outcome = await run(f"def main(input, context):\n  {body}")

    assert isinstance(outcome, Success), outcome
    assert outcome.network is network


async def test_output_of_other_programs_and_of_the_buffer_is_heard(run: Run) -> None:
    lines: list[LogLine] = []
    source = """import subprocess, sys
def main(input, context):
    subprocess.run(['echo', 'from a program'])
    sys.stdout.buffer.write(b'from the buffer\\n')
"""

    await run(source, log=lines.append)

    assert [line.message for line in lines] == ["from a program", "from the buffer"]


async def test_a_flood_of_output_neither_blocks_nor_fills_us(run: Run) -> None:
    lines: list[LogLine] = []

    outcome = await run(
        "import os\ndef main(i, c):\n  while True: print('y' * 1000); os.write(1, b'z' * 1000)",
        timeout_s=1.0,
        log=lines.append,
    )

    assert isinstance(outcome, Failure)
    assert outcome.kind == "timeout"
    assert sum(len(line.message) for line in lines) <= Limits().log_bytes + 1000
    assert "the log ends here" in lines[-1].message


async def test_keys_and_texts_that_are_odd_survive(run: Run) -> None:
    deep = "[" * 190 + "]" * 190
    text = r'{"":"","deep":DEEP,"pair":"\ud83d\ude00","slash":"\\ud800"}'
    source = "def main(i, c): return {**i, 'half': '\\ud800', 1: True, None: 'n'}"

    back = _output_of(await run(source, input=Encoded(json=text.replace("DEEP", deep).encode())))

    assert back["pair"] == "😀"
    assert back["half"] == "\ufffd"
    assert back["slash"] == "\\ud800"
    assert (back["1"], back["null"]) == (True, "n")
    assert json.dumps(back["deep"]).count("[") == 190


async def test_causes_groups_and_notes_are_shown(run: Run) -> None:
    source = """
def main(input, context):
    try:
        raise ExceptionGroup('several', [TypeError('one'), ValueError('two')])
    except ExceptionGroup as error:
        error.add_note('a note')
        raise RuntimeError('outer') from error
"""

    outcome = await run(source)

    assert isinstance(outcome, Failure)
    assert (outcome.kind, outcome.message) == ("RuntimeError", "outer")
    assert "Caused by: ExceptionGroup: several (2 sub-exceptions)\na note" in outcome.stack
    assert "[1] TypeError: one" in outcome.stack
    assert "step.py:7:9" in outcome.stack


async def test_a_step_may_be_called_as_a_module_of_the_standard_library_is(
    sandbox: ProcessSandbox, tmp_path: Path
) -> None:
    python_bundle(tmp_path, "")
    (tmp_path / "steps").mkdir()
    (tmp_path / "json.py").write_text("def main(i, c): return 'mine'")
    (tmp_path / "steps" / "a.b.py").write_text("def main(i, c): return 'dots'")
    (tmp_path / "steps" / "one.py").write_text("from . import two\ndef main(i, c): return two.x")
    (tmp_path / "steps" / "two.py").write_text("x = 2")
    handle = await sandbox.acquire("acme", python_bundle(tmp_path, ""), Limits())

    names = ("json.py", "steps/a.b.py", "steps/one.py")
    values = [_output_of(await handle.run(job(name))) for name in names]
    await handle.release()

    assert values == ["mine", "dots", 2]
