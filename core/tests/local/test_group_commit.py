"""Writes that share a commit: each has its own outcome, in its order, once it is on the disk."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from turnout.errors import BackendError, Fenced
from turnout.local.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(tmp_path / "full.db", full=True)
    opened.migrate("notes", (("CREATE TABLE notes (text TEXT)",),))
    yield opened
    opened.close()


def insert(text: str) -> Callable[[sqlite3.Connection], int]:
    return lambda connection: connection.execute("INSERT INTO notes VALUES (?)", (text,)).rowcount


def fenced(connection: sqlite3.Connection) -> None:
    raise Fenced("e1", token=1, current=2)


async def test_a_write_returns_its_result_once_it_is_committed(database: Database) -> None:
    assert await database.write(insert("a")) == 1
    assert database.query("SELECT text FROM notes") == [("a",)]


async def test_a_write_that_is_refused_fails_alone(database: Database) -> None:
    outcomes = await asyncio.gather(
        database.write(insert("a")), database.write(fenced), database.write(insert("b")), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [int, Fenced, int]
    assert database.query("SELECT text FROM notes") == [("a",), ("b",)]


async def test_a_mistake_reaches_its_caller_and_the_next_write_succeeds(database: Database) -> None:
    with pytest.raises(TypeError):
        await database.write(lambda connection: connection.execute(17))  # type: ignore[arg-type]  # the mistake

    assert await database.write(insert("a")) == 1


async def test_writes_keep_their_order(database: Database) -> None:
    await asyncio.gather(*(database.write(insert(str(n))) for n in range(100)))

    assert [text for (text,) in database.query("SELECT text FROM notes")] == [str(n) for n in range(100)]


async def test_only_durable_writes_wait_for_the_disk(database: Database) -> None:
    statements: list[str] = []
    database.group._database._connection.set_trace_callback(statements.append)

    await database.write(insert("a"), durable=False)
    await database.write(insert("b"))
    levels = [statement for statement in statements if "synchronous" in statement]

    assert levels == ["PRAGMA synchronous = NORMAL", "PRAGMA synchronous = FULL"]


async def test_what_was_sent_before_close_is_committed_and_later_writes_are_refused(database: Database) -> None:
    outcomes = []
    for n in range(50):
        database.group.send(insert(str(n)), lambda result, error: outcomes.append(error))
    database.close()

    with pytest.raises(BackendError, match="it is closed"):
        await database.write(insert("late"))
    reopened = Database(database.path)
    rows = reopened.query("SELECT COUNT(*) FROM notes")
    reopened.close()

    assert outcomes == [None] * 50
    assert rows == [(50,)]


async def test_a_caller_that_is_cancelled_does_not_undo_its_write(database: Database) -> None:
    busy = database.another()
    with busy.transaction():
        writing = asyncio.create_task(database.write(insert("a")))
        await asyncio.sleep(0)
        writing.cancel()
        outcome = (await asyncio.gather(writing, return_exceptions=True))[0]
    busy.close()
    await database.write(insert("b"))

    assert isinstance(outcome, asyncio.CancelledError)
    assert database.query("SELECT text FROM notes") == [("a",), ("b",)]
