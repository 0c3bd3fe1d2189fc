"""What PostgreSQL adds to the journal: several processes in one order, answers that are lost, servers that restart."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from turnout.errors import BackendError, Fenced
from turnout.interfaces.journal import Row
from turnout.model.durability import Durability
from turnout.testing.clock import ManualClock
from turnout_postgres.database import Database
from turnout_postgres.journal import PostgresJournal
from turnout_postgres.options import PostgresOptions
from turnout_postgres.standins.server import PostgresServer

from .cutting_proxy import CuttingProxy


@pytest.fixture
async def journal(database: Database) -> AsyncIterator[PostgresJournal]:
    journal = PostgresJournal(database)
    yield journal
    await journal.close()


def rows(*bodies: str) -> list[Row]:
    return [Row("step", body.encode()) for body in bodies]


async def bodies(journal: PostgresJournal, execution: str) -> list[str]:
    return [row.body.decode() for row in await journal.rows(execution)]


async def test_rows_of_several_processes_become_visible_in_the_order_of_their_positions(
    server: PostgresServer, database: Database, schema: str, make_database: Any
) -> None:
    others = [make_database(server, schema) for _ in range(3)]
    for other in others:
        await other.open()
    journals = [PostgresJournal(of) for of in (database, *others)]

    async def write(journal: PostgresJournal, name: str) -> None:
        await journal.open(name, 1)
        await journal.begin(name, rows(f"{name}-0"))
        for number in range(1, 40):
            await journal.append(name, 1, rows(f"{name}-{number}"))
            await journal.barrier(name, 1)

    names = [f"{which}.{number}" for which in range(4) for number in range(3)]
    writing = asyncio.gather(*(write(journals[int(name[0])], name) for name in names))
    seen: list[str] = []
    position = 0
    while True:
        over = writing.done()
        page = await journals[0].entries(after=position, limit=11)
        seen += [entry.row.body.decode() for entry in page]
        position = page[-1].position if page else position
        if over and not page:
            break
    await writing

    assert sorted(seen) == sorted(f"{name}-{number}" for name in names for number in range(40))
    for name in names:
        assert [body for body in seen if body.startswith(f"{name}-")] == [f"{name}-{number}" for number in range(40)]


async def test_what_is_sent_while_others_wait_shares_their_commit(journal: PostgresJournal, database: Database) -> None:
    await asyncio.gather(*(journal.open(f"e{n}", 1) for n in range(64)))

    async def step(execution: str) -> None:
        await journal.append(execution, 1, rows("a"))
        await journal.barrier(execution, 1)

    await asyncio.gather(*(step(f"e{n}") for n in range(64)))

    numbers = await database.run(lambda session: session.rows("SELECT batch FROM {s}.journal_batches"))
    assert numbers == [(1,)]


@pytest.fixture
async def proxied(
    server: PostgresServer, database: Database, schema: str
) -> AsyncIterator[tuple[CuttingProxy, PostgresJournal]]:
    """A journal behind a proxy that loses answers, on a schema that is there already."""
    async with CuttingProxy(server.port) as proxy:
        url = server.url.replace(str(server.port), str(proxy.port))
        behind = Database(url, PostgresOptions(url="-", namespace=schema))
        await behind.open()
        yield proxy, PostgresJournal(behind)
        await behind.aclose()


async def test_rows_whose_acknowledgement_was_lost_are_not_written_twice(
    proxied: tuple[CuttingProxy, PostgresJournal],
) -> None:
    proxy, journal = proxied
    await journal.open("e1", 1)
    for number in range(5):
        proxy.cut_after(f"body-{number}".encode())
        await journal.append("e1", 1, rows(f"body-{number}"))
        await journal.append("e1", 1, rows(f"next-{number}"))
        await journal.barrier("e1", 1)

    assert proxy.cuts == 5
    assert await bodies(journal, "e1") == [f"{name}-{n}" for n in range(5) for name in ("body", "next")]


async def test_a_begin_whose_answer_was_lost_has_begun(proxied: tuple[CuttingProxy, PostgresJournal]) -> None:
    proxy, journal = proxied
    proxy.cut_after(b"the first row")

    assert await journal.begin("e1", rows("the first row"), unique_s=60) is True

    assert proxy.cuts == 1
    assert await journal.begin("e1", rows("again"), unique_s=60) is False


async def test_a_signal_whose_answer_was_lost_is_there_once(proxied: tuple[CuttingProxy, PostgresJournal]) -> None:
    proxy, journal = proxied
    await journal.begin("e1", rows("a"))
    proxy.cut_after(b"stop it")

    assert await journal.signal("e1", Row("cancel", b"stop it")) is True

    assert (proxy.cuts, await bodies(journal, "e1")) == (1, ["a", "stop it"])


async def test_a_batch_that_comes_after_a_later_one_is_a_ghost_and_writes_nothing(database: Database) -> None:
    writer = uuid4()

    async def write(number: int, body: bytes) -> list[int] | None:
        row = await database.run(
            lambda session: session.one(
                "SELECT {s}.journal_write($1::uuid, $2, NULL, '{signal}', '{e1}', '{0}', '{0}', '{1}', '{cancel}', $3::bytea[])",
                writer,
                number,
                [body],
            )
        )
        assert row is not None
        answers: list[int] | None = row[0]
        return answers

    journal = PostgresJournal(database)
    await journal.begin("e1", rows("a"))

    assert [await write(1, b"1"), await write(2, b"2"), await write(2, b"2 again"), await write(1, b"ghost")] == [
        [0],
        [0],
        [0],
        None,
    ]
    assert await bodies(journal, "e1") == ["a", "1", "2"]
    await journal.close()


async def test_a_server_that_restarts_delays_the_journal_and_loses_nothing(make_database: Any, schema: str) -> None:
    with PostgresServer() as server:
        database = make_database(server, schema)
        await database.open()
        journal = PostgresJournal(database)

        async def write(execution: str) -> None:
            assert await journal.begin(execution, rows("0"))
            await journal.open(execution, 1)
            for number in range(1, 60):
                await journal.append(execution, 1, rows(str(number)))
                await journal.barrier(execution, 1)

        async def restart() -> None:
            for crash in (True, False, True):
                await asyncio.to_thread(server.restart, crash=crash)

        names = [f"e{number}" for number in range(8)]
        await asyncio.gather(restart(), *map(write, names))

        for name in names:
            assert await bodies(journal, name) == [str(number) for number in range(60)]
        assert sorted(await journal.unfinished()) == names
        await journal.close()
        await database.aclose()


async def test_an_outage_that_does_not_end_is_an_error_in_the_end_and_later_rows_are_not_written(
    schema: str, make_database: Any
) -> None:
    with PostgresServer() as server:
        database = make_database(server, schema, timeout=0.5)
        await database.open()
        journal = PostgresJournal(database)
        await journal.begin("e1", rows("a"))
        await journal.open("e1", 1)
        server.kill()
        await journal.append("e1", 1, rows("lost"))

        with pytest.raises(BackendError) as caught:
            await journal.barrier("e1", 1)

        server.start()
        assert server.password not in str(caught.value)
        with pytest.raises(BackendError, match="rows sent earlier were not written"):
            await journal.append("e1", 1, rows("a gap before it"))
        assert [row.body for row in await journal.open("e1", 1)] == [b"a"]
        await journal.append("e1", 1, rows("b"))
        await journal.barrier("e1", 1)
        assert await bodies(journal, "e1") == ["a", "b"]
        await journal.close()
        await database.aclose()


async def test_an_owner_whose_execution_was_forgotten_does_not_write_into_its_successor(
    journal: PostgresJournal,
) -> None:
    await journal.begin("e1", rows("a"))
    await journal.open("e1", 1)
    await journal.forget(["e1"])
    sent = [
        journal.append("e1", 1, rows("late")),
        journal.begin("e1", rows("new")),
        journal.append("e1", 1, rows("later")),
    ]

    await asyncio.gather(*sent)
    with pytest.raises(BackendError, match="not in the journal"):
        await journal.barrier("e1", 1)

    assert await bodies(journal, "e1") == ["new"]


async def test_a_fence_by_another_process_stops_what_was_sent(
    journal: PostgresJournal, server: PostgresServer, schema: str, make_database: Any
) -> None:
    other = make_database(server, schema)
    await other.open()
    thief = PostgresJournal(other)
    await journal.begin("e1", rows("a"))
    await journal.open("e1", 1)
    await thief.fence("e1", 7)

    await journal.append("e1", 1, rows("late"))
    with pytest.raises(Fenced) as caught:
        await journal.barrier("e1", 1)

    assert (caught.value.token, caught.value.current) == (1, 7)
    assert await bodies(journal, "e1") == ["a"]


async def test_names_and_fences_that_are_over_are_cleared_away(database: Database) -> None:
    clock = ManualClock()
    journal = PostgresJournal(database, clock)
    for number in range(5):
        await journal.begin(f"e{number}", rows("a"), unique_s=60)
    await journal.fence("never began", 1)
    await database.run(
        lambda session: session.change("UPDATE {s}.journal_executions SET made_at = now() - interval '2 days'")
    )
    clock.advance(61)

    await journal.forget(["e0"])

    for table, left in (("journal_names", 0), ("journal_executions", 4)):
        assert await database.run(
            lambda session, table=table: session.naming(table=table).rows("SELECT count(*) FROM {s}.{table}")  # type: ignore[misc]
        ) == [(left,)]
    await journal.close()


@pytest.mark.parametrize(
    ("settings", "durability"),
    [
        ({}, Durability.HOST),
        ({"fsync": "off"}, Durability.PROCESS),
        ({"full_page_writes": "off"}, Durability.PROCESS),
        ({"synchronous_commit": "off"}, Durability.PROCESS),
        ({"synchronous_commit": "local"}, Durability.HOST),
    ],
    ids=str,
)
async def test_durability_is_what_the_server_says(
    settings: dict[str, str], durability: Durability, schema: str, make_database: Any
) -> None:
    with PostgresServer(settings=settings) as server:
        database = make_database(server, schema)
        await database.open()

        journal = PostgresJournal(database)
        assert journal.durability is durability
        assert all(f"{name} is off" in journal.describe() for name, value in settings.items() if value == "off")
        assert ("survives a loss of power" in journal.describe()) is (durability is Durability.HOST)
        await database.aclose()


async def test_failures_of_executions_that_went_elsewhere_do_not_pile_up(journal: PostgresJournal) -> None:
    for number in range(10_050):
        await journal.append(f"e{number}", 1, rows("late"))
    with pytest.raises(BackendError):
        await journal.barrier("e10049", 1)

    assert len(journal._failed) == 10_000
    with pytest.raises(BackendError, match="rows sent earlier were not written"):
        await journal.append("e10049", 1, rows("later"))
