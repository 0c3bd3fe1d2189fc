"""Celery's side of W5: `celery_side.py URL put COUNT PAUSE_S`, or `celery_side.py URL work COUNT`, which prints one line
of JSON.

One worker process with one thread, no results, a prefetch of 64, and none of what a cluster of workers tells each other:
faster than the defaults, so that it is compared at its best.
"""

import json
import os
import sys
import time

from celery import Celery
from celery.signals import worker_ready

URL, COMMAND, COUNT, *PAUSE = sys.argv[1:]
app = Celery("w5", broker=URL)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=64)
taken_ns: list[int] = []
latencies: list[float] = []


@app.task(name="noop")
def noop(sent_ns: int) -> None:
    taken_ns.append(time.monotonic_ns())
    latencies.append((taken_ns[-1] - sent_ns) / 1e6)
    if len(taken_ns) == int(COUNT):
        line = json.dumps({"s": (taken_ns[-1] - taken_ns[0]) / 1e9, "ms": latencies})
        os.write(1, line.encode() + b"\n")  # the worker takes what is printed for its log
        os._exit(0)


@worker_ready.connect
def say_ready(**_: object) -> None:
    os.write(1, b"ready\n")


if COMMAND == "put":
    for _ in range(int(COUNT)):
        noop.delay(time.monotonic_ns())
        time.sleep(float(PAUSE[0]))
else:
    app.worker_main(
        [
            *("worker", "--pool=threads", "--concurrency=1", "--loglevel=ERROR"),
            *("--without-gossip", "--without-mingle", "--without-heartbeat"),
        ]
    )
