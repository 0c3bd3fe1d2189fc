"""A process that tests start and kill: `worker_process.py ROLE DIRECTORY`. It prints a line for each thing it has done."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from turnout.interfaces.journal import Row
from turnout.local.database import Database
from turnout.local.sqlite_journal import SQLiteJournal
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.local.workers import WorkerLock


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def consume(directory: Path, database: Database) -> None:
    """Once told to go, take and complete everything; print each id."""
    worker = WorkerLock(directory / "workers")
    queue = SQLiteQueue(database)
    sys.stdin.readline()
    while (lease := await queue.take(worker.name, wait_s=1.0)) is not None:
        say(lease.message.id)
        await asyncio.sleep(0.001)  # the work
        await queue.complete(lease)


async def hold(directory: Path, database: Database) -> None:
    """Take one message and keep it."""
    worker = WorkerLock(directory / "workers")
    lease = await SQLiteQueue(database).take(worker.name, wait_s=5.0)
    assert lease
    say(f"{lease.worker} {lease.token}")
    await asyncio.Event().wait()


async def write(directory: Path, database: Database) -> None:
    """Append rows without end; print how many are acknowledged."""
    journal = SQLiteJournal(database)
    await journal.begin("e1", [Row("accepted", b"")])
    await journal.open("e1", 1)
    count = 0
    while True:
        await journal.append("e1", 1, [Row("step", b"%d" % count), Row("step", b"%d'" % count)])
        await journal.barrier("e1", 1)
        count += 1
        say(count)


if __name__ == "__main__":
    role, directory = sys.argv[1], Path(sys.argv[2])
    full = len(sys.argv) > 3
    roles = {"consume": consume, "hold": hold, "write": write}
    asyncio.run(roles[role](directory, Database(directory / "shared.db", full=full)))
