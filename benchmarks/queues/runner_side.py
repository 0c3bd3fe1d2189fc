"""Turnout's side of W5 with whole executions: accepted, journalled, run by the engine to their durable end.

    python -m benchmarks.queues.runner_side PROJECT submit COUNT PAUSE_S [BYTES]
    python -m benchmarks.queues.runner_side PROJECT work COUNT      prints `ready`, then one line of JSON

PROJECT holds one integration with a flow `main`; its trigger's body is a JSON document of BYTES, or empty. `work` is what `turnout worker` runs: the runner alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop
from turnout.codec import decode_event
from turnout.config import load_settings
from turnout.definition import find_integrations, load_integration
from turnout.local.platform import Platform
from turnout.model.events import Accepted, Began, Ended, Event
from turnout.plugins import load_plugins
from turnout.values import Value

AT_ONCE = 64


async def submit(platform: Platform, file: Path, count: int, pause_s: float, size: int) -> None:
    body = {"orders": [{"id": number, "note": "x" * 80} for number in range(size // 100)]}
    instance = await platform.deploy(load_integration(file), config={}, connections={})
    sent = 0
    while sent < count:
        batch = 1 if pause_s else min(AT_ONCE, count - sent)
        await asyncio.gather(
            *(platform.submission.accept(instance, "main", Value({"body": body})) for _ in range(batch))
        )
        sent += batch
        await asyncio.sleep(pause_s)


class Watch:
    """Sees the worker's events: when each execution began, and the end of the last."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.began: dict[str, float] = {}
        self.ended = 0
        self.done = asyncio.Event()

    def observe(self, execution: str, event: Event) -> None:
        match event:
            case Began():
                self.began[execution] = event.at
            case Ended():
                assert event.status == "succeeded", event
                self.ended += 1
                if self.ended == self.count:
                    self.done.set()


async def work(platform: Platform, watch: Watch) -> None:
    await platform.start(platform.runner)
    print("ready", flush=True)
    await watch.done.wait()
    elapsed = time.time() - min(watch.began.values())
    latencies = []
    for entry in await platform.stores.journal.entries(after=0, limit=10 * watch.count):
        if entry.row.kind == "accepted":
            accepted = decode_event(entry.row.kind, entry.row.body)
            assert isinstance(accepted, Accepted)
            latencies.append((watch.began[entry.execution] - accepted.info.created_at) * 1000)
    print(json.dumps({"s": elapsed, "ms": latencies}), flush=True)


async def main() -> None:
    project, command, count, *more = sys.argv[1:]
    watch = Watch(int(count))
    settings = load_settings(Path(project))
    platform = await Platform.open(settings, load_plugins(), observers=(watch.observe,))
    try:
        await platform.start_sandbox()
        if command == "submit":
            [file] = find_integrations(Path(project))
            await submit(platform, file, int(count), float(more[0]), int((*more[1:], "0")[0]))
        else:
            await work(platform, watch)
    finally:
        await platform.close()


uvloop.run(main())
