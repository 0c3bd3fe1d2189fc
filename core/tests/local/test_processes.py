"""Real processes on one file, killed for real."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest
from turnout.interfaces.queue import LeaseState
from turnout.local.database import Database
from turnout.local.sqlite_journal import SQLiteJournal
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.local.workers import is_alive
from turnout.testing.clock import ManualClock
from turnout.testing.queue_fixtures import message, taken

WORKER = Path(__file__).parent / "worker_process.py"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "shared.db")
    yield opened
    opened.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    process: subprocess.Popen[str]
    stdin: IO[str]
    stdout: IO[str]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[Worker] = []

    def start_worker(role: str, *options: str) -> Worker:
        command = [sys.executable, str(WORKER), role, str(tmp_path), *options]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin
        assert process.stdout
        workers.append(Worker(process=process, stdin=process.stdin, stdout=process.stdout))
        return workers[-1]

    yield start_worker
    for worker in workers:
        worker.kill()
        worker.stdin.close()
        worker.stdout.close()


async def test_two_processes_take_each_message_once(database: Database, start: Start) -> None:
    queue = SQLiteQueue(database)
    for n in range(400):
        await queue.put(message(f"e{n}", tenant=f"t{n % 7}"))

    workers = [start("consume") for _ in range(2)]
    for worker in workers:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    done = [worker.stdout.read().split() for worker in workers]

    assert sorted(done[0] + done[1]) == sorted(f"e{n}" for n in range(400))
    assert min(len(done[0]), len(done[1])) > 0
    assert (await queue.stats()).leased == 0


async def dead_workers(queue: SQLiteQueue, directory: Path) -> list[str]:
    return [worker for worker in await queue.workers() if not is_alive(directory, worker)]


async def test_the_lease_of_a_killed_process_is_ended_at_once_by_its_lock(
    database: Database, start: Start, tmp_path: Path
) -> None:
    queue = SQLiteQueue(database)
    await queue.put(message("e1"))
    holder = start("hold")
    worker, token = holder.stdout.readline().split()

    while_alive = await queue.reap(workers=await dead_workers(queue, tmp_path / "workers"))
    holder.kill()
    ended = await queue.reap(workers=await dead_workers(queue, tmp_path / "workers"))
    lease = await taken(queue)

    assert list(while_alive) == []
    assert [(lost.worker, lost.message.id) for lost in ended] == [(worker, "e1")]
    assert int(token) < ended[0].token < lease.token
    assert lease.attempt == 2


async def test_the_lease_of_a_killed_process_runs_out_where_nobody_looks_at_locks(
    database: Database, start: Start
) -> None:
    clock = ManualClock(start=2_000_000_000.0)
    queue = SQLiteQueue(database, clock=clock)
    await SQLiteQueue(database).put(message("e1"))
    holder = start("hold")
    holder.stdout.readline()
    holder.kill()

    lease = await taken(queue)

    assert lease.attempt == 2
    assert list(await queue.extend([lease])) == [LeaseState.HELD]


@pytest.mark.parametrize("options", [(), ("full",)], ids=["process", "host"])
async def test_rows_acknowledged_before_a_kill_are_there_and_pairs_are_whole(
    database: Database, start: Start, options: tuple[str, ...]
) -> None:
    writer = start("write", *options)
    acknowledged = 0
    while acknowledged < 50:
        acknowledged = int(writer.stdout.readline())
    writer.kill()
    acknowledged = int((writer.stdout.read().split() or [str(acknowledged)])[-1])

    rows = [row.body.decode() for row in await SQLiteJournal(database).open("e1", 2)]

    assert len(rows) in (1 + 2 * acknowledged, 1 + 2 * (acknowledged + 1))
    assert rows[1:] == [text for n in range((len(rows) - 1) // 2) for text in (f"{n}", f"{n}'")]
    assert database.query("PRAGMA integrity_check") == [("ok",)]
