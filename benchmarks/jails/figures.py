"""One measurement a function: each runs one side once and returns figures by name.

Whatever is run, its result is compared with what it must be; `Failed` otherwise, and no figure.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from turnout.interfaces.sandbox import CodeBundle, Job, Limits, Outcome, Sandbox, SandboxHandle, Success
from turnout.sandbox.conversation import Conversation
from turnout.sandbox.lifeline import Lifeline
from turnout.sandbox.process import NodeProcess
from turnout.testing.sandbox import bundle_of, job

from benchmarks.jails.bare import Echo, idle_bytes, start_cpu_ms
from benchmarks.jails.sides import Opened, Side
from benchmarks.processes import cpu_s, pss_bytes, tree
from benchmarks.systems import Failed

__all__ = ["QUICK", "Figures", "Sizes", "code", "floor_figures", "idle_figures", "side_figures"]

Figures = dict[str, float]

STEPS: Final = 6
_TENANT: Final = "customer"
_LIMITS: Final = Limits()
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of each measurement one round runs."""

    rounds: int = 5
    small: int = 100
    medium: int = 20
    large: int = 3
    steps: int = 30
    fresh: int = 20
    bare: int = 20
    reused: int = 3000
    idle: int = 16


QUICK = Sizes(rounds=2, small=20, medium=5, large=1, steps=5, fresh=5, bare=5, reused=500, idle=8)


def code(directory: Path) -> CodeBundle:
    """One step that gives back what it gets, and six that count."""
    counting = "export default (input) => ({ ...input, count: input.count + 1 });\n"
    steps = {f"step{number}.mjs": counting for number in range(STEPS)}
    return bundle_of(directory, {"echo.mjs": "export default (input) => input;\n", **steps})


