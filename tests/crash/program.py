"""The process that dies: `python -m tests.crash.program` imports a whole platform once, then forks a child for each command.

Commands are JSON lines on stdin, answers JSON lines on stdout. It is the subreaper of all that its children leave behind,
so that a Node process that outlives its parent is found.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import gc
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from turnout.cli.project import load_registry
from turnout.codec import encode_event
from turnout.config import Settings
from turnout.definition import load_integration
from turnout.interfaces.journal import Row
from turnout.local.platform import Platform
from turnout.local.process_sandbox import ProcessSandbox
from turnout.local.stores import Stores
from turnout.model.events import Signalled
from turnout.plugins import Registry
from turnout.services.submission import Instance
from turnout.values import Value

from tests.crash.fate import JOURNAL, QUEUE, Fate, Forgetful, Watched, watched_connectors, watched_sandbox

_PR_SET_CHILD_SUBREAPER = 36
_ORPHANS_S = 20.0
_CHILD_S = 100.0
"""A child that has not ended by then hangs: it says where, and its case fails."""

Command = dict[str, Any]


async def _open(command: Command, registry: Registry) -> Platform:
    """A platform as `turnout run` has it, its stores, sandbox and connectors wrapped."""
    case = Path(command["case"])
    settings = Settings(root=case)
    at = command.get("at")
    fate = Fate(case / "trace", command["phase"], None if at is None else (at[0], at[1]))
    stores = await Stores.open(settings, registry)
    journal: Any = Forgetful(stores.journal, command["lost"]) if command.get("lost") else stores.journal
    journal = Watched(journal, "journal", JOURNAL, fate)
    queue: Any = Watched(stores.queue, "queue", QUEUE, fate)
    watched = replace(stores, journal=journal, queue=queue)
    sandbox = watched_sandbox(ProcessSandbox(warm_floor=0, warm_ceiling=1), fate)
    url = "http://turnout.test"
    platform = Platform(settings, registry, watched, sandbox, public_url=url, observers=(fate.observe,))
    backends = platform.engine.backends
    platform.engine.backends = platform.backends = replace(
        backends,
        connectors=watched_connectors(backends.connectors, fate),
        # What is written by the clock would make the points of two runs differ.
        settings=replace(backends.settings, report_every=timedelta(hours=1)),
    )
    platform.ingress._backends = platform.backends

    @asynccontextmanager
    async def another_queue() -> AsyncIterator[Any]:
        async with stores.another_queue() as beating:
            yield Watched(beating, "queue", QUEUE, fate)

    platform.runner.heartbeat._open_queue = another_queue
    return platform


async def _deployed(platform: Platform, command: Command) -> Instance:
    integration = load_integration(Path(command["project"]))
    return await platform.deploy(integration, config=command["config"], connections=command["connections"])


async def _work(command: Command, registry: Registry) -> None:
    platform = await _open(command, registry)
    try:
        match command["command"]:
            case "deploy":
                await _deployed(platform, command)
            case "run":
                instance = await _deployed(platform, command)
                await platform.runner.start_beating()
                trigger = Value({"body": command.get("body")})
                await platform.run(instance, command["flow"], trigger)
            case "recover":
                await _recover(platform)
            case "call back":
                value = Value(command["body"]).encode()
                event = Signalled(at=platform.stores.clock.now(), path=command["step"], value=value)
                assert await platform.stores.journal.signal(command["id"], Row(*encode_event(event)))
                await platform.stores.queue.wake(command["id"])
                await _recover(platform)
            case "decide":
                output = None if command["output"] is None else Value(command["output"])
                await platform.operations.resume(command["id"], repeat=output is None, output=output)
                await _recover(platform)
            case other:
                raise ValueError(other)
    finally:
        await platform.close()


async def _recover(platform: Platform) -> None:
    """As `turnout resume` does."""
    await platform.recover()
    await platform.start(platform.metadata, platform.recovery, platform.runner)
    await platform.drained()


def _child(command: Command, registry: Registry) -> None:
    log = os.open(Path(command["case"]) / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    (Path(command["case"]) / "pid").write_text(str(os.getpid()))
    faulthandler.dump_traceback_later(_CHILD_S, exit=True)
    try:
        asyncio.run(_work(command, registry))
    except BaseException:
        import traceback

        traceback.print_exc()
        sys.stderr.flush()
        os._exit(70)
    os._exit(0)


def _bury_orphans() -> int:
    """Wait for what the child left to end with it; how many had to be killed."""
    deadline = time.monotonic() + _ORPHANS_S
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if not pid:
            time.sleep(0.005)
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)
    return len(children)


def _answer(data: dict[str, int]) -> None:
    sys.stdout.write(json.dumps(data) + "\n")
    sys.stdout.flush()


def main() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    registry = load_registry(Settings(root=Path.cwd()))
    # What children would import one after the other is here before the first is born.
    assert all((registry.connectors, registry.queues, registry.stores, registry.sandboxes))
    gc.freeze()
    _answer({"ready": os.getpid()})
    for line in sys.stdin:
        command: Command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _child(command, registry)
        _, status = os.waitpid(pid, 0)
        _answer({"status": os.waitstatus_to_exitcode(status), "orphans": _bury_orphans()})


if __name__ == "__main__":
    main()
