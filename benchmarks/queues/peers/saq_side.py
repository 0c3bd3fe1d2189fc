"""SAQ's side of W5: `saq_side.py URL put COUNT PAUSE_S`, or `saq_side.py URL work COUNT`, which prints one line of JSON."""

import asyncio
import json
import sys
import time

from saq import Queue, Worker

CONCURRENCY = 100
"""Faster than its default of 10 on no-ops, so that it is compared at its best."""

AT_ONCE = 50


async def put(queue: Queue, count: int, pause_s: float) -> None:
    sent = 0
    while sent < count:
        batch = 1 if pause_s else min(AT_ONCE, count - sent)
        await asyncio.gather(*(queue.enqueue("noop", sent_ns=time.monotonic_ns()) for _ in range(batch)))
        sent += batch
        await asyncio.sleep(pause_s)


async def work(queue: Queue, count: int) -> None:
    taken_ns: list[int] = []
    latencies: list[float] = []

    async def noop(_: object, *, sent_ns: int) -> None:
        taken_ns.append(time.monotonic_ns())
        latencies.append((taken_ns[-1] - sent_ns) / 1e6)
        if len(taken_ns) == count:
            print(json.dumps({"s": (taken_ns[-1] - taken_ns[0]) / 1e9, "ms": latencies}), flush=True)
            worker.event.set()

    async def say_ready(_: object) -> None:
        print("ready", flush=True)

    functions = [("noop", noop)]
    worker = Worker(queue, functions=functions, concurrency=CONCURRENCY, dequeue_timeout=1, startup=say_ready)
    await worker.start()


async def main() -> None:
    url, command, count, *pause = sys.argv[1:]
    queue = Queue.from_url(url)
    await queue.connect()
    await (put(queue, int(count), float(pause[0])) if command == "put" else work(queue, int(count)))
    await queue.disconnect()


asyncio.run(main())
