"""The journals keep the promises of the interface; what SQLite adds to them, on real files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.interfaces.journal import Journal, Row
from turnout.local import sqlite_journal as sql
from turnout.local.database import Database
from turnout.local.memory_journal import MemoryJournal
from turnout.local.sqlite_journal import SQLiteJournal
from turnout.model.durability import Durability
from turnout.testing.clock import ManualClock
from turnout.testing.journal import JournalContract, MakeJournal, PassTime


class ByHand(JournalContract):
    """Moves the journals' time by hand."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def pass_time(self, clock: ManualClock) -> PassTime:
        async def advance(seconds: float) -> None:
            clock.advance(seconds)

        return advance


class TestMemoryJournal(ByHand):
    @pytest.fixture
    def make_journal(self, clock: ManualClock) -> MakeJournal:
        return lambda: MemoryJournal(clock=clock)


class SQLiteContract(ByHand):
    full = False

    @pytest.fixture
    def make_journal(self, tmp_path: Path, clock: ManualClock) -> Iterator[MakeJournal]:
        opened: list[Database] = []

        def make() -> SQLiteJournal:
            opened.append(Database(tmp_path / "journal.db", full=self.full))
            return SQLiteJournal(opened[-1], clock=clock)

        yield make
        for database in opened:
            database.close()


class TestSQLiteJournal(SQLiteContract):
    pass


class TestFullSQLiteJournal(SQLiteContract):
    full = True


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "journal.db")
    yield opened
    opened.close()


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "full.db", full=True)
    yield opened
    opened.close()


async def test_durability_is_that_of_the_database(database: Database, full: Database) -> None:
    assert (SQLiteJournal(database).durability, SQLiteJournal(full).durability) == (Durability.PROCESS, Durability.HOST)


@pytest.mark.parametrize("make", [SQLiteJournal, lambda database: MemoryJournal()], ids=["sqlite", "memory"])
async def test_a_worker_cannot_bring_a_forgotten_execution_back(
    database: Database, make: Callable[[Database], Journal]
) -> None:
    journal = make(database)
    await journal.begin("e1", [Row("accepted", b"")])
    await journal.open("e1", 1)
    await journal.forget(["e1"])

    with pytest.raises(BackendError, match="execution e1 is not in the journal"):
        await journal.append("e1", 1, [Row("step", b"")])
    with pytest.raises(BackendError, match="execution e1 is not in the journal"):
        await journal.barrier("e1", 1)

    assert list(await journal.unfinished()) == []


async def test_forgotten_rows_do_not_let_the_file_grow(database: Database) -> None:
    journal = SQLiteJournal(database)
    sizes = []

    for generation in range(6):
        ids = [f"e{generation}-{n}" for n in range(20)]
        for id in ids:
            await journal.begin(id, [Row("accepted", b"x" * 50_000)] * 2)
        await journal.forget(ids)
        database.checkpoint()
        sizes.append(database.path.stat().st_size)

    assert sizes[-1] <= sizes[0] * 1.1


async def test_many_executions_share_one_commit_when_each_waits_for_the_disk(full: Database) -> None:
    journal = SQLiteJournal(full)
    for n in range(64):
        await journal.open(f"e{n}", 1)
    statements: list[str] = []
    full.group._database._connection.set_trace_callback(statements.append)
    busy = full.another()

    with busy.transaction():  # all are sent while the committing thread waits for its turn to write
        for n in range(64):
            await journal.append(f"e{n}", 1, [Row("step", b"x")])
    busy.close()
    await journal.barrier("e63", 1)

    assert len(await journal.entries(after=0, limit=100)) == 64
    assert statements.count("COMMIT") <= 3


async def test_after_a_failed_write_nothing_later_is_written_and_the_barrier_says_why(full: Database) -> None:
    journal = SQLiteJournal(full)
    await journal.begin("e1", [Row("accepted", b"")])
    await journal.open("e1", 1)
    pages = full.query("PRAGMA page_count")[0][0]
    limit_pages(full, pages + 2)
    await journal.append("e1", 1, [Row("step", b"x" * 1_000_000)])
    await journal.append("e1", 1, [Row("step", b"after the gap")])

    with pytest.raises(BackendError, match="the disk is full"):
        await journal.barrier("e1", 1)
    limit_pages(full, 1_000_000)
    with pytest.raises(BackendError, match="rows sent earlier were not written"):
        await journal.append("e1", 1, [Row("step", b"still after the gap")])

    assert [row.kind for row in await journal.open("e1", 2)] == ["accepted"]


def limit_pages(database: Database, pages: int) -> None:
    """Let the committing connection believe that the disk ends there."""
    database.group._database.query(f"PRAGMA max_page_count = {pages}")


async def test_a_slow_disk_slows_the_writer_instead_of_filling_the_memory(
    full: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnout.local.sqlite_journal._UNACKNOWLEDGED_BYTES", 1000)
    journal = SQLiteJournal(full)
    await journal.open("e1", 1)

    await journal.append("e1", 1, [Row("step", b"x" * 2000)])

    assert len(await journal.rows("e1")) == 1


async def test_every_lookup_uses_an_index(database: Database) -> None:
    SQLiteJournal(database)

    plans = [
        " ".join(row[3] for row in database.query(f"EXPLAIN QUERY PLAN {text}", [0] * text.count("?")))
        for text in (sql._ROWS, sql._ENTRIES, sql._UNFINISHED, sql._EXECUTION, sql._EXPIRED_NAMES, sql._NAME)
    ]

    assert [plan for plan in plans if "TEMP B-TREE" in plan or ("SCAN" in plan and "USING" not in plan)] == []


async def test_opening_an_execution_with_many_rows_among_others_reads_them_all(database: Database) -> None:
    journal = SQLiteJournal(database)
    for execution in ("long", "other"):
        await journal.begin(execution, [Row("accepted", b"")])
    for _ in range(15):
        for execution in ("long", "other"):
            await journal.append(execution, 1, [Row("step", b"x" * 100)] * 1000)

    assert len(await journal.open("long", 1)) == 15_001


async def test_names_that_are_over_do_not_pile_up(database: Database) -> None:
    clock = ManualClock()
    journal = SQLiteJournal(database, clock=clock)

    for n in range(300):
        await journal.begin(f"e{n}", [Row("accepted", b"")], unique_s=10)
        clock.advance(1)

    assert database.query("SELECT COUNT(*) FROM journal_names")[0][0] <= 11


async def test_failures_of_executions_that_went_elsewhere_do_not_pile_up(full: Database) -> None:
    journal = SQLiteJournal(full)
    for number in range(10_050):
        await journal.append(f"e{number}", 1, [Row("step", b"late")])
    with pytest.raises(BackendError):
        await journal.barrier("e10049", 1)

    assert len(journal._failed) == 10_000
    with pytest.raises(BackendError, match="rows sent earlier were not written"):
        await journal.append("e10049", 1, [Row("step", b"later")])
