"""Whether memory stays flat: thousands of executions of W1 in one process, its memory sampled on the way."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.processes import pss_bytes
from benchmarks.systems import Harness, System
from benchmarks.workloads import Sizes, run_w1

__all__ = ["MemoryCourse", "memory_course"]

_SAMPLES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryCourse:
    """PSS in bytes of the server process, without its sandboxes, after so many executions, and what a line through them
    says."""

    executions: tuple[int, ...]
    server_bytes: tuple[int, ...]

    @property
    def settled(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The samples after the first fifth, in which pools and caches fill."""
        skip = len(self.executions) // 5
        return self.executions[skip:], self.server_bytes[skip:]

    @property
    def bytes_per_execution(self) -> float:
        """The slope of a line through the settled samples (Theil–Sen: the median of all pairs' slopes)."""
        xs, ys = self.settled
        pairs = [(a, b) for a in range(len(xs)) for b in range(a + 1, len(xs))]
        return statistics.median((ys[b] - ys[a]) / (xs[b] - xs[a]) for a, b in pairs)

    @property
    def growth(self) -> float:
        """The mean of the last quarter of the settled samples over that of the first quarter."""
        _, ys = self.settled
        quarter = max(1, len(ys) // 4)
        return statistics.mean(ys[-quarter:]) / statistics.mean(ys[:quarter])


def memory_course(world: Harness, system: System, sizes: Sizes) -> MemoryCourse:
    """Run W1 `sizes.memory_executions` times, 16 at a time, every one checked."""
    each = max(1, sizes.memory_executions // _SAMPLES)
    counts, samples = [], []
    for number in range(1, _SAMPLES + 1):
        run_w1(world, system, each, sizes.concurrency)
        counts.append(number * each)
        samples.append(pss_bytes(system.pid))
    return MemoryCourse(executions=tuple(counts), server_bytes=tuple(samples))
