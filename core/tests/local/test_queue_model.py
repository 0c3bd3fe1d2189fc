from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import settings
from turnout.local.database import Database
from turnout.local.memory_queue import MemoryQueue
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS
from turnout.testing.queue_machine import queue_machine


class OwnDatabase(SQLiteQueue):
    """A queue with a file of its own, removed when it is closed: the machine makes one for each example."""

    def __init__(self, clock):
        self.folder = tempfile.TemporaryDirectory()
        self.database = Database(Path(self.folder.name) / "queue.db")
        super().__init__(self.database, clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)

    async def close(self):
        await super().close()
        self.database.close()
        self.folder.cleanup()


TestMemoryQueueModel = queue_machine(
    lambda clock: MemoryQueue(clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)
).TestCase
TestMemoryQueueModel.settings = settings(max_examples=100, stateful_step_count=60, deadline=None)

TestSQLiteQueueModel = queue_machine(OwnDatabase).TestCase
TestSQLiteQueueModel.settings = settings(max_examples=30, stateful_step_count=60, deadline=None)
