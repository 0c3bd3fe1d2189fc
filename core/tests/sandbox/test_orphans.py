"""When Turnout is killed, nothing of it goes on: processes that wait, and processes in a busy loop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from .process_states import runs

PARENT = """
import asyncio, sys
from pathlib import Path
from turnout.interfaces.sandbox import Limits
from turnout.local.process_sandbox import ProcessSandbox
from turnout.testing.sandbox import bundle_of, job

async def main():
    sandbox = ProcessSandbox(warm_floor=2)
    await sandbox.start()
    source = "export default () => { console.log('pid ' + process.pid); for (;;); }"
    handle = await sandbox.acquire("acme", bundle_of(Path(sys.argv[1]), {"step.js": source}), Limits())
    await handle.run(job("step.js", timeout_s=100.0, log=lambda line: print(line.message, flush=True)))

asyncio.run(main())
"""


def test_sigkill_of_the_parent_ends_idle_and_busy_processes(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    busy = int(parent.stdout.readline().split()[1])
    children = _children(parent.pid)
    assert busy in children
    assert len(children) >= 2

    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()

    deadline = time.monotonic() + 20
    while any(runs(pid) for pid in children) and time.monotonic() < deadline:
        os.sched_yield()
    assert [pid for pid in children if runs(pid)] == []


def _children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]
