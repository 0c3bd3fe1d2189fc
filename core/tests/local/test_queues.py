"""The memory and the SQLite queue keep the promises of the interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout.local.database import Database
from turnout.local.memory_queue import MemoryQueue
from turnout.local.sqlite_queue import SQLiteQueue
from turnout.model.tenancy import Policies
from turnout.testing.clock import ManualClock
from turnout.testing.queue import LEASE_S, MAX_ATTEMPTS, QueueContract
from turnout.testing.queue_fixtures import MakeQueue


class TestMemoryQueue(QueueContract):
    @pytest.fixture
    def make_queue(self) -> MakeQueue:
        def make(clock: ManualClock, policies: Policies) -> MemoryQueue:
            return MemoryQueue(clock=clock, policies=policies, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)

        return make


class SQLiteContract(QueueContract):
    full = False

    @pytest.fixture
    def make_queue(self, tmp_path: Path) -> Iterator[MakeQueue]:
        opened: list[Database] = []

        def make(clock: ManualClock, policies: Policies) -> SQLiteQueue:
            opened.append(Database(tmp_path / "queue.db", full=self.full))
            return SQLiteQueue(opened[-1], clock=clock, policies=policies, lease_s=LEASE_S, max_attempts=MAX_ATTEMPTS)

        yield make
        for database in opened:
            database.close()


class TestSQLiteQueue(SQLiteContract):
    pass


class TestFullSQLiteQueue(SQLiteContract):
    full = True
