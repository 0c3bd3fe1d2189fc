"""Long histories, which are read piece by piece so that one does not hold up the others."""

from __future__ import annotations

import asyncio

from turnout.interfaces.journal import Row
from turnout_ecs.connection import Connection
from turnout_ecs.journal.journal import RedisJournal

HISTORY = [Row("step", str(number).encode().ljust(17_000 if number % 100 == 0 else 1)) for number in range(1_500)]
"""Every hundredth row has a body of its own beside it."""


async def test_a_long_history_opens_whole_and_in_order(connection: Connection) -> None:
    journal = RedisJournal(connection)
    await journal.begin("e1", HISTORY[:10])
    await journal.open("e1", 1)
    for start in range(10, len(HISTORY), 70):
        await journal.append("e1", 1, HISTORY[start : start + 70])
    await journal.barrier("e1", 1)

    assert await journal.rows("e1") == HISTORY
    assert await journal.open("e1", 2) == HISTORY
    assert [entry.row for entry in await journal.entries(after=0, limit=2_000)] == HISTORY


async def test_a_history_that_is_forgotten_while_it_is_read_is_read_whole_or_not_at_all(connection: Connection) -> None:
    journal, other = RedisJournal(connection), RedisJournal(connection)
    for attempt in range(10):
        await journal.begin("e1", HISTORY)

        async def forget(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await other.forget(["e1"])

        rows, _ = await asyncio.gather(journal.rows("e1"), forget(attempt * 2))

        assert list(rows) in ([], HISTORY)


async def test_a_history_that_grows_while_it_is_read_has_no_gap(connection: Connection) -> None:
    journal, other = RedisJournal(connection), RedisJournal(connection)
    await journal.begin("e1", HISTORY)

    async def grow() -> None:
        for _ in range(100):
            await other.signal("e1", Row("signalled", b""))

    rows, _ = await asyncio.gather(journal.rows("e1"), grow())

    assert list(rows[: len(HISTORY)]) == HISTORY
    assert {row.kind for row in rows[len(HISTORY) :]} <= {"signalled"}
