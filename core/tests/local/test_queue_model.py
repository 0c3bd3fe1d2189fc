"""Random sequences of calls to a queue, compared with a model that is too simple to be wrong."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from turnout.interfaces.clock import Clock
from turnout.local.database import Database
from turnout.local.memory_queue import MemoryQueue
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS
from turnout.testing.queue_machine import queue_machine


class OwnDatabase(SQLiteQueue):
    """A queue with a file of its own, removed when it is closed: the machine makes one for each example."""

    def __init__(self, clock: Clock | None) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(Path(self.folder.name) / "queue.db")
        super().__init__(self.database, clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)

    async def close(self) -> None:
        await super().close()
        self.database.close()
        self.folder.cleanup()


TestMemoryQueueModel = queue_machine(
    lambda clock: MemoryQueue(clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
).TestCase
TestMemoryQueueModel.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)

TestSQLiteQueueModel = queue_machine(OwnDatabase).TestCase
TestSQLiteQueueModel.settings = settings(max_examples=30, stateful_step_count=60, deadline=None)


class ForgetsWakes(MemoryQueue):
    async def wake(self, id: str) -> bool:
        return id in self._entries


def test_the_model_notices_a_queue_that_breaks_a_promise() -> None:
    broken = queue_machine(lambda clock: ForgetsWakes(clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS))

    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            broken,
            settings=settings(
                max_examples=200, stateful_step_count=30, deadline=None, derandomize=True, print_blob=False
            ),
        )
