from __future__ import annotations

import pytest
from turnout.local.database import Database
from turnout.local.memory_queue import MemoryQueue
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS, QueueContract


class TestMemoryQueue(QueueContract):
    @pytest.fixture
    def make_queue(self):
        return lambda clock: MemoryQueue(clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)


class SQLiteContract(QueueContract):
    full = False

    @pytest.fixture
    def make_queue(self, tmp_path):
        opened = []

        def make(clock):
            opened.append(Database(tmp_path / "queue.db", full=self.full))
            return SQLiteQueue(opened[-1], clock=clock, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)

        yield make
        for database in opened:
            database.close()


class TestSQLiteQueue(SQLiteContract):
    pass


class TestFullSQLiteQueue(SQLiteContract):
    full = True
