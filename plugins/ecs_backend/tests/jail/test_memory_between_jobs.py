"""Threads of customers' code go on when its job is over, and before it has had one: what they hold then is bounded as in a job,
by the kernel and, where that is off, by the watch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from turnout.interfaces.sandbox import CodeBundle, Limits, Success
from turnout.sandbox.bundle_files import OverChannel
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.process import NodeProcess
from turnout.testing.python_sandbox import python_bundle
from turnout.testing.sandbox import job
from turnout_ecs.jail.launcher import ALL_LAYERS
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox
from turnout_ecs.jail.tree import find

_LIMITS = Limits(memory_bytes=64 << 20)
_WANTED_MB = 512
_HOLDING = """
import sys, threading, time
kept, refused = [], []
def hold(main):
    while sys._current_frames()[main].f_code.co_name != '_fill':
        time.sleep(0.001)
    try:
        for _ in range(16):
            kept.append(bytearray(b'1') * (32 << 20))
    except MemoryError:
        refused.append(1)
def start():
    threading.Thread(target=hold, args=(threading.get_ident(),), daemon=True).start()
def main(input, context):
    if input == 'start':
        start()
    return [32 * len(kept), bool(refused)]
"""
"""It begins when the thread of jobs waits for one."""
_AT_ONCE = f"{_HOLDING}\nstart()"
Start = Callable[[bool], Awaitable[NodeProcess]]


@pytest.fixture
async def sandbox(jail: Path) -> AsyncIterator[ChrootSandbox]:
    """Without cgroups, which would bound it too."""
    sandbox = ChrootSandbox(ChrootOptions(jail=jail, warm_floor=0, cgroup="off"))
    await sandbox.start()
    yield sandbox
    await sandbox.close()


@pytest.fixture
async def start(sandbox: ChrootSandbox, jail: Path) -> AsyncIterator[Start]:
    """A jail that is watched by whoever makes it be, with or without the kernel's limits."""
    async with AsyncExitStack() as stack:
        lifeline = Lifeline()
        stack.callback(lifeline.close)

        async def one(limited: bool) -> NodeProcess:
            setting = replace(sandbox.setting(find(jail)), language="python")
            launch = sandbox.jailed(replace(setting, layers=replace(ALL_LAYERS, rlimits=limited)))
            process = await NodeProcess.start(_LIMITS, lifeline, launch, OverChannel())
            stack.push_async_callback(process.end)
            return process

        yield one


async def test_the_watch_looks_at_what_a_job_left_behind(sandbox: ChrootSandbox, start: Start, tmp_path: Path) -> None:
    process = await start(False)  # noqa: FBT003
    asked = job("step.py", "start")

    sandbox._around.enter(process, asked)
    outcome = await Conversation(process, python_bundle(tmp_path, _HOLDING), asked, mapped=False).run()
    sandbox._around.leave(process)

    assert isinstance(outcome, Success), outcome
    assert await _is_ended_for_memory(process)


async def test_the_watch_looks_at_what_was_loaded_ahead(sandbox: ChrootSandbox, start: Start, tmp_path: Path) -> None:
    process = await start(False)  # noqa: FBT003

    await sandbox._prepare(process, python_bundle(tmp_path, _AT_ONCE))

    assert await _is_ended_for_memory(process)


async def test_the_kernel_bounds_it_by_itself(start: Start, tmp_path: Path) -> None:
    process = await start(True)  # noqa: FBT003
    bundle = python_bundle(tmp_path, _AT_ONCE)

    await process.prepare(bundle, mapped=False)

    assert await _held_mb(process, bundle) < _LIMITS.memory_bytes >> 20


async def test_where_neither_bounds_it_the_code_holds_what_it_likes(start: Start, tmp_path: Path) -> None:
    process = await start(False)  # noqa: FBT003
    bundle = python_bundle(tmp_path, _AT_ONCE)

    await process.prepare(bundle, mapped=False)

    assert await _held_mb(process, bundle) == _WANTED_MB


async def _is_ended_for_memory(process: NodeProcess) -> bool:
    """Though nobody asked anything of it."""
    async with asyncio.timeout(10):
        await asyncio.shield(process.exited)
    return process.out_of_memory


async def _held_mb(process: NodeProcess, bundle: CodeBundle) -> int:
    """What the thread got in the end."""
    held, refused = 0, False
    async with asyncio.timeout(10):
        while held < _WANTED_MB and not refused:
            outcome = await Conversation(process, bundle, job("step.py"), mapped=False).run()
            assert isinstance(outcome, Success), outcome
            held, refused = json.loads(outcome.output.json)
    return held
