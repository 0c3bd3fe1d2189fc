"""A metric sink: where the platform publishes how its queue stands, for what scales its workers and for alarms: CloudWatch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

from turnout.interfaces.opening import Openable

__all__ = ["DIMENSION", "EVERY_S", "GAUGES", "NAMESPACE", "MetricSink", "QueueGauges"]

EVERY_S: Final = 10.0
"""How often they are published where a process lives on."""
NAMESPACE: Final = "Turnout"
DIMENSION: Final = "Deployment"
"""The one dimension of each metric: the project's name and its environment's."""
GAUGES: Final = {
    "Backlog": "Executions that are due or running.",
    "BacklogPerWorker": "The same by the number of workers, where nobody works as for one.",
    "Workers": "Workers that said within 30 seconds that they take executions.",
    "OldestDueSeconds": "How long the oldest of those that are due has waited.",
    "DeadLetters": "Executions that were given up.",
}
"""What each metric says, by its name: templates and whoever publishes go by these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueGauges:
    """How the queue of a `deployment` stands at one moment, `at` (seconds since the epoch)."""

    deployment: str
    at: float
    backlog: int
    workers: int
    oldest_due_s: float
    dead: int

    def values(self) -> dict[str, float]:
        """By the names of `GAUGES`."""
        return {
            "Backlog": float(self.backlog),
            "BacklogPerWorker": self.backlog / max(1, self.workers),
            "Workers": float(self.workers),
            "OldestDueSeconds": self.oldest_due_s,
            "DeadLetters": float(self.dead),
        }


class MetricSink(Openable, ABC):
    """Takes gauges. Several processes may publish the same ones at once: who reads takes an average or a maximum, never a sum."""

    @abstractmethod
    async def publish(self, gauges: QueueGauges) -> None:
        """Once this has returned they are the other side's. `BackendError` says why not, without secrets: nothing is kept, as the
        next ones say more."""
