"""The standard workloads as measurements: each runs one side once and returns its figures by name.

Every measurement ends with a check that each POST was received exactly once, with the right content, and that each
execution succeeded; `Failed` otherwise, and no figure.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.processes import PeakMemory, cpu_s
from benchmarks.systems import Failed, Harness, System

__all__ = ["QUICK", "WORKLOADS", "Figures", "Sizes", "peak_memory", "run_w1", "warm_up"]

Figures = dict[str, float]

PAUSE_MS = 150
"""Between the webhooks of the spaced latency: what a fresh process for the next execution needs, several times over."""

_names = itertools.count()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much of each workload one round runs."""

    rounds: int = 5
    latency_runs: int = 100
    throughput_runs: int = 1000
    concurrency: int = 16
    few_items: int = 500
    many_items: int = 5000
    memory_executions: int = 10_000


QUICK = Sizes(rounds=2, latency_runs=20, throughput_runs=100, few_items=100, many_items=500, memory_executions=1000)


def _name(workload: str) -> str:
    return f"{workload}-{next(_names)}"


def _check(world: Harness, system: System, executions: Sequence[str], posts: int) -> None:
    """Exactly `posts` different POSTs came, each once and right, and every execution succeeded."""
    system.await_success(executions)
    report = world.ask("report")
    if report["received"] != posts or report["repeated"] or report["wrong"]:
        raise Failed(f"{system.name}: {posts} POSTs expected, got {json.dumps(report, ensure_ascii=False)}")


def w1(world: Harness, system: System, sizes: Sizes) -> Figures:
    """The 6-step integration: latency one right after another, latency with a pause between, throughput and CPU at 16."""
    one = world.ask("sequence", url=system.hook("w1"), name=_name("w1"), runs=sizes.latency_runs, body={}, posts=1)
    _check(world, system, one["executions"], sizes.latency_runs)
    spaced = world.ask(
        "sequence",
        url=system.hook("w1"),
        name=_name("w1"),
        runs=sizes.latency_runs,
        body={},
        posts=1,
        pause_ms=PAUSE_MS,
    )
    _check(world, system, spaced["executions"], sizes.latency_runs)
    before = cpu_s(system.pid)
    many = run_w1(world, system, sizes.throughput_runs, sizes.concurrency)
    used = cpu_s(system.pid) - before
    latencies = sorted(one["ms"])
    return {
        "w1_p50_ms": statistics.median(latencies),
        "w1_spaced_p50_ms": statistics.median(spaced["ms"]),
        "w1_p99_ms": latencies[int(len(latencies) * 0.99)],
        "w1_runs_per_s": sizes.throughput_runs / (many / 1000),
        "w1_cpu_s_per_run": used / sizes.throughput_runs,
    }


def run_w1(world: Harness, system: System, runs: int, concurrency: int) -> float:
    """Milliseconds that W1 takes `runs` times, `concurrency` at a time."""
    done = world.ask("throughput", url=system.hook("w1"), name=_name("w1"), runs=runs, concurrency=concurrency)
    _check(world, system, done["executions"], runs)
    elapsed: float = done["elapsed_ms"]
    return elapsed


def w2(world: Harness, system: System, sizes: Sizes) -> Figures:
    """The loop over small files, short and ten times as long."""
    short = _loop(world, system, sizes.few_items)
    long = _loop(world, system, sizes.many_items)
    return {
        "w2_ms": short,
        "w2_item_us": short / sizes.few_items * 1000,
        "w2_long_ms": long,
        "w2_long_item_us": long / sizes.many_items * 1000,
        "w2_growth": (long / sizes.many_items) / (short / sizes.few_items),
    }


def _loop(world: Harness, system: System, items: int) -> float:
    body = {"items": list(range(items))}
    done = world.ask("sequence", url=system.hook("w2"), name=_name("w2"), runs=1, body=body, posts=items)
    _check(world, system, done["executions"], items)
    elapsed: float = done["ms"][0]
    return elapsed


def w3(world: Harness, system: System, _: Sizes) -> Figures:
    """Steps of customers' code alone: 40 short ones and 10 long ones."""
    return {
        "w3_short_ms": statistics.median(_answered(world, system, "w3-short", 55) for _ in range(5)),
        "w3_long_ms": _answered(world, system, "w3-long", 3524578),
    }


def _answered(world: Harness, system: System, workload: str, last: int) -> float:
    """Milliseconds until the webhook is answered, after a pause, with the flow's output, which must be `last`."""
    time.sleep(PAUSE_MS / 1000)
    done = world.ask("answered", url=f"{system.hook(workload)}?wait=60s", body={})
    if done["status"] != 200 or json.loads(done["body"]) != {"last": last}:
        raise Failed(f"{system.name}: {workload} answered {done['status']} {done['body'][:500]}")
    elapsed: float = done["ms"]
    return elapsed


def w4(world: Harness, system: System, _: Sizes) -> Figures:
    """The big payload."""
    done = world.ask("sequence", url=system.hook("w4"), name=_name("w4"), runs=3, body={}, posts=1)
    _check(world, system, done["executions"], 3)
    return {"w4_ms": statistics.median(done["ms"])}


def peak_memory(world: Harness, system: System, sizes: Sizes, only: Sequence[str]) -> Figures:
    """Peak PSS of all processes of the system, workload by workload, in runs of their own that are not timed."""
    figures = {}
    if "w1" in only:
        with PeakMemory(system.pid) as memory:
            run_w1(world, system, min(200, sizes.throughput_runs), sizes.concurrency)
        figures["w1_pss_mb"] = memory.peak_bytes / 1e6
    if "w4" in only:
        with PeakMemory(system.pid, every_s=0.05) as memory:
            w4(world, system, sizes)
        figures["w4_pss_mb"] = memory.peak_bytes / 1e6
    return figures


def warm_up(world: Harness, system: System, only: Sequence[str]) -> None:
    """Let each side compile, fill its pools and make its connections before anything is measured."""
    small = Sizes(latency_runs=20, throughput_runs=100, few_items=100, many_items=100)
    for name in only:
        WORKLOADS[name](world, system, small)


WORKLOADS: Mapping[str, Callable[[Harness, System, Sizes], Figures]] = {"w1": w1, "w2": w2, "w3": w3, "w4": w4}
