"""Death on time: wrappers around a platform's parts, each of whose calls is a point at which the process can kill itself.

A point is a name, `journal.append before` say, and how many of that name came earlier. Every point passed, and everything
that would have to be repeated, is a line of a file opened with O_APPEND: what was written survives SIGKILL.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turnout.connectors import Connector
from turnout.interfaces.sandbox import Job, SandboxHandle
from turnout.model.events import Accepted, Ended, Event, StepEnded
from turnout.model.execution import SandboxReceipt

__all__ = ["JOURNAL", "QUEUE", "Fate", "Forgetful", "Watched", "watched_connectors", "watched_sandbox"]

JOURNAL = ("begin", "open", "append", "barrier", "signal", "fence", "forget")
QUEUE = ("put", "claim", "take_many", "extend", "complete", "release", "fail", "reap")


@dataclass
class Fate:
    """Kills this process with SIGKILL at one point, or at none where `at` is empty."""

    trace: Path
    phase: str
    at: tuple[str, int] | None
    passed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._file = os.open(self.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def tell(self, *words: str) -> None:
        os.write(self._file, (" ".join((self.phase, *words)) + "\n").encode())

    def point(self, name: str) -> None:
        here = (name, self.passed[name])
        self.passed[name] += 1
        self.tell("point", name.replace(" ", "/"))
        if here == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def observe(self, execution: str, event: Event) -> None:
        """An observer of the platform: what is reported to people from now on must not happen again."""
        match event:
            case Accepted():
                self.tell("accepted", execution)
            case StepEnded():
                self.tell("reported", execution, event.path, event.status.value)
            case Ended():
                self.tell("ended", execution, event.status.value)
            case _:
                pass


class Watched:
    """A store whose calls of these names are points, before and after."""

    def __init__(self, store: Any, name: str, methods: tuple[str, ...], fate: Fate) -> None:
        self._store = store
        self._name = name
        self._methods = methods
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in self._methods:
            return found

        async def call(*arguments: Any, **named: Any) -> Any:
            self._fate.point(f"{self._name}.{name} before")
            result = await found(*arguments, **named)
            self._fate.point(f"{self._name}.{name} after")
            return result

        return call


class Forgetful:
    """A journal that breaks its promise: the rows of one append are gone. What the checks have to find."""

    def __init__(self, journal: Any, lost: int) -> None:
        self._journal = journal
        self._lost = lost
        self._appends = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def append(self, execution: str, token: int, rows: Any) -> None:
        self._appends += 1
        if self._appends != self._lost:
            await self._journal.append(execution, token, rows)


class _WatchedHandle(SandboxHandle):
    def __init__(self, handle: SandboxHandle, fate: Fate) -> None:
        self._handle = handle
        self._fate = fate

    @property
    def usable(self) -> bool:
        return self._handle.usable

    async def run(self, job: Job) -> Any:
        self._fate.tell("work", str(job.context["execution"]), str(job.context["step"]))
        self._fate.point("sandbox.run before")
        outcome = await self._handle.run(job)
        self._fate.point("sandbox.run after")
        return outcome

    def receipt(self) -> SandboxReceipt:
        return self._handle.receipt()

    async def release(self) -> None:
        await self._handle.release()


class _WatchedSandbox(Watched):
    async def acquire(self, *arguments: Any) -> SandboxHandle:
        return _WatchedHandle(await self._store.acquire(*arguments), self._fate)


def watched_sandbox(sandbox: Any, fate: Fate) -> Any:
    return _WatchedSandbox(sandbox, "sandbox", (), fate)


def watched_connectors(connectors: Any, fate: Fate) -> dict[str, Connector]:
    """The same connectors; before and after each call of an action stands a point."""
    return {
        name: replace(
            connector, actions={key: _watched_action(action, fate) for key, action in connector.actions.items()}
        )
        for name, connector in connectors.items()
    }


def _watched_action(action: Any, fate: Fate) -> Any:
    async def run(context: Any, inputs: Any) -> Any:
        fate.tell("work", context.execution, context.step)
        fate.point("action before")
        output = await action.run(context, inputs)
        fate.point("action after")
        return output

    assert action.is_async, "a synchronous action runs on a thread: its points would need a wrapper of their own"
    return replace(action, run=run)
