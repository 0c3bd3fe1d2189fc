"""The catalogs keep their contract; SQLite's keeps it across processes, and finds entries by its indexes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout.interfaces.catalog import REVISIONS_KEPT_S, Address, CatalogChange, CatalogStore
from turnout.local.database import Database
from turnout.local.memory_catalog import MemoryCatalog
from turnout.local.sqlite_catalog import SQLiteCatalog
from turnout.testing.catalog import CatalogStoreContract
from turnout.testing.clock import ManualClock


class TestMemoryCatalog(CatalogStoreContract):
    @pytest.fixture
    def store(self) -> CatalogStore:
        return MemoryCatalog()


class TestSQLiteCatalog(CatalogStoreContract):
    full = False

    @pytest.fixture
    def store(self, clock: ManualClock, tmp_path: Path) -> Iterator[CatalogStore]:
        database = Database(tmp_path / "turnout.db", full=self.full)
        yield SQLiteCatalog(database, clock)
        database.close()

    @pytest.fixture
    def another(self, store: CatalogStore, clock: ManualClock, tmp_path: Path) -> Iterator[CatalogStore]:
        database = Database(tmp_path / "turnout.db", full=self.full)
        yield SQLiteCatalog(database, clock)
        database.close()


class TestFullyDurableSQLiteCatalog(TestSQLiteCatalog):
    full = True


COUNTING = """
import asyncio, sys
from turnout.interfaces.catalog import Address, CatalogChange
from turnout.local.database import Database
from turnout.local.sqlite_catalog import SQLiteCatalog

ADDRESS = Address(kind="counter", name="n")

async def main(path):
    catalog = SQLiteCatalog(Database(path))
    for _ in range(50):
        while True:
            found = await catalog.get(ADDRESS)
            value, revision = (0, 0) if found is None else (int(found.body), found.revision)
            if await catalog.write(CatalogChange(address=ADDRESS, body=b"%d" % (value + 1), expected=revision)):
                break

asyncio.run(main(*sys.argv[1:]))
"""


async def test_processes_count_together(tmp_path: Path) -> None:
    path = tmp_path / "turnout.db"
    processes = [subprocess.Popen([sys.executable, "-c", COUNTING, path]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0] * 3

    database = Database(path)
    found = await SQLiteCatalog(database).get(Address(kind="counter", name="n"))
    database.close()

    assert found is not None
    assert (found.body, found.revision) == (b"150", 150)


async def test_what_removed_entries_leave_behind_goes_little_by_little(tmp_path: Path) -> None:
    clock = ManualClock()
    database = Database(tmp_path / "turnout.db")
    catalog = SQLiteCatalog(database, clock)
    for number in range(100):
        await catalog.write(CatalogChange(address=Address(kind="state", name=str(number)), body=b""))
        await catalog.write(CatalogChange(address=Address(kind="state", name=str(number)), body=None))
    clock.advance(REVISIONS_KEPT_S + 1)

    for number in range(6):
        await catalog.write(CatalogChange(address=Address(kind="other", name=str(number)), body=b""))
    [[left]] = database.query("SELECT count(*) FROM catalog")
    database.close()

    assert left == 6


async def test_a_hundred_thousand_entries_are_found_by_the_indexes(tmp_path: Path) -> None:
    """What SQLite says of how it finds them: never by reading all of a kind, never by sorting."""
    statements: list[str] = []
    database = Database(tmp_path / "turnout.db")
    catalog = SQLiteCatalog(database)
    with database.transaction() as connection:
        connection.executemany(
            "INSERT INTO catalog (kind, tenant, name, revision, due, body) VALUES (?, ?, ?, 1, ?, ?)",
            (
                (
                    b"schedule" if number % 2 else b"instance",
                    b"t%d" % (number % 100),
                    b"%06d" % number,
                    float(number),
                    b"{}",
                )
                for number in range(100_000)
            ),
        )
        connection.set_trace_callback(statements.append)

    found = [
        await catalog.entries("instance", tenant="t2", limit=5),
        await catalog.entries("instance", tenant="t2", prefix="01", after="0101", limit=5),
        await catalog.entries("instance", prefix="0500", limit=5),
        await catalog.entries("instance", after="099", limit=5),
        await catalog.due("schedule", 9.0, limit=5),
    ]
    assert await catalog.next_due("schedule") == 1.0
    assert await catalog.kinds() == ["instance", "schedule"]
    await catalog.get(Address(kind="instance", tenant="t2", name="000002"))

    plans = [
        [str(detail) for *_, detail in database.query(f"EXPLAIN QUERY PLAN {statement}")]
        for statement in [text for text in statements if text.lstrip().startswith(("SELECT", "WITH"))]
    ]
    database.close()
    assert [entries[0].address.name for entries in found] == ["000002", "010102", "050000", "099000", "000001"]
    assert len(plans) == 8
    for plan in plans:
        assert not [step for step in plan if "TEMP B-TREE" in step or step.startswith("SCAN catalog")], plan