def document(length: int) -> Any:
    """Records as customers have them, of about so many bytes of JSON."""
    record = {
        "id": 100000,
        "customer": "Müller & Söhne",
        "paid": True,
        "total": 129.9,
        "lines": [1, 2, 3],
        "note": None,
    }
    count = max(1, length // len(_text(record)))
    return {"count": 0, "records": [{**record, "id": 100000 + number} for number in range(count)]}


def _text(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


SMALL: Final = document(900)
MEDIUM: Final = document(100_000)
LARGE: Final = document(10_000_000)


def p99(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.99)]


def floor_figures(node: Path, echo: Echo, sizes: Sizes) -> Figures:
    """Bare Node: hot where it answers, fresh where it starts."""
    small, medium, large = map(_text, (SMALL, MEDIUM, LARGE))
    used = cpu_s(os.getpid())
    for _ in range(sizes.reused):
        echo.ms(small)
    used = cpu_s(os.getpid()) - used
    answered = [echo.ms(small) for _ in range(sizes.small)]
    starting = statistics.median(start_cpu_ms(node) for _ in range(sizes.bare))
    return {
        "small_p50_ms": statistics.median(answered),
        "small_p99_ms": p99(answered),
        "medium_ms": statistics.median(echo.ms(medium) for _ in range(sizes.medium)),
        "large_ms": statistics.median(echo.ms(large) for _ in range(sizes.large)),
        "steps_ms": statistics.median(sum(echo.ms(small) for _ in range(STEPS)) for _ in range(sizes.steps)),
        "fresh_cpu_ms": starting,
        "fresh_per_s": 1000 / starting,
        "idle_mb": idle_bytes(node, sizes.idle) / 1e6,
        "reused_per_s": sizes.reused / max(used, 0.01),
    }


async def side_figures(opened: Opened, bundle: CodeBundle, sizes: Sizes) -> Figures:
    """All of a sandbox but its idle memory."""
    small, medium, large = (_echo(value) for value in (SMALL, MEDIUM, LARGE))
    answered = [await _dispatch(opened.fresh, bundle, [small]) for _ in range(sizes.small)]
    figures = {
        "small_p50_ms": statistics.median(answered),
        "small_p99_ms": p99(answered),
        "medium_ms": statistics.median([await _dispatch(opened.fresh, bundle, [medium]) for _ in range(sizes.medium)]),
        "large_ms": statistics.median([await _dispatch(opened.fresh, bundle, [large]) for _ in range(sizes.large)]),
        "steps_ms": statistics.median([await _dispatch(opened.fresh, bundle, _steps()) for _ in range(sizes.steps)]),
    }
    figures |= await _fresh(opened, bundle, sizes.fresh)
    if opened.tenant is not None:
        figures["reused_per_s"] = await _reused(opened.tenant, bundle, small, sizes.reused)
    return figures


def _echo(value: Any) -> _Wanted:
    return _Wanted(job("echo.mjs", value), _text(value))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A job and the text that must come of it."""

    job: Job
    text: bytes

    def check(self, outcome: Outcome) -> None:
        if not isinstance(outcome, Success) or outcome.output.json != self.text:
            raise Failed(f"{self.job.module} of {len(self.text)} bytes gave {str(outcome)[:300]}")


def _steps() -> list[_Wanted]:
    return [
        _Wanted(job(f"step{number}.mjs", {**SMALL, "count": number}), _text({**SMALL, "count": number + 1}))
        for number in range(STEPS)
    ]


async def _dispatch(sandbox: Sandbox, bundle: CodeBundle, wanted: Sequence[_Wanted]) -> float:
    """Milliseconds from the wish for a sandbox, of which one is warm, to the last result."""
    await _warm(sandbox, bundle)
    start = time.perf_counter()
    handle = await sandbox.acquire(_TENANT, bundle, _LIMITS)
    try:
        outcomes = [await handle.run(each.job) for each in wanted]
        taken = (time.perf_counter() - start) * 1000
    finally:
        await handle.release()
    for each, outcome in zip(wanted, outcomes, strict=True):
        each.check(outcome)
    return taken


async def _warm(sandbox: Sandbox, bundle: CodeBundle) -> None:
    """Wait until a process that has loaded the code is on the shelf, which nobody had asked for before the first time."""
    stats = sandbox.stats()
    if stats is None or stats.idle == 0:
        handle: SandboxHandle = await sandbox.acquire(_TENANT, bundle, _LIMITS)
        await handle.release()
    async with asyncio.timeout(_PATIENCE_S):
        while (stats := sandbox.stats()) is None or stats.idle == 0:
            await asyncio.sleep(0.002)


async def _fresh(opened: Opened, bundle: CodeBundle, count: int) -> Figures:
    """A process from its start over one job to its end: what it takes itself, and how many a processor does, which has to
    do the supervisor's part as well."""
    source, lifeline, small = opened.side.source(), Lifeline(), _echo(SMALL)
    used = []
    before = _processor_s()
    for _ in range(count):
        process = await NodeProcess.start(_LIMITS, lifeline, opened.fresh.launch(), source)
        small.check(await Conversation(process, bundle, small.job, mapped=False).run())
        await process.end()
        used.append(process.cpu_ms)
    all_used = _processor_s() - before
    lifeline.close()
    return {"fresh_cpu_ms": statistics.median(used), "fresh_per_s": count / all_used}


def _processor_s() -> float:
    """Of this process and those that it has buried."""
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in own)


async def _reused(sandbox: Sandbox, bundle: CodeBundle, wanted: _Wanted, count: int) -> float:
    """Executions of one job a second of a processor, ours and the processes' own time together."""
    before = 0.0
    for number in range(count + 100):
        if number == 100:
            before = cpu_s(os.getpid())
        handle = await sandbox.acquire(_TENANT, bundle, _LIMITS)
        wanted.check(await handle.run(wanted.job))
        await handle.release()
    return count / max(cpu_s(os.getpid()) - before, 0.01)


async def idle_figures(side: Side, count: int) -> Figures:
    """Proportional memory of one of many that have booted and run nothing, with all that keeps it."""
    before = set(tree(os.getpid()))
    async with side.started(warm_floor=count, warm_ceiling=count + 1):
        started = set(tree(os.getpid())) - before
        return {"idle_mb": sum(map(pss_bytes, started)) / count / 1e6}
