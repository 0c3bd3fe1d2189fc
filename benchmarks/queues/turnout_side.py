"""Turnout's side of W5: the queue alone, with nothing done for a message but taking and completing it.

    python -m benchmarks.queues.turnout_side URL put COUNT PAUSE_S [TENANT]
    python -m benchmarks.queues.turnout_side URL work COUNT [BUSY_S]      prints one line of JSON

`work` takes up to 64 at once; with BUSY_S one at a time, each of which it is busy with for so long, and what it prints is
of the tenant `modest` alone.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
import time
from pathlib import Path

import uvloop
from turnout.interfaces.opening import Opening, Shared
from turnout.interfaces.queue import Message, Queue
from turnout.plugins import Kind, load_plugins

AT_ONCE = 64


async def put(queue: Queue, count: int, pause_s: float, tenant: str) -> None:
    sent = 0
    while sent < count:
        batch = 1 if pause_s else min(AT_ONCE, count - sent)
        await asyncio.gather(*(queue.put(_message(tenant)) for _ in range(batch)))
        sent += batch
        await asyncio.sleep(pause_s)


def _message(tenant: str) -> Message:
    """The id says when it was sent, since a message carries nothing else."""
    return Message(id=f"{time.monotonic_ns()}-{secrets.token_hex(4)}", tenant=tenant)


async def work(queue: Queue, count: int, busy_s: float) -> None:
    taken_ns: list[int] = []
    latencies: list[float] = []
    busy: list[float] = []
    completing: list[asyncio.Future[bool]] = []
    print("ready", flush=True)
    while len(taken_ns) < count:
        leases = await queue.take_many("w5", limit=1 if busy_s else AT_ONCE, wait_s=10)
        now = time.monotonic_ns()
        # What was taken before is completed while this is taken: one worker keeps one request on its way.
        await asyncio.gather(*completing)
        for lease in leases:
            if not busy_s or lease.message.tenant == "modest":
                taken_ns.append(now)
                latencies.append((now - int(lease.message.id.partition("-")[0])) / 1e6)
        if busy_s:
            await asyncio.sleep(busy_s)
            busy.append((time.monotonic_ns() - now) / 1e6)
        completing = [asyncio.ensure_future(queue.complete(lease)) for lease in leases]
    await asyncio.gather(*completing)
    print(json.dumps({"s": (time.monotonic_ns() - taken_ns[0]) / 1e9, "ms": latencies, "busy_ms": busy}), flush=True)


async def main() -> None:
    url, command, count, *more = sys.argv[1:]
    shared = Shared()
    with tempfile.TemporaryDirectory() as directory:
        opening = Opening(directory=Path(directory), name="redis", options={"url": url}, shared=shared)
        queue: Queue = await load_plugins().find(Kind.QUEUES, "redis").connect(opening)
        if command == "put":
            await put(queue, int(count), float(more[0]), *(more[1:] or ["noisy"]))
        else:
            await work(queue, int(count), float(more[0]) if more else 0.0)
        await queue.close()
        await shared.aclose()


uvloop.run(main())
