"""What hostile or clumsy code can do to its own process, and cannot do to another's or to us."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from turnout.interfaces.sandbox import Failure, Limits, Outcome, Success
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.execution import LogLine
from turnout.model.payload import Encoded
from turnout.testing.sandbox import bundle_of, job

from .process_states import runs


@pytest.fixture
async def sandbox() -> AsyncIterator[ProcessSandbox]:
    sandbox = ProcessSandbox(warm_floor=1, warm_ceiling=3)
    await sandbox.start()
    yield sandbox
    await sandbox.close()


Run = Callable[..., Awaitable[Outcome]]


@pytest.fixture
def run(sandbox: ProcessSandbox, tmp_path: Path) -> Run:
    async def run(source: str, data: object = None, **fields: Any) -> Outcome:
        bundle = bundle_of(tmp_path / str(len(list(tmp_path.iterdir()))), {"step.js": source})
        handle = await sandbox.acquire("acme", bundle, Limits(memory_bytes=64 * 1024 * 1024))
        try:
            return await asyncio.wait_for(handle.run(job("step.js", data, **fields)), 30)
        finally:
            await handle.release()

    return run


def _output_of(outcome: Outcome) -> Any:
    assert isinstance(outcome, Success), outcome
    return json.loads(outcome.output.json)


POISON = """
globalThis.XMLHttpRequest = null
console.log = () => {}
Object.prototype.poisoned = 'yes'
export default () => 'done'
"""
PROBE = """
export default () => {
  console.log('heard')
  return { request: 'XMLHttpRequest' in globalThis, poisoned: ({}).poisoned ?? 'no' }
}
"""


async def test_globals_poisoned_in_one_execution_do_not_reach_another(sandbox: ProcessSandbox, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, {"poison.js": POISON, "probe.js": PROBE})
    lines: list[LogLine] = []

    first = await sandbox.acquire("acme", bundle_of(tmp_path, {"poison.js": POISON}), Limits())
    await first.run(job("poison.js"))
    await first.release()
    second = await sandbox.acquire("globex", bundle_of(tmp_path, {"probe.js": PROBE}), Limits())
    outcome = await second.run(job("probe.js", log=lines.append))
    await second.release()

    assert bundle.modules == ("poison.js", "probe.js")
    assert _output_of(outcome) == {"request": False, "poisoned": "no"}
    assert [line.message for line in lines] == ["heard"]


async def test_control_the_same_poison_does_reach_the_next_job_of_a_shared_process(
    sandbox: ProcessSandbox, tmp_path: Path
) -> None:
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"poison.js": POISON, "probe.js": PROBE}), Limits())
    lines: list[LogLine] = []

    await handle.run(job("poison.js"))
    outcome = await handle.run(job("probe.js", log=lines.append))
    await handle.release()

    assert _output_of(outcome) == {"request": True, "poisoned": "yes"}
    assert lines == []


HIJACKS = [
    "JSON.stringify = () => '\"forged\"'",
    "JSON.parse = () => 'forged'",
    "Array.prototype.map = Array.prototype.push = () => { throw new Error('hijacked') }",
    "globalThis.Promise = class {}",
    "Promise.prototype.then = function () { return this }",
    "Buffer.from = Buffer.allocUnsafeSlow = () => { throw new Error('hijacked') }",
    "String.prototype.slice = String.prototype.replace = () => 'forged'",
    "RegExp.prototype.exec = () => { throw new Error('hijacked') }",
    "Function.prototype.call = Function.prototype.apply = () => 'forged'",
    "process.reallyExit = process.cpuUsage = () => ({})",
    "Uint8Array.prototype.__proto__.set = () => {}",
    "Map.prototype.get = Map.prototype.set = () => 'forged'",
    "process.removeAllListeners()",
]


@pytest.mark.parametrize("hijack", HIJACKS)
async def test_a_hijacked_builtin_changes_neither_results_nor_failures(
    sandbox: ProcessSandbox, tmp_path: Path, hijack: str
) -> None:
    source = f"export default (input) => {{ {hijack}; if (input.fail) throw new TypeError('told'); return {{ n: input.n }} }}"
    handle = await sandbox.acquire("acme", bundle_of(tmp_path, {"step.js": source}), Limits())

    first = await handle.run(job("step.js", {"n": 1}))
    second = await handle.run(job("step.js", {"n": 2}))
    third = await handle.run(job("step.js", {"fail": True}))
    await handle.release()

    assert [_output_of(first), _output_of(second)] == [{"n": 1}, {"n": 2}]
    assert isinstance(third, Failure)
    assert (third.kind, third.message) == ("TypeError", "told")


async def test_a_result_written_to_the_channel_by_the_code_itself_is_refused(run: Run) -> None:
    source = """import fs from 'node:fs'
    export default () => {
      const body = Buffer.from('"forged"'), meta = Buffer.from('{"cpu_ms":0,"network":false,"files":[]}')
      const head = Buffer.alloc(17); head[0] = 3; head.writeUInt32BE(meta.length, 9); head.writeUInt32BE(body.length, 13)
      fs.writeSync(3, Buffer.concat([head, meta, body]))
      return 'honest'
    }"""

    outcome = await run(source)

    assert isinstance(outcome, Failure)
    assert outcome.kind == "crashed"
    assert "channel" in outcome.message


@pytest.mark.parametrize(
    ("source", "kind", "part"),
    [
        ("export default () => { process.exit(3) }", "crashed", "process.exit(3)"),
        ("export default () => process.kill(process.pid, 'SIGKILL')", "crashed", "signal 9"),
        ("export default () => { require }", "ReferenceError", "require"),
        ("export default () => { throw null }", "Error", "null"),
        ("export default () => { throw { code: 7 } }", "Error", "code: 7"),
        ("export default () => { throw new Proxy({}, { get() { throw 1 } }) }", "Error", ""),
        (
            "export default () => { setTimeout(() => { throw new RangeError('late') }); return new Promise(() => {}) }",
            "RangeError",
            "late",
        ),
        (
            "export default async () => { Promise.reject(new RangeError('lost')); await new Promise((r) => setTimeout(r, 50)) }",
            "RangeError",
            "lost",
        ),
        ("await new Promise(() => {}); export default () => 1", "crashed", "never settled"),
        ("throw new Error('at the top'); export default 1", "import", "at the top"),
        ("export default (i) => { const all = []; for (;;) all.push(Buffer.alloc(10_000_000, 1)) }", "memory", "64 MB"),
        ("export default () => { const f = () => f(); f() }", "RangeError", "call stack"),
        (
            "export default () => { let a = []; for (let n = 0; n < 1e6; n++) a = [a]; return a }",
            "not_json",
            "call stack",
        ),
    ],
)
async def test_what_goes_wrong_is_told_by_kind(run: Run, source: str, kind: str, part: str) -> None:
    outcome = await run(source)

    assert isinstance(outcome, Failure), outcome
    assert outcome.kind == kind
    assert part in outcome.message


async def test_a_big_integer_has_every_digit(run: Run) -> None:
    assert _output_of(await run("export default () => 10n ** 400n")) == 10**400


async def test_lines_without_text_use_the_log_up_too(run: Run) -> None:
    lines: list[LogLine] = []

    await run("export default () => { for (let n = 0; n < 70_000; n++) console.log('') }", log=lines.append)

    assert "the log ends here" in lines[-1].message
    assert len(lines) <= Limits().log_bytes / 16 + 1


async def test_a_stack_is_not_taken_at_its_word(run: Run) -> None:
    places = "`no\\n    at /bundle/step.js:${'9'.repeat(5000)}:1\\n    at ${'a (:1'.repeat(10_000)}`"

    outcome = await run(f"export default () => {{ throw Object.assign(new Error('no'), {{ stack: {places} }}) }}")

    assert outcome == Failure(kind="Error", message="no", stack="Error: no")


async def test_a_flood_of_output_neither_blocks_nor_fills_us(run: Run) -> None:
    lines: list[LogLine] = []

    outcome = await run(
        "export default () => { const x = 'y'.repeat(1000) + '\\n'; for (;;) { process.stdout.write(x); console.log(x) } }",
        timeout_s=1.0,
        log=lines.append,
    )

    assert isinstance(outcome, Failure)
    assert outcome.kind in ("timeout", "memory")  # Node keeps what it has written until the loop turns
    assert sum(len(line.message) for line in lines) <= Limits().log_bytes + 1000
    assert "the log ends here" in lines[-1].message


async def test_what_the_code_started_ends_with_it(run: Run) -> None:
    source = """import { spawn } from 'node:child_process'
    export default () => [spawn('sleep', ['1000']), spawn('sleep', ['1000'], { detached: true })].map((child) => child.pid)"""

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
    ("source", "network"),
    [
        ("import 'node:http'; export default () => 1", False),
        (
            "import net from 'node:net'; export default () => new Promise((done) => net.connect(9, '127.0.0.1').on('error', () => done(1)))",
            True,
        ),
        ("export default () => fetch('http://127.0.0.1:8409').catch(() => 1)", True),
        (
            "import { Worker } from 'node:worker_threads'; export default () => { new Worker('1', { eval: true }); return 1 }",
            True,
        ),
        ("import { execSync } from 'node:child_process'; export default () => 1", True),
        ("import dgram from 'node:dgram'; export default () => { dgram.createSocket('udp4').close(); return 1 }", True),
    ],
)
async def test_whether_code_used_the_network_is_known(run: Run, source: str, network: bool) -> None:
    outcome = await run(source)

    assert isinstance(outcome, Success), outcome
    assert outcome.network is network


async def test_keys_and_texts_that_are_odd_survive(run: Run) -> None:
    deep = "[" * 190 + "]" * 190
    text = r'{"__proto__":{"a":1},"":"","deep":DEEP,"pair":"\ud83d\ude00","half":"\ud800","slash":"\\ud800"}'

    outcome = await run("export default (input) => input", input=Encoded(json=text.replace("DEEP", deep).encode()))

    back = _output_of(outcome)
    assert back["__proto__"] == {"a": 1}
    assert back["pair"] == "😀"
    assert back["half"] == "�"
    assert back["slash"] == "\\ud800"
    assert json.dumps(back["deep"]).count("[") == 190


async def test_causes_and_gathered_errors_are_shown(run: Run) -> None:
    source = """export default () => {
      throw new Error('outer', { cause: new AggregateError([new TypeError('one'), 'two'], 'several') })
    }"""

    outcome = await run(source)

    assert isinstance(outcome, Failure)
    assert "Caused by: AggregateError: several" in outcome.stack
    assert "[1] TypeError: one" in outcome.stack
    assert "[2] Error: thrown: two" in outcome.stack
    assert os.sep + "step.js" not in outcome.stack
