"""What a process of the chaos tests dies of, and what it tells before: the points of the crash matrix, counted but not told,
and the beginnings of executions, which say in which order tenants had their turns."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

from turnout.connectors import ActionContext, Connector, Effect, Inputs
from turnout.model.events import Began, Event

from tests.crash.fate import Fate

__all__ = ["POINTS", "RECORDS", "ChaosFate", "poison"]

RECORDS = ("apply",)

_WORKER = (
    *(f"journal.{name}" for name in ("open", "append", "barrier", "fence")),
    *(f"queue.{name}" for name in ("take_many", "extend", "complete", "release", "reap")),
    "sandbox.run",
    "action",
)
_FRONT = ("journal.begin", "queue.put", "journal.signal", "queue.wake", "records.apply", "journal.forget")

POINTS = {
    "worker": tuple(f"{name} {when}" for name in _WORKER for when in ("before", "after")),
    "front": tuple(f"{name} {when}" for name in _FRONT for when in ("before", "after")),
}
"""Where the processes of a role can die: around each step, each write to the journal, each call of the queue."""


@dataclass
class ChaosFate(Fate):
    """`phase` is the process's name and the number of its life."""

    def point(self, name: str) -> None:
        here = (name, self.passed[name])
        self.passed[name] += 1
        if here == self.at:
            self.tell("dies", name.replace(" ", "/"))
            os.kill(os.getpid(), signal.SIGKILL)

    def observe(self, execution: str, event: Event) -> None:
        if isinstance(event, Began):
            self.tell("began", execution, str(event.attempt))
        super().observe(execution, event)


class _Nothing(Inputs):
    pass


def poison() -> Connector:
    """A connector whose one action kills the worker that runs it, each time."""
    connector = Connector("chaos", title="Chaos", description="Dies.", connection_required=False)

    @connector.action(effect=Effect.READ)
    async def die(context: ActionContext, inputs: _Nothing) -> dict[str, Any]:
        """Kill this process."""
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    return connector
