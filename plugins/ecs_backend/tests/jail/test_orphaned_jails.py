"""When a worker is killed, no jail of it goes on: neither those that wait, nor code that does not want to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.tests.sandbox.process_states import runs

WORKER = """
import asyncio, sys
from pathlib import Path
from turnout.interfaces.sandbox import Limits
from turnout.sandbox.lifeline import Lifeline
from turnout.testing.sandbox import bundle_of, job
from turnout_ecs.jail.options import ChrootOptions
from turnout_ecs.jail.sandbox import ChrootSandbox

CODE = '''
import fs from 'node:fs'
export default () => {
  try { fs.closeSync(4) } catch {}
  for (const name of ['SIGIO', 'SIGHUP', 'SIGTERM']) process.on(name, () => {})
  console.log('pid ' + process.pid)
  for (;;);
}'''

async def main():
    sandbox = ChrootSandbox(ChrootOptions(jail=Path(sys.argv[2]), uids="312000-318143", warm_floor=2))
    await sandbox.start()
    handle = await sandbox.acquire("acme", bundle_of(Path(sys.argv[1]), {"step.mjs": CODE}), Limits())
    await handle.run(job("step.mjs", timeout_s=100.0, log=lambda line: print(line.message, flush=True)))

if sys.argv[3] == "untied":
    Lifeline.tie = lambda *_: None
asyncio.run(main())
"""


@pytest.mark.parametrize("lifeline", ["tied", "untied"], ids=["with its lifeline", "control: without"])
def test_code_ends_with_the_worker_that_was_killed(jail: Path, tmp_path: Path, lifeline: str) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path), str(jail), lifeline], stdout=subprocess.PIPE, text=True
    )
    assert worker.stdout
    busy = int(worker.stdout.readline().split()[1])
    jails = _children(worker.pid)
    assert busy in jails
    assert len(jails) >= 2

    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdout.close()

    left = [] if lifeline == "tied" else [busy]
    deadline = time.monotonic() + 20
    while (going_on := [pid for pid in jails if runs(pid)]) != left and time.monotonic() < deadline:
        os.sched_yield()
    for pid in going_on:
        os.kill(pid, signal.SIGKILL)
    assert going_on == left


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
