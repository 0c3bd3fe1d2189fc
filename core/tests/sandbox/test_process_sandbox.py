"""The `process` sandbox keeps the contract, on asyncio and on uvloop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import uvloop
from turnout.interfaces.sandbox import Limits, Outcome, Sandbox, Success
from turnout.local.process_sandbox import ProcessSandbox
from turnout.model.execution import LogLine
from turnout.testing.sandbox import SandboxContract, bundle_of, job


class TestProcessSandbox(SandboxContract):
    @pytest.fixture
    async def sandbox(self) -> AsyncIterator[Sandbox]:
        sandbox = ProcessSandbox(warm_floor=1, warm_ceiling=3)
        await sandbox.start()
        yield sandbox
        await sandbox.close()


async def test_start_says_what_is_not_isolated() -> None:
    sandbox = ProcessSandbox(warm_floor=0)

    notes = await sandbox.start()

    assert "isolates nothing but the process" in " ".join(notes)
    assert sandbox.isolates == frozenset()
    await sandbox.close()


def test_it_runs_on_uvloop_too(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, {"step.js": "export default (text) => { console.log('seen'); return text }"})
    lines: list[LogLine] = []

    async def run() -> list[Outcome]:
        sandbox = ProcessSandbox(warm_floor=1)
        await sandbox.start()
        outcomes: list[Outcome] = []
        for _ in range(3):
            handle = await sandbox.acquire("acme", bundle, Limits())
            outcomes.append(await handle.run(job("step.js", "x" * 1_000_000, log=lines.append)))
            await handle.release()
        await sandbox.close()
        return outcomes

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcomes = runner.run(run())

    assert [len(outcome.output.json) for outcome in outcomes if isinstance(outcome, Success)] == [1_000_002] * 3
    assert [line.message for line in lines] == ["seen"] * 3
