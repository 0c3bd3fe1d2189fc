"""What 10,000 schedules cost one process: `python -m benchmarks.schedules`.

Each is due once a minute, spread over it. The clock is moved by hand, a second at a time, for a minute: what is measured is processor
time, with the embedded stores (SQLite, durable against SIGKILL). The floor starts as many executions without a scheduler.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from turnout.config import Settings
from turnout.definition.loader import load_yaml_text
from turnout.interfaces.service import Invocation
from turnout.local.platform import Platform
from turnout.plugins import load_plugins
from turnout.testing.clock import ManualClock
from turnout.values import Value

SCHEDULES = 10_000
ROUNDS = 5
TEXT = """
integration: shop
version: 1.0.0
flows:
  sync: {trigger: {schedule: {every: 60s, jitter: 60s}}, steps: [{id: done, stop: {}}]}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Processor seconds of a minute's starts, of keeping the plans in step once, and of the floor."""

    ticks_s: float
    sync_s: float
    floor_s: float


async def measure() -> Round:
    """One round in stores of its own; every schedule was started once, or there are no figures."""
    with tempfile.TemporaryDirectory() as directory:
        clock = ManualClock(1_800_000_000.0)
        platform = await Platform.open(Settings(root=Path(directory)), load_plugins(), clock=clock)
        try:
            made = await platform.deploy(load_yaml_text(TEXT, directory=directory), config={}, connections={})
            for number in range(SCHEDULES - 1):
                platform.instances.deploy(replace(made, name=f"shop-{number}"))
            call = Invocation()
            await platform.scheduler.sync(call)
            clock.advance(60.0)  # the first interval has passed: from here on each second has its share of them
            ticks_s = sync_s = 0.0
            for second in range(60):
                clock.advance(1.0)
                began = time.process_time()
                await platform.scheduler.look(call)
                ticks_s += time.process_time() - began
                if second == 30:
                    began = time.process_time()
                    await platform.scheduler.sync(call)
                    sync_s = time.process_time() - began
            started = (await platform.stores.queue.stats()).ready
            assert started == SCHEDULES, started
            began = time.process_time()
            for number in range(SCHEDULES):
                await platform.submission.accept(made, "sync", Value({}), deduplication_id=f"floor {number}")
            return Round(ticks_s=ticks_s, sync_s=sync_s, floor_s=time.process_time() - began)
        finally:
            await platform.close(record=False)


def main() -> None:
    rounds = [asyncio.run(measure()) for _ in range(ROUNDS)]

    def figure(name: str, values: list[float], form: str) -> None:
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"| {name:<58} | {middle:{form}} ({low:{form}}–{high:{form}}) |")

    figure("10,000 starts in a minute, CPU s", [one.ticks_s for one in rounds], ".2f")
    figure("the same executions without a scheduler, CPU s", [one.floor_s for one in rounds], ".2f")
    figure("ratio", [one.ticks_s / one.floor_s for one in rounds], ".2f")
    figure(
        "share of a core, with plans kept in step every 5 s",
        [(one.ticks_s + 12 * one.sync_s) / 60 for one in rounds],
        ".3f",
    )


if __name__ == "__main__":
    main()
