"""The state stores keep their contract; SQLite's keeps it across processes and crashes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from turnout.interfaces.state import StateScope, StateStore
from turnout.local.database import Database
from turnout.local.memory_state import MemoryState
from turnout.local.sqlite_state import SQLiteState
from turnout.testing.clock import ManualClock
from turnout.testing.state import StateStoreContract

SCOPE = StateScope(tenant="acme", instance="orders")


class TestMemoryState(StateStoreContract):
    @pytest.fixture
    def store(self, clock: ManualClock) -> StateStore:
        return MemoryState(clock)


class TestSQLiteState(StateStoreContract):
    full = False

    @pytest.fixture
    def store(self, clock: ManualClock, tmp_path: Path) -> Iterator[StateStore]:
        database = Database(tmp_path / "turnout.db", full=self.full)
        yield SQLiteState(database, clock)
        database.close()

    @pytest.fixture
    def another(self, store: StateStore, clock: ManualClock, tmp_path: Path) -> Iterator[StateStore]:
        database = Database(tmp_path / "turnout.db", full=self.full)
        yield SQLiteState(database, clock)
        database.close()


class TestFullyDurableSQLiteState(TestSQLiteState):
    full = True


COUNTING = """
import asyncio, sys
from decimal import Decimal
from turnout.interfaces.state import StateScope
from turnout.local.database import Database
from turnout.local.sqlite_state import SQLiteState

async def main(path, operations):
    state = SQLiteState(Database(path))
    for number in range(100):
        await state.increment(StateScope(tenant="acme", instance="orders"), "n", Decimal("0.1"), operation=f"{operations}-{number}")

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_count_together_each_operation_once(tmp_path: Path) -> None:
    path = tmp_path / "turnout.db"
    processes = [
        subprocess.Popen([sys.executable, "-c", COUNTING, path, operations]) for operations in ("a", "b", "b", "c")
    ]
    assert [process.wait() for process in processes] == [0] * 4

    database = Database(path)
    total = await SQLiteState(database).increment(SCOPE, "n", Decimal(0), operation="last")
    database.close()

    assert total == Decimal(30)


async def test_old_operations_are_forgotten_little_by_little(tmp_path: Path) -> None:
    clock = ManualClock()
    database = Database(tmp_path / "turnout.db")
    state = SQLiteState(database, clock)
    for number in range(100):
        await state.increment(SCOPE, "n", Decimal(1), operation=f"old-{number}")
    clock.advance(25 * 3600)

    for number in range(10):
        await state.increment(SCOPE, "n", Decimal(1), operation=f"new-{number}")
    [[left]] = database.query("SELECT count(*) FROM state_operations")
    database.close()

    assert left == 10
