"""Where the processes of the chaos tests come from: `python -m tests.chaos.zygote` imports everything once and forks.

A command is a JSON line on stdin, `{"spawn": spec}` or `{"orphans": true}`; events are JSON lines on stdout: `ready`, `born`
(in the order of the commands), `died`, `orphans`. A child that ends with a `BackendError` has the status EX_TEMPFAIL. It is the subreaper of all that its children leave behind, so that a Node
process which outlives its worker is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from turnout.cli.project import load_registry
from turnout.config import Settings
from turnout.errors import BackendError

from tests.chaos.roles import ROLES

_PR_SET_CHILD_SUBREAPER = 36


def _tell(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def _live(spec: dict[str, Any], registry: Any) -> None:
    """The child, to its end."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(Path(spec["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    try:
        asyncio.run(ROLES[spec["role"]](spec, registry))
    except BackendError:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(os.EX_TEMPFAIL)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
    os._exit(0)


def _commands(wakeup: int) -> Iterator[dict[str, Any] | None]:
    """Commands as they come; None where a child may have ended."""
    pending = b""
    while True:
        readable, _, _ = select.select([0, wakeup], [], [])
        if wakeup in readable:
            os.read(wakeup, 1000)
            yield None
        if 0 in readable:
            data = os.read(0, 65536)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            yield from map(json.loads, lines)


def _reap(children: set[int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in children:
                children.discard(pid)
                _tell(event="died", pid=pid, status=os.waitstatus_to_exitcode(status))


def main() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    registry = load_registry(Settings(root=Path.cwd()))
    # What children would import one after the other is here before the first is born.
    assert all((registry.connectors, registry.queues, registry.stores, registry.sandboxes))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    gc.freeze()
    _tell(event="ready", pid=os.getpid())
    children: set[int] = set()
    for command in _commands(reading):
        match command:
            case None:
                _reap(children)
            case {"spawn": spec}:
                pid = os.fork()
                if pid == 0:
                    _live(spec, registry)
                children.add(pid)
                _tell(event="born", pid=pid)
            case {"orphans": _}:
                _reap(children)
                ours = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
                _tell(event="orphans", pids=[int(pid) for pid in ours if int(pid) not in children])
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
