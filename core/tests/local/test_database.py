"""What every store on SQLite rests on: transactions, migrations, locks, damage, space."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from turnout.errors import BackendError
from turnout.local.database import Database
from turnout.model.durability import Durability

NOTES = (("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT)",),)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "deep" / "state.db", busy_timeout_s=0.05)
    opened.migrate("notes", NOTES)
    yield opened
    opened.close()


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    insert = "INSERT INTO notes VALUES (7, 'lost')"

    with pytest.raises(sqlite3.IntegrityError), database.transaction() as connection:
        connection.executemany(insert, [(), ()])
    with database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES ('kept')")

    assert database.query("SELECT text FROM notes") == [("kept",)]


def test_the_file_can_be_read_by_its_owner_alone(database: Database) -> None:
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600


def test_a_full_database_is_host_durable_and_another_is_process_durable(database: Database) -> None:
    with_full = database.another(full=True)
    levels = [db.query("PRAGMA synchronous")[0][0] for db in (database, with_full)]
    with_full.close()

    assert (database.durability, with_full.durability, levels) == (Durability.PROCESS, Durability.HOST, [1, 2])


def test_migrations_run_once_each_and_keep_what_is_there(database: Database) -> None:
    database.execute("INSERT INTO notes (text) VALUES ('old')")

    database.migrate("notes", (*NOTES, ("ALTER TABLE notes ADD COLUMN tag TEXT DEFAULT 'none'",)))
    database.migrate("notes", (*NOTES, ("ALTER TABLE notes ADD COLUMN tag TEXT DEFAULT 'none'",)))

    assert database.query("SELECT text, tag FROM notes") == [("old", "none")]


def test_a_failing_migration_changes_nothing(database: Database) -> None:
    with pytest.raises(sqlite3.OperationalError):
        database.migrate("other", (("CREATE TABLE others (id)", "CREATE NONSENSE"),))

    assert database.query("SELECT name FROM sqlite_schema WHERE name = 'others'") == []


def test_a_file_of_a_newer_turnout_is_refused_and_left_alone(database: Database) -> None:
    database.migrate("notes", (*NOTES, ("CREATE TABLE newer (id)",)))

    with pytest.raises(BackendError, match="notes tables have version 2, this Turnout knows 1: upgrade"):
        database.migrate("notes", NOTES)


def test_opening_does_not_wait_for_another_that_writes(database: Database) -> None:
    with database.transaction():
        other = database.another()
        rows = other.query("SELECT text FROM notes")
        other.migrate("notes", NOTES)
        other.close()

    assert rows == []


def test_a_lock_held_too_long_is_a_clear_error(database: Database) -> None:
    other = database.another()

    with other.transaction(), pytest.raises(BackendError, match="locked by another process"):
        database.execute("INSERT INTO notes (text) VALUES ('x')")
    other.close()


def test_a_full_disk_is_a_clear_error_and_the_database_goes_on(database: Database) -> None:
    pages = database.query("PRAGMA page_count")[0][0]
    database.query(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(BackendError, match="the disk is full"), database.transaction() as connection:
        connection.execute("INSERT INTO notes (text) VALUES (zeroblob(1000000))")
    database.query("PRAGMA max_page_count = 100000")
    database.execute("INSERT INTO notes (text) VALUES ('after')")

    assert database.query("SELECT text FROM notes") == [("after",)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [(b"this is not a database, it is a text file " * 100, "not a SQLite file"), (None, "damaged")],
    ids=["other file", "overwritten pages"],
)
def test_a_file_that_is_no_sound_database_is_named(tmp_path: Path, damage: bytes | None, message: str) -> None:
    path = tmp_path / "state.db"
    if damage is None:
        whole = Database(path)
        whole.migrate("notes", NOTES)
        whole.close()
        content = bytearray(path.read_bytes())
        content[100:4096] = b"\xff" * (4096 - 100)
        damage = bytes(content)
    path.write_bytes(damage)

    with pytest.raises(BackendError, match=message) as caught:
        Database(path).migrate("notes", NOTES)

    assert str(path) in str(caught.value)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(BackendError, match="cannot be opened"):
        Database(tmp_path / "file" / "state.db")


def test_a_closed_database_says_so_and_closing_again_is_harmless(database: Database) -> None:
    database.close()
    database.close()

    with pytest.raises(BackendError, match="it is closed"):
        database.query("SELECT 1")


def test_the_mark_changes_with_every_writer_and_stays_without(database: Database) -> None:
    other = database.another()
    marks = [database.change_mark(), database.change_mark()]
    other.execute("INSERT INTO notes (text) VALUES ('by another')")
    marks.append(database.change_mark())
    database.execute("INSERT INTO notes (text) VALUES ('by itself')")
    marks.append(database.change_mark())
    other.close()

    assert marks[0] == marks[1]
    assert len(set(marks)) == 3


def test_space_is_given_back_after_much_was_removed(database: Database) -> None:
    database.execute("INSERT INTO notes (text) VALUES (zeroblob(40000000))")
    database.checkpoint()
    large = database.path.stat().st_size
    database.execute("DELETE FROM notes")

    while database.reclaim():
        pass
    database.checkpoint()

    assert large > 40_000_000
    assert database.path.stat().st_size < 10_000_000
    assert database.size_bytes() < 100_000


def test_many_threads_share_one_database(database: Database) -> None:
    def insert() -> None:
        for _ in range(50):
            with database.transaction() as connection:
                count = connection.execute("SELECT COUNT(*) FROM notes").fetchone()[0]
                connection.execute("INSERT INTO notes (text) VALUES (?)", (str(count),))

    threads = [threading.Thread(target=insert) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert database.query("SELECT COUNT(DISTINCT text) FROM notes") == [(200,)]


def test_processes_that_create_the_file_at_the_same_moment_all_succeed(tmp_path: Path) -> None:
    script = (
        "import sys; from turnout.local.database import Database\n"
        "sys.stdin.readline()\n"
        "Database(sys.argv[1]).migrate('notes', (('CREATE TABLE notes (id)',),))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "state.db")]
    racers = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(4)]
    for racer in racers:
        assert racer.stdin
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    statuses = [racer.wait(30) for racer in racers]
    for racer in racers:
        assert racer.stdin
        racer.stdin.close()

    assert statuses == [0, 0, 0, 0]
